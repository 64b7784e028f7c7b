/* The simulated network behaves as the real one does: S5 of sim.h, and the ways in which connections come and go. */
#include "tests/sim/raw.h"

#define BIT(fault) (1u << TR_SIM_##fault)

/* ---- what is up ---------------------------------------------------------------------------------------- */

static void bytes_arrive_once_and_in_order_however_they_are_cut_and_delayed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        raw *r = raw_open(seed, BIT(LATENCY) | BIT(PIECES) | BIT(CLOG), 50);
        tr_sim_step(r->sim, TR_SECONDS(20));
        tr_sim_heal_all(r->sim);
        tr_sim_step(r->sim, TR_SECONDS(5));
        assert_int_equal(r->server.frames_received, 50);
        assert_int_equal(r->client.frames_received, 50);
        assert_int_equal(r->client.sents, 50);
        assert_int_equal(r->client.downs + r->server.downs, 0);
        raw_close(r);
    }
}

static void a_clogged_direction_stands_still_until_its_time_or_healing(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(1));
    uint64_t until = tr_sim_now(r->sim) + TR_SECONDS(5);
    r->server.stream->clogged_until = until;
    r->client.to_send = r->server.to_send = 2;
    raw_send_next(&r->client);
    raw_send_next(&r->server);
    tr_sim_step(r->sim, TR_MILLIS(4999));
    assert_int_equal(r->server.frames_received, 1);
    assert_int_equal(r->client.frames_received, 2);
    tr_sim_step(r->sim, TR_MILLIS(2));
    assert_int_equal(r->server.frames_received, 2);
    r->server.stream->clogged_until = TR_SECONDS(1000);
    r->client.to_send = 3;
    raw_send_next(&r->client);
    tr_sim_step(r->sim, TR_SECONDS(5));
    assert_int_equal(r->server.frames_received, 2);
    tr_sim_heal_all(r->sim);
    tr_sim_step(r->sim, TR_MILLIS(1));
    assert_int_equal(r->server.frames_received, 3);
    raw_close(r);
}

static void the_system_takes_so_many_bytes_and_says_sent_when_there_is_room_again(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 1000);
    r->server.to_send = 0;
    while (!r->server.stream)
        tr_sim_step(r->sim, TR_MICROS(10));
    r->server.stream->clogged_until = TR_SECONDS(5);
    tr_sim_step(r->sim, TR_SECONDS(4));
    assert_in_range(r->client.sents, 200, 230); /* 256 KiB of frames of 1,224 bytes */
    tr_sim_step(r->sim, TR_SECONDS(4));
    assert_int_equal(r->client.sents, 1000);
    assert_int_equal(r->server.frames_received, 1000);
    raw_close(r);
}

static void one_direction_can_be_cut_and_what_waited_arrives_when_it_heals(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(1));
    tr_sim_cut(r->sim, 0, 1);
    r->client.to_send = r->server.to_send = 20;
    raw_send_next(&r->client);
    raw_send_next(&r->server);
    tr_sim_step(r->sim, TR_SECONDS(60));
    assert_int_equal(r->server.frames_received, 1);
    assert_int_equal(r->client.frames_received, 20);
    tr_sim_heal(r->sim, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(61)); /* as long as it was cut, at most */
    assert_int_equal(r->server.frames_received, 20);
    assert_int_equal(r->client.downs + r->server.downs, 0);
    raw_close(r);
}

static void a_node_that_stands_still_hears_nothing_until_it_goes_on(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(1));
    uint32_t sents = r->server.sents;
    tr_sim_pause(r->sim, 1, TR_FOREVER);
    r->client.to_send = r->server.to_send = 10;
    raw_send_next(&r->client);
    raw_send_next(&r->server);
    tr_sim_step(r->sim, TR_SECONDS(30));
    assert_int_equal(r->server.frames_received, 1);
    assert_int_equal(r->server.sents, sents);
    tr_sim_resume(r->sim, 1);
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->server.frames_received, 10);
    assert_int_equal(r->client.frames_received, 10);
    raw_close(r);
}

/* ---- how it ends --------------------------------------------------------------------------------------- */

static void when_it_breaks_a_beginning_of_what_was_sent_has_arrived_and_both_hear(void **state)
{
    uint32_t vanished = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        raw *r = raw_open(seed, 0, 400);
        while (r->client.frames_received < 30)
            tr_sim_step(r->sim, TR_MICROS(50 + seed));
        tr_sim_reset(r->sim, 0, 1);
        tr_sim_step(r->sim, TR_SECONDS(30));
        assert_int_equal(r->client.downs, 1);
        assert_int_equal(r->server.downs, 1);
        vanished += r->server.frames_received < r->client.sents;
        raw_close(r);
    }
    assert_true(vanished > 10);
}

