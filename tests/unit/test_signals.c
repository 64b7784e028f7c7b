/* Signals that come to a thread which waits for them, and a node that is stopped by one. No handler is called, whatever
 * thread runs what; the threads of each test wait for each other, not for time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/driver/stopper_os.h"
#include "base/signals_os.h"

static const int both[] = {SIGUSR1, SIGUSR2, 0};

/* ---- what is told -------------------------------------------------------------------------------------- */

typedef struct listener {
    tr__signals_watch watch;
    sem_t told, go; /* it was; it may return */
    _Atomic int number, count;
    pthread_t by;
} listener;

static void hear(void *context, int number)
{
    listener *l = context;
    atomic_store(&l->number, number);
    atomic_fetch_add(&l->count, 1);
    l->by = pthread_self();
    sem_post(&l->told);
    sem_wait(&l->go);
}

static void open_listener(listener *l)
{
    tr_error error;
    *l = (listener){.number = 0};
    sem_init(&l->told, 0, 0);
    sem_init(&l->go, 0, 0);
    assert_int_equal(TR_OK, tr__signals_watch_open(&l->watch, both, hear, l, &error));
}

static int set_up(void **state)
{
    static listener l;
    *state = &l;
    return 0;
}

static bool is_blocked(int number)
{
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    return sigismember(&now, number);
}

static void *tell_whether_blocked(void *number)
{
    return is_blocked((int)(intptr_t)number) ? "blocked" : NULL;
}

static void each_signal_is_told_by_a_thread_of_its_own(void **state)
{
    listener *l = *state;
    open_listener(l);
    for (int i = 0; i < 4; i++) {
        kill(getpid(), both[i % 2]);
        sem_wait(&l->told);
        assert_int_equal(both[i % 2], atomic_load(&l->number));
        assert_false(pthread_equal(pthread_self(), l->by));
        sem_post(&l->go);
    }
    tr__signals_watch_close(&l->watch);
    assert_int_equal(4, atomic_load(&l->count));
}

static void an_ignored_signal_is_told(void **state)
{
    listener *l = *state;
    signal(SIGUSR2, SIG_IGN);
    open_listener(l);
    kill(getpid(), SIGUSR2);
    sem_wait(&l->told);
    assert_int_equal(SIGUSR2, atomic_load(&l->number));
    sem_post(&l->go);
    tr__signals_watch_close(&l->watch);
    signal(SIGUSR2, SIG_DFL);
}

static void a_later_thread_blocks_them_until_it_is_closed(void **state)
{
    listener *l = *state;
    pthread_t thread;
    void *blocked;
    open_listener(l);
    assert_true(is_blocked(SIGUSR1));
    pthread_create(&thread, NULL, tell_whether_blocked, (void *)(intptr_t)SIGUSR2);
    pthread_join(thread, &blocked);
    assert_non_null(blocked);
    tr__signals_watch_close(&l->watch);
    assert_false(is_blocked(SIGUSR1));
}

static void *let_go_when_it_ends(void *context)
{
    listener *l = context;
    while (!atomic_load(&l->watch.ended))
        ;
    sem_post(&l->go);
    return NULL;
}

/* With its default it would end this program. */
static void what_comes_too_late_to_be_told_is_dropped(void **state)
{
    listener *l = *state;
    pthread_t thread;
    open_listener(l);
    kill(getpid(), SIGUSR1);
    sem_wait(&l->told);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    pthread_create(&thread, NULL, let_go_when_it_ends, l);
    tr__signals_watch_close(&l->watch);
    pthread_join(thread, NULL);
    assert_int_equal(1, atomic_load(&l->count));
}

/* ---- a node -------------------------------------------------------------------------------------------- */

static tr_err signal_and_wait(tr_actor *self, void *arg)
{
    (void)arg;
    kill(getpid(), SIGUSR1);
    return tr_receive(self, TR_FOREVER) ? TR_OK : tr_last_error(self)->code;
}

static tr_node *make_node(tr_err (*start)(tr_actor *self, void *arg))
{
    tr_error error;
    tr_node *node = tr_node_create(&(tr_node_opts){.loops = 2, .start = start}, &error);
    assert_non_null(node);
    return node;
}

/* In a fiber, which under the thread sanitizer kept a signal for itself when there was a handler. */
static void a_signal_that_comes_while_an_actor_runs_stops_the_node(void **state)
{
    (void)state;
    tr__stopper stopper;
    tr_error error;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(TR_OK, tr__stopper_open(&stopper, both, &error));
        tr_node *node = make_node(signal_and_wait);
        tr__stopper_node(&stopper, node);
        assert_int_equal(TR_OK, tr_node_run(node, &error));
        tr__stopper_node(&stopper, NULL);
        tr_node_destroy(node);
        tr__stopper_close(&stopper);
        assert_int_equal(SIGUSR1, tr__stopper_number(&stopper));
    }
}

static void a_node_is_stopped_by_a_signal_that_came_before_it(void **state)
{
    (void)state;
    tr__stopper stopper;
    tr_error error;
    assert_int_equal(TR_OK, tr__stopper_open(&stopper, both, &error));
    kill(getpid(), SIGUSR2);
    while (!tr__stopper_number(&stopper))
        ;
    tr_node *node = make_node(NULL);
    tr__stopper_node(&stopper, node);
    assert_int_equal(TR_OK, tr_node_run(node, &error));
    tr__stopper_node(&stopper, NULL);
    tr_node_destroy(node);
    tr__stopper_close(&stopper);
}

static void a_signal_after_the_node_is_only_noted(void **state)
{
    (void)state;
    tr__stopper stopper;
    tr_error error;
    assert_int_equal(TR_OK, tr__stopper_open(&stopper, both, &error));
    tr_node *node = make_node(NULL);
    tr__stopper_node(&stopper, node);
    tr__stopper_node(&stopper, NULL);
    tr_node_destroy(node);
    kill(getpid(), SIGUSR2);
    while (!tr__stopper_number(&stopper))
        ;
    assert_int_equal(SIGUSR2, tr__stopper_number(&stopper));
    tr__stopper_close(&stopper);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_signal_is_told_by_a_thread_of_its_own, set_up),
        cmocka_unit_test_setup(an_ignored_signal_is_told, set_up),
        cmocka_unit_test_setup(a_later_thread_blocks_them_until_it_is_closed, set_up),
        cmocka_unit_test_setup(what_comes_too_late_to_be_told_is_dropped, set_up),
        cmocka_unit_test(a_signal_that_comes_while_an_actor_runs_stops_the_node),
        cmocka_unit_test(a_node_is_stopped_by_a_signal_that_came_before_it),
        cmocka_unit_test(a_signal_after_the_node_is_only_noted),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
