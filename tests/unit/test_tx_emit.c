/* Emitting as an actor sees it: who emits, and who gets it, on a node under the manual driver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <troupe/troupe.h>

#include "actors/node.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "base/mem.h"
#include "tests/kit/bank.h"

/* ---- a shop, which writes and emits -------------------------------------------------------------------- */

TR_MESSAGE(order, TR_WRITES, (string, to), (u64, n))
TR_MESSAGE(order_much, TR_WRITES, (string, to), (u32, times))
TR_MESSAGE(pay_in, TR_WRITES, (string, to), (i64, amount))
TR_MESSAGE(look_and_emit)

static tr_err shop(tr_txview *v, void *state, const tr_msg *msg)
{
    static uint8_t much[300 * 1024];
    const order *o = tr_match(msg, order);
    const order_much *m = tr_match(msg, order_much);
    const pay_in *p = tr_match(msg, pay_in);
    (void)state;
    if (p)
        return tr_view_emit(v, p->to, credit, .amount = p->amount);
    if (o) {
        TR_TRY(tr_view_emit(v, o->to, mark, .n = o->n));
        return tr_view_put_i64(v, "orders", tr_view_i64(v, "orders", 0) + 1);
    }
    for (uint32_t i = 0; m && i < m->times; i++)
        TR_TRY(tr_view_emit(v, m->to, blob, .data = {much, sizeof(much)}));
    if (tr_match(msg, look_and_emit))
        (void)tr_view_emit(v, "mailer", mark, .n = 1); /* and never looks */
    return TR_OK;
}
TR_ACTOR(shop_def, .transact = shop);

static bank *shop_open(void)
{
    bank *b = bank_open(2);
    manual_spawn_def(b->m, 1, &shop_def, NULL, &(tr_spawn_opts){.name = "shop"});
    manual_pump(b->m);
    return b;
}

/* What a script calls; the ends of its transaction are in s->out. */
static tr_err call_order(tr_actor *self, script *s)
{
    tr_tx tx = tr_tx_begin(self, NULL);
    tr_tx_await(&tx, "shop", order, .to = s->text, .n = (uint64_t)s->balance);
    s->tx = tx;
    s->out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    return TR_OK;
}

static tr_tx_outcome buy(bank *b, const char *to, uint64_t n)
{
    script s = {.run = call_order, .balance = (int64_t)n};
    snprintf(s.text, sizeof(s.text), "%s", to);
    bank_play(b, &s);
    return s.out;
}

/* ---- who gets it --------------------------------------------------------------------------------------- */

typedef struct mailer {
    manual_puppet puppet;
    char ids[4][TR_TX_EMIT_ID_MAX];
    uint32_t count;
} mailer;

static void note_id(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    mailer *m = (mailer *)puppet;
    const char *id = tr_msg_emitted(msg);
    (void)self;
    assert_non_null(id);
    snprintf(m->ids[m->count++ % 4], TR_TX_EMIT_ID_MAX, "%s", id);
}

static void mailer_spawn(bank *b, mailer *m)
{
    *m = (mailer){.puppet = {.on = note_id}};
    manual_spawn(b->m, 1, &m->puppet, &(tr_spawn_opts){.name = "mailer"});
    manual_pump(b->m);
}

static tr__tx *tx_of(bank *b)
{
    return b->m->node->transactions->tx;
}

