/* See sim_http.h. A get: start ─► on_connect (what will befall it is drawn) ─► head ─► on_piece, again and again ─►
 * done. While it is paused no event of it is under way; resume gives the next piece at once. */
#include "tests/kit/sim/sim_http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "tests/kit/sim/sim_kinds.h"

#define PIECE    (16u * 1024)
#define DROP_MAX (64u * 1024)
#define NOWHERE  UINT64_MAX

struct tr__http_source {
    sim_handle handle;
    tr__http_opts opts;
};

struct tr__http_get {
    sim_handle handle;
    sim_http *http;
    tr__http_source *source;
    const tr__http_upcalls *upcalls;
    void *context;
    char *url, *if_range;
    uint64_t from;
    sim_resource resource;
    uint64_t at, end;                       /* of the body, in the file */
    uint64_t reset_at, short_at, silent_at; /* bytes of the body; NOWHERE */
    uint64_t slowness;
    uint64_t given; /* bytes of the body so far */
    bool dropping, paused;
};

/* ---- what is served ------------------------------------------------------------------------------------ */

void sim_content(void *context, const char *url, uint64_t version, uint64_t at, uint8_t *into, size_t size)
{
    uint64_t of_url = tr__hash_text(url) + version, word = 0;
    (void)context;
    for (size_t i = 0; i < size; i++) {
        if (i == 0 || (at + i) % 8 == 0)
            word = tr__hash_done(of_url + (at + i) / 8);
        into[i] = (uint8_t)(word >> (at + i) % 8 * 8);
    }
}

static sim_origin *origin_of(sim_http *http, const char *url)
{
    sim_origin *origin = http->origins;
    while (origin && strncmp(origin->prefix, url, strlen(origin->prefix)) != 0)
        origin = origin->next;
    return origin;
}

sim_origin *sim_http_serve(sim_http *http, const char *prefix, uint64_t size)
{
    sim_origin *origin = sim_alloc(sizeof(*origin));
    origin->prefix = sim_strdup(prefix);
    origin->resource = (sim_resource){.status = 200, .size = size};
    origin->next = http->origins;
    return http->origins = origin;
}

/* ---- a get --------------------------------------------------------------------------------------------- */

static void finish(tr__http_get *get, tr_err code, const char *text)
{
    const tr__http_upcalls *upcalls = get->upcalls;
    void *context = get->context;
    sim_handle_close(&get->handle);
    upcalls->done(context, code, text);
}

static void on_piece(void *context);

static void piece_later(tr__http_get *get)
{
    uint64_t delay = sim_between(&get->http->twin.random, TR_MICROS(1), TR_MICROS(200)) * get->slowness;
    uint64_t rate = get->source->opts.bytes_per_second;
    uint64_t by_rate = rate ? (uint64_t)PIECE * 1000000000u / rate : 0;
    sim_handle_later(&get->handle, delay > by_rate ? delay : by_rate, on_piece);
}

/* The whole body has come, or all that will. */
static void ended(tr__http_get *get)
{
    char text[TR_ERROR_TEXT_MAX];
    if (get->at == get->end || get->dropping) {
        finish(get, TR_OK, "");
        return;
    }
    snprintf(text, sizeof(text),
             "the body ended early, after %" PRIu64 " bytes; try again, with resume to go on from there",
             get->given);
    finish(get, TR_ESHORT, text);
}

