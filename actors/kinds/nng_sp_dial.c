/* Dials and listeners of an nng socket, and the count of its peers. See nng_sp.h.
 *
 * A dial has a thread of its own while it is tried and while it is up: nng 1.5 tells the result of a dial only to who waits
 * for it, and its own redials are silent and, by a bug, half of them at once; so as a connection ends its dialer is closed,
 * and the owner dials again when it wants to.
 *
 * The keeper looks after listeners on Unix sockets (ipc, abstract): one peer that closes at once makes nng 1.5 accept nobody
 * any more, for ever, while peers still connect (nng #1518). Every KEEP_S it connects and says that it speaks a protocol that
 * doesn't exist; a listener that lives closes that connection. One that doesn't is made anew, which cuts its peers. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "actors/kinds/nng_sp.h"
#include "base/err.h"
#include "base/mem.h"
#include "transport/nng_err.h"

#define NEVER_MS   3600000 /* nng's own redials: we close the dialer before */
#define DIAL_END_S 1       /* the closer waits so long at most for dials under way, N6 */
#define KEEP_S     5
#define PROBE_S    3

/* ---- pipes --------------------------------------------------------------------------------------------- */

/* Counted in `closing`. Whoever else closes it: twice does no harm. */
static void close_removed(tr__sp *sp, nng_dialer dialer)
{
    nng_dialer_close(dialer);
    pthread_mutex_lock(&sp->lock);
    sp->closing--;
    pthread_cond_broadcast(&sp->changed);
    pthread_mutex_unlock(&sp->lock);
}

/* nng's threads. BEFORE an addition and after a removal come in pairs; of what was refused no addition is told. A dialer
 * whose pipe was removed is closed here: when this returns nng begins its own redial, half of the times at once. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *context)
{
    tr__sp *sp = context;
    int dialer = nng_dialer_id(nng_pipe_dialer(pipe));
    nng_dialer over = NNG_DIALER_INITIALIZER;
    bool refused = false, removed = false;
    pthread_mutex_lock(&sp->lock);
    if (event == NNG_PIPE_EV_ADD_PRE) {
        sp->peers++;
        refused = sp->closed; /* it would have what still waits sent, or lose what it sends */
    } else if (event == NNG_PIPE_EV_REM_POST) {
        sp->peers--;
    }
    for (uint32_t i = 0; dialer > 0 && i < TR_NNG_URLS_MAX; i++) {
        tr__sp_dial *dial = sp->dials[i];
        if (!dial || !dial->busy || nng_dialer_id(dial->dialer) != dialer)
            continue;
        dial->added |= event == NNG_PIPE_EV_ADD_POST;
        dial->removed |= event == NNG_PIPE_EV_REM_POST;
        if (event == NNG_PIPE_EV_REM_POST) {
            removed = true;
            over = dial->dialer; /* the struct may soon be of the next dial */
            dial->open = false;
            sp->closing++;
        }
        pthread_cond_broadcast(&sp->changed);
    }
    pthread_mutex_unlock(&sp->lock);
    if (refused)
        nng_pipe_close(pipe);
    if (removed)
        close_removed(sp, over);
}

static void notify(tr__sp *sp, nng_pipe_cb callback)
{
    nng_pipe_notify(sp->socket, NNG_PIPE_EV_ADD_PRE, callback, sp);
    nng_pipe_notify(sp->socket, NNG_PIPE_EV_ADD_POST, callback, sp);
    nng_pipe_notify(sp->socket, NNG_PIPE_EV_REM_POST, callback, sp);
}

void tr__sp_watch_pipes(tr__sp *sp)
{
    notify(sp, on_pipe);
}

void tr__sp_unwatch_pipes(tr__sp *sp)
{
    notify(sp, NULL);
}

/* ---- dialling ------------------------------------------------------------------------------------------ */

static struct timespec seconds_from_now(int seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    return until;
}

/* Close it, unless somebody else does. Not locked. */
static void close_dialer(tr__sp_dial *dial)
{
    pthread_mutex_lock(&dial->sp->lock);
    bool mine = dial->open;
    nng_dialer dialer = dial->dialer;
    dial->open = false;
    pthread_mutex_unlock(&dial->sp->lock);
    if (mine)
        nng_dialer_close(dialer);
}

/* Make the dialer, and let on_pipe and the closer know it; an error of nng's. */
static int make_dialer(tr__sp_dial *dial)
{
    tr__sp *sp = dial->sp;
    nng_dialer dialer;
    int result = nng_dialer_create(&dialer, sp->socket, dial->url);
    if (result)
        return result;
    nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, NEVER_MS);
    nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, NEVER_MS);
    nng_dialer_set_bool(dialer, NNG_OPT_TCP_NODELAY, true); /* not of all transports */
    pthread_mutex_lock(&sp->lock);
    bool closed = sp->closed;
    dial->dialer = dialer;
    dial->open = !closed;
    pthread_mutex_unlock(&sp->lock);
    if (closed)
        nng_dialer_close(dialer);
    return closed ? NNG_ECLOSED : 0;
}

