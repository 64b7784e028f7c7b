/* Nodes: real ones, whose loops are turned by events, and whose seams lead into the simulation. See sim.h, S4. */
#include <stdio.h>
#include <string.h>

#include "actors/node.h"
#include "actors/remote/remote.h"
#include "actors/supervision/shutdown.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/kit/sim/net.h"
#include "tests/kit/sim/sim_kinds.h"

/* ---- its clock ----------------------------------------------------------------------------------------- */

uint64_t sim_node_clock(const sim_node *node)
{
    int64_t passed = (int64_t)(node->sim->now - node->clock_base);
    return node->clock_local + (uint64_t)(passed + (int64_t)((__int128)passed * node->clock_ppm / 1000000));
}

void sim_node_drift(sim_node *node, int64_t ppm)
{
    node->clock_local = sim_node_clock(node);
    node->clock_base = node->sim->now;
    node->clock_ppm = ppm;
}

/* When its clock will show that; sim time, rounded up. */
static uint64_t when(const sim_node *node, uint64_t local)
{
    if (local == TR__NEVER)
        return TR_FOREVER;
    if (local <= sim_node_clock(node))
        return node->sim->now;
    __int128 left = (__int128)(local - node->clock_local) * 1000000 / (1000000 + node->clock_ppm) + 1;
    return node->clock_base + (uint64_t)left;
}

/* ---- its seams ----------------------------------------------------------------------------------------- */

bool sim_node_seam(sim_node *node)
{
    if (node->crash_after > 0 && --node->crash_after == 0 && node->turning && !node->dead) {
        node->dead = node->dying = true;
        sim_fault_happened(node->sim, node->dying_of_power ? TR_SIM_POWER : TR_SIM_CRASH,
                           "%s dies in the middle of a turn", node->name);
        sim_rows_node_dies(node);
    }
    return !node->dead;
}

static uint64_t seam_now(void *context)
{
    sim_node *node = context;
    sim_node_seam(node);
    return sim_node_clock(node);
}

static uint64_t seam_wall_ms(void *context)
{
    sim_node *node = context;
    return (uint64_t)(1577836800000 + (int64_t)(node->sim->now / 1000000u) + node->wall_ahead_ms);
}

/* How long a wake takes: from one to 64 us, mostly little. */
static uint64_t wake_latency(tr_sim *sim)
{
    uint64_t latency = 1000 + (tr__random_next(&sim->schedule) & 0xfff);
    if (tr__random_below(&sim->schedule, 16) == 0)
        latency += tr__random_below(&sim->schedule, 60000);
    return latency;
}

static void seam_wake(void *context, unsigned index)
{
    sim_node *node = context;
    if (sim_node_seam(node))
        sim_agent_wake(&node->agents[index], node->sim->now + wake_latency(node->sim));
}

sim_agent *sim_agent_at(sim_node *node, uint32_t index)
{
    return index < node->loops ? &node->agents[index] : &node->control;
}

static void agent_begin(sim_agent *agent, uint32_t index)
{
    agent->index = index;
    agent->slow_until = 0;
    agent->at = TR_FOREVER;
    sim_agent_wake(agent, agent->node->sim->now + wake_latency(agent->node->sim));
}

/* A thread of its own is a loop like the others. */
static tr_err seam_start_loop(void *context, unsigned index, tr_error *error)
{
    sim_node *node = context;
    sim_node_seam(node);
    if (index >= TR_COUNT(node->agents))
        return tr__fail(error, TR_EAGAIN, "%s: no more threads", node->name);
    node->loops = index + 1;
    node->control.index = node->loops;
    agent_begin(&node->agents[index], index);
    return TR_OK;
}

static void seam_wake_control(void *context)
{
    sim_node *node = context;
    if (sim_node_seam(node))
        sim_agent_wake(&node->control, node->sim->now + wake_latency(node->sim));
}

static void seam_point(void *context, const char *name)
{
    sim_node *node = context;
    if (node->dead)
        return;
    sim_trace(node->sim, node, "point", "%s", name);
    bool dies = sim_dies_at_point(node);
    char words[64];
    snprintf(words, sizeof(words), "a crash at %s", name);
    sim_reaches(node->sim, dies, words);
    if (dies)
        node->crash_after = 1;
    node->at_point = name;
    sim_node_seam(node);
    node->at_point = NULL;
}

