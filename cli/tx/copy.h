/* The files of a node's transactions, copied: for `troupe tx backup` and `restore`. Nothing is ever written over. The main
 * thread; waits for the disk. */
#ifndef TR_CLI_TX_COPY_H
#define TR_CLI_TX_COPY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <troupe/actor.h>
#include <troupe/err.h>

#define TX_COPY_FORMAT 1

/* A copied file: what it is called in its directory, and what it has. */
typedef struct tx_file {
    char name[TR_NAME_MAX + 32];
    uint64_t bytes;
    uint32_t crc; /* CRC32C of all */
} tx_file;

/* Now and then while one is copied; another value than TR_OK ends it with that. */
typedef tr_err tx_copy_tick(void *context, tr_error *error);

/* "from/name" becomes "to/name", of at most `most` bytes, forced; file->bytes and crc are set. TR_ENOTFOUND, TR_EEXIST,
 * TR_ENOSPC, TR_EPERM, TR_EIO ...; then there is no "to/name" of ours. */
tr_err tx_copy(const char *from, const char *to, tx_file *file, uint64_t most, tx_copy_tick *tick,
               void *context, tr_error *error);
/* What one has now. */
tr_err tx_look(const char *directory, tx_file *file, tr_error *error);
/* The names in a directory are on the disk; its own name in the one that it is in. */
tr_err tx_force_directory(const char *path, tr_error *error);
tr_err tx_force_name(const char *directory, tr_error *error);
/* "directory/name", in `out`. */
const char *tx_path_of(const char *directory, const char *name, char out[PATH_MAX]);
/* From errno, in words: "what path: why". */
tr_err tx_fail_errno(tr_error *error, const char *what, const char *path);

/* Have the slots of that segment, a copy, say that this LSN is durable, and no other. Without a whole header it has none. */
tr_err tx_set_slots(const char *path, uint64_t lsn, tr_error *error);
/* Read all of a copy as a node does that starts with it, but changes nothing that it says: it must end with that record. */
tr_err tx_verify(const char *directory, const char *node, uint64_t lsn, tr_error *error);
/* Write into a copy that it is one, which ends with that record: who starts with it begins and decides nothing (LOG_LOST)
 * until an operator goes on; `goes_on`: he does, here and now, and it is another log from then on. */
tr_err tx_mark_restored(const char *directory, const char *node, uint64_t lsn, bool goes_on, tr_error *error);

#endif
