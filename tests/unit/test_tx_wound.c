/* Wound-wait: who waits for a lock, for whom, and who is told to go. The state machine over logs in memory, by steps. */
#include "tests/kit/tx_pay.h"

#include "actors/tx/internal.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

static void steps(cluster *c, uint64_t duration_ns)
{
    uint64_t until = c->now_ns + duration_ns;
    while (c->now_ns < until) {
        while (cluster_step(c))
            cluster_check_locks(c);
        cluster_run(c, TR__TX_TICK_NS);
    }
}

/* With its first call answered, and nothing more to do until it may. */
static cluster_transfer *holds(cluster *c, uint32_t node, const char *from, const char *to)
{
    cluster_transfer *t = cluster_transfer_begin(c, node, from, to, 10);
    while (!t->ready || t->stage < 1)
        cluster_step(c);
    t->ready = false;
    return t;
}

static bool is(const cluster_transfer *t, tr_tx_status status, tr_tx_reason reason)
{
    return t->answered && t->outcome.status == status && t->outcome.reason == reason;
}

static uint32_t branches(cluster *c)
{
    uint32_t all = 0;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        tr__tx_figures figures = {0};
        if (c->nodes[i].tx)
            tr__tx_figures_of(c->nodes[i].tx, &figures);
        all += figures.branches;
    }
    return all;
}

static uint64_t wounds(cluster *c)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        tr__tx_figures figures = {0};
        if (c->nodes[i].tx)
            tr__tx_figures_of(c->nodes[i].tx, &figures);
        all += figures.wounds;
    }
    return all;
}

/* ---- no deadlock --------------------------------------------------------------------------------------- */

static void two_in_opposite_orders_end_without_a_lock_wait(void **state)
{
    uint64_t met = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        cluster *c = setup_cluster(seed);
        cluster_transfer *t = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 10);
        cluster_transfer *u = cluster_transfer_begin(c, seed % 3, "n2/b", "n1/a", 20);
        steps(c, TR_MILLIS(500));
        assert_true(is(t, TR_TX_COMMITTED, TR_TX_NONE) || is(u, TR_TX_COMMITTED, TR_TX_NONE));
        cluster_transfer *lost = is(t, TR_TX_ABORTED, TR_TX_WOUNDED) ? t : u;
        if (lost->outcome.status != TR_TX_COMMITTED) {
            assert_true(is(lost, TR_TX_ABORTED, TR_TX_WOUNDED));
            cluster_transfer *again = cluster_again(c, lost);
            steps(c, TR_MILLIS(500));
            assert_true(is(again, TR_TX_COMMITTED, TR_TX_NONE));
        }
        assert_int_equal(0, branches(c));
        met += wounds(c);
        end(c);
    }
    assert_true(met > 10); /* else nobody met */
}

/* Of those that were wounded each comes again, with its priority. */
static bool all_again(cluster *c)
{
    bool any = false;
    for (uint32_t i = 0; i < c->count; i++) {
        cluster_transfer *t = &c->transfers[i];
        if (t->again || !t->answered || t->outcome.status == TR_TX_COMMITTED)
            continue;
        if (!is(t, TR_TX_ABORTED, TR_TX_WOUNDED))
            fail_msg("transaction %u: %s", i, t->outcome.text);
        t->again = any = true;
        cluster_again(c, t);
    }
    return any;
}

static void many_in_all_orders_commit_within_a_lock_wait(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        cluster *c = setup_cluster(seed);
        for (uint32_t i = 0; i < 24; i++) {
            bool turned = tr__random_below(&c->random, 2);
            cluster_transfer *t = cluster_begin(c, i % CLUSTER_NODES);
            if (i % 5 == 0) /* reads first what it then writes */
                cluster_op_add(t, both[turned], false, 0);
            cluster_op_add(t, both[turned], true, -1);
            cluster_op_add(t, both[!turned], true, 1);
        }
        uint64_t began = c->now_ns;
        do
            steps(c, TR_MILLIS(100));
        while (all_again(c));
        assert_true(c->now_ns - began < TR_SECONDS(2));
        uint32_t committed = 0;
        for (uint32_t i = 0; i < c->count; i++)
            committed += is(&c->transfers[i], TR_TX_COMMITTED, TR_TX_NONE);
        assert_int_equal(24, committed);
        end(c);
    }
}

/* ---- who goes first ------------------------------------------------------------------------------------ */

