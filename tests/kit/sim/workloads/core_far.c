/* Links, stops and spawns between nodes: beings on all nodes link themselves to each other, also to those that have ended, take
 * links back, end, and end each other; and have guests started on any node, linked and monitored with their start. Each end is
 * heard once, or the loss of the connection is; after an unlink nothing is; no half of a link is left, and no guest whose
 * spawner is gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/remote/peer.h"
#include "base/check.h"
#include "tests/kit/sim/workloads/core.h"
#include "tests/kit/sim/workloads/list.h"

#define MORTAL 3 /* the slot of the one that ends with those it is linked to */

TR_MESSAGE(core_far_tick)
TR_MESSAGE(core_far_guest, (u64, number))

/* Two beings, and what they said and heard of links between them. */
typedef struct couple {
    const core_being *ends[2];
    uint64_t links; /* that were made, by either */
    uint32_t may_hear
        [2]; /* how often that end may still hear of the other's: once for each link, not after an unlink */
} couple;

/* One that was asked for. */
typedef struct guest {
    core_being *by;
    sim_node *node;
    uint64_t life;
    tr_addr address; /* as it says itself, and its spawner was told; none: neither has happened */
    bool begun, linked, ended, known, gave_up, heard_exit, heard_down;
    uint64_t monitor;
} guest;

static struct {
    uint64_t simulation;
    couple *couples;
    guest *guests;
    uint32_t couple_count, couple_room, guest_count, guest_room;
} far;

typedef struct liver {
    core_being *being;
} liver;

static void begin(void)
{
    if (far.simulation == core.simulation)
        return;
    far.simulation = core.simulation;
    far.couple_count = far.guest_count = 0;
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

/* ---- links --------------------------------------------------------------------------------------------- */

static couple *couple_of(const core_being *a, const core_being *b)
{
    for (uint32_t i = far.couple_count; i-- > 0;) {
        couple *c = &far.couples[i];
        if ((c->ends[0] == a && c->ends[1] == b) || (c->ends[0] == b && c->ends[1] == a))
            return c;
    }
    return NULL;
}

static uint32_t *may_hear(couple *c, const core_being *of)
{
    return &c->may_hear[c->ends[1] == of];
}

static void link_one(tr_actor *self, const liver *l, core_being *to)
{
    if (!sim_counts() || core_is_linked(l->being, to->address) || tr_link(self, to->address) != TR_OK)
        return;
    couple *c = couple_of(l->being, to);
    if (!c) {
        far.couples = grown(far.couples, far.couple_count, &far.couple_room, sizeof(*far.couples));
        c = &far.couples[far.couple_count++];
        *c = (couple){.ends = {l->being, to}};
    }
    bool is_far = to->address.node != l->being->address.node;
    tr_sometimes(self, is_far && c->links, "one of another node is linked again");
    tr_sometimes(self, is_far && to->ended, "one of another node is linked that has ended");
    c->links++;
    c->may_hear[0]++;
    c->may_hear[1]++;
}

static void unlink_one(tr_actor *self, const liver *l, const core_being *to)
{
    couple *c = couple_of(l->being, to);
    bool linked = sim_counts() && core_is_linked(l->being, to->address); /* else one may be on its way */
    if (c && tr_unlink(self, to->address) == TR_OK && linked)
        *may_hear(c, l->being) = 0;
}

static void exit_of_being(tr_actor *self, const liver *l, const core_being *other, const tr_exited *e)
{
    couple *c = couple_of(l->being, other);
    bool is_far = other->address.node != l->being->address.node;
    if (!c || !*may_hear(c, l->being)) {
        core_wrong("being %u hears of the end of being %u, to whom it isn't linked any more: %s",
                   l->being->number, other->number, e->text);
        return;
    }
    --*may_hear(c, l->being);
    if (e->kind == TR_EXIT_NO_CONNECTION && !is_far && !(other->may_end >> e->kind & 1))
        core_wrong("being %u hears that its own node isn't connected", l->being->number);
    bool lost = e->kind == TR_EXIT_NO_CONNECTION || core_memory_failed();
    if (!lost && (!other->ended || (e->kind != TR_EXIT_NO_ACTOR && !(other->may_end >> e->kind & 1))))
        core_wrong("being %u hears that being %u has ended by %u, which it hasn't (%s)", l->being->number,
                   other->number, e->kind, e->text);
    tr_sometimes(self, is_far && e->kind == TR_EXIT_ERROR, "who is linked hears of an error on another node");
    tr_sometimes(self, is_far && e->kind == TR_EXIT_KILLED, "who is linked hears of a kill on another node");
    tr_sometimes(self, is_far && lost && core_lives(other), "a lost connection ends a link of two that live");
}

/* ---- guests -------------------------------------------------------------------------------------------- */

typedef struct visit {
    uint64_t number; /* + 1 */
} visit;

static guest *guest_at(uint64_t number)
{
    return number < far.guest_count ? &far.guests[number] : NULL;
}

static tr_err guest_init(tr_actor *self, void *state, const void *arg)
{
    visit *v = state;
    guest *g = guest_at(((const core_far_guest *)arg)->number);
    v->number = 0;
    if (!sim_counts() || !g)
        return TR_OK;
    v->number = ((const core_far_guest *)arg)->number + 1;
    if (g->begun)
        core_wrong("guest %u is started twice", (uint32_t)v->number);
    if (!tr_addr_is_none(g->address) && !tr_addr_equal(g->address, tr_self(self)))
        core_wrong("being %u was told of another guest than that which is started", g->by->number);
    g->begun = true;
    if (g->by->node != sim_now_running->current)
        tr_sometimes(self, true, "a guest is started on another node");
    g->node = sim_now_running->current;
    g->life = g->node->life;
    g->address = tr_self(self);
    if (tr_random(self) % 10 == 0 || !tr_after(self, tr_random(self) % TR_MILLIS(400), core_far_tick).id) {
        g->ended = true;
        return tr_fail(self, TR_EAPP, "it doesn't want to");
    }
    return TR_OK;
}

static void guest_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, core_far_tick))
        tr_exit(self, tr_random(self) % 2 ? TR_OK : TR_EAPP, "a guest goes");
}

