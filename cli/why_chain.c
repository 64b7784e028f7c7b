/* Following a chain: see why.h. Each node is asked by its own operator socket, so a loop that is stuck is told of as well;
 * one that has none on this machine is asked over the connection, by the last one that had ("via").
 *
 *     an actor ──awaits──► another, of any node ──► ... ──► the end: stuck, asleep, silent, or one that was here before
 *         └──awaits its node's manager──► the lock of a participant ──► the transaction that holds it ──► who began that
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/operator_client.h"
#include "cli/why.h"
#include "cli/words.h"

#define ANSWER_WITHIN TR_SECONDS(3)

/* Where to go on. */
typedef struct hop {
    char node[TR_NAME_MAX], to[128];
    char asker[TR_ADDR_TEXT_MAX]; /* who awaits it; "": nobody */
} hop;

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void add(char *to, size_t room, const char *format, va_list args)
{
    size_t used = strlen(to);
    vsnprintf(to + used, room - used, format, args);
}

static void lead(why *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void lead(why *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(w->lead, sizeof(w->lead), format, args);
    va_end(args);
}

/* The end of the chain. Returns false. */
static bool end(why *w, const char *kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool end(why *w, const char *kind, const char *format, ...)
{
    va_list args;
    if (!*w->kind)
        snprintf(w->kind, sizeof(w->kind), "%s", kind);
    snprintf(w->cause, sizeof(w->cause), "%s", w->lead);
    va_start(args, format);
    add(w->cause, sizeof(w->cause), format, args);
    va_end(args);
    return false;
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

typedef struct search {
    const char *incarnation;
    char *name;
} search;

static json_t *facts_of(const char *node, tr_error *error)
{
    json_t *answer, *request = json_pack("{s:s}", "do", "nodes");
    operator_request_once(node, request, ANSWER_WITHIN, &answer, error);
    json_decref(request);
    return answer;
}

static bool is_it(void *context, const char *name)
{
    search *s = context;
    tr_error error;
    json_t *answer = facts_of(name, &error);
    if (strcmp(text(json_object_get(answer, "node"), "incarnation"), s->incarnation) == 0)
        snprintf(s->name, TR_NAME_MAX, "%s", name);
    json_decref(answer);
    return !*s->name;
}

/* The node of that address: `from` itself, one that it is connected to, or one that runs here. false: nobody knows. `from`
 * may have no socket here; then the last one that has is asked. */
static bool node_of(const why *w, const char *from, const char *address, char *name)
{
    char incarnation[20];
    tr_error error;
    const json_t *peer;
    size_t i;
    *name = '\0';
    snprintf(incarnation, sizeof(incarnation), "%.16s", *address ? address + 1 : "");
    json_t *answer = facts_of(from, &error);
    if (!answer && *w->base)
        answer = facts_of(w->base, &error);
    const json_t *node = json_object_get(answer, "node");
    if (strcmp(text(node, "incarnation"), incarnation) == 0)
        snprintf(name, TR_NAME_MAX, "%s", text(node, "name"));
    json_array_foreach(json_object_get(json_array_get(json_object_get(answer, "loops"), 0), "peers"), i,
                       peer) if (strcmp(text(peer, "incarnation"), incarnation) == 0)
        snprintf(name, TR_NAME_MAX, "%s", text(peer, "name"));
    json_decref(answer);
    if (!*name)
        operator_each_node(is_it, &(search){incarnation, name}, &error);
    return *name != '\0';
}

/* ---- one step ------------------------------------------------------------------------------------------ */

/* The node's answer, which is the chain's; NULL and *error. */
static json_t *ask(why *w, const char *node, json_t *request, tr_error *error)
{
    json_t *answer = NULL;
    operator_client *client = operator_open(node, error);
    w->over = !client && error->code == TR_ENOTFOUND && *w->base;
    if (w->over) {
        json_object_set_new(request, "via", json_string(node));
        client = operator_open(w->base, error);
    } else if (client) {
        snprintf(w->base, sizeof(w->base), "%s", node);
    }
    if (client)
        operator_request(client, request, ANSWER_WITHIN, &answer, error);
    operator_close(client);
    json_decref(request);
    if (answer)
        json_array_append_new(w->chain, answer);
    return answer;
}

/* It was asked over a connection. */
static bool no_answer_over(why *w, const char *node, const char *to, const tr_error *error)
{
    if (error->code == TR_EDEADLINE)
        return end(w, "stuck", "%s", error->text);
    if (error->code == TR_ENOACTOR)
        return end(w, "ended", "%s has ended", to);
    return end(w, "dead-peer",
               "node %s has no operator socket on this machine: it has ended, or runs elsewhere, where "
               "`troupe why '%s/%s'` goes on (%s)",
               node, node, to, error->text);
}

static bool no_answer(why *w, const char *node, const char *to, const tr_error *error)
{
    if (w->over)
        return no_answer_over(w, node, to, error);
    switch (error->code) {
    case TR_EDEADLINE:
        return end(w, "dead-peer", "node %s does not answer: its process is stopped or hangs (%s)", node, to);
    case TR_ERESET:
        return end(w, "dead-peer", "node %s has just ended", node);
    case TR_ENOACTOR:
        return end(w, "ended", "%s has ended", to);
    default:
        return end(w, "unknown", "%s", error->text);
    }
}

/* ---- the end of a chain -------------------------------------------------------------------------------- */

static bool end_stuck(why *w, const json_t *step)
{
    const json_t *running = json_object_get(step, "running");
    char label[256], ms[32];
    why_label(step, label, sizeof(label));
    if (!running && json_is_true(json_object_get(step, "own_thread")))
        return end(w, "idle", "nothing keeps %s, which has a thread of its own", label);
    if (!running)
        return end(w, "busy", "%s is on loop %" JSON_INTEGER_FORMAT " of node %s, which has much to do",
                   label, number(step, "loop"), text(step, "node"));
    const char *type = *text(running, "type") ? text(running, "type") : "its start";
    why_time(number(running, "for_ms"), ms);
    if (strcmp(text(running, "address"), text(json_object_get(step, "actor"), "address")) == 0)
        return end(w, "stuck", "the handler of %s is stuck: it has been handling %s for %s", label, type, ms);
    return end(w, "stuck", "%s can't run: on its loop the handler of %s/%s (%s) is stuck, handling %s for %s",
               label, text(step, "node"),
               *text(running, "name") ? text(running, "name") : text(running, "address"),
               text(running, "definition"), type, ms);
}

static bool end_by_state(why *w, const json_t *step, bool asked)
{
    const json_t *waits = json_object_get(step, "waits"), *actor = json_object_get(step, "actor");
    const char *state = text(actor, "state"), *place = text(step, "ask");
    char label[256], ms[32], left[32], where[128] = "";
    why_label(step, label, sizeof(label));
    if (*text(waits, "where"))
        snprintf(where, sizeof(where), " (%s)", text(waits, "where"));
    why_time(number(waits, "since_ms"), ms);
    if (strcmp(text(waits, "for"), "time") == 0)
        return end(w, "sleeps", "%s sleeps, for %s more%s", label, why_time(number(waits, "left_ms"), left),
                   where);
    if (asked && strcmp(place, "kept") == 0)
        return end(w, "kept", "%s keeps the ask and has not answered it; it is %s%s", label, state, where);
    if (asked && strcmp(place, "in hand") == 0)
        return end(w, "kept", "%s has received the ask and has not answered it; it waits for another %s%s",
                   label, *text(waits, "for") ? text(waits, "for") : "turn", where);
    if (asked && strcmp(place, "queued") == 0 && number(step, "ahead") && strcmp(state, "ready") == 0)
        return end(w, "busy",
                   "the ask is behind %" JSON_INTEGER_FORMAT " other message%s in the mailbox of %s, "
                   "which is busy with them",
                   number(step, "ahead"), cli_s((uint64_t)number(step, "ahead")), label);
    if (strcmp(state, "ready") == 0 || strcmp(state, "running") == 0)
        return end(w, "busy", "%s is at work: it has its turn soon", label);
    if (asked && strcmp(place, "not here") == 0)
        return end(w, "unknown", "%s has no such ask: it is on its way, or answered", label);
    return end(w, "idle", "nothing keeps %s: it waits for messages%s", label, where);
}

/* ---- transactions -------------------------------------------------------------------------------------- */

static bool end_decider(why *w, const char *id, const char *decider)
{
    tr_error error;
    json_t *answer = facts_of(decider, &error);
    bool there = answer != NULL;
    json_decref(answer);
    return end(w, "lock", "transaction %s is prepared and in doubt: node %s decides%s", id, decider,
               there ? " and runs: it will say so" : ", and that node does not answer");
}

/* The actor that began the transaction, on the node that knows it. */
static bool to_caller(why *w, hop *next, const char *node, const char *id)
{
    tr_error error;
    json_t *step =
        ask(w, node, json_pack("{s:s, s:s, s:s}", "do", "why", "to", "tx", "transaction", id), &error);
    if (!step)
        return no_answer(w, node, "tx", &error);
    const char *caller = text(json_object_get(step, "transaction"), "caller");
    if (!*caller)
        return end(w, "lock", "transaction %s is over on node %s, which began it", id, node);
    *next = (hop){0};
    snprintf(next->node, sizeof(next->node), "%s", node);
    snprintf(next->to, sizeof(next->to), "%s", caller);
    return true;
}

static const json_t *branch_of(const json_t *branches, const char *id)
{
    const json_t *branch;
    size_t i;
    json_array_foreach(branches, i, branch) if (strcmp(text(branch, "id"), id) == 0) return branch;
    return NULL;
}

/* A call of transaction `id` isn't answered by that participant. */
static bool to_holder(why *w, hop *next, const char *id, const char *node, const char *participant)
{
    tr_error error;
    json_t *step = ask(
        w, node, json_pack("{s:s, s:s, s:s}", "do", "why", "to", "tx", "participant", participant), &error);
    if (!step)
        return no_answer(w, node, participant, &error);
    const json_t *lock = json_object_get(step, "transaction");
    const json_t *holder = json_array_get(json_object_get(lock, "held_by"), 0);
    if (branch_of(json_object_get(lock, "held_by"), id)) { /* it is being executed, or was */
        *next = (hop){0};
        snprintf(next->node, sizeof(next->node), "%s", node);
        snprintf(next->to, sizeof(next->to), "%s", participant);
        return true;
    }
    if (!holder || !branch_of(json_object_get(lock, "waiting"), id))
        return end(w, "unknown", "transaction %s calls %s/%s, and the call is on its way", id, node,
                   participant);
    snprintf(w->kind, sizeof(w->kind), "lock");
    const char *wounder = text(holder, "wounded_by");
    lead(w, "the lock of %s/%s is held by transaction %s, which node %s began%s%s: ", node, participant,
         text(holder, "id"), text(holder, "caller"), *wounder ? ", wounded by " : "", wounder);
    if (*text(holder, "decider"))
        return end_decider(w, text(holder, "id"), text(holder, "decider"));
    return to_caller(w, next, text(holder, "caller"), text(holder, "id"));
}

static bool to_transaction(why *w, hop *next, const json_t *transaction)
{
    const json_t *call = json_array_get(json_object_get(transaction, "calls"), 0);
    if (call)
        return to_holder(w, next, text(transaction, "id"), text(call, "node"), text(call, "actor"));
    if (*text(transaction, "broken"))
        return end(w, "lock", "transaction %s can only abort (%s): who began it hears so",
                   text(transaction, "id"), text(transaction, "broken"));
    return end_decider(w, text(transaction, "id"), text(transaction, "decider"));
}

/* ---- the chain ----------------------------------------------------------------------------------------- */

/* The step's actor has had a step before: from there on it is a circle. */
static bool is_cycle(why *w, const json_t *last)
{
    const char *address = text(json_object_get(last, "actor"), "address");
    char label[256], circle[1500] = "";
    size_t count = json_array_size(w->chain), first = 0;
    while (first + 1 < count &&
           strcmp(text(json_object_get(json_array_get(w->chain, first), "actor"), "address"), address) != 0)
        first++;
    if (first + 1 >= count || *text(last, "transaction"))
        return false;
    for (size_t i = first; i < count; i++) {
        size_t used = strlen(circle);
        snprintf(circle + used, sizeof(circle) - used, "%s%s",
                 i > first ? i > first + 1 ? ", which awaits " : " awaits " : "",
                 why_label(json_array_get(w->chain, i), label, sizeof(label)));
    }
    json_array_remove(w->chain, count - 1);
    end(w, "cycle", "a cycle: %s", circle);
    return true;
}

static void note_full(why *w, const json_t *step)
{
    const json_t *actor = json_object_get(step, "actor"),
                 *sender = json_array_get(json_object_get(step, "from"), 0);
    char label[256];
    if (*w->kind || !number(actor, "mailbox") || number(actor, "free") > 0)
        return;
    snprintf(w->kind, sizeof(w->kind), "full");
    lead(w,
         "the mailbox of %s is full (%" JSON_INTEGER_FORMAT " message%s, %" JSON_INTEGER_FORMAT
         " of them of %s): ",
         why_label(step, label, sizeof(label)), number(actor, "mailbox"),
         cli_s((uint64_t)number(actor, "mailbox")), number(sender, "count"), text(sender, "address"));
}

/* What it awaits, as an object with "of"; of an actor with a receive, whose answer it expects while it has nothing else to
 * do. */
static const json_t *awaited(const json_t *step)
{
    const json_t *waits = json_object_get(step, "waits");
    if (*text(waits, "of"))
        return waits;
    const json_t *ask_of, *asks = json_object_get(step, "asks");
    const char *state = text(json_object_get(step, "actor"), "state");
    size_t i;
    json_array_foreach(asks, i, ask_of) if (json_is_true(json_object_get(ask_of, "awaited"))) return ask_of;
    return strcmp(state, "idle") == 0 ? json_array_get(asks, 0) : NULL;
}

/* One step; true: go on at *at. */
static bool step_on(why *w, hop *at)
{
    tr_error error;
    json_t *request = json_pack("{s:s, s:s}", "do", "why", "to", at->to);
    if (*at->asker)
        json_object_set_new(request, "asker", json_string(at->asker));
    json_t *step = ask(w, at->node, request, &error);
    if (!step)
        return no_answer(w, at->node, at->to, &error);
    const json_t *transaction = json_object_get(step, "transaction"), *next;
    if (transaction)
        return to_transaction(w, at, transaction);
    if (is_cycle(w, step))
        return false;
    if (json_is_true(json_object_get(step, "silent")))
        return end_stuck(w, step);
    note_full(w, step);
    next = awaited(step);
    if (!next)
        return end_by_state(w, step, *at->asker);
    const char *address = text(json_object_get(step, "actor"), "address");
    char node[TR_NAME_MAX], label[256], ms[32];
    if (!node_of(w, at->node, text(next, "of"), node))
        return end(w, "dead-peer", "%s awaits an actor of a node that isn't connected, for %s",
                   why_label(step, label, sizeof(label)), why_time(number(next, "since_ms"), ms));
    snprintf(at->asker, sizeof(at->asker), "%s", address);
    snprintf(at->node, sizeof(at->node), "%s", node);
    snprintf(at->to, sizeof(at->to), "%s", text(next, "of"));
    return true;
}

bool why_follow(why *w, const char *node, const char *to)
{
    hop at = {0};
    w->chain = json_array();
    snprintf(at.node, sizeof(at.node), "%s", node);
    snprintf(at.to, sizeof(at.to), "%s", to);
    int hops = 0;
    while (hops < WHY_HOPS_MAX && step_on(w, &at))
        hops++;
    if (hops == WHY_HOPS_MAX)
        end(w, "unknown", "more than %d wait for one another in a row", WHY_HOPS_MAX);
    return json_array_size(w->chain) > 0;
}

void why_free(why *w)
{
    json_decref(w->chain);
}
