/* Topics of a cluster: what is published on any node reaches the subscribers on all, once, in order; what crosses a
 * connection; a slow node; losses; connections, nodes and topics that are lost and come back. On one node:
 * tests/unit/test_topic.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <troupe/groups.h>

#include "tests/kit/sim/sim.h"

#define NODES       3
#define SUBSCRIBERS 4 /* on each node */

TR_MESSAGE(news, (u64, from), (u64, number))
TR_MESSAGE(say, (u64, from), (u64, first), (u64, last))
TR_MESSAGE(end_topic)

static struct {
    uint64_t heard[NODES]; /* numbers of each publisher's node, counted */
    uint64_t last[NODES];
    uint64_t lost;
    bool wrong; /* out of order, or twice */
} seen[NODES][SUBSCRIBERS];
static bool slow[NODES]; /* its subscribers handle nothing: they are asleep */

static uint32_t here(void)
{
    return sim_now_running->current->index;
}

/* ---- the actors ---------------------------------------------------------------------------------------- */

static void take(uint32_t number, const tr_msg *msg)
{
    const news *n = tr_match(msg, news);
    const tr_topic_lost *lost = tr_match(msg, tr_topic_lost);
    if (n) {
        seen[here()][number].wrong |= n->number <= seen[here()][number].last[n->from];
        seen[here()][number].last[n->from] = n->number;
        seen[here()][number].heard[n->from]++;
    } else if (lost) {
        seen[here()][number].lost += lost->count;
    }
}

static tr_err subscriber(tr_actor *self, void *arg)
{
    tr_addr topic = tr_whereis(self, "news");
    const tr_msg *msg;
    for (;;) {
        while (tr_addr_is_none(topic = tr_whereis(self, "news")))
            TR_TRY(tr_sleep(self, TR_MILLIS(10)));
        uint64_t monitor = tr_monitor(self, topic);
        TR_TRY(tr_await_msg(self, tr_ask(self, topic, TR_SECONDS(1), tr_subscribe, .room = 8), NULL));
        while ((msg = tr_receive(self, TR_FOREVER))) {
            const tr_down *down = tr_match(msg, tr_down);
            if (down && down->monitor == monitor)
                break;
            while (slow[here()])
                TR_TRY(tr_sleep(self, TR_MILLIS(100)));
            take((uint32_t)(uintptr_t)arg, msg);
        }
        if (!msg)
            return TR_OK;
    }
}
static const tr_actor_def subscriber_def = {.name = "subscriber", .run = subscriber, .mailbox_places = 8};

static void publish(tr_actor *self, void *state, const tr_msg *msg)
{
    const say *s = tr_match(msg, say);
    (void)state;
    for (uint64_t i = s ? s->first : 1; i <= (s ? s->last : 0); i++)
        assert_int_equal(tr_send(self, tr_whereis(self, "news"), news, .from = s->from, .number = i), TR_OK);
    if (tr_match(msg, end_topic))
        tr_stop(self, tr_whereis(self, "news"), TR_EXIT_KILLED);
}
TR_ACTOR(publisher_def, .receive = publish);

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_topic_opts opts = {.cluster = true};
    static const char *const ids[SUBSCRIBERS] = {"s0", "s1", "s2", "s3"};
    tr_child_spec children[2 + SUBSCRIBERS] = {
        {.id = "news", .def = &tr_topic, .arg = &opts, .named = true},
        {.id = "publisher", .def = &publisher_def, .named = true},
    };
    (void)index;
    for (uint32_t i = 0; i < SUBSCRIBERS; i++)
        children[2 + i] =
            (tr_child_spec){.id = ids[i], .def = &subscriber_def, .arg = (const void *)(uintptr_t)i};
    tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = TR_COUNT(children)});
    return tr_sleep(self, TR_FOREVER);
}

static const tr_scenario topics = {
    .size = sizeof(tr_scenario), .name = "topics", .nodes = NODES, .loops = 2, .start = start};

/* ---- fixture ------------------------------------------------------------------------------------------- */

static tr_sim *sim;
static tr_probe *boss[NODES];

static int set_up(void **state)
{
    (void)state;
    memset(seen, 0, sizeof(seen));
    memset(slow, 0, sizeof(slow));
    sim = tr_sim_create(&(tr_sim_opts){.seed = 5, .scenario = &topics}, NULL);
    assert_non_null(sim);
    tr_sim_step(sim, TR_SECONDS(1));
    for (uint32_t i = 0; i < NODES; i++)
        boss[i] = tr_probe_open(sim, i);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tr_sim_result r;
    tr_sim_result_get(sim, &r);
    if (r.failed)
        fail_msg("%s", r.what);
    tr_sim_destroy(sim);
    return 0;
}

static void have_said(uint32_t node, uint64_t first, uint64_t last)
{
    tr_addr publisher = tr_probe_lookup(boss[node], "publisher", TR_SECONDS(1));
    assert_int_equal(tr_probe_send(boss[node], publisher, say, .from = node, .first = first, .last = last),
                     TR_OK);
    tr_sim_step(sim, TR_MILLIS(300));
}

/* Each subscriber of that node. */
static void has_heard(uint32_t node, uint32_t from, uint64_t count, uint64_t lost)
{
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        assert_int_equal(seen[node][i].heard[from], count);
        assert_int_equal(seen[node][i].lost, lost);
        assert_false(seen[node][i].wrong);
    }
}

