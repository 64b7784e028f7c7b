/* Transactions on one node, as actors that call see them: their ends, tickets, what the manager tells. The disk is in
 * memory, the clock is the test's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/adapter.h"
#include "actors/names/warden.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "base/mem.h"
#include "tests/kit/bank.h"

/* ---- tests --------------------------------------------------------------------------------------------- */

static void what_was_committed_is_read_back(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        bank *b = bank_open(loops);
        tr_tx_outcome out = bank_pay_in(b, 40);
        assert_int_equal(TR_TX_COMMITTED, out.status);
        assert_true(out.commit_ts > 0 && out.ticket[0]);
        assert_true(bank_pay_in(b, 2).commit_ts > out.commit_ts);
        assert_int_equal(42, bank_balance(b));
        bank_close(b);
    }
}

static void it_is_there_after_a_power_cut(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    assert_int_equal(TR_TX_COMMITTED, bank_pay_in(b, 40).status);
    manual_close(b->m);
    memory_log_power_cut(&b->disk);
    bank_start(b);
    assert_int_equal(40, bank_balance(b));
    bank_close(b);
}

static void a_refusal_aborts_with_the_text_of_the_participant(void **state)
{
    (void)state;
    bank *b = bank_open(2);
    bank_pay_in(b, 3);
    script s = {.run = bank_run_debit, .balance = 40};
    bank_play(b, &s);
    assert_int_equal(TR_TX_ABORTED, s.out.status);
    assert_int_equal(TR_TX_APP, s.out.reason);
    assert_string_equal("balance 3 is less than 40", s.out.text);
    assert_int_equal(3, bank_balance(b));
    bank_close(b);
}

static tr_err abort_by_hand(tr_actor *self, script *s)
{
    tr_tx tx = tr_tx_begin(self, NULL);
    TR_TRY(tr_tx_await(&tx, "account", credit, .amount = 5));
    tr_tx_abort(&tx);
    s->out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    return TR_OK;
}

static void what_was_aborted_has_no_effect_and_is_not_committed_later(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    script s = {.run = abort_by_hand};
    bank_play(b, &s);
    assert_int_equal(TR_TX_ABORTED, s.out.status);
    assert_int_equal(0, bank_balance(b));
    bank_close(b);
}

static tr_err commit_twice(tr_actor *self, script *s)
{
    tr_tx tx = tr_tx_begin(self, NULL);
    TR_TRY(tr_tx_await(&tx, "account", credit, .amount = 5));
    tr_tx_outcome first = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    s->out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    return first.status == TR_TX_COMMITTED ? TR_OK : TR_EABORTED;
}

static tr_err commits_itself(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    TR_TRY(tr_tx_await(tx, "account", credit, .amount = 5));
    tr_tx_outcome_of(self, tr_tx_commit(tx));
    return *(tr_err *)arg;
}

static tr_err run_what_commits_itself(tr_actor *self, script *s)
{
    s->out = tr_tx_run(self, commits_itself, &s->err, NULL);
    return TR_OK;
}

static void what_was_committed_is_never_told_aborted_by_a_second_commit(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    script s = {.run = commit_twice};
    bank_play(b, &s);
    assert_int_equal(TR_TX_UNKNOWN, s.out.status);
    assert_non_null(strstr(s.out.text, "committed before"));
    for (int fails = 0; fails < 2; fails++) {
        script own = {.run = run_what_commits_itself, .err = fails ? TR_EAPP : TR_OK};
        bank_play(b, &own);
        assert_int_equal(TR_TX_UNKNOWN, own.out.status);
    }
    assert_int_equal(15, bank_balance(b));
    bank_close(b);
}

static void stop_it(tr_actor *self, void *context)
{
    tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED);
}

static void the_end_of_who_began_it_aborts_it_at_once(void **state)
{
    (void)state;
    bank *b = bank_open(2);
    manual_puppet killer = {0};
    manual_spawn(b->m, 0, &killer, NULL);
    script s = {.run = bank_run_and_stay};
    tr_addr caller = bank_begin(b, &s);
    manual_pump(b->m);
    assert_int_equal(1, s.balance);
    manual_do(b->m, killer.address, stop_it, &caller);
    uint64_t at = b->m->now_ns;
    assert_int_equal(0, bank_balance(b)); /* it got the lock */
    assert_true(b->m->now_ns - at < TR_SECONDS(1));
    bank_close(b);
}

