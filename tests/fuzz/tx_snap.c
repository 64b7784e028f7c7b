/* Snapshots of a transaction log: rows as a start finds them, and records that are put into rows. The first byte says which,
 * and for rows whether their checksums, number and sum are made right.
 *
 * Rows are refused with a text, or accepted, and then accepted again with the same state. Records make a log, whole and
 * with segments that are closed: if it is replayed without a word, its snapshot is taken without one, and says the same. */
#include <stdlib.h>
#include <string.h>

#include "actors/tx/internal.h"
#include "actors/tx/log_replay.h"
#include "actors/tx/snap_rows.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/kit/memory_log.h"

#define WALL_MS     1700000000000ull
#define RECORDS     200
#define RECORD_MOST 4096
#define FILL        9000 /* bytes of a record that closes segments: more than half of one */

static const tr__log_options options = {.reserve = 20000, .step = 1024, .segment = 32768, .closed = 1};
static memory_log disk;

/* ---- a node's state machine, which does nothing --------------------------------------------------------- */

static uint64_t now(void *context)
{
    (void)context;
    return TR_SECONDS(100);
}

static uint64_t wall_ms(void *context)
{
    (void)context;
    return WALL_MS;
}

static void event(void *context, const tr_tx_id *id, const char *actor, const char *what, const char *detail)
{
    (void)context, (void)id, (void)actor, (void)what, (void)detail;
}

static const tr__tx_io io = {.now = now, .wall_ms = wall_ms, .event = event};

static uint64_t hash_of(const void *a, size_t a_size, const void *b, size_t b_size, uint64_t number)
{
    uint64_t hash = tr__hash_more(TR__HASH_INIT, a, a_size);
    hash = tr__hash_more(tr__hash_more(hash, &number, sizeof number), b, b_size);
    return tr__hash_done(hash);
}

/* Of what is emitted and not delivered, and of its order. */
static uint64_t digest_of_outbox(const tr__tx *tx)
{
    uint64_t sum = tx->emit_count;
    for (const tr__tx_outlet *outlet = tx->outlets; outlet; outlet = outlet->hh.next) {
        uint64_t line = 0;
        for (const tr__emit *emit = outlet->first; emit; emit = emit->next) {
            line = hash_of(&emit->key, sizeof emit->key, emit->bytes, emit->to_size + 1 + emit->size, line);
            line = hash_of(&emit->id, sizeof emit->id, emit->actor, strlen(emit->actor), line ^ emit->type);
        }
        sum += line;
    }
    return sum;
}

/* Of all that a start has to know; in any order. An outcome that may be forgotten may be there or not. */
static uint64_t digest(const tr__tx *tx)
{
    uint64_t sum = hash_of(tx->log_id, sizeof tx->log_id, tx->log_of, strlen(tx->log_of),
                           tx->forgotten_ms << 2 | (uint64_t)tx->lost << 1 | tx->is_accepted);
    for (const tr__tx_actor *actor = tx->actors; actor; actor = actor->hh.next) {
        uint64_t kept = 0;
        for (const tr__kv *kv = actor->store.entries; kv; kv = kv->hh.next)
            kept += hash_of(kv->hh.key, kv->hh.keylen, tr__kv_value(kv), kv->size, 1);
        sum += kept ? hash_of(actor->name, strlen(actor->name), NULL, 0, kept) : 0;
    }
    for (const tr__tx_branch *branch = tx->branches; branch; branch = branch->hh.next)
        sum += hash_of(&branch->key.id, sizeof(tr_tx_id), branch->at->name, strlen(branch->at->name), 2);
    for (const tr__tx_decision *decision = tx->decisions; decision; decision = decision->hh.next)
        sum += hash_of(&decision->id, sizeof(tr_tx_id), NULL, 0, decision->count);
    for (const tr__tx_outcome_at *outcome = tx->outcomes; outcome; outcome = outcome->hh.next)
        if (tr__tx_id_ms(&outcome->id) > tx->forgotten_ms)
            sum += hash_of(&outcome->id, sizeof(tr_tx_id), NULL, 0, outcome->ts << 1 | outcome->committed);
    for (const tr__tx_memory *m = tx->memories; m; m = m->hh.next)
        sum += hash_of(&m->key, sizeof m->key, &m->lsn, sizeof m->lsn, m->life);
    for (uint32_t i = 0; i < tx->life_count; i++)
        if (tx->lives[i].id != tx->id)
            sum += hash_of(&tx->lives[i].lsn, sizeof(uint64_t), NULL, 0, tx->lives[i].id);
    return sum + digest_of_outbox(tx);
}

