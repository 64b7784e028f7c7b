/* The operator's frames and requests, without a socket: frames in pieces and damaged ones, and what the loops of a node
 * under a test's clock answer. */
#include "tests/unit/operator_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "actors/operator/operator.h"
#include "actors/operator/socket_uv.h"
#include "actors/send.h"
#include "base/mem.h"

TR_MESSAGE(greet, (string, name), (u32, times))
TR_MESSAGE(greeting, (string, text))

/* ---- frames -------------------------------------------------------------------------------------------- */

static void a_frame_is_read_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const char sent[] = "\0\0\0\6{\"a\":1\0\0\0\2{}";
    for (size_t piece = 1; piece < sizeof(sent); piece++) {
        tr__operator_reader reader = {0};
        const char *want[] = {"{\"a\":1", "{}"};
        size_t at = 0, got = 0;
        while (at < sizeof(sent) - 1) {
            size_t used, length, left = sizeof(sent) - 1 - at;
            char *text;
            assert_int_equal(TR_OK, tr__operator_read(&reader, sent + at, left < piece ? left : piece, &used,
                                                      &text, &length, NULL));
            at += used;
            if (text) {
                assert_string_equal(want[got], text);
                assert_int_equal(strlen(want[got++]), length);
                tr__free(text);
            }
        }
        assert_int_equal(2, got);
        tr__operator_reader_fini(&reader);
    }
}

static void absurd_lengths_are_refused_before_anything_is_allocated(void **state)
{
    (void)state;
    static const uint8_t heads[][4] = {
        {0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {0x00, 0x10, 0x00, 0x01}, {'G', 'E', 'T', ' '}};
    for (size_t i = 0; i < TR_COUNT(heads); i++) {
        tr__operator_reader reader = {0};
        tr_error error;
        size_t used, length;
        char *text;
        assert_int_equal(TR_EPROTO, tr__operator_read(&reader, heads[i], 4, &used, &text, &length, &error));
        assert_non_null(strstr(error.text, "most significant first"));
        assert_null(reader.text);
    }
}

static void a_claimed_length_allocates_by_what_came(void **state)
{
    (void)state;
    tr__operator_reader reader = {0};
    size_t used, length;
    char *text, bytes[5000] = {0, 0x10, 0, 0};
    assert_int_equal(TR_OK, tr__operator_read(&reader, bytes, 4, &used, &text, &length, NULL));
    assert_true(reader.room <= 4096);
    assert_int_equal(TR_OK, tr__operator_read(&reader, bytes, sizeof(bytes), &used, &text, &length, NULL));
    assert_null(text);
    assert_true(reader.room <= 8192);
    tr__operator_reader_fini(&reader); /* cut here: nothing leaks */
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static void assert_refused(const char *request, const char *why)
{
    json_t *value = json_loads(request, JSON_DECODE_ANY, NULL);
    tr_error error = {0};
    assert_non_null(value);
    assert_null(tr__operator_row_of(value, &error));
    assert_int_equal(TR_EINVAL, error.code);
    if (!strstr(error.text, why))
        fail_msg("\"%s\" isn't in: %s", why, error.text);
    json_decref(value);
}

static void what_is_no_request_is_refused_with_what_is_known(void **state)
{
    (void)state;
    assert_refused("3", "nodes, ps, send, ask");
    assert_refused("[]", "{\"do\":\"ps\"}");
    assert_refused("{}", "{\"do\":\"ps\"}");
    assert_refused("{\"do\":7}", "{\"do\":\"ps\"}");
    assert_refused("{\"do\":\"dance\"}", "no request is called \"dance\"");
    assert_refused("{\"do\":\"ask\",\"timeout\":0}", "number of seconds");
    assert_refused("{\"do\":\"ask\",\"timeout\":-1}", "number of seconds");
    assert_refused("{\"do\":\"ask\",\"timeout\":1e12}", "number of seconds");
    assert_refused("{\"do\":\"ask\",\"timeout\":\"5\"}", "number of seconds");
}

/* ---- loops --------------------------------------------------------------------------------------------- */

static void a_message_from_json_is_sent_and_counted(void **state)
{
    fixture *f = *state;
    assert_answer(ask_loop(f, 0, "{\"do\":\"send\",\"to\":\"ada\",\"message\":{\"mark\":{\"n\":7}}}"),
                  "{\"ok\":true}");
    assert_string_equal("init 7 ", f->puppet.trail);
    assert_answer(ask_loop(f, 1, "{\"do\":\"ps\"}"), "\"handled\":1,\"name\":\"ada\"");
}

static void reply_greeting(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const greet *g = tr_match(msg, greet);
    (void)puppet;
    if (g)
        tr_reply(self, msg, greeting, .text = tr_fmt(self, "hello, %s", g->name));
}

static void an_answer_comes_back_as_json(void **state)
{
    fixture *f = *state;
    f->puppet.on = reply_greeting;
    assert_answer(
        ask_loop(f, 1, "{\"do\":\"ask\",\"to\":\"ada\",\"message\":{\"greet\":{\"name\":\"bob\"}}}"),
        "\"answer\":{\"greeting\":{\"text\":\"hello, bob\"}}");
    assert_answer(
        ask_loop(f, 0, "{\"do\":\"ask\",\"to\":\"ada\",\"message\":{\"greet\":{\"name\":\"eve\"}}}"),
        "hello, eve"); /* also from another loop */
}

static void keep_it(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    puppet->user = tr_msg_take(self, msg);
}

static void an_ask_ends_at_its_timeout(void **state)
{
    fixture *f = *state;
    f->puppet.on = keep_it;
    assert_null(ask_loop(f, 0, "{\"do\":\"ask\",\"to\":\"ada\",\"timeout\":2,\"message\":{\"greet\":{}}}"));
    manual_step(f->m, TR_MILLIS(1990));
    assert_null(f->answers[0]);
    manual_step(f->m, TR_MILLIS(20));
    assert_answer(f->answers[0], "\"code\":\"deadline\"");
}

static void what_is_wrong_with_a_message_is_named(void **state)
{
    static const char *const wrong[][2] = {
        {"{\"do\":\"send\",\"message\":{\"greet\":{}}}", "\\\"to\\\" is missing"},
        {"{\"do\":\"send\",\"to\":\"eve\",\"message\":{\"greet\":{}}}", "called \\\"eve\\\""},
        {"{\"do\":\"send\",\"to\":\"<7>\",\"message\":{\"greet\":{}}}", "no actor's address"},
        {"{\"do\":\"send\",\"to\":\"<none>\",\"message\":{\"greet\":{}}}", "no actor"},
        {"{\"do\":\"send\",\"to\":\"ada\"}", "one member"},
        {"{\"do\":\"send\",\"to\":\"ada\",\"message\":{\"greet\":{},\"mark\":{}}}", "one member"},
        {"{\"do\":\"send\",\"to\":\"ada\",\"message\":{\"gret\":{}}}", "no message type \\\"gret\\\""},
        {"{\"do\":\"send\",\"to\":\"ada\",\"message\":{\"greet\":7}}", "expected an object"},
        {"{\"do\":\"send\",\"to\":\"ada\",\"message\":{\"greet\":{\"nam\":\"x\"}}}", "no field 'nam'"},
        {"{\"do\":\"ask\",\"to\":\"ada\",\"message\":{\"greet\":{\"times\":\"x\"}}}",
         "greet.times: expected an integer"},
        {"{\"do\":\"send\",\"to\":\"ada\",\"message\":{\"tr_down\":{}}}", "sent by the runtime only"},
    };
    fixture *f = *state;
    for (size_t i = 0; i < TR_COUNT(wrong); i++)
        assert_answer(ask_loop(f, 0, wrong[i][0]), wrong[i][1]);
}

static void forge(tr_actor *self, void *context)
{
    fixture *f = context;
    tr_send(self, f->operators.actors[0], tr__operator_request, .number = f->number,
            .text = "{\"do\":\"ps\"}");
}

static void an_actor_can_not_make_a_request(void **state)
{
    fixture *f = *state;
    manual_do(f->m, f->puppet.address, forge, f);
    assert_null(f->answers[0]);
}

/* ---- ps ------------------------------------------------------------------------------------------------ */

static void child_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, mark))
        tr_exit(self, TR_EAPP, "told to");
}
TR_ACTOR(child_def, .receive = child_receive);

