/* What participants keep has a version: code of a newer one has it brought to its own before it begins, once, whatever
 * crashes; of an older one it is refused by name. One node, its disk in memory, the clock is the test's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "base/mem.h"
#include "tests/kit/bank.h"

/* ---- an account of several versions: of 1 it has "balance", of 2 "cents", of 3 "cents" and "notes/..." ---- */

static char calls[64]; /* of migrate: from which version */
static tr_err migrate_fails;
static uint32_t started, lives, transacted;

static tr_err to_cents(tr_txview *v)
{
    int64_t balance = tr_view_i64(v, "balance", 0);
    TR_TRY(tr_view_del(v, "balance"));
    return tr_view_put_i64(v, "cents", balance * 100);
}

static tr_err take_note(tr_txview *v, const char *key, tr_bytes value, void *context)
{
    char moved[64];
    (void)context;
    if (strncmp(key, "note", 4) != 0)
        return TR_OK;
    snprintf(moved, sizeof(moved), "notes/%s", key);
    TR_TRY(tr_view_put(v, moved, value.data, value.size));
    return tr_view_del(v, key);
}

static tr_err migrate(tr_txview *v, uint32_t from)
{
    snprintf(calls + strlen(calls), sizeof(calls) - strlen(calls), "%u ", from);
    if (from == 1)
        return to_cents(v);
    if (from == 2 && migrate_fails)
        return migrate_fails;
    return from == 2 ? tr_view_each(v, take_note, NULL) : TR_OK;
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    (void)self, (void)state, (void)arg;
    started++;
    return TR_OK;
}

static tr_err in_cents(tr_txview *v, void *state, const tr_msg *msg)
{
    const credit *c = tr_match(msg, credit);
    int64_t cents = tr_view_i64(v, "cents", 0);
    (void)state;
    transacted++;
    if (c)
        return tr_view_put_i64(v, "cents", cents + 100 * c->amount);
    if (tr_match(msg, get_note))
        return tr_view_reply(v, note_is, .text = tr_view_text(v, "notes/note", "none"));
    return tr_view_reply(v, balance_is, .amount = cents / 100);
}

static const tr_actor_def of_2 = {
    .name = "account_of_2", .init = init, .transact = in_cents, .state_version = 2, .migrate = migrate};
static const tr_actor_def of_3 = {
    .name = "account_of_3", .init = init, .transact = in_cents, .state_version = 3, .migrate = migrate};
static const tr_actor_def without_migrate = {
    .name = "account_without", .init = init, .transact = in_cents, .state_version = 3};

static void spawn_as(bank *b, const tr_actor_def *def)
{
    b->account = manual_spawn_def(b->m, b->loops - 1, def, NULL, &(tr_spawn_opts){.name = "account"});
}

static void forget(void)
{
    calls[0] = '\0';
    started = 0;
    migrate_fails = TR_OK;
}

/* The node again, with the disk as it is, or as it is after a loss of power; not yet pumped. */
static void again(bank *b, const tr_actor_def *def)
{
    forget();
    manual_close(b->m);
    memory_log_power_cut(&b->disk);
    b->m = manual_open_tx(b->loops, "alice", &b->disk);
    manual_step(b->m, TR_SECONDS(++lives)); /* or its transactions have the ids of the last life's */
    spawn_as(b, def);
}

/* A node of version 0's code, which has committed 40. */
static bank *open_with_40(uint32_t loops)
{
    bank *b = bank_open(loops);
    forget();
    assert_int_equal(TR_TX_COMMITTED, bank_pay_in(b, 40).status);
    return b;
}

/* That of version 1's: the same code, and it says so. */
static tr_actor_def of_1(void)
{
    tr_actor_def def = bank_account_def;
    def.state_version = 1;
    return def;
}

static uint32_t version_of(bank *b)
{
    const tr__store *store = tr__tx_state(b->m->node->transactions->tx, "account");
    return store ? tr__store_version(store) : 0;
}

