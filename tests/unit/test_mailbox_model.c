/* A mailbox beside a plain queue that should do the same: thousands of random lives, every policy, on one loop and on
 * several, with messages of several places, times to live, asks, a receiver that stands still, defers and becomes. After each
 * step both hold the same; what is handled and what is dropped, and why, is the same in the same order; the bound holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/adapter.h"
#include "base/random.h"

#define LOOPS_MAX 3
#define SEEDS     1200
#define STEPS     120
#define ITEMS_MAX 4096

TR_MESSAGE(item, (u64, id), (bytes, filling))
TR_MESSAGE(open_up)
TR_MESSAGE(shut)

static char filling[4096];

/* ---- the plain queue ----------------------------------------------------------------------------------- */

typedef struct entry {
    uint64_t id, expires_ns; /* 0: never */
    uint32_t places;
    bool ask;
} entry;

typedef struct list {
    entry entries[ITEMS_MAX];
    uint32_t count;
} list;

static void add(list *l, entry e)
{
    assert_true(l->count < ITEMS_MAX);
    l->entries[l->count++] = e;
}

static entry take_at(list *l, uint32_t at)
{
    entry e = l->entries[at];
    memmove(&l->entries[at], &l->entries[at + 1], (--l->count - at) * sizeof(e));
    return e;
}

static uint32_t places_of(const list *l)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < l->count; i++)
        sum += l->entries[i].places;
    return sum;
}

typedef struct model {
    list queue, deferred, handled;
    list under_way[LOOPS_MAX]; /* in outboxes */
    list inbox;
    bool is_open;
    uint64_t dropped[TR_DROP_COUNT], asks_dropped, asks_handled;
    uint64_t sweep_ns;
    bool expiring;
} model;

/* ---- a world of both ----------------------------------------------------------------------------------- */

typedef struct world {
    manual *m;
    tr__random random;
    uint32_t loops, capacity;
    tr_overflow overflow;
    manual_puppet senders[LOOPS_MAX];
    tr_addr box;
    tr_actor *actor;
    model model;
    list seen; /* what the receiver handled */
    uint64_t asked, answers, failures;
    uint64_t next_id;
    entry sending;
    tr_err sent;
} world;

static world *now;

static void receive_open(tr_actor *self, void *state, const tr_msg *msg);

static void note(const tr_msg *msg)
{
    const item *i = tr_match(msg, item);
    if (i)
        add(&now->seen, (entry){.id = i->id});
}

static void receive_shut(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, open_up))
        assert_int_equal(tr_become(self, receive_open), TR_OK);
    else if (tr_match(msg, item) && tr_defer(self, msg) != TR_OK)
        note(msg);
}

static void receive_open(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, shut))
        assert_int_equal(tr_become(self, NULL), TR_OK);
    note(msg);
    if (tr_msg_ask_number(msg))
        assert_int_equal(tr_reply(self, msg, mark, .n = 1), TR_OK);
}

TR_ACTOR(box_def, .receive = receive_shut);

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self;
    (void)state;
    (void)context;
    now->answers += result->err == TR_OK;
    now->failures += result->err != TR_OK;
}

static void send_it(tr_actor *self, void *context)
{
    world *w = context;
    size_t size = w->sending.places > 1 ? (w->sending.places - 1) * 1024 : 0;
    tr_send_opts opts = {.ttl_ns = w->sending.expires_ns ? w->sending.expires_ns - w->m->now_ns : 0};
    if (!w->sending.ask) {
        w->sent = tr_send_with(self, w->box, &opts, item, .id = w->sending.id, .filling = {filling, size});
        return;
    }
    tr_future f =
        tr_ask(self, w->box, TR_SECONDS(100000), item, .id = w->sending.id, .filling = {filling, size});
    w->sent = f.id ? TR_OK : tr_last_error(self)->code;
    if (f.id)
        assert_int_equal(tr_then(self, f, answered, NULL), TR_OK);
    w->asked += f.id != 0;
}

/* ---- the queue does it --------------------------------------------------------------------------------- */

static void model_drop(world *w, entry e, tr_drop why)
{
    w->model.dropped[why]++;
    w->model.asks_dropped += e.ask;
}

static uint32_t model_free(const world *w)
{
    return w->capacity - places_of(&w->model.queue) - places_of(&w->model.deferred);
}

static bool is_late(const world *w, const entry *e)
{
    return e->expires_ns && e->expires_ns <= w->m->now_ns;
}

/* False: all that is left can't go. */
static bool model_make_place(world *w, uint32_t places)
{
    while (model_free(w) < places) {
        if (w->model.queue.count == 0)
            return false;
        bool late = is_late(w, &w->model.queue.entries[0]);
        model_drop(w, take_at(&w->model.queue, 0), late ? TR_DROP_EXPIRED : TR_DROP_OLDEST);
    }
    return true;
}

