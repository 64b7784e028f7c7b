/* Confirmed messages from n0 to n1, and within n0, with what happens to them done by hand: what the sender is told, and what
 * the receiver handles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/remote/confirmed.h"
#include "tests/kit/sim/sim.h"

TR_MESSAGE(parcel_note, (u64, n), (bytes, data))
TR_MESSAGE(order_send, (addr, to), (u64, n), (u64, timeout_ns), (u64, bytes), (bool, cancel))
TR_MESSAGE(order_end)

#define ANY TR_MINUTES(60)

/* ---- who receives, and who sends ------------------------------------------------------------------------- */

static char handled[2000], told[2000]; /* a word each */
static bool shut;                      /* sinks set aside what comes */

static void add(char *list, const char *format, ...)
{
    size_t length = strlen(list);
    va_list args;
    va_start(args, format);
    vsnprintf(list + length, sizeof(handled) - length, format, args);
    va_end(args);
}

static void sink(tr_actor *self, void *state, const tr_msg *msg)
{
    const parcel_note *p = tr_match(msg, parcel_note);
    (void)state;
    if (p && shut)
        assert_int_equal(tr_defer(self, msg), TR_OK);
    else if (p)
        add(handled, "%d ", (int)p->n);
    if (tr_match(msg, tr_tick) && !shut) /* needs no place */
        tr_undefer(self);
    if (tr_match(msg, order_end))
        tr_exit(self, TR_OK, "it was told to");
}

static tr_err sink_init(tr_actor *self, void *state, const void *arg)
{
    (void)state;
    (void)arg;
    return tr_every(self, TR_MILLIS(10)).id ? TR_OK : TR_ENOMEM;
}
TR_ACTOR(sink_def, .init = sink_init, .receive = sink, .mailbox_places = 4);

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self;
    (void)state;
    if (result->msg)
        assert_non_null(tr_match(result->msg, tr_confirmed));
    add(told, "%d:%s ", (int)(uintptr_t)context, tr_err_word(result->err));
}

static void sender(tr_actor *self, void *state, const tr_msg *msg)
{
    static uint8_t data[2 << 20];
    const order_send *o = tr_match(msg, order_send);
    (void)state;
    if (o) {
        tr_future future =
            tr_send_confirmed(self, o->to, o->timeout_ns, parcel_note, .n = o->n, .data = {data, o->bytes});
        if (!future.id)
            add(told, "%d:not-sent:%s ", (int)o->n, tr_err_word(tr_last_error(self)->code));
        else if (o->cancel)
            tr_cancel(self, future);
        else
            assert_int_equal(tr_then(self, future, answered, (void *)(uintptr_t)o->n), TR_OK);
    }
    if (tr_match(msg, order_end))
        tr_exit(self, TR_OK, "it was told to");
}
TR_ACTOR(sender_def, .receive = sender);

static tr_err start(tr_actor *self, uint32_t index)
{
    (void)index;
    tr_spawn_with(self, &sink_def, NULL, &(tr_spawn_opts){.name = "sink"});
    tr_spawn_with(self, &sender_def, NULL, &(tr_spawn_opts){.name = "sender"});
    return TR_OK;
}

static const tr_scenario pairs = {
    .size = sizeof(tr_scenario), .name = "pairs", .nodes = 2, .loops = 1, .start = start};

/* ---- fixture --------------------------------------------------------------------------------------------- */

static tr_sim *sim;
static tr_probe *probe; /* on n0 */
static tr_addr far, near, sends;

static int tear_down(void **state)
{
    tr_sim_result r;
    (void)state;
    tr_sim_result_get(sim, &r);
    tr_sim_destroy(sim);
    if (r.failed)
        fail_msg("%s", r.what);
    return 0;
}

static void send_to(tr_addr to, uint64_t n, uint64_t timeout_ns)
{
    assert_int_equal(tr_probe_send(probe, sends, order_send, .to = to, .n = n, .timeout_ns = timeout_ns),
                     TR_OK);
}

static void set_shut(bool value)
{
    shut = value;
    tr_sim_step(sim, TR_MILLIS(20));
}

/* Nothing of one comes to the other. */
static void part(void)
{
    tr_sim_cut(sim, 0, 1);
    tr_sim_cut(sim, 1, 0);
}

/* And that is over. */
static void join(void)
{
    tr_sim_heal(sim, 0, 1);
    tr_sim_heal(sim, 1, 0);
    tr_sim_step(sim, TR_SECONDS(15));
}

static void expect(const char *was_handled, const char *was_told)
{
    assert_string_equal(handled, was_handled);
    assert_string_equal(told, was_told);
}

