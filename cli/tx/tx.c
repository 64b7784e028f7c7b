/* `troupe tx list|show|check|resolve|accept|backup|restore`. The first two: what happened lately to transactions, as the managers of this user's nodes on
 * this machine tell it (the actor "tx" of each, by its operator socket), put together by transaction. A node that doesn't
 * answer is told on stderr, and makes the exit status 1. The others are in check.c, operate.c, backup.c and restore.c. The main thread. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/colour.h"
#include "cli/options.h"
#include "cli/tx/backup.h"
#include "cli/tx/check.h"
#include "cli/tx/merge.h"
#include "cli/tx/operate.h"
#include "cli/tx/svg.h"

static const char usage[] =
    "usage: troupe tx list [--json]     the last transactions of the nodes that run here, and what is in "
    "doubt\n"
    "       troupe tx show ID [--json] [--svg FILE]\n"
    "                                   one of them, event by event on all nodes; the last letters of an ID "
    "are\n"
    "                                   enough if no other ends so. --svg: also drawn, a lane a node\n"
    "       troupe tx check HISTORY... [--json] [--edn FILE]\n"
    "                                   judges a history, written by a program as JSON lines: 0 nothing is "
    "wrong,\n"
    "                                   1 findings, 2 malformed. --edn: also write it as Jepsen does\n"
    "       troupe tx resolve ...       what became of one, or decide it by hand (--help)\n"
    "       troupe tx accept ...        go on with an older copy of a log (--help)\n"
    "       troupe tx backup ...        copy what a node's transactions keep, while it runs (--help)\n"
    "       troupe tx restore ...       make a node's data directory of a backup (--help)\n"
    "  Nodes remember their last 64. --json: one line. docs/transactions.md, histories.md.\n";

typedef struct style {
    bool json, colour;
    const char *svg, *edn; /* paths; NULL: none */
} style;

/* ---- words --------------------------------------------------------------------------------------------- */

static const char *colour_of(const style *s, const char *state)
{
    if (!s->colour)
        return "";
    if (strcmp(state, "committed") == 0)
        return "\033[32m";
    return strcmp(state, "aborted") == 0 ? "\033[31m" : "\033[33m";
}

static const char *plain(const style *s)
{
    return s->colour ? "\033[0m" : "";
}

