/* A node inside a program's own main loop, and actors with threads of their own: real threads, real descriptors. Nothing
 * sleeps; who blocks is let go by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include <troupe/troupe.h>

#include "actors/adapter.h"
#include "tests/kit/real_node.h"

TR_MESSAGE(beat, (u64, n))
TR_MESSAGE(block_now)
TR_MESSAGE(let_go, (u64, n))

static _Atomic uint32_t logged;

static void count_log(void *context, tr_log_level level, const char *line)
{
    (void)context;
    (void)level;
    /* That the start held its loop says only that the machine is busy; lines with "in" are its stack. */
    if (!strstr(line, ": actor start ") && !strstr(line, ":   in "))
        atomic_fetch_add(&logged, 1);
}

static tr_node *make(uint32_t loops, tr_err (*start)(tr_actor *, void *), void *arg)
{
    tr_error error;
    tr_node_opts opts = {
        .loops = loops, .log = count_log, .log_level = TR_LOG_WARN, .start = start, .arg = arg};
    atomic_store(&logged, 0);
    tr_node *node = tr_node_create(&opts, &error);
    assert_non_null(node);
    return node;
}

/* ---- a main loop of poll() ----------------------------------------------------------------------------- */

static _Atomic uint64_t heard;
static tr_addr listener;

static tr_err start_with_timers(tr_actor *self, void *arg)
{
    int *out = arg;
    listener = tr_self(self);
    for (uint64_t n = 0; n < 20; n++) {
        TR_TRY(tr_sleep(self, TR_MILLIS(2)));
        assert_int_equal(1, write(*out, "t", 1)); /* the program hears of it in its own loop */
    }
    while (atomic_load(&heard) < 100) {
        const tr_msg *msg = tr_receive(self, TR_FOREVER);
        if (!msg)
            return TR_EKILLED;
        atomic_fetch_add(&heard, tr_match(msg, beat) != NULL);
    }
    return TR_OK;
}

static void *post_beats(void *arg)
{
    tr_node *node = arg;
    for (uint64_t n = 0; n < 100; n++)
        while (tr_post(node, listener, beat, .n = n) == TR_EFULL)
            ;
    return NULL;
}

static void a_node_runs_in_the_programs_own_poll_loop(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(0, pipe(ends));
    atomic_store(&heard, 0);
    tr_error error;
    tr_node *node = make(2, start_with_timers, &ends[1]);
    assert_int_equal(TR_OK, tr_node_start(node, &error));
    struct pollfd fds[] = {{.fd = tr_node_fd(node), .events = POLLIN}, {.fd = ends[0], .events = POLLIN}};
    uint32_t steps = 0, told = 0;
    pthread_t poster;
    bool posting = false, more = tr_node_step(node, 0);
    while (more) {
        assert_int_not_equal(0, poll(fds, 2, 20000));
        if (fds[0].revents) {
            more = tr_node_step(node, 0);
            steps++;
        }
        char byte;
        if (fds[1].revents) {
            assert_int_equal(1, read(ends[0], &byte, 1));
            told++;
        }
        if (told == 20 && !posting) {
            posting = true;
            assert_int_equal(0, pthread_create(&poster, NULL, post_beats, node));
        }
    }
    pthread_join(poster, NULL);
    assert_int_equal(TR_OK, tr_node_finish(node, &error));
    assert_int_equal(20, told);
    assert_in_range(steps, 20, 5000); /* it waited in poll(), it didn't spin */
    real_node_sums(node);
    tr_node_destroy(node);
    close(ends[0]);
    close(ends[1]);
}

static tr_err start_for_ever(tr_actor *self, void *arg)
{
    (void)arg;
    return tr_sleep(self, TR_FOREVER);
}

static void it_can_be_finished_at_any_time_and_a_step_can_wait(void **state)
{
    (void)state;
    tr_error error;
    tr_node *node = make(1, start_for_ever, NULL);
    assert_int_equal(TR_OK, tr_node_start(node, &error));
    assert_true(tr_node_step(node, 0));
    for (int i = 0; i < 5; i++)
        assert_true(tr_node_step(node, TR_MILLIS(1)));
    assert_int_equal(TR_OK, tr_node_finish(node, &error));
    real_node_sums(node);
    tr_node_destroy(node);
}

static tr_err start_and_return(tr_actor *self, void *arg)
{
    (void)self, (void)arg;
    return TR_OK;
}

