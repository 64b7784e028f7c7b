/* The twin of downloaded files (actors/kinds/file_sink.h): they go to a disk of each node's own, in memory
 * (sim_fs.h), in the steps of the real one. What there is on it survives the node's crash as on a real disk.
 *
 * Possible failures, as of the real one: a digest that isn't the one asked for (TR_EMISMATCH); another sink that writes
 * to the same PATH.part (TR_EEXIST); the faults. */
#ifndef TR_TESTS_KIT_SIM_FILES_H
#define TR_TESTS_KIT_SIM_FILES_H

#include "actors/kinds/file_sink.h"
#include "tests/kit/sim/sim_fs.h"
#include "tests/kit/sim/sim_twin.h"

enum sim_files_fault {
    SIM_FILES_SLOW,   /* its steps take 10 to 1,000 times as long */
    SIM_FILES_FULL,   /* a write fails: TR_ENOSPC */
    SIM_FILES_RENAME, /* the whole file can't be given its name: TR_EPERM, TR_EIO */
    SIM_FILES_FORCE,  /* its bytes can't be forced: TR_EIO */
    SIM_FILES_FAULTS
};

typedef struct sim_files {
    sim_twin twin;
    sim_fault faults[SIM_FILES_FAULTS];
    tr__random crashes; /* what a crash leaves */
    uint32_t nodes;
    sim_fs fs[];
} sim_files;

sim_files *sim_files_create(struct tr_sim *sim, uint32_t nodes, tr__random *seeds);
void sim_files_destroy(sim_files *files);
/* That node's, to look at it and to put files there. */
sim_fs *sim_files_fs(sim_files *files, uint32_t node);
/* With `power` what was not forced may be lost. */
void sim_files_drop(sim_files *files, uint32_t node, bool power);

extern const tr__file_seam sim_files_seam;

#endif
