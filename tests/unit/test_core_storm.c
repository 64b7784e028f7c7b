/* A storm under the real driver: actors that spawn, kill, link, watch, send, ask, keep, name and time at random, on two
 * loops, until the time is over. At the end the sums add up, and every actor that began has ended, once.
 * TROUPE_STORM_SECONDS says how long (2); `./dev long storm` makes it a minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/troupe.h>

#include "tests/kit/real_node.h"

TR_MESSAGE(gust, (u64, n), (string, text))
TR_MESSAGE(beat)
TR_MESSAGE(question, (u64, n))
TR_MESSAGE(reply_is, (u64, n))

#define KNOWN      512  /* addresses that anybody may pick, of the living and of the dead */
#define POPULATION 3000 /* at which nobody spawns any more */
#define KEPT       4

static struct {
    pthread_mutex_t lock;
    tr_addr known[KNOWN];
    atomic_int alive;
    atomic_ullong begun, ended, monitors, downs, wrong_down, questions, answers;
    atomic_bool over;
} storm = {.lock = PTHREAD_MUTEX_INITIALIZER};

typedef struct wild {
    uint64_t monitors[8];
    tr_msg *kept[KEPT];
    tr_timer timer;
    uint32_t monitor_next;
    bool begun;
} wild;

/* What takes a draw takes it from the loop's own source, which isn't to be shared. */
static uint32_t draw(tr_actor *self, uint32_t below)
{
    return (uint32_t)(tr_random(self) % below);
}

static tr_addr anybody(tr_actor *self)
{
    uint32_t at = draw(self, KNOWN);
    pthread_mutex_lock(&storm.lock);
    tr_addr address = storm.known[at];
    pthread_mutex_unlock(&storm.lock);
    return tr_addr_is_none(address) ? tr_self(self) : address;
}

static void remember(tr_actor *self, tr_addr address)
{
    uint32_t at = draw(self, KNOWN);
    pthread_mutex_lock(&storm.lock);
    storm.known[at] = address;
    pthread_mutex_unlock(&storm.lock);
}

/* ---- what one does ------------------------------------------------------------------------------------- */

static const tr_actor_def wild_def, straight_def;

static void do_spawn(tr_actor *self, wild *w)
{
    if (atomic_load(&storm.alive) >= POPULATION)
        return;
    static const tr_place places[] = {TR_PLACE_DEFAULT, TR_PLACE_HERE, TR_PLACE_SPREAD};
    uint64_t *monitor = draw(self, 3) == 0 ? &w->monitors[w->monitor_next % 8] : NULL;
    char name[16];
    snprintf(name, sizeof(name), "w%u", draw(self, 64));
    tr_spawn_opts opts = {.place = places[draw(self, 3)], .monitor = monitor};
    opts.link = draw(self, 4) == 0;
    if (draw(self, 8) == 0)
        opts.name = name; /* most are taken */
    if (monitor && *monitor)
        tr_demonitor(self, *monitor);
    if (monitor)
        *monitor = 0;
    const tr_actor_def *def = draw(self, 6) == 0 ? &straight_def : &wild_def;
    tr_addr child = tr_spawn_with(self, def, NULL, &opts);
    if (!tr_addr_is_none(child))
        remember(self, child);
    if (monitor && *monitor) {
        w->monitor_next++;
        atomic_fetch_add(&storm.monitors, 1);
    }
}

static void do_monitor(tr_actor *self, wild *w)
{
    uint64_t *place = &w->monitors[w->monitor_next++ % 8];
    if (*place)
        tr_demonitor(self, *place);
    *place = tr_monitor(self, anybody(self));
    if (*place)
        atomic_fetch_add(&storm.monitors, 1);
}

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self;
    (void)state;
    const reply_is *r = result->msg ? tr_match(result->msg, reply_is) : NULL;
    if (r && r->n != (uint64_t)(uintptr_t)context)
        atomic_fetch_add(&storm.wrong_down, 1);
    atomic_fetch_add(&storm.answers, 1);
}

static void do_ask(tr_actor *self)
{
    uint64_t n = tr_random(self) >> 1;
    tr_future f = tr_ask(self, anybody(self), TR_MILLIS(1 + draw(self, 50)), question, .n = n);
    if (f.id == 0)
        return;
    if (draw(self, 8) == 0)
        tr_cancel(self, f);
    else if (tr_then(self, f, answered, (void *)(uintptr_t)n) == TR_OK)
        atomic_fetch_add(&storm.questions, 1);
}

static void do_keep(tr_actor *self, wild *w, const tr_msg *msg)
{
    tr_msg **place = &w->kept[draw(self, KEPT)];
    tr_msg_free(self, place);
    *place = tr_msg_take(self, msg);
}

/* Sends most; else what is in a state's way least often happens least often. */
static void do_something(tr_actor *self, wild *w)
{
    static const char *const texts[] = {"", "a short text",
                                        "a text of some length, as a message may have it"};
    switch (draw(self, 24)) {
    case 0:
    case 1:
        do_spawn(self, w);
        break;
    case 2:
        do_monitor(self, w);
        break;
    case 3:
        do_ask(self);
        break;
    case 4:
        tr_link(self, anybody(self));
        break;
    case 5:
        tr_unlink(self, anybody(self));
        break;
    case 6:
        tr_trap_exit(self, draw(self, 2));
        break;
    case 7:
        tr_timer_cancel(self, w->timer);
        w->timer = tr_after(self, TR_MICROS(draw(self, 3000)), gust, .n = 1);
        break;
    case 8:
        tr_notify_writable(self, anybody(self));
        break;
    case 9:
        if (draw(self, 12) == 0)
            tr_stop(self, anybody(self), draw(self, 2) ? TR_EXIT_SHUTDOWN : TR_EXIT_KILLED);
        break;
    case 10:
        if (draw(self, 40) == 0)
            tr_exit(self, draw(self, 2) ? TR_EAPP : TR_OK, "of its own");
        break;
    default: {
        const char *text = texts[draw(self, 3)];
        tr_send(self, anybody(self), gust, .n = draw(self, 4), .text = text);
    }
    }
}

