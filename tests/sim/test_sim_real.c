/* The simulated network does what was measured of real processes over TCP (docs/scenarios.md). */
#include <stdlib.h>

#include "tests/sim/raw.h"

#define FRAME_EVERY TR_MILLIS(10)

/* Both ends send a frame now and then, for so long. */
static void talk_for(raw *r, uint64_t duration_ns)
{
    for (uint64_t until = tr_sim_now(r->sim) + duration_ns; tr_sim_now(r->sim) < until;) {
        raw_end *ends[] = {&r->client, &r->server};
        for (int i = 0; i < 2; i++) {
            ends[i]->to_send = ends[i]->frames_sent + 1;
            if (!ends[i]->stream->sending)
                raw_send_next(ends[i]);
        }
        tr_sim_step(r->sim, FRAME_EVERY);
    }
}

static void what_isnt_acknowledged_stops_the_other_direction_too(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(1));
    tr_sim_cut(r->sim, 0, 1);
    uint64_t before = r->client.frames_received;
    talk_for(r, TR_SECONDS(5));
    uint64_t after = r->client.frames_received;
    assert_in_range(after - before, 15, 25); /* 200 ms */
    assert_int_equal(r->server.frames_received, before);
    tr_sim_heal(r->sim, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(5));
    assert_int_equal(r->client.frames_received, r->server.frames_sent);
    assert_int_equal(r->server.frames_received, r->client.frames_sent);
    raw_close(r);
}

static void after_a_cut_it_may_take_as_long_again_and_not_longer(void **state)
{
    uint64_t longest = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        raw *r = raw_open(seed, 0, 1);
        tr_sim_step(r->sim, TR_SECONDS(1));
        tr_sim_cut(r->sim, 0, 1);
        talk_for(r, TR_SECONDS(7));
        uint64_t before = r->server.frames_received, healed = tr_sim_now(r->sim);
        tr_sim_heal(r->sim, 0, 1);
        while (r->server.frames_received == before)
            tr_sim_step(r->sim, TR_MILLIS(1));
        uint64_t took = tr_sim_now(r->sim) - healed;
        longest = took > longest ? took : longest;
        raw_close(r);
    }
    assert_in_range(longest, TR_SECONDS(5), TR_MILLIS(7100));
}

static void a_dial_that_began_in_a_cut_gets_through_when_it_heals(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(1));
    raw_end_close(&r->client);
    raw_end_close(&r->server);
    r->sim->nodes[0].net.net.undial(r->dial);
    tr_sim_cut(r->sim, 1, 0);
    uint64_t began = tr_sim_now(r->sim);
    memset(&r->client, 0, sizeof(r->client));
    memset(&r->server, 0, sizeof(r->server));
    raw_dial(r, TR_SECONDS(5));
    tr_sim_step(r->sim, TR_MILLIS(1500));
    assert_int_equal(r->dialled, TR_EAGAIN);
    tr_sim_heal(r->sim, 1, 0);
    tr_sim_step(r->sim, TR_SECONDS(2));
    assert_int_equal(r->dialled, TR_OK);
    assert_in_range(r->dialled_at - began, TR_SECONDS(3), TR_MILLIS(3010)); /* the third try */
    raw_close(r);
}

static void the_system_answers_a_dial_for_a_process_that_stands_still(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 3);
    tr_sim_pause(r->sim, 1, TR_SECONDS(20));
    tr_sim_step(r->sim, TR_SECONDS(10));
    assert_int_equal(r->dialled, TR_OK);
    assert_non_null(r->client.stream);
    assert_null(r->server.stream);
    tr_sim_step(r->sim, TR_SECONDS(11));
    assert_non_null(r->server.stream);
    assert_int_equal(r->server.frames_received, 3);
    assert_int_equal(r->client.frames_received, 3);
    raw_close(r);
}

static void who_dialled_it_hears_if_it_dies_without_going_on(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 0);
    tr_sim_pause(r->sim, 1, TR_FOREVER);
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->dialled, TR_OK);
    tr_sim_kill(r->sim, 1, false);
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->client.downs, 1);
    raw_close(r);
}

static void killed_with_bytes_unread_it_may_lose_the_end_of_what_it_sent(void **state)
{
    uint32_t lost = 0, whole = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        raw *r = raw_open(seed, 0, 0);
        tr_sim_step(r->sim, TR_SECONDS(1));
        r->server.to_send = 10;
        r->client.to_send = 10;
        raw_send_next(&r->server);
        tr_sim_step(r->sim, TR_MICROS(10)); /* under way */
        bool unread = seed % 2;
        if (unread) {
            raw_send_next(&r->client);
            tr_sim_pause(r->sim, 1, TR_FOREVER);
            tr_sim_pause(r->sim, 0, TR_MILLIS(100)); /* nor does the other side read yet */
            tr_sim_step(r->sim, TR_MILLIS(1));
        }
        uint64_t sent = r->server.frames_sent;
        tr_sim_kill(r->sim, 1, false);
        tr_sim_step(r->sim, TR_SECONDS(1));
        assert_int_equal(r->client.downs, 1);
        lost += unread && r->client.frames_received < sent;
        whole += !unread && r->client.frames_received == sent;
        raw_close(r);
    }
    assert_true(lost > 5);
    assert_int_equal(whole, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_isnt_acknowledged_stops_the_other_direction_too),
        cmocka_unit_test(after_a_cut_it_may_take_as_long_again_and_not_longer),
        cmocka_unit_test(a_dial_that_began_in_a_cut_gets_through_when_it_heals),
        cmocka_unit_test(the_system_answers_a_dial_for_a_process_that_stands_still),
        cmocka_unit_test(who_dialled_it_hears_if_it_dies_without_going_on),
        cmocka_unit_test(killed_with_bytes_unread_it_may_lose_the_end_of_what_it_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
