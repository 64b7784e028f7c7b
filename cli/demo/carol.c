/* Carol: computes on all cores. The digests by sha256sum as child processes; the picture in tiles by a C
 * function on her compute actor's threads; and the pipeline of requests to alice's web app. Her loop's
 * thread.
 *
 * Failures: a digest that can't be computed is the asker's error; a tile that fails ends her with an error.
 */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include <troupe/stream_client.h>

#include "base/mem.h"
#include "cli/demo/files.h"
#include "cli/demo/mandelbrot.h"
#include "cli/demo/node.h"

#define ASK_TIMEOUT TR_SECONDS(60)
#define SAMPLE_SIDE 64 /* of the picture that the cost is measured with */
#define PICTURE_MIN 240
#define PICTURE_MAX 1280

typedef struct carol {
    const demo_role_arg *arg;
    tr_addr compute, web;
    /* the picture */
    char into[512];
    tr__mandelbrot_view view;
    uint64_t work_ns;
    uint8_t *picture;
    uint32_t tiles_done, tiles_sent, tiles;
    /* the pipeline */
    uint32_t asked, settled, answered, in_order;
    uint64_t began_ns;
    char example[TR_ERROR_TEXT_MAX];
} carol;

/* ---- digests ------------------------------------------------------------------------------------------- */

/* context: the ask, kept. */
static void summed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr_msg *ask = context;
    (void)state;
    const tr_ran *ran = result->msg ? tr_match(result->msg, tr_ran) : NULL;
    const char *out = ran ? ran->out.data : NULL;
    char hex[65];
    if (ran && ran->exit_status == 0 && ran->out.size > 64 && out[64] == ' ') {
        memcpy(hex, out, 64);
        hex[64] = 0;
        tr_reply(self, ask, demo_digest_is, .sha256 = hex);
    } else if (ran) {
        tr_reply_error(self, ask, TR_EAPP, "sha256sum ended with status %d, signal %d: %.*s",
                       ran->exit_status, ran->signal, (int)(ran->err.size < 120 ? ran->err.size : 120),
                       (const char *)ran->err.data);
    } else {
        tr_reply_error(self, ask, result->err, "sha256sum: %s", result->error ? result->error->text : "");
    }
    tr_msg_free(self, &ask);
}

static void sum(tr_actor *self, carol *c, const tr_msg *msg, const demo_digest *digest)
{
    tr_future f =
        tr_ask(self, c->compute, ASK_TIMEOUT, tr_run, .argv = TR_ARGV("sha256sum", "--", digest->path));
    tr_msg *ask = tr_msg_take(self, msg);
    tr_then(self, f, summed, ask);
}

/* ---- the picture --------------------------------------------------------------------------------------- */

static tr__mandelbrot_tile tile_of(const carol *c, uint32_t index)
{
    uint32_t column = index % DEMO_TILES_EDGE, row = index / DEMO_TILES_EDGE;
    uint32_t x = c->view.width * column / DEMO_TILES_EDGE, y = c->view.height * row / DEMO_TILES_EDGE;
    return (tr__mandelbrot_tile){.view = c->view,
                                 .x = x,
                                 .y = y,
                                 .width = c->view.width * (column + 1) / DEMO_TILES_EDGE - x,
                                 .height = c->view.height * (row + 1) / DEMO_TILES_EDGE - y};
}

static void report_tiles(tr_actor *self, carol *c, bool done, uint32_t tile, tr_bytes shades)
{
    tr_send(self, c->arg->observer, demo_tiles, .tiles = c->tiles_done, .total = c->tiles,
            .width = c->view.width, .height = c->view.height, .samples = c->view.samples,
            .workers = c->arg->args->parallel, .done = done, .tile = tile, .by = c->arg->args->name,
            .shades = shades);
}

static uint8_t mean_of(const uint8_t *rgb, uint32_t row_pixels, uint32_t width, uint32_t height)
{
    uint64_t sum = 0;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < 3 * width; x++)
            sum += rgb[3 * y * row_pixels + x];
    return (uint8_t)(sum / (3 * width * height));
}

