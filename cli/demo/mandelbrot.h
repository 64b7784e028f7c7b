/* The demo's picture: the Mandelbrot set in tiles, and PNG files. Pure but for the file; any thread. The same
 * view gives the same bytes, whole or in tiles, as long as the same program draws it. */
#ifndef TR_CLI_MANDELBROT_H
#define TR_CLI_MANDELBROT_H

#include <troupe/compute.h>

/* What to draw: a picture of width x height pixels around a point. */
typedef struct tr__mandelbrot_view {
    uint32_t width, height;    /* pixels, 1 to 16,384 each */
    uint32_t iterations;       /* at most, 1 to 1,000,000 */
    uint32_t samples;          /* a pixel is the mean of samples x samples points; 1 to 16 */
    double centre_x, centre_y; /* of the plane */
    double span;               /* of the plane that the width shows */
} tr__mandelbrot_view;

/* A tile of it. This is the input of the function "mandelbrot", in this machine's byte order; its output is
 * `width` x `height` pixels of RGB, 3 bytes each, row by row. */
typedef struct tr__mandelbrot_tile {
    tr__mandelbrot_view view;
    uint32_t x, y, width, height; /* pixels; it must lie within the view */
} tr__mandelbrot_tile;

/* A view that is worth looking at, of that size. */
tr__mandelbrot_view tr__mandelbrot_seahorse(uint32_t width, uint32_t height);
/* Register the function "mandelbrot" for tr_call. As tr_compute_register. */
tr_err tr__mandelbrot_register(void);
/* The tile as tr_call's input; borrowed from *tile. */
static inline tr_bytes tr__mandelbrot_input(const tr__mandelbrot_tile *tile)
{
    return (tr_bytes){tile, sizeof(*tile)};
}
/* Draw one tile into `rgb`, which has room for it. False: `out` (which may be NULL) says that it is canceled.
 */
bool tr__mandelbrot_draw(const tr__mandelbrot_tile *tile, uint8_t *rgb, const tr_compute_out *out);
/* Copy a tile's pixels to their place in the whole picture. */
void tr__mandelbrot_place(const tr__mandelbrot_tile *tile, const uint8_t *rgb, uint8_t *picture);

/* Write an RGB picture as a PNG file, 8 bits a channel; an old file is replaced. TR_EIO, TR_ENOSPC, TR_EPERM,
 * TR_ENOTFOUND (no such directory), TR_ENOMEM with a text in *error; then no file is left. */
tr_err tr__png_write(const char *path, const uint8_t *rgb, uint32_t width, uint32_t height, tr_error *error);

#endif
