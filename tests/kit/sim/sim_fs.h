/* The file system of one simulated node: files under paths, in memory; every directory is there. It outlives the node's
 * crashes, as one does:
 *
 *  - of a file's bytes those that were forced stay; of the rest some, from the front, and their end may be zeros;
 *  - of the changes of names since the last force of them some stay, from the first on, each whole.
 *
 * What a file holds after a cut below what was forced is as if the cut had been forced. One thread. */
#ifndef TR_TESTS_KIT_SIM_FS_H
#define TR_TESTS_KIT_SIM_FS_H

#include "tests/kit/sim/sim_bytes.h"
#include "tests/kit/sim/sim_fault.h"

typedef struct sim_file {
    struct sim_fs *fs;
    uint32_t holders; /* names, and who has it open */
    sim_bytes bytes;
    size_t forced;
    bool locked;
} sim_file;

typedef struct sim_fs {
    struct sim_name *now, *forced;             /* paths to files */
    struct sim_rename *changes, **changes_end; /* of names, not forced yet */
    uint64_t capacity, used; /* bytes; capacity UINT64_MAX: no bound. To be set at any time */
} sim_fs;

void sim_fs_init(sim_fs *fs);
void sim_fs_fini(sim_fs *fs);

/* The file of that path; NULL: none. Borrowed. */
sim_file *sim_fs_find(const sim_fs *fs, const char *path);
/* A new file without a name, held by the caller. */
sim_file *sim_fs_make(sim_fs *fs);
void sim_fs_hold(sim_file *file);
void sim_fs_let_go(sim_file *file);
/* The path is that file's from now on. */
void sim_fs_link(sim_fs *fs, const char *path, sim_file *file);
void sim_fs_unlink(sim_fs *fs, const char *path);
/* In one step; nothing if `from` isn't there. */
void sim_fs_rename(sim_fs *fs, const char *from, const char *to);
/* Append; false: the disk is full, and some of it may be there. */
bool sim_fs_append(sim_file *file, const void *data, size_t size);
void sim_fs_cut(sim_file *file, size_t size);
void sim_fs_force(sim_file *file);
void sim_fs_force_names(sim_fs *fs);

/* Who had files open is gone. */
void sim_fs_unlock(sim_fs *fs);
/* The power goes, and with it who had files open. */
void sim_fs_crash(sim_fs *fs, tr__random *random);

#endif
