/* A hundred requests at once over one connection: each answer reaches who asked for it, in order. */
#include <inttypes.h>
#include <stdio.h>

#include <troupe/stream_client.h>
#include <troupe/troupe.h>

#include "examples/common/web.h"

#define MANY 100

static tr_err start(tr_actor *self, void *arg) /* a fiber: straight-line */
{
    (void)arg;
    tr_future answers[MANY];
    const tr_http_response *response;
    const tr_stream_status *status;
    tr_stream_opts opts = {.address = tr_fmt(self, "127.0.0.1:%d", web_start()),
                           .codec = "http",
                           .connections = 1,
                           .in_flight = MANY};
    tr_addr web = tr_spawn(self, &tr_stream_client, &opts);
    uint64_t begun = tr_now(self);

    for (int i = 0; i < MANY; i++) /* nothing is waited for: all are on their way */
        answers[i] = tr_ask(self, web, TR_SECONDS(5), tr_http_request, .method = "GET",
                            .path = tr_fmt(self, "/echo/%d", i + 1));
    TR_TRY(tr_await_msg(self, tr_gather(self, answers, MANY), NULL)); /* all, or the first that failed */
    uint64_t took = tr_now(self) - begun;

    for (int i = 0; i < MANY; i++) {
        TR_TRY(tr_await(self, answers[i], tr_http_response, &response));
        char want[64]; /* the server counts what comes over a connection */
        int size = snprintf(want, sizeof(want), "%d is request %d of this connection", i + 1, i + 1);
        if (response->body.size != (size_t)size || memcmp(response->body.data, want, (size_t)size) != 0)
            return tr_fail(self, TR_EAPP, "question %d got: %.*s", i + 1, (int)response->body.size,
                           (const char *)response->body.data);
    }
    printf("%d answers, each to its question and in order, in %" PRIu64 " us\n", MANY, took / 1000);

    TR_TRY(tr_await(self, tr_ask(self, web, TR_SECONDS(1), tr_stream_query), tr_stream_status, &status));
    printf("%" PRIu64 " connection was made\n", status->connects);
    return TR_OK;
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
