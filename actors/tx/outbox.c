/* The outbox: messages that participants of this node emitted, and that leave when their transaction is committed. The
 * owner's thread.
 *
 *   in a view ─commit is durable─► in the outbox ─sent, again and again─► EMITTED came ─► a record says so, gone
 *       └─abort─► gone
 *
 * An emit is named by the record that committed it (its LSN) and its number there: the COMMIT of who decides, the FINISH of
 * another participant. Those to one receiver go one after the other, in that order, so the receiver's node knows one that
 * comes again by the last it had of our log (inbox.c).
 *
 * Invariants; checks cite them:
 *   E1  An emit is sent only when the record that commits it is durable, and none of an aborted transaction is.
 *   E2  It is in the log, or the snapshot, until a record says that it was delivered: no crash loses it.
 *   E3  What is in the outbox and in branches together is bounded; a call that emits beyond that is refused.
 *   E4  To one receiver none is sent before the one in front of it was delivered.
 *
 * How it can fail: a receiver that can't take it now gets it again, for ever; one that refuses it ends it (counted and told).
 * No memory for what is committed ends the process, as elsewhere. */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/buggify.h"
#include "base/check.h"
#include "base/plant.h"

#define FEW 16 /* receivers that are looked at each time */

/* ---- the two tables ------------------------------------------------------------------------------------ */

static tr__tx_outlet *outlet_of(tr__tx *tx, const tr__emit *emit)
{
    tr__tx_outlet *outlet;
    HASH_FIND(hh, tx->outlets, emit->bytes, emit->to_size, outlet);
    if (outlet || !(outlet = tr__zalloc(sizeof(*outlet))))
        return outlet;
    snprintf(outlet->node, sizeof(outlet->node), "%s", tx->node);
    tr__emit_path(emit->bytes, emit->to_size, outlet->node, outlet->actor);
    memcpy(outlet->path, emit->bytes, emit->to_size);
    HASH_ADD(hh, tx->outlets, path, emit->to_size, outlet);
    if (tr__hash_added(outlet))
        return outlet;
    tr__free(outlet);
    return NULL;
}

static void outlet_end(tr__tx *tx, tr__tx_outlet *outlet)
{
    HASH_DEL(tx->outlets, outlet);
    tr__free(outlet);
}

/* Taken on success. */
static bool put(tr__tx *tx, tr__emit *emit)
{
    tr__tx_outlet *outlet = outlet_of(tx, emit);
    if (!outlet)
        return false;
    HASH_ADD(hh, tx->emits, key, sizeof(emit->key), emit);
    if (!tr__hash_added(emit)) {
        if (!outlet->first)
            outlet_end(tx, outlet);
        return false;
    }
    emit->next = NULL;
    emit->since_ns = tr__tx_now(tx);
    if (outlet->first)
        outlet->last->next = emit;
    else
        outlet->first = emit;
    outlet->last = emit;
    tx->emit_count++;
    tx->emit_bytes += tr__emit_weight(emit);
    return true;
}

static tr__tx_outlet *outlet_with(tr__tx *tx, const tr__emit *emit)
{
    tr__tx_outlet *outlet;
    HASH_FIND(hh, tx->outlets, emit->bytes, emit->to_size, outlet);
    tr__check(outlet && outlet->first, "each emit is one of its receiver's");
    return outlet;
}

/* Out of both; its receiver goes with its last one. */
static void remove_it(tr__tx *tx, tr__emit *emit)
{
    tr__tx_outlet *outlet = outlet_with(tx, emit);
    tr__emit *before = NULL;
    for (tr__emit *at = outlet->first; at != emit; at = at->next)
        before = at;
    if (before)
        before->next = emit->next;
    else
        outlet->first = emit->next;
    if (outlet->last == emit)
        outlet->last = before;
    HASH_DEL(tx->emits, emit);
    tx->emit_count--;
    tx->emit_bytes -= tr__emit_weight(emit);
    tr__free(emit);
    if (!outlet->first)
        outlet_end(tx, outlet);
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static tr_err send_it(tr__tx *tx, const tr__tx_outlet *outlet, const tr__emit *emit, tr_error *error)
{
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_EMIT, &emit->id);
    frame.actor = outlet->actor;
    frame.text = emit->actor;
    frame.log = (tr_bytes){tr__tx_log_id(tx), TR__LOG_ID_BYTES};
    frame.ts = emit->key.lsn;
    frame.number = (uint32_t)emit->key.index;
    frame.type = emit->type;
    frame.fingerprint = emit->fingerprint;
    tr__tx_put_schema(&frame);
    frame.body = (tr_bytes){tr__emit_body(emit), emit->size};
    return tr__tx_send(tx, outlet->node, &frame, error);
}