static void print_ago(int64_t ns)
{
    double s = (double)(ns > 0 ? ns : 0) / 1e9;
    if (s < 120)
        printf("%8.1f s", s);
    else
        printf("%6.0f min", s / 60);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void print_json(const json_t *object)
{
    char *line = json_dumps(object, JSON_COMPACT);
    if (line)
        printf("%s\n", line);
    free(line);
}

/* ---- list ---------------------------------------------------------------------------------------------- */

static void print_lost(const style *s, const json_t *all)
{
    const json_t *lost;
    size_t i;
    json_array_foreach(json_object_get(all, "log_lost"), i, lost)
        printf("%slog lost%s  %s\n", s->colour ? "\033[31m" : "", plain(s), tx_text(lost, "text"));
}

static void print_doubts(const style *s, const json_t *all)
{
    const json_t *doubt;
    size_t i;
    json_array_foreach(json_object_get(all, "in_doubt"), i, doubt)
    {
        printf("%sin doubt%s  %s  %s/%s holds its lock and asks node %s, for", colour_of(s, ""), plain(s),
               tx_text(doubt, "id"), tx_text(doubt, "node"), tx_text(doubt, "actor"),
               tx_text(doubt, "decider"));
        print_ago(now_ns() - tx_number(doubt, "since_ns"));
        printf("\n");
    }
}

static void print_outbox(const style *s, const json_t *all)
{
    const json_t *emit;
    size_t i;
    json_array_foreach(json_object_get(all, "outbox"), i, emit)
    {
        const char *why = tx_text(emit, "why");
        printf("%semitted%s   %s  by %s/%s, not delivered to %s/%s for", colour_of(s, ""), plain(s),
               tx_text(emit, "id"), tx_text(emit, "node"), tx_text(emit, "actor"), tx_text(emit, "to_node"),
               tx_text(emit, "to"));
        print_ago(now_ns() - tx_number(emit, "since_ns"));
        printf("%s%s\n", why[0] ? ": " : "", why);
    }
}

static void print_emits(const style *s, const json_t *one)
{
    json_int_t emits = tx_number(one, "emits"), refused = tx_number(one, "emits_refused");
    if (!emits && !refused)
        return;
    printf("%snode %s%s  %" JSON_INTEGER_FORMAT " emitted and not delivered", colour_of(s, ""),
           tx_text(one, "node"), plain(s), emits);
    if (emits) {
        printf(", the oldest for");
        print_ago(now_ns() - tx_number(one, "oldest_emit_ns"));
    }
    printf(", %" JSON_INTEGER_FORMAT " refused by their receivers since its start\n", refused);
}

/* Nothing, where nobody waits or had to. */
static void print_figures(const style *s, const json_t *all)
{
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(all, "figures"), i, one)
    {
        json_int_t doubts = tx_number(one, "in_doubt"), alarms = tx_number(one, "alarms");
        print_emits(s, one);
        if (!doubts && !alarms)
            continue;
        printf("%snode %s%s  %" JSON_INTEGER_FORMAT " in doubt", colour_of(s, ""), tx_text(one, "node"),
               plain(s), doubts);
        if (doubts) {
            printf(", the oldest for");
            print_ago(now_ns() - tx_number(one, "oldest_in_doubt_ns"));
        }
        printf(", %" JSON_INTEGER_FORMAT " for more than 30 s since its start\n", alarms);
    }
}

/* Of what participants keep, if it has one: a line a node. */
static void print_versions(const json_t *all)
{
    const json_t *one;
    const char *node = "";
    size_t i;
    json_array_foreach(json_object_get(all, "versions"), i, one)
    {
        bool same = strcmp(node, tx_text(one, "node")) == 0;
        node = tx_text(one, "node");
        printf("%s%s/%s %" JSON_INTEGER_FORMAT,
               same ? ", "
               : i  ? "\nversions  "
                    : "versions  ",
               node, tx_text(one, "actor"), tx_number(one, "version"));
    }
    if (i)
        printf("\n");
}

static void print_row(const style *s, const json_t *one)
{
    const char *state = tx_text(one, "state");
    const json_t *node;
    size_t i;
    printf("%s  %s%-9s%s %-13s", tx_text(one, "id"), colour_of(s, state), state, plain(s),
           tx_text(one, "reason"));
    print_ago(now_ns() - tx_number(one, "began_ns"));
    printf("  ");
    json_array_foreach(json_object_get(one, "nodes"), i, node)
        printf("%s%s", i ? ", " : "", json_string_value(node));
    printf("\n");
}

static int list(const style *s, const json_t *all)
{
    const json_t *one, *transactions = json_object_get(all, "transactions");
    size_t i;
    if (s->json) {
        print_json(all);
        return 0;
    }
    print_lost(s, all);
    print_figures(s, all);
    print_doubts(s, all);
    print_outbox(s, all);
    print_versions(all);
    if (json_array_size(transactions) == 0)
        printf("No transaction yet on the nodes that run here.\n");
    else
        printf("%-26s  %-9s %-13s %9s  %s\n", "TRANSACTION", "STATE", "REASON", "AGO", "NODES");
    json_array_foreach(transactions, i, one) print_row(s, one);
    return 0;
}

/* ---- show ---------------------------------------------------------------------------------------------- */

