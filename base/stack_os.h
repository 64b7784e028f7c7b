/* The memory of fibers' stacks. Any thread. */
#ifndef TR_BASE_STACK_OS_H
#define TR_BASE_STACK_OS_H

#include <stdbool.h>
#include <stddef.h>

/* The low end of `size` bytes, a multiple of the page; zero, and no memory until they are touched. Below it lies a page
 * for a guard, also when none is set, so that all of a size are alike. NULL: the kernel gives none. */
char *tr__stack_map(size_t size);
/* From now on an overflow is a SIGSEGV. False: the kernel doesn't do it. */
bool tr__stack_guard(char *bottom);
/* Nothing in these bytes is needed any more: whole pages of it cost no memory until they are touched. */
void tr__stack_forget(char *bottom, size_t size);
/* False: that wasn't one, or the kernel would have more mappings than it can (it is as it was). */
bool tr__stack_unmap(char *bottom, size_t size);

#endif
