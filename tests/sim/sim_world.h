/* What the tests of the simulated world share: one node under the manual driver, the world of tests/kit/sim around it, a
 * small stand-in for the simulator's events, and a user, an actor that asks and whose answers are kept and hashed.
 * Included by one file a program. */
#ifndef TR_TESTS_SIM_WORLD_H
#define TR_TESTS_SIM_WORLD_H

#include "tests/kit/manual.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/compute.h>
#include <troupe/downloader.h>
#include <troupe/stream_client.h>

#include "base/hash.h"
#include "base/mem.h"
#include "tests/kit/sim/sim_kinds.h"

#define ALWAYS SIM_MILLION

/* ---- a stand-in for the simulator: events by time, then by order of asking ----------------------------- */

typedef struct event {
    struct event *next;
    uint64_t at_ns;
    void (*fire)(void *context);
    void *context;
} event;

struct tr_sim {
    const manual *m;    /* whose clock it is */
    uint64_t before_ns; /* that passed before this life of the node */
    event *events;
};

static inline uint64_t sim_now(const struct tr_sim *sim)
{
    return sim->before_ns + sim->m->now_ns;
}

void sim_at(struct tr_sim *sim, uint32_t node, uint64_t delay_ns, void (*fire)(void *context), void *context)
{
    event *e = sim_alloc(sizeof(*e)), **at = &sim->events;
    (void)node;
    *e = (event){NULL, sim_now(sim) + delay_ns, fire, context};
    while (*at && (*at)->at_ns <= e->at_ns)
        at = &(*at)->next;
    e->next = *at;
    *at = e;
}

void sim_forget(struct tr_sim *sim, void *context)
{
    for (event **at = &sim->events; *at;) {
        event *e = *at;
        if (e->context != context) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        free(e);
    }
}

/* ---- the fixture --------------------------------------------------------------------------------------- */

typedef struct world {
    struct tr_sim sim;
    sim_kinds *kinds;
    manual *m;
    manual_puppet user;
    uint64_t trail;   /* hash of all answers and their times */
    uint64_t fail_at; /* from the next ask on this allocation fails, once; 0: none */
} world;

/* How an ask ended. */
typedef struct answer {
    world *w;
    bool done;
    tr_err code;
    char text[TR_ERROR_TEXT_MAX];
    int32_t status, signal;
    uint64_t size, from;
    char sha256[TR__SHA256_TEXT];
    sim_bytes out, err;
    /* the question */
    tr_addr to;
    tr_type *type;
    const void *body;
    uint64_t timeout_ns;
    tr_future future;
} answer;

static inline void world_begin(world *w)
{
    tr__kind_seams seams = sim_kinds_of(w->kinds, 0);
    w->m = manual_open_kinds(1, &seams);
    w->sim.m = w->m;
    w->user = (manual_puppet){0};
    manual_spawn(w->m, 0, &w->user, NULL);
    manual_pump(w->m);
}

static inline world *world_open(uint64_t seed)
{
    tr__random random;
    world *w = sim_alloc(sizeof(*w));
    tr__random_init(&random, seed);
    w->kinds = sim_kinds_create(&w->sim, 1, &random);
    w->trail = TR__HASH_INIT;
    world_begin(w);
    return w;
}

/* The trail. */
static inline uint64_t world_close(world *w)
{
    uint64_t trail = w->trail;
    manual_close(w->m);
    sim_kinds_destroy(w->kinds);
    assert_null(w->sim.events);
    free(w);
    return trail;
}

/* The node crashes and is there again. */
static inline void world_crash(world *w, bool power)
{
    sim_kinds_drop(w->kinds, 0, power);
    assert_null(w->sim.events);
    w->sim.before_ns += w->m->now_ns;
    manual_close(w->m);
    assert_null(w->sim.events); /* neither does the taking down begin anything */
    world_begin(w);
}

/* What is due now happens, in order; each in its turn, with the loop's turns in between. */
static inline void fire_due(world *w)
{
    while (w->sim.events && w->sim.events->at_ns <= sim_now(&w->sim)) {
        event *e = w->sim.events;
        const tr__loop *loop = w->m->node->loops[0];
        uint32_t wakes = w->m->wakes;
        w->sim.events = e->next;
        e->fire(e->context);
        free(e);
        assert_true(w->m->wakes > wakes || (!loop->fresh && !loop->queue)); /* a loop with work was woken */
        manual_pump(w->m);
    }
}

