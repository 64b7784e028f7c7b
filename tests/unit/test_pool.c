/* Pools: routing, what waits and what is refused, asks that keep their asker, workers that die, cancel, no memory. */
#include <string.h>

#include <troupe/groups.h>

#include "base/mem.h"
#include "tests/kit/manual.h"

TR_MESSAGE(die)

/* A worker keeps what it is asked until it is told to answer; numbers in the trail are worker:message. */
typedef struct hand {
    uint32_t number;
    tr_msg *kept[16];
    uint32_t count;
} hand;

static manual *m;
static manual_puppet boss;
static tr_addr pool, workers[4];
static uint32_t born;
static bool lazy; /* workers keep what they are asked */
static char trail[2048];

static tr_err worker_init(tr_actor *self, void *state, const void *arg)
{
    hand *h = state;
    (void)arg;
    h->number = born++ % 4;
    workers[h->number] = tr_self(self);
    return TR_OK;
}

static void worker_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    hand *h = state;
    const mark *k = tr_match(msg, mark);
    char word[32];
    if (tr_match(msg, die)) {
        tr_exit(self, TR_EAPP, "told to");
    } else if (tr_match(msg, tr_canceled)) {
        strcat(trail, "canceled ");
    } else if (k && k->n == 1000) { /* answer all */
        while (h->count) {
            tr_reply(self, h->kept[--h->count], mark, .n = h->number);
            tr_msg_free(self, &h->kept[h->count]);
        }
    } else if (k) {
        snprintf(word, sizeof(word), "%u:%llu ", h->number, (unsigned long long)k->n);
        strcat(trail, word);
        if (lazy && tr_msg_ask_number(msg))
            h->kept[h->count++] = tr_msg_take(self, msg);
        else if (tr_msg_ask_number(msg))
            tr_reply(self, msg, mark, .n = k->n + 100);
    }
}
TR_ACTOR(worker_def, .state_size = sizeof(hand), .init = worker_init, .receive = worker_receive);

static void open_pool(tr_pool_opts opts)
{
    opts.worker = &worker_def;
    pool = manual_spawn_def(m, 0, &tr_pool, &opts, NULL);
    manual_pump(m);
    assert_int_equal(born, opts.workers);
}

