/* The page as a browser gets it, without a browser (tests/page-check has one): from page_server with a fixed
 * state, and from a real, small demo until its end. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>

#define ANSWER_MAX (9 * 1024 * 1024)
#define LONGEST_MS 90000

/* ---- fixture: a process that serves the page ----------------------------------------------------------- */

typedef struct served {
    pid_t pid;
    int in, out; /* its standard input and output */
    char said[65536];
    size_t used;
    unsigned port;
    char home[64];
    char *answer; /* the last one, headers and body */
} served;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void start(served *s, const char *const *argv)
{
    int in[2], out[2];
    assert_int_equal(0, pipe2(in, O_CLOEXEC));
    assert_int_equal(0, pipe2(out, O_CLOEXEC));
    s->pid = fork();
    if (s->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(out[1], 2);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    s->in = in[1];
    s->out = out[0];
}

/* Read until it says `text`, or with NULL until it ends. False: it won't. */
static bool read_until(served *s, const char *text)
{
    uint64_t until = now_ms() + LONGEST_MS;
    struct pollfd ready = {.fd = s->out, .events = POLLIN};
    while (!text || !strstr(s->said, text)) {
        uint64_t now = now_ms();
        if (now >= until || poll(&ready, 1, (int)(until - now)) != 1 || s->used == sizeof(s->said) - 1)
            return false;
        ssize_t got = read(s->out, s->said + s->used, sizeof(s->said) - 1 - s->used);
        if (got <= 0)
            return !text;
        s->used += (size_t)got;
        s->said[s->used] = 0;
    }
    return true;
}

static int status_of_end(served *s)
{
    int status = 0;
    assert_true(read_until(s, NULL));
    assert_int_equal(s->pid, waitpid(s->pid, &status, 0));
    s->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void learn_port(served *s)
{
    assert_true(read_until(s, "http://127.0.0.1:"));
    assert_true(read_until(s, "\n"));
    s->port = (unsigned)atoi(strstr(s->said, "http://127.0.0.1:") + 17);
    assert_in_range(s->port, 1, 65535);
}

/* `options` after --image, NULL ends them. */
static void start_demo(served *s, const char *const *options)
{
    static char image[96];
    const char *argv[16] = {getenv("TROUPE_BIN"), "demo", "--files", "10", "--image", image};
    snprintf(image, sizeof(image), "%s/picture.png", s->home);
    for (int i = 6; *options && i < 15; i++)
        argv[i] = *options++;
    start(s, argv);
}

static int make(void **state)
{
    served *s = calloc(1, sizeof(*s));
    s->answer = malloc(ANSWER_MAX);
    s->in = s->out = -1;
    strcpy(s->home, "/tmp/test_page_XXXXXX");
    *state = s;
    return sodium_init() < 0 || !mkdtemp(s->home) ? -1 : 0;
}

static int make_server(void **state)
{
    char file[4096];
    if (make(state) != 0)
        return -1;
    snprintf(file, sizeof(file), "%s/tests/page-state.json", getenv("TROUPE_SOURCE"));
    start(*state, (const char *const[]){getenv("TROUPE_PAGE_SERVER"), file, NULL});
    learn_port(*state);
    return 0;
}

static int end(void **state)
{
    served *s = *state;
    char command[96];
    if (s->pid) {
        kill(s->pid, SIGTERM);
        waitpid(s->pid, NULL, 0);
    }
    close(s->in);
    close(s->out);
    snprintf(command, sizeof(command), "rm -rf %s", s->home);
    int result = system(command);
    free(s->answer);
    free(s);
    return result;
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

static bool whole(const char *answer, size_t used)
{
    const char *body = strstr(answer, "\r\n\r\n");
    const char *length = strcasestr(answer, "content-length:");
    return body && length && used >= (size_t)(body + 4 - answer) + strtoul(length + 15, NULL, 10);
}

/* Send a request as it is written; its status, or 0: nobody listens. The answer is in s->answer. */
static int raw(served *s, const char *request)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 0;
    size_t used = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    s->answer[0] = 0;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
        send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request)) {
        while (!whole(s->answer, used) && used < ANSWER_MAX - 1 && poll(&ready, 1, 20000) == 1) {
            ssize_t got = read(fd, s->answer + used, ANSWER_MAX - 1 - used);
            if (got <= 0)
                break;
            used += (size_t)got;
            s->answer[used] = 0;
        }
        sscanf(s->answer, "HTTP/1.1 %d", &status);
    }
    close(fd);
    return status;
}

static int ask(served *s, const char *method, const char *path, const char *host)
{
    char request[512];
    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, path, host);
    return raw(s, request);
}

static int get(served *s, const char *path)
{
    char host[32];
    snprintf(host, sizeof(host), "127.0.0.1:%u", s->port);
    return ask(s, "GET", path, host);
}

static const char *body_of(const served *s)
{
    const char *body = strstr(s->answer, "\r\n\r\n");
    return body ? body + 4 : "";
}

static bool has_header(const served *s, const char *line)
{
    const char *at = strstr(s->answer, line);
    return at && at < body_of(s);
}

