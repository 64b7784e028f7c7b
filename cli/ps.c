/* `troupe ps [NODE]`: the nodes of this user on this machine, and their actors as a tree. The main thread. What it prints
 * is for people, 80 columns where names allow; with --json it is the nodes' own answers (docs/operator.md), a line each. A
 * node that doesn't answer is told on stderr, and makes the exit status 1. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/stderr_os.h"
#include "cli/cli.h"
#include "cli/colour.h"
#include "cli/operator_client.h"
#include "cli/ps_tree.h"
#include "cli/words.h"

#define ANSWER_WITHIN TR_SECONDS(3)

static const char usage[] = "usage: troupe ps [NODE] [--json]\n"
                            "  lists the nodes that run here, their connections, and their actors:\n"
                            "  who started whom, what it does, how old it is, messages in the mailbox,\n"
                            "  messages handled, restarts; of a supervisor its strategy\n"
                            "  --json  an object a line, for programs; docs/operator.md describes it\n";

typedef struct ps {
    bool json, colour;
    int columns;
    int shown, failed;
    bool only_one; /* a node that is named must be there */
} ps;

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* ---- a node -------------------------------------------------------------------------------------------- */

static void print_uptime(json_int_t ms)
{
    json_int_t s = ms / 1000;
    if (s < 60)
        printf("%" JSON_INTEGER_FORMAT " s", s);
    else if (s < 3600)
        printf("%" JSON_INTEGER_FORMAT " min", s / 60);
    else if (s < 86400)
        printf("%" JSON_INTEGER_FORMAT " h %" JSON_INTEGER_FORMAT " min", s / 3600, s / 60 % 60);
    else
        printf("%" JSON_INTEGER_FORMAT " d %" JSON_INTEGER_FORMAT " h", s / 86400, s / 3600 % 24);
}

static void print_head(const ps *p, const json_t *node)
{
    json_int_t loops = number(node, "loops");
    printf("%snode %s%s  cluster %s, up ", p->colour ? "\033[1m" : "", text(node, "name"),
           p->colour ? "\033[0m" : "", text(node, "cluster"));
    print_uptime(number(node, "uptime_ms"));
    printf(", pid %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT " loop%s, troupe %s\n",
           number(node, "pid"), loops, cli_s((uint64_t)loops), text(node, "version"));
    printf("  incarnation %s, ", text(node, "incarnation"));
    if (*text(node, "listen"))
        printf("listens on %s\n", text(node, "listen"));
    else
        printf("doesn't listen\n");
}

/* What its rights kept it from (docs/security.md). */
static void print_bounds(const json_t *peer)
{
    const char *right;
    json_t *count;
    const char *between = "    refused: ";
    json_object_foreach(json_object_get(peer, "refused"), right, count)
    {
        printf("%s%s %" JSON_INTEGER_FORMAT, between, right, json_integer_value(count));
        between = ", ";
    }
    if (between[0] == ',')
        printf("\n");
    if (number(peer, "grants_held"))
        printf("    its rate held it back %" JSON_INTEGER_FORMAT " times\n", number(peer, "grants_held"));
}

static void print_peers(const json_t *loops)
{
    json_t *peer, *peers = json_object_get(json_array_get(loops, 0), "peers");
    size_t i;
    json_array_foreach(peers, i, peer)
    {
        printf("  connected to %s%s%s (%s), messages: %" JSON_INTEGER_FORMAT " out, %" JSON_INTEGER_FORMAT
               " in\n",
               text(peer, "name"), *text(peer, "address") ? " at " : "", text(peer, "address"),
               json_is_true(json_object_get(peer, "dialled")) ? "dialled" : "accepted",
               number(peer, "messages_out"), number(peer, "messages_in"));
        print_bounds(peer);
    }
}

static void print_trouble(const ps *p, const json_t *loops)
{
    const json_t *loop;
    size_t i;
    json_array_foreach(loops, i, loop)
    {
        size_t told = json_array_size(json_object_get(loop, "actors"));
        if (json_is_true(json_object_get(loop, "silent")))
            printf("  %s%s%s\n", p->colour ? "\033[31m" : "", text(loop, "why"), p->colour ? "\033[0m" : "");
        else if ((size_t)number(loop, "count") > told)
            printf("  loop %zu has %" JSON_INTEGER_FORMAT " actors; the first %zu are shown\n", i,
                   number(loop, "count"), told);
    }
}

static void print_node(const ps *p, const json_t *answer)
{
    const json_t *loops = json_object_get(answer, "loops");
    if (p->shown > 0)
        printf("\n");
    print_head(p, json_object_get(answer, "node"));
    print_peers(loops);
    cli_ps_tree(loops, p->columns, p->colour);
    print_trouble(p, loops);
}

static void print_json(json_t *answer)
{
    char *line = json_dumps(answer, JSON_COMPACT);
    if (line)
        printf("%s\n", line);
    free(line);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static bool show(void *context, const char *name)
{
    ps *p = context;
    tr_error error;
    json_t *answer, *request = json_pack("{s:s}", "do", "ps");
    tr_err err = operator_request_once(name, request, ANSWER_WITHIN, &answer, &error);
    json_decref(request);
    if (err == TR_OK) {
        if (p->json)
            print_json(answer);
        else
            print_node(p, answer);
        p->shown++;
        json_decref(answer);
    } else if (p->only_one || err != TR_ENOTFOUND) { /* else: what a killed node left */
        tr__stderr_line("troupe ps", error.text);
        p->failed++;
    }
    return true;
}

/* 0: it isn't known. */
static int columns(void)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col;
    return known ? size.ws_col : 0;
}

int cli_ps(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    ps p = {.colour = cli_colours(STDOUT_FILENO), .columns = columns()};
    tr_error error;
    int option;
    argv[0] = "troupe ps";
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'j')
            p.json = true;
        else {
            fprintf(option == 'h' ? stdout : stderr, "%s", usage);
            return option == 'h' ? 0 : 2;
        }
    }
    if (argc - optind > 1) {
        fprintf(stderr, "%s", usage);
        return 2;
    }
    if (optind < argc) {
        p.only_one = true;
        show(&p, argv[optind]);
    } else if (operator_each_node(show, &p, &error) < 0) {
        tr__stderr_line("troupe ps", error.text);
        return 1;
    }
    if (!p.shown && !p.failed && !p.json)
        printf("No node runs here with an operator socket. `troupe node --name alice` starts one;\n"
               "so does every program of tr_main that is given a --name.\n");
    return p.failed ? 1 : 0;
}
