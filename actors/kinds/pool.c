/* The pool: see troupe/groups.h. One actor in front of its workers, who are the children of a supervisor of its own.
 *
 *     a message   is given to a worker, waits in the pool, or is refused
 *     a job       what was given and isn't done: of an ask, until the worker answers; of another message, until the worker
 *                 has come to a mark that was sent right behind it
 *
 * L1  A message is given to one worker that is up (a broadcast: to each of them), in the order in which they came.
 * L2  Of an ask one answer goes to who asked: the worker's, or why there is none.
 * L3  What waits is bounded by queue_max; what is beyond is refused at once.
 * L4  Asked to stop it takes no more, and ends when what it had is done. If it is killed before, the rest fails by its name. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <troupe/groups.h>
#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/kinds/message_like.h"
#include "actors/loop.h"
#include "actors/send.h"
#include "actors/supervision/supervisor.h"
#include "base/mem.h"

#define WORKERS_MAX 1000
#define QUEUE       1024
#define RETRY       TR_MILLIS(20) /* all mailboxes are full of others' messages, or memory was short */

TR_MESSAGE(tr__pool_retry)

typedef struct job {
    struct job *next, *prev; /* in its worker's ring */
    tr_msg *ask;             /* NULL: no ask */
    tr_future future;
} job;

typedef struct worker {
    tr_addr actor; /* none: not up */
    uint64_t monitor;
    uint32_t outstanding;
    job jobs; /* head of the ring */
} worker;

typedef struct pool {
    tr_pool_opts opts;
    worker *workers;
    tr_addr supervisor;
    uint64_t supervisor_monitor;
    uint32_t next;  /* whose turn it is */
    tr_msg **queue; /* a ring of queue_max */
    uint32_t queue_first, waiting;
    tr__pending *tick;
    bool stopping;          /* it takes no more */
    bool ending;            /* its workers are told to end */
    char name[TR_NAME_MAX]; /* or its address: for people */
    uint64_t given, done, failed, refused;
} pool;

/* ---- jobs ---------------------------------------------------------------------------------------------- */

static void job_end(tr_actor *self, worker *w, job *j)
{
    j->next->prev = j->prev;
    j->prev->next = j->next;
    w->outstanding--;
    tr_msg_free(self, &j->ask);
    tr__free(j);
}

static worker *worker_of(const job *j)
{
    while (j->ask || j->future.id) /* the head of its ring has neither */
        j = j->next;
    return (worker *)((char *)j - offsetof(worker, jobs));
}

static void go_on(tr_actor *self, pool *p);

/* If it is to stop and nothing is left: the workers first; their supervisor's end is ours. */
static void end_when_done(tr_actor *self, pool *p)
{
    uint32_t outstanding = 0;
    for (uint32_t i = 0; p->stopping && i < p->opts.workers; i++)
        outstanding += p->workers[i].outstanding;
    if (!p->stopping || p->ending || p->waiting || outstanding)
        return;
    p->ending = true;
    if (tr_stop(self, p->supervisor, TR_EXIT_SHUTDOWN) != TR_OK)
        tr_exit(self, TR_OK, "asked to stop");
}

/* The worker answered, came to the mark, or ended. */
static void settled(tr_actor *self, void *state, const tr_result *result, void *context)
{
    pool *p = state;
    job *j = context;
    if (j->ask && result->err == TR_OK) {
        p->done++;
        tr__reply_like(self, j->ask, result->msg);
    } else if (j->ask) {
        p->failed++;
        tr_reply_error(self, j->ask, result->err, "%s", result->error->text);
    }
    job_end(self, worker_of(j), j);
    if (result->err != TR_ENOACTOR)
        go_on(self, p);
    else if (p->waiting) /* if the worker ended, its tr_down is right behind this */
        tr__tick_set(tr__owner(self), p->tick, 1);
    end_when_done(self, p);
}

