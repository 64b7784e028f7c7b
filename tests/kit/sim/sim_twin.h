/* What the simulated twins of the kinds' seams share. A twin is the whole cluster's; each child, work, get, sink and
 * connection of it is a handle, which belongs to an actor of one node's life.
 *
 * When a node crashes, its handles die: from then on they call nobody and change nothing. Their memory goes when their
 * owner closes them (as its node is taken down), or at that node's next crash, or with the twin. */
#ifndef TR_TESTS_KIT_SIM_TWIN_H
#define TR_TESTS_KIT_SIM_TWIN_H

#include "actors/adapter.h"
#include "tests/kit/sim/sim_bytes.h"
#include "tests/kit/sim/sim_events.h"
#include "tests/kit/sim/sim_fault.h"

typedef struct sim_twin {
    struct tr_sim *sim;
    tr__random random; /* what isn't a fault: how long things take */
    struct sim_handle *handles;
} sim_twin;

/* The first member of what a seam hands out. */
typedef struct sim_handle {
    struct sim_handle *next, **link;
    sim_twin *twin;
    tr__loop *loop;
    uint32_t node;
    bool dead;
    void (*fini)(struct sim_handle *handle); /* give back what it holds besides itself */
} sim_handle;

void sim_twin_init(sim_twin *twin, struct tr_sim *sim, tr__random *seeds);
/* That node has crashed. */
void sim_twin_drop(sim_twin *twin, uint32_t node);
/* Frees all handles. */
void sim_twin_fini(sim_twin *twin);

/* `size` bytes, zeroed, that begin with a handle; the node's memory, so NULL if there is none. */
void *sim_handle_open(sim_twin *twin, tr__loop *loop, size_t size, void (*fini)(sim_handle *handle));
void sim_handle_close(sim_handle *handle);
/* Call fire(handle) later, unless it is closed or dead by then. */
void sim_handle_later(sim_handle *handle, uint64_t delay_ns, void (*fire)(void *handle));
/* First thing in each `fire`: its loop turns once that is over. */
void sim_handle_wake(sim_handle *handle);

#endif
