/* Fuzz targets: each gives any bytes to one decoder, and asserts what must hold whatever they are. Two programs run them:
 * libFuzzer's (fuzzer.c, `./dev fuzz`), which looks for inputs, and test_fuzz, which replays those that were kept, cut and
 * changed as well, in every build.
 *
 * What a target asserts beside its own: memory. What it holds on the heap while it works on one input never exceeds
 * `memory_base` + `memory_factor` for each byte of the input (memory.c), so no claimed length is allocated.
 *
 * One thread. A broken promise ends the process (tr__check). */
#ifndef TR_TESTS_FUZZ_H
#define TR_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

typedef struct fuzz_target {
    const char *name;
    size_t memory_base, memory_factor; /* bytes */
    void (*one)(const uint8_t *bytes, size_t length);
    bool slow; /* a node is made for each input: half a millisecond */
} fuzz_target;

#define FUZZ_TARGETS(X) \
    X(frames)           \
    X(connection)       \
    X(peer)             \
    X(wire)             \
    X(cbor)             \
    X(json)             \
    X(schema)           \
    X(operator)         \
    X(tx_log)           \
    X(tx_snap)          \
    X(tx_frames)        \
    X(journal)          \
    X(http)             \
    X(resp)             \
    X(up_file)          \
    X(script)           \
    X(history)          \
    X(address)

#define FUZZ_DECLARE(name) extern const fuzz_target fuzz_##name;
FUZZ_TARGETS(FUZZ_DECLARE)
#undef FUZZ_DECLARE

/* Before the first input, with the target. */
void fuzz_begin(const fuzz_target *target);
/* One input, under the target's bound of memory. */
void fuzz_run(const fuzz_target *target, const uint8_t *bytes, size_t length);

/* ---- reading an input as a list of things to do --------------------------------------------------------- */

typedef struct fuzz_bytes {
    const uint8_t *at, *end;
} fuzz_bytes;

static inline bool fuzz_more(const fuzz_bytes *in)
{
    return in->at < in->end;
}

/* The next byte; 0 at the end. */
static inline uint8_t fuzz_byte(fuzz_bytes *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* The next of `width` bytes, little-endian. */
static inline uint64_t fuzz_number(fuzz_bytes *in, unsigned width)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < width; i++)
        number |= (uint64_t)fuzz_byte(in) << (8 * i);
    return number;
}

/* Up to `length` of the next bytes: *got says how many. Borrowed. */
static inline const uint8_t *fuzz_some(fuzz_bytes *in, size_t length, size_t *got)
{
    const uint8_t *some = in->at;
    *got = (size_t)(in->end - in->at) < length ? (size_t)(in->end - in->at) : length;
    in->at += *got;
    return some;
}

/* A copy with nothing behind it, so that a sanitizer sees a read beyond the end; with a NUL if `text`. To be freed. */
uint8_t *fuzz_copy(const uint8_t *bytes, size_t length, bool text);

/* ---- the types that messages in inputs are of (types.c) -------------------------------------------------- */

struct tr_typeinfo;
#define FUZZ_TYPES 7
const struct tr_typeinfo *fuzz_type(unsigned number);

#endif
