/* Whether what is checked is worth something: each planted bug, and how many seeds it takes until one finds it. */
#include "base/plant.h"

#ifdef TR_PLANTS

#include <jansson.h>
#include <stdlib.h>

#include "cli/sim/campaign.h"
#include "cli/sim/pool.h"
#include "cli/words.h"

#define APART 1000000 /* between the first seeds of two starts */

/* One start of one bug. */
typedef struct hunt {
    const sim_options *options;
    const tr_scenario *scenarios[SIM_SCENARIOS_MAX];
    uint32_t scenario_count;
    const char *plant;
    uint64_t first, next, count;
    uint64_t took;       /* seeds until it was caught; 0: it wasn't */
    sim_outcome *caught; /* by this */
    sim_outcome *without;
} hunt;

static bool next(void *context, sim_job *job, bool *second)
{
    hunt *h = context;
    if (h->next == h->first + h->count)
        return false;
    *second = false;
    *job = (sim_job){.scenario = sim_scenario_of(h->next, h->scenarios, h->scenario_count),
                     .seed = h->next,
                     .faults = h->options->faults,
                     .run_ns = h->options->run_ns,
                     .plant = h->plant};
    h->next++;
    return true;
}

/* One that fails without the bug as well has caught nothing. */
static bool over(void *context, const sim_outcome *outcome)
{
    hunt *h = context;
    sim_job job = outcome->job;
    if (outcome->ok)
        return true;
    job.plant = NULL;
    if (!sim_pool_one(h->options, &job, false, NULL, h->without) || !h->without->ok)
        return true;
    h->took = outcome->job.seed - h->first + 1;
    *h->caught = *outcome;
    return false;
}

static int by_size(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Those that found nothing are the largest. */
static uint64_t median(const uint64_t *took, uint32_t count)
{
    uint64_t sorted[100];
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = took[i] ? took[i] : UINT64_MAX;
    qsort(sorted, count, sizeof(*sorted), by_size);
    return sorted[count / 2] == UINT64_MAX ? 0 : sorted[count / 2];
}

static void print_json(const tr__plant_row *row, const uint64_t *took, uint32_t starts, uint32_t caught,
                       const sim_outcome *by)
{
    json_t *seeds = json_array();
    for (uint32_t i = 0; i < starts; i++)
        json_array_append_new(seeds, took[i] ? json_integer((json_int_t)took[i]) : json_null());
    json_t *line = json_pack("{s:s, s:s, s:i, s:i, s:o}", "plant", row->name, "property", row->property,
                             "starts", (int)starts, "caught", (int)caught, "seeds", seeds);
    if (median(took, starts))
        json_object_set_new(line, "median", json_integer((json_int_t)median(took, starts)));
    if (caught) {
        json_object_set_new(line, "seed", json_integer((json_int_t)by->job.seed));
        json_object_set_new(line, "scenario", json_string(by->job.scenario->name));
        json_object_set_new(line, "what", json_string(by->what));
    }
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
}

static void print_row(const tr__plant_row *row, const uint64_t *took, uint32_t starts, uint32_t caught,
                      const sim_outcome *by)
{
    uint64_t middle = median(took, starts);
    char seeds[24] = "-";
    if (middle)
        snprintf(seeds, sizeof(seeds), "%llu", (unsigned long long)middle);
    printf("%-22s %-12s %2u of %-2u %6s  ", row->name, row->property, caught, starts, seeds);
    if (caught)
        printf("%s %llu: %.120s\n", by->job.scenario->name, (unsigned long long)by->job.seed, by->what);
    else
        printf("NOT CAUGHT\n");
}

/* False: it wasn't caught from each start. */
static bool hunt_one(hunt *h, const tr__plant_row *row)
{
    uint64_t took[100];
    uint32_t caught = 0;
    h->plant = row->name;
    for (uint32_t i = 0; i < h->options->starts; i++) {
        h->first = h->next = h->options->first + (uint64_t)i * APART;
        h->took = 0;
        sim_pool pool = {.options = h->options, .next = next, .over = over, .context = h};
        if (!sim_pool_run(&pool))
            return false;
        took[i] = h->took;
        caught += h->took > 0;
    }
    (h->options->json ? print_json : print_row)(row, took, h->options->starts, caught, h->caught);
    fflush(stdout);
    return caught == h->options->starts;
}

int sim_plants_run(const sim_options *options)
{
    uint32_t missed = 0, count = 0;
    hunt h = {.options = options, .count = options->last - options->first + 1};
    h.scenario_count = sim_scenarios(options, h.scenarios);
    h.caught = calloc(1, sizeof(*h.caught));
    h.without = calloc(1, sizeof(*h.without));
    if (!h.scenario_count || !h.caught || !h.without)
        return 2;
    if (!options->json)
        printf("planted bug            breaks       caught    median  by\n");
    for (int i = TR__PLANT_NONE + 1; i < TR__PLANT_COUNT; i++) {
        count++;
        missed += !hunt_one(&h, &tr__plants[i]);
    }
    free(h.caught);
    free(h.without);
    if (!options->json)
        printf("%u of %u caught from each of %u start%s, within %llu seed%s\n", count - missed, count,
               options->starts, cli_s(options->starts), (unsigned long long)h.count, cli_s(h.count));
    return missed ? 1 : 0;
}

#endif
