/* What a peer may do: each right refused, with its text at who asked, counted here, and everything else as before. n1 has
 * rights for n0 of its own; n2 has the default's. And how fast a peer may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <troupe/groups.h>

#include "actors/names/warden.h"
#include "actors/transactions.h"
#include "tests/sim/far_kit.h"

static const char *const public_names[] = {"public-*", NULL}, *const only_worker[] = {"work*", NULL};
static tr_rights rights[] = {{.peer = "n0", .may = 0, .names = public_names},
                             {.peer = NULL, .may = TR_MAY_ALL, .names = far_any, .spawn = far_any}};

static int open_with(void **state)
{
    far.rights = rights;
    far.rights_count = 2;
    rights[0] = (tr_rights){.peer = "n0", .may = 0, .names = public_names};
    rights[1] = (tr_rights){.peer = NULL, .may = TR_MAY_ALL, .names = far_any, .spawn = far_any};
    return far_open(state);
}

/* They come into force with the next connection. */
static void n0_may(uint32_t may, const char *const *names, const char *const *spawn)
{
    rights[0] = (tr_rights){.peer = "n0", .may = may, .names = names, .spawn = spawn, .spawn_max = 2};
    tr_sim_reset(far.sim, 0, 1);
    tr_sim_step(far.sim, TR_SECONDS(10));
}

static uint64_t refused(tr__right right)
{
    return tr__remote_peer_of(far_loop(1), far.at[0].node)->refusals.count[right];
}

/* As if n0 hadn't been told, or didn't mind. */
static void forget_what_was_told(void)
{
    tr__remote_peer_of(far_loop(0), far.at[1].node)->route->may = TR_MAY_ALL;
}

static void a_link_without_the_right_fails_at_once_and_says_what_is_missing_where(void **state)
{
    (void)state;
    far_do(0, far_do_link, &far.at[1]);
    assert_int_equal(far.code, TR_EPERM);
    assert_string_equal(far.text,
                        "tr_link: the node there doesn't let node n0 do this: it needs link in `may` of its "
                        "entry in the rights there (--allow FILE)");
    assert_int_equal(refused(TR__RIGHT_LINK), 0); /* it wasn't even sent */
    far_do(2, far_do_link, &far.at[1]);           /* another peer has it */
    assert_int_equal(far.code, TR_OK);
}

static void a_link_that_is_sent_all_the_same_is_refused_where_it_comes(void **state)
{
    (void)state;
    forget_what_was_told();
    far_do(0, far_do_link, &far.at[1]);
    assert_int_equal(far.code, TR_OK);
    assert_non_null(strstr(far.heard[0], "exited:error:permission:node n0 has no right to link on node n1"));
    assert_int_equal(refused(TR__RIGHT_LINK), 1);
    far_end(0, TR_EAPP);
    far_heard(1, "");
    assert_int_equal(tr__remote_peer_of(far_loop(1), far.at[0].node)->ties, 0);
}

static void a_stop_without_the_right_fails_at_once_and_stops_nobody(void **state)
{
    (void)state;
    far_do(0, far_do_kill, &far.at[1]);
    assert_int_equal(far.code, TR_EPERM);
    assert_non_null(strstr(far.text, "it needs stop in `may` of its entry"));
    forget_what_was_told();
    far_do(0, far_do_kill, &far.at[1]);
    far_do(0, far_do_stop, &far.at[1]);
    assert_int_equal(refused(TR__RIGHT_STOP), 2);
    assert_true(far_lives(1));
    far_do(2, far_do_kill, &far.at[1]);
    assert_false(far_lives(1));
}

static void only_names_of_its_list_can_be_looked_up(void **state)
{
    (void)state;
    far_do(0, far_do_lookup, "n1/p");
    assert_string_equal(far.heard[0],
                        "failed:permission:node n0 has no right to look up \"p\" on node n1: `names` of its "
                        "entry in the rights there (--allow FILE) doesn't say so ");
    assert_int_equal(refused(TR__RIGHT_NAMES), 1);
    far.heard[0][0] = '\0';
    far_do(2, far_do_lookup, "n1/p");
    far_heard(2, "found ");
}

static void give_name(tr_actor *self, void *context)
{
    assert_int_equal(tr_register_name(self, context), TR_OK);
}

