/* See core.h: life, frames, time, and what the others share. The owner's thread.
 *
 * How it can fail: at open, by name. Later, what can't be done ends the transaction it is about; what would make a
 * promise untrue (a force that failed, no memory for what is committed) ends the process, by io->fatal. */
#include "actors/tx/core.h"

#include <stdio.h>
#include <string.h>

#include "actors/tx/internal.h"
#include "base/buggify.h"
#include "base/err.h"
#include "mailbox/utf8.h"

/* ---- what the others share ----------------------------------------------------------------------------- */

void tr__tx_pause(tr__tx *tx, uint64_t *retry_ns, uint64_t *pause_ns)
{
    uint64_t pause = *pause_ns ? *pause_ns * 2 : TR__TX_RETRY_NS;
    *pause_ns = pause < TR__TX_RETRY_MAX_NS ? pause : TR__TX_RETRY_MAX_NS;
    *retry_ns = tr__tx_now(tx) + *pause_ns / 2 + tx->io->random(tx->context) % (*pause_ns / 2 + 1);
}

tr__tx_frame tr__tx_frame_of(tr__tx_kind kind, const tr_tx_id *id)
{
    return (tr__tx_frame){.kind = kind, .id = {id, sizeof(*id)}, .actor = "", .text = ""};
}

tr_err tr__tx_send(tr__tx *tx, const char *node, tr__tx_frame *frame, tr_error *error)
{
    char text[TR_ERROR_TEXT_MAX];
    if (tx->dead)
        return tr__fail(error, TR_ECLOSED, "the transaction manager has ended");
    /* A participant's words may be anything, or cut within a character: what isn't UTF-8 would never arrive. */
    snprintf(text, sizeof(text), "%s", frame->text);
    for (char *at = text; *(at += tr__utf8_valid(at, strlen(at)));)
        *at = '?';
    frame->text = text;
    frame->from = tx->node;
    frame->clock = ++tx->clock;
    if (frame->kind != TR__TX_HELLO && strcmp(node, tx->node) != 0)
        TR_TRY(tr__tx_greet(tx, node, error));
    frame->durable.present = true;
    frame->durable.value = tr__tx_durable_for(tx, node);
    return tx->io->send(tx->context, node, frame, error);
}

void tr__tx_clock_heard(tr__tx *tx, uint64_t clock)
{
    if (clock > tx->clock && clock >> 16 <= tx->io->wall_ms(tx->context) + TR__TX_SKEW_MS)
        tx->clock = clock;
}

/* A clock that was far ahead once doesn't make all that begins here be refused until then. */
uint64_t tr__tx_priority_now(tr__tx *tx)
{
    uint64_t wall = tx->io->wall_ms(tx->context);
    if (tx->clock >> 16 > wall + TR__TX_SKEW_MS)
        return wall << 16;
    tx->clock = tx->clock + 1 > wall << 16 ? tx->clock + 1 : wall << 16;
    return tx->clock;
}

void tr__tx_event(tr__tx *tx, const tr_tx_id *id, const char *actor, const char *what, const char *detail)
{
    tx->io->event(tx->context, id, actor, what, detail);
}

void tr__tx_point_at(tr__tx *tx, tr__tx_point point)
{
    tx->io->point(tx->context, point);
}

void tr__tx_fatal(tr__tx *tx, tr_err code, const char *format, ...)
{
    tr_error error;
    va_list args;
    va_start(args, format);
    tr__vfail(&error, code, format, args);
    va_end(args);
    if (!tx->dead)
        tx->io->fatal(tx->context, &error);
    tx->dead = true;
}

tr_tx_reason tr__tx_reason_of(tr_err code)
{
    return code == TR_EFULL ? TR_TX_LOG_FULL : code == TR_ETOOBIG ? TR_TX_TOO_LARGE : TR_TX_OVERLOAD;
}

/* ---- the log ------------------------------------------------------------------------------------------- */

void tr__tx_put_id(tr__tx_buffer *buffer, const tr_tx_id *id)
{
    tr__tx_put_bytes(buffer, id, sizeof(*id));
}

