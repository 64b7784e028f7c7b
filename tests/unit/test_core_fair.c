/* Fairness: how many others run before one that is runnable (TR__WAIT_MAX), and how long a turn and a run last. */
#include <string.h>

#include "tests/kit/manual.h"

static uint64_t draw(manual *m, uint64_t below)
{
    m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
    return (m->seed >> 33) % below;
}

static tr_err count_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    memcpy(state, arg, sizeof(void *)); /* each is given a pointer to a pointer */
    return TR_OK;
}

/* ---- the bound ----------------------------------------------------------------------------------------- */

#define FLOODERS 48

typedef struct flood {
    manual *m;
    tr_addr all[FLOODERS];
    uint32_t others_max; /* that one message makes it send to */
} flood;

/* Somebody always floods: itself, its neighbour, or some at random. */
static void flooder(tr_actor *self, void *state, const tr_msg *msg)
{
    flood *f = *(flood **)state;
    const mark *n = tr_match(msg, mark);
    tr_addr me = tr_self(self);
    uint64_t how = draw(f->m, 8);
    if (how < 3)
        tr_send(self, me, mark, .n = n->n + 1);
    else if (how < 6)
        tr_send(self, f->all[(n->n + 1) % 3], mark, .n = n->n + 1);
    if (how == 6)
        tr_after(self, 0, mark, .n = n->n);
    for (uint64_t sends = draw(f->m, f->others_max + 1); sends > 0; sends--)
        tr_send(self, f->all[draw(f->m, FLOODERS)], mark, .n = n->n + 1);
}
static const tr_actor_def flooder_def = {.name = "flooder",
                                         .state_size = sizeof(flood *),
                                         .init = count_init,
                                         .receive = flooder,
                                         .mailbox_places = 8};

typedef struct waiting {
    uint64_t runs;  /* of others since it is runnable */
    uint64_t limit; /* set when it comes into the queue */
    bool was_queued, was_in_queue;
} waiting;

static bool is_in(const tr_actor *list, const tr_actor *actor)
{
    while (list && list != actor)
        list = list->run_next;
    return list != NULL;
}

static uint32_t runnable(manual *m, const flood *f)
{
    uint32_t count = 0;
    for (int i = 0; i < FLOODERS; i++)
        count += manual_actor(m, f->all[i])->queued;
    return count;
}

/* Before a run: who waits for how long, and whether that is within the bound. */
static void look(manual *m, const flood *f, waiting *w)
{
    const tr__loop *loop = m->node->loops[0];
    uint32_t all = runnable(m, f);
    for (int i = 0; i < FLOODERS; i++) {
        const tr_actor *actor = manual_actor(m, f->all[i]);
        bool in_queue = actor->queued && is_in(loop->queue, actor);
        if (in_queue && !w[i].was_in_queue)
            w[i].limit = TR__WAIT_MAX(all - 1);
        w[i].was_queued = actor->queued;
        w[i].was_in_queue = in_queue;
        if (in_queue)
            assert_in_range(w[i].runs, 0, w[i].limit);
        else
            assert_in_range(w[i].runs, 0, TR__FRESH_MAX + TR__FIRE_MAX + 1);
    }
}

static void whoever_is_runnable_runs_within_the_bound_that_is_stated(void **state)
{
    (void)state;
    uint64_t longest = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        manual *m = manual_open(1);
        static waiting w[FLOODERS];
        flood f = {.m = m, .others_max = (uint32_t)(seed % 3)}, *at = &f;
        memset(w, 0, sizeof(w));
        m->seed = seed;
        for (int i = 0; i < FLOODERS; i++)
            f.all[i] = manual_spawn_def(m, 0, &flooder_def, &at, NULL);
        manual_pump(m);
        for (int i = 0; i < FLOODERS; i++)
            manual_mark(m, f.all[i], (uint64_t)i);
        for (int step = 0; step < 30000 && runnable(m, &f); step++) {
            uint64_t handled[FLOODERS];
            if (seed % 2 && draw(m, 50) == 0) { /* else the stretch alone ends it */
                m->now_ns += TR_MICROS(2);
                m->node->loops[0]->now_ns = m->now_ns;
                m->node->loops[0]->turn_over = draw(m, 2) == 0;
                tr__fire_timers(m->node->loops[0]);
            }
            look(m, &f, w);
            for (int i = 0; i < FLOODERS; i++)
                handled[i] = manual_actor(m, f.all[i])->handled;
            assert_true(tr__run_one(m->node->loops[0]));
            for (int i = 0; i < FLOODERS; i++) {
                bool ran = manual_actor(m, f.all[i])->handled != handled[i];
                w[i].runs = ran || !w[i].was_queued ? 0 : w[i].runs + 1;
                if (ran)
                    w[i].was_in_queue = false;
                longest = w[i].runs > longest ? w[i].runs : longest;
            }
        }
        f.others_max = 0; /* it dies down, or is ended */
        manual_close(m);
    }
    assert_in_range(longest, TR__FRESH_MAX, TR__WAIT_MAX(FLOODERS)); /* the bound was put to the test */
}

