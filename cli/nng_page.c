/* The page's server. Requests come on nng's threads, the state from the owner's thread; a lock is between
 * them, held for a copy at most. The page itself is part of the program (page.html, made an array by
 * embed.cmake); its script and style are allowed by their digests, all else is forbidden to it.
 *
 * Failures: no memory for an answer ends that request with an error, the page asks again. */
#include "cli/nng_page.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/nng_http.h"

#define LOOKS_EVERY_MS 2000 /* who asked within that time is there still */
#define DIGEST_TEXT    (sizeof("'sha256-'") + 44)

extern const unsigned char tr__page_html[];
extern const size_t tr__page_html_size;

struct tr__page {
    tr__http http;
    atomic_int users; /* the owner, and the server's handler */
    char policy[360]; /* Content-Security-Policy */
    pthread_mutex_t lock;
    pthread_cond_t asked; /* asks went up */
    char *state;
    uint8_t *picture;
    size_t picture_size;
    uint64_t asks, asked_ms; /* for the state since it was set last; the last time somebody asked */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void leave(void *data)
{
    tr__page *page = data;
    if (atomic_fetch_sub(&page->users, 1) > 1)
        return;
    pthread_cond_destroy(&page->asked);
    pthread_mutex_destroy(&page->lock);
    free(page->state);
    tr__free(page->picture);
    tr__free(page);
}

/* ---- what the browser is told about the page ----------------------------------------------------------- */

/* 'sha256-...' of what stands between the page's only <tag> and </tag>. */
static void digest_of(const char *tag, char out[DIGEST_TEXT])
{
    char begin[16], end[16];
    unsigned char hash[crypto_hash_sha256_BYTES];
    int begin_size = snprintf(begin, sizeof(begin), "<%s>", tag);
    int end_size = snprintf(end, sizeof(end), "</%s>", tag);
    const char *from = memmem(tr__page_html, tr__page_html_size, begin, (size_t)begin_size);
    size_t rest = from ? tr__page_html_size - (size_t)(from - (const char *)tr__page_html) : 0;
    const char *to = from ? memmem(from, rest, end, (size_t)end_size) : NULL;
    tr__check(to, "page.html has no <%s>", tag);
    from += begin_size;
    crypto_hash_sha256(hash, (const unsigned char *)from, (size_t)(to - from));
    strcpy(out, "'sha256-");
    sodium_bin2base64(out + 8, DIGEST_TEXT - 8, hash, sizeof(hash), sodium_base64_VARIANT_ORIGINAL);
    strcat(out, "'");
}

static void make_policy(tr__page *page)
{
    char script[DIGEST_TEXT], style[DIGEST_TEXT];
    digest_of("script", script);
    digest_of("style", style);
    snprintf(page->policy, sizeof(page->policy),
             "default-src 'none'; script-src %s; style-src %s; connect-src 'self'; img-src 'self' data:; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             script, style);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static int set_headers(const tr__page *page, nng_http_res *res, const char *type)
{
    const char *const headers[][2] = {{"Content-Type", type},
                                      {"Content-Security-Policy", page->policy},
                                      {"X-Content-Type-Options", "nosniff"},
                                      {"Cross-Origin-Resource-Policy", "same-origin"},
                                      {"Referrer-Policy", "no-referrer"},
                                      {"Cache-Control", "no-store"}};
    int result = 0;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]) && result == 0; i++)
        result = nng_http_res_set_header(res, headers[i][0], headers[i][1]);
    return result;
}

static void answer(const tr__page *page, nng_aio *aio, const char *type, const void *data, size_t size)
{
    nng_http_res *res = NULL;
    int result = nng_http_res_alloc(&res);
    if (result == 0)
        result = set_headers(page, res, type);
    if (result == 0)
        result = nng_http_res_copy_data(res, data, size);
    tr__http_give(aio, res, result);
}

