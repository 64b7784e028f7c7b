/* What comes from outboxes, our own and other nodes': into a mailbox, or, for a participant, as a transaction of its own that
 * we call and commit. The owner's thread.
 *
 *   EMIT ─the receiver is a participant─► called ─► committed, with a mark ─► EMITTED
 *    └─it isn't─► in its mailbox ─► EMITTED
 *
 * I1  A participant executes an emit once: that transaction writes a mark, in what the participant keeps, that names the
 *     last emit of that log which it has executed; one that isn't behind the mark has no effect. Emits of a log to a receiver
 *     come in order (E4), so one mark a log is enough.
 * I2  EMITTED is said when it is in the mailbox, or committed, or refused by the participant; all else is tried again by who
 *     sent it.
 * I3  Only the node whose log it is says how far an emit of that log is: else a peer could name another's log, and a number
 *     far ahead, and what that one emits from then on would be taken for what has come before.
 *
 * A mailbox may get one twice: when its node, or this one, was started anew between the two, or memory for the table of what
 * was put there was missing. */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/plant.h"

#define UNDER_WAY_MAX 256 /* calls of participants for emits, at a time */
#define SEEN_MAX      65536
#define DEADLINE_NS   TR_SECONDS(10)
#define LOCK_WAIT_NS  TR_SECONDS(2)
#define MARK_BYTES    16

/* ---- marks --------------------------------------------------------------------------------------------- */

/* Among the keys of a participant, where none of its own can be: those have no NUL. */
typedef struct mark_key {
    char bytes[TR__MARK_SIZE];
} mark_key;

static mark_key mark_of(const uint8_t *log)
{
    mark_key key = {{'\0'}};
    memcpy(key.bytes + 1, log, TR__LOG_ID_BYTES);
    return key;
}

static void number_put(uint8_t *at, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(number >> (56 - 8 * i));
}

/* By the number of the record, then within it: as bytes, since they begin with what counts most. */
static bool is_behind(const uint8_t *now, const tr__kv *mark)
{
    return !mark || mark->size != MARK_BYTES || memcmp(now, tr__kv_value(mark), MARK_BYTES) > 0;
}

static void place_put(uint8_t place[MARK_BYTES], const tr__emit_key *key)
{
    number_put(place, key->lsn);
    number_put(place + 8, key->index);
}

static bool has_executed(const tr__tx *tx, const tr__tx_frame *frame)
{
    uint8_t place[MARK_BYTES];
    const tr__emit_key key = {frame->ts, frame->number};
    const tr__store *store = tr__tx_state(tx, frame->actor);
    mark_key mark = mark_of(frame->log.data);
    place_put(place, &key);
    return store && !is_behind(place, tr__store_get(store, mark.bytes, sizeof(mark.bytes)));
}

static tr__tx_delivery *delivery_of(tr__tx *tx, const tr_tx_id *id)
{
    tr__tx_delivery *delivery;
    HASH_FIND(hh, tx->deliveries, id, sizeof(*id), delivery);
    return delivery;
}