/* ---- time ---------------------------------------------------------------------------------------------- */

typedef struct slow {
    manual *m;
    uint64_t takes_ns;
    uint64_t handled, last_ns;
} slow;

static void slow_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    slow *s = *(slow **)state;
    (void)msg;
    s->m->now_ns += s->takes_ns;
    s->handled++;
    s->last_ns = s->m->now_ns;
    tr_send(self, tr_self(self), mark, .n = 1);
}
static const tr_actor_def slow_def = {
    .name = "slow", .state_size = sizeof(slow *), .init = count_init, .receive = slow_receive};

static void a_turn_is_over_by_one_long_handler_at_most(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    slow s[3], *at[3];
    for (int i = 0; i < 3; i++) {
        s[i] = (slow){.m = m, .takes_ns = TR_MICROS(70)};
        at[i] = &s[i];
        manual_mark(m, manual_spawn_def(m, 0, &slow_def, &at[i], NULL), 1);
    }
    for (int i = 0; i < 4; i++) /* it learns that they are slow */
        manual_turn(m, 0);
    for (int i = 0; i < 100; i++) {
        uint64_t began = m->now_ns;
        assert_true(manual_turn(m, 0));
        assert_in_range(m->now_ns - began, TR__TURN_NS, TR__TURN_NS + TR_MICROS(70));
    }
    for (int i = 0; i < 3; i++) /* and each had its share */
        assert_in_range(s[i].handled, 40, 120);
    for (int i = 0; i < 3; i++)
        s[i].takes_ns = 10; /* fast again: then the clock is looked at as seldom as before */
    for (int i = 0; i < 20; i++)
        manual_turn(m, 0);
    assert_int_equal(TR__TURN_CHECK, m->node->loops[0]->look_every);
    manual_close(m);
}

static void count_mark(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self;
    (void)msg;
    (**(uint64_t **)state)++;
}
static const tr_actor_def counter_def = {.name = "counter",
                                         .state_size = sizeof(uint64_t *),
                                         .init = count_init,
                                         .receive = count_mark,
                                         .mailbox_places = 10000};

static void one_that_is_flooded_gives_way_after_its_count(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    uint64_t a = 0, b = 0, *to_a = &a, *to_b = &b;
    tr_addr flooded = manual_spawn_def(m, 0, &counter_def, &to_a, NULL);
    tr_addr other = manual_spawn_def(m, 0, &counter_def, &to_b, NULL);
    manual_pump(m);
    for (int i = 0; i < 3 * TR__BATCH_MAX; i++)
        manual_mark(m, flooded, 1);
    manual_mark(m, other, 1);
    while (tr__run_one(m->node->loops[0]) && (!a || !b))
        ;
    assert_int_equal(1, b);
    assert_in_range(a, 1, 2 * TR__BATCH_MAX);
    manual_pump(m);
    assert_int_equal(3 * TR__BATCH_MAX, a);
    manual_close(m);
}

typedef struct slow_fiber {
    manual *m;
    uint64_t received, stretch, longest;
} slow_fiber;

static tr_err run_slow_fiber(tr_actor *self, void *arg)
{
    slow_fiber *f = arg;
    while (tr_receive(self, TR_FOREVER)) {
        f->m->now_ns += TR_MICROS(30);
        f->received++;
        f->stretch++;
        f->longest = f->stretch > f->longest ? f->stretch : f->longest;
    }
    return TR_OK;
}
TR_ACTOR(slow_fiber_def, .run = run_slow_fiber);

