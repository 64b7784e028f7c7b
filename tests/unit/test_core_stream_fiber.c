/* Streamed asks of fibers, which wait for items and for demand; large ones; without memory; and what is refused. The rest:
 * test_core_stream.c. */
#include "tests/unit/stream_fixture.h"

#include "actors/futures/waiting.h"
#include "base/mem.h"

/* ---- fibers -------------------------------------------------------------------------------------------- */

static tr_err serves(tr_actor *self, void *arg)
{
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const mark *m = tr_match(msg, mark);
        tr_err err = TR_OK;
        for (uint64_t i = 0; m && i < m->n && err == TR_OK; i++)
            if ((err = tr_reply_item(self, msg, mark, .n = i)) == TR_OK)
                f.sent++;
        if (m && err == TR_OK)
            err = tr_reply(self, msg, mark, .n = 1000);
        if (m)
            tell(tr_err_word(err));
    }
    return TR_OK;
}
TR_ACTOR(serves_def, .run = serves);

static tr_err asks(tr_actor *self, void *arg)
{
    (void)arg;
    const mark *m;
    tr_err err;
    f.future = tr_ask_stream(self, f.p->b.address, f.timeout_ns, f.window, mark, .n = f.count);
    while ((err = tr_next(self, f.future, mark, &m)) == TR_OK) {
        assert_int_equal(m->n, f.taken);
        f.taken++;
        assert_true(f.sent + 1 - f.taken <= f.window);
        if (f.taken == f.stop_at)
            TR_TRY(tr_sleep(self, TR_SECONDS(5)));
        else if (f.taken % 3 == 0)
            TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    }
    tell(tr_err_word(err));
    if (err == TR_EKILLED)
        return err;
    assert_int_equal(tr_next(self, f.future, mark, &m), err); /* again the same, until it is awaited */
    err = tr_await(self, f.future, mark, &m);
    tell(err == TR_OK && m->n == 1000 ? "answer" : tr_err_word(err));
    assert_int_equal(tr_next(self, f.future, mark, &m), TR_EINVAL);
    return TR_OK;
}
TR_ACTOR(asks_def, .run = asks);

static tr_addr open_fibers(uint32_t loops, uint32_t window, uint64_t count, uint64_t stop_at)
{
    open_flow(loops, window, count);
    f.stop_at = stop_at;
    f.p->b.address = manual_spawn_def(f.p->m, loops - 1, &serves_def, NULL, NULL);
    tr_addr a = manual_spawn_def(f.p->m, 0, &asks_def, NULL, NULL);
    manual_pump(f.p->m);
    return a;
}

static void a_fiber_takes_items_one_by_one_and_a_fiber_waits_for_demand(void **state)
{
    (void)state;
    const uint32_t windows[] = {1, 2, 16};
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (size_t w = 0; w < TR_COUNT(windows); w++) {
            open_fibers(loops, windows[w], MANY, 0);
            manual_step(f.p->m, TR_MILLIS(200));
            assert_int_equal(f.taken, MANY);
            assert_string_equal(f.told, "ok not-found answer ");
            close_flow();
        }
}

static void who_waits_in_a_stream_says_for_whom_and_where(void **state)
{
    (void)state;
    tr_addr a = open_fibers(2, 4, MANY, 2);
    tr__waiting waiting;
    tr__waiting_of(manual_actor(f.p->m, f.p->b.address), &waiting, NULL, 0);
    assert_int_equal(waiting.what, TR__WAIT_DEMAND);
    assert_true(tr_addr_equal(waiting.whom, a));
    assert_non_null(strstr(waiting.where, "test_core_stream_fiber.c:"));
    assert_int_equal(waiting.until_ns - f.p->m->now_ns, TR_SECONDS(1));
    close_flow();
    open_flow(2, 4, MANY);
    f.limit = 0;
    a = manual_spawn_def(f.p->m, 0, &asks_def, NULL, NULL);
    manual_pump(f.p->m);
    tr__asked asked;
    tr__waiting_of(manual_actor(f.p->m, a), &waiting, &asked, 1);
    assert_int_equal(waiting.what, TR__WAIT_FUTURE);
    assert_true(asked.awaited && tr_addr_equal(asked.callee, f.p->b.address));
    assert_string_equal(asked.type, "mark");
    assert_non_null(strstr(waiting.where, "test_core_stream_fiber.c:"));
    manual_do(f.p->m, f.p->b.address, b_drops_it, NULL);
    assert_string_equal(f.told, "no-actor no-actor ");
    close_flow();
}

