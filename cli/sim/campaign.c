/* See campaign.h. */
#include "cli/sim/campaign.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/sim/pool.h"
#include "cli/sim/shrink.h"

/* ---- which seeds, where -------------------------------------------------------------------------------- */

/* So many seeds in a row as there are scenarios have each once; which comes first is drawn, or what else hangs on a seed's
 * last bits would always meet the same ones. */
const tr_scenario *sim_scenario_of(uint64_t seed, const tr_scenario *const *scenarios, uint32_t count)
{
    tr__random block;
    tr__random_init(&block, seed / count);
    return scenarios[(seed % count + tr__random_below(&block, count)) % count];
}

static bool next(void *context, sim_job *job, bool *second)
{
    sim_campaign *c = context;
    const sim_options *o = c->options;
    if (c->next_seed > o->last)
        return false;
    *job = (sim_job){.scenario = sim_scenario_of(c->next_seed, c->tally.scenarios, c->tally.scenario_count),
                     .seed = c->next_seed,
                     .faults = o->faults,
                     .run_ns = o->run_ns,
                     .plant = o->plant};
    *second = c->next_is_second;
    c->next_is_second = o->twice && !c->next_is_second;
    c->next_seed += !c->next_is_second;
    return true;
}

/* ---- a command to be pasted ----------------------------------------------------------------------------- */

static size_t append(char *out, size_t length, const char *word)
{
    bool plain =
        word[0] && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,=:+") ==
                       strlen(word);
    const char *quote = plain ? "" : "'";
    if (length >= SIM_TEXT_MAX)
        return length;
    length += (size_t)snprintf(out + length, SIM_TEXT_MAX - length, "%s%s", length ? " " : "", quote);
    for (; *word && length + 8 < SIM_TEXT_MAX; word++) {
        if (*word == '\'')
            length += (size_t)snprintf(out + length, SIM_TEXT_MAX - length, "'\\''");
        else
            out[length++] = *word;
    }
    return length + (size_t)snprintf(out + length, SIM_TEXT_MAX - length, "%s", quote);
}

void sim_replay_text(const sim_options *options, const sim_job *job, char out[SIM_TEXT_MAX])
{
    const char *arguments[SIM_ARGUMENTS_MAX];
    char room[SIM_TEXT_MAX];
    size_t length = 0;
    sim_command(options, job, arguments, room);
    for (const char **word = arguments; *word; word++)
        length = append(out, length, *word);
}

const sim_job *sim_campaign_failing(const sim_campaign *c)
{
    return c->shrink_runs ? &c->shrunk.job : &c->failure.job;
}

/* ---- what comes of them --------------------------------------------------------------------------------- */

/* False: that is enough. */
static bool settled(sim_campaign *c)
{
    sim_outcome *o = &c->now;
    sim_tally_add(&c->tally, o);
    c->tally.unlike += c->now_unlike;
    if (c->options->json)
        sim_json_seed(c, o, c->now_unlike);
    else
        sim_report_seed(c, o);
    if (o->ok)
        return true;
    if (!c->any_failure) {
        c->any_failure = true;
        c->failure_unlike = c->now_unlike;
        c->failure = *o;
    }
    c->stopped = !c->options->keep_going && o->job.seed < c->options->last;
    return c->options->keep_going;
}

static void compare(sim_campaign *c, const sim_outcome *second)
{
    sim_outcome *first = &c->now;
    if (first->ok == second->ok && first->record.over == second->record.over &&
        first->record.result.hash == second->record.result.hash)
        return;
    c->now_unlike = true;
    first->ok = false;
    snprintf(first->what, sizeof(first->what),
             "not deterministic: two runs of this seed differ, with hashes %016llx and %016llx",
             (unsigned long long)first->record.result.hash, (unsigned long long)second->record.result.hash);
    first->at_s = -1;
}

static bool over(void *context, const sim_outcome *outcome)
{
    sim_campaign *c = context;
    if (!outcome->second) {
        c->now = *outcome;
        c->now_unlike = false;
        return c->options->twice || settled(c);
    }
    compare(c, outcome);
    return settled(c);
}

static void tick(void *context)
{
    sim_report_progress(context);
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

/* What the first failure is, as small and as clear as can be. */
static void look_closer(sim_campaign *c)
{
    if (!c->any_failure || c->options->timeline)
        return;
    if (c->failure_unlike) {
        sim_part(c->options, &c->failure.job, &c->parting);
    } else if (c->options->shrink && !c->failure.late) {
        sim_job job = c->failure.job;
        c->shrunk = c->failure;
        c->shrink_runs = sim_shrink(c->options, &job, &c->shrunk);
    }
}

static bool run_one(sim_campaign *c)
{
    sim_job job;
    bool second;
    FILE *lines = c->options->json ? stderr : stdout;
    next(c, &job, &second);
    if (!sim_pool_one(c->options, &job, false, c->options->timeline ? lines : NULL, &c->now))
        return false;
    fputs(c->now.errors, stderr);
    if (c->options->twice) {
        sim_outcome *again = calloc(1, sizeof(*again));
        bool good = again && sim_pool_one(c->options, &job, true, NULL, again);
        if (good)
            compare(c, again);
        free(again);
        if (!good)
            return false;
    }
    settled(c);
    return true;
}

int sim_campaign_run(const sim_options *options)
{
    sim_campaign *c = calloc(1, sizeof(*c));
    if (!c) {
        fprintf(stderr, "troupe sim: no memory\n");
        return 1;
    }
    c->options = options;
    c->next_seed = options->first;
    c->started = sim_now_ms();
    c->tally.judge_all = options->sometimes;
    c->tally.scenario_count = sim_scenarios(options, c->tally.scenarios);
    bool progress = !options->one && isatty(STDERR_FILENO);
    sim_pool pool = {options, next, over, progress ? tick : NULL, c};
    if (!c->tally.scenario_count) {
        free(c);
        return 2;
    }
    bool good = options->one ? run_one(c) : sim_pool_run(&pool);
    if (good) {
        look_closer(c);
        if (options->json)
            sim_json_end(c);
        else
            sim_report_end(c);
    }
    int status = good && !c->tally.failed && !sim_tally_missed(&c->tally) ? 0 : 1;
    free(c);
    return status;
}