static void reset(tr__http_get *get)
{
    char text[TR_ERROR_TEXT_MAX];
    snprintf(text, sizeof(text),
             "the server cut the connection after %" PRIu64 " bytes (Connection reset by peer); try again",
             get->given);
    finish(get, TR_ERESET, text);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* One piece of the body, up to the next thing that befalls it. */
static void give(tr__http_get *get)
{
    uint8_t bytes[PIECE];
    uint64_t until =
        least(least(get->reset_at, get->short_at), least(get->silent_at, get->end - get->at + get->given));
    size_t size = (size_t)least(until - get->given, PIECE);
    if (size == 0) {
        if (get->given == get->reset_at)
            reset(get);
        else if (get->given != get->silent_at)
            ended(get);
        return;
    }
    sim_content_fn content = get->resource.content ? get->resource.content : sim_content;
    content(get->resource.context, get->url, get->resource.version, get->at, bytes, size);
    tr__http_verdict verdict = get->dropping ? TR__HTTP_TAKE : get->upcalls->data(get->context, bytes, size);
    get->paused = verdict == TR__HTTP_PAUSE;
    if (get->paused)
        return;
    if (verdict == TR__HTTP_ABORT) {
        finish(get, TR_ECANCELED, "given up");
        return;
    }
    get->at += size;
    get->given += size;
    if (get->dropping && get->given >= DROP_MAX)
        finish(get, TR_OK, "");
    else
        piece_later(get);
}

static void on_piece(void *context)
{
    tr__http_get *get = context;
    sim_handle_wake(&get->handle);
    give(get);
}

/* Status, head and body for what it asked. */
static void answer(tr__http_get *get)
{
    sim_resource *resource = &get->resource;
    char etag[32] = "", range[80] = "";
    tr__http_head head = {
        .status = resource->status, .content_range = range, .etag = etag, .last_modified = ""};
    if (!resource->no_etag)
        snprintf(etag, sizeof(etag), "\"v%" PRIu64 "\"", resource->version);
    bool whole = get->from == 0 || (get->if_range[0] && strcmp(get->if_range, etag) != 0);
    get->end = resource->size;
    if (resource->status != 200) {
        get->end = least(resource->size, 100); /* what it says about it */
    } else if (!whole && get->from >= resource->size) {
        head.status = 416;
        get->end = 0;
        snprintf(range, sizeof(range), "bytes */%" PRIu64, resource->size);
    } else if (!whole) {
        head.status = 206;
        get->at = get->from;
        snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, get->from,
                 resource->size - 1, resource->size);
    }
    head.length = get->end - get->at;
    tr__http_verdict verdict = get->upcalls->head(get->context, &head);
    get->dropping = verdict == TR__HTTP_DROP;
    if (verdict == TR__HTTP_ABORT)
        finish(get, TR_ECANCELED, "given up");
    else
        piece_later(get);
}

/* Before which of so many bytes it strikes. */
static uint64_t place(sim_fault *fault, uint64_t size)
{
    return sim_strikes(fault) ? tr__random_below(&fault->random, size) : NOWHERE;
}

static void on_connect(void *context)
{
    static const uint32_t statuses[] = {404, 500, 503};
    tr__http_get *get = context;
    sim_fault *faults = get->http->faults;
    sim_origin *origin = origin_of(get->http, get->url);
    sim_handle_wake(&get->handle);
    if (!origin) {
        finish(get, TR_EADDR,
               "Could not resolve host; check the host's name and this machine's name service");
        return;
    }
    if (sim_strikes(&faults[SIM_HTTP_REFUSED])) {
        finish(get, TR_EREFUSED, "Connection refused; check that the server runs and listens there");
        return;
    }
    if (sim_strikes(&faults[SIM_HTTP_CHANGED]))
        origin->resource.version++;
    get->resource = origin->resource;
    if (origin->look)
        origin->look(get->resource.context, get->url, &get->resource);
    if (sim_strikes(&faults[SIM_HTTP_STATUS]))
        get->resource.status = statuses[sim_between(&faults[SIM_HTTP_STATUS].random, 0, 2)];
    uint64_t left = get->resource.size - least(get->from, get->resource.size);
    get->reset_at = place(&faults[SIM_HTTP_RESET], left);
    get->silent_at = place(&faults[SIM_HTTP_SILENT], left);
    get->short_at = place(&faults[SIM_HTTP_LENGTH], left);
    if (get->reset_at == 0)
        reset(get); /* before a word */
    else if (get->silent_at > 0)
        answer(get);
}

static void on_connect_timeout(void *context)
{
    tr__http_get *get = context;
    sim_handle_wake(&get->handle);
    finish(get, TR_EDEADLINE, "Connection timed out; check the server, or raise connect_ns");
}

