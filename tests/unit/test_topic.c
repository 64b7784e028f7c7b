/* Topics: order, slow subscribers, what each policy loses and how that is told, subscriptions that end, no memory. */
#include <stdlib.h>
#include <string.h>

#include <troupe/groups.h>

#include "base/mem.h"
#include "tests/kit/manual.h"

#define SMALL 4 /* places of a slow one's mailbox */

static manual *m;
static tr_addr topic;
static manual_puppet boss, fast, slow;

/* Losses in the trail as lost:N, with the end as ended:N. */
static void on(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const tr_topic_lost *lost = tr_match(msg, tr_topic_lost);
    (void)self;
    if (lost)
        manual_note(puppet, "%s:%llu", lost->ended ? "ended" : "lost", (unsigned long long)lost->count);
}

static int set_up(void **state)
{
    (void)state;
    m = manual_open(2);
    memset(&boss, 0, sizeof(boss));
    memset(&fast, 0, sizeof(fast));
    memset(&slow, 0, sizeof(slow));
    fast.on = slow.on = on;
    manual_spawn(m, 0, &boss, NULL);
    manual_spawn(m, 0, &fast, NULL);
    manual_spawn(m, 1, &slow, &(tr_spawn_opts){.mailbox_places = SMALL});
    topic = manual_spawn_def(m, 0, &tr_topic, NULL, NULL);
    manual_pump(m);
    fast.trail[0] = slow.trail[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    manual_close(m);
    return 0;
}

static tr_subscribe how;

static void subscribe(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_send_body(self, topic, &tr_subscribe_type, &how), TR_OK);
}

static void subscribe_both(tr_topic_policy policy, uint32_t room)
{
    how = (tr_subscribe){.policy = policy, .room = room};
    manual_do(m, slow.address, subscribe, NULL);
    manual_do(m, fast.address, subscribe, NULL);
}

static uint64_t from, to;

static void publish(tr_actor *self, void *context)
{
    (void)context;
    for (uint64_t n = from; n <= to; n++)
        assert_int_equal(tr_send(self, topic, mark, .n = n), TR_OK);
}