/* Its address is known: that alone is no right. */
static void without_send_only_actors_of_these_names_are_reached(void **state)
{
    (void)state;
    far_do(0, far_do_send, &far.at[1]);
    far_heard(1, "");
    far_do(0, far_do_ask, &far.at[1]);
    assert_non_null(strstr(far.heard[0], "failed:permission:node n0 has no right to send on node n1"));
    far.heard[0][0] = '\0';
    far_do(0, far_do_monitor, &far.at[1]);
    far_heard(0, "down:no-actor ");
    assert_int_equal(refused(TR__RIGHT_SEND), 3);
    assert_int_equal(far_loop(1)->counts.dropped[TR_DROP_REFUSED], 2);
    far_do(1, give_name, "other");
    far_do(0, far_do_send, &far.at[1]);
    far_heard(1, "");
    far_do(1, give_name, "public-p"); /* from now on it is */
    far_do(0, far_do_send, &far.at[1]);
    far_heard(1, "question ");
    far_do(0, far_do_ask, &far.at[1]);
    far_heard(0, "answered:1 ");
}

static void send_confirmed(tr_actor *self, void *context)
{
    tr_future f = tr_send_confirmed(self, *(tr_addr *)context, TR_SECONDS(5), far_question);
    tr_then(self, f, far_answered, NULL);
}

static void confirmed_sends_keep_to_the_same_names(void **state)
{
    (void)state;
    far_do(0, send_confirmed, &far.at[1]);
    assert_non_null(strstr(far.heard[0], "failed:permission:"));
    far_heard(1, "");
    assert_int_equal(refused(TR__RIGHT_SEND), 1);
    far_do(1, give_name, "public-p");
    far_do(0, send_confirmed, &far.at[1]);
    far_heard(1, "question ");
}

static void ask_why(tr_actor *self, void *context)
{
    tr_future f =
        tr_ask(self, TR__WARDEN_OF(far.at[1].node), TR_SECONDS(5), tr__operator_peer_ask, .text = "{}");
    (void)context;
    tr_then(self, f, far_answered, NULL);
}

static void without_send_nobody_hears_what_actors_do(void **state)
{
    (void)state;
    far_do(0, ask_why, NULL);
    assert_non_null(strstr(far.heard[0], "failed:permission:node n0 has no right to send"));
    far_do(2, ask_why, NULL);
    assert_null(strstr(far.heard[2], "permission"));
}

/* What it was asked it may answer, and what it asked is answered: that needs no right. */
static void who_was_asked_may_answer(void **state)
{
    (void)state;
    far_do(1, far_do_ask, &far.at[0]);
    far_heard(1, "answered:1 ");
}

static void spawn_topic(tr_actor *self, void *context)
{
    *(tr_addr *)context = tr_spawn_with(self, &tr_topic, NULL, &(tr_spawn_opts){.name = "public-prices"});
}

static void do_subscribe(tr_actor *self, void *context)
{
    tr_future f = tr_ask(self, *(tr_addr *)context, TR_SECONDS(5), tr_subscribe, .room = 4);
    tr_then(self, f, far_answered, NULL);
}

static void without_subscribe_no_topic_is_subscribed_to(void **state)
{
    (void)state;
    tr_addr topic;
    far_do(1, spawn_topic, &topic);
    far_do(0, do_subscribe, &topic);
    assert_non_null(strstr(far.heard[0], "failed:permission:node n0 has no right to subscribe on node n1"));
    assert_int_equal(refused(TR__RIGHT_SUBSCRIBE), 1);
    far.heard[0][0] = '\0';
    n0_may(TR_MAY_SUBSCRIBE, public_names, NULL);
    far_do(0, do_subscribe, &topic);
    far_heard(0, "failed:ok: "); /* tr_subscribed, which the kit knows nothing of */
}

static void subscribe_confirmed(tr_actor *self, void *context)
{
    tr_future f = tr_send_confirmed(self, *(tr_addr *)context, TR_SECONDS(5), tr_subscribe, .room = 4);
    tr_then(self, f, far_answered, NULL);
}

