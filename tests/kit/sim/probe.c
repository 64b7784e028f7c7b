/* A probe: an actor that keeps what it gets until the test asks for it. */
#include <stdlib.h>
#include <string.h>

#include "actors/adapter.h"
#include "actors/node.h"
#include "base/check.h"
#include "tests/kit/sim/sim.h"

struct tr_probe {
    tr_probe *next;
    sim_node *node;
    tr_actor *self; /* NULL: it is gone */
    tr_addr address;
    tr_msg **kept; /* in order */
    uint32_t count, room;
    tr_msg *lent; /* to the test, until its next call */
    tr_addr found;
    /* The order under way: what it is to do on the test's behalf. */
    uint64_t order; /* its number; an older one, that the test has given up, does nothing */
    void (*fn)(tr_probe *probe, void *context);
    void *context;
    bool done; /* it is, and what came of it as well */
};

TR_MESSAGE(tr__probe_order, (u64, number))

typedef void (*probe_fn)(tr_probe *probe, void *context);

#define ORDER_NS TR_SECONDS(1) /* until it has read one: its node may stand still, or be slow */

typedef struct probe_state {
    tr_probe *probe;
} probe_state;

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    tr_probe *probe = (tr_probe *)arg;
    ((probe_state *)state)->probe = probe;
    probe->self = self;
    return TR_OK;
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    tr_probe *probe = ((probe_state *)state)->probe;
    const tr__probe_order *order = tr_match(msg, tr__probe_order);
    if (order) {
        if (order->number == probe->order)
            probe->fn(probe, probe->context);
        return;
    }
    tr_msg *taken = tr_msg_take(self, msg);
    if (!taken)
        return;
    if (probe->count == probe->room) {
        probe->room = probe->room ? 2 * probe->room : 64;
        probe->kept = realloc(probe->kept, probe->room * sizeof(*probe->kept));
        tr__check(probe->kept != NULL, "no memory for the simulator");
    }
    probe->kept[probe->count++] = taken;
}

/* What it kept goes with it. */
static void stop(tr_actor *self, void *state)
{
    tr_probe *probe = ((probe_state *)state)->probe;
    if (probe->lent)
        tr_msg_free(self, &probe->lent);
    for (uint32_t i = 0; i < probe->count; i++)
        tr_msg_free(self, &probe->kept[i]);
    probe->count = 0;
    probe->self = NULL;
}

static const tr_actor_def probe_def = {
    .name = "probe", .state_size = sizeof(probe_state), .init = init, .receive = receive, .stop = stop};

tr_probe *tr_probe_open(tr_sim *sim, uint32_t index)
{
    tr__check(index < sim->node_count, "there is no node n%u", index);
    sim_node *node = &sim->nodes[index];
    tr_error error;
    if (!sim_node_is_up(node))
        return NULL;
    tr_probe *probe = calloc(1, sizeof(*probe));
    tr__check(probe != NULL, "no memory for the simulator");
    probe->node = node;
    sim_node_enter(node);
    tr_err err = tr__spawn(node->node->loops[0], &probe_def, probe, NULL, &probe->address, &error);
    sim_node_leave(node);
    if (err != TR_OK) {
        free(probe);
        return NULL;
    }
    probe->next = sim->probes;
    sim->probes = probe;
    sim_agent_wake(&node->agents[0], sim->now);
    tr_sim_step(sim, TR_MILLIS(1));
    return probe;
}

tr_addr tr_probe_address(const tr_probe *probe)
{
    return probe->address;
}

/* Have the actor run fn, and wait until it says that it is done. TR_ENOACTOR: it is gone; TR_EDEADLINE. */
static tr_err order(tr_probe *probe, probe_fn fn, void *context, uint64_t within_ns)
{
    tr_sim *sim = probe->node->sim;
    uint64_t until = sim->now + within_ns;
    if (!probe->self)
        return TR_ENOACTOR;
    probe->order++;
    probe->fn = fn;
    probe->context = context;
    probe->done = false;
    sim_node_enter(probe->node);
    tr_err err =
        tr__inject(probe->node->node->loops[0], probe->address, tr__probe_order, .number = probe->order);
    sim_node_leave(probe->node);
    sim_agent_wake(&probe->node->agents[0], sim->now);
    while (err == TR_OK && !probe->done && probe->self && sim->now < until && !sim->result.failed)
        tr_sim_step(sim, TR_MICROS(20));
    probe->order++; /* what it still does of this one is nobody's */
    if (err != TR_OK || probe->done)
        return err;
    return probe->self ? TR_EDEADLINE : TR_ENOACTOR;
}

