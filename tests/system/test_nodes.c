/* Two real node processes over loopback: addresses, asks, monitors and names across nodes; kill -9 in the
 * middle; a restart is a new incarnation. The other node is this same program, run with the word "node". */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

/* ---- fixture: the other node --------------------------------------------------------------------------- */

TR_MESSAGE(question, (u64, number), (string, text))
TR_MESSAGE(reply_to, (u64, number), (string, text))
TR_MESSAGE(keep_quiet, (u64, number))
TR_MESSAGE(end_yourself)
TR_MESSAGE(item, (u64, number))
TR_MESSAGE(how_many)
TR_MESSAGE(bulk, (bytes, data))
TR_MESSAGE(send_bulk, (u64, size))
TR_MESSAGE(load, (u64, number), (bytes, data))
TR_MESSAGE(count_is, (u64, count), (bool, in_order))

typedef struct service_state {
    uint64_t count;
    bool disorder;
} service_state;

static void reply_bulk(tr_actor *self, const tr_msg *ask, size_t size)
{
    void *data = calloc(1, size);
    if (data)
        tr_reply(self, ask, bulk, .data = {data, size});
    free(data);
}

static bool is_whole(const load *l)
{
    const char *data = l->data.data;
    return memcmp(data, &l->number, sizeof(l->number)) == 0 &&
           memcmp(data + l->data.size - sizeof(l->number), &l->number, sizeof(l->number)) == 0;
}

static void service(tr_actor *self, void *state, const tr_msg *msg)
{
    service_state *s = state;
    const question *q = tr_match(msg, question);
    const item *i = tr_match(msg, item);
    const load *l = tr_match(msg, load);
    const send_bulk *b;
    if (q)
        tr_reply(self, msg, reply_to, .number = q->number, .text = q->text);
    else if ((b = tr_match(msg, send_bulk)))
        reply_bulk(self, msg, b->size);
    else if (tr_match(msg, keep_quiet))
        tr_msg_take(self, msg);
    else if (tr_match(msg, end_yourself))
        tr_exit(self, TR_EAPP, "asked to");
    else if (i)
        s->disorder |= i->number != s->count++;
    else if (l)
        s->disorder |= !is_whole(l) || l->number != s->count++;
    else if (tr_match(msg, how_many))
        tr_reply(self, msg, count_is, .count = s->count, .in_order = !s->disorder);
}
TR_ACTOR(service_def, .receive = service, .state_size = sizeof(service_state), .mailbox_places = 16384);

static tr_err node_start(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr service_addr = tr_spawn_with(self, &service_def, NULL, &(tr_spawn_opts){.name = "service"});
    tr_spawn_with(self, &service_def, NULL, &(tr_spawn_opts){.name = "second"});
    printf("%s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    uint64_t monitor = tr_monitor(self, service_addr);
    (void)monitor;
    for (;;) {
        const tr_msg *msg = tr_receive(self, TR_FOREVER);
        if (!msg)
            return TR_OK;
        if (tr_match(msg, tr_down))
            tr_spawn_with(self, &service_def, NULL, &(tr_spawn_opts){.name = "service"});
    }
}

static int node_main(const char *name, const char *loops)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tr_error error;
    tr_node_opts opts = {
        .name = name, .listen = "127.0.0.1:0", .loops = (uint32_t)atoi(loops), .start = node_start};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    tr_err err = tr_node_run(node, &error);
    tr_node_destroy(node);
    return err == TR_OK ? 0 : 1;
}

typedef struct other {
    pid_t pid;
    char address[64];
} other;

