/* `troupe bench`: reads the command line, runs benchmarks, prints medians. The main thread, and in
 * bench_wait() and the like the actors' loops. A bad command line is told before anything runs; a run that
 * lost a message is an error and ends the command. */
#include "cli/bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <troupe/node.h>

#include "cli/cli.h"

static const bench *const benches[] = {
    &bench_pingpong,    &bench_ring,         &bench_fan_in,       &bench_counting,    &bench_spawn,
    &bench_memory,      &bench_fork_join,    &bench_fib,          &bench_ask,         &bench_timers,
    &bench_lateness,    &bench_remote_rtt,   &bench_remote_flood, &bench_remote_asks, &bench_remote_load,
    &bench_remote_bulk, &bench_remote_mixed, &bench_tx_force,     &bench_tx_two,      &bench_tx_one,
    &bench_tx_read,     &bench_tx_hot,       &bench_tx_clients,
};

#define BENCHES (sizeof(benches) / sizeof(benches[0]))

static const char *const param_names[BENCH_PARAMS] = {
    [BENCH_ACTORS] = "actors",     [BENCH_SENDERS] = "senders",
    [BENCH_MESSAGES] = "messages", [BENCH_N] = "n",
    [BENCH_SIZE] = "size",         [BENCH_OUTSTANDING] = "outstanding",
    [BENCH_CALLERS] = "callers",   [BENCH_WORK] = "work",
    [BENCH_LOAD] = "load",         [BENCH_CLIENTS] = "clients",
};

#define RUNS_MAX  1000
#define LOOPS_MAX 64

typedef struct bench_opts {
    const bench *one; /* NULL: all */
    uint32_t loops, runs;
    bool json, list, help;
    const char *key;
    bool is_given[BENCH_PARAMS];
    uint64_t given[BENCH_PARAMS];
} bench_opts;

/* ---- what the benchmarks share ------------------------------------------------------------------------- */

const tr_spawn_opts bench_spread = {.place = TR_PLACE_SPREAD};

uint64_t bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

tr_err bench_wait(tr_actor *self, uint64_t parts, uint64_t total)
{
    uint64_t count = 0, wrong = 0;
    while (parts) {
        const tr_msg *msg = tr_receive(self, TR_MINUTES(5));
        const bench_done *done = msg ? tr_match(msg, bench_done) : NULL;
        if (!msg)
            return tr_fail(self, TR_EDEADLINE,
                           "no end within 5 minutes: a message was lost, or the parameters ask for too much");
        if (!done)
            continue;
        count += done->count;
        wrong += done->wrong;
        parts--;
    }
    if (count == total && wrong == 0)
        return TR_OK;
    return tr_fail(self, TR_EMISMATCH,
                   "%llu of %llu were handled, %llu of them not in their turn: this run is no result",
                   (unsigned long long)count, (unsigned long long)total, (unsigned long long)wrong);
}

void bench_give_up(tr_actor *self)
{
    const tr_error *error = tr_last_error(self);
    fprintf(stderr, "\ntroupe bench: %s: %s\n", tr_err_word(error->code), error->text);
    _exit(1);
}

void bench_refused(tr_actor *self, tr_addr to, tr_err err)
{
    if (err != TR_EFULL || tr_notify_writable(self, to) != TR_OK)
        bench_give_up(self);
}

/* ---- running ------------------------------------------------------------------------------------------- */

/* On a terminal one line that is written over; elsewhere nothing. */
static void progress(const char *name, uint32_t run, uint32_t runs)
{
    if (!isatty(STDERR_FILENO))
        return;
    if (!name)
        fprintf(stderr, "\r%60s\r", "");
    else if (run == 0)
        fprintf(stderr, "\r%-12s warm-up ", name);
    else
        fprintf(stderr, "\r%-12s run %u of %u ", name, run, runs);
}

static tr_err run_node(const bench *b, bench_run *run, tr_error *error)
{
    const char *join[] = {run->peer, NULL};
    tr_node_opts opts = {.name = "bench",
                         .loops = run->loops,
                         .join = join,
                         .key = run->key,
                         .data = run->folder,
                         .log_level = TR_LOG_ERROR,
                         .start = b->start,
                         .arg = run};
    tr_node *node = tr_node_create(&opts, error);
    tr_err err = node ? tr_node_run(node, error) : error->code;
    tr_node_destroy(node);
    return err;
}

