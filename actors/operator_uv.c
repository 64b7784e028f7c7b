/* The operator socket: $XDG_RUNTIME_DIR/troupe/NODE.sock, served by the control thread, so that a node whose loops are
 * stuck still says so. Who may connect, frames and requests: docs/operator.md.
 *
 *     READING ──frame──► (not a request: the error) ──────────────► WRITING ──written──► READING
 *        └──request──► WAITING ──each loop answered, or time is up──► ┘        └──a broken frame's──► closed
 *
 * A client has one request at a time: no byte of it is read meanwhile, so what it makes us hold is one frame, one answer
 * and READ_SIZE. Clients beyond CLIENTS_MAX are turned away. A loop that doesn't answer in time is told as such; its
 * answer, when it comes, is dropped.
 *
 * Failures: no socket to be had (the directory isn't ours, a living node has that name): a warning at the start, and the
 * node runs without. A client that breaks the framing hears why and is closed; others are served. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <troupe/troupe.h>

#include "actors/node_uv.h"
#include "actors/operator.h"
#include "actors/send.h"
#include "base/err.h"
#include "base/mem.h"
#include "mailbox/json.h"

#define CLIENTS_MAX 32
#define BACKLOG     16
#define READ_SIZE   16384
#define MARGIN \
    TR_MILLIS(500) /* beyond a request's own time-out, so that the loop's words for it come first */

typedef struct client {
    struct client *next;
    struct tr__operator_socket *socket;
    uv_pipe_t pipe;
    uv_timer_t timer;
    uv_write_t write;
    uint8_t open_handles;
    bool closing;
    tr__operator_reader reader;
    char bytes[READ_SIZE];
    size_t at, end; /* of `bytes`: read, not yet looked at */
    /* WAITING */
    uint64_t number; /* of its request; 0: none */
    const tr__operator_row *row;
    uint32_t first, left; /* the only loop asked; loops that haven't answered */
    bool answered[TR__LOOPS_MAX];
    json_t *answers[TR__LOOPS_MAX];
    /* WRITING */
    uint8_t head[4];
    char *text;
    bool last; /* close when it is written */
} client;

/* A loop's answer on its way. */
typedef struct answer {
    struct answer *next;
    uint64_t number;
    uint32_t loop;
    json_t *value;
} answer;

typedef struct tr__operator_socket {
    tr__control *control;
    tr_node *node;
    tr__operators operators;
    uv_pipe_t pipe;
    uv_async_t wake;
    char path[TR__OPERATOR_PATH_MAX];
    dev_t device; /* of the path as we made it */
    ino_t inode;
    client *clients;
    uint32_t client_count;
    uint64_t next_number, started_ns;
    /* Any thread */
    pthread_mutex_t lock;
    bool shut;
    answer *answers, **answers_end;
} tr__operator_socket;

/* ---- writing ------------------------------------------------------------------------------------------- */

static void look_at_bytes(client *c);

static void on_client_closed(uv_handle_t *handle)
{
    client *c = handle->data;
    if (--c->open_handles)
        return;
    client **at = &c->socket->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->socket->client_count--;
    for (uint32_t i = 0; i < TR__LOOPS_MAX; i++)
        json_decref(c->answers[i]);
    tr__operator_reader_fini(&c->reader);
    tr__free(c->text);
    tr__free(c);
}

static void client_close(client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    c->number = 0;
    uv_close((uv_handle_t *)&c->pipe, on_client_closed);
    uv_close((uv_handle_t *)&c->timer, on_client_closed);
}

static void on_written(uv_write_t *write, int status)
{
    client *c = write->data;
    tr__free(c->text);
    c->text = NULL;
    if (status != 0 || c->last)
        client_close(c);
    else if (!c->closing)
        look_at_bytes(c);
}

