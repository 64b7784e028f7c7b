/* Running nodes seen from outside, as users see them: `troupe ps`, `troupe ask` and `troupe send` against real processes
 * (this same program, run with the name of its node), and raw sockets that misbehave. Each test has a runtime directory of
 * its own. */
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "cli/operator_client.c" /* NOLINT */
#include "tests/kit/operator_kit.h"

/* ---- the nodes ----------------------------------------------------------------------------------------- */

TR_MESSAGE(greet, (string, name))
TR_MESSAGE(greeting, (string, text))
TR_MESSAGE(end)
TR_MESSAGE(get_stuck)

static void greeter(tr_actor *self, void *state, const tr_msg *msg)
{
    char let_go;
    (void)state;
    const greet *g = tr_match(msg, greet);
    if (g) {
        tr_reply(self, msg, greeting, .text = tr_fmt(self, "hello, %s", g->name));
    } else if (tr_match(msg, end)) {
        tr_exit(self, TR_EAPP, "told to");
    } else if (tr_match(msg, get_stuck)) {
        puts("stuck");
        fflush(stdout);
        if (read(STDIN_FILENO, &let_go, 1) == 1)
            puts("let go");
        fflush(stdout);
    }
}
TR_ACTOR(greeter_def, .receive = greeter);

static tr_err start(tr_actor *self, void *arg)
{
    static const tr_child_spec children[] = {{.id = "greeter", .def = &greeter_def, .named = true}};
    (void)arg;
    tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = 1});
    puts(tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    while (tr_receive(self, TR_FOREVER))
        ;
    return TR_OK;
}

/* ---- sockets -------------------------------------------------------------------------------------------- */

static void socket_path(char *out, size_t room, const char *node)
{
    snprintf(out, room, "%s/troupe/%s.sock", directory, node);
}

static int dial(const char *node)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socket_path(address.sun_path, sizeof(address.sun_path), node);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* ---- asking and sending -------------------------------------------------------------------------------- */

static void without_a_node_ps_says_how_to_start_one(void **state)
{
    (void)state;
    assert_int_equal(0, troupe("ps"));
    assert_printed("troupe node --name");
    assert_int_equal(1, troupe("ps ada"));
    assert_printed("no node \"ada\" runs here");
}

static void an_ask_is_answered_and_a_send_is_counted(void **state)
{
    part ada;
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    assert_int_equal(0, troupe("ask ada/greeter '{\"greet\":{\"name\":\"bob\"}}'"));
    assert_string_equal("greeting {\"text\":\"hello, bob\"}\n", printed);
    assert_int_equal(0, troupe("ask ada/greeter '{\"greet\":{\"name\":\"bob\"}}' --json"));
    assert_printed("{\"ok\":true,\"answer\":{\"greeting\":{\"text\":\"hello, bob\"}}");
    assert_int_equal(0, troupe("send ada/greeter '{\"greet\":{}}'"));
    assert_string_equal("accepted\n", printed);
    assert_int_equal(0, troupe("ask ada/greeter '{\"greet\":{\"name\":\"\xc3\xa9ve\"}}'"));
    assert_int_equal(0, troupe("ps ada --json"));
    assert_printed("\"handled\":6,\"name\":\"greeter\""); /* and its supervisor's monitor */
    assert_int_equal(1, troupe("ask ada/greeter '{\"greeet\":{}}'"));
    assert_printed("no message type \"greeet\"");
    assert_int_equal(1, troupe("ask ada/greeter '{\"greet\":{\"nam\":1}}' --json"));
    assert_printed("\"code\":\"invalid\"");
    assert_printed("no field 'nam'");
    assert_int_equal(1, troupe("ask ada/greeter '{\"end\":{}}'")); /* it dies of it, and says so */
    assert_int_equal(2, troupe("ask ada '{\"greet\":{}}'"));
    assert_int_equal(2, troupe("ask ada/greeter '{\"greet\"'"));
    node_end(&ada, SIGTERM);
    char path[128];
    socket_path(path, sizeof(path), "ada");
    assert_int_equal(-1, access(path, F_OK)); /* it leaves no socket behind */
}

