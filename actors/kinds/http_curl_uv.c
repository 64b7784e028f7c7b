/* HTTP bodies by libcurl's multi_socket interface on the loop's libuv: see http_source.h.
 *
 * Everything runs on the loop's thread (curl resolves names on threads of its own). Happy path of a get:
 *
 *     start: easy handle made and added -> curl sets sockets and timers through on_socket, on_timeout
 *     -> uv tells of them -> curl_multi_socket_action -> on_body: head, then data
 *     -> curl_multi_info_read says done: handle removed, `done` told, get freed
 *
 * How it can fail: a transfer's failure is translated once, in translate(), and told by `done`. If curl or
 * memory for a socket's watcher fails, the multi handle is beyond use: all gets end with TR_ECLOSED, and
 * start refuses from then on.
 *
 * curl_multi_info_read is drained after every call into curl, whatever the number of running handles says:
 * that number is already 0 when the last completion is still to be read.
 *
 * HTTP/1.1 only, one transfer a connection: a transfer that is paused because the disk is slow must not hold
 * up another one. No proxy, no .netrc, no environment: what is fetched depends on the URL alone. */
#include "actors/kinds/http_source.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "actors/driver/kinds_uv.h"
#include "base/err.h"
#include "base/mem.h"

#define REDIRECTS_MAX 5
#define DROP_MAX      (64 * 1024)
#define NUDGE_MS      50

typedef struct watch {
    uv_poll_t poll;
    tr__http_source *source;
    struct watch *next, **link;
} watch;

struct tr__http_source {
    CURLM *multi;
    uv_loop_t *loop;
    uv_timer_t timer, nudge;
    watch *watches;
    tr__http_get *gets;
    tr__http_opts opts;
    uint32_t handles; /* uv's, that aren't closed */
    bool lame;        /* on_socket failed: curl says so only sometimes, and then does no more */
    bool broken;      /* lame, and all gets were told */
    bool closing, in_timer;
};

struct tr__http_get {
    tr__http_source *source;
    CURL *easy;
    const tr__http_upcalls *upcalls;
    void *context;
    struct curl_slist *headers;
    tr__http_get *next, **link;
    bool headed, dropping, aborted;
    uint64_t dropped;
    char why[CURL_ERROR_SIZE];
};

/* ---- one get ------------------------------------------------------------------------------------------- */

static void release(tr__http_get *get)
{
    *get->link = get->next;
    if (get->next)
        get->next->link = get->link;
    if (get->easy) {
        curl_multi_remove_handle(get->source->multi, get->easy);
        curl_easy_cleanup(get->easy);
    }
    curl_slist_free_all(get->headers);
    tr__free(get);
}

static const char *header(CURL *easy, const char *name)
{
    struct curl_header *found;
    return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK ? found->value : "";
}

/* curl takes a Content-Length that is too large for one that isn't there, and of several the last. */
static bool lengths_agree(CURL *easy)
{
    struct curl_header *found;
    uint64_t first = 0;
    for (size_t i = 0; curl_easy_header(easy, "Content-Length", i, CURLH_HEADER, -1, &found) == CURLHE_OK;
         i++) {
        char *end = found->value;
        errno = 0;
        uint64_t length = isdigit((unsigned char)*end) ? strtoull(end, &end, 10) : 0;
        if (end == found->value || *end != '\0' || errno || length > INT64_MAX || (i > 0 && length != first))
            return false;
        first = length;
    }
    return true;
}

static uint64_t body_length(CURL *easy)
{
    curl_off_t length = -1;
    if (!lengths_agree(easy))
        return TR__HTTP_MALFORMED;
    curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length < 0 ? TR__HTTP_UNKNOWN : (uint64_t)length;
}

static void tell_head(tr__http_get *get)
{
    long status = 0;
    curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &status);
    tr__http_head head = {
        .status = (uint32_t)status,
        .length = body_length(get->easy),
        .content_range = header(get->easy, "Content-Range"),
        .etag = header(get->easy, "ETag"),
        .last_modified = header(get->easy, "Last-Modified"),
    };
    get->headed = true;
    tr__http_verdict verdict = get->upcalls->head(get->context, &head);
    get->dropping = verdict == TR__HTTP_DROP;
    get->aborted = verdict == TR__HTTP_ABORT;
}