static int set_up(void **state)
{
    (void)state;
    shut = false;
    handled[0] = told[0] = 0;
    sim = tr_sim_create(&(tr_sim_opts){.seed = 7, .scenario = &pairs}, NULL);
    assert_non_null(sim);
    probe = tr_probe_open(sim, 0);
    far = tr_probe_lookup(probe, "n1/sink", TR_SECONDS(1));
    near = tr_probe_lookup(probe, "n0/sink", TR_SECONDS(1));
    sends = tr_probe_lookup(probe, "n0/sender", TR_SECONDS(1));
    send_to(far, 0, TR_SECONDS(1)); /* the stream is open */
    tr_sim_step(sim, TR_SECONDS(1));
    assert_string_equal(told, "0:ok ");
    handled[0] = told[0] = 0;
    return 0;
}

/* ---- over connections that live, and that don't ---------------------------------------------------------- */

static void a_message_is_confirmed_when_it_is_in_the_mailbox(void **state)
{
    (void)state;
    set_shut(true); /* in the mailbox is enough: it need not be handled */
    for (uint64_t n = 1; n <= 3; n++)
        send_to(far, n, ANY);
    tr_sim_step(sim, TR_SECONDS(1));
    expect("", "1:ok 2:ok 3:ok ");
    set_shut(false);
    expect("1 2 3 ", "1:ok 2:ok 3:ok ");
}

static void what_is_sent_without_a_connection_arrives_when_there_is_one(void **state)
{
    (void)state;
    part();
    tr_sim_step(sim, TR_SECONDS(8)); /* both know */
    send_to(far, 1, ANY);
    send_to(far, 2, ANY);
    tr_sim_step(sim, TR_SECONDS(30));
    expect("", "");
    join();
    expect("1 2 ", "1:ok 2:ok ");
}

static void what_was_on_its_way_when_the_connection_broke_arrives_once_and_in_order(void **state)
{
    (void)state;
    tr_sim_cut(sim, 1, 0); /* what is sent arrives, and no word of it comes back */
    send_to(far, 1, ANY);
    tr_sim_step(sim, TR_SECONDS(1));
    tr_sim_cut(sim, 0, 1);
    send_to(far, 2, ANY); /* this doesn't */
    tr_sim_step(sim, TR_SECONDS(8));
    send_to(far, 3, ANY);
    expect("1 ", "");
    join();
    expect("1 2 3 ", "1:ok 2:ok 3:ok ");
}

static void a_deadline_says_unknown_of_what_was_sent_and_not_delivered_of_what_was_not(void **state)
{
    (void)state;
    part();
    send_to(far, 1, TR_SECONDS(2)); /* the connection seems to live */
    tr_sim_step(sim, TR_SECONDS(8));
    expect("", "1:deadline ");
    send_to(far, 2, TR_SECONDS(2));
    tr_sim_step(sim, TR_SECONDS(3));
    expect("", "1:deadline 2:no-connection ");
    send_to(far, 3, ANY);
    join();
    expect("3 ", "1:deadline 2:no-connection 3:ok "); /* what was given up isn't sent any more */
}

static void what_becomes_of_a_message_is_known_for_ten_minutes_without_a_connection(void **state)
{
    (void)state;
    tr_sim_cut(sim, 1, 0);
    send_to(far, 1, ANY);
    tr_sim_step(sim, TR_SECONDS(1));
    tr_sim_cut(sim, 0, 1);
    tr_sim_step(sim, TR_MINUTES(9));
    join();
    expect("1 ", "1:ok ");
    tr_sim_cut(sim, 1, 0);
    send_to(far, 2, ANY);
    tr_sim_step(sim, TR_SECONDS(1));
    tr_sim_cut(sim, 0, 1);
    send_to(far, 3, ANY);
    tr_sim_step(sim, TR_SECONDS(8));
    send_to(far, 4, ANY);
    tr_sim_step(sim, TR_MINUTES(11));
    join();
    expect("1 2 4 ", "1:ok 2:reset 3:reset 4:ok "); /* 3 was sent, and nobody can say that it didn't come */
}

static void a_node_that_is_started_anew_fails_the_rest(void **state)
{
    (void)state;
    part();
    send_to(far, 1, ANY); /* may have arrived */
    tr_sim_step(sim, TR_SECONDS(8));
    send_to(far, 2, ANY);
    tr_sim_kill(sim, 1, false);
    tr_sim_start(sim, 1, NULL);
    join();
    expect("", "1:reset 2:no-actor ");
    send_to(far, 3, ANY); /* the address is of the last incarnation */
    tr_sim_step(sim, TR_SECONDS(1));
    expect("", "1:reset 2:no-actor 3:no-actor ");
}

/* ---- receivers ------------------------------------------------------------------------------------------- */

