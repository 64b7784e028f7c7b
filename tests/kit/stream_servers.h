/* Servers for tests of the stream client: real Redis and nginx as child processes, and a raw one, a thread
 * that does to its connections what a test's function says. All on free loopback ports; all blocking; calls
 * come from the test's main thread (or a fiber on it). What goes wrong in starting one ends the test program
 * with a text. */
#ifndef TR_TESTS_KIT_STREAM_SERVERS_H
#define TR_TESTS_KIT_STREAM_SERVERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct test_server {
    pid_t pid;
    uint16_t port, port_ten; /* nginx: that of the server with keepalive_requests 10 */
    char address[32], address_ten[32];
    char directory[64];
} test_server;

/* A loopback port that was free just now. */
uint16_t test_free_port(void);
/* Starts it and waits until it accepts; port 0: a free one. */
void test_redis_start(test_server *server, uint16_t port);
/* nginx answers /echo... with the path asked for; /large is a file of `large` bytes, byte i being i * 7 %
 * 251. */
void test_nginx_start(test_server *server, size_t large);
/* Kills it (SIGKILL) and removes its directory. */
void test_server_stop(test_server *server);

typedef struct raw_server raw_server;
/* What to do with the nth connection (from 0); returns when it is to be closed. */
typedef void (*raw_serve_fn)(raw_server *server, int fd, unsigned nth);
struct raw_server {
    uint16_t port;
    char address[32];
    raw_serve_fn serve;
    int listener;
    pthread_t thread;
    atomic_bool stopping;
    int go;              /* an eventfd: readable when the test lets raw_wait_go() return */
    atomic_uint seen;    /* requests read, all connections */
    unsigned most;       /* unanswered at a time */
    char paths[256][64]; /* of the connection's requests */
    unsigned count;      /* of paths */
    char unread[4096];
    size_t unread_size;
};
/* port 0: a free one. */
void raw_start(raw_server *server, uint16_t port, raw_serve_fn serve);
void raw_stop(raw_server *server);

/* For raw_serve_fn. Read until `count` requests (without bodies) were read on this connection; false: the
 * client closed, or the test is over. */
bool raw_read(raw_server *server, int fd, unsigned count);
/* The same, false also if nothing came for `wait_ms`. */
bool raw_read_within(raw_server *server, int fd, unsigned count, int wait_ms);
/* Read what comes until nothing has come for `quiet_ms`. */
bool raw_read_until_quiet(raw_server *server, int fd, int quiet_ms);
void raw_write(int fd, const char *text);
/* Answer with the path of that request. */
void raw_echo(raw_server *server, int fd, unsigned index);
/* Have the connection end by a reset, not in order. */
void raw_reset_at_close(int fd);
/* Until the test calls raw_go(), or is over. */
void raw_wait_go(raw_server *server);
void raw_go(raw_server *server);

#endif
