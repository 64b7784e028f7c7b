/* Whatever allocation fails, and however full a mailbox is: who watches the nodes hears of each that it came and that it
 * went, in order, and look-ups are answered. */
#include <stdlib.h>
#include <string.h>

#include "actors/names/warden.h"
#include "actors/remote/remote.h"
#include "base/mem.h"
#include "tests/kit/manual_net.h"

#define BOB   22
#define CAROL 33

/* ---- one node with a warden ---------------------------------------------------------------------------- */

static manual *open_node(void)
{
    tr_error error;
    manual *m = manual_open(1);
    if (tr__warden_open(m->node, &error) != TR_OK)
        fail_msg("%s", error.text);
    manual_pump(m);
    return m;
}

/* An actor that watches, and what it has heard. */
typedef struct ear {
    manual_puppet puppet;
    char heard[256];
    bool up; /* of one node: whether it believes it to be */
} ear;

static void on_event(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const tr_node_event *event = tr_match(msg, tr_node_event);
    ear *e = puppet->user;
    (void)self;
    if (!event)
        return;
    size_t length = strlen(e->heard);
    snprintf(e->heard + length, sizeof(e->heard) - length, "%s:%s%s ", event->up ? "up" : "down", event->name,
             event->reason);
    e->up = event->up;
}

static void ear_spawn(manual *m, ear *e, uint32_t places)
{
    *e = (ear){.puppet = {.on = on_event, .user = e}};
    manual_spawn(m, 0, &e->puppet, &(tr_spawn_opts){.mailbox_places = places});
    manual_pump(m);
}

static void watch(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_watch_nodes(self), TR_OK);
}

/* As the connections say it: they have the block already. */
static void change(manual *m, uint64_t node, bool up)
{
    tr__loop *loop = m->node->loops[0];
    tr_msg *msg = tr__node_changed_make(loop, node == BOB ? "bob" : "carol", node, up);
    assert_non_null(msg);
    tr__node_changed_tell(loop, msg, up ? "" : "(gone)");
}

static void pump_failing(manual *m, uint64_t nth)
{
    manual_dry_pool(m, 0);
    tr__alloc_fail_at(nth);
    manual_pump(m);
    tr__alloc_fail_at(0);
}

static void what_a_watcher_could_not_be_told_it_is_told_later_in_order(void **state)
{
    (void)state;
    manual *m = open_node();
    ear e;
    ear_spawn(m, &e, 0);
    manual_do(m, e.puppet.address, watch, NULL);
    change(m, BOB, true);
    change(m, CAROL, true);
    pump_failing(m, 1);
    manual_step(m, TR_SECONDS(1));
    assert_string_equal(e.heard, "up:bob up:carol ");
    change(m, BOB, false);
    pump_failing(m, 1);
    assert_string_equal(e.heard, "up:bob up:carol ");
    manual_step(m, TR_SECONDS(1));
    assert_string_equal(e.heard, "up:bob up:carol down:bob(gone) ");
    manual_close(m);
}

static void nor_is_it_lost_when_its_mailbox_is_full(void **state)
{
    (void)state;
    manual *m = open_node();
    ear e;
    ear_spawn(m, &e, 1);
    manual_do(m, e.puppet.address, watch, NULL);
    change(m, BOB, true);
    change(m, BOB, false);
    change(m, CAROL, true);
    manual_step(m, TR_SECONDS(1));
    assert_string_equal(e.heard, "up:bob down:bob(gone) up:carol ");
    manual_close(m);
}

/* What came and went before it could be told is no news; what is known of it is freed. */
static void of_a_node_whose_coming_went_untold_nothing_is_told(void **state)
{
    (void)state;
    manual *m = open_node();
    ear e;
    ear_spawn(m, &e, 0);
    manual_do(m, e.puppet.address, watch, NULL);
    change(m, BOB, true);
    pump_failing(m, 1);
    change(m, BOB, false);
    manual_step(m, TR_SECONDS(1));
    assert_string_equal(e.heard, "");
    manual_close(m);
}

static void who_could_not_be_watched_at_first_hears_all_the_same(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 6; nth++) {
        manual *m = open_node();
        ear e;
        ear_spawn(m, &e, 0);
        manual_tell(m, e.puppet.address, watch, NULL);
        pump_failing(m, nth + 1); /* the first is the watcher's own message */
        manual_step(m, TR_SECONDS(1));
        change(m, BOB, true);
        manual_step(m, TR_SECONDS(1));
        assert_string_equal(e.heard, "up:bob ");
        manual_close(m);
    }
}

