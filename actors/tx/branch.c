/* Branches as things: their states, where they are found, how they end, and how they come back from the log. What they
 * do is in participant.c. The owner's thread. */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/plant.h"

/* ---- states -------------------------------------------------------------------------------------------- */

#define TO(state) (1u << TR__BRANCH_##state)

static const struct {
    const char *name;
    unsigned next; /* the states that may follow */
} states[TR__BRANCH_STATES] = {
    [TR__BRANCH_WAITING] = {"waiting", TO(EXECUTING) | TO(GONE)},
    [TR__BRANCH_EXECUTING] = {"executing", TO(READY) | TO(WAITING) | TO(GONE)},
    [TR__BRANCH_READY] = {"ready", TO(WAITING) | TO(EXECUTING) | TO(DECIDING) | TO(PREPARING) | TO(GONE)},
    [TR__BRANCH_DECIDING] = {"deciding", TO(GONE)},
    [TR__BRANCH_PREPARING] = {"preparing", TO(PREPARED)},
    [TR__BRANCH_PREPARED] = {"prepared", TO(BY_HAND) | TO(FINISHING) | TO(GONE)},
    [TR__BRANCH_BY_HAND] = {"decided by hand", TO(GONE)},
    [TR__BRANCH_FINISHING] = {"finishing", TO(GONE)},
    [TR__BRANCH_GONE] = {"gone", 0},
};

void tr__tx_branch_go(tr__tx *tx, tr__tx_branch *branch, tr__tx_branch_state state)
{
    (void)tx;
    tr__check(states[branch->state].next & 1u << state, "a branch does not go from %s to %s",
              states[branch->state].name, states[state].name);
    branch->state = state;
    tr__check(!tr__view_has_written(&branch->view) || state == TR__BRANCH_GONE ||
                  state == TR__BRANCH_WAITING || (branch->holds && branch->exclusive),
              "T1: a branch that wrote holds the lock");
}

/* ---- the tables ---------------------------------------------------------------------------------------- */

tr__tx_actor *tr__tx_actor_of(tr__tx *tx, const char *name)
{
    tr__tx_actor *actor;
    HASH_FIND_STR(tx->actors, name, actor);
    if (actor)
        return actor;
    actor = tr__zalloc(sizeof(*actor));
    if (!actor)
        return NULL;
    snprintf(actor->name, sizeof(actor->name), "%s", name);
    actor->number = ++tx->next_actor;
    HASH_ADD_STR(tx->actors, name, actor);
    if (!tr__hash_added(actor)) {
        tr__free(actor);
        return NULL;
    }
    return actor;
}

void tr__tx_actor_unused(tr__tx *tx, tr__tx_actor *actor)
{
    if (actor->branches || actor->store.entries)
        return;
    HASH_DEL(tx->actors, actor);
    tr__free(actor);
}

static tr__branch_key key_of(const tr_tx_id *id, const tr__tx_actor *actor)
{
    tr__branch_key key;
    memset(&key, 0, sizeof(key));
    key.id = *id;
    key.actor = actor->number;
    return key;
}

tr__tx_branch *tr__tx_branch_find(tr__tx *tx, const tr_tx_id *id, const char *name)
{
    tr__tx_actor *actor;
    tr__tx_branch *branch = NULL;
    HASH_FIND_STR(tx->actors, name, actor);
    if (actor) {
        tr__branch_key key = key_of(id, actor);
        HASH_FIND(hh, tx->branches, &key, sizeof(key), branch);
    }
    return branch;
}

tr__tx_local *tr__tx_local_find(tr__tx *tx, const tr_tx_id *id)
{
    tr__tx_local *local;
    HASH_FIND(hh, tx->locals, id, sizeof(*id), local);
    return local;
}

static tr__tx_local *local_of(tr__tx *tx, const tr_tx_id *id)
{
    tr__tx_local *local = tr__tx_local_find(tx, id);
    if (local || !(local = tr__zalloc(sizeof(*local))))
        return local;
    local->id = *id;
    HASH_ADD(hh, tx->locals, id, sizeof(local->id), local);
    if (tr__hash_added(local))
        return local;
    tr__free(local);
    return NULL;
}

static void local_unused(tr__tx *tx, tr__tx_local *local)
{
    if (local->branches)
        return;
    HASH_DEL(tx->locals, local);
    tr__free(local);
}

static void local_put(tr__tx_local *local, tr__tx_branch *branch)
{
    branch->local = local;
    branch->next_local = local->branches;
    local->branches = branch;
    local->count++;
}