static inline void world_step(world *w, uint64_t duration_ns)
{
    uint64_t until = w->m->now_ns + duration_ns;
    manual_pump(w->m);
    for (fire_due(w); w->m->now_ns < until; fire_due(w)) {
        uint64_t due = tr__loop_next_due(w->m->node->loops[0]), next = until;
        next = due > w->m->now_ns && due < next ? due : next;
        if (w->sim.events && w->sim.events->at_ns - w->sim.before_ns < next)
            next = w->sim.events->at_ns - w->sim.before_ns;
        manual_step(w->m, next - w->m->now_ns);
    }
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static inline void add_to_trail(world *w, const void *data, size_t size)
{
    w->trail = tr__hash_more(w->trail, data, size);
}

static inline void on_answer(tr_actor *self, void *state, const tr_result *result, void *context)
{
    answer *a = context;
    const tr_ran *ran = result->msg ? tr_match(result->msg, tr_ran) : NULL;
    const tr_called *called = result->msg ? tr_match(result->msg, tr_called) : NULL;
    const tr_fetched *fetched = result->msg ? tr_match(result->msg, tr_fetched) : NULL;
    const tr_http_response *response = result->msg ? tr_match(result->msg, tr_http_response) : NULL;
    (void)state;
    a->done = true;
    a->code = result->err;
    snprintf(a->text, sizeof(a->text), "%s", result->error ? result->error->text : "");
    if (ran) {
        a->status = ran->exit_status;
        a->signal = ran->signal;
        sim_bytes_add(&a->out, ran->out.data, ran->out.size);
        sim_bytes_add(&a->err, ran->err.data, ran->err.size);
    } else if (called) {
        sim_bytes_add(&a->out, called->output.data, called->output.size);
    } else if (fetched) {
        a->size = fetched->size;
        a->from = fetched->resumed_from;
        snprintf(a->sha256, sizeof(a->sha256), "%s", fetched->sha256);
    } else if (response) {
        a->status = (int32_t)response->status;
        sim_bytes_add(&a->out, response->body.data, response->body.size);
    }
    uint64_t facts[] = {tr_now(self), a->code, (uint64_t)a->status, (uint64_t)a->signal, a->size, a->from};
    add_to_trail(a->w, facts, sizeof(facts));
    add_to_trail(a->w, a->text, strlen(a->text));
    add_to_trail(a->w, a->out.data, a->out.size);
}

static inline void do_ask(tr_actor *self, void *context)
{
    answer *a = context;
    bool may_fail = a->w->fail_at > 0;
    if (may_fail)
        tr__alloc_fail_at(a->w->fail_at);
    a->future = tr_ask_body(self, a->to, a->timeout_ns, a->type, a->body);
    tr_err err = a->future.id ? tr_then(self, a->future, on_answer, a) : tr_last_error(self)->code;
    assert_true(err == TR_OK || (may_fail && err == TR_ENOMEM));
    if (err == TR_OK)
        return;
    tr_cancel(self, a->future);
    a->done = true;
    a->code = err;
}

/* Ask without waiting; `a` lives until it is done or the node is gone. */
static inline void world_ask(world *w, answer *a, tr_addr to, tr_type *type, const void *body)
{
    uint64_t timeout = a->timeout_ns ? a->timeout_ns : TR_MINUTES(10);
    *a = (answer){.w = w, .to = to, .type = type, .body = body, .timeout_ns = timeout};
    manual_do(w->m, w->user.address, do_ask, a);
}

/* And wait as long as it takes, in virtual time. */
static inline void world_wait(world *w, const answer *a)
{
    for (int i = 0; i < 100000 && !a->done; i++)
        world_step(w, TR_MILLIS(10));
    assert_true(a->done);
}

static inline void answer_fini(answer *a)
{
    free(a->out.data);
    free(a->err.data);
    *a = (answer){0};
}

static inline void do_cancel(tr_actor *self, void *context)
{
    tr_cancel(self, ((answer *)context)->future);
}

/* Ask again and again, the n-th allocation failing, until there are less: each ends well or with TR_ENOMEM, or as the
 * kind says; `open` makes a world, `ask` begins an ask in it, `check` looks at what is left. */
static inline void each_allocation_fails_once(world *(*open)(uint64_t seed), void (*ask)(world *w, answer *a),
                                              void (*check)(world *w, const answer *a))
{
    uint64_t tried = 1;
    for (uint64_t nth = 1; tried >= nth; nth++) {
        world *w = open(1);
        answer a = {0};
        w->fail_at = nth;
        ask(w, &a);
        world_wait(w, &a);
        world_step(w, TR_SECONDS(5));
        tried = tr__alloc_fail_at(0);
        check(w, &a);
        answer_fini(&a);
        world_close(w);
    }
}

/* It ended with that code, and its text names this. */
static inline void expect_error(const answer *a, tr_err code, const char *part)
{
    if (a->code != code || !strstr(a->text, part))
        fail_msg("expected %s with \"%s\", got %s: %s", tr_err_word(code), part, tr_err_word(a->code),
                 a->text);
}

#endif