tr_tx_id tr__tx_get_id(tr__tx_reader *reader)
{
    tr_tx_id id = {{0}};
    tr_bytes bytes = tr__tx_get_bytes(reader);
    if (bytes.size == sizeof(id))
        memcpy(&id, bytes.data, sizeof(id));
    else
        reader->failed = true;
    return id;
}

/* A log is one node's, and says so first: what another one promised isn't ours to keep. */
static tr_err name_log(tr__tx *tx, tr_error *error)
{
    tr__tx_buffer record = {0};
    tr__tx_put_text(&record, tx->node);
    return tr__tx_append(tx, TR__RECORD_NAME, false, &record, NULL, false, error);
}

/* What is in each log before anything else, and then in each life of it. */
static tr_err begin_log(tr__tx *tx, tr_error *error)
{
    if (tr__log_last(tx->log) == 0)
        TR_TRY(name_log(tx, error));
    return tx->life_lsn ? TR_OK : tr__tx_life_begin(tx, error);
}

tr_err tr__tx_append(tr__tx *tx, tr__tx_record type, bool finishes, tr__tx_buffer *buffer,
                     tr__tx_force *force, bool now, tr_error *error)
{
    uint64_t lsn = 0;
    tr__iov payload = {buffer->bytes, buffer->length};
    bool begins = type == TR__RECORD_NAME || type == TR__RECORD_LIFE;
    tr_err err = begins ? TR_OK : begin_log(tx, error);
    if (err == TR_OK && !begins && TR_BUGGIFY(log_busy))
        err = tr__fail(error, TR_EAGAIN, "the transaction log waits for the disk");
    if (err == TR_OK)
        err = buffer->failed ? tr__fail(error, TR_ENOMEM, "no memory for a record of the log")
                             : tr__log_append(tx->log, type, finishes, &payload, 1, &lsn, error);
    tr__tx_buffer_free(buffer);
    if (err != TR_OK)
        return err;
    if (type != TR__RECORD_PEER)
        tx->meant_lsn = lsn;
    if (!tx->unforced_ns)
        tx->unforced_ns = tr__tx_now(tx);
    if (force) {
        force->lsn = lsn;
        force->next = NULL;
        *tx->forcing_end = force;
        tx->forcing_end = &force->next;
    }
    if (now)
        tr__log_force(tx->log, lsn); /* never there at once: it was appended just now */
    return TR_OK;
}

static void on_forced(void *context, uint64_t durable)
{
    tr__tx *tx = context;
    if (durable >= tr__log_last(tx->log))
        tx->unforced_ns = 0;
    while (tx->forcing && tx->forcing->lsn <= durable && !tx->dead) {
        tr__tx_force *force = tx->forcing;
        tx->forcing = force->next;
        if (!tx->forcing)
            tx->forcing_end = &tx->forcing;
        force->lsn = 0;
        force->then(tx, force);
    }
}

static void on_failed(void *context, const tr_error *error)
{
    tr__tx_fatal(context, error->code, "%s", error->text);
}

static tr_err replay_name(tr__tx *tx, tr__tx_reader *reader)
{
    tr__tx_get_text(reader, tx->log_of, sizeof(tx->log_of));
    if (!tr__tx_read_all(reader))
        return TR_EPROTO;
    return strcmp(tx->log_of, tx->node) == 0 ? TR_OK : TR_EEXIST;
}