static other other_start(const char *name)
{
    int out[2];
    other o = {0};
    assert_int_equal(0, pipe(out));
    o.pid = fork();
    if (o.pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        execl("/proc/self/exe", "node", "node", name, "1", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *lines = fdopen(out[0], "r");
    assert_non_null(fgets(o.address, sizeof(o.address), lines));
    o.address[strcspn(o.address, "\n")] = 0;
    fclose(lines);
    return o;
}

static void other_end(other *o, int signal_number)
{
    int status;
    if (!o->pid)
        return;
    kill(o->pid, signal_number);
    waitpid(o->pid, &status, 0);
    o->pid = 0;
}

/* Run `start` in a node that joins `o`, and fail with its error's text. */
static void run_with(other *o, uint32_t loops, tr_err (*start)(tr_actor *self, void *arg))
{
    tr_error error = {0};
    const char *join[] = {o->address, NULL};
    tr_node_opts opts = {.name = "alice", .loops = loops, .join = join, .start = start, .arg = o};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node)
        fail_msg("%s", error.text);
    tr_err err = tr_node_run(node, &error);
    tr_sums s;
    tr_node_sums(node, &s);
    uint64_t dropped = 0;
    for (int i = 0; i < TR_DROP_COUNT; i++)
        dropped += s.dropped[i];
    tr_node_destroy(node);
    if (err != TR_OK)
        fail_msg("%s", error.text);
    assert_int_equal(s.accepted + s.arrived + s.received, s.handled + dropped + s.queued + s.passed + s.sent);
    assert_int_equal(s.arrived, s.passed + s.posted);
}

#define EXPECT(self, condition)                                                                 \
    do {                                                                                        \
        if (!(condition))                                                                       \
            return tr_fail(self, TR_EAPP, "line %d: %s (last error: %s)", __LINE__, #condition, \
                           tr_last_error(self)->text);                                          \
    } while (0)

static tr_err find(tr_actor *self, const char *path, tr_addr *address)
{
    const tr_found *found;
    TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(20)), tr_found, &found));
    *address = found->actor;
    return TR_OK;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static tr_err ask_by_name(tr_actor *self, void *arg)
{
    tr_addr to;
    const reply_to *r;
    (void)arg;
    TR_TRY(find(self, "bob/service", &to));
    TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(5), question, .number = 7, .text = "how far?"),
                    reply_to, &r));
    EXPECT(self, r->number == 7 && strcmp(r->text, "how far?") == 0);
    return TR_OK;
}

static void an_actor_of_another_node_is_found_by_name_and_answers(void **state)
{
    other *bob = *state;
    run_with(bob, 1, ask_by_name);
}

static void so_it_is_from_a_node_of_two_loops(void **state)
{
    other *bob = *state;
    run_with(bob, 2, ask_by_name);
}

static tr_err flood(tr_actor *self, void *arg)
{
    tr_addr to;
    uint64_t refused = 0;
    (void)arg;
    TR_TRY(find(self, "bob/service", &to));
    for (uint64_t i = 0; i < 200000; i++) {
        /* What is full there is a dead letter there, so ask now and then: it goes behind what was sent. */
        if (i % 500 == 499) {
            const count_is *c;
            TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(5), how_many), count_is, &c));
            EXPECT(self, c->count == i && c->in_order);
        }
        tr_err err;
        while ((err = tr_send(self, to, item, .number = i)) == TR_EAGAIN) {
            refused++;
            TR_TRY(tr_notify_writable(self, to));
            EXPECT(self, tr_receive(self, TR_SECONDS(5)));
        }
        TR_TRY(err);
    }
    return TR_OK;
}

static void order_is_kept_and_nothing_is_lost_between_nodes(void **state)
{
    other *bob = *state;
    run_with(bob, 1, flood);
}

static tr_err ask_and_kill(tr_actor *self, void *arg)
{
    other *bob = arg;
    tr_addr to;
    tr_future asks[50];
    TR_TRY(find(self, "bob/service", &to));
    for (int i = 0; i < 50; i++)
        asks[i] = tr_ask(self, to, TR_FOREVER, keep_quiet, .number = (uint64_t)i);
    uint64_t monitor = tr_monitor(self, to);
    const reply_to *r;
    TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(5), question, .number = 1, .text = ""), reply_to, &r));
    kill(bob->pid, SIGKILL);
    for (int i = 0; i < 50; i++)
        EXPECT(self, tr_await_msg(self, asks[i], NULL) == TR_ENOCONN);
    const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
    const tr_down *down = msg ? tr_match(msg, tr_down) : NULL;
    EXPECT(self, down && down->monitor == monitor && down->kind == TR_EXIT_NO_CONNECTION);
    EXPECT(self, tr_addr_equal(down->actor, to));
    EXPECT(self, tr_send(self, to, item, .number = 0) == TR_ENOCONN);
    return TR_OK;
}

static void when_a_node_is_killed_asks_fail_and_monitors_fire(void **state)
{
    other *bob = *state;
    run_with(bob, 1, ask_and_kill);
}

