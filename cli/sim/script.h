/* The fault script that `troupe sim --script FILE` has happen in each seed. The main thread, before the first. */
#ifndef TR_CLI_SIM_SCRIPT_H
#define TR_CLI_SIM_SCRIPT_H

#include "cli/sim/options.h"

/* Into options->script. False: why not was told. */
bool sim_script_read(const char *file, sim_options *options);
/* Whether it is one, for that scenario; false: what is wrong was told, with its line and column. */
bool sim_script_fits(const sim_options *options, const tr_scenario *scenario);

#endif
