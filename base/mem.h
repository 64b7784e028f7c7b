/* All memory that Troupe allocates comes through here, so that a test can make the n-th allocation fail.
 * Thread-safe. Every function that allocates returns NULL on failure and changes no argument. */
#ifndef TR_BASE_MEM_H
#define TR_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *tr__alloc(size_t size);                /* uninitialised; size 0 gives a valid block */
void *tr__zalloc(size_t size);               /* zeroed */
void *tr__realloc(void *block, size_t size); /* counts as one allocation; NULL: block is as it was */
char *tr__strdup(const char *text);
char *tr__strndup(const char *text, size_t length); /* at most length bytes, less if a NUL comes first */
void tr__free(void *block);                         /* NULL is fine */

/* For what may be a large message, or is received into: as tr__alloc and tr__free, each of which goes with the other; but
 * some blocks from TR__LARGE on are kept, 8 MiB a process at most, for their pages cost more than the message does. */
#define TR__LARGE ((size_t)128 << 10)
void *tr__large_alloc(size_t size);
void tr__large_free(void *block); /* NULL is fine */
/* Those that are kept (large_os.c): one with room for `size`, NULL: none; false: it isn't kept, and still the caller's. */
void *tr__large_take(size_t size);
bool tr__large_keep(void *block);

/* For tables and pools that grow: TR__HUGE bytes, zeroed, at a multiple of that. With `now` in a huge page where the
 * system has one: filling a million entries then costs half of what it does in small pages. Without, memory is taken
 * as it is touched: for the first block of what may stay small. Freed by tr__huge_free() only (NULL is fine). */
#define TR__HUGE ((size_t)2 << 20)
void *tr__huge_alloc(int now);
void tr__huge_free(void *block);
/* Their real side (huge_os.c). */
void *tr__huge_map(int now);
void tr__huge_unmap(void *block);

/* Tests: the n-th allocation from now fails (1 = the next), of this thread only; 0 switches it off. Only
 * that one fails; errno is ENOMEM then. Returns how many allocations this thread tried since last time. */
uint64_t tr__alloc_fail_at(uint64_t nth);
/* How many allocations are left up to the one that shall fail, 0: none shall. For who allocates in between, unseen. */
uint64_t tr__alloc_fail_left(void);

#endif