static void print_events(const json_t *one)
{
    json_int_t began = tx_number(one, "began_ns");
    const json_t *event;
    size_t i;
    json_array_foreach(json_object_get(one, "events"), i, event)
    {
        printf("  %9.3f ms  %-12s %-14s %-10s %s\n", (double)(tx_number(event, "at_ns") - began) / 1e6,
               tx_text(event, "node"), tx_text(event, "actor"), tx_text(event, "what"),
               tx_text(event, "detail"));
    }
}

/* False: told on stderr. */
static bool draw(const json_t *one, const char *path)
{
    FILE *out = fopen(path, "wb");
    bool drawn = out && tx_svg_write(out, one), good = drawn && !ferror(out);
    if (out && fclose(out) != 0)
        good = false;
    if (!good)
        fprintf(stderr, "troupe tx show: %s: can't be written: %s\n", path,
                out && !drawn ? "no memory" : strerror(errno));
    return good;
}

/* The one whose id ends so. NULL: told on stderr. */
static const json_t *find(const json_t *all, const char *id)
{
    const json_t *one, *found = NULL;
    size_t i, matches = 0;
    json_array_foreach(json_object_get(all, "transactions"), i, one)
    {
        const char *full = tx_text(one, "id");
        size_t length = strlen(id), whole = strlen(full);
        if (length > 0 && length <= whole && strcmp(full + whole - length, id) == 0) {
            found = one;
            matches++;
        }
    }
    if (matches == 1)
        return found;
    fprintf(stderr, "troupe tx show %s: %s\n", id,
            matches ? "more than one transaction ends so: give more of it"
                    : "no node that runs here remembers it: `troupe tx list` shows those they do");
    return NULL;
}

static int show(const style *s, const json_t *all, const char *id)
{
    const json_t *found = find(all, id);
    if (!found || (s->svg && !draw(found, s->svg)))
        return 1;
    if (s->json) {
        print_json(found);
        return 0;
    }
    const char *state = tx_text(found, "state"), *reason = tx_text(found, "reason");
    printf("%s  %s%s%s%s%s\n", tx_text(found, "id"), colour_of(s, state), state, plain(s),
           *reason ? ": " : "", reason);
    print_events(found);
    return 0;
}

/* ---- the command --------------------------------------------------------------------------------------- */

/* What was asked for, by its words behind the options. */
static int run(const style *s, int argc, char **argv)
{
    const char *what = argc ? argv[0] : "";
    bool lists = strcmp(what, "list") == 0 && argc == 1 && !s->svg && !s->edn;
    bool shows = strcmp(what, "show") == 0 && argc == 2 && !s->edn;
    int failed = 0;
    if (strcmp(what, "check") == 0 && argc > 1 && !s->svg)
        return tx_check((const char *const *)argv + 1, argc - 1, s->edn, s->json);
    if (!lists && !shows)
        return cli_bad_words("tx", argc ? what : NULL, "list, show, check, resolve, accept", usage);
    json_t *all = tx_merge_all(&failed);
    if (!all)
        return 1;
    int status = lists ? list(s, all) : show(s, all, argv[1]);
    json_decref(all);
    return failed ? 1 : status;
}

int cli_tx(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"svg", required_argument, NULL, 's'},
                                            {"edn", required_argument, NULL, 'e'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    style s = {.colour = cli_colours(STDOUT_FILENO)};
    int option;
    if (argc > 1 && strcmp(argv[1], "resolve") == 0)
        return tx_resolve_command(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "accept") == 0)
        return tx_accept_command(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "backup") == 0)
        return tx_backup_command(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "restore") == 0)
        return tx_restore_command(argc - 1, argv + 1);
    argv[0] = "troupe tx";
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'j') {
            s.json = true;
        } else if (option == 's') {
            s.svg = optarg;
        } else if (option == 'e') {
            s.edn = optarg;
        } else {
            fprintf(option == 'h' ? stdout : stderr, "%s", usage);
            return option == 'h' ? 0 : 2;
        }
    }
    return run(&s, argc - optind, argv + optind);
}
