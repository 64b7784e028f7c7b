/* A router of our own and a host behind it for each node, as namespaces without names: they are gone when nobody has them
 * open any more. The runner is in the router's. `ip` (iproute2) does it; a cut is a rule of the router that drops what
 * comes from one host for another. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/kit/real/real.h"

#define SPACE "/proc/self/ns/net"
#define PORT  7000

/* ---- programs -------------------------------------------------------------------------------------------- */

/* A shell runs the command line in that namespace (-1: here). What it printed, at most `room`. */
static int run_in(int space, const char *command, char *out, size_t room)
{
    int pipes[2], status = -1;
    size_t used = 0;
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (space >= 0 && setns(space, CLONE_NEWNET) != 0)
            _exit(126);
        dup2(pipes[1], 1);
        dup2(pipes[1], 2);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    for (ssize_t got; (got = read(pipes[0], out + used, room - 1 - used)) > 0;)
        used += (size_t)got;
    out[used] = 0;
    close(pipes[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

__attribute__((format(printf, 3, 4))) static tr_err run(int space, tr_error *error, const char *format, ...)
{
    char command[600], out[200];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    int status = run_in(space, command, out, sizeof(out));
    out[strcspn(out, "\n")] = 0;
    return status == 0 ? TR_OK
                       : tr__fail(error, TR_EIO, "`%.80s...` ended with %d: %s", command, status, out);
}

/* ---- namespaces ------------------------------------------------------------------------------------------ */

static bool set(const char *path, const char *value)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool done = file >= 0 && write(file, value, strlen(value)) == (ssize_t)strlen(value);
    if (file >= 0)
        close(file);
    return done;
}

/* A new one; this process stays where it is. -1 with errno. */
static int make_space(void)
{
    int here = open(SPACE, O_RDONLY | O_CLOEXEC), made = -1;
    if (here >= 0 && unshare(CLONE_NEWNET) == 0) {
        made = open(SPACE, O_RDONLY | O_CLOEXEC);
        if (setns(here, CLONE_NEWNET) != 0)
            made = -1;
    }
    if (here >= 0)
        close(here);
    return made;
}

static tr_err make_host(real_lan *lan, uint32_t i, tr_error *error)
{
    lan->space[i] = make_space();
    if (lan->space[i] < 0)
        return tr__fail(error, TR_EIO, "no network namespace for n%u: %s", i, strerror(errno));
    TR_TRY(run(-1, error,
               "ip link add n%u type veth peer name eth0 netns /proc/%ld/fd/%d && ip addr add 10.77.%u.1/24 "
               "dev n%u && "
               "ip link set n%u up",
               i, (long)getpid(), lan->space[i], i, i, i));
    return run(lan->space[i], error,
               "ip link set lo up && ip addr add 10.77.%u.2/24 dev eth0 && ip link set eth0 up && "
               "ip route add default via 10.77.%u.1",
               i, i);
}

tr_err real_lan_open(real_lan *lan, uint32_t nodes, tr_error *error)
{
    char out[16];
    if (run_in(-1, "ip -V", out, sizeof(out)) != 0)
        snprintf(lan->why_not, sizeof(lan->why_not), "the program `ip` (package iproute2) isn't here");
    else if (unshare(CLONE_NEWNET) != 0)
        snprintf(lan->why_not, sizeof(lan->why_not), "no network namespaces without root: %s",
                 strerror(errno));
    else if (!set("/proc/sys/net/ipv4/ip_forward", "1") ||
             !set("/proc/sys/net/ipv4/conf/all/rp_filter", "0") ||
             !set("/proc/sys/net/ipv4/conf/default/rp_filter", "0"))
        return tr__fail(error, TR_EIO, "/proc/sys/net can't be written to: %s", strerror(errno));
    else
        lan->split = true;
    for (uint32_t i = 0; lan->split && i < nodes; i++)
        TR_TRY(make_host(lan, i, error));
    return TR_OK;
}

/* On loopback each run has addresses of its own. */
void real_lan_address(const real_lan *lan, uint32_t node, char out[REAL_ADDRESS_MAX])
{
    unsigned pid = (unsigned)getpid();
    if (lan->split)
        snprintf(out, REAL_ADDRESS_MAX, "10.77.%u.2:%d", node, PORT);
    else
        snprintf(out, REAL_ADDRESS_MAX, "127.%u.%u.%u:%d", 1 + pid / 256 % 250, pid % 256, node + 1, PORT);
}

/* ---- what is done to it ---------------------------------------------------------------------------------- */

tr_err real_lan_cut(uint32_t from, uint32_t to, bool cut, tr_error *error)
{
    return run(-1, error, "ip rule %s iif n%u to 10.77.%u.2 blackhole", cut ? "add" : "del", from, to);
}

/* `ss -K` says whom it closed; the kernel then tells the other side. */
tr_err real_lan_reset(const real_lan *lan, uint32_t a, uint32_t b, tr_error *error)
{
    char command[80], out[400];
    snprintf(command, sizeof(command), "ss -H -K -t dst 10.77.%u.2", b);
    int status = run_in(lan->space[a], command, out, sizeof(out));
    if (status == 0 && strstr(out, "10.77."))
        return TR_OK;
    return tr__fail(
        error, TR_ENOTFOUND,
        "no connection can be broken here: `%s` (package iproute2; the kernel needs INET_DIAG_DESTROY) "
        "ended with %d and closed none",
        command, status);
}

/* What the kernel says of the end on the way to b is dropped. */
tr_err real_lan_half_open(const real_lan *lan, uint32_t a, uint32_t b, tr_error *error)
{
    tr_error healing;
    TR_TRY(real_lan_cut(a, b, true, error));
    tr_err err = real_lan_reset(lan, a, b, error);
    return real_lan_cut(a, b, false, err == TR_OK ? error : &healing) == TR_OK ? err : TR_EIO;
}
