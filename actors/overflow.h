/* What becomes of a send that finds no place. The sending actor's loop. */
#ifndef TR_ACTORS_OVERFLOW_H
#define TR_ACTORS_OVERFLOW_H

#include "actors/loop.h"

/* Of the mailbox at `to`; of one that isn't of this node, or was never there: to refuse. */
tr_overflow tr__overflow_of(const tr__loop *loop, tr_addr to);
/* Count and report a message that is dropped before it is made. */
void tr__drop_newest(tr_actor *self, tr_addr to, const char *type);
/* It is a fiber, and `to` has a mailbox that lets it wait. */
bool tr__may_wait(tr_actor *self, tr_addr to);
/* Wait until places for a body of that size are drawn. TR_EDEADLINE, TR_EKILLED, TR_ENOMEM, TR_EFULL: self's last error
 * says so, and nothing is drawn. */
tr_err tr__wait_for_places(tr_actor *self, tr_addr to, size_t size, uint64_t wait_ns, uint32_t *places);

#endif
