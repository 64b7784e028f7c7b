/* Monitors, links, names, and nodes that come and go: beings watch each other, on all nodes, also those that have ended; they
 * link themselves, take names, look them up, end, and end each other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/kit/sim/workloads/core.h"
#include "tests/kit/sim/workloads/list.h"

#define NAMES   4
#define MORTAL  3 /* the slot of the one that ends with those it is linked to */
#define HOST    0 /* the slot of the one that watches nodes, and ends by a crash only */
#define RECENTS 60

TR_MESSAGE(ends_tick)

/* A monitor. */
typedef struct watch {
    const core_being *by;
    core_being *of;
    uint64_t number, connection;
    enum { WATCH_SET, WATCH_FIRED, WATCH_OFF } state;
} watch;

/* A link. */
typedef struct tie {
    const core_being *ends[2];
    bool heard[2], off;
} tie;

static struct {
    uint64_t simulation;
    watch *watches;
    tie *ties;
    uint32_t watch_count, watch_room, tie_count, tie_room;
    const core_being *names[TR_SIM_NODES_MAX][NAMES]; /* who had it last */
} ends;

typedef struct mortal {
    core_being *being;
    /* A host's: the incarnations of each node that are up; 0: none is. Two at a time: the last connection of an old one
     * may come late. */
    uint64_t nodes[TR_SIM_NODES_MAX][2];
    uint32_t hosts_found; /* bits, in CORE_LAST */
    uint32_t last_notes;
} mortal;

static void begin(void)
{
    if (ends.simulation == core.simulation)
        return;
    ends.simulation = core.simulation;
    ends.watch_count = ends.tie_count = 0;
    memset(ends.names, 0, sizeof(ends.names));
}

static void *grown(void *all, uint32_t count, uint32_t *room, size_t size)
{
    if (count < *room)
        return all;
    *room = *room ? 2 * *room : 256;
    all = realloc(all, *room * size);
    tr__check(all != NULL, "no memory for a workload");
    return all;
}

/* ---- monitors ------------------------------------------------------------------------------------------ */

static void watch_one(tr_actor *self, const mortal *m, core_being *of)
{
    watch w = {.by = m->being, .of = of, .connection = core_connection(m->being, of->address)};
    w.number = tr_monitor(self, of->address);
    if (!sim_counts() || !w.number)
        return;
    ends.watches = grown(ends.watches, ends.watch_count, &ends.watch_room, sizeof(*ends.watches));
    ends.watches[ends.watch_count++] = w;
}

static watch *recent_watch(const core_being *by)
{
    for (uint32_t i = ends.watch_count; i > 0 && i + RECENTS > ends.watch_count; i--)
        if (ends.watches[i - 1].by == by && ends.watches[i - 1].state == WATCH_SET)
            return &ends.watches[i - 1];
    return NULL;
}

static void unwatch_one(tr_actor *self, const mortal *m)
{
    watch *w = recent_watch(m->being);
    if (!w)
        return;
    tr_demonitor(self, w->number);
    w->state = WATCH_OFF;
    tr_sometimes(self, !core_lives(w->of), "a monitor is taken back when its actor has ended");
}

static bool may_have_ended_so(const watch *w, uint32_t kind)
{
    if (kind == TR_EXIT_NO_CONNECTION) /* one that is cut for want of memory is over a while later */
        return w->of->address.node != w->by->address.node &&
               (w->connection == UINT64_MAX || core_memory_failed() ||
                w->connection != core_connection(w->by, w->of->address));
    if (kind == TR_EXIT_NO_ACTOR)
        return w->of->ended || core_memory_failed();
    return w->of->ended && (w->of->may_end >> kind & 1);
}

