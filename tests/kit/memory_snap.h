/* The seam of actors/tx/snap_store.h in memory: rows, and what leads back to how the last commit left them, and the last
 * seal. Nothing of a job happens but by memory_snap_step. A crash leaves what was committed; or, as SQLite does behind a
 * flipped bit of its WAL, what was sealed. */
#ifndef TR_TESTS_MEMORY_SNAP_H
#define TR_TESTS_MEMORY_SNAP_H

#include "actors/tx/snap_store.h"

typedef struct memory_row memory_row;

typedef struct memory_table {
    memory_row **rows; /* by key; shared with other tables */
    size_t count, room;
} memory_table;

typedef struct memory_snap {
    tr__snap_store store; /* what memory_snap_open hands out; one at a time */
    memory_table now;
    memory_table
        undo; /* rows as they were before each change since the last seal; one that wasn't has no value */
    size_t committed;    /* so many of those changes are */
    const size_t *space; /* other than 0: the disk is full, and nothing can be committed */
    tr_err fails;        /* other than TR_OK: what a commit fails with */
    unsigned commits, seals;
    bool is_open;

    bool (*step)(void *context); /* of the job under way; NULL: there is none */
    void *context;
    bool over; /* and waits to be asked for */
} memory_snap;

void memory_snap_fini(memory_snap *snap);
tr__snap_store *memory_snap_open(memory_snap *snap, const size_t *space);
/* A step of the job; false: none is under way, or it is over and waits to be asked for. */
bool memory_snap_step(memory_snap *snap);
/* After close. */
void memory_snap_crash(memory_snap *snap, bool forgets);
/* As if it had never been. */
void memory_snap_clear(memory_snap *snap);

/* ---- damage: of what a start will find ----------------------------------------------------------------- */

size_t memory_snap_size(const memory_snap *snap); /* bytes of all keys and values */
void memory_snap_flip(memory_snap *snap, size_t at, uint8_t bits);
/* The n-th row isn't there any more; false: there is none. */
bool memory_snap_lose(memory_snap *snap, size_t n);
/* A copy to go back to; to be freed with memory_table_free. */
memory_table memory_snap_save(const memory_snap *snap);
void memory_snap_restore(memory_snap *snap, const memory_table *saved);
void memory_table_free(memory_table *table);

#endif
