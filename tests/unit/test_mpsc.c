/* The stack between threads: many threads push, one takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>

#include "transport/mpsc.h"

#define THREADS 4
#define EACH    50000

typedef struct item {
    tr__mpsc_node node;
    unsigned thread, number;
} item;

static tr__mpsc inbox;
static sem_t woken;
static item *items[THREADS];

static void what_is_pushed_is_taken_whole_and_in_order(void **state)
{
    (void)state;
    static tr__mpsc box;
    tr__mpsc_node nodes[3];
    assert_true(tr__mpsc_is_empty(&box));
    assert_null(tr__mpsc_take(&box));
    assert_true(tr__mpsc_push(&box, &nodes[0]));
    assert_false(tr__mpsc_push(&box, &nodes[1]));
    assert_false(tr__mpsc_push(&box, &nodes[2]));
    assert_false(tr__mpsc_is_empty(&box));
    tr__mpsc_node *first = tr__mpsc_take(&box);
    assert_ptr_equal(first, &nodes[0]);
    assert_ptr_equal(first->next, &nodes[1]);
    assert_ptr_equal(first->next->next, &nodes[2]);
    assert_null(nodes[2].next);
    assert_true(tr__mpsc_push(&box, &nodes[1])); /* empty again: the pusher wakes */
}

static void *pusher(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument;
    for (unsigned i = 0; i < EACH; i++) {
        items[thread][i] = (item){.thread = thread, .number = i};
        if (tr__mpsc_push(&inbox, &items[thread][i].node))
            sem_post(&woken);
    }
    return NULL;
}

/* The taker sleeps until woken only: a lost wake would hang the test. */
static void nothing_is_lost_and_each_threads_order_is_kept(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    unsigned next[THREADS] = {0}, total = 0;
    sem_init(&woken, 0, 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        items[i] = malloc(EACH * sizeof(item));
        pthread_create(&threads[i], NULL, pusher, (void *)i);
    }
    while (total < THREADS * EACH) {
        sem_wait(&woken);
        for (tr__mpsc_node *node = tr__mpsc_take(&inbox); node; node = node->next) {
            item *it = (item *)node;
            assert_int_equal(it->number, next[it->thread]);
            next[it->thread]++;
            total++;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        free(items[i]);
    }
    assert_true(tr__mpsc_is_empty(&inbox));
    sem_destroy(&woken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_pushed_is_taken_whole_and_in_order),
        cmocka_unit_test(nothing_is_lost_and_each_threads_order_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
