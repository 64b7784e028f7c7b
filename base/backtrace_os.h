/* The stack of another thread, as it is now: to see what one that doesn't answer is doing.
 *
 *     a thread:  tr__traced_enter(&t) ... its work ... tr__traced_leave(&t)
 *     another:   tr__traced_take(&t, 100, frames, room) ─► signal ─► its handler writes the frames ─► taken
 *
 * It works in whatever code the thread is, on a fiber's stack too: the handler has a stack of its own. A system call that
 * it waits in goes on (SA_RESTART), but for those that never do: nanosleep, poll and their like return EINTR. A
 * thread that doesn't take signals costs the asker its time limit and nothing else. The thread sanitizer hands signals on
 * only in some system calls, so there a thread that computes doesn't answer. */
#ifndef TR_BASE_BACKTRACE_OS_H
#define TR_BASE_BACKTRACE_OS_H

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TR__FRAMES_MAX 48

/* A thread that others may ask. Zeroed; lives until who might ask has ended. */
typedef struct tr__traced {
    pthread_mutex_t lock; /* who asks, and who enters and leaves */
    sem_t answered;
    bool made, entered;
    pthread_t thread;
    bool was_blocked;   /* the signal, on its thread, before */
    void *signal_stack; /* ours; NULL: the thread had one */
    /* IDLE -> ASKED (the asker) -> WRITING -> DONE (the handler) -> IDLE (the asker). Who gave up waiting takes ASKED
     * back, or leaves the rest to the next one. */
    _Atomic int state;
    void *frames[TR__FRAMES_MAX];
    size_t count;
} tr__traced;

/* Once a struct; false: no memory. */
bool tr__traced_init(tr__traced *traced);
void tr__traced_fini(tr__traced *traced);
/* The calling thread can be asked from now on, until it leaves, which it does before it ends. One struct a thread. */
void tr__traced_enter(tr__traced *traced);
void tr__traced_leave(tr__traced *traced);
/* The frames of that thread, innermost first, at most `room`: how many; 0: it runs nothing, or didn't answer within
 * timeout_ms. The first is where it was, the others are return addresses. Any other thread. */
size_t tr__traced_take(tr__traced *traced, unsigned timeout_ms, void **frames, size_t room);
/* The like of the calling thread, its caller first: also in a handler of a fault, once any thread has entered. */
size_t tr__backtrace_here(void **frames, size_t room);

#define TR__MODULE_MAX 64 /* bytes of such a name, with the NUL */

/* The last part of a path that the linker tells of; of a plugin's copy in memory ("/proc/self/fd/7") that of the file that was
 * copied. Cut to `room`. Fit for a signal's handler. Returns text. */
const char *tr__module_name(const char *path, char *text, size_t room);
/* "function+0x1a (program+0x4a1f)": what tr__traced_take gave at `index`, for people. The name is from the symbol table
 * of the file, so static functions have theirs; without one (a stripped file) it is the part in brackets alone, which
 * `addr2line -e program 0x4a1f` takes. Reads files: not in a handler. Returns text. */
const char *tr__frame_text(void *frame, size_t index, char *text, size_t room);

#endif
