/* The nng socket when the other side does wrong, and when nng does: each trap of nng 1.5 that is known. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <nng/nng.h>

#include "tests/kit/loopback.h"
#include "tests/system/nng_kit.h"

static char directory[] = "/tmp/troupe-nng-XXXXXX";

static void echo(tr_actor *self, void *state, const tr_msg *msg)
{
    const tr_nng_request *request = tr_match(msg, tr_nng_request);
    (void)state;
    if (request)
        (void)tr_reply(self, msg, tr_nng_reply, .data = request->data);
}
TR_ACTOR(echo_def, .receive = echo);

static uint16_t port_of(const char *url)
{
    return (uint16_t)atoi(strrchr(url, ':') + 1);
}

/* ---- floods -------------------------------------------------------------------------------------------- */

/* We are slow: what we haven't room for stays with the other side, and nothing is lost. */
static tr_err flood_in(tr_actor *self, void *arg)
{
    foreign f;
    char url[128];
    tr_nng_status status;
    (void)arg;
    tr_addr pull = spawn_socket(self, &(tr_nng_opts){.protocol = "pull",
                                                     .listen = URLS("tcp://127.0.0.1:0"),
                                                     .consumer = tr_self(self),
                                                     .receive_ahead = 8});
    EXPECT(!tr_addr_is_none(pull), LAST);
    TR_TRY(status_of(self, pull, &status, url));
    EXPECT(foreign_run(self, &f, "push", "dial", url, "send", "20000", "100"), LAST);
    for (int i = 0; status.waiting < 8 && i < 2000;
         i++) { /* our mailbox is full now, and so is what is ahead of it */
        TR_TRY(tr_sleep(self, TR_MILLIS(5)));
        TR_TRY(status_of(self, pull, &status, NULL));
    }
    TR_TRY(tr_sleep(self, TR_MILLIS(300))); /* it stays so */
    TR_TRY(status_of(self, pull, &status, NULL));
    EXPECT(status.waiting == 8, kept("%u wait", status.waiting));
    EXPECT(status.delivered == status.received - 8, "counts");
    for (int i = 0; i < 20000; i++) {
        char expected[32];
        const tr_msg *msg = tr_receive_type(self, TR_SECONDS(15), tr_nng_message);
        const tr_nng_message *message = msg ? tr_match(msg, tr_nng_message) : NULL;
        int length = snprintf(expected, sizeof(expected), "message %d.", i);
        EXPECT(message && message->data.size == 100, kept("message %d", i));
        EXPECT(memcmp(message->data.data, expected, (size_t)length) == 0, expected);
    }
    EXPECT(foreign_says(self, &f, "done 20000") && foreign_end(&f) == 0, LAST);
    TR_TRY(status_of(self, pull, &status, NULL));
    EXPECT(status.delivered == 20000 && status.undeliverable == 0, "counts");
    return TR_OK;
}

static void a_flood_waits_with_who_floods_while_the_consumer_has_no_room(void **state)
{
    (void)state;
    real_node_run(2, flood_in, NULL);
}

/* They are slow: our senders hear that the socket is full. */
static tr_err flood_out(tr_actor *self, void *arg)
{
    foreign f;
    char url[128], text[64];
    tr_nng_status status;
    unsigned refused = 0;
    (void)arg;
    tr_addr push =
        spawn_socket(self, &(tr_nng_opts){.protocol = "push", .listen = URLS("tcp://127.0.0.1:0")});
    EXPECT(!tr_addr_is_none(push), LAST);
    TR_TRY(status_of(self, push, &status, url));
    for (int i = 0; i < 20000; i++) {
        int size = snprintf(text, sizeof(text), "message %d", i);
        tr_err err = tr_send(self, push, tr_nng_send, .data = {text, (size_t)size});
        if (err == TR_EFULL) {
            if (refused++ == 0) { /* nobody takes anything yet */
                EXPECT(foreign_run(self, &f, "pull", "dial", url, "count", "20000", NULL), LAST);
            }
            TR_TRY(tr_notify_writable(self, push));
            EXPECT(tr_receive_type(self, TR_SECONDS(15), tr_writable), "no notice");
            i--;
        } else {
            TR_TRY(err);
        }
    }
    EXPECT(refused > 0, "it was never full");
    TR_TRY(
        tr_await_msg(self, tr_ask(self, push, TR_SECONDS(15), tr_nng_send, .data = BYTES("the last")), NULL));
    TR_TRY(status_of(self, push, &status, NULL));
    EXPECT(status.sent == 20001 && status.refused == 0 && status.unsent == 0, "counts");
    EXPECT(foreign_says(self, &f, "done 20000") && foreign_end(&f) == 0, LAST);
    return TR_OK;
}