static void local_take(tr__tx *tx, tr__tx_branch *branch)
{
    tr__tx_branch **at = &branch->local->branches;
    while (*at != branch)
        at = &(*at)->next_local;
    *at = branch->next_local;
    branch->local->count--;
    local_unused(tx, branch->local);
}

tr__tx_branch *tr__tx_branch_make(tr__tx *tx, const tr_tx_id *id, tr__tx_actor *actor)
{
    tr__tx_local *local = local_of(tx, id);
    tr__tx_branch *branch = local ? tr__zalloc(sizeof(*branch)) : NULL;
    if (!branch) {
        if (local)
            local_unused(tx, local);
        return NULL;
    }
    branch->key = key_of(id, actor);
    branch->at = actor;
    branch->state = TR__BRANCH_READY;
    branch->calls_end = &branch->calls;
    branch->view.store = &actor->store;
    HASH_ADD(hh, tx->branches, key, sizeof(branch->key), branch);
    if (!tr__hash_added(branch)) {
        tr__free(branch);
        local_unused(tx, local);
        return NULL;
    }
    local_put(local, branch);
    actor->branches++;
    return branch;
}

void tr__tx_call_pop(tr__tx *tx, tr__tx_branch *branch)
{
    tr__tx_call_at *call = branch->calls;
    tx->bytes -= call->size + call->schema_size;
    branch->calls = call->next;
    if (!branch->calls)
        branch->calls_end = &branch->calls;
    branch->call_count--;
    tr__free(call);
}

static void branch_free(tr__tx *tx, tr__tx_branch *branch)
{
    tr__tx_actor *actor = branch->at;
    while (branch->calls)
        tr__tx_call_pop(tx, branch);
    tx->bytes -= branch->bytes;
    tr__tx_emit_release(tx, branch);
    tr__view_clear(&branch->view);
    local_take(tx, branch);
    HASH_DEL(tx->branches, branch);
    tr__free(branch->parties);
    tr__free(branch);
    actor->branches--;
}

void tr__tx_branches_fini(tr__tx *tx)
{
    tr__tx_branch *branch, *next_branch;
    tr__tx_actor *actor, *next_actor;
    tr__tx_tomb *tomb, *next_tomb;
    HASH_ITER(hh, tx->branches, branch, next_branch)
    {
        branch_free(tx, branch);
    }
    HASH_ITER(hh, tx->actors, actor, next_actor)
    {
        tr__store_fini(&actor->store);
        HASH_DEL(tx->actors, actor);
        tr__free(actor);
    }
    HASH_ITER(hh, tx->tombs, tomb, next_tomb)
    {
        HASH_DEL(tx->tombs, tomb);
        tr__free(tomb);
    }
}

/* ---- tombs --------------------------------------------------------------------------------------------- */

static tr__tx_tomb *tomb_of(tr__tx *tx, const tr_tx_id *id, const char *name)
{
    tr__tx_actor *actor;
    tr__tx_tomb *tomb = NULL;
    HASH_FIND_STR(tx->actors, name, actor);
    if (actor) {
        tr__branch_key key = key_of(id, actor);
        HASH_FIND(hh, tx->tombs, &key, sizeof(key), tomb);
    }
    return tomb;
}

bool tr__tx_is_entombed(tr__tx *tx, const tr_tx_id *id, const char *name)
{
    return tomb_of(tx, id, name) != NULL;
}

tr_tx_reason tr__tx_branch_gone_why(tr__tx *tx, const tr_tx_id *id, const char *name)
{
    const tr__tx_tomb *tomb = tomb_of(tx, id, name);
    return tomb && tomb->why == TR_TX_WOUNDED ? TR_TX_WOUNDED : TR_TX_BRANCH_LOST;
}

/* Best effort: without one a call that comes twice begins a branch that ends at its deadline. Until then nobody is told
 * that a branch which was given up is (doubt.c). */
static void tomb_put(tr__tx *tx, const tr__branch_key *key, tr__tx_actor *actor, tr_tx_reason why,
                     uint64_t until_ns)
{
    if (until_ns <= tr__tx_now(tx))
        return;
    tr__tx_tomb *tomb = HASH_COUNT(tx->tombs) < TR__TX_TOMBS_MAX ? tr__zalloc(sizeof(*tomb)) : NULL;
    if (tomb) {
        tomb->key = *key;
        tomb->at = actor;
        tomb->why = why;
        tomb->until_ns = until_ns;
        HASH_ADD(hh, tx->tombs, key, sizeof(tomb->key), tomb);
        if (tr__hash_added(tomb)) {
            actor->branches++;
            return;
        }
        tr__free(tomb);
    }
    if (until_ns > tx->tombs_missed_ns)
        tx->tombs_missed_ns = until_ns;
}

