/* A run: made, under faults, healed, checked, stopped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/node.h"
#include "base/buggify.h"
#include "base/check.h"
#include "base/err.h"
#include "tests/kit/sim/sim.h"

#define RUN_NS    TR_SECONDS(30)
#define HEAL_NS   TR_SECONDS(60)
#define SETTLE_NS TR_SECONDS(15) /* longer than silence is taken for, and the longest pause between dials */
#define LOOK_NS   TR_SECONDS(1)  /* how often the invariants are looked at */

tr_sim *sim_now_running;

/* ---- made ---------------------------------------------------------------------------------------------- */

static const tr_scenario nothing = {.size = sizeof(tr_scenario), .name = "nothing"};

static bool is_name(const char *name)
{
    size_t length =
        name ? strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") : 0;
    return length > 0 && name[length] == '\0';
}

static tr_err check_scenario(const tr_scenario *scenario, tr_error *error)
{
    if (scenario->size == 0 || scenario->size > sizeof(*scenario))
        return tr__fail(error, TR_EVERSION,
                        "the scenario says that it is %u bytes: here it is %zu; build it with these headers",
                        scenario->size, sizeof(*scenario));
    if (!is_name(scenario->name))
        return tr__fail(error, TR_EINVAL, "a scenario's name is of letters, digits and '-', not \"%s\"",
                        scenario->name ? scenario->name : "");
    if (scenario->nodes > TR_SIM_NODES_MAX || scenario->loops > SIM_LOOPS_MAX)
        return tr__fail(error, TR_EINVAL, "scenario %s: at most %d nodes of %d loops", scenario->name,
                        TR_SIM_NODES_MAX, SIM_LOOPS_MAX);
    return TR_OK;
}

static tr_err check_opts(const tr_sim_opts *opts, tr_error *error)
{
    if (sim_now_running)
        return tr__fail(error, TR_EINVAL, "a simulation runs already in this process: destroy it first");
    if (opts->faults & ~TR_SIM_ALL_FAULTS)
        return tr__fail(error, TR_EINVAL, "faults 0x%x: there are bits up to 0x%x", opts->faults,
                        TR_SIM_ALL_FAULTS);
    return opts->scenario ? check_scenario(opts->scenario, error) : TR_OK;
}

static void seed_all(tr_sim *sim)
{
    tr__random seeds;
    tr__random_init(&seeds, sim->opts.seed);
    tr__random_init(&sim->schedule, tr__random_next(&seeds));
    for (int i = 0; i < TR_SIM_FAULT_COUNT; i++) {
        tr__random_init(&sim->random[i], tr__random_next(&seeds));
        tr__random_init(&sim->when[i], tr__random_next(&seeds));
    }
    sim_world_init(sim, &seeds);
}

tr_sim *tr_sim_create(const tr_sim_opts *opts, tr_error *error)
{
    if (check_opts(opts, error) != TR_OK)
        return NULL;
    tr_sim *sim = calloc(1, sizeof(*sim));
    if (!sim) {
        tr__fail(error, TR_ENOMEM, "no memory for a simulation");
        return NULL;
    }
    static uint64_t number;
    sim->number = ++number;
    sim->opts = *opts;
    const tr_scenario *scenario = opts->scenario ? opts->scenario : &nothing;
    memcpy(&sim->scenario_own, scenario, scenario->size);
    sim->scenario = &sim->scenario_own;
    sim->node_count = sim->scenario->nodes ? sim->scenario->nodes : 3;
    sim_now_running = sim;
    seed_all(sim);
    sim_faults_init(sim);
    sim_nodes_init(sim);
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (sim_node_start(&sim->nodes[i], error) != TR_OK) {
            tr_sim_destroy(sim);
            return NULL;
        }
    return sim;
}

