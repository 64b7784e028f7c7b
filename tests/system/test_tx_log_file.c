/* The transaction log on a real file: kill -9 in the middle of appends, two openers, directories that won't
 * do, and how fast it is. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/tx/log.h"
#include "tests/kit/descriptors.h"

#define KILLS   20
#define WAIT_MS 30000

static char directory[64], path[80];

/* ---- fixture: a directory, and an owner whose loop is one eventfd -------------------------------------- */

typedef struct user {
    tr__log *log;
    int wakes;
    uint64_t durable, replayed;
    int tell; /* where each durable LSN is written; -1 = nowhere */
    bool wrong, failed;
    tr_error error;
} user;

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/troupe-txlog-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/tx.log", directory);
    return 0;
}

static void remove_segments(void)
{
    char name[112];
    unlink(path);
    for (unsigned segment = 2; segment < 20; segment++) {
        snprintf(name, sizeof name, "%s.%u", path, segment);
        unlink(name);
    }
}

static int remove_directory(void **state)
{
    (void)state;
    char fresh[96];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    unlink(path);
    unlink(fresh);
    return rmdir(directory);
}

static size_t length_of(uint64_t lsn)
{
    return lsn % 97 == 0 ? 20000 : (size_t)(lsn * 31 % 300);
}

static void bytes_of(uint64_t lsn, uint8_t *bytes)
{
    for (size_t i = 0; i < length_of(lsn); i++)
        bytes[i] = (uint8_t)(lsn * 7 + i);
}

static tr_err record(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                     tr_error *error)
{
    user *u = context;
    static uint8_t expected[20000];
    (void)error;
    bytes_of(lsn, expected);
    u->wrong |= lsn != ++u->replayed || type != (uint8_t)(lsn % 251) || length != length_of(lsn) ||
                memcmp(payload, expected, length) != 0;
    return TR_OK;
}

static void forced(void *context, uint64_t durable)
{
    user *u = context;
    u->durable = durable;
    if (u->tell >= 0 && write(u->tell, &durable, sizeof durable) != sizeof durable)
        u->failed = true;
}

static void failed(void *context, const tr_error *error)
{
    user *u = context;
    u->failed = true;
    u->error = *error;
}

static const tr__log_upcalls upcalls = {.record = record, .forced = forced, .failed = failed};

static void wake(void *context)
{
    user *u = context;
    uint64_t one = 1;
    if (write(u->wakes, &one, sizeof one) != sizeof one)
        abort();
}

static void open_wakes(user *u)
{
    *u = (user){.tell = -1, .wakes = eventfd(0, EFD_CLOEXEC)};
    assert_true(u->wakes >= 0);
}

static bool open_at(user *u, const char *where)
{
    open_wakes(u);
    tr__log_store *store = tr__log_store_open_os(where, wake, u, &u->error);
    if (store) {
        u->log = tr__log_open(store, NULL, NULL, &upcalls, u, &u->error);
        if (u->log)
            return true;
        store->close(store);
    }
    close(u->wakes);
    return false;
}

static void close_user(user *u)
{
    tr__log_close(u->log);
    close(u->wakes);
}

static bool append(user *u)
{
    static uint8_t bytes[20000];
    uint64_t lsn = tr__log_last(u->log) + 1;
    bytes_of(lsn, bytes);
    tr__iov iov = {bytes, length_of(lsn)};
    return tr__log_append(u->log, (uint8_t)(lsn % 251), false, &iov, 1, &lsn, &u->error) == TR_OK;
}

/* One turn: wait until the store has something. */
static bool turn(user *u)
{
    struct pollfd ready = {.fd = u->wakes, .events = POLLIN};
    uint64_t count;
    if (poll(&ready, 1, WAIT_MS) != 1 || read(u->wakes, &count, sizeof count) != sizeof count)
        return false;
    tr__log_poll(u->log);
    return !u->failed;
}

