/* Transactions on one node, as participants see them: what is refused, and with which words; what must not be forged. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/adapter.h"
#include "actors/tx/manager.h"
#include "tests/kit/bank.h"

/* ---- who is no participant ------------------------------------------------------------------------------ */

static tr_err call_path(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    return tr_tx_await(tx, arg, credit, .amount = 1);
}

static tr_err run_to_nobody(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, call_path, "alice/nobody", NULL);
    return TR_OK;
}

static void a_call_to_nobody_is_refused_by_name(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    script s = {.run = run_to_nobody};
    bank_play(b, &s);
    assert_int_equal(TR_TX_ABORTED, s.out.status);
    assert_int_equal(TR_TX_BRANCH_LOST, s.out.reason);
    assert_non_null(strstr(s.out.text, "no actor called nobody runs there"));
    bank_close(b);
}

static tr_err run_to_puppet(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, call_path, "puppet", NULL);
    return TR_OK;
}

static void an_actor_without_transact_is_no_participant(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    manual_puppet puppet = {0};
    manual_spawn(b->m, 0, &puppet, &(tr_spawn_opts){.name = "puppet"});
    script s = {.run = run_to_puppet};
    bank_play(b, &s);
    assert_int_equal(TR_TX_NOT_ALLOWED, s.out.reason);
    assert_non_null(strstr(s.out.text, "puppet"));
    assert_string_equal("init ", puppet.trail); /* it heard nothing of it */
    bank_close(b);
}

static void a_participant_needs_a_name_and_a_node_with_a_log(void **state)
{
    (void)state;
    tr_addr address;
    tr_error error;
    bank *b = bank_open(1);
    assert_int_equal(TR_EINVAL,
                     tr__spawn(b->m->node->loops[0], &bank_account_def, NULL, NULL, &address, &error));
    assert_non_null(strstr(error.text, "spawn it with one"));
    bank_close(b);
    manual *m = manual_open_tx(1, "bob", NULL);
    assert_int_equal(TR_EINVAL, tr__spawn(m->node->loops[0], &bank_account_def, NULL,
                                          &(tr_spawn_opts){.name = "account"}, &address, &error));
    assert_non_null(strstr(error.text, "--data DIR"));
    manual_pump(m);
    manual_close(m);
}

static tr_err one_call(tr_actor *self, tr_tx *tx, void *arg)
{
    tr_type *type = arg;
    uint64_t nothing[4] = {0};
    return tr_await_msg(self, tr_tx_call_body(tx, "account", type, nothing), NULL);
}

static tr_type *wanted;

static tr_err run_one_call(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, one_call, wanted, NULL);
    return TR_OK;
}

static void refused_for(bank *b, tr_type *type, tr_tx_reason reason, const char *text)
{
    script s = {.run = run_one_call};
    wanted = type;
    bank_play(b, &s);
    assert_int_equal(TR_TX_ABORTED, s.out.status);
    assert_int_equal(reason, s.out.reason);
    if (!strstr(s.out.text, text))
        fail_msg("\"%s\" isn't in \"%s\"", text, s.out.text);
    assert_int_equal(0, bank_balance(b));
}

static void a_view_call_that_failed_refuses_though_the_code_goes_on(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    refused_for(b, &put_in_a_read_type, TR_TX_NOT_ALLOWED, "TR_WRITES");
    refused_for(b, &write_too_much_type, TR_TX_TOO_LARGE, "1048576");
    refused_for(b, &fail_plainly_type, TR_TX_APP,
                "account, executing a fail_plainly: nothing goes by that name");
    bank_close(b);
}

static void the_runtimes_notices_cannot_be_called(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    refused_for(b, &tr_writable_type, TR_TX_NOT_ALLOWED, "by the runtime only");
    bank_close(b);
}

static tr_err notes_body(tr_actor *self, tr_tx *tx, void *arg)
{
    script *s = arg;
    const note_is *is;
    (void)self;
    TR_TRY(tr_tx_await(tx, "account", set_note, .text = "hello"));
    TR_TRY(tr_tx_await_reply(tx, "account", note_is, &is, get_note));
    snprintf(s->text, sizeof(s->text), "%s", is->text);
    TR_TRY(tr_tx_await(tx, "account", delete_note));
    TR_TRY(tr_tx_await_reply(tx, "account", note_is, &is, get_note));
    s->balance = strcmp(is->text, "none") == 0;
    return tr_tx_await(tx, "account", set_note, .text = "later");
}

static tr_err run_notes(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, notes_body, s, NULL);
    return strcmp(s->text, "hello") == 0 ? TR_OK : TR_EAPP;
}

