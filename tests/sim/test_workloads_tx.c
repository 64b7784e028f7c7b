/* The workloads of transactions on simulated nodes: seeds of each fault class, seeds that once failed, each property seen
 * to be checked, and, in a build with planted bugs, those found. Thousands of seeds are troupe-sim's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/node.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "base/plant.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_history.h"
#include "tests/sim/regressions.h"

static tr_sim *make(const tr_scenario *scenario, uint64_t seed, uint32_t faults)
{
    tr_error error = {.code = TR_OK};
    tr_sim_destroy(sim_now_running); /* of a test that failed */
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = scenario, .faults = faults}, &error);
    if (!sim)
        fail_msg("seed %llu: %s", (unsigned long long)seed, error.text);
    return sim;
}

static tr_sim_result run(const tr_scenario *scenario, uint64_t seed, uint32_t faults)
{
    tr_sim_result result;
    tr_sim *sim = make(scenario, seed, faults);
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    tr_sim_destroy(sim);
    return result;
}

static void passes(const tr_scenario *scenario, uint64_t seed, uint32_t faults)
{
    tr_sim_result result = run(scenario, seed, faults);
    if (result.failed)
        fail_msg("%s, seed %llu, faults %x: %s", scenario->name, (unsigned long long)seed, faults,
                 result.what);
}

static const tr_scenario *const scenarios[] = {&sim_bank,       &sim_append,  &sim_exchange, &sim_older,
                                               &sim_forgetting, &sim_upgrade, &sim_outbox,   &sim_together};

/* ---- seeds --------------------------------------------------------------------------------------------- */

/* A seed has a class on as a rule every second time. */
static void promises_hold_under_each_class_of_faults(void **state)
{
    (void)state;
    for (size_t s = 0; s < TR_COUNT(scenarios); s++)
        for (uint32_t fault = 0; fault < TR_SIM_FAULT_COUNT; fault++)
            for (uint64_t seed = 1; seed <= 4; seed++)
                passes(scenarios[s], seed, 1u << fault);
}

static void promises_hold_under_all_faults_at_once(void **state)
{
    (void)state;
    for (size_t s = 0; s < TR_COUNT(scenarios); s++)
        for (uint64_t seed = 1; seed <= 15; seed++)
            passes(scenarios[s], seed, TR_SIM_ALL_FAULTS);
}

static void what_was_found_once_is_not_found_again(void **state)
{
    static const struct {
        const char *scenario;
        uint64_t seed;
        uint32_t faults;
    } found[] = {
#define ROW(scenario, seed, faults, what) {scenario, seed, faults},
        REGRESSIONS(ROW)
#undef ROW
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(found); i++)
        for (size_t s = 0; s < TR_COUNT(scenarios); s++)
            if (strcmp(scenarios[s]->name, found[i].scenario) == 0)
                passes(scenarios[s], found[i].seed, found[i].faults);
}

static void a_seed_is_the_same_run_twice(void **state)
{
    (void)state;
    for (size_t s = 0; s < TR_COUNT(scenarios); s++)
        assert_int_equal(run(scenarios[s], 7, TR_SIM_ALL_FAULTS).hash,
                         run(scenarios[s], 7, TR_SIM_ALL_FAULTS).hash);
}

/* ---- each property is checked: something is made untrue in the middle of a run without faults ------------ */

static uint32_t writes(const tx_record *record)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < record->count; i++)
        count += record->ops[i].writes;
    return count;
}

/* The n-th that was told so, and wrote. */
static tx_record *told(tr_tx_status status, uint32_t n)
{
    tx_history *h = tx_history_now();
    for (uint32_t i = 0; i < h->count; i++)
        if (h->records[i].settled && h->records[i].status == status && h->records[i].over &&
            writes(&h->records[i]) > 1 && n-- == 0)
            return &h->records[i];
    fail_msg("no such transaction");
    return NULL;
}

static tr__tx *manager(uint32_t node)
{
    return sim_now_running->nodes[node].node->transactions->tx;
}

