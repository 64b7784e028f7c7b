/* Which faults happen, how often, to whom: drawn by the seed, each class from its own stream (S2). A swarm: in one run a
 * class is off, in another mild, in a third savage; and each connection has manners of its own (net.c). */
#include <stdarg.h>
#include <stdio.h>

#include "base/buggify.h"
#include "tests/kit/sim/sim.h"

/* Mean times between two faults of a class, mild to savage. 0: it is a manner rather than an event. */
static const uint64_t every[TR_SIM_FAULT_COUNT][4] = {
    [TR_SIM_LATENCY] = {1, 1, 1, 1},
    [TR_SIM_PIECES] = {1, 1, 1, 1},
    [TR_SIM_CLOG] = {TR_SECONDS(10), TR_SECONDS(3), TR_SECONDS(1), TR_MILLIS(200)},
    [TR_SIM_PARTITION] = {TR_SECONDS(30), TR_SECONDS(12), TR_SECONDS(5), TR_SECONDS(2)},
    [TR_SIM_RESET] = {TR_SECONDS(20), TR_SECONDS(5), TR_SECONDS(1), TR_MILLIS(150)},
    [TR_SIM_HALF_OPEN] = {TR_SECONDS(30), TR_SECONDS(12), TR_SECONDS(5), TR_SECONDS(2)},
    [TR_SIM_DIAL] = {1, 1, 1, 1},
    [TR_SIM_CRASH] = {TR_SECONDS(25), TR_SECONDS(10), TR_SECONDS(4), TR_SECONDS(1)},
    [TR_SIM_POWER] = {TR_SECONDS(40), TR_SECONDS(20), TR_SECONDS(8), TR_SECONDS(3)},
    [TR_SIM_PAUSE] = {TR_SECONDS(30), TR_SECONDS(10), TR_SECONDS(5), TR_SECONDS(1)},
    [TR_SIM_SLOW] = {TR_SECONDS(20), TR_SECONDS(8), TR_SECONDS(3), TR_SECONDS(1)},
    [TR_SIM_CLOCK] = {TR_SECONDS(30), TR_SECONDS(10), TR_SECONDS(3), TR_SECONDS(1)},
    [TR_SIM_DISK] = {TR_SECONDS(20), TR_SECONDS(8), TR_SECONDS(3), TR_SECONDS(1)},
    [TR_SIM_MEMORY] = {TR_SECONDS(20), TR_SECONDS(8), TR_SECONDS(3), TR_SECONDS(1)},
    [TR_SIM_POINTS] = {1, 1, 1, 1},
    [TR_SIM_WORLD] = {1, 1, 1, 1},
};

static const char *const fault_words[] = {
#define WORD(name, word, text) word,
    TR_SIM_FAULTS(WORD)
#undef WORD
};

void sim_fault_happened(tr_sim *sim, tr_sim_fault fault, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sim->result.faults[fault]++;
    sim_trace(sim, NULL, fault_words[fault], "%s", text);
}

/* ---- one function a class ------------------------------------------------------------------------------ */

static sim_node *any_node(tr_sim *sim, tr_sim_fault fault)
{
    sim_node *node = &sim->nodes[sim_draw(sim, fault, sim->node_count)];
    return sim_node_is_up(node) ? node : NULL;
}

static void stop_a_direction(tr_sim *sim)
{
    uint64_t lasts =
        sim_draw_time(sim, TR_SIM_CLOG, sim_chance(sim, TR_SIM_CLOG, 8) ? TR_SECONDS(6) : TR_MILLIS(300));
    uint32_t to, from;
    if (sim_net_pick(sim, TR_SIM_CLOG, &to, &from) && sim_net_clog(sim, from, to, sim->now + lasts))
        sim_fault_happened(sim, TR_SIM_CLOG, "n%u to n%u for %llu ms", from, to,
                           (unsigned long long)(lasts / 1000000u));
}

static void on_partition_over(void *context, uint64_t pair)
{
    tr_sim *sim = context;
    uint32_t from = (uint32_t)(pair >> 8), to = (uint32_t)(pair & 0xff);
    if (!sim->cut[from][to] || sim->cut_until[from][to] > sim->now)
        return; /* healed by hand, or another one lasts longer */
    sim_trace(sim, NULL, "heal", "n%u reaches n%u again", from, to);
    tr_sim_heal(sim, from, to);
}

