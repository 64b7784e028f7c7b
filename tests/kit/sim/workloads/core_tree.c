/* Supervisors: beings on all nodes start supervisors of every strategy, whose children end now and then, or all the time, or
 * refuse to start; add children and stop them; stop supervisors, and end themselves. Who is wanted back comes back, once at
 * a time, in its order, not too soon, until it is too often; and nobody is left of a supervisor that has ended. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/kit/sim/workloads/core.h"
#include "tests/kit/sim/workloads/list.h"

#define STATIC   3 /* children from the start; permanent, transient, temporary */
#define CHILDREN 5 /* with those that are added and stopped meanwhile */
#define MOST     3 /* restarts ... */
#define WITHIN   TR_SECONDS(1)
#define SLACK    TR_MILLIS(60) /* between what a supervisor does and what its child sees of it */
#define KEPT     64            /* the last ones whose time is kept */
#define PAUSE    TR_MILLIS(20) /* the back-off begins with that */

TR_MESSAGE(tree_tick)
TR_MESSAGE(tree_child_tick)

typedef struct child {
    struct tree *tree;
    tr_restart restart;
    uint32_t runs, running;
    tr_exit_kind end; /* how it ended last, or will */
    uint64_t started_at, ended_at;
    uint32_t streak; /* ends of its own in a row, soon after its start */
    bool asked;      /* somebody starts or stops it */
    tr_addr address;
} child;

typedef struct times {
    uint64_t at[KEPT], count;
} times;

typedef struct tree {
    struct tree *next;
    const core_being *boss;
    tr_addr supervisor;
    tr_strategy strategy;
    bool over;    /* its boss has heard of its end */
    bool wild;    /* its children end all the time */
    bool ending;  /* it was told to */
    bool refused; /* the first start of a child failed */
    uint64_t over_at;
    child children[CHILDREN];
    times restarts, ends; /* ends of those that are wanted back */
} tree;

static struct {
    uint64_t simulation;
    tree *all;
} trees;

typedef struct boss {
    core_being *being;
    tree *tree; /* the one that runs; NULL: none */
    uint64_t next_at;
} boss;

static void begin(void)
{
    if (trees.simulation == core.simulation)
        return;
    while (trees.all) {
        tree *t = trees.all;
        trees.all = t->next;
        free(t);
    }
    trees.simulation = core.simulation;
}

/* ---- children ------------------------------------------------------------------------------------------ */

static void note_time(times *t)
{
    t->at[t->count++ % KEPT] = sim_now_running->now;
}

/* More than MOST within WITHIN is one too many. A group's restart starts several. */
static void check_intensity(const tree *t)
{
    uint64_t n = t->restarts.count;
    if (n <= MOST || core_time_failed() || t->strategy != TR_ONE_FOR_ONE)
        return;
    uint64_t took = t->restarts.at[(n - 1) % KEPT] - t->restarts.at[(n - 1 - MOST) % KEPT];
    if (took + SLACK < WITHIN)
        core_wrong("a supervisor of being %u started children %u times within %llu ms", t->boss->number,
                   MOST + 1, (unsigned long long)(took / 1000000u));
}

/* The first start of the list is in order; and those behind one of a group have ended when it is started again. */
static void check_order(const tree *t, uint32_t number)
{
    for (uint32_t i = 0; i < number && number < STATIC; i++)
        if (!t->children[i].runs)
            core_wrong("child %u of being %u is started before child %u", number, t->boss->number, i);
    for (uint32_t i = number + 1; i < STATIC && t->strategy != TR_ONE_FOR_ONE && !core_memory_failed(); i++)
        if (t->children[i].running)
            core_wrong("child %u of being %u is started while child %u behind it runs", number,
                       t->boss->number, i);
}

/* After two ends soon after the start there is a pause, of half its length at least. */
static void check_backoff(tr_actor *self, const child *c)
{
    uint64_t waited = sim_now_running->now - c->ended_at;
    bool own = c->end != TR_EXIT_SHUTDOWN;
    if (!own || c->streak < 2 ||
        c->tree->strategy != TR_ONE_FOR_ONE) /* a group has the pause of who failed */
        return;
    tr_sometimes(self, true, "a restart waits for its back-off");
    if (waited < PAUSE / 2 - PAUSE / 20 && !core_memory_failed())
        core_wrong("a child of being %u is started again after %llu us, the %uth time", c->tree->boss->number,
                   (unsigned long long)(waited / 1000), c->streak);
}