static void without_subscribe_a_confirmed_send_subscribes_to_none_either(void **state)
{
    (void)state;
    tr_addr topic;
    far_do(1, spawn_topic, &topic);
    far_do(0, subscribe_confirmed, &topic);
    assert_non_null(strstr(far.heard[0], "failed:permission:"));
    assert_int_equal(refused(TR__RIGHT_SUBSCRIBE), 1);
    far.heard[0][0] = '\0';
    n0_may(TR_MAY_SUBSCRIBE, public_names, NULL);
    far_do(0, subscribe_confirmed, &topic);
    assert_null(strstr(far.heard[0], "failed:permission:"));
    assert_int_equal(refused(TR__RIGHT_SUBSCRIBE), 0);
}

static void nothing_is_started_without_the_right(void **state)
{
    (void)state;
    far_spawn(0, "n1", "worker", 7, true, true);
    assert_string_equal(
        far.heard[0], "failed:permission:node n0 has no right to spawn \"worker\" on node n1: `spawn` of its "
                      "entry in the rights there (--allow FILE) doesn't say so ");
    assert_int_equal(far_count(1, "worker"), 0);
    assert_int_equal(refused(TR__RIGHT_SPAWN), 1);
    far.heard[0][0] = '\0';
    n0_may(TR_MAY_SEND, public_names, only_worker);
    far_spawn(0, "n1", "worker", 7, false, false);
    far_heard(0, "spawned:n1 ");
    far_spawn(0, "n1", "bare", 7, false, false);
    assert_non_null(strstr(far.heard[0], "failed:permission:"));
}

static void no_more_run_for_a_peer_than_it_may_have(void **state)
{
    (void)state;
    n0_may(TR_MAY_SEND | TR_MAY_STOP, public_names, only_worker);
    far_spawn(0, "n1", "worker", 1, false, false);
    far_spawn(0, "n1", "worker", 2, false, false);
    far.heard[0][0] = '\0';
    far_spawn(0, "n1", "worker", 3, false, false);
    assert_string_equal(
        far.heard[0], "failed:full:node n1 runs 2 actors for node n0 already: spawn_max of its entry in the "
                      "rights there (--allow FILE) ");
    far.heard[0][0] = '\0';
    far_spawn(2, "n1", "worker", 3, false, false); /* of another peer's that is no concern */
    far_heard(2, "spawned:n1 ");
    far_do(0, far_do_kill, &far.spawned);
    far_spawn(0, "n1", "worker", 3, false, false);
    assert_non_null(strstr(far.heard[0], "failed:full:")); /* that was n2's */
}

static void a_peer_without_an_entry_may_do_nothing(void **state)
{
    (void)state;
    far.rights_count = 1;
    tr_sim_node(far.sim, 1)->opts.rights_count = 1;
    tr_sim_reset(far.sim, 2, 1);
    tr_sim_step(far.sim, TR_SECONDS(10));
    far_do(2, far_do_kill, &far.at[1]);
    assert_int_equal(far.code, TR_EPERM);
    far_do(2, far_do_ask, &far.at[1]);
    assert_non_null(strstr(far.heard[2], "failed:permission:"));
}

static void what_is_refused_is_logged_once_a_second(void **state)
{
    (void)state;
    tr__remote_peer *p = tr__remote_peer_of(far_loop(1), far.at[0].node);
    for (int i = 0; i < 10; i++)
        far_do(0, far_do_send, &far.at[1]);
    assert_int_equal(p->refusals.count[TR__RIGHT_SEND], 10);
    assert_int_equal(p->refusals.untold, 9);
    tr_sim_step(far.sim, TR_SECONDS(1));
    far_do(0, far_do_send, &far.at[1]);
    assert_int_equal(p->refusals.untold, 0);
}

/* ---- transactions -------------------------------------------------------------------------------------- */

TR_MESSAGE(put_one, TR_WRITES)

static tr_err put(tr_txview *v, void *state, const tr_msg *msg)
{
    (void)state;
    return tr_match(msg, put_one) ? tr_view_put_i64(v, "one", 1) : TR_EAPP;
}
static const tr_actor_def put_def = {.name = "put", .transact = put};

static void spawn_put(tr_actor *self, void *context)
{
    (void)context;
    assert_false(tr_addr_is_none(tr_spawn_with(self, &put_def, NULL, &(tr_spawn_opts){.name = "account"})));
}

static tr_tx_outcome outcome;

static tr_err call_put(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    (void)arg;
    return tr_tx_await(tx, "n1/account", put_one);
}

