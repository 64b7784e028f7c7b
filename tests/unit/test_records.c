/* What loops write for another node themselves, and what is handed on to them (actors/remote/records.h): two nodes of two
 * loops, stepped by hand, over a network in memory; the actors are not on the loops that have the connection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/remote/peer.h"
#include "base/mem.h"
#include "tests/kit/manual_net.h"

typedef struct two {
    memory_net net;
    manual *a, *b; /* a joins b */
    char address[64];
    manual_puppet here, there; /* on a's last loop, and on b's */
    uint64_t heard, wrong;     /* by the one there: marks that came, and not in turn */
    uint64_t answered, large, texts, failed[TR_ERR_COUNT];
    tr_err refused; /* of the last send */
} two;

/* ---- the nodes ----------------------------------------------------------------------------------------- */

static bool step_node(manual *m)
{
    for (uint32_t i = 0; i < 2; i++)
        m->busy[i] = manual_turn(m, i);
    return manual_net_rest(m);
}

/* For a tenth of a second, in which what there is gets done. */
static void pass(two *t)
{
    for (int i = 0; i < 10; i++) {
        t->a->now_ns += TR_MILLIS(10);
        t->b->now_ns += TR_MILLIS(10);
        for (bool more = true; more;) {
            more = step_node(t->a);
            more |= step_node(t->b);
            more |= memory_net_step(&t->net);
        }
    }
}

/* Numbers that are answered in another way. */
#define LARGE 1000001
#define FAILS 1000002
static const char large_data[20000] = "large";

static void on_there(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    two *t = puppet->user;
    const mark *m = tr_match(msg, mark);
    puppet->trail[0] = '\0'; /* it is bounded */
    if (m && tr_msg_ask_number(msg) && m->n == 0)
        tr_msg_take(self, msg); /* and never answers it */
    else if (m && m->n == LARGE)
        tr_reply(self, msg, blob, .data = {large_data, sizeof(large_data)});
    else if (m && m->n == FAILS)
        tr_reply_error(self, msg, TR_EAPP, "%s", "not that one");
    else if (m && tr_msg_ask_number(msg))
        tr_reply(self, msg, mark, .n = m->n + 1);
    else if (m)
        t->wrong += m->n != ++t->heard;
}

static int open_two(void **state)
{
    two *t = calloc(1, sizeof(*t));
    t->here.user = t->there.user = t;
    t->there.on = on_there;
    memory_net_init(&t->net, 1);
    t->b = manual_net_open(&t->net,
                           &(manual_net_opts){.loops = 2, .name = "b", .id = 1001, .listen = "127.0.0.1:0"});
    snprintf(t->address, sizeof(t->address), "%s", tr__remote_address(t->b->node->remote));
    const char *const seeds[] = {t->address, NULL};
    t->a = manual_net_open(&t->net, &(manual_net_opts){.loops = 2, .name = "a", .id = 1003, .join = seeds});
    manual_spawn(t->a, 1, &t->here, NULL);
    manual_spawn(t->b, 1, &t->there, &(tr_spawn_opts){.mailbox_places = 60000});
    pass(t);
    *state = t;
    return 0;
}

static int close_two(void **state)
{
    two *t = *state;
    manual_net_close(t->a);
    manual_net_close(t->b);
    memory_net_fini(&t->net);
    free(t);
    return 0;
}

static tr__loop *loop_of(const manual *m, uint32_t index)
{
    return m->node->loops[index];
}

/* The blocks that wait in a loop's inbox. */
static uint32_t blocks_in(const tr__loop *loop)
{
    uint32_t count = 0;
    for (const tr_msg *msg = atomic_load(&((tr__loop *)loop)->inbox); msg; msg = msg->next)
        count++;
    return count;
}

/* ---- what the actor here does ---------------------------------------------------------------------------- */

/* So many marks, from the one behind those that were heard on; or until one is refused. */
static void send_marks(tr_actor *self, void *context)
{
    two *t = manual_self(self)->user;
    uint64_t first = t->heard + 1, count = *(uint64_t *)context;
    t->refused = TR_OK;
    for (uint64_t i = 0; i < count && t->refused == TR_OK; i++)
        t->refused = tr_send(self, t->there.address, mark, .n = first + i);
}

