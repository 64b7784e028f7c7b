/* base/wheel.c: by hand, and against a sorted list under random operations (a seed replays). */
#include "base/random.h"
#include "base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define TICK (1ull << TR__WHEEL_TICK_BITS)
#define YEAR (365ull * 24 * 3600 * 1000000000)

static tr__wheel wheel;
static tr__timer timers[8];

static int empty_wheel(void **state)
{
    (void)state;
    tr__wheel_init(&wheel, 0);
    memset(timers, 0, sizeof timers);
    return 0;
}

/* The mask of each level says exactly which lists have something in them, and the lists hold `count` timers.
 */
static void assert_masks_match_lists(void)
{
    uint64_t count = 0;
    for (int level = 0; level < TR__WHEEL_LEVELS; level++) {
        for (int slot = 0; slot < TR__WHEEL_SLOTS; slot++) {
            const tr__timer *head = &wheel.slots[level][slot];
            assert_int_equal(wheel.occupied[level] >> slot & 1, head->next != head);
            for (const tr__timer *timer = head->next; timer != head; timer = timer->next, count++)
                assert_ptr_equal(timer->next->prev, timer);
        }
    }
    for (const tr__timer *timer = wheel.expired.next; timer != &wheel.expired; timer = timer->next)
        count++;
    assert_int_equal(count, wheel.count);
}

/* By hand */

static void an_empty_wheel_has_nothing_due(void **state)
{
    (void)state;
    assert_int_equal(tr__wheel_next_due(&wheel), TR__NEVER);
    assert_null(tr__wheel_pop(&wheel, 0));
    assert_null(tr__wheel_pop(&wheel, 50 * YEAR));
    assert_int_equal(tr__wheel_next_due(&wheel), TR__NEVER);
}

static void a_timer_fires_at_the_first_tick_that_is_not_early(void **state)
{
    (void)state;
    static const struct {
        uint64_t due, fires;
    } rows[] = {{0, 0}, {1, TICK}, {TICK, TICK}, {TICK + 1, 2 * TICK}, {1000 * TICK - 1, 1000 * TICK}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tr__wheel_init(&wheel, 0);
        tr__wheel_set(&wheel, &timers[0], rows[i].due);
        assert_true(tr__timer_is_set(&timers[0]));
        if (rows[i].fires > 0)
            assert_null(tr__wheel_pop(&wheel, rows[i].fires - 1));
        assert_ptr_equal(tr__wheel_pop(&wheel, rows[i].fires), &timers[0]);
        assert_false(tr__timer_is_set(&timers[0]));
        assert_null(tr__wheel_pop(&wheel, rows[i].fires));
    }
}

static void a_due_time_in_the_past_fires_at_the_next_tick(void **state)
{
    (void)state;
    assert_null(tr__wheel_pop(&wheel, 100 * TICK));
    tr__wheel_set(&wheel, &timers[0], 3);
    assert_int_equal(tr__wheel_next_due(&wheel), 101 * TICK);
    assert_null(tr__wheel_pop(&wheel, 100 * TICK));
    assert_ptr_equal(tr__wheel_pop(&wheel, 101 * TICK), &timers[0]);
}

static void ties_fire_in_the_order_of_setting(void **state)
{
    (void)state;
    uint64_t due = 70000 * TICK;
    for (int i = 0; i < 3; i++) /* far ahead: two cascades before it is their turn */
        tr__wheel_set(&wheel, &timers[i], due - (uint64_t)i);
    assert_null(tr__wheel_pop(&wheel, due - 900 * TICK));
    for (int i = 3; i < 5; i++) /* one cascade before */
        tr__wheel_set(&wheel, &timers[i], due - (uint64_t)i);
    assert_null(tr__wheel_pop(&wheel, due - 5 * TICK));
    for (int i = 5; i < 8; i++)
        tr__wheel_set(&wheel, &timers[i], due - (uint64_t)i);
    for (int i = 0; i < 8; i++)
        assert_ptr_equal(tr__wheel_pop(&wheel, due), &timers[i]);
    assert_null(tr__wheel_pop(&wheel, due));
}

