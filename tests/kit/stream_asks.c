/* See stream_asks.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <troupe/node.h>

#include "tests/kit/stream_asks.h"

static void quiet(void *context, tr_log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

void stream_run(tr_err (*start)(tr_actor *self, void *arg), void *arg)
{
    tr_error error = {0};
    tr_node *node = tr_node_create(&(tr_node_opts){.start = start, .arg = arg, .log = quiet}, &error);
    assert_non_null(node);
    tr_err err = tr_node_run(node, &error);
    tr_node_destroy(node);
    if (err != TR_OK)
        print_error("%s: %s\n", tr_err_word(err), error.text);
    assert_int_equal(err, TR_OK);
}

void stream_run_raw(tr_err (*start)(tr_actor *self, void *arg), raw_serve_fn serve)
{
    static raw_server raw;
    raw_start(&raw, 0, serve);
    stream_run(start, &raw);
    raw_stop(&raw);
}

tr_addr stream_spawn(tr_actor *self, tr_stream_opts opts)
{
    return tr_spawn(self, &tr_stream_client, &opts);
}

tr_addr stream_spawn_http(tr_actor *self, const char *address, uint32_t connections, uint32_t in_flight)
{
    return stream_spawn(
        self, (tr_stream_opts){
                  .address = address, .codec = "http", .connections = connections, .in_flight = in_flight});
}

tr_future stream_ask(tr_actor *self, tr_addr client, const char *method, unsigned n)
{
    return tr_ask(self, client, TR_SECONDS(20), tr_http_request, .method = method,
                  .path = tr_fmt(self, "/echo?n=%u", n));
}

tr_err stream_await(tr_actor *self, tr_future future, unsigned n)
{
    const tr_http_response *answer;
    char expected[32];
    snprintf(expected, sizeof(expected), "/echo?n=%u", n);
    TR_TRY(tr_await(self, future, tr_http_response, &answer));
    EXPECT(answer->status == 200, "not 200");
    EXPECT(answer->body.size == strlen(expected) &&
               memcmp(answer->body.data, expected, answer->body.size) == 0,
           "the answer is another question's");
    return TR_OK;
}

tr_err stream_ask_many(tr_actor *self, tr_addr client, const char *method, unsigned first, unsigned count)
{
    tr_future futures[1000];
    for (unsigned i = 0; i < count; i++)
        futures[i] = stream_ask(self, client, method, first + i);
    for (unsigned i = 0; i < count; i++)
        TR_TRY(stream_await(self, futures[i], first + i));
    return TR_OK;
}

tr_err stream_get_status(tr_actor *self, tr_addr client, tr_stream_status *status)
{
    const tr_stream_status *answer;
    tr_future f = tr_ask(self, client, TR_SECONDS(5), tr_stream_query, .reset = false);
    TR_TRY(tr_await(self, f, tr_stream_status, &answer));
    *status = *answer;
    return TR_OK;
}

tr_err stream_until_seen(tr_actor *self, raw_server *raw, unsigned count)
{
    for (int i = 0; i < 5000 && atomic_load(&raw->seen) < count; i++)
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    EXPECT(atomic_load(&raw->seen) >= count, "the requests never came");
    return TR_OK;
}
