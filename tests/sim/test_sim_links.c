/* Between nodes: links, unlinks and stops; actors that are started for others. What peers may do is in test_sim_rights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/far_kit.h"

/* ---- links --------------------------------------------------------------------------------------------- */

static void an_end_on_another_node_is_an_exit_signal_with_its_reason(void **state)
{
    (void)state;
    far_link(0, 1);
    far_end(1, TR_EAPP);
    far_heard(0, "exited:error:app:had enough ");
    far_heard(1, "");
}

static void who_is_linked_from_another_node_hears_as_well(void **state)
{
    (void)state;
    far_link(0, 1);
    far_end(0, TR_EAPP);
    far_heard(1, "exited:error:app:had enough ");
}

static void who_does_not_trap_exits_ends_with_who_is_linked_to_it(void **state)
{
    (void)state;
    far_trap(1, false);
    far_link(0, 1);
    far_end(0, TR_EAPP);
    assert_false(far_lives(1));
}

static void a_normal_end_ends_nobody_on_another_node(void **state)
{
    (void)state;
    far_trap(1, false);
    far_link(0, 1);
    far_end(0, TR_OK);
    assert_true(far_lives(1));
    far_heard(1, "");
}

static void a_link_to_one_that_has_ended_says_so_at_once(void **state)
{
    (void)state;
    far_end(1, TR_OK);
    far_link(0, 1);
    far_heard(0, "exited:no-actor:no-actor: ");
}

static void a_link_to_a_node_that_is_not_there_says_so_at_once(void **state)
{
    (void)state;
    tr_addr nowhere = {4711, 3, 1};
    far_do(0, far_do_link, &nowhere);
    far_heard(0, "exited:no-connection:no-connection: ");
}

static void a_lost_connection_ends_links_on_both_sides_once(void **state)
{
    (void)state;
    far_link(0, 1);
    far_link(1, 0); /* the same one */
    tr_sim_reset(far.sim, 0, 1);
    far_settle();
    far_heard(0, "exited:no-connection:no-connection:the connection to its node is down ");
    far_heard(1, "exited:no-connection:no-connection:the connection to its node is down ");
    tr_sim_step(far.sim, TR_SECONDS(10)); /* they are connected again */
    far_end(0, TR_EAPP);
    far_heard(1, "");
}

static void a_killed_node_ends_links_once(void **state)
{
    (void)state;
    far_link(0, 1);
    tr_sim_kill(far.sim, 1, false);
    far_settle();
    far_heard(0, "exited:no-connection:no-connection:the connection to its node is down ");
    far_heard(0, "");
}

static void after_an_unlink_there_is_no_signal_whatever_ends(void **state)
{
    (void)state;
    far_link(0, 1);
    far_unlink(0, 1);
    far_end(1, TR_EAPP);
    tr_sim_reset(far.sim, 0, 1);
    far_settle();
    far_heard(0, "");
    far_heard(1, "");
}

static void an_unlink_counts_from_its_call_on_whatever_is_on_its_way(void **state)
{
    (void)state;
    far_link(0, 1);
    far_tell(1, far_do_end, (void *)(uintptr_t)TR_EAPP); /* at about the same time */
    far_do(0, far_do_unlink, &far.at[1]);
    far_heard(0, "");
}

static const tr_msg *links_of(int node)
{
    const tr_actor *actor = tr__slot(tr_sim_node(far.sim, (uint32_t)node), far.at[node].slot);
    return actor->extras ? actor->extras->links : NULL;
}

/* The link of the one crosses the unlink of the other: it comes to nothing on both sides, not on one. */
static void a_link_that_crosses_an_unlink_leaves_no_half_link(void **state)
{
    (void)state;
    far_link(0, 1);
    tr_sim_cut(far.sim, 0, 1);
    far_tell(0, far_do_unlink, &far.at[1]);
    far_settle();
    far_tell(1, far_do_unlink, &far.at[0]);
    far_tell(1, far_do_link, &far.at[0]);
    far_settle();
    tr_sim_heal(far.sim, 0, 1);
    tr_sim_step(far.sim, TR_SECONDS(1));
    assert_null(links_of(0));
    assert_null(links_of(1));
}