static void who_ends_while_it_is_committed_holds_no_place(void **state)
{
    (void)state;
    bank *b = bank_open(2);
    manual_puppet killer = {0};
    manual_spawn(b->m, 0, &killer, NULL);
    script s = {.run = bank_run_credit, .balance = 5};
    bank_balance(b);   /* all that a first transaction writes is written */
    b->m->disk = NULL; /* it stands still */
    tr_addr caller = bank_begin(b, &s);
    manual_pump(b->m);
    assert_true(b->m->node->transactions->clients->committing);
    manual_do(b->m, killer.address, stop_it, &caller);
    b->m->disk = &b->disk;
    manual_pump(b->m);
    assert_null(b->m->node->transactions->clients);
    assert_int_equal(5, bank_balance(b));
    bank_close(b);
}

/* Found by the simulator: bank, seed 139. */
static void the_end_of_who_could_not_be_watched_at_first_aborts_it_soon(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 40; nth++) {
        bank *b = bank_open(2);
        manual_puppet killer = {0};
        manual_spawn(b->m, 0, &killer, NULL);
        manual_pump(b->m);
        script s = {.run = bank_run_and_stay};
        tr_addr caller = bank_begin(b, &s);
        tr__alloc_fail_at(nth);
        manual_pump(b->m);
        tr__alloc_fail_at(0);
        if (manual_actor(b->m, caller))
            manual_do(b->m, killer.address, stop_it, &caller);
        manual_step(b->m, TR_SECONDS(3));
        assert_null(b->m->node->transactions->clients);
        bank_close(b);
    }
}

/* ---- peers --------------------------------------------------------------------------------------------- */

static void hear(bank *b, uint64_t incarnation, bool up)
{
    tr_addr manager = TR__TX_MANAGER_OF(b->m->node->id);
    assert_int_equal(tr__inject(b->m->node->loops[0], manager, tr_node_event, .name = "bob",
                                .node = incarnation, .up = up, .reason = ""),
                     TR_OK);
    manual_pump(b->m);
}

static void pump_failing(manual *m, uint64_t nth)
{
    manual_dry_pool(m, 0);
    tr__alloc_fail_at(nth);
    manual_pump(m);
    tr__alloc_fail_at(0);
}

/* To which incarnation a frame would go: none of them is connected in fact. */
static bool speaks_with_bob(bank *b)
{
    tr_tx_id id = {{0}};
    tr_error error = {.code = TR_OK};
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_DROP, &id);
    frame.from = "alice";
    assert_int_not_equal(tr__peers_send(b->m->node->transactions, "bob", &frame, &error), TR_OK);
    return !strstr(error.text, "isn't connected");
}

/* The new one's coming overtakes the old one's coming, and its end. */
static void a_node_is_spoken_with_while_one_of_its_incarnations_is_up(void **state)
{
    (void)state;
    for (int new_one_ends = 0; new_one_ends < 2; new_one_ends++) {
        bank *b = bank_open(1);
        assert_false(speaks_with_bob(b));
        hear(b, 22, true);
        hear(b, 11, true);
        hear(b, new_one_ends ? 22 : 11, false);
        assert_true(speaks_with_bob(b));
        hear(b, new_one_ends ? 11 : 22, false);
        assert_false(speaks_with_bob(b));
        bank_close(b);
    }
}

/* The warden says it again until it is heard. */
static void a_manager_that_could_not_be_told_of_a_node_hears_of_it_later(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 4; nth++) {
        bank *b = bank_open(1);
        tr__loop *loop = b->m->node->loops[0];
        bank_balance(b);
        tr__node_changed_tell(loop, tr__node_changed_make(loop, "bob", 22, true), "");
        pump_failing(b->m, nth);
        manual_step(b->m, TR_SECONDS(1));
        assert_true(speaks_with_bob(b));
        bank_close(b);
    }
}

