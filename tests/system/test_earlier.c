/* Nodes of earlier landings and of this one, joined: each sends, asks, monitors, watches names, streams and transacts with
 * the other, is refused by it, is killed and comes back (tests/earlier/peer.c, a plugin in each of them). And plugins that
 * were built with the headers of then, in a node of today. tests/earlier/build makes what is of then; where it can't, since
 * this repository's history isn't here, all is skipped, and says so. */
#include <fcntl.h>
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
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <troupe/plugin.h>

#include "tests/kit/loopback.h"

/* ---- builds: of then, and of today ------------------------------------------------------------------------ */

typedef struct build {
    char name[16];
    char program[512], plugin[512];
    bool learns; /* its nodes have --learn */
} build;

static build today = {.name = "today", .learns = true}, earlier[8];
static size_t earlier_count;
static char directory[64], key[96];

static int exit_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* A shell command's exit status; what it printed. */
static int sh(char *out, size_t room, const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    FILE *from = popen(command, "r");
    assert_non_null(from);
    size_t used = fread(out, 1, room - 1, from);
    out[used] = '\0';
    return exit_status(pclose(from));
}

static void set_paths(build *b, const char *program, const char *plugin)
{
    char out[4096];
    snprintf(b->program, sizeof(b->program), "%s", program);
    snprintf(b->plugin, sizeof(b->plugin), "%s", plugin);
    assert_int_equal(0, sh(out, sizeof(out), "'%s' node --help", program));
    b->learns = strstr(out, "--learn");
}