static tr__tx_figures figures_of(bank *b)
{
    tr__tx_figures figures;
    tr__tx_figures_of(tx_of(b), &figures);
    return figures;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void an_actor_gets_it_as_a_message_with_an_id(void **state)
{
    (void)state;
    bank *b = shop_open();
    mailer m;
    char id[TR_TX_ID_TEXT], expected[TR_TX_EMIT_ID_MAX];
    mailer_spawn(b, &m);
    script s = {.run = call_order, .balance = 7, .text = "alice/mailer"};
    bank_play(b, &s);
    manual_step(b->m, TR_MILLIS(200));
    assert_int_equal(TR_TX_COMMITTED, s.out.status);
    assert_string_equal("init 7 ", m.puppet.trail);
    snprintf(expected, sizeof(expected), "%s/shop/0", tr__tx_id_format(&s.tx.id, id));
    assert_string_equal(expected, m.ids[0]);
    assert_int_equal(1, figures_of(b).emitted);
    bank_close(b);
}

static void what_nobody_emitted_has_no_id(void **state)
{
    (void)state;
    bank *b = shop_open();
    manual_puppet p = {0};
    tr_addr to = manual_spawn(b->m, 0, &p, NULL);
    manual_mark(b->m, to, 3);
    manual_pump(b->m);
    assert_string_equal("init 3 ", p.trail);
    tr_msg plain = {.kind = TR__MSG_NORMAL}, failure = {.kind = TR__MSG_FAILURE, .error = 1};
    assert_null(tr_msg_emitted(&plain));
    assert_null(tr_msg_emitted(&failure));
    bank_close(b);
}

static tr_err call_pay_in(tr_actor *self, script *s)
{
    tr_tx tx = tr_tx_begin(self, NULL);
    for (int i = 0; i < 3; i++)
        tr_tx_await(&tx, "shop", pay_in, .to = "account", .amount = 5);
    s->out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    return TR_OK;
}

static void a_participant_executes_each_once(void **state)
{
    (void)state;
    bank *b = shop_open();
    script s = {.run = call_pay_in};
    bank_play(b, &s);
    manual_step(b->m, TR_SECONDS(1));
    assert_int_equal(TR_TX_COMMITTED, s.out.status);
    assert_true(s.out.ticket[0]); /* it has emitted, so it has written */
    assert_int_equal(15, bank_balance(b));
    bank_close(b);
}

/* What says that it was executed is no state of an earlier version. */
static tr_err count_reads(tr_txview *v, void *state, const tr_msg *msg)
{
    (void)v;
    (void)msg;
    ++**(uint32_t **)state;
    return TR_OK;
}

static tr_err keep_count(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    *(const void **)state = arg;
    return TR_OK;
}

static void one_that_keeps_nothing_has_no_version_by_it(void **state)
{
    (void)state;
    static const tr_actor_def def = {.name = "counter",
                                     .state_size = sizeof(uint32_t *),
                                     .init = keep_count,
                                     .transact = count_reads,
                                     .state_version = 3};
    uint32_t count = 0;
    bank *b = shop_open();
    manual_spawn_def(b->m, 1, &def, &count, &(tr_spawn_opts){.name = "counter"});
    manual_pump(b->m);
    buy(b, "counter", 1);
    buy(b, "counter", 2);
    manual_step(b->m, TR_SECONDS(1));
    assert_int_equal(2, count);
    assert_int_equal(0, figures_of(b).emits);
    bank_close(b);
}

static void a_receiver_may_come_later(void **state)
{
    (void)state;
    bank *b = shop_open();
    mailer m;
    assert_int_equal(TR_TX_COMMITTED, buy(b, "mailer", 9).status);
    manual_step(b->m, TR_SECONDS(3));
    assert_int_equal(1, figures_of(b).emits);
    mailer_spawn(b, &m);
    manual_step(b->m, TR_SECONDS(6));
    assert_string_equal("init 9 ", m.puppet.trail);
    assert_int_equal(0, figures_of(b).emits);
    bank_close(b);
}

static void it_has_the_same_id_after_a_start(void **state)
{
    (void)state;
    bank *b = shop_open();
    mailer m;
    script s = {.run = call_order, .balance = 9, .text = "mailer"};
    char id[TR_TX_ID_TEXT], expected[TR_TX_EMIT_ID_MAX];
    bank_play(b, &s);
    assert_int_equal(TR_TX_COMMITTED, s.out.status);
    manual_close(b->m);
    bank_start(b);
    mailer_spawn(b, &m);
    manual_step(b->m, TR_SECONDS(6));
    assert_string_equal("init 9 ", m.puppet.trail);
    snprintf(expected, sizeof(expected), "%s/shop/0", tr__tx_id_format(&s.tx.id, id));
    assert_string_equal(expected, m.ids[0]);
    bank_close(b);
}

static tr_err read_slowly(tr_actor *self, void *arg)
{
    uint32_t *count = arg;
    tr_sleep(self, TR_SECONDS(2));
    while (tr_receive_type(self, TR_FOREVER, mark))
        ++*count;
    return TR_OK;
}

static void a_full_mailbox_gets_it_when_it_has_room(void **state)
{
    (void)state;
    static const tr_actor_def slow_def = {.name = "slow", .run = read_slowly, .mailbox_places = 1};
    uint32_t count = 0;
    bank *b = shop_open();
    manual_spawn_def(b->m, 1, &slow_def, &count, &(tr_spawn_opts){.name = "mailer"});
    manual_pump(b->m);
    buy(b, "mailer", 1);
    buy(b, "mailer", 2);
    buy(b, "mailer", 3);
    manual_step(b->m, TR_SECONDS(1));
    assert_int_equal(2, figures_of(b).emits);
    manual_step(b->m, TR_SECONDS(15));
    assert_int_equal(0, figures_of(b).emits);
    assert_int_equal(3, count);
    bank_close(b);
}

static tr_err call_much(tr_actor *self, script *s)
{
    tr_tx tx = tr_tx_begin(self, NULL);
    tr_tx_await(&tx, "shop", order_much, .to = "mailer", .times = (uint32_t)s->balance);
    s->out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    return TR_OK;
}

static tr_err call_in_a_read(tr_actor *self, script *s)
{
    tr_tx tx = tr_tx_begin(self, NULL);
    tr_tx_await(&tx, "shop", look_and_emit);
    s->out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    return TR_OK;
}

static void what_cannot_be_emitted_refuses_the_call(void **state)
{
    (void)state;
    bank *b = shop_open();
    tr_tx_outcome out = buy(b, "a/b/c", 1);
    assert_int_equal(TR_TX_NOT_ALLOWED, out.reason);
    assert_string_equal("\"a/b/c\": a mark is emitted to \"node/actor\"", out.text);
    assert_int_equal(TR_TX_NOT_ALLOWED, buy(b, "", 1).reason);
    script much = {.run = call_much, .balance = 4}, read = {.run = call_in_a_read};
    bank_play(b, &much);
    assert_int_equal(TR_TX_TOO_LARGE, much.out.reason);
    assert_non_null(strstr(much.out.text, "what one transaction emits counts into the 1048576 bytes"));
    bank_play(b, &read);
    assert_int_equal(TR_TX_NOT_ALLOWED, read.out.reason);
    assert_non_null(strstr(read.out.text, "isn't declared with TR_WRITES"));
    assert_int_equal(0, figures_of(b).emits);
    assert_int_equal(0, b->m->node->transactions->tx->bytes);
    bank_close(b);
}

/* Whatever allocation fails while it is delivered: it is delivered later. */
static void want_of_memory_only_delays_it(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 25; nth++) {
        bank *b = shop_open();
        mailer m;
        buy(b, "mailer", 9);
        mailer_spawn(b, &m);
        manual_dry_pool(b->m, 0);
        tr__alloc_fail_at(nth);
        manual_step(b->m, TR_SECONDS(3));
        tr__alloc_fail_at(0);
        manual_step(b->m, TR_SECONDS(8));
        assert_true(m.count >= 1);
        assert_int_equal(0, figures_of(b).emits);
        bank_close(b);
    }
}

