/* A handler that is stuck for longer than the connections' silence: the control thread keeps them up, and
 * shakes hands with newcomers. Three real node processes (this same program, run with the name of its part)
 * with short timings; each tells by lines what happens to it. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
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

#include "actors/node.h"
#include "actors/remote/remote.h"
#include "transport/endpoint.h"

#define SILENCE_MS 2800  /* on a busy machine a process may get no turn for a second */
#define STUCK_MS   6000  /* at least, and over twice the silence: bob is stuck until he is let go */
#define WITHIN_MS  40000 /* for a line; nothing here takes that long */

/* ---- the parts: bob gets stuck, alice asks him meanwhile, carol comes ---------------------------------- */

TR_MESSAGE(get_stuck)
TR_MESSAGE(question, (u64, number))
TR_MESSAGE(reply_to, (u64, number))

static void say(const char *line)
{
    printf("%s\n", line);
    fflush(stdout);
}

static void service(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    const question *q = tr_match(msg, question);
    if (q) {
        tr_reply(self, msg, reply_to, .number = q->number);
    } else if (tr_match(msg, get_stuck)) {
        char let_go;
        say("stuck");
        say(read(STDIN_FILENO, &let_go, 1) == 1 ? "let go" : "left alone");
    }
}
TR_ACTOR(service_def, .receive = service);

static tr_err bob_start(tr_actor *self, void *arg)
{
    (void)arg;
    tr_spawn_with(self, &service_def, NULL, &(tr_spawn_opts){.name = "service"});
    say(tr_node_listen(tr_node_of(self)));
    while (tr_receive(self, TR_FOREVER))
        ;
    return TR_OK;
}

static tr_err alice_start(tr_actor *self, void *arg)
{
    const tr_found *found;
    const reply_to *r;
    char line[64];
    unsigned ups = 0, downs = 0;
    (void)arg;
    TR_TRY(tr_watch_nodes(self));
    TR_TRY(tr_await(self, tr_lookup(self, "bob/service", TR_SECONDS(30)), tr_found, &found));
    tr_addr bob = found->actor;
    TR_TRY(tr_send(self, bob, get_stuck));
    TR_TRY(tr_await(self, tr_ask(self, bob, TR_SECONDS(30), question, .number = 7), reply_to, &r));
    uint64_t number = r->number;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_MILLIS(1)));) {
        const tr_node_event *event = tr_match(msg, tr_node_event);
        ups += event && event->up;
        downs += event && !event->up;
    }
    snprintf(line, sizeof(line), "answer %llu, %u up, %u down", (unsigned long long)number, ups, downs);
    say(line);
    return TR_OK;
}

static tr_err carol_start(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(tr_watch_nodes(self));
    const tr_msg *msg = tr_receive(self, TR_SECONDS(30));
    const tr_node_event *event = msg ? tr_match(msg, tr_node_event) : NULL;
    say(event && event->up ? event->name : "nobody came up");
    return TR_OK;
}

static int part_main(const char *name, const char *join)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tr_error error = {0};
    const char *joins[] = {join, NULL};
    tr__connection_config config;
    tr__connection_config_defaults(&config);
    config.detector.heartbeat_ns = 100 * 1000000ull;
    config.detector.silence_ns = SILENCE_MS * 1000000ull;
    config.drain_ns = 100 * 1000000ull;
    tr_node_opts opts = {
        .name = name,
        .listen = "127.0.0.1:0",
        .join = join ? joins : NULL,
        .log_level = TR_LOG_ERROR,
        .start = *name == 'b'   ? bob_start
                 : *name == 'a' ? alice_start
                                : carol_start,
    };
    tr_node *node = tr_node_create(&opts, &error);
    if (node)
        tr__remote_tune(node->remote, &config);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK)
        printf("%s\n", error.text);
    return err != TR_OK;
}

/* ---- fixture ------------------------------------------------------------------------------------------- */

typedef struct part {
    pid_t pid;
    int in, out;
    char line[256];
} part;

typedef struct fixture {
    part bob, alice, carol;
} fixture;

static void part_start(part *p, const char *name, const char *join)
{
    int in[2], out[2];
    assert_int_equal(0, pipe(in));
    assert_int_equal(0, pipe(out));
    p->pid = fork();
    if (p->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(in[1]);
        close(out[0]);
        execl("/proc/self/exe", "part", name, join, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p->in = in[1];
    p->out = out[0];
}

/* Whether something can be read from it within that time. */
static bool speaks(part *p, int within_ms)
{
    struct pollfd fd = {.fd = p->out, .events = POLLIN};
    return poll(&fd, 1, within_ms) > 0;
}

/* Its next line, in p->line. */
static const char *hear(part *p)
{
    size_t length = 0;
    while (length < sizeof(p->line) - 1) {
        if (!speaks(p, WITHIN_MS) || read(p->out, p->line + length, 1) != 1)
            fail_msg("nothing more was said after '%.*s'", (int)length, p->line);
        if (p->line[length] == '\n')
            break;
        length++;
    }
    p->line[length] = 0;
    return p->line;
}

static int setup(void **state)
{
    static fixture f;
    f = (fixture){0};
    *state = &f;
    part_start(&f.bob, "bob", NULL);
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    part *parts[] = {&f->bob, &f->alice, &f->carol};
    for (int i = 0; i < 3; i++)
        if (parts[i]->pid) {
            kill(parts[i]->pid, SIGKILL);
            waitpid(parts[i]->pid, NULL, 0);
            close(parts[i]->in);
            close(parts[i]->out);
        }
    return 0;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void a_stuck_handler_costs_no_connection_and_newcomers_are_let_in(void **state)
{
    fixture *f = *state;
    char address[256];
    strcpy(address, hear(&f->bob));
    part_start(&f->alice, "alice", address);
    assert_string_equal(hear(&f->bob), "stuck");
    part_start(&f->carol, "carol", address);
    assert_string_equal(hear(&f->carol), "bob");
    assert_false(speaks(&f->alice, STUCK_MS)); /* neither an answer nor an end */
    assert_false(speaks(&f->bob, 0));
    assert_int_equal(1, write(f->bob.in, "!", 1));
    assert_string_equal(hear(&f->bob), "let go");
    assert_string_equal(hear(&f->alice), "answer 7, 1 up, 0 down");
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[0], "part") == 0)
        return part_main(argv[1], argc > 2 ? argv[2] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_stuck_handler_costs_no_connection_and_newcomers_are_let_in, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
