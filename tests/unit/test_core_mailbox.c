/* mailbox/places.h, actors/deliver.c, send.c: what is sent arrives, in order, or is told; bounds; writable
 * notices. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/adapter.h"
#include "base/mem.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

typedef struct sends {
    tr_addr to;
    uint64_t from, count; /* marks from, from+1, ... */
    size_t size;          /* of a blob's bytes instead of marks, if not 0 */
    uint64_t accepted;
    tr_err last;
    bool notify; /* ask for a writable notice after TR_EFULL */
} sends;

static char bulk[1 << 20];

/* Sends until one is refused. */
static void send_some(tr_actor *self, void *context)
{
    sends *s = context;
    s->accepted = 0;
    for (uint64_t i = 0; i < s->count; i++) {
        s->last = s->size ? tr_send(self, s->to, blob, .n = s->from + i, .data = {bulk, s->size})
                          : tr_send(self, s->to, mark, .n = s->from + i);
        if (s->last != TR_OK)
            break;
        s->accepted++;
    }
    if (s->notify && s->last != TR_OK)
        assert_int_equal(tr_notify_writable(self, s->to), TR_OK);
}

static void stop_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_SHUTDOWN), TR_OK);
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

static tr_spawn_opts places(uint32_t count)
{
    return (tr_spawn_opts){.mailbox_places = count};
}

/* ---- delivery ------------------------------------------------------------------------------------------ */

static void messages_of_one_sender_arrive_in_order(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 3; loops++)
        for (int order = MANUAL_UP; order <= MANUAL_RANDOM; order++) {
            manual *m = manual_open(loops);
            m->order = (manual_order)order;
            manual_puppet a = {0}, b = {0};
            manual_spawn(m, 0, &a, NULL);
            manual_spawn(m, loops - 1, &b, NULL);
            sends first = {b.address, 1, 5, 0}, second = {b.address, 6, 4, 0};
            manual_tell(m, a.address, send_some, &first);
            manual_tell(m, a.address, send_some, &second);
            manual_pump(m);
            assert_string_equal(b.trail, "init 1 2 3 4 5 6 7 8 9 ");
            manual_check(m);
            manual_close(m);
        }
}

static void a_stale_address_is_a_dead_letter(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        manual *m = manual_open(loops);
        manual_puppet a = {0}, old = {0}, new = {0};
        manual_spawn(m, loops - 1, &a, NULL);
        manual_spawn(m, 0, &old, NULL);
        manual_do(m, a.address, stop_it, &old.address);
        assert_string_equal(old.trail, "init stop ");
        manual_spawn(m, 0, &new, NULL);
        assert_int_equal(new.address.slot, old.address.slot);
        assert_int_equal(new.address.generation, old.address.generation + 1);
        sends s = {old.address, 1, 3, 0};
        manual_do(m, a.address, send_some, &s);
        assert_int_equal(s.accepted, 3);
        assert_int_equal(manual_dropped(m, TR_DROP_NO_ACTOR), 3);
        assert_string_equal(new.trail, "init ");
        manual_check(m);
        manual_close(m);
    }
}

static void a_generation_that_would_wrap_retires_the_slot(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet a = {0}, last = {0}, next = {0};
    manual_spawn(m, 0, &a, NULL);
    manual_spawn(m, 0, &last, NULL);
    manual_do(m, a.address, stop_it, &last.address);
    tr_actor *slot = tr__slot(m->node, last.address.slot);
    atomic_store(&slot->generation, UINT32_MAX);
    memset(&last, 0, sizeof(last));
    manual_spawn(m, 0, &last, NULL);
    assert_int_equal(last.address.generation, UINT32_MAX);
    manual_do(m, a.address, stop_it, &last.address);
    assert_null(manual_actor(m, last.address));
    manual_spawn(m, 0, &next, NULL);
    assert_int_not_equal(next.address.slot, last.address.slot);
    sends s = {last.address, 1, 1, 0};
    manual_do(m, a.address, send_some, &s);
    assert_int_equal(manual_dropped(m, TR_DROP_NO_ACTOR), 1);
    manual_close(m);
}