static void an_actor_of_another_node_is_asked_through_a_connection(void **state)
{
    part ada, bob;
    (void)state;
    START(&ada, "--name", "ada", "--listen", "127.0.0.1:0");
    char where[256];
    strcpy(where, next_line(&ada));
    START(&bob, "--name", "bob", "--join", where);
    next_line(&bob);
    assert_int_equal(0, troupe("ask ada/bob/greeter '{\"greet\":{\"name\":\"eve\"}}' --timeout 15"));
    assert_printed("hello, eve");
    assert_int_equal(0, troupe("ps"));
    assert_printed("connected to bob");
    assert_printed("connected to ada");
    assert_true(strstr(printed, "node ada") < strstr(printed, "node bob"));
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

static void ps_shows_a_supervised_tree_with_its_restarts(void **state)
{
    part ada;
    (void)state;
    START(&ada, "--name", "ada", "--loops", "2");
    next_line(&ada);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(0, troupe("send ada/greeter '{\"end\":{}}'"));
        /* In order behind it; asked until the next one is there. */
        while (troupe("ask ada/greeter '{\"greet\":{}}'") != 0)
            ;
    }
    assert_int_equal(0, troupe("ps ada"));
    const char *first = strstr(printed, "\n  start"), *second = strstr(printed, "\n    supervisor");
    const char *third = strstr(printed, "\n      greeter (greeter_def)");
    if (!first || !second || !third || !(first < second && second < third))
        fail_msg("no tree: %s", printed);
    assert_int_equal('3', *(strchr(third + 1, '\n') - 1));
    for (const char *line = printed; *line; line = strchr(line, '\n') + 1)
        assert_true(strchr(line, '\n') - line <= 80);
    assert_printed("\n    supervisor, one-for-one "); /* its strategy */
    assert_printed("address");
    assert_printed("state        age  mail   handled restarts\n");
    const char *state_word = strstr(third, " idle ");
    assert_true(state_word && state_word < strchr(third + 1, '\n'));
    assert_true(strstr(state_word, "s ") < strchr(third + 1, '\n')); /* so many seconds old */
    assert_int_equal(0, troupe("ps ada --json"));
    assert_printed("\"strategy\":\"one-for-one\"");
    assert_printed("\"restarts\":3");
    assert_printed("\"age_ms\":");
    node_end(&ada, SIGTERM);
}

static void a_stuck_handler_does_not_stop_ps(void **state)
{
    part ada;
    (void)state;
    START(&ada, "--name", "ada", "--loops", "2");
    next_line(&ada);
    assert_int_equal(0, troupe("send ada/greeter '{\"get_stuck\":{}}'"));
    assert_string_equal("stuck", next_line(&ada));
    assert_int_equal(0, troupe("ps ada"));
    assert_printed("loop 0 does not answer: actor greeter_def");
    assert_printed("has been handling get_stuck for");
    assert_printed("operator"); /* loop 1's, which does answer */
    assert_int_equal(1, troupe("ask ada/greeter '{\"greet\":{}}' --timeout 0.2"));
    assert_printed("has been handling get_stuck");
    assert_int_equal(1, write(ada.in, "x", 1));
    while (strcmp(next_line(&ada), "let go") != 0) /* the watchdog warned meanwhile */
        assert_true(ada.line[0]);
    assert_int_equal(0, troupe("ask ada/greeter '{\"greet\":{}}'"));
    node_end(&ada, SIGTERM);
}

/* ---- the socket ---------------------------------------------------------------------------------------- */

static void a_killed_nodes_socket_is_replaced(void **state)
{
    part ada;
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    node_end(&ada, SIGKILL);
    char path[128];
    socket_path(path, sizeof(path), "ada");
    assert_int_equal(0, access(path, F_OK));
    assert_int_equal(0, troupe("ps"));
    assert_printed("No node runs here");
    START(&ada, "--name", "ada");
    next_line(&ada);
    assert_int_equal(0, troupe("ps ada"));
    node_end(&ada, SIGTERM);
}