static void guest_stop(tr_actor *self, void *state)
{
    guest *g = guest_at(((visit *)state)->number - 1);
    (void)self;
    if (sim_counts() && g)
        g->ended = true;
}

static const tr_actor_def guest_def = {.name = "guest",
                                       .state_size = sizeof(visit),
                                       .arg_type = &core_far_guest_type,
                                       .init = guest_init,
                                       .receive = guest_receive,
                                       .stop = guest_stop};

static void guest_came(tr_actor *self, void *state, const tr_result *result, void *context)
{
    const tr_spawned *s = result->msg ? tr_match(result->msg, tr_spawned) : NULL;
    guest *g = guest_at((uintptr_t)context);
    (void)state;
    if (!sim_counts() || !g)
        return;
    g->known = s != NULL;
    g->gave_up = !s;
    if (s && tr_addr_is_none(g->address))
        g->address = s->actor; /* its init is to come */
    else if (s && !tr_addr_equal(g->address, s->actor))
        core_wrong("being %u is told of another guest than that which was started", g->by->number);
    tr_sometimes(self, !s && result->err == TR_ENOCONN, "a spawn fails as its connection breaks");
    tr_sometimes(self, !s && result->err == TR_EDEADLINE, "a spawn's deadline comes");
}

static void invite(tr_actor *self, const liver *l)
{
    if (!sim_counts())
        return;
    char node[16];
    uint64_t number = far.guest_count;
    far.guests = grown(far.guests, far.guest_count, &far.guest_room, sizeof(*far.guests));
    far.guests[far.guest_count++] = (guest){.by = l->being, .linked = tr_random(self) % 3 != 0};
    guest *g = &far.guests[number];
    tr_spawn_at_opts opts = {.link = g->linked, .monitor = tr_random(self) % 2 ? &g->monitor : NULL};
    snprintf(node, sizeof(node), "n%u", (unsigned)(tr_random(self) % sim_now_running->node_count));
    uint64_t timeout = tr_random(self) % 4 ? TR_SECONDS(2) : tr_random(self) % TR_MILLIS(10);
    tr_future f = tr_spawn_at(self, node, "guest", timeout, &opts, core_far_guest, .number = number);
    if (!f.id || tr_then(self, f, guest_came, (void *)(uintptr_t)number) != TR_OK)
        g->gave_up = true;
    else if (tr_random(self) % 10 == 0) {
        tr_cancel(self, f);
        g->gave_up = true;
    }
}

