/* All memory that Troupe allocates comes through here, so that a test can make the n-th allocation fail.
 * Thread-safe. Every function that allocates returns NULL on failure and changes no argument. */
#ifndef TR_BASE_MEM_H
#define TR_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

void *tr__alloc(size_t size);                /* uninitialised; size 0 gives a valid block */
void *tr__zalloc(size_t size);               /* zeroed */
void *tr__realloc(void *block, size_t size); /* counts as one allocation; NULL: block is as it was */
char *tr__strdup(const char *text);
char *tr__strndup(const char *text, size_t length); /* at most length bytes, less if a NUL comes first */
/* Zeroed, and at the beginning of a cache line (64 bytes); to be freed by tr__free_line() only. */
void *tr__zalloc_line(size_t size);
void tr__free_line(void *block);                    /* NULL is fine */
void tr__free(void *block);                         /* NULL is fine */

/* Tests: the n-th allocation from now fails (1 = the next), of this thread only; 0 switches it off. Only
 * that one fails; errno is ENOMEM then. Returns how many allocations this thread tried since last time. */
uint64_t tr__alloc_fail_at(uint64_t nth);

#endif