static void a_transaction_sees_what_it_wrote(void **state)
{
    (void)state;
    bank *b = bank_open(2);
    script s = {.run = run_notes};
    bank_play(b, &s);
    assert_int_equal(TR_TX_COMMITTED, s.out.status);
    assert_int_equal(1, s.balance);
    refused_for(b, &read_note_as_number_type, TR_TX_APP, "note is no number: it has 5 bytes");
    bank_close(b);
}

/* ---- what must not be forged --------------------------------------------------------------------------- */

static void forge_frame(tr_actor *self, void *context)
{
    uint8_t id[16] = {0}, body[4] = {0x81, 0x18, 0x28, 0};
    const tr_typeinfo *info = tr__type_of(&credit_type);
    (void)context;
    assert_int_equal(TR_OK, tr_send(self, TR__TX_MANAGER_OF(tr_self(self).node), tr__tx_frame,
                                    .kind = TR__TX_CALL, .id = {id, 16}, .from = "alice", .actor = "account",
                                    .number = 1, .remaining = TR_SECONDS(1), .writes = 1, .type = info->id,
                                    .fingerprint = info->fingerprint, .body = {body, 3}));
}

static void a_frame_of_an_actor_that_is_no_manager_is_dropped(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    manual_puppet forger = {0};
    manual_spawn(b->m, 0, &forger, NULL);
    manual_do(b->m, forger.address, forge_frame, NULL);
    assert_non_null(strstr(b->m->last_log, "isn't from the manager"));
    assert_int_equal(1, b->m->node->transactions->refused);
    tr__tx_figures figures;
    tr__tx_figures_of(b->m->node->transactions->tx, &figures);
    assert_int_equal(0, figures.branches);
    bank_close(b);
}

static const uint8_t any_log[TR__LOG_ID_BYTES] = {9};

static tr__tx_figures figures_of(bank *b)
{
    tr__tx_figures figures;
    tr__tx_figures_of(b->m->node->transactions->tx, &figures);
    return figures;
}

static void a_frame_that_says_what_it_cannot_is_dropped(void **state)
{
    (void)state;
    tr_tx_id id;
    bank *b = bank_open(1);
    tr__tx_frame good = bank_bob_calls(&id), bad[7];
    for (size_t i = 0; i < TR_COUNT(bad); i++)
        bad[i] = good;
    bad[0].kind = TR__TX_KINDS;
    bad[1].id.size = 15;
    bad[2].log = (tr_bytes){any_log, 3};
    bad[3].actor = "a/b";
    bad[4].status = TR__TX_VERDICTS;
    bad[5].reason = TR_TX_REASON_COUNT;
    bad[6].from = "alice";
    bank_bob_says(b, 1, &good); /* nobody is connected */
    bank_bob_is(b, true);
    bank_bob_says(b, 2, &good); /* not its manager */
    for (size_t i = 0; i < TR_COUNT(bad); i++)
        bank_bob_says(b, 1, &bad[i]);
    assert_int_equal(2 + TR_COUNT(bad), b->m->node->transactions->refused);
    assert_int_equal(0, figures_of(b).branches);
    bank_bob_says(b, 1, &good);
    assert_int_equal(1, figures_of(b).branches);
    bank_bob_is(b, false); /* its caller is gone with it */
    assert_int_equal(0, figures_of(b).branches);
    bank_bob_says(b, 1, &good);
    assert_int_equal(0, figures_of(b).branches);
    assert_int_equal(0, bank_balance(b));
    bank_close(b);
}

static void what_is_in_doubt_is_locked_before_the_first_turn(void **state)
{
    (void)state;
    tr_tx_id id;
    bank *b = bank_open(2);
    tr__tx_party party = {.node = "alice", .actor = "account", .boot = b->m->node->id, .writes = 1};
    tr__tx_buffer parties = {0};
    tr__tx_frame frame = bank_bob_calls(&id);
    tr__tx_put_parties(&parties, &party, 1);
    bank_bob_is(b, true);
    bank_bob_says(b, 1, &frame);
    bank_bob_says(b, 1,
                  &(tr__tx_frame){.kind = TR__TX_PREPARE,
                                  .id = {&id, sizeof(id)},
                                  .from = "bob",
                                  .log = {any_log, sizeof(any_log)},
                                  .boot = b->m->node->id,
                                  .actor = "account",
                                  .remaining = TR_SECONDS(5),
                                  .writes = 1,
                                  .body = {parties.bytes, parties.length}});
    assert_int_equal(1, figures_of(b).prepared);
    assert_string_equal("before-prepare prepare-forced voted ", b->m->points);
    manual_close(b->m);
    b->m = manual_open_tx(2, "alice", &b->disk); /* and nothing more */
    assert_int_equal(1, figures_of(b).prepared);
    manual_spawn_def(b->m, 1, &bank_account_def, NULL, &(tr_spawn_opts){.name = "account"});
    script s = {.run = bank_run_credit, .balance = 5};
    bank_play(b, &s);
    assert_int_equal(TR_TX_LOCK_TIMEOUT, s.out.reason);
    bank_bob_is(b, true);
    bank_bob_says(b, 1,
                  &(tr__tx_frame){.kind = TR__TX_DECIDE,
                                  .id = {&id, sizeof(id)},
                                  .from = "bob",
                                  .actor = "account",
                                  .log = {any_log, sizeof(any_log)},
                                  .status = TR__TX_COMMITTED,
                                  .ts = 1});
    assert_int_equal(40, bank_balance(b));
    tr__tx_buffer_free(&parties);
    bank_close(b);
}

