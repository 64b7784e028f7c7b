/* The Mandelbrot set in tiles, and PNG files by libpng. Any thread; a tile's cost is bounded by its pixels
 * and the view's iterations, and it looks after each row whether it is still wanted. Bad input is refused
 * with TR_EINVAL. */
#include <errno.h>
#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/demo/mandelbrot.h"

#define SIDE_MAX       16384u
#define ITERATIONS_MAX 1000000u
#define SAMPLES_MAX    16u
#define ESCAPE         65536.0 /* far out, so that the bands between whole iterations can be smoothed */

tr__mandelbrot_view tr__mandelbrot_seahorse(uint32_t width, uint32_t height)
{
    return (tr__mandelbrot_view){.width = width,
                                 .height = height,
                                 .iterations = 1500,
                                 .samples = 1,
                                 .centre_x = -0.743643887037151,
                                 .centre_y = 0.131825904205330,
                                 .span = 0.0045};
}

/* log2 by the exponent and a polynomial. Not libm's: its results differ between versions, and with them the
 * picture. */
static double log2_rough(double value)
{
    int exponent;
    double m = frexp(value, &exponent) * 2.0 - 1.0; /* 0 to 1; frexp is exact */
    return (double)(exponent - 1) + m * (1.4142 - m * (0.5749 - m * 0.1607));
}

/* Between the colours of `stops`, which are `count` and run in a ring. */
static void colour(double t, uint8_t *rgb)
{
    static const uint8_t stops[][3] = {{0, 7, 60},     {18, 70, 150}, {57, 140, 205}, {210, 240, 250},
                                       {250, 200, 70}, {205, 95, 10}, {90, 20, 30},   {15, 5, 45}};
    const uint32_t count = sizeof(stops) / sizeof(stops[0]);
    double place = t * count;
    uint64_t whole = (uint64_t)place;
    double part = place - (double)whole;
    const uint8_t *from = stops[whole % count], *to = stops[(whole + 1) % count];
    for (int i = 0; i < 3; i++)
        rgb[i] = (uint8_t)(from[i] + part * ((double)to[i] - from[i]) + 0.5);
}

static void point(double cx, double cy, uint32_t iterations, uint8_t *rgb)
{
    double x = 0, y = 0, xx = 0, yy = 0;
    uint32_t n = 0;
    while (n < iterations && xx + yy <= ESCAPE) {
        y = 2 * x * y + cy;
        x = xx - yy + cx;
        xx = x * x;
        yy = y * y;
        n++;
    }
    if (xx + yy <= ESCAPE) {
        memset(rgb, 0, 3);
        return;
    }
    /* 5 = log2(log2(ESCAPE)) + 1 - 0: so the first bands start near 0. */
    double smooth = (double)n + 5.0 - log2_rough(log2_rough(xx + yy));
    colour(log2_rough(smooth + 1.0) * 0.9, rgb);
}

/* The mean over the square whose upper left corner is at x, y. */
static void pixel(const tr__mandelbrot_view *view, double x, double y, double step, uint8_t *rgb)
{
    uint32_t sum[3] = {0}, samples = view->samples;
    for (uint32_t i = 0; i < samples * samples; i++) {
        uint8_t one[3];
        point(x + step * (i % samples) / samples, y + step * (i / samples) / samples, view->iterations, one);
        for (int k = 0; k < 3; k++)
            sum[k] += one[k];
    }
    for (int k = 0; k < 3; k++)
        rgb[k] = (uint8_t)(sum[k] / (samples * samples));
}

bool tr__mandelbrot_draw(const tr__mandelbrot_tile *tile, uint8_t *rgb, const tr_compute_out *out)
{
    const tr__mandelbrot_view *view = &tile->view;
    double step = view->span / view->width;
    double left = view->centre_x - step * (view->width / 2.0),
           top = view->centre_y - step * (view->height / 2.0);
    for (uint32_t row = 0; row < tile->height; row++) {
        if (out && tr_compute_canceled(out))
            return false;
        double cy = top + step * (tile->y + row);
        for (uint32_t column = 0; column < tile->width; column++, rgb += 3)
            pixel(view, left + step * (tile->x + column), cy, step, rgb);
    }
    return true;
}

