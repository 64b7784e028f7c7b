/* See snapshot.h. */
#include "actors/tx/snapshot.h"

#include <string.h>

#include "actors/tx/internal.h"
#include "actors/tx/log_replay.h"
#include "actors/tx/snap_rows.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/plant.h"

#define FORGET_MOST 1024 /* rows, in a step */

typedef enum stage { TAKING, FORGETTING, SEALING, VERIFYING, OVER } stage;

struct tr__snapshot {
    tr__log_store *log;
    tr__snap_store *rows;
    uint8_t id[TR__LOG_ID_BYTES];
    tr__log_closed closed;
    stage stage;
    tr__log_walk *walk;
    tr__snap_meta meta;
    uint64_t lsn;                  /* of the record that is being taken */
    uint64_t index;                /* of the next emit of it */
    tr__tx_buffer key, value, row; /* for use again */
    tr_error error;
};

tr__snapshot *tr__snapshot_make(tr__log_store *log, const uint8_t *id, tr__snap_store *rows,
                                const tr__log_closed *closed)
{
    tr__snapshot *s = tr__zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->log = log;
    s->rows = rows;
    s->closed = *closed;
    memcpy(s->id, id, sizeof s->id);
    return s;
}

void tr__snapshot_free(tr__snapshot *s)
{
    if (!s)
        return;
    tr__log_walk_close(s->walk);
    tr__tx_buffer_free(&s->key);
    tr__tx_buffer_free(&s->value);
    tr__tx_buffer_free(&s->row);
    tr__free(s);
}

tr_err tr__snapshot_result(const tr__snapshot *s, tr_error *error)
{
    *error = s->error;
    return s->error.code;
}