/* curl has some of the body. */
static size_t on_body(char *data, size_t one, size_t count, void *context)
{
    tr__http_get *get = context;
    size_t size = one * count;
    if (!get->headed)
        tell_head(get);
    if (get->dropping) {
        get->dropped += size;
        get->aborted |= get->dropped > DROP_MAX;
    } else if (!get->aborted && size > 0) {
        tr__http_verdict verdict = get->upcalls->data(get->context, data, size);
        if (verdict == TR__HTTP_PAUSE)
            return CURL_WRITEFUNC_PAUSE;
        get->aborted = verdict == TR__HTTP_ABORT;
    }
    return get->aborted ? CURL_WRITEFUNC_ERROR : size;
}

static tr_err translate_connect(CURL *easy)
{
    long number = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
    tr_err code = tr__err_from_errno((int)number);
    return code == TR_EREFUSED || code == TR_EDEADLINE || code == TR_EPERM ? code : TR_ENOCONN;
}

/* What befell a transfer, for people and for programs. The text has no URL in it. */
static tr_err translate(tr__http_get *get, CURLcode result, char *text, size_t room)
{
    const char *why = get->why[0] ? get->why : curl_easy_strerror(result);
    curl_off_t got = 0;
    long status = 0;
    curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(get->easy, CURLINFO_SIZE_DOWNLOAD_T, &got);
    switch (result) {
    case CURLE_OK:
        text[0] = '\0';
        return TR_OK;
    case CURLE_UNSUPPORTED_PROTOCOL:
        if (status == 0) {
            snprintf(text, room, "what answers there doesn't speak HTTP (%.80s); check host and port", why);
            return TR_EPROTO;
        }
        /* fall through */
    case CURLE_URL_MALFORMAT:
        snprintf(text, room,
                 "the URL, or where it leads to, can't be fetched: %.100s; give http:// or https://", why);
        return TR_EINVAL;
    case CURLE_COULDNT_RESOLVE_HOST:
        snprintf(text, room, "%.140s; check the host's name and this machine's name service", why);
        return TR_EADDR;
    case CURLE_COULDNT_CONNECT:
        snprintf(text, room, "%.140s; check that the server runs and listens there", why);
        return translate_connect(get->easy);
    case CURLE_OPERATION_TIMEDOUT:
        snprintf(text, room, "%.140s; check the server, or raise connect_ns", why);
        return TR_EDEADLINE;
    case CURLE_PARTIAL_FILE:
        snprintf(text, room,
                 "the body ended early, after %" PRId64 " bytes (%.80s); try again, with resume to go on "
                 "from there",
                 (int64_t)got, why);
        return TR_ESHORT;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
        snprintf(text, room, "the server cut the connection after %" PRId64 " bytes (%.80s); try again",
                 (int64_t)got, why);
        return TR_ERESET;
    case CURLE_TOO_MANY_REDIRECTS:
        snprintf(text, room, "redirected more than %d times; check the URL", REDIRECTS_MAX);
        return TR_EPROTO;
    case CURLE_ABORTED_BY_CALLBACK: /* of all its transfers, when on_socket failed for one */
        snprintf(text, room, "no memory to watch a socket");
        return TR_ECLOSED;
    case CURLE_OUT_OF_MEMORY:
        snprintf(text, room, "no memory for the transfer, or a line of the answer's head is above 100 KB");
        return TR_ENOMEM;
    default:
        snprintf(text, room, "%.160s", why);
        return TR_EPROTO; /* not HTTP, or TLS that fails */
    }
}

static void finish_get(tr__http_get *get, CURLcode result)
{
    char text[TR_ERROR_TEXT_MAX];
    const tr__http_upcalls *upcalls = get->upcalls;
    void *context = get->context;
    if (result == CURLE_OK && !get->headed)
        tell_head(get);
    tr_err code = translate(get, result, text, sizeof(text));
    if (get->aborted) {
        code = get->dropping ? TR_OK : TR_ECANCELED; /* dropping: enough came of what nobody wants */
        snprintf(text, sizeof(text), "given up");
    }
    release(get);
    upcalls->done(context, code, text);
}

/* ---- the source ---------------------------------------------------------------------------------------- */

static void break_down(tr__http_source *source, const char *why)
{
    source->broken = true;
    uv_timer_stop(&source->timer);
    while (source->gets) {
        tr__http_get *get = source->gets;
        const tr__http_upcalls *upcalls = get->upcalls;
        void *context = get->context;
        release(get);
        upcalls->done(context, TR_ECLOSED, why);
    }
}

