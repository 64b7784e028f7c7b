/* Allocation: plain malloc, and a count a thread that lets a test make one allocation fail. Any thread; the
 * count is the calling thread's, so a test isn't disturbed by others. Fails by returning NULL, with errno
 * ENOMEM. */
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local uint64_t made;      /* since the last tr__alloc_fail_at */
static _Thread_local uint64_t countdown; /* allocations up to and with the one that fails; 0 = none does */

/* Counts an allocation; true if it is the one that shall fail. */
static inline int shall_fail(void)
{
    made++;
    if (__builtin_expect(countdown == 0, 1) || --countdown > 0)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *tr__alloc(size_t size)
{
    return shall_fail() ? NULL : malloc(size ? size : 1);
}

void *tr__zalloc(size_t size)
{
    return shall_fail() ? NULL : calloc(1, size ? size : 1);
}

void *tr__realloc(void *block, size_t size)
{
    return shall_fail() ? NULL : realloc(block, size ? size : 1);
}

char *tr__strdup(const char *text)
{
    size_t length = strlen(text);
    char *copy = tr__alloc(length + 1);
    if (copy)
        memcpy(copy, text, length + 1);
    return copy;
}

char *tr__strndup(const char *text, size_t length)
{
    length = strnlen(text, length);
    char *copy = tr__alloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

void tr__free(void *block)
{
    free(block);
}

void *tr__large_alloc(size_t size)
{
    void *block = NULL;
    if (shall_fail())
        return NULL;
#ifndef TR_PLAIN_POOLS
    if (size >= TR__LARGE)
        block = tr__large_take(size);
#endif
    return block ? block : malloc(size ? size : 1);
}

void tr__large_free(void *block)
{
#ifndef TR_PLAIN_POOLS
    if (block && tr__large_keep(block))
        return;
#endif
    free(block);
}

/* Where every block is to be seen by a tool, these are as well: leak checks don't look into mapped pages. Fuzzers make a node
 * for each input and leave nothing of it, and would do little else than clear these. */
#if defined(TR_PLAIN_POOLS) && !defined(TR_FUZZ)
#define PLAIN_HUGE
#endif

void *tr__huge_alloc(int now)
{
    if (shall_fail())
        return NULL;
#ifdef PLAIN_HUGE
    (void)now;
    void *block = aligned_alloc(64, TR__HUGE);
    return block ? memset(block, 0, TR__HUGE) : NULL;
#else
    return tr__huge_map(now);
#endif
}

void tr__huge_free(void *block)
{
    if (!block)
        return;
#ifdef PLAIN_HUGE
    free(block);
#else
    tr__huge_unmap(block);
#endif
}

uint64_t tr__alloc_fail_at(uint64_t nth)
{
    uint64_t before = made;
    made = 0;
    countdown = nth;
    return before;
}

uint64_t tr__alloc_fail_left(void)
{
    return countdown;
}
