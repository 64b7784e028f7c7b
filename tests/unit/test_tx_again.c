/* Transactions that are run again, and what is said of them: the manager and tr_tx_run. An older one comes from bob. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/tx/manager.h"
#include "tests/kit/bank.h"

static struct {
    bank *b;
    uint32_t runs;
    tr_tx_id ids[10];
    uint64_t priorities[10], at_ns[10];
    uint64_t sleeps_ns; /* when it was wounded, before it says so */
} again;

/* Bob's caller is older, wants the account as well, and then not any more. */
static void wound_by_bob(uint32_t number)
{
    tr_tx_id id;
    tr__tx_frame frame = bank_bob_calls(&id);
    id.bytes[15] = (uint8_t)number;
    frame.priority.present = true;
    frame.priority.value = (1577836800000u - 60000) << 16;
    bank_bob_submits(again.b, 1, &frame);
    bank_bob_submits(
        again.b, 1,
        &(tr__tx_frame){.kind = TR__TX_DROP, .id = {&id, sizeof(id)}, .from = "bob", .actor = "account"});
}

static tr_err wounded_body(tr_actor *self, tr_tx *tx, void *arg)
{
    const uint32_t *times = arg;
    TR_TRY(tr_tx_await(tx, "account", credit, .amount = 5));
    uint32_t run = again.runs++;
    assert_true(run < 10);
    again.ids[run] = tx->id;
    again.at_ns[run] = tr_now(self);
    again.priorities[run] = tr__tx_priority(again.b->m->node->transactions->tx, &tx->id);
    if (run < *times)
        wound_by_bob(run);
    tr_err err = tr_tx_await(tx, "account", credit, .amount = 5);
    if (err != TR_OK && again.sleeps_ns)
        tr_sleep(self, again.sleeps_ns);
    return err;
}

static uint32_t wound_times;

static tr_err run_wounded(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, wounded_body, &wound_times, &(tr_tx_opts){.deadline_ns = TR_MILLIS(300)});
    return TR_OK;
}

static tr_tx_outcome wounded(bank *b, uint32_t times, uint64_t sleeps_ns)
{
    script s = {.run = run_wounded};
    memset(&again, 0, sizeof(again));
    again.sleeps_ns = sleeps_ns;
    again.b = b;
    wound_times = times;
    bank_bob_is(b, true);
    bank_play(b, &s);
    bank_bob_is(b, false);
    return s.out;
}

static void who_was_wounded_is_run_again_with_its_priority(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    assert_int_equal(TR_TX_COMMITTED, wounded(b, 4, 0).status);
    assert_int_equal(5, again.runs);
    assert_int_equal(10, bank_balance(b));
    for (uint32_t i = 1; i < 5; i++) {
        assert_int_equal(again.priorities[0], again.priorities[i]);
        assert_memory_not_equal(&again.ids[i - 1], &again.ids[i], sizeof(again.ids[i]));
        uint64_t pause = again.at_ns[i] - again.at_ns[i - 1]; /* 10 ms, doubled, and half of it by chance */
        assert_in_range(pause, TR_MILLIS(10) << (i - 1), TR_MILLIS(35) << (i - 1));
    }
    bank_close(b);
}

static void it_keeps_it_also_when_its_deadline_has_passed_meanwhile(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    assert_int_equal(TR_TX_COMMITTED, wounded(b, 2, TR_MILLIS(400)).status);
    assert_int_equal(3, again.runs);
    assert_int_equal(again.priorities[0], again.priorities[1]);
    assert_int_equal(again.priorities[0], again.priorities[2]);
    bank_close(b);
}

static void it_is_run_five_times_at_most(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    tr_tx_outcome out = wounded(b, 9, 0);
    assert_int_equal(5, again.runs);
    assert_int_equal(TR_TX_ABORTED, out.status);
    assert_int_equal(TR_TX_WOUNDED, out.reason);
    tr_tx_id bobs;
    char text[TR_TX_ID_TEXT];
    bank_bob_calls(&bobs);
    bobs.bytes[15] = 4;
    assert_non_null(strstr(out.text, tr__tx_id_format(&bobs, text)));
    assert_int_equal(0, bank_balance(b));
    bank_close(b);
}

/* ---- what is said of it -------------------------------------------------------------------------------- */

static char *listing(bank *b)
{
    const tr__transactions *t = b->m->node->transactions;
    return tr__trail_json(&t->trail, "alice", t->tx, 0);
}

/* Each names the other, and the reason goes with it. */
static void a_list_names_who_wounded_whom(void **state)
{
    (void)state;
    char text[200], bobs[TR_TX_ID_TEXT], ours[TR_TX_ID_TEXT];
    tr_tx_id id;
    bank *b = bank_open(1);
    wounded(b, 1, 0);
    bank_bob_calls(&id);
    id.bytes[15] = 0;
    char *json = listing(b);
    snprintf(text, sizeof(text), "\"actor\":\"account\",\"what\":\"wounded\",\"detail\":\"%s\"",
             tr__tx_id_format(&id, bobs));
    assert_non_null(strstr(json, text));
    snprintf(text, sizeof(text), "\"actor\":\"account\",\"what\":\"wounds\",\"detail\":\"%s\"",
             tr__tx_id_format(&again.ids[0], ours));
    assert_non_null(strstr(json, text));
    snprintf(text, sizeof(text), "\"id\":\"%s\",\"state\":\"aborted\",\"reason\":\"wounded\"", ours);
    assert_non_null(strstr(json, text));
    free(json);
    bank_close(b);
}

static json_t *why(bank *b, const char *key, const char *value)
{
    json_t *request = json_pack("{s:s}", key, value), *answer = tr__transactions_why(b->m->node, request);
    json_decref(request);
    return answer;
}

/* Its body hasn't heard yet. */
static void why_names_the_wounder(void **state)
{
    (void)state;
    char ours[TR_TX_ID_TEXT], bobs[TR_TX_ID_TEXT], text[TR_ERROR_TEXT_MAX];
    tr_tx_id id;
    bank *b = bank_open(1);
    script s = {.run = bank_run_and_stay};
    bank_begin(b, &s);
    manual_pump(b->m);
    assert_int_equal(1, s.balance);
    bank_bob_is(b, true);
    tr__tx_frame frame = bank_bob_calls(&id);
    bank_bob_says(b, 1, &frame);
    snprintf(text, sizeof(text), "wounded by transaction %s, which is older", tr__tx_id_format(&id, bobs));
    json_t *answer = why(b, "transaction", tr__tx_id_format(&s.tx.id, ours));
    assert_string_equal(text, json_string_value(json_object_get(answer, "broken")));
    json_decref(answer);
    answer = why(b, "participant", "account");
    const json_t *holder = json_array_get(json_object_get(answer, "held_by"), 0);
    assert_string_equal(bobs, json_string_value(json_object_get(holder, "id")));
    json_decref(answer);
    bank_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_was_wounded_is_run_again_with_its_priority),
        cmocka_unit_test(it_keeps_it_also_when_its_deadline_has_passed_meanwhile),
        cmocka_unit_test(it_is_run_five_times_at_most),
        cmocka_unit_test(a_list_names_who_wounded_whom),
        cmocka_unit_test(why_names_the_wounder),
    };
    return cmocka_run_group_tests_name("tx_again", tests, NULL, NULL);
}