static bool waits(bank *b)
{
    tr_actor *actor = manual_actor(b->m, b->account);
    return actor && actor->state == TR__ACTOR_COMING && actor->traits & TR__MIGRATING;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void what_is_kept_goes_step_by_step_to_the_version_of_the_code_before_its_init(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        bank *b = open_with_40(loops);
        again(b, &of_3);
        manual_pump(b->m);
        assert_string_equal("0 1 2 ", calls);
        assert_int_equal(1, started);
        assert_int_equal(3, version_of(b));
        assert_int_equal(40, bank_balance(b));
        assert_int_equal(TR_TX_COMMITTED, bank_pay_in(b, 2).status);
        again(b, &of_3); /* it is done */
        assert_int_equal(42, bank_balance(b));
        assert_string_equal("", calls);
        assert_int_equal(1, started);
        bank_close(b);
    }
}

static void code_that_says_version_1_begins_with_what_had_none(void **state)
{
    (void)state;
    tr_actor_def first = of_1();
    first.migrate = migrate;
    bank *b = open_with_40(1);
    again(b, &first);
    assert_int_equal(40, bank_balance(b));
    assert_string_equal("0 ", calls);
    assert_int_equal(1, version_of(b));
    again(b, &of_2);
    assert_int_equal(40, bank_balance(b));
    assert_string_equal("1 ", calls);
    bank_close(b);
}

static void what_is_written_first_has_the_version_of_its_code(void **state)
{
    (void)state;
    tr_actor_def first = of_1();
    bank *b = bank_open(1);
    again(b, &first);
    assert_int_equal(0, bank_balance(b));
    assert_int_equal(0, version_of(b)); /* nothing was written */
    assert_int_equal(TR_TX_COMMITTED, bank_pay_in(b, 40).status);
    assert_int_equal(1, version_of(b));
    again(b, &of_2);
    assert_int_equal(40, bank_balance(b));
    assert_string_equal("1 ", calls);
    bank_close(b);
}

static tr_err tell_key(tr_txview *v, const char *key, tr_bytes value, void *context)
{
    (void)v, (void)value;
    strcat(strcat(context, key), " ");
    return TR_OK;
}

static void all_keys_are_gone_through_in_order_and_may_be_written(void **state)
{
    (void)state;
    bank *b = open_with_40(1);
    tr__tx_actor *actor = tr__tx_actor_of(b->m->node->transactions->tx, "account");
    tr__store_put(&actor->store, "note2", 5, "two", 3); /* the version before it is none */
    tr__store_put(&actor->store, "note", 4, "one", 3);
    char keys[64] = "";
    tr_txview view = {.store = &actor->store, .writing = true};
    assert_int_equal(TR_OK, tr_view_put_text(&view, "note3", "three"));
    assert_int_equal(TR_OK, tr_view_put_text(&view, "note", "new"));
    assert_int_equal(TR_OK, tr__view_put_version(&view, 7));
    assert_int_equal(TR_OK, tr_view_each(&view, tell_key, keys));
    assert_string_equal("balance note note2 note3 ", keys);
    assert_int_equal(TR_OK, tr_view_each(&view, take_note, NULL));
    assert_string_equal("new", tr_view_text(&view, "notes/note", ""));
    assert_string_equal("two", tr_view_text(&view, "notes/note2", ""));
    assert_string_equal("three", tr_view_text(&view, "notes/note3", ""));
    assert_string_equal("gone", tr_view_text(&view, "note", "gone"));
    tr__view_clear(&view);
    bank_close(b);
}

/* Its disk stands still in the middle; then the power goes. */
static void what_a_crash_interrupts_begins_again_with_the_old_state(void **state)
{
    (void)state;
    bank *b = open_with_40(1);
    for (int i = 0; i < 3; i++) {
        again(b, &of_3);
        b->m->disk = NULL;
        manual_pump(b->m);
        assert_string_equal("0 1 2 ", calls);
        assert_true(waits(b));
        assert_int_equal(0, started);
    }
    again(b, &of_3);
    assert_int_equal(40, bank_balance(b));
    assert_string_equal("0 1 2 ", calls);
    assert_int_equal(1, started);
    bank_close(b);
}

static tr_err run_lookup_fails(tr_actor *self, script *s)
{
    s->balance = tr_addr_is_none(tr_whereis(self, "account"));
    return TR_OK;
}

