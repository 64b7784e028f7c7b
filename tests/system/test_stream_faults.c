/* The stream client against a raw server that misbehaves on purpose, and with askers that stop waiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/stream_asks.h"

#define MANY 200u

/* ---- servers that misbehave ---------------------------------------------------------------------------- */

/* The first connection is cut after two of five answers, the others answer. */
static void serve_two_of_five(raw_server *raw, int fd, unsigned nth)
{
    if (!raw_read(raw, fd, nth == 0 ? 5 : 1))
        return;
    for (unsigned i = 0; nth > 0 || i < 2; i++) {
        if (!raw_read(raw, fd, i + 1))
            return;
        raw_echo(raw, fd, i);
    }
}

static tr_err cut_posts(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_future futures[5];
    tr_addr client = stream_spawn_http(self, raw->address, 1, 5);
    for (unsigned i = 0; i < 5; i++)
        futures[i] = stream_ask(self, client, "POST", i);
    for (unsigned i = 0; i < 2; i++)
        TR_TRY(stream_await(self, futures[i], i));
    for (unsigned i = 2; i < 5; i++) {
        EXPECT(tr_await_msg(self, futures[i], NULL) == TR_ERESET, LAST);
        EXPECT(strstr(LAST, "after 2 answers") && strstr(LAST, "may or may not"), LAST);
    }
    return stream_ask_many(self, client, "POST", 5, 5);
}

static void requests_that_may_not_be_asked_twice_fail_with_the_count(void **state)
{
    (void)state;
    stream_run_raw(cut_posts, serve_two_of_five);
}

static tr_err cut_gets(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_stream_status status;
    tr_addr client = stream_spawn_http(self, raw->address, 1, 5);
    TR_TRY(stream_ask_many(self, client, "GET", 0, 5));
    TR_TRY(stream_get_status(self, client, &status));
    EXPECT(status.again == 3 && status.connects == 2, "three were asked again");
    return TR_OK;
}

static void requests_that_may_be_asked_twice_go_again(void **state)
{
    (void)state;
    stream_run_raw(cut_gets, serve_two_of_five);
}

static void serve_nothing(raw_server *raw, int fd, unsigned nth)
{
    (void)nth;
    (void)raw_read(raw, fd, 1);
}

static tr_err cut_for_ever(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_stream_status status;
    tr_addr client = stream_spawn_http(self, raw->address, 1, 5);
    tr_future f = stream_ask(self, client, "GET", 0);
    EXPECT(tr_await_msg(self, f, NULL) == TR_ERESET, LAST);
    TR_TRY(stream_get_status(self, client, &status));
    EXPECT(status.connects == 3, "three tries");
    return TR_OK;
}

static void a_request_that_is_always_cut_is_given_up(void **state)
{
    (void)state;
    stream_run_raw(cut_for_ever, serve_nothing);
}

static void serve_when_quiet(raw_server *raw, int fd, unsigned nth)
{
    (void)nth;
    for (unsigned answered = 0; raw_read_until_quiet(raw, fd, 20);) {
        if (raw->count - answered > raw->most)
            raw->most = raw->count - answered;
        for (; answered < raw->count; answered++)
            raw_echo(raw, fd, answered);
        if (raw->count == MANY)
            return;
    }
}

static tr_err bounded(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    TR_TRY(stream_ask_many(self, stream_spawn_http(self, raw->address, 1, 7), "GET", 0, MANY));
    return TR_OK;
}

static void no_more_than_the_bound_is_in_flight(void **state)
{
    (void)state;
    static raw_server raw;
    raw_start(&raw, 0, serve_when_quiet);
    stream_run(bounded, &raw);
    raw_stop(&raw);
    assert_int_equal(raw.most, 7);
}

static void serve_garbage_first(raw_server *raw, int fd, unsigned nth)
{
    if (!raw_read(raw, fd, nth == 0 ? 2 : 1))
        return;
    if (nth == 0)
        raw_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n");
    else
        raw_echo(raw, fd, 0);
}

static tr_err malformed(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_addr client = stream_spawn_http(self, raw->address, 1, 2);
    tr_future first = stream_ask(self, client, "GET", 0), second = stream_ask(self, client, "GET", 1);
    EXPECT(tr_await_msg(self, first, NULL) == TR_EPROTO, LAST);
    EXPECT(strstr(LAST, raw->address) && strstr(LAST, "content-length"), LAST);
    return stream_await(self, second, 1);
}

static void a_malformed_answer_is_named_and_the_connection_dropped(void **state)
{
    (void)state;
    stream_run_raw(malformed, serve_garbage_first);
}