static void look_up(tr_actor *self, void *context)
{
    (void)context;
    manual_then(self, tr_lookup(self, "late", TR_SECONDS(5)));
}

static void take_name(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_register_name(self, "late"), TR_OK);
}

/* Its ask is on its way when the memory is short: it is answered, or refused at once. */
static void a_look_up_is_tried_again_whatever_allocation_fails(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 6; nth++) {
        manual *m = open_node();
        manual_puppet asker = {0}, late = {0};
        manual_spawn(m, 0, &asker, NULL);
        manual_spawn(m, 0, &late, NULL);
        manual_pump(m);
        manual_tell(m, asker.address, look_up, NULL);
        while (!manual_actor(m, m->node->warden)->count)
            tr__run_one(m->node->loops[0]);
        pump_failing(m, nth);
        manual_do(m, late.address, take_name, NULL);
        manual_step(m, TR_SECONDS(1));
        assert_true(strstr(asker.trail, "reply:") || strstr(asker.trail, "error:no-"));
        manual_close(m);
    }
}

/* ---- two nodes, connected ------------------------------------------------------------------------------ */

typedef struct duo {
    memory_net net;
    manual *a, *b; /* a joins b */
    char address[64];
    ear watcher;      /* on b */
    uint64_t fail_in; /* this allocation in a turn of b's fails; 0: it has, or none does */
} duo;

static bool step_one(duo *d, manual *m)
{
    if (m == d->b && d->fail_in) {
        manual_dry_pool(m, 0);
        tr__alloc_fail_at(d->fail_in);
    }
    m->busy[0] = manual_turn(m, 0);
    if (m == d->b && d->fail_in)
        d->fail_in = tr__alloc_fail_left();
    tr__alloc_fail_at(0);
    return manual_net_rest(m);
}

static void pass_time(duo *d, uint64_t duration_ns)
{
    for (uint64_t passed = 0; passed < duration_ns; passed += TR_MILLIS(20)) {
        bool more = true;
        d->a->now_ns += TR_MILLIS(20);
        d->b->now_ns += TR_MILLIS(20);
        while (more) {
            more = step_one(d, d->a);
            more |= step_one(d, d->b);
            more |= memory_net_step(&d->net);
        }
    }
}

static duo *duo_open(void)
{
    static duo d;
    d = (duo){.fail_in = 0};
    memory_net_init(&d.net, 1);
    d.b = manual_net_open(&d.net, &(manual_net_opts){.name = "b", .id = 1001, .listen = "127.0.0.1:0"});
    snprintf(d.address, sizeof(d.address), "%s", tr__remote_address(d.b->node->remote));
    const char *const seeds[] = {d.address, NULL};
    d.a = manual_net_open(&d.net, &(manual_net_opts){.name = "a", .id = 1003, .join = seeds});
    ear_spawn(d.b, &d.watcher, 0);
    manual_do(d.b, d.watcher.puppet.address, watch, NULL);
    return &d;
}

static void duo_close(duo *d)
{
    manual_net_close(d->a);
    manual_net_close(d->b);
    memory_net_fini(&d->net);
}

/* The nth allocation fails from when they connect (or, `late`, from when their connection breaks). False: there weren't
 * so many. */
static bool connect_and_break(uint64_t nth, bool late)
{
    duo *d = duo_open();
    d->fail_in = late ? 0 : nth;
    pass_time(d, TR_SECONDS(15));
    assert_true(d->watcher.up);
    d->fail_in = late ? nth : d->fail_in;
    memory_net_cut(&d->net);
    pass_time(d, TR_SECONDS(15));
    assert_true(d->watcher.up);
    assert_non_null(strstr(d->watcher.heard, "down:a"));
    bool failed = !d->fail_in;
    duo_close(d);
    return failed;
}

static void a_node_that_comes_and_goes_is_known_as_what_it_is_whatever_allocation_fails(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        uint64_t nth = 1;
        while (connect_and_break(nth, late))
            nth++;
        assert_true(nth > 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_watcher_could_not_be_told_it_is_told_later_in_order),
        cmocka_unit_test(nor_is_it_lost_when_its_mailbox_is_full),
        cmocka_unit_test(of_a_node_whose_coming_went_untold_nothing_is_told),
        cmocka_unit_test(who_could_not_be_watched_at_first_hears_all_the_same),
        cmocka_unit_test(a_look_up_is_tried_again_whatever_allocation_fails),
        cmocka_unit_test(a_node_that_comes_and_goes_is_known_as_what_it_is_whatever_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
