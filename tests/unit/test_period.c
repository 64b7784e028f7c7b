/* Timers that come again, in a stepped time: periods that don't drift, notices of idleness, and both without memory. */
#include <string.h>

#include "base/mem.h"
#include "tests/kit/manual.h"

static manual *m;
static manual_puppet p;
static tr_timer timer;
static uint64_t began, counts[64], missed[64], ticks, idles, idle_at[64];

static void on(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const tr_tick *tick = tr_match(msg, tr_tick);
    const tr_idle *idle = tr_match(msg, tr_idle);
    (void)self;
    puppet->trail[0] = '\0';
    if (tick && ticks < 64) {
        assert_int_equal(tick->timer, timer.id);
        counts[ticks] = tick->count;
        missed[ticks++] = tick->missed;
    }
    if (idle && idles < 64)
        idle_at[idles++] = m->now_ns - began;
}

static int set_up(void **state)
{
    (void)state;
    m = manual_open(1);
    memset(&p, 0, sizeof(p));
    p.on = on;
    ticks = idles = 0;
    manual_spawn(m, 0, &p, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    manual_close(m);
    return 0;
}

static void every(tr_actor *self, void *context)
{
    began = m->now_ns;
    timer = tr_every(self, *(uint64_t *)context);
}

static void idle_after(tr_actor *self, void *context)
{
    began = m->now_ns;
    timer = tr_idle_after(self, *(uint64_t *)context);
}

static void cancel(tr_actor *self, void *context)
{
    *(bool *)context = tr_timer_cancel(self, timer);
}

/* ---- tr_every ------------------------------------------------------------------------------------------ */

static void the_kth_tick_is_at_start_plus_k_periods(void **state)
{
    (void)state;
    uint64_t period = TR_MILLIS(10);
    manual_do(m, p.address, every, &period);
    for (uint64_t k = 1; k <= 50; k++) {
        manual_step(m, TR_MILLIS(10) - TR_MICROS(7)); /* who drives it is always a bit off */
        m->now_ns = began + k * period + TR_MICROS(70);
        manual_pump(m);
        assert_int_equal(ticks, k);
        assert_int_equal(counts[k - 1], k);
        assert_int_equal(missed[k - 1], 0);
    }
}

static void a_late_loop_gives_one_tick_that_says_how_many_were_missed(void **state)
{
    (void)state;
    uint64_t period = TR_MILLIS(10);
    manual_do(m, p.address, every, &period);
    m->now_ns += TR_MILLIS(57);
    manual_pump(m);
    assert_int_equal(ticks, 1);
    assert_int_equal(counts[0], 5);
    assert_int_equal(missed[0], 4);
    manual_step(m, TR_MILLIS(4)); /* the sixth is when it would have been */
    assert_int_equal(ticks, 2);
    assert_int_equal(counts[1], 6);
    assert_int_equal(missed[1], 0);
}

/* It handles one message a turn, so what comes waits. */
static void a_busy_actor_has_one_tick_waiting_at_most(void **state)
{
    (void)state;
    uint64_t period = TR_MICROS(500);
    manual_do(m, p.address, every, &period);
    for (int i = 0; i < 4000; i++)
        manual_mark(m, p.address, 1);
    tr_actor *actor = manual_actor(m, p.address);
    p.trail[0] = '\0';
    m->clock_step_ns = TR_MICROS(200);
    for (int i = 0; i < 50; i++) {
        manual_turn(m, 0);
        uint32_t waiting = 0;
        for (const tr_msg *msg = actor->head; msg; msg = msg->next)
            waiting += strcmp(tr_msg_type_name(msg), "tr_tick") == 0;
        assert_true(waiting <= 1);
        p.trail[0] = '\0';
    }
    m->clock_step_ns = 0;
    while (actor->count) {
        p.trail[0] = '\0';
        manual_turn(m, 0);
    }
    uint64_t sum = 0;
    for (uint64_t i = 0; i < ticks; i++)
        sum += 1 + missed[i];
    assert_true(ticks >= 1);
    assert_int_equal(sum, counts[ticks - 1]); /* none is unaccounted for */
}

static void one_taken_back_is_not_handled_even_if_it_waits(void **state)
{
    (void)state;
    uint64_t period = TR_MILLIS(10);
    bool was = false;
    manual_do(m, p.address, every, &period);
    manual_tell(m, p.address, cancel, &was); /* queued before the tick, which is put behind it */
    m->now_ns += TR_MILLIS(11);
    manual_pump(m);
    manual_step(m, TR_SECONDS(1));
    assert_true(was);
    assert_int_equal(ticks, 0);
    manual_do(m, p.address, cancel, &was);
    assert_false(was);
}

/* A long handler: a delay is set when it begins, two when much time has passed in it. */
static uint64_t came[3];

static void on_mark(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const mark *got = tr_match(msg, mark);
    (void)self;
    puppet->trail[0] = '\0';
    if (got)
        came[got->n] = m->now_ns;
}

static void set_short_and_long(tr_actor *self, void *context)
{
    (void)context;
    tr_after(self, TR_SECONDS(1), mark, .n = 2);
    m->now_ns += TR_MILLIS(503);
    began = m->now_ns;
    tr_after(self, TR_MILLIS(900), mark, .n = 0);
    tr_after(self, TR_SECONDS(2), mark, .n = 1);
}

static void a_delay_counts_from_its_call_a_long_one_from_the_last_jump_of_the_coarse_clock(void **state)
{
    (void)state;
    m->coarse_step_ns = TR_MILLIS(4);
    p.on = on_mark;
    m->now_ns += TR_MILLIS(2) + 1;
    manual_do(m, p.address, set_short_and_long, NULL);
    manual_step(m, TR_SECONDS(3));
    assert_in_range(came[0] - began, TR_MILLIS(900), TR_MILLIS(901));
    assert_in_range(came[1] - began, TR_MILLIS(1996), TR_MILLIS(2001));
    assert_in_range(came[2] - began, TR_MILLIS(1000 - 503 - 4), TR_MILLIS(1001 - 503));
}

static void what_can_be_no_period_is_refused(void **state)
{
    (void)state;
    uint64_t none = 0, forever = TR_FOREVER;
    manual_do(m, p.address, every, &none);
    assert_int_equal(timer.id, 0);
    manual_do(m, p.address, every, &forever);
    assert_int_equal(timer.id, 0);
}

/* ---- tr_idle_after ------------------------------------------------------------------------------------- */

static void idleness_is_told_after_its_time_and_never_early(void **state)
{
    (void)state;
    uint64_t after = TR_MILLIS(80);
    manual_do(m, p.address, idle_after, &after);
    manual_step(m, TR_MILLIS(75));
    assert_int_equal(idles, 0);
    manual_step(m, TR_MILLIS(16));
    assert_int_equal(idles, 1);
    assert_true(idle_at[0] >= TR_MILLIS(80) && idle_at[0] <= TR_MILLIS(91));
}

static void each_message_puts_it_off(void **state)
{
    (void)state;
    uint64_t after = TR_MILLIS(80), last = 0;
    manual_do(m, p.address, idle_after, &after);
    for (int i = 0; i < 20; i++) {
        manual_step(m, TR_MILLIS(53));
        manual_mark(m, p.address, 1);
        manual_pump(m);
        last = m->now_ns - began;
    }
    assert_int_equal(idles, 0);
    manual_step(m, TR_MILLIS(100));
    assert_int_equal(idles, 1);
    assert_true(idle_at[0] - last >= TR_MILLIS(80) && idle_at[0] - last <= TR_MILLIS(91));
}

static void it_is_told_again_while_nothing_comes(void **state)
{
    (void)state;
    uint64_t after = TR_MILLIS(80);
    manual_do(m, p.address, idle_after, &after);
    manual_step(m, TR_MILLIS(1000));
    assert_true(idles >= 10 && idles <= 12);
}

/* ---- without memory ------------------------------------------------------------------------------------ */

static void without_memory_for_a_tick_the_next_one_says_so(void **state)
{
    (void)state;
    uint64_t period = TR_MILLIS(10);
    manual_do(m, p.address, every, &period);
    manual_step(m, TR_MILLIS(11));
    manual_dry_pool(m, 0);
    tr__alloc_fail_at(1);
    m->now_ns += TR_MILLIS(10);
    manual_pump(m);
    tr__alloc_fail_at(0);
    assert_int_equal(ticks, 1);
    manual_step(m, TR_MILLIS(10));
    assert_int_equal(ticks, 2);
    assert_int_equal(counts[1], 3);
    assert_int_equal(missed[1], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_kth_tick_is_at_start_plus_k_periods),
        TEST(a_late_loop_gives_one_tick_that_says_how_many_were_missed),
        TEST(a_busy_actor_has_one_tick_waiting_at_most),
        TEST(one_taken_back_is_not_handled_even_if_it_waits),
        TEST(a_delay_counts_from_its_call_a_long_one_from_the_last_jump_of_the_coarse_clock),
        TEST(what_can_be_no_period_is_refused),
        TEST(idleness_is_told_after_its_time_and_never_early),
        TEST(each_message_puts_it_off),
        TEST(it_is_told_again_while_nothing_comes),
        TEST(without_memory_for_a_tick_the_next_one_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