static tr_err transact(tr_actor *self, void *arg)
{
    (void)arg;
    outcome = tr_tx_run(self, call_put, NULL, NULL);
    return TR_OK;
}
TR_ACTOR(transact_def, .run = transact);

static void spawn_transact(tr_actor *self, void *context)
{
    (void)context;
    outcome = (tr_tx_outcome){.status = TR_TX_UNKNOWN};
    tr_spawn(self, &transact_def, NULL);
}

static void without_transact_no_transaction_begins_here(void **state)
{
    (void)state;
    far_do(1, spawn_put, NULL);
    far_do(0, spawn_transact, NULL);
    tr_sim_step(far.sim, TR_SECONDS(1));
    assert_int_equal(outcome.status, TR_TX_ABORTED);
    assert_int_equal(outcome.reason, TR_TX_NOT_ALLOWED);
    assert_non_null(strstr(outcome.text, "its node has no right to begin one here"));
    assert_int_equal(refused(TR__RIGHT_TRANSACT), 1);
    far_do(2, spawn_transact, NULL);
    tr_sim_step(far.sim, TR_SECONDS(1));
    assert_int_equal(outcome.status, TR_TX_COMMITTED);
}

static void ask_list(tr_actor *self, void *context)
{
    tr_future f = tr_ask(self, TR__TX_MANAGER_OF(far.at[1].node), TR_SECONDS(5), tr_tx_list, .most = 1);
    (void)context;
    tr_then(self, f, far_answered, NULL);
}

static void without_transact_nobody_hears_of_transactions_and_their_tickets(void **state)
{
    (void)state;
    far_do(0, ask_list, NULL);
    assert_string_equal(far.heard[0],
                        "failed:permission:node n0 has no right to transact on node n1: `may` of "
                        "its entry in the rights there (--allow FILE) doesn't say so ");
    assert_int_equal(refused(TR__RIGHT_TRANSACT), 1);
    far_do(2, ask_list, NULL);
    far_heard(2, "failed:ok: "); /* a tr_tx_listing, which the kit knows nothing of */
    far.heard[0][0] = '\0';
    n0_may(TR_MAY_TRANSACT, public_names, NULL);
    far_do(0, ask_list, NULL);
    far_heard(0, "failed:ok: ");
}

/* ---- how fast ------------------------------------------------------------------------------------------ */

TR_MESSAGE(flood, (bytes, data))

static uint64_t arrived, sent, arrived_at;
static size_t flood_size; /* of one message; beyond 32 KiB they go by the bulk lane */

static void take_flood(tr_actor *self, void *state, const tr_msg *msg)
{
    const flood *f = tr_match(msg, flood);
    (void)state;
    arrived += f ? f->data.size : 0;
    arrived_at = f ? tr_now(self) : arrived_at;
}
TR_ACTOR(take_flood_def, .receive = take_flood, .mailbox_places = 60000);

static void send_flood(tr_actor *self, void *state, const tr_msg *msg)
{
    static const char data[256u << 10];
    tr_addr *to = state;
    const tr_found *found = tr_match(msg, tr_found);
    if (found)
        *to = found->actor;
    while (sent < (8u << 20) && tr_send(self, *to, flood, .data = {data, flood_size}) == TR_OK)
        sent += flood_size;
    if (sent < (8u << 20))
        tr_notify_writable(self, *to);
}
TR_ACTOR(send_flood_def, .receive = send_flood, .state_size = sizeof(tr_addr));

static void spawn_taker(tr_actor *self, void *context)
{
    *(tr_addr *)context = tr_spawn(self, &take_flood_def, NULL);
}

static void begin_flood(tr_actor *self, void *context)
{
    tr_addr sender = tr_spawn(self, &send_flood_def, NULL);
    sent = arrived = 0;
    tr_send(self, sender, tr_found, .actor = *(tr_addr *)context);
}

/* n0 has a rate of 1 MiB/s and floods n1. */
static void flood_with(size_t size)
{
    tr_addr taker;
    flood_size = size;
    rights[0] = (tr_rights){.peer = "n0", .may = TR_MAY_ALL, .names = far_any, .rate = 1u << 20, .burst = 1};
    tr_sim_reset(far.sim, 0, 1);
    tr_sim_step(far.sim, TR_SECONDS(10));
    far_do(1, spawn_taker, &taker);
    far_do(0, begin_flood, &taker);
    tr_sim_step(far.sim, TR_SECONDS(1));
    assert_in_range(arrived, 2u << 20, 4u << 20); /* the window, the bucket, and what came since */
    far_do(2, far_do_ask, &far.at[1]);            /* another peer isn't held up */
    far_heard(2, "answered:1 ");
    tr_sim_step(far.sim, TR_SECONDS(2));
    assert_in_range(arrived, 4u << 20, 6u << 20);
}

