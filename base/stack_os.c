/* See stack_os.h. */
#include "base/stack_os.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_size(void)
{
    static atomic_size_t known;
    size_t size = atomic_load_explicit(&known, memory_order_relaxed);
    if (size == 0) {
        size = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&known, size, memory_order_relaxed);
    }
    return size;
}

char *tr__stack_map(size_t size)
{
    size_t guard = page_size();
    char *low = mmap(NULL, guard + size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (low == MAP_FAILED)
        return NULL;
    /* Neighbouring stacks without guards are one area to the kernel: huge pages would make each cost all its
     * size. Refused by kernels that have no huge pages, which is as good. */
    (void)madvise(low, guard + size, MADV_NOHUGEPAGE);
    return low + guard;
}

bool tr__stack_guard(char *bottom)
{
    return mprotect(bottom - page_size(), page_size(), PROT_NONE) == 0;
}

bool tr__stack_unmap(char *bottom, size_t size)
{
    size_t guard = page_size();
    return munmap(bottom - guard, guard + size) == 0;
}

void tr__stack_forget(char *bottom, size_t size)
{
    (void)madvise(bottom, size & ~(page_size() - 1), MADV_DONTNEED);
}
