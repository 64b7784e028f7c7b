/* Which files of a transaction log there are. Private to log_store_os.c; at the start, waits for the disk. */
#ifndef TR_ACTORS_TX_LOG_SEGMENTS_OS_H
#define TR_ACTORS_TX_LOG_SEGMENTS_OS_H

#include <stdbool.h>
#include <stdint.h>

/* The directory that PATH is in, for close(); -1 with errno. */
int tr__log_directory_open(const char *path);

/* PATH.2, PATH.3 and so on: the lowest number there is (0: none), and the highest (1: none). False with errno. */
bool tr__log_segments_list(const char *path, uint32_t *second, uint32_t *last);

/* The same path, not relative to a directory that may be another one later; for tr__free(). NULL: no memory. */
char *tr__path_from_root(const char *path);

#endif