/* How bright a tile is, in rough: for who watches the picture grow. */
static void shade(const tr__mandelbrot_tile *tile, const uint8_t *rgb, uint8_t out[DEMO_SHADES])
{
    uint32_t width = tile->width / DEMO_SHADES_ACROSS, height = tile->height / DEMO_SHADES_DOWN;
    for (uint32_t i = 0; i < DEMO_SHADES; i++) {
        uint32_t x = i % DEMO_SHADES_ACROSS * width, y = i / DEMO_SHADES_ACROSS * height;
        out[i] = mean_of(rgb + 3 * (y * tile->width + x), tile->width, width, height);
    }
}

static void written(tr_actor *self, void *state, const tr_result *result, void *context)
{
    carol *c = state;
    (void)context;
    if (result->err != TR_OK)
        tr_exit(self, result->err, "%s",
                result->error ? result->error->text : "the picture can't be written");
    else
        report_tiles(self, c, true, c->tiles, (tr_bytes){0});
}

/* Compressing takes a tenth of a second, so it is no work for the loop. */
static void write_picture(tr_actor *self, carol *c)
{
    size_t size;
    demo_png *png = demo_png_make(c->into, c->picture, c->view.width, c->view.height, &size);
    if (!png) {
        tr_exit(self, TR_ENOMEM, "the picture: no memory");
        return;
    }
    tr_then(self,
            tr_ask(self, c->compute, ASK_TIMEOUT, tr_call, .function = "demo-png", .input = {png, size}),
            written, NULL);
    tr__free(png);
}

static void send_tile(tr_actor *self, carol *c);

static void tile_came(tr_actor *self, void *state, const tr_result *result, void *context)
{
    carol *c = state;
    uint32_t index = (uint32_t)(uintptr_t)context;
    uint8_t shades[DEMO_SHADES];
    tr__mandelbrot_tile tile = tile_of(c, index);
    const tr_called *called = result->msg ? tr_match(result->msg, tr_called) : NULL;
    if (!called || called->output.size != (size_t)tile.width * tile.height * 3) {
        tr_exit(self, result->err ? result->err : TR_ESHORT, "a tile of the picture: %s",
                result->error ? result->error->text : "of another size");
        return;
    }
    tr__mandelbrot_place(&tile, called->output.data, c->picture);
    shade(&tile, called->output.data, shades);
    c->tiles_done++;
    report_tiles(self, c, false, index, (tr_bytes){shades, sizeof(shades)});
    send_tile(self, c);
    if (c->tiles_done == c->tiles)
        write_picture(self, c);
}

static void send_tile(tr_actor *self, carol *c)
{
    if (c->tiles_sent == c->tiles)
        return;
    uint32_t index = c->tiles_sent++;
    tr__mandelbrot_tile tile = tile_of(c, index);
    tr_then(self,
            tr_ask(self, c->compute, ASK_TIMEOUT, tr_call, .function = "mandelbrot",
                   .input = tr__mandelbrot_input(&tile)),
            tile_came, (void *)(uintptr_t)index);
}

/* The sample's cost a pixel gives the size that takes about as long as wished. */
static void sampled(tr_actor *self, void *state, const tr_result *result, void *context)
{
    carol *c = state;
    (void)context;
    const tr_called *called = result->msg ? tr_match(result->msg, tr_called) : NULL;
    if (!called) {
        tr_exit(self, result->err, "measuring the picture's cost: %s",
                result->error ? result->error->text : "");
        return;
    }
    double pixel_ns = (double)called->elapsed_ns / (SAMPLE_SIDE * SAMPLE_SIDE * 3 / 4) + 0.01;
    double pixels = (double)c->work_ns / pixel_ns;
    uint32_t samples = (uint32_t)sqrt(pixels / ((double)PICTURE_MAX * PICTURE_MAX * 3 / 4));
    samples = samples < 1 ? 1 : samples > 8 ? 8 : samples;
    double width = sqrt(pixels / (samples * samples) * 4 / 3);
    width = width < PICTURE_MIN ? PICTURE_MIN : width > PICTURE_MAX ? PICTURE_MAX : width;
    c->view = tr__mandelbrot_seahorse((uint32_t)width / 16 * 16, (uint32_t)(width * 3 / 4) / 16 * 16);
    c->view.samples = samples;
    c->picture = tr__alloc((size_t)c->view.width * c->view.height * 3);
    if (!c->picture) {
        tr_exit(self, TR_ENOMEM, "the picture: no memory");
        return;
    }
    c->tiles = DEMO_TILES_EDGE * DEMO_TILES_EDGE;
    report_tiles(self, c, false, c->tiles, (tr_bytes){0});
    for (uint32_t i = 0; i < 2 * c->arg->args->parallel; i++) /* the next ones wait behind those that run */
        send_tile(self, c);
}

