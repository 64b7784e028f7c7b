/* A node that nobody asks to watch its actors does next to nothing while it is idle, for a process may have a thousand of
 * them; and finds one that is over a budget of its own all the same. Real nodes, real time. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static tr_err rest(tr_actor *self, void *arg)
{
    long before = switches();
    TR_TRY(tr_sleep(self, TR_SECONDS(1)));
    *(long *)arg = switches() - before;
    return TR_OK;
}

static long switches_in_a_second(uint64_t watchdog_ns)
{
    tr_error error = {0};
    long count = 0;
    tr_node *node = tr_node_create(
        &(tr_node_opts){.name = "alice", .watchdog_ns = watchdog_ns, .start = rest, .arg = &count}, &error);
    assert_non_null(node);
    assert_int_equal(TR_OK, tr_node_run(node, &error));
    tr_node_destroy(node);
    return count;
}

static void an_idle_node_without_a_watchdog_wakes_seldom(void **state)
{
    (void)state;
    long seldom = LONG_MAX, often = 0;
    for (int i = 0; i < 10 && (seldom > 40 || often < 50); i++) { /* a busy machine has seconds of its own */
        long without = switches_in_a_second(TR_FOREVER), with = switches_in_a_second(0);
        seldom = without < seldom ? without : seldom;
        often = with > often ? with : often;
    }
    if (seldom > 40 || often < 50)
        fail_msg("%ld switches in a second without a watchdog, %ld with one", seldom, often);
}

/* ---- a budget ------------------------------------------------------------------------------------------ */

TR_MESSAGE(nothing)

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TR_SECONDS(1) + (uint64_t)now.tv_nsec;
}

/* Until it is told to stop. */
static tr_err hold(tr_actor *self, void *arg)
{
    uint64_t until = now_ns() + TR_SECONDS(30);
    tr_err err = TR_OK;
    while (now_ns() < until && err != TR_EKILLED)
        err = tr_send(self, *(tr_addr *)arg, nothing);
    return err;
}
static const tr_actor_def holder_def = {.name = "holder", .run = hold, .overrun_ns = TR_MILLIS(50)};

static tr_err start_holder(tr_actor *self, void *arg)
{
    tr_addr nobody = TR_ADDR_NONE;
    TR_TRY(tr_sleep(self, TR_MILLIS(200))); /* by now it is looked at seldom */
    tr_addr holder = tr_spawn(self, &holder_def, &nobody);
    tr_monitor(self, holder);
    const tr_msg *msg = tr_receive(self, TR_SECONDS(60));
    const tr_down *down = msg ? tr_match(msg, tr_down) : NULL;
    *(bool *)arg = down && down->kind == TR_EXIT_OVERRUN;
    return TR_OK;
}

static void one_over_a_budget_of_its_own_is_told_to_stop_without_a_watchdog(void **state)
{
    (void)state;
    tr_error error = {0};
    bool told = false;
    tr_node *node = tr_node_create(
        &(tr_node_opts){.name = "alice", .watchdog_ns = TR_FOREVER, .start = start_holder, .arg = &told},
        &error);
    assert_non_null(node);
    assert_int_equal(TR_OK, tr_node_run(node, &error));
    tr_node_destroy(node);
    assert_true(told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_node_without_a_watchdog_wakes_seldom),
        cmocka_unit_test(one_over_a_budget_of_its_own_is_told_to_stop_without_a_watchdog),
    };
    return cmocka_run_group_tests_name("idle", tests, NULL, NULL);
}
