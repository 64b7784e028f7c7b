/* The demo's picture: tiles give the whole, and the PNG file holds what was drawn. The program's file is
 * included, since it isn't in the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/demo/mandelbrot.c" /* NOLINT */

#include "actors/kinds/compute_function.h"

#define WIDTH  150u
#define HEIGHT 100u

static uint8_t whole[WIDTH * HEIGHT * 3], pieced[WIDTH * HEIGHT * 3];

static int draw_whole(void **state)
{
    (void)state;
    tr__mandelbrot_tile all = {
        .view = tr__mandelbrot_seahorse(WIDTH, HEIGHT), .width = WIDTH, .height = HEIGHT};
    return tr__mandelbrot_draw(&all, whole, NULL) ? 0 : -1;
}

static void tiles_make_the_whole(void **state)
{
    (void)state;
    for (uint32_t y = 0; y < HEIGHT; y += 32) {
        for (uint32_t x = 0; x < WIDTH; x += 32) {
            tr__mandelbrot_tile tile = {.view = tr__mandelbrot_seahorse(WIDTH, HEIGHT),
                                        .x = x,
                                        .y = y,
                                        .width = WIDTH - x < 32 ? WIDTH - x : 32,
                                        .height = HEIGHT - y < 32 ? HEIGHT - y : 32};
            tr_compute_out out;
            tr__compute_out_init(&out, 1 << 20);
            tr_bytes in = tr__mandelbrot_input(&tile);
            assert_int_equal(mandelbrot(in.data, in.size, &out), TR_OK);
            assert_int_equal(out.size, tile.width * tile.height * 3);
            tr__mandelbrot_place(&tile, out.data, pieced);
            tr__compute_out_fini(&out);
        }
    }
    assert_memory_equal(pieced, whole, sizeof(whole));
}

static void picture_has_many_colours(void **state)
{
    (void)state;
    static uint8_t seen[1 << 15];
    uint32_t colours = 0;
    for (size_t i = 0; i < sizeof(whole); i += 3) {
        uint32_t rgb = (uint32_t)whole[i] >> 3 << 10 | (uint32_t)whole[i + 1] >> 3 << 5 | whole[i + 2] >> 3;
        colours += !seen[rgb];
        seen[rgb] = 1;
    }
    assert_true(colours > 50);
}

static void expect_refused(tr__mandelbrot_tile tile)
{
    tr_compute_out out;
    tr__compute_out_init(&out, 1 << 20);
    assert_int_equal(mandelbrot(&tile, sizeof(tile), &out), TR_EINVAL);
    assert_non_null(strstr(out.error.text, "mandelbrot"));
    tr__compute_out_fini(&out);
}

static void tile_outside_the_picture_is_refused(void **state)
{
    (void)state;
    tr__mandelbrot_view view = tr__mandelbrot_seahorse(100, 100), huge = tr__mandelbrot_seahorse(20000, 100),
                        endless = view;
    endless.iterations = UINT32_MAX;
    expect_refused((tr__mandelbrot_tile){.view = view, .x = 90, .width = 11, .height = 1});
    expect_refused((tr__mandelbrot_tile){.view = view, .y = 100, .width = 1, .height = 1});
    expect_refused((tr__mandelbrot_tile){.view = view, .x = UINT32_MAX, .width = 2, .height = 1});
    expect_refused((tr__mandelbrot_tile){.view = view, .width = 0, .height = 1});
    expect_refused((tr__mandelbrot_tile){.view = huge, .width = 1, .height = 1});
    expect_refused((tr__mandelbrot_tile){.view = endless, .width = 1, .height = 1});
    view.samples = 0;
    expect_refused((tr__mandelbrot_tile){.view = view, .width = 1, .height = 1});
    tr_compute_out out;
    tr__compute_out_init(&out, 10);
    assert_int_equal(mandelbrot("x", 1, &out), TR_EINVAL);
    tr__compute_out_fini(&out);
}

static void canceled_tile_is_given_up(void **state)
{
    (void)state;
    tr__mandelbrot_tile tile = {
        .view = tr__mandelbrot_seahorse(WIDTH, HEIGHT), .width = WIDTH, .height = HEIGHT};
    tr_compute_out out;
    tr__compute_out_init(&out, 1 << 20);
    atomic_store(&out.canceled, true);
    assert_int_equal(mandelbrot(&tile, sizeof(tile), &out), TR_ECANCELED);
    tr__compute_out_fini(&out);
}

static void png_holds_the_picture(void **state)
{
    (void)state;
    char path[] = "test_mandelbrot_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tr_error error;
    assert_int_equal(tr__png_write(path, whole, WIDTH, HEIGHT, &error), TR_OK);
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&image, path));
    assert_int_equal(image.width, WIDTH);
    assert_int_equal(image.height, HEIGHT);
    image.format = PNG_FORMAT_RGB;
    static uint8_t read[WIDTH * HEIGHT * 3];
    assert_int_equal(PNG_IMAGE_SIZE(image), sizeof(read));
    assert_true(png_image_finish_read(&image, NULL, read, 0, NULL));
    assert_memory_equal(read, whole, sizeof(whole));
    unlink(path);
}

static void png_that_cannot_be_written_is_an_error_and_no_file(void **state)
{
    (void)state;
    tr_error error;
    assert_int_equal(tr__png_write("no-such-directory/x.png", whole, WIDTH, HEIGHT, &error), TR_ENOTFOUND);
    assert_non_null(strstr(error.text, "no-such-directory/x.png"));
    /* What is written to /dev/full finds the disk full. */
    FILE *full = fopen("/dev/full", "we");
    assert_non_null(full);
    setvbuf(full, NULL, _IONBF, 0);
    assert_int_equal(write_png(full, whole, WIDTH, HEIGHT), ENOSPC);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_make_the_whole),
        cmocka_unit_test(picture_has_many_colours),
        cmocka_unit_test(tile_outside_the_picture_is_refused),
        cmocka_unit_test(canceled_tile_is_given_up),
        cmocka_unit_test(png_holds_the_picture),
        cmocka_unit_test(png_that_cannot_be_written_is_an_error_and_no_file),
    };
    return cmocka_run_group_tests(tests, draw_whole, NULL);
}
