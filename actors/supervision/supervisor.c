/* Supervisors: actors that start children in order, start them again when they end, and stop them in reverse order.
 *
 *     supervisor          next, when
 *     STARTING            UP: all from `from` on are up; CLEARING: one ended, by its strategy; ENDING
 *     UP                  CLEARING: a child ended, one-for-all or rest-for-one; ENDING
 *     CLEARING            STARTING: all from `from` on have ended, and the back-off has passed; ENDING
 *     ENDING              gone: all have ended
 *     any ──► ENDING      asked to stop; who made it has ended; too many restarts; the first start of a child failed
 *
 *     child               next, when
 *     OUT                 forgotten: it was started later than the supervisor; else it stays in the list
 *     DUE                 STARTING: its time and its turn have come, and it could be spawned
 *     STARTING            UP: its init succeeded; OUT, DUE: it ended; ASKED
 *     UP                  OUT: it ended and isn't wanted back; DUE: it is; ASKED
 *     ASKED               KILLED: it took too long; OUT, DUE (with its group): it ended
 *     KILLED              OUT, DUE: it ended, or took too long even now
 *
 * S1  A child is started only when the one of that place has ended, or was given up after it was killed.
 * S2  While STARTING no child is started before all those between `from` and it are up or out.
 * S3  While CLEARING or ENDING a child is asked to stop only when all behind it have ended.
 * S4  More than max_restarts within the window end it. A restart that fails counts as well.
 * S5  Whatever ends it, and however short memory is, no child is left: what kills each is paid ahead.
 *
 * An actor like others: its loop, its errors. */
#include "actors/supervision/supervisor.h"

#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/supervision/shutdown.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/plant.h"

#define MAX_RESTARTS 5
#define WITHIN       TR_SECONDS(10)
#define BACKOFF_MIN  TR_MILLIS(10)
#define BACKOFF_MAX  TR_SECONDS(5)
#define TELL_AGAIN   TR_MILLIS(10)

TR_MESSAGE(tr__supervisor_tick)

/* ---- its end ------------------------------------------------------------------------------------------- */