static bool knows_a_peer(const manual *m)
{
    const tr__transactions *t = m->node->transactions;
    for (size_t i = 0; i < TR_COUNT(t->peers); i++)
        if (t->peers[i])
            return true;
    return false;
}

static void nor_does_it_stay_deaf_if_it_could_not_ask_to_be_told(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 4; nth++) {
        manual *m = manual_open_tx(1, "alice", NULL);
        tr__loop *loop = m->node->loops[0];
        pump_failing(m, nth);
        tr__node_changed_tell(loop, tr__node_changed_make(loop, "bob", 22, true), "");
        manual_step(m, TR_SECONDS(1));
        assert_true(knows_a_peer(m));
        manual_close(m);
    }
}

/* Nothing else wakes it: who neither commits nor ends is forgotten by its clock alone. */
static void its_clock_goes_on_whatever_allocation_fails(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 4; nth++) {
        bank *b = bank_open(1);
        script s = {.run = bank_run_and_stay};
        bank_begin(b, &s);
        manual_pump(b->m);
        assert_non_null(b->m->node->transactions->clients);
        manual_dry_pool(b->m, 0);
        tr__alloc_fail_at(nth);
        manual_step(b->m, TR_MILLIS(200));
        tr__alloc_fail_at(0);
        manual_step(b->m, TR_MINUTES(1));
        assert_null(b->m->node->transactions->clients);
        bank_close(b);
    }
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void stop_account(tr_actor *self, void *context)
{
    bank *b = context;
    tr_stop(self, b->account, TR_EXIT_KILLED);
}

static void the_end_of_a_participant_with_a_call_in_its_mailbox_is_heard(void **state)
{
    (void)state;
    bank *b = bank_open(2);
    manual_puppet killer = {0};
    manual_spawn(b->m, 0, &killer, NULL);
    manual_pump(b->m);
    script s = {.run = bank_run_credit, .balance = 5};
    bank_begin(b, &s);
    /* While loop 1 stands the order and, behind it, the kill come into its inbox; the kill overtakes in the mailbox. */
    for (int i = 0; i < 10; i++)
        manual_turn(b->m, 0);
    manual_tell(b->m, killer.address, stop_account, b);
    manual_turn(b->m, 0);
    manual_pump(b->m);
    manual_step(b->m, TR_SECONDS(1));
    assert_true(s.done);
    assert_int_equal(TR_TX_ABORTED, s.out.status);
    assert_int_equal(TR_TX_BRANCH_LOST, s.out.reason);
    b->account = manual_spawn_def(b->m, 1, &bank_account_def, NULL, &(tr_spawn_opts){.name = "account"});
    assert_int_equal(0, bank_balance(b));
    bank_close(b);
}

static tr_err ticket_and_resolve(tr_actor *self, script *s)
{
    const tr_tx_ticket_is *is;
    char ticket[TR_TX_TICKET_MAX];
    s->tx = tr_tx_begin(self, NULL);
    TR_TRY(tr_tx_await(&s->tx, "account", credit, .amount = 5));
    TR_TRY(tr_await(self, tr_tx_ticket(&s->tx), tr_tx_ticket_is, &is));
    snprintf(ticket, sizeof(ticket), "%s", is->ticket);
    s->out = tr_tx_outcome_of(self, tr_tx_commit(&s->tx));
    for (int i = 0; i < 2; i++) {
        tr_tx_outcome again = tr_tx_outcome_of(self, tr_tx_resolve(self, ticket, TR_SECONDS(5)));
        if (again.status != TR_TX_COMMITTED || again.commit_ts != s->out.commit_ts)
            return tr_fail(self, TR_EAPP, "resolved %u %s", again.status, again.text);
    }
    tr_tx_outcome none = tr_tx_outcome_of(self, tr_tx_resolve(self, "no ticket", TR_SECONDS(5)));
    return none.status == TR_TX_UNKNOWN && strstr(none.text, "is no ticket") ? TR_OK : TR_EAPP;
}

