/* Reads a fault script; see script_format.h. One pass, word by word. */
#include "tests/kit/sim/script_format.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

#define WORDS_SHOWN 24 /* bytes of a word in an error */

typedef struct reader {
    const char *line_begin, *word; /* the word under way; of length 0 at the end of a line */
    size_t length;
    uint32_t line, nodes;
    uint32_t down; /* nodes that were killed and not started again */
    sim_script *script;
    tr_error *error;
} reader;

static const struct {
    const char *word, *form;
    unsigned takes;
    bool real;
} verbs[] = {
#define VERB(name, word, takes, real, form) {word, form, takes, real},
    SIM_COMMANDS(VERB)
#undef VERB
};

const char *sim_verb_word(sim_verb verb)
{
    return verbs[verb].word;
}

bool sim_verb_is_real(sim_verb verb)
{
    return verbs[verb].real;
}

/* ---- words --------------------------------------------------------------------------------------------- */

/* "line 3, column 7: "killl": ..."; nothing that a terminal would take for more than a letter. */
__attribute__((format(printf, 2, 3))) static tr_err wrong(reader *r, const char *format, ...)
{
    char text[TR_ERROR_TEXT_MAX], shown[WORDS_SHOWN + 1];
    size_t length = r->length < WORDS_SHOWN ? r->length : WORDS_SHOWN;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (size_t i = 0; i < length; i++)
        shown[i] = r->word[i] > ' ' && r->word[i] <= '~' ? r->word[i] : '?';
    shown[length] = 0;
    return tr__fail(r->error, TR_EINVAL, "line %u, column %u: %s%s%s%s", r->line,
                    (unsigned)(r->word - r->line_begin) + 1, length ? "\"" : "",
                    length ? shown : "the line ends", length ? "\": " : ": ", text);
}

static bool ends_word(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == 0 || c == '#';
}

static void next(reader *r)
{
    const char *at = r->word + r->length;
    while (*at == ' ' || *at == '\t' || *at == '\r')
        at++;
    r->word = at;
    while (!ends_word(*at))
        at++;
    r->length = (size_t)(at - r->word);
}

static bool is(const reader *r, const char *word)
{
    return strlen(word) == r->length && memcmp(word, r->word, r->length) == 0;
}

/* The digits at *at, within *end; false: none, or more than `most`. */
static bool digits(const char **at, const char *end, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;
    const char *first = *at;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        value = value * 10 + (uint64_t)(**at - '0');
        if (value > most)
            return false;
    }
    *out = value;
    return *at > first;
}

static tr_err read_number(reader *r, uint64_t most, uint64_t *out)
{
    const char *at = r->word;
    if (!digits(&at, r->word + r->length, most, out) || at != r->word + r->length)
        return wrong(r, "here stands a number, at most %llu", (unsigned long long)most);
    next(r);
    return TR_OK;
}

static tr_err read_time(reader *r, uint64_t *out)
{
    static const struct {
        const char *word;
        uint64_t ns;
    } units[] = {{"us", 1000}, {"ms", 1000000}, {"s", 1000000000}, {"min", 60000000000}};
    const char *at = r->word, *end = r->word + r->length;
    uint64_t value;
    if (digits(&at, end, SIM_SCRIPT_TIME_MAX, &value))
        for (size_t i = 0; i < TR_COUNT(units); i++)
            if (strlen(units[i].word) == (size_t)(end - at) &&
                memcmp(units[i].word, at, (size_t)(end - at)) == 0 &&
                value <= SIM_SCRIPT_TIME_MAX / units[i].ns) {
                *out = value * units[i].ns;
                next(r);
                return TR_OK;
            }
    return wrong(r, "here stands a time: a whole number and us, ms, s or min, at most 60min");
}

