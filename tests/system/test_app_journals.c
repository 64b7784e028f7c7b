/* An app and its journal's file: torn, damaged, not to be had; its children; its options. One node, libuv,
 * real files; the peer is the test itself. */
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

#include "tests/kit/app_peer.h"

/* ---- journals and children ----------------------------------------------------------------------------- */

static size_t journal_size;

static void journal_write(size_t size, size_t damage)
{
    uint8_t bytes[1000];
    FILE *file = fopen(journal_path, "wb");
    journal_size = entry(bytes, 1, "a1", "one");
    journal_size += entry(bytes + journal_size, 2, "b1", "two");
    size_t all = journal_size + entry(bytes + journal_size, 3, "a1", "three");
    if (damage)
        bytes[damage] ^= 4;
    assert_non_null(file);
    assert_int_equal(size ? size : all, fwrite(bytes, 1, size ? size : all, file));
    fclose(file);
}

static tr_err torn(tr_actor *self, void *arg)
{
    const tr_app_welcome *w;
    const tr_app_status *s;
    struct stat st;
    (void)arg;
    tr_addr app = start_passive(self, journal_path);
    TR_TRY(hello(self, app, 2, &w));
    EXPECT(self, w->last == 2);
    TR_TRY(status(self, app, true, &s));
    EXPECT(self, s->own == 1 && s->other == 1);
    EXPECT(self, stat(journal_path, &st) == 0 && (size_t)st.st_size == journal_size);
    return TR_OK;
}

static void a_torn_last_entry_is_cut(void **state)
{
    (void)state;
    journal_write(0, 0);
    size_t all = journal_size;
    for (size_t extra = 1; extra < 80; extra += 11) {
        journal_write(all + extra, 0);
        run(torn);
    }
}

static tr_err refused(tr_actor *self, void *arg)
{
    const tr_app_status *s;
    (void)arg;
    tr_addr app = start_passive(self, journal_path);
    EXPECT(self, status(self, app, true, &s) == TR_EMISMATCH);
    EXPECT_TEXT(self, "app bob (b1) could not talk properly to its peer: journal /tmp/test_app.");
    EXPECT_TEXT(self, "at byte 0, ");
    EXPECT_TEXT(self, "replace the file by a copy of the peer's journal");
    return TR_OK;
}

static void a_damaged_journal_is_refused_with_file_and_offset(void **state)
{
    struct stat st;
    (void)state;
    journal_write(0, 10);
    assert_int_equal(0, stat(journal_path, &st));
    off_t before = st.st_size;
    run(refused);
    assert_int_equal(0, stat(journal_path, &st));
    assert_int_equal(before, st.st_size);
}

static tr_err shared(tr_actor *self, void *arg)
{
    const tr_app_status *s;
    const tr_app_welcome *w;
    (void)arg;
    tr_addr first = start_passive(self, journal_path);
    TR_TRY(hello(self, first, 0, &w));
    EXPECT(self, status(self, start_passive(self, journal_path), true, &s) == TR_EEXIST);
    EXPECT_TEXT(self, "another app uses it");
    EXPECT(self, status(self, start_passive(self, "/nonexistent/journal"), true, &s) == TR_ENOTFOUND);
    EXPECT_TEXT(self, "make its directory first");
    EXPECT(self, status(self, start_passive(self, dir), true, &s) != TR_OK);
    return TR_OK;
}

static void a_journal_that_can_t_be_had_is_told(void **state)
{
    (void)state;
    run(shared);
}

static void fail_on_any(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state, (void)msg;
    tr_exit(self, TR_EAPP, "broken");
}
TR_ACTOR(child_def, .receive = fail_on_any);

static tr_err children(tr_actor *self, void *arg)
{
    uint64_t monitors[2];
    const tr_app_owned *owned;
    const tr_app_status *s;
    const tr_msg *msg;
    tr_addr child[2];
    (void)arg;
    tr_addr app = start_passive(self, "");
    for (int i = 0; i < 2; i++) {
        child[i] = tr_spawn_with(self, &child_def, NULL, &(tr_spawn_opts){.monitor = &monitors[i]});
        TR_TRY(tr_await(self, tr_ask(self, app, SOON, tr_app_own, .actor = child[i]), tr_app_owned, &owned));
        EXPECT(self, owned->children == (uint64_t)i + 1);
    }
    tr_send(self, child[0], tr_app_again, .spare = 0);
    const tr_down *down = NEXT(self, tr_down, &msg);
    EXPECT(self, down && down->monitor == monitors[0]);
    while (status(self, app, false, &s) == TR_OK && s->children > 1)
        ;
    EXPECT(self, s->children == 1); /* the app goes on */
    tr_stop(self, app, TR_EXIT_SHUTDOWN);
    down = NEXT(self, tr_down, &msg);
    EXPECT(self, down && down->monitor == monitors[1]);
    return TR_OK;
}

static void children_end_with_the_app_and_not_it_with_them(void **state)
{
    (void)state;
    run(children);
}

static tr_err bad_opts(tr_actor *self, void *arg)
{
    (void)arg;
    EXPECT(self, tr_await_msg(self, tr_spawn_ask(self, &tr_app, NULL, NULL), NULL) == TR_EINVAL);
    tr_app_opts opts = {.name = "alice", .id = "not good"};
    EXPECT(self, tr_await_msg(self, tr_spawn_ask(self, &tr_app, &opts, NULL), NULL) == TR_EINVAL);
    opts = (tr_app_opts){.name = "", .id = "a1"};
    EXPECT(self, tr_await_msg(self, tr_spawn_ask(self, &tr_app, &opts, NULL), NULL) == TR_EINVAL);
    EXPECT_TEXT(self, "an app's name has 1 to 63 bytes");
    return TR_OK;
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    run(bad_opts);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, app_peer_setup, app_peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_torn_last_entry_is_cut),
        TEST(a_damaged_journal_is_refused_with_file_and_offset),
        TEST(a_journal_that_can_t_be_had_is_told),
        TEST(children_end_with_the_app_and_not_it_with_them),
        TEST(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
