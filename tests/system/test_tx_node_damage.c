/* A real node whose log file has a wrong byte, or ends too soon: it starts with all that was committed, or says which
 * file is damaged where. A few hundred places; test_tx_damage.c has all, in memory. */
#include <fcntl.h>
#include <inttypes.h>
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

#include <troupe/node.h>
#include <troupe/troupe.h>

/* ---- the node ------------------------------------------------------------------------------------------ */

TR_MESSAGE(credit, TR_WRITES, (i64, amount))
TR_MESSAGE(get_balance)
TR_MESSAGE(balance_is, (i64, amount))

static tr_err account(tr_txview *v, void *state, const tr_msg *msg)
{
    const credit *c = tr_match(msg, credit);
    int64_t balance = tr_view_i64(v, "balance", 0);
    (void)state;
    return c ? tr_view_put_i64(v, "balance", balance + c->amount)
             : tr_view_reply(v, balance_is, .amount = balance);
}
TR_ACTOR(account_def, .transact = account);

static tr_err credit_both(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    (void)arg;
    TR_TRY(tr_tx_await(tx, "one", credit, .amount = 1));
    return tr_tx_await(tx, "two", credit, .amount = 10);
}

static tr_err read_both(tr_actor *self, tr_tx *tx, void *arg)
{
    int64_t *sum = arg;
    const balance_is *is;
    (void)self;
    TR_TRY(tr_tx_await_reply(tx, "one", balance_is, &is, get_balance));
    *sum = is->amount;
    TR_TRY(tr_tx_await_reply(tx, "two", balance_is, &is, get_balance));
    *sum += is->amount;
    return TR_OK;
}

static tr_err spawn_both(tr_actor *self)
{
    static const char *const names[] = {"one", "two"};
    for (int i = 0; i < 2; i++)
        if (tr_addr_is_none(tr_spawn_with(self, &account_def, NULL, &(tr_spawn_opts){.name = names[i]})))
            return tr_last_error(self)->code;
    return TR_OK;
}

static tr_err run(tr_actor *self, tr_tx_body body, void *arg)
{
    tr_tx_outcome out = tr_tx_run(self, body, arg, NULL);
    return out.status == TR_TX_COMMITTED ? TR_OK : tr_fail(self, TR_EAPP, "not committed: %s", out.text);
}

#define TIMES 20

static tr_err write_some(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(spawn_both(self));
    for (int i = 0; i < TIMES; i++)
        TR_TRY(run(self, credit_both, NULL));
    return TR_OK;
}

static tr_err look(tr_actor *self, void *arg)
{
    TR_TRY(spawn_both(self));
    return run(self, read_both, arg);
}

static tr_err node(const char *directory, tr_err (*start)(tr_actor *self, void *arg), void *arg,
                   tr_error *error)
{
    tr_node_opts opts = {.name = "alice", .data = directory, .start = start, .arg = arg, .loops = 1};
    tr_node *n = tr_node_create(&opts, error);
    tr_err err = n ? tr_node_run(n, error) : error->code;
    tr_node_destroy(n);
    return err;
}

/* ---- its file ------------------------------------------------------------------------------------------ */

#define DATA_AT 12288 /* where records begin */

typedef struct fixture {
    char directory[64], path[96];
    int fd;
    uint8_t bytes[64 * 1024]; /* the file's beginning; behind it are zeros */
    off_t size;
    size_t used;
} fixture;

static int setup(void **state)
{
    static fixture f;
    tr_error error = {0};
    struct stat file;
    snprintf(f.directory, sizeof(f.directory), "/tmp/troupe-damage-XXXXXX");
    assert_non_null(mkdtemp(f.directory));
    snprintf(f.path, sizeof(f.path), "%s/alice.txlog", f.directory);
    if (node(f.directory, write_some, NULL, &error) != TR_OK)
        fail_msg("%s", error.text);
    f.fd = open(f.path, O_RDWR | O_CLOEXEC);
    assert_int_equal(0, fstat(f.fd, &file));
    f.size = file.st_size;
    assert_int_equal(sizeof(f.bytes), pread(f.fd, f.bytes, sizeof(f.bytes), 0));
    for (f.used = sizeof(f.bytes); !f.bytes[f.used - 1];)
        f.used--;
    assert_in_range(f.used, DATA_AT + TIMES * 48, sizeof(f.bytes) - 1); /* all is in what was read */
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    close(f->fd);
    unlink(f->path);
    return rmdir(f->directory);
}

/* True: it started, with all. False: it refused, and said which file is damaged where. Then the file is as it was. */
static bool starts_whole(fixture *f, size_t at)
{
    tr_error error = {0};
    int64_t sum = 0;
    tr_err err = node(f->directory, look, &sum, &error);
    if (err == TR_OK && sum != TIMES * 11)
        fail_msg("byte %zu: it started with %" PRId64 " instead of %d", at, sum, TIMES * 11);
    if (err != TR_OK && err != TR_EMISMATCH && err != TR_EVERSION)
        fail_msg("byte %zu: refused as %d: %s", at, err, error.text);
    if (err != TR_OK &&
        (!strstr(error.text, "alice.txlog") || (err == TR_EMISMATCH && !strstr(error.text, "offset"))))
        fail_msg("byte %zu: the refusal doesn't say where: %s", at, error.text);
    assert_int_equal(0, ftruncate(f->fd, f->size));
    assert_int_equal(sizeof(f->bytes), pwrite(f->fd, f->bytes, sizeof(f->bytes), 0));
    return err == TR_OK;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void a_flipped_byte_is_harmless_or_refused_by_file_and_offset(void **state)
{
    fixture *f = *state;
    unsigned refused = 0, places = 0;
    assert_true(starts_whole(f, 0));
    for (size_t at = 0; at < f->used; at += at < DATA_AT ? 419 : 37) {
        uint8_t wrong = f->bytes[at] ^ (uint8_t)(1u << at % 8);
        assert_int_equal(1, pwrite(f->fd, &wrong, 1, (off_t)at));
        bool whole = starts_whole(f, at);
        if (whole && at >= DATA_AT)
            fail_msg("byte %zu of a record is wrong, and it started", at);
        refused += !whole;
        places++;
    }
    assert_true(places > 80 && refused > 50);
}

static void a_file_that_was_cut_is_refused_by_file_and_offset(void **state)
{
    fixture *f = *state;
    for (size_t size = 0; size < f->used; size += size < DATA_AT ? 1571 : 101) {
        assert_int_equal(0, ftruncate(f->fd, (off_t)size));
        if (starts_whole(f, size))
            fail_msg("cut at %zu of %zu, and it started", size, f->used);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_byte_is_harmless_or_refused_by_file_and_offset),
        cmocka_unit_test(a_file_that_was_cut_is_refused_by_file_and_offset),
    };
    return cmocka_run_group_tests_name("tx_node_damage", tests, setup, teardown);
}
