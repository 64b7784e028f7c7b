/* What nng itself gives between two processes on loopback, as the workloads of `troupe bench`: the layer below Troupe's
 * connections, without any. Prints one JSON object, its metrics named as troupe's; the receiver counts and checks each message.
 *
 *     peer VARIANT remote-rtt|remote-flood|remote-bulk [--messages N] [--size N]
 *
 * Variants: `stream`, a byte stream whose callbacks are bridged to a uv loop at both ends, messages in frames of 64 KB (of one,
 * if that is larger), one send in flight; `push`, PUSH and PULL sockets, a message each; `batch`, the same in messages of 64 KiB. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <uv.h>

#define FRAME (64u << 10)
#define CHUNK (128u << 10)

typedef struct item { /* then `size` bytes */
    uint64_t number;
    uint32_t size, asked;
} item;

static uint64_t messages = 20000, size = 64;

static uint64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void check(bool good, const char *what, uint64_t got, uint64_t due)
{
    if (good)
        return;
    fprintf(stderr, "nng peer: %s: %llu, not %llu\n", what, (unsigned long long)got, (unsigned long long)due);
    _exit(1);
}

static void works(int nng_error, const char *what)
{
    if (nng_error) {
        fprintf(stderr, "nng peer: %s: %s\n", what, nng_strerror(nng_error));
        _exit(1);
    }
}

static size_t put_item(char *at, uint64_t number, bool asked)
{
    memcpy(at, &(item){number, (uint32_t)size, asked}, sizeof(item));
    memset(at + sizeof(item), 7, size);
    return sizeof(item) + size;
}

/* ---- the byte stream, bridged --------------------------------------------------------------------------- */

typedef struct chunk {
    struct chunk *next;
    size_t length;
    char bytes[CHUNK];
} chunk;

typedef struct side {
    nng_stream *stream;
    nng_aio *receive_aio, *send_aio;
    uv_loop_t loop;
    uv_async_t wake;
    pthread_mutex_t lock;
    chunk *first, **end; /* under lock: received, not seen by the loop yet */
    bool sent;           /* under lock: the send under way is done */
    chunk *filling;      /* the callback's */
    char *frame, *part;  /* the loop's: what is sent; the beginning of an item */
    size_t frame_room, part_length;
    nng_iov left;                   /* of the send under way */
    bool sending, owed, owed_asked; /* the loop's: what is to go when that is done */
    uint64_t owed_number;
    uint64_t next, count, due, began, answered, *times;
    bool is_sink, asks;
} side;

static void post_receive(side *s)
{
    s->filling = malloc(sizeof(chunk));
    nng_iov iov = {s->filling->bytes, CHUNK};
    nng_aio_set_iov(s->receive_aio, 1, &iov);
    nng_stream_recv(s->stream, s->receive_aio);
}

static void on_received(void *arg)
{
    side *s = arg;
    if (nng_aio_result(s->receive_aio))
        _exit(s->is_sink ? 0 : 1); /* the other one is done */
    chunk *full = s->filling;
    full->length = nng_aio_count(s->receive_aio);
    full->next = NULL;
    pthread_mutex_lock(&s->lock);
    bool wake = !s->first;
    *s->end = full;
    s->end = &full->next;
    pthread_mutex_unlock(&s->lock);
    if (wake)
        uv_async_send(&s->wake);
    post_receive(s);
}

