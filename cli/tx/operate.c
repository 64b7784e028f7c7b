/* See operate.h. What can't be taken back is done only with the words that say what is risked; the node's manager does
 * it (actors/tx/outcome.c, remember.c), and writes it into its log. */
#include "cli/tx/operate.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <troupe/tx.h>

#include "actors/tx/frame.h"
#include "base/err.h"
#include "cli/tx/merge.h"

#define ANSWER_WITHIN 5 /* seconds */
#define MARGIN        TR_SECONDS(2)

static const char resolve_usage[] =
    "usage: troupe tx resolve ID|TICKET [--at NODE]\n"
    "       troupe tx resolve ID|TICKET --commit|--abort --others-may-differ [--at NODE]\n"
    "  Tells what became of a transaction, and aborts it if nothing had decided it. An ID (its last letters\n"
    "  are enough) is one that is in doubt on a node that runs here; a ticket names any.\n"
    "  --commit, --abort     decide it by hand, when the log that could tell is lost: at the node that "
    "decides,\n"
    "                        which then tells all; it must run here\n"
    "  --at NODE             ask that node; by hand: decide what is in doubt on that node, and nowhere else\n"
    "  --others-may-differ   needed: if it was decided otherwise before, some participants, or who was "
    "told,\n"
    "                        have the opposite, for ever\n";

static const char accept_usage[] =
    "usage: troupe tx accept NODE --lose-what-is-missing\n"
    "  A node that runs here and has an older copy of its log goes on with it, as with another log.\n"
    "  --lose-what-is-missing  needed: what was committed there since that copy is gone, though it was "
    "told\n";

static int fail(const char *what, const char *text)
{
    fprintf(stderr, "troupe tx %s: %s\n", what, text);
    return 1;
}

/* Ask a node's manager; what the answer has of `type`, to be given back by json_decref. NULL: told. */
static json_t *ask(const char *what, const char *node, json_t *message, const char *type)
{
    tr_error error;
    json_t *answer = NULL;
    json_t *request = json_pack("{s:s, s:s, s:o, s:i}", "do", "ask", "to", "tx", "message", message,
                                "timeout", ANSWER_WITHIN + 1);
    tr_err err =
        operator_request_once(node, request, TR_SECONDS(ANSWER_WITHIN + 1) + MARGIN, &answer, &error);
    json_decref(request);
    if (err != TR_OK) {
        fail(what, error.text);
        return NULL;
    }
    json_t *found = json_incref(json_object_get(json_object_get(answer, "answer"), type));
    json_decref(answer);
    if (!found)
        fail(what, "an answer that makes no sense");
    return found;
}

/* ---- resolve ------------------------------------------------------------------------------------------- */

typedef struct resolve {
    bool commit, abort, risked;
    const char *at;
    char ticket[TR_TX_TICKET_MAX], node[TR_NAME_MAX]; /* who decides */
} resolve;

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return tail > 0 && tail <= length && strcmp(text + length - tail, end) == 0;
}

/* The ticket of what is in doubt here by that id; false: told. */
static bool find_ticket(resolve *r, const char *id)
{
    int failed = 0;
    size_t i;
    const json_t *doubt;
    bool several = false;
    json_t *all = tx_merge_all(&failed);
    json_array_foreach(json_object_get(all, "in_doubt"), i, doubt)
    {
        const char *ticket = tx_text(doubt, "ticket");
        if (!ends_with(tx_text(doubt, "id"), id))
            continue;
        several = several || (r->ticket[0] && strcmp(r->ticket, ticket) != 0);
        snprintf(r->ticket, sizeof(r->ticket), "%s", ticket);
    }
    json_decref(all);
    if (several)
        fail("resolve", "more than one transaction ends so: give more of it");
    else if (!r->ticket[0])
        fail("resolve", "nothing of it is in doubt on the nodes that run here: give its ticket");
    return !several && r->ticket[0];
}

