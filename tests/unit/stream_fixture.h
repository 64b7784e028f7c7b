/* What the tests of streamed asks on one node share: a asks b for items, who sends them as there is demand. */
#ifndef TR_TESTS_STREAM_FIXTURE_H
#define TR_TESTS_STREAM_FIXTURE_H

#include <string.h>

#include "tests/kit/manual_pair.h"

#define MANY 100

/* a asks b for `count` items, mark 0, 1, 2 ..., and the answer 1000. */
static struct {
    pair *p;
    uint32_t window;
    uint64_t count, sent, taken;
    uint64_t stop_at; /* after so many a pauses */
    uint64_t limit;   /* after so many b sends no more, and doesn't answer */
    uint64_t timeout_ns;
    bool keeps; /* a keeps what it gets */
    tr_msg *kept[MANY];
    tr_msg *ask;
    tr_future future;
    tr_err said; /* to b */
    char told[4096];
} f;

static inline void tell(const char *word)
{
    assert_true(strlen(f.told) + strlen(word) + 2 < sizeof(f.told));
    strcat(strcat(f.told, word), " ");
}

/* ---- who answers --------------------------------------------------------------------------------------- */

static inline void produce(tr_actor *self)
{
    while (f.ask && f.sent < f.count && f.sent < f.limit) {
        bool some = tr_msg_demand(self, f.ask) > 0;
        f.said = tr_reply_item(self, f.ask, mark, .n = f.sent);
        assert_true(some == (f.said == TR_OK));
        if (f.said != TR_OK)
            return;
        f.sent++;
        assert_true(f.sent - f.taken <= f.window);
    }
    if (!f.ask || f.sent < f.count)
        return;
    assert_int_equal(tr_reply(self, f.ask, mark, .n = 1000), TR_OK);
    assert_int_equal(tr_reply_item(self, f.ask, mark, .n = 0), TR_EINVAL);
    assert_int_equal(tr_msg_demand(self, f.ask), 0);
    tr_msg_free(self, &f.ask);
}

static inline void b_produces(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    const tr_demand *demand = tr_match(msg, tr_demand);
    if (tr_msg_ask_number(msg))
        f.ask = tr_msg_take(self, msg);
    else if (!demand)
        return;
    if (demand && f.ask)
        assert_true(demand->ask == tr_msg_ask_number(f.ask) &&
                    tr_addr_equal(demand->asker, tr_msg_sender(f.ask)));
    produce(self);
}

static inline void b_goes_on(tr_actor *self, void *context)
{
    (void)context;
    f.limit = UINT64_MAX;
    produce(self);
}

static inline void b_drops_it(tr_actor *self, void *context)
{
    (void)context;
    tr_msg_free(self, &f.ask);
}

/* ---- who asks ------------------------------------------------------------------------------------------ */

static inline bool a_takes(tr_actor *self, void *state, const tr_msg *item, void *context)
{
    (void)state;
    assert_ptr_equal(context, &f);
    const mark *m = tr_match(item, mark);
    assert_non_null(m);
    assert_int_equal(m->n, f.taken);
    if (f.keeps)
        assert_non_null(f.kept[f.taken] = tr_msg_take(self, item));
    f.taken++;
    return f.taken != f.stop_at;
}

static inline void a_asks(tr_actor *self, void *context)
{
    (void)context;
    f.future = tr_ask_stream(self, f.p->b.address, f.timeout_ns, f.window, mark, .n = f.count);
    f.p->future = f.future;
    assert_true(f.future.id != 0);
    assert_int_equal(tr_each(self, f.future, a_takes, &f), TR_OK);
    manual_then(self, f.future);
}

static inline void a_goes_on(tr_actor *self, void *context)
{
    uint64_t before = f.taken;
    (void)context;
    f.stop_at = 0;
    assert_int_equal(tr_each(self, f.future, a_takes, &f), TR_OK);
    assert_int_equal(f.taken, before); /* never from within */
}

static inline void a_frees_what_it_kept(tr_actor *self, void *context)
{
    (void)context;
    for (uint64_t i = 0; i < f.taken; i++)
        tr_msg_free(self, &f.kept[i]);
}

static inline void open_flow(uint32_t loops, uint32_t window, uint64_t count)
{
    memset(&f, 0, sizeof(f));
    f.p = pair_open(loops);
    f.p->b.on = b_produces;
    f.window = window;
    f.count = count;
    f.limit = UINT64_MAX;
    f.timeout_ns = TR_SECONDS(1);
}

static inline void run_flow(void)
{
    manual_do(f.p->m, f.p->a.address, a_asks, NULL);
}

static inline void resume(void)
{
    manual_do(f.p->m, f.p->a.address, a_goes_on, NULL);
    manual_step(f.p->m, TR_MILLIS(1)); /* a timer's tick */
}

static inline void close_flow(void)
{
    pair_close(f.p);
}

#endif
