/* See copy.h: copied files as a log and its snapshot, read by what a node reads its own with (actors/tx/log.h,
 * snap_rows.h). */
#include "cli/tx/copy.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/tx/internal.h"
#include "actors/tx/log_replay.h"
#include "actors/tx/snap_rows.h"
#include "base/err.h"

tr_err tx_set_slots(const char *path, uint64_t lsn, tr_error *error)
{
    uint8_t bytes[TR__LOG_HEADER_BYTES], slot[TR__LOG_SLOT_BYTES];
    tr__log_head head;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return tx_fail_errno(error, "opening", path);
    bool good = pread(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes;
    if (good && !tr__log_head_read(&head, bytes) && head.version == TR__LOG_VERSION) {
        tr__log_slot_write(&head, lsn, slot);
        for (unsigned n = 0; n < 2; n++)
            good = good && pwrite(fd, slot, sizeof slot, TR__LOG_SLOT_AT(n)) == (ssize_t)sizeof slot;
    }
    good = good && fsync(fd) == 0;
    tr_err err = good ? TR_OK : tx_fail_errno(error, "writing", path);
    close(fd);
    return err;
}

/* ---- opened, as a node does ---------------------------------------------------------------------------- */

static void nobody_waits(void *context)
{
    (void)context;
}

/* Both, with what the snapshot has up to; NULL: told. */
static tr__log_store *open_copy(const char *directory, const char *node, tr__log_base *base, tr_error *error)
{
    char path[PATH_MAX], name[TR_NAME_MAX + 16];
    tr__snap_meta meta;
    snprintf(name, sizeof name, "%s.txlog", node);
    if (access(tx_path_of(directory, name, path), F_OK) != 0) {
        tx_fail_errno(error, "looking for", path);
        return NULL;
    }
    tr__log_store *store = tr__log_store_open_os(path, nobody_waits, NULL, error);
    if (!store)
        return NULL;
    snprintf(name, sizeof name, "%s.txsnap", node);
    store->snap = tr__snap_store_open_os(tx_path_of(directory, name, path), nobody_waits, NULL, error);
    if (store->snap && tr__snap_read(store->snap, &meta, NULL, NULL, error) == TR_OK) {
        base->lsn = meta.lsn;
        memcpy(base->id, meta.id, sizeof base->id);
        return store;
    }
    store->close(store);
    return NULL;
}

tr_err tx_verify(const char *directory, const char *node, uint64_t lsn, tr_error *error)
{
    tr__log_base base = {0};
    tr__log_found found = {0};
    tr__log_store *store = open_copy(directory, node, &base, error);
    if (!store)
        return error->code;
    tr_err err = tr__log_scan(store, base.lsn ? &base : NULL, &found, error);
    if (err == TR_OK && found.last != lsn)
        err = tr__fail(error, TR_EMISMATCH, "the copy of the log ends with record %llu, and should with %llu",
                       (unsigned long long)found.last, (unsigned long long)lsn);
    store->close(store);
    return err;
}

/* ---- written to ---------------------------------------------------------------------------------------- */

static tr_err is_there(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
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
    *(tr_error *)context = *error;
}

static tr_err append(tr__log *log, tr__tx_record type, tr__tx_buffer *payload, const tr_error *broken,
                     tr_error *error)
{
    uint64_t lsn;
    const tr__iov all = {.bytes = payload->bytes, .length = payload->length};
    tr_err err = payload->failed ? tr__fail(error, TR_ENOMEM, "no memory for a record")
                                 : tr__log_append(log, (uint8_t)type, true, &all, 1, &lsn, error);
    tr__tx_buffer_free(payload);
    if (err != TR_OK || tr__log_force(log, lsn))
        return err;
    while (tr__log_durable(log) < lsn && broken->code == TR_OK) {
        poll(NULL, 0, 1);
        tr__log_poll(log);
    }
    return broken->code == TR_OK ? TR_OK : tr__fail(error, broken->code, "%s", broken->text);
}

tr_err tx_mark_restored(const char *directory, const char *node, uint64_t lsn, bool goes_on, tr_error *error)
{
    static const tr__log_upcalls upcalls = {.record = is_there, .forced = forced, .failed = failed};
    uint8_t id[TR__LOG_ID_BYTES];
    tr_error broken = {.code = TR_OK};
    tr__log_base base = {0};
    tr__tx_buffer record = {0};
    tr__log_store *store = open_copy(directory, node, &base, error);
    if (!store)
        return error->code;
    tr__log *log = tr__log_open(store, NULL, base.lsn ? &base : NULL, &upcalls, &broken, error);
    if (!log) {
        store->close(store);
        return error->code;
    }
    tr__tx_put_text(&record, "");
    tr__tx_put_number(&record, lsn);
    tr_err err = append(log, TR__RECORD_LOST, &record, &broken, error);
    record = (tr__tx_buffer){0};
    if (err == TR_OK && goes_on && (err = store->random(store, id, error)) == TR_OK) {
        tr__tx_put_bytes(&record, id, sizeof id);
        err = append(log, TR__RECORD_ACCEPT, &record, &broken, error);
    }
    tr__log_close(log);
    return err;
}