static void cut_for(tr_sim *sim, uint32_t from, uint32_t to, uint64_t lasts)
{
    uint64_t until = sim->now + lasts;
    if (sim->cut[from][to] && sim->cut_until[from][to] >= until)
        return;
    if (!sim->cut[from][to])
        sim->cut_since[from][to] = sim->now;
    sim->cut[from][to] = true;
    sim->cut_until[from][to] = until;
    sim_event_at(sim, until, on_partition_over, sim, (uint64_t)from << 8 | to);
}

/* The nodes fall into two groups; half the time only one direction is cut. */
static void partition(tr_sim *sim)
{
    uint64_t groups = 1 + sim_draw(sim, TR_SIM_PARTITION, (1ull << sim->node_count) - 2);
    uint64_t lasts = sim_draw_time(sim, TR_SIM_PARTITION, TR_SECONDS(4));
    uint64_t direction = sim_draw(sim, TR_SIM_PARTITION, 4); /* 0: there, 1: back, else both */
    if (sim->node_count < 2)
        return;
    char names[TR_SIM_NODES_MAX * 4 + 1] = "";
    for (uint32_t i = 0, length = 0; i < sim->node_count; i++)
        if (groups >> i & 1)
            length += (uint32_t)snprintf(names + length, sizeof(names) - length, "n%u ", i);
    sim_fault_happened(sim, TR_SIM_PARTITION, "%s%s the others, for %llu ms", names,
                       direction == 0   ? "can't reach"
                       : direction == 1 ? "can't be reached by"
                                        : "cut off from",
                       (unsigned long long)(lasts / 1000000u));
    for (uint32_t a = 0; a < sim->node_count; a++)
        for (uint32_t b = 0; b < sim->node_count; b++)
            if ((groups >> a & 1) && !(groups >> b & 1)) {
                if (direction != 1)
                    cut_for(sim, a, b, lasts);
                if (direction != 0)
                    cut_for(sim, b, a, lasts);
            }
    sim_rows_partition(sim);
}

static void reset_or_half_open(tr_sim *sim, tr_sim_fault fault)
{
    uint32_t a, b;
    if (sim_net_pick(sim, fault, &a, &b) && sim_net_break(sim, a, b, fault == TR_SIM_HALF_OPEN))
        sim_fault_happened(sim, fault, "n%u - n%u", a, b);
}

/* False: this time it is one host's only. */
static bool all_without_power(tr_sim *sim)
{
    bool all = sim_chance(sim, TR_SIM_POWER, 6);
    sim_reaches(sim, all, "all hosts lose power at once");
    if (!all)
        return false;
    sim_fault_happened(sim, TR_SIM_POWER, "all lose power");
    sim_rows_all_lose_power(sim);
    for (uint32_t i = 0; i < sim->node_count; i++)
        sim_node_crash(&sim->nodes[i], true);
    return true;
}

/* At one of the many moments that are worth it: seldom where such faults are. */
static bool happens_here(tr_sim *sim, tr_sim_fault fault)
{
    uint64_t mean = sim->rates.every_ns[fault];
    return sim->faults_on && mean && sim_chance(sim, fault, 40 + 40 * (mean / TR_SECONDS(1)));
}

bool sim_dies_at_point(sim_node *node)
{
    for (int power = 0; power < 2; power++)
        if (happens_here(node->sim, power ? TR_SIM_POWER : TR_SIM_CRASH)) {
            node->dying_of_power = power;
            return true;
        }
    return false;
}

bool sim_loses_power_writing(sim_node *node)
{
    if (!happens_here(node->sim, TR_SIM_POWER))
        return false;
    sim_fault_happened(node->sim, TR_SIM_POWER, "%s loses it while it writes its log", node->name);
    sim_node_crash(node, true);
    return true;
}

