/* A node's port under 10,000 connections of somebody who doesn't belong there: most say nothing, others garbage, lengths near
 * 2^64, the beginning of a handshake, a byte a second. The node's memory and descriptors are bounded, its log is quiet, its
 * peers are answered, and a newcomer who belongs there is let in. The nodes, and the flood, are this same program, run with a
 * word. The figures that it prints are for docs/security.md; what is asserted of time is generous. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "tests/system/process_kit.h"
#include "transport/frame.h"

/* ---- what nodes do ---------------------------------------------------------------------------------------- */

TR_MESSAGE(question, (u64, number))

static void echo(tr_actor *self, void *state, const tr_msg *msg)
{
    const question *q = tr_match(msg, question);
    (void)state;
    if (q)
        tr_reply(self, msg, question, .number = q->number);
}
TR_ACTOR(echo_def, .receive = echo);

static tr_err serve(tr_actor *self, void *arg)
{
    (void)arg;
    tr_spawn_with(self, &echo_def, NULL, &(tr_spawn_opts){.name = "echo"});
    while (tr_receive(self, TR_FOREVER))
        ;
    return tr_last_error(self)->code;
}

enum { ASKS_MAX = 1 << 20 };

static int compare(const void *a, const void *b)
{
    uint32_t one = *(const uint32_t *)a, two = *(const uint32_t *)b;
    return one < two ? -1 : one > two;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Asks bob one question after the other, a millisecond apart, for as many seconds as the argument says; tells how long the
 * answers took, in us. */
static tr_err measure(tr_actor *self, void *arg)
{
    static uint32_t took[ASKS_MAX];
    const tr_found *found;
    const question *answer;
    size_t count = 0;
    TR_TRY(tr_await(self, tr_lookup(self, "bob/echo", TR_SECONDS(30)), tr_found, &found));
    tr_addr to = found->actor;
    printf("met\n");
    fflush(stdout);
    uint64_t until = now_ns() + (uint64_t)atoi(((char **)arg)[0]) * 1000000000u;
    for (uint64_t begun; (begun = now_ns()) < until && count < ASKS_MAX; count++) {
        TR_TRY(
            tr_await(self, tr_ask(self, to, TR_SECONDS(10), question, .number = count), question, &answer));
        took[count] = (uint32_t)((now_ns() - begun) / 1000);
        tr_sleep(self, TR_MILLIS(1));
    }
    qsort(took, count, sizeof(*took), compare);
    if (count)
        printf("asks %zu p50 %u p99 %u max %u\n", count, took[count / 2], took[count * 99 / 100],
               took[count - 1]);
    return TR_OK;
}

/* ---- the flood -------------------------------------------------------------------------------------------- */

enum { FLOOD = 10000 };

static struct sockaddr_in target, source;
static int fds[FLOOD]; /* -1: none now */
static uint64_t made, met;

/* What the i-th says when it is connected: three of four nothing. */
static void say_something(int i)
{
    static uint8_t garbage[65536];
    uint8_t frame[100], huge[TR__FRAME_HEADER];
    size_t key = tr__frame_put_key(frame, 1, (const uint8_t *)"thirty-two bytes of a public key");
    memset(garbage, 0xa5, sizeof(garbage));
    memset(huge, 0xff, sizeof(huge));
    if (i % 16 == 0)
        (void)!send(fds[i], garbage, sizeof(garbage), MSG_NOSIGNAL | MSG_DONTWAIT);
    else if (i % 16 == 4)
        (void)!send(fds[i], huge, sizeof(huge), MSG_NOSIGNAL);
    else if (i % 16 == 8)
        (void)!send(fds[i], frame, key, MSG_NOSIGNAL);
    else if (i % 16 == 12)
        (void)!send(fds[i], frame, (size_t)i % key, MSG_NOSIGNAL);
}

/* False: no port or descriptor is free now. */
static bool connect_one(int epoll, int i)
{
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fds[i] < 0)
        return false;
    setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    bool begun = bind(fds[i], (struct sockaddr *)&source, sizeof(source)) == 0 &&
                 (connect(fds[i], (struct sockaddr *)&target, sizeof(target)) == 0 || errno == EINPROGRESS);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLIN | EPOLLRDHUP, .data.u32 = (uint32_t)i};
    if (begun && epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) == 0) {
        made++;
        return true;
    }
    close(fds[i]);
    fds[i] = -1;
    return false;
}