tr_err tr__tx_replay(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                     tr_error *error)
{
    static tr_err (*const replay[])(tr__tx *, tr__tx_reader *) = {
        [TR__RECORD_PREPARE] = tr__tx_replay_prepare, [TR__RECORD_FINISH] = tr__tx_replay_finish,
        [TR__RECORD_COMMIT] = tr__tx_replay_commit,   [TR__RECORD_TOMB] = tr__tx_replay_tomb,
        [TR__RECORD_END] = tr__tx_replay_end,         [TR__RECORD_NAME] = replay_name,
        [TR__RECORD_LIFE] = tr__tx_replay_life,       [TR__RECORD_PEER] = tr__tx_replay_peer,
        [TR__RECORD_LOST] = tr__tx_replay_lost,       [TR__RECORD_ACCEPT] = tr__tx_replay_accept,
        [TR__RECORD_FORGOT] = tr__tx_replay_forgot,   [TR__RECORD_EMITTED] = tr__tx_replay_emitted,
    };
    tr__tx *tx = context;
    tx->replay_lsn = lsn;
    tr__tx_reader reader = {payload, (const uint8_t *)payload + length, false};
    tr_err err = type < TR_COUNT(replay) && replay[type] ? replay[type](tx, &reader) : TR_EPROTO;
    if (err == TR_EEXIST)
        return tr__fail(error, TR_EMISMATCH,
                        "this transaction log is node %s's, not node %s's: give each its own", tx->log_of,
                        tx->node);
    if (err == TR_EPROTO)
        return tr__fail(error, TR_EMISMATCH,
                        "record %llu of the transaction log is whole, but makes no sense (type %u): "
                        "it was written by another version of Troupe, or two logs were mixed",
                        (unsigned long long)lsn, type);
    return err == TR_OK ? TR_OK : tr__fail(error, err, "no memory to replay the transaction log");
}

static const tr__log_upcalls upcalls = {.record = tr__tx_replay, .forced = on_forced, .failed = on_failed};

/* ---- life ---------------------------------------------------------------------------------------------- */

static void tell_recovered(tr__tx *tx)
{
    for (tr__tx_branch *branch = tx->branches; branch; branch = branch->hh.next)
        tr__tx_event(tx, &branch->key.id, branch->at->name, "recover", "in doubt");
    for (tr__tx_decision *decision = tx->decisions; decision; decision = decision->hh.next)
        tr__tx_event(tx, &decision->id, "", "recover", "committed");
}

/* What its snapshot has, then what the log has behind that. */
static tr_err open_log(tr__tx *tx, const tr__log_options *options, tr_error *error)
{
    tr__log_base base = {0};
    if (tx->store->snap)
        TR_TRY(tr__tx_restore(tx, tx->store->snap, &base, error));
    tx->log = tr__log_open(tx->store, options, base.lsn ? &base : NULL, &upcalls, tx, error);
    return tx->log ? TR_OK : error->code;
}

tr__tx *tr__tx_open(const char *node, uint64_t id, tr__log_store *store, const tr__log_options *options,
                    const tr__tx_io *io, void *context, tr_error *error)
{
    tr__tx *tx = tr__zalloc(sizeof(*tx));
    if (!tx) {
        tr__fail(error, TR_ENOMEM, "no memory for transactions");
        return NULL;
    }
    snprintf(tx->node, sizeof(tx->node), "%s", node);
    tx->id = id;
    tx->io = io;
    tx->context = context;
    tx->forcing_end = &tx->forcing;
    tx->clock = io->wall_ms(context) << 16;
    tr__tx_keep_outcomes(tx, TR__TX_KEEP_NS);
    tr__tx_outcomes_most(tx, TR__TX_OUTCOMES_MAX);
    tx->store = store;
    tx->decided_in = &tr__decisions_in_log;
    if (store && open_log(tx, options, error) != TR_OK) {
        tr__tx_close(tx);
        return NULL;
    }
    if (store)
        begin_log(tx, NULL); /* if it can't be now, the first record does it */
    tell_recovered(tx);
    return tx;
}

void tr__tx_close(tr__tx *tx)
{
    if (!tx)
        return;
    if (tx->decided_in->close)
        tx->decided_in->close(tx->decided_in);
    tr__tx_callers_fini(tx);
    tr__tx_crowds_fini(tx);
    tr__tx_resolvers_fini(tx);
    tr__tx_decisions_fini(tx);
    tr__tx_outcomes_fini(tx);
    tr__tx_branches_fini(tx);
    tr__tx_doubts_fini(tx);
    tr__tx_memories_fini(tx);
    tr__tx_outbox_fini(tx);
    tr__tx_inbox_fini(tx);
    tr__log_close(tx->log);
    tr__snapshot_free(tx->snapshot); /* its thread went with the store */
    tr__free(tx);
}