static void seam_fatal(void *context)
{
    sim_node *node = context;
    if (node->dead)
        return;
    sim_trace(node->sim, node, "fatal", "its log can't go on");
    node->ended_itself = true;
    node->dying_of_power = false;
    sim_rows_node_dies(node);
    node->dead = node->dying = true;
}

static void seam_secret(void *context, void *bytes, size_t length)
{
    sim_node *node = context;
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)tr__random_next(&node->sim->schedule);
}

/* ---- turns --------------------------------------------------------------------------------------------- */

void sim_node_enter(sim_node *node)
{
    tr__check(!node->turning, "one thing at a time");
    node->turning = true;
    node->sim->current = node;
    tr__alloc_fail_at(node->fail_allocation_in);
}

static void node_release(sim_node *node);
static void ended_by_itself(sim_node *node);
static void is_shut_down(sim_node *node);

void sim_node_leave(sim_node *node)
{
    bool fails = node->fail_allocation_in > 0;
    node->turning = false;
    node->sim->current = NULL;
    node->fail_allocation_in = tr__alloc_fail_left();
    tr__alloc_fail_at(0);
    if (fails && !node->fail_allocation_in && !node->dead)
        sim_fault_happened(node->sim, TR_SIM_MEMORY, "%s: an allocation failed", node->name);
    if (node->dying)
        node_release(node);
}

static void agent_turn(void *context, uint64_t token);

static void agent_schedule(sim_agent *agent, uint64_t at)
{
    agent->at = at;
    agent->token++;
    if (at != TR_FOREVER)
        sim_event_at(agent->node->sim, at, agent_turn, agent, agent->token);
}

void sim_agent_wake(sim_agent *agent, uint64_t at)
{
    uint64_t now = agent->node->sim->now;
    if (agent->slow_until > now && at != TR_FOREVER)
        at += tr__random_below(&agent->node->sim->schedule, agent->slow_ns);
    if (at < agent->at)
        agent_schedule(agent, at);
}

/* When it wants to turn again by itself. */
static uint64_t turn(sim_agent *agent)
{
    sim_node *node = agent->node;
    tr_sim *sim = node->sim;
    if (agent == &node->control) {
        tr__remote_control_step(node->node->remote, sim_node_clock(node));
        return when(node, tr__remote_control_due(node->node->remote));
    }
    tr__loop *loop = node->node->loops[agent->index];
    tr__loop_awake(loop);
    uint64_t took = 200 + (tr__random_next(&sim->schedule) & 0x7ff);
    bool more = tr__loop_turn(loop);
    sim->result.turns++;
    sim->now += took;
    if (more || !tr__loop_may_sleep(loop))
        return sim->now;
    return when(node, tr__loop_next_due(loop));
}

static void agent_turn(void *context, uint64_t token)
{
    sim_agent *agent = context;
    sim_node *node = agent->node;
    if (token != agent->token || !sim_node_is_up(node))
        return;
    if (node->paused_until) {
        agent_schedule(agent, sim_when_it_goes_on(node));
        return;
    }
    agent->at = TR_FOREVER;
    sim_trace_turn(agent);
    sim_node_enter(node);
    uint64_t life = node->life, next = turn(agent);
    sim_node_leave(node);
    if (node->life != life || !sim_node_is_up(node))
        return;
    if (tr__is_over(node->node)) {
        if (node->shut_down)
            is_shut_down(node);
        else
            ended_by_itself(node);
        return;
    }
    sim_agent_wake(agent, next);
}

/* ---- start --------------------------------------------------------------------------------------------- */

typedef struct start_state {
    sim_node *node;
    bool ran;
} start_state;

static tr_err init_start(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    ((start_state *)state)->node = (sim_node *)arg;
    return TR_OK;
}

static tr_err run_start(tr_actor *self, void *arg)
{
    sim_node *node = arg;
    ((start_state *)tr_state(self))->ran = true;
    tr_err err = node->sim->scenario->start(self, node->index);
    const char *text = tr_last_error(self)->text;
    if (err != TR_OK && !node->dead && !node->stopping && node->node && !tr__is_stopping(node->node))
        tr_sim_fail(node->sim, "the scenario's start on %s failed: %s%s%s", node->name, tr_err_word(err),
                    text[0] ? ": " : "", text);
    return err;
}

/* It found no memory for its stack: a program whose first actor can't run ends. */
static void stop_start(tr_actor *self, void *state)
{
    const start_state *s = state;
    (void)self;
    if (s->ran || s->node->dead)
        return;
    sim_trace(s->node->sim, s->node, "stop", "no memory for the scenario's start");
    s->node->dead = s->node->dying = true;
}