static void a_forged_address_is_a_dead_letter(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    manual_puppet a = {0};
    manual_spawn(m, 0, &a, NULL);
    tr_addr forged[] = {
        {m->node->id, 7, 1},          /* never used, in a known segment */
        {m->node->id, 1u << 20, 1},   /* no such segment */
        {m->node->id, UINT32_MAX, 9}, /* beyond all segments */
    };
    for (size_t i = 0; i < TR_COUNT(forged); i++) {
        sends s = {forged[i], 1, 2, 0};
        manual_do(m, a.address, send_some, &s);
        assert_int_equal(s.accepted, 2);
        assert_int_equal(tr_post(m->node, forged[i], mark, .n = 1), TR_OK);
        manual_pump(m);
        assert_int_equal(manual_dropped(m, TR_DROP_NO_ACTOR), 3 * (i + 1));
    }
    manual_check(m);
    manual_close(m);
}

static void what_is_left_at_exit_is_counted(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet a = {0}, b = {0};
    manual_spawn(m, 0, &a, NULL);
    manual_spawn(m, 0, &b, NULL);
    manual_pump(m);
    manual_tell(m, a.address, stop_it, &b.address);
    sends s = {b.address, 1, 3, 0};
    manual_tell(m, a.address, send_some, &s);
    manual_pump(m);
    assert_int_equal(manual_dropped(m, TR_DROP_LEFT), 3);
    manual_close(m);
}

static void a_kill_overtakes_and_a_shutdown_does_not(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        manual *m = manual_open(loops);
        manual_puppet a = {0}, b = {0}, c = {0};
        manual_spawn(m, 0, &a, NULL);
        manual_spawn(m, loops - 1, &b, NULL);
        manual_spawn(m, loops - 1, &c, NULL);
        manual_pump(m);
        sends to_b = {b.address, 1, 3, 0}, to_c = {c.address, 1, 3, 0};
        manual_tell(m, a.address, send_some, &to_b);
        manual_tell(m, a.address, kill_it, &b.address);
        manual_tell(m, a.address, send_some, &to_c);
        manual_tell(m, a.address, stop_it, &c.address);
        manual_pump(m);
        assert_string_equal(b.trail, "init stop ");
        assert_string_equal(c.trail, "init 1 2 3 stop ");
        manual_close(m);
    }
}

/* ---- places -------------------------------------------------------------------------------------------- */

static void a_full_mailbox_refuses_at_once(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (uint32_t capacity = 1; capacity <= 40; capacity += capacity < 4 ? 1 : 9) {
            manual *m = manual_open(loops);
            manual_puppet a = {0}, b = {0};
            tr_spawn_opts opts = places(capacity);
            manual_spawn(m, 0, &a, NULL);
            manual_spawn(m, loops - 1, &b, &opts);
            manual_pump(m);
            sends s = {b.address, 1, 100, 0};
            manual_do(m, a.address, send_some, &s);
            assert_int_equal(s.last, TR_EFULL);
            /* What the owner's loop has in its hand another loop may miss. */
            assert_in_range(s.accepted, loops == 1 ? capacity : capacity - capacity / 8, capacity);
            manual_check(m);
            s.from = 50;
            manual_do(m, a.address, send_some, &s); /* all were handled: as many again */
            assert_true(s.accepted >= (capacity < 4 ? capacity : capacity - capacity / 4));
            manual_check(m);
            manual_close(m);
        }
}

