/* Signals and standard input as messages: see run_outside.h. The thread:
 *
 *     poll (signalfd, eventfd, and stdin while a piece is wanted) -> read -> tr_post -> poll
 *
 * Input is read only when the actor asked for it, so at most one piece is on its way. Reading fails, or the
 * terminal is another process group's (SIGTTIN is ignored, so that is EIO): that is the end of the input. No
 * memory for a post: it is tried again. */
#include "cli/run_outside.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <troupe/troupe.h>

#define PIECE    (64u * 1024)
#define RETRY_MS 20

static void wake_up(run_outside *o)
{
    (void)!write(o->wake, &(uint64_t){1}, sizeof(uint64_t)); /* can't fail: it never counts that far */
}

static void post_signal(run_outside *o)
{
    struct signalfd_siginfo info;
    if (read(o->signals, &info, sizeof(info)) != sizeof(info))
        return;
    while (tr_post(o->node, o->to, run_signal, .number = (int32_t)info.ssi_signo) == TR_ENOMEM &&
           !atomic_load(&o->stopped))
        poll(NULL, 0, RETRY_MS);
}

static void post_input(run_outside *o)
{
    static char piece[PIECE];
    ssize_t size = read(STDIN_FILENO, piece, sizeof(piece));
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    size = size < 0 ? 0 : size;
    atomic_store(&o->wanted, false);
    while (tr_post(o->node, o->to, run_stdin, .data = {piece, (size_t)size}, .end = size == 0) == TR_ENOMEM &&
           !atomic_load(&o->stopped))
        poll(NULL, 0, RETRY_MS);
}

static void *outside(void *context)
{
    run_outside *o = context;
    while (!atomic_load(&o->stopped)) {
        struct pollfd fds[3] = {{.fd = o->signals, .events = POLLIN},
                                {.fd = o->wake, .events = POLLIN},
                                {.fd = atomic_load(&o->wanted) ? STDIN_FILENO : -1, .events = POLLIN}};
        uint64_t count;
        if (poll(fds, 3, -1) < 0)
            continue;
        if (fds[1].revents)
            (void)!read(o->wake, &count, sizeof(count));
        if (fds[0].revents)
            post_signal(o);
        if (fds[2].revents) /* POLLNVAL too: a closed stdin is one that has ended */
            post_input(o);
    }
    return NULL;
}

bool run_outside_open(run_outside *o)
{
    sigset_t ours;
    *o = (run_outside){.signals = -1, .wake = -1};
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &ours, NULL) != 0)
        return false;
    signal(SIGTTIN, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    o->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    o->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return o->signals >= 0 && o->wake >= 0;
}

bool run_outside_start(run_outside *o, tr_node *node, tr_addr to)
{
    o->node = node;
    o->to = to;
    errno = pthread_create(&o->thread, NULL, outside, o);
    o->started = errno == 0;
    return o->started;
}

void run_outside_read(run_outside *o)
{
    atomic_store(&o->wanted, true);
    wake_up(o);
}

void run_outside_close(run_outside *o)
{
    if (o->started) {
        atomic_store(&o->stopped, true);
        wake_up(o);
        pthread_join(o->thread, NULL);
    }
    if (o->signals >= 0)
        close(o->signals);
    if (o->wake >= 0)
        close(o->wake);
}
