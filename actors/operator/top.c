/* The requests "top" and "tap": what is measured, and copied, while somebody watches (meter.h). The loop's thread. Without
 * memory: an empty answer, or an error. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/operator/meter.h"
#include "actors/operator/operator.h"
#include "base/err.h"

#define TOP_ROOM (TR__OPERATOR_FRAME_MAX - (352u << 10)) /* bytes of rows in an answer */

/* ---- top ----------------------------------------------------------------------------------------------- */

/* What it handles now: a fiber holds its message while it waits. Else what it will, else what it did. */
static void add_message(json_t *row, const tr_actor *actor, const tr__metered *metered)
{
    const tr_msg *now = actor->fiber ? actor->fiber->received : NULL;
    const tr_typeinfo *type = now           ? now->type
                              : actor->head ? actor->head->type
                              : metered     ? metered->type
                                            : NULL;
    if (!type)
        return;
    json_object_set_new(row, "message", tr__operator_text(type->name, TR_NAME_MAX));
    json_object_set_new(row, "message_is", json_string(now ? "now" : actor->head ? "next" : "last"));
}

static void add_times(json_t *row, const tr__loop *loop, const tr__metered *metered)
{
    static _Thread_local tr__histogram recent; /* large for a stack */
    tr__meter_recent(loop, metered, &recent);
    json_object_set_new(row, "busy_ns", json_integer((json_int_t)metered->busy_ns));
    json_object_set_new(row, "measured", json_integer((json_int_t)recent.count));
    json_object_set_new(row, "p50_ns", json_integer((json_int_t)tr__histogram_at(&recent, 500000)));
    json_object_set_new(row, "p99_ns", json_integer((json_int_t)tr__histogram_at(&recent, 990000)));
}

/* Those with something to do, or that did something since somebody watches; the others are counted. */
static void tell(tr__operator_job *job, const tr_actor *actor, void *context)
{
    json_t *count = json_object_get(job->answer, "count");
    const tr__loop *loop = context;
    const tr__metered *metered = tr__meter_of(loop, actor);
    json_integer_set(count, json_integer_value(count) + 1);
    if (!metered && actor->count == 0)
        return;
    json_t *row = tr__operator_actor(job, actor);
    if (!row)
        return;
    add_message(row, actor, metered);
    if (metered)
        add_times(row, loop, metered);
    size_t before = job->room;
    tr__operator_append(json_object_get(job->answer, "actors"), row, &job->room);
    if (before == job->room) {
        json_t *left_out = json_object_get(job->answer, "left_out");
        json_integer_set(left_out, json_integer_value(left_out) + 1);
    }
}

static bool top_begin(tr_actor *self, tr__operator_job *job)
{
    tr__loop *loop = tr__owner(self);
    uint64_t until = tr__operator_lease(self, job->request);
    if (until == 0 || !tr__meter_lease(loop, until) || !tr__operator_names(loop->node, job) ||
        !(job->answer = tr__operator_of_loop(loop)))
        return false;
    job->room = TOP_ROOM / loop->node->loop_count;
    return json_object_set_new(job->answer, "at_ns", json_integer((json_int_t)tr__now_fresh(loop))) == 0 &&
           json_object_set_new(job->answer, "unmetered", json_integer((json_int_t)loop->meter->unmetered)) ==
               0 &&
           json_object_set_new(job->answer, "count", json_integer(0)) == 0 &&
           json_object_set_new(job->answer, "left_out", json_integer(0)) == 0 &&
           json_object_set_new(job->answer, "actors", json_array()) == 0;
}

void tr__operator_run_top(tr_actor *self, tr__operator_job *job)
{
    if (!job->answer && !top_begin(self, job))
        tr__operator_answer(self, job, NULL);
    else if (tr__operator_each(self, job, tell, tr__owner(self)))
        tr__operator_answer(self, job, json_incref(job->answer));
    else
        tr__operator_again(self, job);
}

/* ---- tap ----------------------------------------------------------------------------------------------- */

/* Without "tap": a new one; with it: what it copied. With "close" it ends. */
void tr__operator_run_tap(tr_actor *self, tr__operator_job *job)
{
    tr__loop *loop = tr__owner(self);
    tr_error error;
    uint64_t number = (uint64_t)json_integer_value(json_object_get(job->request, "tap"));
    uint64_t until = tr__operator_lease(self, job->request);
    if (until == 0) {
        tr__operator_answer(self, job, NULL);
        return;
    }
    if (number == 0) {
        const tr_actor *actor = tr__operator_target(self, job);
        if (!actor) {
            tr__operator_fail(self, job);
            return;
        }
        number = tr__tap_open(loop, tr__addr_of(actor), until, &error);
    }
    json_t *answer = number ? tr__tap_take(loop, number, until, &error) : NULL;
    if (answer) {
        json_object_set_new(answer, "address", tr__operator_address(tr__tap_actor(loop, number)));
        json_object_set_new(answer, "alive", json_boolean(tr__tap_is_alive(loop, number)));
        if (json_is_true(json_object_get(job->request, "close")))
            tr__tap_close(loop, number);
    }
    tr__operator_answer(self, job, answer ? answer : tr__operator_error(&error));
}
