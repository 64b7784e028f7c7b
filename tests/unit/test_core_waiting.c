/* actors/futures/waiting.c: what an actor waits for, as people and the search for cycles see it. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual_pair.h"

#include "actors/futures/waiting.h"

typedef struct rig {
    manual *m;
    manual_puppet p; /* keeps what it is asked */
    tr_addr fiber;
    int step;
    int line; /* of the wait */
} rig;

static void keep(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        assert_non_null(tr_msg_take(self, msg));
}

static rig *open_rig(const tr_actor_def *def)
{
    static rig r;
    memset(&r, 0, sizeof(r));
    r.m = manual_open(1);
    r.p.on = keep;
    manual_spawn(r.m, 0, &r.p, NULL);
    manual_pump(r.m);
    r.fiber = manual_spawn_def(r.m, 0, def, &r, NULL);
    manual_pump(r.m);
    return &r;
}

static void close_rig(rig *r)
{
    manual_check(r->m);
    manual_close(r->m);
}

static void is_here(const tr__waiting *waiting, int line)
{
    char place[64];
    snprintf(place, sizeof(place), "tests/unit/test_core_waiting.c:%d", line);
    assert_string_equal(waiting->where, place);
}

static tr_err waits_in_turn(tr_actor *self, void *arg)
{
    rig *r = arg;
    tr_future all[2] = {tr_ask(self, r->p.address, TR_SECONDS(5), mark, .n = 1),
                        tr_ask(self, r->p.address, TR_SECONDS(9), blob, .n = 2)};
    r->line = __LINE__, assert_null(tr_receive(self, TR_SECONDS(1)));
    r->line = __LINE__, assert_int_equal(tr_sleep(self, TR_SECONDS(1)), TR_OK);
    r->line = __LINE__, assert_int_equal(tr_await_msg(self, all[0], NULL), TR_EDEADLINE);
    tr_future both = tr_gather(self, &all[1], 1);
    r->line = __LINE__, assert_int_equal(tr_await_msg(self, both, NULL), TR_EDEADLINE);
    return TR_OK;
}

TR_ACTOR(waits_in_turn_def, .run = waits_in_turn);

static void what_a_fiber_waits_for_is_seen_with_place_and_time(void **state)
{
    (void)state;
    rig *r = open_rig(&waits_in_turn_def);
    tr_actor *actor = manual_actor(r->m, r->fiber);
    uint64_t begun = r->m->now_ns;
    tr__waiting waiting;
    tr__asked asks[3];
    static const struct {
        tr__wait what;
        uint64_t since_s, until_s, step_s;
        size_t asks;
    } steps[] = {{TR__WAIT_MESSAGE, 0, 1, 1, 2},
                 {TR__WAIT_SLEEP, 1, 2, 1, 2},
                 {TR__WAIT_FUTURE, 2, 5, 3, 2},
                 {TR__WAIT_FUTURE, 5, 0, 4, 1}};
    for (size_t i = 0; i < TR_COUNT(steps); i++) {
        size_t count = tr__waiting_of(actor, &waiting, asks, TR_COUNT(asks));
        assert_int_equal(count, steps[i].asks);
        assert_int_equal(waiting.what, steps[i].what);
        is_here(&waiting, r->line);
        assert_in_range(waiting.since_ns - begun, TR_SECONDS(steps[i].since_s),
                        TR_SECONDS(steps[i].since_s) + TR_MILLIS(1));
        if (steps[i].until_s) /* a gather has none of its own */
            assert_in_range(waiting.until_ns - begun, TR_SECONDS(steps[i].until_s),
                            TR_SECONDS(steps[i].until_s) + TR_MILLIS(1));
        else
            assert_true(waiting.until_ns == TR__NEVER);
        assert_true(tr_addr_equal(asks[0].callee, r->p.address));
        assert_string_equal(asks[0].type, "blob"); /* the newest first */
        assert_int_equal(asks[0].since_ns, begun);
        assert_int_equal(asks[0].until_ns, begun + TR_SECONDS(9));
        assert_int_equal(asks[0].awaited, i == 3); /* as a member of the gather */
        if (count == 2) {
            assert_string_equal(asks[1].type, "mark");
            assert_int_equal(asks[1].awaited, i == 2);
        }
        manual_step(r->m, TR_SECONDS(steps[i].step_s) + TR_MICROS(100));
    }
    assert_null(manual_actor(r->m, r->fiber));
    close_rig(r);
}

static void an_actor_that_is_no_fiber_waits_for_its_asks_only(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, pair_ask, p);
    tr__waiting waiting;
    tr__asked ask;
    assert_int_equal(tr__waiting_of(manual_actor(p->m, p->a.address), &waiting, &ask, 1), 1);
    assert_int_equal(waiting.what, TR__WAIT_NONE);
    assert_true(tr_addr_equal(ask.callee, p->b.address));
    assert_string_equal(ask.type, "mark");
    assert_false(ask.awaited);
    assert_int_equal(tr__waiting_of(manual_actor(p->m, p->b.address), &waiting, NULL, 0), 0);
    manual_do(p->m, p->b.address, pair_reply_kept, p);
    assert_int_equal(tr__waiting_of(manual_actor(p->m, p->a.address), &waiting, NULL, 0), 0);
    pair_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_fiber_waits_for_is_seen_with_place_and_time),
        cmocka_unit_test(an_actor_that_is_no_fiber_waits_for_its_asks_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