static void down(tr_actor *self, const mortal *m, const tr_down *d)
{
    uint32_t i = ends.watch_count;
    while (i > 0 && !(ends.watches[i - 1].by == m->being && ends.watches[i - 1].number == d->monitor))
        i--;
    watch *w = i ? &ends.watches[i - 1] : NULL;
    if (!sim_counts())
        return;
    if (!w || !tr_addr_equal(w->of->address, d->actor)) {
        core_wrong("being %u hears that one is down whom it doesn't watch", m->being->number);
        return;
    }
    if (w->state != WATCH_SET)
        core_wrong("being %u hears %s that being %u is down", m->being->number,
                   w->state == WATCH_OFF ? "though it watches it no more" : "again", w->of->number);
    if (!may_have_ended_so(w, d->kind))
        core_wrong("being %u hears that being %u is down by %u, which it isn't (%s)", m->being->number,
                   w->of->number, d->kind, d->text);
    w->state = WATCH_FIRED;
    /* Of one that was gone before, its last words may still be on their way from another loop. */
    if (d->kind != TR_EXIT_NO_CONNECTION && d->kind != TR_EXIT_NO_ACTOR)
        core_notes_over(w->of, m->being);
    bool far = w->of->address.node != m->being->address.node;
    tr_sometimes(self, d->kind == TR_EXIT_NO_CONNECTION && w->connection == UINT64_MAX,
                 "one without a connection is down at once");
    tr_sometimes(self, d->kind == TR_EXIT_NO_CONNECTION && core_lives(w->of),
                 "one that lives is taken for down");
    tr_sometimes(self, d->kind == TR_EXIT_NO_CONNECTION && !core_lives(w->of),
                 "one is down by a crash of its node");
    tr_sometimes(self, d->kind == TR_EXIT_NO_ACTOR && far,
                 "one of another node was gone before it was watched");
    tr_sometimes(self, d->kind == TR_EXIT_ERROR && far, "one of another node ended with an error");
    tr_sometimes(self, d->kind == TR_EXIT_KILLED, "one was killed");
}

/* ---- links --------------------------------------------------------------------------------------------- */

static bool mortal_kind(const core_being *being)
{
    return being->slot == MORTAL;
}

static tie *tie_of(const core_being *a, const core_being *b, bool set)
{
    for (uint32_t i = ends.tie_count; i-- > 0;) {
        tie *t = &ends.ties[i];
        bool same = (t->ends[0] == a && t->ends[1] == b) || (t->ends[0] == b && t->ends[1] == a);
        if (same && (!set || !t->off))
            return t;
    }
    return NULL;
}

static void link_one(tr_actor *self, const mortal *m, core_being *to)
{
    if (to == m->being || to->address.node != m->being->address.node || tie_of(m->being, to, false))
        return;
    tr_err err = tr_link(self, to->address);
    if (!sim_counts() || err != TR_OK)
        return;
    ends.ties = grown(ends.ties, ends.tie_count, &ends.tie_room, sizeof(*ends.ties));
    ends.ties[ends.tie_count++] = (tie){.ends = {m->being, to}};
    tr_sometimes(self, to->ended, "one is linked that has ended");
}

static void unlink_one(tr_actor *self, const mortal *m, const core_being *to)
{
    tie *t = tie_of(m->being, to, true);
    bool linked = t && core_is_linked(m->being, to->address);
    if (!t || tr_unlink(self, to->address) != TR_OK)
        return;
    t->off = linked;
}

static void exited(tr_actor *self, const mortal *m, const tr_exited *e)
{
    const core_being *other = core_being_at(e->actor);
    tie *t = other ? tie_of(m->being, other, false) : NULL;
    if (!sim_counts())
        return;
    if (!t || t->off) {
        core_wrong("being %u hears of the end of one to whom it isn't linked", m->being->number);
        return;
    }
    bool *heard = &t->heard[t->ends[1] == m->being];
    if (*heard)
        core_wrong("being %u hears again of the end of %u, to whom it is linked", m->being->number,
                   other->number);
    if (!other->ended && !core_memory_failed())
        core_wrong("being %u hears of the end of %u, who lives", m->being->number, other->number);
    if (mortal_kind(m->being))
        core_wrong("being %u hears of the end of %u, and doesn't trap exits", m->being->number,
                   other->number);
    *heard = true;
    tr_sometimes(self, true, "who is linked hears of an end");
}

