/* What a node stops one after another, in reverse order of their start, when it ends in order: actors with a name that no
 * supervisor looks after, and supervisors that aren't children of others. Names carry their order themselves (names.c);
 * supervisors are in a list of their own, each in its state. Any thread, under the names' lock. */
#ifndef TR_ACTORS_SUPERVISION_ROOTS_H
#define TR_ACTORS_SUPERVISION_ROOTS_H

#include <stddef.h>
#include <stdint.h>

#include <troupe/actor.h>

typedef struct tr__root {
    struct tr__root *next, *prev; /* NULL, NULL: not in the list */
    tr_addr address;
    uint64_t order;
    tr_node *node; /* NULL: not in the list */
} tr__root;

/* Embedded in what ends; it must stay where it is. */
void tr__root_add(tr_node *node, tr__root *root, tr_addr address);
/* Nothing if it isn't in the list. */
void tr__root_remove(tr__root *root);
/* All roots, the one that started last first; at most `room`. How many there are. */
size_t tr__roots_copy(tr_node *node, tr_addr *into, size_t room);

#endif
