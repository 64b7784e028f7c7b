/* Child processes by posix_spawn, their pipes on the loop's uv loop, their end by a pidfd. Everything runs on
 * the loop's thread; the callbacks run in its driver.
 *
 *     start ─► uv_read on two pipes, uv_poll on the pidfd ─► messages ─► close: kill, reap, close handles ─►
 * freed
 *
 * Why posix_spawn: it shares memory with the child until exec (CLONE_VM), so its cost doesn't grow with the
 * process: 100 us here at 1 GiB resident as at 1 MiB, where uv_spawn's fork took 57 ms. The loop waits for
 * the exec. Why a pidfd (Linux 5.3, no fallback): no SIGCHLD handler, which would be the whole process's; and
 * a child is only reaped by close(), so its pid, which is its group's number, isn't given to anybody else
 * while we may signal it.
 *
 * What can go wrong: nothing to run, no permission, no descriptors, no memory: start() says so. Memory runs
 * out for a message with output: the group is killed, and the exit says so. For any other message: tried
 * again every 20 ms. Somebody else in this process reaped the child (a waitpid for all): the exit says
 * TR_EIO. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "actors/driver/kinds_uv.h"
#include "actors/kinds/process.h"
#include "base/err.h"
#include "base/mem.h"

#define RETRY_MS   20
#define PIECES_MAX 16 /* output messages of one child under way to its actor */

extern char **environ;

enum owed { OWED_END_1 = 1, OWED_END_2 = 2, OWED_EXIT = 4, OWED_WROTE = 8 };

struct tr__child {
    tr__loop *loop;
    tr_addr owner;
    uint64_t job;
    pid_t pid; /* and the number of its group; 0: not started */
    int pidfd;
    uv_pipe_t in, out[2];
    uv_timer_t retry;
    uv_poll_t exit;
    uint32_t handles; /* not yet closed */
    bool in_open, exit_open, closing;
    bool exited, reaped;
    bool ended[2], draining;
    size_t drain_left[2];
    int32_t status, signal;
    tr_err lost;   /* TR_OK, or why the status or output isn't whole */
    uint32_t owed; /* messages that are to be sent */
    bool wrote_closed;
    uint64_t window, credit;
    uint32_t pieces; /* that may be sent */
    uv_write_t write;
    uint8_t *written; /* what is being written */
};

/* Reads of all children of a loop go here and are copied into a message at once. */
static _Thread_local char scratch[TR__CHILD_PIECE];

/* ---- telling the actor --------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *timer);

static tr_err tell_one(tr__child *child, enum owed what)
{
    if (what == OWED_EXIT)
        return tr__inject(child->loop, child->owner, tr__child_exited, .job = child->job,
                          .status = child->status, .signal = child->signal, .error = child->lost);
    if (what == OWED_WROTE)
        return tr__inject(child->loop, child->owner, tr__child_wrote, .job = child->job,
                          .closed = child->wrote_closed);
    return tr__inject(child->loop, child->owner, tr__child_output, .job = child->job,
                      .stream = what == OWED_END_1 ? 1 : 2);
}

static void tell(tr__child *child, uint32_t what)
{
    child->owed |= what;
    for (uint32_t bit = OWED_END_1; bit <= OWED_WROTE && !child->closing; bit <<= 1)
        if (child->owed & bit && tell_one(child, bit) == TR_OK)
            child->owed &= ~bit;
    if (child->owed && !child->closing)
        (void)uv_timer_start(&child->retry, on_retry, RETRY_MS, 0); /* can't fail: not closing */
}

static void on_retry(uv_timer_t *timer)
{
    tell(timer->data, 0);
}

/* ---- output -------------------------------------------------------------------------------------------- */

static void signal_group(const tr__child *child, int number)
{
    /* ESRCH: all of it is gone. EPERM: what is left is somebody else's now (setuid). Neither can be helped.
     */
    if (child->pid && !child->reaped)
        (void)kill(-child->pid, number);
}