static tr_err read_ppm(reader *r, int64_t *out)
{
    const char *at = r->word, *end = r->word + r->length;
    bool minus = at < end && *at == '-';
    uint64_t value;
    at += minus;
    if (!digits(&at, end, 100000, &value) || at != end)
        return wrong(r, "here stands by how many millionths a clock is fast (or slow: -300), at most 100000");
    *out = minus ? -(int64_t)value : (int64_t)value;
    next(r);
    return TR_OK;
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

static tr_err read_nodes(reader *r, uint32_t *out)
{
    uint32_t nodes = 0;
    while (r->length > 1 && r->word[0] == 'n' && r->word[1] >= '0' && r->word[1] <= '9') {
        const char *at = r->word + 1;
        uint64_t index;
        if (!digits(&at, r->word + r->length, r->nodes - 1, &index) || at != r->word + r->length)
            return wrong(r, "the nodes are n0 to n%u", r->nodes - 1);
        if (nodes >> index & 1)
            return wrong(r, "this node is named twice");
        nodes |= 1u << index;
        next(r);
    }
    *out = nodes;
    return nodes ? TR_OK : wrong(r, "here stands a node: n0 to n%u", r->nodes - 1);
}

static tr_err read_sides(reader *r, sim_step *step, bool arrow_only)
{
    TR_TRY(read_nodes(r, &step->a));
    step->both = is(r, "|");
    if (!is(r, "->") && (arrow_only || !step->both))
        return wrong(r, arrow_only ? "here stands ->" : "here stands -> (one direction) or | (both)");
    next(r);
    TR_TRY(read_nodes(r, &step->b));
    if (step->a & step->b)
        return wrong(r, "a node stands on both sides");
    return TR_OK;
}

static tr_err read_two(reader *r, sim_step *step)
{
    TR_TRY(read_nodes(r, &step->a));
    if (__builtin_popcount(step->a) != 2)
        return wrong(r, "here stand two nodes, as in \"reset n0 n1\"");
    return TR_OK;
}

/* Who is killed runs, who is started doesn't: what else would that line mean? */
static tr_err check_lives(reader *r, const sim_step *step)
{
    bool kills = step->verb == SIM_KILL || step->verb == SIM_POWER || step->verb == SIM_STOP;
    if ((kills || step->verb == SIM_PAUSE) && (step->a & r->down))
        return wrong(r, "n%d was killed above, and not started again", __builtin_ctz(step->a & r->down));
    if (step->verb == SIM_START && (step->a & ~r->down))
        return wrong(r, "n%d runs: it was not killed above", __builtin_ctz(step->a & ~r->down));
    if (kills)
        r->down |= step->a;
    if (step->verb == SIM_START)
        r->down &= ~step->a;
    return TR_OK;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static tr_err read_verb(reader *r, sim_verb *out)
{
    for (int i = 0; i < SIM_VERB_COUNT; i++)
        if (is(r, verbs[i].word)) {
            *out = (sim_verb)i;
            next(r);
            return TR_OK;
        }
    return wrong(r, "here stands what happens: "
#define WORD(name, word, takes, real, form) word " "
                 SIM_COMMANDS(WORD)
#undef WORD
    );
}

static tr_err read_arguments(reader *r, sim_step *step)
{
    unsigned takes = verbs[step->verb].takes;
    if ((takes & SIM_MAY_END) && r->length == 0)
        return TR_OK;
    if (takes & SIM_TAKES_NODES)
        TR_TRY(read_nodes(r, &step->a));
    if (takes & (SIM_TAKES_SIDES | SIM_TAKES_ARROW))
        TR_TRY(read_sides(r, step, takes & SIM_TAKES_ARROW));
    if (takes & SIM_TAKES_TWO)
        TR_TRY(read_two(r, step));
    if (takes & SIM_TAKES_TIME)
        TR_TRY(read_time(r, &step->time_ns));
    if (takes & SIM_TAKES_LAST_TIME)
        TR_TRY(read_time(r, &step->last_ns));
    if (takes & SIM_TAKES_PPM)
        TR_TRY(read_ppm(r, &step->ppm));
    return check_lives(r, step);
}

static tr_err read_step(reader *r)
{
    sim_script *script = r->script;
    sim_step *step = &script->steps[script->count];
    uint64_t before = script->count ? step[-1].at_ns : 0;
    if (script->count == SIM_SCRIPT_STEPS_MAX)
        return wrong(r, "a script has at most %d steps", SIM_SCRIPT_STEPS_MAX);
    *step = (sim_step){.line = r->line};
    reader at = *r;
    TR_TRY(read_time(r, &step->at_ns));
    if (step->at_ns < before)
        return wrong(&at, "the line above is later: steps stand in order of time");
    if (script->run_ns && step->at_ns >= script->run_ns)
        return wrong(&at, "the run is over by then");
    TR_TRY(read_verb(r, &step->verb));
    TR_TRY(read_arguments(r, step));
    if (r->length)
        return wrong(r, "nothing more stands here: %s", verbs[step->verb].form);
    script->count++;
    return TR_OK;
}

static tr_err read_scenario(reader *r)
{
    if (r->length == 0 || r->length >= sizeof(r->script->scenario))
        return wrong(r, "here stands a scenario's name, at most %d bytes", TR_NAME_MAX - 1);
    for (size_t i = 0; i < r->length; i++) {
        char c = r->word[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'))
            return wrong(r, "a scenario's name is of letters, digits and -");
    }
    memcpy(r->script->scenario, r->word, r->length);
    next(r);
    return TR_OK;
}

static tr_err read_node_count(reader *r)
{
    uint64_t count = 0;
    reader at = *r;
    TR_TRY(read_number(r, SIM_SCRIPT_NODES_MAX, &count));
    if (count == 0)
        return wrong(&at, "at least one node");
    if (r->nodes && count != r->nodes)
        return wrong(&at, "there are %u nodes", r->nodes);
    r->script->nodes = r->nodes = (uint32_t)count;
    return TR_OK;
}

static tr_err read_line(reader *r)
{
    sim_script *script = r->script;
    bool scenario = is(r, "scenario"), nodes = is(r, "nodes"), run = is(r, "run");
    if (!scenario && !nodes && !run && !is(r, "at"))
        return wrong(r, "a line begins with scenario, nodes, run or at, or with # if it is for people");
    if ((scenario || nodes || run) && script->count)
        return wrong(r, "this stands above the first step");
    if ((scenario && script->scenario[0]) || (nodes && script->nodes) || (run && script->run_ns))
        return wrong(r, "this was said above");
    next(r);
    if (!scenario && !nodes && !run) {
        r->nodes = r->nodes ? r->nodes : SIM_SCRIPT_NODES_MAX;
        return read_step(r);
    }
    reader at = *r;
    TR_TRY(scenario ? read_scenario(r) : nodes ? read_node_count(r) : read_time(r, &script->run_ns));
    if (run && script->run_ns == 0)
        return wrong(&at, "a run takes some time");
    return r->length ? wrong(r, "nothing more stands here") : TR_OK;
}

tr_err sim_script_parse(const char *text, uint32_t nodes, sim_script *script, tr_error *error)
{
    memset(script, 0, sizeof(*script));
    size_t size = strnlen(text, SIM_SCRIPT_BYTES_MAX + 1);
    if (size > SIM_SCRIPT_BYTES_MAX)
        return tr__fail(error, TR_EINVAL, "a script has at most %u bytes", SIM_SCRIPT_BYTES_MAX);
    reader r = {.nodes = nodes, .script = script, .error = error};
    for (const char *line = text; *line;) {
        r.line_begin = r.word = line;
        r.length = 0;
        r.line++;
        next(&r);
        if (r.length)
            TR_TRY(read_line(&r));
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return TR_OK;
}
