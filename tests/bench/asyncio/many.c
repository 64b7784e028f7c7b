/* Article 3.3: a hundred requests at once over one connection, answers matched to questions in order.
 *
 *     asyncio-many HOST PORT ROUNDS */
#include <string.h>

#include <troupe/stream_client.h>
#include <troupe/troupe.h>

#include "tests/bench/asyncio/measured.h"

#define MANY 100

static tr_err ask_all(tr_actor *self, tr_addr web)
{
    tr_future answers[MANY];
    for (int i = 0; i < MANY; i++)
        answers[i] = tr_ask(self, web, TR_SECONDS(5), tr_http_request, .method = "GET",
                            .path = tr_fmt(self, "/%d.txt", i));
    for (int i = 0; i < MANY; i++) {
        const tr_http_response *response;
        char want[8];
        size_t size = (size_t)snprintf(want, sizeof(want), "%d", i);
        TR_TRY(tr_await(self, answers[i], tr_http_response, &response));
        if (response->status != 200 || response->body.size != size ||
            memcmp(response->body.data, want, size) != 0)
            return tr_fail(self, TR_EAPP, "question %d got %u", i, response->status);
    }
    return TR_OK;
}

static tr_err start(tr_actor *self, void *arg)
{
    char **args = arg;
    int rounds = atoi(args[2]);
    tr_stream_opts opts = {.address = tr_fmt(self, "%s:%s", args[0], args[1]),
                           .codec = "http",
                           .connections = 1,
                           .in_flight = MANY};
    lag_begin(self);
    tr_addr web = tr_spawn(self, &tr_stream_client, &opts);
    for (int i = 0; i < rounds; i++)
        TR_TRY(ask_all(self, web));
    return lag_report(self, "answers", (uint64_t)rounds * MANY);
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
