/* What the actors of this node ask of its manager. A kept ask is the token that the state machine answers; who asked is
 * watched, once a transaction: its end aborts what it had begun and not committed. Loop 0. Every ask is answered. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/tx/manager.h"
#include "base/err.h"
#include "base/mem.h"

#define SWEEP_NS TR_SECONDS(1)
#define LATE_NS  TR_SECONDS(10) /* so long after its deadline a transaction that wasn't ended is forgotten */

static tr_tx_id id_of(uint64_t front, uint64_t back)
{
    tr_tx_id id;
    memcpy(id.bytes, &front, 8);
    memcpy(id.bytes + 8, &back, 8);
    return id;
}

static const char *meaning(tr_tx_reason reason)
{
    static const char *const meanings[] = {
#define TR__MEANING(name, word, text) text,
        TR_TX_REASONS(TR__MEANING)
#undef TR__MEANING
    };
    return reason < TR_TX_REASON_COUNT ? meanings[reason] : "";
}

static void refuse(tr__transactions *t, const tr_msg *ask, tr_tx_reason reason, const char *text)
{
    tr_reply_error(t->self, ask, reason == TR_TX_APP ? TR_EAPP : TR_EABORTED, "%s",
                   text && text[0] ? text : meaning(reason));
}

/* ---- who has begun what -------------------------------------------------------------------------------- */

static tr__tx_client *client_of(tr__transactions *t, const tr_tx_id *id)
{
    tr__tx_client *client;
    HASH_FIND(hh, t->clients, id, sizeof(*id), client);
    return client;
}

static void note_count(tr__transactions *t)
{
    atomic_store_explicit(&t->client_count, HASH_COUNT(t->clients), memory_order_relaxed);
}

static void client_remove(tr__transactions *t, tr__tx_client *client)
{
    if (client->monitor)
        tr_demonitor(t->self, client->monitor);
    HASH_DEL(t->clients, client);
    note_count(t);
    tr__free(client);
}

/* What was asked for, or the most that there is: nobody holds a place for ever. */
static uint64_t until_at_most(tr__transactions *t, uint64_t until_ns)
{
    uint64_t most = tr__now_fresh(t->node->loops[0]) + TR__TX_DEADLINE_MAX;
    return until_ns < most ? until_ns : most;
}

static tr__tx_client *client_add(tr__transactions *t, const tr_tx_id *id, tr_addr caller, uint64_t until_ns)
{
    tr__tx_client *client =
        HASH_COUNT(t->clients) < TR__TX_UNDECIDED_MAX ? tr__zalloc(sizeof(*client)) : NULL;
    if (!client)
        return NULL;
    client->id = *id;
    client->caller = caller;
    client->until_ns = until_ns;
    HASH_ADD(hh, t->clients, id, sizeof(client->id), client);
    if (!tr__hash_added(client)) {
        tr__free(client);
        return NULL;
    }
    note_count(t);
    client->monitor = tr_monitor(t->self, caller);
    if (client->monitor)
        return client;
    client_remove(t, client);
    return NULL;
}

/* False: it is another actor's, and the ask was refused. */
static bool may(tr__transactions *t, const tr_msg *msg, const tr__tx_client *client)
{
    if (!client || tr_addr_equal(client->caller, tr_msg_sender(msg)))
        return true;
    tr_reply_error(t->self, msg, TR_EPERM, "this transaction is another actor's: only who began it calls");
    return false;
}

/* ---- calls --------------------------------------------------------------------------------------------- */