/* Takes `value`; NULL: there was no memory for it. */
static void respond(client *c, json_t *value)
{
    tr_error error;
    char *text = tr__json_text(value);
    json_decref(value);
    if (text && strlen(text) > TR__OPERATOR_FRAME_MAX) {
        tr__fail(&error, TR_ETOOBIG, "an answer of %zu bytes; the limit is %u", strlen(text),
                 TR__OPERATOR_FRAME_MAX);
        tr__free(text);
        value = tr__operator_error(&error);
        text = tr__json_text(value);
        json_decref(value);
    }
    if (!text)
        text = tr__strdup(
            "{\"ok\":false,\"error\":{\"code\":\"no-memory\",\"text\":\"no memory for the answer\"}}");
    if (!text) {
        client_close(c);
        return;
    }
    c->text = text;
    tr__operator_head(c->head, (uint32_t)strlen(text));
    uv_buf_t parts[] = {uv_buf_init((char *)c->head, sizeof(c->head)),
                        uv_buf_init(text, (unsigned)strlen(text))};
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->pipe, parts, 2, on_written) != 0)
        client_close(c);
}

static void refuse(client *c, const tr_error *error, bool last)
{
    c->last = last;
    respond(c, tr__operator_error(error));
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static json_t *node_facts(const tr__operator_socket *s)
{
    const tr_node *node = s->node;
    char id[20];
    snprintf(id, sizeof(id), "%016" PRIx64, node->id);
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:i, s:s, s:I}", "name", node->name, "cluster", node->cluster,
                     "incarnation", id, "pid", (int)uv_os_getpid(), "version", TR_VERSION, "loops",
                     (int)node->loop_count, "listen", tr_node_listen(node), "uptime_ms",
                     (json_int_t)((uv_hrtime() - s->started_ns) / 1000000u));
}

/* "actor ... for N ms", or that nothing more is known. */
static void why_silent(const client *c, uint32_t loop, char *out, size_t room)
{
    char what[256];
    uint64_t ms = tr__control_stuck(c->socket->control, loop, what, sizeof(what));
    if (ms)
        snprintf(out, room, "loop %u does not answer: %s for %llu ms", loop, what, (unsigned long long)ms);
    else
        snprintf(out, room, "loop %u does not answer in time: it has much to do", loop);
}

static json_t *of_all_loops(client *c)
{
    json_t *loops = json_array();
    for (uint32_t i = 0; i < c->socket->node->loop_count; i++) {
        char why[320];
        if (!c->answered[i]) {
            why_silent(c, i, why, sizeof(why));
            json_array_append_new(loops,
                                  json_pack("{s:i, s:b, s:s}", "loop", (int)i, "silent", 1, "why", why));
        } else if (json_array_append_new(loops, c->answers[i]) != 0) { /* of NULL too */
            json_array_append_new(loops, json_pack("{s:i, s:b, s:s}", "loop", (int)i, "silent", 1, "why",
                                                   "it has no memory to answer"));
        }
        c->answers[i] = NULL;
    }
    return json_pack("{s:b, s:o, s:o}", "ok", 1, "node", node_facts(c->socket), "loops", loops);
}

static void finish(client *c)
{
    uv_timer_stop(&c->timer);
    c->number = 0;
    if (c->row->every_loop) {
        respond(c, of_all_loops(c));
    } else if (c->answered[c->first]) {
        json_t *value = c->answers[c->first];
        c->answers[c->first] = NULL;
        respond(c, value);
    } else {
        char why[320];
        tr_error error;
        why_silent(c, c->first, why, sizeof(why));
        tr__fail(&error, TR_EDEADLINE, "%s", why);
        refuse(c, &error, false);
    }
}

static void on_time_up(uv_timer_t *timer)
{
    finish(timer->data);
}

static void take_answer(client *c, uint32_t loop, json_t *value)
{
    c->answered[loop] = true;
    c->answers[loop] = value;
    if (--c->left == 0)
        finish(c);
}

static void on_wake(uv_async_t *handle)
{
    tr__operator_socket *s = handle->data;
    pthread_mutex_lock(&s->lock);
    answer *all = s->answers;
    s->answers = NULL;
    s->answers_end = &s->answers;
    pthread_mutex_unlock(&s->lock);
    while (all) {
        answer *a = all;
        all = a->next;
        client *c = s->clients;
        while (c && c->number != a->number)
            c = c->next;
        if (c)
            take_answer(c, a->loop, a->value);
        else
            json_decref(a->value); /* too late */
        tr__free(a);
    }
}