static void on_event(int epoll, const struct epoll_event *event)
{
    int i = (int)event->data.u32;
    if (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        close(fds[i]);
        fds[i] = -1;
        connect_one(epoll, i);
        return;
    }
    if (event->events & EPOLLOUT) {
        struct epoll_event next = {.events = EPOLLRDHUP, .data.u32 = (uint32_t)i};
        met++;
        say_something(i);
        epoll_ctl(epoll, EPOLL_CTL_MOD, fds[i], &next);
    }
}

/* ADDRESS SOURCE: until it is killed; a line a second. Whoever is cut connects again. */
static int flood(const char *address, const char *from)
{
    struct epoll_event events[256];
    struct rlimit limit;
    uint64_t told = now_ms();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    target = socket_address(address);
    source = (struct sockaddr_in){.sin_family = AF_INET};
    inet_pton(AF_INET, from, &source.sin_addr);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < FLOOD + 100 ? limit.rlim_max : FLOOD + 100;
    setrlimit(RLIMIT_NOFILE, &limit);
    memset(fds, -1, sizeof(fds));
    for (int at = 0;; at = (at + 1) % FLOOD) {
        if (fds[at] < 0)
            connect_one(epoll, at);
        int count = epoll_wait(epoll, events, 256, 0);
        for (int i = 0; i < count; i++)
            on_event(epoll, &events[i]);
        if (now_ms() - told < 1000)
            continue;
        unsigned open = 0;
        for (int i = 0; i < FLOOD; i++)
            open += fds[i] >= 0;
        printf("flood: %u open, %llu begun, %llu met\n", open, (unsigned long long)made,
               (unsigned long long)met);
        fflush(stdout);
        told = now_ms();
    }
    return 0;
}

/* ---- fixture: bob, and a key ------------------------------------------------------------------------------ */

static char folder[64], key[96], address[64];
static process bob, asks, newcomer, flooding;