static tr_err monitor_an_exit(tr_actor *self, void *arg)
{
    tr_addr to;
    (void)arg;
    TR_TRY(find(self, "bob/service", &to));
    uint64_t monitor = tr_monitor(self, to);
    tr_send(self, to, end_yourself);
    const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
    const tr_down *down = msg ? tr_match(msg, tr_down) : NULL;
    EXPECT(self, down && down->monitor == monitor && down->kind == TR_EXIT_ERROR && down->code == TR_EAPP);
    EXPECT(self, strcmp(down->text, "asked to") == 0);
    /* Gone: a late ask fails at once, it doesn't wait. */
    EXPECT(self, tr_await_msg(self, tr_ask(self, to, TR_FOREVER, how_many), NULL) == TR_ENOACTOR);
    return TR_OK;
}

static void a_monitor_tells_why_an_actor_of_another_node_ended(void **state)
{
    other *bob = *state;
    run_with(bob, 1, monitor_an_exit);
}

static tr_err unknown_type(tr_actor *self, void *arg)
{
    tr_addr to;
    (void)arg;
    TR_TRY(find(self, "bob/service", &to));
    tr_err err = tr_await_msg(self, tr_ask(self, to, TR_SECONDS(5), count_is, .count = 1), NULL);
    EXPECT(self, err == TR_ENOACTOR); /* known there, but not answered by the service */
    return TR_OK;
}

static void an_ask_that_is_not_answered_fails_at_once(void **state)
{
    other *bob = *state;
    run_with(bob, 1, unknown_type);
}

static tr_err nobody_there(tr_actor *self, void *arg)
{
    const tr_found *found;
    (void)arg;
    EXPECT(self,
           tr_await(self, tr_lookup(self, "bob/nobody", TR_MILLIS(100)), tr_found, &found) == TR_EDEADLINE);
    EXPECT(self, strstr(tr_last_error(self)->text, "nobody is called \"bob/nobody\""));
    EXPECT(self,
           tr_await(self, tr_lookup(self, "carol/nobody", TR_MILLIS(100)), tr_found, &found) == TR_EDEADLINE);
    EXPECT(self, strstr(tr_last_error(self)->text, "nobody is called \"carol/nobody\""));
    return TR_OK;
}

static void a_name_that_nobody_has_is_not_found_by_the_deadline(void **state)
{
    other *bob = *state;
    run_with(bob, 1, nobody_there);
}

static tr_err too_large(tr_actor *self, void *arg)
{
    tr_addr to;
    const bulk *got;
    static char data[65 << 20]; /* a node takes 64 MiB */
    (void)arg;
    TR_TRY(find(self, "bob/service", &to));
    EXPECT(self, tr_send(self, to, bulk, .data = {data, sizeof(data)}) == TR_ETOOBIG);
    EXPECT(self,
           strstr(tr_last_error(self)->text, "is larger than its receiver's node takes, which is 67108864"));
    EXPECT(self, strstr(tr_last_error(self)->text, "a bulk of 681574")); /* and how large this one is */
    EXPECT(self, tr_await_msg(self, tr_ask(self, to, TR_FOREVER, bulk, .data = {data, sizeof(data)}), NULL) ==
                     TR_ETOOBIG);
    tr_future future = tr_ask(self, to, TR_SECONDS(20), send_bulk, .size = 65 << 20);
    EXPECT(self, tr_await(self, future, bulk, &got) == TR_ETOOBIG);
    TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(20), send_bulk, .size = 40 << 20), bulk, &got));
    EXPECT(self, got->data.size == 40 << 20);
    return TR_OK;
}

static void what_is_too_large_for_a_connection_is_told_at_once_in_both_directions(void **state)
{
    other *bob = *state;
    run_with(bob, 1, too_large);
}

/* An actor of its own here, so that what it sends and what the asks send are of different pairs. */
typedef struct carrier {
    tr_addr to;
    uint64_t messages;
    _Atomic int ended;
} carrier;

#define LOAD (1u << 20)

static tr_err carry(tr_actor *self, void *arg)
{
    carrier *c = arg;
    char *data = calloc(1, LOAD);
    tr_err err = data ? TR_OK : TR_ENOMEM;
    for (uint64_t i = 0; i < c->messages && err == TR_OK; i++) {
        memcpy(data, &i, sizeof(i));
        memcpy(data + LOAD - sizeof(i), &i, sizeof(i));
        while ((err = tr_send(self, c->to, load, .number = i, .data = {data, LOAD})) == TR_EAGAIN)
            if ((err = tr_notify_writable(self, c->to)) != TR_OK || !tr_receive(self, TR_SECONDS(20)))
                break;
        /* What is full there is a dead letter there, so ask now and then. */
        const count_is *count;
        if (err == TR_OK && i % 4 == 3)
            err = tr_await(self, tr_ask(self, c->to, TR_SECONDS(20), how_many), count_is, &count);
        if (err == TR_OK && i % 4 == 3 && (count->count != i + 1 || !count->in_order))
            err = TR_EMISMATCH;
    }
    free(data);
    atomic_store(&c->ended, err == TR_OK ? 1 : 2);
    return err;
}
TR_ACTOR(carrier_def, .run = carry);

