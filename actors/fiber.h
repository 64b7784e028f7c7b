/* Fibers: stacks of their own for straight-line actors, switched by boost's fcontext (5 ns a switch).
 *
 * One pool a loop; a fiber is resumed only by the loop's thread. Stacks come from mmap, with a guard page
 * below as long as the process has fewer than 16,000 of them (the kernel's limit on mappings), and go back to
 * the pool. ASan, TSan and valgrind are told of every stack and switch. */
#ifndef TR_ACTORS_FIBER_H
#define TR_ACTORS_FIBER_H

#include <stddef.h>

#define TR__FIBER_STACK_DEFAULT (64 * 1024)

typedef struct tr__fiber tr__fiber;
typedef struct tr__fiber_pool tr__fiber_pool;

tr__fiber_pool *tr__fiber_pool_create(void);       /* NULL: no memory */
void tr__fiber_pool_destroy(tr__fiber_pool *pool); /* all fibers of it must be gone */

/* A fiber that will run entry(arg) at its first resume; NULL if there is no memory or no mapping left.
 * stack_size is rounded up to pages; 0 = the default. */
tr__fiber *tr__fiber_create(tr__fiber_pool *pool, size_t stack_size, void (*entry)(void *arg), void *arg);
/* Run it until it yields or its entry returns; true when the entry has returned. Not from within a fiber. */
int tr__fiber_resume(tr__fiber *fiber);
/* Within the fiber: back to who resumed it. */
void tr__fiber_yield(tr__fiber *fiber);
/* Give its stack back; of a fiber that is suspended or done, not of the running one. A suspended fiber's
 * frames are dropped without unwinding. */
void tr__fiber_destroy(tr__fiber *fiber);

#endif
