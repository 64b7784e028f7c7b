/* A hot participant that is offered ten times what it can carry, whether or not what was begun before is over, on simulated
 * nodes: it goes on working, for those who can still be served, and who has begun is not overtaken by who comes later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/node.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_history.h"

#define COLD     128 /* participants on each caller's node */
#define CALLERS  16  /* as many keep the hot one busy */
#define STEP_NS  TR_MILLIS(1)
#define DRAIN_NS TR_SECONDS(20)

static struct {
    uint32_t a_second; /* are begun, on n1 and n2 together; 0: CALLERS do so one after the other */
    tr_tx_opts opts;
    uint64_t begun, live, attempts;
    uint64_t committed; /* until the end of the load */
    uint64_t ended[TR_TX_REASON_COUNT];
    uint64_t lost; /* were served, and not committed in the end */
    uint64_t longest_ns;
} load;

typedef struct one {
    uint64_t number;
    char cold[16];
    bool served; /* by the hot one, in some attempt */
} one;

TR_MESSAGE(hot_enter, TR_WRITES, (i64, amount))

static tr_err enter(tr_txview *v, void *state, const tr_msg *msg)
{
    (void)state;
    const hot_enter *e = tr_match(msg, hot_enter);
    return e ? tr_view_put_i64(v, "sum", tr_view_i64(v, "sum", 0) + e->amount) : TR_OK;
}
static const tr_actor_def participant_def = {.name = "participant", .transact = enter};

static tr_err body(tr_actor *self, tr_tx *tx, void *arg)
{
    one *o = arg;
    bool hot_first = o->number % 2;
    (void)self;
    load.attempts++;
    if (!hot_first)
        TR_TRY(tr_tx_await(tx, o->cold, hot_enter, .amount = 1));
    TR_TRY(tr_tx_await(tx, "n0/hot", hot_enter, .amount = -1));
    o->served = true;
    return hot_first ? tr_tx_await(tx, o->cold, hot_enter, .amount = 1) : TR_OK;
}

static bool goes_on(void)
{
    return sim_now_running->faults_on;
}

static void run_one(tr_actor *self, one *o)
{
    uint64_t began = sim_now_running->now;
    tr_tx_outcome out = tr_tx_run(self, body, o, &load.opts);
    uint64_t took = sim_now_running->now - began;
    load.committed += out.status == TR_TX_COMMITTED && goes_on();
    load.ended[out.reason]++;
    load.lost += out.status != TR_TX_COMMITTED && o->served;
    load.longest_ns = took > load.longest_ns ? took : load.longest_ns;
    if (out.status == TR_TX_UNKNOWN || out.reason == TR_TX_APP)
        tr_sim_fail(sim_now_running, "transaction %llu: %s", (unsigned long long)o->number, out.text);
}

static one next_one(tr_actor *self)
{
    one o = {.number = load.begun++};
    snprintf(o.cold, sizeof(o.cold), "c%llu", (unsigned long long)(tr_random(self) % COLD));
    return o;
}

static tr_err caller(tr_actor *self, void *arg)
{
    (void)arg;
    do {
        one o = next_one(self);
        run_one(self, &o);
    } while (!load.a_second && goes_on());
    load.live--;
    return TR_OK;
}
static const tr_actor_def caller_def = {.name = "caller", .run = caller, .stack_size = 128 * 1024};

static void begin(tr_actor *self, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (!tr_addr_is_none(tr_spawn_with(self, &caller_def, NULL, NULL)))
            load.live++;
}

/* Half of the load each. */
static tr_err offer(tr_actor *self)
{
    uint64_t from = sim_now_running->now, count = 0;
    while (goes_on()) {
        uint64_t due = (sim_now_running->now - from) * load.a_second / 2 / TR_SECONDS(1);
        begin(self, due - count);
        count = due;
        TR_TRY(tr_sleep(self, STEP_NS));
    }
    return TR_OK;
}