static void model_sweep(world *w)
{
    if (!w->model.expiring || w->m->now_ns < w->model.sweep_ns)
        return;
    uint64_t pause = (w->model.queue.count + w->model.deferred.count) * TR_MICROS(1);
    w->model.sweep_ns = w->m->now_ns + (pause > TR_MILLIS(1) ? pause : TR_MILLIS(1));
    for (uint32_t i = 0; i < w->model.queue.count;)
        if (is_late(w, &w->model.queue.entries[i]))
            model_drop(w, take_at(&w->model.queue, i), TR_DROP_EXPIRED);
        else
            i++;
}

/* Whether a send on the owner's loop finds places: exactly. */
static bool model_admits_here(world *w, uint32_t places)
{
    if (w->overflow == TR_OVERFLOW_DROP_OLDEST)
        return model_make_place(w, places);
    if (model_free(w) < places)
        model_sweep(w);
    return model_free(w) >= places;
}

static void model_run(world *w)
{
    model *q = &w->model;
    while (q->queue.count) {
        entry e = take_at(&q->queue, 0);
        if (e.id == 0) { /* open or shut */
            if (q->is_open == e.ask)
                continue;
            q->is_open = e.ask;
            for (uint32_t i = q->queue.count; i-- > 0;)
                q->queue.entries[i + q->deferred.count] = q->queue.entries[i];
            memcpy(q->queue.entries, q->deferred.entries, q->deferred.count * sizeof(e));
            q->queue.count += q->deferred.count;
            q->deferred.count = 0;
        } else if (is_late(w, &e)) {
            model_drop(w, e, TR_DROP_EXPIRED);
        } else if (q->is_open || q->deferred.count >= w->capacity) {
            add(&q->handled, e);
            if (q->is_open)
                q->asks_handled += e.ask;
            else
                q->asks_dropped += e.ask; /* released unanswered */
        } else {
            add(&q->deferred, e);
        }
    }
}

static void model_arrive(world *w)
{
    while (w->model.inbox.count) {
        entry e = take_at(&w->model.inbox, 0);
        if (w->overflow != TR_OVERFLOW_DROP_OLDEST || model_make_place(w, e.places))
            add(&w->model.queue, e);
        else
            model_drop(w, e, TR_DROP_OLDEST);
    }
}

/* ---- steps --------------------------------------------------------------------------------------------- */

static uint32_t owner(const world *w)
{
    return w->loops - 1;
}

static uint32_t under_way(const world *w)
{
    uint32_t sum = places_of(&w->model.inbox);
    for (uint32_t i = 0; i < w->loops; i++)
        sum += places_of(&w->model.under_way[i]);
    return sum;
}

static void turn(world *w, uint32_t loop)
{
    if (loop == owner(w))
        model_arrive(w);
    manual_turn(w->m, loop);
    while (w->model.under_way[loop].count)
        add(&w->model.inbox, take_at(&w->model.under_way[loop], 0));
}

/* Sent on the owner's loop: the queue says exactly what becomes of it. */
static void sent_here(world *w, entry e)
{
    bool admitted = model_admits_here(w, e.places);
    w->model.expiring |= admitted && e.expires_ns;
    if (admitted)
        add(&w->model.queue, e);
    else if (w->overflow == TR_OVERFLOW_DROP_NEWEST && !e.ask)
        w->model.dropped[TR_DROP_NEWEST]++;
    assert_int_equal(w->sent,
                     admitted || (w->overflow == TR_OVERFLOW_DROP_NEWEST && !e.ask) ? TR_OK : TR_EFULL);
}

/* On another: what the owner's loop has in its hand may be missing there, a quarter and an eighth at most. */
static void sent_elsewhere(world *w, uint32_t loop, entry e)
{
    bool oldest = w->overflow == TR_OVERFLOW_DROP_OLDEST;
    uint32_t taken = under_way(w) + (oldest ? 0 : w->capacity - model_free(w));
    bool newest = w->overflow == TR_OVERFLOW_DROP_NEWEST && !e.ask;
    uint64_t dropped = manual_dropped(w->m, TR_DROP_NEWEST);
    if (w->sent == TR_OK && !(newest && dropped > w->model.dropped[TR_DROP_NEWEST])) {
        assert_true(taken + e.places <= w->capacity);
        w->model.expiring |= e.expires_ns != 0;
        add(&w->model.under_way[loop], e);
        return;
    }
    assert_true(newest || w->sent == TR_EFULL);
    w->model.dropped[TR_DROP_NEWEST] += newest;
    uint32_t hand = oldest ? 0 : w->capacity / 4 + w->capacity / 8 + 1;
    assert_true(taken + e.places + hand > w->capacity);
}