/* Only this loop's turn. */
static void send_unseen(two *t, uint64_t count)
{
    manual_tell(t->a, t->here.address, send_marks, &count);
    while (manual_turn(t->a, 1))
        ;
}

/* The type gets its number by one that goes as a message. */
static void tell_the_type(two *t)
{
    uint64_t one = 1;
    manual_tell(t->a, t->here.address, send_marks, &one);
    pass(t);
    assert_int_equal(t->heard, 1);
}

static void on_answer(tr_actor *self, void *state, const tr_result *result, void *context)
{
    two *t = manual_self(self)->user;
    const mark *m = result->msg ? tr_match(result->msg, mark) : NULL;
    const blob *b = result->msg ? tr_match(result->msg, blob) : NULL;
    (void)state;
    t->large += b && b->data.size == sizeof(large_data) && memcmp(b->data.data, "large", 6) == 0;
    t->texts += result->err == TR_EAPP && strstr(result->error->text, "not that one") != NULL;
    t->wrong += m && m->n != (uint64_t)(uintptr_t)context + 1;
    t->answered += m != NULL;
    t->failed[result->err]++;
}

/* Ask it the numbers from the first on, so many. */
static void ask_marks(tr_actor *self, void *context)
{
    two *t = manual_self(self)->user;
    const uint64_t *range = context;
    for (uint64_t n = range[0]; n < range[0] + range[1]; n++) {
        tr_future future = tr_ask(self, t->there.address, TR_SECONDS(5), mark, .n = n);
        assert_int_equal(tr_then(self, future, on_answer, (void *)(uintptr_t)n), TR_OK);
    }
}

static void ask_of(two *t, uint64_t first, uint64_t count)
{
    manual_tell(t->a, t->here.address, ask_marks, (uint64_t[]){first, count});
    while (manual_turn(t->a, 1))
        ;
}

/* ---- tests ------------------------------------------------------------------------------------------------ */

static void what_a_loop_sends_to_a_node_goes_in_few_blocks_and_arrives_in_order(void **state)
{
    two *t = *state;
    tell_the_type(t);
    uint64_t sent = loop_of(t->a, 0)->counts.sent, received = loop_of(t->b, 0)->counts.received;
    send_unseen(t, 2000);
    assert_in_range(blocks_in(loop_of(t->a, 0)), 1, 10);
    pass(t);
    assert_int_equal(t->heard, 2001);
    assert_int_equal(t->wrong, 0);
    manual_check(t->a);
    manual_check(t->b);
    assert_int_equal(loop_of(t->a, 0)->counts.sent, sent + 2000);
    assert_int_equal(loop_of(t->b, 0)->counts.received, received + 2000);
}

static void of_those_whose_connection_ended_meanwhile_each_is_counted(void **state)
{
    two *t = *state;
    tell_the_type(t);
    send_unseen(t, 700);
    memory_net_cut(&t->net);
    while (memory_net_step(&t->net))
        ;
    tr__remote_control_step(t->a->node->remote, t->a->now_ns);
    tr__remote_step(t->a->node->remote); /* it hears of the end first */
    pass(t);
    assert_int_equal(manual_dropped(t->a, TR_DROP_NO_CONNECTION), 700);
    assert_int_equal(t->heard, 1);
    manual_check(t->a);
}

static void who_sends_more_than_the_connections_loop_takes_hears_it(void **state)
{
    two *t = *state;
    tell_the_type(t);
    send_unseen(t, 1000000);
    assert_int_equal(t->refused, TR_EAGAIN);
    uint64_t sent = loop_of(t->a, 1)->counts.passed - 1;
    assert_in_range(sent, 30000, 34000); /* 8 MiB, each for 256 bytes, and the block that was being written */
    pass(t);
    assert_int_equal(t->heard, sent + 1);
    assert_int_equal(t->wrong, 0);
    uint64_t few = 10;
    manual_tell(t->a, t->here.address, send_marks, &few);
    pass(t);
    assert_int_equal(t->refused, TR_OK);
    assert_int_equal(t->heard, sent + 11);
}

static void asks_of_a_loop_wait_there_and_are_answered_there(void **state)
{
    two *t = *state;
    ask_of(t, 1, 1); /* the type is told */
    pass(t);
    assert_int_equal(t->answered, 1);
    ask_of(t, 2, 900);
    assert_int_equal(blocks_in(loop_of(t->a, 0)), 2);
    pass(t);
    assert_int_equal(t->answered, 901);
    assert_int_equal(t->wrong, 0);
    manual_check(t->a);
    manual_check(t->b);
}

