/* The program `troupe-sim`, which `troupe sim` runs: seeds of simulated clusters. See options.c for what it can do. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/plant.h"
#include "cli/sim/campaign.h"
#include "tests/kit/sim/workloads/list.h"

static int list(void)
{
#define ROW(name, word, text) printf("  %-12s %s\n", word, text);
    printf("scenarios:\n");
    for (const tr_scenario *const *one = sim_workloads; *one; one++)
        printf("  %s\n", (*one)->name);
    printf("classes of faults:\n");
    TR_SIM_FAULTS(ROW)
#undef ROW
#ifdef TR_PLANTS
    printf("planted bugs:\n");
    for (int i = TR__PLANT_NONE + 1; i < TR__PLANT_COUNT; i++)
        printf("  %-22s %-12s %s\n", tr__plants[i].name, tr__plants[i].property, tr__plants[i].what);
#endif
    return 0;
}

/* Each start of a node with a plugin in it opens a file. */
static void have_many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* The second run of a seed: its record goes where the parent looks for it, its timeline to stdout. */
static int run_again(const sim_options *options)
{
    const tr_scenario *scenarios[SIM_SCENARIOS_MAX];
    void *record = mmap(NULL, sizeof(sim_record), PROT_READ | PROT_WRITE, MAP_SHARED, options->record_fd, 0);
    if (record == MAP_FAILED || !sim_scenarios(options, scenarios)) {
        fprintf(stderr, "troupe sim: a seed can't be run once more: %s\n", strerror(errno));
        return 1;
    }
    sim_job job = {scenarios[0], options->first, options->faults, options->run_ns, options->plant};
    sim_seed_run(options, &job, options->timeline ? stdout : NULL, record);
    fflush(NULL);
    _exit(0); /* as a first run ends */
}

static int run(int argc, char **argv)
{
    static sim_options options;
    int status = sim_options_read(argc, argv, &options);
    if (status >= 0)
        return status;
    if (options.list)
        return list();
    have_many_files();
#ifdef TR_PLANTS
    if (options.plants)
        return sim_plants_run(&options);
#endif
    return options.record_fd >= 0 ? run_again(&options) : sim_campaign_run(&options);
}

int main(int argc, char **argv)
{
    int status = run(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "troupe sim: standard output: not all of it could be written\n");
    return status ? status : 1;
}
