/* How much memory this process may use. Any thread. */
#ifndef TR_BASE_MEMORY_LIMIT_OS_H
#define TR_BASE_MEMORY_LIMIT_OS_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes: the machine's memory, or the limit of the control group; UINT64_MAX if neither is known. */
uint64_t tr__memory_limit(void);
/* The latter alone, of the group named in `proc_file`, in the tree below `root`; UINT64_MAX: none. */
uint64_t tr__cgroup_limit(const char *proc_file, const char *root);

#endif