static void half_open_one_side_hears_and_the_other_when_it_sends_or_never(void **state)
{
    uint32_t told = 0, never = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        raw *r = raw_open(seed, 0, 1);
        tr_sim_step(r->sim, TR_SECONDS(1));
        assert_true(sim_net_break(r->sim, 0, 1, true));
        tr_sim_step(r->sim, TR_SECONDS(30));
        raw_end *deaf = r->client.downs ? &r->server : &r->client;
        assert_int_equal(r->client.downs + r->server.downs, 1);
        deaf->to_send = 2;
        raw_send_next(deaf);
        assert_false(deaf->broken);
        tr_sim_step(r->sim, TR_SECONDS(30));
        assert_int_equal(deaf->sents, 2); /* the system took it */
        told += deaf->downs == 1;
        never += deaf->downs == 0;
        raw_close(r);
    }
    assert_true(told > 5);
    assert_true(never > 5);
    assert_int_equal(told + never, 30);
}

static void what_a_process_sent_before_it_was_killed_arrives_and_then_its_end(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 100);
    r->client.to_send = 0;
    while (r->server.sents < 100)
        tr_sim_step(r->sim, TR_MICROS(10));
    tr_sim_kill(r->sim, 1, false);
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->client.frames_received, 100);
    assert_int_equal(r->client.downs, 1);
    assert_int_equal(r->server.downs, 0);
    raw_close(r);
}

static void nobody_is_told_of_a_power_cut_until_somebody_answers_again(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(1));
    tr_sim_kill(r->sim, 1, true);
    r->client.to_send = 2;
    raw_send_next(&r->client);
    tr_sim_step(r->sim, TR_SECONDS(60));
    assert_int_equal(r->client.sents, 2);
    assert_int_equal(r->client.downs, 0);
    assert_int_equal(tr_sim_start(r->sim, 1, NULL), TR_OK);
    r->client.to_send = 3;
    raw_send_next(&r->client);
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->client.downs, 1);
    raw_close(r);
}

static void what_a_node_closes_that_lost_its_power_in_this_turn_nobody_hears(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(1));
    sim_node *node = &r->sim->nodes[1];
    node->turning = node->dead = node->dying_of_power = true; /* and it is still in its last turn */
    raw_end_close(&r->server);
    node->turning = node->dead = node->dying_of_power = false;
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->client.downs, 0);
    raw_close(r);
}

static void who_closes_is_heard_behind_what_it_sent(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 5);
    tr_sim_step(r->sim, TR_SECONDS(1));
    r->server.to_send = 6;
    raw_send_next(&r->server);
    raw_end_close(&r->server);
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->client.frames_received, 6);
    assert_int_equal(r->client.downs, 1);
    raw_close(r);
}

/* ---- how it begins ------------------------------------------------------------------------------------- */

static void down_can_be_seen_before_up(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 0);
    while (!r->server.stream)
        tr_sim_step(r->sim, TR_MICROS(1));
    assert_int_equal(r->dialled, TR_EAGAIN);
    r->sim->nodes[0].paused_until = TR_FOREVER;
    tr_sim_reset(r->sim, 0, 1);
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->server.downs, 1);
    assert_int_equal(r->dialled, TR_EAGAIN);
    tr_sim_resume(r->sim, 0);
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->dialled, TR_OK);
    assert_int_equal(r->client.downs, 1);
    raw_close(r);
}

static void a_dial_is_refused_at_once_where_nobody_listens(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 0);
    tr__net *net = &r->sim->nodes[0].net.net;
    net->undial(r->dial);
    net->unlisten(r->listener);
    r->listener = NULL;
    tr__net_address address = {.host = "127.0.0.1", .port = SIM_PORT_FIRST + 1};
    uint64_t begun = tr_sim_now(r->sim);
    tr_sim_kill(r->sim, 1, false);
    r->dialled = TR_EAGAIN;
    assert_int_equal(net->dial(net, &address, TR_SECONDS(5), raw_dialled, r, &r->dial, NULL), TR_OK);
    tr_sim_step(r->sim, TR_SECONDS(10));
    assert_int_equal(r->dialled, TR_EREFUSED);
    assert_in_range(r->dialled_at - begun, 1, TR_MILLIS(1));
    raw_close(r);
}