static void check_start(tr_actor *self, child *c)
{
    tree *t = c->tree;
    uint32_t number = (uint32_t)(c - t->children);
    if (c->running)
        core_wrong("child %u of being %u is started while it runs", number, t->boss->number);
    if (t->over && sim_now_running->now > t->over_at + SLACK && !core_time_failed())
        core_wrong("child %u of being %u is started when its supervisor has ended", number, t->boss->number);
    check_order(t, number);
    if (c->runs == 0 || c->asked)
        return;
    if (c->restart == TR_TEMPORARY)
        core_wrong("a temporary child of being %u is started again", t->boss->number);
    if (c->restart == TR_TRANSIENT && c->end == TR_EXIT_NORMAL)
        core_wrong("a transient child of being %u is started again, and had ended as it should",
                   t->boss->number);
    check_backoff(self, c);
    note_time(&t->restarts);
    check_intensity(t);
    tr_sometimes(self, true, "a supervisor starts a child again");
    tr_sometimes(self, t->strategy == TR_ONE_FOR_ALL && c->end == TR_EXIT_SHUTDOWN,
                 "a child is started again with its group");
}

/* By itself, and not since it was asked to. */
static void ends_itself(child *c, tr_exit_kind how)
{
    c->end = how;
    c->ended_at = sim_now_running->now;
    c->streak = c->ended_at - c->started_at < WITHIN / 2 ? c->streak + 1 : 0;
    if (c->restart == TR_PERMANENT || (c->restart == TR_TRANSIENT && how != TR_EXIT_NORMAL))
        note_time(&c->tree->ends);
}

static tr_err child_init(tr_actor *self, void *state, const void *arg)
{
    child *c = (child *)arg;
    *(child **)state = c;
    if (!sim_counts())
        return TR_OK;
    check_start(self, c);
    c->started_at = sim_now_running->now;
    if (core.phase == CORE_BUSY && tr_random(self) % 40 == 0) {
        c->tree->refused |= !c->runs++;
        ends_itself(c, TR_EXIT_ERROR);
        return tr_fail(self, TR_EAPP, "it doesn't want to");
    }
    if (!tr_after(self, tr_random(self) % TR_MILLIS(100), tree_child_tick).id) {
        c->tree->refused |= !c->runs++;
        ends_itself(c, TR_EXIT_ERROR);
        return TR_ENOMEM;
    }
    c->runs++;
    c->running++;
    c->end = TR_EXIT_SHUTDOWN; /* if nothing else comes */
    c->address = tr_self(self);
    return TR_OK;
}

static void child_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    child *c = *(child **)state;
    if (!tr_match(msg, tree_child_tick) || core.phase == CORE_QUIET)
        return;
    if (core.phase == CORE_BUSY && tr_random(self) % (c->tree->wild ? 4 : 40) == 0) {
        bool well = tr_random(self) % 2;
        ends_itself(c, well ? TR_EXIT_NORMAL : TR_EXIT_ERROR);
        tr_exit(self, well ? TR_OK : TR_EAPP, "a child has had enough");
        return;
    }
    uint64_t pause = core.phase == CORE_BUSY ? TR_MILLIS(100) : TR_MILLIS(500);
    if (!tr_after(self, tr_random(self) % pause, tree_child_tick).id) {
        ends_itself(c, TR_EXIT_ERROR);
        tr_exit(self, TR_ENOMEM, "no memory for a tick");
    }
}

/* Asked to end, it is the last one of those that have to go. Of the whole list only the supervisor's end, or a group's
 * restart, asks; so whoever runs behind it is none of them. */
static void check_stop(const child *c)
{
    const tree *t = c->tree;
    bool asked_all = c->end == TR_EXIT_SHUTDOWN && !c->asked;
    if (!asked_all || core_memory_failed() || core.phase == CORE_QUIET)
        return;
    for (const child *behind = c + 1; behind < t->children + STATIC; behind++)
        if (behind->running)
            core_wrong("child %u of being %u is stopped before child %u", (uint32_t)(c - t->children),
                       t->boss->number, (uint32_t)(behind - t->children));
}

static void child_stop(tr_actor *self, void *state)
{
    child *c = *(child **)state;
    (void)self;
    if (!sim_counts())
        return;
    if (c->running != 1)
        core_wrong("a child of being %u is stopped that doesn't run", c->tree->boss->number);
    c->running--;
    if (c->end == TR_EXIT_KILLED)
        ends_itself(c, TR_EXIT_KILLED);
    check_stop(c);
}

static const tr_actor_def child_def = {.name = "child",
                                       .state_size = sizeof(child *),
                                       .init = child_init,
                                       .receive = child_receive,
                                       .stop = child_stop};