static tr_err ask_beside(tr_actor *self, void *arg)
{
    static carrier c;
    tr_addr other_one;
    const reply_to *r;
    uint64_t asks = 0;
    (void)arg;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    c = (carrier){.messages = 64};
#else
    c = (carrier){.messages = getenv("LD_PRELOAD") ? 16 : 1024}; /* under valgrind it is valgrind's */
#endif
    TR_TRY(find(self, "bob/service", &c.to));
    TR_TRY(find(self, "bob/second", &other_one));
    EXPECT(self, !tr_addr_is_none(tr_spawn(self, &carrier_def, &c)));
    for (; !atomic_load(&c.ended); asks++) {
        TR_TRY(tr_await(self, tr_ask(self, other_one, TR_SECONDS(5), question, .number = asks, .text = "?"),
                        reply_to, &r));
        EXPECT(self, r->number == asks);
    }
    EXPECT(self, c.ended == 1);
    EXPECT(self, asks > c.messages / 8); /* if each waited for some large ones it were far fewer */
    return TR_OK;
}

static void small_asks_are_answered_while_a_gigabyte_crosses_in_order(void **state)
{
    other *bob = *state;
    run_with(bob, 1, ask_beside);
}

static tr_err watch_twice(tr_actor *self, void *arg)
{
    tr_addr to;
    (void)arg;
    TR_TRY(find(self, "bob/service", &to));
    TR_TRY(tr_watch_nodes(self));
    TR_TRY(tr_watch_nodes(self));
    TR_TRY(tr_register_name(self, "watcher"));
    TR_TRY(find(self, "watcher", &to)); /* the warden's answer is behind its events */
    const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
    const tr_node_event *event = msg ? tr_match(msg, tr_node_event) : NULL;
    EXPECT(self, event && event->up && strcmp(event->name, "bob") == 0);
    EXPECT(self, !tr_receive(self, TR_MILLIS(1)));
    other_end(arg, SIGKILL);
    msg = tr_receive(self, TR_SECONDS(10));
    event = msg ? tr_match(msg, tr_node_event) : NULL;
    EXPECT(self, event && !event->up);
    EXPECT(self, !tr_receive(self, TR_MILLIS(1)));
    return TR_OK;
}

static void who_watches_the_nodes_twice_hears_of_each_once(void **state)
{
    other *bob = *state;
    run_with(bob, 1, watch_twice);
}

static int start_bob(void **state)
{
    static other bob;
    bob = other_start("bob");
    *state = &bob;
    return 0;
}

static int stop_bob(void **state)
{
    other_end(*state, SIGKILL);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "node") == 0)
        return node_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_actor_of_another_node_is_found_by_name_and_answers, start_bob,
                                        stop_bob),
        cmocka_unit_test_setup_teardown(so_it_is_from_a_node_of_two_loops, start_bob, stop_bob),
        cmocka_unit_test_setup_teardown(order_is_kept_and_nothing_is_lost_between_nodes, start_bob, stop_bob),
        cmocka_unit_test_setup_teardown(when_a_node_is_killed_asks_fail_and_monitors_fire, start_bob,
                                        stop_bob),
        cmocka_unit_test_setup_teardown(a_monitor_tells_why_an_actor_of_another_node_ended, start_bob,
                                        stop_bob),
        cmocka_unit_test_setup_teardown(an_ask_that_is_not_answered_fails_at_once, start_bob, stop_bob),
        cmocka_unit_test_setup_teardown(what_is_too_large_for_a_connection_is_told_at_once_in_both_directions,
                                        start_bob, stop_bob),
        cmocka_unit_test_setup_teardown(small_asks_are_answered_while_a_gigabyte_crosses_in_order, start_bob,
                                        stop_bob),
        cmocka_unit_test_setup_teardown(who_watches_the_nodes_twice_hears_of_each_once, start_bob, stop_bob),
        cmocka_unit_test_setup_teardown(a_name_that_nobody_has_is_not_found_by_the_deadline, start_bob,
                                        stop_bob),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
