/* See bank.h. */
#include "tests/kit/bank.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/adapter.h"
#include "actors/tx/manager.h"

static tr_err delete_it(tr_txview *v, const char *key, tr_bytes value, void *context)
{
    (void)value;
    return strcmp(key, context) == 0 ? tr_view_del(v, key) : TR_OK;
}

static tr_err notes(tr_txview *v, const tr_msg *msg)
{
    const set_note *set = tr_match(msg, set_note);
    tr_bytes bytes;
    if (set)
        return tr_view_put_text(v, "note", set->text);
    if (tr_match(msg, get_note))
        return tr_view_reply(v, note_is, .text = tr_view_text(v, "note", "none"));
    if (tr_match(msg, delete_note))
        return tr_view_each(v, delete_it, "note");
    if (tr_match(msg, read_note_as_number))
        return tr_view_get(v, "note", &bytes) == TR_OK && tr_view_i64(v, "note", -1) == -1 ? TR_OK : TR_EAPP;
    if (tr_match(msg, put_in_a_read))
        (void)tr_view_put_i64(v, "balance", 1000000); /* and never looks */
    return TR_OK;
}

static tr_err account(tr_txview *v, void *state, const tr_msg *msg)
{
    static uint8_t much[TR_TX_REDO_MAX];
    int64_t balance = tr_view_i64(v, "balance", 0);
    const debit *d = tr_match(msg, debit);
    const credit *c = tr_match(msg, credit);
    (void)state;
    if (d && balance < d->amount)
        return tr_refuse(v, "balance %" PRId64 " is less than %" PRId64, balance, d->amount);
    if (d || c)
        return tr_view_put_i64(v, "balance", balance + (c ? c->amount : -d->amount));
    if (tr_match(msg, get_balance))
        return tr_view_reply(v, balance_is, .amount = balance);
    if (tr_match(msg, write_too_much))
        return tr_view_put(v, "much", much, sizeof(much));
    if (tr_match(msg, fail_plainly))
        return TR_ENOTFOUND;
    return notes(v, msg);
}
const tr_actor_def bank_account_def = {.name = "account", .transact = account};

static tr_err script_run(tr_actor *self, void *arg)
{
    script *s = arg;
    s->err = s->run(self, s);
    snprintf(s->text, sizeof(s->text), "%s", s->err ? tr_last_error(self)->text : "");
    s->done = true;
    return TR_OK;
}
TR_ACTOR(script_def, .run = script_run);

void bank_start(bank *b)
{
    b->m = manual_open_tx(b->loops, "alice", &b->disk);
    b->account =
        manual_spawn_def(b->m, b->loops - 1, &bank_account_def, NULL, &(tr_spawn_opts){.name = "account"});
    manual_pump(b->m);
}

bank *bank_open(uint32_t loops)
{
    bank *b = calloc(1, sizeof(*b));
    memory_log_init(&b->disk, 7);
    b->loops = loops;
    bank_start(b);
    return b;
}

void bank_close(bank *b)
{
    assert_int_equal(b->m->fatals, 0);
    manual_close(b->m);
    memory_log_fini(&b->disk);
    free(b);
}

tr_addr bank_begin(bank *b, script *s)
{
    return manual_spawn_def(b->m, 0, &script_def, s, NULL);
}

/* Run it to its end, a minute at most; its error is the test's unless it is wanted. */
static void play(bank *b, script *s)
{
    s->done = false;
    bank_begin(b, s);
    for (int i = 0; i < 600 && !s->done; i++)
        manual_step(b->m, TR_MILLIS(100));
    assert_true(s->done);
}

void bank_play(bank *b, script *s)
{
    play(b, s);
    if (s->err)
        fail_msg("%s", s->text);
}

static tr_err credit_body(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    return tr_tx_await(tx, "alice/account", credit, .amount = *(const int64_t *)arg);
}

static tr_err debit_body(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    return tr_tx_await(tx, "account", debit, .amount = *(const int64_t *)arg);
}

tr_err bank_run_credit(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, credit_body, &s->balance, NULL);
    return TR_OK;
}

tr_err bank_run_debit(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, debit_body, &s->balance, NULL);
    return TR_OK;
}

static tr_err read_body(tr_actor *self, tr_tx *tx, void *arg)
{
    script *s = arg;
    const balance_is *is;
    (void)self;
    TR_TRY(tr_tx_await_reply(tx, "account", balance_is, &is, get_balance));
    s->balance = is->amount;
    return TR_OK;
}

static tr_err run_read(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, read_body, s, NULL);
    return TR_OK;
}

int64_t bank_balance(bank *b)
{
    script s = {.run = run_read};
    bank_play(b, &s);
    if (s.out.status != TR_TX_COMMITTED)
        fail_msg("%s", s.out.text);
    return s.balance;
}

tr_tx_outcome bank_pay_in(bank *b, int64_t amount)
{
    script s = {.run = bank_run_credit, .balance = amount};
    bank_play(b, &s);
    return s.out;
}

tr_err bank_run_and_stay(tr_actor *self, script *s)
{
    s->tx = tr_tx_begin(self, NULL);
    TR_TRY(tr_tx_await(&s->tx, "account", credit, .amount = 5));
    s->balance = 1;
    return tr_sleep(self, TR_FOREVER);
}

/* ---- bob ----------------------------------------------------------------------------------------------- */

#define BOB 77u /* another node, as far as this one is told */

void bank_bob_is(bank *b, bool up)
{
    assert_int_equal(TR_OK, tr__inject(b->m->node->loops[0], TR__TX_MANAGER_OF(b->m->node->id), tr_node_event,
                                       .name = "bob", .node = BOB, .up = up));
    manual_pump(b->m);
}

void bank_bob_submits(bank *b, uint32_t slot, const tr__tx_frame *frame)
{
    tr__loop *loop = b->m->node->loops[0];
    const tr_typeinfo *info = tr__type_of(&tr__tx_frame_type);
    tr_msg *msg = tr__msg_alloc(&loop->pool, 0, tr__body_size(info, frame));
    msg->type = info;
    msg->sender = (tr_addr){BOB, slot, 1};
    tr__body_copy(info, tr__msg_body(msg), frame);
    tr__submit(loop, TR__TX_MANAGER_OF(b->m->node->id), msg);
}

void bank_bob_says(bank *b, uint32_t slot, const tr__tx_frame *frame)
{
    bank_bob_submits(b, slot, frame);
    manual_pump(b->m);
}

tr__tx_frame bank_bob_calls(tr_tx_id *id)
{
    static const uint8_t body[] = {0x81, 0x18, 40};
    const tr_typeinfo *info = tr__type_of(&credit_type);
    *id = tr__tx_id_make(1577836801000u, 1, 2);
    return (tr__tx_frame){.kind = TR__TX_CALL,
                          .id = {id, sizeof(*id)},
                          .from = "bob",
                          .actor = "account",
                          .number = 1,
                          .remaining = TR_SECONDS(10),
                          .wait = TR_SECONDS(1),
                          .writes = 1,
                          .type = info->id,
                          .fingerprint = info->fingerprint,
                          .body = {body, sizeof(body)}};
}