/* E4. While our log is lost nothing is: what it says of these may be another copy's. */
static void send_first(tr__tx *tx, tr__tx_outlet *outlet)
{
    tr_error error = {0};
    if (tx->lost)
        return;
    tr__tx_pause(tx, &outlet->retry_ns, &outlet->pause_ns);
    if (send_it(tx, outlet, outlet->first, &error) != TR_OK)
        snprintf(outlet->why, sizeof(outlet->why), "%s", error.text);
}

static void send_if_first(tr__tx *tx, const tr__emit *emit)
{
    tr__tx_outlet *outlet = outlet_with(tx, emit);
    if (outlet->first == emit)
        send_first(tx, outlet);
}

/* ---- commit -------------------------------------------------------------------------------------------- */

void tr__tx_emit_commit(tr__tx *tx, const tr_tx_id *id, const char *actor, tr_txview *view, uint64_t lsn,
                        uint64_t *index)
{
    while (view->emits && !tx->dead) {
        tr__emit *emit = view->emits;
        view->emits = emit->next;
        view->emit_count--;
        view->emit_bytes -= tr__emit_weight(emit);
        view->size -= tr__emit_weight(emit);
        emit->key = (tr__emit_key){lsn, (*index)++};
        emit->id = *id;
        snprintf(emit->actor, sizeof(emit->actor), "%s", actor);
        if (tx->log) /* else it is replayed */
            tr__tx_event(tx, id, actor, "emit", emit->bytes);
        if (!put(tx, emit)) {
            tr__free(emit);
            tr__tx_fatal(tx, TR_ENOMEM, "no memory for what a committed transaction emits");
        } else if (tx->log) {
            send_if_first(tx, emit);
        }
    }
    if (!view->emits)
        view->last_emit = NULL;
}

tr_tx_reason tr__tx_emit_reserve(tr__tx *tx, tr__tx_branch *branch, const char **text)
{
    uint32_t more = branch->view.emit_count - branch->emit_count;
    size_t bytes = branch->view.emit_bytes - branch->emit_bytes;
    if (more && (tx->emit_count + more > TR__TX_EMITS_MAX || tx->emit_bytes + bytes > TR__TX_BYTES_MAX)) {
        *text = "this node has 10,000 emitted messages, or 64 MiB of them, that aren't delivered yet: "
                "troupe tx list tells to whom";
        return TR_TX_OVERLOAD;
    }
    branch->emit_count += more;
    branch->emit_bytes += bytes;
    tx->emit_count += more;
    tx->emit_bytes += bytes;
    return TR_TX_NONE;
}