static void break_stretch(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)msg;
    (*(slow_fiber **)state)->stretch = 0;
    tr_send(self, tr_self(self), mark, .n = 1);
}
static const tr_actor_def breaker_def = {
    .name = "breaker", .state_size = sizeof(slow_fiber *), .init = count_init, .receive = break_stretch};

static void a_fiber_that_is_flooded_gives_way_by_time(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    slow_fiber f = {.m = m}, *at = &f;
    tr_addr fiber = manual_spawn_def(m, 0, &slow_fiber_def, &f, NULL);
    manual_mark(m, manual_spawn_def(m, 0, &breaker_def, &at, NULL), 1);
    for (int i = 0; i < 1000; i++)
        manual_mark(m, fiber, 1);
    for (int i = 0; i < 1000 && f.received < 500; i++)
        manual_turn(m, 0);
    assert_int_equal(true, f.received >= 500);
    assert_in_range(f.longest, 1, 2 * TR__TURN_CHECK); /* not 500: 15 ms without the other */
    manual_close(m);
}

/* ---- timers -------------------------------------------------------------------------------------------- */

typedef struct lateness {
    manual *m;
    uint64_t due, worst, fired;
} lateness;

static void fired(tr_actor *self, void *state, const tr_msg *msg)
{
    lateness *l = *(lateness **)state;
    (void)msg;
    if (l->due) {
        uint64_t late = l->m->now_ns - l->due;
        l->worst = late > l->worst ? late : l->worst;
        l->fired++;
    }
    uint64_t in = TR_MICROS(50 + draw(l->m, 400));
    l->due = l->m->now_ns + in;
    tr_after(self, in, mark, .n = 1);
}
static const tr_actor_def fired_def = {
    .name = "fired", .state_size = sizeof(lateness *), .init = count_init, .receive = fired};

/* At most: the turn under way, one handler over. */
static void what_a_timer_wakes_runs_in_the_next_turn_whatever_else_is_runnable(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    lateness l = {.m = m}, *at_l = &l;
    slow s[40], *at[40];
    for (int i = 0; i < 40; i++) {
        s[i] = (slow){.m = m, .takes_ns = TR_MICROS(2 + i % 8)};
        at[i] = &s[i];
        manual_mark(m, manual_spawn_def(m, 0, &slow_def, &at[i], NULL), 1);
    }
    manual_mark(m, manual_spawn_def(m, 0, &fired_def, &at_l, NULL), 1);
    for (int i = 0; i < 20000; i++)
        assert_true(manual_turn(m, 0));
    assert_true(l.fired > 2000);
    assert_in_range(l.worst, 1, TR__TURN_NS + TR_MICROS(100));
    manual_close(m);
}

static void fires_again(tr_actor *self, void *state, const tr_msg *msg)
{
    slow *s = *(slow **)state;
    (void)msg;
    s->m->now_ns += s->takes_ns;
    s->handled++;
    tr_after(self, 0, mark, .n = 1);
}
static const tr_actor_def fires_again_def = {
    .name = "fires_again", .state_size = sizeof(slow *), .init = count_init, .receive = fires_again};

/* Each takes more than a turn, so only the order decides who has it. */
static void timers_without_end_leave_the_queue_its_turns(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    slow s[4], *at[4];
    for (int i = 0; i < 4; i++) { /* of three timers one at least is always due */
        s[i] = (slow){.m = m, .takes_ns = TR_MICROS(200)};
        at[i] = &s[i];
        manual_mark(m, manual_spawn_def(m, 0, i ? &fires_again_def : &slow_def, &at[i], NULL), 1);
    }
    for (int i = 0; i < 1000; i++)
        manual_turn(m, 0);
    assert_in_range(s[0].handled, 200, 600);
    for (int i = 1; i < 4; i++)
        assert_in_range(s[i].handled, 100, 600);
    manual_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_is_runnable_runs_within_the_bound_that_is_stated),
        cmocka_unit_test(a_turn_is_over_by_one_long_handler_at_most),
        cmocka_unit_test(one_that_is_flooded_gives_way_after_its_count),
        cmocka_unit_test(a_fiber_that_is_flooded_gives_way_by_time),
        cmocka_unit_test(what_a_timer_wakes_runs_in_the_next_turn_whatever_else_is_runnable),
        cmocka_unit_test(timers_without_end_leave_the_queue_its_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
