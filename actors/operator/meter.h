/* What a loop measures and copies only while somebody watches: the meter (how long handlers take) and taps (copies of the
 * messages an actor gets). Each is there by a lease that the watcher renews with each look; one that isn't renewed
 * ends by itself (tr__meter_expire, tr__taps_expire, which the loop's operator actor calls). Bounded: actors, bytes,
 * copies a second; what goes beyond is counted. The loop's thread only.
 *
 * While nobody watches the meter costs nothing: it hangs on the slow half of count_step (run.c), which it makes the
 * usual one. Taps cost a look at one field of the loop for each message. */
#ifndef TR_ACTORS_OPERATOR_METER_H
#define TR_ACTORS_OPERATOR_METER_H

#include <jansson.h>

#include "actors/loop.h"
#include "base/histogram.h"

#define TR__METER_ACTORS 512           /* measured on a node, shared evenly by its loops */
#define TR__METER_WINDOW TR_SECONDS(5) /* percentiles are of the last one to two of these */
#define TR__LEASE_MAX    60            /* seconds */

/* One actor that has run since the meter is there. */
typedef struct tr__metered {
    struct tr__metered *next; /* in its bucket */
    uint32_t slot, generation;
    uint64_t busy_ns;          /* in handlers, since it is metered */
    const tr_typeinfo *type;   /* of its last message */
    uint64_t window;           /* which one `now` is of */
    tr__histogram now, before; /* ns, in this window and in the one before it */
} tr__metered;

typedef struct tr__meter {
    uint64_t until_ns; /* of the lease */
    uint64_t began_ns;
    uint32_t count, most;
    uint64_t unmetered; /* steps of actors that there was no room for */
    tr__metered *buckets[256];
} tr__meter;

/* Measure until that time at least; false: no memory. */
bool tr__meter_lease(tr__loop *loop, uint64_t until_ns);
/* What took from `began_ns` to the loop's now is one step of the actor that the loop's watch names. */
void tr__meter_step(tr__loop *loop, uint64_t began_ns);
/* The actor's; NULL: it didn't run since, or there was no room. */
const tr__metered *tr__meter_of(const tr__loop *loop, const tr_actor *actor);
/* Its steps of the last one to two windows. */
void tr__meter_recent(const tr__loop *loop, const tr__metered *metered, tr__histogram *out);
/* Ends it if its time is up; the time at which to look again, TR__NEVER: there is none. */
uint64_t tr__meter_expire(tr__loop *loop, uint64_t now_ns);

/* ---- taps (taps.c) ------------------------------------------------------------------------------------- */

#define TR__TAPS_MAX    8            /* a loop */
#define TR__TAP_ROOM    (256u << 10) /* bytes of copies that wait to be fetched, each */
#define TR__TAP_CONTENT (16u << 10)  /* bytes of a message's content as JSON; a longer one is left out */
#define TR__TAP_RATE    1000u        /* copies a second, each */

struct tr__tap;

/* A tap on that actor of this loop; its number (never 0), or 0 and *error: TR_EFULL, TR_ENOMEM. */
uint64_t tr__tap_open(tr__loop *loop, tr_addr actor, uint64_t until_ns, tr_error *error);
/* Renew the lease, and take what was copied since the last time: {"messages":[...],"lost":N,...}; NULL and *error:
 * TR_ENOTFOUND (no such tap, its time was up), TR_ENOMEM. */
json_t *tr__tap_take(tr__loop *loop, uint64_t number, uint64_t until_ns, tr_error *error);
/* Whose it is; TR_ADDR_NONE: no such tap. */
tr_addr tr__tap_actor(const tr__loop *loop, uint64_t number);
/* That actor still is. */
bool tr__tap_is_alive(const tr__loop *loop, uint64_t number);
void tr__tap_close(tr__loop *loop, uint64_t number);
/* A message that its actor is about to get, while there are taps. */
void tr__taps_see(tr__loop *loop, const tr_actor *actor, const tr_msg *msg);
uint64_t tr__taps_expire(tr__loop *loop, uint64_t now_ns);

/* At the loop's end. */
void tr__watching_fini(tr__loop *loop);

#endif