static bool take_ticket(resolve *r, const char *text)
{
    tr_tx_id id;
    uint8_t log[TR__LOG_ID_BYTES];
    if (strchr(text, '@'))
        snprintf(r->ticket, sizeof(r->ticket), "%s", text);
    else if (!find_ticket(r, text))
        return false;
    if (tr__tx_ticket_parse(r->ticket, &id, r->node, log))
        return true;
    fail("resolve", "that is no ticket: ID@node/log is needed, as tr_tx_outcome has it");
    return false;
}

static bool take_any(void *context, const char *name)
{
    tr_error error;
    operator_client *client = operator_open(name, &error);
    if (client)
        snprintf(context, TR_NAME_MAX, "%s", name);
    operator_close(client);
    return client == NULL;
}

/* Anybody can ask, who decides is as good as others. */
static int ask_what_became(const resolve *r)
{
    struct timespec now;
    char any[TR_NAME_MAX] = "";
    tr_error error;
    if (!r->at && operator_each_node(take_any, any, &error) < 0)
        return fail("resolve", error.text);
    if (!r->at && !any[0])
        return fail("resolve", "no node runs here that could ask");
    clock_gettime(CLOCK_MONOTONIC, &now);
    json_int_t until = ((json_int_t)now.tv_sec + ANSWER_WITHIN) * 1000000000 + now.tv_nsec;
    json_t *message =
        json_pack("{s:{s:s, s:I}}", "tr__tx_do_resolve", "ticket", r->ticket, "until_ns", until);
    json_t *done = ask("resolve", r->at ? r->at : any, message, "tr_tx_done");
    if (!done)
        return 1;
    uint32_t status = (uint32_t)tx_number(done, "status");
    printf("%s%s%s\n", tr__tx_status_word(status), *tx_text(done, "text") ? ": " : "", tx_text(done, "text"));
    json_decref(done);
    return status == TR_TX_UNKNOWN;
}

static int decide(const resolve *r)
{
    json_t *message =
        json_pack("{s:{s:s, s:b}}", "tr__tx_do_decide", "ticket", r->ticket, "commit", r->commit);
    json_t *done = ask("resolve", r->at ? r->at : r->node, message, "tr_tx_done");
    if (!done)
        return 1;
    uint32_t status = (uint32_t)tx_number(done, "status");
    bool decided = status == (r->commit ? TR_TX_COMMITTED : TR_TX_ABORTED);
    fprintf(decided ? stdout : stderr, "%s%s%s\n", tr__tx_status_word(status),
            *tx_text(done, "text") ? ": " : "", tx_text(done, "text"));
    json_decref(done);
    return !decided;
}

int tx_resolve_command(int argc, char **argv)
{
    static const struct option options[] = {{"commit", no_argument, NULL, 'c'},
                                            {"abort", no_argument, NULL, 'a'},
                                            {"others-may-differ", no_argument, NULL, 'r'},
                                            {"at", required_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    resolve r = {.at = NULL};
    int option;
    argv[0] = "troupe tx resolve";
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        r.commit = r.commit || option == 'c';
        r.abort = r.abort || option == 'a';
        r.risked = r.risked || option == 'r';
        if (option == 'n')
            r.at = optarg;
        if (option == 'h' || option == '?') {
            fputs(resolve_usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (argc - optind != 1 || (r.commit && r.abort) || ((r.commit || r.abort) != r.risked)) {
        fputs(resolve_usage, stderr);
        return 2;
    }
    if (!take_ticket(&r, argv[optind]))
        return 1;
    return r.risked ? decide(&r) : ask_what_became(&r);
}

/* ---- accept -------------------------------------------------------------------------------------------- */

int tx_accept_command(int argc, char **argv)
{
    static const struct option options[] = {{"lose-what-is-missing", no_argument, NULL, 'l'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool risked = false;
    int option;
    argv[0] = "troupe tx accept";
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        risked = risked || option == 'l';
        if (option != 'l') {
            fputs(accept_usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (argc - optind != 1 || !risked) {
        fputs(accept_usage, stderr);
        return 2;
    }
    json_t *done = ask("accept", argv[optind], json_pack("{s:{}}", "tr__tx_do_accept"), "tr_tx_called");
    if (!done)
        return 1;
    json_decref(done);
    printf("node %s goes on with its log\n", argv[optind]);
    return 0;
}