static void a_second_node_of_that_name_runs_without_and_says_so(void **state)
{
    part ada, second;
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    START(&second, "--name", "ada", "--listen", "127.0.0.1:0");
    assert_non_null(strstr(next_line(&second), "no operator socket: another process of yours serves"));
    assert_non_null(strstr(second.line, "--operator none"));
    assert_non_null(strstr(next_line(&second), "127.0.0.1:")); /* it runs */
    node_end(&second, SIGTERM);
    assert_int_equal(0, troupe("ps ada")); /* and didn't take the first one's socket away */
    node_end(&ada, SIGTERM);
    START(&ada, "--name", "ada", "--operator", "none", "--listen", "127.0.0.1:0");
    assert_non_null(strstr(next_line(&ada), "127.0.0.1:"));
    assert_int_equal(1, troupe("ps ada"));
    node_end(&ada, SIGTERM);
}

static void a_directory_that_others_may_enter_is_not_used(void **state)
{
    part ada;
    char path[128];
    (void)state;
    snprintf(path, sizeof(path), "%s/troupe", directory);
    assert_int_equal(0, mkdir(path, 0700));
    assert_int_equal(0, chmod(path, 0755));
    START(&ada, "--name", "ada");
    assert_non_null(strstr(next_line(&ada), "chmod 700"));
    next_line(&ada);
    assert_int_equal(1, troupe("ps"));
    assert_printed("chmod 700");
    assert_int_equal(0, rmdir(path));
    assert_int_equal(0, symlink("/tmp", path));
    assert_int_equal(1, troupe("ps ada"));
    assert_printed("a link?");
    assert_int_equal(0, unlink(path));
    node_end(&ada, SIGTERM);
}

/* What comes back until the connection is closed. */
static size_t drain(int fd, char *out, size_t room)
{
    size_t used = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (used < room - 1 && poll(&ready, 1, WITHIN_MS) == 1) {
        ssize_t got = read(fd, out + used, room - 1 - used);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    out[used] = '\0';
    return used;
}

static void garbage_is_told_and_closed_and_the_node_lives(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } garbage[] = {
        {"GET / HTTP/1.0\r\n\r\n", 18}, {"\0\0\0\0", 4}, {"\xff\xff\xff\xff{}", 6}, {"\0\x10\0\1", 4}};
    part ada;
    char back[1024];
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    for (size_t i = 0; i < TR_COUNT(garbage); i++) {
        int fd = dial("ada");
        assert_int_equal((ssize_t)garbage[i].length, write(fd, garbage[i].bytes, garbage[i].length));
        assert_true(drain(fd, back, sizeof(back)) > 4);
        assert_non_null(strstr(back + 4, "\"code\":\"protocol\""));
        close(fd);
    }
    int cut = dial("ada"); /* in the middle of a frame */
    assert_int_equal(8, write(cut, "\0\0\1\0{\"do", 8));
    close(cut);
    assert_int_equal(0, troupe("ps ada"));
    node_end(&ada, SIGTERM);
}

static void text_that_is_no_request_is_answered_and_the_connection_stays(void **state)
{
    part ada;
    tr_error error;
    json_t *answer;
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    operator_client *client = operator_open("ada", &error);
    assert_non_null(client);
    json_t *wrong = json_pack("{s:s}", "do", "dance"), *right = json_pack("{s:s}", "do", "nodes");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(TR_EINVAL, operator_request(client, wrong, TR_SECONDS(15), &answer, &error));
        assert_non_null(strstr(error.text, "no request is called \"dance\""));
        assert_int_equal(TR_OK, operator_request(client, right, TR_SECONDS(15), &answer, &error));
        assert_string_equal("ada",
                            json_string_value(json_object_get(json_object_get(answer, "node"), "name")));
        json_decref(answer);
    }
    json_decref(wrong);
    json_decref(right);
    operator_close(client);
    node_end(&ada, SIGTERM);
}

static void a_request_as_large_as_a_frame_may_be_is_answered(void **state)
{
    static char much[TR__OPERATOR_FRAME_MAX - 100];
    part ada;
    tr_error error;
    json_t *answer;
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    operator_client *client = operator_open("ada", &error);
    assert_non_null(client);
    memset(much, 'x', sizeof(much) - 1);
    json_t *request = json_pack("{s:s, s:s}", "do", "ps", "much", much);
    assert_int_equal(TR_OK, operator_request(client, request, TR_SECONDS(15), &answer, &error));
    json_t *loop = json_array_get(json_object_get(answer, "loops"), 0);
    assert_non_null(loop);
    assert_null(json_object_get(loop, "silent")); /* "it has much to do" */
    json_decref(answer);
    json_decref(request);
    operator_close(client);
    node_end(&ada, SIGTERM);
}