/* After every call into curl: who is done? */
static void drain(tr__http_source *source, CURLMcode code)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(source->multi, &left)) != NULL) {
        CURLcode result = message->data.result; /* the message dies with the handle's removal */
        tr__http_get *get = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&get);
        finish_get(get, result);
    }
    if ((code != CURLM_OK || source->lame) && !source->broken && !source->closing)
        break_down(source, source->lame ? "no memory to watch a socket" : curl_multi_strerror(code));
}

static void kick(tr__http_source *source);

static void on_timer(uv_timer_t *timer)
{
    tr__http_source *source = timer->data;
    source->in_timer = true;
    kick(source);
    source->in_timer = false;
}

static int on_timeout(CURLM *multi, long timeout_ms, void *context)
{
    tr__http_source *source = context;
    (void)multi;
    if (timeout_ms < 0) {
        uv_timer_stop(&source->timer);
        return 0;
    }
    /* uv counts from the start of its iteration, and both cut to milliseconds. It calls timers that are due
     * at once before anything else happens, so from within one the next comes a little later. */
    uint64_t delay = timeout_ms > 0 ? (uint64_t)timeout_ms + 2 : source->in_timer;
    uv_update_time(source->loop);
    uv_timer_start(&source->timer, on_timer, delay, 0);
    return 0;
}

/* Let curl see to its timers. It doesn't set the next one again if it finds that this one came too early. */
static void kick(tr__http_source *source)
{
    int running;
    long next = -1;
    drain(source, curl_multi_socket_action(source->multi, CURL_SOCKET_TIMEOUT, 0, &running));
    if (!source->broken && !uv_is_active((uv_handle_t *)&source->timer) &&
        curl_multi_timeout(source->multi, &next) == CURLM_OK && next >= 0)
        on_timeout(source->multi, next, source);
}

static void destroy_if_closed(tr__http_source *source)
{
    if (--source->handles == 0 && source->closing)
        tr__free(source);
}

static void on_watch_closed(uv_handle_t *handle)
{
    watch *w = handle->data;
    tr__http_source *source = w->source;
    tr__free(w);
    destroy_if_closed(source);
}

static void on_timer_closed(uv_handle_t *handle)
{
    destroy_if_closed(handle->data);
}

static void close_watch(watch *w)
{
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    tr__http_source *source = ((watch *)poll->data)->source;
    int running, flags = 0;
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)poll, &fd) != 0)
        return;
    flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    flags |= status < 0 ? CURL_CSELECT_ERR : 0;
    drain(source, curl_multi_socket_action(source->multi, fd, flags, &running));
}

static watch *open_watch(tr__http_source *source, curl_socket_t fd)
{
    watch *w = tr__zalloc(sizeof(*w));
    if (!w || uv_poll_init_socket(source->loop, &w->poll, fd) != 0) {
        tr__free(w);
        return NULL;
    }
    w->poll.data = w;
    w->source = source;
    w->next = source->watches;
    w->link = &source->watches;
    if (w->next)
        w->next->link = &w->next;
    source->watches = w;
    source->handles++;
    return w;
}

/* curl wants to hear of this socket, or no more. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket_context)
{
    tr__http_source *source = context;
    watch *w = socket_context;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            close_watch(w);
        curl_multi_assign(source->multi, fd, NULL);
        return 0;
    }
    if (!w) {
        w = open_watch(source, fd);
        source->lame |= !w;
        if (!w)
            return -1;
        curl_multi_assign(source->multi, fd, w);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    if (uv_poll_start(&w->poll, events, on_ready) == 0)
        return 0;
    source->lame = true;
    return -1;
}

/* ---- the seam ------------------------------------------------------------------------------------------ */

static CURLcode global_result;

static void init_curl(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static tr__http_source *source_open(tr__loop *loop, const tr__http_opts *opts, tr_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uv_loop_t *driver = tr__loop_driver(loop);
    pthread_once(&once, init_curl);
    tr__http_source *source = tr__zalloc(sizeof(*source));
    CURLM *multi = source && global_result == CURLE_OK ? curl_multi_init() : NULL;
    if (!multi) {
        tr__free(source);
        tr__fail(error, TR_ENOMEM, "libcurl can't be set up: no memory");
        return NULL;
    }
    source->multi = multi;
    source->loop = driver;
    source->opts = *opts;
    source->timer.data = source->nudge.data = source;
    source->handles = 2;
    uv_timer_init(driver, &source->timer);
    uv_timer_init(driver, &source->nudge);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, source);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, source);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)opts->parallel);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    return source;
}

