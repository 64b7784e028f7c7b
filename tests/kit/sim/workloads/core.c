/* See core.h: beings, phases, connections. */
#include "tests/kit/sim/workloads/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/adapter.h"
#include "actors/loop.h"
#include "actors/remote/peer.h"
#include "base/check.h"
#include "base/mem.h"
#include "transport/link.h"

#define LAST_NS         TR_SECONDS(30) /* for all that must work after healing */
#define OWN_THREAD_SLOT 1              /* each node's being of that slot has a thread of its own */
#define QUIET_NS        TR_SECONDS(3)  /* longer than any timer of a being */

core_world core;

/* What is recorded for a node that crashed goes here. */
static core_being nobody;

/* ---- what doesn't hold --------------------------------------------------------------------------------- */

void core_wrong(const char *format, ...)
{
    char text[400];
    va_list args;
    if (!sim_counts())
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    tr_sim_fail(sim_now_running, "%s", text);
}

bool core_memory_failed(void)
{
    const sim_node *node = sim_now_running->current;
    bool in_this_turn = node && node->fail_allocation_in && !tr__alloc_fail_left();
    return in_this_turn || sim_now_running->result.faults[TR_SIM_MEMORY] > 0;
}

bool core_time_failed(void)
{
    const uint64_t *faults = sim_now_running->result.faults;
    return faults[TR_SIM_PAUSE] || faults[TR_SIM_SLOW] || faults[TR_SIM_POINTS];
}

/* ---- beings -------------------------------------------------------------------------------------------- */

static void forget_all(void)
{
    for (uint32_t i = 1; i < core.count; i++) {
        core_notes_forget(core.beings[i]);
        free(core.beings[i]);
    }
    free(core.beings);
    core_notes_forget(&nobody);
    memset(&core, 0, sizeof(core));
    memset(&nobody, 0, sizeof(nobody));
}

void core_begin(void)
{
    if (core.simulation == sim_now_running->number)
        return;
    forget_all();
    core.simulation = sim_now_running->number;
    core.count = 1; /* number 0 is nobody's */
}

static void make_room(void)
{
    if (core.count < core.room)
        return;
    core.room = core.room ? 2 * core.room : 256;
    core.beings = realloc(core.beings, core.room * sizeof(*core.beings));
    tr__check(core.beings != NULL, "no memory for a workload");
    core.beings[0] = &nobody;
}

core_being *core_born(tr_actor *self, uint32_t slot)
{
    if (!sim_counts())
        return &nobody;
    tr_sometimes(self, tr__loop_of(self)->exclusive, "a being has a thread of its own");
    core_being *known = core_being_at(tr_self(self));
    if (known)
        core_wrong("an address was given to being %u, and again to another one", known->number);
    make_room();
    core_being *being = calloc(1, sizeof(*being));
    tr__check(being != NULL, "no memory for a workload");
    being->number = core.count;
    being->address = tr_self(self);
    being->node = sim_now_running->current;
    being->life = being->node->life;
    being->slot = slot;
    being->ticked = sim_now_running->now;
    being->state = tr_state(self);
    core.beings[core.count++] = being;
    core.slots[being->node->index][slot] = being;
    return being;
}

void core_ended(core_being *being)
{
    if (!sim_counts())
        return;
    being->ended = true;
    being->ended_at = sim_now_running->now;
    being->state = NULL;
}

bool core_lives(const core_being *being)
{
    return being && being->number && !being->ended && sim_node_is_up(being->node) &&
           being->node->life == being->life;
}

core_being *core_being_at(tr_addr address)
{
    for (uint32_t i = core.count; i-- > 1;)
        if (tr_addr_equal(core.beings[i]->address, address))
            return core.beings[i];
    return NULL;
}

core_being *core_any(tr_actor *self, const core_being *but, bool dead_too)
{
    if (dead_too && core.count > 1 && tr_random(self) % 12 == 0)
        return core.beings[1 + tr_random(self) % (core.count - 1)];
    uint64_t node = tr_random(self) % sim_now_running->node_count; /* one draw an expression: S1 */
    core_being *being = core.slots[node][tr_random(self) % core.kept];
    return being == but || !core_lives(being) ? NULL : being;
}

void core_exit(tr_actor *self, core_being *being, tr_err code)
{
    being->may_end |= 1u << (code == TR_OK ? TR_EXIT_NORMAL : TR_EXIT_ERROR);
    tr_exit(self, code, "being %u has had enough", being->number);
}

/* ---- links --------------------------------------------------------------------------------------------- */

const tr_msg *core_link_to(const core_being *from, tr_addr to)
{
    const tr_actor *actor = tr__slot(from->node->node, from->address.slot);
    const tr_msg *link = actor->extras ? actor->extras->links : NULL;
    while (link && !tr_addr_equal(link->sender, to))
        link = link->next;
    return link;
}

bool core_is_linked(const core_being *from, tr_addr to)
{
    const tr_msg *link = core_link_to(from, to);
    return link && !link->ask;
}

