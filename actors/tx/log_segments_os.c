/* See log_segments_os.h. */
#include "actors/tx/log_segments_os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* "2" and on, as they are written; 0: it is none. */
static uint32_t number_of(const char *digits)
{
    char *end;
    if (*digits < '1' || *digits > '9')
        return 0;
    unsigned long number = strtoul(digits, &end, 10);
    return *end || number < 2 || number >= UINT32_MAX ? 0 : (uint32_t)number;
}

int tr__log_directory_open(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? tr__strndup(path, (size_t)(slash + 1 - path)) : tr__strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    tr__free(folder);
    return fd;
}

bool tr__log_segments_list(const char *path, uint32_t *second, uint32_t *last)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t length = strlen(base);
    int fd = tr__log_directory_open(path);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    *second = 0;
    *last = 1;
    if (!directory) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    for (const struct dirent *entry; (entry = readdir(directory));) {
        uint32_t number = strncmp(entry->d_name, base, length) == 0 && entry->d_name[length] == '.'
                              ? number_of(entry->d_name + length + 1)
                              : 0;
        if (number && (!*second || number < *second))
            *second = number;
        if (number > *last)
            *last = number;
    }
    closedir(directory);
    return true;
}

char *tr__path_from_root(const char *path)
{
    char here[PATH_MAX];
    if (path[0] == '/' || !getcwd(here, sizeof here))
        return tr__strdup(path);
    size_t room = strlen(here) + strlen(path) + 2;
    char *place = tr__alloc(room);
    if (place)
        snprintf(place, room, "%s/%s", here, path);
    return place;
}