static void who_sends_more_than_is_taken_hears_that_it_is_full_and_all_arrives_in_order(void **state)
{
    (void)state;
    real_node_run(2, flood_out, NULL);
}

/* ---- peers that die ------------------------------------------------------------------------------------ */

static tr_err next_event(tr_actor *self, uint32_t kind, tr_nng_event *event)
{
    const tr_msg *msg;
    while ((msg = tr_receive_type(self, TR_SECONDS(15), tr_nng_event))) {
        *event = *tr_match(msg, tr_nng_event);
        if (event->kind == kind)
            return TR_OK;
    }
    return tr_fail(self, TR_EAPP, "no event %u came", kind);
}

static tr_err dead_peer(tr_actor *self, void *arg)
{
    foreign f;
    char url[128];
    tr_nng_event event;
    tr_nng_status status;
    (void)arg;
    EXPECT(foreign_run(self, &f, "rep", "listen", "tcp://" LISTENS_AGAIN ":0", "die", "0", NULL), LAST);
    snprintf(url, sizeof(url), "%s", f.url);
    tr_addr req = spawn_socket(self, &(tr_nng_opts){.protocol = "req",
                                                    .dial = URLS(url),
                                                    .events = tr_self(self),
                                                    .backoff_ns = TR_MILLIS(20),
                                                    .backoff_max_ns = TR_MILLIS(200)});
    TR_TRY(next_event(self, TR_NNG_UP, &event));
    uint64_t begun = tr_now(self);
    tr_err err =
        tr_await_msg(self, tr_ask(self, req, TR_SECONDS(10), tr_nng_request, .data = BYTES("x")), NULL);
    EXPECT(err == TR_ERESET, LAST);
    EXPECT(tr_now(self) - begun < TR_SECONDS(5), "it took too long");
    EXPECT(foreign_end(&f) == 3, "it died");
    TR_TRY(next_event(self, TR_NNG_DOWN, &event));
    EXPECT(event.retry_ns > 0 && event.retry_ns <= TR_MILLIS(20), "it is told when the next dial is");
    for (int i = 0; i < 5; i++) /* told, not hidden, and further and further apart */
        TR_TRY(next_event(self, TR_NNG_FAILED, &event));
    EXPECT(event.code == TR_EREFUSED && strcmp(event.url, url) == 0, event.text);
    EXPECT(event.retry_ns >= TR_MILLIS(150) && event.retry_ns <= TR_MILLIS(200), "back-off");
    EXPECT(tr_await_msg(self, tr_ask(self, req, TR_MILLIS(100), tr_nng_request, .data = BYTES("x")), NULL) ==
               TR_EDEADLINE,
           "nobody is there");
    EXPECT(foreign_run(self, &f, "rep", "listen", url, "echo", "0", NULL), LAST);
    TR_TRY(reply_is(self, tr_ask(self, req, TR_SECONDS(10), tr_nng_request, .data = BYTES("again")),
                    "re:again"));
    TR_TRY(status_of(self, req, &status, NULL));
    EXPECT(status.cuts == 1 && status.dials_failed >= 5 && status.dials == status.dials_failed + 2, "counts");
    foreign_kill(&f);
    return TR_OK;
}

static void a_peer_that_dies_fails_the_ask_and_is_dialled_again_with_back_off_and_told(void **state)
{
    (void)state;
    real_node_run(2, dead_peer, NULL);
}