static void who_waits_is_served_by_age_not_by_arrival(void **state)
{
    (void)state;
    cluster *c = setup_cluster(2);
    cluster_transfer *first = holds(c, 0, "n1/a", "n2/b");
    uint64_t priority = tr__tx_priority(c->nodes[0].tx, &first->begin.id);
    cluster_transfer *t[3];
    for (int i = 0; i < 3; i++) { /* the last that comes is the oldest of them */
        t[i] = cluster_transfer_begin(c, 1, "n1/a", "n2/b", 1);
        t[i]->begin.priority = priority + 10 - (uint64_t)i;
        steps(c, TR_MILLIS(40));
    }
    first->ready = true;
    steps(c, TR_MILLIS(200));
    assert_true(is(first, TR_TX_COMMITTED, TR_TX_NONE));
    for (int i = 0; i < 3; i++)
        assert_true(is(t[i], TR_TX_COMMITTED, TR_TX_NONE));
    assert_true(t[2]->commit_ts < t[1]->commit_ts && t[1]->commit_ts < t[0]->commit_ts);
    assert_int_equal(0, wounds(c));
    end(c);
}

/* Twenty of them always wait at b, and there are always new ones. */
static void an_old_one_among_many_young_ones_goes_through(void **state)
{
    (void)state;
    cluster *c = setup_cluster(3);
    cluster_transfer *old = holds(c, 0, "n1/a", "n2/b");
    uint32_t rounds = 0, young = 0;
    for (uint32_t i = 0; i < 20; i++)
        cluster_transfer_begin(c, 1 + i % 2, "n2/b", "n2/c", 1);
    while (!old->answered && c->count + 2 < CLUSTER_TRANSFERS) {
        if (++rounds == 200)
            old->ready = true; /* its second call, of b, behind all those */
        for (int k = 0; k < 12; k++)
            cluster_step(c);
        cluster_check_locks(c);
        cluster_transfer_begin(c, 1 + rounds % 2, "n2/b", "n2/c", 1);
        young = rounds > 200 ? young + 1 : 0;
    }
    assert_true(is(old, TR_TX_COMMITTED, TR_TX_NONE));
    assert_true(young < 20); /* it didn't wait for those that were there before it */
    static const char *const all[] = {"n1/a", "n2/b", "n2/c"};
    cluster_run(c, TR_SECONDS(14));
    cluster_check(c, all, 3);
    cluster_close(c);
    free(c);
}

/* Wounded, and it comes again when there are only younger ones: with a new priority it would wait behind them. */
static void one_that_comes_again_keeps_its_place(void **state)
{
    (void)state;
    cluster *c = setup_cluster(4);
    cluster_transfer *old = holds(c, 0, "n2/b", "n1/a"), *t = holds(c, 0, "n1/a", "n2/b");
    uint64_t priority = tr__tx_priority(c->nodes[0].tx, &t->begin.id);
    old->ready = true; /* goes on to a */
    steps(c, TR_MILLIS(100));
    assert_true(is(old, TR_TX_COMMITTED, TR_TX_NONE));
    t->ready = true;
    steps(c, TR_MILLIS(20));
    assert_true(is(t, TR_TX_ABORTED, TR_TX_WOUNDED));
    assert_int_equal(priority, t->priority);
    cluster_transfer *young = holds(c, 0, "n1/a", "n2/b"), *again = cluster_again(c, t);
    steps(c, TR_MILLIS(100));
    assert_true(is(again, TR_TX_COMMITTED, TR_TX_NONE));
    young->ready = true;
    steps(c, TR_MILLIS(100));
    assert_true(is(young, TR_TX_ABORTED, TR_TX_WOUNDED));
    end(c);
}

/* ---- wounds -------------------------------------------------------------------------------------------- */

/* Its call of b waits behind another one; an older one comes to a. */
static void who_is_wounded_hears_at_once_and_holds_nothing(void **state)
{
    (void)state;
    cluster *c = setup_cluster(5);
    cluster_transfer *other = holds(c, 0, "n2/b", "n1/a"), *t = holds(c, 0, "n1/a", "n2/b"),
                     *old = cluster_begin(c, 0);
    char wounder[TR_TX_ID_TEXT];
    old->ready = false;
    old->begin.priority = tr__tx_priority(c->nodes[0].tx, &other->begin.id) - 1;
    cluster_op_add(old, "n1/a", true, 0);
    t->ready = true;
    steps(c, TR_MILLIS(20));
    assert_false(t->answered || t->ready); /* it waits at b */
    assert_int_equal(3, branches(c));
    old->ready = true;
    steps(c, TR_MILLIS(20));
    assert_true(is(old, TR_TX_COMMITTED, TR_TX_NONE));
    assert_true(is(t, TR_TX_ABORTED, TR_TX_WOUNDED)); /* though its call of b isn't executed yet */
    assert_non_null(strstr(t->outcome.text, tr__tx_id_format(&old->begin.id, wounder)));
    assert_int_equal(1, branches(c)); /* of `other` */
    other->ready = true;
    steps(c, TR_MILLIS(20));
    assert_true(is(other, TR_TX_COMMITTED, TR_TX_NONE));
    end(c);
}

