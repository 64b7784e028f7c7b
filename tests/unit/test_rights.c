/* Rights of peers: patterns, entries, the file of --allow, and the token bucket that bounds a peer's bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/remote/rights.h"
#include "actors/remote/rights_file_os.h"
#include "transport/quota.h"

static void a_star_stands_for_any_characters(void **state)
{
    (void)state;
    assert_true(tr__pattern_fits("*", ""));
    assert_true(tr__pattern_fits("*", "anything"));
    assert_true(tr__pattern_fits("a*c", "abbbc"));
    assert_true(tr__pattern_fits("a*b*c", "a-b-b-c"));
    assert_true(tr__pattern_fits("job-*", "job-"));
    assert_true(tr__pattern_fits("*ab", "aab"));
    assert_false(tr__pattern_fits("job-*", "job"));
    assert_false(tr__pattern_fits("a*c", "abcd"));
    assert_false(tr__pattern_fits("", "a"));
    assert_false(tr__pattern_fits("a", ""));
    assert_false(tr__pattern_fits("a?c", "abc"));
}

static void a_peer_s_own_entry_counts_then_the_default_s_then_none(void **state)
{
    static const tr_rights some[] = {{.may = TR_MAY_LINK}, {.peer = "bob", .may = TR_MAY_STOP}};
    tr_node *node = calloc(1, sizeof(*node));
    (void)state;
    assert_int_equal(tr__rights_of(node, "bob")->may, TR_MAY_ALL);
    assert_null(tr__rights_of(node, "bob")->spawn);
    node->opts.rights = some;
    node->opts.rights_count = 2;
    assert_int_equal(tr__rights_of(node, "bob")->may, TR_MAY_STOP);
    assert_int_equal(tr__rights_of(node, "carol")->may, TR_MAY_LINK);
    node->opts.rights = &some[1];
    node->opts.rights_count = 1;
    assert_int_equal(tr__rights_of(node, "carol")->may, 0);
    free(node);
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static tr__rights_file *read_text(const char *text, tr_error *error)
{
    char path[] = "/tmp/troupe-rights-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    tr__rights_file *file = tr__rights_file_read(path, error);
    unlink(path);
    if (!file && strncmp(error->text, path, strlen(path)) == 0)
        memmove(error->text, error->text + strlen(path), strlen(error->text + strlen(path)) + 1);
    return file;
}

static void a_file_has_an_entry_for_each_peer(void **state)
{
    (void)state;
    tr_error error;
    uint32_t count;
    tr__rights_file *file = read_text("# what peers may do\n"
                                      "bob:\n"
                                      "  may: [send, link, stop, transact, subscribe]\n"
                                      "  names: [\"*\"]\n"
                                      "  spawn: [worker, \"job-*\"]\n"
                                      "  spawn_max: 10\n"
                                      "  rate: 10M\n"
                                      "  burst: 64K\n"
                                      "default:\n"
                                      "  names: [public]\n",
                                      &error);
    assert_non_null(file);
    const tr_rights *r = tr__rights_file_entries(file, &count);
    assert_int_equal(count, 2);
    assert_string_equal(r[0].peer, "bob");
    assert_int_equal(r[0].may, TR_MAY_ALL);
    assert_string_equal(r[0].names[0], "*");
    assert_null(r[0].names[1]);
    assert_string_equal(r[0].spawn[1], "job-*");
    assert_null(r[0].spawn[2]);
    assert_int_equal(r[0].spawn_max, 10);
    assert_int_equal(r[0].rate, 10u << 20);
    assert_int_equal(r[0].burst, 64u << 10);
    assert_null(r[1].peer);
    assert_int_equal(r[1].may, 0);
    assert_string_equal(r[1].names[0], "public");
    tr__rights_file_free(file);
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"bob:\n  may: [sned]\n", ":2:9: may: there is no \"sned\" here; known are: send, link, stop"},
        {"bob:\n  maybe: [send]\n", ":2:3: there is no key \"maybe\" here; known are: may, names, spawn"},
        {"bob:\n  may: send\n", ":2:8: may: a list is needed"},
        {"bob:\n  rate: fast\n", ":2:9: rate: a number from 16384 to"},
        {"bob:\n  rate: 10\n", ":2:9: rate: a number from 16384 to"},
        {"bob:\n  spawn_max: 99999\n", ":2:14: spawn_max: a number from 1 to 3000"},
        {"bob:\n  names: [\"\"]\n", ":2:11: names: names of 1 to 63 bytes are needed"},
        {"bob:\n  may: [send]\n  may: [link]\n", ":3:3: a second \"may\""},
        {"bob:\n  may: [send]\nbob:\n  may: [link]\n", ":3:1: rights: a second entry for bob"},
        {"b/b:\n  may: [send]\n", ":1:1: "},
        {"- bob\n", ":1:1: names of nodes are needed"},
        {"", ":1:1: names of nodes are needed"},
        {"bob: [\n", ":2:1: "},
        {"bob: {}\n---\ncarol: {}\n", ":3:1: a second document"},
        {"bob: 7\n", ":1:6: what a peer may is needed here"},
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        tr_error error = {0};
        tr__rights_file *file = read_text(rows[i].text, &error);
        if (file || strncmp(error.text, rows[i].says, strlen(rows[i].says)) != 0)
            fail_msg("row %zu: %s", i, file ? "taken" : error.text);
        assert_int_equal(error.code, TR_EINVAL);
    }
}

/* `count` times `before`, and with an `after` the number and that. */
static char *repeated(const char *before, const char *after, int count)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (int i = 0; i < count; i++) {
        fputs(before, out);
        if (after)
            fprintf(out, "%d%s", i, after);
    }
    fclose(out);
    return text;
}