static void a_moved_timer_goes_behind_its_ties(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        tr__wheel_set(&wheel, &timers[i], 9 * TICK);
    tr__wheel_set(&wheel, &timers[0], 9 * TICK);
    assert_int_equal(wheel.count, 3);
    assert_ptr_equal(tr__wheel_pop(&wheel, 9 * TICK), &timers[1]);
    assert_ptr_equal(tr__wheel_pop(&wheel, 9 * TICK), &timers[2]);
    assert_ptr_equal(tr__wheel_pop(&wheel, 9 * TICK), &timers[0]);
}

static void cancel_takes_it_out_and_again_is_nothing(void **state)
{
    (void)state;
    tr__wheel_cancel(&wheel, &timers[0]);
    assert_int_equal(wheel.count, 0);
    tr__wheel_set(&wheel, &timers[0], YEAR);
    tr__wheel_cancel(&wheel, &timers[0]);
    tr__wheel_cancel(&wheel, &timers[0]);
    assert_false(tr__timer_is_set(&timers[0]));
    assert_int_equal(wheel.count, 0);
    assert_int_equal(tr__wheel_next_due(&wheel), TR__NEVER);
    assert_null(tr__wheel_pop(&wheel, 2 * YEAR));
    assert_masks_match_lists();
}

static void what_is_collected_can_still_be_cancelled_and_moved(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        tr__wheel_set(&wheel, &timers[i], (uint64_t)i * TICK);
    assert_ptr_equal(tr__wheel_pop(&wheel, 10 * TICK), &timers[0]);
    tr__wheel_cancel(&wheel, &timers[1]);
    tr__wheel_set(&wheel, &timers[2], 11 * TICK);
    assert_int_equal(tr__wheel_next_due(&wheel), 3 * TICK);
    assert_ptr_equal(tr__wheel_pop(&wheel, 10 * TICK), &timers[3]);
    assert_null(tr__wheel_pop(&wheel, 10 * TICK));
    assert_int_equal(wheel.count, 1);
    assert_ptr_equal(tr__wheel_pop(&wheel, 11 * TICK), &timers[2]);
    assert_masks_match_lists();
}

static void a_round_ends_though_its_handlers_set_due_timers(void **state)
{
    (void)state;
    uint64_t now = 5000 * TICK;
    for (int i = 0; i < 3; i++)
        tr__wheel_set(&wheel, &timers[i], 70 * TICK * (uint64_t)i);
    for (uint64_t round = 0; round < 5; round++, now += TICK) {
        for (int i = 0; i < 3; i++) {
            tr__timer *timer = tr__wheel_pop(&wheel, now);
            assert_ptr_equal(timer, &timers[i]);
            tr__wheel_set(&wheel, timer, now - 10 * TICK * (uint64_t)i);
        }
        assert_null(tr__wheel_pop(&wheel, now));
    }
}

static void time_that_goes_back_finds_nothing(void **state)
{
    (void)state;
    assert_null(tr__wheel_pop(&wheel, 100 * TICK));
    tr__wheel_set(&wheel, &timers[0], 101 * TICK);
    assert_null(tr__wheel_pop(&wheel, 7 * TICK));
    tr__wheel_set(&wheel, &timers[1], 50 * TICK);
    assert_null(tr__wheel_pop(&wheel, 60 * TICK));
    assert_ptr_equal(tr__wheel_pop(&wheel, 101 * TICK), &timers[0]);
    assert_ptr_equal(tr__wheel_pop(&wheel, 101 * TICK), &timers[1]);
}

