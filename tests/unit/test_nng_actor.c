/* The nng socket's actor over a scripted seam, under a test's clock. */
#include "tests/kit/manual.h"

#include <stdio.h>
#include <string.h>

#include <troupe/nng_socket.h>

#include "base/mem.h"
#include "tests/kit/script_sp.h"

TR_MESSAGE(order, (string, customer), (u32, n))

/* ---- fixture ------------------------------------------------------------------------------------------- */

static script_sp script;
static manual *m;
static manual_puppet puppet; /* consumer, who hears events, and who asks */
static tr_addr sock;
static uint64_t sock_monitor;
static tr_msg *held[8]; /* requests that the puppet keeps */
static uint32_t held_count;
static bool keeps;
static uint32_t most_waiting; /* outside, while the puppet handles a message */
static tr_nng_event last_event;

static void note_bytes(const char *what, tr_bytes bytes)
{
    manual_note(&puppet, "%s:%.*s", what, (int)bytes.size, (const char *)bytes.data);
}

static void hear(tr_actor *self, manual_puppet *p, const tr_msg *msg)
{
    const tr_nng_message *message = tr_match(msg, tr_nng_message);
    const tr_nng_request *request = tr_match(msg, tr_nng_request);
    const tr_nng_event *event = tr_match(msg, tr_nng_event);
    (void)p;
    uint32_t waiting = script.incoming_end - script.incoming_first;
    if ((message || request) && waiting > most_waiting)
        most_waiting = waiting;
    if (message)
        note_bytes("got", message->data);
    if (request)
        note_bytes("asked", request->data);
    if (request && keeps)
        held[held_count++] = tr_msg_take(self, msg);
    if (event) {
        last_event = *event;
        manual_note(p, "event%u:%s:%u", event->kind, tr_err_word(event->code),
                    (unsigned)(event->retry_ns / 1000000));
    }
}

static void spawn_it(tr_actor *self, void *context)
{
    sock = tr_spawn_with(self, &tr_nng_socket, context, &(tr_spawn_opts){.monitor = &sock_monitor});
}

static void open_with(tr_nng_opts opts, uint32_t places)
{
    script_sp_init(&script);
    tr__kind_seams kinds = {.sp = script_sp_seam(), .context = &script};
    m = manual_open_kinds(1, &kinds);
    puppet = (manual_puppet){.on = hear};
    held_count = 0;
    keeps = false;
    manual_spawn(m, 0, &puppet, &(tr_spawn_opts){.mailbox_places = places});
    manual_pump(m);
    if (!opts.listen.count && !opts.dial.count) {
        static const char *const url = "inproc://x";
        opts.listen.data = &url;
        opts.listen.count = 1;
    }
    opts.consumer = puppet.address;
    manual_do(m, puppet.address, spawn_it, &opts);
    (void)script_sp_did(&script);
    puppet.trail[0] = '\0';
}

static void close_all(void)
{
    manual_close(m);
    script_sp_fini(&script);
}

static void expect_did(const char *did)
{
    manual_pump(m);
    assert_string_equal(script_sp_did(&script), did);
}

static void expect_trail(const char *trail)
{
    manual_pump(m);
    assert_string_equal(puppet.trail, trail);
    puppet.trail[0] = '\0';
}

static void send_text(tr_actor *self, void *context)
{
    const char *text = context;
    if (tr_send(self, sock, tr_nng_send, .data = {text, strlen(text)}) != TR_OK)
        manual_note(&puppet, "refused:%s", tr_err_word(tr_last_error(self)->code));
}

static void note_result(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self, (void)state, (void)context;
    const tr_nng_reply *reply = result->msg ? tr_match(result->msg, tr_nng_reply) : NULL;
    const tr_nng_answers *answers = result->msg ? tr_match(result->msg, tr_nng_answers) : NULL;
    if (result->err)
        manual_note(&puppet, "failed:%s", tr_err_word(result->err));
    else if (reply)
        note_bytes("reply", reply->data);
    else if (answers)
        manual_note(&puppet, "answers:%zu+%u", answers->answers.count, answers->dropped);
    else
        manual_note(&puppet, "reply:%s", tr_msg_type_name(result->msg));
    for (size_t i = 0; answers && i < answers->answers.count && i < 4; i++)
        note_bytes("answer", answers->answers.data[i]);
}

static tr_future last_future;