/* The bytes that a participant keeps; for the test to change. */
static char *kept(uint32_t place, const char *key)
{
    const tr__store *store = tr__tx_state(manager(place / 2), strchr(tx_path(place), '/') + 1);
    const tr__kv *found = tr__store_get(store, key, strlen(key));
    assert_non_null(found);
    return (char *)(uintptr_t)tr__kv_value(found);
}

/* Of a journal; nothing there is aligned. */
static uint32_t entry(uint32_t place, uint32_t i)
{
    return tx_journal_at(kept(place, "journal"), i);
}

static void set_entry(uint32_t place, uint32_t i, uint32_t number)
{
    memcpy(kept(place, "journal") + i * sizeof(number), &number, sizeof(number));
}

static void lose_a_write(void)
{
    uint32_t place = told(TR_TX_COMMITTED, 0)->ops[0].place;
    set_entry(place, 0, entry(place, 1));
}

static void write_one_twice(void)
{
    uint32_t length;
    tx_journal(2, &length);
    set_entry(2, length - 1, entry(2, 0));
}

static void say_aborted(void)
{
    tx_record *record = told(TR_TX_COMMITTED, 0);
    record->status = TR_TX_ABORTED;
    record->ticket[0] = '\0'; /* nobody asks again */
}

static void say_committed(void)
{
    tx_record *record = told(TR_TX_ABORTED, 0);
    record->status = TR_TX_COMMITTED;
    record->ticket[0] = '\0';
}

static void say_both(void)
{
    tr_tx_outcome out = {.status = TR_TX_ABORTED};
    sim_now_running->current = &sim_now_running->nodes[0]; /* who says so */
    tx_record_told(told(TR_TX_COMMITTED, 0), &out);
}

static void say_two_times(void)
{
    tx_record *record = told(TR_TX_COMMITTED, 0);
    tr_tx_outcome out = {.status = TR_TX_COMMITTED, .commit_ts = record->ts + 1};
    sim_now_running->current = &sim_now_running->nodes[0];
    tx_record_told(record, &out);
}

static void make_money(void)
{
    int64_t balance;
    char *bytes = kept(0, "balance");
    memcpy(&balance, bytes, sizeof(balance));
    balance++;
    memcpy(bytes, &balance, sizeof(balance));
}

static tx_record *writer(uint32_t place, uint32_t i)
{
    return &tx_history_now()->records[entry(place, i)];
}

/* Two that are behind each other in one journal change places there. */
static void swap_two(void)
{
    uint32_t first = entry(2, 0);
    for (uint32_t i = 0; i < 2; i++) {
        writer(2, i)->ts = 0;
        writer(2, i)->ticket[0] = '\0';
    }
    set_entry(2, 0, entry(2, 1));
    set_entry(2, 1, first);
}

static void swap_two_times(void)
{
    tx_record *a = writer(2, 0), *b = writer(2, 1);
    uint64_t ts = a->ts;
    assert_true(a->ts && b->ts);
    a->ts = b->ts;
    b->ts = ts;
    a->ticket[0] = b->ticket[0] = '\0';
}

/* The second of a journal was told before the first began. */
static void turn_time_back(void)
{
    writer(2, 1)->begun = writer(2, 1)->told = 1;
    writer(2, 0)->begun = 2;
}

static void see_too_much(void)
{
    told(TR_TX_COMMITTED, 0)->ops[0].seen = 100000;
}

static void read_a_wrong_sum(void)
{
    tx_history *h = tx_history_now();
    for (uint32_t i = 0; i < h->count; i++)
        if (h->records[i].told && !writes(&h->records[i]) && h->records[i].count == TX_PLACES) {
            h->records[i].ops[0].balance++;
            return;
        }
    fail_msg("nobody read all");
}

static void commit_what_was_never_sent(void)
{
    told(TR_TX_COMMITTED, 0)->sent = false;
}

static void forget_a_caller(void)
{
    told(TR_TX_COMMITTED, 0)->over = false;
}

