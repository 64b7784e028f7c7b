/* The file of `troupe up`: which nodes to run (docs/up.md). */
#ifndef TR_CLI_UP_FILE_H
#define TR_CLI_UP_FILE_H

#include <stdint.h>

#include <troupe/actor.h>
#include <troupe/err.h>

#define UP_NODES_MAX 64
#define UP_LIST_MAX  64 /* joins, and plugins, of a node */

/* Strings are NULL where the file has none. */
typedef struct up_node {
    char *name;
    char *listen;
    char **join; /* names of nodes above it, and addresses; NULL: all nodes above it */
    unsigned join_count;
    char **plugins; /* as written, as all paths: relative to the file's directory */
    unsigned plugins_count;
    int restart;                           /* tr_restart */
    int log;                               /* up_file_log tells the word */
    char *data;                            /* a directory */
    char *loops, *max_restarts, *within_s; /* numbers, as written; below, as they are */
    uint32_t loop_count, restarts_max;
    uint64_t within_ns;
} up_node;

typedef struct up_file {
    char *cluster;
    char *key; /* a file */
    up_node *nodes;
    unsigned nodes_count;
} up_file;

/* Read and check it all. NULL with *error: TR_ENOTFOUND and the like for a file that can't be read; TR_EINVAL with
 * "FILE:LINE:COLUMN: what is wrong" in its text; TR_ENOMEM. */
up_file *up_file_load(const char *path, tr_error *error);
/* NULL is fine. */
void up_file_free(up_file *file);
/* The word for --log. */
const char *up_file_log(const up_node *node);
/* Where that file says another one is, as a path from here; `out` has `room` bytes. TR_ETOOBIG. */
tr_err up_file_beside(const char *path, const char *other, char *out, size_t room);

#endif