static void ask_text(tr_actor *self, void *context)
{
    const char *text = context;
    last_future = tr_ask(self, sock, TR_SECONDS(2), tr_nng_request, .data = {text, strlen(text)});
    assert_int_equal(tr_then(self, last_future, note_result, NULL), TR_OK);
}

static void ask_to_send(tr_actor *self, void *context)
{
    const char *text = context;
    tr_future f = tr_ask(self, sock, TR_SECONDS(2), tr_nng_send, .data = {text, strlen(text)});
    assert_int_equal(tr_then(self, f, note_result, NULL), TR_OK);
}

static void cancel_last(tr_actor *self, void *context)
{
    (void)context;
    tr_cancel(self, last_future);
}

static tr_nng_status status;

static void note_status(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self, (void)state, (void)context;
    assert_int_equal(result->err, TR_OK);
    status = *tr_match(result->msg, tr_nng_status);
}

static void query(tr_actor *self, void *context)
{
    (void)context;
    tr_future f = tr_ask(self, sock, TR_SECONDS(2), tr_nng_query);
    assert_int_equal(tr_then(self, f, note_status, NULL), TR_OK);
}

#define TELL(fn, text) manual_do(m, puppet.address, fn, (void *)(text))

/* ---- sending ------------------------------------------------------------------------------------------- */

static void what_nng_does_not_take_waits_in_the_mailbox_and_goes_in_order(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "push", .send_ahead = 4}, 0);
    static const char *const texts[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    for (int i = 0; i < 8; i++)
        TELL(send_text, texts[i]);
    expect_did("send:0 send:1 send:2 send:3 ");
    script_sp_taken(&script, TR_OK);
    TELL(send_text, texts[8]); /* there is room for one, but others wait */
    expect_did("");
    script_sp_taken(&script, TR_OK);
    expect_did("send:4 send:5 ");
    TELL(send_text, texts[9]);
    script_sp_taken(&script, TR_OK);
    script_sp_taken(&script, TR_OK);
    expect_did("send:6 send:7 ");
    while (script.counts.unsent)
        script_sp_taken(&script, TR_OK), manual_pump(m);
    expect_did("send:8 send:9 ");
    close_all();
}

static void a_sender_of_more_than_waits_is_refused(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "push", .send_ahead = 1}, 0);
    for (int i = 0; i < 4096 + 1; i++)
        TELL(send_text, "x");
    expect_trail("");
    TELL(send_text, "x");
    expect_trail("refused:full ");
    close_all();
}

static void an_asked_send_is_answered_when_nng_has_taken_it_or_not(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "push"}, 0);
    TELL(ask_to_send, "a");
    TELL(send_text, "b");
    TELL(ask_to_send, "c");
    expect_trail("");
    script_sp_taken(&script, TR_OK);
    expect_trail("reply:tr_nng_sent ");
    script_sp_taken(&script, TR_OK);
    script_sp_taken(&script, TR_EDEADLINE);
    expect_trail("failed:deadline ");
    close_all();
}

static void what_a_protocol_does_not_do_is_refused_and_counted(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "pull"}, 0);
    TELL(ask_text, "x");
    TELL(ask_to_send, "x");
    TELL(send_text, "x");
    expect_trail("failed:invalid failed:invalid ");
    TELL(query, NULL);
    assert_int_equal(status.refused, 1);
    assert_int_equal(status.failed, 2);
    expect_did("");
    close_all();
    open_with((tr_nng_opts){.protocol = "req", .send_max = 3}, 0);
    TELL(ask_text, "four");
    TELL(ask_to_send, "x");
    expect_trail("failed:too-big failed:invalid ");
    close_all();
}

static void send_order(tr_actor *self, void *context)
{
    (void)context;
    (void)tr_send(self, sock, order, .customer = "ada", .n = 7);
}

static void a_typed_message_is_sent_only_in_the_encoding_that_was_chosen(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "push"}, 0);
    TELL(send_order, NULL);
    expect_did("");
    TELL(query, NULL);
    assert_int_equal(status.refused, 1);
    close_all();
    open_with((tr_nng_opts){.protocol = "push", .encoding = "json"}, 0);
    TELL(send_order, NULL);
    expect_did("send:{\"customer\":\"ada\",\"n\":7} ");
    TELL(send_text, "as it is");
    expect_did("send:as it is ");
    close_all();
    open_with((tr_nng_opts){.protocol = "push", .encoding = "cbor"}, 0);
    TELL(send_order, NULL);
    expect_did("send:\x82\x63"
               "ada\x07 ");
    close_all();
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