static bool force(user *u, uint64_t lsn)
{
    tr__log_force(u->log, lsn);
    while (u->durable < lsn)
        if (!turn(u))
            return false;
    return true;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static void it_is_the_owners_alone_and_comes_back(void **state)
{
    (void)state;
    user u;
    assert_true(open_at(&u, path));
    uint8_t id[TR__LOG_ID_BYTES];
    memcpy(id, tr__log_id(u.log), sizeof id);
    for (int n = 0; n < 200; n++)
        assert_true(append(&u));
    assert_true(force(&u, 200));
    close_user(&u);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_true(open_at(&u, path));
    assert_memory_equal(id, tr__log_id(u.log), sizeof id);
    assert_int_equal(u.replayed, 200);
    assert_false(u.wrong);
    close_user(&u);
}

static void a_second_opener_is_refused_by_name(void **state)
{
    (void)state;
    user one, two;
    assert_true(open_at(&one, path));
    assert_false(open_at(&two, path));
    assert_int_equal(two.error.code, TR_EADDRINUSE);
    assert_non_null(strstr(two.error.text, path));
    close_user(&one);
    assert_true(open_at(&two, path));
    close_user(&two);
}

static void a_second_maker_is_refused_while_the_first_is_at_it(void **state)
{
    (void)state;
    user one;
    open_wakes(&one);
    tr_error error;
    tr__log_store *first = tr__log_store_open_os(path, wake, &one, &error);
    assert_non_null(first);
    assert_true(first->is_new);
    assert_null(tr__log_store_open_os(path, wake, &one, &error));
    assert_int_equal(error.code, TR_EADDRINUSE);
    first->close(first); /* never published: nothing is left, the directory can go */
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(mkdir(directory, 0700), 0);
    close(one.wakes);
}

static void directories_and_files_that_wont_do_are_refused_by_name(void **state)
{
    (void)state;
    user u;
    char other[128];
    snprintf(other, sizeof other, "%s/none/tx.log", directory);
    assert_false(open_at(&u, other));
    assert_int_equal(u.error.code, TR_ENOTFOUND);
    assert_non_null(strstr(u.error.text, other));
    assert_false(open_at(&u, "/proc/tx.log")); /* nobody can make a file there, root neither */
    assert_true(u.error.code == TR_ENOTFOUND || u.error.code == TR_EPERM);
    assert_false(open_at(&u, directory));
    snprintf(other, sizeof other, "%s/link", directory);
    assert_int_equal(symlink(path, other), 0);
    assert_false(open_at(&u, other));
    assert_non_null(strstr(u.error.text, "symbolic link"));
    unlink(other);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(open_at(&u, path));
    assert_int_equal(u.error.code, TR_EINVAL);
    unlink(path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_false(open_at(&u, path)); /* empty: a log was cut to nothing, not made */
    assert_int_equal(u.error.code, TR_EMISMATCH);
    if (geteuid() != 0) {
        unlink(path);
        chmod(directory, 0500);
        assert_false(open_at(&u, path));
        assert_int_equal(u.error.code, TR_EPERM);
        chmod(directory, 0700);
    }
}

/* A quota on the file's size stands for the full disk: the extension fails, nothing else. */
static void a_file_that_cant_grow_is_log_full_and_not_a_failure(void **state)
{
    (void)state;
    user u;
    assert_true(open_at(&u, path));
    struct stat info;
    struct rlimit before, limit;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){(rlim_t)info.st_size + 100000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    static uint8_t bytes[500000];
    tr__iov iov = {bytes, sizeof bytes};
    uint64_t lsn = 0;
    tr_err code;
    while ((code = tr__log_append(u.log, 1, false, &iov, 1, &lsn, &u.error)) == TR_OK)
        assert_true(force(&u, lsn));
    assert_int_equal(code, TR_EFULL);
    assert_int_equal(tr__log_append(u.log, 1, true, &iov, 1, &lsn, &u.error), TR_OK);
    assert_true(force(&u, lsn));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(u.failed);
    struct stat after;
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_size >= info.st_size && after.st_size <= info.st_size + 100000);
    close_user(&u);
}

/* What `finishes` as well; when no batch is under way. */
static tr_err append_forced(user *u, bool finishes)
{
    static uint8_t bytes[20000];
    tr__iov iov = {bytes, sizeof bytes};
    uint64_t lsn;
    tr_err code;
    while ((code = tr__log_append(u->log, 1, finishes, &iov, 1, &lsn, &u->error)) == TR_EAGAIN)
        assert_true(turn(u));
    if (code == TR_OK)
        assert_true(force(u, lsn));
    return code;
}

/* Whichever it is: what is under way finishes, and all goes on when there are descriptors again. */
static void a_segment_that_cant_be_opened_is_log_full_and_not_a_failure(void **state)
{
    static const tr__log_options small = {.reserve = 65536, .step = 4096, .segment = 200000};
    (void)state;
    for (rlim_t opens = 0; opens < 3; opens++) {
        user u;
        open_wakes(&u);
        u.log = tr__log_open(tr__log_store_open_os(path, wake, &u, &u.error), &small, NULL, &upcalls, &u,
                             &u.error);
        assert_non_null(u.log);
        struct rlimit before = descriptors(opens);
        tr_err code;
        while ((code = append_forced(&u, false)) == TR_OK)
            continue;
        assert_int_equal(code, TR_EFULL);
        assert_non_null(strstr(u.error.text, "no more files can be opened"));
        assert_int_equal(append_forced(&u, true), TR_OK);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        tr__log_look_for_room(u.log);
        while (tr__log_is_full(u.log))
            assert_true(turn(&u));
        for (int i = 0; i < 30; i++)
            assert_int_equal(append_forced(&u, false), TR_OK);
        uint64_t last = tr__log_last(u.log);
        close_user(&u);
        assert_true(open_at(&u, path));
        assert_int_equal(u.replayed, last);
        close_user(&u);
        remove_segments();
    }
}

/* ---- kill -9 ------------------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Appends and forces for ever, telling each durable LSN. */
static void child(int tell, uint64_t seed)
{
    user u;
    if (!open_at(&u, path))
        _exit(2);
    u.tell = tell;
    u.durable = tr__log_durable(u.log);
    for (uint64_t n = seed;; n = n * 6364136223846793005ull + 1442695040888963407ull) {
        for (uint64_t more = (n >> 40) % 9; more > 0; more--)
            if (!append(&u))
                break;
        tr__log_force(u.log, tr__log_last(u.log));
        if (u.durable < tr__log_last(u.log) && !turn(&u))
            _exit(3);
    }
}

/* Kill it in the midst of things, after `acks` answers; the last LSN it told. */
static uint64_t run_and_kill(uint64_t seed, unsigned acks)
{
    int tells[2];
    assert_int_equal(pipe2(tells, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(tells[1], seed);
    close(tells[1]);
    uint64_t told = 0, lsn;
    for (unsigned n = 0; n < acks; n++) {
        assert_int_equal(read(tells[0], &lsn, sizeof lsn), sizeof lsn);
        told = lsn;
    }
    /* Not right after an answer, when it does nothing: somewhere in the next batches. */
    double until = seconds() + (double)(seed * 37 % 100) * 10e-6;
    while (seconds() < until) {
    }
    kill(pid, SIGKILL);
    while (read(tells[0], &lsn, sizeof lsn) == sizeof lsn)
        told = lsn;
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(tells[0]);
    return told;
}

static void what_was_told_survives_kill_nine(void **state)
{
    (void)state;
    uint64_t there = 0, more = 0;
    for (unsigned n = 0; n < KILLS; n++) {
        uint64_t told = run_and_kill(n + 1, 3 + n * 7 % 50);
        user u;
        if (!open_at(&u, path))
            fail_msg("refused: %s", u.error.text);
        assert_false(u.wrong);
        assert_true(u.replayed >= told && u.replayed >= there);
        more += u.replayed - told;
        there = u.replayed;
        close_user(&u);
    }
    printf("%u kills, %llu records, %llu of them there though nobody was told\n", KILLS,
           (unsigned long long)there, (unsigned long long)more);
}

/* ---- how fast ------------------------------------------------------------------------------------------ */

static void groups_are_forced_together(void **state)
{
    (void)state;
    static const unsigned groups[] = {1, 8, 64};
    user u;
    assert_true(open_at(&u, path));
    for (unsigned g = 0; g < 3; g++) {
        static uint8_t bytes[200];
        tr__iov iov = {bytes, sizeof bytes};
        unsigned forces = 1000;
        double begin = seconds();
        for (unsigned n = 0; n < forces; n++) {
            uint64_t lsn = 0;
            for (unsigned r = 0; r < groups[g]; r++)
                assert_int_equal(tr__log_append(u.log, 1, false, &iov, 1, &lsn, &u.error), TR_OK);
            assert_true(force(&u, lsn));
        }
        double took = seconds() - begin;
        printf("group of %2u: %6.0f forces/s, %7.0f records/s (of 200 bytes)\n", groups[g], forces / took,
               forces * groups[g] / took);
    }
    close_user(&u);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_the_owners_alone_and_comes_back),
        TEST(a_second_opener_is_refused_by_name),
        TEST(a_second_maker_is_refused_while_the_first_is_at_it),
        TEST(directories_and_files_that_wont_do_are_refused_by_name),
        TEST(a_file_that_cant_grow_is_log_full_and_not_a_failure),
        TEST(a_segment_that_cant_be_opened_is_log_full_and_not_a_failure),
        TEST(what_was_told_survives_kill_nine),
        TEST(groups_are_forced_together),
    };
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
