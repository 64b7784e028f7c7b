/* The demo's web server on nng's HTTP server. Requests come on nng's threads. A file's answer is read there
 * in one piece (the demo's files are at most some MB) and given to nng, which sends it as the client takes
 * it. An echo request waits in a table for the actor's answer; the table has a bound and a lock of its own.
 *
 * Failures: a port in use is told by open; a file that can't be read, or got shorter, is a 500 and never a
 * body of another length than promised; a range outside the file is a 416; a full table, or closing, a 503.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/demo/nng_web.h"
#include "cli/nng_http.h"

typedef struct waiting {
    nng_aio *aio; /* NULL: this place is free */
    uint64_t ticket;
} waiting;

struct tr__web {
    tr__web_opts opts;
    tr__http http;
    char *list; /* GET /list's answer, made once */
    size_t list_size;
    pthread_mutex_t lock; /* for what follows */
    waiting waits[TR__WEB_WAITING_MAX];
    uint64_t next_ticket;
    bool closing;
};

/* ---- answers ------------------------------------------------------------------------------------------- */

static void answer_data(nng_aio *aio, const char *type, const void *data, size_t size)
{
    nng_http_res *res = NULL;
    int result = nng_http_res_alloc(&res);
    if (result == 0)
        result = nng_http_res_set_header(res, "Content-Type", type);
    if (result == 0)
        result = nng_http_res_copy_data(res, data, size);
    tr__http_give(aio, res, result);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void etag_of(const tr__web_file *file, char *out, size_t room)
{
    snprintf(out, room, "\"%" PRIx64 "-%" PRIx64 "\"", file->size, (uint64_t)file->modified_ns);
}

/* What part is asked for: 200 whole, 206 part, 416 none of it. Only single ranges with a start are known; the
 * others are answered with the whole file, as HTTP allows. */
static uint16_t range_of(nng_http_req *req, const tr__web_file *file, const char *etag, uint64_t *from,
                         uint64_t *size)
{
    *from = 0;
    *size = file->size;
    const char *range = nng_http_req_get_header(req, "Range");
    const char *if_range = nng_http_req_get_header(req, "If-Range");
    uint64_t first, last;
    int end = 0;
    if (!range || (if_range && strcmp(if_range, etag) != 0))
        return 200;
    int fields = sscanf(range, "bytes=%" SCNu64 "-%n%" SCNu64, &first, &end, &last);
    if (fields < 1 || end == 0 || range[6] == '-')
        return 200;
    if (fields < 2) {
        if (range[end] != 0)
            return 200;
        last = UINT64_MAX;
    }
    if (first >= file->size)
        return 416;
    if (last < first)
        return 200;
    if (last >= file->size)
        last = file->size - 1;
    *from = first;
    *size = last - first + 1;
    return 206;
}

static bool read_part(const char *path, uint64_t from, uint8_t *into, uint64_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    uint64_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, into + done, size - done, (off_t)(from + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (uint64_t)got;
    }
    close(fd);
    return done == size;
}

static int file_headers(nng_http_res *res, const tr__web_file *file, const char *etag, uint16_t status,
                        uint64_t from, uint64_t size)
{
    char text[80];
    int result = nng_http_res_set_status(res, status);
    if (result == 0)
        result = nng_http_res_set_header(res, "Accept-Ranges", "bytes");
    if (result == 0)
        result = nng_http_res_set_header(res, "ETag", etag);
    if (result == 0)
        result = nng_http_res_set_header(res, "Content-Type", "application/octet-stream");
    if (status == 206)
        snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from, from + size - 1,
                 file->size);
    else
        snprintf(text, sizeof(text), "bytes */%" PRIu64, file->size);
    if (result == 0 && status != 200)
        result = nng_http_res_set_header(res, "Content-Range", text);
    return result;
}

static void answer_file(nng_aio *aio, nng_http_req *req, const tr__web_file *file)
{
    char etag[48];
    uint64_t from, size;
    nng_http_res *res = NULL;
    etag_of(file, etag, sizeof(etag));
    uint16_t status = range_of(req, file, etag, &from, &size);
    if (status == 416)
        size = 0;
    uint8_t *data = tr__alloc(size);
    if (!data) {
        tr__http_give_status(aio, 503);
        return;
    }
    if (!read_part(file->path, from, data, size)) {
        tr__free(data);
        tr__http_give_status(aio, 500);
        return;
    }
    int result = nng_http_res_alloc(&res);
    if (result == 0)
        result = file_headers(res, file, etag, status, from, size);
    if (result == 0)
        result = nng_http_res_copy_data(res, data, size);
    tr__free(data);
    tr__http_give(aio, res, result);
}