static void supervise_two(tr_actor *self, void *context)
{
    static const tr_child_spec children[] = {
        {.id = "first", .def = &child_def, .named = true},
        {.id = "second", .def = &child_def, .restart = TR_TEMPORARY, .named = true}};
    (void)context;
    tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = 2});
}

static void a_supervised_tree_is_told_with_its_restarts(void **state)
{
    fixture *f = *state;
    char parent[TR_ADDR_TEXT_MAX + 16];
    manual_do(f->m, f->puppet.address, supervise_two, NULL);
    for (int i = 0; i < 2; i++)
        assert_answer(ask_loop(f, 0, "{\"do\":\"send\",\"to\":\"first\",\"message\":{\"mark\":{}}}"), "true");
    assert_answer(ask_loop(f, 0, "{\"do\":\"send\",\"to\":\"second\",\"message\":{\"mark\":{}}}"), "true");
    manual_step(f->m, TR_MILLIS(20)); /* the second restart is not at once */
    json_t *ps = ask_loop(f, 1, "{\"do\":\"ps\"}");
    strcpy(parent, "\"parent\":\"");
    tr_addr_format(f->puppet.address, parent + strlen(parent));
    assert_answer(ps, parent); /* the supervisor's, on the loop of who made it */
    assert_answer(ps, "\"strategy\":\"one-for-one\"");
    assert_answer(
        ps, "{\"id\":\"first\",\"restart\":\"permanent\",\"restarts\":2,\"state\":\"up\",\"address\":\"<");
    assert_answer(ps, "{\"id\":\"second\",\"restart\":\"temporary\",\"restarts\":0,\"state\":\"out\"}");
}

static void spawn_many(tr_actor *self, void *context)
{
    for (int i = 0; i < *(int *)context; i++)
        tr_spawn(self, &child_def, NULL);
}