/* ---- names --------------------------------------------------------------------------------------------- */

static const core_being *holder_of(const sim_node *node, uint32_t name)
{
    const core_being *being = ends.names[node->index][name];
    return core_lives(being) ? being : NULL;
}

static void name_of(uint32_t number, char name[TR_NAME_MAX])
{
    snprintf(name, TR_NAME_MAX, "name-%u", number);
}

static void take_name(tr_actor *self, const mortal *m, uint32_t number)
{
    char name[TR_NAME_MAX];
    name_of(number, name);
    const core_being *has = holder_of(m->being->node, number);
    tr_err err = tr_register_name(self, name);
    if (!sim_counts())
        return;
    if (err == TR_OK && has)
        core_wrong("name %u is given to being %u, and being %u has it", number, m->being->number,
                   has->number);
    if (err == TR_EEXIST && !has)
        core_wrong("name %u is taken, and nobody has it who lives", number);
    if (err == TR_OK)
        ends.names[m->being->node->index][number] = m->being;
    tr_sometimes(self, err == TR_EEXIST, "a name is taken");
}

static void find_here(tr_actor *self, const mortal *m, uint32_t number)
{
    char name[TR_NAME_MAX];
    name_of(number, name);
    tr_addr found = tr_whereis(self, name);
    const core_being *has = holder_of(m->being->node, number);
    if (has ? !tr_addr_equal(found, has->address) : !tr_addr_is_none(found))
        core_wrong("name %u is found at another one than being %u", number, has ? has->number : 0);
}

/* The context is what was looked up: when, name and node. */
static void found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    const mortal *m = state;
    uint64_t code = (uintptr_t)context, asked = code >> 8;
    uint32_t node = code & 0xf, name = code >> 4 & 0xf;
    const tr_found *f = result->msg ? tr_match(result->msg, tr_found) : NULL;
    const core_being *being = f ? core_being_at(f->actor) : NULL;
    if (!sim_counts())
        return;
    if (f && (!being || being->node->index != node))
        core_wrong("the look-up of n%u's name %u finds nobody of that node", node, name);
    else if (f && being->ended && being->ended_at < asked)
        core_wrong("the look-up of n%u's name %u finds being %u, who had ended before", node, name,
                   being->number);
    tr_sometimes(self, f && node != m->being->node->index, "a name of another node is found");
}