static void a_deadline_beyond_the_wheels_reach_waits_for_its_time(void **state)
{
    (void)state;
    tr__wheel_set(&wheel, &timers[0], 40 * YEAR);
    tr__wheel_set(&wheel, &timers[1], TR__NEVER);
    tr__wheel_set(&wheel, &timers[2], 40 * YEAR + TICK);
    uint64_t now = 0;
    for (int steps = 0; now < 40 * YEAR; steps++) {
        assert_null(tr__wheel_pop(&wheel, now));
        assert_true(steps < 40);
        assert_true(tr__wheel_next_due(&wheel) > now);
        now = tr__wheel_next_due(&wheel);
    }
    assert_ptr_equal(tr__wheel_pop(&wheel, 40 * YEAR + 2 * TICK), &timers[0]);
    assert_ptr_equal(tr__wheel_pop(&wheel, 40 * YEAR + 2 * TICK), &timers[2]);
    assert_null(tr__wheel_pop(&wheel, 500 * YEAR));
    assert_null(tr__wheel_pop(&wheel, TR__NEVER));
    assert_int_equal(tr__wheel_next_due(&wheel), TR__NEVER);
    assert_int_equal(wheel.count, 1);
}

/* 2^58 ns is where the digits of the top level begin anew; the wall clock passed seven of these by 2033. */
static void the_top_levels_wrap_is_like_any_other_time(void **state)
{
    (void)state;
    uint64_t wrap = 7ull << 58;
    tr__wheel_init(&wheel, wrap - 3 * TICK);
    tr__wheel_set(&wheel, &timers[3], wrap + YEAR);
    tr__wheel_set(&wheel, &timers[2], wrap + TICK);
    tr__wheel_set(&wheel, &timers[1], wrap);
    tr__wheel_set(&wheel, &timers[0], wrap - TICK);
    assert_int_equal(tr__wheel_next_due(&wheel), wrap - TICK);
    for (int i = 0; i < 3; i++) {
        assert_null(tr__wheel_pop(&wheel, wrap + TICK * (uint64_t)i - TICK - 1));
        assert_ptr_equal(tr__wheel_pop(&wheel, wrap + TICK * (uint64_t)i - TICK), &timers[i]);
    }
    assert_null(tr__wheel_pop(&wheel, wrap + YEAR - 1));
    assert_ptr_equal(tr__wheel_pop(&wheel, wrap + YEAR + TICK), &timers[3]);
}

/* A wheel that stands in a slot's span must have spread it, or later timers get before earlier ones. */
static void a_slot_that_begins_just_behind_now_is_spread(void **state)
{
    (void)state;
    tr__wheel_set(&wheel, &timers[0], 64 * TICK);
    tr__wheel_set(&wheel, &timers[1], 66 * TICK);
    assert_null(tr__wheel_pop(&wheel, 63 * TICK));
    tr__wheel_set(&wheel, &timers[2], 66 * TICK);
    assert_int_equal(tr__wheel_next_due(&wheel), 64 * TICK);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(tr__wheel_pop(&wheel, 70 * TICK), &timers[i]);
}

/* Against a sorted list */

#define ENTRIES 300

typedef struct entry {
    tr__timer timer;
    uint64_t tick, order; /* the model's keys: by tick, then by order of setting */
    struct entry *next;   /* of the model's list */
    bool set;
} entry;

static struct {
    entry entries[ENTRIES];
    entry *first;
    uint64_t tick, orders, count, now;
    tr__random random;
} model;

static void model_remove(entry *gone)
{
    for (entry **at = &model.first; *at; at = &(*at)->next) {
        if (*at == gone) {
            *at = gone->next;
            gone->set = false;
            model.count--;
            return;
        }
    }
}

static void model_set(entry *e, uint64_t due)
{
    if (e->set)
        model_remove(e);
    e->tick = due / TICK + (due % TICK != 0);
    if (e->tick < model.tick)
        e->tick = model.tick;
    e->order = model.orders++;
    e->set = true;
    model.count++;
    entry **at = &model.first;
    while (*at && (*at)->tick <= e->tick)
        at = &(*at)->next;
    e->next = *at;
    *at = e;
}