static guest *guest_of(const core_being *by, tr_addr address, uint64_t monitor)
{
    for (uint32_t i = far.guest_count; i-- > 0;) {
        guest *g = &far.guests[i];
        if (g->by == by && (monitor ? g->monitor == monitor : tr_addr_equal(g->address, address)))
            return g;
    }
    return NULL;
}

static void check_end(const guest *g, uint32_t kind, const char *text)
{
    bool is_far = g->address.node != g->by->address.node;
    if (kind == TR_EXIT_NO_CONNECTION ? !is_far : !g->ended && !core_memory_failed())
        core_wrong("being %u hears that a guest has ended by %u, which it hasn't: %s", g->by->number, kind,
                   text);
}

static void exited(tr_actor *self, const liver *l, const tr_exited *e)
{
    const core_being *other = core_being_at(e->actor);
    if (!sim_counts())
        return;
    if (l->being->slot == MORTAL)
        core_wrong("being %u hears of an end, and doesn't trap exits", l->being->number);
    guest *g = other ? NULL : guest_of(l->being, e->actor, 0);
    if (other) {
        exit_of_being(self, l, other, e);
    } else if (!g || !g->linked || g->heard_exit || g->gave_up) {
        core_wrong("being %u hears of the end of a guest %s: %s", l->being->number,
                   !g              ? "that it knows nothing of"
                   : g->heard_exit ? "again"
                                   : "to which it isn't linked",
                   e->text);
    } else {
        g->heard_exit = true;
        check_end(g, e->kind, e->text);
        tr_sometimes(self, e->kind == TR_EXIT_ERROR, "a spawner hears why its guest ended");
    }
}

static void down(tr_actor *self, const liver *l, const tr_down *d)
{
    guest *g = guest_of(l->being, d->actor, d->monitor);
    (void)self;
    if (!sim_counts())
        return;
    if (!g || g->heard_down || g->gave_up) {
        core_wrong("being %u hears of a guest that is down %s", l->being->number,
                   g && g->heard_down ? "again" : "which it doesn't watch");
        return;
    }
    g->heard_down = true;
    check_end(g, d->kind, d->text);
}

/* ---- a being ------------------------------------------------------------------------------------------- */

static void end_another(tr_actor *self, core_being *other)
{
    tr_exit_kind how = tr_random(self) % 2 ? TR_EXIT_KILLED : TR_EXIT_SHUTDOWN;
    tr_err err = tr_stop(self, other->address, how);
    if (err == TR_OK)
        other->may_end |= 1u << how;
    else if (err != TR_ENOCONN && err != TR_ENOMEM)
        core_wrong("a stop fails: %s", tr_last_error(self)->text);
    tr_sometimes(self, err == TR_OK && other->address.node != tr_self(self).node,
                 "one of another node is stopped");
}

static void something(tr_actor *self, liver *l)
{
    uint64_t what = tr_random(self) % 100;
    core_being *other = core_any(self, l->being, true);
    if (what == 0)
        core_exit(self, l->being, tr_random(self) % 3 == 0 ? TR_OK : TR_EAPP);
    else if (what < 25)
        invite(self, l);
    if (!other || other == l->being)
        return;
    if (what >= 25 && what < 60) {
        link_one(self, l, other);
        if (what == 25) /* before it has read of it */
            end_another(self, other);
    } else if (what >= 60 && what < 75) {
        unlink_one(self, l, other);
        if (what < 66)
            link_one(self, l, other);
    } else if (what >= 75 && what < 77)
        end_another(self, other);
}