/* Of a caller that isn't there, so nothing is heard of it. */
static tr__tx_branch *leave_a_branch(uint64_t deadline_ns)
{
    tr__tx *tx = manager(1);
    tr_tx_id id = {{1}};
    tr__tx_actor *actor = tr__tx_actor_of(tx, "other");
    tr__tx_branch *branch = tr__tx_branch_make(tx, &id, actor);
    branch->deadline_ns = deadline_ns;
    return branch;
}

static void leave_a_lock(void)
{
    tr__tx_branch *branch = leave_a_branch(TR_FOREVER);
    branch->state = TR__BRANCH_FINISHING;
}

static void leave_one_beyond_its_deadline(void)
{
    leave_a_branch(1)->dropped = true; /* so time doesn't end it */
}

static void each_property_is_checked(void **state)
{
    static const struct {
        void (*wrong)(void);
        const char *text;
    } rows[] = {
        {lose_a_write, "has effects on some of what it wrote only"},
        {write_one_twice, "is 2 times in n1/a"},
        {say_aborted, "was told aborted and is in the journals"},
        {say_committed, "was told committed and is not in the journals"},
        {say_both, "was told committed, and now aborted"},
        {say_two_times, "was told two commit times"},
        {make_money, "all balances are 601"},
        {swap_two, "there is no order"},
        {swap_two_times, "at a later time"},
        {turn_time_back, "there is no order"},
        {see_too_much, "saw at"},
        {read_a_wrong_sum, "read balances of 601"},
        {commit_what_was_never_sent, "was never to be committed"},
        {forget_a_caller, "its caller still waits"},
        {leave_a_lock, "1 branches"},
        {leave_one_beyond_its_deadline, "its deadline is long past"},
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        tr_sim_result result;
        tr_sim *sim = make(&sim_bank, 1, 0);
        tr_sim_step(sim, TR_SECONDS(12));
        rows[i].wrong();
        sim->current = NULL;
        tr_sim_run(sim);
        tr_sim_result_get(sim, &result);
        if (!result.failed || !strstr(result.what, rows[i].text))
            fail_msg("row %zu: \"%s\" was expected, and the run says \"%s\"", i, rows[i].text, result.what);
        tr_sim_destroy(sim);
    }
}

/* By that of files' histories alone, which nothing else has looked at before. */
static void the_judge_finds_what_is_wrong_by_itself(void **state)
{
    static const struct {
        void (*wrong)(void);
        const char *text;
    } rows[] = {
        {lose_a_write, "the judge of histories (lines are transactions): "},
        {say_aborted, "G1a: line"},
        {say_committed, "lost update: line"},
        {make_money, "wrong total: line"},
        {swap_two, "the judge of histories (lines are transactions): internal"},
        {swap_two_times, "commit time: line"},
        {turn_time_back, "-realtime: line"},
        {read_a_wrong_sum, "wrong total: line"},
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        tr_sim_result result;
        tr_sim *sim = make(&sim_bank, 1, 0);
        tr_sim_step(sim, TR_SECONDS(12));
        tr_sim_heal_all(sim);
        tr_sim_step(sim, TR_SECONDS(12)); /* nothing is under way any more */
        tx_check_judged();
        tr_sim_result_get(sim, &result);
        assert_false(result.failed);
        rows[i].wrong();
        sim->current = NULL;
        tx_check_judged();
        tr_sim_result_get(sim, &result);
        if (!result.failed || !strstr(result.what, rows[i].text))
            fail_msg("row %zu: \"%s\" was expected, and the run says \"%s\"", i, rows[i].text, result.what);
        tr_sim_destroy(sim);
    }
}

