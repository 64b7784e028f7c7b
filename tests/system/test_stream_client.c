/* The stream client against real servers, Redis and nginx, and against none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/stream_asks.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

#define LARGE ((size_t)8 * 1024 * 1024)

static test_server nginx, redis;

static int start_servers(void **state)
{
    (void)state;
    test_nginx_start(&nginx, LARGE);
    test_redis_start(&redis, 0);
    return 0;
}

static int stop_servers(void **state)
{
    (void)state;
    test_server_stop(&nginx);
    test_server_stop(&redis);
    return 0;
}

/* ---- real servers -------------------------------------------------------------------------------------- */

static tr_err hundred_on_redis(tr_actor *self, void *arg)
{
    (void)arg;
    tr_future futures[200];
    tr_stream_status status;
    const tr_redis_reply *reply;
    tr_addr client = stream_spawn(
        self,
        (tr_stream_opts){.address = redis.address, .codec = "resp", .connections = 1, .in_flight = 100});
    for (unsigned i = 0; i < 100; i++)
        futures[i] = tr_ask(self, client, TR_SECONDS(10), tr_redis_command,
                            .words = tr_fmt(self, "SET key:%u value:%u", i, i));
    for (unsigned i = 0; i < 100; i++)
        futures[100 + i] =
            tr_ask(self, client, TR_SECONDS(10), tr_redis_command, .words = tr_fmt(self, "GET key:%u", i));
    for (unsigned i = 0; i < 200; i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), i < 100 ? "OK" : "value:%u", i - 100);
        TR_TRY(tr_await(self, futures[i], tr_redis_reply, &reply));
        EXPECT(reply->kind == (i < 100 ? TR_REDIS_STATUS : TR_REDIS_STRING), "kind");
        EXPECT(reply->text.size == strlen(expected) &&
                   memcmp(reply->text.data, expected, reply->text.size) == 0,
               "text");
    }
    TR_TRY(stream_get_status(self, client, &status));
    EXPECT(status.connects == 1 && status.answered == 200 && status.again == 0, "one connection");
    return TR_OK;
}

static void redis_answers_hundred_pipelined_requests_in_order(void **state)
{
    (void)state;
    stream_run(hundred_on_redis, NULL);
}

static tr_err kinds_of_redis(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_redis_reply *reply;
    size_t size = (size_t)3 * 1024 * 1024;
    char *value = malloc(size);
    memset(value, 0xee, size);
    tr_addr client = stream_spawn(self, (tr_stream_opts){.address = redis.address, .codec = "resp"});
    tr_future f = tr_ask(self, client, TR_SECONDS(10), tr_redis_command, .words = "SET big",
                         .with_value = true, .value = {value, size});
    free(value);
    TR_TRY(tr_await(self, f, tr_redis_reply, &reply));
    EXPECT(reply->kind == TR_REDIS_STATUS, "SET");
    f = tr_ask(self, client, TR_SECONDS(10), tr_request, .data = {"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n", 22});
    TR_TRY(tr_await(self, f, tr_redis_reply, &reply));
    EXPECT(reply->text.size == size && ((const unsigned char *)reply->text.data)[size - 1] == 0xee, "GET");
    f = tr_ask(self, client, TR_SECONDS(10), tr_redis_command, .words = "NOSUCH command");
    TR_TRY(tr_await(self, f, tr_redis_reply, &reply));
    EXPECT(reply->kind == TR_REDIS_ERROR, "an error is an answer");
    f = tr_ask(self, client, TR_SECONDS(10), tr_redis_command, .words = "EVAL \"return {1,'a',{}}\" 0");
    TR_TRY(tr_await(self, f, tr_redis_reply, &reply));
    EXPECT(reply->integer == 3 && strcmp(reply->json, "[1,\"a\",[]]") == 0, reply->json);
    f = tr_ask(self, client, TR_SECONDS(10), tr_redis_command, .words = "MONITOR");
    EXPECT(tr_await_msg(self, f, NULL) == TR_EINVAL, "refused");
    return TR_OK;
}

static void redis_replies_of_every_kind_arrive(void **state)
{
    (void)state;
    stream_run(kinds_of_redis, NULL);
}