/* ---- their boss ---------------------------------------------------------------------------------------- */

static const tr_restart how[CHILDREN] = {TR_PERMANENT, TR_TRANSIENT, TR_TEMPORARY, TR_PERMANENT,
                                         TR_TRANSIENT};
static const char *const ids[CHILDREN] = {"permanent", "transient", "temporary", "added", "added-too"};

static void supervise(tr_actor *self, boss *b)
{
    tr_child_spec specs[STATIC];
    if (!sim_counts())
        return;
    tree *t = calloc(1, sizeof(*t));
    tr__check(t != NULL, "no memory for a workload");
    t->boss = b->being;
    t->wild = tr_random(self) % 4 == 0;
    t->strategy = (tr_strategy)(tr_random(self) % 3);
    for (uint32_t i = 0; i < CHILDREN; i++)
        t->children[i] = (child){.tree = t, .restart = how[i]};
    for (uint32_t i = 0; i < STATIC; i++)
        specs[i] = (tr_child_spec){.id = ids[i],
                                   .def = &child_def,
                                   .arg = &t->children[i],
                                   .restart = how[i],
                                   .named = b->being->slot == 0};
    t->next = trees.all;
    trees.all = t;
    tr_supervisor_spec spec = {specs,
                               STATIC,
                               MOST,
                               WITHIN,
                               .strategy = t->strategy,
                               .backoff_min_ns = PAUSE,
                               .backoff_max_ns = 4 * PAUSE};
    t->supervisor = tr_supervise(self, &spec);
    t->over = tr_addr_is_none(t->supervisor);
    if (!t->over)
        b->tree = t;
    else if (!core_memory_failed())
        core_wrong("being %u can't make a supervisor: %s", b->being->number, tr_last_error(self)->text);
}

/* It ended: as it was told to, or since too many of its children did, or one couldn't be started. */
static void check_why(tr_actor *self, const tree *t, const tr_exited *e)
{
    bool unstarted = strstr(e->text, "can't be started") != NULL;
    bool too_many = e->kind == TR_EXIT_ERROR && e->code == TR_EAPP && !unstarted;
    uint64_t n = t->ends.count;
    tr_sometimes(self, too_many, "a supervisor ends since its children end too often");
    if (e->kind == TR_EXIT_SHUTDOWN && t->ending)
        return;
    if (unstarted && (t->refused || core_memory_failed()))
        return;
    if (e->kind == TR_EXIT_ERROR && (e->code == TR_ENOMEM || e->code == TR_EEXIST) && core_memory_failed())
        return;
    if (!too_many)
        core_wrong("a supervisor of being %u ended for no reason: %s", t->boss->number, e->text);
    else if (core_time_failed() || core_memory_failed())
        return; /* a child's end may not have been seen, or long ago */
    else if (n <= MOST)
        core_wrong("a supervisor of being %u ended after %llu ends", t->boss->number, (unsigned long long)n);
    else if (sim_now_running->now - t->ends.at[(n - 1 - MOST) % KEPT] > WITHIN + WITHIN / 20 + 3 * SLACK)
        core_wrong("a supervisor of being %u ended, whose children didn't end so often", t->boss->number);
}

static void exited(tr_actor *self, boss *b, const tr_exited *e)
{
    tree *t = b->tree;
    if (!sim_counts())
        return;
    if (!t || !tr_addr_equal(t->supervisor, e->actor)) {
        core_wrong("being %u hears of the end of one that isn't its supervisor", b->being->number);
        return;
    }
    check_why(self, t, e);
    t->over = true;
    t->over_at = sim_now_running->now;
    b->tree = NULL;
    b->next_at = sim_now_running->now + TR_MILLIS(300);
}

/* ---- children that come and go ------------------------------------------------------------------------- */

static void added(tr_actor *self, void *state, const tr_result *result, void *context)
{
    child *c = context;
    (void)state;
    if (!sim_counts())
        return;
    c->asked = false;
    tr_sometimes(self, result->err == TR_OK, "a child is added to a supervisor");
    if (result->err == TR_OK && !c->runs)
        core_wrong("being %u hears that a child was started, which wasn't", c->tree->boss->number);
    if (result->err == TR_EEXIST)
        core_wrong("being %u can't start a child that was stopped", c->tree->boss->number);
}

static void removed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    child *c = context;
    (void)state;
    if (!sim_counts())
        return;
    c->asked = false;
    tr_sometimes(self, result->err == TR_OK, "a child is stopped by who made its supervisor");
    if (result->err == TR_OK && c->running)
        core_wrong("being %u hears that a child has ended, which runs", c->tree->boss->number);
}