/* On an error nothing has happened, and msg is as it was. */
static tr_err give(tr_actor *self, pool *p, worker *w, tr_msg *msg)
{
    bool ask = tr_msg_ask_number(msg) != 0;
    job *j = tr__zalloc(sizeof(*j));
    if (!j)
        return TR_ENOMEM;
    if (ask) {
        j->future = tr__ask_like(self, w->actor, tr_msg_remaining(self, msg), msg);
    } else {
        tr_err err = tr__send_like(self, w->actor, msg);
        if (err == TR_OK)
            j->future = tr__reached(self, w->actor);
        if (err != TR_OK || !j->future.id) { /* without the mark it counts as done at once */
            tr__free(j);
            if (err == TR_OK)
                tr_msg_free(self, &msg);
            p->given += err == TR_OK;
            return err;
        }
    }
    if (!j->future.id || tr_then(self, j->future, settled, j) != TR_OK) {
        tr__free(j);
        return tr_last_error(self)->code;
    }
    if (ask)
        j->ask = msg;
    else
        tr_msg_free(self, &msg);
    j->next = &w->jobs;
    j->prev = w->jobs.prev;
    j->prev->next = w->jobs.prev = j;
    w->outstanding++;
    p->given++;
    return TR_OK;
}

/* ---- routing ------------------------------------------------------------------------------------------- */

static bool can_take(const pool *p, const worker *w)
{
    return !tr_addr_is_none(w->actor) &&
           (p->opts.routing != TR_POOL_PULL || w->outstanding < p->opts.at_once);
}

/* Whose turn it is, and how many others there are to try when that one's mailbox is full. NULL: nobody can take one. */
static worker *pick(pool *p, uint32_t tried)
{
    worker *best = NULL;
    for (uint32_t i = tried; i < p->opts.workers; i++) {
        worker *w = &p->workers[(p->next + i) % p->opts.workers];
        if (!can_take(p, w))
            continue;
        if (p->opts.routing == TR_POOL_ROUND_ROBIN)
            return w;
        if (!best || w->outstanding < best->outstanding)
            best = w;
    }
    return best;
}

/* False: nobody can take it now. */
static bool place(tr_actor *self, pool *p, tr_msg *msg)
{
    for (uint32_t tried = 0; tried < p->opts.workers; tried++) {
        worker *w = pick(p, tried);
        if (!w)
            return false;
        uint32_t index = (uint32_t)(w - p->workers);
        if (give(self, p, w, msg) == TR_OK) {
            p->next = (index + 1) % p->opts.workers;
            return true;
        }
        if (p->opts.routing != TR_POOL_ROUND_ROBIN)
            return false; /* the one with the fewest has no place: then no other has */
        tried = (index + p->opts.workers - p->next) % p->opts.workers;
    }
    return false;
}

static void broadcast(tr_actor *self, pool *p, const tr_msg *msg)
{
    for (uint32_t i = 0; i < p->opts.workers; i++) {
        const worker *w = &p->workers[i];
        if (tr_addr_is_none(w->actor))
            continue;
        if (tr__send_like(self, w->actor, msg) == TR_OK)
            p->given++;
        else
            p->refused++;
    }
}

/* It won't be done since the pool stops. */
static void fail(tr_actor *self, pool *p, tr_msg *msg)
{
    p->refused++;
    if (tr_msg_ask_number(msg)) {
        tr_reply_error(self, msg, TR_ECLOSED, "the pool %s stops", p->name);
        tr_msg_free(self, &msg);
        return;
    }
    tr__drop_taken(self, msg, TR_DROP_SHUTDOWN);
}

static void refuse(tr_actor *self, pool *p, tr_msg *msg)
{
    p->refused++;
    if (tr_msg_ask_number(msg)) {
        tr_reply_error(self, msg, TR_EFULL, "the pool's %u workers are busy, and %u messages wait already",
                       p->opts.workers, p->waiting);
        tr_msg_free(self, &msg);
        return;
    }
    tr__drop_taken(self, msg, TR_DROP_FULL);
}

static void come(tr_actor *self, pool *p, const tr_msg *borrowed)
{
    if (p->opts.routing == TR_POOL_BROADCAST && !p->stopping) {
        if (tr_msg_ask_number(borrowed))
            tr_reply_error(self, borrowed, TR_EINVAL, "a pool that broadcasts has no one answer");
        else
            broadcast(self, p, borrowed);
        return;
    }
    tr_msg *msg = tr_msg_take(self, borrowed);
    if (!msg) { /* no memory; an ask fails by that */
        p->refused++;
        return;
    }
    if (p->stopping) {
        fail(self, p, msg);
        return;
    }
    if (p->waiting == 0 && place(self, p, msg))
        return;
    if (p->waiting == p->opts.queue_max) {
        refuse(self, p, msg);
        return;
    }
    p->queue[(p->queue_first + p->waiting++) % p->opts.queue_max] = msg;
    tr__tick_set(tr__owner(self), p->tick, RETRY);
}