static void crash(tr_sim *sim, tr_sim_fault fault)
{
    if (fault == TR_SIM_POWER && all_without_power(sim))
        return;
    sim_node *node = any_node(sim, fault);
    bool inside = sim_draw(sim, fault, 2);
    uint32_t after = 1 + (uint32_t)sim_draw(sim, fault, 40);
    if (!node)
        return;
    if (inside) {
        node->crash_after = after;
        node->dying_of_power = fault == TR_SIM_POWER;
        return; /* counted when it happens */
    }
    sim_fault_happened(sim, fault, "%s dies between two turns", node->name);
    sim_node_crash(node, fault == TR_SIM_POWER);
}

static void stand_still(tr_sim *sim)
{
    sim_node *node = any_node(sim, TR_SIM_PAUSE);
    uint64_t lasts =
        sim_draw_time(sim, TR_SIM_PAUSE, sim_chance(sim, TR_SIM_PAUSE, 4) ? TR_SECONDS(8) : TR_MILLIS(400));
    if (!node || node->paused_until)
        return;
    sim_fault_happened(sim, TR_SIM_PAUSE, "%s for %llu ms", node->name,
                       (unsigned long long)(lasts / 1000000u));
    sim_node_pause(node, sim->now + lasts);
}

static void slow(tr_sim *sim)
{
    sim_node *node = any_node(sim, TR_SIM_SLOW);
    uint64_t which = sim_draw(sim, TR_SIM_SLOW, SIM_AGENTS_MAX);
    uint64_t lasts = sim_draw_time(sim, TR_SIM_SLOW, TR_SECONDS(3));
    uint64_t apart = 1 + sim_draw(sim, TR_SIM_SLOW, TR_MILLIS(40));
    if (!node)
        return;
    sim_agent *agent = sim_agent_at(node, (uint32_t)(which % (node->loops + 1)));
    agent->slow_until = sim->now + lasts;
    agent->slow_ns = apart;
    sim_fault_happened(sim, TR_SIM_SLOW, "%s %s %u for %llu ms", node->name,
                       agent->index == node->loops ? "control thread" : "loop", agent->index,
                       (unsigned long long)(lasts / 1000000u));
}

static void clocks(tr_sim *sim)
{
    sim_node *node = &sim->nodes[sim_draw(sim, TR_SIM_CLOCK, sim->node_count)];
    int64_t most = sim_chance(sim, TR_SIM_CLOCK, 4) ? 20000 : 300;
    int64_t ppm = (int64_t)sim_draw(sim, TR_SIM_CLOCK, (uint64_t)(2 * most + 1)) - most;
    int64_t ahead = (int64_t)sim_draw(sim, TR_SIM_CLOCK, 4001) - 2000;
    if (sim_chance(sim, TR_SIM_CLOCK, 6))
        ahead *= 100;
    sim_node_drift(node, ppm);
    node->wall_ahead_ms = ahead;
    sim_fault_happened(sim, TR_SIM_CLOCK, "%s drifts by %lld ppm, its wall clock is off by %lld ms",
                       node->name, (long long)ppm, (long long)ahead);
}

static void disk(tr_sim *sim)
{
    sim_node *node = any_node(sim, TR_SIM_DISK);
    uint64_t what = sim_draw(sim, TR_SIM_DISK, 7);
    uint64_t lasts = sim_draw_time(sim, TR_SIM_DISK, TR_SECONDS(4));
    if (!node || !sim->scenario->data)
        return;
    if (what < 3) {
        node->disk_slow_until = sim->now + lasts;
    } else if (what < 5) {
        sim_disk_full(node, sim->now + 4 * lasts);
    } else if (what == 5) {
        node->disk.fail_force_in = 1;
    } else {
        node->disk.fail_write_in = 1 + (unsigned)sim_draw(sim, TR_SIM_DISK, 3);
    }
    sim_fault_happened(sim, TR_SIM_DISK, "%s: %s", node->name,
                       what < 3    ? "forces are slow"
                       : what < 5  ? "no space"
                       : what == 5 ? "the next force fails"
                                   : "a write fails");
}

static void memory(tr_sim *sim)
{
    sim_node *node = any_node(sim, TR_SIM_MEMORY);
    uint64_t nth = 1 + sim_draw(sim, TR_SIM_MEMORY, 12);
    if (!node)
        return;
    node->fail_allocation_in = nth; /* counted when it happens */
}

