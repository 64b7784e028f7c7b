/* The journal of an app: its format (journal_format.c, pure) and the seam to the file (journal_uv.c).
 *
 * A journal is entries and nothing else, so that two apps' files can be compared by any tool:
 *
 *     NUMBER ORIGIN LENGTH SHA256 CRC\n  DATA \n
 *
 * Numbers count from 1 without a gap; ORIGIN is the id of the app whose item it is; LENGTH is of the data;
 * SHA256 is the data's; CRC (CRC-32C of what stands before it) is the header's, so that a damaged length is
 * found to be one and isn't taken for the end of the file. The same bytes travel between the apps. */
#ifndef TR_ACTORS_KINDS_JOURNAL_H
#define TR_ACTORS_KINDS_JOURNAL_H

#include <sodium.h>

#include "actors/adapter.h"
#include <troupe/app.h>

#define TR__DIGEST       crypto_hash_sha256_BYTES
#define TR__DIGEST_TEXT  (2 * TR__DIGEST + 1)
#define TR__APP_ID_MAX   32  /* without the NUL */
#define TR__ENTRY_HEADER 160 /* no header is longer */
/* Bytes of a batch: what is read, sent and appended at a time. One entry always fits. */
#define TR__BATCH_MAX (TR_APP_ITEM_MAX + TR__ENTRY_HEADER + 1)

/* ---- format: pure functions, any thread ---------------------------------------------------------------- */

typedef struct tr__entry {
    uint64_t number;
    char origin[TR__APP_ID_MAX + 1];
    uint8_t digest[TR__DIGEST]; /* as the header says */
    const uint8_t *data;        /* borrowed from what was parsed */
    size_t size;                /* of the data */
    size_t whole;               /* bytes of the entry, header and all */
} tr__entry;

typedef enum tr__entry_found {
    TR__ENTRY_WHOLE,
    TR__ENTRY_SHORT, /* all right so far, but it goes on behind these bytes */
    TR__ENTRY_BAD,   /* no entry, whatever follows */
} tr__entry_found;

/* True for 1 to 32 of A-Z a-z 0-9 . _ - */
bool tr__app_id_valid(const char *id);
/* Look at the entry at the front. Its data aren't looked at. On WHOLE *entry is filled; on BAD *why says what
 * is wrong, static. */
tr__entry_found tr__entry_parse(const uint8_t *bytes, size_t size, tr__entry *entry, const char **why);
/* Whether the data of a whole entry have the digest that the header says, and end where it says. */
bool tr__entry_right(const tr__entry *entry);
/* Bytes of an entry of that size, at most (the exact number may be less). */
size_t tr__entry_room(size_t data_size);
/* Write an entry to `out`, which has tr__entry_room(size) bytes; returns how many were written. */
size_t tr__entry_print(uint8_t *out, uint64_t number, const char *origin, const uint8_t *digest,
                       const void *data, size_t size);
/* A digest as text; `text` has TR__DIGEST_TEXT bytes. Returns text. */
char *tr__digest_text(const uint8_t *digest, char *text);

/* What is known of a journal after so many entries. */
typedef struct tr__journal_sum {
    char id[TR__APP_ID_MAX + 1]; /* the app's: whose entries count as own */
    uint64_t last;               /* number of the last entry */
    uint64_t own, other;
    uint64_t size; /* bytes */
    crypto_hash_sha256_state hash;
} tr__journal_sum;

void tr__journal_sum_init(tr__journal_sum *sum, const char *id);
/* Take the entry at the front of `bytes`, which are the journal's from sum->size on, checked in every way;
 * `end`: the file ends with them. Returns TR_OK with its size in *used, or with 0: a longer piece is needed
 * or, at the end, the last entry is torn (cut short, or whole in length but wrong in its data) and has to be
 * cut. TR_EMISMATCH: damaged, *error says how; the offset is sum->size. */
tr_err tr__journal_take(tr__journal_sum *sum, const uint8_t *bytes, size_t size, bool end, size_t *used,
                        tr_error *error);
/* The digest of all so far. */
void tr__journal_digest(const tr__journal_sum *sum, uint8_t *digest);

/* ---- the file ------------------------------------------------------------------------------------------ */

/* To the app when an operation is over. Anybody can send one: `result` tells whether it is true. */
TR_MESSAGE(tr_journal_done, (u32, spare))

typedef enum tr__journal_op {
    TR__JOURNAL_OPEN,
    TR__JOURNAL_APPEND,
    TR__JOURNAL_READ,
    TR__JOURNAL_PREFIX,
} tr__journal_op;

typedef struct tr__journal_result {
    tr__journal_op op;
    tr_error error; /* code TR_OK: it went well. The text names file and offset, and what to do */
    /* of the journal as it is now */
    uint64_t last, own, other;
    uint8_t digest[TR__DIGEST];
    uint64_t cut; /* open: bytes of a torn last entry that were cut */
    /* read: whole entries, at least one; good until the next read */
    const uint8_t *bytes;
    size_t size;
    uint8_t prefix[TR__DIGEST]; /* prefix: the digest */
} tr__journal_result;

typedef struct tr__journal tr__journal;

/* All on the loop's thread. One operation at a time: none before the last one's tr_journal_done was heard. */
typedef struct tr__journal_seam {
    /* Open or make the file, check it all, cut a torn last entry; that is the first operation. `path` "": an
     * unnamed file. NULL with *error: TR_ENOMEM, TR_EINVAL (no libuv on that loop). */
    tr__journal *(*open)(tr__loop *loop, tr_addr owner, const char *path, const char *id, tr_error *error);
    /* Append entries (copied; at most TR__BATCH_MAX bytes, numbered on from the last) and force them to disk.
     * On an error the file is cut to where it was. */
    void (*append)(tr__journal *journal, const uint8_t *bytes, size_t size);
    /* Read entries from that number on, which is there, as many as fit a batch. */
    void (*read)(tr__journal *journal, uint64_t from);
    /* The digest of the first `last` entries, which are there. */
    void (*prefix)(tr__journal *journal, uint64_t last);
    /* The result that tr_journal_done announced, once; NULL if there is none. */
    const tr__journal_result *(*result)(tr__journal *journal);
    /* No message comes any more; frees it, later if an operation is under way. NULL is fine. */
    void (*close)(tr__journal *journal);
} tr__journal_seam;

/* Files by libuv's thread pool. */
const tr__journal_seam *tr__journal_uv(void);

#endif