/* False: it is refused, and says why. Nothing is written: what a start appends is never forced here. */
static bool starts(uint64_t *state)
{
    tr_error error = {0};
    tr__log_store *store = memory_log_open(&disk);
    tr__tx *tx = tr__tx_open("n1", 77, store, &options, &io, NULL, &error);
    if (tx) {
        *state = digest(tx);
        tr__tx_close(tx);
        return true;
    }
    store->close(store);
    tr__check(error.code == TR_EMISMATCH || error.code == TR_EVERSION || error.code == TR_ETOOBIG,
              "refused as %d: %s", error.code, error.text);
    tr__check(error.text[0], "an error without a text");
    return false;
}

/* ---- its log -------------------------------------------------------------------------------------------- */

static tr_err take_none(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                        tr_error *error)
{
    (void)context, (void)type, (void)lsn, (void)payload, (void)length, (void)error;
    return TR_OK;
}

static void forced(void *context, uint64_t durable)
{
    (void)context, (void)durable;
}

static void failed(void *context, const tr_error *error)
{
    (void)context;
    tr__check(false, "the log: %s", error->text);
}

static tr__log *open_log(void)
{
    static const tr__log_upcalls upcalls = {.record = take_none, .forced = forced, .failed = failed};
    tr_error error = {0};
    tr__log *log = tr__log_open(memory_log_open(&disk), &options, NULL, &upcalls, NULL, &error);
    tr__check(log, "%s", error.text);
    return log;
}

static uint64_t append(tr__log *log, uint8_t type, const void *bytes, size_t length)
{
    tr__iov iov = {bytes, length};
    tr_error error;
    uint64_t lsn = 0;
    for (tr_err code = TR_EAGAIN; code == TR_EAGAIN;) {
        code = tr__log_append(log, type, false, &iov, 1, &lsn, &error);
        tr__check(code == TR_OK || code == TR_EAGAIN, "%s", error.text);
        if (code == TR_OK)
            tr__log_force(log, lsn);
        do {
            memory_log_run(&disk);
            tr__log_poll(log);
        } while (memory_log_step(&disk));
    }
    return lsn;
}

/* A transaction whose redo is long. */
static void append_long(tr__log *log, uint64_t number)
{
    static char value[FILL];
    tr_tx_id id = tr__tx_id_make(WALL_MS, UINT64_MAX, number);
    tr__tx_buffer record = {0}, redo = {0};
    tr__tx_put_text(&redo, "k");
    tr__tx_put_number(&redo, 1);
    tr__tx_put_bytes(&redo, value, sizeof value);
    tr__tx_put_id(&record, &id);
    tr__tx_put_number(&record, number);
    tr__tx_put_text(&record, "n1");
    tr__tx_put_number(&record, 0);
    tr__tx_put_number(&record, 1);
    tr__tx_put_text(&record, "fill");
    tr__tx_put_bytes(&record, redo.bytes, redo.length);
    append(log, TR__RECORD_COMMIT, record.bytes, record.length);
    tr__tx_buffer_free(&redo);
    tr__tx_buffer_free(&record);
}

