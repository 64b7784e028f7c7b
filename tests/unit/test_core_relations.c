/* actors/supervision/relations.c: links and monitors, also without memory. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual_pair.h"

#include "base/mem.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

static uint64_t number; /* of the last monitor */

static void watch(tr_actor *self, void *context)
{
    number = tr_monitor(self, *(tr_addr *)context);
    assert_true(number != 0);
}

static void unwatch(tr_actor *self, void *context)
{
    (void)context;
    tr_demonitor(self, number);
}

static void link_to(tr_actor *self, void *context)
{
    assert_int_equal(tr_link(self, *(tr_addr *)context), TR_OK);
}

static void unlink_from(tr_actor *self, void *context)
{
    assert_int_equal(tr_unlink(self, *(tr_addr *)context), TR_OK);
}

static void trap(tr_actor *self, void *context)
{
    (void)context;
    tr_trap_exit(self, true);
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

static void break_down(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_EAPP, "broken on purpose");
}

static void finish(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "done");
}

/* ---- monitors ------------------------------------------------------------------------------------------ */

static void each_monitor_fires_once(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        manual_do(p->m, p->a.address, watch, &p->b.address);
        manual_do(p->m, p->a.address, watch, &p->b.address);
        manual_do(p->m, p->a.address, watch, &p->a.address); /* oneself: heard by nobody */
        manual_do(p->m, p->b.address, break_down, NULL);
        assert_string_equal(p->a.trail, "init down:error down:error ");
        assert_int_equal(manual_actor(p->m, p->a.address)->extras->monitor_count, 1);
        manual_do(p->m, p->a.address, watch, &p->b.address); /* gone already */
        assert_string_equal(p->a.trail, "init down:error down:error down:no-actor ");
        pair_close(p);
    }
}

static void a_monitor_that_was_taken_back_is_not_heard(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        manual_do(p->m, p->a.address, watch, &p->b.address);
        manual_do(p->m, p->a.address, unwatch, NULL);
        assert_null(manual_actor(p->m, p->b.address)->extras->watchers);
        manual_do(p->m, p->b.address, break_down, NULL);
        assert_string_equal(p->a.trail, "init ");
        pair_close(p);
    }
}

/* The tr_down is in a's mailbox when a takes the monitor back. */
static void a_down_under_way_is_not_heard_after_demonitor(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    manual_do(p->m, p->a.address, watch, &p->b.address);
    manual_tell(p->m, p->b.address, break_down, NULL);
    manual_turn(p->m, 1);
    manual_tell(p->m, p->a.address, unwatch, NULL);
    manual_pump(p->m);
    assert_string_equal(p->a.trail, "init ");
    pair_close(p);
}

static void reply_and_exit(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (!tr_msg_ask_number(msg))
        return;
    assert_int_equal(tr_send(self, tr_msg_sender(msg), mark, .n = 5), TR_OK);
    assert_int_equal(tr_reply(self, msg, mark, .n = 6), TR_OK);
    assert_int_equal(tr_send(self, tr_msg_sender(msg), mark, .n = 7), TR_OK);
    tr_exit(self, TR_OK, "done");
}

static void watch_and_ask(tr_actor *self, void *context)
{
    watch(self, context);
    manual_then(self, tr_ask(self, *(tr_addr *)context, TR_SECONDS(1), mark, .n = 1));
}

static void what_it_sent_and_replied_comes_before_its_down(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->b.on = reply_and_exit;
        manual_do(p->m, p->a.address, watch_and_ask, &p->b.address);
        assert_string_equal(p->a.trail, "init 5 reply:6 7 down:normal ");
        pair_close(p);
    }
}

static void watch_many(tr_actor *self, void *context)
{
    for (uint32_t i = 0; i < TR__MONITORS_MAX; i++)
        watch(self, context);
    assert_int_equal(tr_monitor(self, *(tr_addr *)context), 0);
    assert_int_equal(tr_last_error(self)->code, TR_EFULL);
}

static void too_many_monitors_are_refused(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, watch_many, &p->b.address);
    pair_close(p);
}

/* ---- links --------------------------------------------------------------------------------------------- */

static void linked_actors_share_their_fate(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (int which = 0; which < 2; which++) {
            pair *p = pair_open(loops);
            manual_do(p->m, p->a.address, link_to, &p->b.address);
            manual_do(p->m, which ? p->a.address : p->b.address, break_down, NULL);
            assert_string_equal(p->a.trail, "init stop ");
            assert_string_equal(p->b.trail, "init stop ");
            pair_close(p);
        }
}