static void serve_until_close(raw_server *raw, int fd, unsigned nth)
{
    (void)nth;
    if (!raw_read(raw, fd, 1))
        return;
    raw_write(fd, "HTTP/1.0 200 OK\r\n\r\n");
    raw_write(fd, raw->paths[0]);
}

static tr_err until_close(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    return stream_ask_many(self, stream_spawn_http(self, raw->address, 1, 1), "POST", 0, 5);
}

static void a_body_may_end_by_the_close(void **state)
{
    (void)state;
    stream_run_raw(until_close, serve_until_close);
}

/* Answers some, in pieces of any length, then closes (it serves one connection at a time), every third time
 * by a reset; the numbers are seeded. */
static void serve_and_cut(raw_server *raw, int fd, unsigned nth)
{
    unsigned seed = nth * 2654435761u + 1;
    for (unsigned i = 0; i <= nth % 12; i++) {
        char answer[256];
        if (!raw_read_within(raw, fd, i + 1, 20)) /* they may all be on the other connections */
            return;
        size_t length = strlen(raw->paths[i]);
        snprintf(answer, sizeof(answer),
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n", length,
                 raw->paths[i]);
        for (char *at = answer; *at;) {
            char piece[64];
            seed = seed * 1664525u + 1013904223u;
            size_t size = strnlen(at, 1 + (seed >> 16) % 60);
            memcpy(piece, at, size);
            piece[size] = '\0';
            raw_write(fd, piece);
            at += size;
        }
    }
    if (nth % 3 == 0)
        raw_reset_at_close(fd);
}

static tr_err cut_often(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_addr client = stream_spawn(self, (tr_stream_opts){.address = raw->address,
                                                         .codec = "http",
                                                         .connections = 3,
                                                         .in_flight = 16,
                                                         .tries = 100,
                                                         .backoff_ns = 1});
    TR_TRY(stream_ask_many(self, client, "GET", 0, 600));
    return stream_ask_many(self, client, "PUT", 1000, 400);
}