static void come_six(tr_actor *self, void *context)
{
    (void)self;
    for (int i = 0; i < 6; i++)
        script_sp_come(&script, 0, ((const char *const *)context)[i]);
}

static void what_comes_waits_outside_while_the_consumer_has_no_room(void **state)
{
    static const char *const texts[] = {"a", "b", "c", "d", "e", "f"};
    (void)state;
    open_with((tr_nng_opts){.protocol = "pull"}, 2);
    manual_tell(m, puppet.address, come_six, (void *)texts);
    most_waiting = 0;
    expect_trail("tr_nng_message got:a tr_nng_message got:b tr_nng_message got:c tr_nng_message got:d "
                 "tr_nng_message got:e tr_nng_message got:f ");
    assert_int_equal(most_waiting, 4); /* two are in its mailbox */
    assert_int_equal(script.incoming_first, script.incoming_end);
    TELL(query, NULL);
    assert_int_equal(status.delivered, 6);
    close_all();
}

static void stop_it(tr_actor *self, void *context)
{
    (void)tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED);
}

static void a_socket_ends_with_its_consumer(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "pull"}, 0);
    manual_puppet other = {0};
    manual_spawn(m, 0, &other, NULL);
    manual_pump(m);
    assert_non_null(manual_actor(m, sock));
    manual_do(m, other.address, stop_it, &puppet.address);
    assert_null(manual_actor(m, sock));
    expect_did("close ");
    close_all();
}

/* ---- asks ---------------------------------------------------------------------------------------------- */

static void an_ask_is_a_request_with_what_is_left_of_its_time(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "req"}, 0);
    TELL(ask_text, "why");
    expect_did("request:0:why:2000 ");
    script_sp_event(&script, TR__SP_ANSWER, 0, "because", TR_OK, "");
    script_sp_event(&script, TR__SP_OVER, 0, NULL, TR_OK, "");
    expect_trail("reply:because ");
    TELL(ask_text, "how");
    expect_did("request:0:how:2000 ");
    script_sp_event(&script, TR__SP_OVER, 0, NULL, TR_ERESET, "Connection reset");
    expect_trail("failed:reset ");
    close_all();
}

static void asks_beyond_the_exchanges_wait_and_those_given_up_are_dropped(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "req", .exchanges = 1}, 0);
    TELL(ask_text, "a");
    TELL(ask_text, "b");
    TELL(cancel_last, NULL); /* while it waits */
    manual_step(m, TR_MILLIS(500));
    TELL(ask_text, "c");
    expect_did("request:0:a:2000 ");
    script_sp_event(&script, TR__SP_ANSWER, 0, "1", TR_OK, "");
    script_sp_event(&script, TR__SP_OVER, 0, NULL, TR_OK, "");
    expect_did("request:0:c:2000 ");
    TELL(cancel_last, NULL); /* while it is asked */
    expect_did("abandon:0 ");
    TELL(ask_text, "d");
    expect_did(""); /* not before the exchange is free */
    script_sp_event(&script, TR__SP_ANSWER, 0, "late", TR_OK, "");
    script_sp_event(&script, TR__SP_OVER, 0, NULL, TR_ECANCELED, "");
    expect_did("request:0:d:2000 ");
    expect_trail("reply:1 ");
    TELL(ask_text, "e");
    manual_step(m, TR_SECONDS(3)); /* e's deadline passes while it waits, d's at the seam */
    expect_did("abandon:0 ");
    script_sp_event(&script, TR__SP_OVER, 0, NULL, TR_EDEADLINE, "no answer came in time");
    expect_did("");
    expect_trail("failed:deadline failed:deadline ");
    TELL(query, NULL);
    assert_int_equal(status.exchanges, 0);
    close_all();
}

