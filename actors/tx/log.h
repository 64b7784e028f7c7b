/* The transaction log of a node: append-only, checksummed, forced in groups.
 *
 *     open -> (each record that was there, in order) -> append... -> force -> `forced` ... -> close
 *
 * It is a row of segments (log_format.h). One is written; the one behind it is made ahead of time; those before it
 * are closed, and go by drop, when a snapshot has what they say. A log that was opened with a snapshot hands up
 * only what came after that.
 *
 * append only puts a record behind the others in memory; force asks that all up to an LSN get to the disk. A
 * force waits for nobody when the disk is idle; else it joins the next batch, which takes all that was
 * appended until then. One batch is under way at a time. LSNs count records from 1 without a gap; a record
 * that was cut at a start was never durable, and its LSN is given again.
 *
 * Threads: one owner, who calls all of this and gets all upcalls, from within tr__log_poll only. The store
 * wakes the owner when there is something to poll.
 *
 * How it can fail: at open, by name. Later, an append can be refused (nothing changed). When a batch fails,
 * what is on the disk is unknown: `failed` comes once, the log refuses everything from then on, and the
 * process must end itself and recover; going on, or trying again, can lose what was told to be durable. */
#ifndef TR_ACTORS_TX_LOG_H
#define TR_ACTORS_TX_LOG_H

#include "actors/tx/log_format.h"
#include "transport/stream.h" /* tr__iov */

typedef struct tr__log tr__log;

/* Bytes; 0 = the default. */
typedef struct tr__log_options {
    uint64_t size_max; /* of all segments that are kept; default 1 GiB */
    uint64_t segment;  /* of each; default 64 MiB. Larger if a record or the reserve doesn't fit into one */
    uint32_t reserve;  /* preallocated beyond the last batch; default 16 MiB. Half of it is for records that
                          finish */
    uint32_t step;     /* preallocated at a time; default 1 MiB */
    uint32_t closed;   /* segments that are closed when a snapshot is taken; default 4 */
} tr__log_options;

/* The snapshot that a log is opened with: it has all up to this LSN. */
typedef struct tr__log_base {
    uint64_t lsn;
    uint8_t id[TR__LOG_ID_BYTES]; /* of the log that it was taken from */
} tr__log_base;

typedef struct tr__log_upcalls {
    /* During open: a record that is there; payload borrowed. Another value than TR_OK ends the open with it.
     */
    tr_err (*record)(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                     tr_error *error);
    /* All records up to `durable` are on the disk: after each batch, also one that only made room (then it is
     * the same as before). append and force may be called in it, close may not. */
    void (*forced)(void *context, uint64_t durable);
    /* Once, and the last: TR_EIO, TR_ENOSPC. The process must end itself. */
    void (*failed)(void *context, const tr_error *error);
} tr__log_upcalls;

/* Make the log of a new store, or read one: judge it, cut what is torn, and only then hand up its records, those
 * behind `base` (NULL: there is no snapshot). All that was handed up is durable. Success takes the store, failure
 * leaves it. `upcalls` must outlive the log. NULL with *error: TR_EMISMATCH (damaged, or not the log of that
 * snapshot, or between the two something is missing; names file and offset; nothing was changed), TR_EVERSION,
 * TR_ENOSPC (a new one), TR_ENOMEM, TR_EIO, or what `record` returned. Waits for the disk. */
tr__log *tr__log_open(tr__log_store *store, const tr__log_options *options, const tr__log_base *base,
                      const tr__log_upcalls *upcalls, void *context, tr_error *error);
/* Put a record behind the others; its payload is copied. `type` isn't TR__LOG_MARK. `finishes`: it ends a transaction that is prepared,
 * or is such an end's consequence, and may use the reserve. Errors change nothing: TR_ETOOBIG (over
 * TR__LOG_PAYLOAD_MAX), TR_EFULL ("log-full": no place on the disk or by size_max; tried again with every
 * append), TR_EAGAIN (the disk is behind: after the next `forced`), TR_ENOMEM; after `failed`, its code. */
tr_err tr__log_append(tr__log *log, uint8_t type, bool finishes, const tr__iov *payload, unsigned count,
                      uint64_t *lsn, tr_error *error);
/* Get all up to `lsn` (one that was appended) to the disk. True: it is there, no upcall comes for it. False:
 * a `forced` with at least this LSN follows, or `failed`; nothing after that one. */
bool tr__log_force(tr__log *log, uint64_t lsn);
/* Call it when the store woke the owner, and any other time: upcalls come from here. */
void tr__log_poll(tr__log *log);

/* The highest LSN known to be on the disk; the highest given; 0 = none. */
uint64_t tr__log_durable(const tr__log *log);
uint64_t tr__log_last(const tr__log *log);
/* How often something was forced since the open: batches that had records and are over. */
uint64_t tr__log_forces(const tr__log *log);
/* TR__LOG_ID_BYTES, made once when the log was; borrowed. */
const uint8_t *tr__log_id(const tr__log *log);
/* Whether an append that finishes nothing would be refused with TR_EFULL now; the disk is asked again by an
 * append, or tr__log_look_for_room. */
bool tr__log_is_full(const tr__log *log);
/* Whether it has less room ahead than it should: so after its start, until the first batch, and when the disk had no
 * place. As long as it says so, ask it for some now and then (tr__log_look_for_room, a `forced` follows): else the
 * first append after that may be refused. */
bool tr__log_lacks_room(const tr__log *log);
void tr__log_look_for_room(tr__log *log);

/* How many segments are closed and stay, how many it takes for a snapshot, and the LSN of the last record in them. All
 * they have is durable. */
typedef struct tr__log_closed {
    uint32_t count, enough;
    uint32_t first; /* the oldest one */
    uint64_t lsn;
    size_t piece; /* bytes of them that are worth a step of a snapshot */
} tr__log_closed;
tr__log_closed tr__log_closed_of(const tr__log *log);
/* A snapshot has all that was closed when `keep` was first + count: those segments may go. They do with the next
 * batch, which begins now if none is under way; nothing is told. */
void tr__log_drop(tr__log *log, uint32_t keep);

/* Where what is durable ends: in this segment, at this offset, with this LSN. What is before it doesn't change, but for the
 * slots, and stays as long as no segment is dropped. */
typedef struct tr__log_settled {
    uint32_t oldest, segment;
    uint64_t end, lsn;
    bool dropping; /* segments are about to go */
} tr__log_settled;
tr__log_settled tr__log_settled_of(const tr__log *log);

/* Waits for the batch under way, without an upcall. What was appended and not forced is gone, as in a crash.
 * Closes the store. NULL is fine. */
void tr__log_close(tr__log *log);

#endif
