/* The judge of "append" (cli/tx/judge.h): of each anomaly a history that has it and no other, and the like of it that has
 * none. */
#include "tests/kit/judge_kit.h"

/* ---- circles of edges ----------------------------------------------------------------------------------- */

static void two_that_overwrite_each_other_in_both_orders_are_g0(void **state)
{
    static const row bad[] = {{1, 5, 'o', "ax1 ay1"}, {2, 6, 'o', "ax2 ay2"}, {7, 8, 'o', "rx1,2 ry2,1"}};
    static const row good[] = {{1, 5, 'o', "ax1 ay1"}, {2, 6, 'o', "ax2 ay2"}, {7, 8, 'o', "rx1,2 ry1,2"}};
    (void)state;
    EXPECT(bad, "G0", "(ww, ww)");
    EXPECT(bad, "G0", "ww line 2 appended to \"x\" before line 3 appended 2");
    EXPECT(good, "", NULL);
}

static void what_was_aborted_and_is_seen_is_g1a(void **state)
{
    static const row bad[] = {{1, 2, 'f', "ax1"}, {3, 4, 'o', "rx1"}};
    static const row good[] = {{1, 2, 'f', "ax1"}, {3, 4, 'o', "rx"}};
    static const row asked[] = {{1, 2, 'i', "ax1", .asked = {5}, .answers = "a"}, {3, 4, 'o', "rx1"}};
    (void)state;
    EXPECT(bad, "G1a", "line 4: it read 1 in \"x\", which line 2 appended, and that is aborted");
    EXPECT(good, "", NULL);
    EXPECT(asked, "G1a", "as who asked was told");
}

static void what_was_in_the_middle_of_another_is_g1b(void **state)
{
    static const row bad[] = {{1, 5, 'o', "ax1 ax2"}, {2, 6, 'o', "rx1"}};
    static const row good[] = {{1, 5, 'o', "ax1 ax2"}, {2, 6, 'o', "rx1,2"}, {2, 6, 'o', "rx"}};
    (void)state;
    EXPECT(bad, "G1b G-single", "the last that it read in \"x\" is 1, and line 2");
    EXPECT(good, "", NULL);
}

static void two_that_see_each_other_are_g1c(void **state)
{
    static const row bad[] = {{1, 5, 'o', "ax1 ry2"}, {2, 6, 'o', "ay2 rx1"}};
    static const row good[] = {{1, 5, 'o', "ax1 ry"}, {2, 6, 'o', "ay2 rx1"}};
    (void)state;
    EXPECT(bad, "G1c", "(wr, wr)");
    EXPECT(bad, "G1c", "wr line 2 appended 1 to \"x\", and line 3 read it");
    EXPECT(good, "", NULL);
}

static void one_that_sees_half_of_another_is_g_single(void **state)
{
    static const row bad[] = {{1, 5, 'o', "ax1 ay1"}, {2, 6, 'o', "rx ry1"}, {7, 8, 'o', "rx1"}};
    static const row good[] = {{1, 5, 'o', "ax1 ay1"}, {2, 6, 'o', "rx1 ry1"}, {7, 8, 'o', "rx1"}};
    (void)state;
    EXPECT(bad, "G-single", "(wr, rw)");
    EXPECT(bad, "G-single", "rw line 3 read \"x\" without the 1 that line 2 appended");
    EXPECT(good, "", NULL);
}

static void two_that_miss_each_other_are_g2(void **state)
{
    static const row bad[] = {{1, 5, 'o', "rx ay1"}, {2, 6, 'o', "ry ax1"}, {7, 8, 'o', "rx1 ry1"}};
    static const row good[] = {{1, 5, 'o', "rx ay1"}, {2, 6, 'o', "ry1 ax1"}, {7, 8, 'o', "rx1 ry1"}};
    (void)state;
    EXPECT(bad, "G2", "(rw, rw)");
    EXPECT(good, "", NULL);
}

static void three_are_a_circle_as_well_and_the_shortest_is_told(void **state)
{
    static const row bad[] = {{1, 9, 'o', "rx ay1"}, {2, 9, 'o', "ry az1"}, {3, 9, 'o', "rz ax1"}};
    static const row short_one[] = {{1, 9, 'o', "rx ay1"}, {2, 9, 'o', "ry az1"}, {3, 9, 'o', "rz ry ax1"}};
    (void)state;
    EXPECT(bad, "G2", "a circle of 3");
    EXPECT(short_one, "G2", "a circle of 2");
    EXPECT(short_one, "G2", "of 3 that hang together");
}

