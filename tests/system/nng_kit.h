/* What the tests of the nng socket share: a foreign program as a child, whose lines are read without holding up the loop, and a
 * fiber that spawns sockets and asks. Included by one file a program. */
#ifndef TESTS_SYSTEM_NNG_KIT_H
#define TESTS_SYSTEM_NNG_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/nng_socket.h>
#include <troupe/troupe.h>

#include "tests/kit/real_node.h"
#include "tests/kit/stream_asks.h"

typedef struct foreign {
    pid_t pid;
    int in, out;
    char text[2048]; /* read and not taken yet */
    size_t size;
    char url[128]; /* where it listens */
} foreign;

#define URLS(...)                                                                                   \
    {                                                                                               \
        (const char *[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *) \
    }
#define BYTES(text)          \
    {                        \
        (text), strlen(text) \
    }

/* Formatted text that stays through waits, unlike tr_fmt's: of the last 256 calls. */
static inline const char *kept(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline const char *kept(const char *format, ...)
{
    static char texts[256][160];
    static unsigned next;
    char *text = texts[next++ % 256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(texts[0]), format, args);
    va_end(args);
    return text;
}

static inline void foreign_start(foreign *f, const char *program, const char *const *args)
{
    int in[2], out[2];
    *f = (foreign){0};
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
        abort();
    f->pid = fork();
    if (f->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(in[0], 0);
        dup2(out[1], 1);
        execv(program, (char *const *)args);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    f->in = in[1];
    f->out = out[0];
    fcntl(f->out, F_SETFL, O_NONBLOCK);
}

/* The next line it prints, without its end; NULL: none within 15 s. */
static inline const char *foreign_line(tr_actor *self, foreign *f)
{
    static char line[2100];
    uint64_t until = tr_now(self) + TR_SECONDS(15);
    for (;;) {
        char *end = memchr(f->text, '\n', f->size);
        if (end) {
            size_t length = (size_t)(end - f->text);
            snprintf(line, sizeof(line), "%.*s", (int)length, f->text);
            f->size -= length + 1;
            memmove(f->text, end + 1, f->size);
            return line;
        }
        ssize_t got = read(f->out, f->text + f->size, sizeof(f->text) - f->size);
        if (got > 0)
            f->size += (size_t)got;
        else if (got == 0 || tr_now(self) > until)
            return NULL;
        else
            (void)tr_sleep(self, TR_MILLIS(2));
    }
}

static inline bool foreign_says(tr_actor *self, foreign *f, const char *line)
{
    const char *said = foreign_line(self, f);
    if (said && strcmp(said, line) == 0)
        return true;
    (void)tr_fail(self, TR_EAPP, "it said %.150s", said ? said : "nothing");
    return false;
}

/* The program of tests/foreign; how: "listen" or "dial". */
static inline bool foreign_run(tr_actor *self, foreign *f, const char *protocol, const char *how,
                               const char *url, const char *action, const char *count, const char *size)
{
    foreign_start(f, getenv("TROUPE_NNG_FOREIGN"),
                  (const char *[]){"nng_foreign", protocol, how, url, action, count, size, NULL});
    const char *line = foreign_line(self, f);
    if (!line || sscanf(line, "ready %127s", f->url) != 1) {
        (void)tr_fail(self, TR_EAPP, "it said %.150s", line ? line : "nothing");
        return false;
    }
    return true;
}

/* Its exit status; -signal if it was killed. */
static inline int foreign_end(foreign *f)
{
    int status;
    close(f->in);
    waitpid(f->pid, &status, 0);
    close(f->out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void foreign_kill(foreign *f)
{
    kill(f->pid, SIGKILL);
    (void)foreign_end(f);
}

/* A socket; TR_ADDR_NONE with the error when its init failed. */
static inline tr_addr spawn_socket(tr_actor *self, const tr_nng_opts *opts)
{
    const tr_found *found;
    tr_err err =
        tr_await(self, tr_spawn_ask(self, &tr_nng_socket, opts, &(tr_spawn_opts){.place = TR_PLACE_SPREAD}),
                 tr_found, &found);
    return err == TR_OK ? found->actor : TR_ADDR_NONE;
}

static inline tr_err status_of(tr_actor *self, tr_addr socket, tr_nng_status *status, char *url)
{
    const tr_nng_status *now;
    TR_TRY(tr_await(self, tr_ask(self, socket, TR_SECONDS(5), tr_nng_query), tr_nng_status, &now));
    *status = *now;
    if (url)
        snprintf(url, 128, "%s", now->listening.count ? now->listening.data[0] : "");
    return TR_OK;
}

/* Until so many are connected; 10 s. */
static inline tr_err await_peers(tr_actor *self, tr_addr socket, uint32_t peers)
{
    tr_nng_status status;
    for (int i = 0; i < 2000; i++) {
        TR_TRY(status_of(self, socket, &status, NULL));
        if (status.peers == peers)
            return TR_OK;
        TR_TRY(tr_sleep(self, TR_MILLIS(5)));
    }
    return tr_fail(self, TR_EAPP, "%u peers, expected %u", status.peers, peers);
}

/* The next message, as text. */
static inline bool message_is(tr_actor *self, const char *text)
{
    const tr_msg *msg = tr_receive_type(self, TR_SECONDS(15), tr_nng_message);
    const tr_nng_message *message = msg ? tr_match(msg, tr_nng_message) : NULL;
    if (message && message->data.size == strlen(text) &&
        memcmp(message->data.data, text, message->data.size) == 0)
        return true;
    (void)tr_fail(self, TR_EAPP, "got %.*s", message ? (int)message->data.size : 7,
                  message ? (const char *)message->data.data : "nothing");
    return false;
}

static inline tr_err reply_is(tr_actor *self, tr_future f, const char *text)
{
    const tr_nng_reply *reply;
    TR_TRY(tr_await(self, f, tr_nng_reply, &reply));
    if (reply->data.size != strlen(text) || memcmp(reply->data.data, text, reply->data.size) != 0)
        return tr_fail(self, TR_EAPP, "answered %.*s, not %s", (int)reply->data.size,
                       (const char *)reply->data.data, text);
    return TR_OK;
}

#endif
