/* A fiber that overflows its stack is named before the process ends: a SIGSEGV in the guard below the running fiber's stack
 * writes a line to stderr that says which actor it was, how large its stack is, and what to do. Whatever was to happen at a
 * SIGSEGV happens then: by default the process ends by it. Other faults pass through. Stacks beyond the guards (fiber.c)
 * are not seen here. */
#ifndef TR_ACTORS_STACK_FAULT_OS_H
#define TR_ACTORS_STACK_FAULT_OS_H

#include "actors/loop.h"

/* The calling thread runs that loop from now on; NULL: no longer. It has a signal stack (base/backtrace_os.h). The handler
 * comes with the first call and stays for the process's life. */
void tr__stack_fault_loop(tr__loop *loop);

#endif