static uint64_t append_name(tr__log *log)
{
    tr__tx_buffer name = {0};
    tr__tx_put_text(&name, "n1");
    uint64_t lsn = append(log, TR__RECORD_NAME, name.bytes, name.length);
    tr__tx_buffer_free(&name);
    return lsn;
}

/* ---- rows ------------------------------------------------------------------------------------------------ */

/* Each: the length of its key, that of its value, key, value. */
static void of_rows(fuzz_bytes *in, bool mended)
{
    uint64_t first, second;
    tr__tx_buffer buffer = {0};
    tr_error error;
    tr__log *log = open_log();
    tr__snap_store *rows = &disk.snap.store;
    tr__snap_meta meta = {.lsn = append_name(log), .clock = WALL_MS << 16};
    memcpy(meta.id, tr__log_id(log), sizeof meta.id);
    while (fuzz_more(in)) {
        size_t key_size = fuzz_byte(in), value_size = (size_t)fuzz_number(in, 2), got;
        const uint8_t *key = fuzz_some(in, key_size, &key_size);
        const uint8_t *value = fuzz_some(in, value_size, &got);
        bool is_meta = key_size == 1 && *key == 'M';
        if (!mended)
            rows->put(rows, (tr_bytes){key, key_size}, (tr_bytes){value, got}, &error);
        else if (!is_meta)
            tr__snap_put(rows, &meta, (tr_bytes){key, key_size}, (tr_bytes){value, got}, &buffer, &error);
    }
    if (mended)
        tr__snap_meta_write(rows, &meta, &error);
    rows->commit(rows, &error);
    tr__tx_buffer_free(&buffer);
    tr__log_close(log);
    if (starts(&first)) {
        tr__check(starts(&second), "refused what it had accepted");
        tr__check(first == second, "another state the second time");
    }
}

/* ---- records --------------------------------------------------------------------------------------------- */

static tr_err take_snapshot(tr_error *error)
{
    tr__log *log = open_log();
    tr__log_closed closed = tr__log_closed_of(log);
    tr__snapshot *snapshot = tr__snapshot_make(&disk.store, tr__log_id(log), &disk.snap.store, &closed);
    while (tr__snapshot_step(snapshot)) {
    }
    tr_err code = tr__snapshot_result(snapshot, error);
    tr__snapshot_free(snapshot);
    tr__log_close(log);
    return code;
}

/* Each: its type, its length, its payload. */
static void of_records(fuzz_bytes *in)
{
    uint64_t replayed, restored, last;
    tr_error error = {0};
    tr__log *log = open_log();
    last = append_name(log);
    for (int i = 0; i < RECORDS && fuzz_more(in); i++) {
        uint8_t type = fuzz_byte(in);
        size_t length = (size_t)fuzz_number(in, 2) % RECORD_MOST, got;
        const uint8_t *payload = fuzz_some(in, length, &got);
        if (type != TR__LOG_MARK)
            last = append(log, type, payload, got);
    }
    for (uint64_t n = 1; tr__log_closed_of(log).lsn < last; n++)
        append_long(log, n);
    tr__log_close(log);
    bool good = starts(&replayed);
    tr_err code = take_snapshot(&error);
    tr__check(code == TR_OK || error.text[0], "an error without a text");
    tr__check(code == TR_OK || !good, "a log is replayed, and its snapshot isn't taken: %s", error.text);
    if (code == TR_OK && starts(&restored) && good)
        tr__check(replayed == restored, "a snapshot says otherwise than its log");
    else
        tr__check(!good, "a log is replayed, and its snapshot is refused");
}

static void one(const uint8_t *bytes, size_t length)
{
    fuzz_bytes in = {bytes, bytes + length};
    uint8_t how = fuzz_byte(&in);
    memory_log_init(&disk, 1);
    if (how & 1)
        of_rows(&in, how & 2);
    else
        of_records(&in);
    memory_log_fini(&disk);
}

const fuzz_target fuzz_tx_snap = {"tx_snap", 16u << 20, 512, one, .slow = true};