static int run_once(const bench *b, bench_run *run)
{
    tr_error error = {0};
    bench_peer peer = {0};
    bench_folder folder = {0};
    tr_err err = b->data ? bench_folder_open(&folder, &error) : TR_OK;
    run->folder = b->data ? folder.path : NULL;
    if (err == TR_OK && b->remote)
        err = bench_peer_open(&peer, run, &error);
    run->peer = b->remote ? peer.address : NULL;
    if (err == TR_OK)
        err = run_node(b, run, &error);
    bench_peer_close(&peer);
    bench_folder_close(&folder);
#ifdef __GLIBC__
    malloc_trim(0); /* the next run starts as this one did */
#endif
    if (err == TR_OK)
        return 0;
    progress(NULL, 0, 0);
    fprintf(stderr, "troupe bench %s: %s: %s\n", b->name, tr_err_word(err), error.text);
    return 1;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_params(const bench *b, const bench_run *run)
{
    for (unsigned i = 0; i < BENCH_TAKES_MAX && b->takes[i].most; i++)
        printf("%s\"%s\":%llu", i ? "," : "", param_names[b->takes[i].param],
               (unsigned long long)run->given[b->takes[i].param]);
}

/* `values` are one metric's, sorted. */
static void print_metric(const bench *b, unsigned metric, const bench_run *run, const bench_opts *opts,
                         const double *values)
{
    const bench_metric *m = &b->metrics[metric];
    uint32_t runs = opts->runs;
    double median = runs % 2 ? values[runs / 2] : (values[runs / 2 - 1] + values[runs / 2]) / 2;
    if (opts->json) {
        printf("{\"bench\":\"%s\",\"metric\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"loops\":%u,\"params\":{",
               b->name, m->name, median, m->unit, run->loops);
        print_params(b, run);
        printf("},\"min\":%.6g,\"max\":%.6g,\"runs\":%u}\n", values[0], values[runs - 1], runs);
    } else {
        printf("%-12s %-12s %12.4g %-14s %12.4g %12.4g\n", b->name, m->name, median, m->unit, values[0],
               values[runs - 1]);
    }
    fflush(stdout);
}

static int measure(const bench *b, const bench_opts *opts)
{
    static double values[BENCH_METRICS_MAX][RUNS_MAX];
    bench_run run = {.loops = opts->loops, .key = opts->key};
    for (unsigned i = 0; i < BENCH_TAKES_MAX && b->takes[i].most; i++) {
        bench_param param = b->takes[i].param;
        run.given[param] = opts->is_given[param] ? opts->given[param] : b->takes[i].standard;
    }
    for (uint32_t i = 0; i <= opts->runs; i++) { /* the first is the warm-up */
        progress(b->name, i, opts->runs);
        int status = run_once(b, &run);
        if (status != 0)
            return status;
        for (unsigned metric = 0; i && metric < BENCH_METRICS_MAX; metric++)
            values[metric][i - 1] = run.values[metric];
    }
    progress(NULL, 0, 0);
    for (unsigned metric = 0; metric < BENCH_METRICS_MAX && b->metrics[metric].name; metric++) {
        qsort(values[metric], opts->runs, sizeof(double), by_value);
        print_metric(b, metric, &run, opts, values[metric]);
    }
    return 0;
}

/* ---- the command line ---------------------------------------------------------------------------------- */

static void print_list(FILE *to)
{
    for (size_t i = 0; i < BENCHES; i++) {
        const bench *b = benches[i];
        fprintf(to, "  %-12s %s\n  %12s", b->name, b->what, "");
        for (unsigned t = 0; t < BENCH_TAKES_MAX && b->takes[t].most; t++)
            fprintf(to, " --%s %llu", param_names[b->takes[t].param],
                    (unsigned long long)b->takes[t].standard);
        fprintf(to, "  →");
        for (unsigned m = 0; m < BENCH_METRICS_MAX && b->metrics[m].name; m++)
            fprintf(to, "%s %s (%s)", m ? "," : "", b->metrics[m].name, b->metrics[m].unit);
        fprintf(to, "\n");
    }
}

static void print_help(void)
{
    printf("usage: troupe bench [NAME] [--loops N] [--runs N] [--parameter value]... [--key FILE] [--json]\n"
           "       troupe bench --list\n\n"
           "Without a name: all of them, one after the other. Medians of --runs runs (5) after a warm-up, "
           "each on a\n"
           "node of its own with --loops loops (1). What a receiver got is counted and checked. With --json "
           "one\n"
           "object a line. --key: of a benchmark between two processes, both nodes have that key (`troupe "
           "key new`).\nWhat keeps logs does so in a folder in $TMPDIR (/var/tmp), which must be on the disk "
           "that is meant.\n\nName, parameters with their defaults, and what is measured:\n");
    print_list(stdout);
}

static int bad(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int bad(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "troupe bench: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    return 2;
}

/* Digits only, so that "-1", "1e6" and "" are refused. Too large a number is too large for any bound. */
static bool number(const char *text, uint64_t *value)
{
    if (!*text || strspn(text, "0123456789") != strlen(text))
        return false;
    errno = 0;
    *value = strtoull(text, NULL, 10);
    return errno == 0;
}

static int take_number(const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    if (number(text, value) && *value >= least && *value <= most)
        return 0;
    return bad("--%s %s: give a whole number from %llu to %llu", option, text, (unsigned long long)least,
               (unsigned long long)most);
}

static int find_param(const char *option)
{
    for (int i = 0; i < BENCH_PARAMS; i++)
        if (strcmp(option, param_names[i]) == 0)
            return i;
    return -1;
}

/* An option with a value; bounds of a benchmark's own parameters are checked when it is known. */
static int take_valued(const char *option, const char *text, bench_opts *opts)
{
    uint64_t value = 0;
    int status = 0, param = find_param(option);
    if (strcmp(option, "key") == 0) {
        opts->key = text;
    } else if (strcmp(option, "loops") == 0) {
        status = take_number(option, text, 1, LOOPS_MAX, &value);
        opts->loops = (uint32_t)value;
    } else if (strcmp(option, "runs") == 0) {
        status = take_number(option, text, 1, RUNS_MAX, &value);
        opts->runs = (uint32_t)value;
    } else {
        status = take_number(option, text, 0, UINT64_MAX, &opts->given[param]);
        opts->is_given[param] = true;
    }
    return status;
}

static int take_name(const char *name, bench_opts *opts)
{
    if (opts->one)
        return bad("\"%s\" after \"%s\": give one name, or none for all", name, opts->one->name);
    for (size_t i = 0; i < BENCHES; i++)
        if (strcmp(name, benches[i]->name) == 0)
            opts->one = benches[i];
    return opts->one ? 0 : bad("no benchmark \"%s\": `troupe bench --list` names them", name);
}

static int parse(int argc, char **argv, bench_opts *opts)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *option = word + 2;
        char name[32];
        int status = 0;
        if (strcmp(word, "-h") == 0) {
            opts->help = true;
        } else if (strncmp(word, "--", 2) != 0) {
            status = word[0] == '-' ? bad("no option \"%s\": `troupe bench --help` lists them", word)
                                    : take_name(word, opts);
        } else if (strcmp(option, "json") == 0) {
            opts->json = true;
        } else if (strcmp(option, "list") == 0) {
            opts->list = true;
        } else if (strcmp(option, "help") == 0) {
            opts->help = true;
        } else { /* --option value, or --option=value */
            const char *equals = strchr(option, '=');
            snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - option) : 31, option);
            if (strcmp(name, "loops") != 0 && strcmp(name, "runs") != 0 && strcmp(name, "key") != 0 &&
                find_param(name) < 0)
                return bad("no option \"%s\": `troupe bench --help` lists them", word);
            if (!equals && i + 1 == argc)
                return bad("%s: its value is missing", word);
            status = take_valued(name, equals ? equals + 1 : argv[++i], opts);
        }
        if (status != 0)
            return status;
    }
    return 0;
}