static entry *model_pop(uint64_t now)
{
    if (!(model.first && model.first->tick < model.tick) && now / TICK >= model.tick)
        model.tick = now / TICK + 1;
    entry *e = model.first;
    if (!e || e->tick >= model.tick)
        return NULL;
    model_remove(e);
    return e;
}

/* A span whose logarithm is even, so that all levels are met. */
static uint64_t random_span(unsigned bits)
{
    return tr__random_next(&model.random) >> (64 - 1 - tr__random_below(&model.random, bits));
}

static void set_one(unsigned bits)
{
    entry *e = &model.entries[tr__random_below(&model.random, ENTRIES)];
    uint64_t due = model.now + random_span(bits);
    switch (tr__random_below(&model.random, 8)) {
    case 0:
        due = model.now - tr__random_below(&model.random, model.now + 1) / 1000;
        break;
    case 1: /* a tie with another */
        due = model.entries[tr__random_below(&model.random, ENTRIES)].timer.due_ns;
        break;
    case 2:
        due -= due % TICK;
        break;
    }
    tr__wheel_set(&wheel, &e->timer, due);
    model_set(e, due);
}

static void cancel_one(void)
{
    entry *e = &model.entries[tr__random_below(&model.random, ENTRIES)];
    tr__wheel_cancel(&wheel, &e->timer);
    model_remove(e);
}

static void assert_next_due_holds(void)
{
    uint64_t said = tr__wheel_next_due(&wheel);
    if (!model.first) {
        assert_int_equal(said, TR__NEVER);
        return;
    }
    assert_true(said <= model.first->tick * TICK);
    if (model.first->tick < model.tick)
        return; /* collected: any time that has passed will do */
    assert_true(said >= model.tick * TICK);
    if (model.first->tick / TR__WHEEL_SLOTS == model.tick / TR__WHEEL_SLOTS)
        assert_int_equal(said, model.first->tick * TICK);
}

static void pop_all(unsigned bits)
{
    for (;;) {
        entry *expected = model_pop(model.now);
        tr__timer *timer = tr__wheel_pop(&wheel, model.now);
        assert_ptr_equal(timer, expected ? &expected->timer : NULL);
        if (!timer)
            return;
        assert_true(timer->due_ns <= model.now);
        assert_next_due_holds();
        if (tr__random_below(&model.random, 4) == 0) /* what a handler may do */
            set_one(bits);
        if (tr__random_below(&model.random, 8) == 0)
            cancel_one();
    }
}

static void run_steps(uint64_t start, unsigned bits, int steps)
{
    memset(model.entries, 0, sizeof model.entries);
    model.first = NULL;
    model.count = model.orders = 0;
    model.now = start;
    model.tick = start / TICK;
    tr__wheel_init(&wheel, start);
    for (int step = 0; step < steps; step++) {
        unsigned dice = (unsigned)tr__random_below(&model.random, 16);
        if (dice < 9) {
            set_one(bits);
        } else if (dice < 12) {
            cancel_one();
        } else {
            uint64_t due = tr__wheel_next_due(&wheel);
            if (dice == 12 && due != TR__NEVER && due > model.now)
                model.now = due - tr__random_below(&model.random, 2);
            else
                model.now += random_span(bits) / 8;
            pop_all(bits);
        }
        assert_int_equal(wheel.count, model.count);
        assert_next_due_holds();
        if (step % 64 == 0)
            assert_masks_match_lists();
    }
}

