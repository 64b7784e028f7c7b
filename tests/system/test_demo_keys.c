/* The demo's keys, pressed in a terminal: a pseudo-terminal with a session of its own, whose leader is no shell but a
 * process that tells us when the demo stops and ends. What the terminal was like before is compared with afterwards. */
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <termios.h>

#include "demo_kit.h"

/* ---- fixture: the program in a terminal ---------------------------------------------------------------- */

typedef struct terminal {
    int other;  /* our end of the line that the program has */
    int news;   /* the leader tells: the program's id, then "s" when it was stopped */
    pid_t demo; /* the program */
    struct termios before;
} terminal;

static void become_demo(demo *d, const char *const *arguments)
{
    const char *argv[ARGUMENTS] = {"troupe", "demo", "--image", d->image};
    for (int count = 4; *arguments; arguments++)
        argv[count++] = *arguments;
    setpgid(0, 0);
    tcsetpgrp(0, getpid());
    signal(SIGTTOU, SIG_DFL);
    setenv("TMPDIR", d->tmp, 1);
    setenv("TERM", "xterm", 1);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    execv(getenv("TROUPE_BIN") ? getenv("TROUPE_BIN") : "bin/troupe", (char *const *)argv);
    _exit(127);
}

/* Ends as the program does: 100 + the signal that ended it. */
static void lead(demo *d, const char *name, int news, const char *const *arguments)
{
    int status;
    setsid();
    int line = open(name, O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(line, fd);
    close(line);
    signal(SIGTTOU, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0)
        become_demo(d, arguments);
    if (write(news, &pid, sizeof(pid)) != sizeof(pid))
        _exit(126);
    while (waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status))
        if (write(news, "s", 1) != 1)
            _exit(126);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status));
}

static void open_terminal(demo *d, terminal *t, const char *const *arguments)
{
    char name[64];
    int news[2];
    d->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(d->out >= 0 && grantpt(d->out) == 0 && unlockpt(d->out) == 0);
    assert_int_equal(0, ptsname_r(d->out, name, sizeof(name)));
    t->other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_int_equal(0, ioctl(t->other, TIOCSWINSZ, &(struct winsize){.ws_row = 24, .ws_col = 80}));
    assert_int_equal(0, tcgetattr(t->other, &t->before));
    assert_int_equal(0, pipe2(news, O_CLOEXEC));
    d->pid = fork();
    if (d->pid == 0)
        lead(d, name, news[1], arguments);
    close(news[1]);
    t->news = news[0];
    assert_int_equal(sizeof(t->demo), read(t->news, &t->demo, sizeof(t->demo)));
}

#define OPEN(d, t, ...) open_terminal(d, t, (const char *const[]){__VA_ARGS__, NULL})

static void press(demo *d, const char *key)
{
    assert_int_equal(1, write(d->out, key, 1));
}

/* Its exit status. The line stays open while we have its other end, so the end of the leader is what is waited for. */
static int status_of_terminal(demo *d, terminal *t)
{
    int status;
    char rest;
    struct pollfd ready[] = {{.fd = d->out, .events = POLLIN}, {.fd = t->news, .events = POLLIN}};
    uint64_t until = now_ms() + LONGEST_S * 1000;
    for (;;) {
        assert_true(now_ms() < until && poll(ready, 2, LONGEST_S * 1000) > 0);
        if (ready[0].revents & POLLIN) {
            ssize_t got = read(d->out, d->output + d->used, OUTPUT_MAX - 1 - d->used);
            assert_true(got > 0);
            d->used += (size_t)got;
            d->output[d->used] = 0;
        } else if (ready[1].revents && read(t->news, &rest, 1) <= 0) {
            break;
        }
    }
    assert_int_equal(d->pid, waitpid(d->pid, &status, 0));
    d->pid = 0;
    close(t->news);
    return WEXITSTATUS(status);
}

static bool is_quiet(const terminal *t)
{
    struct termios now;
    return tcgetattr(t->other, &now) == 0 && !(now.c_lflag & (ICANON | ECHO));
}