void tr__callers_call(tr__transactions *t, const tr_msg *msg, const tr__tx_do_call *call)
{
    tr__tx_begin begin = {.id = id_of(call->id_front, call->id_back),
                          .until_ns = until_at_most(t, call->until_ns),
                          .lock_wait_ns = call->lock_wait_ns,
                          .calls = call->calls,
                          .read_only = call->read_only > 0};
    tr__tx_client *client = client_of(t, &begin.id);
    if (!may(t, msg, client))
        return;
    if (!client && !(client = client_add(t, &begin.id, tr_msg_sender(msg), begin.until_ns))) {
        refuse(t, msg, TR_TX_OVERLOAD,
               tr_fmt(t->self, "node %s: %s", t->node->name, meaning(TR_TX_OVERLOAD)));
        return;
    }
    begin.priority = client->priority;
    tr__tx_frame frame = {
        .type = call->type, .fingerprint = call->fingerprint, .writes = call->writes, .body = call->body};
    tr__tx_put_schema(&frame);
    tr_msg *token = tr_msg_take(t->self, msg);
    if (token)
        tr__tx_call(t->tx, &begin, call->path, &frame, token);
    else
        refuse(t, msg, TR_TX_OVERLOAD, NULL);
    if (!client->priority) /* kept here: at its deadline the other is forgotten */
        client->priority = tr__tx_priority(t->tx, &begin.id);
}

/* What the participant replied, in its version of the type. */
static void reply(tr__transactions *t, const tr_msg *ask, const tr__tx_frame *answer)
{
    const char *schema = answer->schema.present ? answer->schema.value : "";
    const tr_typeinfo *info = tr__type_for(answer->type, answer->fingerprint, schema, strlen(schema), NULL);
    size_t size;
    if (!info || info->notice || answer->body.size > TR_TX_REDO_MAX || /* more than a participant may reply */
        tr__cbor_measure(info, answer->body.data, answer->body.size, &size, NULL) != TR_OK) {
        tr_reply_error(t->self, ask, TR_ETYPE, "it was executed, but its reply can't be read here: %s",
                       info ? info->name : "this program declares no such type");
        return;
    }
    void *body = tr__alloc(size);
    if (!body ||
        !tr__cbor_decode(info, answer->body.data, answer->body.size, tr_node_of(t->self)->buffers, body)) {
        tr__free(body);
        tr_reply_error(t->self, ask, TR_ENOMEM, "it was executed; no memory for its reply");
        return;
    }
    tr_type type = tr__type_declared(info);
    tr_reply_body(t->self, ask, &type, body);
    tr__body_release(info, body);
    tr__free(body);
}