static void more_clients_than_are_served_are_turned_away(void **state)
{
    part ada;
    int fds[40];
    char back[1024];
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    for (size_t i = 0; i < TR_COUNT(fds); i++)
        assert_true((fds[i] = dial("ada")) >= 0);
    assert_true(drain(fds[TR_COUNT(fds) - 1], back, sizeof(back)) > 4);
    assert_non_null(strstr(back + 4, "\"code\":\"full\""));
    for (size_t i = 0; i < TR_COUNT(fds); i++)
        close(fds[i]);
    while (troupe("ps ada") != 0) /* until it has seen that they are gone */
        assert_printed("others are connected");
    node_end(&ada, SIGTERM);
}

static void clients_that_say_nothing_give_way(void **state)
{
    part ada;
    int fds[TR__OPERATOR_CLIENTS_MAX], tries = 0;
    char byte;
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    for (size_t i = 0; i < TR_COUNT(fds); i++)
        assert_true((fds[i] = dial("ada")) >= 0);
    send(fds[0], "\0\0\0\x0b{\"do", 8, MSG_NOSIGNAL); /* a part of a request is nothing said */
    while (troupe("ps ada") != 0) {
        assert_printed("others are connected");
        assert_true(tries++ < 600);
        poll(NULL, 0, 100);
    }
    assert_true(recv(fds[0], &byte, 1, 0) <= 0);                 /* the oldest */
    assert_int_equal(recv(fds[31], &byte, 1, MSG_DONTWAIT), -1); /* the newest is still there */
    for (size_t i = 0; i < TR_COUNT(fds); i++)
        close(fds[i]);
    node_end(&ada, SIGTERM);
}

static void another_user_is_refused(void **state)
{
    part ada;
    char path[128], back[64];
    int status;
    (void)state;
    if (geteuid() != 0)
        skip();
    START(&ada, "--name", "ada");
    next_line(&ada);
    pid_t pid = fork();
    if (pid == 0)
        _exit(setuid(65534) != 0 ? 2 : dial("ada") >= 0 ? 1 : 0); /* the directory is closed to it */
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_int_equal(0, status);
    chmod(directory, 0755);
    snprintf(path, sizeof(path), "%s/troupe", directory);
    chmod(path, 0755);
    socket_path(path, sizeof(path), "ada");
    chmod(path, 0666);
    pid = fork();
    if (pid == 0) {
        int fd = setuid(65534) == 0 ? dial("ada") : -1;
        if (fd < 0)
            _exit(2);
        send(fd, "\0\0\0\x0b{\"do\":\"ps\"}", 15, MSG_NOSIGNAL);
        _exit(drain(fd, back, sizeof(back)) ? 1 : 0); /* closed without a word */
    }
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_int_equal(0, status);
    node_end(&ada, SIGTERM);
}

OPERATOR_MAIN(start, TEST(without_a_node_ps_says_how_to_start_one),
              TEST(an_ask_is_answered_and_a_send_is_counted),
              TEST(an_actor_of_another_node_is_asked_through_a_connection),
              TEST(ps_shows_a_supervised_tree_with_its_restarts), TEST(a_stuck_handler_does_not_stop_ps),
              TEST(a_killed_nodes_socket_is_replaced),
              TEST(a_second_node_of_that_name_runs_without_and_says_so),
              TEST(a_directory_that_others_may_enter_is_not_used),
              TEST(garbage_is_told_and_closed_and_the_node_lives),
              TEST(text_that_is_no_request_is_answered_and_the_connection_stays),
              TEST(a_request_as_large_as_a_frame_may_be_is_answered),
              TEST(more_clients_than_are_served_are_turned_away), TEST(clients_that_say_nothing_give_way),
              TEST(another_user_is_refused))