static void look_up(tr_actor *self, uint32_t node, uint32_t name)
{
    char path[2 * TR_NAME_MAX];
    snprintf(path, sizeof(path), "n%u/name-%u", node, name);
    uint64_t code = sim_now_running->now << 8 | name << 4 | node;
    tr_future future = tr_lookup(self, path, tr_random(self) % TR_MILLIS(800));
    if (future.id)
        tr_then(self, future, found, (void *)(uintptr_t)code);
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

static void node_event(tr_actor *self, mortal *m, const tr_node_event *e)
{
    uint32_t n = (uint32_t)atoi(e->name + 1);
    if (!sim_counts() || core_memory_failed())
        return;
    if (m->being->slot != HOST)
        core_wrong("being %u hears of nodes, which it doesn't watch", m->being->number);
    uint64_t *up = m->nodes[n], *its = up[0] == e->node ? &up[0] : up[1] == e->node ? &up[1] : NULL;
    uint64_t *place = its ? its : !up[0] ? &up[0] : &up[1];
    if (e->up && its)
        core_wrong("being %u hears that n%u is up, which was up", m->being->number, n);
    if (e->up && *place)
        core_wrong("being %u hears that n%u is up in a third incarnation at a time", m->being->number, n);
    if (!e->up && !its)
        core_wrong("being %u hears that n%u is down, which wasn't up in this incarnation", m->being->number,
                   n);
    tr_sometimes(self, !e->up, "a node is down");
    *place = e->up ? e->node : 0;
}

/* ---- a being ------------------------------------------------------------------------------------------- */

/* Last words to those who watch it. */
static void say_goodbye(tr_actor *self, const mortal *m)
{
    for (uint32_t i = ends.watch_count; i > 0 && i + RECENTS > ends.watch_count; i--)
        if (ends.watches[i - 1].of == m->being)
            core_note_send(self, m->being, ends.watches[i - 1].by, 10);
}

static void end(tr_actor *self, const mortal *m)
{
    if (m->being->slot == HOST)
        return;
    say_goodbye(self, m);
    core_exit(self, m->being, tr_random(self) % 3 == 0 ? TR_OK : TR_EAPP);
}

static void end_another(tr_actor *self, core_being *other)
{
    tr_exit_kind how = tr_random(self) % 2 ? TR_EXIT_KILLED : TR_EXIT_SHUTDOWN;
    bool near = other->address.node == tr_self(self).node;
    if (near && other->slot != HOST && tr_stop(self, other->address, how) == TR_OK)
        other->may_end |= 1u << how;
}

static void something(tr_actor *self, mortal *m)
{
    uint64_t what = tr_random(self) % 100;
    core_being *other = core_any(self, m->being, true);
    uint32_t name = (uint32_t)(tr_random(self) % NAMES);
    if (what == 0)
        end(self, m);
    else if (what < 8)
        unwatch_one(self, m);
    else if (what < 12)
        take_name(self, m, name);
    else if (what < 30)
        find_here(self, m, name);
    if (!other)
        return;
    if (what >= 30 && what < 55)
        watch_one(self, m, other);
    else if (what < 60)
        look_up(self, other->node->index, name);
    else if (what < 75) {
        link_one(self, m, other);
        if (what == 60) /* before it has read of it */
            end_another(self, other);
    } else if (what < 78)
        unlink_one(self, m, other);
    else if (what < 80)
        end_another(self, other);
    else
        core_note_send(self, m->being, other, 20);
}

static void host_found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    mortal *m = state;
    uint32_t node = (uint32_t)(uintptr_t)context;
    const tr_found *f = result->msg ? tr_match(result->msg, tr_found) : NULL;
    (void)self;
    if (f && core.slots[node][HOST] && tr_addr_equal(f->actor, core.slots[node][HOST]->address))
        m->hosts_found |= 1u << node;
}

/* Everybody finds every host, watches it, and sends to all. */
static void last_round(tr_actor *self, mortal *m)
{
    uint32_t nodes = sim_now_running->node_count, all = nodes * core.kept;
    if (!core_all_there())
        return;
    for (uint32_t n = 0; n < nodes; n++) {
        char path[TR_NAME_MAX];
        snprintf(path, sizeof(path), "n%u/host", n);
        tr_future future = m->hosts_found >> n & 1 ? (tr_future){0} : tr_lookup(self, path, TR_MILLIS(400));
        if (future.id)
            tr_then(self, future, host_found, (void *)(uintptr_t)n);
    }
    for (; m->last_notes < all; m->last_notes++) {
        core_being *to = core.slots[m->last_notes / core.kept][m->last_notes % core.kept];
        if (core_note_send(self, m->being, to, 20) != TR_OK)
            return;
        if (to->slot == HOST)
            watch_one(self, m, to);
    }
    m->being->last_done = m->hosts_found == (1u << nodes) - 1;
}

