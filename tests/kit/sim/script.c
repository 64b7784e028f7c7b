/* A fault script in virtual time: each step is an event. See script_format.h for what a script is. */
#include "tests/kit/sim/script_format.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/kit/sim/sim.h"

struct sim_played {
    sim_played *next;
    tr_sim *sim;
    sim_script script;
};

#define EACH_NODE(i, nodes)                         \
    for (uint32_t i = 0; i < TR_SIM_NODES_MAX; i++) \
        if ((nodes) >> i & 1)

static void cut_or_heal(tr_sim *sim, const sim_step *step)
{
    void (*act)(tr_sim *, uint32_t, uint32_t) = step->verb == SIM_CUT ? tr_sim_cut : tr_sim_heal;
    uint32_t all = (1u << sim->node_count) - 1, a = step->a ? step->a : all, b = step->b ? step->b : all;
    EACH_NODE(from, a)
    EACH_NODE(to, b)
    {
        act(sim, from, to);
        if (step->both)
            act(sim, to, from);
    }
}

static void to_pair(tr_sim *sim, const sim_step *step)
{
    uint32_t a = (uint32_t)__builtin_ctz(step->a), b = (uint32_t)__builtin_ctz(step->a & (step->a - 1));
    sim_net_break(sim, a, b, step->verb == SIM_HALF_OPEN);
}

static void clog_between(tr_sim *sim, const sim_step *step)
{
    EACH_NODE(from, step->a)
    EACH_NODE(to, step->b)
    sim_net_clog(sim, from, to, sim->now + step->time_ns);
}

static void slow(sim_node *node, const sim_step *step)
{
    for (uint32_t i = 0; i <= node->loops; i++) {
        sim_agent *agent = sim_agent_at(node, i);
        agent->slow_until = node->sim->now + step->last_ns;
        agent->slow_ns = step->time_ns;
    }
}

static void start(tr_sim *sim, uint32_t index)
{
    tr_error error = {.code = TR_OK};
    if (tr_sim_start(sim, index, &error) != TR_OK && error.code != TR_EEXIST)
        tr_sim_fail(sim, "the script's start of n%u: %s", index, error.text);
}

static void to_node(tr_sim *sim, uint32_t index, const sim_step *step)
{
    sim_node *node = &sim->nodes[index];
    if (step->verb == SIM_KILL || step->verb == SIM_POWER)
        tr_sim_kill(sim, index, step->verb == SIM_POWER);
    else if (step->verb == SIM_STOP)
        tr_sim_stop(sim, index);
    else if (step->verb == SIM_START)
        start(sim, index);
    else if (step->verb == SIM_PAUSE)
        tr_sim_pause(sim, index, step->time_ns);
    else if (step->verb == SIM_SLOW)
        slow(node, step);
    else if (step->verb == SIM_DRIFT)
        sim_node_drift(node, step->ppm);
    else if (step->verb == SIM_FULL)
        sim_disk_full(node, sim->now + step->time_ns);
}

static void on_step(void *context, uint64_t index)
{
    sim_played *played = context;
    tr_sim *sim = played->sim;
    const sim_step *step = &played->script.steps[index];
    if (!sim->faults_on)
        return; /* the run is over, and all was healed */
    sim_trace(sim, NULL, "script", "line %u: %s", step->line, sim_verb_word(step->verb));
    if (step->verb == SIM_CUT || step->verb == SIM_HEAL)
        cut_or_heal(sim, step);
    else if (step->verb == SIM_RESET || step->verb == SIM_HALF_OPEN)
        to_pair(sim, step);
    else if (step->verb == SIM_CLOG)
        clog_between(sim, step);
    else {
        EACH_NODE(i, step->a)
        {
            to_node(sim, i, step);
        }
    }
}

/* It was written for this scenario, and for nodes that can have it. */
static tr_err check_fits(const tr_sim *sim, const sim_script *script, tr_error *error)
{
    if (script->scenario[0] && strcmp(script->scenario, sim->scenario->name) != 0)
        return tr__fail(error, TR_EINVAL, "the script is for the scenario %s, and this is %s",
                        script->scenario, sim->scenario->name);
    for (uint32_t i = 0; i < script->count; i++)
        if (script->steps[i].verb == SIM_FULL && !sim->scenario->data)
            return tr__fail(error, TR_EINVAL, "line %u: full: the nodes of the scenario %s keep no data",
                            script->steps[i].line, sim->scenario->name);
    return TR_OK;
}

tr_err tr_sim_script(tr_sim *sim, const char *text, tr_error *error)
{
    sim_played *played = calloc(1, sizeof(*played));
    if (!played)
        return tr__fail(error, TR_ENOMEM, "no memory for a fault script");
    tr_err err = sim_script_parse(text, sim->node_count, &played->script, error);
    if (err == TR_OK)
        err = check_fits(sim, &played->script, error);
    if (err != TR_OK) {
        free(played);
        return err;
    }
    played->sim = sim;
    played->next = sim->scripts;
    sim->scripts = played;
    if (played->script.run_ns)
        sim->opts.run_ns = played->script.run_ns;
    for (uint32_t i = 0; i < played->script.count; i++)
        sim_event_at(sim, sim->now + played->script.steps[i].at_ns, on_step, played, i);
    return TR_OK;
}

void sim_scripts_fini(tr_sim *sim)
{
    while (sim->scripts) {
        sim_played *played = sim->scripts;
        sim->scripts = played->next;
        free(played);
    }
}
