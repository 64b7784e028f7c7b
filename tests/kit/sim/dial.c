/* Listening and dialling: how a connection comes to be. See net.c for what it is then. */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/kit/sim/net.h"

tr_err sim_listen(tr__net *base, const tr__net_address *address, tr__accepted_fn *accepted, void *context,
                  tr__listener **listener, tr_error *error)
{
    sim_node *node = ((sim_net *)base)->node;
    if (!sim_node_seam(node))
        return tr__fail(error, TR_EIO, "the process is dead");
    *listener = calloc(1, sizeof(**listener));
    tr__check(*listener != NULL, "no memory for the simulator");
    **listener = (tr__listener){node->sim->listeners, node, address->port, accepted, context};
    node->sim->listeners = *listener;
    return TR_OK;
}

uint16_t sim_port(tr__listener *listener)
{
    return listener->port;
}

void sim_unlisten(tr__listener *listener)
{
    tr__listener **at = &listener->node->sim->listeners;
    while (*at != listener)
        at = &(*at)->next;
    *at = listener->next;
    free(listener);
}

static void dial_over(tr__dial *dial, tr_err code, const char *text)
{
    tr_error why = {.code = TR_OK};
    if (code != TR_OK)
        tr__fail(&why, code, "%s", text);
    tr__stream *stream = dial->stream;
    dial->stream = NULL;
    dial->done = true;
    sim_node_enter(dial->node);
    dial->dialled(dial->context, stream, &why);
    sim_node_leave(dial->node);
}

enum { DIAL_SYN, DIAL_REFUSED, DIAL_UP, DIAL_LATE };

static void dial_next(tr__dial *dial, uint64_t delay, unsigned step)
{
    sim_event_at(dial->node->sim, dial->node->sim->now + delay, dial->step, dial, step);
}

/* Both ends exist; the one that accepts hears of it now. */
static void establish(tr__dial *dial, tr__listener *listener)
{
    dial->stream = sim_connect(dial->node, listener);
    dial_next(dial, dial->stream->latency, DIAL_UP);
}

static void dial_syn(tr__dial *dial)
{
    tr_sim *sim = dial->node->sim;
    tr__listener *listener = sim->listeners;
    while (listener && listener->port != dial->port)
        listener = listener->next;
    if (listener)
        dial->to = listener->node->index;
    uint32_t from = dial->node->index, to = dial->to;
    bool silence = to >= sim->node_count || sim->cut[from][to] || sim->cut[to][from] ||
                   (!listener && sim->nodes[to].down_by_power);
    if (sim->faults_on && sim->rates.every_ns[TR_SIM_DIAL] && sim_chance(sim, TR_SIM_DIAL, 8)) {
        sim_fault_happened(sim, TR_SIM_DIAL, "%s dials n%u in vain", dial->node->name, to);
        if (sim_draw(sim, TR_SIM_DIAL, 2))
            return; /* it will be late */
        silence = false;
        listener = NULL;
    }
    if (silence) { /* the system tries again after 1 s, then after 2 s more, and so on, until it is late */
        dial_next(dial, dial->again, DIAL_SYN);
        dial->again *= 2;
    } else if (listener && sim_node_is_up(listener->node))
        establish(dial, listener);
    else
        dial_next(dial, TR_MICROS(50), DIAL_REFUSED);
}

static void on_dial(void *context, uint64_t step)
{
    tr__dial *dial = context;
    sim_node *node = dial->node;
    if (dial->done || !sim_node_is_up(node))
        return;
    if (step == DIAL_SYN)
        dial_syn(dial);
    else if (node->paused_until)
        dial_next(dial, TR_MILLIS(20), (unsigned)step);
    else if (step == DIAL_REFUSED)
        dial_over(dial, TR_EREFUSED, "nobody listens there");
    else if (step == DIAL_UP)
        dial_over(dial, TR_OK, "");
    else if (!dial->stream)
        dial_over(dial, TR_EDEADLINE, "no answer");
}

void sim_accept_late(sim_node *node)
{
    for (tr__stream *stream = node->sim->streams; stream && sim_node_is_up(node);)
        if (stream->node == node && stream->unaccepted) {
            sim_accept(stream->unaccepted, stream);
            stream = node->sim->streams;
        } else {
            stream = stream->next;
        }
}

tr_err sim_dial(tr__net *base, const tr__net_address *address, uint64_t timeout_ns, tr__dialled_fn *dialled,
                void *context, tr__dial **dial, tr_error *error)
{
    sim_node *node = ((sim_net *)base)->node;
    if (!sim_node_seam(node))
        return tr__fail(error, TR_EIO, "the process is dead");
    *dial = calloc(1, sizeof(**dial));
    tr__check(*dial != NULL, "no memory for the simulator");
    **dial = (tr__dial){.node = node,
                        .port = address->port,
                        .dialled = dialled,
                        .context = context,
                        .step = on_dial,
                        .again = TR_SECONDS(1)};
    (*dial)->to = (uint32_t)address->port - SIM_PORT_FIRST;
    uint64_t wait = TR_MICROS(30);
    if (node->sim->rates.every_ns[TR_SIM_LATENCY])
        wait += sim_draw(node->sim, TR_SIM_LATENCY, TR_MILLIS(5));
    dial_next(*dial, wait, DIAL_SYN);
    dial_next(*dial, timeout_ns, DIAL_LATE);
    return TR_OK;
}

void sim_undial(tr__dial *dial)
{
    sim_event_forget(dial->node->sim, dial);
    if (dial->stream)
        sim_stream_discard(dial->stream);
    dial->done = true;
    free(dial);
}