static void links_that_are_made_again_after_a_loss_are_not_ended_by_it(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        far_link(0, 1);
        tr_sim_reset(far.sim, 0, 1);
        far_settle();
        far_heard(0, "exited:no-connection:no-connection:the connection to its node is down ");
        far_heard(1, "exited:no-connection:no-connection:the connection to its node is down ");
        tr_sim_step(far.sim, TR_SECONDS(10));
    }
    far_link(0, 1);
    tr_sim_step(far.sim, TR_SECONDS(10));
    far_heard(0, "");
    far_end(1, TR_EAPP);
    far_heard(0, "exited:error:app:had enough ");
}

static void link_anew(tr_actor *self, void *context)
{
    assert_int_equal(tr_unlink(self, *(tr_addr *)context), TR_OK);
    assert_int_equal(tr_link(self, *(tr_addr *)context), TR_OK);
}

/* Its loop is so slow that it makes the link anew, by the next connection, before it comes to the end of the first one. */
static void a_link_that_is_made_anew_outlives_the_late_news_of_the_first_connection(void **state)
{
    (void)state;
    far_link(1, 0);
    sim_agent *loop = &far.sim->nodes[1].agents[1];
    loop->slow_until = TR_FOREVER - 1;
    loop->slow_ns = TR_SECONDS(300);
    far_tell(1, link_anew, &far.at[0]);
    tr_sim_reset(far.sim, 0, 1);
    tr_sim_step(far.sim, TR_SECONDS(10)); /* they are connected again, and it hasn't had its turn */
    assert_null(strstr(far.heard[1], "exited"));
    assert_null(links_of(0));
    tr_sim_step(far.sim, TR_SECONDS(300));
    loop->slow_until = 0;
    tr_sim_step(far.sim, TR_SECONDS(300));
    far_heard(1, "");
    assert_non_null(links_of(0));
    assert_non_null(links_of(1));
}

static void links_and_unlinks_leave_nothing_behind(void **state)
{
    (void)state;
    const tr__remote_peer *p = tr__remote_peer_of(far_loop(0), far.at[1].node);
    for (int i = 0; i < 100; i++) {
        far_link(i % 2, (i + 1) % 2);
        far_unlink(i % 3 % 2, (i % 3 + 1) % 2);
    }
    assert_int_equal(p->ties, 0);
    assert_int_equal(p->waits.count, 0);
}

/* ---- stops --------------------------------------------------------------------------------------------- */

static void one_of_another_node_is_stopped_in_order_and_killed_at_once(void **state)
{
    (void)state;
    far_do(0, far_do_monitor, &far.at[1]);
    far_do(0, far_do_stop, &far.at[1]);
    far_heard(0, "down:shutdown ");
    far_do(0, far_do_monitor, &far.at[2]);
    far_do(0, far_do_kill, &far.at[2]);
    far_heard(0, "down:killed ");
}

static void to_stop_one_of_a_node_that_is_not_there_fails_at_once(void **state)
{
    (void)state;
    tr_addr nowhere = {4711, 3, 1};
    far_do(0, far_do_kill, &nowhere);
    assert_int_equal(far.code, TR_ENOCONN);
}

static void a_node_s_own_actors_are_neither_stopped_nor_linked_from_outside(void **state)
{
    (void)state;
    tr_addr warden = {far.at[1].node, 0, 1};
    far_do(0, far_do_kill, &warden);
    far_do(0, far_do_stop, &warden);
    far_do(0, far_do_link, &warden);
    far_heard(0, "exited:error:permission:the node's own actors aren't linked from outside ");
    assert_false(tr_addr_is_none(tr_probe_lookup(far.probe[0], "n1/p", TR_SECONDS(1))));
    assert_int_equal(far_loop(1)->counts.dropped[TR_DROP_REFUSED], 2);
}

