/* Supervisors: actors that start children, and start them again when they end. One-for-one: each child alone.
 *
 *     child ends ──► wanted back? (restart, reason) ──no──► forgotten
 *                        └yes──► more than max_restarts within the window? ──no──► started again
 *                                     └yes──► the supervisor ends with an error, and stops its children, last
 * first
 *
 * An actor like others: its loop, its errors. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "actors/supervisor.h"
#include "base/mem.h"
#include "base/plant.h"

#define MAX_RESTARTS 5
#define WITHIN       TR_SECONDS(10)

/* The spec as a spawn argument: the children as an array of tr_child_spec. */
TR_MESSAGE(tr__supervisor_arg, (addr, parent), (bytes, children), (u32, max_restarts), (u64, within_ns))

typedef struct child {
    tr_child_spec spec;
    tr_addr address;
    uint64_t monitor; /* 0: not running */
    uint32_t restarts;
    tr_msg *stop; /* what ends it with its supervisor, paid ahead: it is never left alone */
} child;

typedef struct supervisor {
    child *children;
    uint32_t count;
    uint64_t parent; /* the monitor of who made it */
    uint32_t max_restarts;
    uint64_t within_ns;
    uint64_t *restarts; /* when the last max_restarts were, a ring */
    uint32_t restart_next;
} supervisor;

static tr_err start_child(tr_actor *self, child *c)
{
    tr_spawn_opts opts = {
        .place = TR_PLACE_SPREAD, .name = c->spec.named ? c->spec.id : NULL, .monitor = &c->monitor};
    c->monitor = 0;
    c->address = tr_spawn_with(self, c->spec.def, c->spec.arg, &opts);
    return tr_addr_is_none(c->address) ? tr_last_error(self)->code : TR_OK;
}

static void stop_children(tr_actor *self, supervisor *s)
{
    tr__loop *loop = tr__owner(self);
    for (uint32_t i = s->count; i-- > 0;) {
        child *c = &s->children[i];
        if (c->monitor)
            tr__submit(loop, c->address, c->stop);
        else if (c->stop)
            tr__msg_free(loop, c->stop);
    }
    tr__free(s->children);
    tr__free(s->restarts);
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    supervisor *s = state;
    const tr__supervisor_arg *a = arg;
    uint32_t count = (uint32_t)(a->children.size / sizeof(tr_child_spec));
    s->max_restarts = a->max_restarts ? a->max_restarts : MAX_RESTARTS;
    s->within_ns = a->within_ns ? a->within_ns : WITHIN;
    s->children = tr__zalloc(count * sizeof(*s->children));
    s->restarts = tr__zalloc(s->max_restarts * sizeof(*s->restarts));
    tr_err err =
        s->children && s->restarts ? TR_OK : tr_fail(self, TR_ENOMEM, "no memory for %u children", count);
    if (err == TR_OK && !(s->parent = tr_monitor(self, a->parent)))
        err = tr_last_error(self)->code;
    for (; err == TR_OK && s->count < count; s->count++) {
        child *c = &s->children[s->count];
        memcpy(&c->spec, (const char *)a->children.data + s->count * sizeof(c->spec), sizeof(c->spec));
        c->stop = tr__stop_make(self, TR_EXIT_SHUTDOWN);
        err = c->stop ? start_child(self, c) : tr_fail(self, TR_ENOMEM, "no memory for %s", c->spec.id);
    }
    if (err != TR_OK)
        stop_children(self, s);
    return err;
}

static void stop(tr_actor *self, void *state)
{
    stop_children(self, state);
}

static bool wanted_back(const child *c, const tr_down *down)
{
    switch (c->spec.restart) {
    case TR_PERMANENT:
        return true;
    case TR_TRANSIENT:
        return down->kind != TR_EXIT_NORMAL && down->kind != TR_EXIT_SHUTDOWN;
    default:
        return false;
    }
}