/* Bob's caller has it called and committed: what the account has then. */
static int64_t balance_after(tr__tx_frame *call)
{
    tr_tx_id id;
    bank *b = bank_open(1);
    tr__tx_party party = {.node = "alice", .actor = "account", .boot = b->m->node->id, .writes = 1};
    tr__tx_buffer parties = {0};
    tr__tx_frame frame = bank_bob_calls(&id);
    frame.fingerprint = call->fingerprint;
    frame.schema = call->schema;
    frame.body = call->body;
    tr__tx_put_parties(&parties, &party, 1);
    bank_bob_is(b, true);
    bank_bob_says(b, 1, &frame);
    tr__tx_frame next = {.kind = TR__TX_PREPARE,
                         .id = {&id, sizeof(id)},
                         .from = "bob",
                         .log = {any_log, sizeof(any_log)},
                         .boot = b->m->node->id,
                         .actor = "account",
                         .remaining = TR_SECONDS(5),
                         .writes = 1,
                         .body = {parties.bytes, parties.length}};
    bank_bob_says(b, 1, &next);
    next = (tr__tx_frame){.kind = TR__TX_DECIDE,
                          .id = {&id, sizeof(id)},
                          .from = "bob",
                          .actor = "account",
                          .log = {any_log, sizeof(any_log)},
                          .status = TR__TX_COMMITTED,
                          .ts = 1};
    bank_bob_says(b, 1, &next);
    int64_t balance = bank_balance(b);
    tr__tx_buffer_free(&parties);
    bank_close(b);
    return balance;
}

static void a_call_of_another_version_of_its_type_is_executed(void **state)
{
    static const uint8_t newer[] = {0x82, 0x18, 40, 0x61, 'x'}, shorter[] = {0x81, 0x18, 41};
    tr__tx_frame call = {.fingerprint = 77, .body = {newer, sizeof(newer)}};
    (void)state;
    assert_int_equal(0, balance_after(&call)); /* without its schema nothing is known of it */
    call.schema.present = true;
    call.schema.value = "credit(i64 amount,optional string note)";
    assert_int_equal(40, balance_after(&call));
    call.body = (tr_bytes){shorter, sizeof(shorter)}; /* the optional field is left out */
    assert_int_equal(41, balance_after(&call));
    call.schema.value = "credit(u64 amount)";
    assert_int_equal(0, balance_after(&call));
    call.schema.value = "credit(i64 amount,string note)";
    assert_int_equal(0, balance_after(&call));
    call.schema.value = "credit(((((";
    assert_int_equal(0, balance_after(&call));
}

static void forge_execute(tr_actor *self, void *context)
{
    bank *b = context;
    assert_int_equal(TR_OK, tr_send(self, b->account, tr__tx_execute, .branch = 0xdead));
    assert_int_equal(TR_OK,
                     tr_send(self, TR__TX_MANAGER_OF(tr_self(self).node), tr__tx_execute, .branch = 0xdead));
    assert_int_equal(TR_OK, tr_send(self, TR__TX_MANAGER_OF(tr_self(self).node), tr__tx_wake));
    manual_then(self, tr_ask(self, b->account, TR_SECONDS(1), tr__tx_execute, .branch = 0xdead));
}

static void the_order_to_execute_cannot_be_sent_by_an_actor(void **state)
{
    (void)state;
    bank *b = bank_open(2);
    manual_puppet forger = {0};
    manual_spawn(b->m, 0, &forger, NULL);
    manual_do(b->m, forger.address, forge_execute, b);
    assert_string_equal("init error:permission ", forger.trail);
    assert_int_equal(0, bank_balance(b));
    bank_close(b);
}

static void ask_plainly(tr_actor *self, void *context)
{
    manual_then(self, tr_ask(self, *(tr_addr *)context, TR_SECONDS(1), credit, .amount = 9));
    assert_int_equal(TR_OK, tr_send(self, *(tr_addr *)context, credit, .amount = 9));
}