/* Under the participant's lock, so nothing comes between the look and the mark: I1. */
tr_tx_reason tr__tx_emit_mark(tr__tx *tx, tr__tx_branch *branch, const char **text)
{
    uint8_t place[MARK_BYTES];
    const tr__tx_delivery *delivery =
        strcmp(branch->caller, tx->node) == 0 ? delivery_of(tx, &branch->key.id) : NULL;
    if (!delivery || TR_PLANT(emit_unmarked))
        return TR_TX_NONE;
    mark_key mark = mark_of(delivery->log);
    place_put(place, &delivery->key);
    *text = "it has been executed";
    if (!is_behind(place, tr__view_find(&branch->view, mark.bytes, sizeof(mark.bytes))))
        return TR_TX_BRANCH_LOST; /* who sent it hears so when it is sent again */
    tr_err err = tr__view_write(&branch->view, mark.bytes, sizeof(mark.bytes), place, sizeof(place));
    *text = "no room for what says that it was executed";
    return err == TR_OK ? TR_TX_NONE : tr__tx_reason_of(err);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static void answer(tr__tx *tx, const tr__tx_frame *emit, tr__tx_verdict verdict, tr_tx_reason why,
                   const char *text)
{
    tr__tx_frame frame = *emit;
    char to[TR_NAME_MAX];
    snprintf(to, sizeof(to), "%s", emit->from);
    frame.kind = TR__TX_EMITTED;
    frame.status = verdict;
    frame.reason = why;
    frame.text = text;
    frame.type = frame.fingerprint = 0;
    frame.body = (tr_bytes){NULL, 0};
    frame.schema.present = false;
    tr__tx_send(tx, to, &frame, NULL);
}

static void answer_delivery(tr__tx *tx, const tr__tx_delivery *d, tr__tx_verdict verdict, tr_tx_reason why,
                            const char *text)
{
    const tr__tx_frame emit = {.id = {&d->id, sizeof(d->id)},
                               .from = d->from,
                               .log = {d->log, TR__LOG_ID_BYTES},
                               .actor = d->actor,
                               .ts = d->key.lsn,
                               .number = (uint32_t)d->key.index};
    answer(tx, &emit, verdict, why, text);
}

/* What it refuses now it would refuse again; all else may be otherwise later. */
static tr__tx_verdict verdict_of(tr_tx_reason why)
{
    return why == TR_TX_APP || why == TR_TX_TOO_LARGE ? TR__TX_ABORTED : TR__TX_PENDING;
}

/* ---- to a participant ---------------------------------------------------------------------------------- */

static tr__tx_delivery *delivery_with(tr__tx *tx, const void *token)
{
    tr__tx_delivery *delivery = tx->deliveries;
    while (delivery && delivery != token)
        delivery = delivery->hh.next;
    return delivery;
}

static void delivery_end(tr__tx *tx, tr__tx_delivery *delivery)
{
    HASH_DEL(tx->deliveries, delivery);
    tr__free(delivery);
}

bool tr__tx_delivery_called(tr__tx *tx, void *token, const tr__tx_frame *called)
{
    tr__tx_delivery *d = delivery_with(tx, token);
    if (!d)
        return false;
    if (called->reason) { /* it is given up by the next tick: its caller is at work on it now */
        answer_delivery(tx, d, verdict_of(called->reason), called->reason,
                        called->text[0] ? called->text : tr__tx_reason_meaning(called->reason));
        d->over = true;
    } else {
        tr__tx_commit(tx, &d->begin, d);
    }
    return true;
}

bool tr__tx_delivery_done(tr__tx *tx, void *token, const tr_tx_done *done)
{
    tr__tx_delivery *d = delivery_with(tx, token);
    if (!d)
        return false;
    if (done->status == TR_TX_COMMITTED)
        tr__tx_point_at(tx, TR__TX_POINT_EMIT_DONE);
    if (done->status == TR_TX_COMMITTED)
        answer_delivery(tx, d, TR__TX_COMMITTED, TR_TX_NONE, "");
    else
        answer_delivery(tx, d, done->status == TR_TX_UNKNOWN ? TR__TX_PENDING : verdict_of(done->reason),
                        done->reason, done->text);
    delivery_end(tx, d);
    return true;
}

void tr__tx_deliveries_tick(tr__tx *tx)
{
    tr__tx_delivery *d, *next;
    HASH_ITER(hh, tx->deliveries, d, next)
    {
        if (!d->over)
            continue;
        tr__tx_abort(tx, &d->begin.id);
        delivery_end(tx, d);
    }
}

/* It comes again while the first is under way. */
static bool is_under_way(const tr__tx *tx, const tr__tx_frame *frame)
{
    for (const tr__tx_delivery *d = tx->deliveries; d; d = d->hh.next)
        if (!d->over && strcmp(d->actor, frame->actor) == 0 &&
            memcmp(d->log, frame->log.data, TR__LOG_ID_BYTES) == 0)
            return true;
    return false;
}

static tr__tx_delivery *delivery_make(tr__tx *tx, const tr__tx_frame *frame)
{
    tr__tx_delivery *d = HASH_COUNT(tx->deliveries) < UNDER_WAY_MAX ? tr__zalloc(sizeof(*d)) : NULL;
    if (!d)
        return NULL;
    uint64_t high = tx->io->random(tx->context), low = tx->io->random(tx->context);
    d->begin = (tr__tx_begin){.id = tr__tx_id_make(tx->io->wall_ms(tx->context), high, low),
                              .until_ns = tr__tx_now(tx) + DEADLINE_NS,
                              .lock_wait_ns = LOCK_WAIT_NS};
    memcpy(&d->id, frame->id.data, sizeof(d->id));
    memcpy(d->log, frame->log.data, TR__LOG_ID_BYTES);
    snprintf(d->from, sizeof(d->from), "%s", frame->from);
    snprintf(d->actor, sizeof(d->actor), "%s", frame->actor);
    d->key = (tr__emit_key){frame->ts, frame->number};
    HASH_ADD(hh, tx->deliveries, begin.id, sizeof(d->begin.id), d);
    if (tr__hash_added(d))
        return d;
    tr__free(d);
    return NULL;
}

static void execute(tr__tx *tx, const tr__tx_frame *frame)
{
    if (has_executed(tx, frame)) {
        answer(tx, frame, TR__TX_COMMITTED, TR_TX_NONE, "");
        return;
    }
    if (is_under_way(tx, frame))
        return;
    if (tx->io->may_begin && !tx->io->may_begin(tx->context, frame->from, true)) {
        answer(tx, frame, TR__TX_PENDING, TR_TX_NOT_ALLOWED,
               "its node has no right to begin a transaction there: transact in `may` of its entry");
        return;
    }
    tr__tx_delivery *d = delivery_make(tx, frame);
    if (!d) {
        answer(tx, frame, TR__TX_PENDING, TR_TX_OVERLOAD, "that node delivers 256 others, or has no memory");
        return;
    }
    const tr__tx_begin begin = d->begin; /* as it was before its first call */
    const tr__tx_frame call = {.type = frame->type,
                               .fingerprint = frame->fingerprint,
                               .schema = frame->schema,
                               .body = frame->body,
                               .writes = 1};
    d->begin.calls = 1;
    tr__tx_call(tx, &begin, frame->actor, &call, d);
}

/* ---- to a mailbox -------------------------------------------------------------------------------------- */

static tr__seen_key seen_key_of(const tr__tx_frame *frame)
{
    tr__seen_key key;
    memset(&key, 0, sizeof(key));
    memcpy(key.log, frame->log.data, TR__LOG_ID_BYTES);
    snprintf(key.actor, sizeof(key.actor), "%s", frame->actor);
    return key;
}

static tr__tx_seen *seen_find(tr__tx *tx, const tr__tx_frame *frame)
{
    tr__seen_key key = seen_key_of(frame);
    tr__tx_seen *seen;
    HASH_FIND(hh, tx->seen, &key, sizeof(key), seen);
    return seen;
}

/* The last one; as long as there is memory. */
static void seen_put(tr__tx *tx, const tr__tx_frame *frame)
{
    tr__tx_seen *seen = seen_find(tx, frame);
    if (!seen && HASH_COUNT(tx->seen) >= SEEN_MAX) {
        seen = tx->seen;
        HASH_DEL(tx->seen, seen);
        tr__free(seen);
        seen = NULL;
    }
    if (!seen && (seen = tr__zalloc(sizeof(*seen)))) {
        seen->key = seen_key_of(frame);
        HASH_ADD(hh, tx->seen, key, sizeof(seen->key), seen);
        if (!tr__hash_added(seen)) {
            tr__free(seen);
            seen = NULL;
        }
    }
    if (seen)
        seen->last = (tr__emit_key){frame->ts, frame->number};
}

static bool was_seen(tr__tx *tx, const tr__tx_frame *frame)
{
    const tr__tx_seen *seen = seen_find(tx, frame);
    return seen &&
           (frame->ts < seen->last.lsn || (frame->ts == seen->last.lsn && frame->number <= seen->last.index));
}

void tr__tx_on_emit(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_error error = {0};
    if (frame->log.size != TR__LOG_ID_BYTES || !frame->actor[0])
        return;
    if (!tr__tx_is_log_of(tx, frame)) { /* I3 */
        answer(tx, frame, TR__TX_PENDING, TR_TX_NOT_ALLOWED,
               "its log isn't known as its node's there, or as another node's");
        return;
    }
    if (was_seen(tx, frame)) {
        answer(tx, frame, TR__TX_COMMITTED, TR_TX_NONE, "");
        return;
    }
    tr_err err = tx->io->deliver(tx->context, frame, &error);
    if (err == TR_OK) {
        seen_put(tx, frame);
        answer(tx, frame, TR__TX_COMMITTED, TR_TX_NONE, "");
    } else if (err == TR_EMISMATCH) {
        execute(tx, frame);
    } else {
        answer(tx, frame, err == TR_ETOOBIG ? TR__TX_ABORTED : TR__TX_PENDING,
               err == TR_ETOOBIG ? TR_TX_TOO_LARGE : TR_TX_BRANCH_LOST, error.text);
    }
}

void tr__tx_inbox_fini(tr__tx *tx)
{
    tr__tx_delivery *d, *next_delivery;
    tr__tx_seen *seen, *next_seen;
    HASH_ITER(hh, tx->deliveries, d, next_delivery)
    {
        delivery_end(tx, d);
    }
    HASH_ITER(hh, tx->seen, seen, next_seen)
    {
        HASH_DEL(tx->seen, seen);
        tr__free(seen);
    }
}
