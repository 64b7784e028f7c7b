/* What tests of the stream client share: running a node with a fiber as its first actor, and asking in it.
 * The fiber runs on the main thread and returns what is wrong as an error, so that cmocka's assertions stay
 * outside of it. */
#ifndef TR_TESTS_KIT_STREAM_ASKS_H
#define TR_TESTS_KIT_STREAM_ASKS_H

#include <troupe/stream_client.h>
#include <troupe/troupe.h>

#include "tests/kit/stream_servers.h"

/* In a fiber: return an error that names the line, the condition and the text. */
#define EXPECT(condition, ...)                                                                   \
    do {                                                                                         \
        if (!(condition))                                                                        \
            return tr_fail(self, TR_EAPP, "line %d: %s: %s", __LINE__, #condition, __VA_ARGS__); \
    } while (0)
#define LAST (tr_last_error(self)->text)

/* Run a node until `start` returns; fails the test unless that was TR_OK. */
void stream_run(tr_err (*start)(tr_actor *self, void *arg), void *arg);
/* The same, with a raw server (the fiber's argument) that does `serve` to its connections. */
void stream_run_raw(tr_err (*start)(tr_actor *self, void *arg), raw_serve_fn serve);

/* In fibers. */
tr_addr stream_spawn(tr_actor *self, tr_stream_opts opts);
tr_addr stream_spawn_http(tr_actor *self, const char *address, uint32_t connections, uint32_t in_flight);
/* Ask for /echo?n=<n>. */
tr_future stream_ask(tr_actor *self, tr_addr client, const char *method, unsigned n);
/* The answer must be that to question n. */
tr_err stream_await(tr_actor *self, tr_future future, unsigned n);
/* Ask `count` questions (at most 1,000) at once, from number `first`, and check each answer. */
tr_err stream_ask_many(tr_actor *self, tr_addr client, const char *method, unsigned first, unsigned count);
tr_err stream_get_status(tr_actor *self, tr_addr client, tr_stream_status *status);
/* Until the raw server has read so many requests. */
tr_err stream_until_seen(tr_actor *self, raw_server *raw, unsigned count);

#endif
