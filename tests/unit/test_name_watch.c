/* Monitors of names: coming, going, coming again; taken back; a full mailbox; no memory. */
#include <string.h>

#include "base/mem.h"
#include "tests/kit/manual.h"

static manual *m;
static manual_puppet watcher, one, two;
static uint64_t number;

static void on(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const tr_name_event *e = tr_match(msg, tr_name_event);
    (void)self;
    if (!e)
        return;
    assert_int_equal(e->monitor, number);
    manual_note(puppet, "%s:%s", e->up ? "up" : "down",
                tr_addr_equal(e->actor, one.address)   ? "one"
                : tr_addr_equal(e->actor, two.address) ? "two"
                                                       : "?");
}

static int set_up(void **state)
{
    (void)state;
    m = manual_open_tx(2, "alice", NULL);
    memset(&watcher, 0, sizeof(watcher));
    memset(&one, 0, sizeof(one));
    memset(&two, 0, sizeof(two));
    watcher.on = on;
    manual_spawn(m, 1, &watcher, &(tr_spawn_opts){.mailbox_places = 4});
    manual_spawn(m, 0, &one, NULL);
    manual_spawn(m, 1, &two, NULL);
    manual_pump(m);
    watcher.trail[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    manual_close(m);
    return 0;
}

static void watch(tr_actor *self, void *context)
{
    number = tr_monitor_name(self, context);
    assert_true(number != 0);
}

static void take_back(tr_actor *self, void *context)
{
    (void)context;
    tr_demonitor(self, number);
}

static void be_called(tr_actor *self, void *context)
{
    assert_int_equal(tr_register_name(self, context), TR_OK);
}

static void end(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "done");
}

static void a_name_comes_and_goes_and_comes_again(void **state)
{
    (void)state;
    manual_do(m, watcher.address, watch, "bank");
    manual_step(m, TR_SECONDS(1));
    assert_string_equal(watcher.trail, "");
    manual_do(m, one.address, be_called, "bank");
    manual_step(m, TR_MILLIS(30));
    assert_string_equal(watcher.trail, "tr_name_event up:one ");
    manual_do(m, one.address, end, NULL);
    assert_string_equal(watcher.trail, "tr_name_event up:one tr_name_event down:one ");
    manual_step(m, TR_SECONDS(30));
    manual_do(m, two.address, be_called, "bank");
    manual_step(m, TR_MILLIS(30));
    assert_non_null(strstr(watcher.trail, "down:one tr_name_event up:two "));
}

static void one_that_is_there_is_told_at_once_also_by_its_nodes_name(void **state)
{
    (void)state;
    manual_do(m, one.address, be_called, "bank");
    manual_do(m, watcher.address, watch, "alice/bank");
    assert_string_equal(watcher.trail, "tr_name_event up:one ");
}

static void nothing_is_handled_after_it_was_taken_back(void **state)
{
    (void)state;
    manual_do(m, one.address, be_called, "bank");
    manual_tell(m, watcher.address, watch, "bank");
    for (int i = 0; i < 3; i++) /* not far enough for the event to be handled */
        manual_turn(m, 1), manual_turn(m, 0);
    manual_tell(m, watcher.address, take_back, NULL);
    watcher.trail[0] = '\0';
    manual_pump(m);
    manual_do(m, one.address, end, NULL);
    manual_step(m, TR_SECONDS(1));
    assert_null(strstr(watcher.trail, "down"));
}

static void a_full_mailbox_hears_it_later(void **state)
{
    (void)state;
    manual_do(m, watcher.address, watch, "bank");
    for (uint64_t i = 0; i < 4; i++) /* its places */
        assert_int_equal(tr_post(m->node, watcher.address, mark, .n = i), TR_OK);
    tr_actor *actor = manual_actor(m, watcher.address);
    manual_tell(m, one.address, be_called, "bank");
    for (int i = 0; i < 50; i++) {
        m->now_ns += TR_MILLIS(1);
        manual_turn(m, 0);
    }
    manual_step(m, TR_SECONDS(1));
    assert_string_equal(watcher.trail, "0 1 2 3 tr_name_event up:one ");
    assert_int_equal(actor->count, 0);
}

static uint32_t watches(void)
{
    uint32_t actors = 0;
    for (uint32_t i = 0; i < 2 * TR__SEGMENT_SLOTS; i++) {
        const tr_actor *actor = tr__slot(m->node, i);
        actors += actor && actor->state != TR__ACTOR_FREE && strcmp(actor->def->name, "name-watch") == 0;
    }
    return actors;
}

static void it_ends_with_who_watches(void **state)
{
    (void)state;
    manual_do(m, watcher.address, watch, "bank");
    assert_int_equal(watches(), 1);
    manual_do(m, watcher.address, end, NULL);
    assert_int_equal(watches(), 0);
}