static uint64_t sent_from(uint32_t node)
{
    tr_sums sums;
    tr_node_sums(tr_sim_node(sim, node), &sums);
    return sums.sent;
}

static void cut(uint32_t a, uint32_t b)
{
    tr_sim_cut(sim, a, b);
    tr_sim_cut(sim, b, a);
    tr_sim_step(sim, TR_SECONDS(15));
}

static void heal(uint32_t a, uint32_t b)
{
    tr_sim_heal(sim, a, b);
    tr_sim_heal(sim, b, a);
    tr_sim_step(sim, TR_SECONDS(15));
}

/* ---- what holds ---------------------------------------------------------------------------------------- */

static void what_is_published_on_any_node_is_heard_on_all_once_and_in_order(void **state)
{
    (void)state;
    for (uint32_t from = 0; from < NODES; from++) {
        have_said(from, 1, 5);
        have_said(from, 6, 8);
    }
    for (uint32_t node = 0; node < NODES; node++)
        for (uint32_t from = 0; from < NODES; from++)
            has_heard(node, from, 8, 0);
}

static void each_message_crosses_a_connection_once_however_many_subscribe(void **state)
{
    (void)state;
    have_said(0, 1, 1); /* its type is told */
    uint64_t before = sent_from(0), answers = sent_from(1);
    have_said(0, 2, 6);
    assert_int_equal(sent_from(0) - before, 5 * (NODES - 1));
    assert_true(sent_from(1) - answers <= 5); /* demand */
    has_heard(1, 0, 6, 0);
}

static void a_node_that_stands_still_keeps_up_nobody_and_is_told_what_it_lost(void **state)
{
    (void)state;
    tr_sim_pause(sim, 2, TR_SECONDS(2));
    for (uint64_t i = 0; i < 100; i++) { /* 64 in its window, 256 in its room */
        tr_addr publisher = tr_probe_lookup(boss[0], "publisher", TR_SECONDS(1));
        assert_int_equal(
            tr_probe_send(boss[0], publisher, say, .from = 0, .first = 1 + 5 * i, .last = 5 + 5 * i), TR_OK);
        tr_sim_step(sim, TR_MILLIS(5));
    }
    has_heard(1, 0, 500, 0);
    tr_sim_step(sim, TR_SECONDS(3));
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        assert_int_equal(seen[2][i].heard[0] + seen[2][i].lost, 500);
        assert_false(seen[2][i].wrong);
        assert_int_equal(seen[2][i].last[0], 500);
    }
    assert_in_range(seen[2][0].lost, 1, 500 - 64);
}

static void a_slow_subscriber_on_one_node_holds_up_no_other(void **state)
{
    (void)state;
    slow[1] = true;
    for (uint64_t i = 0; i < 10; i++)
        have_said(0, 1 + 5 * i, 5 + 5 * i);
    has_heard(0, 0, 50, 0);
    has_heard(2, 0, 50, 0);
    slow[1] = false;
    tr_sim_step(sim, TR_SECONDS(2));
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        assert_int_equal(seen[1][i].heard[0] + seen[1][i].lost, 50);
        assert_true(seen[1][i].lost > 0 && !seen[1][i].wrong);
    }
}

static void after_a_lost_connection_it_goes_on_and_nothing_comes_twice(void **state)
{
    (void)state;
    have_said(0, 1, 5);
    cut(0, 1);
    have_said(0, 6, 10);
    has_heard(0, 0, 10, 0);
    has_heard(1, 0, 5, 0); /* at most once: what nobody was there for is gone */
    has_heard(2, 0, 10, 0);
    heal(0, 1);
    have_said(0, 11, 15);
    have_said(1, 1, 5);
    has_heard(1, 0, 10, 0);
    for (uint32_t node = 0; node < NODES; node++)
        has_heard(node, 1, 5, 0);
}

static void a_node_that_comes_and_a_topic_that_starts_again_join_in(void **state)
{
    (void)state;
    have_said(0, 1, 5);
    tr_sim_kill(sim, 2, false);
    tr_sim_step(sim, TR_SECONDS(10));
    memset(seen[2], 0, sizeof(seen[2]));
    assert_int_equal(tr_sim_start(sim, 2, NULL), TR_OK);
    tr_sim_step(sim, TR_SECONDS(10));
    boss[2] = tr_probe_open(sim, 2);
    have_said(0, 6, 10);
    have_said(2, 1, 5);
    has_heard(2, 0, 5, 0);
    has_heard(0, 2, 5, 0);
    tr_addr publisher = tr_probe_lookup(boss[1], "publisher", TR_SECONDS(1));
    assert_int_equal(tr_probe_send(boss[1], publisher, end_topic), TR_OK);
    tr_sim_step(sim, TR_SECONDS(2));
    have_said(0, 11, 15);
    have_said(1, 1, 5);
    has_heard(1, 0, 15, 0);
    has_heard(0, 1, 5, 0);
    has_heard(2, 1, 5, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_published_on_any_node_is_heard_on_all_once_and_in_order),
        TEST(each_message_crosses_a_connection_once_however_many_subscribe),
        TEST(a_node_that_stands_still_keeps_up_nobody_and_is_told_what_it_lost),
        TEST(a_slow_subscriber_on_one_node_holds_up_no_other),
        TEST(after_a_lost_connection_it_goes_on_and_nothing_comes_twice),
        TEST(a_node_that_comes_and_a_topic_that_starts_again_join_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
