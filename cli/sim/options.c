/* See options.h. */
#include "cli/sim/options.h"

#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/plant.h"
#include "cli/options.h"
#include "cli/sim/script.h"

static const char usage[] =
    "usage: troupe sim [options] [PLUGIN.so]\n"
    "  Runs a cluster of nodes in one thread, under virtual time: all that happens, and all that goes wrong\n"
    "  (crashes, partitions, slow disks, ...), is drawn from a seed. The same seed is the same run. With a\n"
    "  plugin each node runs that, and what it exports by TR_SCENARIO is what happens and must hold; "
    "without\n"
    "  one Troupe's own scenarios run, each seed in one of them.\n"
    "\n"
    "what runs\n"
    "  --scenario NAME   one of Troupe's own (--list tells them)\n"
    "  --seeds A..B      these seeds, default 1..100; N alone is 1..N\n"
    "  --seed N          this one, closely: with what it wrote to stderr\n"
    "  --faults LIST     classes of faults, by words as `reset,crash`; all (the default), none, or all but\n"
    "                    some, as `-clog,-disk` (--list tells them)\n"
    "  --script FILE     have happen what a fault script says (docs/scenarios.md), with --scenario or a "
    "plugin;\n"
    "                    then no classes of faults but those of --faults\n"
    "  --time S          virtual seconds under faults, default: as the scenario says, or 30\n"
    "  --jobs N          so many seeds at a time, default: the processors of this machine\n"
    "  --limit S         a seed that takes longer on the wall clock has failed, default 60\n"
    "  --twice           run each seed twice, the second time in a process of its own: a program whose runs\n"
    "                    differ isn't deterministic, and is shown where they part\n"
    "\n"
    "what is told\n"
    "  --json            a line a seed, and one at the end\n"
    "  --timeline        of --seed: a line for each thing that happens\n"
    "  --logs, --turns   with it, the lines of the nodes' logs; turns of loops and the runtime's own "
    "messages\n"
    "  --keep-going      go on after the first seed that failed\n"
    "  --no-shrink       leave the first failing seed as it is; else classes of faults are switched off and "
    "its\n"
    "                    time is cut while it fails in the same way\n"
    "  --sometimes       what tr_sometimes says must have held in one seed at least; by itself so from 100\n"
    "                    seeds of a scenario on\n"
    "  --list            tell the scenarios and the classes of faults\n"
    "\n"
#ifdef TR_PLANTS
    "this build has planted bugs\n"
    "  --plant NAME      with that one\n"
    "  --plants          which seeds find each of them, --seeds (1..500) from 5 starts a million apart; "
    "those\n"
    "                    that fail without it as well don't count\n"
    "  --starts N        from so many starts\n"
    "\n"
#endif
    "Exit status: 0 all held, 1 something didn't, 2 bad options. A seed that crashes or hangs is one that\n"
    "failed. The command that replays the first of them is printed.\n";

#define WORD(name, word, text) word,
const char *const sim_fault_words[TR_SIM_FAULT_COUNT] = {TR_SIM_FAULTS(WORD)};
#undef WORD

/* ---- classes of faults --------------------------------------------------------------------------------- */

static bool class_of(const char *word, size_t length, uint32_t *bits)
{
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT; i++)
        if (strlen(sim_fault_words[i]) == length && memcmp(sim_fault_words[i], word, length) == 0) {
            *bits = 1u << i;
            return true;
        }
    *bits = length == 3 && memcmp(word, "all", 3) == 0 ? TR_SIM_ALL_FAULTS : 0;
    return *bits || (length == 4 && memcmp(word, "none", 4) == 0);
}

bool sim_faults_parse(const char *text, uint32_t *faults)
{
    uint32_t chosen = text[0] == '-' ? TR_SIM_ALL_FAULTS : 0, bits;
    for (const char *word = text;; word++) {
        bool off = *word == '-';
        word += off;
        size_t length = strcspn(word, ",");
        if (!class_of(word, length, &bits))
            return false;
        chosen = off ? chosen & ~bits : chosen | bits;
        word += length;
        if (!*word)
            break;
    }
    *faults = chosen;
    return true;
}

void sim_faults_format(uint32_t faults, char out[256])
{
    uint32_t on = (uint32_t)__builtin_popcount(faults);
    bool but = on > TR_SIM_FAULT_COUNT / 2;
    size_t length = 0;
    snprintf(out, 256, "%s", on == TR_SIM_FAULT_COUNT ? "all" : "none");
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT && on && on < TR_SIM_FAULT_COUNT; i++)
        if ((faults >> i & 1) != but)
            length += (size_t)snprintf(out + length, 256 - length, "%s%s%s", length ? "," : "",
                                       but ? "-" : "", sim_fault_words[i]);
}

/* ---- options ------------------------------------------------------------------------------------------- */

static bool bad(const char *format, const char *text)
{
    fprintf(stderr, "troupe sim: ");
    fprintf(stderr, format, text);
    fprintf(stderr, "; `troupe sim --help` lists the options\n");
    return false;
}

static bool digits(const char *text, const char **end, uint64_t *out)
{
    char *stopped;
    if (text[0] < '0' || text[0] > '9')
        return false;
    *out = strtoull(text, &stopped, 10);
    *end = stopped;
    return *out < UINT64_MAX / 2;
}

static bool read_seeds(const char *text, sim_options *o)
{
    const char *end;
    o->first = 1;
    o->seeded = true;
    if (!digits(text, &end, &o->last))
        return bad("--seeds \"%s\": two numbers as 1..1000 are needed", text);
    if (strncmp(end, "..", 2) == 0) {
        o->first = o->last;
        if (!digits(end + 2, &end, &o->last))
            return bad("--seeds \"%s\": two numbers as 1..1000 are needed", text);
    }
    return (!*end && o->first <= o->last) || bad("--seeds \"%s\": two numbers as 1..1000 are needed", text);
}