static void assert_restored(const demo *d, const terminal *t)
{
    struct termios now;
    assert_int_equal(0, tcgetattr(t->other, &now));
    assert_int_equal(t->before.c_lflag, now.c_lflag);
    assert_int_equal(t->before.c_iflag, now.c_iflag);
    assert_memory_equal(t->before.c_cc, now.c_cc, sizeof(now.c_cc));
    const char *hidden = NULL, *shown = NULL;
    for (const char *at = d->output; (at = strstr(at, "\033[?25")); at += 5)
        *(at[5] == 'l' ? &hidden : &shown) = at;
    assert_true(hidden && shown && shown > hidden);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void k_kills_bob_as_often_as_it_is_pressed(void **state)
{
    demo *d = *state;
    terminal t;
    OPEN(d, &t, "--files", "100", "--no-kill");
    assert_said(d, "GET /list");
    assert_true(is_quiet(&t));
    press(d, "k");
    assert_said(d, "up again");
    d->used = 0;
    d->output[0] = 0;
    assert_said(d, "of bob"); /* the journals' line: he is at work again */
    press(d, "k");
    int status = status_of_terminal(d, &t);
    if (status != 0 || !strstr(d->output, "killed 2 times, healed 2 times"))
        fail_msg("exit status %d: %s", status, d->output);
    close(t.other);
    assert_nothing_left(d);
}

static void q_quits_in_order_and_restores_the_terminal(void **state)
{
    demo *d = *state;
    terminal t;
    OPEN(d, &t, "--files", FILES);
    assert_said(d, "quit"); /* the line of keys */
    press(d, "q");
    assert_int_equal(1, status_of_terminal(d, &t));
    assert_non_null(strstr(d->output, "stopped by the key q"));
    assert_restored(d, &t);
    close(t.other);
    assert_nothing_left(d);
}

static void nodes_that_have_ended_are_not_called_killed(void **state)
{
    demo *d = *state;
    terminal t;
    OPEN(d, &t, "--files", "10", "--no-kill");
    assert_int_equal(0, status_of_terminal(d, &t));
    assert_non_null(strstr(d->output, " ended        "));
    assert_null(strstr(d->output, " killed       "));
    assert_null(strstr(d->output, " cut off      "));
}

static void p_without_namespaces_says_why_not(void **state)
{
    demo *d = *state;
    terminal t;
    OPEN(d, &t, "--files", FILES, "--no-kill");
    assert_said(d, "web app at");
    press(d, "p");
    assert_said(d, "without --netns");
    assert_int_equal(0, status_of_terminal(d, &t));
    assert_restored(d, &t);
    close(t.other);
    assert_nothing_left(d);
}

static void ctrl_c_restores_the_terminal(void **state)
{
    demo *d = *state;
    terminal t;
    OPEN(d, &t, "--files", FILES);
    assert_said(d, "GET /list");
    press(d, "\003");
    assert_int_equal(128 + SIGINT, status_of_terminal(d, &t));
    assert_restored(d, &t);
    close(t.other);
    assert_nothing_left(d);
}

static void an_abort_restores_the_terminal(void **state)
{
    demo *d = *state;
    terminal t;
    OPEN(d, &t, "--files", FILES);
    assert_said(d, "GET /list");
    assert_true(is_quiet(&t));
    kill(t.demo, SIGABRT);
    assert_int_equal(100 + SIGABRT, status_of_terminal(d, &t));
    assert_restored(d, &t);
    close(t.other);
}

static void ctrl_z_gives_the_terminal_back_and_going_on_takes_it(void **state)
{
    demo *d = *state;
    terminal t;
    char told = 0;
    OPEN(d, &t, "--files", FILES, "--no-kill");
    assert_said(d, "first message");
    kill(t.demo, SIGTSTP);
    assert_int_equal(1, read(t.news, &told, 1));
    assert_int_equal('s', told);
    struct termios now;
    assert_int_equal(0, tcgetattr(t.other, &now));
    assert_int_equal(t.before.c_lflag, now.c_lflag);
    d->used = 0;
    kill(t.demo, SIGCONT);
    assert_said(d, "\033[H\033[2J"); /* drawn anew */
    assert_true(is_quiet(&t));
    press(d, "q");
    assert_int_equal(1, status_of_terminal(d, &t));
    close(t.other);
    assert_nothing_left(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(k_kills_bob_as_often_as_it_is_pressed),
        TEST(q_quits_in_order_and_restores_the_terminal),
        TEST(nodes_that_have_ended_are_not_called_killed),
        TEST(p_without_namespaces_says_why_not),
        TEST(ctrl_c_restores_the_terminal),
        TEST(an_abort_restores_the_terminal),
        TEST(ctrl_z_gives_the_terminal_back_and_going_on_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
