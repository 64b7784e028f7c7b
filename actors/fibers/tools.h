/* What the sanitizers must be told of stacks and switches; private to fiber.h and fiber.c. Nothing in other
 * builds.
 *
 * ASan: the bounds of the stack it is on, and its own stack of fake frames, change with each switch. A stack
 * on the shelf is poisoned, so that a use of a destroyed fiber's frames is found, and leak checks see the
 * stacks of the living. TSan: each fiber is a thread of its own to it. It ends the program at 8,128 of them.
 * Called on the loop's thread; nothing here fails. */
#ifndef TR_ACTORS_FIBERS_TOOLS_H
#define TR_ACTORS_FIBERS_TOOLS_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define TR__TOOLS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TR__TOOLS_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define TR__TOOLS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TR__TOOLS_TSAN 1
#endif
#endif

#ifdef TR__TOOLS_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef TR__TOOLS_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Never a call of its own: TSan counts calls and returns a fiber, and a call that returned on another fiber
 * than it was made on would upset the count. */
#define TR__TOOLS_INLINE static inline __attribute__((always_inline))

/* Frames are several times larger with red zones and without optimisation. */
#if defined(TR__TOOLS_ASAN) || defined(TR__TOOLS_TSAN)
#define TR__TOOLS_STACK_FACTOR 4
#else
#define TR__TOOLS_STACK_FACTOR 1
#endif

typedef struct tr__fiber_tools {
    char unused; /* a C struct has a member */
#ifdef TR__TOOLS_ASAN
    void *stack_fake;   /* the fiber's, while it is away */
    void *resumer_fake; /* the resumer's, while the fiber runs */
    const void *stack;
    size_t stack_size;
    const void *resumer_stack;
    size_t resumer_size;
#endif
#ifdef TR__TOOLS_TSAN
    void *fiber;
    void *resumer;
#endif
} tr__fiber_tools;

/* The stack will be unmapped: whoever gets the addresses next must not inherit what we said of them. */
TR__TOOLS_INLINE void tr__fiber_tools_unmapping(char *low, size_t size)
{
#ifdef TR__TOOLS_ASAN
    __asan_unpoison_memory_region(low, size);
#endif
    (void)low, (void)size;
}

/* A fiber begins on [low, low + size). */
TR__TOOLS_INLINE void tr__fiber_tools_created(tr__fiber_tools *tools, char *low, size_t size)
{
#ifdef TR__TOOLS_ASAN
    __asan_unpoison_memory_region(low, size);
    __lsan_register_root_region(low, size);
    tools->stack = low;
    tools->stack_size = size;
    tools->stack_fake = NULL;
#endif
#ifdef TR__TOOLS_TSAN
    tools->fiber = __tsan_create_fiber(0);
#endif
    (void)tools, (void)low, (void)size;
}

TR__TOOLS_INLINE void tr__fiber_tools_destroyed(tr__fiber_tools *tools, char *low, size_t size)
{
#ifdef TR__TOOLS_ASAN
    __lsan_unregister_root_region(low, size);
    __asan_poison_memory_region(low, size);
#endif
#ifdef TR__TOOLS_TSAN
    __tsan_destroy_fiber(tools->fiber);
#endif
    (void)tools, (void)low, (void)size;
}

/* On the resumer's stack, before the jump into the fiber and behind it. */
TR__TOOLS_INLINE void tr__fiber_tools_enter(tr__fiber_tools *tools)
{
#ifdef TR__TOOLS_ASAN
    __sanitizer_start_switch_fiber(&tools->resumer_fake, tools->stack, tools->stack_size);
#endif
#ifdef TR__TOOLS_TSAN
    tools->resumer = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(tools->fiber, 0);
#endif
    (void)tools;
}

TR__TOOLS_INLINE void tr__fiber_tools_back(tr__fiber_tools *tools)
{
#ifdef TR__TOOLS_ASAN
    __sanitizer_finish_switch_fiber(tools->resumer_fake, NULL, NULL);
#endif
    (void)tools;
}

/* On the fiber's stack, behind a jump into it. */
TR__TOOLS_INLINE void tr__fiber_tools_entered(tr__fiber_tools *tools)
{
#ifdef TR__TOOLS_ASAN
    __sanitizer_finish_switch_fiber(tools->stack_fake, &tools->resumer_stack, &tools->resumer_size);
#endif
    (void)tools;
}

/* On the fiber's stack, before a jump out of it; for good: nothing comes back, its fake frames can go. */
TR__TOOLS_INLINE void tr__fiber_tools_leave(tr__fiber_tools *tools)
{
#ifdef TR__TOOLS_ASAN
    __sanitizer_start_switch_fiber(&tools->stack_fake, tools->resumer_stack, tools->resumer_size);
#endif
#ifdef TR__TOOLS_TSAN
    __tsan_switch_to_fiber(tools->resumer, 0);
#endif
    (void)tools;
}

TR__TOOLS_INLINE void tr__fiber_tools_leave_for_good(tr__fiber_tools *tools)
{
#ifdef TR__TOOLS_ASAN
    __sanitizer_start_switch_fiber(NULL, tools->resumer_stack, tools->resumer_size);
#endif
#ifdef TR__TOOLS_TSAN
    __tsan_switch_to_fiber(tools->resumer, 0);
#endif
    (void)tools;
}

#endif