/* ---- real time ------------------------------------------------------------------------------------------- */

static void a_stale_read_is_a_circle_of_real_time(void **state)
{
    static const row bad[] = {{1, 2, 'o', "ax1"}, {3, 4, 'o', "rx"}, {5, 6, 'o', "rx1"}};
    static const row good[] = {
        {1, 3, 'o', "ax1"}, {3, 4, 'o', "rx"}, {5, 6, 'o', "rx1"}}; /* at one time: at once */
    (void)state;
    EXPECT(bad, "G-single-realtime", "realtime line 2 had ended (line 3) before line 4 began");
    EXPECT(good, "", NULL);
}

static void what_is_written_against_the_order_of_time_is_found(void **state)
{
    static const row bad[] = {{1, 2, 'o', "ax1"}, {3, 4, 'o', "ax2"}, {5, 6, 'o', "rx2,1"}};
    static const row ahead[] = {{1, 2, 'o', "rx1"}, {3, 4, 'o', "ax1"}};
    (void)state;
    EXPECT(bad, "G0-realtime", "(realtime, ww)");
    EXPECT(ahead, "G1c-realtime", "(realtime, wr)");
}

static void an_unknown_one_ends_when_it_was_seen_or_asked(void **state)
{
    /* It may take effect at any time until then. */
    static const row late[] = {{1, 2, 'i', "ax1"}, {3, 4, 'o', "rx"}, {5, 6, 'o', "rx1"}};
    static const row forgotten[] = {{1, 2, 'i', "ax1"}, {3, 4, 'o', "rx"}};
    static const row seen[] = {{1, 2, 'i', "ax1 ay1"}, {3, 4, 'o', "rx1"}, {5, 6, 'o', "ry"}};
    static const row asked[] = {
        {1, 2, 'i', "ax1", .asked = {3}, .answers = "c"}, {4, 5, 'o', "rx"}, {6, 7, 'o', "rx1"}};
    static const row never_told[] = {{1, 0, 'i', "ax1 ay1"}, {3, 4, 'o', "rx1"}, {5, 6, 'o', "ry"}};
    (void)state;
    EXPECT(late, "", NULL);
    EXPECT(forgotten, "", NULL);
    EXPECT(seen, "G-single-realtime", "without the 1 that line 2 appended");
    EXPECT(asked, "G-single-realtime", NULL);
    EXPECT(never_told, "G-single-realtime", NULL);
}

/* ---- what nobody saw ------------------------------------------------------------------------------------- */

static void an_append_that_later_reads_miss_is_a_lost_update(void **state)
{
    static const row bad[] = {{1, 2, 'o', "ax1"}, {3, 4, 'o', "ax2"}, {5, 6, 'o', "rx2"}};
    static const row asked[] = {{1, 2, 'i', "ax1", .asked = {3, 0}, .answers = "c"}, {5, 6, 'o', "rx"}};
    static const row good[] = {{1, 2, 'o', "ax1"}, {3, 4, 'o', "ax2"}, {3, 6, 'o', "rx1"}};
    (void)state;
    EXPECT(bad, "lost update", "line 2: it appended 1 to \"x\" and is committed, and line 6");
    EXPECT(asked, "lost update", NULL);
    EXPECT(good, "", NULL);
}

static void what_nobody_saw_comes_behind_all_that_was_seen(void **state)
{
    /* Both read x empty, and both appended to it: each missed the other, which nobody read again. */
    static const row two[] = {{1, 5, 'o', "rx ax1"}, {2, 6, 'o', "rx ax2"}};
    static const row three[] = {
        {1, 5, 'o', "ax3"}, {1, 5, 'o', "rx ax1"}, {2, 6, 'o', "ax4"}, {2, 6, 'o', "rx ax2"}};
    static const row one[] = {{1, 5, 'o', "rx ax1"}, {2, 6, 'o', "rx"}, {2, 6, 'o', "ax2"}};
    static const row order[] = {{1, 9, 'o', "ax1 ry1"}, {2, 9, 'o', "rx ay1"}, {3, 9, 'o', "rx1"}};
    static const row unseen_order[] = {{1, 9, 'o', "ax1 ry1"}, {2, 9, 'o', "rx ay1"}, {3, 9, 'o', "rx"}};
    (void)state;
    EXPECT(two, "G2", "(rw, rw)");
    EXPECT(three, "G2", NULL);
    EXPECT(one, "", NULL);
    EXPECT(order, "", NULL);
    EXPECT(unseen_order, "", NULL);
}

