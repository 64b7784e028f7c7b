/* The end of real nodes by signals: in order, in bounded time, at once by a second one. This same program is the node. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/troupe.h>

#define WITHIN_MS 20000

/* ---- the node: db, and web that asks it something in its end; with the argument "stubborn" one that stays, with
 * "mill" and the like one whose handler never returns ---- */

TR_MESSAGE(query)
TR_MESSAGE(row)

static void say(const char *line)
{
    puts(line);
    fflush(stdout);
}

static void db(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, query))
        tr_reply(self, msg, row);
}

static void db_stop(tr_actor *self, void *state)
{
    (void)self, (void)state;
    say("db stops");
}
TR_ACTOR(db_def, .receive = db, .stop = db_stop);

static void asked(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)state, (void)context;
    say(result->err == TR_OK ? "web was answered" : "web was not answered");
    tr_exit(self, TR_OK, "done");
}

static tr_err web_init(tr_actor *self, void *state, const void *arg)
{
    (void)state, (void)arg;
    tr_trap_stop(self, true);
    return TR_OK;
}

static void web(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, tr_shutdown))
        tr_then(self, tr_ask(self, tr_whereis(self, "db"), TR_SECONDS(4), query), asked, NULL);
}
TR_ACTOR(web_def, .init = web_init, .receive = web);

static void stays(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state;
    if (tr_match(msg, tr_shutdown)) /* it traps its stop, and does nothing about it */
        say("the mule stays");
}
TR_ACTOR(stubborn_def, .init = web_init, .receive = stays);

static __attribute__((noinline)) void turn_for_ever(void)
{
    static volatile uint64_t turns;
    say("the mill turns");
    for (;;)
        turns++;
}

static void mill(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state;
    if (tr_match(msg, query))
        turn_for_ever();
}
TR_ACTOR(mill_def, .receive = mill);

static void mill_stop(tr_actor *self, void *state)
{
    (void)self, (void)state;
    turn_for_ever();
}
TR_ACTOR(mill_at_its_end_def, .receive = mill, .stop = mill_stop);

static tr_err start(tr_actor *self, void *arg)
{
    char *const *rest = arg;
    static const tr_child_spec children[] = {{.id = "db", .def = &db_def, .named = true},
                                             {.id = "web", .def = &web_def}};
    tr_addr top = tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = 2});
    TR_TRY(tr_await_msg(self, tr_supervisor_ready(self, top), NULL));
    if (*rest && strcmp(*rest, "stubborn") == 0)
        tr_spawn_with(self, &stubborn_def, NULL, &(tr_spawn_opts){.name = "mule", .place = TR_PLACE_SPREAD});
    if (*rest && strncmp(*rest, "mill", 4) == 0) {
        bool own = strcmp(*rest, "mill-own") == 0, at_end = strcmp(*rest, "mill-end") == 0;
        tr_addr to = tr_spawn_with(
            self, at_end ? &mill_at_its_end_def : &mill_def, NULL,
            &(tr_spawn_opts){.name = "mill", .place = own ? TR_PLACE_OWN_THREAD : TR_PLACE_HERE});
        if (!at_end)
            TR_TRY(tr_send(self, to, query));
    }
    say("up");
    while (tr_receive(self, TR_FOREVER))
        ;
    say("start ends");
    return tr_last_error(self)->code;
}

/* ---- fixture ------------------------------------------------------------------------------------------- */

typedef struct part {
    pid_t pid;
    int out;
    char said[4096];
} part;

static uint64_t now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000u + (uint64_t)at.tv_nsec / 1000000u;
}

/* Until that was said; NULL: until it has ended. */
static void listen_to(part *p, const char *until)
{
    uint64_t deadline = now_ms() + WITHIN_MS;
    size_t used = strlen(p->said);
    while (!until || !strstr(p->said, until)) {
        struct pollfd ready = {.fd = p->out, .events = POLLIN};
        assert_true(now_ms() < deadline);
        if (poll(&ready, 1, 100) != 1)
            continue;
        ssize_t got = read(p->out, p->said + used, sizeof(p->said) - 1 - used);
        if (got <= 0)
            break;
        used += (size_t)got;
        p->said[used] = '\0';
    }
}

