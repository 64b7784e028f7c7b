/* `troupe sim`: the program troupe-sim beside this one, which has the core with fault points. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

int cli_sim(int argc, char **argv)
{
    static const char name[] = "troupe-sim";
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof(name));
    (void)argc;
    if (length > 0) {
        path[length] = '\0';
        char *slash = strrchr(path, '/');
        strcpy(slash ? slash + 1 : path, name);
        argv[0] = path;
        execv(path, argv);
    }
    fprintf(stderr, "troupe sim: %s can't be run: %s; it is installed beside troupe, and built with it\n",
            length > 0 ? path : name, strerror(errno));
    return 1;
}
