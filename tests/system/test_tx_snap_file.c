/* Snapshots in SQLite, and segments as files: what a node finds when it starts, whatever was killed, missing or damaged. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/transactions.h"
#include "actors/tx/internal.h"
#include "actors/tx/log_format.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/kit/descriptors.h"

#define KEYS    40
#define SEGMENT (48u * 1024)

static const tr__log_options small = {.reserve = 8192, .step = 4096, .segment = SEGMENT, .closed = 3};
static char directory[64];

/* ---- fixture ------------------------------------------------------------------------------------------- */

static int fresh(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/troupe-txsnap-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int over(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

static char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void wake(void *context)
{
    ssize_t put = write(((int *)context)[1], "", 1);
    (void)put; /* full: it is awake */
}

static uint64_t later_ns; /* so much has passed that nobody waited for */

static uint64_t io_now(void *context)
{
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return later_ns + (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t io_wall(void *context)
{
    return io_now(context) / 1000000u;
}

static void io_event(void *context, const tr_tx_id *id, const char *actor, const char *what,
                     const char *detail)
{
    (void)context, (void)id, (void)actor, (void)what, (void)detail;
}

static tr_error fatal;

static void io_fatal(void *context, const tr_error *error)
{
    (void)context;
    fatal = *error;
}

static const tr__tx_io io = {.now = io_now, .wall_ms = io_wall, .event = io_event, .fatal = io_fatal};

/* A node's state machine over real files. */
typedef struct machine {
    int wakes[2];
    tr__tx *tx;
    tr_error error;
} machine;

static tr__log_store *open_store(machine *m)
{
    assert_int_equal(pipe2(m->wakes, O_CLOEXEC | O_NONBLOCK), 0);
    return tr__data_open_log(directory, "n", wake, m->wakes, &m->error);
}

static bool start(machine *m)
{
    *m = (machine){0};
    fatal = (tr_error){0};
    tr__log_store *store = open_store(m);
    if (store && !(m->tx = tr__tx_open("n", 1, store, &small, &io, m, &m->error)))
        store->close(store);
    if (m->tx)
        return true;
    close(m->wakes[0]);
    close(m->wakes[1]);
    return false;
}

static void stop(machine *m)
{
    tr__tx_close(m->tx);
    close(m->wakes[0]);
    close(m->wakes[1]);
}

/* Until so many snapshots were taken, and the segments before them are gone. */
static void wait_for_snapshots(machine *m, uint64_t count)
{
    char bytes[64];
    tr__tx_figures figures = {0};
    for (int i = 0; i < 1000; i++) {
        struct pollfd ready = {.fd = m->wakes[0], .events = POLLIN};
        tr__tx_poll(m->tx);
        tr__tx_figures_of(m->tx, &figures);
        if (fatal.code)
            fail_msg("%s", fatal.text);
        if (figures.snapshots >= count &&
            m->tx->store->size(m->tx->store, TR__LOG_SEGMENT) == TR__LOG_DATA_AT &&
            m->tx->store->size(m->tx->store, 2) == 0)
            return;
        poll(&ready, 1, 100);
        while (read(m->wakes[0], bytes, sizeof bytes) > 0) {
        }
    }
    fail_msg("no snapshot was taken");
}

/* What the n-th transaction writes. */
static void commit_record(tr__tx_buffer *record, uint64_t n)
{
    tr_tx_id id = tr__tx_id_make(n, n, n);
    tr__tx_buffer redo = {0};
    char key[16], value[200];
    snprintf(key, sizeof key, "k%u", (unsigned)(n * 7 % KEYS));
    memset(value, 'a' + (int)(n % 26), sizeof value);
    snprintf(value, sizeof value, "%llu", (unsigned long long)n);
    tr__tx_put_bytes(&redo, key, strlen(key));
    tr__tx_put_number(&redo, n % 11 != 0);
    if (n % 11)
        tr__tx_put_bytes(&redo, value, sizeof value);
    tr__tx_put_id(record, &id);
    tr__tx_put_number(record, n);
    tr__tx_put_text(record, "n");
    tr__tx_put_number(record, 0);
    tr__tx_put_number(record, 1);
    tr__tx_put_text(record, "a");
    tr__tx_put_bytes(record, redo.bytes, redo.length);
    tr__tx_buffer_free(&redo);
}

typedef struct writer {
    machine m;
    tr__log *log;
    uint64_t durable;
} writer;

static tr_err on_record(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                        tr_error *error)
{
    (void)context, (void)type, (void)lsn, (void)payload, (void)length, (void)error;
    return TR_OK;
}

static void on_forced(void *context, uint64_t durable)
{
    ((writer *)context)->durable = durable;
}

static void on_failed(void *context, const tr_error *error)
{
    (void)context;
    fail_msg("%s", error->text);
}

static void put_record(writer *w, tr__tx_record type, tr__tx_buffer *record)
{
    tr__iov iov = {record->bytes, record->length};
    struct pollfd ready = {.fd = w->m.wakes[0], .events = POLLIN};
    uint64_t lsn;
    char bytes[64];
    while (tr__log_append(w->log, (uint8_t)type, false, &iov, 1, &lsn, &w->m.error) != TR_OK) {
        assert_int_equal(w->m.error.code, TR_EAGAIN);
        poll(&ready, 1, 1000);
        while (read(w->m.wakes[0], bytes, sizeof bytes) > 0) {
        }
        tr__log_poll(w->log);
    }
    tr__tx_buffer_free(record);
    if (tr__log_force(w->log, lsn))
        return;
    for (int i = 0; i < 100 && w->durable < lsn; i++) {
        poll(&ready, 1, 1000);
        while (read(w->m.wakes[0], bytes, sizeof bytes) > 0) {
        }
        tr__log_poll(w->log);
    }
    assert_true(w->durable >= lsn);
}

/* A log of so many transactions, several segments of it. */
static void write_log(uint64_t count)
{
    static const tr__log_upcalls upcalls = {.record = on_record, .forced = on_forced, .failed = on_failed};
    writer w = {0};
    tr__log_store *store = open_store(&w.m);
    tr__tx_buffer record = {0};
    assert_non_null(store);
    w.log = tr__log_open(store, &small, NULL, &upcalls, &w, &w.m.error);
    assert_non_null(w.log);
    tr__tx_put_text(&record, "n");
    put_record(&w, TR__RECORD_NAME, &record);
    for (uint64_t n = 1; n <= count; n++) {
        commit_record(&record, n);
        put_record(&w, TR__RECORD_COMMIT, &record);
    }
    assert_true(tr__log_closed_of(w.log).count >= small.closed);
    tr__log_close(w.log);
    close(w.m.wakes[0]);
    close(w.m.wakes[1]);
}

/* Whether the participant has what `count` transactions left, and all of their outcomes are known. */
static bool has_all(const machine *m, uint64_t count)
{
    const tr__store *a = tr__tx_state(m->tx, "a");
    uint64_t last[KEYS] = {0};
    for (uint64_t n = 1; n <= count; n++)
        last[n * 7 % KEYS] = n;
    for (unsigned k = 0; k < KEYS; k++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", k);
        const tr__kv *kv = a ? tr__store_get(a, key, strlen(key)) : NULL;
        if (last[k] % 11 == 0 ? kv != NULL : !kv || strtoull(tr__kv_value(kv), NULL, 10) != last[k])
            return false;
    }
    return HASH_COUNT(m->tx->outcomes) == count;
}

#define COUNT 800u

/* A log whose first segments are gone, and their snapshot. */
static void snapshot_taken(void)
{
    machine m;
    write_log(COUNT);
    if (!start(&m))
        fail_msg("%s", m.error.text);
    assert_true(has_all(&m, COUNT));
    wait_for_snapshots(&m, 1);
    stop(&m);
}

static uint8_t *read_file(const char *name, size_t *size)
{
    struct stat info;
    int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &info) == 0);
    uint8_t *bytes = malloc((size_t)info.st_size + 1);
    assert_int_equal(read(fd, bytes, (size_t)info.st_size), info.st_size);
    close(fd);
    *size = (size_t)info.st_size;
    return bytes;
}

static void write_file(const char *name, const uint8_t *bytes, size_t size)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void what_went_with_its_segments_comes_back_from_the_snapshot(void **state)
{
    machine m;
    struct stat info;
    (void)state;
    snapshot_taken();
    assert_int_equal(stat(path_of("n.txlog"), &info), 0);
    assert_int_equal(info.st_size, TR__LOG_DATA_AT);
    assert_int_equal(stat(path_of("n.txsnap"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_true(access(path_of("n.txlog.2"), F_OK) != 0 && errno == ENOENT);
    for (int i = 0; i < 3; i++) {
        if (!start(&m))
            fail_msg("%s", m.error.text);
        assert_true(has_all(&m, COUNT));
        stop(&m);
    }
}

static void a_file_that_is_missing_is_named(void **state)
{
    machine m;
    size_t size;
    char name[32];
    (void)state;
    snapshot_taken();
    uint8_t *bytes = read_file("n.txsnap", &size);
    unlink(path_of("n.txsnap"));
    assert_false(start(&m));
    assert_int_equal(m.error.code, TR_EMISMATCH);
    assert_non_null(strstr(m.error.text, "the newest snapshot is missing"));
    write_file("n.txsnap", bytes, size);
    free(bytes);
    bytes = read_file("n.txlog", &size);
    unlink(path_of("n.txlog"));
    assert_false(start(&m));
    assert_int_equal(m.error.code, TR_EMISMATCH);
    assert_non_null(strstr(m.error.text, "n.txlog is missing"));
    assert_true(access(path_of("n.txlog"), F_OK) != 0);
    write_file("n.txlog", bytes, size);
    free(bytes);
    for (uint32_t segment = 3; segment < 20; segment++) { /* all others: the newest ones */
        snprintf(name, sizeof name, "n.txlog.%u", segment);
        unlink(path_of(name));
    }
    assert_false(start(&m));
    assert_int_equal(m.error.code, TR_EMISMATCH);
    assert_non_null(strstr(m.error.text, "n.txlog"));
}

/* Nothing that SQLite makes of a wrong byte goes unseen: fewer rows, other rows, none. */
static void a_damaged_snapshot_is_refused_or_whole(void **state)
{
    machine m;
    size_t size;
    unsigned refused = 0, whole = 0;
    (void)state;
    snapshot_taken();
    uint8_t *bytes = read_file("n.txsnap", &size);
    for (size_t at = 0; at < size; at += at < 100 ? 3 : 307) {
        bytes[at] ^= (uint8_t)(1u << at % 8);
        write_file("n.txsnap", bytes, size);
        bytes[at] ^= (uint8_t)(1u << at % 8);
        if (start(&m)) {
            if (!has_all(&m, COUNT))
                fail_msg("byte %zu: not all is there, without a word", at);
            whole++;
            stop(&m);
            continue;
        }
        refused++;
        if (m.error.code != TR_EMISMATCH || !strstr(m.error.text, "n.txsnap") ||
            !strstr(m.error.text, "offset"))
            if (!strstr(m.error.text, "the newest snapshot is missing") && m.error.code != TR_EIO)
                fail_msg("byte %zu: %s", at, m.error.text);
    }
    for (size_t cut = 0; cut < size; cut += 2039) {
        write_file("n.txsnap", bytes, cut);
        if (start(&m)) {
            if (!has_all(&m, COUNT))
                fail_msg("cut at %zu: not all is there, without a word", cut);
            stop(&m);
        }
    }
    free(bytes);
    assert_true(refused > whole);
}

static void a_kill_while_a_snapshot_is_taken_loses_nothing(void **state)
{
    machine m;
    (void)state;
    write_log(COUNT);
    for (unsigned i = 0; i < 12; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) { /* the signal ends it at once, wherever it is, as SIGKILL would */
            const struct itimerval soon = {.it_value = {.tv_usec = 1 + 2000 * (long)(i * i)}};
            setitimer(ITIMER_REAL, &soon, NULL);
            if (!start(&m))
                _exit(1);
            wait_for_snapshots(&m, 1);
            for (;;)
                pause();
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        if (!start(&m))
            fail_msg("after kill %u: %s", i, m.error.text);
        assert_true(has_all(&m, COUNT));
        stop(&m);
    }
}

static bool has_row(tr__snap_store *rows, const char *key, tr_err *code)
{
    tr_error error;
    tr_bytes value;
    *code = rows->get(rows, (tr_bytes){key, strlen(key)}, &value, &error);
    return *code == TR_OK && value.data;
}

/* Between its being written back and opened anew: there may be no memory, no descriptor, or somebody looks at the file. */
static void rows_that_could_not_be_opened_again_are_not_taken_for_none(void **state)
{
    char path[128], away[128];
    tr_error error;
    tr_err code;
    (void)state;
    snprintf(path, sizeof path, "%s", path_of("n.txsnap"));
    snprintf(away, sizeof away, "%s", path_of("away"));
    tr__snap_store *rows = tr__snap_store_open_os(path, wake, NULL, &error);
    assert_non_null(rows);
    assert_int_equal(rows->put(rows, (tr_bytes){"k", 1}, (tr_bytes){"v", 1}, &error), TR_OK);
    assert_int_equal(rows->commit(rows, &error), TR_OK);
    assert_int_equal(rename(path, away), 0);
    assert_int_not_equal(rows->seal(rows, &error), TR_OK);
    rows->rollback(rows);
    assert_false(has_row(rows, "k", &code));
    assert_int_not_equal(code, TR_OK);
    assert_int_not_equal(rows->each(rows, NULL, NULL, &error), TR_OK);
    assert_int_equal(rename(away, path), 0);
    assert_true(has_row(rows, "k", &code));
    assert_int_equal(rows->seal(rows, &error), TR_OK);
    assert_true(has_row(rows, "k", &code));
    rows->close(rows);
}

/* A segment that were made anew for that would take the place of the one that is open. */
static void a_segment_that_is_there_has_its_size_also_without_memory(void **state)
{
    machine m = {0};
    (void)state;
    write_log(COUNT);
    tr__log_store *store = open_store(&m);
    assert_non_null(store);
    tr__alloc_fail_at(1);
    uint64_t size = store->size(store, 2);
    tr__alloc_fail_at(0);
    assert_true(size > TR__LOG_DATA_AT);
    store->close(store);
    close(m.wakes[0]);
    close(m.wakes[1]);
}

/* A quota, as a limit on the size of files is one: SQLite calls it an error of the disk. */
static void a_file_that_may_not_grow_is_a_full_disk(void **state)
{
    static const uint8_t value[100000];
    struct rlimit before, quota = {.rlim_cur = 300000};
    tr_error error;
    tr_err code = TR_OK;
    (void)state;
    tr__snap_store *rows = tr__snap_store_open_os(path_of("n.txsnap"), wake, NULL, &error);
    assert_non_null(rows);
    assert_int_equal(rows->put(rows, (tr_bytes){"k", 1}, (tr_bytes){"v", 1}, &error), TR_OK);
    assert_int_equal(rows->commit(rows, &error), TR_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    quota.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &quota), 0);
    for (unsigned i = 0; i < 8 && code == TR_OK; i++)
        code = rows->put(rows, (tr_bytes){&i, sizeof i}, (tr_bytes){value, sizeof value}, &error);
    if (code == TR_OK)
        code = rows->commit(rows, &error);
    rows->rollback(rows);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(code, TR_ENOSPC);
    assert_true(has_row(rows, "k", &code));
    assert_int_equal(rows->put(rows, (tr_bytes){"l", 1}, (tr_bytes){value, sizeof value}, &error), TR_OK);
    assert_int_equal(rows->commit(rows, &error), TR_OK);
    assert_int_equal(rows->seal(rows, &error), TR_OK);
    assert_true(has_row(rows, "l", &code));
    rows->close(rows);
}

/* ---- no descriptors ------------------------------------------------------------------------------------ */

/* It is put off, and the log gets longer meanwhile. */
static void a_snapshot_that_cant_be_opened_is_taken_later(void **state)
{
    (void)state;
    for (rlim_t opens = 0; opens < 5; opens++) {
        machine m;
        assert_int_equal(over(NULL), 0);
        assert_int_equal(mkdir(directory, 0700), 0);
        write_log(COUNT);
        assert_true(start(&m));
        struct rlimit before = descriptors(opens);
        for (int i = 0; i < 1000 && (i == 0 || m.tx->snapshot); i++) {
            tr__tx_poll(m.tx);
            poll(NULL, 0, 1);
        }
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_string_equal(fatal.text, "");
        later_ns += TR_SECONDS(11);
        wait_for_snapshots(&m, 1);
        stop(&m);
        assert_true(start(&m));
        assert_true(has_all(&m, COUNT));
        stop(&m);
    }
}

#define MANY 20000u

static atomic_uint rows_seen;

static tr_err slow_row(void *context, tr_bytes key, tr_bytes value, tr_error *error)
{
    static uint8_t much[1u << 20]; /* to look at: a second or more for all rows */
    static volatile uint32_t crc;
    (void)context, (void)key, (void)value, (void)error;
    atomic_fetch_add(&rows_seen, 1);
    crc = tr__crc32c(crc, much, sizeof much);
    return TR_OK;
}

static bool look_at_all(void *context)
{
    tr_error error;
    tr__snap_store *rows = context;
    rows->each(rows, slow_row, NULL, &error);
    return false;
}

/* A node that stops doesn't wait until all of a large snapshot was looked at. */
static void a_close_ends_a_look_at_all_rows(void **state)
{
    int wakes[2];
    tr_error error;
    (void)state;
    assert_int_equal(pipe2(wakes, O_CLOEXEC | O_NONBLOCK), 0);
    tr__snap_store *rows = tr__snap_store_open_os(path_of("n.txsnap"), wake, wakes, &error);
    assert_non_null(rows);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(rows->put(rows, (tr_bytes){&i, sizeof i}, (tr_bytes){"v", 1}, &error), TR_OK);
    assert_int_equal(rows->commit(rows, &error), TR_OK);
    atomic_store(&rows_seen, 0);
    assert_true(rows->begin(rows, look_at_all, rows));
    while (!atomic_load(&rows_seen))
        sched_yield();
    rows->close(rows);
    assert_in_range(atomic_load(&rows_seen), 1, MANY - 1);
    close(wakes[0]);
    close(wakes[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, over)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_went_with_its_segments_comes_back_from_the_snapshot),
        TEST(a_file_that_is_missing_is_named),
        TEST(a_damaged_snapshot_is_refused_or_whole),
        TEST(a_kill_while_a_snapshot_is_taken_loses_nothing),
        TEST(rows_that_could_not_be_opened_again_are_not_taken_for_none),
        TEST(a_segment_that_is_there_has_its_size_also_without_memory),
        TEST(a_close_ends_a_look_at_all_rows),
        TEST(a_file_that_may_not_grow_is_a_full_disk),
        TEST(a_snapshot_that_cant_be_opened_is_taken_later),
    };
    return cmocka_run_group_tests_name("tx_snap_file", tests, NULL, NULL);
}