static void a_ticket_tells_the_same_as_often_as_one_likes(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    script s = {.run = ticket_and_resolve};
    bank_play(b, &s);
    assert_int_equal(TR_TX_COMMITTED, s.out.status);
    bank_close(b);
}

#define MANY TR__TX_UNDECIDED_MAX

static tr_err fill_up(tr_actor *self, script *s)
{
    tr_tx *all = calloc(MANY, sizeof(*all));
    for (int i = 0; i < MANY; i++) {
        all[i] = tr_tx_begin(self, NULL);
        TR_TRY(tr_tx_await(&all[i], "account", get_balance));
    }
    s->balance = 1;
    TR_TRY(tr_sleep(self, TR_MILLIS(25)));
    for (int i = 0; i < MANY; i++)
        tr_tx_abort(&all[i]);
    free(all);
    return TR_OK;
}

static void tr_tx_run_goes_on_when_a_node_had_too_much_to_do(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    script full = {.run = fill_up}, s = {.run = bank_run_credit, .balance = 5};
    bank_begin(b, &full);
    manual_pump(b->m);
    if (!full.balance)
        fail_msg("%d: %s", full.done, full.text);
    uint64_t at = b->m->now_ns;
    bank_play(b, &s);
    if (!full.done || full.err)
        fail_msg("%d: %s; %s", full.done, full.text, s.out.text);
    assert_int_equal(TR_TX_COMMITTED, s.out.status);
    assert_true(b->m->now_ns - at >= TR_MILLIS(25));
    assert_int_equal(5, bank_balance(b));
    bank_close(b);
}

static tr_err list_it(tr_actor *self, script *s)
{
    const tr_tx_listing *listing;
    TR_TRY(tr_await(self, tr_ask(self, tr_whereis(self, "tx"), TR_SECONDS(1), tr_tx_list, .most = 1),
                    tr_tx_listing, &listing));
    if (!strstr(listing->json, "\"state\":\"committed\"") ||
        !strstr(listing->json, "\"actor\":\"account\"") ||
        !strstr(listing->json, "{\"node\":\"alice\",\"figures\":{\"branches\":0,"))
        return tr_fail(self, TR_EAPP, "%s", listing->json);
    s->balance = 0;
    for (const char *at = listing->json; (at = strstr(at, "\"began_ns\"")); at++)
        s->balance++;
    return TR_OK;
}

static void the_last_transactions_can_be_looked_at(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    for (int i = 0; i < TR__TRAIL_TRANSACTIONS + 2; i++)
        bank_pay_in(b, 1);
    script s = {.run = list_it};
    bank_play(b, &s);
    assert_int_equal(1, s.balance);
    bank_close(b);
}

static void a_node_whose_disk_fails_ends_itself_and_says_why(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    script s = {.run = bank_run_credit, .balance = 5};
    b->disk.fail_force_in = 1;
    bank_begin(b, &s);
    manual_pump(b->m);
    assert_int_equal(1, b->m->fatals);
    assert_non_null(strstr(b->m->last_log, "node alice ends itself"));
    assert_false(s.done && s.out.status == TR_TX_COMMITTED);
    b->m->fatals = 0;
    bank_close(b);
}

static void flood(tr_actor *self, void *context)
{
    (void)context;
    while (tr_send(self, TR__TX_MANAGER_OF(tr_self(self).node), mark, .n = 1) == TR_OK)
        ;
}

static tr_err call_into_a_full_mailbox(tr_actor *self, script *s)
{
    tr_err full;
    s->tx = tr_tx_begin(self, NULL);
    tr_future call = tr_tx_call(&s->tx, "account", credit, .amount = 5);
    flood(self, NULL);
    tr_future more = tr_tx_call(&s->tx, "account", credit, .amount = 5);
    full = more.id ? TR_OK : tr_last_error(self)->code;
    tr_err err = tr_await_msg(self, call, NULL);
    s->out = tr_tx_outcome_of(self, tr_tx_commit(&s->tx));
    return full == TR_EFULL && err == TR_EABORTED ? TR_OK : TR_EAPP;
}