void tr__callers_called(void *context, void *token, const tr__tx_frame *answer)
{
    tr__transactions *t = context;
    tr_msg *ask = token;
    const tr__tx_do_call *call = tr__msg_body(ask);
    tr_tx_id id = id_of(call->id_front, call->id_back);
    tr__tx_client *client = client_of(t, &id);
    if (answer->reason) {
        refuse(t, ask, (tr_tx_reason)answer->reason, answer->text);
        if (client && !client->why) {
            client->why = (tr_tx_reason)answer->reason;
            snprintf(client->text, sizeof(client->text), "%s", answer->text ? answer->text : "");
        }
    } else if (answer->type) {
        reply(t, ask, answer);
    } else {
        tr_reply(t->self, ask, tr_tx_called);
    }
    tr_msg_free(t->self, &ask);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

/* Why it can only abort, as far as we know. Called without a place for it among the clients: there was none. */
static tr_tx_reason why_aborted(tr__transactions *t, const tr__tx_client *client, const tr__tx_begin *begin)
{
    if (client)
        return client->why ? client->why : TR_TX_APP;
    return !begin->calls                                        ? TR_TX_APP
           : tr__now_fresh(t->node->loops[0]) > begin->until_ns ? TR_TX_DEADLINE
                                                                : TR_TX_OVERLOAD;
}

static void do_abort(tr__transactions *t, const tr_msg *msg, tr__tx_client *client, const tr__tx_begin *begin)
{
    if (client && client->committing)
        return; /* too late; an ask fails unanswered */
    uint64_t priority = client ? client->priority : 0;
    if (tr_msg_ask_number(msg))
        tr_reply(t->self, msg, tr_tx_done, .status = TR_TX_ABORTED, .reason = why_aborted(t, client, begin),
                 .text = client ? client->text : "", .priority = {priority != 0, priority});
    if (client)
        client_remove(t, client);
    tr__tx_abort(t->tx, &begin->id);
}

static void do_commit(tr__transactions *t, const tr_msg *msg, tr__tx_client *client,
                      const tr__tx_begin *begin)
{
    if (client && client->committing) {
        tr_reply_error(t->self, msg, TR_EINVAL, "this transaction is being committed already");
        return;
    }
    tr_msg *token = tr_msg_take(t->self, msg);
    if (!token)
        return; /* fails unanswered, and nothing is committed */
    if (client)
        client->committing = true;
    tr__tx_commit(t->tx, begin, token);
}

static void do_begin(tr__transactions *t, const tr_msg *msg, tr__tx_client *client, const tr__tx_begin *begin,
                     uint64_t priority)
{
    if (!client && !(client = client_add(t, &begin->id, tr_msg_sender(msg), begin->until_ns))) {
        refuse(t, msg, TR_TX_OVERLOAD,
               tr_fmt(t->self, "node %s: %s", t->node->name, meaning(TR_TX_OVERLOAD)));
        return;
    }
    client->priority = priority;
    tr_reply(t->self, msg, tr_tx_called);
}

void tr__callers_do(tr__transactions *t, const tr_msg *msg, const tr__tx_do *what)
{
    tr__tx_begin begin = {.id = id_of(what->id_front, what->id_back),
                          .until_ns = until_at_most(t, what->until_ns),
                          .lock_wait_ns = what->lock_wait_ns,
                          .calls = what->calls};
    tr__tx_client *client = client_of(t, &begin.id);
    if (!may(t, msg, client))
        return;
    if (client)
        begin.priority = client->priority;
    if (what->what == TR__TX_DO_BEGIN) {
        do_begin(t, msg, client, &begin, what->priority);
    } else if (what->what == TR__TX_DO_ABORT) {
        do_abort(t, msg, client, &begin);
    } else if (what->what == TR__TX_DO_COMMIT) {
        do_commit(t, msg, client, &begin);
    } else {
        char ticket[TR_TX_TICKET_MAX];
        tr__tx_ticket(t->tx, &begin.id, ticket);
        tr_reply(t->self, msg, tr_tx_ticket_is, .ticket = ticket);
    }
}

void tr__callers_resolve(tr__transactions *t, const tr_msg *msg, const tr__tx_do_resolve *resolve)
{
    tr_tx_id id;
    char node[TR_NAME_MAX];
    uint8_t log[TR__LOG_ID_BYTES];
    if (!tr__tx_ticket_parse(resolve->ticket, &id, node, log)) {
        tr_reply_error(t->self, msg, TR_EINVAL,
                       "\"%.60s\" is no ticket of a transaction: give one as tr_tx_ticket made it",
                       resolve->ticket);
        return;
    }
    tr_msg *token = tr_msg_take(t->self, msg);
    if (token)
        tr__tx_resolve(t->tx, resolve->ticket, until_at_most(t, resolve->until_ns), token);
}

void tr__callers_decide(tr__transactions *t, const tr_msg *msg, const tr__tx_do_decide *decide)
{
    tr_msg *token = tr_msg_take(t->self, msg);
    tr_log(t->self, TR_LOG_WARN, "its operator decides by hand: %s transaction %.*s",
           decide->commit ? "commit" : "abort", TR_TX_TICKET_MAX, decide->ticket);
    if (token)
        tr__tx_decide_by_hand(t->tx, decide->ticket, decide->commit, token);
}

void tr__callers_accept(tr__transactions *t, const tr_msg *msg)
{
    tr_error error = {0};
    uint64_t id[2];
    for (int i = 0; i < 2; i++)
        id[i] = tr__random_next(&t->node->loops[0]->random);
    _Static_assert(sizeof(id) == TR__LOG_ID_BYTES, "an id is two random numbers");
    if (tr__tx_accept_log(t->tx, (const uint8_t *)id, &error) != TR_OK) {
        tr_reply_error(t->self, msg, error.code, "%s", error.text);
        return;
    }
    tr_log(t->self, TR_LOG_WARN,
           "its operator goes on with an older copy of the transaction log: what it lacks is lost");
    tr_reply(t->self, msg, tr_tx_called);
}

void tr__callers_hold(tr__transactions *t, const tr_msg *msg, const tr__tx_do_hold *hold)
{
    tr__tx_held held;
    tr_error error = {0};
    char log[2 * TR__LOG_ID_BYTES + 1];
    if (tr__tx_hold(t->tx, hold->token, &held, &error) != TR_OK) {
        tr_reply_error(t->self, msg, error.code, "%s", error.text);
        return;
    }
    for (int i = 0; i < TR__LOG_ID_BYTES; i++)
        snprintf(log + 2 * i, 3, "%02x", held.log[i]);
    tr_reply(t->self, msg, tr__tx_is_held_so, .token = held.token, .path = held.path ? held.path : "",
             .first = held.first, .last = held.last, .end = held.end, .lsn = held.lsn, .log = log);
}

void tr__callers_let_go(tr__transactions *t, const tr_msg *msg, const tr__tx_do_let_go *go)
{
    tr_error error = {0};
    if (tr__tx_let_go(t->tx, go->token, &error) == TR_OK)
        tr_reply(t->self, msg, tr_tx_called);
    else
        tr_reply_error(t->self, msg, error.code, "%s", error.text);
}

void tr__callers_done(void *context, void *token, const tr_tx_done *done)
{
    tr__transactions *t = context;
    tr_msg *ask = token;
    const tr__tx_do *what = tr_match(ask, tr__tx_do);
    tr_reply_body(t->self, ask, &tr_tx_done_type, done);
    if (what) {
        tr_tx_id id = id_of(what->id_front, what->id_back);
        tr__tx_client *client = client_of(t, &id);
        if (client)
            client_remove(t, client);
    }
    tr_msg_free(t->self, &ask);
}

/* ---- callers that go ----------------------------------------------------------------------------------- */

/* Of the few that it had under way; a look at all is cheap beside an actor's end. */
void tr__callers_down(tr__transactions *t, const tr_down *down)
{
    tr__tx_client *client, *next;
    HASH_ITER(hh, t->clients, client, next)
    {
        if (client->monitor != down->monitor)
            continue;
        client->monitor = 0;
        if (tr__may_run(down))
            return; /* it is watched again at the next sweep */
        bool committing = client->committing;
        tr_tx_id id = client->id;
        client_remove(t, client); /* what is being committed is its coordinator's */
        if (!committing)
            tr__tx_abort(t->tx, &id);
        return;
    }
}

void tr__callers_canceled(tr__transactions *t, const tr_canceled *canceled)
{
    tr_msg *first = t->self->extras ? t->self->extras->kept : NULL, *ask = first;
    if (!first)
        return;
    do {
        if (tr_msg_ask_number(ask) == canceled->ask && tr_addr_equal(tr_msg_sender(ask), canceled->asker)) {
            tr__tx_forget(t->tx, ask);
            tr_msg_free(t->self, &ask);
            return;
        }
        ask = ask->next;
    } while (ask != first);
}

void tr__callers_sweep(tr__transactions *t)
{
    uint64_t now = tr__now_fresh(t->node->loops[0]);
    tr__tx_client *client, *next;
    if (now < t->sweep_ns)
        return;
    t->sweep_ns = now + SWEEP_NS;
    HASH_ITER(hh, t->clients, client, next)
    {
        if (now > client->until_ns && now - client->until_ns > LATE_NS)
            client_remove(t, client);
        else if (!client->monitor)
            client->monitor = tr_monitor(t->self, client->caller);
    }
}

void tr__callers_fini(tr__transactions *t)
{
    tr__tx_client *client, *next;
    HASH_ITER(hh, t->clients, client, next)
    client_remove(t, client);
}