static void many_loops_never_exceed_the_bound(void **state)
{
    (void)state;
    for (uint32_t capacity = 1; capacity <= 20; capacity++) {
        manual *m = manual_open(4);
        manual_puppet senders[8] = {{.address = {0}}}, b = {0};
        tr_spawn_opts opts = places(capacity);
        for (uint32_t i = 0; i < 8; i++)
            manual_spawn(m, i % 4, &senders[i], NULL);
        manual_spawn(m, 0, &b, &opts);
        manual_pump(m);
        sends s[8];
        uint64_t accepted = 0;
        for (uint32_t i = 0; i < 8; i++) {
            s[i] = (sends){b.address, 1, 7, 0};
            manual_tell(m, senders[i].address, send_some, &s[i]);
        }
        for (uint32_t i = 1; i < 4; i++) /* loop 0 takes nothing meanwhile */
            manual_turn(m, i);
        for (uint32_t i = 0; i < 8; i++)
            accepted += i % 4 ? s[i].accepted : 0;
        assert_in_range(accepted, 1, capacity);
        assert_int_equal(manual_actor(m, b.address)->count, 0);
        manual_pump(m);
        manual_check(m);
        manual_close(m);
    }
}

static void a_message_takes_a_place_per_kib(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        manual *m = manual_open(loops);
        manual_puppet a = {0}, b = {0};
        tr_spawn_opts opts = places(8);
        manual_spawn(m, 0, &a, NULL);
        manual_spawn(m, loops - 1, &b, &opts);
        manual_pump(m);
        sends s = {b.address, 1, 100, 3000}; /* three places each */
        manual_do(m, a.address, send_some, &s);
        assert_int_equal(s.accepted, 2);
        sends huge = {b.address, 9, 2, 100000}; /* more than there are: takes all of them */
        huge.notify = true;
        for (int tries = 0; tries < 3 && huge.accepted == 0; tries++)
            manual_do(m, a.address, send_some, &huge);
        assert_int_equal(huge.accepted, 1);
        assert_int_equal(huge.last, TR_EFULL);
        manual_check(m);
        manual_close(m);
    }
}

/* The owner's loop keeps free places in its hand while the mailbox is idle: another loop's large message must
 * get them all the same, after a notice. */
static void a_large_message_of_another_loop_is_admitted(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    manual_puppet here = {0}, there = {0}, b = {0};
    tr_spawn_opts opts = places(64);
    manual_spawn(m, 0, &here, NULL);
    manual_spawn(m, 1, &there, NULL);
    manual_spawn(m, 0, &b, &opts);
    manual_pump(m);
    sends small = {b.address, 1, 30, 0}, large = {b.address, 99, 1, 64 * 1024};
    manual_do(m, here.address, send_some, &small);
    large.notify = true;
    manual_do(m, there.address, send_some, &large);
    if (large.accepted == 0) {
        assert_string_equal(there.trail, "init writable ");
        manual_do(m, there.address, send_some, &large);
    }
    assert_int_equal(large.accepted, 1);
    manual_check(m);
    manual_close(m);
}

/* ---- writable notices ---------------------------------------------------------------------------------- */

static char told[64]; /* who was told, in order */

static void note_told(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self;
    if (tr_match(msg, tr_writable))
        strcat(told, puppet->user);
}

static void asks_notice(tr_actor *self, void *context)
{
    assert_int_equal(tr_notify_writable(self, *(tr_addr *)context), TR_OK);
}

/* Senders on loop 0, the receiver on the last loop, which doesn't turn until all have been refused. */
static void notices_come_in_order_of_asking(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    manual_puppet senders[6] = {{.address = {0}}}, b = {0};
    char *names[6] = {"a", "b", "c", "d", "e", "f"};
    tr_spawn_opts opts = places(4);
    told[0] = '\0';
    manual_spawn(m, 1, &b, &opts);
    manual_pump(m);
    sends s[6];
    for (uint32_t i = 0; i < 6; i++) {
        senders[i].on = note_told;
        senders[i].user = names[i];
        manual_spawn(m, 0, &senders[i], NULL);
        manual_turn(m, 0);
        s[i] = (sends){.to = b.address, .from = 10 * i, .count = 10, .notify = true};
        manual_tell(m, senders[i].address, send_some, &s[i]);
        manual_turn(m, 0);
        assert_int_equal(s[i].accepted, i == 0 ? 4 : 0);
    }
    manual_pump(m);
    assert_string_equal(told, "abcdef"); /* nobody sent again, and all were told nevertheless */
    assert_string_equal(b.trail, "init 0 1 2 3 ");
    manual_check(m);
    manual_close(m);
}