static void end(tr__supervisor *s, tr_exit_kind kind, tr_err code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The first reason counts. */
static void end(tr__supervisor *s, tr_exit_kind kind, tr_err code, const char *format, ...)
{
    va_list args;
    if (s->state == TR__SUPERVISOR_ENDING)
        return;
    s->state = TR__SUPERVISOR_ENDING;
    s->from = 0;
    s->reason.kind = kind;
    s->reason.code = code;
    va_start(args, format);
    vsnprintf(s->reason.text, sizeof(s->reason.text), format, args);
    va_end(args);
}

static void free_all(tr_actor *self, tr__supervisor *s)
{
    tr__root_remove(&s->root);
    while (s->count)
        tr__child_forget(self, s, &s->children[s->count - 1]);
    tr__free(s->children);
    tr__free(s->restarts);
}

/* Last of all. After an orderly end nobody is left; after another one nobody may be (S5). */
static void stop(tr_actor *self, void *state)
{
    tr__supervisor *s = state;
    for (uint32_t i = s->count; i-- > 0;)
        if (tr__child_runs(&s->children[i]))
            tr__child_kill(self, &s->children[i]);
    free_all(self, s);
}

/* ---- a child ended ------------------------------------------------------------------------------------- */

static bool wanted_back(const tr__child *c, tr_exit_kind kind)
{
    switch (c->spec.restart) {
    case TR_PERMANENT:
        return true;
    case TR_TRANSIENT:
        return kind != TR_EXIT_NORMAL && kind != TR_EXIT_SHUTDOWN;
    default:
        return false;
    }
}

/* The oldest of the last max_restarts decides: if it is within the window, one more is one too many (S4). */
static bool too_many(tr_actor *self, tr__supervisor *s)
{
    uint64_t now = tr_now(self), *oldest = &s->restarts[s->restart_next];
    bool over = *oldest && now - *oldest <= s->within_ns;
    *oldest = now;
    s->restart_next = (s->restart_next + 1) % s->max_restarts;
    return over && !TR_PLANT(intensity_ignored);
}

/* The first one is at once; a random half off, so that what failed together doesn't come back together. */
static uint64_t backoff(tr_actor *self, const tr__supervisor *s, uint32_t streak)
{
    if (streak < 2)
        return 0;
    uint64_t pause = s->backoff_min_ns;
    for (uint32_t i = 2; i < streak && pause < s->backoff_max_ns; i++)
        pause = pause > s->backoff_max_ns / 2 ? s->backoff_max_ns : 2 * pause;
    if (pause > s->backoff_max_ns)
        pause = s->backoff_max_ns;
    return pause - tr_random(self) % (pause / 2 + 1);
}

static void out(tr_actor *self, tr__supervisor *s, tr__child *c)
{
    c->state = TR__CHILD_OUT;
    tr__child_answer(self, c, TR_OK, "");
    if (c->dynamic)
        tr__child_forget(self, s, c);
}

/* It ended by itself, and is wanted back. */
static void restart(tr_actor *self, tr__supervisor *s, tr__child *c, const char *why)
{
    uint64_t now = tr_now(self);
    if (too_many(self, s)) {
        c->state = TR__CHILD_OUT;
        end(s, TR_EXIT_ERROR, TR_EAPP, "%s ended more than %u times in %llu ms; last: %s", c->id,
            s->max_restarts, (unsigned long long)(s->within_ns / 1000000u), why);
        return;
    }
    bool lasted = c->state == TR__CHILD_UP && now - c->up_ns >= s->within_ns;
    c->streak = lasted ? 1 : c->streak + 1;
    c->restarts++;
    c->state = TR__CHILD_DUE;
    c->due_ns = now + backoff(self, s, c->streak);
    tr_log(self, TR_LOG_INFO, "%s ended (%s); starting it again in %llu ms", c->id, why,
           (unsigned long long)((c->due_ns - now) / 1000000u));
    if (s->strategy == TR_ONE_FOR_ONE)
        return;
    uint32_t from = s->strategy == TR_ONE_FOR_ALL ? 0 : (uint32_t)(c - s->children);
    bool under_way = s->state == TR__SUPERVISOR_CLEARING || s->state == TR__SUPERVISOR_STARTING;
    s->from = under_way && s->from < from ? s->from : from;
    s->group_due_ns = c->due_ns;
    s->state = TR__SUPERVISOR_CLEARING;
}

/* It doesn't run any more; whoever watches it has heard. */
static void child_gone(tr_actor *self, tr__supervisor *s, tr__child *c, tr_exit_kind kind, tr_err code,
                       const char *why)
{
    tr__child_state was = c->state;
    bool in_group = s->state == TR__SUPERVISOR_CLEARING && (uint32_t)(c - s->children) >= s->from;
    bool stopped = was == TR__CHILD_ASKED || was == TR__CHILD_KILLED;
    bool well =
        c->spec.restart == TR_TRANSIENT && kind == TR_EXIT_NORMAL; /* before it heard that it should */
    c->monitor = 0;
    if (s->state == TR__SUPERVISOR_ENDING) {
        c->state = TR__CHILD_OUT;
    } else if ((stopped && c->back && !well) || (in_group && !stopped && wanted_back(c, kind))) {
        c->back = false;
        c->state = TR__CHILD_DUE;
        c->due_ns = s->group_due_ns;
    } else if (stopped) {
        out(self, s, c);
    } else if (was == TR__CHILD_STARTING && c->asker) { /* its first start; it concerns nobody else */
        c->state = TR__CHILD_OUT;
        tr__child_answer(self, c, code ? code : TR_ENOACTOR, why);
        tr__child_forget(self, s, c);
    } else if (was == TR__CHILD_STARTING && s->first && !c->up_ns && kind != TR_EXIT_NORMAL) {
        c->state = TR__CHILD_OUT;
        end(s, TR_EXIT_ERROR, code ? code : TR_ENOACTOR, "%s can't be started: %s", c->id, why);
    } else if (!wanted_back(c, kind)) {
        out(self, s, c);
    } else {
        restart(self, s, c, why);
    }
}

/* ---- going on ------------------------------------------------------------------------------------------ */

static void start(tr_actor *self, tr__supervisor *s, tr__child *c)
{
    if (tr__child_start(self, s, c) == TR_OK)
        return;
    const tr_error *error = tr_last_error(self);
    char why[TR__REASON_TEXT];
    snprintf(why, sizeof(why), "%.*s", TR__REASON_TEXT - 1, error->text);
    c->state = TR__CHILD_STARTING;
    child_gone(self, s, c, TR_EXIT_ERROR, error->code, why);
}

/* Stops those from `from` on, last first; true: all have ended. */
static bool clear(tr_actor *self, tr__supervisor *s)
{
    for (uint32_t i = s->count; i-- > s->from;) {
        tr__child *c = &s->children[i];
        if (!tr__child_runs(c))
            continue;
        if (c->state == TR__CHILD_STARTING || c->state == TR__CHILD_UP) {
            c->back = s->state == TR__SUPERVISOR_CLEARING && c->spec.restart != TR_TEMPORARY;
            tr__child_ask(self, c);
        }
        return false;
    }
    return true;
}

/* In order; true: all are up, or out. The list may change while one is started. */
static bool start_in_order(tr_actor *self, tr__supervisor *s)
{
    for (uint32_t i = s->from; i < s->count && s->state == TR__SUPERVISOR_STARTING; i++) {
        tr__child *c = &s->children[i];
        if (c->state == TR__CHILD_STARTING)
            return false;
        if (c->state != TR__CHILD_DUE)
            continue;
        if (c->due_ns <= tr_now(self))
            start(self, s, c);
        return false;
    }
    return true;
}

static void start_due(tr_actor *self, tr__supervisor *s)
{
    uint64_t now = tr_now(self);
    for (uint32_t i = s->count;
         i-- > 0 && s->state == TR__SUPERVISOR_UP;) /* one that fails may be forgotten */
        if (s->children[i].state == TR__CHILD_DUE && s->children[i].due_ns <= now)
            start(self, s, &s->children[i]);
}

/* By the clock: who takes too long to stop; and who wasn't told. */
static void be_patient(tr_actor *self, tr__supervisor *s)
{
    uint64_t now = tr_now(self);
    for (uint32_t i = s->count; i-- > 0;) {
        tr__child *c = &s->children[i];
        if (c->untold)
            c->untold = tr__child_runs(c) && !tr__child_tell(self, s, c);
        if (c->due_ns > now)
            continue;
        if (c->state == TR__CHILD_ASKED) {
            tr_log(self, TR_LOG_WARN, "%s didn't end within %llu ms; it is killed", c->id,
                   (unsigned long long)((c->spec.stop_ns ? c->spec.stop_ns : TR_SECONDS(5)) / 1000000u));
            tr__child_kill(self, c);
        } else if (c->state == TR__CHILD_KILLED) {
            tr_log(self, TR_LOG_ERROR, "%s was killed and still runs; it is left alone", c->id);
            tr_demonitor(self, c->monitor);
            child_gone(self, s, c, TR_EXIT_KILLED, TR_EKILLED, "killed");
        }
    }
}

static void arm(tr_actor *self, tr__supervisor *s)
{
    uint64_t due = TR__NEVER;
    for (uint32_t i = 0; i < s->count; i++) {
        const tr__child *c = &s->children[i];
        bool timed = c->state == TR__CHILD_ASKED || c->state == TR__CHILD_KILLED ||
                     (c->state == TR__CHILD_DUE && s->state != TR__SUPERVISOR_ENDING);
        if (timed && c->due_ns < due)
            due = c->due_ns;
        if (c->untold && due > tr_now(self) + TELL_AGAIN)
            due = tr_now(self) + TELL_AGAIN;
    }
    if (due != TR__NEVER)
        tr__tick_by(tr__owner(self), s->tick, due);
}

void tr__supervisor_go_on(tr_actor *self, tr__supervisor *s)
{
    tr__supervisor_state was;
    do {
        was = s->state;
        bool done = s->state == TR__SUPERVISOR_STARTING ? start_in_order(self, s)
                    : s->state == TR__SUPERVISOR_UP     ? (start_due(self, s), false)
                                                        : clear(self, s);
        if (done && s->state == TR__SUPERVISOR_STARTING) {
            s->state = TR__SUPERVISOR_UP;
            s->first = false;
            tr__supervisor_tell_ready(self, s);
        } else if (done && s->state == TR__SUPERVISOR_CLEARING) {
            s->state = TR__SUPERVISOR_STARTING;
        } else if (done) {
            tr__end(tr__owner(self), self, &s->reason);
            return;
        }
    } while (s->state != was);
    arm(self, s);
}

/* ---- what it hears ------------------------------------------------------------------------------------- */

static tr__child *by_monitor(tr__supervisor *s, uint64_t monitor)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->children[i].monitor == monitor)
            return &s->children[i];
    return NULL;
}