static void a_fiber_that_waits_for_demand_hears_of_the_deadline(void **state)
{
    (void)state;
    open_fibers(2, 4, MANY, 2);
    manual_step(f.p->m, TR_MILLIS(1001));
    assert_true(strcmp(f.told, "deadline ") == 0 || strcmp(f.told, "canceled ") == 0);
    manual_step(f.p->m, TR_SECONDS(5)); /* what was there comes first */
    assert_true(f.taken > 2 && f.taken == f.sent);
    assert_non_null(strstr(f.told, " deadline deadline "));
    close_flow();
}

static void kill_asker(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

static void a_fiber_that_waits_for_demand_hears_of_the_askers_end_and_of_its_own(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        tr_addr a = open_fibers(2, 4, MANY, 2), b = f.p->b.address;
        manual_do(f.p->m, f.p->a.address, kill_asker, own ? &b : &a);
        manual_step(f.p->m, TR_MILLIS(1));
        assert_string_equal(f.told, own ? "killed " : "canceled ");
        manual_step(f.p->m, TR_SECONDS(6));
        assert_string_equal(f.told, own ? "killed no-actor no-actor " : "canceled ");
        close_flow();
    }
}

static tr_err awaits_only(tr_actor *self, void *arg)
{
    (void)arg;
    const mark *m;
    f.future = tr_ask_stream(self, f.p->b.address, f.timeout_ns, f.window, mark, .n = f.count);
    TR_TRY(tr_next(self, f.future, mark, &m));
    tr_err err = tr_await(self, f.future, mark, &m);
    tell(err == TR_OK && m->n == 1000 ? "answer" : tr_err_word(err));
    return TR_OK;
}
TR_ACTOR(awaits_only_def, .run = awaits_only);

static void who_awaits_the_answer_drops_the_items(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (uint32_t window = 1; window <= 4; window++) { /* of one: all of it is in its hand */
            open_flow(loops, window, MANY);
            f.p->b.address = manual_spawn_def(f.p->m, loops - 1, &serves_def, NULL, NULL);
            manual_spawn_def(f.p->m, 0, &awaits_only_def, NULL, NULL);
            manual_pump(f.p->m);
            assert_non_null(strstr(f.told, "answer "));
            assert_int_equal(manual_dropped(f.p->m, TR_DROP_LATE_REPLY), MANY - 1);
            close_flow();
        }
}

static tr_err gathers(tr_actor *self, void *arg)
{
    (void)arg;
    tr_future two[2];
    for (int i = 0; i < 2; i++)
        two[i] = tr_ask_stream(self, f.p->b.address, f.timeout_ns, 8, mark, .n = 5 + (uint64_t)i);
    TR_TRY(tr_await_msg(self, tr_gather(self, two, 2), NULL));
    for (int i = 0; i < 2; i++) {
        const mark *m;
        uint64_t n = 0;
        while (tr_next(self, two[i], mark, &m) == TR_OK)
            assert_int_equal(m->n, n++);
        assert_int_equal(n, 5 + i);
        TR_TRY(tr_await(self, two[i], mark, &m));
        tell(m->n == 1000 ? "answer" : "?");
    }
    return TR_OK;
}
TR_ACTOR(gathers_def, .run = gathers);

