/* `troupe top` and `troupe tap` on a real node (this same program, run with a node's options): in batches, on a terminal of
 * its own (a pty), and what the node does once they have gone. */
#include "tests/kit/operator_kit.h"

#include <errno.h>
#include <pty.h>
#include <sys/ioctl.h>

#include <jansson.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

/* ---- the node ------------------------------------------------------------------------------------------ */

TR_MESSAGE(work, (u32, number), (string, text))
TR_MESSAGE(end)

/* Takes a millisecond for each. */
static void worker_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, end)) {
        tr_exit(self, TR_EAPP, "told to");
        return;
    }
    poll(NULL, 0, 1); /* works */
}
TR_ACTOR(worker_def, .receive = worker_receive);

static tr_err start(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr worker = tr_spawn_with(self, &worker_def, NULL, &(tr_spawn_opts){.name = "worker"});
    puts("up");
    fflush(stdout);
    for (uint32_t i = 0; tr_sleep(self, TR_MILLIS(5)) == TR_OK; i++)
        tr_send(self, worker, work, .number = i, .text = "hello");
    return TR_OK;
}

static void node_up(part *ada)
{
    START(ada, "--name", "ada", "--loops", "1");
    assert_string_equal("up", next_line(ada));
}

/* ---- top ----------------------------------------------------------------------------------------------- */

static const json_t *actor_named(const json_t *all, const char *name)
{
    const json_t *actor;
    size_t i;
    json_array_foreach(json_object_get(all, "actors"), i,
                       actor) if (strcmp(json_string_value(json_object_get(actor, "name")), name) ==
                                  0) return actor;
    return NULL;
}

static void a_batch_as_json_has_rates_and_percentiles(void **state)
{
    part ada;
    (void)state;
    node_up(&ada);
    assert_int_equal(0, troupe("top ada --batch --json"));
    json_t *all = json_loads(printed, 0, NULL);
    const json_t *worker = actor_named(all, "worker");
    assert_non_null(worker);
    assert_true(json_number_value(json_object_get(worker, "messages_per_s")) > 1);
    assert_true(json_number_value(json_object_get(worker, "busy")) > 0.001);
    assert_true(json_integer_value(json_object_get(worker, "p50_ns")) >= 900000);
    assert_true(json_integer_value(json_object_get(worker, "p99_ns")) >=
                json_integer_value(json_object_get(worker, "p50_ns")));
    assert_non_null(strstr(json_string_value(json_object_get(worker, "message")), "work"));
    json_decref(all);
    assert_int_equal(0, troupe("top --batch=2 --every 0.2 --sort rate"));
    assert_printed("ada  1 loop, ");
    assert_printed("MSG/S");
    assert_printed("ada/worker ");
    assert_int_equal(2, troupe("top --sort size"));
    assert_printed("one of busy, rate, mail, age, p99");
    node_end(&ada, SIGTERM);
    assert_int_equal(1, troupe("top ada --batch --every 0.1"));
    assert_printed("no node \"ada\" runs here");
}

static size_t used; /* of what is printed, since the program has the terminal */

/* What the program writes to the terminal, until `text` has come: what is there already isn't drawn again. */
static void until_on_screen(int terminal, const char *text)
{
    struct pollfd ready = {.fd = terminal, .events = POLLIN};
    while (!strstr(printed, text)) {
        if (used == sizeof(printed) - 1 || poll(&ready, 1, WITHIN_MS) != 1)
            fail_msg("\"%s\" isn't on the screen: %s", text, printed);
        ssize_t got = read(terminal, printed + used, sizeof(printed) - 1 - used);
        if (got <= 0)
            fail_msg("it ended; \"%s\" isn't on the screen: %s", text, printed);
        for (ssize_t i = 0; i < got; i++) /* NULs are padding */
            if (printed[used + (size_t)i] == '\0')
                printed[used + (size_t)i] = ' ';
        used += (size_t)got;
    }
}