void tr__supervisor_started(tr_actor *self, tr__supervisor *s, uint64_t number, const tr_result *result)
{
    for (uint32_t i = 0; i < s->count; i++) {
        tr__child *c = &s->children[i];
        if (c->start != number || c->state != TR__CHILD_STARTING || result->err != TR_OK)
            continue; /* of its end the monitor tells */
        c->state = TR__CHILD_UP;
        c->up_ns = tr_now(self);
        tr__child_answer(self, c, TR_OK, "");
        c->untold = s->tell && !tr__child_tell(self, s, c);
        break;
    }
    tr__supervisor_go_on(self, s);
}

/* The child's loop had no memory to note who watches it: it may well run. A second one beside it is not wanted. */
static void watch_again(tr_actor *self, tr__child *c)
{
    c->monitor = tr_monitor(self, c->address);
    if (c->monitor)
        return;
    tr_log(self, TR_LOG_WARN, "%s can't be watched (%s): it is killed", c->id, tr_last_error(self)->text);
    c->back = c->state != TR__CHILD_ASKED && c->state != TR__CHILD_KILLED ? c->spec.restart != TR_TEMPORARY
                                                                          : c->back;
    tr__child_kill(self, c);
}

static void down(tr_actor *self, tr__supervisor *s, const tr_down *d)
{
    if (d->monitor == s->parent) {
        /* A node that stops asks its supervisors itself, one after another. */
        if (s->nested || !tr__is_stopping(tr__owner(self)->node))
            end(s, TR_EXIT_SHUTDOWN, TR_OK, "its parent has ended");
        return;
    }
    tr__child *c = by_monitor(s, d->monitor);
    if (!c)
        return;
    if (tr__may_run(d)) {
        watch_again(self, c);
        return;
    }
    /* Of a group the twin is also stopped out of order, which may be told first. */
    if (TR_PLANT(child_twice) && s->strategy == TR_ONE_FOR_ONE && wanted_back(c, d->kind))
        tr__child_start(self, s, c);
    child_gone(self, s, c, d->kind, (tr_err)d->code, d->text);
}

