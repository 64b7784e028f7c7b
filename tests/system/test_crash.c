/* The crash report of real processes (this same program, run with a node's options) that fault in a handler. */
#include "tests/kit/operator_kit.h"

#include <pthread.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

TR_MESSAGE(count_to, (u32, number), (string, text))
TR_MESSAGE(fault, (i32, signal), (string, text))
TR_MESSAGE(dig)
TR_MESSAGE(fault_together, (string, directory), (string, text), (string, again))

static volatile int *nowhere;

static __attribute__((noinline)) void fall(int number)
{
    if (number == SIGSEGV)
        *nowhere = 7;
    else if (number == SIGABRT)
        abort();
    else
        raise(number);
}

/* Faults as soon as the report is begun. */
static void *fall_as_well(void *path)
{
    while (access(path, F_OK) != 0)
        ;
    fall(SIGSEGV);
    return NULL;
}

static void fall_together(const char *where)
{
    static char path[160];
    pthread_t other;
    snprintf(path, sizeof(path), "%s/troupe-crash-ada-%d.txt", where, (int)getpid());
    if (pthread_create(&other, NULL, fall_as_well, path) == 0)
        fall(SIGSEGV);
}

static void victim_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    const fault *f = tr_match(msg, fault);
    const fault_together *together = tr_match(msg, fault_together);
    (void)self, (void)state;
    if (f)
        fall(f->signal);
    if (together)
        fall_together(together->directory);
}
TR_ACTOR(victim_def, .receive = victim_receive);

static __attribute__((noinline)) int deeper(int n)
{
    volatile char room[1024];
    room[n % 1024] = (char)n;
    return n == 1 << 30 ? 0 : deeper(n + 1) + room[(n * 7) % 1024];
}

static tr_err digger_run(tr_actor *self, void *arg)
{
    (void)arg;
    while (!tr_match(tr_receive(self, TR_FOREVER), dig))
        ;
    return deeper(0) ? TR_OK : TR_EAPP;
}
TR_ACTOR(digger_def, .run = digger_run);

static tr_err start(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr victim = tr_spawn_with(self, &victim_def, NULL, &(tr_spawn_opts){.name = "victim"});
    tr_spawn_with(self, &digger_def, NULL, &(tr_spawn_opts){.name = "digger"});
    tr_send(self, victim, count_to, .number = 3, .text = "three");
    puts("up");
    fflush(stdout);
    while (tr_receive(self, TR_FOREVER))
        ;
    return TR_OK;
}

static void read_report(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t length = fread(printed, 1, sizeof(printed) - 1, file);
    printed[length] = '\0';
    fclose(file);
}

/* Has the node crash by that message; its report is in `printed`. */
static void crash_by(const char *to, const char *message, int number)
{
    part ada;
    int status;
    char command[512], path[160];
    START(&ada, "--name", "ada", "--crash-dir", directory);
    while (strcmp(next_line(&ada), "up") != 0)
        assert_true(ada.line[0]);
    snprintf(command, sizeof(command), "send %s '%s'", to, message);
    troupe(command); /* the node may be gone before it has answered */
    assert_int_equal(ada.pid, waitpid(ada.pid, &status, 0));
    assert_true(WIFSIGNALED(status)); /* the default action has followed */
    assert_int_equal(number, WTERMSIG(status));
    snprintf(path, sizeof(path), "%s/troupe-crash-ada-%d.txt", directory, (int)ada.pid);
    while (ada.line[0] && !strstr(ada.line, path))
        next_line(&ada);
    assert_non_null(strstr(ada.line, "crashed (SIG")); /* and stderr tells where it is */
    read_report(path);
    close(ada.in);
    close(ada.out);
}

static void a_fault_in_a_handler_names_the_actor_and_its_message(void **state)
{
    (void)state;
    crash_by("ada/victim", "{\"fault\":{\"signal\":11,\"text\":\"the last words\"}}", SIGSEGV);
    assert_printed("signal: SIGSEGV at address 0x0");
    assert_printed("node: ada");
    assert_printed("actor: victim_def, slot ");
    assert_printed("message: fault {signal: 11, text: \"the last words\"}");
    assert_printed("backtrace");
    assert_printed("handles fault");
    assert_printed("handles count_to");
    assert_printed("starts victim_def");
}

static void an_abort_is_reported_as_well(void **state)
{
    (void)state;
    crash_by("ada/victim", "{\"fault\":{\"signal\":6}}", SIGABRT);
    assert_printed("signal: SIGABRT\n");
    assert_printed("actor: victim_def");
    crash_by("ada/victim", "{\"fault\":{\"signal\":8}}", SIGFPE);
    assert_printed("signal: SIGFPE\n");
}

static void a_fiber_whose_stack_overflows_is_named(void **state)
{
    (void)state;
    crash_by("ada/digger", "{\"dig\":{}}", SIGSEGV);
    assert_printed("actor: digger_def, slot ");
    assert_printed("message: dig {}");
}

static void one_thread_that_faults_meanwhile_does_not_cut_the_report_short(void **state)
{
    char message[400], text[101];
    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    snprintf(message, sizeof(message),
             "{\"fault_together\":{\"directory\":\"%s\",\"text\":\"%s\",\"again\":\"%s\"}}", directory, text,
             text); /* each byte takes a while */
    crash_by("ada/victim", message, SIGSEGV);
    assert_printed("message: fault_together");
    assert_printed("starts victim_def");
}

/* ---- two nodes in one main loop ------------------------------------------------------------------------ */

static tr_err start_and_fall(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr victim = tr_spawn(self, &victim_def, NULL);
    TR_TRY(tr_sleep(self, TR_MILLIS(50))); /* both nodes run */
    TR_TRY(tr_send(self, victim, fault, .signal = SIGSEGV, .text = "of ada"));
    return tr_sleep(self, TR_FOREVER);
}

static tr_err start_and_rest(tr_actor *self, void *arg)
{
    (void)arg;
    return tr_sleep(self, TR_FOREVER);
}

static int two_nodes(const char *where)
{
    tr_error error;
    tr_node_opts ada = {.name = "ada", .crash_dir = where, .start = start_and_fall};
    tr_node_opts bob = {.name = "bob", .crash_dir = where, .start = start_and_rest};
    tr_node *nodes[] = {tr_node_create(&ada, &error), tr_node_create(&bob, &error)};
    for (int i = 0; i < 2; i++)
        if (!nodes[i] || tr_node_start(nodes[i], &error) != TR_OK)
            return 1;
    for (;;)
        for (int i = 0; i < 2; i++)
            tr_node_step(nodes[i], TR_MILLIS(1));
}

static void of_two_nodes_on_one_thread_the_one_that_runs_is_named(void **state)
{
    char path[160];
    int status;
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "two", "two", directory, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    snprintf(path, sizeof(path), "%s/troupe-crash-ada-%d.txt", directory, (int)pid);
    read_report(path);
    assert_printed("node: ada\n");
    assert_printed("actor: victim_def");
    assert_printed("text: \"of ada\"");
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "two") == 0)
        return two_nodes(argv[2]);
    if (argc > 1)
        return node_main(argc, argv, start);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts("skipped: the sanitizer ends a program that faults in its own way");
    return 0;
#endif
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(a_fault_in_a_handler_names_the_actor_and_its_message),
        TEST(an_abort_is_reported_as_well),
        TEST(a_fiber_whose_stack_overflows_is_named),
        TEST(one_thread_that_faults_meanwhile_does_not_cut_the_report_short),
        TEST(of_two_nodes_on_one_thread_the_one_that_runs_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
