/* What the four programs share: how late timers are meanwhile, and the line that each prints at its end. */
#ifndef TESTS_BENCH_ASYNCIO_MEASURED_H
#define TESTS_BENCH_ASYNCIO_MEASURED_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <troupe/troupe.h>

#define LAG_EVERY TR_MILLIS(5)
#define LAG_MAX   200000u

static struct {
    uint64_t began, ended, count; /* ended: 0 until the work is done, if the report comes later */
    float late_ms[LAG_MAX];
} lag;

/* Wants to run every 5 ms, and notes how late it was. */
static inline tr_err lag_run(tr_actor *self, void *arg)
{
    uint64_t due = tr_now(self) + LAG_EVERY;
    (void)arg;
    for (;;) {
        uint64_t now = tr_now(self);
        if (now < due)
            TR_TRY(tr_sleep(self, due - now));
        for (now = tr_now(self); due <= now && lag.count < LAG_MAX; due += LAG_EVERY)
            lag.late_ms[lag.count++] = (float)(now - due) / 1e6f;
    }
}

static inline void lag_begin(tr_actor *self)
{
    static const tr_actor_def def = {.name = "lag", .run = lag_run};
    lag.began = tr_now(self);
    tr_spawn(self, &def, NULL);
}

static inline int lag_compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* `what`: what was done, and how many of it. */
static inline tr_err lag_report(tr_actor *self, const char *what, uint64_t count)
{
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    double seconds = (double)((lag.ended ? lag.ended : tr_now(self)) - lag.began) / 1e9;
    qsort(lag.late_ms, lag.count, sizeof(lag.late_ms[0]), lag_compare);
    printf("{\"seconds\": %.6f, \"lag_p99_ms\": %.4f, \"memory_mb\": %.2f, \"children_mb\": %.2f, \"%s\": "
           "%llu}\n",
           seconds, lag.count ? (double)lag.late_ms[lag.count * 99 / 100] : 0.0, (double)own.ru_maxrss / 1024,
           (double)children.ru_maxrss / 1024, what, (unsigned long long)count);
    return TR_OK;
}

#endif