static void a_file_that_would_take_long_is_refused_at_once(void **state)
{
    static const struct {
        const char *before, *after;
        int count;
        const char *says;
    } rows[] = {
        {"[", NULL, 1000 * 1000, ":1:33: nested too deep: 32 lists"},
        {"- ", NULL, 500 * 1000, ":1:65: nested too deep: 32 lists"},
        {"? ", NULL, 500 * 1000, ":1:65: nested too deep: 32 lists"},
        {"- &a", " x\n", 80 * 1000, ":1001:3: too many anchors and aliases"},
        {"a", ": {}\n", 80 * 1000, ":4001:1: rights: more than 4000 entries"},
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        tr_error error = {0};
        char *text = repeated(rows[i].before, rows[i].after, rows[i].count);
        assert_null(read_text(text, &error));
        if (strncmp(error.text, rows[i].says, strlen(rows[i].says)) != 0)
            fail_msg("row %zu: %s", i, error.text);
        free(text);
    }
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    tr_error error;
    assert_null(tr__rights_file_read("/nowhere/rights.yaml", &error));
    assert_int_equal(error.code, TR_ENOTFOUND);
    assert_non_null(strstr(error.text, "/nowhere/rights.yaml: "));
}

static void a_node_reads_its_file_and_refuses_a_bad_one(void **state)
{
    char path[] = "/tmp/troupe-rights-XXXXXX";
    int fd = mkstemp(path);
    (void)state;
    tr_error error;
    assert_int_equal(write(fd, "bob: {may: [fly]}\n", 18), 18);
    assert_null(tr_node_create(&(tr_node_opts){.name = "a", .allow = path}, &error));
    assert_int_equal(error.code, TR_EINVAL);
    assert_non_null(strstr(error.text, ":1:13: may: there is no \"fly\" here"));
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "bob: {may: [send]}\n", 19, 0), 19);
    tr_node *node = tr_node_create(&(tr_node_opts){.name = "a", .allow = path}, &error);
    assert_non_null(node);
    assert_int_equal(tr__rights_of(node, "bob")->may, TR_MAY_SEND);
    tr_node_destroy(node);
    close(fd);
    unlink(path);
}

/* ---- the token bucket ---------------------------------------------------------------------------------- */

static void a_bucket_gives_what_it_has_and_fills_by_its_rate(void **state)
{
    (void)state;
    tr__quota q;
    uint64_t now = 1000000000;
    tr__quota_init(&q, 1000, 500, now);
    assert_int_equal(tr__quota_take(&q, 200, now), 200);
    assert_int_equal(tr__quota_take(&q, 400, now), 300);
    assert_int_equal(tr__quota_take(&q, 1, now), 0);
    assert_in_range(tr__quota_due(&q, 100), now + 100000000, now + 100000001);
    assert_int_equal(tr__quota_take(&q, 1000, now + 100000000), 100);
    assert_int_equal(tr__quota_take(&q, 1000, now + 10000000000), 500); /* no more than it holds */
}

/* However often it is looked at, nothing is lost to rounding. */
static void a_bucket_that_is_looked_at_often_gives_as_much(void **state)
{
    (void)state;
    tr__quota q;
    uint64_t taken = 0;
    tr__quota_init(&q, 16384, 100, 0);
    taken += tr__quota_take(&q, 100, 0) - 100;
    for (uint64_t now = 0; now <= 1000000000; now += 1777)
        taken += tr__quota_take(&q, 1000, now);
    assert_in_range(taken, 16382, 16384);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_star_stands_for_any_characters),
        cmocka_unit_test(a_peer_s_own_entry_counts_then_the_default_s_then_none),
        cmocka_unit_test(a_file_has_an_entry_for_each_peer),
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(a_file_that_would_take_long_is_refused_at_once),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(a_node_reads_its_file_and_refuses_a_bad_one),
        cmocka_unit_test(a_bucket_gives_what_it_has_and_fills_by_its_rate),
        cmocka_unit_test(a_bucket_that_is_looked_at_often_gives_as_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