static void get_fini(sim_handle *handle)
{
    free(((tr__http_get *)handle)->url);
    free(((tr__http_get *)handle)->if_range);
}

static tr__http_get *source_start(tr__http_source *source, const tr__http_request *request,
                                  const tr__http_upcalls *upcalls, void *context, tr_error *error)
{
    tr__loop *loop = source->handle.loop;
    sim_http *http = sim_host_of(loop)->kinds->http;
    sim_fault *slow = &http->faults[SIM_HTTP_SLOW];
    tr__http_get *get = sim_handle_open(&http->gets, loop, sizeof(*get), get_fini);
    if (!get) {
        tr__fail(error, TR_ENOMEM, "no memory for a transfer");
        return NULL;
    }
    http->asked++;
    get->http = http;
    get->source = source;
    get->upcalls = upcalls;
    get->context = context;
    get->url = sim_strdup(request->url);
    get->if_range = sim_strdup(request->from ? request->if_range : "");
    get->from = request->from;
    get->slowness = sim_strikes(slow) ? sim_between(&slow->random, 10, 1000) : 1;
    uint64_t connect = sim_between(&http->twin.random, TR_MICROS(100), TR_MILLIS(20)) * get->slowness;
    if (connect < source->opts.connect_ns)
        sim_handle_later(&get->handle, connect, on_connect);
    else
        sim_handle_later(&get->handle, source->opts.connect_ns, on_connect_timeout);
    return get;
}

static void source_resume(tr__http_get *get)
{
    if (!get->paused || get->handle.dead)
        return;
    get->paused = false;
    give(get);
}

static void source_cancel(tr__http_get *get)
{
    sim_handle_close(&get->handle);
}

/* ---- the source ---------------------------------------------------------------------------------------- */

static void source_fini(sim_handle *handle)
{
    (void)handle; /* its gets are handles of their own */
}

static tr__http_source *source_open(tr__loop *loop, const tr__http_opts *opts, tr_error *error)
{
    tr__http_source *source =
        sim_handle_open(&sim_host_of(loop)->kinds->http->twin, loop, sizeof(*source), source_fini);
    if (source)
        source->opts = *opts;
    else
        tr__fail(error, TR_ENOMEM, "no memory for an HTTP source");
    return source;
}

static void source_close(tr__http_source *source)
{
    sim_handle *next;
    if (!source)
        return;
    for (sim_handle *get = sim_host_of(source->handle.loop)->kinds->http->gets.handles; get; get = next) {
        next = get->next;
        if (((tr__http_get *)get)->source == source)
            sim_handle_close(get);
    }
    sim_handle_close(&source->handle);
}

const tr__http_seam sim_http_seam = {source_open, source_start, source_resume, source_cancel, source_close};

/* ---- the twin ------------------------------------------------------------------------------------------ */

sim_http *sim_http_create(struct tr_sim *sim, tr__random *seeds)
{
    static const char *const names[SIM_HTTP_FAULTS] = {
        [SIM_HTTP_SLOW] = "http-slow",     [SIM_HTTP_REFUSED] = "http-refused",
        [SIM_HTTP_RESET] = "http-reset",   [SIM_HTTP_LENGTH] = "http-length",
        [SIM_HTTP_STATUS] = "http-status", [SIM_HTTP_CHANGED] = "http-changed",
        [SIM_HTTP_SILENT] = "http-silent",
    };
    sim_http *http = sim_alloc(sizeof(*http));
    sim_twin_init(&http->twin, sim, seeds);
    sim_twin_init(&http->gets, sim, seeds);
    sim_fault_setup(http->faults, names, SIM_HTTP_FAULTS, seeds);
    return http;
}

void sim_http_destroy(sim_http *http)
{
    sim_twin_fini(&http->gets);
    sim_twin_fini(&http->twin);
    while (http->origins) {
        sim_origin *origin = http->origins;
        http->origins = origin->next;
        free(origin->prefix);
        free(origin);
    }
    free(http);
}

void sim_http_drop(sim_http *http, uint32_t node)
{
    sim_twin_drop(&http->gets, node);
    sim_twin_drop(&http->twin, node);
}