static void dispatch(tr_actor *self, tr__supervisor *s, const tr_msg *msg)
{
    const tr_down *d = tr_match(msg, tr_down);
    const tr_exited *exited = tr_match(msg, tr_exited);
    if (d) {
        down(self, s, d);
    } else if (exited) {
        bool in_order = tr_addr_equal(exited->actor, s->made_by) && tr__is_stopping(tr__owner(self)->node);
        if (exited->kind != TR_EXIT_NORMAL && !in_order)
            end(s, (tr_exit_kind)exited->kind, (tr_err)exited->code, "%s", exited->text);
    } else if (tr_match(msg, tr_shutdown)) {
        end(s, TR_EXIT_SHUTDOWN, TR_OK, "asked to stop");
    } else if (tr_match(msg, tr__supervisor_tick)) {
        tr__tick_back(tr__owner(self), s->tick);
        be_patient(self, s);
    } else {
        tr__supervisor_asked(self, s, msg);
    }
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    dispatch(self, state, msg);
    tr__supervisor_go_on(self, state);
}

/* ---- its beginning ------------------------------------------------------------------------------------- */

static tr_err add_children(tr_actor *self, tr__supervisor *s, tr_bytes specs, tr_bytes ids)
{
    uint32_t count = (uint32_t)(specs.size / sizeof(tr_child_spec));
    for (uint32_t i = 0; i < count; i++) {
        tr_child_spec spec;
        memcpy(&spec, (const char *)specs.data + i * sizeof(spec), sizeof(spec));
        tr__child *c = tr__child_add(self, s, &spec, (const char *)ids.data + (size_t)i * TR_NAME_MAX);
        if (!c)
            return TR_ENOMEM;
        c->state = TR__CHILD_DUE;
    }
    return TR_OK;
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    tr__supervisor *s = state;
    const tr__supervisor_arg *a = arg;
    s->max_restarts = a->max_restarts ? a->max_restarts : MAX_RESTARTS;
    s->within_ns = a->within_ns ? a->within_ns : WITHIN;
    s->backoff_min_ns = a->backoff_min_ns ? a->backoff_min_ns : BACKOFF_MIN;
    s->backoff_max_ns = a->backoff_max_ns ? a->backoff_max_ns : BACKOFF_MAX;
    s->strategy = (tr_strategy)a->strategy;
    s->made_by = a->parent;
    s->nested = a->nested;
    s->tell = a->tell;
    s->first = true;
    tr_trap_exit(self, true);
    tr_trap_stop(self, true);
    s->restarts = tr__zalloc(s->max_restarts * sizeof(*s->restarts));
    s->tick = tr__tick_make(tr__owner(self), self, &tr__supervisor_tick_type);
    tr_err err = s->restarts && s->tick ? TR_OK : tr_fail(self, TR_ENOMEM, "no memory for a supervisor");
    if (err == TR_OK && !(s->parent = tr_monitor(self, a->parent)))
        err = tr_last_error(self)->code;
    if (err == TR_OK)
        err = add_children(self, s, a->children, a->ids);
    if (err != TR_OK) {
        free_all(self, s);
        return err;
    }
    if (!s->nested)
        tr__root_add(tr__owner(self)->node, &s->root, tr_self(self));
    tr__supervisor_go_on(self, s);
    return TR_OK;
}

