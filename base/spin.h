/* A spin lock for sections of a few instructions that hardly ever meet (names, type registration). No system call, so
 * the core may use it. */
#ifndef TR_BASE_SPIN_H
#define TR_BASE_SPIN_H

#include <stdatomic.h>

typedef struct tr__spin {
    atomic_flag taken;
} tr__spin;

#define TR__SPIN_INIT    \
    {                    \
        ATOMIC_FLAG_INIT \
    }

static inline void tr__spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline void tr__spin_lock(tr__spin *spin)
{
    while (atomic_flag_test_and_set_explicit(&spin->taken, memory_order_acquire))
        tr__spin_pause();
}

static inline void tr__spin_unlock(tr__spin *spin)
{
    atomic_flag_clear_explicit(&spin->taken, memory_order_release);
}

#endif
