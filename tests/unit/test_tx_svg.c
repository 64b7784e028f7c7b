/* The drawing of a transaction (cli/tx/svg.h): well-formed whatever the names are, each node has its lane, each event its
 * mark, at its time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/tx/svg.h"

#define EVENT(at, node, actor, what, detail)                                            \
    "{\"at_ns\":" #at ",\"node\":\"" node "\",\"actor\":\"" actor "\",\"what\":\"" what \
    "\",\"detail\":\"" detail "\"}"

static const char two_nodes[] = "{\"id\":\"0123\",\"state\":\"committed\",\"reason\":\"\",\"began_ns\":1000,"
                                "\"nodes\":[\"alice\",\"bob\"],\"events\":[" //
    EVENT(1000000, "alice", "account", "lock", "exclusive") ","              //
    EVENT(1250000, "bob", "account", "lock", "exclusive") ","                //
    EVENT(1500000, "bob", "account", "force", "prepare") ","                 //
    EVENT(1500000, "bob", "account", "vote", "yes") ","                      //
    EVENT(1600000, "alice", "", "decide", "committed") ","                   //
    EVENT(1700000, "alice", "account", "apply", "") ","                      //
    EVENT(1800000, "bob", "account", "decide", "committed") ","              //
    EVENT(1900000, "bob", "account", "apply", "") ","                        //
    EVENT(2000000, "bob", "account", "ack", "") "]}";

/* To be freed. */
static char *drawn(const char *text)
{
    char *svg;
    size_t size;
    json_t *transaction = json_loads(text, 0, NULL);
    assert_non_null(transaction);
    FILE *out = open_memstream(&svg, &size);
    bool good = tx_svg_write(out, transaction);
    fclose(out);
    json_decref(transaction);
    if (good)
        return svg;
    assert_int_equal(size, 0);
    free(svg);
    return NULL;
}

/* ---- well-formed: names match, attributes are quoted, no bare & or < -------------------------------------- */

static const char *entity(const char *at)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;"};
    for (size_t i = 0; i < 4; i++)
        if (strncmp(at, known[i], strlen(known[i])) == 0)
            return at + strlen(known[i]);
    fail_msg("a bare & at: %.40s", at);
    return NULL;
}

static const char *attributes(const char *at)
{
    while (*at == ' ') {
        at += strspn(at, " ");
        at += strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
        assert_memory_equal(at, "=\"", 2);
        for (at += 2; *at != '"';) {
            assert_true(*at && *at != '<');
            at = *at == '&' ? entity(at) : at + 1;
        }
        at++;
    }
    return at;
}

static void assert_well_formed(const char *svg)
{
    char names[10][12];
    int depth = 0;
    for (const char *at = svg; *at;) {
        if (*at == '&') {
            at = entity(at);
            continue;
        }
        assert_true((unsigned char)*at >= 0x20 || *at == '\n');
        if (*at++ != '<')
            continue;
        bool ends = *at == '/';
        size_t length = strspn(at + ends, "abcdefghijklmnopqrstuvwxyz");
        char name[12];
        snprintf(name, sizeof(name), "%.*s", (int)length, at + ends);
        at = attributes(at + ends + length);
        if (ends) {
            assert_true(depth > 0);
            assert_string_equal(names[--depth], name);
        } else if (*at == '/') {
            at++;
        } else {
            assert_true(depth < 10);
            memcpy(names[depth++], name, sizeof(name));
        }
        assert_int_equal(*at++, '>');
        assert_true(depth > 0 || *at == '\n');
    }
    assert_int_equal(depth, 0);
}

static unsigned count(const char *text, const char *part)
{
    unsigned found = 0;
    for (const char *at = text; (at = strstr(at, part)); at++)
        found++;
    return found;
}

/* Where the mark with these words in its title is. */
static double mark_at(const char *svg, const char *title)
{
    const char *found = strstr(svg, title);
    if (!found)
        fail_msg("no %s in %s", title, svg);
    return strtod(strstr(found, " cx=\"") + 5, NULL);
}

/* ---- tests ----------------------------------------------------------------------------------------------- */

static void each_node_has_a_lane_and_each_event_a_mark(void **state)
{
    static const char *const words[] = {
        ">lock<", ">force prepare<", ">vote yes<", ">decide committed<", ">apply<", ">ack<"};
    char *svg = drawn(two_nodes);
    (void)state;
    assert_well_formed(svg);
    assert_int_equal(count(svg, "<g class=\"lane\""), 2);
    assert_int_equal(count(svg, "data-node=\"alice\""), 1);
    assert_int_equal(count(svg, "data-node=\"bob\""), 1);
    assert_int_equal(count(svg, "<circle "), 9);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        assert_true(count(svg, words[i]) >= 1);
    /* alice's and bob's lock; what bob doubted; the decision. */
    assert_int_equal(count(svg, "<rect class=\"held\""), 2);
    assert_int_equal(count(svg, "<rect class=\"doubt\""), 1);
    assert_int_equal(count(svg, "<line class=\"decided\""), 1);
    free(svg);
}