static tr_err start(tr_actor *self, uint32_t index)
{
    if (index == 0)
        tr_spawn_with(self, &participant_def, NULL, &(tr_spawn_opts){.name = "hot"});
    for (uint32_t i = 0; index > 0 && i < COLD; i++)
        tr_spawn_with(self, &participant_def, NULL, &(tr_spawn_opts){.name = tr_fmt(self, "c%u", i)});
    TR_TRY(tr_await_msg(self, tr_lookup(self, "n0/hot", TR_SECONDS(5)), NULL));
    if (index > 0 && load.a_second)
        TR_TRY(offer(self));
    else if (index > 0)
        begin(self, CALLERS / 2);
    tr_receive(self, TR_FOREVER);
    return TR_OK;
}

static tr_err check(tr_actor *self)
{
    for (uint64_t waited = 0; load.live && waited < DRAIN_NS; waited += TR_MILLIS(100))
        TR_TRY(tr_sleep(self, TR_MILLIS(100)));
    tx_check_locks();
    return load.live ? tr_fail(self, TR_EAPP, "%llu still wait", (unsigned long long)load.live) : TR_OK;
}

static const tr_scenario hot = {.size = sizeof(tr_scenario),
                                .name = "hot",
                                .nodes = 3,
                                .run_ns = TR_SECONDS(2),
                                .data = true,
                                .start = start,
                                .check = check};

static void run(uint64_t seed, uint32_t a_second, uint64_t lock_wait_ns)
{
    tr_error error = {.code = TR_OK};
    tr_sim_result result;
    memset(&load, 0, sizeof(load));
    load.a_second = a_second;
    load.opts.lock_wait_ns = lock_wait_ns;
    tr_sim_destroy(sim_now_running);
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = &hot}, &error);
    if (!sim)
        fail_msg("%s", error.text);
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    tr_sim_destroy(sim);
    if (result.failed)
        fail_msg("%u a second, seed %llu: %s", a_second, (unsigned long long)seed, result.what);
    print_message("%u a second: %llu begun, %llu committed, %llu attempts, %llu overload, %llu wounded, %llu "
                  "late, %llu "
                  "lost, the longest %llu ms\n",
                  a_second, (unsigned long long)load.begun, (unsigned long long)load.committed,
                  (unsigned long long)load.attempts, (unsigned long long)load.ended[TR_TX_OVERLOAD],
                  (unsigned long long)load.ended[TR_TX_WOUNDED],
                  (unsigned long long)(load.ended[TR_TX_LOCK_TIMEOUT] + load.ended[TR_TX_DEADLINE]),
                  (unsigned long long)load.lost, (unsigned long long)load.longest_ns / 1000000u);
}

/* Who was served by the hot one, if only to be wounded, is committed in the end; and little is begun that is given up later. */
static void ten_times(uint64_t lock_wait_ns)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        run(seed, 0, lock_wait_ns);
        uint64_t peak = load.committed, a_second = peak / 2;
        run(seed, (uint32_t)a_second * 10, lock_wait_ns);
        if (load.committed * 10 < peak * 7)
            fail_msg("%llu are committed by %d callers, and %llu at ten times the load",
                     (unsigned long long)peak, CALLERS, (unsigned long long)load.committed);
        uint64_t late = load.ended[TR_TX_LOCK_TIMEOUT] + load.ended[TR_TX_DEADLINE];
        if (load.lost || (late + load.ended[TR_TX_WOUNDED]) * 50 > load.committed)
            fail_msg("seed %llu: much was done in vain", (unsigned long long)seed);
        assert_true(load.attempts < load.begun * 8 / 5 + 1000);
    }
}

/* The line at the hot one is as long as may be. */
static void at_ten_times_its_load_a_short_lock_wait_leaves_goodput_at_its_peak(void **state)
{
    (void)state;
    ten_times(TR_MILLIS(100));
}

/* The callers' nodes have as much under way as they may. */
static void at_ten_times_its_load_a_long_lock_wait_leaves_goodput_at_its_peak(void **state)
{
    (void)state;
    ten_times(TR_SECONDS(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_ten_times_its_load_a_short_lock_wait_leaves_goodput_at_its_peak),
        cmocka_unit_test(at_ten_times_its_load_a_long_lock_wait_leaves_goodput_at_its_peak),
    };
    return cmocka_run_group_tests_name("sim_hot", tests, NULL, NULL);
}