typedef struct sending {
    tr_addr to;
    tr_type *type;
    const void *body;
    tr_err err;
} sending;

static void send(tr_probe *probe, void *context)
{
    sending *s = context;
    s->err = tr_send_body(probe->self, s->to, s->type, s->body);
    probe->done = true;
}

tr_err tr_probe_send_body(tr_probe *probe, tr_addr to, tr_type *type, const void *body)
{
    sending s = {to, type, body, TR_OK};
    TR_TRY(order(probe, send, &s, ORDER_NS));
    return s.err;
}

static void give_back(tr_probe *probe)
{
    if (probe->lent && probe->self)
        tr_msg_free(probe->self, &probe->lent);
}

/* The first of that type, lent; those before it are dropped. */
static const void *take(tr_probe *probe, tr_type *type)
{
    for (uint32_t i = 0; i < probe->count; i++) {
        const void *body = tr_match_type(probe->kept[i], type);
        if (!body)
            continue;
        for (uint32_t dropped = 0; dropped < i; dropped++)
            tr_msg_free(probe->self, &probe->kept[dropped]);
        probe->lent = probe->kept[i];
        probe->count -= i + 1;
        memmove(probe->kept, probe->kept + i + 1, probe->count * sizeof(*probe->kept));
        return body;
    }
    return NULL;
}

const void *tr_probe_expect_type(tr_probe *probe, uint64_t within_ns, tr_type *type)
{
    tr_sim *sim = probe->node->sim;
    uint64_t until = sim->now + within_ns;
    give_back(probe);
    for (;;) {
        const void *body = take(probe, type);
        if (body)
            return body;
        if (!probe->self || sim->result.failed || sim->now >= until)
            break;
        tr_sim_step(sim, until - sim->now < TR_MILLIS(1) ? until - sim->now : TR_MILLIS(1));
    }
    tr_sim_fail(sim, "the probe on %s got no %s within %llu ms%s", probe->node->name, type->name,
                (unsigned long long)(within_ns / 1000000u), probe->self ? "" : ": its node crashed");
    return NULL;
}

void tr_probe_expect_nothing(tr_probe *probe, uint64_t for_ns)
{
    tr_sim *sim = probe->node->sim;
    give_back(probe);
    tr_sim_step(sim, for_ns);
    if (probe->count)
        tr_sim_fail(sim, "the probe on %s got %s", probe->node->name, tr_msg_type_name(probe->kept[0]));
}

/* ---- looking up ---------------------------------------------------------------------------------------- */

typedef struct looking {
    const char *path;
    uint64_t within_ns;
} looking;

static void found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr_probe *probe = ((probe_state *)state)->probe;
    const tr_found *answer = result->msg ? tr_match(result->msg, tr_found) : NULL;
    (void)self;
    if ((uint64_t)(uintptr_t)context != probe->order)
        return; /* an older one's */
    if (answer)
        probe->found = answer->actor;
    probe->done = true;
}

static void look_up(tr_probe *probe, void *context)
{
    looking *l = context;
    tr_future future = tr_lookup(probe->self, l->path, l->within_ns);
    probe->done = tr_then(probe->self, future, found, (void *)(uintptr_t)probe->order) != TR_OK;
}

tr_addr tr_probe_lookup(tr_probe *probe, const char *path, uint64_t within_ns)
{
    tr_sim *sim = probe->node->sim;
    looking l = {path, within_ns};
    probe->found = TR_ADDR_NONE;
    order(probe, look_up, &l, within_ns + ORDER_NS);
    if (tr_addr_is_none(probe->found))
        tr_sim_fail(sim, "the probe on %s found no %s within %llu ms", probe->node->name, path,
                    (unsigned long long)(within_ns / 1000000u));
    return probe->found;
}

void sim_probes_fini(tr_sim *sim)
{
    while (sim->probes) {
        tr_probe *probe = sim->probes;
        sim->probes = probe->next;
        free(probe->kept);
        free(probe);
    }
}