static const tr_actor_def start_def = {.name = "scenario",
                                       .state_size = sizeof(start_state),
                                       .init = init_start,
                                       .run = run_start,
                                       .stop = stop_start,
                                       .stack_size = 256 * 1024};

static tr_node *make(sim_node *node, tr_error *error)
{
    tr_sim *sim = node->sim;
    tr__seams seams = {.now = seam_now,
                       .now_coarse = seam_now,
                       .start_loop = seam_start_loop,
                       .wake = seam_wake,
                       .wake_control = seam_wake_control,
                       .wall_ms = seam_wall_ms,
                       .open_log = sim_disk_open,
                       .open_decisions = sim_decisions_open,
                       .log_options = &sim_log_sizes,
                       .point = seam_point,
                       .fatal = seam_fatal,
                       .secret = seam_secret,
                       .handled = sim_trace_message,
                       .assertion = sim_trace_assertion,
                       .net = &node->net.net,
                       .spool = &sim_spool_seam,
                       .kinds = sim_kinds_of(sim->kinds, node->index),
                       .context = node,
                       .seed = tr__random_next(&sim->schedule)};
    tr_node_opts opts = {.name = node->name,
                         .cluster = "sim",
                         .loops = node->loops,
                         .listen = node->listen,
                         .join = node->join,
                         .log = sim_trace_log,
                         .log_context = node,
                         .log_level = TR_LOG_DEBUG,
                         .plugins = sim->opts.plugin ? node->plugins : NULL,
                         .data = sim->scenario->data ? "disk" : NULL};
    return tr__node_make(&opts, &seams, error);
}

static tr_err begin(sim_node *node, tr_error *error)
{
    TR_TRY(tr__node_begin(node->node, error));
    if (node->sim->scenario->start)
        return tr__spawn(node->node->loops[0], &start_def, node, NULL, &(tr_addr){0}, error);
    return TR_OK;
}

tr_err sim_node_start(sim_node *node, tr_error *error)
{
    tr_sim *sim = node->sim;
    tr_error mine;
    error = error ? error : &mine;
    if (node->node)
        return tr__fail(error, TR_EEXIST, "%s runs already", node->name);
    node->life++;
    node->dead = node->dying = node->dying_of_power = node->down_by_power = node->stopping = node->shut_down =
        false;
    node->crash_after = 0;
    node->paused_until = 0;
    node->loops = sim->scenario->loops;
    if (sim->scenario->loops == 0)
        node->loops = 1 + (uint32_t)tr__random_below(&sim->schedule, 2);
    sim_trace(sim, node, "start", "life %llu, %u loops", (unsigned long long)node->life, node->loops);
    tr_node *made = make(node, error);
    if (!made)
        return error->code;
    node->node = made;
    sim_node_enter(node);
    tr_err err = begin(node, error);
    if (err != TR_OK)
        node->dead = node->dying = true;
    sim_node_leave(node);
    if (err != TR_OK)
        return err;
    if (!node->node)
        return TR_OK; /* it crashed while it started */
    if (sim->scenario->data)
        sim_reaches(sim, node->ended_itself, "a node whose log couldn't go on started again");
    node->ended_itself = node->slots_lost = false;
    for (uint32_t i = 0; i <= node->loops; i++)
        agent_begin(sim_agent_at(node, i), i);
    return TR_OK;
}

/* ---- end ----------------------------------------------------------------------------------------------- */

static void unmake(sim_node *node)
{
    for (uint32_t i = 0; i < node->loops; i++)
        tr__loop_end_actors(node->node->loops[i]);
    for (uint32_t i = 0; i < node->loops; i++)
        tr__loop_end(node->node->loops[i]);
}

/* Its memory is released in the usual way, which reaches nobody any more. */
static void node_release(sim_node *node)
{
    bool power = node->dying_of_power;
    node->dead = true;
    node->dying = false;
    node->down_by_power = power;
    for (uint32_t i = 0; i <= TR_COUNT(node->agents); i++)
        (i < TR_COUNT(node->agents) ? &node->agents[i] : &node->control)
            ->token++; /* the next life may have another number of loops */
    if (power && node->sim->scenario->data)
        sim_reaches(node->sim, node->disk.stage, "power is lost while a batch is on its way to the disk");
    sim_net_node_died(node, power);
    sim_kinds_drop(node->sim->kinds, node->index, power);
    sim_node *other = node->sim->current;
    node->sim->current = node; /* whose fibers return, dead */
    unmake(node);
    tr__node_unmake(node->node);
    node->sim->current = other;
    sim_disk_node_died(node, power);
    node->node = NULL;
    if (node->sim->faults_on)
        sim_restart_in(node, sim_draw_time(node->sim, TR_SIM_CRASH, TR_SECONDS(2)));
    else if (node->ended_itself) /* a force that was asked to fail before it healed */
        sim_restart_in(node, TR_SECONDS(1));
}