/* It has only read, and its body thinks: its branches go without a word of it. */
static void who_is_wounded_between_its_calls_holds_nothing(void **state)
{
    (void)state;
    cluster *c = setup_cluster(6);
    cluster_transfer *old = cluster_begin(c, 0), *t = cluster_begin(c, 1);
    old->ready = false;
    old->begin.priority = 1700000000000ull << 16;
    cluster_op_add(old, "n1/a", true, 0);
    cluster_op_add(t, "n1/a", false, 0);
    cluster_op_add(t, "n2/b", false, 0);
    while (!t->ready || t->stage < 2)
        cluster_step(c);
    t->ready = false; /* both are read, it isn't committed */
    old->ready = true;
    steps(c, TR_MILLIS(20));
    assert_true(is(old, TR_TX_COMMITTED, TR_TX_NONE));
    assert_int_equal(0, branches(c));
    assert_false(t->answered);
    t->ready = true;
    steps(c, TR_MILLIS(20));
    assert_true(is(t, TR_TX_ABORTED, TR_TX_WOUNDED));
    end(c);
}

/* The wound comes while the commit is under way: the vote says so. */
static void a_wound_that_crosses_the_commit_aborts_it(void **state)
{
    uint32_t crossed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 80; seed++) {
        cluster *c = setup_cluster(seed);
        cluster_transfer *t = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 10), *old = cluster_begin(c, 0);
        old->ready = false;
        old->begin.priority = 1700000000000ull << 16;
        cluster_op_add(old, seed % 2 ? "n2/b" : "n1/a", true, 0);
        while (!t->ready || t->stage < 2)
            cluster_step(c);
        old->ready = true;
        steps(c, TR_MILLIS(300));
        assert_true(is(old, TR_TX_COMMITTED, TR_TX_NONE));
        assert_true(is(t, TR_TX_COMMITTED, TR_TX_NONE) || is(t, TR_TX_ABORTED, TR_TX_WOUNDED));
        crossed += t->outcome.status == TR_TX_ABORTED;
        end(c);
    }
    assert_in_range(crossed, 5, 75);
}

/* What is prepared waits for the node that decides, whoever comes. */
static void what_is_prepared_is_not_wounded(void **state)
{
    (void)state;
    cluster *c = setup_cluster(7);
    c->nodes[1].kill_at = TR__TX_POINT_BEFORE_COMMIT;
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 10);
    while (c->nodes[1].tx)
        cluster_step(c);
    cluster_transfer *old = cluster_begin(c, 0);
    old->begin.priority = 1700000000000ull << 16;
    cluster_op_add(old, "n2/b", true, 0);
    steps(c, TR_MILLIS(500));
    assert_false(old->answered);
    assert_int_equal(0, wounds(c));
    cluster_run(c, TR_SECONDS(2));
    assert_true(is(old, TR_TX_ABORTED, TR_TX_LOCK_TIMEOUT)); /* no deadlock: a node is away */
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(2));
    assert_int_equal(t->outcome.status, TR_TX_UNKNOWN);
    assert_int_equal(0, branches(c));
    end(c);
}

/* ---- callers ------------------------------------------------------------------------------------------- */

static void a_caller_that_dies_leaves_nothing_locked(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        cluster *c = setup_cluster(seed);
        holds(c, 0, "n1/a", "n2/b");
        for (uint32_t i = 0; i < 6; i++)
            cluster_transfer_begin(c, 0, both[i % 2], both[!(i % 2)], 1);
        for (uint64_t i = seed; i > 0; i--)
            cluster_step(c);
        cluster_kill(c, 0, false);
        cluster_transfer *t = cluster_transfer_begin(c, 1, "n2/b", "n1/a", 10);
        steps(c, TR_MILLIS(300));
        if (!is(t, TR_TX_COMMITTED, TR_TX_NONE))
            fail_msg("seed %llu: %s", (unsigned long long)seed, t->outcome.text);
        assert_true(cluster_start(c, 0));
        end(c);
    }
}

/* ---- priorities ---------------------------------------------------------------------------------------- */

static tr_tx_id id_of(cluster *c, uint64_t number)
{
    return tr__tx_id_make(1700000000000ull + c->now_ns / 1000000u, number, number);
}