static void many_actors_are_counted_and_some_are_told(void **state)
{
    fixture *f = *state;
    int count = 20000; /* more than a slice, and than one answer tells of */
    manual_do(f->m, f->puppet.address, spawn_many, &count);
    const json_t *ps = ask_loop(f, 1, "{\"do\":\"ps\"}");
    assert_int_equal(count + 2, json_integer_value(json_object_get(ps, "count")));
    assert_int_equal(TR__OPERATOR_ACTORS_MAX / LOOPS, json_array_size(json_object_get(ps, "actors")));
    char *text = json_dumps(ps, JSON_COMPACT);
    assert_true(strlen(text) < TR__OPERATOR_FRAME_MAX / LOOPS);
    tr__free(text);
}

#define LONG_NAME "\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2\3\4\5\6\7"

static void spawn_long_named(tr_actor *self, void *context)
{
    char name[TR_NAME_MAX];
    for (int i = 0; i < *(int *)context; i++) {
        snprintf(name, sizeof(name), LONG_NAME "%d", i);
        tr_spawn_with(self, &child_def, NULL, &(tr_spawn_opts){.name = name});
    }
}

static void an_answer_fits_its_frame_whatever_the_names(void **state)
{
    fixture *f = *state;
    int count = TR__OPERATOR_ACTORS_MAX; /* in JSON each name takes six times its bytes */
    manual_do(f->m, f->puppet.address, spawn_long_named, &count);
    const json_t *ps = ask_loop(f, 1, "{\"do\":\"ps\"}");
    size_t told = json_array_size(json_object_get(ps, "actors"));
    assert_int_equal(count + 2, json_integer_value(json_object_get(ps, "count")));
    assert_true(told > 100 && told < (size_t)count / LOOPS);
    assert_true(json_dumpb(ps, NULL, 0, JSON_COMPACT) < TR__OPERATOR_FRAME_MAX / LOOPS);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void an_actor_with_a_thread_of_its_own_is_told_by_loop_0(void **state)
{
    fixture *f = *state;
    static manual_puppet own;
    char part[200], address[TR_ADDR_TEXT_MAX];
    own = (manual_puppet){0};
    manual_spawn(f->m, 1, &own, &(tr_spawn_opts){.place = TR_PLACE_OWN_THREAD});
    manual_pump(f->m);
    snprintf(part, sizeof(part), "{\"address\":\"%s\",\"definition\":\"puppet\",\"state\":\"own-thread\"}",
             tr_addr_format(own.address, address));
    assert_answer(ask_loop(f, 0, "{\"do\":\"ps\"}"), part);
    char *text = json_dumps(ask_loop(f, 1, "{\"do\":\"ps\"}"), JSON_COMPACT);
    assert_null(strstr(text, address));
    tr__free(text);
}

/* ---- who gives way ------------------------------------------------------------------------------------- */

static void the_client_that_is_silent_longest_gives_way(void **state)
{
    static tr__operator_client c[4];
    const uint64_t now = TR_SECONDS(100);
    (void)state;
    memset(c, 0, sizeof(c));
    for (int i = 0; i < 3; i++)
        c[i].next = &c[i + 1];
    for (int i = 0; i < 4; i++)
        c[i].turn_ns = now - TR__OPERATOR_SILENCE + 1;
    assert_null(tr__operator_silent(c, now));
    assert_null(tr__operator_silent(NULL, now));
    c[2].turn_ns -= 1;
    assert_ptr_equal(tr__operator_silent(c, now), &c[2]);
    c[1].turn_ns -= 2;
    assert_ptr_equal(tr__operator_silent(c, now), &c[1]);
    c[1].number = 7; /* it waits for its answer */
    assert_ptr_equal(tr__operator_silent(c, now), &c[2]);
    c[2].closing = true;
    assert_null(tr__operator_silent(c, now));
    assert_ptr_equal(tr__operator_silent(c, now + 1), &c[0]);
    c[0].peer = 3; /* another node's request */
    assert_ptr_equal(tr__operator_silent(c, now + 1), &c[3]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_actor_with_a_thread_of_its_own_is_told_by_loop_0, setup, teardown),
        cmocka_unit_test(a_frame_is_read_in_pieces_of_any_size),
        cmocka_unit_test(absurd_lengths_are_refused_before_anything_is_allocated),
        cmocka_unit_test(a_claimed_length_allocates_by_what_came),
        cmocka_unit_test(the_client_that_is_silent_longest_gives_way),
        cmocka_unit_test(what_is_no_request_is_refused_with_what_is_known),
        LOOP_TEST(a_message_from_json_is_sent_and_counted),
        LOOP_TEST(an_answer_comes_back_as_json),
        LOOP_TEST(an_ask_ends_at_its_timeout),
        LOOP_TEST(what_is_wrong_with_a_message_is_named),
        LOOP_TEST(an_actor_can_not_make_a_request),
        LOOP_TEST(a_supervised_tree_is_told_with_its_restarts),
        LOOP_TEST(many_actors_are_counted_and_some_are_told),
        LOOP_TEST(an_answer_fits_its_frame_whatever_the_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