static void is_not_there(bank *b)
{
    script s = {.run = run_lookup_fails};
    bank_play(b, &s);
    assert_int_equal(1, s.balance);
    assert_int_equal(0, started);
}

static void a_newer_version_than_the_code_knows_is_refused_by_name(void **state)
{
    (void)state;
    tr_actor_def old[] = {bank_account_def, of_1(), of_2};
    bank *b = open_with_40(1);
    again(b, &of_3);
    assert_int_equal(40, bank_balance(b));
    for (size_t i = 0; i < TR_COUNT(old); i++) {
        char text[96];
        snprintf(text, sizeof(text), "of version 3, and its code (%s) of version %zu", old[i].name, i);
        old[i].init = init;
        again(b, &old[i]);
        manual_pump(b->m);
        is_not_there(b);
        assert_non_null(strstr(b->m->last_log, text));
    }
    again(b, &of_3);
    assert_int_equal(40, bank_balance(b));
    assert_string_equal("", calls);
    bank_close(b);
}

static void one_that_fails_leaves_all_as_it_was_and_the_actor_is_not_started(void **state)
{
    static const tr_err errors[] = {TR_EAPP, TR_ENOTFOUND};
    (void)state;
    bank *b = open_with_40(1);
    for (size_t i = 0; i < TR_COUNT(errors); i++) {
        again(b, &of_3);
        migrate_fails = errors[i];
        manual_pump(b->m);
        is_not_there(b);
        assert_non_null(strstr(b->m->last_log,
                               "what account keeps can't be brought from version 2 to 3 by account_of_3"));
    }
    again(b, &without_migrate);
    manual_pump(b->m);
    is_not_there(b);
    assert_non_null(strstr(b->m->last_log, "give the definition a `migrate`"));
    again(b, &bank_account_def);
    assert_int_equal(40, bank_balance(b));
    assert_int_equal(0, version_of(b));
    bank_close(b);
}

/* ---- what is in doubt ---------------------------------------------------------------------------------- */

static const uint8_t any_log[TR__LOG_ID_BYTES] = {1, 2, 3};

/* A credit of 40, of bob's, is prepared at the account. */
static void prepare(bank *b, tr_tx_id *id)
{
    tr__tx_party party = {.node = "alice", .actor = "account", .boot = b->m->node->id, .writes = 1};
    tr__tx_buffer parties = {0};
    tr__tx_frame frame = bank_bob_calls(id);
    tr__tx_put_parties(&parties, &party, 1);
    bank_bob_is(b, true);
    bank_bob_says(b, 1, &frame);
    bank_bob_says(b, 1,
                  &(tr__tx_frame){.kind = TR__TX_PREPARE,
                                  .id = {id, sizeof(*id)},
                                  .from = "bob",
                                  .log = {any_log, sizeof(any_log)},
                                  .boot = b->m->node->id,
                                  .actor = "account",
                                  .remaining = TR_SECONDS(5),
                                  .writes = 1,
                                  .body = {parties.bytes, parties.length}});
    tr__tx_buffer_free(&parties);
}

static void decide(bank *b, const tr_tx_id *id, tr__tx_verdict verdict)
{
    bank_bob_is(b, true);
    bank_bob_says(b, 1,
                  &(tr__tx_frame){.kind = TR__TX_DECIDE,
                                  .id = {id, sizeof(*id)},
                                  .from = "bob",
                                  .actor = "account",
                                  .log = {any_log, sizeof(any_log)},
                                  .status = verdict,
                                  .ts = 1});
}

static tr_err credit_other(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self, (void)arg;
    return tr_tx_await(tx, "other", credit, .amount = 1);
}

static tr_err run_other(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, credit_other, NULL, NULL);
    return TR_OK;
}