static void a_normal_end_is_no_reason_to_end(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        manual_do(p->m, p->a.address, link_to, &p->b.address);
        manual_do(p->m, p->b.address, finish, NULL);
        assert_string_equal(p->a.trail, "init ");
        assert_null(manual_actor(p->m, p->a.address)->extras->links);
        pair_close(p);
    }
}

static void one_that_traps_exits_hears_of_them(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        manual_do(p->m, p->a.address, trap, NULL);
        manual_do(p->m, p->a.address, link_to, &p->b.address);
        manual_do(p->m, p->a.address, link_to, &p->b.address); /* once is enough */
        manual_do(p->m, p->b.address, finish, NULL);
        manual_do(p->m, p->a.address, link_to, &p->b.address);
        assert_string_equal(p->a.trail, "init exited:normal exited:no-actor ");
        pair_close(p);
    }
}

static void a_link_to_one_that_is_gone_ends_the_linker(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, kill_it, &p->b.address);
    manual_do(p->m, p->a.address, link_to, &p->b.address);
    assert_string_equal(p->a.trail, "init stop ");
    pair_close(p);
}

/* The link lies in its mailbox, behind what ends it. */
static void a_link_to_one_that_ends_before_it_reads_of_it_fires(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, trap, NULL);
    manual_tell(p->m, p->b.address, break_down, NULL);
    manual_tell(p->m, p->a.address, link_to, &p->b.address); /* woken last, it runs first */
    manual_pump(p->m);
    assert_string_equal(p->b.trail, "init stop ");
    assert_string_equal(p->a.trail, "init exited:error ");
    pair_close(p);
}

static void unlinked_actors_go_their_own_ways(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (int by_b = 0; by_b < 2; by_b++) {
            pair *p = pair_open(loops);
            manual_do(p->m, p->a.address, link_to, &p->b.address);
            manual_do(p->m, by_b ? p->b.address : p->a.address, unlink_from,
                      by_b ? &p->a.address : &p->b.address);
            manual_do(p->m, p->b.address, break_down, NULL);
            assert_string_equal(p->a.trail, "init ");
            pair_close(p);
        }
}

/* The exit signal is under way when the link is taken back. */
static void an_exit_under_way_is_not_obeyed_after_unlink(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    manual_do(p->m, p->a.address, link_to, &p->b.address);
    manual_tell(p->m, p->b.address, break_down, NULL);
    manual_turn(p->m, 1);
    manual_tell(p->m, p->a.address, unlink_from, &p->b.address);
    manual_pump(p->m);
    assert_string_equal(p->a.trail, "init ");
    pair_close(p);
}

static manual_puppet many[TR__MONITORS_MAX + 1];

static void link_many(tr_actor *self, void *context)
{
    (void)context;
    for (uint32_t i = 0; i < TR__MONITORS_MAX; i++)
        link_to(self, &many[i].address);
    assert_int_equal(tr_link(self, many[TR__MONITORS_MAX].address), TR_EFULL);
    unlink_from(self, &many[7].address);
    link_to(self, &many[TR__MONITORS_MAX].address);
}

static void too_many_links_are_refused(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    memset(many, 0, sizeof(many));
    for (uint32_t i = 0; i <= TR__MONITORS_MAX; i++)
        manual_spawn(p->m, 0, &many[i], NULL);
    manual_pump(p->m);
    manual_do(p->m, p->a.address, link_many, NULL);
    pair_close(p);
}

/* ---- no memory ----------------------------------------------------------------------------------------- */

static void watch_with_failing_allocations(tr_actor *self, void *context)
{
    for (uint64_t n = 1;; n++) {
        tr__alloc_fail_at(n);
        uint64_t got = tr_monitor(self, *(tr_addr *)context);
        tr__alloc_fail_at(0);
        if (got)
            break;
        assert_int_equal(tr_last_error(self)->code, TR_ENOMEM);
    }
    for (uint64_t n = 1;; n++) {
        tr__alloc_fail_at(n);
        tr_err err = tr_link(self, *(tr_addr *)context);
        tr__alloc_fail_at(0);
        if (err == TR_OK)
            break;
        assert_int_equal(err, TR_ENOMEM);
    }
}

