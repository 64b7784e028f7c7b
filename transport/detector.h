/* Whether a peer is still there, judged from when it was heard: the phi-accrual failure detector (Hayashibara
 * et al., 2004), bounded from above.
 *
 * It knows the pauses between the last signs of life. How unlikely it is that a pause lasts longer than the
 * present one is phi: 8 means that one pause in 10^8 would. A pause of three fifths of `silence` is forgiven
 * first, for what a network that loses packets, or a busy machine, does to anybody. The peer is down when phi
 * reaches `phi`, and in any case after `silence`.
 *
 * F1  At most `silence` passes between the last sign of life and `due`, but for what this side itself lagged.
 * F2  What this side lagged is never counted as the peer's silence: it may have spoken, and nobody looked.
 * F3  Integers only: the same answers on every machine.
 *
 * Pure: no thread, clock, allocation. Times are nanoseconds of the caller's clock. */
#ifndef TR_TRANSPORT_DETECTOR_H
#define TR_TRANSPORT_DETECTOR_H

#include <stdint.h>
#include <troupe/err.h>

#define TR__DETECTOR_WINDOW 64 /* pauses that are remembered */

typedef struct tr__detector_config {
    uint64_t heartbeat_ns; /* a node says something at least as often */
    uint64_t silence_ns;   /* the longest silence of a peer; four heartbeats or more */
    uint32_t phi;          /* 1 to 16 */
} tr__detector_config;

typedef struct tr__detector {
    const tr__detector_config *config;
    uint64_t heard_ns; /* the last sign of life came at this time or later; moved on by what we lagged */
    uint32_t pauses_us[TR__DETECTOR_WINDOW];
    uint32_t count, next;
    uint64_t sum, squares; /* of the pauses */
    uint64_t patience_ns;  /* how long a silence may last by them */
} tr__detector;

/* 500 ms, 5 s, 8. */
void tr__detector_config_defaults(tr__detector_config *config);
/* TR_EINVAL, naming the option: heartbeat 10 ms to 60 s, silence 4 heartbeats to 1 h, phi 1 to 16. */
tr_err tr__detector_config_check(const tr__detector_config *config, tr_error *error);

/* Heard at now_ns for the first time. The config is borrowed. */
void tr__detector_init(tr__detector *detector, const tr__detector_config *config, uint64_t now_ns);
/* A sign of life came, at at_ns at the earliest. */
void tr__detector_heard(tr__detector *detector, uint64_t at_ns);
/* This side did nothing for so long, up to now_ns. */
void tr__detector_lagged(tr__detector *detector, uint64_t by_ns, uint64_t now_ns);
/* When the peer is down, unless something is heard before. */
uint64_t tr__detector_due(const tr__detector *detector);
/* How long it has been silent, as far as it is counted. */
uint64_t tr__detector_silence(const tr__detector *detector, uint64_t now_ns);

#endif