static void what_is_in_doubt_is_decided_in_its_version_first_and_others_go_on(void **state)
{
    (void)state;
    for (int committed = 0; committed < 2; committed++) {
        tr_tx_id id;
        script other = {.run = run_other}, waits_long = {.run = bank_run_credit, .balance = 1};
        bank *b = open_with_40(2);
        prepare(b, &id);
        again(b, &of_3);
        manual_spawn_def(b->m, 0, &of_3, NULL, &(tr_spawn_opts){.name = "other"});
        manual_step(b->m, TR_MINUTES(25)); /* several attempts of ten minutes each */
        assert_true(waits(b));
        assert_string_equal("", calls);
        assert_int_equal(1, started); /* the other one */
        bank_play(b, &other);
        assert_int_equal(TR_TX_COMMITTED, other.out.status);
        bank_play(b, &waits_long);
        assert_int_equal(TR_TX_LOCK_TIMEOUT, waits_long.out.reason);
        decide(b, &id, committed ? TR__TX_COMMITTED : TR__TX_ABORTED);
        assert_int_equal(committed ? 80 : 40, bank_balance(b));
        assert_string_equal("0 1 2 ", calls);
        assert_int_equal(2, started);
        bank_close(b);
    }
}

/* Nothing is committed there yet: what is in doubt would be the first. */
static void the_very_first_that_is_in_doubt_is_waited_for_as_well(void **state)
{
    (void)state;
    tr_tx_id id;
    tr_actor_def first = of_1();
    bank *b = bank_open(1);
    again(b, &first);
    manual_pump(b->m);
    prepare(b, &id);
    const tr_actor_def *const defs[] = {&bank_account_def, &of_2};
    for (size_t i = 0; i < TR_COUNT(defs); i++) {
        again(b, defs[i]);
        manual_step(b->m, TR_SECONDS(1));
        assert_true(waits(b));
    }
    decide(b, &id, TR__TX_COMMITTED);
    assert_int_equal(40, bank_balance(b));
    assert_string_equal("1 ", calls);
    bank_close(b);
}

/* ---- on a running node --------------------------------------------------------------------------------- */

static void stop_it(tr_actor *self, void *context)
{
    tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED);
}

static void ask_to_stop(tr_actor *self, void *context)
{
    tr_stop(self, *(tr_addr *)context, TR_EXIT_SHUTDOWN);
}

static void link_and_fail(tr_actor *self, void *context)
{
    tr_link(self, *(tr_addr *)context);
    tr_exit(self, TR_EAPP, "it takes who is linked along");
}

static void end_account_by(bank *b, manual_fn how)
{
    manual_puppet killer = {0};
    manual_spawn(b->m, 0, &killer, NULL);
    manual_do(b->m, killer.address, how, &b->account);
    manual_pump(b->m);
    assert_null(manual_actor(b->m, b->account));
    if (manual_actor(b->m, killer.address))
        manual_do(b->m, killer.address, stop_it, &killer.address);
}

static void end_account(bank *b)
{
    end_account_by(b, stop_it);
}

static tr_err run_and_commit_later(tr_actor *self, script *s)
{
    s->tx = tr_tx_begin(self, NULL);
    TR_TRY(tr_tx_await(&s->tx, "account", credit, .amount = 5));
    s->balance = 1;
    TR_TRY(tr_sleep(self, TR_SECONDS(5)));
    s->out = tr_tx_outcome_of(self, tr_tx_commit(&s->tx));
    return TR_OK;
}

static void what_began_with_an_actor_that_was_replaced_by_a_newer_one_ends_before(void **state)
{
    (void)state;
    for (int commits = 0; commits < 2; commits++) {
        bank *b = open_with_40(2);
        script s = {.run = commits ? run_and_commit_later : bank_run_and_stay};
        bank_begin(b, &s);
        manual_pump(b->m);
        assert_int_equal(1, s.balance); /* 5 more, and it promised nothing yet */
        end_account(b);
        forget();
        spawn_as(b, &of_3);
        manual_pump(b->m);
        assert_true(waits(b));
        manual_step(b->m, TR_SECONDS(12)); /* it is committed, or its deadline has passed */
        assert_int_equal(3, version_of(b));
        assert_int_equal(commits ? 45 : 40, bank_balance(b));
        bank_close(b);
    }
}

static void who_ends_while_it_waits_does_so_at_once_and_takes_its_migration_along(void **state)
{
    static const manual_fn ways[] = {stop_it, ask_to_stop, link_and_fail};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(ways); i++) {
        tr_tx_id id;
        bank *b = open_with_40(2);
        prepare(b, &id);
        again(b, &of_3);
        manual_pump(b->m);
        assert_true(waits(b));
        end_account_by(b, ways[i]);
        assert_null(b->m->node->transactions->clients);
        decide(b, &id, TR__TX_COMMITTED);
        assert_int_equal(0, version_of(b));
        assert_string_equal("", calls);
        spawn_as(b, &of_3);
        assert_int_equal(80, bank_balance(b));
        bank_close(b);
    }
}

