/* mailbox/buffer.c, actors/buffers.c: a buffer is shared by all who hold it, on whatever loop, and freed once, by the
 * last; what an actor holds at its end is released for it. */
#include <stdlib.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "base/mem.h"
#include "mailbox/buffer.h"

TR_MESSAGE(picture, (u64, n), (buffer, pixels), (string, caption))

/* ---- helpers ------------------------------------------------------------------------------------------- */

typedef struct album {
    tr_addr to[4];
    const tr_buffer *made, *seen[4];
    uint32_t count, freed;
    tr_err err;
    bool keep; /* a receiver holds what it gets */
    tr_msg *taken;
} album;

static char pixels[5000];

static void count_free(void *data, size_t size, void *context)
{
    assert_ptr_equal(data, pixels);
    assert_int_equal(size, sizeof(pixels));
    ((album *)context)->freed++;
}

static void adopt(tr_actor *self, void *context)
{
    album *a = context;
    a->made = tr_buffer_adopt(self, pixels, sizeof(pixels), count_free, a);
}

static void adopt_and_send(tr_actor *self, void *context)
{
    album *a = context;
    adopt(self, a);
    for (int i = 0; i < 4 && !tr_addr_is_none(a->to[i]); i++)
        assert_int_equal(tr_send(self, a->to[i], picture, .n = i, .pixels = a->made, .caption = "sea"),
                         TR_OK);
}

static void release(tr_actor *self, void *context)
{
    album *a = context;
    a->err = tr_buffer_release(self, a->made);
}

static void look(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    album *a = puppet->user;
    const picture *p = tr_match(msg, picture);
    if (!p)
        return;
    assert_string_equal(p->caption, "sea");
    a->seen[p->n] = p->pixels;
    a->count++;
    if (a->keep)
        assert_int_equal(tr_buffer_hold(self, p->pixels), TR_OK);
}

static uint64_t live(manual *m)
{
    return tr__buffers_bytes(m->node->buffers);
}

static void stop_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_SHUTDOWN), TR_OK);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void one_buffer_reaches_many_receivers_without_a_copy(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    album a = {0};
    manual_puppet sender = {0}, receivers[4];
    manual_spawn(m, 0, &sender, NULL);
    for (uint32_t i = 0; i < 4; i++) {
        receivers[i] = (manual_puppet){.on = look, .user = &a};
        manual_spawn(m, i % 2, &receivers[i], NULL);
        a.to[i] = receivers[i].address;
    }
    manual_do(m, sender.address, adopt_and_send, &a);
    manual_pump(m);
    assert_int_equal(a.count, 4);
    for (int i = 0; i < 4; i++) {
        assert_ptr_equal(a.seen[i], a.made);
        assert_ptr_equal(a.seen[i]->data, pixels);
    }
    assert_int_equal(a.freed, 0); /* its maker holds it */
    assert_int_equal(live(m), sizeof(pixels));
    manual_do(m, sender.address, release, &a);
    assert_int_equal(a.err, TR_OK);
    assert_int_equal(a.freed, 1);
    assert_int_equal(live(m), 0);
    manual_close(m);
}

static void a_receiver_may_keep_it_and_its_end_releases_it(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    album a = {.keep = true};
    manual_puppet sender = {0}, receiver = {.on = look, .user = &a};
    manual_spawn(m, 0, &sender, NULL);
    manual_spawn(m, 1, &receiver, NULL);
    a.to[0] = a.to[1] = receiver.address; /* it holds it twice */
    manual_do(m, sender.address, adopt_and_send, &a);
    manual_pump(m);
    manual_do(m, sender.address, release, &a);
    manual_do(m, sender.address, release, &a);
    assert_int_equal(a.err, TR_EINVAL); /* it isn't its any more */
    manual_do(m, receiver.address, release, &a);
    assert_int_equal(a.err, TR_OK);
    assert_int_equal(a.freed, 0);
    manual_do(m, sender.address, stop_it, &receiver.address);
    manual_pump(m);
    assert_int_equal(a.freed, 1);
    assert_int_equal(live(m), 0);
    manual_close(m);
}

static void what_nobody_receives_is_released(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    album a = {0};
    manual_puppet sender = {0}, receiver = {.on = look, .user = &a};
    manual_spawn(m, 0, &sender, NULL);
    manual_spawn(m, 1, &receiver, NULL);
    a.to[0] = a.to[1] = receiver.address;
    manual_do(m, sender.address, stop_it, &receiver.address);
    manual_pump(m);
    manual_do(m, sender.address, adopt_and_send, &a);
    manual_do(m, sender.address, stop_it, &sender.address);
    manual_pump(m);
    assert_int_equal(a.count, 0);
    assert_int_equal(a.freed, 1);
    manual_close(m);
}

static void ask_nobody(tr_actor *self, void *context)
{
    album *a = context;
    adopt(self, a);
    tr_future future = tr_ask(self, a->to[0], TR_SECONDS(1), picture, .pixels = a->made);
    assert_true(future.id != 0);
    assert_int_equal(tr_buffer_release(self, a->made), TR_OK);
}

static void an_ask_that_fails_lets_go_of_its_buffers_at_once(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    album a = {0};
    manual_puppet sender = {0};
    manual_spawn(m, 0, &sender, NULL);
    a.to[0] = (tr_addr){m->node->id, sender.address.slot, sender.address.generation + 1};
    manual_do(m, sender.address, ask_nobody, &a);
    assert_int_equal(a.freed, 1);
    manual_close(m);
}

static void take_it(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    ((album *)puppet->user)->taken = tr_msg_take(self, msg);
}