bool tr__tx_has_log(const tr__tx *tx)
{
    return tx->log != NULL;
}

/* ---- frames and time ----------------------------------------------------------------------------------- */

static void on_answer(tr__tx *tx, const tr__tx_frame *frame)
{
    if (frame->actor[0])
        tr__tx_on_answer_branch(tx, frame);
    else
        tr__tx_on_answer_resolve(tx, frame);
}

void tr__tx_receive(tr__tx *tx, const tr__tx_frame *frame)
{
    static void (*const handlers[TR__TX_KINDS])(tr__tx *, const tr__tx_frame *) = {
        [TR__TX_CALL] = tr__tx_on_call,       [TR__TX_CALLED] = tr__tx_on_called,
        [TR__TX_COMMIT] = tr__tx_on_commit,   [TR__TX_OUTCOME] = tr__tx_on_outcome,
        [TR__TX_PREPARE] = tr__tx_on_prepare, [TR__TX_VOTE] = tr__tx_on_vote,
        [TR__TX_DECIDE] = tr__tx_on_decide,   [TR__TX_ACK] = tr__tx_on_ack,
        [TR__TX_INQUIRE] = tr__tx_on_inquire, [TR__TX_ANSWER] = on_answer,
        [TR__TX_DROP] = tr__tx_on_drop,       [TR__TX_ASK] = tr__tx_on_ask,
        [TR__TX_HELLO] = tr__tx_on_hello,     [TR__TX_EMIT] = tr__tx_on_emit,
        [TR__TX_EMITTED] = tr__tx_on_emitted,
    };
    if (tx->dead || frame->id.size != sizeof(tr_tx_id) || frame->kind >= TR__TX_KINDS ||
        !handlers[frame->kind])
        return;
    if (frame->kind != TR__TX_HELLO && !tr__tx_heard(tx, frame))
        return; /* as one that got lost */
    tr__tx_clock_heard(tx, frame->clock);
    handlers[frame->kind](tx, frame);
}

void tr__tx_poll(tr__tx *tx)
{
    if (tx->log && !tx->dead)
        tr__log_poll(tx->log);
    if (tx->decided_in->poll && !tx->dead)
        tx->decided_in->poll(tx->decided_in, tx);
    tr__tx_snapshots_go_on(tx);
}

/* Also when nobody appends: who does next needs the place. */
static void look_for_room(tr__tx *tx, uint64_t now)
{
    if (!tx->log || !tr__log_lacks_room(tx->log) || now < tx->room_ns)
        return;
    tx->room_ns = now + TR__TX_ROOM_NS;
    tr__log_look_for_room(tx->log);
}

void tr__tx_tick(tr__tx *tx)
{
    uint64_t now = tr__tx_now(tx);
    if (tx->dead)
        return;
    look_for_room(tx, now);
    tr__tx_branches_tick(tx, now);
    tr__tx_decisions_tick(tx, now);
    tr__tx_callers_tick(tx, now);
    tr__tx_resolvers_tick(tx, now);
    tr__tx_memories_tick(tx, now);
    tr__tx_outcomes_tick(tx, now);
    tr__tx_deliveries_tick(tx);
    tr__tx_outbox_tick(tx, now);
    if (tx->unforced_ns && now - tx->unforced_ns >= TR__TX_FORCE_NS) {
        tx->unforced_ns = now;
        tr__log_force(tx->log, tr__log_last(tx->log));
    }
    tr__tx_snapshots_go_on(tx);
}

bool tr__tx_waits(const tr__tx *tx)
{
    return !tx->dead &&
           (tx->branches || tx->decisions || tx->callers || tx->resolvers || tx->forcing || tx->unforced_ns ||
            tx->unkept || tx->outlets || tx->deliveries || (tx->log && tr__log_lacks_room(tx->log)));
}

#define FEW_CALLERS 16 /* so many are looked at each time */