static void render(tr_actor *self, carol *c, const demo_render *r)
{
    snprintf(c->into, sizeof(c->into), "%s", r->into);
    c->work_ns = r->work_ns;
    c->view = tr__mandelbrot_seahorse(SAMPLE_SIDE, SAMPLE_SIDE * 3 / 4);
    tr__mandelbrot_tile whole = {.view = c->view, .width = c->view.width, .height = c->view.height};
    tr_then(self,
            tr_ask(self, c->compute, ASK_TIMEOUT, tr_call, .function = "mandelbrot",
                   .input = tr__mandelbrot_input(&whole)),
            sampled, NULL);
}

/* ---- the pipeline -------------------------------------------------------------------------------------- */

static void status_came(tr_actor *self, void *state, const tr_result *result, void *context)
{
    carol *c = state;
    (void)context;
    const tr_stream_status *status = result->msg ? tr_match(result->msg, tr_stream_status) : NULL;
    tr_send(self, c->arg->observer, demo_pipelined, .asked = c->asked, .answered = c->answered,
            .in_order = c->in_order, .connections = status ? status->connects : 0,
            .elapsed_ns = demo_now() - c->began_ns, .example = c->example);
}

/* Answer n must say n, and must be the n-th to come. */
static void answer_came(tr_actor *self, void *state, const tr_result *result, void *context)
{
    carol *c = state;
    uint32_t n = (uint32_t)(uintptr_t)context;
    const tr_http_response *r = result->msg ? tr_match(result->msg, tr_http_response) : NULL;
    char expected[48];
    int size = snprintf(expected, sizeof(expected), "alice says %" PRIu32 "\n", n);
    c->settled++;
    if (r && r->status == 200 && r->body.size == (size_t)size &&
        memcmp(r->body.data, expected, (size_t)size) == 0) {
        c->answered++;
        c->in_order += n == c->settled;
        snprintf(c->example, sizeof(c->example), "GET /echo/%" PRIu32 " -> %" PRIu32 " %.*s", n, r->status,
                 size - 1, expected);
    } else if (!r) {
        snprintf(c->example, sizeof(c->example), "%s", result->error ? result->error->text : "");
    }
    if (c->settled == c->asked)
        tr_then(self, tr_ask(self, c->web, ASK_TIMEOUT, tr_stream_query, .reset = false), status_came, NULL);
}

static void pipeline(tr_actor *self, carol *c, const demo_pipeline *p)
{
    c->web = tr_spawn(
        self, &tr_stream_client,
        &(tr_stream_opts){.address = p->address, .codec = "http", .connections = 1, .in_flight = p->count});
    c->asked = p->count;
    c->began_ns = demo_now();
    for (uint32_t n = 1; n <= p->count; n++)
        tr_then(self,
                tr_ask(self, c->web, ASK_TIMEOUT, tr_http_request, .method = "GET",
                       .path = tr_fmt(self, "/echo/%" PRIu32, n)),
                answer_came, (void *)(uintptr_t)n);
}

/* ---- the actor ----------------------------------------------------------------------------------------- */

static tr_err carol_init(tr_actor *self, void *state, const void *arg)
{
    carol *c = state;
    c->arg = arg;
    TR_TRY(tr__mandelbrot_register());
    TR_TRY(demo_files_register());
    c->compute =
        tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = c->arg->args->parallel, .queue = 4096});
    return tr_addr_is_none(c->compute) ? tr_last_error(self)->code : TR_OK;
}

static void carol_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    carol *c = state;
    const demo_digest *digest = tr_match(msg, demo_digest);
    const demo_render *r = tr_match(msg, demo_render);
    const demo_pipeline *p = tr_match(msg, demo_pipeline);
    if (digest)
        sum(self, c, msg, digest);
    else if (r && !c->into[0])
        render(self, c, r);
    else if (p && !c->asked)
        pipeline(self, c, p);
}

static void carol_stop(tr_actor *self, void *state)
{
    carol *c = state;
    (void)self;
    tr__free(c->picture);
}

const tr_actor_def demo_carol = {.name = "carol",
                                 .init = carol_init,
                                 .receive = carol_receive,
                                 .stop = carol_stop,
                                 .state_size = sizeof(carol),
                                 .mailbox_places = 8192};