static void on_sent(void *arg)
{
    side *s = arg;
    works(nng_aio_result(s->send_aio), "send");
    size_t count = nng_aio_count(s->send_aio); /* it may be short */
    s->left = (nng_iov){(char *)s->left.iov_buf + count, s->left.iov_len - count};
    if (s->left.iov_len) {
        nng_aio_set_iov(s->send_aio, 1, &s->left);
        nng_stream_send(s->stream, s->send_aio);
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->sent = true;
    pthread_mutex_unlock(&s->lock);
    uv_async_send(&s->wake);
}

static void send_bytes(side *s, size_t length)
{
    s->sending = true;
    s->left = (nng_iov){s->frame, length};
    nng_aio_set_iov(s->send_aio, 1, &s->left);
    nng_stream_send(s->stream, s->send_aio);
}

/* Now, or when the send under way is done: its end may be heard of after what it led to. */
static void send_item(side *s, uint64_t number, bool asked)
{
    s->owed = s->sending;
    s->owed_number = number;
    s->owed_asked = asked;
    if (!s->sending)
        send_bytes(s, put_item(s->frame, number, asked));
}

/* The next frame of those that are left to send. */
static void send_more(side *s)
{
    size_t length = 0;
    while (s->next < messages && length + sizeof(item) + size <= s->frame_room)
        length += put_item(s->frame + length, s->next++, false);
    if (length)
        send_bytes(s, length);
}

static void ask(side *s)
{
    s->began = now();
    send_item(s, s->next++, true);
}

static void take_item(side *s, const item *it)
{
    check(it->number == s->count, "a message out of its order", it->number, s->count);
    s->count++;
    if (s->is_sink && it->asked) {
        size = it->size;
        send_item(s, it->number, false);
    } else if (s->is_sink && s->count == messages) {
        size = 0;
        send_item(s, 0, false);
    } else if (!s->is_sink && s->asks) {
        s->times[it->number] = now() - s->began;
        if (s->next < messages)
            ask(s);
        else
            uv_stop(&s->loop);
    } else if (!s->is_sink) {
        uv_stop(&s->loop);
    }
}

/* Whole items, straight from the chunk; what is cut off at an end is put together. */
static void take_bytes(side *s, const char *at, size_t length)
{
    while (length) {
        const char *from = at;
        size_t there = length;
        if (s->part_length) {
            size_t needs = sizeof(item);
            if (s->part_length >= sizeof(item))
                needs += ((item *)s->part)->size;
            size_t take = needs - s->part_length < length ? needs - s->part_length : length;
            memcpy(s->part + s->part_length, at, take);
            s->part_length += take;
            at += take;
            length -= take;
            if (s->part_length < sizeof(item) || s->part_length < sizeof(item) + ((item *)s->part)->size)
                continue;
            s->part_length = 0;
            take_item(s, (const item *)s->part);
            continue;
        }
        item it;
        if (there >= sizeof(item))
            memcpy(&it, from, sizeof(it));
        if (there < sizeof(item) || there < sizeof(item) + it.size) {
            memcpy(s->part, from, there);
            s->part_length = there;
            return;
        }
        take_item(s, &it);
        at += sizeof(item) + it.size;
        length -= sizeof(item) + it.size;
    }
}

static void on_wake(uv_async_t *wake)
{
    side *s = wake->data;
    pthread_mutex_lock(&s->lock);
    chunk *got = s->first;
    bool sent = s->sent;
    s->first = NULL;
    s->end = &s->first;
    s->sent = false;
    pthread_mutex_unlock(&s->lock);
    s->sending &= !sent;
    if (sent && s->owed)
        send_item(s, s->owed_number, s->owed_asked);
    else if (sent && !s->is_sink && !s->asks)
        send_more(s);
    while (got) {
        chunk *next = got->next;
        take_bytes(s, got->bytes, got->length);
        free(got);
        got = next;
    }
}

static void open_side(side *s, nng_stream *stream)
{
    s->stream = stream;
    nng_stream_set_bool(stream, NNG_OPT_TCP_NODELAY, true);
    pthread_mutex_init(&s->lock, NULL);
    s->end = &s->first;
    s->frame_room = sizeof(item) + size > FRAME ? sizeof(item) + size : FRAME;
    s->frame = malloc(s->frame_room);
    s->part = malloc(s->frame_room);
    uv_loop_init(&s->loop);
    uv_async_init(&s->loop, &s->wake, on_wake);
    s->wake.data = s;
    works(nng_aio_alloc(&s->receive_aio, on_received, s), "aio");
    works(nng_aio_alloc(&s->send_aio, on_sent, s), "aio");
    post_receive(s);
}

static void stream_sink(void)
{
    static side s = {.is_sink = true};
    nng_stream_listener *listener;
    nng_aio *aio;
    int port;
    works(nng_stream_listener_alloc(&listener, "tcp://127.0.0.1:0"), "listen");
    works(nng_stream_listener_listen(listener), "listen");
    works(nng_stream_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), "port");
    printf("%d\n", port);
    fflush(stdout);
    works(nng_aio_alloc(&aio, NULL, NULL), "aio");
    nng_stream_listener_accept(listener, aio);
    nng_aio_wait(aio);
    works(nng_aio_result(aio), "accept");
    open_side(&s, nng_aio_get_output(aio, 0));
    uv_run(&s.loop, UV_RUN_DEFAULT);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double stream_run(int port, bool asks)
{
    static side s;
    char url[64];
    nng_stream_dialer *dialer;
    nng_aio *aio;
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", port);
    works(nng_stream_dialer_alloc(&dialer, url), "dial");
    works(nng_aio_alloc(&aio, NULL, NULL), "aio");
    nng_stream_dialer_dial(dialer, aio);
    nng_aio_wait(aio);
    works(nng_aio_result(aio), "dial");
    s.asks = asks;
    s.times = calloc(messages, sizeof(*s.times));
    open_side(&s, nng_aio_get_output(aio, 0));
    uint64_t began = now();
    if (asks)
        ask(&s);
    else
        send_more(&s);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    double seconds = (double)(now() - began) / 1e9;
    qsort(s.times, messages, sizeof(*s.times), by_number);
    if (asks)
        printf("{\"p50\":%.3f,\"p99\":%.3f}\n", (double)s.times[messages / 2] / 1e3,
               (double)s.times[messages * 99 / 100] / 1e3);
    return seconds;
}

/* ---- sockets -------------------------------------------------------------------------------------------- */

static void socket_sink(void)
{
    nng_socket pull;
    nng_listener listener;
    int port;
    works(nng_pull0_open(&pull), "pull");
    works(nng_listener_create(&listener, pull, "tcp://127.0.0.1:0"), "listen");
    works(nng_listener_start(listener, 0), "listen");
    works(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), "port");
    printf("%d\n", port);
    fflush(stdout);
    for (uint64_t count = 0; count < messages;) {
        nng_msg *msg;
        works(nng_recvmsg(pull, &msg, 0), "receive");
        const char *at = nng_msg_body(msg), *end = at + nng_msg_len(msg);
        for (item it; at < end; at += sizeof(it) + it.size) {
            memcpy(&it, at, sizeof(it));
            check(it.number == count, "a message out of its order", it.number, count);
            count++;
        }
        nng_msg_free(msg);
    }
    printf("done\n");
    fflush(stdout);
    pause();
}