static void answers_that_are_large_or_errors_find_the_askers_loop(void **state)
{
    two *t = *state;
    ask_of(t, 1, 1);
    pass(t);
    for (int i = 0; i < 3; i++) {
        ask_of(t, LARGE, 1);
        ask_of(t, FAILS, 1);
    }
    pass(t);
    assert_int_equal(t->large, 3);
    assert_int_equal(t->texts, 3);
    assert_int_equal(manual_dropped(t->a, TR_DROP_LATE_REPLY), 0);
    manual_check(t->a);
    manual_check(t->b);
}

static void an_ask_that_is_given_up_waits_no_more(void **state)
{
    two *t = *state;
    ask_of(t, 1, 1);
    pass(t);
    ask_of(t, 0, 1); /* which keeps it */
    pass(t);
    for (int i = 0; i < 60; i++)
        pass(t); /* six seconds: its deadline is over */
    assert_int_equal(t->failed[TR_EDEADLINE], 1);
    memory_net_cut(&t->net);
    pass(t);
    assert_int_equal(t->failed[TR_ENOCONN], 0);
    assert_int_equal(manual_dropped(t->a, TR_DROP_LATE_REPLY), 0);
    manual_check(t->a);
}

static void asks_that_wait_for_a_connection_that_ends_fail_once(void **state)
{
    two *t = *state;
    ask_of(t, 1, 1);
    pass(t);
    for (int i = 0; i < 30; i++)
        ask_of(t, 0, 1); /* which keeps them */
    pass(t);
    ask_of(t, 5, 20); /* these are answered, or on their way */
    memory_net_cut(&t->net);
    pass(t);
    assert_int_equal(t->answered + t->failed[TR_ENOCONN], 51);
    assert_in_range(t->failed[TR_ENOCONN], 30, 50);
    manual_check(t->a);
}

static void an_answer_that_came_before_its_connections_end_counts(void **state)
{
    two *t = *state;
    ask_of(t, 1, 1);
    pass(t);
    ask_of(t, 7, 100);
    for (int i = 0; i < 4; i++) { /* there, and back into the connection's loop */
        manual_turn(t->a, 0);
        while (memory_net_step(&t->net))
            ;
        step_node(t->b);
    }
    while (memory_net_step(&t->net))
        ;
    memory_net_cut(&t->net);
    while (memory_net_step(&t->net))
        ;
    tr__remote_control_step(t->a->node->remote, t->a->now_ns);
    manual_turn(t->a, 0); /* the answers and the end in one turn */
    pass(t);
    assert_int_equal(t->answered, 101);
    assert_int_equal(t->failed[TR_ENOCONN], 0);
}

/* ---- bounds --------------------------------------------------------------------------------------------- */

static tr__remote_peer *peer_there(const two *t)
{
    return tr__remote_peer_of(loop_of(t->a, 0), t->there.address.node);
}

static uint32_t number_of(const tr__remote_peer *p, const tr_typeinfo *type)
{
    for (uint32_t i = 0; i < p->heard_count; i++)
        if (tr__heard_type_of(p, i) == type)
            return i;
    fail_msg("%s wasn't told", type->name);
    return 0;
}

/* So many answers as one batch, to an ask that nobody made. */
static size_t answers_put(const two *t, const tr__remote_peer *p, uint8_t *at, uint32_t count)
{
    size_t length = 0;
    const tr_typeinfo *type = tr__type_of(&mark_type);
    for (uint32_t i = 0; i < count; i++) {
        tr__record record = {.kind = TR__WIRE_REPLY,
                             .to_slot = t->here.address.slot,
                             .to_generation = t->here.address.generation,
                             .ask = 7777777,
                             .type = number_of(p, type)};
        length += tr__writer_put_record(at + length, &record, type, &(mark){.n = 1}, 16);
    }
    return length;
}