static void any_operations_give_what_a_sorted_list_gives(void **state)
{
    (void)state;
    const char *given = getenv("TROUPE_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 20261123;
    print_message("seed %llu (TROUPE_TEST_SEED=N for another)\n", (unsigned long long)seed);
    tr__random_init(&model.random, seed);
    for (int episode = 0; episode < 100; episode++) {
        static const uint64_t starts[] = {0, 12345678901, 1795459000ull * 1000000000,
                                          (7ull << 58) - 90 * TICK};
        unsigned bits = 17 + (unsigned)tr__random_below(&model.random, 40);
        run_steps(starts[episode % 4], bits, 2000);
    }
}

/* However far, next_due leads there in a step a level. */
static void following_next_due_arrives_in_a_step_a_level(void **state)
{
    (void)state;
    tr__random_init(&model.random, 9);
    for (int i = 0; i < 2000; i++) {
        uint64_t now = tr__random_next(&model.random) >> 3;
        tr__wheel_init(&wheel, now);
        memset(timers, 0, sizeof timers);
        uint64_t due = now + random_span(57);
        tr__wheel_set(&wheel, &timers[0], due);
        int steps = 0;
        while (!tr__wheel_pop(&wheel, now)) {
            assert_true(++steps <= TR__WHEEL_LEVELS);
            now = tr__wheel_next_due(&wheel);
        }
        assert_true(now >= due && now - due < TICK);
    }
}

/* Seconds of processor time, under a sanitizer too; a wheel that walks lists or empty slots takes hours. */
static void a_million_timers_are_set_moved_cancelled_and_fired_quickly(void **state)
{
    (void)state;
    enum { N = 1000000 };
    tr__timer *many = calloc(N, sizeof *many);
    assert_non_null(many);
    tr__random_init(&model.random, 1);
    clock_t began = clock();
    for (int i = 0; i < N; i++)
        tr__wheel_set(&wheel, &many[i], tr__random_below(&model.random, 3600ull * 1000000000));
    for (int i = 0; i < N; i++)
        tr__wheel_set(&wheel, &many[i], tr__random_below(&model.random, 10 * YEAR));
    assert_int_equal(wheel.count, N);
    for (int i = 0; i < N; i += 2)
        tr__wheel_cancel(&wheel, &many[i]);
    uint64_t fired = 0, rounds = 0, now = 0;
    for (; wheel.count > 0; rounds++, now += YEAR / 1000)
        while (tr__wheel_pop(&wheel, now))
            fired++;
    assert_int_equal(fired, N / 2);
    assert_in_range(rounds, 9900, 10100);
    assert_true((clock() - began) / CLOCKS_PER_SEC < 20);
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_wheel_has_nothing_due, empty_wheel),
        cmocka_unit_test_setup(a_timer_fires_at_the_first_tick_that_is_not_early, empty_wheel),
        cmocka_unit_test_setup(a_due_time_in_the_past_fires_at_the_next_tick, empty_wheel),
        cmocka_unit_test_setup(ties_fire_in_the_order_of_setting, empty_wheel),
        cmocka_unit_test_setup(a_moved_timer_goes_behind_its_ties, empty_wheel),
        cmocka_unit_test_setup(cancel_takes_it_out_and_again_is_nothing, empty_wheel),
        cmocka_unit_test_setup(what_is_collected_can_still_be_cancelled_and_moved, empty_wheel),
        cmocka_unit_test_setup(a_round_ends_though_its_handlers_set_due_timers, empty_wheel),
        cmocka_unit_test_setup(time_that_goes_back_finds_nothing, empty_wheel),
        cmocka_unit_test_setup(a_deadline_beyond_the_wheels_reach_waits_for_its_time, empty_wheel),
        cmocka_unit_test_setup(the_top_levels_wrap_is_like_any_other_time, empty_wheel),
        cmocka_unit_test_setup(a_slot_that_begins_just_behind_now_is_spread, empty_wheel),
        cmocka_unit_test_setup(any_operations_give_what_a_sorted_list_gives, empty_wheel),
        cmocka_unit_test_setup(following_next_due_arrives_in_a_step_a_level, empty_wheel),
        cmocka_unit_test_setup(a_million_timers_are_set_moved_cancelled_and_fired_quickly, empty_wheel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
