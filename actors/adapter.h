/* What the kinds and what brings them outside events (the files *_uv.c, *_curl.c) may use of the core.
 *
 * An adapter lives on the loop of the actor that owns it and runs in its driver's callbacks, between turns;
 * it speaks to its actor only by messages, and to others not at all. An actor that is gone is a dead letter,
 * never a crash. */
#ifndef TR_ACTORS_ADAPTER_H
#define TR_ACTORS_ADAPTER_H

#include <troupe/troupe.h>

#include "base/seams.h"

typedef struct tr__loop tr__loop;

/* The loop that runs `self`. */
tr__loop *tr__loop_of(tr_actor *self);
/* What kinds do in the world, on that loop's node; fixed once it runs. Any thread. */
const tr__kind_seams *tr__loop_kinds(const tr__loop *loop);
/* The driver's own handle, for the files *_uv.c, *_curl.c: the uv_loop_t *. */
void *tr__loop_driver(tr__loop *loop);
/* Send from an adapter, on the loop's thread, in reserved space: the adapter bounds what it has outstanding
 * itself (by pausing its source until the actor has consumed). TR_ENOMEM, TR_ETOOBIG. */
tr_err tr__inject_body(tr__loop *loop, tr_addr to, tr_type *type, const void *body);
#define tr__inject(loop, to, type, ...) tr__inject_body((loop), (to), &type##_type, &(type){__VA_ARGS__})

#endif