/* The slow one's loop stands still meanwhile. */
static void published(uint64_t first, uint64_t last)
{
    from = first, to = last;
    manual_tell(m, boss.address, publish, NULL);
    while (manual_turn(m, 0))
        ;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void each_subscriber_gets_what_is_published_in_order(void **state)
{
    (void)state;
    subscribe_both(TR_TOPIC_DROP_OLDEST, 0);
    published(1, 3);
    manual_pump(m);
    assert_string_equal(fast.trail, "1 2 3 ");
    assert_string_equal(slow.trail, "1 2 3 ");
}

static void a_slow_one_holds_up_nobody_and_gets_what_its_room_held(void **state)
{
    (void)state;
    subscribe_both(TR_TOPIC_DROP_OLDEST, 16);
    published(1, 10);
    assert_string_equal(fast.trail, "1 2 3 4 5 6 7 8 9 10 ");
    assert_string_equal(slow.trail, "");
    manual_pump(m);
    assert_string_equal(slow.trail, "1 2 3 4 5 6 7 8 9 10 ");
}

static void drop_oldest_keeps_the_newest_and_tells_the_gap_where_it_is(void **state)
{
    (void)state;
    subscribe_both(TR_TOPIC_DROP_OLDEST, 3);
    published(1, 12);
    manual_pump(m);
    assert_string_equal(slow.trail, "1 2 3 4 tr_topic_lost lost:5 10 11 12 ");
    published(13, 13);
    manual_pump(m);
    assert_non_null(strstr(slow.trail, "12 13 "));
}

static void drop_newest_keeps_the_oldest_and_tells_the_gap_where_it_is(void **state)
{
    (void)state;
    subscribe_both(TR_TOPIC_DROP_NEWEST, 3);
    published(1, 12);
    manual_pump(m);
    assert_string_equal(slow.trail, "1 2 3 4 5 6 7 tr_topic_lost lost:5 ");
    published(13, 13);
    manual_pump(m);
    assert_non_null(strstr(slow.trail, "lost:5 13 "));
}

static void the_policy_end_ends_a_subscription_that_is_too_slow(void **state)
{
    (void)state;
    subscribe_both(TR_TOPIC_END, 3);
    published(1, 12);
    manual_pump(m);
    assert_string_equal(slow.trail, "1 2 3 4 ");
    published(13, 13);
    manual_pump(m);
    assert_string_equal(slow.trail, "1 2 3 4 ");
    assert_non_null(strstr(fast.trail, "12 13 "));
}

static void unsubscribe(tr_actor *self, void *context)
{
    (void)context;
    manual_then(self, tr_ask(self, topic, TR_SECONDS(1), tr_unsubscribe));
}

static void who_unsubscribes_gets_nothing_more(void **state)
{
    (void)state;
    subscribe_both(TR_TOPIC_DROP_OLDEST, 0);
    manual_do(m, fast.address, unsubscribe, NULL);
    published(1, 1);
    assert_string_equal(fast.trail, "reply:tr_subscribed ");
}

static void kill_slow(tr_actor *self, void *context)
{
    (void)context;
    tr_stop(self, slow.address, TR_EXIT_KILLED);
}

static void ask_publish(tr_actor *self, void *context)
{
    (void)context;
    manual_then(self, tr_ask(self, topic, TR_SECONDS(1), mark, .n = 77));
}

static void a_death_ends_the_subscription_with_all_that_was_kept_for_it(void **state)
{
    (void)state;
    subscribe_both(TR_TOPIC_DROP_OLDEST, 3);
    published(1, 12);
    manual_do(m, boss.address, kill_slow, NULL);
    assert_string_equal(fast.trail, "1 2 3 4 5 6 7 8 9 10 11 12 ");
    manual_do(m, boss.address, ask_publish, NULL);
    assert_string_equal(boss.trail, "init reply:tr_published ");
    assert_non_null(strstr(fast.trail, "12 77 "));
}

static void ask_subscribe(tr_actor *self, void *context)
{
    manual_then(self, tr_ask_body(self, topic, TR_SECONDS(1), &tr_subscribe_type, context));
}

static void a_wrong_subscription_is_refused(void **state)
{
    (void)state;
    tr_subscribe wrong = {.policy = 7}, much = {.room = 100000}, good = {0};
    manual_do(m, boss.address, ask_subscribe, &wrong);
    manual_do(m, boss.address, ask_subscribe, &much);
    manual_do(m, boss.address, ask_subscribe, &good);
    manual_do(m, boss.address, ask_subscribe, &good);
    assert_string_equal(boss.trail,
                        "init error:invalid error:invalid reply:tr_subscribed reply:tr_subscribed ");
}

/* What it got and what it was told to have lost is all there was. */
static uint64_t accounted(const manual_puppet *puppet)
{
    uint64_t sum = 0;
    char trail[MANUAL_TRAIL];
    strcpy(trail, puppet->trail);
    for (char *word = strtok(trail, " "); word; word = strtok(NULL, " "))
        sum +=
            strncmp(word, "lost:", 5) == 0 ? strtoull(word + 5, NULL, 10) : word[0] >= '0' && word[0] <= '9';
    return sum;
}

/* What the trail tells of, from 1 on, each where it is (G1). */
static void assert_in_order(const char *trail)
{
    char copy[sizeof(slow.trail)];
    uint64_t next = 1;
    snprintf(copy, sizeof(copy), "%s", trail);
    for (const char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        if (strncmp(word, "lost:", 5) == 0)
            next += strtoull(word + 5, NULL, 10);
        else if (word[0] >= '0' && word[0] <= '9')
            assert_int_equal(strtoull(word, NULL, 10), next++);
}

static void whatever_allocation_fails_each_hears_how_many_it_lost_and_where(void **state)
{
    for (int policy = TR_TOPIC_DROP_OLDEST; policy <= TR_TOPIC_DROP_NEWEST; policy++)
        for (uint64_t nth = 1; nth <= 40; nth++) {
            subscribe_both((tr_topic_policy)policy, 3);
            from = 1, to = 12;
            manual_do(m, boss.address, publish, NULL);
            manual_tell(m, boss.address, publish, NULL);
            manual_turn(m, 0);
            slow.trail[0] = fast.trail[0] = '\0';
            manual_pump(m);
            slow.trail[0] = fast.trail[0] = '\0';
            for (uint64_t n = 1; n <= 12; n++)
                manual_mark(m, topic, n);
            manual_dry_pool(m, 0);
            tr__alloc_fail_at(nth);
            while (manual_turn(m, 0))
                ;
            manual_pump(m);
            tr__alloc_fail_at(0);
            manual_step(m, TR_SECONDS(1));
            assert_int_equal(accounted(&fast), 12);
            assert_int_equal(accounted(&slow), 12);
            assert_in_order(fast.trail);
            assert_in_order(slow.trail);
            tear_down(state);
            set_up(state);
        }
}

/* The monitor of a subscriber can't be noted where that lives, nor then begun again. */
static void a_subscriber_that_was_told_so_stays_one_though_memory_fails_twice(void **state)
{
    how = (tr_subscribe){.policy = TR_TOPIC_DROP_OLDEST, .room = 3};
    for (uint64_t nth = 1; nth <= 12; nth++)
        for (uint64_t then = 1; then <= 4; then++) {
            bool again = false;
            manual_tell(m, slow.address, ask_subscribe, &how);
            manual_dry_pool(m, 0);
            manual_dry_pool(m, 1);
            tr__alloc_fail_at(nth);
            for (int turn = 0; turn < 40; turn++) {
                manual_turn(m, turn % 2 == 0);
                if (tr__alloc_fail_left() || again)
                    continue;
                again = true;
                manual_dry_pool(m, 0);
                manual_dry_pool(m, 1);
                tr__alloc_fail_at(then);
            }
            tr__alloc_fail_at(0);
            manual_step(m, TR_SECONDS(10));
            bool told = strstr(slow.trail, "reply:tr_subscribed") != NULL;
            slow.trail[0] = '\0';
            published(7, 7);
            manual_pump(m);
            if (told)
                assert_string_equal(slow.trail, "7 ");
            tear_down(state);
            set_up(state);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_subscriber_gets_what_is_published_in_order),
        TEST(a_slow_one_holds_up_nobody_and_gets_what_its_room_held),
        TEST(drop_oldest_keeps_the_newest_and_tells_the_gap_where_it_is),
        TEST(drop_newest_keeps_the_oldest_and_tells_the_gap_where_it_is),
        TEST(the_policy_end_ends_a_subscription_that_is_too_slow),
        TEST(who_unsubscribes_gets_nothing_more),
        TEST(a_death_ends_the_subscription_with_all_that_was_kept_for_it),
        TEST(a_wrong_subscription_is_refused),
        TEST(whatever_allocation_fails_each_hears_how_many_it_lost_and_where),
        TEST(a_subscriber_that_was_told_so_stays_one_though_memory_fails_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
