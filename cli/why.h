/* Why an actor doesn't come forward: the chain of who waits for whom, and its end in words. The main thread. */
#ifndef TR_CLI_WHY_H
#define TR_CLI_WHY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define WHY_HOPS_MAX 64

/* Zeroed at first. */
typedef struct why {
    json_t *chain;    /* what the nodes answered, in order, each with its "node" */
    char kind[16];    /* stuck, cycle, dead-peer, full, lock, kept, sleeps, busy, idle, ended, unknown */
    char cause[2048]; /* in words */
    char base[64];    /* the last node that was asked by its socket: it asks those that have none here */
    bool over;        /* the last one asked was asked by that, over their connection */
    char lead[1024];  /* what the cause begins with: of whom it is the cause */
} why;

/* Follow from that actor of that node, which is asked first. False: that one could not be asked, and `cause` says why. */
bool why_follow(why *w, const char *node, const char *to);
void why_free(why *w);

/* "node/name", or "node/<address> (definition)", of a step's actor. Returns `out`. */
const char *why_label(const json_t *step, char *out, size_t room);
/* "3.2 s". Returns `out`. */
const char *why_time(json_int_t ms, char out[32]);
/* One step for people, with its backtrace if it has one. */
void why_print(const json_t *step, size_t depth);

#endif
