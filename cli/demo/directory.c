/* See directory.h. A directory is a leftover, and goes, if: its name has our form, no process has that id and
 * that start, it is a directory (no link to one), ours, for nobody else, and it has no file "kept". Others' can't be
 * among them even in a TMPDIR where anybody may rename: such a TMPDIR is left alone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/demo/directory.h"
#include "cli/demo/files.h"

#define PREFIX "troupe-demo-"
#define KEPT   "kept"
#define PATH   512

/* In clock ticks since the machine began; 0: there is no such process. */
static unsigned long long start_of(long pid)
{
    char path[40], text[1024];
    unsigned long long start = 0;
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    text[size] = 0;
    if (file)
        fclose(file);
    const char *after_name = strrchr(text, ')'); /* which may have blanks in it */
    if (after_name)
        sscanf(after_name + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &start);
    return start;
}

static bool is_dead_demos(const char *name)
{
    long pid;
    unsigned long long start;
    int end = 0;
    return sscanf(name, PREFIX "%ld-%llu-%n", &pid, &start, &end) == 2 && end > 0 && pid > 0 &&
           start_of(pid) != start;
}

static bool is_ours_alone(int parent, const char *name)
{
    char kept[PATH];
    struct stat status;
    snprintf(kept, sizeof(kept), "%.300s/" KEPT, name);
    return fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode) &&
           status.st_uid == geteuid() && (status.st_mode & 077) == 0 &&
           faccessat(parent, kept, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
}

static bool is_safe_parent(int parent)
{
    struct stat status;
    return fstat(parent, &status) == 0 && (status.st_uid == geteuid() || status.st_uid == 0) &&
           ((status.st_mode & S_ISVTX) || (status.st_mode & 022) == 0);
}

static void remove_leftovers(const char *parent)
{
    char path[PATH];
    DIR *directory = opendir(parent);
    bool safe = directory && is_safe_parent(dirfd(directory));
    for (struct dirent *entry; safe && (entry = readdir(directory));) {
        int size = snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name);
        if ((size_t)size < sizeof(path) && is_dead_demos(entry->d_name) &&
            is_ours_alone(dirfd(directory), entry->d_name))
            demo_files_remove(path);
    }
    if (directory)
        closedir(directory);
}

tr_err demo_directory_make(char *out, size_t room, tr_error *error)
{
    const char *parent = getenv("TMPDIR");
    if (!parent || !parent[0])
        parent = "/tmp";
    remove_leftovers(parent);
    int size =
        snprintf(out, room, "%s/" PREFIX "%ld-%llu-XXXXXX", parent, (long)getpid(), start_of(getpid()));
    if ((size_t)size < room && mkdtemp(out))
        return TR_OK;
    int code = (size_t)size < room ? errno : ENAMETOOLONG;
    out[0] = 0;
    return tr__fail(error, tr__err_from_errno(code), "a directory in %s: %s; TMPDIR takes another place",
                    parent, strerror(code));
}

tr_err demo_directory_keep(const char *directory, tr_error *error)
{
    char path[PATH + 16];
    snprintf(path, sizeof(path), "%s/" KEPT, directory);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return tr__fail(error, tr__err_from_errno(errno), "%s: %s", path, strerror(errno));
    close(file);
    return TR_OK;
}