/* ---- actors that are started there --------------------------------------------------------------------- */

static void one_is_started_by_name_with_its_argument_and_answers(void **state)
{
    (void)state;
    far_spawn(0, "n1", "worker", 7, false, false);
    far_heard(0, "spawned:n1 ");
    far_do(0, far_do_ask, &far.spawned);
    far_heard(0, "answered:7 ");
}

static void one_is_started_on_the_own_node_in_the_same_way(void **state)
{
    (void)state;
    far_spawn(0, "n0", "worker", 8, true, true);
    far_heard(0, "spawned:n0 ");
    far_do(0, far_do_kill, &far.spawned);
    far_heard(0, "exited:killed:killed:killed down:killed ");
}

static void what_is_not_offered_or_takes_something_else_is_refused(void **state)
{
    (void)state;
    far_spawn(0, "n1", "nothing", 7, false, false);
    far_heard(0, "failed:not-found:node n1 offers no \"nothing\" ");
    far_spawn(0, "n1", "bare", 7, false, false);
    far_heard(0, "failed:type:\"bare\" takes nothing as its argument ");
    far.spawn_type = NULL;
    far_spawn(0, "n1", "worker", 7, false, false);
    far_heard(0, "failed:type:\"worker\" takes a far_job as its argument ");
    far_spawn(0, "n1", "bare", 7, false, false);
    far_heard(0, "spawned:n1 ");
}

static void a_spawn_waits_for_its_node_and_says_so_when_that_does_not_come(void **state)
{
    (void)state;
    tr_sim_kill(far.sim, 1, false);
    far_settle();
    far_spawn(0, "n1", "worker", 7, false, false);
    far_heard(0, "");
    tr_sim_step(far.sim, TR_SECONDS(6));
    far_heard(0, "failed:deadline:node n1 didn't start \"worker\" within the time given: is it connected? ");
    far_spawn(0, "n1", "worker", 7, false, false);
    assert_int_equal(tr_sim_start(far.sim, 1, NULL), TR_OK);
    tr_sim_step(far.sim, TR_SECONDS(4));
    far_heard(0, "spawned:n1 ");
}

/* Its init fails before anybody could have linked or watched it by its address. */
static void no_end_is_missed_of_one_that_is_linked_and_watched_with_its_start(void **state)
{
    (void)state;
    far_spawn(0, "n1", "stillborn", 7, true, true);
    far_heard(0, "spawned:n1 exited:error:app:not today down:error ");
}

static void who_is_started_with_a_link_ends_with_its_spawner(void **state)
{
    (void)state;
    far_spawn(0, "n1", "worker", 7, true, false);
    far_heard(0, "spawned:n1 ");
    assert_int_equal(far_count(1, "worker"), 1);
    far_end(0, TR_EAPP);
    assert_int_equal(far_count(1, "worker"), 0);
}

static void one_that_was_started_hears_that_the_connection_is_lost_and_so_does_its_spawner(void **state)
{
    (void)state;
    far_spawn(0, "n1", "worker", 7, true, true);
    far_heard(0, "spawned:n1 ");
    tr_sim_reset(far.sim, 0, 1);
    far_settle();
    assert_int_equal(far_count(1, "worker"), 0);
    assert_non_null(strstr(far.heard[0], "down:no-connection "));
    assert_non_null(strstr(far.heard[0], "exited:no-connection:"));
    far.heard[0][0] = '\0';
}

/* The answer comes when the spawner has given up, by time, by a cancel, or by its own end. */
static void one_that_was_to_be_linked_does_not_outlive_a_spawner_that_gave_up(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        far.spawn_timeout_ns = how == 0 ? TR_MILLIS(100) : TR_SECONDS(5);
        tr_sim_cut(far.sim, 1, 0); /* the answer waits */
        far_spawn(0, "n1", "worker", 7, true, false);
        assert_int_equal(far_count(1, "worker"), 1);
        if (how == 1)
            far_do(0, far_do_cancel, NULL);
        else if (how == 2)
            far_end(0, TR_EAPP);
        tr_sim_step(far.sim, TR_MILLIS(200));
        tr_sim_heal(far.sim, 1, 0);
        tr_sim_step(far.sim, TR_SECONDS(2));
        assert_int_equal(far_count(1, "worker"), 0);
        far.heard[0][0] = '\0';
    }
}