static void a_peer_is_taken_no_faster_than_its_rate_and_nothing_is_lost(void **state)
{
    (void)state;
    flood_with(8000);
    tr_sim_step(far.sim, TR_SECONDS(10));
    assert_int_equal(arrived, sent);
    assert_true(sent >= 8u << 20);
    tr__connection_counters c;
    tr__endpoint_peer_counters(tr__remote_peer_of(far_loop(1), far.at[0].node)->peer, &c);
    assert_true(c.grants_held > 0);
}

static void large_messages_are_taken_no_faster_and_small_ones_come_meanwhile(void **state)
{
    (void)state;
    flood_with(256u << 10);
    far_do(0, far_do_ask, &far.at[1]);
    far_heard(0, "answered:1 ");
    tr_sim_step(far.sim, TR_SECONDS(10));
    assert_int_equal(arrived, sent);
    assert_true(sent >= 8u << 20);
}

/* Of two nodes one has granted its window when it is metered, and the other is about to. */
static void two_nodes_may_each_have_a_rate_for_the_other(void **state)
{
    (void)state;
    static const tr_rights both = {.may = TR_MAY_ALL, .names = far_any, .rate = 1u << 20};
    for (uint32_t i = 0; i < 2; i++) {
        tr_sim_node(far.sim, i)->opts.rights = &both;
        tr_sim_node(far.sim, i)->opts.rights_count = 1;
    }
    tr_sim_reset(far.sim, 0, 1);
    tr_sim_step(far.sim, TR_SECONDS(10));
    for (int i = 0; i < 2; i++) {
        tr_addr taker;
        far_do(!i, spawn_taker, &taker);
        flood_size = 8000;
        far_do(i, begin_flood, &taker);
        tr_sim_step(far.sim, TR_SECONDS(1));
        assert_in_range(arrived, 2u << 20, 4u << 20);
        tr_sim_step(far.sim, TR_SECONDS(10));
        assert_int_equal(arrived, sent);
    }
}

static void without_a_rate_a_peer_is_taken_as_fast_as_it_comes(void **state)
{
    (void)state;
    tr_addr taker;
    n0_may(TR_MAY_ALL, far_any, NULL);
    far_do(1, spawn_taker, &taker);
    flood_size = 8000;
    far_do(0, begin_flood, &taker);
    tr_sim_step(far.sim, TR_MILLIS(500));
    assert_int_equal(arrived, sent);
    assert_true(sent >= 8u << 20);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_with, far_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_link_without_the_right_fails_at_once_and_says_what_is_missing_where),
        CASE(a_link_that_is_sent_all_the_same_is_refused_where_it_comes),
        CASE(a_stop_without_the_right_fails_at_once_and_stops_nobody),
        CASE(only_names_of_its_list_can_be_looked_up),
        CASE(without_send_only_actors_of_these_names_are_reached),
        CASE(confirmed_sends_keep_to_the_same_names),
        CASE(without_send_nobody_hears_what_actors_do),
        CASE(who_was_asked_may_answer),
        CASE(without_subscribe_no_topic_is_subscribed_to),
        CASE(without_subscribe_a_confirmed_send_subscribes_to_none_either),
        CASE(without_transact_no_transaction_begins_here),
        CASE(without_transact_nobody_hears_of_transactions_and_their_tickets),
        CASE(nothing_is_started_without_the_right),
        CASE(no_more_run_for_a_peer_than_it_may_have),
        CASE(a_peer_without_an_entry_may_do_nothing),
        CASE(what_is_refused_is_logged_once_a_second),
        CASE(a_peer_is_taken_no_faster_than_its_rate_and_nothing_is_lost),
        CASE(large_messages_are_taken_no_faster_and_small_ones_come_meanwhile),
        CASE(two_nodes_may_each_have_a_rate_for_the_other),
        CASE(without_a_rate_a_peer_is_taken_as_fast_as_it_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