/* Some worker may take one. */
static void go_on(tr_actor *self, pool *p)
{
    while (p->waiting && place(self, p, p->queue[p->queue_first])) {
        p->queue_first = (p->queue_first + 1) % p->opts.queue_max;
        p->waiting--;
    }
    if (p->waiting)
        tr__tick_set(tr__owner(self), p->tick, RETRY);
}

/* ---- workers that come and go -------------------------------------------------------------------------- */

static void worker_up(tr_actor *self, pool *p, const tr_child_up *up)
{
    worker *w = up->index < p->opts.workers ? &p->workers[up->index] : NULL;
    if (!w || !tr_addr_equal(up->supervisor, p->supervisor))
        return;
    if (w->monitor)
        tr_demonitor(self, w->monitor);
    w->monitor = tr_monitor(self, up->actor);
    if (w->monitor)
        w->actor = up->actor;
    else
        tr_stop(self, up->actor, TR_EXIT_KILLED); /* its successor may be watched */
    go_on(self, p);
}

static void worker_down(tr_actor *self, pool *p, const tr_down *d)
{
    if (d->monitor == p->supervisor_monitor) {
        tr_exit(self, p->stopping ? TR_OK : TR_EAPP, "its workers' supervisor has ended: %s", d->text);
        return;
    }
    for (uint32_t i = 0; i < p->opts.workers; i++) {
        worker *w = &p->workers[i];
        if (w->monitor != d->monitor)
            continue;
        if (tr__may_run(d) && (w->monitor = tr_monitor(self, w->actor)))
            return;              /* there was no memory to watch it: it may well live */
        w->actor = TR_ADDR_NONE; /* its jobs fail by themselves */
        w->monitor = 0;
        return;
    }
}

/* ---- what it hears ------------------------------------------------------------------------------------- */

static bool is_of(const tr_msg *ask, const tr_canceled *c)
{
    return ask && tr_msg_ask_number(ask) == c->ask && tr_addr_equal(tr_msg_sender(ask), c->asker);
}

static void canceled(tr_actor *self, pool *p, const tr_canceled *c)
{
    for (uint32_t i = 0; i < p->waiting; i++) {
        tr_msg **at = &p->queue[(p->queue_first + i) % p->opts.queue_max];
        if (!is_of(*at, c))
            continue;
        tr_msg_free(self, at);
        for (p->waiting--; i < p->waiting; i++)
            p->queue[(p->queue_first + i) % p->opts.queue_max] =
                p->queue[(p->queue_first + i + 1) % p->opts.queue_max];
        return;
    }
    for (uint32_t i = 0; i < p->opts.workers; i++)
        for (job *j = p->workers[i].jobs.next; j != &p->workers[i].jobs; j = j->next)
            if (is_of(j->ask, c)) {
                tr_cancel(self, j->future);
                job_end(self, &p->workers[i], j);
                go_on(self, p);
                return;
            }
}

static void tell(tr_actor *self, const pool *p, const tr_msg *msg)
{
    uint32_t up = 0, outstanding = 0;
    for (uint32_t i = 0; i < p->opts.workers; i++) {
        up += !tr_addr_is_none(p->workers[i].actor);
        outstanding += p->workers[i].outstanding;
    }
    tr_reply(self, msg, tr_pool_is, .workers = up, .waiting = p->waiting, .outstanding = outstanding,
             .given = p->given, .done = p->done, .failed = p->failed, .refused = p->refused);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    pool *p = state;
    const tr_child_up *up = tr_match(msg, tr_child_up);
    const tr_down *d = tr_match(msg, tr_down);
    const tr_canceled *c = tr_match(msg, tr_canceled);
    if (up) {
        worker_up(self, p, up);
    } else if (d) {
        worker_down(self, p, d);
    } else if (c) {
        canceled(self, p, c);
    } else if (tr_match(msg, tr__pool_retry)) {
        tr__tick_back(tr__owner(self), p->tick);
        go_on(self, p);
    } else if (tr_match(msg, tr_pool_query)) {
        tell(self, p, msg);
    } else if (tr_match(msg, tr_shutdown)) {
        p->stopping = true;
    } else {
        come(self, p, msg);
    }
    end_when_done(self, p);
}

