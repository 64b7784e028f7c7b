/* All memory that Troupe allocates comes through here, so that a test can make the n-th allocation fail.
 * Thread-safe. Every function that allocates returns NULL on failure and leaves its arguments as they were.
 */
#ifndef TR_BASE_MEM_H
#define TR_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

void *tr__alloc(size_t size);  /* uninitialised; size 0 gives a valid block */
void *tr__zalloc(size_t size); /* zeroed */
void *tr__realloc(void *block, size_t size);
char *tr__strdup(const char *text);
char *tr__strndup(const char *text, size_t length);
void tr__free(void *block); /* NULL is fine */

/* Tests: the n-th allocation from now fails (1 = the next), of this thread only; 0 switches it off. Returns
 * how many allocations this thread made since the last call. */
uint64_t tr__alloc_fail_at(uint64_t nth);

#endif