/* A loop's thread. Without memory for the way the client hears that the loop is silent. */
static void on_answered(void *context, uint64_t number, uint32_t loop, json_t *value)
{
    tr__operator_socket *s = context;
    answer *a = tr__alloc(sizeof(*a));
    if (!a) {
        json_decref(value);
        return;
    }
    *a = (answer){.number = number, .loop = loop, .value = value};
    pthread_mutex_lock(&s->lock);
    *s->answers_end = a;
    s->answers_end = &a->next;
    pthread_mutex_unlock(&s->lock);
    uv_async_send(&s->wake);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

/* Under the lock, so that none comes to a loop that has ended. */
static tr_err post(tr__operator_socket *s, uint32_t loop, uint64_t number, const char *text)
{
    tr__operator_request request = {.number = number, .text = text};
    pthread_mutex_lock(&s->lock);
    tr_err err =
        s->shut ? TR_ECLOSED
                : tr__post_notice(s->node, s->operators.actors[loop], &tr__operator_request_type, &request);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static void start_request(client *c, const json_t *request, const char *text)
{
    tr__operator_socket *s = c->socket;
    uint64_t wait = c->row->has_timeout ? tr__operator_timeout(request) + MARGIN : TR__OPERATOR_LOOP_WAIT;
    uint32_t first = c->row->every_loop ? 0 : tr__operator_loop(s->node, request);
    uint32_t end = c->row->every_loop ? s->node->loop_count : first + 1;
    tr_err err = TR_OK;
    memset(c->answered, 0, sizeof(c->answered));
    c->number = ++s->next_number;
    c->first = first;
    c->left = end - first;
    for (uint32_t i = first; i < end && err == TR_OK; i++) {
        err = post(s, i, c->number, text);
        if (err == TR_EFULL)
            err = TR_OK; /* it is silent for long */
    }
    if (err != TR_OK) {
        tr_error error;
        tr__fail(&error, err, err == TR_ECLOSED ? "node %s stops" : "no memory on node %s", s->node->name);
        c->number = 0;
        refuse(c, &error, false);
        return;
    }
    uv_update_time(&s->control->uv);
    uv_timer_start(&c->timer, on_time_up, (wait + 999999u) / 1000000u, 0);
}

static void handle_text(client *c, const char *text, size_t length)
{
    tr_error error;
    json_error_t wrong;
    json_t *request = json_loads(text, JSON_REJECT_DUPLICATES, &wrong);
    if (!request)
        tr__fail(&error, TR_EINVAL, "the request isn't JSON: line %d, column %d: %s", wrong.line,
                 wrong.column, wrong.text);
    else if (strlen(text) != length) /* jansson has read up to a NUL */
        tr__fail(&error, TR_EINVAL, "the request has a NUL in it");
    c->row = request && strlen(text) == length ? tr__operator_row_of(request, &error) : NULL;
    if (c->row)
        start_request(c, request, text);
    else
        refuse(c, &error, false);
    json_decref(request);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    client *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->bytes, sizeof(c->bytes));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    client *c = stream->data;
    (void)buf;
    if (got < 0) {
        client_close(c);
    } else if (got > 0) {
        uv_read_stop(stream);
        c->at = 0;
        c->end = (size_t)got;
        look_at_bytes(c);
    }
}

/* Up to the end of a frame, which is then handled; without one, read on. */
static void look_at_bytes(client *c)
{
    tr_error error;
    size_t used, length;
    char *text;
    tr_err err =
        tr__operator_read(&c->reader, c->bytes + c->at, c->end - c->at, &used, &text, &length, &error);
    if (err != TR_OK) {
        refuse(c, &error, true);
        return;
    }
    c->at += used;
    if (!text) {
        if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0)
            client_close(c);
        return;
    }
    handle_text(c, text, length);
    tr__free(text);
}

static void on_connection(uv_stream_t *listener, int status)
{
    tr__operator_socket *s = listener->data;
    client *c = status == 0 ? tr__zalloc(sizeof(*c)) : NULL;
    uv_os_fd_t fd = -1;
    if (!c)
        return; /* the connection waits; libuv reports the next one */
    c->socket = s;
    uv_pipe_init(&s->control->uv, &c->pipe, 0);
    uv_timer_init(&s->control->uv, &c->timer);
    c->pipe.data = c->timer.data = c;
    c->open_handles = 2;
    c->next = s->clients;
    s->clients = c;
    s->client_count++;
    if (uv_accept(listener, (uv_stream_t *)&c->pipe) != 0 || uv_fileno((uv_handle_t *)&c->pipe, &fd) != 0 ||
        !tr__operator_peer_allowed(fd)) {
        client_close(c);
    } else if (s->client_count > CLIENTS_MAX) {
        tr_error error;
        tr__fail(&error, TR_EFULL, "%d others are connected to this node's operator socket", CLIENTS_MAX);
        refuse(c, &error, true);
    } else {
        look_at_bytes(c);
    }
}