static CURLcode set_request(tr__http_get *get, const tr__http_request *request)
{
    char range[32], line[320];
    CURL *easy = get->easy;
    CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, request->url);
    if (request->from > 0) {
        snprintf(range, sizeof(range), "%" PRIu64 "-", request->from);
        code = code ? code : curl_easy_setopt(easy, CURLOPT_RANGE, range);
    }
    if (request->from > 0 && request->if_range[0]) {
        snprintf(line, sizeof(line), "If-Range: %.290s", request->if_range);
        get->headers = curl_slist_append(NULL, line);
        code = code ? code : get->headers ? CURLE_OK : CURLE_OUT_OF_MEMORY;
        code = code ? code : curl_easy_setopt(easy, CURLOPT_HTTPHEADER, get->headers);
    }
    return code;
}

static CURLcode set_options(tr__http_get *get, const char *url)
{
    CURL *easy = get->easy;
    bool tls = (url[4] | 0x20) == 's';
    curl_easy_setopt(easy, CURLOPT_PRIVATE, get);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, get->why);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, get);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a cancel doesn't wait for the name service */
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 64L * 1024);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(get->source->opts.connect_ns / 1000000));
    curl_easy_setopt(easy, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)get->source->opts.bytes_per_second);
    /* These allocate. A redirect never goes from https to http. */
    CURLcode code = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    code = code ? code : curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
    code = code ? code : curl_easy_setopt(easy, CURLOPT_PROXY, "");
    return code ? code : curl_easy_setopt(easy, CURLOPT_USERAGENT, "troupe/" TR_VERSION);
}

static tr__http_get *source_start(tr__http_source *source, const tr__http_request *request,
                                  const tr__http_upcalls *upcalls, void *context, tr_error *error)
{
    if (source->broken || source->lame) {
        tr__fail(error, TR_ECLOSED, "libcurl failed earlier; the downloader has to be started again");
        return NULL;
    }
    tr__http_get *get = tr__zalloc(sizeof(*get));
    CURL *easy = get ? curl_easy_init() : NULL;
    if (!easy) {
        tr__free(get);
        tr__fail(error, TR_ENOMEM, "no memory for a transfer");
        return NULL;
    }
    get->source = source;
    get->easy = easy;
    get->upcalls = upcalls;
    get->context = context;
    get->next = source->gets;
    get->link = &source->gets;
    if (get->next)
        get->next->link = &get->next;
    source->gets = get;
    CURLcode code = set_request(get, request);
    code = code ? code : set_options(get, request->url);
    if (code != CURLE_OK || curl_multi_add_handle(source->multi, easy) != CURLM_OK) {
        tr__fail(error, code == CURLE_OUT_OF_MEMORY ? TR_ENOMEM : TR_EINVAL, "can't be fetched: %s",
                 curl_easy_strerror(code));
        release(get);
        return NULL;
    }
    return get;
}

/* curl 7.88, when a transfer with a bound on its speed was paused with all of its body read, waits for its
 * socket after the pause, on which nothing comes any more: it ended by the connect time-out's timer, seconds
 * later. So while there is such a bound, once one was paused, all are looked at now and then. */
static void on_nudge(uv_timer_t *timer)
{
    tr__http_source *source = timer->data;
    int running;
    if (!source->gets) {
        uv_timer_stop(timer);
        return;
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* deprecated as slow; that is what we want */
    drain(source, curl_multi_socket_all(source->multi, &running));
#pragma GCC diagnostic pop
}

static void source_resume(tr__http_get *get)
{
    tr__http_source *source = get->source;
    CURLcode code = curl_easy_pause(get->easy, CURLPAUSE_CONT); /* gives what curl held back, at once */
    if (code != CURLE_OK)
        finish_get(get, code);
    kick(source);
    if (source->opts.bytes_per_second > 0 && !uv_is_active((uv_handle_t *)&source->nudge))
        uv_timer_start(&source->nudge, on_nudge, NUDGE_MS, NUDGE_MS);
}

static void source_cancel(tr__http_get *get)
{
    release(get);
}

static void source_close(tr__http_source *source)
{
    if (!source)
        return;
    source->closing = true;
    while (source->gets)
        release(source->gets);
    curl_multi_cleanup(source->multi);
    while (source->watches)
        close_watch(source->watches);
    uv_close((uv_handle_t *)&source->timer, on_timer_closed);
    uv_close((uv_handle_t *)&source->nudge, on_timer_closed);
}

const tr__http_seam tr__http_curl = {source_open, source_start, source_resume, source_cancel, source_close};