static void answers_that_nobody_asked_for_wait_for_no_loop_without_a_bound(void **state)
{
    two *t = *state;
    static uint8_t batch[200000];
    ask_of(t, 1, 1); /* the type is told */
    pass(t);
    tr__remote_peer *p = peer_there(t);
    tr__route *route = p->route;
    size_t length = answers_put(t, p, batch, 1000);
    uint32_t batches = 0;
    while (!p->cut && batches < 1000) { /* and the loop whose actor asked doesn't turn */
        tr__remote_take_batch(p, batch, length);
        batches++;
    }
    assert_true(p->cut);
    assert_in_range(batches, 250, 280); /* each answer is taken for 256 bytes at least */
    assert_in_range(route->answering_bytes, TR__ANSWERS_LATE_MAX, TR__ANSWERS_LATE_MAX + 1000000);
    assert_non_null(strstr(t->a->last_log, "that nobody asked for"));
    pass(t);
    assert_int_equal(route->asking, 0);
    assert_int_equal(route->answering, 0);
    assert_int_equal(route->answering_bytes, 0);
    assert_in_range(manual_dropped(t->a, TR_DROP_LATE_REPLY), 250000, 280000);
    manual_check(t->a);
}

static void what_was_asked_for_is_no_more_than_that_however_much_it_is(void **state)
{
    two *t = *state;
    ask_of(t, 1, 1);
    pass(t);
    tr__route *route = peer_there(t)->route;
    route->answering_bytes += TR__ANSWERS_LATE_MAX; /* as of answers that are large */
    ask_of(t, 2, 900);
    assert_int_equal(route->asking, 900);
    pass(t);
    assert_int_equal(t->answered, 901);
    ask_of(t, LARGE, 1);
    pass(t);
    assert_int_equal(t->large, 1);
    assert_false(peer_there(t)->cut);
    assert_int_equal(route->asking, 0);
    assert_int_equal(route->answering, 0);
    route->answering_bytes -= TR__ANSWERS_LATE_MAX;
    assert_int_equal(route->answering_bytes, 0);
}

/* As answers do, which are sent though the connection is blocked. */
static void what_waits_behind_the_bulk_lane_is_bounded(void **state)
{
    two *t = *state;
    tell_the_type(t);
    tr__remote_peer *p = peer_there(t);
    tr__record pair = {.from_slot = t->here.address.slot,
                       .from_generation = t->here.address.generation,
                       .to_slot = t->there.address.slot,
                       .to_generation = t->there.address.generation};
    tr__pair_hold(tr__pairs_make(&p->pairs, &pair, 0), 1); /* something large is there */
    for (int i = 0; i < 3 && p && !p->cut; i++) {
        p->route->blocked = false;
        send_unseen(t, 1000000);
        manual_turn(t->a, 0);
        p = peer_there(t);
    }
    assert_true(!p || p->cut);
    pass(t);
    assert_in_range(manual_dropped(t->a, TR_DROP_NO_CONNECTION), 65536, 110000);
    manual_check(t->a);
}

static void without_memory_for_a_block_it_goes_as_a_message(void **state)
{
    two *t = *state;
    tell_the_type(t);
    for (uint64_t nth = 1, tried = nth; tried >= nth; nth++) {
        uint64_t heard = t->heard, three = 3;
        manual_tell(t->a, t->here.address, send_marks, &three);
        manual_dry_pool(t->a, 1);
        tr__alloc_fail_at(nth);
        while (manual_turn(t->a, 1))
            ;
        tried = tr__alloc_fail_at(0);
        pass(t);
        assert_int_equal(t->refused, TR_OK);
        assert_int_equal(t->heard, heard + 3);
        assert_int_equal(t->wrong, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_two, close_two)
        TEST(what_a_loop_sends_to_a_node_goes_in_few_blocks_and_arrives_in_order),
        TEST(of_those_whose_connection_ended_meanwhile_each_is_counted),
        TEST(who_sends_more_than_the_connections_loop_takes_hears_it),
        TEST(asks_of_a_loop_wait_there_and_are_answered_there),
        TEST(answers_that_are_large_or_errors_find_the_askers_loop),
        TEST(an_ask_that_is_given_up_waits_no_more),
        TEST(asks_that_wait_for_a_connection_that_ends_fail_once),
        TEST(an_answer_that_came_before_its_connections_end_counts),
        TEST(answers_that_nobody_asked_for_wait_for_no_loop_without_a_bound),
        TEST(what_was_asked_for_is_no_more_than_that_however_much_it_is),
        TEST(what_waits_behind_the_bulk_lane_is_bounded),
        TEST(without_memory_for_a_block_it_goes_as_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