static tr_err wild_init(tr_actor *self, void *state, const void *arg)
{
    (void)arg;
    if (draw(self, 50) == 0)
        return tr_fail(self, TR_EAPP, "it won't begin");
    tr_timer timer = tr_after(self, TR_MICROS(draw(self, 10000)), beat);
    if (timer.id == 0)
        return tr_fail(self, TR_ENOMEM, "no timer");
    *(wild *)state = (wild){.begun = true};
    atomic_fetch_add(&storm.begun, 1);
    atomic_fetch_add(&storm.alive, 1);
    return TR_OK;
}

static void wild_stop(tr_actor *self, void *state)
{
    wild *w = state;
    for (int i = 0; i < KEPT; i++)
        tr_msg_free(self, &w->kept[i]);
    if (!w->begun)
        atomic_fetch_add(&storm.wrong_down, 1); /* stop without init */
    w->begun = false;
    atomic_fetch_add(&storm.ended, 1);
    atomic_fetch_sub(&storm.alive, 1);
}

static void heard_down(wild *w, const tr_down *down)
{
    atomic_fetch_add(&storm.downs, 1);
    for (int i = 0; i < 8; i++)
        if (w->monitors[i] == down->monitor) {
            w->monitors[i] = 0;
            return;
        }
    atomic_fetch_add(&storm.wrong_down, 1); /* twice, or after its demonitor */
}

static void wild_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    wild *w = state;
    const tr_down *down = tr_match(msg, tr_down);
    const question *q = tr_match(msg, question);
    const gust *g = tr_match(msg, gust);
    if (down)
        heard_down(w, down);
    if (q && draw(self, 4) != 0)
        tr_reply(self, msg, reply_is, .n = q->n);
    else if (draw(self, 30) == 0)
        do_keep(self, w, msg);
    for (uint64_t i = 0; g && i < g->n && !atomic_load(&storm.over); i++)
        do_something(self, w);
    if (tr_match(msg, beat)) { /* also whom nobody knows any more goes on */
        for (int i = 0; i < 3 && !atomic_load(&storm.over); i++)
            do_something(self, w);
        tr_after(self, TR_MILLIS(1 + draw(self, 40)), beat);
    }
}

static const tr_actor_def wild_def = {.name = "wild",
                                      .state_size = sizeof(wild),
                                      .init = wild_init,
                                      .receive = wild_receive,
                                      .stop = wild_stop,
                                      .mailbox_places = 64};

/* A fiber in the storm: it receives, asks and waits until its luck ends. */
static tr_err straight(tr_actor *self, void *arg)
{
    (void)arg;
    while (draw(self, 30) != 0) {
        const tr_msg *msg = tr_receive(self, TR_MILLIS(1));
        const question *q = msg ? tr_match(msg, question) : NULL;
        if (q)
            tr_reply(self, msg, reply_is, .n = q->n);
        tr_future f = tr_ask(self, anybody(self), TR_MILLIS(2), question, .n = 7);
        const reply_is *r;
        tr_err err = f.id ? tr_await(self, f, reply_is, &r) : TR_OK;
        if (err == TR_EKILLED || tr_sleep(self, TR_MICROS(draw(self, 500))) != TR_OK)
            return TR_OK;
        if (err == TR_OK && f.id && r->n != 7)
            atomic_fetch_add(&storm.wrong_down, 1);
    }
    return draw(self, 2) ? TR_OK : tr_fail(self, TR_EAPP, "its luck has ended");
}

static const tr_actor_def straight_def = {.name = "straight", .run = straight, .mailbox_places = 64};

/* ---- the storm ----------------------------------------------------------------------------------------- */

/* It keeps the storm going: whatever died out begins again. */
static tr_err keeper(tr_actor *self, void *arg)
{
    uint64_t until = tr_now(self) + *(uint64_t *)arg;
    while (tr_now(self) < until) {
        for (int i = 0; i < 20 && atomic_load(&storm.alive) < POPULATION / 2; i++)
            remember(self, tr_spawn_with(self, &wild_def, NULL, &(tr_spawn_opts){.place = TR_PLACE_SPREAD}));
        for (int i = 0; i < 200; i++)
            tr_send(self, anybody(self), gust, .n = 4, .text = "from the keeper");
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    }
    atomic_store(&storm.over, true);
    return tr_sleep(self, TR_MILLIS(100));
}

static void after_a_storm_the_sums_add_up_and_who_began_has_ended(void **state)
{
    (void)state;
    const char *seconds = getenv("TROUPE_STORM_SECONDS");
    uint64_t duration = TR_SECONDS(1) * (uint64_t)(seconds ? atoi(seconds) : 2);
    tr_sums s = real_node_run(2, keeper, &duration);
    uint64_t dropped = 0;
    for (int why = 0; why < TR_DROP_COUNT; why++)
        dropped += s.dropped[why];
    print_message(
        "%llu actors, %llu messages handled, %llu dropped, %llu monitors, %llu downs, %llu of %llu answers\n",
        storm.begun, (unsigned long long)s.handled, (unsigned long long)dropped, storm.monitors, storm.downs,
        storm.answers, storm.questions);
    assert_int_equal(storm.begun, storm.ended);
    assert_int_equal(storm.wrong_down, 0);
    assert_true(storm.downs > 0 && storm.answers > 0 && storm.begun > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_storm_the_sums_add_up_and_who_began_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