static void stream_ended(tr__child *child, uint32_t i)
{
    if (child->ended[i])
        return;
    child->ended[i] = true;
    uv_read_stop((uv_stream_t *)&child->out[i]);
    tell(child, OWED_END_1 << i);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    const tr__child *child = handle->data;
    *buf = uv_buf_init(scratch, child->credit < sizeof(scratch) ? (unsigned)child->credit : sizeof(scratch));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    tr__child *child = stream->data;
    uint32_t i = stream == (uv_stream_t *)&child->out[1];
    if (count == 0)
        return;
    if (count < 0) {
        stream_ended(child, i);
        return;
    }
    tr_err err = tr__inject(child->loop, child->owner, tr__child_output, .job = child->job, .stream = i + 1,
                            .data = {buf->base, (size_t)count});
    if (err != TR_OK) {
        child->lost = err;
        signal_group(child, SIGKILL);
        stream_ended(child, 0);
        stream_ended(child, 1);
        return;
    }
    child->credit -= (uint64_t)count;
    child->pieces--;
    if (child->draining) {
        child->drain_left[i] -= (size_t)count < child->drain_left[i] ? (size_t)count : child->drain_left[i];
        if (child->drain_left[i] == 0)
            stream_ended(child, i);
    }
    if (child->credit == 0 || child->pieces == 0)
        for (int k = 0; k < 2; k++)
            uv_read_stop((uv_stream_t *)&child->out[k]);
}

static void read_on(tr__child *child)
{
    for (int i = 0; i < 2 && child->credit && child->pieces; i++)
        if (!child->ended[i])
            (void)uv_read_start((uv_stream_t *)&child->out[i], on_alloc, on_read); /* EALREADY is fine */
}

static void more(tr__child *child, uint32_t pieces, uint64_t bytes)
{
    uint64_t used = child->window - child->credit;
    child->credit += bytes < used ? bytes : used;
    child->pieces = child->pieces + pieces < PIECES_MAX ? child->pieces + pieces : PIECES_MAX;
    read_on(child);
}

static void drain(tr__child *child)
{
    child->draining = true;
    for (uint32_t i = 0; i < 2; i++) {
        int fd, there = 0;
        if (child->ended[i])
            continue;
        if (uv_fileno((uv_handle_t *)&child->out[i], &fd) == 0 && ioctl(fd, FIONREAD, &there) == 0 &&
            there > 0)
            child->drain_left[i] = (size_t)there;
        else
            stream_ended(child, i);
    }
}

/* ---- input --------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    tr__child *child = handle->data;
    if (--child->handles == 0)
        tr__free(child);
}

static void close_input(tr__child *child)
{
    if (child->in_open)
        uv_close((uv_handle_t *)&child->in, on_closed);
    child->in_open = false;
}

static void on_written(uv_write_t *write, int status)
{
    tr__child *child = write->data;
    tr__free(child->written);
    child->written = NULL;
    if (status < 0) {
        child->wrote_closed = true;
        close_input(child);
    }
    tell(child, OWED_WROTE);
}

static tr_err write_input(tr__child *child, const void *data, size_t size)
{
    if (!child->in_open) {
        child->wrote_closed = true;
        tell(child, OWED_WROTE);
        return TR_OK;
    }
    child->written = tr__alloc(size);
    if (!child->written)
        return TR_ENOMEM;
    memcpy(child->written, data, size);
    uv_buf_t buf = uv_buf_init((char *)child->written, (unsigned)size);
    child->write.data = child;
    int err = uv_write(&child->write, (uv_stream_t *)&child->in, &buf, 1, on_written);
    if (err)
        on_written(&child->write, err);
    return TR_OK;
}

/* ---- the end ------------------------------------------------------------------------------------------- */

/* True if it has ended; then its status is known. Doesn't wait. */
static bool look(tr__child *child, int reap)
{
    siginfo_t info = {0};
    int err;
    do
        err = waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG | reap);
    while (err < 0 && errno == EINTR);
    if (err == 0 && info.si_pid == 0)
        return false;
    if (err < 0) {
        child->lost = TR_EIO;
        child->reaped = true; /* by somebody else: its number isn't ours any more */
    } else if (info.si_code == CLD_EXITED) {
        child->status = info.si_status;
    } else {
        child->signal = info.si_status;
    }
    return true;
}

static void close_exit(tr__child *child)
{
    if (!child->exit_open)
        return;
    child->exit_open = false;
    uv_close((uv_handle_t *)&child->exit, on_closed);
    close(child->pidfd);
}

static void on_exit_event(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    tr__child *child = poll->data;
    if (child->closing) {
        if (look(child, 0))
            close_exit(child);
        return;
    }
    if (!look(child, WNOWAIT))
        return;
    child->exited = true;
    uv_poll_stop(poll);
    tell(child, OWED_EXIT);
}

static void end(tr__child *child, bool hard)
{
    signal_group(child, hard ? SIGKILL : SIGTERM);
}