static void a_monitor_or_link_without_memory_is_refused(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        manual_do(p->m, p->a.address, trap, NULL);
        manual_do(p->m, p->a.address, watch_with_failing_allocations, &p->b.address);
        manual_do(p->m, p->b.address, break_down, NULL);
        assert_string_equal(p->a.trail, "init exited:error down:error ");
        pair_close(p);
    }
}

/* The target has no memory to keep the monitor: it fires, better early than never. */
static void a_monitor_that_cannot_be_kept_fires(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    manual_do(p->m, p->a.address, trap, NULL);
    manual_tell(p->m, p->a.address, watch, &p->b.address);
    manual_turn(p->m, 0);
    tr__alloc_fail_at(1);
    manual_turn(p->m, 1);
    tr__alloc_fail_at(0);
    manual_tell(p->m, p->a.address, link_to, &p->b.address);
    manual_turn(p->m, 0);
    tr__alloc_fail_at(1);
    manual_turn(p->m, 1);
    tr__alloc_fail_at(0);
    manual_pump(p->m);
    assert_string_equal(p->a.trail, "init down:no-actor exited:no-actor ");
    pair_close(p);
}

/* ---- what only the runtime may send -------------------------------------------------------------------- */

static tr_msg *kept_notice;

static void keep_notice(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_match(msg, tr_down))
        kept_notice = tr_msg_take(self, msg);
}

static void forge(tr_actor *self, void *context)
{
    tr_addr to = *(tr_addr *)context;
    assert_int_equal(tr_send(self, to, tr_down, .monitor = 0), TR_EPERM);
    assert_int_equal(tr_send(self, to, tr_exited, .actor = to), TR_EPERM);
    assert_int_equal(tr_send(self, to, tr_node_event, .name = "x"), TR_EPERM);
    assert_int_equal(tr_send(self, to, tr_writable, .actor = to), TR_EPERM);
    assert_int_equal(tr_ask(self, to, TR_FOREVER, tr_canceled, .ask = 1).id, 0);
    assert_int_equal(tr_last_error(self)->code, TR_EPERM);
    assert_int_equal(tr_post(tr_node_of(self), to, tr_down, .monitor = 1), TR_EPERM);
    assert_int_equal(tr_send_msg(self, to, &kept_notice), TR_EPERM);
    tr_msg_free(self, &kept_notice);
}

static void notices_of_the_runtime_can_not_be_forged(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_puppet c = {0};
    manual_spawn(p->m, 0, &c, NULL);
    p->a.on = keep_notice;
    manual_do(p->m, p->a.address, watch, &c.address);
    manual_do(p->m, c.address, finish, NULL);
    manual_do(p->m, p->a.address, forge, &p->b.address);
    assert_string_equal(p->b.trail, "init ");
    pair_close(p);
}

static void post_much(tr_actor *self, void *context)
{
    tr_bytes much = {.data = "", .size = TR__BODY_MAX};
    assert_int_equal(tr_post(tr_node_of(self), *(tr_addr *)context, blob, .data = much), TR_ETOOBIG);
}

static void posting_too_much_is_told_as_that(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, post_much, &p->b.address);
    pair_close(p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_monitor_fires_once),
        cmocka_unit_test(a_monitor_that_was_taken_back_is_not_heard),
        cmocka_unit_test(a_down_under_way_is_not_heard_after_demonitor),
        cmocka_unit_test(what_it_sent_and_replied_comes_before_its_down),
        cmocka_unit_test(too_many_monitors_are_refused),
        cmocka_unit_test(linked_actors_share_their_fate),
        cmocka_unit_test(a_normal_end_is_no_reason_to_end),
        cmocka_unit_test(one_that_traps_exits_hears_of_them),
        cmocka_unit_test(a_link_to_one_that_is_gone_ends_the_linker),
        cmocka_unit_test(a_link_to_one_that_ends_before_it_reads_of_it_fires),
        cmocka_unit_test(unlinked_actors_go_their_own_ways),
        cmocka_unit_test(an_exit_under_way_is_not_obeyed_after_unlink),
        cmocka_unit_test(too_many_links_are_refused),
        cmocka_unit_test(a_monitor_or_link_without_memory_is_refused),
        cmocka_unit_test(a_monitor_that_cannot_be_kept_fires),
        cmocka_unit_test(notices_of_the_runtime_can_not_be_forged),
        cmocka_unit_test(posting_too_much_is_told_as_that),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
