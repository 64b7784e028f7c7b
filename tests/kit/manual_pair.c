/* See manual_pair.h. */
#include "tests/kit/manual_pair.h"

#include <string.h>

pair *pair_open(uint32_t loops)
{
    static pair p;
    memset(&p, 0, sizeof(p));
    p.m = manual_open(loops);
    p.timeout_ns = TR_SECONDS(1);
    p.a.user = p.b.user = &p;
    manual_spawn(p.m, 0, &p.a, NULL);
    manual_spawn(p.m, loops - 1, &p.b, NULL);
    manual_pump(p.m);
    return &p;
}

void pair_close(pair *p)
{
    manual_pump(p->m);
    manual_check(p->m);
    manual_close(p->m);
}

void pair_reply(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    const mark *m = tr_match(msg, mark);
    if (m && tr_msg_ask_number(msg))
        assert_int_equal(tr_reply(self, msg, mark, .n = m->n + 1), TR_OK);
}

void pair_keep(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (tr_msg_ask_number(msg)) {
        ((pair *)puppet->user)->kept = tr_msg_take(self, msg);
        assert_non_null(((pair *)puppet->user)->kept);
    }
}

void pair_ask(tr_actor *self, void *context)
{
    pair *p = context;
    p->future = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 1);
    manual_then(self, p->future);
}

void pair_ask_only(tr_actor *self, void *context)
{
    pair *p = context;
    p->future = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 1);
    assert_true(p->future.id != 0);
}

void pair_cancel(tr_actor *self, void *context)
{
    tr_cancel(self, ((pair *)context)->future);
}

void pair_reply_kept(tr_actor *self, void *context)
{
    pair *p = context;
    tr_err err = tr_reply(self, p->kept, mark, .n = 9);
    manual_note(&p->b, "%s", tr_err_word(err));
}

void pair_kill_b(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, ((pair *)context)->b.address, TR_EXIT_KILLED), TR_OK);
}

void pair_kill_a(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, ((pair *)context)->a.address, TR_EXIT_KILLED), TR_OK);
}
