/* Snapshots as the state machine sees them: what one has is taken in before the log is replayed behind it; and one is
 * begun when enough segments are closed, after which those go. Taking it is snapshot.c's, on a thread of the seam's. The
 * owner's thread.
 *
 * How it can fail: at start, by name. Later, a disk that is full, no memory, no descriptor, or somebody who looks at the
 * rows, only puts it off, and the log gets longer meanwhile; what is damaged, or unknown, ends the process (io->fatal), as in the log. */
#include <string.h>

#include "actors/tx/internal.h"
#include "actors/tx/snap_rows.h"
#include "actors/tx/snapshot.h"
#include "base/err.h"
#include "base/plant.h"

#define RETRY_NS TR_SECONDS(10)

/* ---- at start ------------------------------------------------------------------------------------------ */

static tr_err restore_outcome(tr__tx *tx, tr_bytes id, tr__tx_reader *reader)
{
    tr_tx_id key;
    uint64_t committed = tr__tx_get_number(reader), ts = tr__tx_get_number(reader);
    if (id.size != sizeof(key) || committed > 1 || !tr__tx_read_all(reader))
        return TR_EPROTO;
    memcpy(&key, id.data, sizeof(key));
    if (tr__tx_outcome_contradicts(tx, &key, committed))
        return TR_EPROTO;
    tr__tx_outcome_put(tx, &key, committed, ts);
    return TR_OK;
}

static tr_err restore_state(tr__tx *tx, tr_bytes key, tr_bytes value)
{
    char name[TR_NAME_MAX];
    const char *bytes = key.data, *end = memchr(bytes, 0, key.size);
    if (!end || (size_t)(end - bytes) >= sizeof(name))
        return TR_EPROTO;
    memcpy(name, bytes, (size_t)(end - bytes) + 1);
    tr__tx_actor *actor = tr__tx_actor_of(tx, name);
    size_t left = key.size - (size_t)(end - bytes) - 1;
    return actor && tr__store_put(&actor->store, end + 1, left, value.data, value.size) ? TR_OK : TR_ENOMEM;
}

/* Rows that are records; 0: this one isn't. */
static tr__tx_record record_of(char letter)
{
    switch (letter) {
    case 'A':
        return TR__RECORD_ACCEPT;
    case 'C':
        return TR__RECORD_COMMIT;
    case 'F':
        return TR__RECORD_FORGOT;
    case 'L':
        return TR__RECORD_LIFE;
    case 'N':
        return TR__RECORD_NAME;
    case 'P':
        return TR__RECORD_PREPARE;
    case 'R':
        return TR__RECORD_PEER;
    case 'X':
        return TR__RECORD_LOST;
    default:
        return (tr__tx_record)0;
    }
}

static uint64_t lsn_of(tr_bytes key)
{
    uint64_t lsn = 0;
    for (size_t i = 0; i < key.size; i++)
        lsn = lsn << 8 | ((const uint8_t *)key.data)[i];
    return lsn;
}

static tr_err restore_row(void *context, tr_bytes key, tr_bytes value, tr_error *error)
{
    tr__tx *tx = context;
    char letter = key.size ? ((const char *)key.data)[0] : '\0';
    tr__tx_reader reader = {value.data, (const uint8_t *)value.data + value.size, false};
    tr_bytes rest = {(const char *)key.data + 1, key.size ? key.size - 1 : 0};
    tr__tx_record type = record_of(letter);
    uint64_t lsn = letter == 'L' ? lsn_of(rest) : letter == 'R' ? tr__tx_get_number(&reader) : 0;
    if (type && !reader.failed)
        return tr__tx_replay(tx, (uint8_t)type, lsn, reader.at, (size_t)(reader.end - reader.at), error);
    tr_err code = letter == 'O'   ? restore_outcome(tx, rest, &reader)
                  : letter == 'E' ? tr__tx_restore_emit(tx, rest, &reader)
                  : letter == 'S' ? restore_state(tx, rest, value)
                                  : TR_EPROTO;
    if (code == TR_EPROTO)
        return tr__fail(
            error, TR_EMISMATCH,
            "a row of the snapshot is whole, but makes no sense (its key begins with %#x): it was "
            "written by another version of Troupe",
            (unsigned)(unsigned char)letter);
    return code == TR_OK ? TR_OK : tr__fail(error, code, "no memory to read the snapshot");
}

tr_err tr__tx_restore(tr__tx *tx, tr__snap_store *rows, tr__log_base *base, tr_error *error)
{
    tr__snap_meta meta;
    TR_TRY(tr__snap_read(rows, &meta, restore_row, tx, error));
    base->lsn = meta.lsn;
    memcpy(base->id, meta.id, sizeof base->id);
    tr__tx_clock_heard(tx, meta.clock);
    tr__tx_outcomes_sort(tx);
    tr__tx_memories_sort(tx);
    return TR_OK;
}

/* ---- later --------------------------------------------------------------------------------------------- */

static void begin(tr__tx *tx, const tr__log_closed *closed)
{
    tr__snap_store *rows = tx->store->snap;
    tr__snapshot *snapshot = tr__snapshot_make(tx->store, tr__log_id(tx->log), rows, closed);
    tx->snapshot_ns = tr__tx_now(tx) + RETRY_NS; /* if it comes to nothing */
    if (!snapshot || !rows->begin(rows, tr__snapshot_step, snapshot)) {
        tr__snapshot_free(snapshot);
        return;
    }
    tx->snapshot = snapshot;
    if (TR_PLANT(segment_early))
        tr__log_drop(tx->log, tr__snapshot_keep(snapshot));
}

static void end(tr__tx *tx)
{
    tr_error error;
    tr__snapshot *snapshot = tx->snapshot;
    tr_err code = tr__snapshot_result(snapshot, &error);
    uint32_t keep = tr__snapshot_keep(snapshot);
    tx->snapshot = NULL;
    tr__snapshot_free(snapshot);
    if (code == TR_OK) {
        tx->snapshots++;
        tx->snapshot_ns = 0;
        tr__log_drop(tx->log, keep);
    } else if (code != TR_ENOSPC && code != TR_ENOMEM && code != TR_EADDRINUSE && code != TR_EFULL) {
        tr__tx_fatal(tx, code, "%s", error.text);
    }
}

void tr__tx_snapshots_go_on(tr__tx *tx)
{
    if (!tx->log || !tx->store->snap || tx->dead)
        return;
    if (tx->snapshot && tx->store->snap->finished(tx->store->snap))
        end(tx);
    tr__log_closed closed = tr__log_closed_of(tx->log);
    if (!tx->snapshot && !tx->dead && !tr__tx_is_held(tx) && closed.count >= closed.enough &&
        tx->snapshot_ns <= tr__tx_now(tx))
        begin(tx, &closed);
}
