/* Fault scripts: a scenario's file. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/kit/sim/script_format.h"

static void one(const uint8_t *bytes, size_t length)
{
    static sim_script script;
    tr_error error = {0};
    char *text = (char *)fuzz_copy(bytes, length, true);
    for (uint32_t nodes = 0; nodes <= 3; nodes += 3) {
        tr_err err = sim_script_parse(text, nodes, &script, &error);
        tr__check(err == TR_OK || error.text[0], "an error without a text");
        for (uint32_t i = 0; err == TR_OK && i < script.count; i++) {
            tr__check(i == 0 || script.steps[i - 1].at_ns <= script.steps[i].at_ns, "steps out of order");
            tr__check(script.steps[i].verb < SIM_VERB_COUNT && sim_verb_word(script.steps[i].verb),
                      "no such verb");
        }
    }
    free(text);
}

const fuzz_target fuzz_script = {"script", 64u << 10, 8, one};
