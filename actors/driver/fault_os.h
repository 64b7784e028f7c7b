/* What a process says when a fault (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) ends it.
 *
 *     fault ─► handler, on the thread's signal stack
 *          ─► a fiber has overflown its stack: a line on stderr, which actor it is, how large its stack is, what to do
 *          ─► the node is watched: a file, the crash report (the actor, its message, a backtrace, the loop's ring), and a
 *             line on stderr
 *          ─► what was to be done before: by default the process ends by that signal
 *
 * An overflow is a SIGSEGV in the guard below the running fiber's stack; of stacks beyond the guards (fiber.c) nothing is
 * seen. The handler allocates nothing, takes no lock, and reads what may be damaged through the kernel, which says if it
 * isn't there. One thread of a process tells, once; others that fault meanwhile wait for it. A fault within the handler
 * ends the process as if there were none. */
#ifndef TR_ACTORS_DRIVER_FAULT_OS_H
#define TR_ACTORS_DRIVER_FAULT_OS_H

#include "actors/loop.h"

/* From now until tr__fault_forget a fault is reported into that directory, as troupe-crash-NAME-PID.txt; `directory` is
 * copied. At most 16 nodes of a process are; of others nothing is said. The handlers stay for the process's life.
 * TR_ETOOBIG: the path is too long. */
tr_err tr__fault_watch(tr_node *node, const char *directory, tr_error *error);
void tr__fault_forget(const tr_node *node);
/* A like report, if the node is watched: an actor holds that loop, with that stack, and the process is about to be ended for
 * it. Another thread than the loop's. */
void tr__fault_stuck(const tr_node *node, const tr__loop *loop, void **frames, size_t count);
/* The calling thread runs that loop from now on; NULL: no longer. It has a signal stack (base/backtrace_os.h). The handler of
 * SIGSEGV comes with the first call. */
void tr__fault_loop(tr__loop *loop);
/* The like for one step of a node in a program's own main loop, where another node may be on the same thread: returns who it was
 * until now, to be set again behind the step. */
tr__loop *tr__fault_turn(tr__loop *loop);

#endif