uint32_t tr__snapshot_keep(const tr__snapshot *s)
{
    return s->closed.first + s->closed.count;
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

static tr_bytes rest_of(const tr__tx_reader *reader)
{
    return (tr_bytes){reader->at, (size_t)(reader->end - reader->at)};
}

/* A key of a letter and some bytes, of the job's until the next one. */
static tr_bytes key_of(tr__snapshot *s, char letter, const void *a, size_t a_size, const void *b,
                       size_t b_size)
{
    s->key.length = 0;
    tr__tx_put_raw(&s->key, &letter, 1);
    tr__tx_put_raw(&s->key, a, a_size);
    tr__tx_put_raw(&s->key, b, b_size);
    return (tr_bytes){s->key.bytes, s->key.length};
}

static tr_bytes id_key(tr__snapshot *s, char letter, const tr_tx_id *id)
{
    return key_of(s, letter, id, sizeof(*id), NULL, 0);
}

static tr_err put(tr__snapshot *s, tr_bytes key, tr_bytes value, tr_error *error)
{
    if (s->key.failed || s->value.failed)
        return tr__fail(error, TR_ENOMEM, "no memory for the snapshot %s", s->rows->name);
    return tr__snap_put(s->rows, &s->meta, key, value, &s->row, error);
}

static tr_err del(tr__snapshot *s, tr_bytes key, tr_error *error)
{
    if (s->key.failed)
        return tr__fail(error, TR_ENOMEM, "no memory for the snapshot %s", s->rows->name);
    return tr__snap_del(s->rows, &s->meta, key, error);
}

static void hear(tr__snapshot *s, uint64_t clock)
{
    s->meta.clock = clock > s->meta.clock ? clock : s->meta.clock;
}

static tr_err put_outcome(tr__snapshot *s, const tr_tx_id *id, bool committed, uint64_t ts, tr_error *error)
{
    hear(s, ts);
    s->value.length = 0;
    tr__tx_put_number(&s->value, committed);
    tr__tx_put_number(&s->value, ts);
    return put(s, id_key(s, 'O', id), (tr_bytes){s->value.bytes, s->value.length}, error);
}

static tr_bytes emit_key(tr__snapshot *s, uint64_t lsn, uint64_t index)
{
    uint8_t key[16];
    for (int i = 0; i < 8; i++) {
        key[i] = (uint8_t)(lsn >> (56 - 8 * i));
        key[8 + i] = (uint8_t)(index >> (56 - 8 * i));
    }
    return key_of(s, 'E', key, sizeof(key), NULL, 0);
}

/* What a participant emitted: there until it is delivered. */
static tr_err put_emit(tr__snapshot *s, const tr_tx_id *id, tr_bytes actor, tr_bytes to, tr_bytes rest,
                       tr_error *error)
{
    s->value.length = 0;
    tr__tx_put_id(&s->value, id);
    tr__tx_put_bytes(&s->value, actor.data, actor.size);
    tr__tx_put_bytes(&s->value, to.data, to.size);
    tr__tx_put_bytes(&s->value, rest.data, rest.size);
    if (TR_PLANT(emit_unsaved))
        return TR_OK;
    return put(s, emit_key(s, s->lsn, s->index++), (tr_bytes){s->value.bytes, s->value.length}, error);
}

/* What a participant wrote. */
static tr_err apply(tr__snapshot *s, const tr_tx_id *id, tr_bytes actor, tr_bytes redo, tr_error *error)
{
    tr__tx_reader reader = {redo.data, (const uint8_t *)redo.data + redo.size, false};
    while (reader.at < reader.end && !reader.failed) {
        tr_bytes key = tr__tx_get_bytes(&reader);
        uint64_t what = tr__tx_get_number(&reader);
        bool kept = what == TR__REDO_PUT;
        tr_bytes value = kept || what == TR__REDO_EMIT ? tr__tx_get_bytes(&reader) : (tr_bytes){NULL, 0};
        if (reader.failed)
            return TR_EPROTO;
        if (what == TR__REDO_EMIT) {
            TR_TRY(put_emit(s, id, actor, key, value, error));
            continue;
        }
        s->value.length = 0;
        tr__tx_put_raw(&s->value, "", 1);
        tr__tx_put_raw(&s->value, key.data, key.size);
        tr_bytes row = key_of(s, 'S', actor.data, actor.size, s->value.bytes, s->value.length);
        TR_TRY(kept ? put(s, row, value, error) : del(s, row, error));
    }
    return TR_OK;
}

/* ---- records ------------------------------------------------------------------------------------------- */

static tr_err take_commit(tr__snapshot *s, tr__tx_reader *reader, tr_error *error)
{
    const uint8_t *begin = reader->at;
    tr_tx_id id = tr__tx_get_id(reader);
    uint64_t ts = tr__tx_get_number(reader);
    tr__tx_get_bytes(reader); /* the caller */
    uint64_t writers = tr__tx_get_number(reader);
    for (uint64_t i = 0; i < 2 * writers && !reader->failed; i++)
        tr__tx_get_bytes(reader);
    size_t before = (size_t)(reader->at - begin);
    for (uint64_t redos = tr__tx_get_number(reader); redos > 0 && !reader->failed; redos--) {
        tr_bytes actor = tr__tx_get_bytes(reader), redo = tr__tx_get_bytes(reader);
        TR_TRY(reader->failed ? TR_EPROTO : apply(s, &id, actor, redo, error));
    }
    if (reader->failed)
        return TR_EPROTO;
    if (!TR_PLANT(outcome_unsaved))
        TR_TRY(put_outcome(s, &id, true, ts, error));
    if (writers == 0)
        return TR_OK;
    tr_bytes rest = rest_of(reader);
    s->value.length = 0;
    tr__tx_put_raw(&s->value, begin, before);
    tr__tx_put_number(&s->value, 0); /* what it wrote here is in */
    tr__tx_put_raw(&s->value, rest.data, rest.size);
    return put(s, id_key(s, 'C', &id), (tr_bytes){s->value.bytes, s->value.length}, error);
}

static tr_err take_prepare(tr__snapshot *s, tr__tx_reader *reader, tr_error *error)
{
    tr_bytes all = rest_of(reader);
    tr_tx_id id = tr__tx_get_id(reader);
    tr_bytes actor = tr__tx_get_bytes(reader);
    tr__tx_get_bytes(reader); /* the caller */
    tr__tx_get_bytes(reader); /* who decides */
    tr__tx_get_bytes(reader); /* by which log */
    hear(s, tr__tx_get_number(reader));
    return reader->failed ? TR_EPROTO
                          : put(s, key_of(s, 'P', &id, sizeof(id), actor.data, actor.size), all, error);
}

/* What a PREPARE record would write; false: it makes no sense. */
static bool redo_of(tr_bytes prepare, tr_bytes *redo)
{
    tr__tx_reader reader = {prepare.data, (const uint8_t *)prepare.data + prepare.size, false};
    for (int i = 0; i < 5; i++) /* id, actor, caller, who decides, by which log */
        tr__tx_get_bytes(&reader);
    tr__tx_get_number(&reader); /* when */
    tr__tx_get_bytes(&reader);  /* the parties */
    *redo = tr__tx_get_bytes(&reader);
    return !reader.failed;
}

static tr_err apply_prepared(tr__snapshot *s, const tr_tx_id *id, tr_bytes key, tr_bytes actor,
                             tr_error *error)
{
    tr_bytes borrowed, redo;
    tr__tx_buffer prepare = {0};
    TR_TRY(tr__snap_get(s->rows, key, &borrowed, error));
    if (!borrowed.data)
        return TR_EPROTO;
    tr__tx_put_raw(&prepare, borrowed.data, borrowed.size);
    tr_err code = prepare.failed ? tr__fail(error, TR_ENOMEM, "no memory for the snapshot %s", s->rows->name)
                  : redo_of((tr_bytes){prepare.bytes, prepare.length}, &redo)
                      ? apply(s, id, actor, redo, error)
                      : TR_EPROTO;
    tr__tx_buffer_free(&prepare);
    return code;
}

static tr_err take_finish(tr__snapshot *s, tr__tx_reader *reader, tr_error *error)
{
    tr_tx_id id = tr__tx_get_id(reader);
    tr_bytes actor = tr__tx_get_bytes(reader);
    uint64_t committed = tr__tx_get_number(reader), ts = tr__tx_get_number(reader);
    if (reader->failed)
        return TR_EPROTO;
    hear(s, ts);
    if (committed)
        TR_TRY(apply_prepared(s, &id, key_of(s, 'P', &id, sizeof(id), actor.data, actor.size), actor, error));
    return del(s, key_of(s, 'P', &id, sizeof(id), actor.data, actor.size), error);
}

static tr_err take_other(tr__snapshot *s, tr__tx_record type, tr__tx_reader *reader, tr_error *error)
{
    tr_bytes all = rest_of(reader);
    if (type == TR__RECORD_NAME)
        return put(s, key_of(s, 'N', NULL, 0, NULL, 0), all, error);
    tr_tx_id id = tr__tx_get_id(reader);
    if (reader->failed)
        return TR_EPROTO;
    return type == TR__RECORD_TOMB ? put_outcome(s, &id, false, 0, error)
                                   : del(s, id_key(s, 'C', &id), error);
}

static tr_bytes letter_key(tr__snapshot *s, char letter)
{
    return key_of(s, letter, NULL, 0, NULL, 0);
}

static tr_err take_life(tr__snapshot *s, tr__tx_reader *reader, tr_error *error)
{
    uint8_t lsn[8];
    for (int i = 0; i < 8; i++)
        lsn[i] = (uint8_t)(s->lsn >> (56 - 8 * i));
    if (TR_PLANT(lives_unsaved))
        return TR_OK;
    return put(s, key_of(s, 'L', lsn, sizeof(lsn), NULL, 0), rest_of(reader), error);
}

static tr_err take_peer(tr__snapshot *s, tr__tx_reader *reader, tr_error *error)
{
    char name[TR_NAME_MAX];
    tr_bytes all = rest_of(reader);
    tr__tx_get_text(reader, name, sizeof(name));
    tr_bytes log = tr__tx_get_bytes(reader);
    if (reader->failed)
        return TR_EPROTO;
    if (TR_PLANT(peers_unsaved))
        return TR_OK;
    s->value.length = 0;
    tr__tx_put_number(&s->value, s->lsn);
    tr__tx_put_raw(&s->value, all.data, all.size);
    return put(s, key_of(s, 'R', name, strlen(name) + 1, log.data, log.size),
               (tr_bytes){s->value.bytes, s->value.length}, error);
}

static tr_err take_emitted(tr__snapshot *s, tr__tx_reader *reader, tr_error *error)
{
    uint64_t lsn = tr__tx_get_number(reader), index;
    index = tr__tx_get_number(reader);
    return reader->failed ? TR_EPROTO : del(s, emit_key(s, lsn, index), error);
}

/* What it is called now is what peers will compare. */
static tr_err take_accept(tr__snapshot *s, tr__tx_reader *reader, tr_error *error)
{
    TR_TRY(put(s, letter_key(s, 'A'), rest_of(reader), error));
    return del(s, letter_key(s, 'X'), error);
}

/* Without a default: a new type of record is a decision to be made here. */
static tr_err take(tr__snapshot *s, tr__tx_record type, tr__tx_reader *reader, tr_error *error)
{
    switch (type) {
    case TR__RECORD_PREPARE:
        return take_prepare(s, reader, error);
    case TR__RECORD_FINISH:
        return take_finish(s, reader, error);
    case TR__RECORD_COMMIT:
        return take_commit(s, reader, error);
    case TR__RECORD_TOMB:
    case TR__RECORD_END:
    case TR__RECORD_NAME:
        return take_other(s, type, reader, error);
    case TR__RECORD_LIFE:
        return take_life(s, reader, error);
    case TR__RECORD_PEER:
        return take_peer(s, reader, error);
    case TR__RECORD_LOST:
        return put(s, letter_key(s, 'X'), rest_of(reader), error);
    case TR__RECORD_ACCEPT:
        return take_accept(s, reader, error);
    case TR__RECORD_FORGOT:
        return put(s, letter_key(s, 'F'), rest_of(reader), error);
    case TR__RECORD_EMITTED:
        return take_emitted(s, reader, error);
    }
    return TR_EPROTO;
}

static tr_err on_record(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                        tr_error *error)
{
    tr__snapshot *s = context;
    tr__tx_reader reader = {payload, (const uint8_t *)payload + length, false};
    s->lsn = lsn;
    s->index = 0;
    tr_err code = take(s, (tr__tx_record)type, &reader, error);
    s->meta.lsn = lsn;
    if (code == TR_EPROTO)
        return tr__fail(error, TR_EMISMATCH,
                        "record %llu of the transaction log %s is whole, but makes no sense (type %u)",
                        (unsigned long long)lsn, s->log->name, type);
    return code;
}

/* ---- steps --------------------------------------------------------------------------------------------- */

static tr_err begin_taking(tr__snapshot *s, tr_error *error)
{
    TR_TRY(tr__snap_meta_read(s->rows, &s->meta, error));
    memcpy(s->meta.id, s->id, sizeof s->id);
    s->walk = tr__log_walk_open(s->log, s->closed.first, tr__snapshot_keep(s) - 1, s->meta.lsn, s->closed.lsn,
                                error);
    return s->walk ? TR_OK : TR_ENOMEM;
}

static tr_err take_some(tr__snapshot *s, tr_error *error)
{
    bool over;
    if (!s->walk)
        TR_TRY(begin_taking(s, error));
    uint64_t lsn = s->meta.lsn;
    TR_TRY(tr__log_walk_go(s->walk, s->closed.piece, on_record, s, &over, error));
    if (over && TR_PLANT(snapshot_ahead))
        s->meta.lsn += 2;
    if (s->meta.lsn > lsn) {
        TR_TRY(tr__snap_meta_write(s->rows, &s->meta, error));
        TR_TRY(s->rows->commit(s->rows, error));
    }
    s->stage = over ? FORGETTING : TAKING;
    return TR_OK;
}

/* The oldest outcome, if it may be forgotten; *over: none may. */
static tr_err forget_one(tr__snapshot *s, uint64_t until_ms, bool *over, tr_error *error)
{
    tr_tx_id id;
    tr_bytes found, outcomes = letter_key(s, 'O');
    if (s->key.failed)
        return tr__fail(error, TR_ENOMEM, "no memory for the snapshot %s", s->rows->name);
    TR_TRY(s->rows->next(s->rows, outcomes, &found, error));
    *over = !found.data || found.size != 1 + sizeof(id) || *(const char *)found.data != 'O';
    if (*over)
        return TR_OK;
    memcpy(&id, (const char *)found.data + 1, sizeof(id));
    *over = tr__tx_id_ms(&id) > until_ms;
    return *over ? TR_OK : del(s, id_key(s, 'O', &id), error);
}

static uint64_t number_of(tr_bytes bytes)
{
    tr__tx_reader reader = {bytes.data, (const uint8_t *)bytes.data + bytes.size, false};
    return tr__tx_get_number(&reader);
}

static tr_err forget_some(tr__snapshot *s, tr_error *error)
{
    tr_bytes value, key = letter_key(s, 'F');
    uint64_t count = s->meta.count;
    bool over = false;
    if (s->key.failed)
        return tr__fail(error, TR_ENOMEM, "no memory for the snapshot %s", s->rows->name);
    TR_TRY(tr__snap_get(s->rows, key, &value, error));
    uint64_t until_ms = value.data ? number_of(value) : 0;
    for (int i = 0; i < FORGET_MOST && !over; i++)
        TR_TRY(forget_one(s, until_ms, &over, error));
    if (s->meta.count != count) {
        TR_TRY(tr__snap_meta_write(s->rows, &s->meta, error));
        TR_TRY(s->rows->commit(s->rows, error));
    }
    s->stage = over ? SEALING : FORGETTING;
    return TR_OK;
}

static tr_err seal(tr__snapshot *s, tr_error *error)
{
    s->stage = VERIFYING;
    return s->rows->seal(s->rows, error);
}

static tr_err verify(tr__snapshot *s, tr_error *error)
{
    tr__snap_meta meta;
    s->stage = OVER;
    TR_TRY(tr__snap_read(s->rows, &meta, NULL, NULL, error));
    if (memcmp(meta.id, s->id, sizeof s->id) == 0 && meta.lsn >= s->closed.lsn)
        return TR_OK;
    return tr__fail(error, TR_EMISMATCH, "snapshot %s ends with record %llu, after %llu was put into it",
                    s->rows->name, (unsigned long long)meta.lsn, (unsigned long long)s->closed.lsn);
}

bool tr__snapshot_step(void *snapshot)
{
    tr__snapshot *s = snapshot;
    tr_err code = s->stage == TAKING       ? take_some(s, &s->error)
                  : s->stage == FORGETTING ? forget_some(s, &s->error)
                  : s->stage == SEALING    ? seal(s, &s->error)
                                           : verify(s, &s->error);
    if (code != TR_OK) {
        s->error.code = code;
        s->rows->rollback(s->rows);
        s->stage = OVER;
    }
    return s->stage != OVER;
}
