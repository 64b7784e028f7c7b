/* The request "why": what an actor does, and what it waits for, as its loop sees it: one step of the chain that `troupe why`
 * follows. Its loop's thread. A loop that doesn't answer is told of by the control thread (operator_silent_uv.c).
 * Without memory: an empty answer. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/futures/waiting.h"
#include "actors/operator/operator.h"
#include "actors/transactions.h"
#include "base/err.h"

#define ASKS_MAX    8 /* told of one actor */
#define SENDERS_MAX 4
#define SENDERS_OF  512 /* messages of a mailbox that are looked at */

static json_t *ms(uint64_t ns)
{
    return json_integer((json_int_t)(ns / 1000000u));
}

/* For how long; 0 if that is to come. */
static json_t *since(const tr__loop *loop, uint64_t since_ns)
{
    return ms(loop->now_ns > since_ns ? loop->now_ns - since_ns : 0);
}

static json_t *until(const tr__loop *loop, uint64_t until_ns)
{
    return until_ns == TR__NEVER ? json_null() : ms(until_ns > loop->now_ns ? until_ns - loop->now_ns : 0);
}

/* ---- what it waits for --------------------------------------------------------------------------------- */

static void add_waiting(json_t *answer, const tr__loop *loop, const tr_actor *actor)
{
    static const char *const words[] = {NULL, "answer", "message", "time", "places", "demand"};
    tr__asked asks[ASKS_MAX];
    tr__waiting waiting;
    size_t count = tr__waiting_of(actor, &waiting, asks, ASKS_MAX);
    json_t *all = json_array();
    for (size_t i = 0; i < count && i < ASKS_MAX; i++)
        json_array_append_new(all, json_pack("{s:o, s:s, s:o, s:o, s:b}", "of",
                                             tr__operator_address(asks[i].callee), "type", asks[i].type,
                                             "since_ms", since(loop, asks[i].since_ns), "left_ms",
                                             until(loop, asks[i].until_ns), "awaited", asks[i].awaited));
    json_object_set_new(answer, "asks", all);
    json_object_set_new(answer, "ask_count", json_integer((json_int_t)count));
    const char *word = waiting.what < TR_COUNT(words) ? words[waiting.what] : "something";
    json_t *waits =
        word ? json_pack("{s:s, s:s, s:o, s:o}", "for", word, "where", waiting.where ? waiting.where : "",
                         "since_ms", since(loop, waiting.since_ns), "left_ms", until(loop, waiting.until_ns))
             : NULL;
    if (!tr_addr_is_none(waiting.whom))
        json_object_set_new(waits, "of", tr__operator_address(waiting.whom));
    if (waits)
        json_object_set_new(answer, "waits", waits);
}

/* ---- its messages -------------------------------------------------------------------------------------- */

typedef struct sender {
    tr_addr address;
    uint32_t count;
} sender;

static int by_count(const void *a, const void *b)
{
    const sender *x = a, *y = b;
    return x->count < y->count ? 1 : x->count > y->count ? -1 : x->address.slot < y->address.slot ? -1 : 1;
}

/* Who sent the first SENDERS_OF of those that wait, the most first. */
static json_t *senders_of(const tr_actor *actor)
{
    sender senders[64];
    size_t count = 0, looked = 0;
    for (const tr_msg *msg = actor->head; msg && looked < SENDERS_OF; msg = msg->next, looked++) {
        size_t i = 0;
        while (i < count && !tr_addr_equal(senders[i].address, msg->sender))
            i++;
        if (i == TR_COUNT(senders))
            continue;
        if (i == count)
            senders[count++] = (sender){.address = msg->sender};
        senders[i].count++;
    }
    qsort(senders, count, sizeof(senders[0]), by_count);
    json_t *all = json_array();
    for (size_t i = 0; i < count && i < SENDERS_MAX; i++)
        json_array_append_new(all,
                              json_pack("{s:o, s:i}", "address", tr__operator_address(senders[i].address),
                                        "count", (int)senders[i].count));
    return all;
}