static void node_start(part *p, const char *const *options)
{
    const char *argv[16] = {"test_stop", "--loops", "2", "--operator", "none"};
    int out[2];
    for (int i = 0; options[i]; i++)
        argv[i + 5] = options[i];
    memset(p, 0, sizeof(*p));
    assert_int_equal(0, pipe(out));
    p->pid = fork();
    if (p->pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        execv("/proc/self/exe", (char *const *)argv);
        _exit(127);
    }
    close(out[1]);
    p->out = out[0];
    listen_to(p, "up\n");
}
#define START(p, ...) node_start(p, (const char *const[]){__VA_ARGS__, NULL})

static void node_ended(part *p, int expected)
{
    int status;
    listen_to(p, NULL);
    assert_int_equal(p->pid, waitpid(p->pid, &status, 0));
    close(p->out);
    assert_true(WIFEXITED(status));
    assert_int_equal(expected, WEXITSTATUS(status));
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void a_signal_stops_it_in_order_while_replies_flow(void **state)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    (void)state;
    for (int i = 0; i < 2; i++) {
        part p;
        START(&p, "--log", "warn", "--watchdog", "0");
        kill(p.pid, numbers[i]);
        node_ended(&p, 0);
        assert_string_equal(p.said, "up\nweb was answered\ndb stops\nstart ends\n");
    }
}

static void what_does_not_stop_is_named_and_killed_after_the_time_given(void **state)
{
    part p;
    (void)state;
    START(&p, "--stop-timeout", "0.5", "stubborn");
    uint64_t begun = now_ms();
    kill(p.pid, SIGTERM);
    node_ended(&p, 0);
    assert_true(now_ms() - begun >= 450 && now_ms() - begun < 5000);
    assert_non_null(strstr(p.said, "stubborn_def mule"));
    assert_non_null(strstr(p.said, "didn't stop in time; it is killed"));
    assert_non_null(strstr(p.said, "db stops")); /* killed, but its stop is called */
}

static void a_second_signal_hurries_to_the_end(void **state)
{
    part p;
    (void)state;
    START(&p, "stubborn");
    uint64_t begun = now_ms();
    kill(p.pid, SIGTERM);
    listen_to(&p, "the mule stays");
    kill(p.pid, SIGTERM);
    node_ended(&p, 0);
    assert_true(now_ms() - begun < 4000); /* before the 5 s after which a root is killed */
}

/* The crash report of that process; then it is gone. */
static void read_report(const part *p, const char *directory, char *text, size_t room)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/troupe-crash-node-%d.txt", directory, (int)p->pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t length = fread(text, 1, room - 1, file);
    text[length] = '\0';
    fclose(file);
    unlink(path);
}

static void a_handler_that_never_returns_is_named_and_the_process_ends(void **state)
{
    static const char *const which[] = {"mill", "mill-own", "mill-end"};
    char directory[] = "/tmp/troupe-stop-XXXXXX", report[16384];
    (void)state;
    assert_non_null(mkdtemp(directory));
    for (int i = 0; i < 3; i++) {
        part p;
        START(&p, "--stop-timeout", "0.3", "--watchdog", "0", "--crash-dir", directory, which[i]);
        if (i < 2)
            listen_to(&p, "the mill turns");
        uint64_t begun = now_ms();
        kill(p.pid, SIGTERM);
        node_ended(&p, 70);
        assert_in_range(now_ms() - begun, 1250, 8000);
        assert_non_null(strstr(p.said, "keeps the node from its end"));
        assert_non_null(strstr(p.said, i == 2 ? "actor mill_at_its_end_def" : "actor mill_def \"mill\""));
        read_report(&p, directory, report, sizeof(report));
        assert_non_null(strstr(report, "stuck: an actor keeps the node from its end"));
        assert_non_null(strstr(report, i == 2 ? "actor: mill_at_its_end_def" : "actor: mill_def"));
        if (i < 2)
            assert_non_null(strstr(report, "message: query {}"));
#if !defined(__SANITIZE_THREAD__) /* which hands no signals to a thread that computes */
        assert_non_null(strstr(p.said, "turn_for_ever"));
#endif
    }
    rmdir(directory);
}

static void a_wrong_time_is_refused(void **state)
{
    (void)state;
    int status = system("/proc/$PPID/exe --stop-timeout never >/dev/null 2>&1");
    assert_int_equal(2, WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return tr_main(argc, argv, start, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_stops_it_in_order_while_replies_flow),
        cmocka_unit_test(what_does_not_stop_is_named_and_killed_after_the_time_given),
        cmocka_unit_test(a_second_signal_hurries_to_the_end),
        cmocka_unit_test(a_handler_that_never_returns_is_named_and_the_process_ends),
        cmocka_unit_test(a_wrong_time_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
