/* The scenarios there are: Troupe's own, or a plugin's. */
#include <stdio.h>
#include <string.h>

#include "actors/plugin/loader.h"
#include "base/stderr_os.h"
#include "cli/sim/script.h"
#include "cli/sim/seed.h"
#include "tests/kit/sim/workloads/list.h"

static uint32_t complain(const char *text)
{
    tr__stderr_line("troupe sim", text);
    return 0;
}

/* What a plugin without a scenario is run as: three nodes of it, for the invariants of every run. */
static tr_scenario plain = {.size = sizeof(tr_scenario), .nodes = 3, .data = true};

static uint32_t of_plugin(const sim_options *options, const tr_scenario **out)
{
    const char *file = options->plugin;
    tr_error error = {.code = TR_OK};
    char text[sizeof(error.text) + 64];
    const tr__plugin *plugin = tr__plugin_load(file, &tr__host_table, &error);
    if (!plugin)
        return complain(error.text);
    const tr_scenario *scenario = tr__plugin_find(plugin, "tr_plugin_scenario");
    plain.name = plugin->block->name;
    *out = scenario ? scenario : &plain;
    if ((*out)->size == sizeof(tr_scenario) && (*out)->name && (*out)->name[0])
        return !options->script || sim_script_fits(options, *out);
    snprintf(text, sizeof(text), "%s: its scenario %s", file,
             (*out)->size == sizeof(tr_scenario) ? "has no name: say .name = \"...\" in TR_SCENARIO"
                                                 : "is of another Troupe: rebuild it with these headers");
    return complain(text);
}

uint32_t sim_scenarios(const sim_options *options, const tr_scenario *out[SIM_SCENARIOS_MAX])
{
    uint32_t count = 0;
    char text[160];
    if (options->plugin)
        return of_plugin(options, out);
    for (const tr_scenario *const *one = sim_workloads; *one && count < SIM_SCENARIOS_MAX; one++)
        if (!options->scenario || strcmp(options->scenario, (*one)->name) == 0)
            out[count++] = *one;
    if (count)
        return !options->script || sim_script_fits(options, out[0]) ? count : 0;
    snprintf(text, sizeof(text), "--scenario \"%.64s\": there is none of that name; --list tells them",
             options->scenario);
    return complain(text);
}
