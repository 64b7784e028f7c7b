/* In which order the names of a node's transactions get to the disk: a node's data directory, and a backup that is restored.
 * What is forced and linked is noted on its way to the kernel. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/transactions.h"
#include "actors/tx/internal.h"
#include "cli/tx/backup.h"
#include "cli/tx/copy.h"

static char base[PATH_MAX]; /* where it all happens */
static char done[64]
                [128]; /* what was done below that: "force NAME", "link NAME", with the last part of a path */
static int done_count;

static void note(const char *what, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (strncmp(path, base, strlen(base)) == 0 && done_count < 64)
        snprintf(done[done_count++], sizeof(done[0]), "%s %.100s", what, slash + 1);
}

/* Instead of the C library's. */
int fsync(int fd)
{
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof(path) - 1);
    path[length < 0 ? 0 : length] = '\0';
    note("force", path);
    return (int)syscall(SYS_fsync, fd);
}

int link(const char *from, const char *to)
{
    note("link", to);
    return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* Where it was done behind that place; -1: it wasn't. */
static int find(const char *what, int from)
{
    for (int i = from; i < done_count; i++)
        if (strcmp(done[i], what) == 0)
            return i;
    return -1;
}

static const char *at(const char *name)
{
    static char path[2][PATH_MAX];
    static int which;
    which ^= 1;
    snprintf(path[which], PATH_MAX, "%.900s/%s", base, name);
    return path[which];
}

static int set_up(void **state)
{
    (void)state;
    char made[] = "/tmp/troupe-folders-XXXXXX";
    assert_non_null(mkdtemp(made));
    assert_non_null(realpath(made, base));
    done_count = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[PATH_MAX + 16];
    snprintf(command, sizeof(command), "rm -rf '%s'", base);
    return system(command);
}

/* ---- a log with a record ------------------------------------------------------------------------------- */

static void nobody_waits(void *context)
{
    (void)context;
}

static tr_err take_record(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                          tr_error *error)
{
    (void)context, (void)type, (void)lsn, (void)payload, (void)length, (void)error;
    return TR_OK;
}

static void forced(void *context, uint64_t durable)
{
    (void)context, (void)durable;
}

static void failed(void *context, const tr_error *error)
{
    (void)context;
    fail_msg("%s", error->text);
}

static void make_log(const char *directory)
{
    static const tr__log_upcalls upcalls = {.record = take_record, .forced = forced, .failed = failed};
    tr_error error;
    uint64_t lsn;
    struct tr__log_store *store = tr__data_open_log(directory, "alice", nobody_waits, NULL, &error);
    if (!store)
        fail_msg("%s", error.text);
    tr__log *log = tr__log_open(store, NULL, NULL, &upcalls, NULL, &error);
    assert_non_null(log);
    const tr__iov payload = {.bytes = "alice", .length = 5};
    assert_int_equal(tr__log_append(log, TR__RECORD_NAME, true, &payload, 1, &lsn, &error), TR_OK);
    tr__log_force(log, lsn);
    for (int i = 0; i < 30000 && tr__log_durable(log) < lsn; i++) {
        poll(NULL, 0, 1);
        tr__log_poll(log);
    }
    assert_int_equal(tr__log_durable(log), 1);
    tr__log_close(log);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void a_data_directory_that_a_node_makes_is_one_with_its_name(void **state)
{
    (void)state;
    const char *slash = strrchr(base, '/');
    char force[160];
    make_log(at("data"));
    snprintf(force, sizeof(force), "force %.100s", slash + 1); /* what it is in */
    assert_true(find(force, 0) >= 0);
    assert_true(find("force data", 0) >= 0);
}

static void write_file(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void write_file(const char *name, const char *format, ...)
{
    va_list args;
    FILE *out = fopen(at(name), "w");
    assert_non_null(out);
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    assert_int_equal(fclose(out), 0);
}

/* Of a log and one file more of that node. */
static void make_backup(void)
{
    tr_error error;
    tx_file log = {.name = "alice.txlog"}, other = {.name = "alice.txnote"};
    make_log(at("backup"));
    write_file("backup/alice.txnote", "a note");
    assert_int_equal(tx_look(at("backup"), &log, &error), TR_OK);
    assert_int_equal(tx_look(at("backup"), &other, &error), TR_OK);
    write_file("backup/" TX_MANIFEST,
               "{\"troupe_backup\": 1, \"node\": \"alice\", \"lsn\": 1, \"files\": ["
               "{\"name\": \"alice.txlog\", \"bytes\": %llu, \"crc32c\": %u}, "
               "{\"name\": \"alice.txnote\", \"bytes\": %llu, \"crc32c\": %u}]}\n",
               (unsigned long long)log.bytes, log.crc, (unsigned long long)other.bytes, other.crc);
}

static void of_what_is_restored_the_log_gets_its_name_when_all_else_is_on_the_disk(void **state)
{
    (void)state;
    char to[PATH_MAX], from[PATH_MAX], force[160];
    make_backup();
    done_count = 0;
    snprintf(from, sizeof(from), "%s", at("backup"));
    snprintf(to, sizeof(to), "%s", at("to"));
    char *argv[] = {"restore", from, to, NULL};
    assert_int_equal(tx_restore_command(3, argv), 0);
    int other = find("link alice.txnote", 0), head = find("link alice.txlog", 0);
    assert_true(other >= 0 && head > other);
    int before = find("force to", other), after = find("force to", head);
    assert_true(before > other && before < head && after > head);
    snprintf(force, sizeof(force), "force %.100s", strrchr(base, '/') + 1);
    assert_true(find(force, head) > head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_data_directory_that_a_node_makes_is_one_with_its_name),
        TEST(of_what_is_restored_the_log_gets_its_name_when_all_else_is_on_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