static bool within(const tr__mandelbrot_tile *tile)
{
    const tr__mandelbrot_view *view = &tile->view;
    return view->width - 1 < SIDE_MAX && view->height - 1 < SIDE_MAX &&
           view->iterations - 1 < ITERATIONS_MAX && view->samples - 1 < SAMPLES_MAX && view->span > 0 &&
           isfinite(view->span) && isfinite(view->centre_x) && isfinite(view->centre_y) && tile->width &&
           tile->height && tile->x < view->width && tile->y < view->height &&
           tile->width <= view->width - tile->x && tile->height <= view->height - tile->y;
}

static tr_err mandelbrot(const void *in, size_t in_size, tr_compute_out *out)
{
    tr__mandelbrot_tile tile;
    if (in_size != sizeof(tile))
        return tr_compute_fail(out, TR_EINVAL, "mandelbrot: its input has %zu bytes, not the %zu of a tile",
                               in_size, sizeof(tile));
    memcpy(&tile, in, sizeof(tile));
    if (!within(&tile))
        return tr_compute_fail(out, TR_EINVAL,
                               "mandelbrot: the tile %ux%u at %u,%u isn't within the picture %ux%u",
                               tile.width, tile.height, tile.x, tile.y, tile.view.width, tile.view.height);
    uint8_t *rgb = tr_compute_reserve(out, (size_t)tile.width * tile.height * 3);
    if (!rgb)
        return TR_ENOMEM;
    return tr__mandelbrot_draw(&tile, rgb, out) ? TR_OK : TR_ECANCELED;
}

tr_err tr__mandelbrot_register(void)
{
    return tr_compute_register("mandelbrot", mandelbrot);
}

void tr__mandelbrot_place(const tr__mandelbrot_tile *tile, const uint8_t *rgb, uint8_t *picture)
{
    size_t line = (size_t)tile->width * 3;
    for (uint32_t row = 0; row < tile->height; row++)
        memcpy(picture + ((size_t)(tile->y + row) * tile->view.width + tile->x) * 3, rgb + row * line, line);
}

/* ---- PNG ----------------------------------------------------------------------------------------------- */

/* libpng would print; the errno says enough. */
static void png_failed(png_structp png, png_const_charp text)
{
    (void)text;
    longjmp(png_jmpbuf(png), 1);
}

/* libpng's way to fail is longjmp: so nothing but the file and libpng's own is held in here. An errno, 0 if
 * well. */
static int write_png(FILE *file, const uint8_t *rgb, uint32_t width, uint32_t height)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, png_failed, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        return ENOMEM;
    }
    errno = 0;
    if (setjmp(png_jmpbuf(png))) {
        int err = errno ? errno : EIO;
        png_destroy_write_struct(&png, &info);
        return err;
    }
    png_init_io(png, file);
    png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (uint32_t row = 0; row < height; row++)
        png_write_row(png, rgb + (size_t)row * width * 3);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return 0;
}

tr_err tr__png_write(const char *path, const uint8_t *rgb, uint32_t width, uint32_t height, tr_error *error)
{
    FILE *file = fopen(path, "wbe");
    if (!file)
        return tr__fail(error, tr__err_from_errno(errno), "can't write the picture '%.120s': %s", path,
                        strerror(errno));
    int err = write_png(file, rgb, width, height);
    if (fclose(file) != 0 && !err)
        err = errno;
    if (err) {
        unlink(path);
        return tr__fail(error, tr__err_from_errno(err), "can't write the picture '%.120s': %s", path,
                        strerror(err));
    }
    return TR_OK;
}
