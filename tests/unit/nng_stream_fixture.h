/* What the tests of nng's byte streams share: a listener, and both ends of one stream, over loopback. */
#ifndef TR_TESTS_NNG_STREAM_FIXTURE_H
#define TR_TESTS_NNG_STREAM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/kit/endpoints.h"
#include "transport/key_os.h"
#include "transport/nng_stream.h"

/* Fixture: a listener, and both ends of one stream ---- */

typedef struct end {
    tr__stream *stream;
    size_t sent, sends, received;
    uint64_t sum;
    bool down;
    tr_error why;
} end;

typedef struct fixture {
    tr__net *net;
    tr__listener *listener;
    tr__net_address address;
    tr__dial *dial;
    end client, server;
    bool dialled;
    tr_error dial_why;
} fixture;

static __attribute__((unused)) pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __attribute__((unused)) pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static __attribute__((unused)) void notify(void)
{
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static __attribute__((unused)) void on_received(void *context, tr__slice *slice)
{
    end *e = context;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < slice->length; i++)
        e->sum = e->sum * 31 + slice->bytes[i];
    e->received += slice->length;
    tr__slice_destroy(slice);
    notify();
}

static __attribute__((unused)) void on_sent(void *context, size_t bytes)
{
    end *e = context;
    pthread_mutex_lock(&lock);
    e->sent += bytes;
    e->sends++;
    notify();
}

static __attribute__((unused)) void on_down(void *context, const tr_error *error)
{
    end *e = context;
    pthread_mutex_lock(&lock);
    e->down = true;
    e->why = *error;
    notify();
}

static __attribute__((unused)) const tr__stream_upcalls UPCALLS = {on_received, on_sent, on_down};

static __attribute__((unused)) bool on_accepted(void *context, tr__stream *stream)
{
    fixture *f = context;
    pthread_mutex_lock(&lock);
    bool take = !f->server.stream;
    if (take)
        f->server.stream = stream;
    notify();
    return take;
}

static __attribute__((unused)) void on_dialled(void *context, tr__stream *stream, const tr_error *error)
{
    fixture *f = context;
    pthread_mutex_lock(&lock);
    f->dialled = true;
    f->client.stream = stream;
    f->dial_why = *error;
    notify();
}

/* Wait until the condition holds, at most 20 s; in the lock. */
#define WAIT_FOR(condition)                                         \
    do {                                                            \
        struct timespec until;                                      \
        clock_gettime(CLOCK_REALTIME, &until);                      \
        until.tv_sec += 20;                                         \
        pthread_mutex_lock(&lock);                                  \
        int late = 0;                                               \
        while (!(condition) && !late)                               \
            late = pthread_cond_timedwait(&changed, &lock, &until); \
        pthread_mutex_unlock(&lock);                                \
        if (late)                                                   \
            fail_msg("waited in vain for %s", #condition);          \
    } while (0)

static __attribute__((unused)) int setup(void **state)
{
    static fixture f;
    tr_error error;
    f = (fixture){.net = tr__nng_net()};
    assert_int_equal(tr__net_address_parse("127.0.0.1:0", true, &f.address, &error), TR_OK);
    if (f.net->listen(f.net, &f.address, on_accepted, &f, &f.listener, &error))
        fail_msg("%s", error.text);
    f.address.port = f.net->port(f.listener);
    assert_int_not_equal(f.address.port, 0);
    *state = &f;
    return 0;
}

static __attribute__((unused)) void close_end(fixture *f, end *e)
{
    pthread_mutex_lock(&lock);
    tr__stream *stream = e->stream;
    e->stream = NULL;
    pthread_mutex_unlock(&lock);
    if (stream) {
        f->net->close(stream);
        f->net->free(stream);
    }
}

static __attribute__((unused)) void close_all(fixture *f)
{
    if (f->dial)
        f->net->undial(f->dial); /* first: what it dialled so far is there to be closed, and no more comes */
    f->dial = NULL;
    close_end(f, &f->client);
    close_end(f, &f->server);
    f->dialled = false;
    pthread_mutex_lock(&lock);
    f->client = (end){0};
    f->server =
        (end){.stream = f->server.stream}; /* of a dial given up: accepted late, closed the next time */
    pthread_mutex_unlock(&lock);
}

static __attribute__((unused)) int teardown(void **state)
{
    fixture *f = *state;
    f->net->unlisten(f->listener);
    close_all(f);
    return 0;
}

static __attribute__((unused)) void dial(fixture *f)
{
    tr_error error;
    assert_int_equal(f->net->dial(f->net, &f->address, 5000000000ull, on_dialled, f, &f->dial, &error),
                     TR_OK);
    WAIT_FOR(f->dialled);
}

static __attribute__((unused)) void start(fixture *f, end *e)
{
    tr_error error;
    f->net->limit(e->stream, TR__FRAME_SIZE_MAX);
    assert_int_equal(f->net->start(e->stream, &UPCALLS, e, &error), TR_OK);
}

static __attribute__((unused)) void establish(fixture *f)
{
    dial(f);
    assert_non_null(f->client.stream);
    WAIT_FOR(f->server.stream);
    start(f, &f->client);
    start(f, &f->server);
}

/* A batch frame of that size, its bytes a pattern. */
static __attribute__((unused)) uint8_t *make_frame(size_t size, uint64_t sequence)
{
    uint8_t *frame = malloc(size);
    for (size_t i = TR__BATCH_OVERHEAD; i < size; i++)
        frame[i] = (uint8_t)(i * 7 + (i >> 9));
    tr__frame_put_count(frame + TR__FRAME_HEADER, 1);
    tr__frame_finish(frame, TR__FRAME_BATCH, (uint32_t)(size - TR__FRAME_HEADER), sequence);
    return frame;
}

static __attribute__((unused)) uint64_t sum_of(const uint8_t *bytes, size_t length, uint64_t sum)
{
    for (size_t i = 0; i < length; i++)
        sum = sum * 31 + bytes[i];
    return sum;
}

#endif
