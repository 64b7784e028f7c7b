/* The copy of a log under its node's feet (cli/tx/copy.h): what was forced before a moment, while the slots say of what came
 * after it. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/tx/log.h"
#include "cli/tx/copy.h"

static char directory[64];

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/troupe-txcopy-XXXXXX");
    assert_non_null(mkdtemp(directory));
    return 0;
}

static int remove_directory(void **state)
{
    char command[96];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

/* ---- a log --------------------------------------------------------------------------------------------- */

static tr_err record(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
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

static void wake(void *context)
{
    (void)context;
}

/* Each is forced alone, so both slots are written. */
static void append(tr__log *log, int count)
{
    static const char bytes[300];
    const tr__iov iov = {bytes, sizeof bytes};
    tr_error error;
    for (int i = 0; i < count; i++) {
        uint64_t lsn;
        assert_int_equal(TR_OK, tr__log_append(log, 1, false, &iov, 1, &lsn, &error));
        tr__log_force(log, lsn);
        while (tr__log_durable(log) < lsn) {
            poll(NULL, 0, 1);
            tr__log_poll(log);
        }
    }
}

/* "n.txlog": 20 records, and 20 more; where it was between. */
static tr__log_settled make_log(void)
{
    static const tr__log_upcalls upcalls = {.record = record, .forced = forced, .failed = failed};
    char path[PATH_MAX];
    tr_error error;
    tr__log_store *store = tr__log_store_open_os(tx_path_of(directory, "n.txlog", path), wake, NULL, &error);
    assert_non_null(store);
    tr__log *log = tr__log_open(store, NULL, NULL, &upcalls, NULL, &error);
    assert_non_null(log);
    append(log, 20);
    tr__log_settled between = tr__log_settled_of(log);
    append(log, 20);
    tr__log_close(log);
    return between;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void a_copy_up_to_a_moment_is_whole_when_both_slots_say_that_moment(void **state)
{
    (void)state;
    char copies[PATH_MAX], path[PATH_MAX];
    tr_error error;
    tr__log_settled then = make_log();
    tx_file file = {.name = "n.txlog"};
    tx_path_of(directory, "copy", copies);
    tx_path_of(copies, file.name, path);
    assert_int_equal(0, mkdir(copies, 0700));
    assert_int_equal(TR_OK, tx_copy(directory, copies, &file, then.end, NULL, NULL, &error));
    assert_int_equal(then.end, file.bytes);
    assert_int_not_equal(TR_OK, tx_verify(copies, "n", then.lsn, &error)); /* they say more than is there */
    assert_int_equal(TR_OK, tx_set_slots(path, then.lsn, &error));
    assert_int_equal(TR_OK, tx_verify(copies, "n", then.lsn, &error));
    assert_int_equal(TR_EMISMATCH, tx_verify(copies, "n", then.lsn + 1, &error));
    assert_int_equal(TR_OK, tx_set_slots(path, then.lsn + 1, &error));
    assert_int_not_equal(TR_OK, tx_verify(copies, "n", then.lsn, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_copy_up_to_a_moment_is_whole_when_both_slots_say_that_moment,
                                        make_directory, remove_directory),
    };
    return cmocka_run_group_tests_name("tx_copy", tests, NULL, NULL);
}