static void nobody_answers_a_dial_through_a_cut_or_without_power(void **state)
{
    (void)state;
    for (int what = 0; what < 3; what++) {
        raw *r = raw_open(1, 0, 0);
        if (what == 0)
            tr_sim_cut(r->sim, 0, 1);
        else if (what == 1)
            tr_sim_cut(r->sim, 1, 0);
        else
            tr_sim_kill(r->sim, 1, true);
        tr__net *net = &r->sim->nodes[0].net.net;
        net->undial(r->dial);
        if (what == 2) {
            net->unlisten(r->listener);
            r->listener = NULL;
            tr__net_address address = {.host = "127.0.0.1", .port = SIM_PORT_FIRST + 1};
            assert_int_equal(net->dial(net, &address, TR_SECONDS(5), raw_dialled, r, &r->dial, NULL), TR_OK);
        } else {
            raw_dial(r, TR_SECONDS(5));
        }
        uint64_t begun = tr_sim_now(r->sim);
        tr_sim_step(r->sim, TR_SECONDS(10));
        assert_int_equal(r->dialled, TR_EDEADLINE);
        assert_int_equal(r->dialled_at - begun, TR_SECONDS(5));
        raw_close(r);
    }
}

static void who_has_no_room_for_a_connection_ends_it(void **state)
{
    (void)state;
    raw *r = raw_open(1, 0, 0);
    r->refuse = true;
    tr_sim_step(r->sim, TR_SECONDS(1));
    assert_int_equal(r->dialled, TR_OK);
    assert_int_equal(r->client.downs, 1);
    assert_null(r->server.stream);
    raw_close(r);
}

static void the_dial_fault_refuses_some_and_leaves_others_without_an_answer(void **state)
{
    uint32_t refused = 0, late = 0, connected = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        raw *r = raw_open(seed, BIT(DIAL), 0);
        r->sim->rates.every_ns[TR_SIM_DIAL] = 1;
        tr_sim_step(r->sim, TR_SECONDS(6));
        refused += r->dialled == TR_EREFUSED;
        late += r->dialled == TR_EDEADLINE;
        connected += r->dialled == TR_OK;
        raw_close(r);
    }
    assert_int_equal(refused + late + connected, 200);
    assert_in_range(refused, 3, 30);
    assert_in_range(late, 3, 30);
}

static uint32_t connections(tr_sim *sim)
{
    uint32_t ends = 0;
    for (tr__stream *stream = sim->streams; stream; stream = stream->next)
        ends += stream->peer != NULL;
    return ends / 2;
}

static void both_sides_dial_at_once_and_one_connection_stays(void **state)
{
    uint32_t crossed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        raw *r = raw_open(seed, 0, 0);
        uint32_t most = 0;
        r->sim->nodes[0].net.net.undial(r->dial);
        r->dial = NULL;
        for (int i = 0; i < 2000; i++) {
            tr_sim_step(r->sim, TR_MICROS(10));
            most = connections(r->sim) > most ? connections(r->sim) : most;
        }
        crossed += most > 1;
        tr_sim_step(r->sim, TR_SECONDS(5));
        assert_int_equal(connections(r->sim), 1);
        raw_close(r);
    }
    assert_true(crossed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_once_and_in_order_however_they_are_cut_and_delayed),
        cmocka_unit_test(a_clogged_direction_stands_still_until_its_time_or_healing),
        cmocka_unit_test(the_system_takes_so_many_bytes_and_says_sent_when_there_is_room_again),
        cmocka_unit_test(one_direction_can_be_cut_and_what_waited_arrives_when_it_heals),
        cmocka_unit_test(a_node_that_stands_still_hears_nothing_until_it_goes_on),
        cmocka_unit_test(when_it_breaks_a_beginning_of_what_was_sent_has_arrived_and_both_hear),
        cmocka_unit_test(half_open_one_side_hears_and_the_other_when_it_sends_or_never),
        cmocka_unit_test(what_a_process_sent_before_it_was_killed_arrives_and_then_its_end),
        cmocka_unit_test(nobody_is_told_of_a_power_cut_until_somebody_answers_again),
        cmocka_unit_test(what_a_node_closes_that_lost_its_power_in_this_turn_nobody_hears),
        cmocka_unit_test(who_closes_is_heard_behind_what_it_sent),
        cmocka_unit_test(down_can_be_seen_before_up),
        cmocka_unit_test(a_dial_is_refused_at_once_where_nobody_listens),
        cmocka_unit_test(nobody_answers_a_dial_through_a_cut_or_without_power),
        cmocka_unit_test(who_has_no_room_for_a_connection_ends_it),
        cmocka_unit_test(the_dial_fault_refuses_some_and_leaves_others_without_an_answer),
        cmocka_unit_test(both_sides_dial_at_once_and_one_connection_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
