/* Actors of other nodes, as far as the core sees them: where a message for another node goes, and what comes
 * back. Loop 0's thread, unless said otherwise: it is the home of all connections, which the control thread
 * keeps up. All functions accept a NULL remote: a node without connections. */
#ifndef TR_ACTORS_REMOTE_REMOTE_H
#define TR_ACTORS_REMOTE_REMOTE_H

#include "actors/loop.h"

struct tr__net;
struct tr__connection_config;
struct tr__detector_config;
struct tr__keys;

typedef struct tr__remote tr__remote;

/* May a message of that type and body, of `size` bytes (type NULL: of none) be sent to that node now: TR_OK, TR_EAGAIN (no
 * credit, or no room for a large one), TR_ENOCONN. Any loop. */
tr_err tr__remote_check(tr_node *node, uint64_t to_node, const tr_typeinfo *type, const void *body,
                        size_t size);
/* Whether it is large, and there is no room for such: for what needs no credit otherwise. Any loop. */
bool tr__remote_lacks_room(tr_node *node, uint64_t to_node, const tr_typeinfo *type, const void *body,
                           size_t size);
/* Whether it can go over the connection to that node; *most: the bytes that can. Any loop. */
bool tr__remote_fits(tr_node *node, uint64_t to_node, const tr_typeinfo *type, const void *body, size_t size,
                     uint64_t *most);
/* The short way of a message that is small and needs no block: it is written from where it stands, and counted; on the loop
 * that has the connections into the open frame, on others into a block of records. False, with nothing done: make a message
 * of it. `size`: of its copy. Any loop. */
bool tr__remote_put(tr__loop *loop, tr_addr to, tr_addr from, const tr_typeinfo *type, const void *body,
                    size_t size);
/* A message for another node, counted as accepted: on its way, or undeliverable. Takes msg. Any loop. */
void tr__remote_route(tr__loop *loop, uint64_t to_node, tr_msg *msg);
/* Whether the node there lets this one do that (a bit of tr_may), as far as it has said, and knows what that is: TR_EPERM,
 * TR_EVERSION, TR_ENOCONN. The connection's number. Any loop. */
tr_err tr__remote_allows(tr_node *node, uint64_t to_node, uint32_t may, uint64_t *connection);
/* How such a call fails, of self: `call` is its name, `right` the word of what isn't allowed. Returns err. */
tr_err tr__allows_fail(tr_actor *self, tr_err err, const char *call, const char *right);
/* The connected node of that id; NULL: there is none. Loop 0. */
struct tr__remote_peer *tr__remote_peer_of(tr__loop *loop, uint64_t node);
/* One that was routed here by another loop, to the loop that has the connections. Takes msg. */
void tr__remote_arrived(tr__loop *loop, tr_msg *msg);
/* The like, from wherever. */
void tr__remote_send(tr__loop *loop, tr_msg *msg);

/* Whether tr_node_opts.message_max may be that; 0: the default. */
static inline bool tr__message_max_is_good(uint64_t bytes)
{
    return bytes == 0 || (bytes >= 1u << 20 && bytes <= 2u << 30);
}

/* What those options say of heartbeats and silence, with the defaults for what they don't. */
void tr__remote_detector(const tr_node_opts *opts, struct tr__detector_config *config);
/* Listen and dial as the node's options say; nothing if they don't. TR_EADDR, TR_EADDRINUSE, TR_EPERM,
 * TR_ENOMEM. */
tr_err tr__remote_open(tr_node *node, struct tr__net *net, tr_error *error);
/* "127.0.0.1:40123", "" if the node doesn't listen. */
const char *tr__remote_address(const tr__remote *remote);
/* Other timings and bounds for its connections, before the node runs. */
void tr__remote_tune(tr__remote *remote, const struct tr__connection_config *config);
/* Feed what the network brought; in each turn. */
void tr__remote_step(tr__remote *remote);
/* Where that connected node says others reach it, "" for nowhere, and whether it wants to be told of others; NULL: it isn't
 * connected. Lives as long as the connection. */
const char *tr__remote_address_of(tr__remote *remote, uint64_t node, bool *learns);
/* Whether that node is connected, and the bits of its HELLO (TR__CAPABILITY_...; 0: it isn't). */
bool tr__remote_connected(tr__remote *remote, uint64_t node, uint32_t *capabilities);
/* The connected node of that name; 0: there is none. */
uint64_t tr__remote_called(const tr__remote *remote, const char *name);
/* A peer says that a node is at that address: stay connected to it, if that may be. */
void tr__remote_learn(tr__remote *remote, uint64_t node, const char *address);
/* What went to each connected node: fills at most `most` places, returns how many. Names live as long as their
 * connection. */
typedef struct tr__traffic {
    const char *peer;
    uint64_t node, sent; /* its id; messages on this connection */
} tr__traffic;
size_t tr__remote_traffic(const tr__remote *remote, tr__traffic *out, size_t most);
/* Start sending what the turn gathered. */
void tr__remote_flush(tr__remote *remote);
/* Something came since the last step: don't sleep. */
bool tr__remote_has_news(const tr__remote *remote);
/* The control thread's part, when woken and when due: listen, dial, shake hands, notice silence. */
void tr__remote_control_step(tr__remote *remote, uint64_t now_ns);
uint64_t tr__remote_control_due(const tr__remote *remote);
/* Likewise: other keys, for connections to come; the node was made with keys. */
void tr__remote_set_keys(tr__remote *remote, const struct tr__keys *keys);
/* Say goodbye to all peers; step on until it is closed. */
void tr__remote_close(tr__remote *remote);
bool tr__remote_is_closed(const tr__remote *remote);
void tr__remote_free(tr_node *node);

#endif