void tr_sim_destroy(tr_sim *sim)
{
    if (!sim)
        return;
    for (uint32_t i = 0; i < sim->node_count; i++)
        sim_node_crash(&sim->nodes[i], false);
    sim_world_fini(sim);
    sim_net_fini(sim);
    sim_probes_fini(sim);
    sim_scripts_fini(sim);
    for (uint32_t i = 0; i < sim->node_count; i++)
        sim_disk_fini(&sim->nodes[i]);
    sim_events_fini(sim);
    tr__buggify = NULL;
    sim_now_running = NULL;
    free(sim);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

void tr_sim_step(tr_sim *sim, uint64_t duration_ns)
{
    uint64_t until = duration_ns < TR_FOREVER - sim->now ? sim->now + duration_ns : TR_FOREVER;
    while (!sim->result.failed && sim->now < until) {
        uint64_t next_look = sim->looked_at + LOOK_NS;
        while (!sim->result.failed && sim_event_next(sim, until < next_look ? until : next_look)) {
        }
        if (sim->now >= next_look) {
            sim->looked_at = sim->now;
            sim_check_running(sim);
        }
    }
}

uint64_t tr_sim_now(const tr_sim *sim)
{
    return sim->now;
}

uint32_t tr_sim_nodes(const tr_sim *sim)
{
    return sim->node_count;
}

static sim_node *node_of(tr_sim *sim, uint32_t node)
{
    tr__check(node < sim->node_count, "there is no node n%u", node);
    return &sim->nodes[node];
}

tr_node *tr_sim_node(tr_sim *sim, uint32_t node)
{
    return sim_node_is_up(node_of(sim, node)) ? sim->nodes[node].node : NULL;
}

/* ---- what a test, a script or a fault does -------------------------------------------------------------- */

void tr_sim_cut(tr_sim *sim, uint32_t from, uint32_t to)
{
    node_of(sim, from);
    node_of(sim, to);
    if (!sim->cut[from][to])
        sim->cut_since[from][to] = sim->now;
    sim->cut[from][to] = true;
    sim->cut_until[from][to] = TR_FOREVER;
}

void tr_sim_heal(tr_sim *sim, uint32_t from, uint32_t to)
{
    node_of(sim, from);
    node_of(sim, to);
    if (!sim->cut[from][to])
        return;
    sim->cut[from][to] = false;
    sim_net_healed(sim, from, to);
}

void tr_sim_reset(tr_sim *sim, uint32_t a, uint32_t b)
{
    node_of(sim, a);
    node_of(sim, b);
    sim_net_break(sim, a, b, false);
}

static void on_restart(void *context, uint64_t life)
{
    sim_node *node = context;
    tr_sim *sim = node->sim;
    tr_error error = {.code = TR_OK};
    if (node->life != life || node->node || node->stays_down)
        return;
    tr_err err = sim_disk_start_node(node, &error);
    if (err == TR_OK || err == TR_EEXIST)
        return;
    if (((err == TR_ENOSPC || err == TR_EIO) && sim->rates.every_ns[TR_SIM_DISK]) ||
        (err == TR_ENOMEM && sim->rates.every_ns[TR_SIM_MEMORY]))
        sim_restart_in(node, TR_MILLIS(500));
    else
        tr_sim_fail(sim, "%s can't start: %s", node->name, error.text);
}

void sim_restart_in(sim_node *node, uint64_t delay_ns)
{
    sim_event_at(node->sim, node->sim->now + delay_ns, on_restart, node, node->life);
}

void tr_sim_kill(tr_sim *sim, uint32_t node, bool power)
{
    node_of(sim, node)->stays_down = true;
    sim_trace(sim, &sim->nodes[node], "kill", "%s", power ? "without power" : "kill -9");
    sim_node_crash(&sim->nodes[node], power);
}

void tr_sim_stop(tr_sim *sim, uint32_t node)
{
    node_of(sim, node)->stays_down = true;
    sim_node_shut_down(&sim->nodes[node]);
}

tr_err tr_sim_start(tr_sim *sim, uint32_t node, tr_error *error)
{
    node_of(sim, node)->stays_down = false;
    return sim_node_start(&sim->nodes[node], error);
}

void tr_sim_pause(tr_sim *sim, uint32_t node, uint64_t duration_ns)
{
    sim_node_pause(node_of(sim, node), duration_ns == TR_FOREVER ? TR_FOREVER : sim->now + duration_ns);
}

void tr_sim_resume(tr_sim *sim, uint32_t node)
{
    sim_node_resume(node_of(sim, node));
}

void tr_sim_heal_all(tr_sim *sim)
{
    sim_trace(sim, NULL, "heal", "no more faults");
    sim_faults_end(sim);
    sim_net_unclog(sim);
    for (uint32_t a = 0; a < sim->node_count; a++) {
        for (uint32_t b = 0; b < sim->node_count; b++)
            tr_sim_heal(sim, a, b);
        sim_node_resume(&sim->nodes[a]);
        sim->nodes[a].stays_down = false;
        if (!sim->nodes[a].node)
            sim_restart_in(&sim->nodes[a], tr__random_below(&sim->schedule, TR_SECONDS(1)));
    }
}

/* ---- a scenario from start to end ----------------------------------------------------------------------- */

static tr_err run_check(tr_actor *self, void *arg)
{
    tr_sim *sim = arg;
    tr_err err = sim->scenario->check(self);
    if (sim->nodes[0].dead)
        return err;
    sim->check_done = true;
    const char *text = tr_last_error(self)->text;
    if (err != TR_OK)
        tr_sim_fail(sim, "the scenario's check: %s", text[0] ? text : tr_err_word(err));
    return err;
}

static const tr_actor_def check_def = {.name = "check", .run = run_check, .stack_size = 256 * 1024};

static void check(tr_sim *sim)
{
    tr_error error;
    tr_addr address;
    uint64_t bound = sim->scenario->heal_ns ? sim->scenario->heal_ns : HEAL_NS;
    if (bound > TR_FOREVER - sim->now)
        bound = TR_FOREVER - sim->now;
    sim_node *node = &sim->nodes[0];
    if (!sim_node_is_up(node)) {
        tr_sim_fail(sim, "n0 isn't up %d s after healing", (int)(SETTLE_NS / 1000000000u));
        return;
    }
    if (!sim->scenario->check)
        return;
    sim_node_enter(node);
    tr_err err = tr__spawn(node->node->loops[0], &check_def, sim, NULL, &address, &error);
    sim_node_leave(node);
    sim_agent_wake(&node->agents[0], sim->now);
    if (err != TR_OK)
        tr_sim_fail(sim, "the check can't start: %s", error.text);
    for (uint64_t until = sim->now + bound; !sim->check_done && !sim->result.failed && sim->now < until;)
        tr_sim_step(sim, TR_MILLIS(10));
    if (!sim->check_done)
        tr_sim_fail(sim, "the scenario's check hasn't returned %llu s after healing",
                    (unsigned long long)((SETTLE_NS + bound) / 1000000000u));
}

void tr_sim_run(tr_sim *sim)
{
    uint64_t run = sim->opts.run_ns        ? sim->opts.run_ns
                   : sim->scenario->run_ns ? sim->scenario->run_ns
                                           : RUN_NS;
    tr_sim_step(sim, run);
    if (sim->result.failed)
        return;
    tr_sim_heal_all(sim);
    tr_sim_step(sim, SETTLE_NS);
    if (!sim->result.failed)
        check(sim);
    for (uint32_t i = 0; i < sim->node_count && !sim->result.failed; i++)
        sim_node_stop(&sim->nodes[i]);
}

void tr_sim_result_get(const tr_sim *sim, tr_sim_result *result)
{
    *result = sim->result;
    result->hash = sim->hash;
    result->virtual_ns = sim->now;
    result->faults[TR_SIM_WORLD] = sim_world_failures(sim);
}