static void two_streams_can_be_gathered(void **state)
{
    (void)state;
    open_flow(2, 8, 0);
    f.p->b.address = manual_spawn_def(f.p->m, 1, &serves_def, NULL, NULL);
    manual_spawn_def(f.p->m, 0, &gathers_def, NULL, NULL);
    manual_pump(f.p->m);
    assert_string_equal(f.told, "ok ok answer answer ");
    close_flow();
}

/* ---- large, and without memory ------------------------------------------------------------------------- */

static void b_sends_blobs(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    static char data[1 << 20];
    (void)puppet;
    if (tr_msg_ask_number(msg))
        f.ask = tr_msg_take(self, msg);
    else if (!tr_match(msg, tr_demand))
        return;
    while (f.sent < f.count) {
        if (tr_reply_item(self, f.ask, blob, .n = f.sent, .data = {data, sizeof(data)}) != TR_OK)
            return;
        f.sent++;
    }
    assert_int_equal(tr_reply(self, f.ask, mark, .n = 1000), TR_OK);
    tr_msg_free(self, &f.ask);
}

static bool a_takes_blobs(tr_actor *self, void *state, const tr_msg *item, void *context)
{
    (void)self;
    (void)state;
    (void)context;
    assert_int_equal(tr_match(item, blob)->n, f.taken++);
    return true;
}

static void a_asks_for_blobs(tr_actor *self, void *context)
{
    (void)context;
    f.future = tr_ask_stream(self, f.p->b.address, f.timeout_ns, 2, mark, .n = 1);
    assert_int_equal(tr_each(self, f.future, a_takes_blobs, NULL), TR_OK);
    assert_int_equal(tr_pipe(self, f.future, 7), TR_OK);
}

static void large_items_are_accounted_for_and_the_answer_can_be_piped(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        open_flow(loops, 2, 6);
        f.p->b.on = b_sends_blobs;
        manual_do(f.p->m, f.p->a.address, a_asks_for_blobs, NULL);
        assert_int_equal(f.taken, 6);
        assert_string_equal(f.p->a.trail, "init 1000 ");
        close_flow(); /* the account is at 0 */
    }
}

static uint64_t chosen; /* until so many were kept there is no memory */

static bool a_keeps_without_memory(tr_actor *self, void *state, const tr_msg *item, void *context)
{
    (void)state;
    (void)context;
    if (f.taken > 0 && f.taken < chosen) { /* keeping the first made what keeping needs */
        manual_dry_pool(f.p->m, 0);
        tr__alloc_fail_at(1);
    }
    f.kept[f.taken++] = tr_msg_take(self, item);
    tr__alloc_fail_at(0);
    return true;
}

static void a_asks_and_keeps(tr_actor *self, void *context)
{
    (void)context;
    f.future = tr_ask_stream(self, f.p->b.address, f.timeout_ns, f.window, mark, .n = f.count);
    assert_int_equal(tr_each(self, f.future, a_keeps_without_memory, &f), TR_OK);
    manual_then(self, f.future);
}

/* With a window of one nothing is left that could bring the grant. */
static void a_grant_that_can_not_be_made_fails_the_stream_or_comes_with_the_next(void **state)
{
    (void)state;
    static const struct {
        uint32_t window;
        uint64_t until, taken;
    } cases[] = {{1, UINT64_MAX, 2}, {4, UINT64_MAX, 4}, {4, 3, 20}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        open_flow(1, cases[i].window, 20);
        chosen = cases[i].until;
        manual_do(f.p->m, f.p->a.address, a_asks_and_keeps, NULL);
        manual_step(f.p->m, TR_MILLIS(1));
        assert_int_equal(f.taken, cases[i].taken);
        assert_string_equal(f.p->a.trail, f.taken == 20 ? "init reply:1000 " : "init error:no-memory ");
        manual_do(f.p->m, f.p->a.address, a_frees_what_it_kept, NULL);
        manual_do(f.p->m, f.p->b.address, b_drops_it, NULL);
        close_flow();
    }
}

