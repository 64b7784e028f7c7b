/* What is printed for programs: a JSON object a line. */
#include <jansson.h>
#include <string.h>

#include "base/buggify.h"
#include "cli/sim/campaign.h"

static void print(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

static json_t *hash_of(uint64_t hash)
{
    return json_sprintf("%016llx", (unsigned long long)hash);
}

static json_t *faults_of(const uint64_t *counts)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT; i++)
        if (counts[i])
            json_object_set_new(object, sim_fault_words[i], json_integer((json_int_t)counts[i]));
    return object;
}

/* What can be anything becomes UTF-8. */
static json_t *text_of(const char *text)
{
    json_t *string = json_string(text);
    return string ? string : json_string("(not UTF-8)");
}

void sim_json_seed(const sim_campaign *c, const sim_outcome *o, bool unlike)
{
    const tr_sim_result *r = &o->record.result;
    json_t *line = json_pack("{s:I, s:o, s:b, s:o}", "seed", (json_int_t)o->job.seed, "scenario",
                             text_of(o->job.scenario->name), "ok", o->ok, "hash", hash_of(r->hash));
    if (!o->ok)
        json_object_set_new(line, "what", text_of(o->what));
    if (!o->ok && o->at_s >= 0)
        json_object_set_new(line, "at_s", json_real(o->at_s));
    if (c->options->twice)
        json_object_set_new(line, "deterministic", json_boolean(!unlike));
    json_object_set_new(line, "virtual_s", json_real((double)r->virtual_ns / 1e9));
    json_object_set_new(line, "handled", json_integer((json_int_t)r->handled));
    json_object_set_new(line, "turns", json_integer((json_int_t)r->turns));
    json_object_set_new(line, "faults", faults_of(r->faults));
    json_object_set_new(line, "wall_ms", json_real(o->wall_ms));
    print(line);
}

static json_t *sometimes_of(const sim_tally *t)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < t->sometimes_count; i++)
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:I, s:I, s:b}", "scenario", text_of(t->sometimes[i].scenario->name),
                            "name", text_of(t->sometimes[i].name), "seeds", (json_int_t)t->sometimes[i].seeds,
                            "times", (json_int_t)t->sometimes[i].times, "missed",
                            sim_tally_is_missed(t, &t->sometimes[i])));
    return list;
}

static json_t *points_of(const sim_tally *t)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < t->point_count; i++)
        json_object_set_new(object, tr__buggify_names[i], json_integer((json_int_t)t->points_taken[i]));
    return object;
}

static json_t *failure_of(const sim_campaign *c)
{
    char text[SIM_TEXT_MAX], faults[256];
    const sim_job *job = sim_campaign_failing(c);
    const sim_outcome *o = c->shrink_runs ? &c->shrunk : &c->failure;
    sim_replay_text(c->options, job, text);
    sim_faults_format(job->faults, faults);
    json_t *object = json_pack("{s:I, s:o, s:o, s:s, s:o, s:i}", "seed", (json_int_t)job->seed, "scenario",
                               text_of(job->scenario->name), "what", text_of(o->what), "faults", faults,
                               "replay", text_of(text), "shrink_runs", (int)c->shrink_runs);
    if (o->at_s >= 0)
        json_object_set_new(object, "at_s", json_real(o->at_s));
    if (job->run_ns)
        json_object_set_new(object, "time_s", json_real((double)job->run_ns / 1e9));
    if (c->parting.line)
        json_object_set_new(object, "parts",
                            json_pack("{s:I, s:o, s:o}", "line", (json_int_t)c->parting.line, "first",
                                      text_of(c->parting.first), "second", text_of(c->parting.second)));
    return object;
}

void sim_json_end(const sim_campaign *c)
{
    const sim_tally *t = &c->tally;
    json_t *line =
        json_pack("{s:b, s:b, s:I, s:I, s:I, s:o}", "summary", true, "ok", !t->failed && !sim_tally_missed(t),
                  "seeds", (json_int_t)t->seeds, "failed", (json_int_t)t->failed, "not_deterministic",
                  (json_int_t)t->unlike, "hash", hash_of(t->hash));
    json_object_set_new(line, "virtual_s", json_real((double)t->virtual_ns / 1e9));
    json_object_set_new(line, "handled", json_integer((json_int_t)t->handled));
    json_object_set_new(line, "wall_s", json_real((double)(sim_now_ms() - c->started) / 1e3));
    json_object_set_new(line, "faults", faults_of(t->faults));
    json_object_set_new(line, "sometimes", sometimes_of(t));
    json_object_set_new(line, "points", points_of(t));
    if (c->any_failure)
        json_object_set_new(line, "first_failure", failure_of(c));
    print(line);
}