/* A waiting sender that dies takes nobody's notice with it. */
static void a_dead_waiter_does_not_hold_up_the_others(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    manual_puppet filler = {0}, dies = {0}, waits = {0}, b = {0};
    tr_spawn_opts opts = places(2);
    manual_spawn(m, 0, &filler, NULL);
    manual_spawn(m, 0, &dies, NULL);
    manual_spawn(m, 0, &waits, NULL);
    manual_spawn(m, 1, &b, &opts);
    manual_pump(m);
    sends fill = {b.address, 1, 100, 0};
    manual_tell(m, filler.address, send_some, &fill);
    manual_turn(m, 0);
    manual_tell(m, dies.address, asks_notice, &b.address);
    manual_turn(m, 0);
    manual_tell(m, waits.address, asks_notice, &b.address);
    manual_turn(m, 0);
    manual_tell(m, filler.address, kill_it, &dies.address);
    manual_turn(m, 0);
    manual_pump(m);
    assert_string_equal(dies.trail, "init stop ");
    assert_string_equal(waits.trail, "init writable ");
    manual_check(m);
    manual_close(m);
}

static void a_notice_of_a_dead_receiver_comes_at_once(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    manual_puppet a = {0}, b = {0};
    manual_spawn(m, 0, &a, NULL);
    manual_spawn(m, 1, &b, NULL);
    manual_pump(m);
    manual_do(m, a.address, kill_it, &b.address);
    manual_do(m, a.address, asks_notice, &b.address);
    assert_string_equal(a.trail, "init writable ");
    manual_close(m);
}

/* Every sender sends on each notice until it has sent its ten: nobody waits for ever, whatever the capacity.
 */
static void send_ten(tr_actor *self, void *context)
{
    sends *s = context;
    while (s->count) {
        if (tr_send(self, s->to, mark, .n = s->from) != TR_OK) {
            assert_int_equal(tr_notify_writable(self, s->to), TR_OK);
            return;
        }
        s->count--;
        s->accepted++;
    }
}

typedef struct pusher {
    sends *s;
} pusher;

static tr_err pusher_init(tr_actor *self, void *state, const void *arg)
{
    ((pusher *)state)->s = (sends *)arg;
    send_ten(self, ((pusher *)state)->s);
    return TR_OK;
}

static void pusher_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    if (tr_match(msg, tr_writable))
        send_ten(self, ((pusher *)state)->s);
}

TR_ACTOR(pusher_def, .state_size = sizeof(pusher), .init = pusher_init, .receive = pusher_receive);

static void tiny_mailboxes_of_many_loops_do_not_deadlock(void **state)
{
    (void)state;
    for (uint32_t capacity = 1; capacity <= 4; capacity++)
        for (int order = MANUAL_UP; order <= MANUAL_RANDOM; order++) {
            manual *m = manual_open(3);
            m->order = (manual_order)order;
            manual_puppet b = {0};
            tr_spawn_opts opts = places(capacity);
            manual_spawn(m, 1, &b, &opts);
            sends s[12];
            for (uint32_t i = 0; i < 12; i++) {
                s[i] = (sends){.to = b.address, .from = i, .count = 10};
                manual_spawn_def(m, i % 3, &pusher_def, &s[i], NULL);
            }
            manual_pump(m);
            for (uint32_t i = 0; i < 12; i++)
                assert_int_equal(s[i].accepted, 10);
            manual_check(m);
            manual_close(m);
        }
}

/* ---- from outside -------------------------------------------------------------------------------------- */