static bool is_asked_by(const tr_msg *msg, tr_addr asker)
{
    return msg && msg->kind == TR__MSG_ASK && !(msg->flags & TR__MSG_ANSWERED) &&
           tr_addr_equal(msg->sender, asker);
}

/* Where the ask of `asker` is: with how many messages before it in the mailbox, if it is there. */
static const char *place_of_ask(const tr_actor *actor, tr_addr asker, uint32_t *ahead)
{
    const tr_msg *first = actor->extras ? actor->extras->kept : NULL, *kept = first;
    *ahead = 0;
    if (actor->fiber && is_asked_by(actor->fiber->received, asker))
        return "in hand";
    if (kept)
        do {
            if (is_asked_by(kept, asker))
                return "kept";
            kept = kept->next;
        } while (kept != first);
    for (const tr_msg *msg = actor->head; msg; msg = msg->next, (*ahead)++)
        if (is_asked_by(msg, asker))
            return "queued";
    return "not here";
}

static uint32_t kept_by(const tr_actor *actor)
{
    const tr_msg *first = actor->extras ? actor->extras->kept : NULL, *msg = first;
    uint32_t count = 0;
    if (msg)
        do {
            count += msg->kind == TR__MSG_ASK && !(msg->flags & TR__MSG_ANSWERED);
            msg = msg->next;
        } while (msg != first);
    return count;
}

static void add_messages(json_t *answer, const json_t *request, const tr_actor *actor)
{
    const tr_msg *hand = actor->fiber ? actor->fiber->received : NULL;
    const char *asker = json_string_value(json_object_get(request, "asker"));
    tr_addr address;
    json_object_set_new(answer, "kept", json_integer((json_int_t)kept_by(actor)));
    if (hand)
        json_object_set_new(answer, "in_hand",
                            tr__operator_text(hand->type ? hand->type->name : "signal", TR_NAME_MAX));
    if (actor->head) {
        json_object_set_new(
            answer, "next",
            tr__operator_text(actor->head->type ? actor->head->type->name : "signal", TR_NAME_MAX));
        json_object_set_new(answer, "from", senders_of(actor));
    }
    if (asker && tr__addr_parse(asker, &address, NULL) == TR_OK) {
        uint32_t ahead;
        json_object_set_new(answer, "ask", json_string(place_of_ask(actor, address, &ahead)));
        json_object_set_new(answer, "ahead", json_integer((json_int_t)ahead));
    }
}

/* ---- the request --------------------------------------------------------------------------------------- */

static bool is_here(tr_actor *self, const tr__operator_job *job)
{
    const tr_node *node = tr__owner(self)->node;
    const char *to = json_string_value(json_object_get(job->request, "to"));
    tr_addr address;
    return !to || *to != '<' || tr__addr_parse(to, &address, NULL) != TR_OK || address.node == node->id;
}

void tr__operator_run_why(tr_actor *self, tr__operator_job *job)
{
    tr__loop *loop = tr__owner(self);
    if (json_object_get(job->request, "via")) {
        tr__operator_relay(self, job);
        return;
    }
    if (!is_here(self, job)) {
        tr_fail(self, TR_EADDR, "that actor is not of node %s", loop->node->name);
        tr__operator_fail(self, job);
        return;
    }
    const tr_actor *actor = tr__operator_target(self, job);
    if (!actor) {
        tr__operator_fail(self, job);
        return;
    }
    loop->now_ns = tr__now_fresh(loop);
    json_t *row = tr__operator_names(loop->node, job) ? tr__operator_actor(job, actor) : NULL;
    json_t *answer = row ? json_pack("{s:b, s:s, s:i, s:o}", "ok", 1, "node", loop->node->name, "loop",
                                     loop->index, "actor", row)
                         : NULL;
    if (answer) {
        add_waiting(answer, loop, actor);
        add_messages(answer, job->request, actor);
        json_t *transactions = tr_addr_equal(tr__addr_of(actor), TR__TX_MANAGER_OF(loop->node->id))
                                   ? tr__transactions_why(loop->node, job->request)
                                   : NULL;
        if (transactions)
            json_object_set_new(answer, "transaction", transactions);
    }
    tr__operator_answer(self, job, answer);
}