static void a_gives_up_without_memory(tr_actor *self, void *context)
{
    (void)context;
    manual_dry_pool(f.p->m, 0);
    tr__alloc_fail_at(1);
    tr_cancel(self, f.future);
    tr__alloc_fail_at(0);
}

/* Else it would wait for demand for ever. */
static void who_streams_hears_of_a_cancel_that_has_no_memory(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        open_flow(loops, 4, MANY);
        f.timeout_ns = TR_FOREVER;
        f.stop_at = 2;
        f.p->b.address = manual_spawn_def(f.p->m, loops - 1, &serves_def, NULL, NULL);
        run_flow();
        assert_string_equal(f.told, "");
        manual_do(f.p->m, f.p->a.address, a_gives_up_without_memory, NULL);
        assert_string_equal(f.told, "canceled ");
        close_flow();
    }
}

/* ---- what is refused ----------------------------------------------------------------------------------- */

static void b_refuses(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const mark *m = tr_match(msg, mark);
    if (!m || !tr_msg_ask_number(msg))
        return;
    if (m->n == 1) { /* a plain ask */
        assert_int_equal(tr_reply_item(self, msg, mark, .n = 0), TR_EINVAL);
        assert_int_equal(tr_msg_demand(self, msg), 0);
    } else {
        assert_int_equal(tr_msg_demand(self, msg), 16);
        assert_int_equal(tr_reply_item(self, msg, tr_down, .monitor = 1), TR_EPERM);
        assert_int_equal(tr_reply(self, msg, tr_down, .monitor = 1), TR_EPERM);
        assert_int_equal(tr_msg_demand(self, msg), 16);
    }
    manual_note(puppet, "%s", tr_err_word(tr_last_error(self)->code));
}

static void a_tries(tr_actor *self, void *context)
{
    (void)context;
    tr_future none = tr_ask_stream(self, f.p->b.address, TR_SECONDS(1), 256, mark, .n = 2);
    assert_true(none.id == 0 && tr_last_error(self)->code == TR_EINVAL);
    tr_future plain = tr_ask(self, f.p->b.address, TR_SECONDS(1), mark, .n = 1);
    assert_int_equal(tr_each(self, plain, a_takes, &f), TR_EINVAL);
    assert_int_equal(tr_each(self, none, a_takes, &f), TR_EINVAL);
    manual_then(self, plain);
    tr_future stream = tr_ask_stream(self, f.p->b.address, TR_SECONDS(1), 0, mark, .n = 2);
    const mark *m;
    assert_int_equal(tr_next(self, stream, mark, &m), TR_EINVAL); /* no fiber */
    manual_then(self, stream);
}

static void what_is_no_stream_is_refused_and_a_failed_answer_says_why(void **state)
{
    (void)state;
    open_flow(2, 16, 0);
    f.p->b.on = b_refuses;
    manual_do(f.p->m, f.p->a.address, a_tries, NULL);
    assert_string_equal(f.p->a.trail, "init error:no-actor error:permission ");
    close_flow();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fiber_takes_items_one_by_one_and_a_fiber_waits_for_demand),
        cmocka_unit_test(who_waits_in_a_stream_says_for_whom_and_where),
        cmocka_unit_test(a_fiber_that_waits_for_demand_hears_of_the_deadline),
        cmocka_unit_test(a_fiber_that_waits_for_demand_hears_of_the_askers_end_and_of_its_own),
        cmocka_unit_test(who_awaits_the_answer_drops_the_items),
        cmocka_unit_test(two_streams_can_be_gathered),
        cmocka_unit_test(large_items_are_accounted_for_and_the_answer_can_be_piped),
        cmocka_unit_test(a_grant_that_can_not_be_made_fails_the_stream_or_comes_with_the_next),
        cmocka_unit_test(who_streams_hears_of_a_cancel_that_has_no_memory),
        cmocka_unit_test(what_is_no_stream_is_refused_and_a_failed_answer_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