/* ---- echo ---------------------------------------------------------------------------------------------- */

static void take_echo(tr__web *web, nng_aio *aio, uint64_t number)
{
    uint64_t ticket = 0;
    pthread_mutex_lock(&web->lock);
    for (uint32_t i = 0; i < TR__WEB_WAITING_MAX && !web->closing; i++)
        if (!web->waits[i].aio) {
            ticket = ++web->next_ticket * TR__WEB_WAITING_MAX + i;
            web->waits[i] = (waiting){aio, ticket};
            break;
        }
    pthread_mutex_unlock(&web->lock);
    if (!ticket)
        tr__http_give_status(aio, 503);
    else if (!web->opts.on_echo(web->opts.context, ticket, number))
        tr__web_answer(web, ticket, NULL);
}

void tr__web_answer(tr__web *web, uint64_t ticket, const char *text)
{
    waiting *place = &web->waits[ticket % TR__WEB_WAITING_MAX];
    nng_aio *aio = NULL;
    pthread_mutex_lock(&web->lock);
    if (place->ticket == ticket) {
        aio = place->aio;
        *place = (waiting){NULL, 0};
    }
    pthread_mutex_unlock(&web->lock);
    if (aio && text)
        answer_data(aio, "text/plain", text, strlen(text));
    else if (aio)
        tr__http_give_status(aio, 503);
}

/* ---- the server ---------------------------------------------------------------------------------------- */

static void on_request(nng_aio *aio)
{
    nng_http_req *req = nng_aio_get_input(aio, 0);
    tr__web *web = nng_http_handler_get_data(nng_aio_get_input(aio, 1));
    const char *path = nng_http_req_get_uri(req);
    uint64_t number;
    int end = 0;
    tr__http_no_delay(&web->http);
    if (strcmp(path, "/list") == 0)
        answer_data(aio, "application/json", web->list, web->list_size);
    else if (sscanf(path, "/echo/%" SCNu64 "%n", &number, &end) == 1 && path[end] == 0)
        take_echo(web, aio, number);
    else if (sscanf(path, "/files/%" SCNu64 "%n", &number, &end) == 1 && path[end] == 0 &&
             number < web->opts.file_count)
        answer_file(aio, req, &web->opts.files[number]);
    else
        tr__http_give_status(aio, 404);
}

/* A path as a JSON string may need; bytes that aren't plain ASCII never come (the choice leaves them out). */
static size_t list_size_of(const tr__web_opts *opts)
{
    size_t size = 16;
    for (uint32_t i = 0; i < opts->file_count; i++)
        size += strlen(opts->files[i].path) + 64;
    return size;
}

static bool make_list(tr__web *web)
{
    size_t room = list_size_of(&web->opts), used = 1;
    if (!(web->list = tr__alloc(room)))
        return false;
    web->list[0] = '[';
    for (uint32_t i = 0; i < web->opts.file_count; i++)
        used += (size_t)snprintf(web->list + used, room - used,
                                 "%s{\"n\":%" PRIu32 ",\"size\":%" PRIu64 ",\"path\":\"%s\"}", i ? ",\n" : "",
                                 i, web->opts.files[i].size, web->opts.files[i].path);
    used += (size_t)snprintf(web->list + used, room - used, "]\n");
    web->list_size = used;
    return true;
}

tr__web *tr__web_open(const tr__web_opts *opts, tr_error *error)
{
    tr__web *web = tr__zalloc(sizeof(*web));
    if (!web || (web->opts = *opts, !make_list(web))) {
        tr__free(web);
        tr__fail(error, TR_ENOMEM, "the web server of %u files: no memory", opts->file_count);
        return NULL;
    }
    pthread_mutex_init(&web->lock, NULL);
    tr__http_opts http = {
        .address = opts->address, .who = "the web server", .on_request = on_request, .data = web};
    if (tr__http_open(&web->http, &http, error) == TR_OK)
        return web;
    tr__web_close(web);
    return NULL;
}

uint16_t tr__web_port(const tr__web *web)
{
    return (uint16_t)atomic_load(&web->http.port);
}

void tr__web_close(tr__web *web)
{
    if (!web)
        return;
    pthread_mutex_lock(&web->lock);
    web->closing = true;
    pthread_mutex_unlock(&web->lock);
    for (uint32_t i = 0; i < TR__WEB_WAITING_MAX; i++) {
        pthread_mutex_lock(&web->lock);
        uint64_t ticket = web->waits[i].ticket;
        pthread_mutex_unlock(&web->lock);
        if (ticket)
            tr__web_answer(web, ticket, NULL);
    }
    tr__http_close(&web->http);
    pthread_mutex_destroy(&web->lock);
    tr__free(web->list);
    tr__free(web);
}
