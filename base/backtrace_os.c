/* See backtrace_os.h. SIGURG is what is sent: by default it is ignored, so a late one does no harm to anybody. If the
 * program has a handler of its own for it, that one is called for those that aren't ours. */
#include "base/backtrace_os.h"

#include <errno.h>
#include <execinfo.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "base/mem.h"

#define SIGNAL_STACK (64u * 1024)

enum { IDLE, ASKED, WRITING, DONE };

static _Thread_local tr__traced *mine;
static struct sigaction before_ours;
static char our_mark; /* its address marks our signals */

bool tr__traced_init(tr__traced *traced)
{
    memset(traced, 0, sizeof(*traced));
    if (sem_init(&traced->answered, 0, 0) != 0)
        return false;
    pthread_mutex_init(&traced->lock, NULL);
    return traced->made = true;
}

void tr__traced_fini(tr__traced *traced)
{
    if (!traced->made)
        return;
    sem_destroy(&traced->answered);
    pthread_mutex_destroy(&traced->lock);
    traced->made = false;
}

/* ---- within the thread that is asked ------------------------------------------------------------------- */

static void *interrupted_at(void *context)
{
    const ucontext_t *at = context;
#if defined(__x86_64__)
    return (void *)at->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (void *)at->uc_mcontext.pc;
#else
    (void)at;
    return NULL;
#endif
}

/* From `pc` on; if that isn't found, without the innermost `otherwise`. */
static size_t frames_from(const void *pc, size_t otherwise, void **frames, size_t room)
{
    void *all[TR__FRAMES_MAX + 8];
    size_t count = (size_t)backtrace(all, (int)(sizeof(all) / sizeof(all[0]))), first = 0;
    while (first < count && all[first] != pc)
        first++;
    if (first == count)
        first = count < otherwise ? count : otherwise;
    size_t kept = count - first < room ? count - first : room;
    memcpy(frames, all + first, kept * sizeof(all[0]));
    return kept;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    if (info->si_code == SI_QUEUE && info->si_value.sival_ptr == &our_mark) {
        int asked = ASKED;
        tr__traced *traced = mine;
        if (traced && atomic_compare_exchange_strong(&traced->state, &asked, WRITING)) {
            /* but for the handler, and what the kernel returns to */
            traced->count = frames_from(interrupted_at(context), 2, traced->frames, TR__FRAMES_MAX);
            /* release: pairs with the asker's acquire, so it sees the frames */
            atomic_store_explicit(&traced->state, DONE, memory_order_release);
            sem_post(&traced->answered);
        }
    } else if (before_ours.sa_flags & SA_SIGINFO) {
        before_ours.sa_sigaction(number, info, context);
    } else if (before_ours.sa_handler != SIG_DFL && before_ours.sa_handler != SIG_IGN) {
        before_ours.sa_handler(number);
    }
    errno = saved;
}

/* The first backtrace() loads a library, which no handler may do. */
static void install(void)
{
    void *frame;
    backtrace(&frame, 1);
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGURG, &action, &before_ours);
}

/* The address sanitizer gives each thread one, and frees at its end what it finds there. */
static void *signal_stack_make(void)
{
    stack_t now;
    if (sigaltstack(NULL, &now) != 0 || !(now.ss_flags & SS_DISABLE))
        return NULL;
    void *memory = tr__alloc(SIGNAL_STACK);
    stack_t ours = {.ss_sp = memory, .ss_size = SIGNAL_STACK};
    if (memory && sigaltstack(&ours, NULL) != 0) {
        tr__free(memory);
        return NULL;
    }
    return memory;
}

void tr__traced_enter(tr__traced *traced)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sigset_t ours, before;
    pthread_once(&once, install);
    traced->signal_stack = signal_stack_make();
    sigemptyset(&ours);
    sigaddset(&ours, SIGURG);
    pthread_sigmask(SIG_UNBLOCK, &ours, &before);
    traced->was_blocked = sigismember(&before, SIGURG) == 1;
    mine = traced;
    pthread_mutex_lock(&traced->lock);
    traced->thread = pthread_self();
    traced->entered = true;
    pthread_mutex_unlock(&traced->lock);
}

void tr__traced_leave(tr__traced *traced)
{
    pthread_mutex_lock(&traced->lock);
    traced->entered = false;
    pthread_mutex_unlock(&traced->lock);
    mine = NULL;
    if (traced->was_blocked) { /* only this one: what else was blocked meanwhile (SIGPIPE) may be pending */
        sigset_t ours;
        sigemptyset(&ours);
        sigaddset(&ours, SIGURG);
        pthread_sigmask(SIG_BLOCK, &ours, NULL);
    }
    if (!traced->signal_stack)
        return;
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    tr__free(traced->signal_stack);
    traced->signal_stack = NULL;
}

__attribute__((noinline)) size_t tr__backtrace_here(void **frames, size_t room)
{
    return frames_from(__builtin_return_address(0), 1, frames, room);
}

/* ---- within the thread that asks ----------------------------------------------------------------------- */

static bool wait_answered(tr__traced *traced, unsigned timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)timeout_ms * 1000000u;
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    /* acquire: pairs with the handler's release */
    while (atomic_load_explicit(&traced->state, memory_order_acquire) != DONE)
        if (sem_clockwait(&traced->answered, CLOCK_MONOTONIC, &until) != 0 && errno != EINTR)
            return atomic_load_explicit(&traced->state, memory_order_acquire) == DONE;
    return true;
}

static size_t ask(tr__traced *traced, unsigned timeout_ms, void **frames, size_t room)
{
    while (sem_trywait(&traced->answered) == 0) /* of one that was given up */
        ;
    int state = atomic_load_explicit(&traced->state, memory_order_acquire);
    if (state == WRITING) /* it takes its time since then */
        return 0;
    atomic_store(&traced->state, ASKED);
    if (pthread_sigqueue(traced->thread, SIGURG, (union sigval){.sival_ptr = &our_mark}) != 0) {
        atomic_store(&traced->state, IDLE);
        return 0;
    }
    if (!wait_answered(traced, timeout_ms)) {
        int asked = ASKED; /* a signal that comes late then finds nothing to do */
        atomic_compare_exchange_strong(&traced->state, &asked, IDLE);
        return 0;
    }
    size_t count = traced->count < room ? traced->count : room;
    memcpy(frames, traced->frames, count * sizeof(*frames));
    atomic_store(&traced->state, IDLE);
    return count;
}

size_t tr__traced_take(tr__traced *traced, unsigned timeout_ms, void **frames, size_t room)
{
    size_t count = 0;
    pthread_mutex_lock(&traced->lock);
    if (traced->entered)
        count = ask(traced, timeout_ms, frames, room);
    pthread_mutex_unlock(&traced->lock);
    return count;
}
