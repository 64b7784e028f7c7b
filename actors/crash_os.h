/* The crash report: when a fault ends the process (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT), a file that says what ran.
 *
 *     fault ─► handler, on the thread's signal stack ─► file: the actor, its message, a backtrace, the loop's ring
 *          ─► a line on stderr ─► what was to be done before: by default the process ends by that signal
 *
 * The handler allocates nothing, takes no lock, and reads what may be damaged through the kernel, which says if it isn't
 * there. One report a process: a fault within the handler ends the process as if there were none. */
#ifndef TR_ACTORS_CRASH_OS_H
#define TR_ACTORS_CRASH_OS_H

#include "actors/node.h"

/* From now until tr__crash_forget a fault is reported into that directory, as troupe-crash-NAME-PID.txt; `directory` is
 * copied. At most 16 nodes of a process are; of others nothing is said. The handlers stay for the process's life.
 * TR_ETOOBIG: the path is too long. */
tr_err tr__crash_watch(tr_node *node, const char *directory, tr_error *error);
void tr__crash_forget(const tr_node *node);
/* The calling thread runs that loop from now on; NULL: no longer. */
void tr__crash_loop(tr__loop *loop);

#endif
