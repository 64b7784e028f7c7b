/* `troupe tap NODE/ADDR`: the messages that an actor gets, as they come: a JSON object a line. The main thread. It fetches
 * copies that the node made (docs/operator.md); what the node had to leave out is told. Ends with the actor, after
 * --count messages, at Ctrl-C, or when nobody reads its output; the node's copying ends with it. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/stderr_os.h"
#include "cli/cli.h"
#include "cli/operator_client.h"
#include "cli/options.h"

#define ANSWER_WITHIN TR_SECONDS(3)
#define EVERY_US      100000
#define LEASE         3 /* seconds */

static const char usage[] =
    "usage: troupe tap NODE/ADDR [--count N]\n"
    "  copies of the messages that an actor gets, as they come: a JSON object a line\n"
    "  NODE       a node that runs here (`troupe ps` lists them)\n"
    "  ADDR       an actor's name there, or an address like \"<a1f3c09e12345678.12.7>\"\n"
    "  --count N  end after N messages\n";

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

typedef struct tap {
    operator_client *client;
    char to[128];
    json_int_t number; /* 0: not open yet */
    double count;      /* messages that are wanted; 0: all */
    double shown;
    json_int_t lost;
} tap;

static void show(tap *t, const json_t *answer)
{
    const json_t *message;
    size_t i;
    json_array_foreach(json_object_get(answer, "messages"), i, message)
    {
        char *line = t->count && t->shown >= t->count ? NULL : json_dumps(message, JSON_COMPACT);
        if (line) {
            printf("%s\n", line);
            t->shown++;
        }
        free(line);
    }
    json_int_t lost = json_integer_value(json_object_get(answer, "lost"));
    t->lost += lost;
    if (lost)
        printf("{\"lost\":%lld}\n", (long long)lost);
    if (fflush(stdout) != 0)
        ended = 1; /* nobody reads it any more */
}

/* One request; false: it is over. */
static bool fetch(tap *t, bool last, tr_error *error)
{
    json_t *answer, *request = json_pack("{s:s, s:s, s:i, s:I, s:b}", "do", "tap", "to", t->to, "lease",
                                         LEASE, "tap", t->number, "close", last);
    tr_err err = operator_request(t->client, request, ANSWER_WITHIN, &answer, error);
    json_decref(request);
    if (err != TR_OK)
        return false;
    if (!t->number) {
        fprintf(stderr, "tap of %s open; Ctrl-C ends it\n", t->to);
        snprintf(t->to, sizeof(t->to), "%s", json_string_value(json_object_get(answer, "address")));
    }
    t->number = json_integer_value(json_object_get(answer, "tap"));
    show(t, answer);
    bool alive = json_is_true(json_object_get(answer, "alive"));
    json_decref(answer);
    if (!alive)
        fprintf(stderr, "the actor has ended\n");
    return alive;
}

static int run(tap *t, const char *node)
{
    tr_error error = {0};
    struct sigaction on = {.sa_handler = on_signal};
    t->client = operator_open(node, &error);
    if (!t->client) {
        tr__stderr_line("troupe tap", error.text);
        return 1;
    }
    sigaction(SIGINT, &on, NULL);
    sigaction(SIGTERM, &on, NULL);
    signal(SIGPIPE, SIG_IGN);
    while (fetch(t, false, &error) && !ended && !(t->count && t->shown >= t->count))
        usleep(EVERY_US);
    if (!error.code && t->number)
        fetch(t, true, &error);
    operator_close(t->client);
    if (t->lost)
        fprintf(stderr, "%lld message%s left out: more came than a tap copies\n", (long long)t->lost,
                t->lost == 1 ? " was" : "s were");
    if (error.code && !(error.code == TR_ERESET && t->number))
        tr__stderr_line("troupe tap", error.text);
    return error.code ? 1 : 0;
}

int cli_tap(int argc, char **argv)
{
    static const struct option options[] = {
        {"count", required_argument, NULL, 'n'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    tap t = {0};
    int option;
    argv[0] = "troupe tap";
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'n' && cli_number("tap", "--count", optarg, 1, 1e12, true, &t.count))
            continue;
        if (option != 'n')
            fprintf(option == 'h' ? stdout : stderr, "%s", usage);
        return option == 'h' ? 0 : 2;
    }
    char *slash = argc - optind == 1 ? strchr(argv[optind], '/') : NULL;
    if (!slash || slash == argv[optind] || !slash[1] || strlen(slash) >= sizeof(t.to)) {
        fprintf(stderr, "%s", usage);
        return 2;
    }
    *slash = '\0';
    snprintf(t.to, sizeof(t.to), "%s", slash + 1);
    return run(&t, argv[optind]);
}
