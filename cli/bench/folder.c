/* The folder of a run that keeps logs: see bench.h. The main thread, while the process has no other. Its keeper ignores the
 * signals that end the others. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/bench/bench.h"

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status, (void)type, (void)at;
    (void)remove(path);
    return 0;
}

/* Other processes of the run end at the same time, and may be making files still. */
static void remove_all(const char *path)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < 100 && access(path, F_OK) == 0; i++) {
        if (i)
            nanosleep(&pause, NULL);
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}

static void keep(const char *path, int end)
{
    char byte;
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < TR_COUNT(ignored); i++)
        signal(ignored[i], SIG_IGN);
    while (read(end, &byte, 1) < 0 && errno == EINTR)
        ;
    remove_all(path);
    _exit(0);
}

tr_err bench_folder_open(bench_folder *folder, tr_error *error)
{
    const char *in = getenv("TMPDIR");
    int end[2];
    in = in && *in ? in : "/var/tmp";
    if (snprintf(folder->path, sizeof(folder->path), "%s/troupe-bench-XXXXXX", in) >=
            (int)sizeof(folder->path) ||
        !mkdtemp(folder->path))
        return tr__fail(error, TR_EIO, "no folder for data can be made in %.100s: %s: set TMPDIR", in,
                        strerror(errno));
    if (pipe2(end, O_CLOEXEC) != 0 || (folder->keeper = fork()) < 0) {
        rmdir(folder->path);
        return tr__fail(error, TR_EIO, "no child that keeps %.100s: %s", folder->path, strerror(errno));
    }
    if (folder->keeper == 0) {
        close(end[1]);
        keep(folder->path, end[0]);
    }
    close(end[0]);
    folder->end = end[1];
    return TR_OK;
}

void bench_folder_close(bench_folder *folder)
{
    if (folder->keeper <= 0)
        return;
    close(folder->end);
    waitpid(folder->keeper, NULL, 0);
    folder->keeper = 0;
}

void bench_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}
