/* base/memory_limit_os.c: the least limit of a control group and those above it; what isn't there limits nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory_limit_os.h"

static char root[] = "/tmp/troupe-limit-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static uint64_t limit(void)
{
    char proc[256];
    snprintf(proc, sizeof(proc), "%s/proc", root);
    return tr__cgroup_limit(proc, root);
}

static int make_root(void **state)
{
    (void)state;
    char path[256];
    if (!mkdtemp(root))
        return 1;
    snprintf(path, sizeof(path), "%s/a", root);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/a/b", root);
    return mkdir(path, 0700);
}

static int remove_root(void **state)
{
    (void)state;
    const char *names[] = {"/a/b/memory.max", "/a/memory.max", "/proc", "/a/b", "/a", ""};
    char path[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", root, names[i]);
        remove(path);
    }
    return 0;
}

static void the_least_of_a_group_and_those_above_it_counts(void **state)
{
    (void)state;
    put("proc", "1:name=other:/x\n0::/a/b\n");
    assert_true(limit() == UINT64_MAX); /* no file says anything */
    put("a/b/memory.max", "max\n");
    assert_true(limit() == UINT64_MAX);
    put("a/memory.max", "1048576\n");
    assert_true(limit() == 1048576);
    put("a/b/memory.max", "4096\n");
    assert_true(limit() == 4096);
    put("a/b/memory.max", "8388608\n");
    assert_true(limit() == 1048576);
}

static void a_process_in_no_such_group_has_no_limit(void **state)
{
    (void)state;
    put("proc", "5:memory:/a/b\n");
    assert_true(limit() == UINT64_MAX);
    assert_true(tr__cgroup_limit("/no/such/file", root) == UINT64_MAX);
    assert_true(tr__memory_limit() > 1 << 20); /* this machine has some */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_of_a_group_and_those_above_it_counts),
        cmocka_unit_test(a_process_in_no_such_group_has_no_limit),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
