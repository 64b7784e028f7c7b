/* What a node shows to other machines: started as it is by default, with a node that joins it, with the demo, with plugins
 * or the operator socket, nothing. Its machine is a network namespace with an address; from another one all its ports are
 * tried. Skipped, with the reason, where namespaces can't be had. */
#include <errno.h>

#include "tests/system/process_kit.h"

/* ---- fixture: two machines -------------------------------------------------------------------------------- */

#define HOST "198.51.100.1" /* of the machine of the nodes; the other's is .2 (addresses for examples) */

static char folder[64], spaces[2][48];
static int here = -1, there = -1;
static process alice, bob;

__attribute__((format(printf, 1, 2))) static int run(const char *format, ...)
{
    char command[400];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    return system(command);
}

static int space_of(const char *name)
{
    char path[80];
    snprintf(path, sizeof(path), "/run/netns/%s", name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static bool make_machines(void)
{
    snprintf(spaces[0], sizeof(spaces[0]), "trp-%ld-a", (long)getpid());
    snprintf(spaces[1], sizeof(spaces[1]), "trp-%ld-b", (long)getpid());
    return run("{ ip netns add %s && ip netns add %s && "
               "ip -n %s link add name eth0 type veth peer name eth0 netns %s && "
               "ip -n %s addr add " HOST "/24 dev eth0 && ip -n %s addr add 198.51.100.2/24 dev eth0 && "
               "ip -n %s link set eth0 up && ip -n %s link set eth0 up && "
               "ip -n %s link set lo up; } 2>/dev/null",
               spaces[0], spaces[1], spaces[0], spaces[1], spaces[0], spaces[1], spaces[0], spaces[1],
               spaces[0]) == 0 &&
           (here = space_of(spaces[0])) >= 0 && (there = space_of(spaces[1])) >= 0;
}

static void remove_machines(void)
{
    close(here);
    close(there);
    here = there = -1;
    for (int i = 0; i < 2; i++)
        run("ip netns del %s 2>/dev/null", spaces[i]);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/troupe-ports-XXXXXX");
    assert_non_null(mkdtemp(folder));
    setenv("XDG_RUNTIME_DIR", folder, 1);
    setenv("TMPDIR", folder, 1);
    if (geteuid() == 0 && make_machines())
        return 0;
    print_message("skipped: %s\n", geteuid() == 0 ? "`ip netns` doesn't work here" : "not root");
    remove_machines();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end(&alice, SIGKILL);
    end(&bob, SIGKILL);
    remove_machines();
    return run("rm -rf %s", folder);
}

#define NEEDS_MACHINES() \
    do {                 \
        if (there < 0)   \
            skip();      \
    } while (0)

/* ---- looking ---------------------------------------------------------------------------------------------- */

/* The ports at HOST that take a connection, as text. The other machine's process: a child, since it changes its namespace. */
static void scan(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (setns(there, CLONE_NEWNET) != 0)
        _exit(126);
    inet_pton(AF_INET, HOST, &to.sin_addr);
    for (unsigned port = 1; port <= 65535; port++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        to.sin_port = htons((uint16_t)port);
        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
            printf("open %u\n", port);
        else if (errno != ECONNREFUSED)
            printf("strange %u: %s\n", port, strerror(errno));
        close(fd);
    }
    printf("scanned\n");
}

/* Sockets of the machine of the nodes that somebody elsewhere can reach, in the kernel's own list: TCP that listens (0A), and
 * any UDP, of another address than loopback. */
static void list(void)
{
    static const char *const files[] = {"/proc/self/net/tcp", "/proc/self/net/tcp6", "/proc/self/net/udp",
                                        "/proc/self/net/udp6"};
    char line[512], local[64], remote[64];
    if (setns(here, CLONE_NEWNET) != 0)
        _exit(126);
    for (int i = 0; i < 4; i++) {
        FILE *file = fopen(files[i], "re");
        unsigned state;
        while (file && fgets(line, sizeof(line), file)) {
            if (sscanf(line, " %*d: %63s %63s %x", local, remote, &state) != 3)
                continue;
            bool loopback = strncmp(local, "0100007F:", 9) == 0 ||
                            strncmp(local, "00000000000000000000000001000000:", 33) == 0;
            if (!loopback && (i >= 2 || state == 0x0a))
                printf("socket %s %s\n", files[i], local);
        }
        if (file)
            fclose(file);
    }
    printf("listed\n");
}

/* What such a look finds: "" or lines. */
static const char *found_by(void (*look)(void), const char *last)
{
    static process p;
    int out[2];
    p = (process){0};
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    p.pid = fork();
    if (p.pid == 0) {
        dup2(out[1], 1);
        look();
        fflush(stdout);
        _exit(0);
    }
    close(out[1]);
    p.out = out[0];
    assert_int_equal(status_of(&p), 0);
    char *end_of_it = strstr(p.said, last);
    assert_non_null(end_of_it);
    *end_of_it = 0;
    return p.said;
}

static void expect_nothing(void)
{
    assert_string_equal(found_by(list, "listed\n"), "");
    assert_string_equal(found_by(scan, "scanned\n"), "");
}

/* ---- tests ------------------------------------------------------------------------------------------------ */

static void a_default_node_and_one_that_joins_it_show_no_port(void **state)
{
    char listens[64];
    char *first[] = {getenv("TROUPE_BIN"), "node",  "--name", "alice", "--listen",
                     "127.0.0.1:0",        "--log", "info",   NULL};
    char *second[] = {
        getenv("TROUPE_BIN"), "node", "--name", "bob", "--join", listens, "--log", "info", NULL};
    (void)state;
    NEEDS_MACHINES();
    begin_in(&alice, here, first);
    hear_address(&alice, listens, sizeof(listens));
    begin_in(&bob, here, second);
    hear(&alice, "node bob is up");
    expect_nothing();
}

static void the_demo_shows_no_port(void **state)
{
    char *argv[] = {getenv("TROUPE_BIN"), "demo", "--json", "--no-kill", "--files", "200", NULL};
    (void)state;
    NEEDS_MACHINES();
    begin_in(&alice, here, argv);
    hear(&alice, "GET /list"); /* all are up, its page as well */
    assert_string_equal(found_by(list, "listed\n"), "");
    assert_string_equal(found_by(scan, "scanned\n"), "");
    hear(&alice, "\"nothing_left\"");
}

/* So that the looks are known to see what is there. */
static void a_node_with_a_key_that_is_told_to_is_found(void **state)
{
    char key[96], listens[64], words[80];
    char *argv[] = {getenv("TROUPE_BIN"),
                    "node",
                    "--name",
                    "alice",
                    "--listen",
                    "0.0.0.0:0",
                    "--key",
                    key,
                    "--log",
                    "info",
                    NULL};
    (void)state;
    NEEDS_MACHINES();
    snprintf(key, sizeof(key), "%s/key", folder);
    assert_int_equal(troupe("made", "key", "new", key, NULL), 0);
    begin_in(&alice, here, argv);
    hear_address(&alice, listens, sizeof(listens));
    snprintf(words, sizeof(words), "open %s\n", strrchr(listens, ':') + 1);
    assert_string_equal(found_by(scan, "scanned\n"), words);
    assert_non_null(strstr(found_by(list, "listed\n"), "socket /proc/self/net/tcp 00000000:"));
}

static void to_listen_elsewhere_without_a_key_is_an_error_at_the_start(void **state)
{
    static const char *const elsewhere[] = {"0.0.0.0:0", "[::]:0", HOST ":0", "[2001:db8::1]:0",
                                            "0.0.0.0:7101"};
    (void)state;
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++)
        assert_int_equal(troupe("--key FILE on every node", "node", "--listen", (char *)elsewhere[i], NULL),
                         2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_default_node_and_one_that_joins_it_show_no_port),
        CASE(the_demo_shows_no_port),
        CASE(a_node_with_a_key_that_is_told_to_is_found),
        cmocka_unit_test(to_listen_elsewhere_without_a_key_is_an_error_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
