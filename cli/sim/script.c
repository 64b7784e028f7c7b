/* A fault script from a file: read once, and known to fit before the first seed. */
#include "cli/sim/script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/sim/script_format.h"

static bool complain(const char *file, const char *what)
{
    fprintf(stderr, "troupe sim: --script %s: %s\n", file, what);
    return false;
}

bool sim_script_read(const char *file, sim_options *options)
{
    FILE *from = fopen(file, "re");
    char *text = calloc(1, SIM_SCRIPT_BYTES_MAX + 1);
    if (!from || !text) {
        complain(file, strerror(errno));
        if (from)
            fclose(from);
        free(text);
        return false;
    }
    size_t length = fread(text, 1, SIM_SCRIPT_BYTES_MAX + 1, from);
    bool failed = ferror(from), whole = length <= SIM_SCRIPT_BYTES_MAX && strlen(text) == length;
    int number = errno;
    fclose(from);
    options->script = text; /* for as long as the program runs */
    options->script_file = file;
    if (failed)
        return complain(file, strerror(number));
    return whole || complain(file, "it is longer than 64 KiB, or isn't text");
}

bool sim_script_fits(const sim_options *options, const tr_scenario *scenario)
{
    sim_script *script = calloc(1, sizeof(*script));
    tr_error error = {.code = TR_ENOMEM, .text = "no memory for it"};
    tr_err err = TR_ENOMEM;
    if (script)
        err = sim_script_parse(options->script, scenario->nodes ? scenario->nodes : 3, script, &error);
    free(script);
    return err == TR_OK || complain(options->script_file, error.text);
}