/* ---- reads ----------------------------------------------------------------------------------------------- */

static void reads_that_are_not_beginnings_of_one_another_split_the_order(void **state)
{
    static const row bad[] = {
        {1, 9, 'o', "ax1"}, {1, 9, 'o', "ax2"}, {1, 8, 'o', "rx1,2"}, {1, 9, 'o', "rx2"}};
    static const row good[] = {
        {1, 9, 'o', "ax1"}, {1, 9, 'o', "ax2"}, {1, 8, 'o', "rx1,2"}, {1, 9, 'o', "rx1"}};
    (void)state;
    EXPECT(bad, "order split", "it read 2 at place 1 of \"x\", where line 4 has read 1");
    EXPECT(good, "", NULL);
}

static void duplicates_and_phantoms_are_found(void **state)
{
    static const row twice[] = {{1, 9, 'o', "ax1"}, {1, 9, 'o', "rx1,1"}};
    static const row nobody[] = {{1, 9, 'o', "ax1"}, {1, 9, 'o', "rx1,7"}};
    (void)state;
    EXPECT(twice, "duplicate", "it read 1 twice in \"x\": at places 1 and 2");
    EXPECT(nobody, "phantom", "it read 7 in \"x\", which nobody appended");
}

static void a_transaction_sees_what_it_did_itself(void **state)
{
    static const row good[] = {
        {1, 2, 'o', "ax1"}, {3, 4, 'o', "rx1 ax2 rx1,2 ax3 ry? rx1,2,3"}, {5, 6, 'o', "rx1,2,3"}};
    static const row missed[] = {{1, 2, 'o', "ax1 rx"}};
    static const row other_end[] = {{1, 9, 'o', "ax1 rx1,2"}, {1, 9, 'o', "ax2"}};
    static const row changed[] = {{1, 9, 'o', "rx rx1"}, {1, 9, 'o', "ax1"}};
    static const row early[] = {{1, 9, 'o', "rx1 ax1"}};
    (void)state;
    EXPECT(good, "", NULL);
    EXPECT(missed, "internal", "doesn't end in what it had appended");
    EXPECT(changed, "internal G-single", "isn't what it read before and its own appends");
    EXPECT(early, "internal", "has what it appended only later");
    judged j = judge_rows(other_end, 2);
    assert_non_null(strstr(j.kinds, "internal"));
}

/* ---- what is told of one --------------------------------------------------------------------------------- */

static void an_unknown_that_resolves_both_ways_is_found(void **state)
{
    static const row both[] = {{1, 2, 'i', "ax1", .asked = {3, 4}, .answers = "ca"}};
    static const row same[] = {{1, 2, 'i', "ax1", .asked = {3, 4}, .answers = "cc"}};
    static const row told[] = {{1, 2, 'o', "ax1", .asked = {3, 0}, .answers = "a"}};
    static const row failed[] = {{1, 2, 'f', "ax1", .asked = {3, 0}, .answers = "c"}};
    static const row early[] = {{1, 5, 'o', "ax1", .asked = {3, 0}, .answers = "a"}};
    (void)state;
    EXPECT(both, "two outcomes", "it was told to be committed, and at line 5 to be aborted");
    EXPECT(same, "", NULL);
    EXPECT(told, "two outcomes", NULL);
    EXPECT(failed, "two outcomes", "it was told to be aborted, and at line 4 to be committed");
    EXPECT(early, "two outcomes", "who asked was told that it is aborted, and line 4 says ok");
}

static void commit_times_are_one_each_and_grow_along_a_key(void **state)
{
    static const row two[] = {{1, 2, 'o', "ax1", .ts = 5, .asked = {3, 0}, .answers = "c", .asked_ts = 6}};
    static const row back[] = {
        {1, 2, 'o', "ax1", .ts = 9}, {3, 4, 'o', "ax2", .ts = 8}, {5, 6, 'o', "rx1,2"}};
    static const row good[] = {
        {1, 2, 'o', "ax1 ax2", .ts = 8}, {3, 4, 'o', "ax3", .ts = 9}, {5, 6, 'o', "rx1,2,3"}};
    (void)state;
    EXPECT(two, "two commit times", "at 5, and at line 4 at 6");
    EXPECT(back, "commit time", "its commit time 8 isn't after that one's 9");
    EXPECT(good, "", NULL);
}