/* What was told is on the disk of who decides, and of who prepared it: seen at the next start. */
static void a_log_that_forgets_what_was_told_is_noticed_at_the_start(void **state)
{
    tr_sim_result result;
    tr_error error;
    (void)state;
    tr_sim *sim = make(&sim_bank, 1, 0);
    tr_sim_step(sim, TR_SECONDS(5));
    tr_sim_kill(sim, 1, false);
    memory_log_set(&sim->nodes[1].disk, NULL, 0);
    sim->nodes[1].disk.published = false;
    assert_int_equal(tr_sim_start(sim, 1, &error), TR_OK);
    tr_sim_step(sim, TR_SECONDS(1));
    tr_sim_result_get(sim, &result);
    assert_true(result.failed);
    assert_non_null(strstr(result.what, "was told committed, and n1/"));
    tr_sim_destroy(sim);
}

/* ---- planted bugs -------------------------------------------------------------------------------------- */

#ifdef TR_PLANTS

#define SEEDS_MOST 250 /* of bank and append in turn */

/* NULL: it shows in both. */
static const tr_scenario *scenario_of(const char *plant)
{
    if (strcmp(plant, "older_unnoticed") == 0 || strcmp(plant, "lost_presumed") == 0 ||
        strcmp(plant, "peers_unsaved") == 0)
        return &sim_older;
    if (strcmp(plant, "reads_unasked") == 0)
        return &sim_append;
    if (strcmp(plant, "forgotten_aborted") == 0 || strcmp(plant, "unacknowledged_forgotten") == 0)
        return &sim_forgetting;
    if (strncmp(plant, "emit_", 5) == 0)
        return &sim_outbox;
    if (strcmp(plant, "migrated_again") == 0 || strcmp(plant, "migrated_in_doubt") == 0 ||
        strcmp(plant, "migration_unawaited") == 0)
        return &sim_upgrade;
    return NULL;
}

static void planted_bugs_of_transactions_are_found(void **state)
{
    static const char *const names[] = {
        "presumed_early",    "yes_unforced",
        "prepared_given_up", "committed_unforced",
        "redo_lost",         "locks_lost",
        "dirty_neighbour",   "outcome_forgotten",
        "aborted_unwritten", "decision_kept",
        "inquired_once",     "prepared_wounded",
        "lock_by_arrival",   "wound_withheld",
        "retry_as_new",      "sibling_presumes",
        "sibling_guesses",   "wrote_unsaid",
        "read_released",     "snapshot_ahead",
        "segment_early",     "outcome_unsaved",
        "older_unnoticed",   "lost_presumed",
        "forgotten_aborted", "unacknowledged_forgotten",
        "lives_unsaved",     "reads_unasked",
        "peers_unsaved",     "migrated_again",
        "migrated_in_doubt", "migration_unawaited",
        "emit_unforced",     "emit_on_abort",
        "emit_unsaved",      "emit_unmarked",
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(names); i++) {
        uint64_t seed = 0;
        tr_sim_result result = {.failed = false};
        const tr_scenario *own = scenario_of(names[i]);
        assert_true(tr__plant_choose(names[i]));
        while (!result.failed && ++seed <= SEEDS_MOST)
            result = run(own ? own : scenarios[seed % 2], seed, TR_SIM_ALL_FAULTS);
        tr__plant_choose(NULL);
        if (!result.failed)
            fail_msg("%s isn't found by %d seeds", names[i], SEEDS_MOST);
        print_message("%-20s seed %3llu: %s\n", names[i], (unsigned long long)seed, result.what);
    }
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promises_hold_under_each_class_of_faults),
        cmocka_unit_test(promises_hold_under_all_faults_at_once),
        cmocka_unit_test(what_was_found_once_is_not_found_again),
        cmocka_unit_test(a_seed_is_the_same_run_twice),
        cmocka_unit_test(each_property_is_checked),
        cmocka_unit_test(the_judge_finds_what_is_wrong_by_itself),
        cmocka_unit_test(a_log_that_forgets_what_was_told_is_noticed_at_the_start),
#ifdef TR_PLANTS
        cmocka_unit_test(planted_bugs_of_transactions_are_found),
#endif
    };
    return cmocka_run_group_tests_name("workloads_tx", tests, NULL, NULL);
}