/* Locked. It is connected, or was for a moment: until that ends, or we. */
static void stay_up(tr__sp_dial *dial)
{
    tr__sp *sp = dial->sp;
    while (!sp->closed && !dial->added && !dial->removed)
        pthread_cond_wait(&sp->changed, &sp->lock);
    if (dial->added && !sp->closed)
        tr__sp_tell(sp, &dial->up, TR__SP_UP, dial->index, 0, "");
    while (!sp->closed && !dial->removed)
        pthread_cond_wait(&sp->changed, &sp->lock);
}

static void *run_dial(void *context)
{
    tr__sp_dial *dial = context;
    tr__sp *sp = dial->sp;
    int result = make_dialer(dial);
    if (!result)
        result = nng_dialer_start(dial->dialer, 0); /* returns when connected, refused, or closed */
    pthread_mutex_lock(&sp->lock);
    dial->dialling = false;
    pthread_cond_broadcast(&sp->changed);
    if (!result)
        stay_up(dial);
    pthread_mutex_unlock(&sp->lock);
    close_dialer(dial);
    pthread_mutex_lock(&sp->lock);
    dial->busy = false;
    pthread_cond_broadcast(&sp->changed);
    if (!sp->closed && dial->added)
        tr__sp_tell(sp, &dial->end, TR__SP_DOWN, dial->index, 0, "");
    else if (!sp->closed && !result)
        tr__sp_tell(sp, &dial->end, TR__SP_FAILED, dial->index, NNG_EPROTO,
                    "it took no connection: is its protocol the counterpart, and (a pair) its place free?");
    else if (!sp->closed)
        tr__sp_tell(sp, &dial->end, TR__SP_FAILED, dial->index, result, "");
    pthread_mutex_unlock(&sp->lock);
    tr__sp_unref(sp);
    return NULL;
}

tr_err tr__sp_begin_dial(tr__sp *sp, uint32_t index, const char *url, tr_error *error)
{
    pthread_mutex_lock(&sp->lock);
    if (!sp->dials[index] && (sp->dials[index] = tr__zalloc(sizeof(tr__sp_dial)))) {
        sp->dials[index]->sp = sp;
        sp->dials[index]->index = index;
        sp->dials[index]->up.fixed = sp->dials[index]->end.fixed = true;
        snprintf(sp->dials[index]->url, TR__SP_URL_MAX, "%s", url);
    }
    tr__sp_dial *dial = sp->dials[index];
    if (dial) {
        dial->dialer = (nng_dialer)NNG_DIALER_INITIALIZER;
        dial->added = dial->removed = false;
        dial->busy = dial->dialling = true;
        dial->open = false;
        sp->refs++;
    }
    pthread_mutex_unlock(&sp->lock);
    if (!dial)
        return tr__fail(error, TR_ENOMEM, "no memory to dial");
    int result = tr__sp_thread(run_dial, dial);
    if (result) {
        pthread_mutex_lock(&sp->lock);
        dial->busy = dial->dialling = false;
        sp->refs--; /* not the last: the loop's handles are open */
        pthread_mutex_unlock(&sp->lock);
        return tr__fail(error, TR_EIO, "no thread to dial: %s; see the limits on threads (ulimit -u)",
                        strerror(result));
    }
    return TR_OK;
}

/* ---- the keeper ---------------------------------------------------------------------------------------- */

/* Does whoever listens there close a connection of a protocol that it doesn't know, as nng does? */
static bool probe(const tr__sp_listener *listener)
{
    static const char header[8] = {0, 'S', 'P', 0, (char)0xff, (char)0xff, 0, 0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = PROBE_S};
    char bytes[64];
    bool abstract = strncmp(listener->url, "abstract:", 9) == 0;
    size_t length = strlen(listener->path);
    if (length + 1 >= sizeof(address.sun_path) || (abstract && strchr(listener->path, '%')))
        return true; /* nng listens there, and we can't tell */
    memcpy(address.sun_path + abstract, listener->path, length);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + length + !abstract);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; /* it is we who can't */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    bool lives = connect(fd, (struct sockaddr *)&address, size) == 0 &&
                 send(fd, header, sizeof(header), MSG_NOSIGNAL) == (ssize_t)sizeof(header);
    ssize_t got = 1;
    while (lives && got > 0)
        got = recv(fd, bytes, sizeof(bytes), 0);
    close(fd);
    return lives && got == 0;
}

static int start_listener(tr__sp *sp, const char *url, nng_listener *listener)
{
    int result = nng_listener_create(listener, sp->socket, url);
    if (result)
        return result;
    nng_listener_set_bool(*listener, NNG_OPT_TCP_NODELAY, true); /* not of all transports */
    result = nng_listener_start(*listener, 0);
    if (result)
        nng_listener_close(*listener);
    return result;
}

