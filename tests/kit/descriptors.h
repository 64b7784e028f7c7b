/* A process that can open no more files. */
#ifndef TR_TESTS_DESCRIPTORS_H
#define TR_TESTS_DESCRIPTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/* So many files can be opened from now on, and no more; what was before, to be set again. */
static inline struct rlimit descriptors(rlim_t count)
{
    struct rlimit before, now;
    int free = dup(STDERR_FILENO);
    assert_true(free >= 0);
    close(free);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    now = (struct rlimit){(rlim_t)free + count, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    return before;
}

#endif