/* From n0 to n1, of a transaction that n0 knows nothing of. */
static void call_as_n0(cluster *c, const tr_tx_id *id, const uint64_t *priority)
{
    int64_t amount = 0;
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_CALL, id);
    frame.from = "n0";
    frame.actor = "a";
    frame.number = 1;
    frame.remaining = TR_SECONDS(5);
    frame.wait = TR_SECONDS(2);
    frame.writes = 1;
    frame.type = 1;
    frame.body = (tr_bytes){&amount, sizeof(amount)};
    frame.priority.present = priority != NULL;
    frame.priority.value = priority ? *priority : 0;
    tr__tx_receive(c->nodes[1].tx, &frame);
}

static uint32_t refusals(cluster *c, tr_tx_reason why, const char *text)
{
    uint32_t count = 0;
    for (cluster_message *m = c->wires[1][0]; m; m = m->next)
        count += m->frame.kind == TR__TX_CALLED && m->frame.reason == why && strstr(m->frame.text, text);
    return count;
}

static void a_priority_ten_minutes_off_is_refused_by_name(void **state)
{
    (void)state;
    cluster *c = setup_cluster(9);
    const uint64_t now = 1700000000000ull + c->now_ns / 1000000u, minute = 60000;
    const uint64_t rows[] = {now - 11 * minute, now + 11 * minute, now - 9 * minute, now + 9 * minute};
    for (uint64_t i = 0; i < 4; i++) {
        tr_tx_id id = id_of(c, i);
        uint64_t priority = rows[i] << 16;
        call_as_n0(c, &id, &priority);
        assert_int_equal(i < 2 ? i + 1 : 2,
                         refusals(c, TR_TX_NOT_ALLOWED, "its priority is more than 10 minutes off"));
    }
    cluster_close(c);
    free(c);
}

static const tr__tx_branch *branch_of(cluster *c, const tr_tx_id *id)
{
    return tr__tx_branch_find(c->nodes[1].tx, id, "a");
}

/* Nodes of before say none: the same is made of the id by all. A second call doesn't change it. */
static void a_priority_is_in_the_id_if_nobody_says_it_and_is_never_altered(void **state)
{
    (void)state;
    cluster *c = setup_cluster(10);
    tr_tx_id id = id_of(c, 1);
    call_as_n0(c, &id, NULL);
    assert_int_equal(tr__tx_id_ms(&id) << 16, branch_of(c, &id)->priority);
    uint64_t other = branch_of(c, &id)->priority - 5;
    call_as_n0(c, &id, &other);
    assert_int_equal(tr__tx_id_ms(&id) << 16, branch_of(c, &id)->priority);
    cluster_close(c);
    free(c);
}

/* The clock was ahead, and is right again: what begins now isn't refused until then. */
static void a_clock_that_was_far_ahead_is_not_in_priorities(void **state)
{
    (void)state;
    cluster *c = setup_cluster(11);
    cluster_kill(c, 0, false);
    c->nodes[0].ahead_ms = 3600000;
    assert_true(cluster_start(c, 0)); /* begins with that clock */
    c->nodes[0].ahead_ms = 0;
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 10);
    steps(c, TR_MILLIS(100));
    assert_true(is(t, TR_TX_COMMITTED, TR_TX_NONE));
    end(c);
}

/* A node that was idle for long is no older than others. */
static void a_priority_is_of_the_time_when_it_began(void **state)
{
    (void)state;
    cluster *c = setup_cluster(12);
    c->now_ns += TR_MINUTES(20);
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 10);
    steps(c, TR_MILLIS(100));
    assert_true(is(t, TR_TX_COMMITTED, TR_TX_NONE));
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_in_opposite_orders_end_without_a_lock_wait),
        cmocka_unit_test(many_in_all_orders_commit_within_a_lock_wait),
        cmocka_unit_test(who_waits_is_served_by_age_not_by_arrival),
        cmocka_unit_test(an_old_one_among_many_young_ones_goes_through),
        cmocka_unit_test(one_that_comes_again_keeps_its_place),
        cmocka_unit_test(who_is_wounded_hears_at_once_and_holds_nothing),
        cmocka_unit_test(who_is_wounded_between_its_calls_holds_nothing),
        cmocka_unit_test(a_wound_that_crosses_the_commit_aborts_it),
        cmocka_unit_test(what_is_prepared_is_not_wounded),
        cmocka_unit_test(a_caller_that_dies_leaves_nothing_locked),
        cmocka_unit_test(a_priority_ten_minutes_off_is_refused_by_name),
        cmocka_unit_test(a_priority_is_in_the_id_if_nobody_says_it_and_is_never_altered),
        cmocka_unit_test(a_clock_that_was_far_ahead_is_not_in_priorities),
        cmocka_unit_test(a_priority_is_of_the_time_when_it_began),
    };
    return cmocka_run_group_tests_name("tx_wound", tests, NULL, NULL);
}
