/* See child.h. A child that can't be made this program ends with status 127. */
#include "cli/child.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* In the forked child: only what is safe between fork and exec. */
static void become(char *const *argv, int out, int err, int namespace, bool own_group, pid_t parent)
{
    static const char no_way[] = "the network namespace can't be entered\n";
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* it died before the line above */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (namespace >= 0 && setns(namespace, CLONE_NEWNET) != 0) {
        ssize_t ignored = write(err, no_way, sizeof(no_way) - 1);
        (void)ignored;
        _exit(127);
    }
    if (own_group)
        setpgid(0, 0);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0 && dup2(null, 0) >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0)
        execv("/proc/self/exe", argv);
    _exit(127);
}

pid_t cli_child_start(char *const *argv, int out, int err, int namespace, bool own_group)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(argv, out, err, namespace, own_group, parent);
    return pid;
}
