/* A program of somebody else's that speaks nng: it links libnng and nothing of Troupe's. For test_nng_socket.
 *
 *     nng_foreign PROTOCOL listen|dial URL ACTION [COUNT [SIZE]]
 *
 * It prints "ready URL" when it listens or has begun to dial, does COUNT (0: endless) of ACTION, prints "done COUNT", and stays
 * until its input ends. Actions:
 *   echo     answer what comes by "re:" and that
 *   die      take one message, and end at once
 *   ask      ask "question 0", "question 1" ..., and print each answer
 *   survey   ask "survey 0" ..., and print all answers within two seconds
 *   send     when somebody is connected: "message 0" ..., padded by '.' to SIZE bytes
 *   recv     print what comes, cut to 40 bytes
 *   count    take what comes, check that it is numbered as sent, and print only the end */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/bus0/bus.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/pair1/pair.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/protocol/survey0/respond.h>
#include <nng/protocol/survey0/survey.h>

static nng_socket sock;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t connected = PTHREAD_COND_INITIALIZER;
static int peers;

static void check(const char *what, int result)
{
    if (result == 0)
        return;
    printf("error %s: %s\n", what, nng_strerror(result));
    exit(1);
}

static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *context)
{
    (void)pipe, (void)context;
    pthread_mutex_lock(&lock);
    peers += event == NNG_PIPE_EV_ADD_POST ? 1 : -1;
    pthread_cond_broadcast(&connected);
    pthread_mutex_unlock(&lock);
}

static void wait_for_peer(void)
{
    pthread_mutex_lock(&lock);
    while (peers <= 0)
        pthread_cond_wait(&connected, &lock);
    pthread_mutex_unlock(&lock);
}

static void open_socket(const char *protocol)
{
    static const struct {
        const char *word;
        int (*open)(nng_socket *);
    } all[] = {{"req", nng_req0_open},
               {"rep", nng_rep0_open},
               {"pub", nng_pub0_open},
               {"sub", nng_sub0_open},
               {"push", nng_push0_open},
               {"pull", nng_pull0_open},
               {"pair", nng_pair0_open},
               {"pair1", nng_pair1_open},
               {"bus", nng_bus0_open},
               {"surveyor", nng_surveyor0_open},
               {"respondent", nng_respondent0_open}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(protocol, all[i].word) == 0) {
            check("open", all[i].open(&sock));
            nng_pipe_notify(sock, NNG_PIPE_EV_ADD_POST, on_pipe, NULL);
            nng_pipe_notify(sock, NNG_PIPE_EV_REM_POST, on_pipe, NULL);
            return;
        }
    }
    check(protocol, NNG_ENOTSUP);
}

static void connect_socket(const char *how, const char *url)
{
    if (strcmp(how, "listen") == 0) {
        nng_listener listener;
        int port;
        check("listen", nng_listen(sock, url, &listener, 0));
        if (strncmp(url, "tcp:", 4) == 0 &&
            nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
            printf("ready %.*s:%d\n", (int)(strrchr(url, ':') - url), url, port);
        else
            printf("ready %s\n", url);
    } else {
        check("dial", nng_dial(sock, url, NULL, NNG_FLAG_NONBLOCK));
        printf("ready %s\n", url);
    }
}

static void send_text(const char *text, size_t size)
{
    nng_msg *msg;
    check("message", nng_msg_alloc(&msg, 0));
    check("message", nng_msg_append(msg, text, size));
    check("send", nng_sendmsg(sock, msg, 0));
}

/* What comes next, with a NUL behind it; NULL: nothing in time. */
static char *receive_text(size_t *size)
{
    nng_msg *msg;
    int result = nng_recvmsg(sock, &msg, 0);
    if (result == NNG_ETIMEDOUT)
        return NULL;
    check("receive", result);
    *size = nng_msg_len(msg);
    char *text = calloc(1, *size + 1);
    memcpy(text, nng_msg_body(msg), *size);
    nng_msg_free(msg);
    return text;
}

static void do_echo(long i)
{
    size_t size;
    char *text = receive_text(&size), *answer = malloc(size + 4);
    (void)i;
    memcpy(answer, "re:", 3);
    memcpy(answer + 3, text, size);
    send_text(answer, size + 3);
    free(answer);
    free(text);
}

static void do_die(long i)
{
    size_t size;
    (void)i;
    receive_text(&size);
    _exit(3);
}

static void print_text(char *text, const char *before)
{
    printf("%s%.40s\n", before, text);
    free(text);
}

static void do_ask(long i)
{
    char question[64];
    size_t size;
    snprintf(question, sizeof(question), "question %ld", i);
    send_text(question, strlen(question));
    print_text(receive_text(&size), "got ");
}

static void do_survey(long i)
{
    char question[64], *text;
    size_t size;
    snprintf(question, sizeof(question), "survey %ld", i);
    wait_for_peer();
    nng_socket_set_ms(sock, NNG_OPT_SURVEYOR_SURVEYTIME, 2000);
    send_text(question, strlen(question));
    while ((text = receive_text(&size)))
        print_text(text, "got ");
}

static size_t padded;

static void do_send(long i)
{
    size_t size = padded > 32 ? padded : 32;
    char *text = malloc(size + 1);
    int length = snprintf(text, size, "message %ld", i);
    if (i == 0)
        wait_for_peer();
    if (padded > (size_t)length)
        memset(text + length, '.', padded - (size_t)length);
    send_text(text, padded > (size_t)length ? padded : (size_t)length);
    free(text);
}

static void do_recv(long i)
{
    size_t size;
    (void)i;
    print_text(receive_text(&size), "got ");
}

static void do_count(long i)
{
    size_t size;
    char *text = receive_text(&size), expected[64];
    int length = snprintf(expected, sizeof(expected), "message %ld", i);
    if (strncmp(text, expected, (size_t)length) != 0 || (text[length] != '\0' && text[length] != '.')) {
        printf("error expected %s, got %.40s\n", expected, text);
        exit(1);
    }
    free(text);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *word;
        void (*act)(long i);
    } all[] = {{"echo", do_echo}, {"die", do_die},   {"ask", do_ask},    {"survey", do_survey},
               {"send", do_send}, {"recv", do_recv}, {"count", do_count}};
    if (argc < 5)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    long count = argc > 5 ? atol(argv[5]) : 0, i = 0;
    padded = argc > 6 ? (size_t)atol(argv[6]) : 0;
    open_socket(argv[1]);
    if (strcmp(argv[1], "sub") == 0)
        check("subscribe", nng_socket_set(sock, NNG_OPT_SUB_SUBSCRIBE, "", 0));
    nng_socket_set_size(sock, NNG_OPT_RECVMAXSZ, (size_t)8 << 20);
    connect_socket(argv[2], argv[3]);
    for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
        for (i = 0; strcmp(argv[4], all[k].word) == 0 && (count == 0 || i < count); i++)
            all[k].act(i);
    printf("done %ld\n", count);
    while (getchar() != EOF)
        continue;
    return 0;
}