static void tick(tr_actor *self, mortal *m)
{
    m->being->ticked = sim_now_running->now;
    if (core.phase == CORE_QUIET)
        return;
    if (core.phase == CORE_BUSY)
        something(self, m);
    else if (!m->being->last_done)
        last_round(self, m);
    uint64_t pause = sim_now_running->faults_on ? tr_random(self) % TR_MILLIS(30) : TR_MILLIS(150);
    if (!tr_after(self, core.phase == CORE_BUSY ? pause : TR_MILLIS(500), ends_tick).id)
        core_exit(self, m->being, TR_ENOMEM);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    mortal *m = state;
    const tr_down *d;
    const tr_exited *e;
    const tr_node_event *n;
    if (core_note_take(m->being, self, msg))
        return;
    if ((d = tr_match(msg, tr_down)))
        down(self, m, d);
    else if ((e = tr_match(msg, tr_exited)))
        exited(self, m, e);
    else if ((n = tr_match(msg, tr_node_event)))
        node_event(self, m, n);
    else if (tr_match(msg, ends_tick))
        tick(self, m);
    else
        core_wrong("being %u got a %s", m->being->number, tr_msg_type_name(msg));
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    mortal *m = state;
    uint32_t slot = (uint32_t)(uintptr_t)arg;
    begin();
    m->being = core_born(self, slot);
    tr_trap_exit(self, slot != MORTAL);
    if (slot == MORTAL) /* as those do that it is linked to */
        m->being->may_end = UINT32_MAX & ~(1u << TR_EXIT_NO_CONNECTION);
    tr_err err = tr_after(self, tr_random(self) % TR_MILLIS(50), ends_tick).id ? TR_OK : TR_ENOMEM;
    if (err == TR_OK && slot == HOST)
        err = tr_register_name(self, "host");
    if (err == TR_OK && slot == HOST)
        err = tr_watch_nodes(self);
    if (err != TR_OK)
        core_ended(m->being);
    return err;
}

static void stop(tr_actor *self, void *state)
{
    const mortal *m = state;
    (void)self;
    core_ended(m->being);
}

static const tr_actor_def mortal_def = {.name = "mortal",
                                        .state_size = sizeof(mortal),
                                        .init = init,
                                        .receive = receive,
                                        .stop = stop,
                                        .mailbox_places = 8000};

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_actor_def *const defs[] = {&mortal_def, &mortal_def, &mortal_def, &mortal_def};
    return core_keep(self, index, defs, TR_COUNT(defs));
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static const char *watch_missing(void)
{
    static char text[160];
    for (uint32_t i = 0; i < ends.watch_count; i++) {
        const watch *w = &ends.watches[i];
        if (w->state != WATCH_SET || !core_lives(w->by) ||
            (core_lives(w->of) && w->connection == core_connection(w->by, w->of->address)))
            continue;
        snprintf(text, sizeof(text), "being %u on n%u never hears that being %u of n%u is down",
                 w->by->number, w->by->node->index, w->of->number, w->of->node->index);
        return text;
    }
    return NULL;
}

static const char *link_missing(void)
{
    static char text[160];
    for (uint32_t i = 0; i < ends.tie_count; i++)
        for (int side = 0; side < 2; side++) {
            const tie *t = &ends.ties[i];
            const core_being *left = t->ends[side], *gone = t->ends[!side];
            bool must = mortal_kind(left) ? !(gone->may_end & 1u << TR_EXIT_NORMAL) : !t->heard[side];
            if (t->off || !core_lives(left) || !gone->ended || !must)
                continue;
            snprintf(text, sizeof(text), "being %u is linked to %u, and never hears of its end", left->number,
                     gone->number);
            return text;
        }
    return NULL;
}

static const char *missing(void)
{
    const char *down_missing = watch_missing();
    return down_missing ? down_missing : link_missing();
}

/* Each host knows all others, as they are now. */
static void at_rest(void)
{
    uint32_t nodes = sim_now_running->node_count;
    for (uint32_t n = 0; n < nodes && !core_memory_failed(); n++)
        for (uint32_t other = 0; other < nodes; other++) {
            const mortal *m = core.slots[n][HOST]->state;
            const uint64_t *up = m->nodes[other];
            if (other != n && up[0] + up[1] != core.slots[other][HOST]->address.node) /* that one only */
                core_wrong("n%u's host doesn't know that n%u is up", n, other);
        }
}

static tr_err check(tr_actor *self)
{
    return core_check(self, missing, at_rest);
}

const tr_scenario sim_core_ends = {.size = sizeof(tr_scenario),
                                   .name = "core-ends",
                                   .nodes = 4,
                                   .run_ns = TR_SECONDS(8),
                                   .start = start,
                                   .check = check};