static double socket_run(int port, size_t batch, FILE *other)
{
    char url[64], line[16];
    nng_socket push;
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", port);
    works(nng_push0_open(&push), "push");
    works(nng_dial(push, url, NULL, 0), "dial");
    size_t each = sizeof(item) + size, many = batch / each ? batch / each : 1;
    uint64_t began = now();
    for (uint64_t next = 0; next < messages;) {
        nng_msg *msg;
        size_t count = messages - next < many ? messages - next : many;
        works(nng_msg_alloc(&msg, count * each), "memory");
        for (char *at = nng_msg_body(msg); count; count--)
            at += put_item(at, next++, false);
        works(nng_sendmsg(push, msg, 0), "send");
    }
    check(fgets(line, sizeof(line), other) && strcmp(line, "done\n") == 0, "no end", 0, messages);
    return (double)(now() - began) / 1e9;
}

/* ---- the command line ----------------------------------------------------------------------------------- */

static FILE *start_sink(char **argv)
{
    int out[2];
    if (pipe(out) != 0 || fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], STDOUT_FILENO);
        setenv("NNG_PEER_SINK", "1", 1);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(out[1]);
    return fdopen(out[0], "r");
}

int main(int argc, char **argv)
{
    for (int i = 3; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--messages") == 0)
            messages = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--size") == 0)
            size = strtoull(argv[i + 1], NULL, 10);
    }
    if (argc < 3 || messages == 0) {
        fprintf(stderr, "usage: peer stream|push|batch WORKLOAD [--messages N] [--size N]\n");
        return 2;
    }
    bool is_stream = strcmp(argv[1], "stream") == 0, asks = strcmp(argv[2], "remote-rtt") == 0;
    if (getenv("NNG_PEER_SINK")) {
        if (asks)
            messages = UINT64_MAX;
        if (is_stream)
            stream_sink();
        else
            socket_sink();
        return 0;
    }
    FILE *other = start_sink(argv);
    char line[16] = "";
    check(fgets(line, sizeof(line), other), "the other process says nothing", 0, 1);
    int port = atoi(line);
    double seconds = is_stream ? stream_run(port, asks)
                               : socket_run(port, strcmp(argv[1], "batch") == 0 ? FRAME : 1, other);
    if (strcmp(argv[2], "remote-flood") == 0)
        printf("{\"rate\":%.6g}\n", (double)messages / seconds / 1e6);
    else if (!asks)
        printf("{\"rate\":%.6g}\n", (double)messages * (double)size / seconds / 1e6);
    fflush(stdout);
    _exit(0);
}
