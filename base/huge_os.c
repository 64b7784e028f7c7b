/* The system's side of tr__huge_alloc(): pages mapped at a multiple of TR__HUGE, where the kernel is asked to take huge
 * ones. Any thread. Fails by NULL; that there are no huge pages is no failure. */
#include <stdint.h>
#include <sys/mman.h>

#include "base/mem.h"

/* Twice as much is mapped, and what lies before and behind the multiple goes back. */
void *tr__huge_map(int now)
{
    char *base = mmap(NULL, 2 * TR__HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)base % TR__HUGE;
    if (before > 0)
        munmap(base, before);
    munmap(base + before + TR__HUGE, TR__HUGE - before);
#ifdef MADV_HUGEPAGE
    if (now)
        madvise(base + before, TR__HUGE, MADV_HUGEPAGE);
#endif
    return base + before;
}

void tr__huge_unmap(void *block)
{
    munmap(block, TR__HUGE);
}
