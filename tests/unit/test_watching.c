/* What is measured and copied only while somebody watches (actors/operator/meter.h), as the operator's requests show it; and the
 * ring of what a loop did last. */
#include "tests/unit/operator_fixture.h"

#include "actors/operator/meter.h"
#include "base/ring.h"

TR_MESSAGE(note, (u32, number), (string, text))

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const json_t *row_named(const json_t *answer, const char *name)
{
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(answer, "actors"), i, row)
    {
        const char *is = json_string_value(json_object_get(row, "name"));
        if (is && strcmp(is, name) == 0)
            return row;
    }
    return NULL;
}

/* Handling takes 3 ms. */
static void take_3_ms(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet, (void)msg;
    ((manual *)puppet->user)->now_ns += TR_MILLIS(3);
    (void)self;
}

/* ---- the meter ----------------------------------------------------------------------------------------- */

static void nothing_is_measured_until_somebody_watches(void **state)
{
    fixture *f = *state;
    tr__loop *loop = f->m->node->loops[1];
    manual_mark(f->m, f->puppet.address, 1);
    manual_pump(f->m);
    assert_null(loop->meter);
    ask_loop(f, 1, "{\"do\":\"ps\"}");
    assert_null(loop->meter);
    ask_loop(f, 1, "{\"do\":\"top\"}");
    assert_non_null(loop->meter);
    assert_null(f->m->node->loops[0]->meter); /* a loop is asked for itself */
}

static void handling_times_are_those_of_the_actor(void **state)
{
    fixture *f = *state;
    f->puppet.on = take_3_ms;
    f->puppet.user = f->m;
    ask_loop(f, 1, "{\"do\":\"top\"}");
    for (int i = 0; i < 10; i++)
        manual_mark(f->m, f->puppet.address, 1);
    manual_pump(f->m);
    const json_t *row = row_named(ask_loop(f, 1, "{\"do\":\"top\"}"), "ada");
    assert_int_equal(10, number_of(row, "measured"));
    assert_int_equal(30000000, number_of(row, "busy_ns"));
    assert_in_range(number_of(row, "p50_ns"), 2900000, 3000000);
    assert_int_equal(3000000, number_of(row, "p99_ns"));
    assert_string_equal("mark", json_string_value(json_object_get(row, "message")));
    assert_string_equal("last", json_string_value(json_object_get(row, "message_is")));
}

static void percentiles_forget_what_was_long_ago(void **state)
{
    fixture *f = *state;
    f->puppet.on = take_3_ms;
    f->puppet.user = f->m;
    ask_loop(f, 1, "{\"do\":\"top\",\"lease\":60}");
    manual_mark(f->m, f->puppet.address, 1);
    manual_pump(f->m);
    manual_step(f->m, 2 * TR__METER_WINDOW);
    f->puppet.on = NULL;
    manual_mark(f->m, f->puppet.address, 1);
    manual_pump(f->m);
    const json_t *row = row_named(ask_loop(f, 1, "{\"do\":\"top\"}"), "ada");
    assert_int_equal(1, number_of(row, "measured"));
    assert_int_equal(0, number_of(row, "p99_ns"));
    assert_int_equal(3000000, number_of(row, "busy_ns"));
}

static void a_lease_that_is_not_renewed_ends_by_itself(void **state)
{
    fixture *f = *state;
    tr__loop *loop = f->m->node->loops[1];
    ask_loop(f, 1, "{\"do\":\"top\",\"lease\":2}");
    manual_step(f->m, TR_MILLIS(1500));
    ask_loop(f, 1, "{\"do\":\"top\",\"lease\":2}");
    manual_step(f->m, TR_MILLIS(1900));
    assert_non_null(loop->meter);
    manual_step(f->m, TR_MILLIS(200));
    assert_null(loop->meter);
    ask_loop(f, 1, "{\"do\":\"top\",\"lease\":1e9}"); /* more than a minute isn't had */
    manual_step(f->m, TR_SECONDS(TR__LEASE_MAX) + TR_MILLIS(200));
    assert_null(loop->meter);
}

static void a_short_lease_ends_in_time_beside_a_long_one(void **state)
{
    fixture *f = *state;
    tr__loop *loop = f->m->node->loops[1];
    ask_loop(f, 1, "{\"do\":\"top\",\"lease\":60}");
    manual_step(f->m, TR_SECONDS(1));
    ask_loop(f, 1, "{\"do\":\"tap\",\"to\":\"ada\",\"lease\":2}");
    assert_non_null(loop->taps);
    manual_step(f->m, TR_MILLIS(2100));
    assert_null(loop->taps);
    assert_non_null(loop->meter);
    manual_step(f->m, TR_SECONDS(TR__LEASE_MAX));
    assert_null(loop->meter);
}

