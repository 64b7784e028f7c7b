/* What peers may do on this node: who may what, by name (troupe/node.h), and what they were refused. An entry is looked up
 * when a peer comes; what is refused is counted for its connection and logged, at most one line a second and peer. Loop 0
 * only, but for tr__rights_of. */
#ifndef TR_ACTORS_REMOTE_RIGHTS_H
#define TR_ACTORS_REMOTE_RIGHTS_H

#include "actors/loop.h"

/* What can be refused, its word in a file and in `troupe ps`, and its bit in `may`. */
#define TR__RIGHTS(X)                           \
    X(SEND, "send", TR_MAY_SEND)                \
    X(LINK, "link", TR_MAY_LINK)                \
    X(STOP, "stop", TR_MAY_STOP)                \
    X(TRANSACT, "transact", TR_MAY_TRANSACT)    \
    X(SUBSCRIBE, "subscribe", TR_MAY_SUBSCRIBE) \
    X(NAMES, "names", 0)                        \
    X(SPAWN, "spawn", 0)
#define TR__ENUM(name, word, bit) TR__RIGHT_##name,
typedef enum tr__right { TR__RIGHTS(TR__ENUM) TR__RIGHT_COUNT } tr__right;
#undef TR__ENUM
#define TR__SPAWN_DEFAULT 100u
#define TR__RIGHTS_MAX    4000u /* entries: each is compared with all before it */
#define TR__SPAWN_MAX     3000u /* of all peers: one actor watches them */
#define TR__RATE_MIN      16384u

extern const char *const tr__right_words[TR__RIGHT_COUNT];

/* Whether text fits a pattern: '*' stands for any characters, none as well. */
bool tr__pattern_fits(const char *pattern, const char *text);
/* The entry for a peer of that name; never NULL. Any thread: entries don't change. */
const tr_rights *tr__rights_of(const tr_node *node, const char *peer);
/* TR_EINVAL: two entries for one name, a spawn_max or a rate that can't be. */
tr_err tr__rights_check_one(const tr_rights *rights, uint32_t i, tr_error *error);
tr_err tr__rights_check(const tr_rights *rights, uint32_t count, tr_error *error);

/* What one peer has been refused on its connection. */
typedef struct tr__refusals {
    uint64_t count[TR__RIGHT_COUNT];
    uint64_t told_ns, untold; /* for the log */
} tr__refusals;

/* Actors that a peer may send to since they have a name of its: found by their names, and remembered. */
#define TR__REACH_SLOTS 64
typedef struct tr__reach {
    struct {
        uint32_t slot, generation;
        uint32_t names; /* how often names had been given when it was found that it has none */
        bool has;
    } seen[TR__REACH_SLOTS];
} tr__reach;

struct tr__remote_peer;

/* Whether a peer has that right, of what (a name, or that of an offer; else NULL). If not it is counted, and *error, which
 * may be NULL, says which right is missing where: TR_EPERM. */
tr_err tr__peer_may(struct tr__remote_peer *p, tr__right right, const char *what, tr_error *error);
/* Whether it may send to that actor of this node: by TR_MAY_SEND, or since it has a name of its. Else as above. */
tr_err tr__peer_reaches(struct tr__remote_peer *p, tr_addr to, tr_error *error);
/* The same, without a refusal. */
bool tr__peer_can_reach(struct tr__remote_peer *p, tr_addr to);
/* Whether it may send it a message of that type (its id; 0: of an unknown one), by whatever way that comes: it reaches it, and
 * if that subscribes to a topic it may. */
tr_err tr__peer_may_send(struct tr__remote_peer *p, tr_addr to, uint64_t type, tr_error *error);
/* The like for actors on loop 0: of the connected node of that id. TR_ENOCONN. */
tr_err tr__node_may_send(tr__loop *loop, uint64_t node, tr_addr to, uint64_t type, tr_error *error);
tr_err tr__node_may(tr__loop *loop, uint64_t node, tr__right right, const char *what, tr_error *error);
/* Whether it is connected and has no such right, which is one of a bit; without a refusal, for what it didn't ask for. */
bool tr__node_lacks(tr__loop *loop, uint64_t node, tr__right right);

#endif