static void one_that_was_started_without_a_link_goes_on_without_its_spawner(void **state)
{
    (void)state;
    far_spawn(0, "n1", "worker", 7, false, true);
    far_heard(0, "spawned:n1 ");
    far_end(0, TR_EAPP);
    tr_sim_reset(far.sim, 0, 1);
    far_settle();
    assert_int_equal(far_count(1, "worker"), 1);
}

static void a_monitor_that_is_taken_back_tells_nothing(void **state)
{
    (void)state;
    far_spawn(0, "n1", "worker", 7, false, true);
    far_do(0, far_do_demonitor, NULL);
    assert_int_equal(tr__remote_peer_of(far_loop(0), far.at[1].node)->waits.count, 0);
    assert_null(tr__remote_peer_of(far_loop(1), far.at[0].node)->watching);
    far_do(0, far_do_kill, &far.spawned);
    far_heard(0, "spawned:n1 ");
}

static void an_argument_of_more_than_64_kib_is_refused_here(void **state)
{
    (void)state;
    far.spawn_bytes = 65 * 1024;
    far_spawn(0, "n1", "worker", 7, false, true);
    far_heard(0, "none:too-big:tr_spawn_at: an argument has at most 65536 bytes ");
    far.spawn_bytes = 60 * 1024;
    far_spawn(0, "n1", "worker", 7, false, true);
    far_heard(0, "spawned:n1 ");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, far_open, far_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_end_on_another_node_is_an_exit_signal_with_its_reason),
        CASE(who_is_linked_from_another_node_hears_as_well),
        CASE(who_does_not_trap_exits_ends_with_who_is_linked_to_it),
        CASE(a_normal_end_ends_nobody_on_another_node),
        CASE(a_link_to_one_that_has_ended_says_so_at_once),
        CASE(a_link_to_a_node_that_is_not_there_says_so_at_once),
        CASE(a_lost_connection_ends_links_on_both_sides_once),
        CASE(a_killed_node_ends_links_once),
        CASE(after_an_unlink_there_is_no_signal_whatever_ends),
        CASE(an_unlink_counts_from_its_call_on_whatever_is_on_its_way),
        CASE(a_link_that_crosses_an_unlink_leaves_no_half_link),
        CASE(links_that_are_made_again_after_a_loss_are_not_ended_by_it),
        CASE(a_link_that_is_made_anew_outlives_the_late_news_of_the_first_connection),
        CASE(links_and_unlinks_leave_nothing_behind),
        CASE(one_of_another_node_is_stopped_in_order_and_killed_at_once),
        CASE(to_stop_one_of_a_node_that_is_not_there_fails_at_once),
        CASE(a_node_s_own_actors_are_neither_stopped_nor_linked_from_outside),
        CASE(one_is_started_by_name_with_its_argument_and_answers),
        CASE(one_is_started_on_the_own_node_in_the_same_way),
        CASE(what_is_not_offered_or_takes_something_else_is_refused),
        CASE(a_spawn_waits_for_its_node_and_says_so_when_that_does_not_come),
        CASE(no_end_is_missed_of_one_that_is_linked_and_watched_with_its_start),
        CASE(who_is_started_with_a_link_ends_with_its_spawner),
        CASE(one_that_was_started_hears_that_the_connection_is_lost_and_so_does_its_spawner),
        CASE(one_that_was_to_be_linked_does_not_outlive_a_spawner_that_gave_up),
        CASE(one_that_was_started_without_a_link_goes_on_without_its_spawner),
        CASE(a_monitor_that_is_taken_back_tells_nothing),
        CASE(an_argument_of_more_than_64_kib_is_refused_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