static void posts_are_bounded_and_counted(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    manual_puppet b = {0};
    tr_spawn_opts opts = places(5);
    manual_spawn(m, 1, &b, &opts);
    manual_pump(m);
    for (uint64_t i = 1; i <= 5; i++)
        assert_int_equal(tr_post(m->node, b.address, mark, .n = i), TR_OK);
    assert_int_equal(tr_post(m->node, b.address, mark, .n = 6), TR_EFULL);
    assert_true(m->wakes == 0); /* the loop doesn't sleep */
    manual_pump(m);
    assert_string_equal(b.trail, "init 1 2 3 4 5 ");
    tr_addr elsewhere = b.address;
    elsewhere.node ^= 1;
    assert_int_equal(tr_post(m->node, elsewhere, mark, .n = 1), TR_ENOCONN);
    assert_true(tr__loop_may_sleep(m->node->loops[1]));
    assert_int_equal(tr_post(m->node, b.address, mark, .n = 7), TR_OK);
    assert_int_equal(m->wakes, 1);
    manual_pump(m);
    tr__loop_awake(m->node->loops[1]);
    manual_check(m);
    tr_sums sums;
    tr_node_sums(m->node, &sums);
    assert_int_equal(sums.posted, 6);
    manual_close(m);
}

static void a_sleeping_loop_with_work_does_not_sleep(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet a = {0};
    manual_spawn(m, 0, &a, NULL);
    assert_false(tr__loop_may_sleep(m->node->loops[0])); /* its init is to come */
    manual_pump(m);
    assert_true(tr__loop_may_sleep(m->node->loops[0]));
    tr__loop_awake(m->node->loops[0]);
    assert_int_equal(tr_post(m->node, a.address, mark, .n = 1), TR_OK);
    assert_false(tr__loop_may_sleep(m->node->loops[0]));
    manual_pump(m);
    manual_close(m);
}

/* ---- no memory ----------------------------------------------------------------------------------------- */

static void send_with_failing_allocations(tr_actor *self, void *context)
{
    sends *s = context;
    for (uint64_t n = 1;; n++) {
        tr__alloc_fail_at(n);
        tr_err err = s->size ? tr_send(self, s->to, blob, .n = 1, .data = {bulk, s->size})
                             : tr_send(self, s->to, mark, .n = 1);
        tr__alloc_fail_at(0);
        if (err == TR_OK) {
            s->accepted = n;
            return;
        }
        assert_int_equal(err, TR_ENOMEM);
    }
}

static void a_send_without_memory_is_told_and_holds_no_place(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        manual *m = manual_open(loops);
        manual_puppet a = {0}, b = {0};
        tr_spawn_opts opts = places(1);
        manual_spawn(m, 0, &a, NULL);
        manual_spawn(m, loops - 1, &b, &opts);
        manual_pump(m);
        sends s = {b.address, 1, 1, 0};
        manual_do(m, a.address, send_with_failing_allocations, &s);
#ifdef TR_PLAIN_POOLS
        assert_true(s.accepted > 1);
#endif
        manual_check(m);
        s.size = 100000; /* a plain allocation in every build */
        manual_do(m, a.address, send_with_failing_allocations, &s);
        assert_true(s.accepted > 1);
        assert_string_equal(b.trail, "init 1 1 ");
        manual_check(m);
        manual_close(m);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_one_sender_arrive_in_order),
        cmocka_unit_test(a_stale_address_is_a_dead_letter),
        cmocka_unit_test(a_generation_that_would_wrap_retires_the_slot),
        cmocka_unit_test(a_forged_address_is_a_dead_letter),
        cmocka_unit_test(what_is_left_at_exit_is_counted),
        cmocka_unit_test(a_kill_overtakes_and_a_shutdown_does_not),
        cmocka_unit_test(a_full_mailbox_refuses_at_once),
        cmocka_unit_test(many_loops_never_exceed_the_bound),
        cmocka_unit_test(a_message_takes_a_place_per_kib),
        cmocka_unit_test(a_large_message_of_another_loop_is_admitted),
        cmocka_unit_test(notices_come_in_order_of_asking),
        cmocka_unit_test(a_dead_waiter_does_not_hold_up_the_others),
        cmocka_unit_test(a_notice_of_a_dead_receiver_comes_at_once),
        cmocka_unit_test(tiny_mailboxes_of_many_loops_do_not_deadlock),
        cmocka_unit_test(posts_are_bounded_and_counted),
        cmocka_unit_test(a_sleeping_loop_with_work_does_not_sleep),
        cmocka_unit_test(a_send_without_memory_is_told_and_holds_no_place),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