/* Not locked; only the keeper changes listeners that are looked after. */
static void look_after(tr__sp *sp, uint32_t index)
{
    tr__sp_listener *listener = &sp->listeners[index];
    nng_listener fresh = NNG_LISTENER_INITIALIZER;
    if (probe(listener))
        return;
    pthread_mutex_lock(&sp->lock);
    bool closed = sp->closed;
    listener->renewing = !closed;
    pthread_mutex_unlock(&sp->lock);
    if (closed)
        return;
    nng_listener_close(listener->listener);
    int result = start_listener(sp, listener->url, &fresh);
    pthread_mutex_lock(&sp->lock);
    listener->listener = fresh;
    listener->renewing = false;
    pthread_cond_broadcast(&sp->changed);
    if (!sp->closed)
        tr__sp_tell_new(sp, TR__SP_RELISTENED, index, result,
                        "nng had stopped to accept, and can't listen anew");
    pthread_mutex_unlock(&sp->lock);
}

static void *run_keeper(void *context)
{
    tr__sp *sp = context;
    pthread_mutex_lock(&sp->lock);
    while (!sp->closed) {
        struct timespec until = seconds_from_now(KEEP_S);
        while (!sp->closed && pthread_cond_timedwait(&sp->changed, &sp->lock, &until) == 0)
            continue;
        for (uint32_t i = 0; !sp->closed && i < sp->listener_count; i++) {
            if (!sp->listeners[i].path)
                continue;
            pthread_mutex_unlock(&sp->lock);
            look_after(sp, i);
            pthread_mutex_lock(&sp->lock);
        }
    }
    sp->kept = false;
    pthread_cond_broadcast(&sp->changed);
    pthread_mutex_unlock(&sp->lock);
    tr__sp_unref(sp);
    return NULL;
}

/* ---- closing ------------------------------------------------------------------------------------------- */

void tr__sp_unlisten(tr__sp *sp)
{
    for (uint32_t i = 0; i < sp->listener_count; i++) {
        pthread_mutex_lock(&sp->lock);
        while (sp->listeners[i].renewing)
            pthread_cond_wait(&sp->changed, &sp->lock);
        nng_listener listener = sp->listeners[i].listener;
        pthread_mutex_unlock(&sp->lock);
        nng_listener_close(listener);
    }
}

/* N6: most are over in a moment, connected or refused. */
static void let_dials_end(tr__sp *sp)
{
    struct timespec until = seconds_from_now(DIAL_END_S);
    int timed_out = 0;
    pthread_mutex_lock(&sp->lock);
    for (uint32_t i = 0; i < TR_NNG_URLS_MAX; i++)
        while (sp->dials[i] && sp->dials[i]->dialling && !timed_out)
            timed_out = pthread_cond_timedwait(&sp->changed, &sp->lock, &until);
    pthread_mutex_unlock(&sp->lock);
}

void tr__sp_end_dialling(tr__sp *sp)
{
    let_dials_end(sp);
    for (uint32_t i = 0; i < TR_NNG_URLS_MAX; i++)
        if (sp->dials[i])
            close_dialer(sp->dials[i]);
    pthread_mutex_lock(&sp->lock);
    for (uint32_t i = 0; i < TR_NNG_URLS_MAX; i++)
        while (sp->dials[i] && sp->dials[i]->busy)
            pthread_cond_wait(&sp->changed, &sp->lock);
    while (sp->kept || sp->closing)
        pthread_cond_wait(&sp->changed, &sp->lock);
    pthread_mutex_unlock(&sp->lock);
}

/* ---- listening ----------------------------------------------------------------------------------------- */

/* The port that was free instead of 0. */
static void bound_url(const char *url, nng_listener listener, char *bound)
{
    const char *host = strstr(url, "://");
    const char *end = host ? strchr(host + 3, '/') : NULL;
    int port = 0;
    end = end ? end : url + strlen(url);
    if (end - url >= 2 && memcmp(end - 2, ":0", 2) == 0 &&
        nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
        snprintf(bound, TR__SP_URL_MAX, "%.*s:%d%s", (int)(end - 2 - url), url, port, end);
    else
        snprintf(bound, TR__SP_URL_MAX, "%s", url);
}

tr_err tr__sp_listen(tr__sp *sp, const char *url, char *bound, tr_error *error)
{
    nng_listener listener;
    int result = start_listener(sp, url, &listener);
    if (result)
        return tr__fail(error, tr__nng_err(result), "cannot listen on %.120s: %s", url, nng_strerror(result));
    pthread_mutex_lock(&sp->lock);
    tr__sp_listener *made = &sp->listeners[sp->listener_count++];
    made->listener = listener;
    bound_url(url, listener, made->url);
    snprintf(bound, TR__SP_URL_MAX, "%s", made->url);
    if (strncmp(url, "ipc://", 6) == 0)
        made->path = made->url + 6;
    else if (strncmp(url, "abstract://", 11) == 0)
        made->path = made->url + 11;
    bool keep = made->path && !sp->kept;
    sp->kept |= keep;
    sp->refs += keep;
    pthread_mutex_unlock(&sp->lock);
    result = keep ? tr__sp_thread(run_keeper, sp) : 0;
    if (result) {
        pthread_mutex_lock(&sp->lock);
        sp->kept = false;
        sp->refs--; /* not the last */
        pthread_mutex_unlock(&sp->lock);
        return tr__fail(error, TR_EIO, "no thread to look after %.120s: %s", url, strerror(result));
    }
    return TR_OK;
}