static int top_on_a_terminal(struct winsize *size, pid_t *pid)
{
    int terminal;
    used = 0;
    memset(printed, 0, sizeof(printed));
    *pid = forkpty(&terminal, NULL, NULL, size);
    if (*pid == 0) {
        setenv("TERM", "xterm", 1);
        execl(getenv("TROUPE_BIN"), "troupe", "top", (char *)NULL);
        _exit(127);
    }
    assert_true(*pid > 0);
    return terminal;
}

static void on_a_terminal_it_is_a_screen_and_leaves_it_clean(void **state)
{
    part ada;
    pid_t pid;
    int status;
    (void)state;
    node_up(&ada);
    int terminal = top_on_a_terminal(&(struct winsize){.ws_row = 24, .ws_col = 90}, &pid);
    until_on_screen(terminal, "q quit"); /* drawn last; only what changes is written again */
    until_on_screen(terminal, "ada/worker");
    assert_int_equal(1, write(terminal, "\3", 1)); /* Ctrl-C */
    until_on_screen(terminal, "\033[?1049l");      /* back from the other screen */
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(terminal);
    terminal = top_on_a_terminal(&(struct winsize){.ws_row = 2, .ws_col = 9}, &pid); /* tiny */
    until_on_screen(terminal, "q quit");
    assert_int_equal(0, ioctl(terminal, TIOCSWINSZ, &(struct winsize){.ws_row = 30, .ws_col = 120}));
    until_on_screen(terminal, "ada/worker");
    assert_int_equal(1, write(terminal, "q", 1));
    until_on_screen(terminal, "\033[?1049l");
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(terminal);
    node_end(&ada, SIGTERM);
}

/* ---- tap ----------------------------------------------------------------------------------------------- */

static void a_tap_shows_the_messages_as_they_come(void **state)
{
    part ada;
    (void)state;
    node_up(&ada);
    assert_int_equal(0, troupe("tap ada/worker --count 3"));
    assert_printed("\"kind\":\"send\",\"type\":\"work\",\"size\":");
    assert_printed("\"text\":\"hello\"}");
    assert_printed("\"from\":\"<");
    size_t lines = 0;
    for (const char *at = printed; (at = strstr(at, "{\"time_ms\"")); at++)
        lines++;
    assert_int_equal(3, lines);
    assert_int_equal(1, troupe("tap ada/eve"));
    assert_printed("no actor of node ada is called \"eve\"");
    node_end(&ada, SIGTERM);
}

static void a_tap_ends_with_its_actor_or_at_ctrl_c(void **state)
{
    part ada;
    (void)state;
    node_up(&ada);
    assert_int_equal(0,
                     troupe("tap ada/tx >$XDG_RUNTIME_DIR/tap 2>&1 & pid=$!; "
                            "until grep -q open $XDG_RUNTIME_DIR/tap || ! kill -0 $pid; do sleep 0.1; done; "
                            "kill -INT $pid; wait $pid; s=$?; cat $XDG_RUNTIME_DIR/tap; (exit $s)"));
    assert_printed("tap of tx open");
    assert_int_equal(0,
                     troupe("tap ada/worker 2>$XDG_RUNTIME_DIR/tap >/dev/null & pid=$!; "
                            "until grep -q open $XDG_RUNTIME_DIR/tap || ! kill -0 $pid; do sleep 0.1; done; "
                            "\"$TROUPE_BIN\" send ada/worker '{\"end\":{}}'; wait $pid; s=$?; "
                            "cat $XDG_RUNTIME_DIR/tap; (exit $s)"));
    assert_printed("the actor has ended");
    node_end(&ada, SIGTERM);
}

OPERATOR_MAIN(start, TEST(a_batch_as_json_has_rates_and_percentiles),
              TEST(on_a_terminal_it_is_a_screen_and_leaves_it_clean),
              TEST(a_tap_shows_the_messages_as_they_come), TEST(a_tap_ends_with_its_actor_or_at_ctrl_c))
