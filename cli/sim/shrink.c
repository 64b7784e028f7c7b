/* See shrink.h. A class that is off leaves the random streams of the others as they are, so what they do stays nearly the
 * same. */
#include "cli/sim/shrink.h"

#include <ctype.h>
#include <stdlib.h>

#include "cli/sim/pool.h"

#define LEAST_NS TR_MILLIS(1)
#define RUNS_MAX 200

typedef struct shrinking {
    const sim_options *options;
    sim_job *job;
    sim_outcome *outcome, *tried;
    uint32_t runs;
} shrinking;

static const char *after_number(const char *text)
{
    while (isdigit((unsigned char)*text))
        text++;
    return text;
}

bool sim_same_failure(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            a = after_number(a) - 1;
            b = after_number(b) - 1;
        } else if (*a != *b) {
            return false;
        }
    }
    return *a == *b;
}

/* Take it if it fails the same way. */
static bool try(shrinking *s, const sim_job *smaller)
{
    if (s->runs >= RUNS_MAX)
        return false;
    s->runs++;
    if (!sim_pool_one(s->options, smaller, false, NULL, s->tried) || s->tried->ok ||
        !sim_same_failure(s->tried->what, s->outcome->what))
        return false;
    *s->job = *smaller;
    *s->outcome = *s->tried;
    return true;
}

/* One class alone, or two of those that are left. */
static bool with_few(shrinking *s, bool two)
{
    uint32_t all = s->job->faults;
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT; i++)
        for (uint32_t j = two ? i + 1 : i; j < (two ? TR_SIM_FAULT_COUNT : i + 1); j++) {
            sim_job smaller = *s->job;
            smaller.faults = 1u << i | 1u << j;
            if ((all & smaller.faults) == smaller.faults && smaller.faults != all && try(s, &smaller))
                return true;
        }
    return false;
}

static bool without_classes(shrinking *s)
{
    bool any = false;
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT; i++) {
        sim_job smaller = *s->job;
        smaller.faults &= ~(1u << i);
        if (smaller.faults != s->job->faults && try(s, &smaller))
            any = true;
    }
    return any;
}

static uint64_t run_of(const sim_job *job)
{
    return job->run_ns ? job->run_ns : job->scenario->run_ns ? job->scenario->run_ns : TR_SECONDS(30);
}

static uint64_t whole_ms(uint64_t ns)
{
    return (ns + LEAST_NS - 1) / LEAST_NS * LEAST_NS;
}

/* First to where it failed, if that was under faults, then by halves, then by eighths. */
static bool shorter(shrinking *s)
{
    static const uint64_t eighths[] = {4, 7};
    uint64_t failed_at = s->outcome->at_s >= 0 ? whole_ms((uint64_t)(s->outcome->at_s * 1e9) + LEAST_NS) : 0;
    sim_job smaller = *s->job;
    bool any = false;
    if (failed_at && failed_at < run_of(s->job)) {
        smaller.run_ns = failed_at;
        any = try(s, &smaller);
    }
    for (size_t i = 0; i < sizeof(eighths) / sizeof(eighths[0]); i++)
        while (run_of(s->job) > LEAST_NS) {
            smaller = *s->job;
            smaller.run_ns = whole_ms(run_of(s->job) / 8 * eighths[i]);
            if (smaller.run_ns >= run_of(s->job) || !try(s, &smaller))
                break;
            any = true;
        }
    return any;
}

uint32_t sim_shrink(const sim_options *options, sim_job *job, sim_outcome *outcome)
{
    shrinking s = {
        .options = options, .job = job, .outcome = outcome, .tried = calloc(1, sizeof(sim_outcome))};
    sim_job none = *job;
    if (!s.tried)
        return 0;
    none.faults = 0;
    if (job->faults && !try(&s, &none) && !with_few(&s, false)) {
        while (without_classes(&s)) /* one may have been needed only for another */
            ;
        if (__builtin_popcount(job->faults) > 2)
            with_few(&s, true);
    }
    if (shorter(&s))
        without_classes(&s);
    free(s.tried);
    return s.runs;
}
