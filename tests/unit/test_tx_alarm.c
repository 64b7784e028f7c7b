/* What is in doubt for too long: somebody is told, once, who waits for whom. */
#include <inttypes.h>

#include "actors/adapter.h"
#include "actors/tx/manager.h"
#include "tests/kit/bank.h"
#include "tests/kit/tx_pay.h"

/* ---- the state machine --------------------------------------------------------------------------------- */

static void what_is_in_doubt_for_30_seconds_is_told_once(void **state)
{
    (void)state;
    cluster *c = calloc(1, sizeof(*c));
    cluster_open(c, 1);
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 40);
    c->nodes[1].kill_at = TR__TX_POINT_COMMIT_FORCED;
    while (c->nodes[1].tx)
        cluster_step(c);
    cluster_run(c, TR_SECONDS(29));
    assert_int_equal(0, c->nodes[2].alarms);
    cluster_transfer *behind = cluster_begin(c, 0);
    cluster_op_add(behind, "n2/b", true, 0);
    cluster_run(c, TR_SECONDS(1));
    cluster_run(c, TR_MILLIS(100));
    assert_int_equal(1, c->nodes[2].alarms);
    assert_memory_equal(&t->begin.id, &c->nodes[2].alarm.id, sizeof(t->begin.id));
    assert_string_equal("b", c->nodes[2].alarm.actor);
    assert_string_equal("n1", c->nodes[2].alarm.decider);
    assert_int_equal(1, c->nodes[2].alarm.waiting);
    assert_true(c->nodes[2].alarm.unanswered && c->nodes[2].alarm.asked > 5);
    cluster_run(c, TR_MINUTES(2));
    assert_int_equal(1, c->nodes[2].alarms);
    assert_int_equal(1, figures_of(c, 2).alarms);
    assert_int_equal(1, figures_of(c, 2).prepared);
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(12));
    assert_int_equal(1, figures_of(c, 2).alarms);
    assert_int_equal(0, figures_of(c, 2).prepared);
    assert_int_equal(0, figures_of(c, 2).oldest_prepared_ns);
    cluster_check(c, both, 2);
    cluster_close(c);
    free(c);
}

/* ---- the manager --------------------------------------------------------------------------------------- */

static const uint8_t any_log[TR__LOG_ID_BYTES] = {9};

static void bob_has_it_prepared(bank *b, const char *actor, tr_tx_id *id)
{
    tr__tx_party party = {.node = "alice", .boot = b->m->node->id, .writes = 1};
    tr__tx_buffer parties = {0};
    tr__tx_frame frame = bank_bob_calls(id);
    frame.actor = actor;
    snprintf(party.actor, sizeof(party.actor), "%s", actor);
    tr__tx_put_parties(&parties, &party, 1);
    bank_bob_is(b, true);
    bank_bob_says(b, 1, &frame);
    bank_bob_says(b, 1,
                  &(tr__tx_frame){.kind = TR__TX_PREPARE,
                                  .id = {id, sizeof(*id)},
                                  .from = "bob",
                                  .log = {any_log, sizeof(any_log)},
                                  .boot = b->m->node->id,
                                  .actor = actor,
                                  .remaining = TR_SECONDS(5),
                                  .writes = 1,
                                  .body = {parties.bytes, parties.length}});
    tr__tx_buffer_free(&parties);
}

static tr_err list_it(tr_actor *self, script *s)
{
    const tr_tx_listing *listing;
    TR_TRY(tr_await(self, tr_ask(self, tr_whereis(self, "tx"), TR_SECONDS(1), tr_tx_list, .most = 1),
                    tr_tx_listing, &listing));
    snprintf(s->text, sizeof(s->text), "%s", listing->json);
    return strstr(listing->json, "\"prepared\":1") && strstr(listing->json, "\"alarms\":1") ? TR_OK : TR_EAPP;
}

static void a_line_says_who_waits_for_whom(void **state)
{
    (void)state;
    tr_tx_id id;
    char text[TR_TX_ID_TEXT];
    bank *b = bank_open(1);
    bob_has_it_prepared(b, "account", &id);
    bank_bob_is(b, false);
    manual_step(b->m, TR_SECONDS(29));
    assert_null(strstr(b->m->last_log, "in doubt"));
    uint32_t logged = b->m->logged;
    manual_step(b->m, TR_SECONDS(2));
    assert_non_null(strstr(b->m->last_log, "alice/account is in doubt of transaction "));
    assert_non_null(strstr(b->m->last_log, tr__tx_id_format(&id, text)));
    assert_non_null(strstr(b->m->last_log, "for 30 s: it keeps its lock"));
    assert_non_null(strstr(b->m->last_log, "waits for node bob, which decides and doesn't answer"));
    assert_int_equal(logged + 1, b->m->logged);
    manual_step(b->m, TR_MINUTES(1));
    assert_int_equal(logged + 1, b->m->logged);
    script s = {.run = list_it};
    bank_play(b, &s);
    bank_close(b);
}

/* When a node goes, all that it decides is in doubt for as long. */
static void a_second_has_one_line_at_most(void **state)
{
    static const char *const names[] = {"account", "savings", "pension"};
    (void)state;
    tr_tx_id id;
    bank *b = bank_open(1);
    for (int i = 0; i < 3; i++) {
        if (i)
            manual_spawn_def(b->m, 0, &bank_account_def, NULL, &(tr_spawn_opts){.name = names[i]});
        manual_step(b->m, i == 2 ? TR_SECONDS(5) : 0);
        bob_has_it_prepared(b, names[i], &id);
    }
    bank_bob_is(b, false);
    manual_step(b->m, TR_SECONDS(23));
    uint32_t logged = b->m->logged;
    manual_step(b->m, TR_SECONDS(4));
    assert_int_equal(logged + 1, b->m->logged);
    manual_step(b->m, TR_SECONDS(6));
    assert_int_equal(logged + 2, b->m->logged);
    assert_non_null(strstr(b->m->last_log, "alice/pension"));
    bank_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_doubt_for_30_seconds_is_told_once),
        cmocka_unit_test(a_line_says_who_waits_for_whom),
        cmocka_unit_test(a_second_has_one_line_at_most),
    };
    return cmocka_run_group_tests_name("tx_alarm", tests, NULL, NULL);
}
