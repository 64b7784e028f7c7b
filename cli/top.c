/* `troupe top [NODE]`: the busiest actors of the nodes that run here: on a terminal a screen that renews itself, else, or with
 * --batch, tables one below the other. The main thread. What it shows is measured only while it runs. Exit status 1: a
 * node that was named, or all of them, didn't answer. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/colour.h"
#include "cli/options.h"
#include "cli/top.h"

static const char usage[] =
    "usage: troupe top [NODE] [--sort KEY] [--every S] [--batch[=N]] [--rows N] [--json]\n"
    "  the actors of the nodes that run here: share of their loop, messages in the mailbox and the age of\n"
    "  the oldest, messages a second, median and p99 of handling times, and the message\n"
    "  --sort KEY   busy (default), rate, mail, age or p99\n"
    "  --every S    seconds from one look to the next, 0.1 to 4 (default: 1)\n"
    "  --batch[=N]  print N looks (default: 1) and end, without a screen; so it is where there is no "
    "terminal\n"
    "  --rows N     actors a look shows, of a batch (default: 20)\n"
    "  --json       a batch as JSON, an object a line\n";

typedef struct options_of_top {
    const char *node;
    top_key key;
    double every_s, batch, rows;
    bool json, is_batch;
} options_of_top;

static void print_line(void *context, const char *line, int ink)
{
    size_t length = strlen(line);
    (void)context;
    (void)ink;
    while (length && line[length - 1] == ' ')
        length--;
    printf("%.*s\n", (int)length, line);
}

static size_t width(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : 110;
}

static void print_look(const options_of_top *o, const top *t)
{
    if (o->json) {
        json_t *all = top_json(t);
        char *line = json_dumps(all, JSON_COMPACT);
        printf("%s\n", line ? line : "{\"ok\":false}");
        free(line);
        json_decref(all);
    } else if (!t->node_count) {
        printf("No node runs here with an operator socket.\n");
    } else {
        top_table(t, (size_t)o->rows, width(), print_line, NULL);
    }
    fflush(stdout);
}

/* A look before the first is for the rates, and begins the measuring. */
static int batch(const options_of_top *o)
{
    top *looks = calloc(2, sizeof(*looks));
    int answered = 0;
    if (!looks) {
        fprintf(stderr, "troupe top: no memory\n");
        return 1;
    }
    looks[0].key = looks[1].key = o->key;
    top_look(&looks[0], NULL, o->node);
    for (int i = 1; i <= (int)o->batch; i++) {
        usleep((useconds_t)(o->every_s * 1e6));
        answered = top_look(&looks[i % 2], &looks[(i + 1) % 2], o->node);
        if (i > 1 && !o->json)
            printf("\n");
        print_look(o, &looks[i % 2]);
    }
    bool none = !o->node && looks[(int)o->batch % 2].node_count == 0;
    free(looks);
    return answered || none ? 0 : 1;
}

static bool take_key(const char *word, top_key *key)
{
    for (int i = 0; i < TOP_KEYS; i++)
        if (strcmp(word, top_key_word((top_key)i)) == 0) {
            *key = (top_key)i;
            return true;
        }
    fprintf(stderr, "troupe top: --sort %s: one of busy, rate, mail, age, p99\n", word);
    return false;
}

/* -1: go on. */
static int parse(int argc, char **argv, options_of_top *o)
{
    static const struct option options[] = {{"sort", required_argument, NULL, 's'},
                                            {"every", required_argument, NULL, 'e'},
                                            {"batch", optional_argument, NULL, 'b'},
                                            {"rows", required_argument, NULL, 'r'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    bool good = true;
    opterr = 0;
    while (good && (option = getopt_long(argc, argv, "+:h", options, NULL)) != -1)
        switch (option) {
        case 's':
            good = take_key(optarg, &o->key);
            break;
        case 'e':
            good = cli_number("top", "--every", optarg, 0.1, 4, false, &o->every_s);
            break;
        case 'r':
            good = cli_number("top", "--rows", optarg, 1, TOP_ROWS_MAX, true, &o->rows);
            break;
        case 'b':
            o->is_batch = true;
            good = !optarg || cli_number("top", "--batch", optarg, 1, 1e6, true, &o->batch);
            break;
        case 'j':
            o->json = o->is_batch = true;
            break;
        case 'h':
            printf("%s", usage);
            return 0;
        default:
            return cli_bad_option("top", option, argv);
        }
    return good ? -1 : 2;
}

int cli_top(int argc, char **argv)
{
    options_of_top o = {.every_s = 1, .batch = 1, .rows = 20};
    argv[0] = "troupe top";
    /* NODE may stand before the options as well. */
    if (argc > 1 && argv[1][0] != '-') {
        o.node = argv[1];
        argv[1] = argv[0];
        argc--;
        argv++;
    }
    int status = parse(argc, argv, &o);
    if (status >= 0)
        return status;
    if (!o.node && optind < argc)
        o.node = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "%s", usage);
        return 2;
    }
    if (!o.is_batch && isatty(STDIN_FILENO) && cli_colours(STDOUT_FILENO) &&
        top_screen(o.node, o.key, o.every_s) == 0)
        return 0;
    return batch(&o);
}