/* One that was never there is added, once; one that runs is stopped, and may be added again. */
static void come_or_go(tr_actor *self, tree *t)
{
    child *c = &t->children[STATIC + tr_random(self) % (CHILDREN - STATIC)];
    uint32_t number = (uint32_t)(c - t->children);
    if (c->asked || (c->runs && !c->running))
        return;
    bool go = c->running;
    tr_child_spec spec = {.id = ids[number], .def = &child_def, .arg = c, .restart = how[number]};
    tr_future future = go ? tr_supervisor_stop_child(self, t->supervisor, ids[number])
                          : tr_supervisor_start_child(self, t->supervisor, &spec);
    c->asked = future.id != 0 && tr_then(self, future, go ? removed : added, c) == TR_OK;
}

static void something(tr_actor *self, boss *b)
{
    uint64_t what = tr_random(self) % 200;
    tree *t = b->tree;
    if (what == 0)
        core_exit(self, b->being, tr_random(self) % 2 ? TR_OK : TR_EAPP);
    if (!t)
        return;
    if (what == 1 && tr_stop(self, t->supervisor, TR_EXIT_SHUTDOWN) == TR_OK)
        t->ending = true;
    if (what >= 180 && !t->over)
        come_or_go(self, t);
    child *c = &t->children[tr_random(self) % CHILDREN];
    if (what == 2 && c->running && tr_stop(self, c->address, TR_EXIT_KILLED) == TR_OK)
        c->end = TR_EXIT_KILLED;
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    boss *b = state;
    const tr_exited *e = tr_match(msg, tr_exited);
    if (e) {
        exited(self, b, e);
        return;
    }
    if (!tr_match(msg, tree_tick)) {
        core_wrong("being %u got a %s", b->being->number, tr_msg_type_name(msg));
        return;
    }
    b->being->ticked = sim_now_running->now;
    if (core.phase == CORE_QUIET)
        return;
    if (!b->tree && sim_now_running->now >= b->next_at)
        supervise(self, b);
    if (core.phase == CORE_BUSY)
        something(self, b);
    b->being->last_done = core.phase == CORE_LAST && b->tree;
    uint64_t pause = sim_now_running->faults_on ? tr_random(self) % TR_MILLIS(80) : TR_MILLIS(200);
    if (!tr_after(self, pause, tree_tick).id)
        core_exit(self, b->being, TR_ENOMEM);
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    boss *b = state;
    begin();
    b->being = core_born(self, (uint32_t)(uintptr_t)arg);
    b->next_at = sim_now_running->now + TR_MILLIS(300); /* those of one that ended give their names back */
    tr_trap_exit(self, true);
    if (tr_after(self, tr_random(self) % TR_MILLIS(50), tree_tick).id)
        return TR_OK;
    core_ended(b->being);
    return TR_ENOMEM;
}

static void stop(tr_actor *self, void *state)
{
    (void)self;
    core_ended(((boss *)state)->being);
}

static const tr_actor_def boss_def = {
    .name = "boss", .state_size = sizeof(boss), .init = init, .receive = receive, .stop = stop};

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_actor_def *const defs[] = {&boss_def, &boss_def, &boss_def};
    return core_keep(self, index, defs, TR_COUNT(defs));
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static const char *tree_missing(const tree *t)
{
    const boss *b = core_lives(t->boss) ? t->boss->state : NULL;
    bool runs = b && b->tree == t;
    if (runs && t->children[0].running != 1)
        return "a permanent child doesn't run";
    for (uint32_t i = 0; i < CHILDREN; i++) {
        if (!runs && t->children[i].running)
            return "a child runs whose supervisor has ended";
        core.others[t->boss->node->index] += t->children[i].running;
    }
    core.others[t->boss->node->index] += runs;
    return NULL;
}

static const char *missing(void)
{
    const char *what = NULL;
    for (uint32_t n = 0; n < sim_now_running->node_count; n++)
        core.others[n] = 0;
    for (const tree *t = trees.all; t && !what; t = t->next)
        if (t->boss->life == t->boss->node->life)
            what = tree_missing(t);
    return what;
}

static tr_err check(tr_actor *self)
{
    return core_check(self, missing, NULL);
}

const tr_scenario sim_core_tree = {.size = sizeof(tr_scenario),
                                   .name = "core-tree",
                                   .nodes = 3,
                                   .run_ns = TR_SECONDS(10),
                                   .start = start,
                                   .check = check};