static void calls_that_come_meanwhile_wait_for_it(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        bank *b = open_with_40(loops);
        again(b, &of_3);
        script s[8] = {0};
        for (size_t i = 0; i < TR_COUNT(s); i++) {
            s[i] = (script){.run = bank_run_credit, .balance = 1};
            bank_begin(b, &s[i]);
        }
        manual_step(b->m, TR_SECONDS(5));
        for (size_t i = 0; i < TR_COUNT(s); i++)
            assert_int_equal(TR_TX_COMMITTED, s[i].out.status);
        assert_int_equal(48, bank_balance(b));
        assert_string_equal("0 1 2 ", calls);
        bank_close(b);
    }
}

/* A peer's call of that type is none of ours. */
static void nobody_else_can_have_a_participant_migrate(void **state)
{
    static const uint8_t nothing[] = {0x80};
    (void)state;
    tr_tx_id id;
    const tr_typeinfo *info = tr__type_of(&tr__tx_migrate_type);
    bank *b = open_with_40(1);
    again(b, &of_3);
    manual_pump(b->m);
    forget();
    tr__tx_frame frame = bank_bob_calls(&id);
    frame.type = info->id;
    frame.fingerprint = info->fingerprint;
    frame.body = (tr_bytes){nothing, sizeof(nothing)};
    bank_bob_is(b, true);
    transacted = 0;
    bank_bob_says(b, 1, &frame);
    assert_int_equal(1, transacted); /* as any other call */
    assert_string_equal("", calls);
    bank_bob_is(b, false);
    assert_int_equal(40, bank_balance(b));
    bank_close(b);
}

static void whatever_allocation_fails_it_is_done_once_or_the_actor_ends(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 120; nth++) {
        bank *b = open_with_40(2);
        again(b, &of_3);
        manual_dry_pool(b->m, 0);
        manual_dry_pool(b->m, 1);
        tr__alloc_fail_at(nth);
        manual_pump(b->m);
        tr__alloc_fail_at(0);
        manual_step(b->m, TR_SECONDS(25)); /* what an attempt left behind has a deadline */
        if (!manual_actor(b->m, b->account))
            spawn_as(b, &of_3);
        if (!b->m->fatals) {
            assert_int_equal(40, bank_balance(b));
            assert_int_equal(3, version_of(b));
        }
        b->m->fatals = 0; /* a node that can't apply what is decided ends itself */
        bank_close(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_goes_step_by_step_to_the_version_of_the_code_before_its_init),
        cmocka_unit_test(code_that_says_version_1_begins_with_what_had_none),
        cmocka_unit_test(what_is_written_first_has_the_version_of_its_code),
        cmocka_unit_test(all_keys_are_gone_through_in_order_and_may_be_written),
        cmocka_unit_test(what_a_crash_interrupts_begins_again_with_the_old_state),
        cmocka_unit_test(a_newer_version_than_the_code_knows_is_refused_by_name),
        cmocka_unit_test(one_that_fails_leaves_all_as_it_was_and_the_actor_is_not_started),
        cmocka_unit_test(what_is_in_doubt_is_decided_in_its_version_first_and_others_go_on),
        cmocka_unit_test(the_very_first_that_is_in_doubt_is_waited_for_as_well),
        cmocka_unit_test(what_began_with_an_actor_that_was_replaced_by_a_newer_one_ends_before),
        cmocka_unit_test(who_ends_while_it_waits_does_so_at_once_and_takes_its_migration_along),
        cmocka_unit_test(calls_that_come_meanwhile_wait_for_it),
        cmocka_unit_test(nobody_else_can_have_a_participant_migrate),
        cmocka_unit_test(whatever_allocation_fails_it_is_done_once_or_the_actor_ends),
    };
    return cmocka_run_group_tests_name("tx_version", tests, NULL, NULL);
}
