/* The probe: asks alice's web app every 10 ms and keeps the times of the answers, by phase. It lives on a
 * loop of its own in the demo's node, so that it measures alice and not the screen. */
#ifndef TR_CLI_DEMO_PROBE_H
#define TR_CLI_DEMO_PROBE_H

#include "cli/demo/messages.h"

#define DEMO_PROBE_EVERY TR_MILLIS(10)

typedef struct demo_probe_arg {
    char address[32]; /* of the web app */
    tr_addr observer;
} demo_probe_arg;

/* Argument: a demo_probe_arg that lives as long as the actor. Told the phase by demo_phase, reports
 * demo_latency. */
extern const tr_actor_def demo_probe;

#endif
