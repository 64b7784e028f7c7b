/* An actor's bound on one message, for who is on its own node. */
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/limits.h"
#include "base/mem.h"

TR_MESSAGE(load, (bytes, data), (buffer, shared))

#define MAX ((size_t)300000)

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state, (void)msg;
}
static const tr_actor_def bounded_def = {.name = "bounded", .receive = receive, .message_max = MAX};
static const tr_actor_def low_def = {.name = "low", .receive = receive, .message_max = 1};

typedef struct attempt {
    tr_addr to;
    size_t bytes, shared;
    tr_err sent, asked, made;
    char text[TR_ERROR_TEXT_MAX];
} attempt;

static void try_it(tr_actor *self, void *context)
{
    static char data[2 * MAX];
    attempt *a = context;
    const tr_buffer *shared = a->shared ? tr_buffer_make(self, data, a->shared) : NULL;
    load body = {.data = {data, a->bytes}, .shared = shared};
    tr_msg *made = tr_msg_make(self, &load_type, &body);
    a->made = tr_send_msg(self, a->to, &made);
    tr_msg_free(self, &made);
    tr_future future = tr_ask_body(self, a->to, TR_SECONDS(1), &load_type, &body);
    a->asked = future.id ? TR_OK : tr_last_error(self)->code;
    tr_cancel(self, future);
    a->sent = tr_send_body(self, a->to, &load_type, &body);
    strcpy(a->text, a->sent == TR_OK ? "" : tr_last_error(self)->text);
    if (shared)
        tr_buffer_release(self, shared);
}

static attempt tried(manual *m, tr_addr puppet, tr_addr to, size_t bytes, size_t shared)
{
    attempt a = {.to = to, .bytes = bytes, .shared = shared};
    manual_do(m, puppet, try_it, &a);
    return a;
}

static void a_larger_message_than_an_actor_takes_is_refused_at_its_sender(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    manual_puppet p = {0};
    manual_spawn(m, 0, &p, NULL);
    for (uint32_t loop = 0; loop < 2; loop++) {
        tr_addr to = manual_spawn_def(m, loop, &bounded_def, NULL, NULL);
        manual_pump(m);
        static const struct {
            size_t bytes, shared;
            tr_err err;
        } cases[] = {
            {MAX - 100, 0, TR_OK}, {MAX, 0, TR_ETOOBIG},   {0, MAX - 100, TR_OK},
            {0, MAX, TR_ETOOBIG},  {MAX / 2, 1000, TR_OK}, {MAX / 2, MAX / 2, TR_ETOOBIG},
        };
        for (size_t i = 0; i < TR_COUNT(cases); i++) {
            attempt a = tried(m, p.address, to, cases[i].bytes, cases[i].shared);
            assert_int_equal(a.sent, cases[i].err);
            assert_int_equal(a.asked, cases[i].err);
            assert_int_equal(a.made, cases[i].err);
        }
        attempt a = tried(m, p.address, to, MAX, 0);
        assert_non_null(strstr(a.text, "a load of 3000"));
        assert_non_null(
            strstr(a.text, "larger than a bounded takes, which is 300000 (message_max of its definition)"));
        static char data[MAX];
        assert_int_equal(tr_post(m->node, to, load, .data = {data, MAX}), TR_ETOOBIG);
        assert_int_equal(tr_post(m->node, to, load, .data = {data, MAX - 100}), TR_OK);
        manual_pump(m);
    }
    manual_close(m);
}

static void a_bound_below_the_least_is_taken_for_that(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet p = {0};
    manual_spawn(m, 0, &p, NULL);
    tr_addr to = manual_spawn_def(m, 0, &low_def, NULL, NULL);
    manual_pump(m);
    assert_int_equal(tried(m, p.address, to, TR__LIMIT_MIN - 100, 0).sent, TR_OK);
    assert_int_equal(tried(m, p.address, to, TR__LIMIT_MIN + 1, 0).sent, TR_ETOOBIG);
    manual_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_larger_message_than_an_actor_takes_is_refused_at_its_sender),
        cmocka_unit_test(a_bound_below_the_least_is_taken_for_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