/* Have those of then built, if they aren't: a line for each. */
static int setup(void **state)
{
    static char out[16384];
    char program[512], plugin[512];
    const char *source = getenv("TROUPE_SOURCE");
    (void)state;
    int status = sh(out, sizeof(out), "'%s/tests/earlier/build' 2>&1", source);
    printf("%s", out);
    fflush(stdout);
    if (status != 0)
        return status == 77 ? 0 : -1;
    for (char *line = strtok(out, "\n"); line && earlier_count < 8;
         line = strtok(NULL, "\n"), earlier_count++) {
        build *b = &earlier[earlier_count];
        snprintf(b->name, sizeof(b->name), "%.7s", line);
        snprintf(program, sizeof(program), "%s/%s/build/bin/troupe", source, line + 8);
        snprintf(plugin, sizeof(plugin), "%s/%s/peer.so", source, line + 8);
        set_paths(b, program, plugin);
    }
    set_paths(&today, getenv("TROUPE_BIN"), getenv("TROUPE_PEER_PLUGIN"));
    strcpy(directory, "/tmp/troupe-earlier-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(key, sizeof(key), "%s/key", directory);
    assert_int_equal(0, sh(out, sizeof(out), "'%s' key new %s", today.program, key));
    return setenv("XDG_RUNTIME_DIR", directory, 1);
}

static int teardown(void **state)
{
    char out[256];
    (void)state;
    return directory[0] ? sh(out, sizeof(out), "rm -rf %s", directory) : 0;
}

/* ---- nodes ------------------------------------------------------------------------------------------------ */

typedef struct node {
    const build *of;
    const char *name;
    const char *plugin; /* NULL: of that build */
    const char *key;    /* NULL: none */
    const char *join;   /* NULL: it only listens */
    bool learns;
    pid_t pid;
    char address[64]; /* where it listens; it does so again when it is started again */
} node;

#define NODES_MAX 3
static pid_t running[NODES_MAX]; /* killed after each test; 0: none */

static const char *log_of(const node *n)
{
    static char text[2][16384];
    static int which;
    char path[160], *into = text[which ^= 1];
    snprintf(path, sizeof(path), "%s/%s.log", directory, n->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, into, sizeof(text[0]) - 1);
    into[length > 0 ? length : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return into;
}

static void exec_node(const node *n, int out)
{
    char log[160], data[160];
    const char *argv[32] = {n->of->program, "node", "--name", n->name, "--log", "info", "--loops", "2"};
    int count = 8;
    snprintf(data, sizeof(data), "%s/%s-data", directory, n->name);
    snprintf(log, sizeof(log), "%s/%s.log", directory, n->name);
    const char *const options[][2] = {{"--plugin", n->plugin ? n->plugin : n->of->plugin},
                                      {"--listen", n->address},
                                      {"--data", data},
                                      {"--key", n->key},
                                      {"--join", n->join},
                                      {"--learn", n->learns ? "on" : NULL}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (options[i][1]) {
            argv[count++] = options[i][0];
            argv[count++] = options[i][1];
        }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    dup2(open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), STDERR_FILENO);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

/* Until it says that it runs, and where. */
static void start(node *n)
{
    int out[2];
    char line[256];
    size_t used = 0;
    if (!n->address[0])
        strcpy(n->address, LISTENS_AGAIN ":0");
    assert_int_equal(0, pipe2(out, O_CLOEXEC));
    n->pid = fork();
    if (n->pid == 0)
        exec_node(n, out[1]);
    close(out[1]);
    struct pollfd ready = {.fd = out[0], .events = POLLIN};
    while (used < sizeof(line) - 1 && poll(&ready, 1, 20000) == 1 && read(out[0], line + used, 1) == 1 &&
           line[used] != '\n')
        used++;
    line[used] = '\0';
    close(out[0]);
    for (int i = 0; i < NODES_MAX; i++)
        if (!running[i]) {
            running[i] = n->pid;
            break;
        }
    if (sscanf(line, "the node runs, listening on %63[^;]", n->address) != 1)
        fail_msg("%s of %s didn't start: %s%s", n->name, n->of->name, line, log_of(n));
}

static int end_process(pid_t pid, int signal_number)
{
    int status;
    kill(pid, signal_number);
    waitpid(pid, &status, 0);
    for (int i = 0; i < NODES_MAX; i++)
        if (running[i] == pid)
            running[i] = 0;
    return exit_status(status);
}

static int end(node *n, int signal_number)
{
    return end_process(n->pid, signal_number);
}

static int end_all(void **state)
{
    char out[256];
    (void)state;
    for (int i = 0; i < NODES_MAX; i++)
        if (running[i])
            end_process(running[i], SIGKILL);
    return directory[0] ? sh(out, sizeof(out), "rm -rf %s/*-data %s/*.log", directory, directory) : 0;
}

/* Have its actor "peer" do that with another node; then all was as it should be. */
static void tell(const node *n, const char *what, const node *other)
{
    static char out[4096];
    int status = sh(out, sizeof(out), "'%s' ask %s/peer '{\"%s\":{\"node\":\"%s\"}}' --timeout 60 2>&1",
                    n->of->program, n->name, what, other->name);
    if (status != 0 || strncmp(out, "good ", 5) != 0)
        fail_msg("%s of %s, told to %s %s of %s: %s%s says: %s%s says: %s", n->name, n->of->name, what,
                 other->name, other->of->name, out, n->name, log_of(n), other->name, log_of(other));
}

/* Until its log has these words. */
static void assert_says(const node *n, const char *words)
{
    for (int i = 0; i < 2000 && !strstr(log_of(n), words); i++)
        poll(NULL, 0, 10);
    if (!strstr(log_of(n), words))
        fail_msg("%s of %s never said \"%s\", but: %s", n->name, n->of->name, words, log_of(n));
}

/* ---- tests ------------------------------------------------------------------------------------------------ */

#define EACH_EARLIER(b)     \
    if (earlier_count == 0) \
        skip();             \
    for (const build *b = earlier; b < earlier + earlier_count; b++)

/* `survivor` holds on to the other, which is killed and started again. */
static void outlive(const node *survivor, node *other)
{
    tell(survivor, "hold", other);
    end(other, SIGKILL);
    start(other);
    tell(survivor, "held", other);
}

static void join(const build *listens, const build *dials, const char *with)
{
    node one = {.of = listens, .name = "one", .key = with, .learns = listens->learns},
         two = {.of = dials, .name = "two", .key = with, .learns = dials->learns};
    start(&one);
    two.join = one.address;
    start(&two);
    tell(&one, "visit", &two);
    tell(&two, "visit", &one);
    outlive(&one, &two);
    outlive(&two, &one);
    tell(&two, "visit", &one);
    assert_int_equal(0, end(&one, SIGINT));
    assert_says(&two, "node one is down");
    assert_int_equal(0, end(&two, SIGINT));
    end_all(NULL);
}

static void an_earlier_node_dials_one_of_today(void **state)
{
    (void)state;
    EACH_EARLIER(b) join(&today, b, NULL);
}

static void an_earlier_node_is_dialled_by_one_of_today(void **state)
{
    (void)state;
    EACH_EARLIER(b) join(b, &today, NULL);
}

static void with_a_key_an_earlier_node_dials_one_of_today(void **state)
{
    (void)state;
    EACH_EARLIER(b) join(&today, b, key);
}

static void with_a_key_an_earlier_node_is_dialled_by_one_of_today(void **state)
{
    (void)state;
    EACH_EARLIER(b) join(b, &today, key);
}

/* Both ways: who has the key refuses who has none, and both logs say why. */
static void nodes_without_the_key_are_refused_and_hear_why(void **state)
{
    (void)state;
    EACH_EARLIER(b)
    {
        for (int i = 0; i < 2; i++) {
            node one = {.of = i ? b : &today, .name = "one", .key = key},
                 two = {.of = i ? &today : b, .name = "two"};
            start(&one);
            two.join = one.address;
            start(&two);
            assert_says(&two, "refused by the other side");
            assert_says(&one, "came to nothing");
            end_all(NULL);
        }
    }
}

/* Two of today that know only one of then. */
static void nodes_learn_of_each_other_through_an_earlier_one(void **state)
{
    (void)state;
    EACH_EARLIER(b)
    {
        if (!b->learns)
            continue;
        node one = {.of = b, .name = "one", .learns = true},
             two = {.of = &today, .name = "two", .learns = true},
             three = {.of = &today, .name = "three", .learns = true};
        start(&one);
        two.join = three.join = one.address;
        start(&two);
        start(&three);
        tell(&two, "visit", &three);
        tell(&three, "visit", &one);
        end_all(NULL);
    }
}

static void a_plugin_with_the_headers_of_then_runs_or_is_refused_for_its_abi(void **state)
{
    static char out[8192];
    (void)state;
    EACH_EARLIER(b)
    {
        int status = sh(out, sizeof(out), "'%s' plugin check '%s' 2>&1", today.program, b->plugin);
        const char *refused = strstr(out, "built for ABI ");
        unsigned major = TR_ABI_MAJOR;
        if (refused && sscanf(refused, "built for ABI %u.", &major) == 1 && major < TR_ABI_MAJOR &&
            status != 0)
            continue;
        if (status != 0 || !strstr(out, "plugin   peer 1\n"))
            fail_msg("the plugin of %s: %s", b->name, out);
        node one = {.of = &today, .name = "one", .plugin = b->plugin}, two = {.of = &today, .name = "two"};
        start(&one);
        two.join = one.address;
        start(&two);
        tell(&one, "visit", &two);
        tell(&two, "visit", &one);
        end_all(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_earlier_node_dials_one_of_today, end_all),
        cmocka_unit_test_teardown(an_earlier_node_is_dialled_by_one_of_today, end_all),
        cmocka_unit_test_teardown(with_a_key_an_earlier_node_dials_one_of_today, end_all),
        cmocka_unit_test_teardown(with_a_key_an_earlier_node_is_dialled_by_one_of_today, end_all),
        cmocka_unit_test_teardown(nodes_without_the_key_are_refused_and_hear_why, end_all),
        cmocka_unit_test_teardown(nodes_learn_of_each_other_through_an_earlier_one, end_all),
        cmocka_unit_test_teardown(a_plugin_with_the_headers_of_then_runs_or_is_refused_for_its_abi, end_all),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