static void a_survey_is_answered_once_by_all_that_came(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "surveyor", .survey_ns = TR_MILLIS(700)}, 0);
    TELL(ask_text, "well");
    expect_did("request:0:well:700 ");
    script_sp_event(&script, TR__SP_ANSWER, 0, "yes", TR_OK, "");
    script_sp_event(&script, TR__SP_ANSWER, 0, "no", TR_OK, "");
    expect_trail("");
    script_sp_event(&script, TR__SP_OVER, 0, NULL, TR_OK, "");
    expect_trail("answers:2+0 answer:yes answer:no ");
    close_all();
    open_with((tr_nng_opts){.protocol = "surveyor", .survey_ns = TR_SECONDS(60), .receive_max = 1}, 0);
    TELL(ask_text, "well");
    expect_did("request:0:well:1750 "); /* it is over before the ask is */
    for (int i = 0; i < 17; i++)
        script_sp_event(&script, TR__SP_ANSWER, 0, "1", TR_OK, "");
    script_sp_event(&script, TR__SP_OVER, 0, NULL, TR_OK, "");
    expect_trail("answers:16+1 answer:1 answer:1 answer:1 answer:1 ");
    close_all();
}

static void asks_that_wait_when_it_ends_are_told(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "req", .exchanges = 1}, 0);
    TELL(ask_text, "a");
    TELL(ask_text, "b");
    script_sp_event(&script, TR__SP_BROKEN, 0, NULL, TR_EIO, "receiving failed");
    expect_trail("failed:closed failed:closed down:error ");
    close_all();
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static void answer_first(tr_actor *self, void *context)
{
    const char *text = context;
    tr_msg *msg = held[0];
    memmove(held, held + 1, --held_count * sizeof(held[0]));
    if (text)
        (void)tr_reply(self, msg, tr_nng_reply, .data = {text, strlen(text)});
    tr_msg_free(self, &msg);
}

static void a_request_is_an_ask_and_its_answer_the_reply(void **state)
{
    (void)state;
    open_with((tr_nng_opts){.protocol = "rep", .answer_timeout_ns = TR_SECONDS(1)}, 0);
    keeps = true;
    script_sp_come(&script, 3, "x");
    script_sp_come(&script, 5, "y");
    expect_trail("tr_nng_request asked:x tr_nng_request asked:y ");
    expect_did("");
    TELL(answer_first, "to x");
    expect_did("reply:3:to x ");
    TELL(answer_first, NULL); /* it isn't answered: nor is the peer */
    expect_did("reply:5:none ");
    script_sp_come(&script, 5, "z");
    manual_step(m, TR_SECONDS(2)); /* nor in time */
    expect_did("reply:5:none ");
    TELL(query, NULL);
    assert_int_equal(status.answered, 1);
    assert_int_equal(status.unanswered, 2);
    TELL(answer_first, "late");
    expect_did("");
    close_all();
}

static void requests_wait_outside_while_the_consumer_has_no_room(void **state)
{
    static const char *const texts[] = {"a", "b", "c", "d", "e", "f"};
    (void)state;
    open_with((tr_nng_opts){.protocol = "rep"}, 2);
    most_waiting = 0;
    manual_tell(m, puppet.address, come_six, (void *)texts);
    expect_trail(
        "tr_nng_request asked:a tr_nng_request asked:b tr_nng_request asked:c tr_nng_request asked:d "
        "tr_nng_request asked:e tr_nng_request asked:f ");
    assert_int_equal(most_waiting, 4);
    TELL(query, NULL);
    assert_int_equal(status.delivered, 6);
    assert_int_equal(status.undeliverable, 0);
    close_all();
}

/* ---- dials --------------------------------------------------------------------------------------------- */

static const char *const target = "inproc://far";

static void open_dial(void)
{
    tr_nng_opts opts = {.protocol = "push", .backoff_ns = TR_MILLIS(100), .backoff_max_ns = TR_SECONDS(1)};
    opts.dial.data = &target;
    opts.dial.count = 1;
    script_sp_init(&script);
    tr__kind_seams kinds = {.sp = script_sp_seam(), .context = &script};
    m = manual_open_kinds(1, &kinds);
    puppet = (manual_puppet){.on = hear};
    manual_spawn(m, 0, &puppet, NULL);
    manual_pump(m);
    opts.events = puppet.address;
    manual_do(m, puppet.address, spawn_it, &opts);
    puppet.trail[0] = '\0';
    expect_did("dial:0 ");
}

