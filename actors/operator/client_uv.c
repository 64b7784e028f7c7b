/* A client of the operator socket.
 *
 *     READING ──frame──► (not a request: the error) ──────────────► WRITING ──written──► READING
 *        └──request──► WAITING ──each loop answered, or time is up──► ┘        └──a broken frame's──► closed
 *
 * It has one request at a time: no byte of it is read meanwhile, so what it makes us hold is one frame, one answer and
 * TR__OPERATOR_READ bytes. For clients beyond the bound those that are silent have to go; with none of these the new one
 * is turned away. A loop that doesn't answer in time is told as such; its answer, when it comes, is dropped.
 *
 * Failures: one that breaks the framing hears why and is closed; others are served. */
#include "actors/operator/socket_uv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/send.h"
#include "base/err.h"
#include "base/mem.h"
#include "mailbox/json.h"

#define MARGIN \
    TR_MILLIS(500) /* beyond a request's own time-out, so that the loop's words for it come first */

/* ---- writing ------------------------------------------------------------------------------------------- */

static void look_at_bytes(tr__operator_client *c);

static void on_client_closed(uv_handle_t *handle)
{
    tr__operator_client *c = handle->data;
    tr__operator_socket *s = c->socket;
    if (--c->open_handles)
        return;
    tr__operator_client **at = &s->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    s->client_count--;
    for (uint32_t i = 0; i < TR__LOOPS_MAX; i++)
        json_decref(c->answers[i]);
    tr__operator_reader_fini(&c->reader);
    tr__free(c->text);
    if (s->spare)
        tr__free(c);
    else
        s->spare = c;
    if (s->waiting && !uv_is_closing((uv_handle_t *)&s->pipe)) {
        s->waiting = false;
        tr__operator_accept((uv_stream_t *)&s->pipe, 0);
    }
}

void tr__operator_client_close(tr__operator_client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    c->number = 0;
    if (!c->peer)
        uv_close((uv_handle_t *)&c->pipe, on_client_closed);
    uv_close((uv_handle_t *)&c->timer, on_client_closed);
}

static void on_written(uv_write_t *write, int status)
{
    tr__operator_client *c = write->data;
    tr__free(c->text);
    c->text = NULL;
    c->turn_ns = uv_hrtime();
    if (status != 0 || c->last)
        tr__operator_client_close(c);
    else if (!c->closing)
        look_at_bytes(c);
}

/* Under the lock, so that none comes to a loop that has ended. */
static tr_err post(tr__operator_socket *s, uint32_t loop, tr_type *type, const void *body)
{
    pthread_mutex_lock(&s->lock);
    tr_err err = s->shut ? TR_ECLOSED : tr__post_notice(s->node, s->operators.actors[loop], type, body);
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* To the actor that has the ask; if it has no place for it the ask's deadline tells its asker. */
static void respond_to_peer(tr__operator_client *c)
{
    tr__operator_told told = {.number = c->peer, .text = c->text};
    (void)post(c->socket, 0, &tr__operator_told_type, &told);
    tr__operator_client_close(c);
}

/* Takes `value`; NULL: there was no memory for it. */
static void respond(tr__operator_client *c, json_t *value)
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
        tr__operator_client_close(c);
        return;
    }
    c->text = text;
    if (c->peer) {
        respond_to_peer(c);
        return;
    }
    tr__operator_head(c->head, (uint32_t)strlen(text));
    uv_buf_t parts[] = {uv_buf_init((char *)c->head, sizeof(c->head)),
                        uv_buf_init(text, (unsigned)strlen(text))};
    c->write.data = c;
    c->turn_ns = uv_hrtime();
    if (uv_write(&c->write, (uv_stream_t *)&c->pipe, parts, 2, on_written) != 0)
        tr__operator_client_close(c);
}

static void refuse(tr__operator_client *c, const tr_error *error, bool last)
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
static void why_silent(const tr__operator_client *c, uint32_t loop, char *out, size_t room)
{
    char what[256];
    uint64_t ms = tr__control_stuck(c->socket->control, loop, what, sizeof(what));
    if (ms)
        snprintf(out, room, "loop %u does not answer: %s for %llu ms", loop, what, (unsigned long long)ms);
    else
        snprintf(out, room, "loop %u does not answer in time: it has much to do", loop);
}

static json_t *of_all_loops(tr__operator_client *c)
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