/* ---- counting -------------------------------------------------------------------------------------------- */

static void many_findings_are_counted_and_the_first_of_a_kind_told(void **state)
{
    row rows[60];
    char calls[60][16];
    (void)state;
    for (int i = 0; i < 60; i += 2) {
        snprintf(calls[i], sizeof(calls[i]), "ax%d", i);
        rows[i] = (row){1, 2, 'f', calls[i]};
        rows[i + 1] = (row){3, 4, 'o', "rx? rx0,2,4,6,8,10,12,14,16,18,20,22,24,26,28"};
    }
    judged j = judge_rows(rows, 60);
    assert_int_equal(j.counts.findings, 15);
    assert_int_equal(strlen(j.kinds), 10 * strlen("G1a ") - 1);
    assert_int_equal(j.counts.operations, 60);
    assert_int_equal(j.counts.committed, 30);
    assert_int_equal(j.counts.aborted, 30);
    assert_int_equal(j.counts.values, 30);
    assert_int_equal(j.counts.reads, 30);
}

/* Transactions one after the other, on three keys, with some reading: nothing is wrong with them; then one read is of
 * before, and that is found wherever it is. */
static void a_read_of_before_is_found_in_a_longer_history(void **state)
{
    enum { ROWS = 90 };
    row rows[ROWS];
    static char calls[ROWS][400];
    (void)state;
    for (int stale = -1; stale < ROWS; stale += 7) {
        for (int i = 0; i < ROWS; i++) {
            int length =
                snprintf(calls[i], sizeof(calls[i]), "a%c%d r%c", 'x' + i % 3, i + 1, 'x' + (i + 1) % 3);
            for (int k = (i + 1) % 3, n = 0; k < i; k += 3, n++)
                if (i != stale || k + 3 < i)
                    length += snprintf(calls[i] + length, sizeof(calls[i]) - (size_t)length, "%s%d",
                                       n ? "," : "", k + 1);
            rows[i] = (row){10 * i + 1, 10 * i + 8, 'o', calls[i]};
        }
        judged j = judge_rows(rows, ROWS);
        bool found = strcmp(j.kinds, "G-single-realtime") == 0 || strcmp(j.kinds, "G2") == 0;
        if (found != (stale > 1) || (!found && j.kinds[0]))
            fail_msg("stale %d: \"%s\"", stale, j.kinds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_that_overwrite_each_other_in_both_orders_are_g0),
        cmocka_unit_test(what_was_aborted_and_is_seen_is_g1a),
        cmocka_unit_test(what_was_in_the_middle_of_another_is_g1b),
        cmocka_unit_test(two_that_see_each_other_are_g1c),
        cmocka_unit_test(one_that_sees_half_of_another_is_g_single),
        cmocka_unit_test(two_that_miss_each_other_are_g2),
        cmocka_unit_test(three_are_a_circle_as_well_and_the_shortest_is_told),
        cmocka_unit_test(a_stale_read_is_a_circle_of_real_time),
        cmocka_unit_test(what_is_written_against_the_order_of_time_is_found),
        cmocka_unit_test(an_unknown_one_ends_when_it_was_seen_or_asked),
        cmocka_unit_test(an_append_that_later_reads_miss_is_a_lost_update),
        cmocka_unit_test(what_nobody_saw_comes_behind_all_that_was_seen),
        cmocka_unit_test(reads_that_are_not_beginnings_of_one_another_split_the_order),
        cmocka_unit_test(duplicates_and_phantoms_are_found),
        cmocka_unit_test(a_transaction_sees_what_it_did_itself),
        cmocka_unit_test(an_unknown_that_resolves_both_ways_is_found),
        cmocka_unit_test(commit_times_are_one_each_and_grow_along_a_key),
        cmocka_unit_test(many_findings_are_counted_and_the_first_of_a_kind_told),
        cmocka_unit_test(a_read_of_before_is_found_in_a_longer_history),
    };
    return cmocka_run_group_tests_name("tx_judge", tests, NULL, NULL);
}
