/* The operator socket: $XDG_RUNTIME_DIR/troupe/NODE.sock, served by the control thread, so that a node whose loops are
 * stuck still says so. Who may connect, frames and requests: docs/operator.md. Clients: operator/client_uv.c.
 *
 * Failures: no socket to be had (the directory isn't ours, a living node has that name): a warning at the start, and the
 * node runs without. */
#include "actors/operator/socket_uv.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

#define BACKLOG 16

/* ---- answers of the loops ------------------------------------------------------------------------------ */

static void on_wake(uv_async_t *handle)
{
    tr__operator_socket *s = handle->data;
    pthread_mutex_lock(&s->lock);
    tr__operator_answered *all = s->answers;
    s->answers = NULL;
    s->answers_end = &s->answers;
    pthread_mutex_unlock(&s->lock);
    while (all) {
        tr__operator_answered *a = all;
        all = a->next;
        if (a->request)
            tr__operator_take_request(s, a->number, a->request);
        else
            tr__operator_take_answer(s, a->number, a->loop, a->value);
        tr__free(a->request);
        tr__free(a);
    }
}

/* A loop's thread. False: no memory for the way. */
static bool hand_over(tr__operator_socket *s, const tr__operator_answered *what)
{
    tr__operator_answered *a = tr__alloc(sizeof(*a));
    if (!a)
        return false;
    *a = *what;
    pthread_mutex_lock(&s->lock);
    *s->answers_end = a;
    s->answers_end = &a->next;
    pthread_mutex_unlock(&s->lock);
    uv_async_send(&s->wake);
    return true;
}

/* Without memory for the way the client hears that the loop is silent. */
static void on_answered(void *context, uint64_t number, uint32_t loop, json_t *value)
{
    if (!hand_over(context, &(tr__operator_answered){.number = number, .loop = loop, .value = value}))
        json_decref(value);
}

/* The like: its asker's deadline tells it. */
static void on_asked(void *context, uint64_t number, char *text)
{
    if (!hand_over(context, &(tr__operator_answered){.number = number, .request = text}))
        tr__free(text);
}

/* ---- its life ------------------------------------------------------------------------------------------ */

/* Under the directory's lock. A socket that nobody listens on is what a killed process left. */
static tr_err bind_path(tr__operator_socket *s, tr_error *error)
{
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
    failed = failed ? failed : uv_listen((uv_stream_t *)&s->pipe, BACKLOG, tr__operator_accept);
    if (failed)
        return tr__fail(error, TR_EIO, "listening on %s: %s", s->path, uv_strerror(failed));
    chmod(s->path, 0600); /* the directory is closed already */
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
    if (!s || !(s->spare = tr__zalloc(sizeof(*s->spare)))) {
        tr__free(s);
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
    s->operators.asked = on_asked;
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

void tr__operator_socket_close(tr__control *control)
{
    tr__operator_socket *s = control->operator_socket;
    if (!s)
        return;
    for (tr__operator_client *c = s->clients; c; c = c->next)
        tr__operator_client_close(c);
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
        tr__operator_answered *a = s->answers;
        s->answers = a->next;
        json_decref(a->value);
        tr__free(a->request);
        tr__free(a);
    }
    pthread_mutex_destroy(&s->lock);
    tr__free(s->spare);
    tr__free(s);
    control->operator_socket = NULL;
}