static void finish(tr__operator_client *c)
{
    uv_timer_stop(&c->timer);
    c->number = 0;
    if (c->row->every_loop) {
        respond(c, of_all_loops(c));
    } else if (c->answered[c->first]) {
        json_t *value = c->answers[c->first];
        c->answers[c->first] = NULL;
        respond(c, value);
    } else if (c->row->or_stuck && !c->relayed) {
        respond(c, tr__operator_stuck(c->socket->control, c->first, c->to));
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

void tr__operator_take_answer(tr__operator_socket *s, uint64_t number, uint32_t loop, json_t *value)
{
    tr__operator_client *c = s->clients;
    while (c && c->number != number)
        c = c->next;
    if (!c) {
        json_decref(value); /* too late */
        return;
    }
    c->answered[loop] = true;
    c->answers[loop] = value;
    if (--c->left == 0)
        finish(c);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

/* Of one that goes on to another node: beyond its own deadline. */
static uint64_t wait_of(const tr__operator_client *c, const json_t *request)
{
    return c->relayed            ? TR__OPERATOR_PEER_WAIT + MARGIN
           : c->row->has_timeout ? tr__operator_timeout(request) + MARGIN
                                 : TR__OPERATOR_LOOP_WAIT;
}

static void start_request(tr__operator_client *c, const json_t *request, const char *text)
{
    tr__operator_socket *s = c->socket;
    c->relayed = c->row->for_peers && json_object_get(request, "via");
    uint32_t first = c->row->every_loop || c->relayed ? 0 : tr__operator_loop(s->node, request);
    tr_err err = TR_OK;
    memset(c->answered, 0, sizeof(c->answered));
    c->to = tr__operator_to(s->node, request);
    if (first >= s->node->loop_count && c->row->or_stuck) { /* a thread of its own answers nobody */
        respond(c, tr__operator_stuck(s->control, first, c->to));
        return;
    }
    first = first < s->node->loop_count ? first : 0;
    uint32_t end = c->row->every_loop ? s->node->loop_count : first + 1;
    c->number = ++s->next_number;
    c->first = first;
    c->left = end - first;
    for (uint32_t i = first; i < end && err == TR_OK; i++) {
        err = post(s, i, &tr__operator_request_type,
                   &(tr__operator_request){.number = c->number, .text = text});
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
    uv_timer_start(&c->timer, on_time_up, (wait_of(c, request) + 999999u) / 1000000u, 0);
}

static void handle_text(tr__operator_client *c, const char *text, size_t length)
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
    if (c->row && c->peer && (!c->row->for_peers || json_object_get(request, "via"))) {
        tr__fail(&error, TR_EPERM, "other nodes are told \"why\" only");
        c->row = NULL;
    }
    if (c->row && c->row->at_once)
        respond(c, c->row->at_once(c->socket->node));
    else if (c->row)
        start_request(c, request, text);
    else
        refuse(c, &error, false);
    json_decref(request);
}

void tr__operator_take_request(tr__operator_socket *s, uint64_t number, const char *text)
{
    tr__operator_client *c = s->client_count < TR__OPERATOR_CLIENTS_MAX ? tr__zalloc(sizeof(*c)) : NULL;
    if (!c)
        return; /* its asker's deadline tells it */
    c->socket = s;
    c->peer = number;
    uv_timer_init(&s->control->uv, &c->timer);
    c->timer.data = c;
    c->open_handles = 1;
    c->next = s->clients;
    s->clients = c;
    s->client_count++;
    handle_text(c, text, strlen(text));
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    tr__operator_client *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->bytes, sizeof(c->bytes));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    tr__operator_client *c = stream->data;
    (void)buf;
    if (got < 0) {
        tr__operator_client_close(c);
    } else if (got > 0) {
        uv_read_stop(stream);
        c->at = 0;
        c->end = (size_t)got;
        look_at_bytes(c);
    }
}

/* Up to the end of a frame, which is then handled; without one, read on. */
static void look_at_bytes(tr__operator_client *c)
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
            tr__operator_client_close(c);
        return;
    }
    handle_text(c, text, length);
    tr__free(text);
}

/* libuv looks for no other connection until this one is accepted, so there is a spare client for when memory is short.
 * NULL: it is in use. */
static tr__operator_client *client_take(tr__operator_socket *s)
{
    tr__operator_client *c = tr__zalloc(sizeof(*c));
    if (!c && s->spare) {
        c = s->spare;
        s->spare = NULL;
        memset(c, 0, sizeof(*c));
    }
    return c;
}

tr__operator_client *tr__operator_silent(tr__operator_client *clients, uint64_t now_ns)
{
    tr__operator_client *oldest = NULL;
    for (tr__operator_client *c = clients; c; c = c->next)
        if (!c->closing && !c->peer && !c->number && now_ns - c->turn_ns >= TR__OPERATOR_SILENCE &&
            (!oldest || c->turn_ns < oldest->turn_ns))
            oldest = c;
    return oldest;
}

/* For the one that was added last. Those that are closing are gone as soon as libuv says so. */
static bool make_room(tr__operator_socket *s)
{
    uint32_t served = 0;
    for (const tr__operator_client *c = s->clients; c; c = c->next)
        served += !c->closing;
    if (served <= TR__OPERATOR_CLIENTS_MAX)
        return true;
    tr__operator_client *silent = tr__operator_silent(s->clients, uv_hrtime());
    if (silent)
        tr__operator_client_close(silent);
    return silent != NULL;
}

void tr__operator_accept(uv_stream_t *listener, int status)
{
    tr__operator_socket *s = listener->data;
    tr__operator_client *c = status == 0 ? client_take(s) : NULL;
    uv_os_fd_t fd = -1;
    if (!c) {
        s->waiting = status == 0; /* for one that closes: it leaves its memory */
        return;
    }
    c->socket = s;
    uv_pipe_init(&s->control->uv, &c->pipe, 0);
    uv_timer_init(&s->control->uv, &c->timer);
    c->pipe.data = c->timer.data = c;
    c->open_handles = 2;
    c->turn_ns = uv_hrtime();
    c->next = s->clients;
    s->clients = c;
    s->client_count++;
    if (uv_accept(listener, (uv_stream_t *)&c->pipe) != 0 || uv_fileno((uv_handle_t *)&c->pipe, &fd) != 0 ||
        !tr__operator_peer_allowed(fd)) {
        tr__operator_client_close(c);
    } else if (!make_room(s)) {
        tr_error error;
        tr__fail(&error, TR_EFULL, "%d others are connected to this node's operator socket",
                 TR__OPERATOR_CLIENTS_MAX);
        refuse(c, &error, true);
    } else {
        look_at_bytes(c);
    }
}