static void whatever_allocation_fails_the_last_thing_told_is_true(void **state)
{
    for (uint64_t nth = 1; nth <= 40; nth++) {
        manual_do(m, watcher.address, watch, "bank");
        manual_tell(m, one.address, be_called, "bank");
        manual_turn(m, 0);
        manual_dry_pool(m, 0);
        manual_dry_pool(m, 1);
        tr__alloc_fail_at(nth);
        manual_step(m, TR_MILLIS(100));
        uint64_t left = tr__alloc_fail_left(); /* the test's own messages need memory as well */
        tr__alloc_fail_at(0);
        manual_tell(m, one.address, end, NULL);
        tr__alloc_fail_at(left);
        manual_step(m, TR_MILLIS(100));
        tr__alloc_fail_at(0);
        manual_step(m, TR_SECONDS(11));
        manual_do(m, two.address, be_called, "bank");
        manual_step(m, TR_SECONDS(1));
        size_t length = strlen(watcher.trail);
        assert_string_equal(watcher.trail + length - 7, "up:two ");
        tear_down(state);
        set_up(state);
    }
}

static void watch_without(tr_actor *self, void *nth)
{
    manual_dry_pool(m, 1);
    tr__alloc_fail_at(*(uint64_t *)nth);
    number = tr_monitor_name(self, "bank");
}

static void whatever_allocation_fails_who_has_a_number_is_told(void **state)
{
    uint32_t refused = 0;
    for (uint64_t nth = 1; nth <= 40; nth++) {
        manual_do(m, watcher.address, watch_without, &nth);
        manual_step(m, TR_MILLIS(100));
        tr__alloc_fail_at(0);
        manual_step(m, TR_SECONDS(11));
        manual_do(m, one.address, be_called, "bank");
        manual_step(m, TR_SECONDS(1));
        assert_string_equal(watcher.trail, number ? "tr_name_event up:one " : "");
        assert_int_equal(watches(), number ? 1 : 0);
        refused += number == 0;
        tear_down(state);
        set_up(state);
    }
    assert_in_range(refused, 1, 39);
}

/* What the watch does elsewhere, while allocation `nth` fails, and behind it `then`. */
static void go_on_without(uint64_t nth, uint64_t then)
{
    bool again = false;
    manual_dry_pool(m, 0);
    manual_dry_pool(m, 1);
    tr__alloc_fail_at(nth);
    for (uint32_t turn = 0; turn < 60; turn++) {
        manual_turn(m, turn % 3);
        if (tr__alloc_fail_left() || again)
            continue;
        again = true;
        for (uint32_t loop = 0; loop < 3; loop++)
            manual_dry_pool(m, loop);
        tr__alloc_fail_at(then);
    }
    tr__alloc_fail_at(0);
}

/* From a thread of the watcher's own the call doesn't see what fails where the watch is. Nor does anybody if there is no
 * memory for its state, the first: as of any actor that is spawned elsewhere and that nobody monitors. */
static void a_watch_that_began_elsewhere_tells_or_the_log_does(void **state)
{
    uint32_t told = 0;
    for (uint64_t nth = 2; nth <= 14; nth++)
        for (uint64_t then = 1; then <= 4; then++) {
            manual_puppet own = {.on = on};
            manual_spawn(m, 0, &own, &(tr_spawn_opts){.place = TR_PLACE_OWN_THREAD});
            manual_pump(m);
            m->last_log[0] = own.trail[0] = '\0';
            number = 0;
            manual_tell(m, own.address, watch, "bank");
            for (int turn = 0; turn < 10 && !number; turn++)
                manual_turn(m, 2);
            go_on_without(nth, then);
            manual_step(m, TR_SECONDS(11));
            manual_do(m, one.address, be_called, "bank");
            manual_step(m, TR_SECONDS(1));
            bool up = strcmp(own.trail, "tr_name_event up:one ") == 0;
            if (!up && !strstr(m->last_log, "no memory"))
                fail_msg("%d, then %d: heard \"%s\"", (int)nth, (int)then, own.trail);
            told += up;
            tear_down(state);
            set_up(state);
        }
    assert_true(told > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_comes_and_goes_and_comes_again),
        TEST(one_that_is_there_is_told_at_once_also_by_its_nodes_name),
        TEST(nothing_is_handled_after_it_was_taken_back),
        TEST(a_full_mailbox_hears_it_later),
        TEST(it_ends_with_who_watches),
        TEST(whatever_allocation_fails_the_last_thing_told_is_true),
        TEST(whatever_allocation_fails_who_has_a_number_is_told),
        TEST(a_watch_that_began_elsewhere_tells_or_the_log_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