static void a_manager_whose_mailbox_is_full_says_so_and_nothing_hangs(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    script s = {.run = call_into_a_full_mailbox};
    bank_play(b, &s);
    assert_int_equal(TR_TX_ABORTED, s.out.status);
    assert_int_equal(TR_TX_UNREACHABLE, s.out.reason);
    assert_non_null(strstr(s.out.text, "node alice can't be told now"));
    assert_int_equal(0, bank_balance(b));
    bank_close(b);
}

static void a_node_that_never_ran_gives_its_log_back(void **state)
{
    (void)state;
    memory_log disk;
    memory_log_init(&disk, 1);
    manual_close(manual_open_tx(2, "alice", &disk));
    assert_false(disk.is_open);
    memory_log_fini(&disk);
}

/* The n-th allocation of a payment of 5, on top of 1, fails. False: there weren't so many. */
static bool pay_with_a_failing_allocation(uint64_t nth)
{
    bank *b = bank_open(2);
    script s = {.run = bank_run_credit, .balance = 5, .out.status = TR_TX_ABORTED};
    bank_pay_in(b, 1);
    bank_begin(b, &s);
    tr__alloc_fail_at(nth);
    for (int i = 0; i < 600 && !s.done; i++)
        manual_step(b->m, TR_MILLIS(100));
    bool failed = tr__alloc_fail_at(0) >= nth;
    bool fatal = b->m->fatals > 0;
    if (fatal) { /* as a process that ends itself, and is started again */
        manual_close(b->m);
        bank_start(b);
    }
    manual_step(b->m, TR_SECONDS(30)); /* what an untold end left locked is let go at its deadline */
    int64_t has = bank_balance(b);
    if (s.out.status == TR_TX_UNKNOWN || (!s.done && fatal))
        assert_true(has == 1 || has == 6);
    else if (has != (s.out.status == TR_TX_COMMITTED ? 6 : 1))
        fail_msg("allocation %d: status %d, %s, and the balance is %d", (int)nth, (int)s.out.status,
                 s.out.text, (int)has);
    bank_close(b);
    return failed;
}

static void whatever_allocation_fails_the_outcome_is_true(void **state)
{
    (void)state;
    uint64_t nth = 1;
    while (pay_with_a_failing_allocation(nth))
        nth++;
    assert_true(nth > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_committed_is_read_back),
        cmocka_unit_test(it_is_there_after_a_power_cut),
        cmocka_unit_test(a_refusal_aborts_with_the_text_of_the_participant),
        cmocka_unit_test(what_was_aborted_has_no_effect_and_is_not_committed_later),
        cmocka_unit_test(what_was_committed_is_never_told_aborted_by_a_second_commit),
        cmocka_unit_test(the_end_of_who_began_it_aborts_it_at_once),
        cmocka_unit_test(who_ends_while_it_is_committed_holds_no_place),
        cmocka_unit_test(the_end_of_who_could_not_be_watched_at_first_aborts_it_soon),
        cmocka_unit_test(a_node_is_spoken_with_while_one_of_its_incarnations_is_up),
        cmocka_unit_test(a_manager_that_could_not_be_told_of_a_node_hears_of_it_later),
        cmocka_unit_test(nor_does_it_stay_deaf_if_it_could_not_ask_to_be_told),
        cmocka_unit_test(its_clock_goes_on_whatever_allocation_fails),
        cmocka_unit_test(the_end_of_a_participant_with_a_call_in_its_mailbox_is_heard),
        cmocka_unit_test(a_ticket_tells_the_same_as_often_as_one_likes),
        cmocka_unit_test(tr_tx_run_goes_on_when_a_node_had_too_much_to_do),
        cmocka_unit_test(the_last_transactions_can_be_looked_at),
        cmocka_unit_test(a_manager_whose_mailbox_is_full_says_so_and_nothing_hangs),
        cmocka_unit_test(a_node_that_never_ran_gives_its_log_back),
        cmocka_unit_test(whatever_allocation_fails_the_outcome_is_true),
        cmocka_unit_test(a_node_whose_disk_fails_ends_itself_and_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
