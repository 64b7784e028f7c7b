/* Writable notices: who was refused hears when it is worth trying again, also when others that were told
 * first make nothing of it. Real nodes under the uv driver; each ends by itself or by its deadline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

TR_MESSAGE(fill, (u64, number))
TR_MESSAGE(ask_for_notice, (addr, at))
TR_MESSAGE(told, (u64, number))

#define WAITERS 100

static void nothing(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self;
    (void)state;
    (void)msg;
}
TR_ACTOR(full_def, .receive = nothing, .mailbox_places = 4);

/* Wants a notice and, when it has it, sends nothing there. */
static void waiter_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    tr_addr *home = state;
    const ask_for_notice *ask = tr_match(msg, ask_for_notice);
    if (ask) {
        *home = tr_msg_sender(msg);
        tr_notify_writable(self, ask->at);
    } else if (tr_match(msg, tr_writable)) {
        tr_send(self, *home, told, .number = 1);
    }
}
TR_ACTOR(waiter_def, .receive = waiter_receive, .state_size = sizeof(tr_addr));

static tr_err all_are_told(tr_actor *self, void *arg)
{
    tr_spawn_opts place = {.place = TR_PLACE_LOOP, .loop = *(uint32_t *)arg};
    tr_addr full = tr_spawn_with(self, &full_def, NULL, &place);
    while (tr_send(self, full, fill, .number = 0) == TR_OK)
        ;
    for (int i = 0; i < WAITERS; i++)
        TR_TRY(tr_send(self, tr_spawn(self, &waiter_def, NULL), ask_for_notice, .at = full));
    for (int i = 0; i < WAITERS; i++)
        if (!tr_receive(self, TR_SECONDS(20)))
            return tr_fail(self, TR_EDEADLINE, "only %d of %d were told", i, WAITERS);
    return TR_OK;
}

static void run_with(uint32_t loops, uint32_t place)
{
    tr_error error = {0};
    tr_node_opts opts = {.loops = loops, .log_level = TR_LOG_ERROR, .start = all_are_told, .arg = &place};
    tr_node *node = tr_node_create(&opts, &error);
    assert_non_null(node);
    if (tr_node_run(node, &error) != TR_OK)
        fail_msg("%s", error.text);
    tr_node_destroy(node);
}

static void a_notice_that_is_not_used_does_not_stop_the_next(void **state)
{
    (void)state;
    run_with(1, 0);
}

static void nor_does_it_across_loops(void **state)
{
    (void)state;
    run_with(2, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_notice_that_is_not_used_does_not_stop_the_next),
        cmocka_unit_test(nor_does_it_across_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