static void its_descriptor_tells_of_the_first_step_too(void **state)
{
    (void)state;
    tr_error error;
    tr_node *node = make(1, start_and_return, NULL);
    assert_int_equal(TR_OK, tr_node_start(node, &error));
    struct pollfd fd = {.fd = tr_node_fd(node), .events = POLLIN};
    do
        assert_int_equal(1, poll(&fd, 1, 20000));
    while (tr_node_step(node, 0));
    assert_int_equal(TR_OK, tr_node_finish(node, &error));
    tr_node_destroy(node);
    node = make(1, NULL, NULL); /* nothing is to be done: a post wakes it */
    assert_int_equal(TR_OK, tr_node_start(node, &error));
    fd.fd = tr_node_fd(node);
    while (poll(&fd, 1, 0) == 1)
        tr_node_step(node, 0);
    assert_int_equal(TR_OK, tr_post(node, ((tr_addr){tr_node_id(node), 0, 1}), beat, .n = 1));
    assert_int_equal(1, poll(&fd, 1, 20000));
    assert_int_equal(TR_OK, tr_node_finish(node, &error));
    tr_node_destroy(node);
}

static tr_err start_that_fails(tr_actor *self, void *arg)
{
    (void)arg;
    return tr_fail(self, TR_EAPP, "no luck today");
}

static void what_start_returns_is_told_by_finish(void **state)
{
    (void)state;
    tr_error error;
    tr_node *node = make(1, start_that_fails, NULL);
    assert_int_equal(TR_OK, tr_node_start(node, &error));
    while (tr_node_step(node, TR_FOREVER))
        ;
    assert_int_equal(TR_EAPP, tr_node_finish(node, &error));
    assert_string_equal("no luck today", error.text);
    tr_node_destroy(node);
}

/* ---- threads of their own ------------------------------------------------------------------------------ */

static int block_pipe[2];

static void blocker(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, block_now)) {
        char byte;
        assert_int_equal(1, read(block_pipe[0], &byte, 1));
        tr_reply(self, msg, let_go, .n = (uint64_t)byte);
    } else if (tr_match(msg, beat)) {
        tr_reply(self, msg, beat, .n = tr_match(msg, beat)->n);
    }
}
TR_ACTOR(blocker_def, .receive = blocker, .own_thread = true);

static tr_err start_blockers(tr_actor *self, void *arg)
{
    const let_go *gone;
    const beat *b;
    (void)arg;
    tr_addr blocked = tr_spawn(self, &blocker_def, NULL), other = tr_spawn(self, &blocker_def, NULL);
    uint64_t monitor = tr_monitor(self, blocked);
    tr_future blocks = tr_ask(self, blocked, TR_FOREVER, block_now);
    TR_TRY(tr_sleep(self, TR_MILLIS(150))); /* the watchdog would have had its time to blame it */
    for (uint64_t n = 0; n < 100; n++) {
        TR_TRY(tr_await(self, tr_ask(self, other, TR_SECONDS(20), beat, .n = n), beat, &b));
        if (b->n != n)
            return TR_EMISMATCH;
    }
    if (tr_take_result(self, blocks, NULL) != TR_EAGAIN)
        return tr_fail(self, TR_EAPP, "it doesn't block");
    if (write(block_pipe[1], "x", 1) != 1)
        return TR_EIO;
    TR_TRY(tr_await(self, blocks, let_go, &gone));
    TR_TRY(tr_stop(self, blocked, TR_EXIT_SHUTDOWN));
    const tr_msg *msg = tr_receive(self, TR_SECONDS(20));
    const tr_down *down = msg ? tr_match(msg, tr_down) : NULL;
    if (!down || down->monitor != monitor || down->kind != TR_EXIT_SHUTDOWN)
        return tr_fail(self, TR_EAPP, "no tr_down");
    for (int i = 0; i < 50; i++) { /* a thread is used again and again */
        tr_addr next = tr_spawn(self, &blocker_def, NULL);
        TR_TRY(tr_await(self, tr_ask(self, next, TR_SECONDS(20), beat, .n = 1), beat, &b));
        TR_TRY(tr_stop(self, next, TR_EXIT_KILLED));
    }
    return TR_OK;
}

static void one_that_blocks_on_its_own_thread_holds_nobody_up_and_is_not_blamed(void **state)
{
    (void)state;
    assert_int_equal(0, pipe(block_pipe));
    tr_error error = {0};
    tr_node *node = make(1, start_blockers, NULL);
    tr_err err = tr_node_run(node, &error);
    if (err != TR_OK)
        fail_msg("%s", error.text);
    real_node_sums(node);
    tr_node_destroy(node);
    assert_int_equal(0, atomic_load(&logged));
    close(block_pipe[0]);
    close(block_pipe[1]);
}

