/* Actors of other nodes, as far as the core sees them: where a message for another node goes, and what comes back.
 * Loop 0's thread, unless said otherwise. All functions accept a NULL remote: a node without connections. */
#ifndef TR_ACTORS_REMOTE_H
#define TR_ACTORS_REMOTE_H

#include "actors/loop.h"

typedef struct tr__remote tr__remote;

/* May a message for that node be sent now: TR_OK, TR_EAGAIN (no credit), TR_ENOCONN. Any loop. */
tr_err tr__remote_check(tr_node *node, uint64_t to_node);
/* Encode it into the connection, or drop it as undeliverable. Takes msg. */
void tr__remote_send(tr__loop *loop, uint64_t to_node, tr_msg *msg);
/* Feed what the network brought; in each turn. */
void tr__remote_step(tr__remote *remote, uint64_t now_ns);
/* Start sending what the turn gathered. */
void tr__remote_flush(tr__remote *remote);
uint64_t tr__remote_next_due(const tr__remote *remote);

#endif
