/* base/printable.c, and where it stands: what a node logs, whoever's words are in it. */
#include "tests/kit/manual.h"

#include "base/printable.h"

static void control_characters_are_escaped_and_nothing_else_is(void **state)
{
    (void)state;
    char to[64];
    assert_string_equal(tr__printable(to, sizeof(to), "a\tb\n\x1b[2J\x7f"), "a\\x09b\\x0a\\x1b[2J\\x7f");
    assert_string_equal(tr__printable(to, sizeof(to),
                                      "\xc2\x9b"
                                      "5A \xc2\xa0\xc3\xa9 \\x1b"),
                        "\\xc2\\x9b"
                        "5A \xc2\xa0\xc3\xa9 \\x1b");
    assert_string_equal(tr__printable(to, sizeof(to), ""), "");
    assert_false(tr__is_printable("\xc2\x80"));
    assert_false(tr__is_printable("a\x01"));
    assert_true(tr__is_printable("\xc2\xa0 caf\xc3\xa9 \xe2\x82\xac"));
}

static void what_has_no_room_is_cut_and_no_escape_in_the_middle(void **state)
{
    (void)state;
    char to[6];
    assert_string_equal(tr__printable(to, sizeof(to), "abcdefgh"), "abcde");
    assert_string_equal(tr__printable(to, sizeof(to), "ab\x1b"), "ab");
    assert_string_equal(tr__printable(to, sizeof(to),
                                      "a\x1b"
                                      "b"),
                        "a\\x1b");
    assert_string_equal(tr__printable(to, 1, "a"), "");
}

/* As a refusal, a tr_fail's text or a dead letter's that a peer sent. */
static void a_log_line_shows_no_control_character_of_whoever_is_in_it(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    m->node->log_level = TR_LOG_DEBUG;
    tr__node_log(m->node, TR_LOG_WARN, "node %s: %s", "eve", "\x1b[2J\x1b]0;owned\x07\nerror: all is lost");
    assert_string_equal(m->last_log, "node eve: \\x1b[2J\\x1b]0;owned\\x07\\x0a"
                                     "error: all is lost");
    manual_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_are_escaped_and_nothing_else_is),
        cmocka_unit_test(what_has_no_room_is_cut_and_no_escape_in_the_middle),
        cmocka_unit_test(a_log_line_shows_no_control_character_of_whoever_is_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