static void a_full_mailbox_is_tried_again_in_order(void **state)
{
    tr_addr both[] = {far, near};
    (void)state;
    for (int i = 0; i < 2; i++) {
        handled[0] = told[0] = 0;
        set_shut(true);
        for (uint64_t n = 1; n <= 9; n++)
            send_to(both[i], n, ANY);
        tr_sim_step(sim, TR_SECONDS(2));
        expect("", "1:ok 2:ok 3:ok 4:ok ");
        set_shut(false);
        tr_sim_step(sim, TR_SECONDS(2));
        expect("1 2 3 4 5 6 7 8 9 ", "1:ok 2:ok 3:ok 4:ok 5:ok 6:ok 7:ok 8:ok 9:ok ");
    }
}

static void a_mailbox_that_stays_full_is_told_at_the_deadline_and_keeps_no_other_waiting(void **state)
{
    (void)state;
    tr_addr other = tr_probe_lookup(probe, "n1/sender", TR_SECONDS(1));
    set_shut(true);
    for (uint64_t n = 1; n <= 4; n++)
        send_to(far, n, ANY);
    send_to(far, 5, TR_SECONDS(2));
    send_to(far, 6, TR_SECONDS(2));
    send_to(other, 7, ANY);
    tr_sim_step(sim, TR_SECONDS(1));
    expect("", "1:ok 2:ok 3:ok 4:ok 7:ok ");
    tr_sim_step(sim, TR_SECONDS(2));
    expect("", "1:ok 2:ok 3:ok 4:ok 7:ok 5:full 6:full ");
    set_shut(false);
    tr_sim_step(sim, TR_SECONDS(2));
    expect("1 2 3 4 ", "1:ok 2:ok 3:ok 4:ok 7:ok 5:full 6:full ");
}

static void a_receiver_that_is_gone_is_a_failure_at_once(void **state)
{
    (void)state;
    tr_probe_send(probe, far, order_end);
    tr_probe_send(probe, near, order_end);
    tr_sim_step(sim, TR_MILLIS(100));
    send_to(far, 1, ANY);
    tr_sim_step(sim, TR_MILLIS(100));
    send_to(near, 2, ANY);
    tr_sim_step(sim, TR_MILLIS(100));
    expect("", "1:no-actor 2:no-actor ");
}

/* ---- senders --------------------------------------------------------------------------------------------- */

static void on_the_same_node_it_is_the_same(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 3; n++)
        send_to(near, n, ANY);
    tr_sim_step(sim, TR_MILLIS(1));
    expect("1 2 3 ", "1:ok 2:ok 3:ok ");
}

static void a_cancel_and_the_senders_end_give_up_the_answer_only(void **state)
{
    (void)state;
    part();
    tr_sim_step(sim, TR_SECONDS(8));
    tr_probe_send(probe, sends, order_send, .to = far, .n = 1, .timeout_ns = ANY, .cancel = true);
    send_to(far, 2, ANY);
    tr_probe_send(probe, sends, order_end);
    tr_sim_step(sim, TR_SECONDS(1));
    join();
    expect("1 2 ", "");
}

static void what_waits_to_be_confirmed_is_bounded(void **state)
{
    char all[2000] = "";
    (void)state;
    part();
    tr_sim_step(sim, TR_SECONDS(8));
    for (uint64_t n = 1; n <= 64; n++)
        tr_probe_send(probe, sends, order_send, .to = far, .n = n, .timeout_ns = ANY,
                      .bytes = (1 << 20) - 300);
    tr_probe_send(probe, sends, order_send, .to = far, .n = 65, .timeout_ns = ANY, .bytes = (1 << 20) - 300);
    tr_probe_send(probe, sends, order_send, .to = far, .n = 66, .timeout_ns = ANY, .bytes = 1 << 20);
    tr_sim_step(sim, TR_SECONDS(1));
    expect("", "65:not-sent:full 66:not-sent:too-big ");
    told[0] = 0;
    join();
    for (int n = 1; n <= 64; n++)
        add(all, "%d ", n);
    assert_string_equal(handled, all); /* through a window of 1 MiB, and a mailbox of as much */
    assert_int_equal(atomic_load(&tr_sim_node(sim, 0)->unconfirmed), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_message_is_confirmed_when_it_is_in_the_mailbox),
        TEST(what_is_sent_without_a_connection_arrives_when_there_is_one),
        TEST(what_was_on_its_way_when_the_connection_broke_arrives_once_and_in_order),
        TEST(a_deadline_says_unknown_of_what_was_sent_and_not_delivered_of_what_was_not),
        TEST(what_becomes_of_a_message_is_known_for_ten_minutes_without_a_connection),
        TEST(a_node_that_is_started_anew_fails_the_rest),
        TEST(a_full_mailbox_is_tried_again_in_order),
        TEST(a_mailbox_that_stays_full_is_told_at_the_deadline_and_keeps_no_other_waiting),
        TEST(a_receiver_that_is_gone_is_a_failure_at_once),
        TEST(on_the_same_node_it_is_the_same),
        TEST(a_cancel_and_the_senders_end_give_up_the_answer_only),
        TEST(what_waits_to_be_confirmed_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