static void tick(tr_actor *self, liver *l)
{
    l->being->ticked = sim_now_running->now;
    if (core.phase == CORE_QUIET)
        return;
    if (core.phase == CORE_BUSY)
        something(self, l);
    else if (!l->being->last_done && core_all_there()) {
        for (uint32_t n = 0; n < sim_now_running->node_count; n++)
            if (core.slots[n][0] != l->being)
                link_one(self, l, core.slots[n][0]);
        l->being->last_done = true;
    }
    uint64_t pause = sim_now_running->faults_on ? tr_random(self) % TR_MILLIS(30) : TR_MILLIS(150);
    if (!tr_after(self, core.phase == CORE_BUSY ? pause : TR_MILLIS(500), core_far_tick).id)
        core_exit(self, l->being, TR_ENOMEM);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    liver *l = state;
    const tr_exited *e;
    const tr_down *d;
    if ((e = tr_match(msg, tr_exited)))
        exited(self, l, e);
    else if ((d = tr_match(msg, tr_down)))
        down(self, l, d);
    else if (tr_match(msg, core_far_tick))
        tick(self, l);
    else
        core_wrong("being %u got a %s", l->being->number, tr_msg_type_name(msg));
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    liver *l = state;
    uint32_t slot = (uint32_t)(uintptr_t)arg;
    begin();
    l->being = core_born(self, slot);
    tr_trap_exit(self, slot != MORTAL);
    if (slot == MORTAL) /* as those do that it is linked to */
        l->being->may_end = UINT32_MAX;
    if (tr_after(self, tr_random(self) % TR_MILLIS(50), core_far_tick).id)
        return TR_OK;
    core_ended(l->being);
    return TR_ENOMEM;
}

static void stop(tr_actor *self, void *state)
{
    (void)self;
    core_ended(((const liver *)state)->being);
}

static const tr_actor_def liver_def = {.name = "liver",
                                       .state_size = sizeof(liver),
                                       .init = init,
                                       .receive = receive,
                                       .stop = stop,
                                       .mailbox_places = 8000};

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_actor_def *const defs[] = {&liver_def, &liver_def, &liver_def, &liver_def};
    static const char *const any[] = {"*", NULL};
    static const tr_rights rights = {.may = TR_MAY_ALL, .names = any, .spawn = any, .spawn_max = 1000};
    tr_node *node = tr_node_of(self);
    node->opts.rights = &rights; /* nobody is connected yet */
    node->opts.rights_count = 1;
    TR_TRY(tr_offer(self, "guest", &guest_def));
    return core_keep(self, index, defs, TR_COUNT(defs));
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static const char *missing(void)
{
    static char text[160];
    for (uint32_t i = 0; i < far.guest_count; i++) {
        const guest *g = &far.guests[i];
        bool runs = g->begun && !g->ended && sim_node_is_up(g->node) && g->node->life == g->life;
        if (runs)
            return "a guest is still there";
        bool gone = g->known && !core_memory_failed();
        if (core_lives(g->by) && gone && g->linked && !g->heard_exit && g->by->slot != MORTAL) {
            snprintf(text, sizeof(text), "being %u never hears of the end of a guest that it is linked to",
                     g->by->number);
            return text;
        }
        if (core_lives(g->by) && gone && g->monitor && !g->heard_down)
            return "a guest's monitor never fires";
    }
    return NULL;
}

/* Each link has both its sides, and if it is to another node a tie there and here; no tie is left of what is over. */
static void at_rest(void)
{
    uint32_t nodes = sim_now_running->node_count, ties[TR_SIM_NODES_MAX][TR_SIM_NODES_MAX] = {0};
    for (uint32_t i = 1; i < core.count && !core_memory_failed(); i++) {
        const core_being *a = core.beings[i];
        const tr_actor *actor = core_lives(a) ? tr__slot(a->node->node, a->address.slot) : NULL;
        for (const tr_msg *link = actor && actor->extras ? actor->extras->links : NULL; link;
             link = link->next) {
            const core_being *b = core_being_at(link->sender);
            if (!b || !core_lives(b) || link->ask || !core_link_to(b, a->address)) {
                core_wrong("being %u has half a link to being %u at rest", a->number, b ? b->number : 0);
                continue;
            }
            ties[a->node->index][b->node->index] += a->node != b->node;
        }
    }
    for (uint32_t n = 0; n < nodes && !core_memory_failed(); n++)
        for (uint32_t other = 0; other < nodes; other++) {
            tr__loop *loop = sim_now_running->nodes[n].node->loops[0];
            const tr__remote_peer *p = tr__remote_peer_of(loop, sim_now_running->nodes[other].node->id);
            if (p && p->ties != ties[n][other])
                core_wrong("n%u has %u ties to n%u at rest, for %u links", n, p->ties, other, ties[n][other]);
        }
}

static tr_err check(tr_actor *self)
{
    return core_check(self, missing, at_rest);
}

const tr_scenario sim_core_far = {.size = sizeof(tr_scenario),
                                  .name = "core-far",
                                  .nodes = 3,
                                  .run_ns = TR_SECONDS(8),
                                  .start = start,
                                  .check = check};