static tr_err resent(tr_actor *self, void *arg)
{
    foreign f;
    char url[128];
    (void)arg;
    EXPECT(foreign_run(self, &f, "rep", "listen", "tcp://" LISTENS_AGAIN ":0", "die", "0", NULL), LAST);
    snprintf(url, sizeof(url), "%s", f.url);
    tr_addr req = spawn_socket(self, &(tr_nng_opts){.protocol = "req",
                                                    .dial = URLS(url),
                                                    .resend_ns = TR_SECONDS(1),
                                                    .backoff_ns = TR_MILLIS(20)});
    tr_future answer = tr_ask(self, req, TR_SECONDS(15), tr_nng_request, .data = BYTES("x"));
    EXPECT(foreign_line(self, &f) == NULL && foreign_end(&f) == 3, "it died, asked once");
    EXPECT(foreign_run(self, &f, "rep", "listen", url, "echo", "0", NULL), LAST);
    TR_TRY(reply_is(self, answer, "re:x"));
    foreign_kill(&f);
    return TR_OK;
}

static void a_request_is_asked_again_if_that_was_wanted(void **state)
{
    (void)state;
    real_node_run(2, resent, NULL);
}

/* ---- what isn't nng, and what is too large ------------------------------------------------------------- */

static int connect_raw(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        abort();
    return fd;
}

/* Is it cut, within 10 s? */
static bool is_cut(int fd)
{
    char bytes[256];
    ssize_t got;
    do
        got = read(fd, bytes, sizeof(bytes));
    while (got > 0 || (got < 0 && errno == EINTR)); /* who blocks a loop is looked at by a signal */
    bool cut = got == 0 || errno == ECONNRESET;
    close(fd);
    return cut;
}

/* A pusher's greeting, and a message that claims that size. */
static bool claim_is_cut(uint16_t port, uint64_t size)
{
    unsigned char bytes[8 + 8 + 4] = {0, 'S', 'P', 0, 0, 0x50, 0, 0};
    int fd = connect_raw(port);
    for (int i = 0; i < 8; i++)
        bytes[8 + i] = (unsigned char)(size >> (56 - 8 * i));
    return write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) && is_cut(fd);
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        abort();
    fclose(file);
    return pages * 4;
}

