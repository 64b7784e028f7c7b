/* A table from two numbers to one: all that the judge looks up (elements, processes, lines, names) is in one of these.
 * Any thread; one uses it at a time. Memory: 24 bytes an entry, at most twice that and half as much again while it grows. */
#ifndef TR_CLI_TX_JUDGE_TABLE_H
#define TR_CLI_TX_JUDGE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define JUDGE_NONE UINT32_MAX

typedef struct judge_slot {
    uint64_t a;
    int64_t b;
    uint32_t value;
    uint32_t used;
} judge_slot;

/* Zeroed: empty. */
typedef struct judge_table {
    judge_slot *slots;
    size_t size, count; /* size: a power of two, or 0 */
} judge_table;

/* The value of that key, for reading and changing until the next judge_table_put(); NULL: none. */
uint32_t *judge_table_get(const judge_table *table, uint64_t a, int64_t b);
/* The same, and put there as JUDGE_NONE if there was none. NULL: no memory. */
uint32_t *judge_table_put(judge_table *table, uint64_t a, int64_t b);
void judge_table_free(judge_table *table);

/* Room in an array for one more: `*array` of `*room` entries of `size` bytes, doubled as needed. 0: no memory, nothing has
 * changed. */
int judge_room(void *array, size_t *room, size_t count, size_t size);

#endif
