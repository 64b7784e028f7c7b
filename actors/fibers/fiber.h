/* Fibers: stacks of their own for straight-line actors, switched by boost's fcontext (5 ns a switch).
 *
 * One pool a loop; a fiber is resumed only by the loop's thread. Stacks come from mmap, with a guard page
 * below as long as the process has fewer than 16,000 of them (the kernel's limit on mappings), and go back to
 * the pool. ASan, TSan and valgrind are told of every stack and switch.
 *
 * Resume and yield are here and inline because the processor predicts a return by the call it saw last, which
 * after a switch was another stack's: a function around the jump costs a misprediction each way, 12 ns a
 * switch in place of
 * 6. The structs are to be read by them and by fiber.c alone. */
#ifndef TR_ACTORS_FIBERS_FIBER_H
#define TR_ACTORS_FIBERS_FIBER_H

#include "actors/fibers/tools.h"
#include "base/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TR__FIBER_STACK_DEFAULT (64 * 1024)

typedef struct tr__fiber tr__fiber;
typedef struct tr__fiber_pool tr__fiber_pool;

tr__fiber_pool *tr__fiber_pool_create(void);       /* NULL: no memory */
void tr__fiber_pool_destroy(tr__fiber_pool *pool); /* all fibers of it must be gone */

/* A fiber that will run entry(arg) at its first resume; NULL if there is no memory or no mapping left.
 * stack_size is rounded up to a power of two, at least 16 KiB; 0 = the default; over 1 GiB gives NULL. */
tr__fiber *tr__fiber_create(tr__fiber_pool *pool, size_t stack_size, void (*entry)(void *arg), void *arg);
/* Run it until it yields or its entry returns; true when the entry has returned. Not from within a fiber. */
static inline int tr__fiber_resume(tr__fiber *fiber);
/* Within the fiber: back to who resumed it. */
static inline void tr__fiber_yield(tr__fiber *fiber);
/* Give its stack back; of a fiber that is suspended or done, not of the running one. A suspended fiber's
 * frames are dropped without unwinding. NULL is fine. */
void tr__fiber_destroy(tr__fiber *fiber);

/* ---- private to resume, yield and fiber.c -------------------------------------------------------------- */

/* What a jump brings to the other side. Of libboost_context.a, whose symbols are plain C (assembly); boost's
 * own header for them is C++. */
typedef struct tr__transfer {
    void *context; /* of who jumped here: where to jump back */
    void *data;
} tr__transfer;
tr__transfer jump_fcontext(void *to, void *data);

enum { TR__FIBER_SUSPENDED, TR__FIBER_RUNNING, TR__FIBER_DONE };

struct tr__fiber {
    void *context; /* while suspended: where it goes on; on x86-64 and arm64 this is its stack pointer */
    void *resumer; /* while running: where to go back */
    tr__fiber **running; /* the pool's */
    char *bottom;        /* lowest usable byte of the stack */
    void (*entry)(void *arg);
    void *arg;
    tr__fiber_pool *pool;
    uint32_t state;
    uint8_t shelf;
    bool guarded;
    unsigned valgrind_id; /* of the stack */
    tr__fiber *next;      /* on the shelf */
    tr__fiber_tools tools;
};

static inline int tr__fiber_resume(tr__fiber *fiber)
{
    tr__check(fiber->state == TR__FIBER_SUSPENDED, "a fiber is resumed while it runs or after it returned");
    tr__check(!*fiber->running, "a fiber is resumed from within a fiber");
    *fiber->running = fiber;
    fiber->state = TR__FIBER_RUNNING;
    tr__fiber_tools_enter(&fiber->tools);
    tr__transfer back = jump_fcontext(fiber->context, fiber);
    tr__fiber_tools_back(&fiber->tools);
    *fiber->running = NULL;
    fiber->context = back.context;
    tr__check((char *)back.context > fiber->bottom, "a fiber has overflown its stack");
    return fiber->state == TR__FIBER_DONE;
}

static inline void tr__fiber_yield(tr__fiber *fiber)
{
    tr__check(fiber->state == TR__FIBER_RUNNING, "a fiber that isn't running yields");
    fiber->state = TR__FIBER_SUSPENDED;
    tr__fiber_tools_leave(&fiber->tools);
    tr__transfer from = jump_fcontext(fiber->resumer, NULL);
    fiber->resumer = from.context;
    tr__fiber_tools_entered(&fiber->tools);
}

#endif