static void times_are_to_scale(void **state)
{
    char *svg = drawn(two_nodes);
    (void)state;
    double first = mark_at(svg, "0.000 ms: lock"), last = mark_at(svg, "1.000 ms: ack");
    assert_true(last > first + 500);
    assert_true(fabs(mark_at(svg, "0.500 ms: vote") - (first + last) / 2) < 0.2);
    assert_true(fabs(mark_at(svg, "0.250 ms: lock") - (3 * first + last) / 4) < 0.2);
    free(svg);
}

static void a_long_pause_is_cut_out_and_says_how_long_it_was(void **state)
{
    char text[4096], *svg;
    (void)state;
    snprintf(text, sizeof(text), "%.*s,%s]}", (int)strlen(two_nodes) - 2, two_nodes,
             EVENT(102000000, "alice", "", "ack", "all"));
    svg = drawn(text);
    assert_well_formed(svg);
    assert_int_equal(count(svg, "<rect class=\"cut\""), 1);
    assert_non_null(strstr(svg, ">100 ms<"));
    double first = mark_at(svg, "0.000 ms: lock"), last = mark_at(svg, ">1.000 ms: ack");
    assert_true(last > first + 500);
    assert_true(fabs(mark_at(svg, "0.500 ms: vote") - (first + last) / 2) < 0.2);
    assert_true(mark_at(svg, "101.000 ms: ack") > last + 40);
    free(svg);
    svg = drawn(two_nodes);
    assert_int_equal(count(svg, "<rect class=\"cut\""), 0);
    free(svg);
}

/* Where each word of a row is: no two of one level meet. */
static void words_of_one_time_are_above_each_other(void **state)
{
    char *svg = drawn(two_nodes);
    (void)state;
    const char *force = strstr(svg, "0.500 ms: force"), *vote = strstr(svg, "0.500 ms: vote");
    double a = strtod(strstr(strstr(force, "<text"), " y=\"") + 4, NULL);
    double b = strtod(strstr(strstr(vote, "<text"), " y=\"") + 4, NULL);
    assert_true(fabs(a - b) >= 12);
    free(svg);
}

static void names_may_be_anything_and_one_event_is_enough(void **state)
{
    char *svg = drawn("{\"id\":\"<&>\",\"state\":\"in doubt\",\"reason\":\"a\\u0001b\",\"events\":[" EVENT(
        5, "a<b>&\\\"", "\\u00e9&", "lock", "<") "]}");
    (void)state;
    assert_well_formed(svg);
    assert_non_null(strstr(svg, "data-node=\"a&lt;b&gt;&amp;&quot;\""));
    assert_int_equal(count(svg, "<circle "), 1);
    free(svg);
    svg = drawn("{\"id\":\"1\",\"state\":\"open\",\"reason\":\"\",\"events\":[]}");
    assert_well_formed(svg);
    free(svg);
}

static void a_lock_that_nobody_freed_is_held_to_the_end(void **state)
{
    char *svg =
        drawn("{\"id\":\"1\",\"state\":\"in doubt\",\"reason\":\"\",\"events\":[" //
              EVENT(1000, "a", "x", "lock", "exclusive") "," EVENT(2000, "a", "x", "force", "prepare") "]}");
    (void)state;
    assert_int_equal(count(svg, "<rect class=\"held\""), 1);
    assert_int_equal(count(svg, "<rect class=\"doubt\""), 1);
    assert_int_equal(count(svg, "<line class=\"decided\""), 0);
    free(svg);
}

static void no_memory_writes_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 2; n++) {
        tr__alloc_fail_at(n);
        char *svg = drawn(two_nodes);
        tr__alloc_fail_at(0);
        assert_null(svg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_node_has_a_lane_and_each_event_a_mark),
        cmocka_unit_test(times_are_to_scale),
        cmocka_unit_test(a_long_pause_is_cut_out_and_says_how_long_it_was),
        cmocka_unit_test(words_of_one_time_are_above_each_other),
        cmocka_unit_test(names_may_be_anything_and_one_event_is_enough),
        cmocka_unit_test(a_lock_that_nobody_freed_is_held_to_the_end),
        cmocka_unit_test(no_memory_writes_nothing),
    };
    return cmocka_run_group_tests_name("tx_svg", tests, NULL, NULL);
}
