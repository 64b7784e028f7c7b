/* What a seed says. The first fault is a point of the protocol, in turn, and the second a kind of fault in turn: so
 * eleven seeds one after the other have all of both. The others are drawn. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "actors/tx/core.h"
#include "base/random.h"
#include "tests/kit/real/tx_cycle.h"

#define FIRST_MS 700  /* when all have met, as a rule */
#define LAST_MS  1000 /* before the end of the load, when nothing begins any more */

#define TX__WORD(name, word) word,
const char *const tx_fault_words[TX_FAULT_COUNT] = {TX_FAULTS(TX__WORD)};
static const char *const points[] = {TR__TX_POINTS(TX__WORD)};
#undef TX__WORD

static uint32_t draw(tr__random *random, uint32_t least, uint32_t most)
{
    return least + (uint32_t)(tr__random_next(random) % (most - least + 1));
}

static void draw_point(tx_step *step, uint64_t which, tr__random *random)
{
    uint32_t times = draw(random, 1, 30), us = draw(random, 0, 1) ? draw(random, 1, 3000) : 0;
    snprintf(step->point, sizeof(step->point), "%s:%u:%u", points[which % TR__TX_POINT_COUNT], times, us);
    if (draw(random, 0, 1))
        step->at_ms = 0; /* from its first start on */
}

static void add(tx_plan *plan, tx_fault what, tr__random *random)
{
    static const uint32_t most_ms[TX_FAULT_COUNT] = {
        [TX_KILL] = 1500,    [TX_POINT] = 1000, [TX_ALL] = 500,  [TX_CUT] = 3000,
        [TX_ONE_WAY] = 3000, [TX_STOP] = 3000,  [TX_FULL] = 3000};
    tx_step *step = &plan->steps[plan->count++];
    *step = (tx_step){.what = what, .node = draw(random, 0, plan->nodes - 1)};
    step->other = (step->node + draw(random, 1, plan->nodes - 1)) % plan->nodes;
    step->at_ms = draw(random, FIRST_MS, plan->load_ms - LAST_MS);
    step->for_ms = draw(random, 50, most_ms[what]);
    if (what == TX_FULL) { /* the reserve lasts a while */
        step->at_ms = FIRST_MS;
        step->for_ms = plan->load_ms - FIRST_MS - draw(random, 0, 1000);
    }
    if (what == TX_POINT)
        draw_point(step, plan->count == 1 ? plan->seed : tr__random_next(random), random);
}

static bool can_be(tx_fault what, bool split)
{
    return split || (what != TX_CUT && what != TX_ONE_WAY && what != TX_FULL);
}

void tx_plan_make(tx_plan *plan, uint64_t seed, bool split)
{
    static const tx_fault in_turn[] = {TX_KILL, TX_CUT, TX_FULL, TX_ONE_WAY, TX_ALL, TX_STOP};
    tr__random random;
    tr__random_init(&random, seed);
    *plan = (tx_plan){.seed = seed, .nodes = draw(&random, 3, TX_NODES_MAX), .clients = draw(&random, 2, 4)};
    tx_fault second = in_turn[seed % 6];
    if (second == TX_FULL) { /* or the log's reserve, 16 MiB, wouldn't be used up */
        plan->nodes = 3;
        plan->clients = 6;
        plan->note_bytes = split ? 131072 : 0;
    }
    bool emits = seed % TR__TX_POINT_COUNT >= TR__TX_POINT_EMIT_DONE;
    plan->workload = draw(&random, 0, 1) || second == TX_FULL || emits ? "bank" : "append";
    plan->load_ms = draw(&random, 3500, 5000);
    plan->hears_silence = draw(&random, 0, 1);
    add(plan, TX_POINT, &random);
    if (can_be(second, split))
        add(plan, second, &random);
    for (uint32_t more = draw(&random, 0, 3); more > 0; more--) {
        tx_fault what = (tx_fault)draw(&random, 0, TX_FAULT_COUNT - 1);
        if (what != TX_FULL && can_be(what, split)) /* that one is for one node, with notes */
            add(plan, what, &random);
    }
}

void tx_plan_print(const tx_plan *plan, FILE *to)
{
    fprintf(to, "seed %" PRIu64 ": %s, %u nodes with %u clients each, load for %u ms%s%s\n", plan->seed,
            plan->workload, plan->nodes, plan->clients, plan->load_ms,
            plan->hears_silence ? ", silence of 1.5 s is noticed" : "",
            plan->note_bytes ? ", with notes" : "");
    for (uint32_t i = 0; i < plan->count; i++) {
        const tx_step *s = &plan->steps[i];
        fprintf(to, "  at %4u ms  %-8s n%u", s->at_ms, tx_fault_words[s->what], s->node);
        if (s->what == TX_ONE_WAY)
            fprintf(to, " -> n%u", s->other);
        fprintf(to, "  for %u ms  %s\n", s->for_ms, s->point);
    }
}
