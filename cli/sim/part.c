/* See part.h. */
#include "cli/sim/part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sim/pool.h"

#define TRIES 5 /* until they differ once more */

static bool line_of(FILE *file, char line[SIM_LINE_MAX])
{
    line[0] = '\0';
    if (!fgets(line, SIM_LINE_MAX, file))
        return false;
    if (!strchr(line, '\n'))
        for (int c; (c = getc(file)) != EOF && c != '\n';)
            ;
    line[strcspn(line, "\n")] = '\0';
    return true;
}

static void compare(FILE *first, FILE *second, sim_parting *p)
{
    rewind(first);
    rewind(second);
    for (uint64_t line = 1;; line++) {
        bool one = line_of(first, p->first), other = line_of(second, p->second);
        if (!one && !other)
            return;
        if (one != other || strcmp(p->first, p->second) != 0) {
            p->line = line;
            return;
        }
    }
}

static bool run_both(const sim_options *options, const sim_job *job, sim_parting *p)
{
    FILE *first = tmpfile(), *second = tmpfile();
    sim_outcome *outcome = calloc(1, sizeof(*outcome));
    bool good = first && second && outcome && sim_pool_one(options, job, false, first, outcome) &&
                sim_pool_one(options, job, true, second, outcome);
    if (good)
        compare(first, second, p);
    if (first)
        fclose(first);
    if (second)
        fclose(second);
    free(outcome);
    return good;
}

bool sim_part(const sim_options *options, const sim_job *job, sim_parting *p)
{
    sim_options closely = *options;
    closely.logs = closely.turns = true;
    *p = (sim_parting){0};
    for (int i = 0; i < TRIES && !p->line; i++)
        if (!run_both(&closely, job, p))
            return false;
    return true;
}