static void happen(tr_sim *sim, tr_sim_fault fault)
{
    switch (fault) {
    case TR_SIM_CLOG:
        stop_a_direction(sim);
        break;
    case TR_SIM_PARTITION:
        partition(sim);
        break;
    case TR_SIM_RESET:
    case TR_SIM_HALF_OPEN:
        reset_or_half_open(sim, fault);
        break;
    case TR_SIM_CRASH:
    case TR_SIM_POWER:
        crash(sim, fault);
        break;
    case TR_SIM_PAUSE:
        stand_still(sim);
        break;
    case TR_SIM_SLOW:
        slow(sim);
        break;
    case TR_SIM_CLOCK:
        clocks(sim);
        break;
    case TR_SIM_DISK:
        disk(sim);
        break;
    case TR_SIM_MEMORY:
        memory(sim);
        break;
    default:
        break; /* manners */
    }
}

/* ---- when ---------------------------------------------------------------------------------------------- */

static void on_fault(void *context, uint64_t fault);

/* How many draws connections make of a class's stream depends on all that happens: so each fault begins it anew, from a
 * stream that nothing else draws of, and the next one's time counts from this one's, not from now, which a turn moves. */
static void fault_next(tr_sim *sim, tr_sim_fault fault)
{
    tr__random_init(&sim->random[fault], tr__random_next(&sim->when[fault]));
    sim->fault_at[fault] += sim_draw_time(sim, fault, sim->rates.every_ns[fault]);
    sim_event_at(sim, sim->fault_at[fault], on_fault, sim, fault);
}

static void on_fault(void *context, uint64_t fault)
{
    tr_sim *sim = context;
    if (!sim->faults_on)
        return;
    fault_next(sim, (tr_sim_fault)fault);
    happen(sim, (tr_sim_fault)fault);
}

static bool take_point(tr__buggify_point point)
{
    tr_sim *sim = sim_now_running;
    if (!sim)
        return false;
    sim->points_passed[point]++;
    if (!sim->faults_on || sim_draw(sim, TR_SIM_POINTS, 10000) >= sim->rates.points_per_10000)
        return false;
    sim->points_taken[point]++;
    sim->result.faults[TR_SIM_POINTS]++;
    return true;
}

bool tr_sim_point_at(const tr_sim *sim, uint32_t i, tr_sim_point *point)
{
    if (i >= TR__POINT_COUNT)
        return false;
    *point = (tr_sim_point){tr__buggify_names[i], sim->points_passed[i], sim->points_taken[i]};
    return true;
}

void sim_faults_init(tr_sim *sim)
{
    sim->faults_on = true;
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT; i++) {
        uint64_t level =
            sim_draw(sim, i, 8); /* half of the classes are off, half a run's four are mild to savage */
        bool on = (sim->opts.faults >> i & 1) && level < 4 && sim->opts.seed % 16 != 0;
        sim->rates.every_ns[i] = on ? every[i][level] : 0;
        if (on && every[i][level] > 1)
            fault_next(sim, (tr_sim_fault)i);
        if (on && (i == TR_SIM_LATENCY || i == TR_SIM_PIECES))
            sim->result.faults[i]++; /* all of the run */
        if (i == TR_SIM_POINTS)
            sim->rates.points_per_10000 = on ? 10u << (2 * level) : 0;
        if (i == TR_SIM_WORLD && on)
            sim_world_fails(sim, 500u << (2 * level)); /* a class of its own each: up to 3 % */
    }
    tr__buggify = take_point;
}

void sim_faults_end(tr_sim *sim)
{
    sim->faults_on = false;
    sim_world_fails(sim, 0);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim_node *node = &sim->nodes[i];
        node->crash_after = 0;
        node->dying_of_power = false;
        node->fail_allocation_in = 0;
        node->disk_slow_until = 0;
        node->disk.space = 0;
        node->disk.fail_force_in = node->disk.fail_write_in = 0;
        for (uint32_t a = 0; a <= node->loops; a++)
            sim_agent_at(node, a)->slow_until = 0;
    }
}
