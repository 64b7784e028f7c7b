/* Keys between real processes, on an address of this machine that isn't loopback where there is one: nodes
 * with the same key talk, others refuse each other and both say why, strangers on the port change nothing.
 * The other node is this same program, run with the word "node". */
#include <troupe/node.h>
#include <troupe/troupe.h>

#include "tests/system/process_kit.h"
#include "transport/frame.h"

/* ---- fixture: a folder with two keys; a node with one of them ------------------------------------------- */

TR_MESSAGE(question, (string, text))

static char folder[64], our_key[96], other_key[96];

static void echo(tr_actor *self, void *state, const tr_msg *msg)
{
    const question *q = tr_match(msg, question);
    (void)state;
    if (q)
        tr_reply(self, msg, question, .text = q->text);
}
TR_ACTOR(echo_def, .receive = echo);

/* Tells its address, then waits for the end. */
static tr_err node_start(tr_actor *self, void *arg)
{
    (void)arg;
    tr_spawn_with(self, &echo_def, NULL, &(tr_spawn_opts){.name = "echo"});
    printf("%s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    while (tr_receive(self, TR_FOREVER))
        ;
    return tr_last_error(self)->code;
}

/* Asks bob, then ends. */
static tr_err ask_bob(tr_actor *self, void *arg)
{
    const tr_found *found;
    const question *answer;
    (void)arg;
    TR_TRY(tr_await(self, tr_lookup(self, "bob/echo", TR_SECONDS(10)), tr_found, &found));
    TR_TRY(tr_await(self, tr_ask(self, found->actor, TR_SECONDS(10), question, .text = "still there?"),
                    question, &answer));
    return strcmp(answer->text, "still there?") == 0 ? TR_OK : TR_EAPP;
}

/* The address from which this machine would reach others; loopback if it has none. Asked by a socket that
 * sends nothing. An interface's address would do as well, but some come and go (other tests' namespaces). */
static const char *outward(void)
{
    static char host[INET_ADDRSTRLEN];
    struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(9)}, own = {0};
    socklen_t size = sizeof(own);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "198.51.100.1", &far.sin_addr);
    bool routed = connect(fd, (struct sockaddr *)&far, sizeof(far)) == 0 &&
                  getsockname(fd, (struct sockaddr *)&own, &size) == 0;
    close(fd);
    if (!routed)
        own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    inet_ntop(AF_INET, &own.sin_addr, host, sizeof(host));
    return host;
}

typedef struct fixture {
    process bob, other;
    char address[64]; /* bob's */
} fixture;

static void node(process *p, const char *what, const char *name, const char *option, const char *value,
                 char *key)
{
    char *argv[] = {
        "/proc/self/exe", (char *)what,         "--name", (char *)name, "--log", "info", (char *)option,
        (char *)value,    key ? "--key" : NULL, key,      NULL};
    begin(p, argv);
}

