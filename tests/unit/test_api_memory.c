/* Every function of the API, with the n-th allocation failing for every n: within the call and in what follows from it on
 * the node's loops. A call then says why it couldn't, and what follows ends in order: the sums add up, nothing is left.
 * The list is include/troupe/api_list.h itself: a function without a row fails the test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/driver/fd_watch.h"
#include "base/mem.h"
#include "tests/kit/bank.h"

TR_MESSAGE(note, (u64, n), (string, text))

typedef struct rig {
    bank *b;
    manual_puppet actor, peer; /* on loop 0 and on the last one */
    uint64_t fail_at, tried;
    tr_err (*row)(tr_actor *self, struct rig *r);
    tr_err err;
    bool told; /* an error without a text is none */
    bool done;
} rig;

#include "tests/unit/api_memory_stream.h"

#include "tests/unit/api_memory_rows.h"

/* ---- every n ------------------------------------------------------------------------------------------- */

/* It keeps what it is asked and answers then: a mark by a mark, the rest by an error. */
static void answer(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (streaming.ask && tr_match(msg, tr_demand))
        stream_on(self);
    if (streaming.ask && tr_match(msg, tr_canceled))
        tr_msg_free(self, &streaming.ask);
    if (!tr_msg_ask_number(msg))
        return;
    tr_msg *kept = tr_msg_take(self, msg);
    const tr_msg *ask = kept ? kept : msg;
    const note *n = tr_match(ask, note);
    if (kept && n && n->text[0] == 's') {
        streaming.ask = kept;
        streaming.sent = 0;
        stream_on(self);
        return;
    }
    if (tr_match(ask, mark))
        tr_reply(self, ask, mark, .n = 1);
    else if (n && n->text[0] == 'o' && tr_forward(self, ask, tr_msg_sender(ask)) == TR_OK)
        kept = NULL;
    else
        tr_reply_error(self, ask, TR_EAPP, "as was wished");
    tr_msg_free(self, &kept);
}

static void finished(tr_actor *self, rig *r, tr_err err)
{
    r->err = err;
    r->told = err == TR_OK || tr_last_error(self)->text[0] != '\0';
    r->done = true;
}

static void in_puppet(tr_actor *self, void *context)
{
    rig *r = context;
    finished(self, r, r->row(self, r));
}

static tr_err in_fiber(tr_actor *self, void *context)
{
    rig *r = context;
    finished(self, r, r->row(self, r));
    return TR_OK;
}
TR_ACTOR(in_fiber_def, .run = in_fiber);

/* One run; false: it tried less than `n` allocations, so all went well. */
static bool run_row(tr_err (*row)(tr_actor *, rig *), bool fiber, uint64_t n, const char *name)
{
    rig *r = calloc(1, sizeof(*r));
    r->row = row;
    r->b = bank_open(2);
    manual *m = r->b->m;
    r->peer.on = answer;
    streaming.ask = NULL;
    manual_spawn(m, 0, &r->actor, NULL);
    manual_spawn(m, 1, &r->peer, NULL);
    manual_pump(m);
    manual_dry_pool(m, 0);
    manual_dry_pool(m, 1);
    if (fiber)
        manual_spawn_def(m, 0, &in_fiber_def, r, NULL);
    else
        manual_tell(m, r->actor.address, in_puppet, r);
    tr__alloc_fail_at(n);
    for (int i = 0; i < 300 && (i < 3 || !r->done); i++)
        manual_step(m, TR_MILLIS(100));
    bool failed = tr__alloc_fail_left() == 0;
    tr__alloc_fail_at(0);
    /* Without a stack, state or list for it a fiber never begins: its spawn was the test's own. */
    if (!r->done && !(fiber && failed))
        fail_msg("%s, allocation %llu: the call never came back", name, (unsigned long long)n);
    if (r->done && !failed && r->err != TR_OK)
        fail_msg("%s: %s with all the memory it wants", name, tr_err_word(r->err));
    if (r->done && !r->told)
        fail_msg("%s, allocation %llu: an error (%s) without a text", name, (unsigned long long)n,
                 tr_err_word(r->err));
    manual_step(m, TR_SECONDS(30));
    if (row == row_transaction_fiber)
        m->fatals = 0; /* no memory for what is committed ends the process, in order (actors/tx/core.c) */
    bank_close(r->b);
    free(r);
    return failed;
}

static void whatever_allocation_fails_each_call_says_so_and_all_ends_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < TR_COUNT(rows); i++)
        for (int fiber = 0; fiber < 2; fiber++) {
            tr_err (*row)(tr_actor *, rig *) = fiber ? rows[i].fiber : rows[i].puppet;
            for (uint64_t n = 1; row && run_row(row, fiber, n, rows[i].name); n++) {
            }
        }
}

static bool has_row(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < TR_COUNT(rows); i++)
        for (const char *at = rows[i].name; (at = strstr(at, name)); at++)
            if ((at == rows[i].name || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
                return true;
    return false;
}

static void every_function_of_the_list_has_a_row(void **state)
{
    (void)state;
    static const char *const names[] = {
#define TR_FN(returns, name, parameters, arguments)         #name,
#define TR_FNV(returns, name, index, parameters, arguments) #name,
#include <troupe/api_list.h>
#undef TR_FN
#undef TR_FNV
    };
    for (size_t i = 0; i < TR_COUNT(names); i++)
        if (!has_row(names[i]))
            fail_msg("tr_%s has no row here: add one that calls it", names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_of_the_list_has_a_row),
        cmocka_unit_test(whatever_allocation_fails_each_call_says_so_and_all_ends_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