static void step_send(world *w)
{
    uint32_t loop = (uint32_t)tr__random_below(&w->random, w->loops),
             kind = (uint32_t)tr__random_below(&w->random, 10);
    uint64_t ttl = tr__random_below(&w->random, 3);
    entry e = {.id = ++w->next_id, .places = 1, .ask = kind < 2};
    if (tr__random_below(&w->random, 6) == 0)
        e.places = 1 + (uint32_t)tr__random_below(&w->random, 3);
    if (!e.ask && ttl == 0)
        e.expires_ns = w->m->now_ns + 1 + tr__random_below(&w->random, TR_MILLIS(4));
    w->sending = e;
    if (e.places > w->capacity)
        e.places = w->capacity;
    if (loop == owner(w))
        model_arrive(w);
    manual_tell(w->m, w->senders[loop].address, send_it, w);
    manual_turn(w->m, loop);
    if (loop == owner(w))
        sent_here(w, e);
    else
        sent_elsewhere(w, loop, e);
    while (w->model.under_way[loop].count)
        add(&w->model.inbox, take_at(&w->model.under_way[loop], 0));
}

/* It handles all it has; in front of it what is under way arrives, and behind it the order to open or shut. */
static void step_run(world *w)
{
    uint64_t open = tr__random_below(&w->random, 2);
    turn(w, owner(w));
    tr__loop *loop = w->m->node->loops[owner(w)];
    w->actor->queued = false;
    assert_int_equal(open ? tr__inject(loop, w->box, open_up) : tr__inject(loop, w->box, shut), TR_OK);
    add(&w->model.queue, (entry){.id = 0, .ask = open});
    model_run(w);
    manual_turn(w->m, owner(w));
    assert_int_equal(w->actor->count, w->model.deferred.count);
    w->actor->queued = true;
}

static void compare(world *w)
{
    assert_int_equal(w->actor->count, w->model.queue.count + w->model.deferred.count);
    assert_int_equal(w->seen.count, w->model.handled.count);
    for (uint32_t i = 0; i < w->seen.count; i++)
        assert_int_equal(w->seen.entries[i].id, w->model.handled.entries[i].id);
    w->seen.count = w->model.handled.count = 0;
    assert_int_equal(manual_dropped(w->m, TR_DROP_OLDEST), w->model.dropped[TR_DROP_OLDEST]);
    assert_int_equal(manual_dropped(w->m, TR_DROP_NEWEST), w->model.dropped[TR_DROP_NEWEST]);
    assert_int_equal(manual_dropped(w->m, TR_DROP_EXPIRED), w->model.dropped[TR_DROP_EXPIRED]);
    assert_true(places_of(&w->model.queue) + places_of(&w->model.deferred) <= w->capacity);
}

static void step(world *w)
{
    uint64_t what = tr__random_below(&w->random, 20);
    if (what < 13)
        step_send(w);
    else if (what < 16)
        turn(w, (uint32_t)tr__random_below(&w->random, w->loops));
    else if (what < 18)
        w->m->now_ns += tr__random_below(&w->random, TR_MILLIS(2));
    else
        step_run(w);
    compare(w);
}

/* ---- a life -------------------------------------------------------------------------------------------- */

static void life(uint64_t seed)
{
    world *w = now = calloc(1, sizeof(*w));
    tr__random_init(&w->random, seed);
    w->loops = 1 + (uint32_t)(seed % LOOPS_MAX);
    w->overflow = (tr_overflow)(TR_OVERFLOW_REFUSE + seed / LOOPS_MAX % 4);
    w->capacity = 1 + (uint32_t)tr__random_below(&w->random, 20);
    w->m = manual_open(w->loops);
    tr_spawn_opts opts = {.mailbox_places = w->capacity, .overflow = w->overflow};
    for (uint32_t i = 0; i < w->loops; i++)
        manual_spawn(w->m, i, &w->senders[i], NULL);
    w->box = manual_spawn_def(w->m, owner(w), &box_def, NULL, &opts);
    manual_pump(w->m);
    w->actor = manual_actor(w->m, w->box);
    w->actor->queued = true; /* it runs in step_run only */
    for (int i = 0; i < STEPS; i++)
        step(w);
    for (uint32_t i = 0; i < w->loops; i++)
        turn(w, i);
    step_run(w);
    compare(w);
    w->actor->queued = false;
    manual_pump(w->m);
    manual_check(w->m);
    manual_stop(w->m);
    manual_check(w->m);
    if (w->model.deferred.count == 0)
        assert_int_equal(w->asked, w->answers + w->failures);
    tr__node_unmake(w->m->node);
    free(w->m);
    free(w);
}

static void a_mailbox_does_what_a_plain_queue_would(void **state)
{
    (void)state;
    const char *only = getenv("SEED");
    for (uint64_t seed = only ? strtoull(only, NULL, 10) : 1; seed <= SEEDS; seed++) {
        if (getenv("SHOW"))
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        life(seed);
        if (only)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_mailbox_does_what_a_plain_queue_would)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