void sim_node_crash(sim_node *node, bool power)
{
    if (!node->node) {
        if (power) { /* what its process left in the system's memory is lost as well */
            node->down_by_power = true;
            sim_disk_node_died(node, true);
        }
        return;
    }
    node->dying_of_power = power;
    if (!node->dead)
        sim_rows_node_dies(node);
    node->dead = node->dying = true;
    if (!node->turning)
        node_release(node);
}

/* A real one would end its process, and whoever looks after it would start it again. */
static void ended_by_itself(sim_node *node)
{
    if (!node->sim->rates.every_ns[TR_SIM_MEMORY])
        tr_sim_fail(node->sim, "%s stopped: %s: %s", node->name, tr_err_word(node->node->outcome),
                    node->node->outcome_error.text);
    sim_trace(node->sim, node, "stop", "%s", node->node->outcome_error.text);
    sim_node_crash(node, false);
}

void sim_node_stop(sim_node *node)
{
    if (!sim_node_is_up(node))
        return;
    node->stopping = true;
    sim_rows_node_ends(node);
    sim_node_enter(node);
    unmake(node);
    sim_check_stopped(node);
    node->dead = node->dying = true;
    sim_node_leave(node);
}

/* If all was healed meanwhile it is wanted back. */
static void is_shut_down(sim_node *node)
{
    sim_node_stop(node);
    if (!node->sim->faults_on && !node->stays_down)
        sim_restart_in(node, TR_MILLIS(1));
}

void sim_node_shut_down(sim_node *node)
{
    if (!sim_node_is_up(node) || node->shut_down)
        return;
    sim_trace(node->sim, node, "stop", "asked to, in order");
    node->shut_down = true;
    sim_node_enter(node);
    tr_node_stop(node->node);
    sim_node_leave(node);
}

/* ---- standing still ------------------------------------------------------------------------------------ */

static void resume_event(void *context, uint64_t life)
{
    sim_node *node = context;
    if (node->life == life && node->paused_until && node->paused_until <= node->sim->now)
        sim_node_resume(node);
}

void sim_node_pause(sim_node *node, uint64_t until)
{
    if (!sim_node_is_up(node))
        return;
    node->paused_until = until;
    if (until != TR_FOREVER)
        sim_event_at(node->sim, until, resume_event, node, node->life);
}

void sim_node_resume(sim_node *node)
{
    if (!node->paused_until)
        return;
    node->paused_until = 0;
    sim_trace(node->sim, node, "resume", "goes on");
    for (uint32_t i = 0; i <= node->loops; i++)
        if (sim_agent_at(node, i)->at <= node->sim->now + TR_MILLIS(20)) /* a look at whether it goes on */
            agent_schedule(sim_agent_at(node, i),
                           node->sim->now + sim_draw(node->sim, TR_SIM_PAUSE, TR_MICROS(50)));
    sim_net_node_resumed(node);
}

void sim_nodes_init(tr_sim *sim)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim_node *node = &sim->nodes[i];
        node->sim = sim;
        node->index = i;
        node->loops = sim->scenario->loops ? sim->scenario->loops : 1;
        node->clock_local = TR_SECONDS(1000 + tr__random_below(&sim->schedule, 1000));
        node->plugins[0] = sim->opts.plugin;
        snprintf(node->name, sizeof(node->name), "n%u", i);
        snprintf(node->listen, sizeof(node->listen), "127.0.0.1:%u", SIM_PORT_FIRST + i);
        for (uint32_t other = 0, n = 0; other < sim->node_count; other++)
            if (other != i) {
                snprintf(node->join_text[n], sizeof(node->join_text[n]), "127.0.0.1:%u",
                         SIM_PORT_FIRST + other);
                node->join[n] = node->join_text[n];
                n++;
            }
        for (uint32_t a = 0; a < TR_COUNT(node->agents); a++)
            node->agents[a].node = node;
        node->control.node = node;
        sim_net_init(&node->net, node);
        sim_disk_init(node, tr__random_next(&sim->schedule));
    }
}