static void send_on(tr_actor *self, void *context)
{
    album *a = context;
    assert_int_equal(tr_send_msg(self, a->to[1], &a->taken), TR_OK);
}

static void a_kept_message_holds_its_buffer_and_takes_it_along(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    album a = {0};
    manual_puppet sender = {0}, keeper = {.on = take_it, .user = &a}, last = {.on = look, .user = &a};
    manual_spawn(m, 0, &sender, NULL);
    manual_spawn(m, 1, &keeper, NULL);
    manual_spawn(m, 0, &last, NULL);
    a.to[0] = keeper.address;
    manual_do(m, sender.address, adopt_and_send, &a);
    manual_pump(m);
    manual_do(m, sender.address, stop_it, &sender.address);
    manual_pump(m);
    assert_int_equal(a.freed, 0);
    a.to[1] = last.address;
    manual_do(m, keeper.address, send_on, &a);
    manual_pump(m);
    assert_int_equal(a.count, 1);
    assert_ptr_equal(a.seen[0], a.made);
    assert_int_equal(a.freed, 1);
    manual_close(m);
}

static void send_plain(tr_actor *self, void *context)
{
    album *a = context;
    const tr_buffer *copy = tr_buffer_make(self, "abc", 3);
    assert_memory_equal(copy->data, "abc", 3);
    a->err = tr_send(self, a->to[0], picture, .n = 0, .pixels = copy, .caption = "sea");
    assert_int_equal(tr_buffer_release(self, copy), TR_OK);
    assert_int_equal(tr_send(self, a->to[0], mark, .n = 7), TR_OK);
}

static void over_the_budget_only_messages_with_buffers_are_refused(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    album a = {0};
    manual_puppet sender = {0}, receiver = {.on = look, .user = &a};
    manual_spawn(m, 0, &sender, NULL);
    manual_spawn(m, 0, &receiver, NULL);
    a.to[0] = receiver.address;
    atomic_store(&m->node->buffers->max, 3);
    manual_do(m, sender.address, send_plain, &a);
    assert_int_equal(a.err, TR_OK);
    atomic_store(&m->node->buffers->max, 2);
    tr_actor *busy = manual_actor(m, receiver.address);
    busy->queued = true; /* it doesn't run: its mailbox takes one beyond the budget, and no more */
    manual_do(m, sender.address, send_plain, &a);
    assert_int_equal(a.err, TR_OK);
    manual_do(m, sender.address, send_plain, &a);
    assert_int_equal(a.err, TR_EFULL);
    busy->queued = false;
    manual_mark(m, receiver.address, 8);
    manual_pump(m);
    assert_string_equal(receiver.trail, "init picture 7 picture 7 7 8 ");
    assert_int_equal(live(m), 0);
    manual_close(m);
}

static void no_buffer(tr_actor *self, void *context)
{
    album *a = context;
    a->err = tr_send(self, a->to[0], picture, .n = 0, .caption = "sea");
    assert_int_equal(tr_buffer_hold(self, NULL), TR_OK);
    assert_int_equal(tr_buffer_release(self, NULL), TR_OK);
}

static void a_receiver_never_sees_null(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    album a = {.keep = true};
    manual_puppet sender = {0}, receiver = {.on = look, .user = &a};
    manual_spawn(m, 0, &sender, NULL);
    manual_spawn(m, 0, &receiver, NULL);
    a.to[0] = receiver.address;
    manual_do(m, sender.address, no_buffer, &a);
    manual_pump(m);
    assert_ptr_equal(a.seen[0], &tr__buffer_empty);
    assert_int_equal(a.seen[0]->size, 0);
    manual_close(m);
}

/* Make, adopt, hold, send with the n-th allocation failing; what was adopted stays the caller's if it fails. */
static void starving(tr_actor *self, void *context)
{
    album *a = context;
    for (uint64_t n = 1;; n++) {
        tr__alloc_fail_at(n);
        uint32_t freed = a->freed;
        const tr_buffer *copy = tr_buffer_make(self, "abc", 3);
        const tr_buffer *own = tr_buffer_adopt(self, pixels, sizeof(pixels), count_free, a);
        assert_int_equal(a->freed, freed);
        tr_err sent =
            own ? tr_send(self, a->to[0], picture, .n = 0, .pixels = own, .caption = "sea") : TR_ENOMEM;
        uint64_t left = tr__alloc_fail_left();
        tr__alloc_fail_at(0);
        tr_buffer_release(self, copy);
        tr_buffer_release(self, own);
        if (left) {
            assert_int_equal(sent, TR_OK);
            return;
        }
        assert_true(!copy || !own || sent == TR_ENOMEM);
    }
}

static void whichever_allocation_fails_nothing_is_lost(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    album a = {0};
    manual_puppet sender = {0}, receiver = {.on = look, .user = &a};
    manual_spawn(m, 0, &sender, NULL);
    manual_spawn(m, 0, &receiver, NULL);
    a.to[0] = receiver.address;
    manual_do(m, sender.address, starving, &a);
    manual_pump(m);
    assert_true(a.count >= 1);
    assert_int_equal(live(m), 0);
    manual_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_buffer_reaches_many_receivers_without_a_copy),
        cmocka_unit_test(a_receiver_may_keep_it_and_its_end_releases_it),
        cmocka_unit_test(what_nobody_receives_is_released),
        cmocka_unit_test(an_ask_that_fails_lets_go_of_its_buffers_at_once),
        cmocka_unit_test(a_kept_message_holds_its_buffer_and_takes_it_along),
        cmocka_unit_test(over_the_budget_only_messages_with_buffers_are_refused),
        cmocka_unit_test(a_receiver_never_sees_null),
        cmocka_unit_test(whichever_allocation_fails_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
