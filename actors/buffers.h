/* The counted buffers that actors hold (buffers.c). */
#ifndef TR_ACTORS_BUFFERS_H
#define TR_ACTORS_BUFFERS_H

#include "actors/actor.h"
#include "mailbox/buffer.h"

/* What the actor still holds, at its end. */
void tr__buffers_end(tr__extras *extras);

#endif