/* The state; NULL: the server is gone. */
static json_t *state_of(served *s)
{
    json_error_t error;
    if (get(s, "/state.json") != 200)
        return NULL;
    json_t *state = json_loads(body_of(s), 0, &error);
    if (!state)
        fail_msg("the state is no JSON: %s in %s", error.text, body_of(s));
    return state;
}

/* ---- tests: with a fixed state ------------------------------------------------------------------------- */

static void the_page_comes_with_what_a_browser_must_know(void **state)
{
    served *s = *state;
    assert_int_equal(200, get(s, "/"));
    assert_true(has_header(s, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_true(has_header(s, "X-Content-Type-Options: nosniff\r\n"));
    assert_true(has_header(s, "Cache-Control: no-store\r\n"));
    assert_true(has_header(s, "Content-Security-Policy: default-src 'none'; "));
    assert_true(has_header(s, "connect-src 'self'"));
    assert_true(has_header(s, "frame-ancestors 'none'"));
    assert_false(has_header(s, "unsafe"));
    assert_null(strstr(body_of(s), "innerHTML"));
    assert_int_equal(200, get(s, "/state.json"));
    assert_true(has_header(s, "Content-Type: application/json\r\n"));
    assert_true(has_header(s, "X-Content-Type-Options: nosniff\r\n"));
}

static void its_policy_allows_its_own_script_and_style_only(void **state)
{
    served *s = *state;
    static const char *const tags[][2] = {{"script", "script-src"}, {"style", "style-src"}};
    assert_int_equal(200, get(s, "/"));
    for (int i = 0; i < 2; i++) {
        char begin[16], finish[16], digest[64], line[128];
        unsigned char hash[crypto_hash_sha256_BYTES];
        snprintf(begin, sizeof(begin), "<%s>", tags[i][0]);
        snprintf(finish, sizeof(finish), "</%s>", tags[i][0]);
        const char *from = strstr(body_of(s), begin) + strlen(begin), *to = strstr(from, finish);
        crypto_hash_sha256(hash, (const unsigned char *)from, (size_t)(to - from));
        sodium_bin2base64(digest, sizeof(digest), hash, sizeof(hash), sodium_base64_VARIANT_ORIGINAL);
        snprintf(line, sizeof(line), "%s 'sha256-%s';", tags[i][1], digest);
        assert_true(has_header(s, line));
        assert_null(strstr(to, begin)); /* there is one only */
    }
}

static void only_names_of_loopback_with_its_port_are_answered(void **state)
{
    served *s = *state;
    static const char *const good[] = {"127.0.0.1", "localhost", "[::1]"};
    static const char *const bad[] = {"evil.example", "127.0.0.1.evil.example", "localhost.", "127.0.0.2",
                                      "0"};
    char host[64];
    for (int i = 0; i < 3; i++) {
        snprintf(host, sizeof(host), "%s:%u", good[i], s->port);
        assert_int_equal(200, ask(s, "GET", "/state.json", host));
        assert_int_equal(403, ask(s, "GET", "/state.json", good[i]));
        snprintf(host, sizeof(host), "%s:%u", good[i], s->port ^ 1);
        assert_int_equal(403, ask(s, "GET", "/", host));
    }
    for (int i = 0; i < 5; i++) {
        snprintf(host, sizeof(host), "%s:%u", bad[i], s->port);
        assert_int_equal(403, ask(s, "GET", "/state.json", host));
        assert_null(strstr(s->answer, "schema"));
    }
    int status = raw(s, "GET /state.json HTTP/1.1\r\n\r\n");
    assert_true(status == 403 || status == 400);
}

static void nothing_but_reading_is_possible(void **state)
{
    served *s = *state;
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    char host[32];
    snprintf(host, sizeof(host), "127.0.0.1:%u", s->port);
    for (int i = 0; i < 5; i++)
        assert_int_equal(405, ask(s, methods[i], "/state.json", host));
    assert_int_equal(200, get(s, "/state.json"));
}

static void other_paths_are_not_there(void **state)
{
    served *s = *state;
    static const char *const paths[] = {
        "/index.html",  "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd", "/state.json/..",          "/picture.png"};
    for (int i = 0; i < 6; i++)
        assert_int_equal(404, get(s, paths[i]));
}

/* ---- tests: with a demo -------------------------------------------------------------------------------- */

static void assert_keys(json_t *state)
{
    static const char *const arrays[] = {"nodes", "connections", "jobs", "transactions", "events"};
    assert_int_equal(1, json_integer_value(json_object_get(state, "schema")));
    assert_true(json_is_number(json_object_get(state, "at_ms")));
    assert_true(json_is_boolean(json_object_get(state, "ended")));
    assert_true(json_is_string(json_object_get(state, "trouble")));
    for (int i = 0; i < 5; i++)
        if (!json_is_array(json_object_get(state, arrays[i])))
            fail_msg("the state has no array %s", arrays[i]);
    assert_int_equal(3, json_array_size(json_object_get(json_object_get(state, "latency"), "phases")));
    assert_int_equal(4, json_array_size(json_object_get(state, "nodes")));
    assert_int_equal(5, json_array_size(json_object_get(state, "jobs")));
}

static void assert_work_is_told(json_t *state)
{
    size_t i;
    json_t *job, *way, *count, *phase;
    double sent = 0, counted = 0;
    json_array_foreach(json_object_get(state, "jobs"), i, job)
    {
        assert_string_equal("done", json_string_value(json_object_get(job, "state")));
        assert_true(json_number_value(json_object_get(job, "done")) ==
                    json_number_value(json_object_get(job, "total")));
    }
    json_array_foreach(json_object_get(state, "connections"), i, way) sent +=
        json_number_value(json_object_get(way, "sent"));
    assert_true(sent > 0);
    phase = json_array_get(json_object_get(json_object_get(state, "latency"), "phases"), 0);
    json_array_foreach(json_object_get(phase, "counts"), i, count) counted += json_number_value(count);
    assert_true(counted > 0);
    assert_true(counted == json_number_value(json_object_get(phase, "answered")));
    const char *by = json_string_value(json_object_get(json_object_get(state, "picture"), "by"));
    assert_int_equal(256, strlen(by));
    assert_null(strchr(by, '.'));
}

/* Asks as a page does, until the end that it is told. */
static json_t *follow(served *s, bool *saw_picture)
{
    json_t *state;
    struct pollfd ready = {.fd = s->out, .events = POLLIN};
    uint64_t until = now_ms() + LONGEST_MS;
    while (now_ms() < until && (state = state_of(s))) {
        if (json_is_true(json_object_get(state, "ended")))
            return state;
        if (!*saw_picture && json_is_true(json_object_get(json_object_get(state, "picture"), "ready")))
            *saw_picture = get(s, "/picture.png") == 200 && memcmp(body_of(s), "\x89PNG", 4) == 0;
        json_decref(state);
        if (poll(&ready, 1, 100) == 1)
            assert_true(read(s->out, s->said, sizeof(s->said)) > 0);
    }
    fail_msg("the end was never told");
    return NULL;
}

static void who_looks_sees_the_demo_to_its_verdict(void **state)
{
    served *s = *state;
    bool saw_picture = false;
    start_demo(s, (const char *const[]){"--no-kill", NULL});
    learn_port(s);
    json_t *early = state_of(s);
    assert_non_null(early);
    json_t *last = follow(s, &saw_picture);
    assert_keys(last);
    assert_true(json_is_true(json_object_get(json_object_get(last, "verdict"), "ok")));
    assert_work_is_told(last);
    assert_true(saw_picture);
    json_decref(early);
    json_decref(last);
    json_decref(state_of(s)); /* as the page does at the end; then the demo needn't wait for it */
    s->used = 0;
    assert_int_equal(0, status_of_end(s));
}

static void a_death_is_told_with_its_gap(void **state)
{
    served *s = *state;
    bool saw_picture = false;
    start_demo(s, (const char *const[]){NULL});
    learn_port(s);
    json_t *last = follow(s, &saw_picture);
    json_t *bob = json_array_get(json_object_get(last, "nodes"), 1);
    json_t *gaps = json_object_get(bob, "down_ms");
    assert_string_equal("bob", json_string_value(json_object_get(bob, "name")));
    assert_int_equal(2, json_integer_value(json_object_get(bob, "incarnations")));
    assert_int_equal(1, json_array_size(gaps));
    double from = json_number_value(json_array_get(json_array_get(gaps, 0), 0));
    double to = json_number_value(json_array_get(json_array_get(gaps, 0), 1));
    assert_true(from > 0 && to > from);
    json_decref(last);
    s->used = 0;
    assert_int_equal(0, status_of_end(s));
}

static void a_port_in_use_is_named_with_what_to_do(void **state)
{
    served *s = *state, *other;
    char port[16];
    assert_int_equal(0, make_server((void **)&other));
    snprintf(port, sizeof(port), "%u", other->port);
    start_demo(s, (const char *const[]){"--page", port, NULL});
    assert_int_equal(1, status_of_end(s));
    assert_non_null(strstr(s->said, "--page takes another port"));
    assert_non_null(strstr(s->said, port));
    end((void **)&other);
}

static void without_a_page_no_address_is_told(void **state)
{
    served *s = *state;
    start_demo(s, (const char *const[]){"--no-page", NULL});
    assert_true(read_until(s, "alice up"));
    kill(s->pid, SIGINT);
    assert_int_equal(130, status_of_end(s));
    assert_null(strstr(s->said, "page:"));
}

#define FIXED(name) cmocka_unit_test_setup_teardown(name, make_server, end)
#define DEMO(name)  cmocka_unit_test_setup_teardown(name, make, end)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        FIXED(the_page_comes_with_what_a_browser_must_know),
        FIXED(its_policy_allows_its_own_script_and_style_only),
        FIXED(only_names_of_loopback_with_its_port_are_answered),
        FIXED(nothing_but_reading_is_possible),
        FIXED(other_paths_are_not_there),
        DEMO(who_looks_sees_the_demo_to_its_verdict),
        DEMO(a_death_is_told_with_its_gap),
        DEMO(a_port_in_use_is_named_with_what_to_do),
        DEMO(without_a_page_no_address_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
