/* What a transaction waits for, for `troupe why`: reads the manager's state. Loop 0. */
#include <string.h>

#include "actors/tx/internal.h"
#include "actors/tx/manager.h"

static json_t *ms_since(const tr__tx *tx, uint64_t since_ns)
{
    uint64_t now = tr__tx_now(tx);
    return json_integer((json_int_t)((now > since_ns && since_ns ? now - since_ns : 0) / 1000000u));
}

static json_t *id_text(const tr_tx_id *id)
{
    char text[TR_TX_ID_TEXT];
    return json_string(tr__tx_id_format(id, text));
}

/* ---- who called: the transactions of an actor of this node --------------------------------------------- */

static void add_parties(json_t *one, const tr__tx_caller *caller)
{
    static const char *const states[] = {"calling", "committing", "reading"};
    json_t *calls = json_array();
    for (const tr__tx_pending_call *call = caller->pending; call; call = call->next) {
        const tr__tx_party *party = &caller->parties[call->party];
        json_array_append_new(calls, json_pack("{s:s, s:s}", "node", party->node, "actor", party->actor));
    }
    json_object_set_new(one, "state", json_string(states[caller->state]));
    json_object_set_new(one, "calls", calls);
    if (caller->broken)
        json_object_set_new(one, "broken", json_string(caller->text));
    if (caller->count)
        json_object_set_new(one, "decider", json_string(caller->parties[caller->coordinator].node));
}

static json_t *client_of(const tr__transactions *t, const tr__tx_client *client)
{
    char address[TR_ADDR_TEXT_MAX];
    tr__tx_caller *caller = NULL;
    tr__addr_format(client->caller, address);
    json_t *one =
        json_pack("{s:o, s:s, s:s}", "id", id_text(&client->id), "caller", address, "state", "open");
    HASH_FIND(hh, t->tx->callers, &client->id, sizeof(client->id), caller);
    if (one && caller)
        add_parties(one, caller);
    return one;
}

/* The transaction of that id, or else the one that the asker waits in; NULL: none. */
static json_t *called(const tr__transactions *t, const tr_tx_id *id, tr_addr asker)
{
    for (const tr__tx_client *client = t->clients; client; client = client->hh.next)
        if (id ? memcmp(&client->id, id, sizeof(*id)) == 0 : tr_addr_equal(client->caller, asker))
            return client_of(t, client);
    return NULL;
}

/* ---- who is called: the lock of a participant ---------------------------------------------------------- */

static json_t *branch_of(const tr__tx *tx, const tr__tx_branch *branch)
{
    static const char *const states[TR__BRANCH_STATES] = {"waiting",   "executing", "ready",     "deciding",
                                                          "preparing", "prepared",  "finishing", "gone"};
    json_t *one = json_pack("{s:o, s:s, s:s}", "id", id_text(&branch->key.id), "state", states[branch->state],
                            "caller", branch->caller);
    if (one && branch->why == TR_TX_WOUNDED)
        json_object_set_new(one, "wounded_by", id_text(&branch->wounder));
    if (one && branch->state >= TR__BRANCH_PREPARING) {
        json_object_set_new(one, "decider", json_string(branch->decider));
        json_object_set_new(one, "since_ms", ms_since(tx, branch->since_ns));
    }
    return one;
}

static json_t *lock_of(const tr__tx *tx, const char *name)
{
    tr__tx_actor *actor = tx->actors;
    while (actor && strcmp(actor->name, name) != 0)
        actor = actor->hh.next;
    if (!actor)
        return NULL;
    json_t *holders = json_array(), *waiting = json_array();
    for (const tr__tx_branch *b = actor->holders; b; b = b->next_holder)
        json_array_append_new(holders, branch_of(tx, b));
    for (const tr__tx_branch *b = actor->waiting; b; b = b->next_waiting)
        json_array_append_new(waiting, branch_of(tx, b));
    return json_pack("{s:s, s:o, s:o}", "participant", name, "held_by", holders, "waiting", waiting);
}

json_t *tr__transactions_why(tr_node *node, const json_t *request)
{
    const tr__transactions *t = node->transactions;
    const char *participant = json_string_value(json_object_get(request, "participant"));
    const char *text = json_string_value(json_object_get(request, "transaction"));
    const char *asker_text = json_string_value(json_object_get(request, "asker"));
    tr_addr asker = TR_ADDR_NONE;
    tr_tx_id id;
    if (!t || !t->tx)
        return NULL;
    if (participant)
        return lock_of(t->tx, participant);
    if (text)
        return tr__tx_id_parse(text, &id) ? called(t, &id, asker) : NULL;
    if (asker_text && tr__addr_parse(asker_text, &asker, NULL) == TR_OK)
        return called(t, NULL, asker);
    return NULL;
}