static int setup(void **state)
{
    static fixture f;
    f = (fixture){0};
    char listen[64];
    snprintf(listen, sizeof(listen), "%s:0", outward());
    node(&f.bob, "serve", "bob", "--listen", listen, our_key);
    hear(&f.bob, "\n");
    hear_address(&f.bob, f.address, sizeof(f.address));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    end(&f->other, SIGKILL);
    end(&f->bob, SIGKILL);
    return 0;
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

static void alice_is_answered(fixture *f)
{
    static process alice;
    node(&alice, "ask", "alice", "--join", f->address, our_key);
    if (status_of(&alice) != 0)
        fail_msg("alice: %s\nbob: %s", alice.said, f->bob.said);
}

/* Read until the other side has closed, 20 s at most. */
static void expect_cut(int fd)
{
    char bytes[4096];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t until = now_ms() + 20000;
    while (now_ms() < until && poll(&p, 1, 1000) >= 0)
        if (p.revents && read(fd, bytes, sizeof(bytes)) <= 0)
            break;
    assert_true(now_ms() < until);
    close(fd);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void two_nodes_with_the_same_key_talk_beyond_loopback(void **state)
{
    fixture *f = *state;
    assert_int_equal(strncmp(f->address, outward(), strlen(outward())), 0);
    alice_is_answered(f);
    hear(&f->bob, "node alice is down");
}

static void a_wrong_key_is_refused_and_both_logs_say_so(void **state)
{
    fixture *f = *state;
    node(&f->other, "serve", "carol", "--join", f->address, other_key);
    hear(&f->other, "refused by the other side: the two nodes have different keys");
    hear(&f->bob, "came to nothing: the two nodes have different keys");
    hear(&f->other, "trying again");
    alice_is_answered(f);
}

static void a_node_without_a_key_is_refused_and_both_logs_say_so(void **state)
{
    fixture *f = *state;
    node(&f->other, "serve", "carol", "--join", f->address, NULL);
    hear(&f->other, "refused by the other side: the node that dialled has no key");
    hear(&f->bob, "came to nothing: the node that dialled has no key");
    alice_is_answered(f);
}

#ifdef __SANITIZE_THREAD__
#define LITTLE_KIB 32768 /* its shadow of what was touched comes on top */
#else
#define LITTLE_KIB 8192
#endif

static void strangers_on_the_port_take_little_memory_and_others_are_served(void **state)
{
    enum { EACH = 60 };
    fixture *f = *state;
    static uint8_t garbage[65536];
    uint8_t key[100], huge[TR__FRAME_HEADER];
    size_t key_size = tr__frame_put_key(key, 1, (const uint8_t *)"thirty-two bytes of a public key");
    int silent[EACH];
    memset(garbage, 0xa5, sizeof(garbage));
    alice_is_answered(f); /* what a first connection brings into memory is there */
    size_t before = resident_kib(f->bob.pid);
    for (int i = 0; i < EACH; i++) {
        int fd = connect_to(f->address);
        (void)!send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL);
        expect_cut(fd);
        fd = connect_to(f->address);
        tr__frame_put_header(huge, i % 2 ? TR__FRAME_BATCH : TR__FRAME_KEY, 0, 1);
        memset(huge + 8, 0xff, 4); /* the largest length that a header can claim, */
        if (i % 3 == 0)
            memset(huge, 0xff, sizeof(huge)); /* or a number near 2^64 in somebody else's protocol */
        (void)!send(fd, huge, sizeof(huge), MSG_NOSIGNAL);
        expect_cut(fd);
        silent[i] = connect_to(f->address);
        assert_int_equal(send(silent[i], key, i % 2 ? key_size : 10, MSG_NOSIGNAL), i % 2 ? key_size : 10);
    }
    size_t after = resident_kib(f->bob.pid);
    if (after > before + LITTLE_KIB)
        fail_msg("%zu KiB became %zu KiB", before, after);
    for (int i = 0; i < EACH; i++)
        expect_cut(silent[i]);
    alice_is_answered(f);
    assert_int_equal(WEXITSTATUS(end(&f->bob, SIGTERM)), 0);
}

/* ---- the command, and what a node says of files -------------------------------------------------------- */

static void a_new_key_is_its_owners_alone_and_never_written_over(void **state)
{
    (void)state;
    char path[96], first[200] = "", again[200] = "";
    struct stat status;
    snprintf(path, sizeof(path), "%s/new", folder);
    mode_t mask = umask(0);
    assert_int_equal(troupe("made the key file", "key", "new", path, NULL), 0);
    umask(mask);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    FILE *file = fopen(path, "re");
    assert_true(fread(first, 1, sizeof(first), file) == 78);
    fclose(file);
    assert_int_equal(troupe("exists already, and a key is never overwritten", "key", "new", path, NULL), 1);
    file = fopen(path, "re");
    assert_true(fread(again, 1, sizeof(again), file) == 78);
    fclose(file);
    assert_string_equal(first, again);
    snprintf(path, sizeof(path), "%s/newer", folder);
    assert_int_equal(troupe("made", "key", "new", path, NULL), 0);
    file = fopen(path, "re");
    assert_true(fread(again, 1, sizeof(again), file) == 78);
    fclose(file);
    assert_string_not_equal(first, again);
    assert_int_equal(troupe("usage: troupe key new FILE", "key", "old", path, NULL), 2);
    snprintf(path, sizeof(path), "%s/nowhere/new", folder);
    assert_int_equal(troupe("cannot make the key file", "key", "new", path, NULL), 1);
}

static void a_key_file_that_is_none_or_that_others_can_read_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
        mode_t mode;
    } rows[] = {
        {"troupe key 1\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", "chmod 600",
         0640},
        {"troupe key 1\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", "chmod 600",
         0604},
        {"", "no key file of Troupe", 0600},
        {"troupe key 1\n0123456789abcdef\n", "no key file of Troupe", 0600},
        {"troupe key 1\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg\n",
         "no key file of Troupe", 0600},
        {"troupe key 1\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nmore",
         "no key file of Troupe", 0600},
        {"troupe key 1\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
         "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n",
         "no key file of Troupe", 0600},
        {"troupe key 1\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
         "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
         "2123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
         "no key file of Troupe", 0600},
        {"troupe key 2\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
         "no key file of Troupe", 0600},
    };
    char path[96];
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        snprintf(path, sizeof(path), "%s/file%zu", folder, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, rows[i].text, strlen(rows[i].text)), strlen(rows[i].text));
        assert_int_equal(fchmod(fd, rows[i].mode), 0);
        close(fd);
        assert_int_not_equal(troupe(rows[i].words, "node", "--key", path, NULL), 0);
    }
    assert_int_not_equal(troupe("is no file", "node", "--key", folder, NULL), 0);
    snprintf(path, sizeof(path), "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_not_equal(troupe("is no file", "node", "--key", path, NULL), 0);
    snprintf(path, sizeof(path), "%s/nothing", folder);
    assert_int_equal(troupe("make one by `troupe key new FILE`", "node", "--key", path, NULL), 1);
}