/* More than the system takes at once: the client waits until it is writable again. */
static tr_err large_requests(tr_actor *self, void *arg)
{
    (void)arg;
    enum { COUNT = 8, SIZE = 400 * 1024 };
    tr_future futures[2 * COUNT];
    const tr_redis_reply *reply;
    char *value = malloc(SIZE);
    tr_addr client =
        stream_spawn(self, (tr_stream_opts){.address = redis.address, .codec = "resp", .connections = 1});
    for (unsigned i = 0; i < COUNT; i++) {
        memset(value, 'a' + (int)i, SIZE);
        futures[i] =
            tr_ask(self, client, TR_SECONDS(10), tr_redis_command, .words = tr_fmt(self, "SET large:%u", i),
                   .with_value = true, .value = {value, SIZE});
        futures[COUNT + i] = tr_ask(self, client, TR_SECONDS(10), tr_redis_command,
                                    .words = tr_fmt(self, "GETRANGE large:%u -2 -1", i));
    }
    free(value);
    for (unsigned i = 0; i < 2 * COUNT; i++) {
        TR_TRY(tr_await(self, futures[i], tr_redis_reply, &reply));
        EXPECT(i < COUNT || *(const char *)reply->text.data == 'a' + (int)(i - COUNT), "content");
    }
    return TR_OK;
}

static void large_requests_wait_until_the_connection_takes_them(void **state)
{
    (void)state;
    stream_run(large_requests, NULL);
}

static tr_err ten_thousand(tr_actor *self, void *arg)
{
    (void)arg;
    tr_stream_status status;
    tr_addr client = stream_spawn_http(self, nginx.address, 4, 64);
    for (unsigned round = 0; round < 10; round++)
        TR_TRY(stream_ask_many(self, client, "GET", round * 1000, 1000));
    TR_TRY(stream_get_status(self, client, &status));
    EXPECT(status.answered == 10000 && status.open == 4 && status.connects == 4, "four connections");
    EXPECT(status.in_flight == 0 && status.waiting == 0 && status.failed == 0, "nothing is left");
    return TR_OK;
}

static void nginx_answers_ten_thousand_over_four_connections(void **state)
{
    (void)state;
    stream_run(ten_thousand, NULL);
}

static tr_err keepalive_ten(tr_actor *self, void *arg)
{
    tr_stream_status status;
    tr_addr client = stream_spawn_http(self, nginx.address_ten, 1, 32);
    TR_TRY(stream_ask_many(self, client, arg, 0, 100));
    TR_TRY(stream_get_status(self, client, &status));
    EXPECT(status.answered == 100 && status.connects == 10 && status.failed == 0, "ten answers a connection");
    /* Up to 31 were in flight on the first connection behind its tenth answer, in vain; then the number is
     * known. */
    EXPECT(status.again > 0 && status.again <= 31, tr_fmt(self, "%u sent again", (unsigned)status.again));
    return TR_OK;
}

static void nginx_that_closes_every_ten_requests_answers_all(void **state)
{
    (void)state;
    stream_run(keepalive_ten, "GET");
    stream_run(keepalive_ten, "POST"); /* announced: what came behind was not executed, so it may go again */
}

static tr_err large_body(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_http_response *answer;
    tr_addr client = stream_spawn_http(self, nginx.address, 1, 2);
    tr_future f = tr_ask(self, client, TR_SECONDS(20), tr_http_request, .method = "GET", .path = "/large");
    tr_future behind = stream_ask(self, client, "GET", 7);
    TR_TRY(tr_await(self, f, tr_http_response, &answer));
    EXPECT(answer->body.size == LARGE, "size");
    for (size_t i = 0; i < LARGE; i++)
        EXPECT(((const unsigned char *)answer->body.data)[i] == i * 7 % 251, "content");
    TR_TRY(stream_await(self, behind, 7));
    client = stream_spawn(
        self, (tr_stream_opts){.address = nginx.address, .codec = "http", .answer_max = LARGE - 1});
    f = tr_ask(self, client, TR_SECONDS(20), tr_http_request, .method = "GET", .path = "/large");
    EXPECT(tr_await_msg(self, f, NULL) == TR_ETOOBIG, "beyond the limit");
    f = tr_ask(self, client, TR_SECONDS(20), tr_http_request, .method = "HEAD", .path = "/large");
    TR_TRY(tr_await(self, f, tr_http_response, &answer));
    EXPECT(answer->status == 200 && answer->body.size == 0, "HEAD");
    return stream_ask_many(self, client, "GET", 0, 10);
}

static void large_bodies_arrive_whole_or_are_too_big(void **state)
{
    (void)state;
    stream_run(large_body, NULL);
}