/* ---- its life ------------------------------------------------------------------------------------------ */

static void free_all(pool *p)
{
    tr__free(p->workers);
    tr__free(p->queue);
}

static tr_err start_workers(tr_actor *self, pool *p)
{
    uint32_t count = p->opts.workers;
    tr_child_spec *specs = tr__zalloc(count * sizeof(*specs));
    char(*ids)[12] = tr__alloc(count * sizeof(*ids));
    for (uint32_t i = 0; specs && ids && i < count; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%u", i + 1);
        specs[i] = (tr_child_spec){.id = ids[i], .def = p->opts.worker, .arg = p->opts.arg};
    }
    tr_supervisor_spec spec = {.children = specs,
                               .count = count,
                               .max_restarts = p->opts.max_restarts,
                               .within_ns = p->opts.within_ns,
                               .tell = true};
    tr__loop *loop = tr__owner(self);
    loop->spawning =
        TR__SUPERVISED; /* the node's end comes to it through the pool, which is to do its work before */
    if (specs && ids)
        p->supervisor = tr__supervisor_spawn(self, &spec, true, &(tr_spawn_opts){.link = true});
    loop->spawning = 0;
    tr__free(specs);
    tr__free(ids);
    if (tr_addr_is_none(p->supervisor))
        return tr_fail(self, TR_ENOMEM, "no memory for a pool's workers");
    p->supervisor_monitor = tr_monitor(self, p->supervisor);
    return p->supervisor_monitor ? TR_OK : TR_ENOMEM;
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    pool *p = state;
    p->opts = *(const tr_pool_opts *)arg;
    if (!p->opts.worker || p->opts.workers < 1 || p->opts.workers > WORKERS_MAX ||
        p->opts.routing > TR_POOL_BROADCAST)
        return tr_fail(self, TR_EINVAL, "a pool has 1 to %d workers of one definition", WORKERS_MAX);
    p->opts.queue_max = p->opts.queue_max ? p->opts.queue_max : QUEUE;
    p->opts.at_once = p->opts.at_once ? p->opts.at_once : 1;
    if (!tr__name_of(tr__owner(self)->node, tr_self(self), p->name))
        tr__addr_format(tr_self(self), p->name);
    p->workers = tr__zalloc(p->opts.workers * sizeof(*p->workers));
    p->queue = tr__alloc(p->opts.queue_max * sizeof(*p->queue));
    p->tick = tr__tick_make(tr__owner(self), self, &tr__pool_retry_type);
    for (uint32_t i = 0; p->workers && i < p->opts.workers; i++)
        p->workers[i].jobs.next = p->workers[i].jobs.prev = &p->workers[i].jobs;
    tr_err err = p->workers && p->queue && p->tick ? start_workers(self, p)
                                                   : tr_fail(self, TR_ENOMEM, "no memory for a pool");
    tr_trap_stop(self, true);
    if (err != TR_OK)
        free_all(p);
    return err;
}

/* Of an orderly end nothing is left. */
static void stop(tr_actor *self, void *state)
{
    pool *p = state;
    for (; p->waiting; p->waiting--) {
        fail(self, p, p->queue[p->queue_first]);
        p->queue_first = (p->queue_first + 1) % p->opts.queue_max;
    }
    for (uint32_t i = 0; i < p->opts.workers; i++) {
        worker *w = &p->workers[i];
        while (w->jobs.next != &w->jobs) {
            job *j = w->jobs.next;
            if (j->ask)
                tr_reply_error(self, j->ask, TR_ECLOSED, "the pool %s stops", p->name);
            job_end(self, w, j);
        }
    }
    free_all(p);
}

const tr_actor_def tr_pool = {
    .name = "pool", .state_size = sizeof(pool), .init = init, .receive = receive, .stop = stop};
