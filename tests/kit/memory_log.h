/* The seam of actors/tx/log_store.h in memory: files with a cache in front of their disk, in sectors of 512
 * bytes. Nothing happens but by memory_log_step; what a crash leaves is drawn from a seed.
 *
 * What is written goes to the cache and is what reads see, also after the process died. Only a force brings
 * it to the disk. A power cut leaves of each sector not forced the old, the new, or the beginning of the new:
 * so batches are torn, and their sectors arrive in any order. A failed force brings some sectors to the disk,
 * and forgets that the others are not there (as Linux does): the next force succeeds without them.
 *
 * A segment is made or dropped at once, and is there or not after a power cut; the head's being cut when it is
 * dropped is forced, as is each drop before the next one. Beside them are the rows of a snapshot (memory_snap.h), which
 * the test steps by itself. */
#ifndef TR_TESTS_MEMORY_LOG_H
#define TR_TESTS_MEMORY_LOG_H

#include "actors/tx/log_store.h"
#include "base/random.h"
#include "tests/kit/memory_snap.h"

/* One segment. */
typedef struct memory_file {
    uint8_t *cache, *disk, *dirty; /* dirty: one a sector */
    size_t cache_size, disk_size, capacity;
    size_t dirty_size; /* nothing is dirty behind that */
} memory_file;

typedef struct memory_log {
    tr__log_store store; /* what memory_log_open hands out; one at a time */
    tr__random random;
    union { /* the first segment, which most tests are about */
        memory_file file;
        struct {
            uint8_t *cache, *disk, *dirty;
            size_t cache_size, disk_size, capacity, dirty_size;
        };
    };
    memory_file *later; /* the segments from 2 on, without a hole; those that are gone have no size */
    uint32_t later_count;
    memory_snap snap;
    bool published;
    bool is_open;

    size_t space;           /* bytes the disk has; 0 = no bound */
    unsigned fail_force_in; /* the n-th force from now fails; 0 = none does */
    unsigned fail_write_in; /* likewise */
    unsigned forces;        /* that succeeded */
    unsigned batches;       /* begun */
    unsigned made, dropped; /* segments */

    unsigned stage; /* of the batch under way; 0 = none */
    size_t put;     /* bytes of it that were written */
    tr__log_batch batch;
    tr__log_done done;
} memory_log;

void memory_log_init(memory_log *memory, uint64_t seed);
void memory_log_fini(memory_log *memory);
/* As a process that starts finds it. Closing it is dying: a batch under way stops where it is. */
tr__log_store *memory_log_open(memory_log *memory);
/* The next piece of the batch under way: a part of its write, the force, the mark, a drop, the extension. False:
 * nothing is under way, or it is over and waits to be polled. */
bool memory_log_step(memory_log *memory);
void memory_log_run(memory_log *memory); /* until there is nothing */
/* The next step is the force. */
bool memory_log_forces_next(const memory_log *memory);
/* The batch is over, and waits to be polled. */
bool memory_log_is_over(const memory_log *memory);
/* After close: what wasn't forced is there or not, sector by sector; what a snapshot hadn't sealed is there, or now and
 * then isn't. */
void memory_log_power_cut(memory_log *memory);
/* After close: cache and disk are these bytes, and there is no other segment, nor a snapshot. */
void memory_log_set(memory_log *memory, const uint8_t *bytes, size_t size);
/* Bytes of all segments. */
size_t memory_log_used(const memory_log *memory);
/* NULL: it was never made. */
memory_file *memory_log_file(memory_log *memory, uint32_t segment);
/* After close: a segment is these bytes; size 0: it isn't there. */
void memory_log_set_segment(memory_log *memory, uint32_t segment, const uint8_t *bytes, size_t size);

/* ---- copies, as an operator makes them: all segments, and the snapshot ---------------------------------- */

typedef struct memory_copy {
    uint8_t **bytes;
    size_t *sizes;
    uint32_t count; /* of segments; 0: there is no copy */
    memory_table rows;
} memory_copy;

/* After close. In the place of what was there; to be freed with memory_copy_free. */
void memory_log_save(memory_log *memory, memory_copy *copy);
void memory_log_put_back(memory_log *memory, const memory_copy *copy);
void memory_copy_free(memory_copy *copy);

#endif