static int set_up(void **state)
{
    (void)state;
    m = manual_open(2);
    memset(&boss, 0, sizeof(boss));
    born = 0;
    lazy = false;
    trail[0] = '\0';
    manual_spawn(m, 0, &boss, NULL);
    manual_pump(m);
    boss.trail[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    manual_close(m);
    return 0;
}

static void ask(tr_actor *self, void *context)
{
    manual_then(self, tr_ask(self, pool, TR_SECONDS(5), mark, .n = (uintptr_t)context));
}

static void asks(uint64_t n)
{
    manual_do(m, boss.address, ask, (void *)(uintptr_t)n);
}

static tr_pool_is is;

static void looked(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self, (void)state, (void)context;
    assert_int_equal(result->err, TR_OK);
    is = *tr_match(result->msg, tr_pool_is);
}

static void look(tr_actor *self, void *context)
{
    (void)context;
    tr_then(self, tr_ask(self, pool, TR_SECONDS(5), tr_pool_query), looked, NULL);
}

/* ---- routing ------------------------------------------------------------------------------------------- */

static void round_robin_goes_round(void **state)
{
    (void)state;
    open_pool((tr_pool_opts){.workers = 3, .routing = TR_POOL_ROUND_ROBIN});
    for (uint64_t n = 1; n <= 6; n++)
        manual_mark(m, pool, n);
    manual_pump(m);
    manual_do(m, boss.address, look, NULL);
    assert_int_equal(is.given, 6);
    assert_int_equal(is.outstanding, 0);
    assert_int_equal(strlen(trail), 6 * 4);
    for (int w = 0; w < 3; w++)
        for (int round = 0; round < 2; round++) {
            char word[32];
            snprintf(word, sizeof(word), "%d:%d ", w, w + 1 + 3 * round);
            assert_non_null(strstr(trail, word));
        }
}

static void an_ask_is_answered_by_its_worker_to_who_asked(void **state)
{
    (void)state;
    open_pool((tr_pool_opts){.workers = 2});
    asks(1);
    asks(2);
    assert_string_equal(boss.trail, "reply:101 reply:102 ");
    assert_string_equal(trail, "0:1 1:2 ");
}

static void least_goes_to_who_has_the_least_to_do(void **state)
{
    (void)state;
    lazy = true;
    open_pool((tr_pool_opts){.workers = 2, .routing = TR_POOL_LEAST});
    asks(1); /* 0 */
    asks(2); /* 1 */
    asks(3); /* 0 */
    manual_mark(m, workers[0], 1000);
    manual_pump(m);
    asks(4);
    asks(5);
    assert_string_equal(trail, "0:1 1:2 0:3 0:4 1:5 ");
}

static void broadcast_reaches_all_and_refuses_asks(void **state)
{
    (void)state;
    open_pool((tr_pool_opts){.workers = 3, .routing = TR_POOL_BROADCAST});
    manual_mark(m, pool, 5);
    manual_pump(m);
    for (int w = 0; w < 3; w++) {
        char word[32];
        snprintf(word, sizeof(word), "%d:5 ", w);
        assert_non_null(strstr(trail, word));
    }
    asks(1);
    assert_string_equal(boss.trail, "error:invalid ");
}

/* ---- pulling ------------------------------------------------------------------------------------------- */

static void workers_take_the_next_one_when_they_are_free_and_the_rest_waits(void **state)
{
    (void)state;
    lazy = true;
    open_pool((tr_pool_opts){.workers = 2, .routing = TR_POOL_PULL, .queue_max = 2});
    for (uint64_t n = 1; n <= 4; n++)
        asks(n);
    assert_string_equal(trail, "0:1 1:2 ");
    asks(5); /* beyond what may wait */
    assert_string_equal(boss.trail, "error:full ");
    manual_mark(m, workers[1], 1000);
    manual_pump(m);
    assert_string_equal(trail, "0:1 1:2 1:3 ");
    manual_do(m, boss.address, look, NULL);
    assert_int_equal(is.waiting, 1);
    assert_int_equal(is.outstanding, 2);
    assert_int_equal(is.refused, 1);
}

static void what_is_no_ask_and_finds_no_room_is_a_dead_letter(void **state)
{
    (void)state;
    lazy = true;
    open_pool((tr_pool_opts){.workers = 1, .routing = TR_POOL_PULL, .queue_max = 1});
    asks(1);
    manual_mark(m, pool, 2);
    manual_mark(m, pool, 3);
    manual_pump(m);
    assert_int_equal(manual_dropped(m, TR_DROP_FULL), 1);
    manual_check(m);
}

static void a_message_that_is_no_ask_is_done_when_it_was_handled(void **state)
{
    (void)state;
    open_pool((tr_pool_opts){.workers = 1, .routing = TR_POOL_PULL, .queue_max = 8});
    for (uint64_t n = 1; n <= 5; n++)
        manual_mark(m, pool, n);
    manual_pump(m);
    assert_string_equal(trail, "0:1 0:2 0:3 0:4 0:5 ");
    manual_do(m, boss.address, look, NULL);
    assert_int_equal(is.waiting + is.outstanding, 0);
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void kill_it(tr_actor *self, void *context)
{
    tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED);
}

static void a_workers_death_fails_its_asks_and_the_next_one_goes_on(void **state)
{
    (void)state;
    lazy = true;
    open_pool((tr_pool_opts){.workers = 1, .routing = TR_POOL_PULL});
    asks(1);
    asks(2);
    manual_do(m, boss.address, kill_it, &workers[0]);
    assert_string_equal(boss.trail, "error:no-actor ");
    assert_int_equal(born, 2);
    assert_string_equal(trail, "0:1 1:2 "); /* what waited is the next one's */
    manual_mark(m, workers[1], 1000);
    manual_pump(m);
    assert_string_equal(boss.trail, "error:no-actor reply:1 ");
}

static tr_future future;

static void ask_kept(tr_actor *self, void *context)
{
    future = tr_ask(self, pool, TR_SECONDS(5), mark, .n = (uintptr_t)context);
}

static void cancel(tr_actor *self, void *context)
{
    (void)context;
    tr_cancel(self, future);
}

static void a_cancel_reaches_the_worker_or_takes_what_waits(void **state)
{
    (void)state;
    lazy = true;
    open_pool((tr_pool_opts){.workers = 1, .routing = TR_POOL_PULL});
    manual_do(m, boss.address, ask_kept, (void *)1);
    manual_do(m, boss.address, cancel, NULL);
    assert_string_equal(trail, "0:1 canceled ");
    asks(2);
    manual_do(m, boss.address, ask_kept, (void *)3);
    manual_do(m, boss.address, cancel, NULL);
    manual_do(m, boss.address, look, NULL);
    assert_int_equal(is.waiting, 0);
    assert_int_equal(is.outstanding, 1);
}

static void stop_it(tr_actor *self, void *context)
{
    tr_stop(self, *(tr_addr *)context, TR_EXIT_SHUTDOWN);
}

static void its_workers_end_before_it_does(void **state)
{
    (void)state;
    open_pool((tr_pool_opts){.workers = 3});
    manual_do(m, boss.address, stop_it, &pool);
    assert_null(manual_actor(m, pool));
    for (int w = 0; w < 3; w++)
        assert_null(manual_actor(m, workers[w]));
}

static void whatever_allocation_fails_each_ask_has_one_answer(void **state)
{
    for (uint64_t nth = 1; nth <= 40; nth++) {
        open_pool((tr_pool_opts){.workers = 2, .routing = nth % 2 ? TR_POOL_PULL : TR_POOL_LEAST});
        for (uint64_t n = 1; n <= 4; n++)
            manual_tell(m, boss.address, ask, (void *)(uintptr_t)n);
        manual_dry_pool(m, 0);
        manual_dry_pool(m, 1);
        tr__alloc_fail_at(nth);
        manual_pump(m);
        manual_step(m, TR_SECONDS(1));
        tr__alloc_fail_at(0);
        manual_step(m, TR_SECONDS(6));
        uint32_t answers = 0;
        for (const char *at = boss.trail; *at; at++)
            answers += *at == ' ';
        assert_int_equal(answers, 4);
        manual_check(m);
        tear_down(state);
        set_up(state);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- its end ------------------------------------------------------------------------------------------- */

static void tell_all(void)
{
    manual_mark(m, workers[0], 1000);
    manual_pump(m);
}

static void asked_to_stop_it_does_what_it_has_and_takes_no_more(void **state)
{
    (void)state;
    lazy = true;
    open_pool((tr_pool_opts){.workers = 1, .routing = TR_POOL_PULL});
    asks(1);
    asks(2);
    manual_mark(m, pool, 3);
    manual_pump(m);
    manual_do(m, boss.address, stop_it, &pool);
    assert_non_null(manual_actor(m, pool));
    asks(4);
    manual_mark(m, pool, 5);
    manual_pump(m);
    assert_string_equal(boss.trail, "error:closed ");
    assert_int_equal(manual_dropped(m, TR_DROP_SHUTDOWN), 1);
    tell_all();
    assert_string_equal(boss.trail, "error:closed reply:0 ");
    assert_non_null(manual_actor(m, pool)); /* the second is with its worker */
    tell_all();
    assert_string_equal(boss.trail, "error:closed reply:0 reply:0 ");
    assert_string_equal(trail, "0:1 0:2 0:3 ");
    assert_null(manual_actor(m, pool));
    assert_null(manual_actor(m, workers[0]));
    manual_check(m);
}

static char why[TR_ERROR_TEXT_MAX];

static void note_why(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self, (void)state, (void)context;
    assert_int_equal(result->err, TR_ECLOSED);
    snprintf(why, sizeof(why), "%s", result->error->text);
}

static void ask_why(tr_actor *self, void *context)
{
    tr_then(self, tr_ask(self, pool, TR_SECONDS(5), mark, .n = (uintptr_t)context), note_why, NULL);
}

static void what_is_left_when_it_is_killed_fails_by_its_name(void **state)
{
    (void)state;
    lazy = true;
    tr_pool_opts opts = {.worker = &worker_def, .workers = 1, .routing = TR_POOL_PULL};
    pool = manual_spawn_def(m, 0, &tr_pool, &opts, &(tr_spawn_opts){.name = "mill"});
    manual_pump(m);
    for (uint64_t n = 1; n <= 2; n++) { /* one with its worker, one that waits */
        why[0] = '\0';
        manual_do(m, boss.address, ask_why, (void *)(uintptr_t)n);
    }
    manual_mark(m, pool, 3);
    manual_pump(m);
    manual_do(m, boss.address, stop_it, &pool);
    assert_string_equal(why, "");
    manual_do(m, boss.address, kill_it, &pool);
    assert_string_equal(why, "the pool mill stops");
    assert_int_equal(manual_dropped(m, TR_DROP_SHUTDOWN), 1);
    manual_step(m, TR_SECONDS(10));
    assert_null(manual_actor(m, workers[0]));
    manual_check(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(round_robin_goes_round),
        TEST(an_ask_is_answered_by_its_worker_to_who_asked),
        TEST(least_goes_to_who_has_the_least_to_do),
        TEST(broadcast_reaches_all_and_refuses_asks),
        TEST(workers_take_the_next_one_when_they_are_free_and_the_rest_waits),
        TEST(what_is_no_ask_and_finds_no_room_is_a_dead_letter),
        TEST(a_message_that_is_no_ask_is_done_when_it_was_handled),
        TEST(a_workers_death_fails_its_asks_and_the_next_one_goes_on),
        TEST(a_cancel_reaches_the_worker_or_takes_what_waits),
        TEST(its_workers_end_before_it_does),
        TEST(whatever_allocation_fails_each_ask_has_one_answer),
        TEST(asked_to_stop_it_does_what_it_has_and_takes_no_more),
        TEST(what_is_left_when_it_is_killed_fails_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