static void a_plain_message_to_a_participant_without_receive_does_nothing(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    manual_puppet asker = {0};
    manual_spawn(b->m, 0, &asker, NULL);
    manual_do(b->m, asker.address, ask_plainly, &b->account);
    assert_string_equal("init error:permission ", asker.trail);
    assert_non_null(strstr(b->m->last_log, "tr_tx_call"));
    assert_int_equal(0, bank_balance(b));
    bank_close(b);
}

typedef struct raw_call {
    tr_addr to;
    tr__tx_do_call call;
    char text[TR_ERROR_TEXT_MAX];
} raw_call;

static void raw_answer(tr_actor *self, void *state, const tr_result *result, void *context)
{
    raw_call *raw = context;
    (void)self;
    (void)state;
    snprintf(raw->text, sizeof(raw->text), "%s", result->error ? result->error->text : "executed");
}

static void call_raw(tr_actor *self, void *context)
{
    raw_call *raw = context;
    tr_future future = tr_ask_body(self, raw->to, TR_SECONDS(5), &tr__tx_do_call_type, &raw->call);
    assert_int_equal(TR_OK, tr_then(self, future, raw_answer, raw));
}

static raw_call raw_of(bank *b, uint64_t type, uint64_t fingerprint, const char *body)
{
    tr_tx_id id = tr__tx_id_make(1577836801000u, type, (uint64_t)(uintptr_t)body);
    raw_call raw = {.to = TR__TX_MANAGER_OF(b->m->node->id),
                    .call = {.until_ns = b->m->now_ns + TR_SECONDS(3),
                             .lock_wait_ns = TR_SECONDS(1),
                             .path = "account",
                             .type = type,
                             .fingerprint = fingerprint,
                             .writes = 1,
                             .body = {body, strlen(body)}}};
    memcpy(&raw.call.id_front, id.bytes, 8);
    memcpy(&raw.call.id_back, id.bytes + 8, 8);
    return raw;
}

static void a_message_that_cannot_be_read_is_refused_by_name(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    manual_puppet caller = {0};
    manual_spawn(b->m, 0, &caller, NULL);
    const tr_typeinfo *info = tr__type_of(&credit_type);
    raw_call raw = raw_of(b, 0xabcdef, 1, "x");
    manual_do(b->m, caller.address, call_raw, &raw);
    assert_string_equal("node alice declares no message type with the id 0000000000abcdef", raw.text);
    raw = raw_of(b, info->id, info->fingerprint + 1, "x");
    manual_do(b->m, caller.address, call_raw, &raw);
    assert_string_equal("node alice declares credit with other fields", raw.text);
    raw = raw_of(b, info->id, info->fingerprint, "\xff");
    manual_do(b->m, caller.address, call_raw, &raw);
    assert_non_null(strstr(raw.text, "a credit that can't be decoded: "));
    manual_step(b->m, TR_SECONDS(4));
    assert_int_equal(0, bank_balance(b));
    bank_close(b);
}

static void another_actors_transaction_cannot_be_called(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    manual_puppet thief = {0};
    manual_spawn(b->m, 0, &thief, NULL);
    script s = {.run = bank_run_and_stay};
    bank_begin(b, &s);
    manual_pump(b->m);
    const tr_typeinfo *info = tr__type_of(&credit_type);
    raw_call raw = raw_of(b, info->id, info->fingerprint, "\x81\x01");
    memcpy(&raw.call.id_front, s.tx.id.bytes, 8);
    memcpy(&raw.call.id_back, s.tx.id.bytes + 8, 8);
    manual_do(b->m, thief.address, call_raw, &raw);
    assert_non_null(strstr(raw.text, "another actor's"));
    bank_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_to_nobody_is_refused_by_name),
        cmocka_unit_test(an_actor_without_transact_is_no_participant),
        cmocka_unit_test(a_participant_needs_a_name_and_a_node_with_a_log),
        cmocka_unit_test(a_view_call_that_failed_refuses_though_the_code_goes_on),
        cmocka_unit_test(the_runtimes_notices_cannot_be_called),
        cmocka_unit_test(a_transaction_sees_what_it_wrote),
        cmocka_unit_test(a_frame_of_an_actor_that_is_no_manager_is_dropped),
        cmocka_unit_test(a_frame_that_says_what_it_cannot_is_dropped),
        cmocka_unit_test(what_is_in_doubt_is_locked_before_the_first_turn),
        cmocka_unit_test(a_call_of_another_version_of_its_type_is_executed),
        cmocka_unit_test(the_order_to_execute_cannot_be_sent_by_an_actor),
        cmocka_unit_test(a_plain_message_to_a_participant_without_receive_does_nothing),
        cmocka_unit_test(a_message_that_cannot_be_read_is_refused_by_name),
        cmocka_unit_test(another_actors_transaction_cannot_be_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
