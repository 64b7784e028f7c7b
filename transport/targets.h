/* The addresses a node stays connected to, and when each is to be dialled next. Pure: decides, dials nothing.
 * One owner (the endpoint). */
#ifndef TR_TRANSPORT_TARGETS_H
#define TR_TRANSPORT_TARGETS_H

#include "base/random.h"
#include "transport/address.h"

#define TR__LEARNED_NS 600000000000ull /* ten minutes */

typedef struct tr__target {
    struct tr__target *next;
    tr__net_address address;
    char text[TR__ADDRESS_MAX + 1]; /* normal form of the address */
    bool busy;                      /* dialled, or connected by it */
    bool forgotten;
    bool learned;          /* a peer told of it: it is forgotten when nobody is met there for long */
    uint64_t failing_ns;   /* since when nobody was, if it was learned; 0: somebody was */
    uint64_t satisfied_by; /* the id of a peer that is up by another connection; 0 = none */
    uint64_t next_ns;      /* not before; meaningless while busy or satisfied */
    uint64_t backoff_ns;
    uint64_t alike; /* attempts in a row that failed for that reason; 0: none did since somebody was met */
    tr_error why;
} tr__target;

typedef struct tr__targets {
    tr__target *first;
    unsigned count, learned; /* all of them; those of them that were learned */
    uint64_t backoff_min_ns, backoff_max_ns;
    tr__random random;
} tr__targets;

/* 0 for the back-offs: 100 ms, 5 s. */
void tr__targets_init(tr__targets *targets, uint64_t seed, uint64_t backoff_min_ns, uint64_t backoff_max_ns);
void tr__targets_fini(tr__targets *targets);
/* Due at once. The same address twice is once. TR_EADDR, TR_EFULL, TR_ENOMEM. */
tr_err tr__targets_add(tr__targets *targets, const char *address, unsigned count_max, tr_error *error);
/* The like for an address that a peer told of: at most `learned_max` of those. */
tr_err tr__targets_learn(tr__targets *targets, const char *address, unsigned learned_max, tr_error *error);
/* Mark it (all of them) as forgotten; an address that isn't there: nothing. */
void tr__targets_forget(tr__targets *targets, const char *address);
void tr__targets_forget_all(tr__targets *targets);
/* Free what is forgotten and not busy. */
void tr__targets_sweep(tr__targets *targets);

/* UINT64_MAX while busy, satisfied or forgotten. */
uint64_t tr__target_due(const tr__target *target);
uint64_t tr__targets_due(const tr__targets *targets); /* the earliest; 0 if one waits to be swept */
/* An attempt failed: again after the back-off, which doubles. What was learned is forgotten when it has failed for
 * TR__LEARNED_NS. */
void tr__targets_failed(tr__targets *targets, tr__target *target, uint64_t now_ns);
/* Note why an attempt failed; how many in a row failed so, this one included. */
uint64_t tr__target_alike(tr__target *target, const tr_error *why);
/* The connection it led to ended after up_ns: if that was long, the back-off begins anew. */
void tr__targets_lost(tr__targets *targets, tr__target *target, uint64_t now_ns, uint64_t up_ns);
/* That peer is gone: who was satisfied by it dials again. */
void tr__targets_unsatisfied(tr__targets *targets, uint64_t id, uint64_t now_ns);

#endif