/* ---- who looks ----------------------------------------------------------------------------------------- */

static tr_err list_all(tr_actor *self, script *s)
{
    const tr_tx_listing *listing;
    TR_TRY(tr_await(self, tr_ask(self, tr_whereis(self, "tx"), TR_SECONDS(1), tr_tx_list, .most = 1),
                    tr_tx_listing, &listing));
    const char *from = strstr(listing->json, "\"outbox\":");
    snprintf(s->out.text, sizeof(s->out.text), "%s", from ? from : listing->json);
    return TR_OK;
}

static void who_looks_sees_what_is_not_delivered_and_why(void **state)
{
    (void)state;
    bank *b = shop_open();
    buy(b, "bob/mailer", 9);
    manual_step(b->m, TR_SECONDS(1));
    script s = {.run = list_all};
    bank_play(b, &s);
    assert_non_null(strstr(s.out.text, "\"actor\":\"shop\",\"to_node\":\"bob\",\"to\":\"mailer\""));
    assert_non_null(strstr(s.out.text, "\"why\":\"node bob isn't connected\""));
    bank_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_actor_gets_it_as_a_message_with_an_id),
        cmocka_unit_test(what_nobody_emitted_has_no_id),
        cmocka_unit_test(a_participant_executes_each_once),
        cmocka_unit_test(one_that_keeps_nothing_has_no_version_by_it),
        cmocka_unit_test(a_receiver_may_come_later),
        cmocka_unit_test(it_has_the_same_id_after_a_start),
        cmocka_unit_test(a_full_mailbox_gets_it_when_it_has_room),
        cmocka_unit_test(what_cannot_be_emitted_refuses_the_call),
        cmocka_unit_test(want_of_memory_only_delays_it),
        cmocka_unit_test(who_looks_sees_what_is_not_delivered_and_why),
    };
    return cmocka_run_group_tests_name("tx_emit", tests, NULL, NULL);
}
