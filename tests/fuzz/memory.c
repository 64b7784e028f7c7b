/* What is on the heap: the program is linked with --wrap for the four below, so that all calls from our code, the kit's
 * and the targets' come through here (not those from within shared libraries). */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);

/* Since the input began; what a library allocated and we free counts down, so it may be below zero. */
static int64_t held;
static int64_t most; /* that may be held; 0: no input is being worked on */
static size_t input_length;

static void *take(void *block)
{
    held += block ? (int64_t)malloc_usable_size(block) : 0;
    if (most && held > most) {
        int64_t now = held, bound = most;
        most = 0; /* telling it takes memory */
        tr__check_failed(__FILE__, __LINE__, "held <= most",
                         "%lld bytes are held for an input of %zu; %lld is the most", (long long)now,
                         input_length, (long long)bound);
    }
    return block;
}

static void give(void *block)
{
    held -= block ? (int64_t)malloc_usable_size(block) : 0;
}

void *__wrap_malloc(size_t size)
{
    return take(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return take(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    int64_t before = block ? (int64_t)malloc_usable_size(block) : 0;
    void *moved = __real_realloc(block, size);
    if (!moved)
        return NULL;
    held -= before;
    return take(moved);
}

void __wrap_free(void *block)
{
    give(block);
    __real_free(block);
}

void fuzz_begin(const fuzz_target *target)
{
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* what the kit asserts ends the process as well */
    target->one((const uint8_t *)"", 0); /* what is made once is made, and not counted */
}

void fuzz_run(const fuzz_target *target, const uint8_t *bytes, size_t length)
{
    held = 0;
    input_length = length;
    most = (int64_t)(target->memory_base + target->memory_factor * length);
    target->one(bytes, length);
    most = 0;
}

uint8_t *fuzz_copy(const uint8_t *bytes, size_t length, bool text)
{
    uint8_t *copy = malloc(length + text + (length + text == 0));
    if (length)
        memcpy(copy, bytes, length);
    if (text)
        copy[length] = '\0';
    return copy;
}
