/* The sums of both ends of every connection. What one end knows to have arrived, the other has taken up; what that has
 * taken up, was sent:
 *
 *     messages_out - unknown = messages_acked <= messages_in of the other end <= messages_out
 *
 * An end's counters are final when its stream is freed, be it in order or with its node. */
#include <stdlib.h>

#include "base/check.h"
#include "tests/kit/sim/net.h"
#include "transport/link.h"

typedef struct sim_end {
    struct sim_end *next;
    uint64_t connection;
    uint32_t node;
    tr__connection_counters counters;
} sim_end;

static void compare(tr_sim *sim, const sim_end *from, const sim_end *to, bool at_rest)
{
    uint64_t sent = from->counters.messages_out, acked = from->counters.messages_acked,
             in = to->counters.messages_in;
    if (acked > in || in > sent)
        tr_sim_fail(
            sim,
            "connection %llu: n%u sent %llu messages and knows of %llu that they arrived; n%u took up %llu",
            (unsigned long long)from->connection, from->node, (unsigned long long)sent,
            (unsigned long long)acked, to->node, (unsigned long long)in);
    if (at_rest && (sent != in || sent != acked))
        tr_sim_fail(sim,
                    "connection %llu at rest: n%u sent %llu messages, n%u took up %llu and acknowledged %llu",
                    (unsigned long long)from->connection, from->node, (unsigned long long)sent, to->node,
                    (unsigned long long)in, (unsigned long long)acked);
}

static sim_end end_of(const tr__stream *stream)
{
    sim_end end = {.connection = stream->connection, .node = stream->node->index};
    tr__endpoint_peer_counters(&((const tr__link *)stream->context)->peer, &end.counters);
    return end;
}

void sim_connection_end(const tr__stream *stream)
{
    tr_sim *sim = stream->node->sim;
    if (!stream->started || !stream->connection)
        return;
    sim_end end = end_of(stream);
    for (sim_end **at = &sim->half_sums; *at; at = &(*at)->next) {
        sim_end *other = *at;
        if (other->connection != end.connection)
            continue;
        compare(sim, &end, other, false);
        compare(sim, other, &end, false);
        *at = other->next;
        free(other);
        return;
    }
    sim_end *kept = malloc(sizeof(*kept));
    tr__check(kept != NULL, "no memory for the simulator");
    *kept = end;
    kept->next = sim->half_sums;
    sim->half_sums = kept;
}

void sim_check_connections(tr_sim *sim)
{
    for (tr__stream *stream = sim->streams; stream; stream = stream->next) {
        const tr__link *link = stream->connection ? stream->context : NULL;
        if (!link || !stream->peer || !stream->started || !stream->peer->started || !link->home_up)
            continue;
        sim_end one = end_of(stream), two = end_of(stream->peer);
        compare(sim, &one, &two, true);
    }
}

void sim_sums_fini(tr_sim *sim)
{
    while (sim->half_sums) {
        sim_end *end = sim->half_sums;
        sim->half_sums = end->next;
        free(end);
    }
}
