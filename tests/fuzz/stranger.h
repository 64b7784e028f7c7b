/* Somebody without manners at the other end of a connection, over the net in memory: it says what an input tells it, frame by
 * frame, with checksums, sequences and seals made right unless the input wants otherwise. */
#ifndef TR_TESTS_FUZZ_STRANGER_H
#define TR_TESTS_FUZZ_STRANGER_H

#include "tests/fuzz/fuzz.h"
#include "tests/kit/memory_stream.h"
#include "transport/psk.h"

extern const tr__keys stranger_keys; /* one */

typedef struct stranger {
    memory_net *net;
    tr__stream *raw; /* NULL: not connected */
    const char *cluster;
    bool dialled, sealing; /* sealing: what it says is sealed from now on */
    bool lanes;            /* it says that it knows the bulk lane */
    tr__seal out, in;
    tr__psk_pair pair;
    uint64_t sequence[TR__LANES];
    size_t unit_left; /* bytes that it has announced by right chunks, and not said */
} stranger;

/* A frame whose body stands at frame + TR__FRAME_HEADER, with room for a tag behind. */
void stranger_say(stranger *s, uint8_t *frame, tr__frame_kind kind, size_t body);
/* Its public key; both directions have their keys once the other's is known. */
void stranger_say_key(stranger *s);
void stranger_learn_key(stranger *s);
void stranger_say_hello(stranger *s);
void stranger_say_grant(stranger *s, uint64_t total);
/* Throw away what the other side said. */
void stranger_read(stranger *s);
/* The frame that the input has next: kind, length of 2 bytes, body. */
void stranger_frame(stranger *s, fuzz_bytes *in, tr__frame_kind kind);
/* A chunk that is right, which no fuzzer guesses: how long (2 bytes), how much more is to come if it begins a unit (2), of its
 * last chunk how many messages (1), and the unit's bytes. */
#define STRANGER_CHUNK_MAX 512
void stranger_chunk(stranger *s, fuzz_bytes *in);

#endif