static tr_err hostile(tr_actor *self, void *arg)
{
    foreign f;
    char url[128];
    tr_nng_status status;
    (void)arg;
    tr_addr pull = spawn_socket(self, &(tr_nng_opts){.protocol = "pull",
                                                     .listen = URLS("tcp://127.0.0.1:0"),
                                                     .consumer = tr_self(self),
                                                     .receive_max = 1000});
    EXPECT(!tr_addr_is_none(pull), LAST);
    TR_TRY(status_of(self, pull, &status, url));
    uint16_t port = port_of(url);
    int fd = connect_raw(port);
    EXPECT(write(fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18 && is_cut(fd), "garbage is cut");
    long before = resident_kib();
    for (int i = 0; i < 20; i++) {
        EXPECT(claim_is_cut(port, UINT64_MAX - (uint64_t)i), "no message has that size");
        EXPECT(claim_is_cut(port, (uint64_t)1 << 30), "a GiB is more than a thousand bytes");
    }
    EXPECT(claim_is_cut(port, 1001), "one byte too much");
    EXPECT(resident_kib() - before < 64 * 1024, "a claim takes no memory");
    EXPECT(foreign_run(self, &f, "push", "dial", url, "send", "1", "1000"), LAST);
    const tr_msg *msg = tr_receive_type(self, TR_SECONDS(15), tr_nng_message);
    EXPECT(msg && tr_match(msg, tr_nng_message)->data.size == 1000, "the largest that is allowed");
    foreign_kill(&f);
    TR_TRY(status_of(self, pull, &status, NULL));
    EXPECT(status.received == 1, "nothing else");

    const tr_nng_sent *sent;
    tr_addr push = spawn_socket(
        self, &(tr_nng_opts){.protocol = "push", .listen = URLS("tcp://127.0.0.1:0"), .send_max = 10});
    EXPECT(tr_await(self, tr_ask(self, push, TR_SECONDS(1), tr_nng_send, .data = BYTES("eleven byte")),
                    tr_nng_sent, &sent) == TR_ETOOBIG,
           LAST);
    return TR_OK;
}

static tr_err limited(tr_actor *self, void *arg)
{
    const char *const urls[] = {"tcp://127.0.0.1:0", "ws://127.0.0.1:0/x",
                                kept("ipc://%s/limited", directory),
                                kept("abstract://troupe-%d-limited", getpid())};
    (void)arg;
    for (size_t i = 0; i < TR_COUNT(urls); i++) {
        char url[128];
        foreign large, small;
        tr_nng_status status;
        tr_addr pull = spawn_socket(self, &(tr_nng_opts){.protocol = "pull",
                                                         .listen = {&urls[i], 1},
                                                         .consumer = tr_self(self),
                                                         .receive_max = 1000});
        EXPECT(!tr_addr_is_none(pull), LAST);
        TR_TRY(status_of(self, pull, &status, url));
        EXPECT(foreign_run(self, &large, "push", "dial", url, "send", "1", "1001"), LAST);
        EXPECT(foreign_says(self, &large, "done 1"), LAST);
        EXPECT(foreign_run(self, &small, "push", "dial", url, "send", "1", "1000"), LAST);
        const tr_msg *msg = tr_receive_type(self, TR_SECONDS(15), tr_nng_message);
        EXPECT(msg && tr_match(msg, tr_nng_message)->data.size == 1000, url);
        TR_TRY(status_of(self, pull, &status, NULL));
        EXPECT(status.received == 1, url);
        foreign_kill(&large);
        foreign_kill(&small);
    }
    return TR_OK;
}

static void the_limit_holds_on_every_transport(void **state)
{
    (void)state;
    real_node_run(2, limited, NULL);
}

static void garbage_and_what_is_too_large_is_cut_and_others_are_served(void **state)
{
    (void)state;
    real_node_run(2, hostile, NULL);
}

/* ---- nng's own --------------------------------------------------------------------------------------- */

/* Connect, and close at once; false: nobody accepts any more. */
static bool knock(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    bool accepted = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return accepted;
}

/* nng #1518: peers that close at once leave it listening and accepting nobody. */
static tr_err dead_listener(tr_actor *self, void *arg)
{
    const char *path = kept("%s/dies", directory);
    tr_nng_event event;
    tr_nng_status status;
    (void)arg;
    const char *url = kept("ipc://%s", path);
    tr_addr rep = spawn_socket(self, &(tr_nng_opts){.protocol = "rep",
                                                    .listen = URLS(url),
                                                    .consumer = tr_spawn(self, &echo_def, NULL),
                                                    .events = tr_self(self)});
    EXPECT(!tr_addr_is_none(rep), LAST);
    for (int i = 0; i < 300; i++) { /* it takes luck */
        for (int k = 0; k < 50 && knock(path); k++)
            continue;
        TR_TRY(tr_sleep(self, TR_MILLIS(5)));
    }
    if (NNG_MINOR_VERSION < 10) { /* later ones let none die */
        TR_TRY(next_event(self, TR_NNG_RELISTENED, &event));
        EXPECT(event.code == TR_OK && strcmp(event.url, url) == 0, event.text);
        TR_TRY(status_of(self, rep, &status, NULL));
        EXPECT(status.relistened >= 1, "counted");
    }
    tr_addr req = spawn_socket(self, &(tr_nng_opts){.protocol = "req", .dial = URLS(url)});
    return reply_is(self, tr_ask(self, req, TR_SECONDS(10), tr_nng_request, .data = BYTES("lives")), "lives");
}

static void an_ipc_listener_that_nng_let_die_is_made_anew_and_told(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* nng leaks the connection that a dead listener accepted, and its code has no names to excuse it by */
#endif
    real_node_run(2, dead_listener, NULL);
}

/* A pair takes one peer: a second one that dials is cut at once, each time. */
static tr_err taken_pair(tr_actor *self, void *arg)
{
    foreign f;
    char url[128];
    tr_nng_event event;
    tr_nng_status status;
    (void)arg;
    tr_addr pair = spawn_socket(
        self,
        &(tr_nng_opts){.protocol = "pair", .listen = URLS("tcp://127.0.0.1:0"), .consumer = tr_self(self)});
    TR_TRY(status_of(self, pair, &status, url));
    EXPECT(foreign_run(self, &f, "pair", "dial", url, "recv", "0", NULL), LAST);
    TR_TRY(await_peers(self, pair, 1));
    tr_addr second = spawn_socket(self, &(tr_nng_opts){.protocol = "pair",
                                                       .dial = URLS(url),
                                                       .consumer = tr_self(self),
                                                       .events = tr_self(self),
                                                       .backoff_ns = TR_MILLIS(50),
                                                       .backoff_max_ns = TR_MILLIS(400)});
    TR_TRY(tr_sleep(self, TR_SECONDS(2)));
    TR_TRY(status_of(self, second, &status, NULL));
    EXPECT(status.dials >= 3 && status.dials <= 12, kept("%d dials in two seconds", (int)status.dials));
    foreign_kill(&f);
    do { /* a dial may still be cut: that the first one has gone may not have been heard of yet */
        TR_TRY(await_peers(self, second, 1));
        TR_TRY(tr_sleep(self, TR_MILLIS(300)));
        TR_TRY(status_of(self, second, &status, NULL));
    } while (status.peers != 1);
    TR_TRY(tr_send(self, second, tr_nng_send, .data = BYTES("my turn")));
    EXPECT(message_is(self, "my turn"), LAST);
    (void)event;
    return TR_OK;
}

static void a_peer_that_is_cut_again_and_again_is_dialled_with_back_off(void **state)
{
    (void)state;
    real_node_run(2, taken_pair, NULL);
}

static tr_err mismatch(tr_actor *self, void *arg)
{
    foreign f;
    tr_nng_event event;
    (void)arg;
    EXPECT(foreign_run(self, &f, "pub", "listen", "tcp://127.0.0.1:0", "nothing", "0", NULL), LAST);
    (void)spawn_socket(self, &(tr_nng_opts){.protocol = "req", .dial = URLS(f.url), .events = tr_self(self)});
    TR_TRY(next_event(self, TR_NNG_FAILED, &event));
    EXPECT(event.code == TR_EPROTO && strstr(event.text, "counterpart"), event.text);
    foreign_kill(&f);
    return TR_OK;
}

static void a_peer_of_another_protocol_is_named(void **state)
{
    (void)state;
    real_node_run(2, mismatch, NULL);
}

/* What is sent while nobody listens is lost, though nng says that it was sent: it is counted. */
static tr_err to_nobody(tr_actor *self, void *arg)
{
    tr_nng_status status;
    const tr_nng_sent *sent;
    (void)arg;
    tr_addr pub = spawn_socket(self, &(tr_nng_opts){.protocol = "pub", .listen = URLS("tcp://127.0.0.1:0")});
    TR_TRY(tr_await(self, tr_ask(self, pub, TR_SECONDS(5), tr_nng_send, .data = BYTES("x")), tr_nng_sent,
                    &sent));
    EXPECT(sent->peers == 0, "nobody was there");
    TR_TRY(status_of(self, pub, &status, NULL));
    EXPECT(status.sent == 1 && status.sent_to_nobody == 1, "counted");
    tr_addr push = spawn_socket(self, &(tr_nng_opts){.protocol = "push",
                                                     .listen = URLS("tcp://127.0.0.1:0"),
                                                     .send_timeout_ns = TR_MILLIS(50)});
    TR_TRY(tr_send(self, push, tr_nng_send, .data = BYTES("x")));
    EXPECT(tr_await_msg(self, tr_ask(self, push, TR_SECONDS(5), tr_nng_send, .data = BYTES("x")), NULL) ==
               TR_EDEADLINE,
           LAST);
    TR_TRY(status_of(self, push, &status, NULL));
    EXPECT(status.sent == 0 && status.send_failed == 2, "counted");
    return TR_OK;
}

static void what_nobody_gets_is_counted(void **state)
{
    (void)state;
    real_node_run(2, to_nobody, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_waits_with_who_floods_while_the_consumer_has_no_room),
        cmocka_unit_test(who_sends_more_than_is_taken_hears_that_it_is_full_and_all_arrives_in_order),
        cmocka_unit_test(a_peer_that_dies_fails_the_ask_and_is_dialled_again_with_back_off_and_told),
        cmocka_unit_test(a_request_is_asked_again_if_that_was_wanted),
        cmocka_unit_test(garbage_and_what_is_too_large_is_cut_and_others_are_served),
        cmocka_unit_test(the_limit_holds_on_every_transport),
        cmocka_unit_test(an_ipc_listener_that_nng_let_die_is_made_anew_and_told),
        cmocka_unit_test(a_peer_that_is_cut_again_and_again_is_dialled_with_back_off),
        cmocka_unit_test(a_peer_of_another_protocol_is_named),
        cmocka_unit_test(what_nobody_gets_is_counted),
    };
    if (!mkdtemp(directory))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(kept("%s/dies", directory));
    rmdir(directory);
    return failed;
}
