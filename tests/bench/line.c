/* How long a cache line takes from one core to another and back: what two loops pay for what they share. A virtual machine
 * may be moved by its host, so it isn't the same an hour later. One line of JSON; needs two cores. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TRIPS = 20000, ROUNDS = 15 };

static _Alignas(128) atomic_uint ball;

static void pin(int number)
{
    cpu_set_t here, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof here, &here) == 0)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET(cpu, &here) && number-- == 0)
                CPU_SET(cpu, &one);
    if (CPU_COUNT(&one) != 1 || sched_setaffinity(0, sizeof one, &one) != 0) {
        fputs("bench-line: two cores are needed\n", stderr);
        exit(1);
    }
}

/* Even: the first core's turn; odd: the second's. */
static void *give_back(void *arg)
{
    (void)arg;
    pin(1);
    for (unsigned i = 0; i < TRIPS * ROUNDS; i++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 1)
            ;
        atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
    }
    return NULL;
}

static double now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    pthread_t other;
    double trip[ROUNDS];
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 2 ||
        pthread_create(&other, NULL, give_back, NULL) != 0) {
        fputs("bench-line: two cores are needed\n", stderr);
        return 1;
    }
    pin(0);
    for (unsigned round = 0, i = 0; round < ROUNDS; round++) {
        double began = now_ns();
        for (unsigned n = 0; n < TRIPS; n++, i++) {
            atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
            while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 2)
                ;
        }
        trip[round] = (now_ns() - began) / TRIPS;
    }
    pthread_join(other, NULL);
    qsort(trip, ROUNDS, sizeof *trip, by_size);
    printf("{\"trip_ns\": %.1f}\n", trip[ROUNDS / 2]);
    return 0;
}