void tr__tx_entomb(tr__tx *tx, const tr_tx_id *id, const char *name, uint64_t remaining_ns)
{
    uint64_t left = remaining_ns < TR__TX_DEADLINE_MAX ? remaining_ns : TR__TX_DEADLINE_MAX;
    tr__tx_actor *actor = tx->log && !tomb_of(tx, id, name) ? tr__tx_actor_of(tx, name) : NULL;
    if (!actor)
        return;
    tr__branch_key key = key_of(id, actor);
    tomb_put(tx, &key, actor, TR_TX_BRANCH_LOST, tr__tx_now(tx) + left + TR__TX_LATE_NS);
    tr__tx_actor_unused(tx, actor);
}

void tr__tx_tombs_tick(tr__tx *tx, uint64_t now_ns)
{
    tr__tx_tomb *tomb, *next;
    if (now_ns < tx->tombs_ns)
        return;
    tx->tombs_ns = now_ns + TR_SECONDS(1); /* there may be many */
    HASH_ITER(hh, tx->tombs, tomb, next)
    {
        if (tomb->until_ns > now_ns)
            continue;
        HASH_DEL(tx->tombs, tomb);
        tomb->at->branches--;
        tr__tx_actor_unused(tx, tomb->at);
        tr__free(tomb);
    }
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

void tr__tx_branch_end(tr__tx *tx, tr__tx_branch *branch)
{
    tr__tx_actor *actor = branch->at;
    tr__tx_branch_go(tx, branch, TR__BRANCH_GONE);
    tomb_put(tx, &branch->key, actor, branch->why, branch->deadline_ns + TR__TX_LATE_NS);
    actor->branches++; /* it stays while the lock is handed on */
    tr__tx_unlock(tx, branch);
    branch_free(tx, branch);
    actor->branches--;
    tr__tx_actor_unused(tx, actor);
}

void tr__tx_refuse_call(tr__tx *tx, const tr_tx_id *id, const char *caller, const char *actor,
                        uint32_t number, tr_tx_reason why, const char *text)
{
    tr__tx_frame answer = tr__tx_frame_of(TR__TX_CALLED, id);
    answer.actor = actor;
    answer.number = number;
    answer.reason = why;
    answer.text = text;
    tr__tx_send(tx, caller, &answer, NULL);
}

void tr__tx_wounded_text(const tr_tx_id *wounder, char *out)
{
    char id[TR_TX_ID_TEXT];
    snprintf(out, TR_ERROR_TEXT_MAX, "wounded by transaction %s, which is older",
             tr__tx_id_format(wounder, id));
}

void tr__tx_drop_text(const tr__tx_branch *branch, char *out)
{
    if (branch->why == TR_TX_WOUNDED)
        tr__tx_wounded_text(&branch->wounder, out);
    else if (branch->crowded)
        snprintf(out, TR_ERROR_TEXT_MAX,
                 "%u others wait for it, more than it gets through in the lock wait: try again",
                 branch->at->waiting_count);
    else
        snprintf(out, TR_ERROR_TEXT_MAX, "%s",
                 branch->why == TR_TX_LOCK_TIMEOUT ? "another transaction held it for too long" : "given up");
}

void tr__tx_branch_drop(tr__tx *tx, tr__tx_branch *branch, tr_tx_reason why)
{
    char text[TR_ERROR_TEXT_MAX];
    if (!branch->dropped || branch->state != TR__BRANCH_EXECUTING)
        branch->why = why;
    if (branch->state == TR__BRANCH_EXECUTING) { /* the actor has the view: when it gives it back */
        branch->dropped = true;
        return;
    }
    tr__tx_drop_text(branch, text);
    for (tr__tx_call_at *call = branch->calls; call; call = call->next)
        tr__tx_refuse_call(tx, &branch->key.id, branch->caller, branch->at->name, call->number, why, text);
    tr__tx_event(tx, &branch->key.id, branch->at->name, "drop", tr__tx_reason_word(why));
    tr__tx_branch_end(tx, branch);
}

void tr__tx_branches_drop(tr__tx *tx, const tr_tx_id *id, tr_tx_reason why)
{
    const tr__tx_local *local = tr__tx_local_find(tx, id);
    tr__tx_branch *branch = local ? local->branches : NULL;
    for (tr__tx_branch *next; branch; branch = next) {
        next = branch->next_local;
        if (branch->state <= TR__BRANCH_READY && !branch->dropped)
            tr__tx_branch_drop(tx, branch, why);
    }
}

void tr__tx_branches_wound(tr__tx *tx, const tr_tx_id *id, const tr_tx_id *wounder)
{
    const tr__tx_local *local = tr__tx_local_find(tx, id);
    for (tr__tx_branch *branch = local ? local->branches : NULL; branch; branch = branch->next_local)
        branch->wounder = *wounder;
    tr__tx_branches_drop(tx, id, TR_TX_WOUNDED);
}

bool tr__tx_branch_knows(tr__tx_branch *branch, tr_bytes parties)
{
    tr__free(branch->parties);
    branch->parties = tr__alloc(parties.size + 1);
    branch->parties_size = branch->parties ? parties.size : 0;
    if (branch->parties_size)
        memcpy(branch->parties, parties.data, parties.size);
    return branch->parties != NULL;
}

void tr__tx_branch_apply(tr__tx *tx, tr__tx_branch *branch)
{
    if (!tr__store_apply(&branch->at->store, &branch->view)) {
        tr__tx_fatal(tx, TR_ENOMEM, "no memory to apply a committed transaction to %s", branch->at->name);
        return;
    }
    tr__tx_event(tx, &branch->key.id, branch->at->name, "apply", "");
}

/* ---- replay -------------------------------------------------------------------------------------------- */

tr_err tr__tx_replay_prepare(tr__tx *tx, tr__tx_reader *reader)
{
    char name[TR_NAME_MAX], caller[TR_NAME_MAX], decider[TR_NAME_MAX];
    tr_tx_id id = tr__tx_get_id(reader);
    tr__tx_get_text(reader, name, sizeof(name));
    tr__tx_get_text(reader, caller, sizeof(caller));
    tr__tx_get_text(reader, decider, sizeof(decider));
    tr_bytes log = tr__tx_get_bytes(reader);
    uint64_t ts = tr__tx_get_number(reader);
    tr_bytes parties = tr__tx_get_bytes(reader);
    tr_bytes redo = tr__tx_get_bytes(reader);
    if (!tr__tx_read_all(reader) || log.size != TR__LOG_ID_BYTES || tr__tx_branch_find(tx, &id, name))
        return TR_EPROTO;
    tr__tx_actor *actor = tr__tx_actor_of(tx, name);
    tr__tx_branch *branch = actor ? tr__tx_branch_make(tx, &id, actor) : NULL;
    if (!branch)
        return TR_ENOMEM;
    TR_TRY(tr__view_get_redo(&branch->view, redo));
    if (!tr__tx_branch_knows(branch, parties))
        return TR_ENOMEM;
    const char *full; /* it was let in before */
    tx->bytes += branch->bytes = branch->view.size;
    tr__tx_emit_reserve(tx, branch, &full);
    memcpy(branch->caller, caller, sizeof(caller));
    memcpy(branch->decider, decider, sizeof(decider));
    memcpy(branch->decider_log, log.data, TR__LOG_ID_BYTES);
    branch->ts = ts;
    tr__tx_clock_heard(tx, ts);
    if (!TR_PLANT(locks_lost) && !tr__tx_lock(tx, branch, true))
        return TR_EPROTO;                /* two that wrote, prepared at once: no such log was ever written */
    branch->state = TR__BRANCH_PREPARED; /* as it was: not a move */
    branch->since_ns = tr__tx_now(tx);
    return TR_OK;
}

tr_err tr__tx_replay_finish(tr__tx *tx, tr__tx_reader *reader)
{
    char name[TR_NAME_MAX];
    tr_tx_id id = tr__tx_get_id(reader);
    tr__tx_get_text(reader, name, sizeof(name));
    uint64_t committed = tr__tx_get_number(reader), ts = tr__tx_get_number(reader);
    bool by_hand = !reader->failed && reader->at < reader->end && tr__tx_get_number(reader) == 1;
    tr__tx_branch *branch = tr__tx_branch_find(tx, &id, name);
    if (!tr__tx_read_all(reader) || !branch)
        return TR_EPROTO;
    tr__tx_clock_heard(tx, ts);
    if (!by_hand)
        tr__tx_heard_put(tx, &id, committed, ts);
    if (committed && !TR_PLANT(redo_lost) && !tr__store_apply(&branch->at->store, &branch->view))
        return TR_ENOMEM;
    uint64_t index = 0;
    if (committed)
        tr__tx_emit_commit(tx, &id, name, &branch->view, tx->replay_lsn, &index);
    tr__tx_branch_end(tx, branch);
    return TR_OK;
}
