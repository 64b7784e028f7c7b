/* See seed.h. */
#include "cli/sim/seed.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"

static sim_record *recording; /* where the handler of signals says how far it came */

/* ---- a run that is struck by a signal ------------------------------------------------------------------ */

/* Plain loads and stores. The signal's own action follows when this returns: it was reset when it came here. */
static void on_signal(int number)
{
    const tr_sim *sim = sim_now_running;
    if (sim && recording && !recording->over) {
        recording->struck_at = sim->now;
        recording->struck_node = sim->current ? (int)sim->current->index : -1;
    }
    raise(number);
}

/* A sanitizer has handlers of its own, which tell more, and end in SIGABRT or an exit. SIGTERM: it takes too long. */
static void catch_signals(void)
{
    static const int numbers[] = {
        SIGABRT,
        SIGTERM,
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        SIGSEGV,
        SIGBUS,
        SIGFPE,
        SIGILL,
#endif
    };
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_ONSTACK | SA_NODEFER};
    size_t size = (size_t)64 << 10;
    stack_t stack = {.ss_sp = malloc(size), .ss_size = size}; /* a fiber's may be what overflowed */
    if (stack.ss_sp)
        sigaltstack(&stack, NULL);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaction(numbers[i], &action, NULL);
}

/* ---- a run --------------------------------------------------------------------------------------------- */

static void keep(const tr_sim *sim, sim_record *record)
{
    const tr_sim_assertion *assertion;
    tr_sim_point point;
    tr_sim_result_get(sim, &record->result);
    for (uint32_t i = 0; (assertion = tr_sim_assertion_at(sim, i)); i++)
        record->assertions[record->assertion_count++] = *assertion;
    for (uint32_t i = 0; i < SIM_POINTS_MAX && tr_sim_point_at(sim, i, &point); i++) {
        record->points[i].passed = point.passed;
        record->points[i].taken = point.taken;
        record->point_count = i + 1;
    }
}

void sim_seed_run(const sim_options *options, const sim_job *job, FILE *timeline, sim_record *record)
{
    tr_error error = {.code = TR_OK};
    tr_sim_opts opts = {.seed = job->seed,
                        .scenario = job->scenario,
                        .plugin = options->plugin,
                        .faults = job->faults,
                        .run_ns = job->run_ns,
                        .timeline = timeline,
                        .logs = options->logs,
                        .turns = options->turns};
    record->struck_node = -1;
    recording = record;
#ifdef TR_PLANTS
    (void)tr__plant_choose(job->plant);
#endif
    catch_signals();
    record->begun = true;
    tr_sim *sim = tr_sim_create(&opts, &error);
    tr_err err = sim && options->script ? tr_sim_script(sim, options->script, &error) : TR_OK;
    if (sim && err == TR_OK) {
        if (job->run_ns)
            sim->opts.run_ns = job->run_ns; /* over the script's */
        tr_sim_run(sim);
        keep(sim, record);
    } else {
        record->result.failed = true;
        snprintf(record->result.what, sizeof(record->result.what), "it can't begin: %s", error.text);
    }
    tr_sim_destroy(sim);
    record->over = true;
}
