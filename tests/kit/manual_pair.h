/* The fixture of most core tests: two puppets, a and b, under the manual driver, and the steps that they
 * often take (to be given to manual_do, or as what a puppet does with what it hears). */
#ifndef TR_TESTS_KIT_MANUAL_PAIR_H
#define TR_TESTS_KIT_MANUAL_PAIR_H

#include "tests/kit/manual.h"

typedef struct pair {
    manual *m;
    manual_puppet a, b; /* a asks b; on one loop or on two. Their `user` is this pair */
    tr_future future;
    tr_future many[3];
    uint64_t timeout_ns; /* of asks: a second */
    tr_msg *kept;        /* by b */
} pair;

/* a on loop 0, b on the last one; both running. One at a time. */
pair *pair_open(uint32_t loops);
/* Pump, check the sums and all else, close. */
void pair_close(pair *p);
/* As hears: answers an ask of a mark by n + 1. */
void pair_reply(tr_actor *self, manual_puppet *puppet, const tr_msg *msg);
/* As hears: keeps an ask. */
void pair_keep(tr_actor *self, manual_puppet *puppet, const tr_msg *msg);
/* a: ask b, and note how it ends. */
void pair_ask(tr_actor *self, void *context);
/* a: ask b, and leave the future alone. */
void pair_ask_only(tr_actor *self, void *context);
/* a: cancel that future. */
void pair_cancel(tr_actor *self, void *context);
/* b: answer what it keeps, and note how that went. */
void pair_reply_kept(tr_actor *self, void *context);
/* Anyone: kill b. */
void pair_kill_b(tr_actor *self, void *context);
/* Anyone: kill a. */
void pair_kill_a(tr_actor *self, void *context);

#endif