static void failed_dials_are_told_and_tried_again_with_back_off(void **state)
{
    (void)state;
    static const uint64_t longest[] = {100, 200, 400, 800, 1000, 1000};
    open_dial();
    for (size_t i = 0; i < TR_COUNT(longest); i++) {
        script_sp_event(&script, TR__SP_FAILED, 0, NULL, TR_EREFUSED, "Connection refused");
        expect_did("");
        assert_int_equal(last_event.kind, TR_NNG_FAILED);
        assert_int_equal(last_event.code, TR_EREFUSED);
        assert_true(last_event.retry_ns <= TR_MILLIS(longest[i]));
        assert_true(last_event.retry_ns >= TR_MILLIS(longest[i]) * 3 / 4);
        manual_step(m, last_event.retry_ns - 1);
        expect_did("");
        manual_step(m, TR_MILLIS(5)); /* long timers are coarse */
        expect_did("dial:0 ");
    }
    TELL(query, NULL);
    assert_int_equal(status.dials, 7);
    assert_int_equal(status.dials_failed, 6);
    close_all();
}

static void back_off_starts_anew_only_after_a_connection_that_held(void **state)
{
    (void)state;
    open_dial();
    for (int i = 0; i < 6; i++) { /* accepted, and cut at once */
        script_sp_event(&script, TR__SP_UP, 0, NULL, TR_OK, "");
        script_sp_event(&script, TR__SP_DOWN, 0, NULL, TR_OK, "");
        manual_pump(m);
        assert_int_equal(last_event.kind, TR_NNG_DOWN);
        manual_step(m, last_event.retry_ns + TR_MILLIS(5));
        expect_did("dial:0 ");
    }
    assert_true(last_event.retry_ns >= TR_MILLIS(750));
    script_sp_event(&script, TR__SP_UP, 0, NULL, TR_OK, "");
    manual_step(m, TR_SECONDS(1));
    script_sp_event(&script, TR__SP_DOWN, 0, NULL, TR_OK, "");
    manual_pump(m);
    assert_true(last_event.retry_ns <= TR_MILLIS(100));
    close_all();
}

static void ask_without_memory(tr_actor *self, void *context)
{
    tr__alloc_fail_at(*(uint64_t *)context);
    tr_future f = tr_ask(self, sock, TR_SECONDS(2), order, .customer = "ada");
    if (f.id == 0 || tr_then(self, f, note_result, NULL) != TR_OK)
        manual_note(&puppet, "failed:%s", tr_err_word(tr_last_error(self)->code));
}

static void no_memory_at_any_point_is_an_error_and_no_leak(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 60; nth++) {
        open_with((tr_nng_opts){.protocol = "req", .exchanges = 1, .encoding = "json"}, 0);
        manual_tell(m, puppet.address, ask_without_memory, &nth);
        manual_dry_pool(m, 0);
        manual_pump(m);
        tr__alloc_fail_at(0);
        if (strstr(script_sp_did(&script), "request:0"))
            script_sp_event(&script, TR__SP_OVER, 0, NULL, TR_ERESET, "reset");
        manual_pump(m);
        if (!strstr(puppet.trail, "failed:"))
            fail_msg("%u: %s", (unsigned)nth, puppet.trail);
        close_all();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nng_does_not_take_waits_in_the_mailbox_and_goes_in_order),
        cmocka_unit_test(a_sender_of_more_than_waits_is_refused),
        cmocka_unit_test(an_asked_send_is_answered_when_nng_has_taken_it_or_not),
        cmocka_unit_test(what_a_protocol_does_not_do_is_refused_and_counted),
        cmocka_unit_test(a_typed_message_is_sent_only_in_the_encoding_that_was_chosen),
        cmocka_unit_test(what_comes_waits_outside_while_the_consumer_has_no_room),
        cmocka_unit_test(a_socket_ends_with_its_consumer),
        cmocka_unit_test(an_ask_is_a_request_with_what_is_left_of_its_time),
        cmocka_unit_test(asks_beyond_the_exchanges_wait_and_those_given_up_are_dropped),
        cmocka_unit_test(a_survey_is_answered_once_by_all_that_came),
        cmocka_unit_test(asks_that_wait_when_it_ends_are_told),
        cmocka_unit_test(a_request_is_an_ask_and_its_answer_the_reply),
        cmocka_unit_test(requests_wait_outside_while_the_consumer_has_no_room),
        cmocka_unit_test(failed_dials_are_told_and_tried_again_with_back_off),
        cmocka_unit_test(back_off_starts_anew_only_after_a_connection_that_held),
        cmocka_unit_test(no_memory_at_any_point_is_an_error_and_no_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