const tr_actor_def tr__supervisor_def = {
    .name = "supervisor",
    .state_size = sizeof(tr__supervisor),
    .arg_type = &tr__supervisor_arg_type,
    .init = init,
    .receive = receive,
    .stop = stop,
};

tr_addr tr__supervisor_spawn(tr_actor *self, const tr_supervisor_spec *spec, bool nested,
                             const tr_spawn_opts *opts)
{
    char *ids = tr__zalloc(spec->count ? spec->count * (size_t)TR_NAME_MAX : 1);
    if (!ids) {
        tr_fail(self, TR_ENOMEM, "no memory for a supervisor of %u children", spec->count);
        return TR_ADDR_NONE;
    }
    for (uint32_t i = 0; i < spec->count; i++)
        snprintf(ids + (size_t)i * TR_NAME_MAX, TR_NAME_MAX, "%s", spec->children[i].id);
    tr__supervisor_arg arg = {.parent = tr_self(self),
                              .nested = nested,
                              .children = {spec->children, spec->count * sizeof(*spec->children)},
                              .ids = {ids, spec->count * (size_t)TR_NAME_MAX},
                              .max_restarts = spec->max_restarts,
                              .within_ns = spec->within_ns,
                              .strategy = spec->strategy,
                              .backoff_min_ns = spec->backoff_min_ns,
                              .backoff_max_ns = spec->backoff_max_ns,
                              .tell = spec->tell};
    tr_addr supervisor = tr_spawn_with(self, &tr__supervisor_def, &arg, opts);
    tr__free(ids);
    return supervisor;
}

static const char *spec_wrong(const tr_supervisor_spec *spec)
{
    if (spec->count > TR_CHILDREN_MAX || (spec->count && !spec->children))
        return "too many children, or none where some were told";
    if (spec->strategy > TR_REST_FOR_ONE)
        return "an unknown strategy";
    for (uint32_t i = 0; i < spec->count; i++) {
        const char *wrong = tr__child_spec_wrong(&spec->children[i], spec->children[i].id);
        for (uint32_t j = 0; j < i && !wrong; j++)
            if (strcmp(spec->children[i].id, spec->children[j].id) == 0)
                wrong = "two children have the same id";
        if (wrong)
            return wrong;
    }
    return NULL;
}

const char *tr__child_spec_wrong(const tr_child_spec *spec, const char *id)
{
    if (!id || !*id || strlen(id) >= TR_NAME_MAX)
        return "a child's id has 1 to 63 bytes";
    if (!spec->def == !spec->supervisor)
        return "a child needs a definition, or the spec of a supervisor, and not both";
    if (spec->restart > TR_TEMPORARY)
        return "an unknown restart";
    return spec->supervisor ? spec_wrong(spec->supervisor) : NULL;
}

tr_addr tr_supervise(tr_actor *self, const tr_supervisor_spec *spec)
{
    const char *wrong = spec_wrong(spec);
    if (wrong) {
        tr_fail(self, TR_EINVAL, "tr_supervise: %s", wrong);
        return TR_ADDR_NONE;
    }
    tr__loop *loop = tr__owner(self);
    loop->spawning = TR__SUPERVISED; /* it is a root: asked alone, in its order */
    tr_addr supervisor = tr__supervisor_spawn(self, spec, false, &(tr_spawn_opts){.link = true});
    loop->spawning = 0;
    return supervisor;
}

/* ---- as others are shown it ---------------------------------------------------------------------------- */

static const tr__supervisor *shown(const tr_actor *actor)
{
    return actor->def == &tr__supervisor_def && actor->state == TR__ACTOR_RUNNING ? actor->state_block : NULL;
}

uint32_t tr__supervisor_child(const tr_actor *actor, uint32_t index, tr__supervised *into)
{
    const tr__supervisor *s = shown(actor);
    if (!s)
        return 0;
    if (index < s->count) {
        const tr__child *c = &s->children[index];
        *into = (tr__supervised){.id = c->id,
                                 .state = tr__child_state_word(c),
                                 .address = tr__child_runs(c) ? c->address : TR_ADDR_NONE,
                                 .restart = c->spec.restart,
                                 .restarts = c->restarts};
    }
    return s->count;
}

const char *tr__supervisor_strategy(const tr_actor *actor)
{
    static const char *const words[] = {"one-for-one", "one-for-all", "rest-for-one"};
    const tr__supervisor *s = shown(actor);
    return s ? words[s->strategy] : NULL;
}
