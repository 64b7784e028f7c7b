/* The world that the shipped kinds (compute, downloader, stream client) meet in a simulated cluster: child processes,
 * threads, HTTP, files and TCP, all by the simulator's events (sim_events.h) and a seed. One thread.
 *
 *     sim_kinds *kinds = sim_kinds_create(sim, 3, &random);        one for the cluster
 *     sim_process_add(kinds->process, "cat", cat, NULL);          what there is in the world
 *     kinds->http->faults[SIM_HTTP_RESET].rate = 1000;             how bad it is: one get in a thousand
 *     tr__seams seams = {..., .kinds = sim_kinds_of(kinds, 0)};    for the node of that number
 *     sim_kinds_drop(kinds, 0, power);                                 it crashes: before its actors are taken down
 *     sim_kinds_destroy(kinds);
 *
 * Possible failures: of the world, by its faults; a wrong name or number is a failed check. */
#ifndef TR_TESTS_KIT_SIM_KINDS_H
#define TR_TESTS_KIT_SIM_KINDS_H

#include "tests/kit/sim/sim_files.h"
#include "tests/kit/sim/sim_http.h"
#include "tests/kit/sim/sim_process.h"
#include "tests/kit/sim/sim_tcp.h"
#include "tests/kit/sim/sim_workers.h"

/* One node's place in the world. */
typedef struct sim_host {
    struct sim_kinds *kinds;
    uint32_t node;
} sim_host;

typedef struct sim_kinds {
    sim_process *process;
    sim_workers *workers;
    sim_http *http;
    sim_files *files;
    sim_tcp *tcp;
    uint32_t nodes;
    sim_host hosts[];
} sim_kinds;

/* Nodes are numbered from 0. All streams of random numbers are seeded from `random`. */
sim_kinds *sim_kinds_create(struct tr_sim *sim, uint32_t nodes, tr__random *random);
/* When no node of it is left. */
void sim_kinds_destroy(sim_kinds *kinds);
/* What that node is given; borrows `kinds`. */
tr__kind_seams sim_kinds_of(sim_kinds *kinds, uint32_t node);
/* The node crashes, or has ended: nothing that it has begun goes on. With `power` its disk is as a power cut leaves it. */
void sim_kinds_drop(sim_kinds *kinds, uint32_t node, bool power);
/* The `index`th of all classes of faults, to set and to list them; NULL: there are no more. */
sim_fault *sim_kinds_fault(sim_kinds *kinds, unsigned index);

static inline sim_host *sim_host_of(tr__loop *loop)
{
    return tr__loop_kinds(loop)->context;
}

#endif
