/* See pool.h. */
#include "cli/sim/pool.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 100

/* One that runs, or is over and waits for its turn to be told. */
typedef struct place {
    sim_child child;
    bool over;
    sim_outcome *outcome;
} place;

/* A ring: places `told` .. `begun` - 1, modulo room. */
typedef struct ring {
    place *places;
    uint64_t told, begun, room;
    uint32_t running;
    bool no_more;
} ring;

static place *place_of(ring *r, uint64_t number)
{
    return &r->places[number % r->room];
}

/* Wait until a child is over, or LOOK_MS have passed. SIGCHLD is blocked, so none is missed. */
static void wait_a_little(void)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGCHLD);
    sigtimedwait(&one, NULL, &(struct timespec){.tv_nsec = LOOK_MS * 1000000L});
}

static bool fill(const sim_pool *pool, ring *r, uint32_t jobs)
{
    while (!r->no_more && r->running < jobs && r->begun - r->told < r->room) {
        sim_job job;
        bool second = false;
        place *p = place_of(r, r->begun);
        if (!pool->next(pool->context, &job, &second)) {
            r->no_more = true;
            break;
        }
        p->over = false;
        if (!sim_child_start(&p->child, pool->options, &job, second, NULL))
            return false;
        r->begun++;
        r->running++;
    }
    return true;
}

/* True: one is over. */
static bool collect(const sim_pool *pool, ring *r)
{
    bool any = false;
    for (uint64_t i = r->told; i < r->begun; i++) {
        place *p = place_of(r, i);
        int status;
        if (p->over)
            continue;
        if (waitpid(p->child.pid, &status, WNOHANG) == p->child.pid) {
            sim_child_over(&p->child, status, p->outcome);
            p->over = any = true;
            r->running--;
        } else {
            sim_child_look(&p->child, pool->options);
        }
    }
    return any;
}

static void drop_all(ring *r)
{
    for (; r->told < r->begun; r->told++)
        if (!place_of(r, r->told)->over)
            sim_child_drop(&place_of(r, r->told)->child);
}

static bool run(const sim_pool *pool, ring *r)
{
    uint64_t ticked = sim_now_ms();
    while (fill(pool, r, pool->options->jobs)) {
        if (r->told == r->begun)
            return true;
        if (!collect(pool, r))
            wait_a_little();
        while (r->told < r->begun && place_of(r, r->told)->over)
            if (!pool->over(pool->context, place_of(r, r->told++)->outcome))
                return true;
        if (pool->tick && sim_now_ms() - ticked >= LOOK_MS) {
            ticked = sim_now_ms();
            pool->tick(pool->context);
        }
    }
    return false;
}

static void block_sigchld(void)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGCHLD);
    sigprocmask(SIG_BLOCK, &one, NULL);
}

bool sim_pool_run(const sim_pool *pool)
{
    ring r = {.room = 4 * (uint64_t)pool->options->jobs};
    bool good = true;
    block_sigchld();
    r.places = calloc(r.room, sizeof(*r.places));
    for (uint64_t i = 0; i < r.room && r.places; i++)
        good = (r.places[i].outcome = calloc(1, sizeof(sim_outcome))) != NULL && good;
    if (r.places && good)
        good = run(pool, &r);
    else
        fprintf(stderr, "troupe sim: no memory for %u seeds at a time\n", pool->options->jobs);
    drop_all(&r);
    for (uint64_t i = 0; i < r.room && r.places; i++)
        free(r.places[i].outcome);
    free(r.places);
    return good;
}

bool sim_pool_one(const sim_options *options, const sim_job *job, bool second, FILE *timeline,
                  sim_outcome *outcome)
{
    sim_child child;
    int status;
    block_sigchld();
    if (!sim_child_start(&child, options, job, second, timeline))
        return false;
    while (waitpid(child.pid, &status, WNOHANG) != child.pid) {
        sim_child_look(&child, options);
        wait_a_little();
    }
    sim_child_over(&child, status, outcome);
    return true;
}