void tr__tx_emit_release(tr__tx *tx, tr__tx_branch *branch)
{
    tx->emit_count -= branch->emit_count;
    tx->emit_bytes -= branch->emit_bytes;
    branch->emit_count = 0;
    branch->emit_bytes = 0;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static void tell(tr__tx *tx, const tr__tx_outlet *outlet, const tr__emit *emit, bool refused, const char *why)
{
    tr__tx_emitted told = {.id = emit->id,
                           .actor = emit->actor,
                           .node = outlet->node,
                           .to = outlet->actor,
                           .since_ns = emit->since_ns,
                           .why = why,
                           .refused = refused};
    if (tx->io->undelivered)
        tx->io->undelivered(tx->context, &told);
}

/* It needs to be sent no more: E2. What can't be written now is sent, and answered, again. */
static void end_it(tr__tx *tx, tr__tx_outlet *outlet, tr__emit *emit, const tr__tx_frame *frame)
{
    bool refused = frame->status == TR__TX_ABORTED, last = !emit->next;
    tr__tx_buffer record = {0};
    tr__tx_put_number(&record, emit->key.lsn);
    tr__tx_put_number(&record, emit->key.index);
    if (tr__tx_append(tx, TR__RECORD_EMITTED, true, &record, NULL, false, NULL) != TR_OK)
        return;
    tr__tx_point_at(tx, TR__TX_POINT_EMIT_OVER);
    tr__tx_event(tx, &emit->id, emit->actor, refused ? "emit refused" : "emitted", outlet->path);
    tx->emitted += !refused;
    tx->emits_refused += refused;
    if (refused)
        tell(tx, outlet, emit, true, frame->text);
    outlet->retry_ns = outlet->pause_ns = 0;
    outlet->why[0] = '\0';
    remove_it(tx, emit);
    if (!last)
        send_first(tx, outlet);
}

void tr__tx_on_emitted(tr__tx *tx, const tr__tx_frame *frame)
{
    tr__emit_key key = {frame->ts, frame->number};
    tr__emit *emit;
    HASH_FIND(hh, tx->emits, &key, sizeof(key), emit);
    tr__tx_outlet *outlet = emit ? outlet_with(tx, emit) : NULL;
    if (!outlet || outlet->first != emit || tx->lost || strcmp(outlet->node, frame->from) != 0 ||
        strcmp(outlet->actor, frame->actor) != 0 || frame->log.size != TR__LOG_ID_BYTES ||
        memcmp(frame->log.data, tr__tx_log_id(tx), TR__LOG_ID_BYTES) != 0) {
        tx->late++;
        return;
    }
    if (frame->status == TR__TX_COMMITTED || frame->status == TR__TX_ABORTED)
        end_it(tx, outlet, emit, frame);
    else
        snprintf(outlet->why, sizeof(outlet->why), "%s", frame->text);
}

/* ---- time and loss ------------------------------------------------------------------------------------- */

void tr__tx_outbox_tick(tr__tx *tx, uint64_t now_ns)
{
    tr__tx_outlet *outlet, *next;
    HASH_ITER(hh, tx->outlets, outlet, next)
    {
        tr__emit *first = outlet->first;
        if (outlet->retry_ns <= now_ns)
            send_first(tx, outlet);
        if (!first->alarmed && now_ns - first->since_ns >= TR__TX_ALARM_NS) {
            first->alarmed = true;
            tell(tx, outlet, first, false, outlet->why);
        }
    }
}

uint64_t tr__tx_outbox_due(const tr__tx *tx)
{
    uint64_t due = HASH_COUNT(tx->outlets) > FEW ? 0 : UINT64_MAX;
    for (const tr__tx_outlet *outlet = tx->outlets; outlet && due; outlet = outlet->hh.next) {
        uint64_t alarm = outlet->first->alarmed ? UINT64_MAX : outlet->first->since_ns + TR__TX_ALARM_NS;
        due = outlet->retry_ns < due ? outlet->retry_ns : due;
        due = alarm < due ? alarm : due;
    }
    return due;
}

void tr__tx_outbox_node_up(tr__tx *tx, const char *node)
{
    tr__tx_outlet *outlet, *next;
    HASH_ITER(hh, tx->outlets, outlet, next)
    {
        if (strcmp(outlet->node, node) != 0)
            continue;
        outlet->pause_ns = 0;
        send_first(tx, outlet);
    }
}

void tr__tx_outbox_fini(tr__tx *tx)
{
    tr__emit *emit, *next;
    HASH_ITER(hh, tx->emits, emit, next)
    {
        remove_it(tx, emit);
    }
}

uint32_t tr__tx_outbox(const tr__tx *tx, tr__tx_emitted *out, uint32_t most)
{
    uint32_t count = 0;
    for (const tr__tx_outlet *outlet = tx->outlets; outlet; outlet = outlet->hh.next)
        for (const tr__emit *emit = outlet->first; emit && count < most; emit = emit->next)
            out[count++] = (tr__tx_emitted){.id = emit->id,
                                            .actor = emit->actor,
                                            .node = outlet->node,
                                            .to = outlet->actor,
                                            .since_ns = emit->since_ns,
                                            .why = outlet->why};
    return count;
}

/* ---- replay -------------------------------------------------------------------------------------------- */

tr_err tr__tx_replay_emitted(tr__tx *tx, tr__tx_reader *reader)
{
    tr__emit_key key;
    tr__emit *emit;
    key.lsn = tr__tx_get_number(reader);
    key.index = tr__tx_get_number(reader);
    HASH_FIND(hh, tx->emits, &key, sizeof(key), emit);
    if (!tr__tx_read_all(reader) || !emit)
        return TR_EPROTO;
    remove_it(tx, emit);
    return TR_OK;
}

/* A row of the snapshot: what its key says, then what snapshot.c has put there. */
tr_err tr__tx_restore_emit(tr__tx *tx, tr_bytes key, tr__tx_reader *reader)
{
    char actor[TR_NAME_MAX];
    bool failed;
    const uint8_t *bytes = key.data;
    tr_tx_id id = tr__tx_get_id(reader);
    tr__tx_get_text(reader, actor, sizeof(actor));
    tr_bytes to = tr__tx_get_bytes(reader), rest = tr__tx_get_bytes(reader);
    if (!tr__tx_read_all(reader) || key.size != 16)
        return TR_EPROTO;
    tr__emit *emit = tr__emit_get(to, rest, &failed);
    if (!emit)
        return failed ? TR_EPROTO : TR_ENOMEM;
    for (int i = 0; i < 8; i++) {
        emit->key.lsn = emit->key.lsn << 8 | bytes[i];
        emit->key.index = emit->key.index << 8 | bytes[8 + i];
    }
    emit->id = id;
    memcpy(emit->actor, actor, sizeof(actor));
    if (put(tx, emit))
        return TR_OK;
    tr__free(emit);
    return TR_ENOMEM;
}
