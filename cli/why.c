/* `troupe why NODE/ADDR`: what an actor does, or waits for, and so on to the end of the chain, across the nodes that run
 * here; the last line is the cause in words. The main thread. Exit status 1: the actor couldn't be asked. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/operator_client.h"
#include "cli/why.h"

static const char usage[] =
    "usage: troupe why NODE/ADDR [--json]\n"
    "  says what an actor does: since when, on which message, where in the code; or what it waits\n"
    "  for, and what that does, to the end of the chain; the last line is the cause\n"
    "  NODE    a node that runs here (`troupe ps` lists them)\n"
    "  ADDR    an actor's name there, or an address like \"<a1f3c09e12345678.12.7>\"\n"
    "  --json  an object, for programs; docs/operator.md describes it\n";

static void print_json(const why *w, bool good)
{
    json_t *all =
        json_pack("{s:b, s:s, s:s, s:O}", "ok", good, "kind", w->kind, "cause", w->cause, "chain", w->chain);
    char *line = json_dumps(all, JSON_COMPACT);
    printf("%s\n", line ? line : "{\"ok\":false}");
    free(line);
    json_decref(all);
}

int cli_why(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    bool json = false;
    int option;
    argv[0] = "troupe why";
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'j')
            json = true;
        else {
            fprintf(option == 'h' ? stdout : stderr, "%s", usage);
            return option == 'h' ? 0 : 2;
        }
    }
    char *slash = argc - optind == 1 ? strchr(argv[optind], '/') : NULL;
    if (!slash || slash == argv[optind] || !slash[1]) {
        fprintf(stderr, "%s", usage);
        return 2;
    }
    *slash = '\0';
    why w = {0};
    bool good = why_follow(&w, argv[optind], slash + 1);
    if (json) {
        print_json(&w, good);
    } else if (!good) {
        fprintf(stderr, "troupe why: %s\n", w.cause);
    } else {
        for (size_t i = 0; i < json_array_size(w.chain); i++)
            why_print(json_array_get(w.chain, i), i);
        printf("cause: %s\n", w.cause);
    }
    why_free(&w);
    return good ? 0 : 1;
}