static void beyond_the_bound_actors_are_counted_as_not_measured(void **state)
{
    fixture *f = *state;
    int many = TR__METER_ACTORS;
    ask_loop(f, 1, "{\"do\":\"top\",\"lease\":60}");
    manual_puppet *puppets = calloc((size_t)many, sizeof(*puppets));
    for (int i = 0; i < many; i++) {
        manual_spawn(f->m, 1, &puppets[i], NULL);
        manual_pump(f->m);
    }
    const json_t *top = ask_loop(f, 1, "{\"do\":\"top\"}");
    assert_int_equal(TR__METER_ACTORS / LOOPS, json_array_size(json_object_get(top, "actors")));
    assert_true(number_of(top, "unmetered") >= many - TR__METER_ACTORS / LOOPS);
    assert_true(number_of(top, "count") >= many);
    manual_stop(f->m);
    free(puppets);
}

static void without_memory_top_answers_nothing_and_the_node_lives(void **state)
{
    fixture *f = *state;
    for (int n = 1; n < 60; n++) {
        tr__operator_request r = {.number = ++f->number, .text = "{\"do\":\"top\"}"};
        assert_int_equal(TR_OK,
                         tr__post_notice(f->m->node, f->operators.actors[1], &tr__operator_request_type, &r));
        tr__alloc_fail_at(n);
        manual_pump(f->m);
        tr__alloc_fail_at(0);
        json_decref(f->answers[1]);
        f->answers[1] = NULL;
        manual_step(f->m, TR_SECONDS(4)); /* the lease's end, so that the next begins anew */
        assert_null(f->m->node->loops[1]->meter);
    }
}

/* ---- how long a message has waited --------------------------------------------------------------------- */

static tr_err sleep_long(tr_actor *self, void *arg)
{
    (void)arg;
    return tr_sleep(self, TR_SECONDS(100));
}
TR_ACTOR(sleeper_def, .run = sleep_long);

static void the_age_of_the_oldest_message_is_told_without_a_watcher(void **state)
{
    fixture *f = *state;
    tr_addr sleeper = manual_spawn_def(f->m, 1, &sleeper_def, NULL, &(tr_spawn_opts){.name = "sleeper"});
    manual_pump(f->m);
    manual_mark(f->m, sleeper, 1);
    manual_step(f->m, TR_SECONDS(5));
    manual_mark(f->m, sleeper, 2);
    const json_t *row = row_named(ask_loop(f, 1, "{\"do\":\"ps\"}"), "sleeper");
    assert_int_equal(2, number_of(row, "mailbox"));
    assert_in_range(number_of(row, "oldest_ms"), 4990, 5000);
    assert_string_equal("sleeps", json_string_value(json_object_get(row, "state")));
}

static void stamps_come_round_after_three_days(void **state)
{
    uint32_t stamp = 12345;
    uint64_t at = (uint64_t)stamp << TR__STAMP_SHIFT;
    (void)state;
    assert_int_equal(0, tr__stamp_age(stamp, at));
    assert_in_range(tr__stamp_age(stamp, at + TR_SECONDS(3600)), TR_SECONDS(3599), TR_SECONDS(3600));
    assert_int_equal(2u << TR__STAMP_SHIFT, tr__stamp_age(UINT32_MAX, ((1ull << 32) + 1) << TR__STAMP_SHIFT));
}

/* ---- taps ---------------------------------------------------------------------------------------------- */

static json_int_t open_tap(fixture *f, const char *more)
{
    char request[128];
    snprintf(request, sizeof(request), "{\"do\":\"tap\",\"to\":\"ada\"%s}", more);
    const json_t *answer = ask_loop(f, 1, request);
    assert_answer(answer, "\"ok\":true");
    return number_of(answer, "tap");
}

static json_t *take(fixture *f, json_int_t tap)
{
    char request[128];
    snprintf(request, sizeof(request), "{\"do\":\"tap\",\"to\":\"ada\",\"tap\":%lld}", (long long)tap);
    return ask_loop(f, 1, request);
}

static void send_notes(tr_actor *self, void *context)
{
    static char large[TR__TAP_CONTENT + 1];
    tr_addr to = *(tr_addr *)context;
    memset(large, 'x', sizeof(large) - 1);
    tr_send(self, to, note, .number = 7, .text = "hello");
    tr_send(self, to, note, .text = large);
}

static void a_tap_copies_what_its_actor_gets(void **state)
{
    fixture *f = *state;
    static manual_puppet eve; /* lives until the fixture's end */
    memset(&eve, 0, sizeof(eve));
    manual_spawn(f->m, 0, &eve, NULL);
    manual_mark(f->m, f->puppet.address, 1); /* before */
    manual_pump(f->m);
    json_int_t tap = open_tap(f, "");
    assert_answer(f->answers[1], "\"messages\":[]");
    manual_do(f->m, eve.address, send_notes, &f->puppet.address);
    json_t *told = take(f, tap);
    assert_answer(told, "\"kind\":\"send\",\"type\":\"note\"");
    assert_answer(told, "\"content\":{\"number\":7,\"text\":\"hello\"}");
    char from[TR_ADDR_TEXT_MAX + 16] = "\"from\":\"";
    tr_addr_format(eve.address, from + strlen(from));
    assert_answer(told, from);
    assert_answer(told, "\"content\":null"); /* too large: only its size */
    assert_int_equal(2, json_array_size(json_object_get(told, "messages")));
    assert_answer(take(f, tap), "\"messages\":[]"); /* each is told once */
    assert_string_equal("init 1 note note ", f->puppet.trail);
}

