/* Strangers: those who have connected to a node and haven't proven yet that they belong to it. They have so many
 * places together (TR__UNAUTHENTICATED_MAX), and somebody has to go when one more comes:
 *
 *   of the address that has the most places, who has waited longest for the other side's next right word.
 *
 * So who floods a node from one address displaces itself, and a newcomer from elsewhere is let finish; from the
 * same address it has the time in which as many others come as there are places, anew with each step it does.
 * Who has proven itself (its HELLO was right) keeps its place: if all have, the newcomer is turned away. */
#ifndef TR_TRANSPORT_STRANGERS_H
#define TR_TRANSPORT_STRANGERS_H

#include "transport/link.h"

/* A place for one more; false: there is none. The control thread, and not within a connection's upcall. */
bool tr__strangers_make_room(tr__endpoint *endpoint);

#endif
