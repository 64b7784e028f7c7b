/* The door from foreign threads to a loop: a stack that any thread pushes to and one thread takes whole.
 *
 * R. K. Treiber's stack (1986), without pop: since it is only ever taken whole there is no ABA. Nodes are
 * embedded in what is pushed; nothing is allocated and nothing fails. Order: what one thread pushes is taken
 * in that order. */
#ifndef TR_TRANSPORT_MPSC_H
#define TR_TRANSPORT_MPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct tr__mpsc_node {
    struct tr__mpsc_node *next;
    int kind; /* the pusher's own: what the node is part of */
} tr__mpsc_node;

/* Zeroed = empty. */
typedef struct tr__mpsc {
    _Atomic(tr__mpsc_node *) top;
} tr__mpsc;

/* Any thread. The node is the inbox's until it is taken. Returns whether the inbox was empty: then, and only
 * then, the caller wakes the loop. What was written before the push is visible to who takes it. */
bool tr__mpsc_push(tr__mpsc *inbox, tr__mpsc_node *node);
/* The owner's thread. All that was pushed so far, oldest first, chained by `next`; NULL when empty. */
tr__mpsc_node *tr__mpsc_take(tr__mpsc *inbox);
/* Any thread: whether there was nothing at this moment. */
bool tr__mpsc_is_empty(const tr__mpsc *inbox);

#endif
