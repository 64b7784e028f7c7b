/* The spool's files where the file system can't make one without a name, and what a process leaves there that dies in the moment
 * in which one has a name. `open` and `unlink` are this program's own, so that it can be such a file system, and die then. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/remote/spool.h"

static bool nameless_fails, dies_before_unlink;

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
    va_end(args);
    if (nameless_fails && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int unlink(const char *path)
{
    if (dies_before_unlink)
        _exit(42);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* ---- fixture ------------------------------------------------------------------------------------------- */

static char directory[64];

static int set_up(void **state)
{
    (void)state;
    const char *temporary = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%.30s/troupe-spool-XXXXXX", temporary ? temporary : "/var/tmp");
    nameless_fails = true;
    return mkdtemp(directory) ? 0 : 1;
}

static const char *in(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

/* Whatever is left; how many. */
static int empty(void)
{
    int count = 0;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            count += remove(in(entry->d_name)) == 0;
    closedir(dir);
    return count;
}

static int tear_down(void **state)
{
    (void)state;
    nameless_fails = dies_before_unlink = false;
    empty();
    return rmdir(directory);
}

static void die_while_one_is_made(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        dies_before_unlink = true;
        tr__spool_os.open(NULL, directory, NULL);
        _exit(0);
    }
    assert_int_equal(child, waitpid(child, &status, 0));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void put_file(const char *name)
{
    int fd = open(in(name), O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void where_no_nameless_file_can_be_made_it_loses_its_name_at_once(void **state)
{
    (void)state;
    tr_error error;
    const void *data;
    int fd;
    struct stat of;
    tr__spool_file *file = tr__spool_os.open(NULL, directory, &error);
    assert_non_null(file);
    assert_int_equal(empty(), 0);
    assert_int_equal(tr__spool_os.write(file, "film", 4, &error), TR_OK);
    assert_int_equal(tr__spool_os.map(file, &data, &fd, &error), TR_OK);
    assert_memory_equal(data, "film", 4);
    assert_int_equal(fstat(fd, &of), 0);
    assert_int_equal(of.st_nlink, 0);
    assert_int_equal(of.st_mode & 0777, 0600);
    tr__spool_os.close(file);
}

static void what_a_process_left_that_died_is_gone_at_the_next_start(void **state)
{
    (void)state;
    tr_error error;
    die_while_one_is_made();
    assert_int_equal(empty(), 1); /* so one is left indeed */
    die_while_one_is_made();
    die_while_one_is_made();
    assert_int_equal(tr__spool_os.begin(NULL, directory, &error), TR_OK);
    assert_int_equal(empty(), 0);
}

static void what_only_looks_like_it_stays(void **state)
{
    (void)state;
    tr_error error;
    put_file(".troupe-spool-1");
    put_file(".troupe-spool-1234567");
    put_file("troupe-spool-123456");
    assert_int_equal(mkdir(in(".troupe-spool-abcdef"), 0700), 0);
    assert_int_equal(symlink("/etc/passwd", in(".troupe-spool-ghijkl")), 0);
    put_file(".troupe-spool-mnopqr"); /* this one is */
    bool anothers = getuid() == 0;    /* who can make one that is somebody else's */
    if (anothers) {
        put_file(".troupe-spool-nobody");
        assert_int_equal(chown(in(".troupe-spool-nobody"), 65534, 65534), 0);
    }
    assert_int_equal(tr__spool_os.begin(NULL, directory, &error), TR_OK);
    assert_int_equal(access(in(".troupe-spool-mnopqr"), F_OK), -1);
    assert_int_equal(empty(), anothers ? 6 : 5);
}

static void expect_no_begin(const char *where, tr_err code, const char *words)
{
    tr_error error = {0};
    assert_int_equal(tr__spool_os.begin(NULL, where, &error), code);
    if (!strstr(error.text, where) || !strstr(error.text, words) || !strstr(error.text, "(--spool)"))
        fail_msg("%s", error.text);
}

static void a_directory_that_is_no_good_is_named_at_the_start(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        nameless_fails = i;
        expect_no_begin("/no/such/place", TR_ENOTFOUND, "No such file or directory");
        expect_no_begin("/dev/null", TR_EIO, "Not a directory");
        assert_int_equal(chmod(directory, 0500), 0);
        assert_true(getuid() != 0 || seteuid(65534) == 0); /* root may write everywhere */
        expect_no_begin(directory, TR_EPERM, "Permission denied");
        assert_true(getuid() != 0 || seteuid(0) == 0);
        assert_int_equal(chmod(directory, 0700), 0);
    }
}

int main(void)
{
#define SPOOLS(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SPOOLS(where_no_nameless_file_can_be_made_it_loses_its_name_at_once),
        SPOOLS(what_a_process_left_that_died_is_gone_at_the_next_start),
        SPOOLS(what_only_looks_like_it_stays),
        SPOOLS(a_directory_that_is_no_good_is_named_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