static tr_err start_and_stop(tr_actor *self, void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        if (tr_addr_is_none(tr_spawn(self, &blocker_def, NULL)))
            return tr_last_error(self)->code;
    return TR_OK; /* at once: the threads may not even have begun */
}

static void a_node_ends_with_threads_that_have_just_begun(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        tr_error error;
        tr_node *node = make(1 + (uint32_t)i % 2, start_and_stop, NULL);
        assert_int_equal(TR_OK, tr_node_run(node, &error));
        real_node_sums(node);
        tr_node_destroy(node);
    }
}

/* ---- what still runs at the end ------------------------------------------------------------------------ */

static uv_sem_t may_end, has_ended;

static void wait_long(uv_work_t *work)
{
    (void)work;
    uv_sem_wait(&may_end);
}

static void say_ended(uv_work_t *work)
{
    (void)work;
    uv_sem_post(&has_ended);
}

static tr_err start_work(tr_actor *self, void *arg)
{
    return uv_queue_work(tr__loop_driver(tr__loop_of(self)), arg, wait_long, NULL) == 0 ? TR_OK : TR_EIO;
}

static void work_that_outlasts_its_node_finds_its_loop(void **state)
{
    static uv_work_t work, next;
    uv_loop_t loop;
    (void)state;
    assert_int_equal(0, setenv("UV_THREADPOOL_SIZE", "1", 1)); /* the next work comes when this one is over */
    assert_int_equal(0, uv_sem_init(&may_end, 0));
    assert_int_equal(0, uv_sem_init(&has_ended, 0));
    tr_node *node = make(1, start_work, &work);
    assert_int_equal(TR_OK, tr_node_run(node, NULL));
    assert_int_equal(1, atomic_load(&logged)); /* that it is abandoned */
    tr_node_destroy(node);
    assert_int_equal(0, uv_loop_init(&loop));
    assert_int_equal(0, uv_queue_work(&loop, &next, say_ended, NULL));
    uv_sem_post(&may_end);
    uv_sem_wait(&has_ended); /* the address sanitizer finds what was freed before */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(0, uv_loop_close(&loop));
    uv_sem_destroy(&may_end);
    uv_sem_destroy(&has_ended);
}

/* ---- posts that meet the end --------------------------------------------------------------------------- */

static _Atomic uint64_t posts_taken;
static _Atomic bool posts_refused;

static tr_err start_and_listen(tr_actor *self, void *arg)
{
    (void)arg;
    listener = tr_self(self);
    while (tr_receive(self, TR_FOREVER))
        ;
    return TR_OK;
}

static void *post_until_refused(void *arg)
{
    tr_node *node = arg;
    tr_err err;
    while ((err = tr_post(node, listener, beat, .n = 1)) != TR_ECLOSED)
        atomic_fetch_add(&posts_taken, err == TR_OK);
    for (int i = 0; i < 1000; i++)
        if (tr_post(node, listener, beat, .n = 1) != TR_ECLOSED)
            return node;
    atomic_store(&posts_refused, true);
    return NULL;
}

static void what_is_posted_while_it_ends_is_counted_or_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        pthread_t posters[2];
        tr_error error;
        void *accepted;
        tr_node *node = make(1 + (uint32_t)i % 2, start_and_listen, NULL);
        atomic_store(&posts_taken, 0);
        assert_int_equal(TR_OK, tr_node_start(node, &error));
        assert_true(tr_node_step(node, 0));
        for (int p = 0; p < 2; p++)
            assert_int_equal(0, pthread_create(&posters[p], NULL, post_until_refused, node));
        while (atomic_load(&posts_taken) < 20)
            tr_node_step(node, TR_MILLIS(1));
        assert_int_equal(TR_OK, tr_node_finish(node, &error));
        tr_sums sums = real_node_sums(node);
        for (int p = 0; p < 2; p++) {
            pthread_join(posters[p], &accepted);
            assert_null(accepted);
        }
        assert_true(atomic_load(&posts_refused));
        assert_int_equal(atomic_load(&posts_taken), sums.posted);
        tr_node_destroy(node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_runs_in_the_programs_own_poll_loop),
        cmocka_unit_test(it_can_be_finished_at_any_time_and_a_step_can_wait),
        cmocka_unit_test(its_descriptor_tells_of_the_first_step_too),
        cmocka_unit_test(what_start_returns_is_told_by_finish),
        cmocka_unit_test(one_that_blocks_on_its_own_thread_holds_nobody_up_and_is_not_blamed),
        cmocka_unit_test(a_node_ends_with_threads_that_have_just_begun),
        cmocka_unit_test(work_that_outlasts_its_node_finds_its_loop),
        cmocka_unit_test(what_is_posted_while_it_ends_is_counted_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