uint64_t tr__tx_due(const tr__tx *tx, uint64_t now_ns)
{
    uint64_t due = UINT64_MAX, soon = now_ns + TR__TX_TICK_NS;
    if (!tr__tx_waits(tx))
        return due;
    if (tx->branches || tx->decisions || tx->resolvers || tx->forcing || tx->unforced_ns || tx->unkept ||
        tx->deliveries || (tx->log && tr__log_lacks_room(tx->log)) || HASH_COUNT(tx->callers) > FEW_CALLERS)
        return soon;
    for (const tr__tx_caller *caller = tx->callers; caller; caller = caller->hh.next)
        due = caller->begin.until_ns < due ? caller->begin.until_ns : due;
    uint64_t emits = tr__tx_outbox_due(tx);
    due = emits < due ? emits : due;
    return due > soon ? due : soon;
}

void tr__tx_node_down(tr__tx *tx, const char *node)
{
    tr__tx_peer_down(tx, node);
    tr__tx_branches_node_down(tx, node);
    tr__tx_doubts_node_down(tx, node);
    tr__tx_decisions_node_down(tx, node);
    tr__tx_callers_node_down(tx, node);
}

/* Who waits for it asks, or is told, at once. */
void tr__tx_node_up(tr__tx *tx, const char *node)
{
    tr__tx_greet(tx, node, NULL); /* if it can't be now, the first frame does it */
    tr__tx_doubts_node_up(tx, node);
    tr__tx_decisions_node_up(tx, node);
    tr__tx_resolvers_node_up(tx, node);
    tr__tx_outbox_node_up(tx, node);
}

/* ---- for who looks ------------------------------------------------------------------------------------- */

const tr__store *tr__tx_state(const tr__tx *tx, const char *name)
{
    tr__tx_actor *actor;
    HASH_FIND_STR(tx->actors, name, actor);
    return actor ? &actor->store : NULL;
}

bool tr__tx_has_versions(const tr__tx *tx)
{
    for (const tr__tx_actor *actor = tx->actors; actor; actor = actor->hh.next)
        if (tr__store_version(&actor->store))
            return true;
    for (const tr__tx_branch *branch = tx->branches; branch; branch = branch->hh.next)
        if (branch->state == TR__BRANCH_PREPARED && tr__view_version(&branch->view))
            return true;
    return false;
}

void tr__tx_versions(const tr__tx *tx, void (*fn)(void *context, const char *actor, uint32_t version),
                     void *context)
{
    for (const tr__tx_actor *actor = tx->actors; actor; actor = actor->hh.next)
        if (tr__store_version(&actor->store))
            fn(context, actor->name, tr__store_version(&actor->store));
}

const char *tr__tx_lost(const tr__tx *tx)
{
    return tx->lost ? tx->lost_text : NULL;
}

void tr__tx_figures_of(const tr__tx *tx, tr__tx_figures *figures)
{
    *figures = (tr__tx_figures){.branches = HASH_COUNT(tx->branches),
                                .deciding = HASH_COUNT(tx->decisions),
                                .calling = HASH_COUNT(tx->callers),
                                .wounds = tx->wounds,
                                .snapshots = tx->snapshots,
                                .asked = tx->asked,
                                .alarms = tx->alarms,
                                .late = tx->late,
                                .outcomes = HASH_COUNT(tx->outcomes),
                                .outcomes_early = tx->outcomes_early,
                                .committed = tx->committed,
                                .aborted = tx->aborted,
                                .forces = tx->log ? tr__log_forces(tx->log) : 0,
                                .records = tx->log ? tr__log_last(tx->log) : 0,
                                .emits = HASH_COUNT(tx->emits),
                                .oldest_emit_ns = tx->emits ? tx->emits->since_ns : 0,
                                .emitted = tx->emitted,
                                .emits_refused = tx->emits_refused};
    for (const tr__tx_branch *branch = tx->branches; branch; branch = branch->hh.next) {
        if (branch->state != TR__BRANCH_PREPARED)
            continue;
        figures->prepared++;
        if (!figures->oldest_prepared_ns || branch->since_ns < figures->oldest_prepared_ns)
            figures->oldest_prepared_ns = branch->since_ns;
    }
}