/* The oldest of the last max_restarts decides: if it is within the window, one more is one too many. */
static bool too_many(tr_actor *self, supervisor *s)
{
    uint64_t now = tr_now(self), *oldest = &s->restarts[s->restart_next];
    bool over = *oldest && now - *oldest <= s->within_ns;
    *oldest = now;
    s->restart_next = (s->restart_next + 1) % s->max_restarts;
    return over && !TR_PLANT(intensity_ignored);
}

static void watch_again(tr_actor *self, child *c)
{
    uint64_t monitor = tr_monitor(self, c->address);
    if (monitor)
        c->monitor = monitor;
    else
        tr_exit(self, TR_ENOMEM, "%s can't be watched: %s", c->spec.id, tr_last_error(self)->text);
}

static void child_down(tr_actor *self, supervisor *s, const tr_down *down)
{
    for (uint32_t i = 0; i < s->count; i++) {
        child *c = &s->children[i];
        if (!c->monitor || c->monitor != down->monitor)
            continue;
        if (tr__may_run(down)) { /* a second one beside it is not wanted */
            watch_again(self, c);
            return;
        }
        c->monitor = 0;
        if (!wanted_back(c, down))
            return;
        if (TR_PLANT(child_twice))
            start_child(self, c);
        tr_log(self, TR_LOG_INFO, "%s ended (%s); starting it again", c->spec.id, down->text);
        if (too_many(self, s))
            tr_exit(self, TR_EAPP, "%s ended more than %u times in %llu ms; last: %s", c->spec.id,
                    s->max_restarts, (unsigned long long)(s->within_ns / 1000000u), down->text);
        else if (c->restarts++, start_child(self, c) != TR_OK)
            tr_exit(self, tr_last_error(self)->code, "%s can't be started again: %s", c->spec.id,
                    tr_last_error(self)->text);
        return;
    }
}

/* The link tells of errors only; without who made it, nobody would ever stop it. */
static const tr__reason parent_ended = {.kind = TR_EXIT_SHUTDOWN, .text = "its parent has ended"};

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    const tr_down *down = tr_match(msg, tr_down);
    const supervisor *s = state;
    if (!down)
        return;
    if (down->monitor == s->parent)
        tr__end(tr__owner(self), self, &parent_ended);
    else
        child_down(self, state, down);
}

static const tr_actor_def supervisor_def = {
    .name = "supervisor",
    .state_size = sizeof(supervisor),
    .arg_type = &tr__supervisor_arg_type,
    .init = init,
    .receive = receive,
    .stop = stop,
};

uint32_t tr__supervisor_child(const tr_actor *actor, uint32_t index, tr__supervised *out)
{
    const supervisor *s = actor->state_block;
    if (actor->def != &supervisor_def || actor->state != TR__ACTOR_RUNNING)
        return 0;
    if (index < s->count) {
        const child *c = &s->children[index];
        *out = (tr__supervised){.id = c->spec.id,
                                .address = c->monitor ? c->address : TR_ADDR_NONE,
                                .restart = c->spec.restart,
                                .restarts = c->restarts};
    }
    return s->count;
}

tr_addr tr_supervise(tr_actor *self, const tr_supervisor_spec *spec)
{
    for (uint32_t i = 0; i < spec->count; i++)
        if (!spec->children[i].def || !spec->children[i].id || spec->children[i].restart > TR_TEMPORARY) {
            tr_fail(self, TR_EINVAL,
                    "tr_supervise: child %u lacks an id or a definition, or has an unknown restart", i);
            return TR_ADDR_NONE;
        }
    tr__supervisor_arg arg = {.parent = tr_self(self),
                              .children = {spec->children, spec->count * sizeof(*spec->children)},
                              .max_restarts = spec->max_restarts,
                              .within_ns = spec->within_ns};
    return tr_spawn_with(self, &supervisor_def, &arg, &(tr_spawn_opts){.link = true});
}
