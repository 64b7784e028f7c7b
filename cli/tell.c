/* `troupe send NODE/ADDR JSON` and `troupe ask NODE/ADDR JSON`: a message for one actor of a running node, over the
 * node's operator socket. The main thread. What the node refuses is told on stderr in its words, exit status 1. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/operator_client.h"

#define MARGIN TR_SECONDS(2) /* the node's own bound comes first */

static const char usage[] =
    "usage: troupe %s NODE/ADDR JSON [--timeout S] [--json]\n"
    "  %s\n"
    "  NODE       a node that runs here (`troupe ps` lists them)\n"
    "  ADDR       an actor's name there, OTHER/NAME for one of a node that it is connected\n"
    "             to, or an address like \"<a1f3c09e12345678.12.7>\"\n"
    "  JSON       the message, named by its type: '{\"greet\":{\"name\":\"ada\"}}'\n"
    "  --timeout  seconds to wait (default: 5)\n"
    "  --json     print the node's answer as one line of JSON\n";

typedef struct tell {
    const char *what, *help;
    bool json;
    double timeout;
} tell;

/* Returns `status`. */
static int fail(const tell *t, int status, tr_err err, const char *text)
{
    if (t->json) {
        json_t *line =
            json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", tr__err_word(err), "text", text);
        char *out = json_dumps(line, JSON_COMPACT);
        printf("%s\n", out ? out : "{\"ok\":false}");
        free(out);
        json_decref(line);
    } else {
        fprintf(stderr, "troupe %s: %s\n", t->what, text);
    }
    return status;
}

static void print_answer(const tell *t, json_t *answer)
{
    json_t *message = json_object_get(answer, "answer");
    void *at = json_object_iter(message);
    char *out = json_dumps(t->json || !at ? answer : json_object_iter_value(at), JSON_COMPACT);
    if (t->json)
        printf("%s\n", out ? out : "");
    else if (at)
        printf("%s %s\n", json_object_iter_key(at), out ? out : "");
    else
        printf("accepted\n");
    free(out);
}

static int tell_node(const tell *t, char *path, const char *message_text)
{
    char *slash = strchr(path, '/');
    json_error_t wrong;
    tr_error error;
    if (!slash || slash == path || !slash[1]) {
        tr__fail(&error, TR_EINVAL, "\"%.80s\" isn't NODE/ADDR: which node's actor?", path);
        return fail(t, 2, TR_EINVAL, error.text);
    }
    json_t *message = json_loads(message_text, JSON_REJECT_DUPLICATES, &wrong), *answer;
    if (!message) {
        tr__fail(&error, TR_EINVAL, "the message isn't JSON: line %d, column %d: %s", wrong.line,
                 wrong.column, wrong.text);
        return fail(t, 2, TR_EINVAL, error.text);
    }
    *slash = '\0';
    json_t *request = json_pack("{s:s, s:s, s:o, s:f}", "do", t->what, "to", slash + 1, "message", message,
                                "timeout", t->timeout);
    if (!request)
        return fail(t, 2, TR_EINVAL, "the address isn't UTF-8");
    tr_err err = operator_request_once(path, request, (uint64_t)(t->timeout * 1e9) + MARGIN, &answer, &error);
    json_decref(request);
    if (err != TR_OK)
        return fail(t, 1, err, error.text);
    print_answer(t, answer);
    json_decref(answer);
    return 0;
}

static int run(tell *t, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    char name[32], *end;
    int option;
    snprintf(name, sizeof(name), "troupe %s", t->what);
    argv[0] = name;
    t->timeout = 5;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'j') {
            t->json = true;
        } else if (option == 't') {
            t->timeout = strtod(optarg, &end);
            if (*end || !(t->timeout > 0 && t->timeout <= 600))
                return fail(t, 2, TR_EINVAL, "--timeout: a number of seconds, more than 0, at most 600");
        } else {
            fprintf(option == 'h' ? stdout : stderr, usage, t->what, t->help);
            return option == 'h' ? 0 : 2;
        }
    }
    if (argc - optind != 2) {
        fprintf(stderr, usage, t->what, t->help);
        return 2;
    }
    return tell_node(t, argv[optind], argv[optind + 1]);
}

int cli_send(int argc, char **argv)
{
    return run(&(tell){.what = "send", .help = "sends one message to an actor of a running node"}, argc,
               argv);
}

int cli_ask(int argc, char **argv)
{
    return run(&(tell){.what = "ask", .help = "asks an actor of a running node, and prints its answer"}, argc,
               argv);
}