static void answers_match_however_often_connections_are_cut(void **state)
{
    (void)state;
    stream_run_raw(cut_often, serve_and_cut);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static void serve_all(raw_server *raw, int fd, unsigned nth)
{
    (void)nth;
    for (unsigned i = 0; raw_read(raw, fd, i + 1); i++)
        raw_echo(raw, fd, i);
}

/* The n-th allocation from the spawn on fails, n = 1, 2, ... until nothing fails any more. */
static tr_err without_memory(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    for (unsigned n = 1, whole = 0; whole < 3; n++) {
        tr__alloc_fail_at(n);
        tr_stream_opts opts = {.address = raw->address, .codec = "http", .connections = 1};
        tr_addr client = tr_spawn(self, &tr_stream_client, &opts);
        tr_future f =
            tr_ask(self, client, TR_MILLIS(300), tr_http_request, .method = "GET", .path = "/echo?n=1");
        tr_err err = stream_await(self, f, 1);
        tr__alloc_fail_at(0);
        (void)tr_stop(self, client, TR_EXIT_KILLED);
        whole = err == TR_OK ? whole + 1 : 0;
        EXPECT(err != TR_EAPP, LAST);
        EXPECT(n < 500, "it never works again");
    }
    return TR_OK;
}

static void a_failed_allocation_is_an_error_never_a_crash(void **state)
{
    (void)state;
    stream_run_raw(without_memory, serve_all);
}

/* ---- those who stop waiting ---------------------------------------------------------------------------- */

/* Reads two, waits for the test, then answers everything. */
static void serve_on_go(raw_server *raw, int fd, unsigned nth)
{
    (void)nth;
    if (!raw_read(raw, fd, 2))
        return;
    raw_wait_go(raw);
    for (unsigned i = 0; raw_read(raw, fd, i + 1); i++)
        raw_echo(raw, fd, i);
}

static tr_err cancel_some(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_stream_status status;
    tr_addr client = stream_spawn_http(self, raw->address, 1, 2);
    tr_future futures[4];
    for (unsigned i = 0; i < 4; i++)
        futures[i] = stream_ask(self, client, "GET", i);
    TR_TRY(stream_until_seen(self, raw, 2));
    tr_cancel(self, futures[0]); /* in flight */
    tr_cancel(self, futures[2]); /* waiting */
    TR_TRY(stream_get_status(self, client, &status));
    EXPECT(status.in_flight == 2 && status.waiting == 1, "the waiting one is gone");
    raw_go(raw);
    TR_TRY(stream_await(self, futures[1], 1));
    TR_TRY(stream_await(self, futures[3], 3));
    TR_TRY(stream_get_status(self, client, &status));
    EXPECT(status.discarded == 1 && atomic_load(&raw->seen) == 3, "three were asked, one answer discarded");
    return TR_OK;
}

static void cancelled_asks_keep_the_order_of_the_others(void **state)
{
    (void)state;
    stream_run_raw(cancel_some, serve_on_go);
}

static tr_err too_late(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_addr client = stream_spawn_http(self, raw->address, 1, 2);
    tr_future f = tr_ask(self, client, TR_SECONDS(1), tr_http_request, .method = "GET", .path = "/late");
    tr_future second = stream_ask(self, client, "GET", 1);
    tr_future queued =
        tr_ask(self, client, TR_SECONDS(1), tr_http_request, .method = "GET", .path = "/queued");
    EXPECT(tr_await_msg(self, f, NULL) == TR_EDEADLINE, LAST);
    EXPECT(tr_await_msg(self, queued, NULL) == TR_EDEADLINE, LAST);
    TR_TRY(stream_until_seen(self, raw, 2));
    raw_go(raw);
    TR_TRY(stream_await(self, second, 1));
    TR_TRY(stream_ask_many(self, client, "GET", 2, 3));
    EXPECT(atomic_load(&raw->seen) == 5, "the queued one was never sent");
    return TR_OK;
}

static void asks_past_their_deadline_keep_the_order_of_the_others(void **state)
{
    (void)state;
    stream_run_raw(too_late, serve_on_go);
}

static tr_err full_queue(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_future futures[12];
    unsigned full = 0, answered = 0;
    tr_addr client = stream_spawn(
        self, (tr_stream_opts){
                  .address = raw->address, .codec = "http", .connections = 1, .in_flight = 2, .queue = 5});
    for (unsigned i = 0; i < 2; i++)
        futures[i] = stream_ask(self, client, "GET", i);
    TR_TRY(stream_until_seen(self, raw, 2));
    for (unsigned i = 2; i < 12; i++)
        futures[i] = stream_ask(self, client, "GET", i);
    raw_go(raw);
    for (unsigned i = 0; i < 12; i++) {
        tr_err err = tr_await_msg(self, futures[i], NULL);
        full += err == TR_EFULL;
        answered += err == TR_OK;
    }
    EXPECT(full == 5 && answered == 7, tr_fmt(self, "%u full, %u answered", full, answered));
    return TR_OK;
}

static void a_full_queue_is_told_to_the_asker(void **state)
{
    (void)state;
    stream_run_raw(full_queue, serve_on_go);
}

static tr_err silent_server(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_addr client = stream_spawn(self, (tr_stream_opts){.address = raw->address,
                                                         .codec = "http",
                                                         .connections = 1,
                                                         .answer_timeout_ns = TR_MILLIS(50)});
    tr_future f = stream_ask(self, client, "GET", 0);
    EXPECT(tr_await_msg(self, f, NULL) == TR_EDEADLINE && strstr(LAST, "silent"), LAST);
    return TR_OK;
}

static void a_silent_server_is_given_up(void **state)
{
    (void)state;
    stream_run_raw(silent_server, serve_on_go);
}

static tr_err stop_it(tr_actor *self, void *arg)
{
    raw_server *raw = arg;
    tr_addr client = stream_spawn_http(self, raw->address, 1, 2);
    tr_future futures[4];
    for (unsigned i = 0; i < 4; i++)
        futures[i] = stream_ask(self, client, "GET", i);
    TR_TRY(stream_until_seen(self, raw, 2));
    TR_TRY(tr_stop(self, client, TR_EXIT_KILLED));
    for (unsigned i = 0; i < 4; i++) {
        tr_err err = tr_await_msg(self, futures[i], NULL);
        EXPECT(err == TR_ECLOSED || err == TR_ENOACTOR, tr_err_word(err));
    }
    return TR_OK;
}

static void asks_end_when_the_client_is_killed(void **state)
{
    (void)state;
    stream_run_raw(stop_it, serve_on_go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_that_may_not_be_asked_twice_fail_with_the_count),
        cmocka_unit_test(requests_that_may_be_asked_twice_go_again),
        cmocka_unit_test(a_request_that_is_always_cut_is_given_up),
        cmocka_unit_test(no_more_than_the_bound_is_in_flight),
        cmocka_unit_test(a_malformed_answer_is_named_and_the_connection_dropped),
        cmocka_unit_test(a_body_may_end_by_the_close),
        cmocka_unit_test(answers_match_however_often_connections_are_cut),
        cmocka_unit_test(a_failed_allocation_is_an_error_never_a_crash),
        cmocka_unit_test(cancelled_asks_keep_the_order_of_the_others),
        cmocka_unit_test(asks_past_their_deadline_keep_the_order_of_the_others),
        cmocka_unit_test(a_full_queue_is_told_to_the_asker),
        cmocka_unit_test(a_silent_server_is_given_up),
        cmocka_unit_test(asks_end_when_the_client_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