static void beyond_loopback_a_node_wants_a_key_and_says_how(void **state)
{
    (void)state;
    assert_int_equal(troupe("troupe key new FILE", "node", "--listen", "0.0.0.0:0", NULL), 2);
    assert_int_equal(troupe("--key FILE on every node", "node", "--listen", "[::]:0", NULL), 2);
}

/* ---- main ---------------------------------------------------------------------------------------------- */

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/troupe-key-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(our_key, sizeof(our_key), "%s/ours", folder);
    snprintf(other_key, sizeof(other_key), "%s/other", folder);
    assert_int_equal(troupe("made", "key", "new", our_key, NULL), 0);
    assert_int_equal(troupe("made", "key", "new", other_key, NULL), 0);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static process rm;
    char *argv[] = {"/bin/rm", "-rf", folder, NULL};
    begin(&rm, argv);
    return status_of(&rm);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "serve") == 0)
        return tr_main(argc - 1, argv + 1, node_start, NULL);
    if (argc > 1 && strcmp(argv[1], "ask") == 0)
        return tr_main(argc - 1, argv + 1, ask_bob, NULL);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(two_nodes_with_the_same_key_talk_beyond_loopback),
        CASE(a_wrong_key_is_refused_and_both_logs_say_so),
        CASE(a_node_without_a_key_is_refused_and_both_logs_say_so),
        CASE(strangers_on_the_port_take_little_memory_and_others_are_served),
        cmocka_unit_test(a_new_key_is_its_owners_alone_and_never_written_over),
        cmocka_unit_test(a_key_file_that_is_none_or_that_others_can_read_is_refused),
        cmocka_unit_test(beyond_loopback_a_node_wants_a_key_and_says_how),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