static void start_node(process *p, char *what, char *name, char *option, char *value, char *argument)
{
    char *argv[] = {"/proc/self/exe", what,    "--name", name,   "--key", key,      "--operator",
                    "none",           "--log", "info",   option, value,   argument, NULL};
    begin(p, argv);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/troupe-flood-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(key, sizeof(key), "%s/key", folder);
    assert_int_equal(troupe("made", "key", "new", key, NULL), 0);
    start_node(&bob, "serve", "bob", "--listen", "127.0.0.1:0", NULL);
    hear_address(&bob, address, sizeof(address));
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    end(&flooding, SIGKILL);
    end(&asks, SIGKILL);
    end(&newcomer, SIGKILL);
    end(&bob, SIGKILL);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* ---- helpers ---------------------------------------------------------------------------------------------- */

typedef struct figures {
    unsigned asks, p50, p99, max;
} figures;

static void begin_asking(char *seconds)
{
    start_node(&asks, "measure", "alice", "--join", address, seconds);
    hear(&asks, "met\n");
}

static figures end_asking(void)
{
    figures f = {0};
    assert_int_equal(status_of(&asks), 0); /* every ask was answered */
    const char *at = strstr(asks.said, "asks ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "asks %u p50 %u p99 %u max %u", &f.asks, &f.p50, &f.p99, &f.max), 4);
    return f;
}

/* How long a new node takes to be met and answered once, in ms. */
static unsigned meet_newcomer(void)
{
    uint64_t begun = now_ms();
    start_node(&newcomer, "measure", "carol", "--join", address, "0");
    hear(&newcomer, "met\n");
    unsigned took = (unsigned)(now_ms() - begun);
    assert_int_equal(status_of(&newcomer), 0);
    return took;
}

typedef struct most {
    unsigned descriptors;
    size_t kib;
} most;

static most look(int ms)
{
    most m = {0};
    for (uint64_t until = now_ms() + (uint64_t)ms; now_ms() < until; poll(NULL, 0, 50)) {
        unsigned count = descriptors(bob.pid);
        size_t kib = resident_kib(bob.pid);
        m.descriptors = count > m.descriptors ? count : m.descriptors;
        m.kib = kib > m.kib ? kib : m.kib;
    }
    return m;
}

/* Strangers have 64 places; as many others wait to be looked at, and some times as many are being closed. */
enum { DESCRIPTORS = 384, KIB = 24 * 1024 };

/* From the flood's own address no newcomer is awaited while it goes on. */
static void under_a_flood_from(const char *from, bool elsewhere)
{
    char *argv[] = {"/proc/self/exe", "flood", address, (char *)from, NULL};
    begin_asking("2");
    figures calm = end_asking();
    most before = look(200);
    begin_asking("6");
    begin(&flooding, argv);
    hear(&flooding, "flood: ");
    unsigned first = elsewhere ? meet_newcomer() : 0;
    most during = look(2500);
    unsigned second = elsewhere ? meet_newcomer() : 0;
    uint64_t lines = times_said(&bob, "came to nothing");
    figures busy = end_asking();
    times_said(&flooding, "flood: ");
    end(&flooding, SIGKILL);
    print_message("%s\n", flooding.said);
    print_message(
        "asks: p50 %u us, p99 %u us, max %u us; with the flood from %s p50 %u us, p99 %u us, max %u us\n"
        "newcomers: met after %u ms and %u ms; descriptors %u, then %u; resident %zu KiB, then %zu\n"
        "lines in the log: %llu\n",
        calm.p50, calm.p99, calm.max, from, busy.p50, busy.p99, busy.max, first, second, before.descriptors,
        during.descriptors, before.kib, during.kib, (unsigned long long)lines);
    assert_true(during.descriptors <= before.descriptors + DESCRIPTORS);
    assert_true(during.kib <= before.kib + KIB);
    assert_in_range(lines, 1, 30); /* at most one a second */
    assert_int_equal(times_said(&bob, "node alice is down: no heartbeat"), 0);
    for (int i = 0; descriptors(bob.pid) > before.descriptors; i++, poll(NULL, 0, 100))
        assert_true(i < 150);
    meet_newcomer();
    assert_int_equal(WEXITSTATUS(end(&bob, SIGTERM)), 0);
}

/* ---- tests ------------------------------------------------------------------------------------------------ */

static void a_flood_from_another_address_costs_peers_and_newcomers_little(void **state)
{
    (void)state;
    under_a_flood_from("127.0.0.2", true);
}

static void one_from_the_address_that_peers_have_costs_those_that_are_up_little(void **state)
{
    (void)state;
    under_a_flood_from("127.0.0.1", false);
}

static void with_few_descriptors_a_node_serves_its_peers(void **state)
{
    char *argv[] = {"/proc/self/exe", "flood", address, "127.0.0.2", NULL};
    struct rlimit few = {128, 128};
    (void)state;
    assert_int_equal(prlimit(bob.pid, RLIMIT_NOFILE, &few, NULL), 0);
    begin_asking("4");
    begin(&flooding, argv);
    hear(&flooding, "flood: ");
    figures busy = end_asking();
    assert_true(busy.asks > 0);
    end(&flooding, SIGKILL);
    meet_newcomer();
    assert_int_equal(WEXITSTATUS(end(&bob, SIGTERM)), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "serve") == 0)
        return tr_main(argc - 1, argv + 1, serve, NULL);
    if (argc > 1 && strcmp(argv[1], "measure") == 0)
        return tr_main(argc - 1, argv + 1, measure, NULL);
    if (argc > 3 && strcmp(argv[1], "flood") == 0)
        return flood(argv[2], argv[3]);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_flood_from_another_address_costs_peers_and_newcomers_little),
        CASE(one_from_the_address_that_peers_have_costs_those_that_are_up_little),
        CASE(with_few_descriptors_a_node_serves_its_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
