/* What is printed for people. */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buggify.h"
#include "cli/sim/campaign.h"
#include "cli/words.h"
#include "tests/kit/sim/rows.h"

static double seconds_since(uint64_t started)
{
    return (double)(sim_now_ms() - started + 1) / 1000;
}

/* ---- while it runs ------------------------------------------------------------------------------------- */

static void wipe(sim_campaign *c)
{
    if (c->shown)
        fprintf(stderr, "\r\033[K");
    c->shown = false;
}

void sim_report_progress(sim_campaign *c)
{
    const sim_tally *t = &c->tally;
    double s = seconds_since(c->started);
    char line[160];
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col;
    wipe(c);
    snprintf(line, sizeof(line),
             "%llu of %llu seed%s, %llu failed, %.0f a second, %.0f virtual seconds a second",
             (unsigned long long)t->seeds, (unsigned long long)(c->options->last - c->options->first + 1),
             cli_s(c->options->last - c->options->first + 1), (unsigned long long)t->failed,
             (double)t->seeds / s, (double)t->virtual_ns / 1e9 / s);
    /* A line that wraps can't be wiped. */
    fprintf(stderr, "%.*s", known ? size.ws_col - 1 : 79, line);
    c->shown = true;
}

static void print_failure(const sim_outcome *o)
{
    printf("seed %llu of %s failed", (unsigned long long)o->job.seed, o->job.scenario->name);
    if (o->at_s >= 0)
        printf(" at %.6f s", o->at_s);
    printf(": %s\n", o->what);
}

void sim_report_seed(sim_campaign *c, const sim_outcome *o)
{
    if (!o->ok && c->options->keep_going) {
        wipe(c);
        print_failure(o);
    } else if (o->ok && c->options->one) {
        printf("seed %llu of %s held: %.6f virtual s, %llu messages, %.0f ms, hash %016llx\n",
               (unsigned long long)o->job.seed, o->job.scenario->name,
               (double)o->record.result.virtual_ns / 1e9, (unsigned long long)o->record.result.handled,
               o->wall_ms, (unsigned long long)o->record.result.hash);
    }
    fflush(stdout);
}

/* ---- at the end ---------------------------------------------------------------------------------------- */

static void print_faults(const sim_tally *t)
{
    printf("\nfaults          times  in seeds\n");
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT; i++)
        printf("  %-11s %7llu   %7llu\n", sim_fault_words[i], (unsigned long long)t->faults[i],
               (unsigned long long)t->fault_seeds[i]);
}

static bool is_row(const sim_sometimes *sometimes)
{
    return strncmp(sometimes->name, SIM_ROW_WORD, strlen(SIM_ROW_WORD)) == 0;
}

/* Those of transactions' crash table, all scenarios together; nothing if there were no transactions. */
static void print_rows(const sim_tally *t)
{
    static const char *const names[] = {
#define ROW(number, name) name,
        SIM_ROWS(ROW)
#undef ROW
    };
    bool any = false;
    for (uint32_t i = 0; i < t->sometimes_count; i++)
        any = any || is_row(&t->sometimes[i]);
    if (any)
        printf("\ncrash table  hits  in seeds\n");
    for (size_t row = 0; any && row < TR_COUNT(names); row++) {
        uint64_t times = 0, seeds = 0;
        for (uint32_t i = 0; i < t->sometimes_count; i++)
            if (strcmp(t->sometimes[i].name, names[row]) == 0) {
                times += t->sometimes[i].times;
                seeds += t->sometimes[i].seeds;
            }
        printf("  %15llu   %7llu  %s\n", (unsigned long long)times, (unsigned long long)seeds, names[row]);
    }
}

static void print_sometimes(const sim_tally *t)
{
    if (t->sometimes_count)
        printf("\nsometimes  in seeds\n");
    for (uint32_t i = 0; i < t->sometimes_count; i++)
        if (!is_row(&t->sometimes[i]))
            printf("  %17llu  %s: %s%s\n", (unsigned long long)t->sometimes[i].seeds,
                   t->sometimes[i].scenario->name, t->sometimes[i].name,
                   sim_tally_is_missed(t, &t->sometimes[i]) ? "  NEVER" : "");
}

static void print_points(const sim_tally *t)
{
    uint32_t none = 0;
    for (uint32_t i = 0; i < t->point_count; i++)
        if (!t->points_taken[i])
            printf("%s %s%s", none++ ? "," : "\nfault points that were never taken:", tr__buggify_names[i],
                   t->points_passed[i] ? "" : " (nor passed)");
    printf("%s", none ? "\n" : "");
}

static void print_numbers(const sim_campaign *c)
{
    const sim_tally *t = &c->tally;
    double s = seconds_since(c->started);
    printf("%llu seed%s of", (unsigned long long)t->seeds, cli_s(t->seeds));
    for (uint32_t i = 0; i < t->scenario_count; i++)
        printf("%s %s", i ? "," : "", t->scenarios[i]->name);
    printf(": %llu failed%s\n", (unsigned long long)t->failed,
           c->stopped ? "; stopped there (--keep-going doesn't)" : "");
    printf("%.0f virtual seconds in %.1f s: %.0f a second; %llu messages handled, %.0f a second\n",
           (double)t->virtual_ns / 1e9, s, (double)t->virtual_ns / 1e9 / s, (unsigned long long)t->handled,
           (double)t->handled / s);
    printf("hash of all: %016llx\n", (unsigned long long)t->hash);
}

static void print_parting(const sim_campaign *c)
{
    const sim_parting *p = &c->parting;
    if (!p->line) {
        printf("  run twice more they didn't differ\n");
        return;
    }
    printf("  their timelines part in line %llu:\n    %s\n    %s\n", (unsigned long long)p->line,
           p->first[0] ? p->first : "(over)", p->second[0] ? p->second : "(over)");
}

static void print_first_failure(const sim_campaign *c)
{
    char text[SIM_TEXT_MAX], faults[256];
    const sim_job *job = sim_campaign_failing(c);
    printf("%s", c->options->one ? "" : "\nfirst failure: ");
    print_failure(&c->failure);
    if (c->failure_unlike)
        print_parting(c);
    if (c->shrink_runs) {
        sim_faults_format(job->faults, faults);
        printf("  shrunk by %u run%s to faults: %s", c->shrink_runs, cli_s(c->shrink_runs), faults);
        if (job->run_ns)
            printf("; %.9g s", (double)job->run_ns / 1e9);
        if (c->shrunk.at_s >= 0)
            printf("; fails at %.6f s", c->shrunk.at_s);
        printf(": %s\n", c->shrunk.what);
    }
    if (c->options->timeline)
        return; /* this is the replay */
    sim_replay_text(c->options, job, text);
    printf("  replay: %s%s\n", text, c->failure_unlike ? " --twice" : " --timeline");
}

void sim_report_end(sim_campaign *c)
{
    wipe(c);
    if (!c->options->one)
        print_numbers(c);
    if (!c->options->one && !c->stopped) {
        print_faults(&c->tally);
        print_rows(&c->tally);
        print_sometimes(&c->tally);
        if (!c->options->plugin)
            print_points(&c->tally);
    }
    uint32_t missed = sim_tally_missed(&c->tally);
    if (missed)
        printf("\n%u of what should hold sometimes never did: see NEVER above\n", missed);
    if (c->any_failure)
        print_first_failure(c);
}
