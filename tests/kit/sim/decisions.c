/* The store of decisions that all nodes of a simulated cluster share (actors/tx/decision_store.h), for a scenario named
 * SIM_TOGETHER: in memory, and always up; what is asked takes its time, as a rule a little, both ways, and may get lost. A
 * node that has crashed asks nothing more; what it had asked arrives. */
#include <string.h>

#include "actors/tx/decision_store.h"
#include "tests/kit/sim/sim.h"

#define VALUES_MAX 4096
#define ASKS_MAX   4096

typedef struct value {
    tr_tx_id id;
    bool committed;
    uint64_t ts;
} value;

/* From its node to the store, and back. */
typedef struct sim_ask {
    struct sim_ask *next; /* of its node's answers */
    sim_node *node;       /* NULL: it is free */
    uint64_t life;
    bool looks;
    value value;
} ask;

/* Static: what is on its way when a run ends is nobody's to free. */
static struct {
    uint64_t run;
    value values[VALUES_MAX];
    uint32_t count;
    ask asks[ASKS_MAX];
    uint32_t next;
} all;

/* NULL: too many are on their way. */
static ask *ask_make(void)
{
    for (uint32_t i = 0; i < ASKS_MAX; i++) {
        ask *a = &all.asks[all.next++ % ASKS_MAX];
        if (!a->node)
            return a;
    }
    return NULL;
}

static value *find(const tr_tx_id *id)
{
    for (uint32_t i = 0; i < all.count; i++)
        if (memcmp(&all.values[i].id, id, sizeof(*id)) == 0)
            return &all.values[i];
    return NULL;
}

/* With the class of the disks'. */
static bool is_faulty(const tr_sim *sim)
{
    return sim->faults_on && sim->rates.every_ns[TR_SIM_DISK] > 0;
}

/* A few ms; now and then so long that others in doubt come first. */
static uint64_t draw_delay(tr_sim *sim)
{
    bool late = is_faulty(sim) && sim_chance(sim, TR_SIM_DISK, 3);
    return TR_MICROS(200) + sim_draw(sim, TR_SIM_DISK, late ? TR_SECONDS(6) : TR_MILLIS(4));
}

static bool lost(tr_sim *sim)
{
    return is_faulty(sim) && sim_chance(sim, TR_SIM_DISK, 30);
}

static void on_answer(void *context, uint64_t token)
{
    ask *a = context;
    sim_node *node = a->node;
    (void)token;
    if (node->life != a->life || !sim_node_is_up(node)) {
        a->node = NULL;
        return;
    }
    a->next = node->decided;
    node->decided = a;
    sim_node_enter(node);
    node->decided_wake(node->decided_wake_context);
    sim_node_leave(node);
}

static void on_request(void *context, uint64_t token)
{
    ask *a = context;
    tr_sim *sim = a->node->sim;
    value *known = find(&a->value.id);
    (void)token;
    sim_reaches(sim, known && !a->looks && known->committed && !a->value.committed,
                "who proposes to abort hears committed");
    sim_reaches(sim, known && !a->looks && !known->committed && a->value.committed,
                "who proposes to commit hears aborted");
    if (!known && !a->looks && all.count < VALUES_MAX) {
        all.values[all.count] = a->value;
        known = &all.values[all.count++];
    }
    if (!known || lost(sim)) {
        a->node = NULL;
        return;
    }
    a->value = *known;
    sim_event_at(sim, sim->now + draw_delay(sim), on_answer, a, 0);
}

static void request(tr__decision_store *store, value v, bool looks)
{
    sim_node *node = (sim_node *)((char *)store - offsetof(sim_node, decided_in));
    ask *a = sim_node_seam(node) && !lost(node->sim) ? ask_make() : NULL;
    if (!a)
        return; /* it asks again */
    *a = (ask){.node = node, .life = node->life, .looks = looks, .value = v};
    sim_event_at(node->sim, node->sim->now + draw_delay(node->sim), on_request, a, 0);
}

static tr_err decide(tr__decision_store *store, tr__tx *tx, const tr__proposal *p, tr_error *error)
{
    (void)tx;
    (void)error;
    request(store, (value){p->id, p->commits, p->ts}, false);
    return TR_OK;
}

static void lookup(tr__decision_store *store, tr__tx *tx, const tr_tx_id *id)
{
    (void)tx;
    request(store, (value){.id = *id}, true);
}

static void poll(tr__decision_store *store, tr__tx *tx)
{
    sim_node *node = (sim_node *)((char *)store - offsetof(sim_node, decided_in));
    while (node->decided) {
        ask *a = node->decided;
        node->decided = a->next;
        tr__tx_decided(tx, &a->value.id, a->value.committed, a->value.ts);
        a->node = NULL;
    }
}

static void end(tr__decision_store *store)
{
    sim_node *node = (sim_node *)((char *)store - offsetof(sim_node, decided_in));
    while (node->decided) {
        ask *a = node->decided;
        node->decided = a->next;
        a->node = NULL;
    }
}

struct tr__decision_store *sim_decisions_open(void *context, const char *name, void (*wake)(void *context),
                                              void *wake_context, tr_error *error)
{
    sim_node *node = context;
    (void)name;
    (void)error;
    if (strcmp(node->sim->scenario->name, SIM_TOGETHER) != 0)
        return NULL;
    if (all.run != node->sim->number)
        memset(&all, 0, sizeof(all));
    all.run = node->sim->number;
    node->decided_wake = wake;
    node->decided_wake_context = wake_context;
    node->decided_in =
        (tr__decision_store){.shared = true, .decide = decide, .lookup = lookup, .poll = poll, .close = end};
    return &node->decided_in;
}
