/* Who has something under way on a peer's bulk lane: pairs of a sender here and a receiver there. Their later messages go
 * behind it, so that a pair's order holds (docs/lanes.md). Loop 0 only.
 *
 * N8  A pair comes in by a large message only: so there are no more than large messages that wait, and those that are
 *     behind and not forgotten yet, at most TR__PAIRS_STALE.
 * N9  A pair is forgotten when nothing of it is held, and the unit that has its last message was handed to the stream. */
#ifndef TR_ACTORS_REMOTE_PAIRS_H
#define TR_ACTORS_REMOTE_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/remote/wire.h"

#define TR__PAIRS_STALE 256

typedef struct tr__pair tr__pair;
typedef struct tr__pairs {
    tr__pair *table;
    uint32_t sweep_at; /* so many: look for those that can be forgotten */
} tr__pairs;

/* The pair of a record's sender and receiver; NULL: nothing of it is under way. taken: the unit that was handed over
 * last. */
tr__pair *tr__pairs_find(tr__pairs *pairs, const tr__record *record, uint64_t taken);
/* The same, made if it isn't there. NULL: no memory. */
tr__pair *tr__pairs_make(tr__pairs *pairs, const tr__record *record, uint64_t taken);
/* Its last message went into that unit. */
void tr__pair_sent(tr__pair *pair, uint64_t unit);
bool tr__pair_is_held(const tr__pair *pair);
/* One of its messages is held, and is held no more. */
void tr__pair_hold(tr__pair *pair, int32_t by);
void tr__pairs_end(tr__pairs *pairs);

#endif
