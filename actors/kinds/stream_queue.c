/* Lists of the stream client's requests, how a request ends, and its one timer. In the actor's handlers.
 * Fails nowhere; what an asker is told by an error is the caller's to say. */
#include "actors/kinds/stream_pool.h"
#include "base/mem.h"

/* ---- lists of requests --------------------------------------------------------------------------------- */

void tr__stream_list_init(tr__stream_list *l)
{
    *l = (tr__stream_list){.head = NULL, .end = &l->head, .count = 0};
}

void tr__stream_push(tr__stream_list *l, tr__stream_request *r)
{
    r->next = NULL;
    *l->end = r;
    l->end = &r->next;
    l->count++;
}

/* Take out the request that *at points to. */
tr__stream_request *tr__stream_take(tr__stream_list *l, tr__stream_request **at)
{
    tr__stream_request *r = *at;
    *at = r->next;
    if (l->end == &r->next)
        l->end = at;
    l->count--;
    return r;
}

/* All of `front`, which is then empty, before what is in `l`. */
void tr__stream_push_front(tr__stream_list *l, tr__stream_list *front)
{
    if (!front->head)
        return;
    *front->end = l->head;
    if (!l->head)
        l->end = front->end;
    l->head = front->head;
    l->count += front->count;
    tr__stream_list_init(front);
}

/* ---- the end of a request ------------------------------------------------------------------------------ */

void tr__stream_release(tr__stream *c, tr__stream_request *r)
{
    if (r->msg)
        tr_msg_free(c->self, &r->msg);
    tr__free(r);
}

void tr__stream_fail(tr__stream *c, tr__stream_request *r, tr_err code, const char *text)
{
    if (r->msg) {
        c->counts.failed++;
        if (tr_msg_ask_number(r->msg) != 0)
            (void)tr_reply_error(c->self, r->msg, code, "%s", text);
        else
            tr_log(c->self, TR_LOG_WARN, "stream client: a request that was sent, not asked, failed: %s",
                   text);
    }
    tr__stream_release(c, r);
}

tr__stream_request *tr__stream_take_waiting(tr__stream *c, tr__stream_request **at)
{
    tr__stream_request *r = tr__stream_take(&c->waiting, at);
    c->waiting_bytes -= r->msg->size;
    return r;
}

void tr__stream_fail_waiting(tr__stream *c, const tr_error *error)
{
    while (c->waiting.head)
        tr__stream_fail(c, tr__stream_take_waiting(c, &c->waiting.head), error->code, error->text);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

uint64_t tr__stream_after(tr__stream *c, uint64_t duration_ns)
{
    uint64_t now = tr_now(c->self);
    return duration_ns > TR__NEVER - now ? TR__NEVER : now + duration_ns;
}

void tr__stream_wake_at(tr__stream *c, uint64_t due_ns)
{
    if (due_ns >= c->tick_ns)
        return;
    if (c->tick_ns != TR__NEVER)
        (void)tr_timer_cancel(c->self, c->timer);
    uint64_t now = tr_now(c->self);
    c->tick_ns = due_ns;
    c->timer = tr_after(c->self, due_ns > now ? due_ns - now : 0, tr__stream_tick, .due = due_ns);
    if (c->timer.id == 0)
        c->tick_ns = TR__NEVER; /* no memory: what comes next tries again */
}

void tr__stream_abandon(tr__stream *c, tr__stream_request *r)
{
    tr_msg_free(c->self, &r->msg);
    r->deadline_ns = TR__NEVER;
}