static void close_child(tr__child *child)
{
    if (child->exit_open) {
        signal_group(child, SIGKILL);
        if (child->reaped || look(child, 0)) {
            close_exit(child);
        } else {
            /* The kill is on its way: reap it when it has worked. */
            (void)uv_poll_start(&child->exit, UV_READABLE, on_exit_event);
        }
    }
    child->closing = true;
    close_input(child);
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&child->out[i], on_closed);
    uv_close((uv_handle_t *)&child->retry, on_closed);
}

/* ---- start --------------------------------------------------------------------------------------------- */

/* A close-on-exec descriptor above the standard three, so that placing those in the child can't overwrite it.
 */
static int above_standard(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int err = errno;
    close(fd);
    errno = err;
    return moved;
}

static bool make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) < 0) {
        ends[0] = ends[1] = -1;
        return false;
    }
    ends[0] = above_standard(ends[0]);
    ends[1] = above_standard(ends[1]);
    return ends[0] >= 0 && ends[1] >= 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The node's environment with the additions; the strings stay where they are. NULL: no memory. */
static char **merge_environment(const char *const *additions)
{
    size_t count = 1;
    for (char **e = environ; e && *e; e++)
        count++;
    for (const char *const *a = additions; *a; a++)
        count++;
    char **merged = tr__alloc(count * sizeof(*merged));
    if (!merged)
        return NULL;
    size_t n = 0;
    for (char **e = environ; e && *e; e++)
        merged[n++] = *e;
    for (const char *const *a = additions; *a; a++) {
        size_t name = strcspn(*a, "=") + 1, i = 0;
        while (i < n && strncmp(merged[i], *a, name) != 0)
            i++;
        merged[i] = (char *)*a;
        n += i == n;
    }
    merged[n] = NULL;
    return merged;
}

static tr_err start_failed(const tr__child_spec *spec, int err, tr_error *error)
{
    const char *command = spec->argv[0];
    bool path = strchr(command, '/') != NULL;
    switch (err) {
    case ENOENT:
        if (path && access(command, F_OK) == 0)
            return tr__fail(
                error, TR_ENOTFOUND,
                "can't run '%.80s': the interpreter that it names (its #! line, or its loader) isn't "
                "there; install that",
                command);
        if (path)
            return tr__fail(error, TR_ENOTFOUND,
                            "no command '%.80s': no such file; check the path in tr_run.argv", command);
        return tr__fail(
            error, TR_ENOTFOUND,
            "no command '%.80s' in the node's PATH; install it, or give its whole path in tr_run.argv",
            command);
    case EACCES:
    case EPERM:
        return tr__fail(
            error, TR_EPERM,
            "'%.80s' isn't executable for this user; check its mode (chmod +x) and its file system "
            "(noexec)",
            command);
    case ENOEXEC:
        return tr__fail(
            error, TR_EINVAL,
            "'%.80s' isn't a program for this machine, nor a script with a #! line; there is no shell: "
            "run TR_ARGV(\"sh\", \"%.40s\")",
            command, command);
    case E2BIG:
        return tr__fail(
            error, TR_ETOOBIG,
            "the arguments and the environment of '%.80s' are too long for the system; pass data by "
            "tr_run.input",
            command);
    case EAGAIN:
        return tr__fail(error, TR_EIO, "can't run '%.80s': no more processes allowed; see ulimit -u",
                        command);
    default:
        return tr__fail(error, tr__err_from_errno(err), "can't run '%.80s': %s", command, strerror(err));
    }
}