static bool read_seed(const char *text, sim_options *o)
{
    const char *end;
    if (!digits(text, &end, &o->first) || *end)
        return bad("--seed \"%s\": a number is needed", text);
    o->last = o->first;
    return o->one = true;
}

#ifdef TR_PLANTS
static bool read_plant(const char *text, sim_options *o)
{
    o->plant = text;
    return tr__plant_choose(text) ||
           bad("--plant \"%s\": there is no planted bug of that name; --list tells them", text);
}
#endif

static bool number(const char *option, const char *text, double least, double most, bool whole, double *out)
{
    return cli_number("sim", option, text, least, most, whole, out);
}

static bool apply(int option, const char *text, sim_options *o)
{
    double value;
    switch (option) {
    case 'S':
        return read_seeds(text, o);
    case 's':
        return read_seed(text, o);
    case 'n':
        o->scenario = text;
        return true;
    case 'f':
        o->faults_said = true;
        return sim_faults_parse(text, &o->faults) || bad("--faults \"%s\": --list tells the words", text);
    case 'c':
        return sim_script_read(text, o);
    case 't':
        if (!number("--time", text, 0.001, 1e6, false, &value))
            return false;
        o->run_ns = (uint64_t)llround(value * 1e9);
        return true;
    case 'j':
        if (!number("--jobs", text, 1, 256, true, &value))
            return false;
        o->jobs = (uint32_t)value;
        return true;
    case 'l':
        return number("--limit", text, 0.1, 1e6, false, &o->limit_s);
#ifdef TR_PLANTS
    case 'p':
        return read_plant(text, o);
    case 'N':
        if (!number("--starts", text, 1, 99, true, &value))
            return false;
        o->starts = (uint32_t)value;
        return true;
#endif
    default:
        if (!number("--record-to", text, 0, 1e6, true, &value))
            return false;
        o->record_fd = (int)value;
        return true;
    }
}

static bool fit_together(const sim_options *o, int words)
{
    if (words > 1)
        return bad("more than one plugin%s", "");
    if (o->plugin && o->scenario)
        return bad("--scenario \"%s\" is one of Troupe's own, and a plugin brings its own", o->scenario);
    if (o->one && o->seeded)
        return bad("--seed and --seeds%s: one of them", "");
    if (o->script && !o->plugin && !o->scenario)
        return bad("--script \"%s\" is for one scenario: say which by --scenario", o->script_file);
    if (o->timeline && !o->one)
        return bad("--timeline is of one seed: say which by --seed%s", "");
    if ((o->logs || o->turns) && !o->timeline)
        return bad("--logs and --turns go into the --timeline%s", "");
    return true;
}

int sim_options_read(int argc, char **argv, sim_options *o)
{
    int help = 0, json = 0, timeline = 0, logs = 0, turns = 0, plants = 0, twice = 0, keep_going = 0,
        no_shrink = 0, sometimes = 0, list = 0;
    const struct option known[] = {{"seeds", required_argument, NULL, 'S'},
                                   {"seed", required_argument, NULL, 's'},
                                   {"scenario", required_argument, NULL, 'n'},
                                   {"faults", required_argument, NULL, 'f'},
                                   {"script", required_argument, NULL, 'c'},
                                   {"time", required_argument, NULL, 't'},
                                   {"jobs", required_argument, NULL, 'j'},
                                   {"limit", required_argument, NULL, 'l'},
                                   {"record-to", required_argument, NULL, 'r'},
                                   {"help", no_argument, &help, 1},
                                   {"json", no_argument, &json, 1},
                                   {"timeline", no_argument, &timeline, 1},
                                   {"logs", no_argument, &logs, 1},
                                   {"twice", no_argument, &twice, 1},
                                   {"keep-going", no_argument, &keep_going, 1},
                                   {"no-shrink", no_argument, &no_shrink, 1},
                                   {"sometimes", no_argument, &sometimes, 1},
                                   {"list", no_argument, &list, 1},
                                   {"turns", no_argument, &turns, 1},
#ifdef TR_PLANTS
                                   {"plant", required_argument, NULL, 'p'},
                                   {"plants", no_argument, &plants, 1},
                                   {"starts", required_argument, NULL, 'N'},
#endif
                                   {NULL, 0, NULL, 0}};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    *o = (sim_options){.program = argv[0],
                       .first = 1,
                       .last = 100,
                       .jobs = processors > 0 ? (uint32_t)processors : 1,
                       .faults = TR_SIM_ALL_FAULTS,
                       .limit_s = 60,
                       .starts = 5,
                       .record_fd = -1};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":h", known, NULL)) != -1;) {
        if (option == '?' || option == ':')
            return cli_bad_option("sim", option, argv);
        if (option == 'h')
            help = 1;
        else if (option != 0 && !apply(option, optarg, o))
            return 2;
    }
    o->json = json, o->timeline = timeline, o->logs = logs, o->turns = turns, o->twice = twice,
    o->keep_going = keep_going;
    o->shrink = !no_shrink, o->sometimes = sometimes, o->list = list, o->plants = plants;
    if (o->script && !o->faults_said)
        o->faults = 0;
    if (o->plants && !o->seeded)
        o->last = 500;
    o->plugin = argv[optind];
    if (help) {
        fputs(usage, stdout);
        return 0;
    }
    return fit_together(o, argc - optind) ? -1 : 2;
}