static void answer_state(tr__page *page, nng_aio *aio)
{
    pthread_mutex_lock(&page->lock);
    const char *state = page->state ? page->state : "{}";
    page->asks++;
    page->asked_ms = now_ms();
    answer(page, aio, "application/json", state, strlen(state));
    pthread_cond_signal(&page->asked);
    pthread_mutex_unlock(&page->lock);
}

static void answer_picture(tr__page *page, nng_aio *aio)
{
    pthread_mutex_lock(&page->lock);
    if (page->picture)
        answer(page, aio, "image/png", page->picture, page->picture_size);
    else
        tr__http_give_status(aio, 404);
    pthread_mutex_unlock(&page->lock);
}

static bool host_is_ours(const tr__page *page, const char *host)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    char own[32];
    for (size_t i = 0; host && i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(own, sizeof(own), "%s:%u", names[i], (unsigned)tr__page_port(page));
        if (strcmp(host, own) == 0)
            return true;
    }
    return false;
}

static void on_request(nng_aio *aio)
{
    nng_http_req *req = nng_aio_get_input(aio, 0);
    tr__page *page = nng_http_handler_get_data(nng_aio_get_input(aio, 1));
    const char *path = nng_http_req_get_uri(req);
    tr__http_no_delay(&page->http);
    if (!host_is_ours(page, nng_http_req_get_header(req, "Host")))
        tr__http_give_status(aio, 403);
    else if (strcmp(path, "/") == 0)
        answer(page, aio, "text/html; charset=utf-8", tr__page_html, tr__page_html_size);
    else if (strcmp(path, "/state.json") == 0)
        answer_state(page, aio);
    else if (strcmp(path, "/picture.png") == 0)
        answer_picture(page, aio);
    else
        tr__http_give_status(aio, 404);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

tr__page *tr__page_open(uint16_t port, tr_error *error)
{
    char address[32];
    pthread_condattr_t monotonic;
    tr__page *page = tr__zalloc(sizeof(*page));
    if (!page) {
        tr__fail(error, TR_ENOMEM, "the page: no memory");
        return NULL;
    }
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&page->asked, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&page->lock, NULL);
    atomic_init(&page->users, 2);
    make_policy(page);
    snprintf(address, sizeof(address), "127.0.0.1:%u", (unsigned)port);
    tr__http_opts http = {
        .address = address, .who = "the page", .on_request = on_request, .data = page, .on_released = leave};
    if (tr__http_open(&page->http, &http, error) == TR_OK)
        return page;
    leave(page);
    return NULL;
}

uint16_t tr__page_port(const tr__page *page)
{
    return (uint16_t)atomic_load(&page->http.port);
}

void tr__page_set_state(tr__page *page, char *json)
{
    if (!json)
        return;
    pthread_mutex_lock(&page->lock);
    char *old = page->state;
    page->state = json;
    page->asks = 0;
    pthread_mutex_unlock(&page->lock);
    free(old);
}

bool tr__page_set_picture(tr__page *page, const void *png, size_t size)
{
    uint8_t *copy = tr__alloc(size);
    if (!copy)
        return false;
    memcpy(copy, png, size);
    pthread_mutex_lock(&page->lock);
    uint8_t *old = page->picture;
    page->picture = copy;
    page->picture_size = size;
    pthread_mutex_unlock(&page->lock);
    tr__free(old);
    return true;
}

/* Stopping the server cuts what it is still sending, so one answer isn't enough: that the same viewer asks
 * once more shows that it came. (A page asks again at once when it sees the end.) */
static void linger(tr__page *page)
{
    uint64_t until = now_ms() + TR__PAGE_LINGER_MS;
    struct timespec end = {.tv_sec = (time_t)(until / 1000), .tv_nsec = (long)(until % 1000) * 1000000};
    pthread_mutex_lock(&page->lock);
    bool watched = page->asked_ms && now_ms() - page->asked_ms < LOOKS_EVERY_MS;
    while (watched && page->asks < 2 && pthread_cond_timedwait(&page->asked, &page->lock, &end) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&page->lock);
}

void tr__page_close(tr__page *page)
{
    if (!page)
        return;
    linger(page);
    tr__http_close(&page->http);
    leave(page);
}