static void a_tap_is_bounded_and_counts_its_losses(void **state)
{
    fixture *f = *state;
    json_int_t tap = open_tap(f, "");
    uint32_t sent = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 500; i++, sent++)
            manual_mark(f->m, f->puppet.address, 1);
        manual_pump(f->m);
        f->puppet.trail[0] = '\0';
    }
    const json_t *told = take(f, tap);
    size_t copies = json_array_size(json_object_get(told, "messages"));
    assert_int_equal(TR__TAP_RATE, copies); /* all came in one second */
    assert_int_equal(sent - copies, number_of(told, "lost"));
    assert_int_equal(0, number_of(take(f, tap), "lost"));
}

static void a_tap_ends_with_its_lease_or_when_it_is_closed(void **state)
{
    fixture *f = *state;
    tr__loop *loop = f->m->node->loops[1];
    json_int_t tap = open_tap(f, ",\"lease\":2");
    assert_non_null(loop->taps);
    manual_step(f->m, TR_MILLIS(2200));
    assert_null(loop->taps);
    assert_answer(take(f, tap), "\"code\":\"not-found\"");
    open_tap(f, ",\"close\":true");
    assert_null(loop->taps);
    for (int i = 0; i < TR__TAPS_MAX; i++)
        open_tap(f, "");
    assert_answer(ask_loop(f, 1, "{\"do\":\"tap\",\"to\":\"ada\"}"), "\"code\":\"full\"");
    assert_answer(ask_loop(f, 1, "{\"do\":\"tap\",\"to\":\"bob\"}"), "\"code\":\"not-found\"");
}

/* ---- the ring ------------------------------------------------------------------------------------------ */

static void a_loops_ring_tells_what_it_did_last(void **state)
{
    fixture *f = *state;
    tr__ring_seen seen = {0};
    manual_mark(f->m, f->puppet.address, 1);
    manual_pump(f->m);
    assert_true(tr__ring_get(&f->m->node->loops[1]->ring, 0, &seen));
    assert_int_equal(TR__TRACE_RUN, seen.kind);
    assert_int_equal(f->puppet.address.slot, seen.who);
    assert_string_equal("mark", ((const tr_typeinfo *)seen.what)->name);
}

static void a_ring_keeps_the_newest(void **state)
{
    static tr__ring ring;
    tr__ring_seen seen = {0};
    (void)state;
    assert_false(tr__ring_get(&ring, 0, &seen));
    for (uint32_t i = 0; i < TR__RING_RECORDS + 10; i++) {
        tr__ring_stamp(&ring, i);
        tr__ring_put(&ring, i % TR__TRACE_COUNT, i, &ring);
    }
    assert_true(tr__ring_get(&ring, 0, &seen));
    assert_int_equal(TR__RING_RECORDS + 9, seen.who);
    assert_int_equal(TR__RING_RECORDS + 9, seen.stamp);
    assert_true(tr__ring_get(&ring, TR__RING_RECORDS - 1, &seen));
    assert_int_equal(10, seen.who);
    assert_int_equal(10 % TR__TRACE_COUNT, seen.kind);
    assert_ptr_equal(&ring, seen.what);
    assert_false(tr__ring_get(&ring, TR__RING_RECORDS, &seen));
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(nothing_is_measured_until_somebody_watches),
        LOOP_TEST(handling_times_are_those_of_the_actor),
        LOOP_TEST(percentiles_forget_what_was_long_ago),
        LOOP_TEST(a_lease_that_is_not_renewed_ends_by_itself),
        LOOP_TEST(a_short_lease_ends_in_time_beside_a_long_one),
        LOOP_TEST(beyond_the_bound_actors_are_counted_as_not_measured),
        LOOP_TEST(without_memory_top_answers_nothing_and_the_node_lives),
        LOOP_TEST(the_age_of_the_oldest_message_is_told_without_a_watcher),
        cmocka_unit_test(stamps_come_round_after_three_days),
        LOOP_TEST(a_tap_copies_what_its_actor_gets),
        LOOP_TEST(a_tap_is_bounded_and_counts_its_losses),
        LOOP_TEST(a_tap_ends_with_its_lease_or_when_it_is_closed),
        LOOP_TEST(a_loops_ring_tells_what_it_did_last),
        cmocka_unit_test(a_ring_keeps_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
