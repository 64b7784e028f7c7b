/* Fibers over boost's fcontext. A fiber is one mapping: the guard page at the low end, the stack, and at the
 * high end its own description, so that a suspended fiber touches a single page. All of it is the loop
 * thread's; only the process-wide count of guards is shared.
 *
 * The life of one: create (stack from a shelf of the pool, or mapped), resume and yield in turns, entry
 * returns, destroy (back to the shelf, or unmapped when the shelf is full).
 *
 * What can fail: create, when the kernel gives no mapping. An overflow hits the guard and is a SIGSEGV; a
 * stack without guard (see GUARDS_MAX) is checked at each yield instead, which finds what is still deep then,
 * not what came and went.
 *
 * The description isn't a block of tr__alloc: it would be the second cache miss of each resume. */
#include "actors/fibers/fiber.h"

#include "base/mem.h"
#include "base/stack_os.h"

#include <stdatomic.h>
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(low, high) 0
#define VALGRIND_STACK_DEREGISTER(id)      ((void)(id))
#endif

/* Two mappings a guarded stack, and the kernel's limit is 65,530 a process (vm.max_map_count). */
#define GUARDS_MAX 16000
/* Idle stacks that a shelf keeps; each may hold as many touched pages as its deepest user needed. */
#define SHELF_MAX      1024
#define STACK_SIZE_MIN ((size_t)16 * 1024)
#define STACK_SIZE_MAX ((size_t)1 << 30)
#define SHELVES        17 /* powers of two from STACK_SIZE_MIN to STACK_SIZE_MAX */

void *make_fcontext(void *stack_top, size_t size, void (*entry)(tr__transfer));

struct tr__fiber_pool {
    tr__fiber *running; /* NULL outside any fiber */
    size_t live;        /* fibers created and not destroyed */
    struct {
        tr__fiber *idle;
        size_t count;
    } shelves[SHELVES];
};

static atomic_int guards; /* in the process; relaxed: it bounds, it orders nothing */

/* ---- stacks -------------------------------------------------------------------------------------------- */

static size_t shelf_size(unsigned shelf)
{
    return STACK_SIZE_MIN << shelf;
}

static tr__fiber *map_stack(unsigned shelf)
{
    size_t size = shelf_size(shelf);
    char *bottom = tr__stack_map(size);
    if (!bottom)
        return NULL;
    tr__fiber *fiber = (tr__fiber *)(bottom + size - sizeof *fiber);
    fiber->bottom = bottom;
    fiber->shelf = (uint8_t)shelf;
    fiber->guarded =
        atomic_fetch_add_explicit(&guards, 1, memory_order_relaxed) < GUARDS_MAX && tr__stack_guard(bottom);
    if (!fiber->guarded)
        atomic_fetch_sub_explicit(&guards, 1, memory_order_relaxed);
    fiber->valgrind_id = VALGRIND_STACK_REGISTER(fiber->bottom, fiber->bottom + size - 1);
    return fiber;
}

/* False: the kernel can't. A stack in the middle of others leaves two areas, of which it has a limited number. */
static bool unmap_stack(tr__fiber *fiber)
{
    bool guarded = fiber->guarded;
    unsigned valgrind_id = fiber->valgrind_id;
    tr__fiber_tools_unmapping(fiber->bottom, shelf_size(fiber->shelf));
    if (!tr__stack_unmap(fiber->bottom, shelf_size(fiber->shelf)))
        return false;
    VALGRIND_STACK_DEREGISTER(valgrind_id);
    if (guarded)
        atomic_fetch_sub_explicit(&guards, 1, memory_order_relaxed);
    return true;
}

/* ---- the pool ------------------------------------------------------------------------------------------ */

tr__fiber_pool *tr__fiber_pool_create(void)
{
    return tr__zalloc(sizeof(tr__fiber_pool));
}

/* One that can't go now can when its neighbours have. */
static void unmap_shelf(tr__fiber **idle)
{
    for (bool some = true; *idle;) {
        tr__fiber *left = *idle, *next;
        tr__check(some, "stacks that were mapped could not be unmapped");
        some = false;
        for (*idle = NULL; left; left = next) {
            next = left->next;
            if (unmap_stack(left)) {
                some = true;
            } else {
                left->next = *idle;
                *idle = left;
            }
        }
    }
}

void tr__fiber_pool_destroy(tr__fiber_pool *pool)
{
    if (!pool)
        return;
    tr__check(pool->live == 0, "%zu fibers are alive when their pool goes", pool->live);
    for (unsigned i = 0; i < SHELVES; i++)
        unmap_shelf(&pool->shelves[i].idle);
    tr__free(pool);
}

static tr__fiber *take_stack(tr__fiber_pool *pool, unsigned shelf)
{
    tr__fiber *fiber = pool->shelves[shelf].idle;
    if (!fiber)
        return map_stack(shelf);
    pool->shelves[shelf].idle = fiber->next;
    pool->shelves[shelf].count--;
    return fiber;
}

/* ---- fibers -------------------------------------------------------------------------------------------- */

/* The first frame of every fiber. */
static void begin(tr__transfer from)
{
    tr__fiber *fiber = from.data;
    fiber->resumer = from.context;
    tr__fiber_tools_entered(&fiber->tools);
    fiber->entry(fiber->arg);
    fiber->state = TR__FIBER_DONE;
    tr__fiber_tools_leave_for_good(&fiber->tools);
    jump_fcontext(fiber->resumer, NULL);
    tr__check(false, "a fiber that was done has been resumed");
}

tr__fiber *tr__fiber_create(tr__fiber_pool *pool, size_t stack_size, void (*entry)(void *arg), void *arg)
{
    size_t size = (stack_size ? stack_size : TR__FIBER_STACK_DEFAULT);
    if (size > STACK_SIZE_MAX / TR__TOOLS_STACK_FACTOR)
        return NULL;
    unsigned shelf = 0;
    while (shelf_size(shelf) < size * TR__TOOLS_STACK_FACTOR)
        shelf++;
    tr__fiber *fiber = take_stack(pool, shelf);
    if (!fiber)
        return NULL;
    fiber->pool = pool;
    fiber->running = &pool->running;
    fiber->entry = entry;
    fiber->arg = arg;
    fiber->state = TR__FIBER_SUSPENDED;
    tr__fiber_tools_created(&fiber->tools, fiber->bottom, (size_t)((char *)fiber - fiber->bottom));
    fiber->context = make_fcontext(fiber, (size_t)((char *)fiber - fiber->bottom), begin);
    pool->live++;
    return fiber;
}

void tr__fiber_destroy(tr__fiber *fiber)
{
    if (!fiber)
        return;
    tr__fiber_pool *pool = fiber->pool;
    tr__check(fiber->state != TR__FIBER_RUNNING, "a fiber is destroyed while it runs");
    tr__fiber_tools_destroyed(&fiber->tools, fiber->bottom, (size_t)((char *)fiber - fiber->bottom));
    fiber->state = TR__FIBER_DONE;
    pool->live--;
    if (pool->shelves[fiber->shelf].count >= SHELF_MAX) {
        if (unmap_stack(fiber))
            return;
        tr__stack_forget(fiber->bottom, (size_t)((char *)fiber - fiber->bottom));
    }
    fiber->next = pool->shelves[fiber->shelf].idle;
    pool->shelves[fiber->shelf].idle = fiber;
    pool->shelves[fiber->shelf].count++;
}