static tr_err down_and_up(tr_actor *self, void *arg)
{
    (void)arg;
    test_server server;
    const tr_redis_reply *reply;
    test_redis_start(&server, 0);
    uint16_t port = server.port;
    tr_addr client = stream_spawn(self, (tr_stream_opts){.address = server.address,
                                                         .codec = "resp",
                                                         .tries = 1000,
                                                         .backoff_max_ns = TR_MILLIS(100)});
    tr_future f = tr_ask(self, client, TR_SECONDS(5), tr_redis_command, .words = "PING");
    TR_TRY(tr_await(self, f, tr_redis_reply, &reply));
    test_server_stop(&server);
    tr_future waiting[10];
    for (int i = 0; i < 10; i++)
        waiting[i] = tr_ask(self, client, TR_SECONDS(10), tr_redis_command,
                            .words = tr_fmt(self, "ECHO %d", i), .idempotent = true);
    EXPECT(tr_sleep(self, TR_MILLIS(200)) == TR_OK, "let it try in vain");
    test_redis_start(&server, port);
    for (int i = 0; i < 10; i++) {
        TR_TRY(tr_await(self, waiting[i], tr_redis_reply, &reply));
        EXPECT(*(const char *)reply->text.data == '0' + i, "content");
    }
    test_server_stop(&server);
    return TR_OK;
}

static void requests_survive_a_server_that_is_restarted(void **state)
{
    (void)state;
    stream_run(down_and_up, NULL);
}

/* ---- no server ----------------------------------------------------------------------------------------- */

static tr_err nobody_listens(tr_actor *self, void *arg)
{
    (void)arg;
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%u", test_free_port());
    tr_addr client = stream_spawn_http(self, address, 2, 2);
    tr_future f = stream_ask(self, client, "GET", 1);
    EXPECT(tr_await_msg(self, f, NULL) == TR_EREFUSED, LAST);
    EXPECT(strstr(LAST, address) && strstr(LAST, "refused"), LAST);
    /* A label of 64 bytes can't be a name: known without asking the network. */
    const char *name = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd.invalid:80";
    client = stream_spawn_http(self, name, 1, 1);
    f = stream_ask(self, client, "GET", 1);
    EXPECT(tr_await_msg(self, f, NULL) == TR_EADDR && strstr(LAST, name), LAST);
    client = stream_spawn(self, (tr_stream_opts){.address = address, .codec = "http", .tries = 1000});
    f = tr_ask(self, client, TR_MILLIS(100), tr_http_request, .method = "GET", .path = "/");
    EXPECT(tr_await_msg(self, f, NULL) == TR_EDEADLINE, LAST);
    return TR_OK;
}

static void an_unreachable_server_is_refused_by_name(void **state)
{
    (void)state;
    stream_run(nobody_listens, NULL);
}

static tr_err by_name(tr_actor *self, void *arg)
{
    (void)arg;
    /* nginx listens on IPv4 only; where localhost is ::1 first, the second address is tried. */
    return stream_ask_many(self, stream_spawn_http(self, tr_fmt(self, "localhost:%u", nginx.port), 1, 4),
                           "GET", 0, 9);
}

static void a_server_is_reached_by_name(void **state)
{
    (void)state;
    stream_run(by_name, NULL);
}

static tr_err bad_options(tr_actor *self, void *arg)
{
    (void)arg;
    const char *addresses[] = {"",           "host",    "host:",  ":80",   "host:0",
                               "host:65536", "host:8x", "::1:80", "[]:80", "a b:1"};
    for (size_t i = 0; i < TR_COUNT(addresses); i++) {
        tr_stream_opts opts = {.address = addresses[i], .codec = "http"};
        tr_future f = tr_spawn_ask(self, &tr_stream_client, &opts, NULL);
        EXPECT(tr_await_msg(self, f, NULL) == TR_EADDR, addresses[i]);
    }
    tr_stream_opts opts = {.address = "[::1]:80", .codec = "smtp"};
    tr_future f = tr_spawn_ask(self, &tr_stream_client, &opts, NULL);
    EXPECT(tr_await_msg(self, f, NULL) == TR_EINVAL && strstr(LAST, "smtp"), LAST);
    return TR_OK;
}

static void options_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    stream_run(bad_options, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_answers_hundred_pipelined_requests_in_order),
        cmocka_unit_test(redis_replies_of_every_kind_arrive),
        cmocka_unit_test(large_requests_wait_until_the_connection_takes_them),
        cmocka_unit_test(nginx_answers_ten_thousand_over_four_connections),
        cmocka_unit_test(nginx_that_closes_every_ten_requests_answers_all),
        cmocka_unit_test(large_bodies_arrive_whole_or_are_too_big),
        cmocka_unit_test(requests_survive_a_server_that_is_restarted),
        cmocka_unit_test(an_unreachable_server_is_refused_by_name),
        cmocka_unit_test(a_server_is_reached_by_name),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