/* posix_spawn with the child's ends as its standard three. An errno. */
static int spawn(pid_t *pid, const tr__child_spec *spec, int directory, const int standard[3],
                 char **environment)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int err = posix_spawn_file_actions_init(&actions);
    if (err)
        return err;
    if (directory >= 0)
        err = posix_spawn_file_actions_addfchdir_np(&actions, directory);
    for (int i = 0; i < 3 && !err; i++)
        err = posix_spawn_file_actions_adddup2(&actions, standard[i], i);
    /* Whatever others in this process opened without close-on-exec. */
    if (!err)
        err = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (!err)
        err = posix_spawnattr_init(&attr);
    if (!err) {
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setsigdefault(&attr, &all);
        posix_spawnattr_setpgroup(&attr, 0);
        posix_spawnattr_setflags(&attr,
                                 POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        err = posix_spawnp(pid, spec->argv[0], &actions, &attr, (char *const *)spec->argv, environment);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    return err;
}

/* Handles that can be closed from now on. */
static void init_handles(tr__child *child)
{
    uv_loop_t *uv = tr__loop_driver(child->loop);
    uv_pipe_init(uv, &child->in, 0); /* none of these can fail */
    uv_pipe_init(uv, &child->out[0], 0);
    uv_pipe_init(uv, &child->out[1], 0);
    uv_timer_init(uv, &child->retry);
    child->in.data = child->out[0].data = child->out[1].data = child->retry.data = child;
    child->in_open = true;
    child->handles = 4;
}

/* Watch for the end of the process that was just started; on failure it is killed and reaped. An errno. */
static int watch_exit(tr__child *child)
{
    child->pidfd = pidfd_open(child->pid, 0);
    int err = child->pidfd < 0 ? errno : 0;
    if (!err)
        err = -uv_poll_init(tr__loop_driver(child->loop), &child->exit, child->pidfd);
    if (!err) {
        child->exit.data = child;
        child->exit_open = true;
        child->handles++;
        return -uv_poll_start(&child->exit, UV_READABLE, on_exit_event);
    }
    signal_group(child, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    child->reaped = true;
    close_fd(&child->pidfd);
    return err;
}

/* The pipes, the process, its watch. `ours` are taken by the handles. An errno. */
static int launch(tr__child *child, const tr__child_spec *spec, int directory, char **environment)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, problem[2] = {-1, -1};
    int err = 0;
    bool made = make_pipe(out) && make_pipe(problem);
    if (made && spec->input)
        made = make_pipe(in);
    else if (made)
        made = (in[0] = above_standard(open("/dev/null", O_RDONLY | O_CLOEXEC))) >= 0;
    if (!made)
        err = errno;
    int standard[3] = {in[0], out[1], problem[1]};
    if (!err)
        err = spawn(&child->pid, spec, directory, standard, environment);
    if (err)
        child->pid = 0;
    close_fd(&in[0]);
    close_fd(&out[1]);
    close_fd(&problem[1]);
    if (!err)
        err = watch_exit(child);
    if (!err && in[1] >= 0)
        err = -uv_pipe_open(&child->in, in[1]);
    if (!err)
        in[1] = -1, err = -uv_pipe_open(&child->out[0], out[0]);
    if (!err)
        out[0] = -1, err = -uv_pipe_open(&child->out[1], problem[0]);
    if (!err)
        problem[0] = -1;
    close_fd(&in[1]);
    close_fd(&out[0]);
    close_fd(&problem[0]);
    return err;
}

static tr__child *start(tr__loop *loop, tr_addr owner, uint64_t job, const tr__child_spec *spec,
                        tr_error *error)
{
    int directory = -1;
    if (spec->directory && spec->directory[0]) {
        directory = above_standard(open(spec->directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (directory < 0) {
            int number = errno;
            tr__fail(error, tr__err_from_errno(number),
                     "can't run in directory '%.100s': %s; check tr_run.directory", spec->directory,
                     strerror(number));
            return NULL;
        }
    }
    char **environment = merge_environment(spec->environment);
    tr__child *child = tr__zalloc(sizeof(*child));
    if (!environment || !child) {
        tr__fail(error, TR_ENOMEM, "no memory to run '%.80s'", spec->argv[0]);
        tr__free(child);
        child = NULL;
        goto out;
    }
    child->loop = loop;
    child->owner = owner;
    child->job = job;
    child->window = child->credit = spec->window;
    child->pieces = PIECES_MAX;
    child->pidfd = -1;
    init_handles(child);
    int err = launch(child, spec, directory, environment);
    if (err) {
        start_failed(spec, err, error);
        close_child(child);
        child = NULL;
        goto out;
    }
    /* A command that ends without reading its input must not end this process: SIGPIPE is held back on the
     * loop's thread, where the write happens, and not for the whole process. */
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    if (spec->nice) {
        int nice = getpriority(PRIO_PROCESS, 0) + spec->nice;
        (void)setpriority(PRIO_PGRP, (id_t)child->pid, nice < 19 ? nice : 19);
    }
    if (!spec->input)
        close_input(child);
    read_on(child);
out:
    tr__free(environment);
    close_fd(&directory);
    return child;
}

static uint32_t cores(tr__loop *loop)
{
    (void)loop;
    return uv_available_parallelism();
}

const tr__process_seam tr__process_uv = {.cores = cores,
                                         .start = start,
                                         .write = write_input,
                                         .end_input = close_input,
                                         .more = more,
                                         .end = end,
                                         .drain = drain,
                                         .close = close_child};
