/* How much memory this process may use: the machine's, or what its control group (version 2) is allowed, whichever is less.
 * Reads files of /proc and /sys; any thread. */
#include "base/memory_limit_os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4096

/* The number in the file, UINT64_MAX if there is none ("max", no such file). */
static uint64_t number_in(const char *path)
{
    char text[32] = "";
    FILE *file = fopen(path, "re");
    if (!file)
        return UINT64_MAX;
    char *got = fgets(text, sizeof(text), file);
    fclose(file);
    if (!got || text[0] < '0' || text[0] > '9')
        return UINT64_MAX;
    return strtoull(text, NULL, 10);
}

/* The group's path from the line "0::/path"; false: the process is in none of version 2. */
static bool group_of(const char *file_name, char *group, size_t size)
{
    bool found = false;
    FILE *file = fopen(file_name, "re");
    while (file && !found && fgets(group, (int)size, file))
        found = strncmp(group, "0::/", 4) == 0;
    if (file)
        fclose(file);
    if (!found)
        return false;
    memmove(group, group + 3, strlen(group + 3) + 1);
    group[strcspn(group, "\n")] = '\0';
    return true;
}

uint64_t tr__cgroup_limit(const char *proc_file, const char *root)
{
    char group[PATH_SIZE], path[2 * PATH_SIZE + 16];
    uint64_t least = UINT64_MAX;
    if (!group_of(proc_file, group, sizeof(group)))
        return least;
    for (;;) { /* a group has no more than those above it */
        snprintf(path, sizeof(path), "%s%s/memory.max", root, group);
        uint64_t limit = number_in(path);
        if (limit < least)
            least = limit;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

uint64_t tr__memory_limit(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t machine = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
    uint64_t group = tr__cgroup_limit("/proc/self/cgroup", "/sys/fs/cgroup");
    return group < machine ? group : machine;
}
