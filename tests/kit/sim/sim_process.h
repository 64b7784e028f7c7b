/* The twin of child processes (actors/kinds/process.h): a command is a C function, found by its name, that is called
 * once, when its input has ended, and says what such a process would print, how long it takes and how it ends.
 *
 * Possible failures, as of a real one: a name that nobody added (TR_ENOTFOUND, as for a missing program); the faults. */
#ifndef TR_TESTS_KIT_SIM_PROCESS_H
#define TR_TESTS_KIT_SIM_PROCESS_H

#include "actors/kinds/process.h"
#include "tests/kit/sim/sim_twin.h"

enum sim_process_fault {
    SIM_PROCESS_SLOW,    /* it takes 10 to 1,000 times as long */
    SIM_PROCESS_KILLED,  /* a signal ends it in the middle of its output */
    SIM_PROCESS_CUT,     /* its output comes in small pieces */
    SIM_PROCESS_LOST,    /* its exit status is lost: TR_EIO */
    SIM_PROCESS_REFUSED, /* it can't be started: no memory, or too many processes */
    SIM_PROCESS_FAULTS
};

#define SIM_ENDLESS UINT64_MAX

/* What a command is given and, below, what it says. Borrowed for the call. */
typedef struct sim_command {
    const char *const *argv; /* ends with NULL */
    tr_bytes input;          /* all of it */
    uint64_t duration_ns;    /* 1 to 20 ms, drawn; SIM_ENDLESS: it runs until it is ended */
    int32_t status;
    bool stubborn; /* SIGTERM does nothing to it */
    bool lingers;  /* what it left behind holds its output open until it is killed */
    sim_bytes output[2];
} sim_command;

typedef void (*sim_command_fn)(void *context, sim_command *command);
/* For a command: it prints this; stream is 1 (stdout) or 2 (stderr). */
void sim_print(sim_command *command, uint32_t stream, const void *data, size_t size);

typedef struct sim_process {
    sim_twin twin;
    sim_fault faults[SIM_PROCESS_FAULTS];
    uint32_t cores; /* that a node may use; 4 */
    struct sim_program *programs;
} sim_process;

sim_process *sim_process_create(struct tr_sim *sim, tr__random *seeds);
void sim_process_destroy(sim_process *process);
/* All nodes have that command from now on. The name is copied. */
void sim_process_add(sim_process *process, const char *name, sim_command_fn command, void *context);
void sim_process_drop(sim_process *process, uint32_t node);

extern const tr__process_seam sim_process_seam;

#endif
