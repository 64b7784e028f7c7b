/* The disk of one simulated node: files under paths, in memory; every directory is there. It outlives the node's
 * crashes, as one does:
 *
 *  - of a file's bytes those that were forced stay; of the rest some, from the front, and their end may be zeros;
 *  - of the changes of names since the last force of them some stay, from the first on, each whole.
 *
 * What a file holds after a cut below what was forced is as if the cut had been forced. One thread. */
#ifndef TR_TESTS_KIT_SIM_DISK_H
#define TR_TESTS_KIT_SIM_DISK_H

#include "tests/kit/sim/sim_bytes.h"
#include "tests/kit/sim/sim_fault.h"

typedef struct sim_file {
    struct sim_disk *disk;
    uint32_t holders; /* names, and who has it open */
    sim_bytes bytes;
    size_t forced;
    bool locked;
} sim_file;

typedef struct sim_disk {
    struct sim_name *now, *forced;             /* paths to files */
    struct sim_rename *changes, **changes_end; /* of names, not forced yet */
    uint64_t capacity, used; /* bytes; capacity UINT64_MAX: no bound. To be set at any time */
} sim_disk;

void sim_disk_init(sim_disk *disk);
void sim_disk_fini(sim_disk *disk);

/* The file of that path; NULL: none. Borrowed. */
sim_file *sim_disk_find(const sim_disk *disk, const char *path);
/* A new file without a name, held by the caller. */
sim_file *sim_disk_make(sim_disk *disk);
void sim_disk_hold(sim_file *file);
void sim_disk_let_go(sim_file *file);
/* The path is that file's from now on. */
void sim_disk_link(sim_disk *disk, const char *path, sim_file *file);
void sim_disk_unlink(sim_disk *disk, const char *path);
/* In one step; nothing if `from` isn't there. */
void sim_disk_rename(sim_disk *disk, const char *from, const char *to);
/* Append; false: the disk is full, and some of it may be there. */
bool sim_disk_append(sim_file *file, const void *data, size_t size);
void sim_disk_cut(sim_file *file, size_t size);
void sim_disk_force(sim_file *file);
void sim_disk_force_names(sim_disk *disk);

/* The power goes; nobody has a file open any more. */
void sim_disk_crash(sim_disk *disk, tr__random *random);

#endif
