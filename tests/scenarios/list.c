/* See list.h. */
#include "tests/scenarios/list.h"

#include <string.h>

static const tr_scenario *const all[] = {
    &scenario_calm,    &scenario_killed, &scenario_storm, &scenario_silent,    &scenario_parted,
    &scenario_one_way, &scenario_broken, &scenario_bank,  &scenario_confirmed, &scenario_confirmed_killed};

const tr_scenario *scenario_named(const char *name)
{
    for (size_t i = 0; i < TR_COUNT(all); i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}