static const bench_takes *takes(const bench *b, int param)
{
    for (unsigned i = 0; i < BENCH_TAKES_MAX && b->takes[i].most; i++)
        if ((int)b->takes[i].param == param)
            return &b->takes[i];
    return NULL;
}

/* Each given parameter must be one of the benchmark's, within its bounds. */
static int check_params(const bench *b, const bench_opts *opts)
{
    if (opts->key && !(b && b->remote))
        return bad(
            "--key is for a benchmark between two processes: those whose names begin with remote-, tx-two, "
            "tx-read, tx-hot, tx-clients");
    for (int i = 0; i < BENCH_PARAMS; i++) {
        if (!opts->is_given[i])
            continue;
        const bench_takes *takes_it = b ? takes(b, i) : NULL;
        if (!b)
            return bad("--%s without a benchmark's name: `troupe bench NAME --%s %llu`", param_names[i],
                       param_names[i], (unsigned long long)opts->given[i]);
        if (!takes_it)
            return bad("%s has no parameter --%s: `troupe bench --list` names each one's", b->name,
                       param_names[i]);
        if (opts->given[i] < takes_it->least || opts->given[i] > takes_it->most)
            return bad("%s --%s %llu: give a whole number from %llu to %llu", b->name, param_names[i],
                       (unsigned long long)opts->given[i], (unsigned long long)takes_it->least,
                       (unsigned long long)takes_it->most);
    }
    return 0;
}

int cli_bench(int argc, char **argv)
{
    bench_opts opts = {.loops = 1, .runs = 5};
    int status = parse(argc, argv, &opts);
    if (status == 0 && opts.help) {
        print_help();
        return 0;
    }
    if (status == 0 && opts.list) {
        print_list(stdout);
        return 0;
    }
    if (status == 0)
        status = check_params(opts.one, &opts);
    if (status != 0)
        return status;
    if (!opts.json)
        printf("%-12s %-12s %12s %-14s %12s %12s\n", "benchmark", "metric", "median", "unit", "min", "max");
    for (size_t i = 0; i < BENCHES && status == 0; i++)
        if (!opts.one || opts.one == benches[i])
            status = measure(benches[i], &opts);
    return status;
}