/* ---- its life ------------------------------------------------------------------------------------------ */

/* Under the directory's lock. A socket that nobody listens on is what a killed process left. */
static tr_err bind_path(tr__operator_socket *s, tr_error *error)
{
    struct stat st;
    int other = tr__operator_dial(s->path, error);
    if (other >= 0)
        close(other);
    if (other >= 0 || (error->code != TR_ENOTFOUND && error->code != TR_EREFUSED))
        return tr__fail(
            error, TR_EEXIST,
            "another process of yours serves %s: give this node another --name, or --operator none", s->path);
    if (error->code == TR_EREFUSED)
        unlink(s->path);
    int failed = uv_pipe_bind(&s->pipe, s->path);
    failed = failed ? failed : uv_listen((uv_stream_t *)&s->pipe, BACKLOG, on_connection);
    if (failed)
        return tr__fail(error, TR_EIO, "listening on %s: %s", s->path, uv_strerror(failed));
    if (chmod(s->path, 0600) == 0 && lstat(s->path, &st) == 0) {
        s->device = st.st_dev;
        s->inode = st.st_ino;
    }
    return TR_OK;
}

static tr_err listen_there(tr__operator_socket *s, tr_error *error)
{
    TR_TRY(tr__operator_path(s->node->name, s->path, error));
    int lock = tr__operator_directory_lock(error);
    if (lock < 0)
        return error->code;
    tr_err err = bind_path(s, error);
    close(lock);
    return err;
}

void tr__operator_socket_open(tr__control *control)
{
    tr__operator_socket *s = tr__zalloc(sizeof(*s));
    tr_error error;
    if (!s) {
        tr__node_log(control->node, TR_LOG_WARN, "no operator socket: no memory");
        return;
    }
    s->control = control;
    s->node = control->node;
    s->started_ns = uv_hrtime();
    s->answers_end = &s->answers;
    pthread_mutex_init(&s->lock, NULL);
    uv_pipe_init(&control->uv, &s->pipe, 0);
    uv_async_init(&control->uv, &s->wake, on_wake);
    s->pipe.data = s->wake.data = s;
    control->operator_socket = s;
    if (listen_there(s, &error) != TR_OK) {
        tr__node_log(control->node, TR_LOG_WARN, "no operator socket: %s", error.text);
        s->shut = true;
        return;
    }
    s->operators.answered = on_answered;
    s->operators.context = s;
    control->node->operators = &s->operators;
}

void tr__operator_socket_shut(tr__control *control)
{
    tr__operator_socket *s = control->operator_socket;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->shut = true;
    pthread_mutex_unlock(&s->lock);
}

/* Only ours: another node may have taken the name since. */
static void remove_path(const tr__operator_socket *s)
{
    struct stat st;
    tr_error error;
    int lock = s->inode ? tr__operator_directory_lock(&error) : -1;
    if (lock < 0)
        return;
    if (lstat(s->path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
        unlink(s->path);
    close(lock);
}

void tr__operator_socket_close(tr__control *control)
{
    tr__operator_socket *s = control->operator_socket;
    if (!s)
        return;
    remove_path(s);
    for (client *c = s->clients; c; c = c->next)
        client_close(c);
    uv_close((uv_handle_t *)&s->pipe, NULL);
    uv_close((uv_handle_t *)&s->wake, NULL);
    control->node->operators = NULL;
}

void tr__operator_socket_free(tr__control *control)
{
    tr__operator_socket *s = control->operator_socket;
    if (!s)
        return;
    while (s->answers) {
        answer *a = s->answers;
        s->answers = a->next;
        json_decref(a->value);
        tr__free(a);
    }
    pthread_mutex_destroy(&s->lock);
    tr__free(s);
    control->operator_socket = NULL;
}