/* ---- connections --------------------------------------------------------------------------------------- */

uint64_t core_connection(const core_being *from, tr_addr to)
{
    const tr_node *node = from->node ? from->node->node : NULL;
    if (!node || to.node == node->id)
        return 0;
    tr__remote *remote = node->remote;
    uint32_t count = remote ? atomic_load(&remote->route_count) : 0;
    for (uint32_t i = 0; i < count; i++)
        if (atomic_load(&remote->routes[i].id) == to.node)
            return (uint64_t)(i + 1) << 16 | atomic_load(&remote->routes[i].epoch);
    return UINT64_MAX;
}

bool core_connection_is_over(const core_being *from, tr_addr to, uint64_t then)
{
    if (then == 0 || then == UINT64_MAX || core_memory_failed() || then != core_connection(from, to))
        return then != 0;
    const tr__remote_peer *p = from->node->node->remote->routes[(then >> 16) - 1].peer;
    return !p || atomic_load(&tr__link_of_peer(p->peer)->channel.ended);
}

/* ---- phases -------------------------------------------------------------------------------------------- */

static tr_err keep_one(tr_actor *self, uint32_t node, const tr_actor_def *def, uint32_t slot)
{
    if (core_lives(core.slots[node][slot]) || core.phase == CORE_QUIET)
        return TR_OK;
    tr_place place = slot == OWN_THREAD_SLOT ? TR_PLACE_OWN_THREAD : TR_PLACE_SPREAD;
    return tr_await_msg(
        self, tr_spawn_ask(self, def, (const void *)(uintptr_t)slot, &(tr_spawn_opts){.place = place}), NULL);
}

tr_err core_keep(tr_actor *self, uint32_t node, const tr_actor_def *const *defs, uint32_t count)
{
    tr_err err = TR_OK;
    core_begin();
    core.kept = count;
    core.actors[node] = sim_count_actors(&sim_now_running->nodes[node]);
    while (err != TR_EKILLED) {
        for (uint32_t i = 0; i < count && err != TR_EKILLED; i++)
            err = keep_one(self, node, defs[i], i);
        if (err != TR_EKILLED)
            err = tr_sleep(self, TR_MILLIS(100));
    }
    return TR_OK;
}

bool core_all_there(void)
{
    for (uint32_t n = 0; n < sim_now_running->node_count; n++)
        for (uint32_t s = 0; s < core.kept; s++)
            if (!core_lives(core.slots[n][s]))
                return false;
    return true;
}

static const char *missing(const char *(*all_done)(void))
{
    static char text[160];
    if (!core_all_there())
        return "not all beings are there";
    for (uint32_t n = 0; n < sim_now_running->node_count; n++)
        for (uint32_t s = 0; s < core.kept; s++)
            if (!core.slots[n][s]->last_done) {
                snprintf(text, sizeof(text), "being %u of n%u, slot %u, isn't done", core.slots[n][s]->number,
                         n, s);
                return text;
            }
    const char *notes = core_notes_missing();
    return notes ? notes : all_done ? all_done() : NULL;
}

/* Whoever isn't a being of ours is one of the runtime's, and was there from the start; n0 has the check. */
static void check_left(void)
{
    for (uint32_t n = 0; n < sim_now_running->node_count; n++) {
        const sim_node *node = &sim_now_running->nodes[n];
        uint32_t expected = core.actors[n] + core.others[n] + (n == 0);
        for (uint32_t i = 1; i < core.count; i++)
            expected += core.beings[i]->node == node && core_lives(core.beings[i]);
        uint32_t actors = sim_count_actors(node), pendings = sim_count_pendings(node);
        if (actors != expected)
            core_wrong("n%u has %u actors at rest, not %u", n, actors, expected);
        if (pendings > 1) /* the keeper's sleep */
            core_wrong("n%u has %u asks and timers at rest, not 1", n, pendings);
    }
}

tr_err core_check(tr_actor *self, const char *(*all_done)(void), void (*at_rest)(void))
{
    const char *what = "";
    core.phase = CORE_LAST;
    core.phase_since = sim_now_running->now;
    while (what && sim_now_running->now < core.phase_since + LAST_NS) {
        if (tr_sleep(self, TR_MILLIS(100)) == TR_EKILLED)
            return TR_OK;
        what = missing(all_done);
    }
    if (what)
        return tr_fail(self, TR_EAPP, "%d s after healing: %s",
                       (int)((LAST_NS + TR_SECONDS(15)) / 1000000000u), what);
    core.phase = CORE_QUIET;
    uint64_t until = tr_now(self) + QUIET_NS;
    while (tr_now(self) < until)
        if (tr_sleep(self, TR_MILLIS(100)) == TR_EKILLED)
            return TR_OK;
    check_left();
    sim_check_at_rest(sim_now_running);
    if (at_rest)
        at_rest();
    return TR_OK;
}
