/* The compute actor: commands, what they get and what they say. */
#include "tests/system/compute_kit.h"

#include "base/mem.h"

/* ---- commands ------------------------------------------------------------------------------------------ */

static tr_err apart(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    const tr_ran *ran;
    TR_TRY(tr_await(self, tr_ask(self, compute, LONG, tr_run, SHELL("echo out; echo err >&2; exit 3")),
                    tr_ran, &ran));
    EXPECT(equal(ran->out, "out\n"), "%.*s", (int)ran->out.size, (const char *)ran->out.data);
    EXPECT(equal(ran->err, "err\n"), "%.*s", (int)ran->err.size, (const char *)ran->err.data);
    EXPECT(ran->exit_status == 3 && ran->signal == 0, "%d %d", ran->exit_status, ran->signal);
    EXPECT(ran->elapsed_ns > 0 && ran->elapsed_ns < LONG, "%llu", (unsigned long long)ran->elapsed_ns);
    return TR_OK;
}

static void stdout_stderr_and_status_come_apart(void **state)
{
    (void)state;
    run(apart);
}

static tr_err crash(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    const tr_ran *ran;
    TR_TRY(
        tr_await(self, tr_ask(self, compute, LONG, tr_run, SHELL("echo last; kill -SEGV $$")), tr_ran, &ran));
    EXPECT(ran->signal == SIGSEGV && ran->exit_status == -1, "%d %d", ran->exit_status, ran->signal);
    EXPECT(equal(ran->out, "last\n"), "%zu", ran->out.size);
    return TR_OK;
}

static void crash_is_answered_with_its_signal(void **state)
{
    (void)state;
    run(crash);
}

static tr_err surroundings(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    const tr_ran *ran;
    TR_TRY(tr_await(
        self,
        tr_ask(self, compute, LONG, tr_run, .argv = TR_ARGV("printf", "%s|", "a b", "$HOME; x", "", "*")),
        tr_ran, &ran));
    EXPECT(equal(ran->out, "a b|$HOME; x||*|"), "%.*s", (int)ran->out.size, (const char *)ran->out.data);
    TR_TRY(tr_await(self,
                    tr_ask(self, compute, LONG, tr_run,
                           .argv = TR_ARGV("sh", "-c", "pwd; echo $A $LANG; cat; ls /proc/$$/fd"),
                           .environment = TR_ARGV("A=1", "LANG=none"), .directory = "/usr"),
                    tr_ran, &ran));
    EXPECT(equal(ran->out, "/usr\n1 none\n0\n1\n2\n"), "%.*s", (int)ran->out.size,
           (const char *)ran->out.data);
    return TR_OK;
}

static void arguments_environment_directory_and_descriptors_are_as_asked(void **state)
{
    (void)state;
    int stray = open("/dev/null", O_RDONLY); /* without close-on-exec */
    run(surroundings);
    close(stray);
}

static tr_err unrunnable(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
#define TRY_RUN(...) tr_ask(self, compute, LONG, tr_run, __VA_ARGS__)
    EXPECT_ERROR(TRY_RUN(.argv = TR_ARGV("no-such-command")), TR_ENOTFOUND,
                 "'no-such-command' in the node's PATH");
    EXPECT_ERROR(TRY_RUN(.argv = TR_ARGV("/no/such/command")), TR_ENOTFOUND, "'/no/such/command'");
    EXPECT_ERROR(TRY_RUN(.argv = TR_ARGV("/etc/passwd")), TR_EPERM, "'/etc/passwd' isn't executable");
    EXPECT_ERROR(TRY_RUN(.argv = TR_ARGV("ls"), .directory = "/no/such"), TR_ENOTFOUND, "'/no/such'");
    EXPECT_ERROR(TRY_RUN(.argv = {"ls", 2}), TR_EINVAL, "TR_ARGV");
    EXPECT_ERROR(TRY_RUN(.input = {"x", 1}), TR_EINVAL, "without a command");
    char path[100];
    snprintf(path, sizeof(path), "%s/not-a-program", directory);
    int fd = open(path, O_CREAT | O_WRONLY, 0755);
    EXPECT(write(fd, "echo hi\n", 8) == 8, "%d", errno);
    close(fd);
    EXPECT_ERROR(TRY_RUN(.argv = TR_ARGV(path)), TR_EINVAL, "no shell");
    fd = open(path, O_WRONLY | O_TRUNC);
    EXPECT(write(fd, "#!/no/such/interpreter\n", 23) == 23, "%d", errno);
    close(fd);
    EXPECT_ERROR(TRY_RUN(.argv = TR_ARGV(path)), TR_ENOTFOUND, "interpreter");
    unlink(path);
    return TR_OK;
}

static void what_cannot_run_is_an_error_that_names_it(void **state)
{
    (void)state;
    run(unrunnable);
}

TR_MESSAGE(test_nonsense, (u32, n))

static tr_err misuse(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    EXPECT_ERROR(tr_ask(self, compute, LONG, test_nonsense, .n = 1), TR_ETYPE, "test_nonsense");
    TR_TRY(tr_send(self, compute, tr_run, .argv = TR_ARGV("true")));
    TR_TRY(tr_send(self, compute, test_nonsense, .n = 1));
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_run_input, .job = 5), TR_ENOTFOUND, "job 5");
    EXPECT_ERROR(tr_spawn_ask(self, &tr_compute, &(tr_compute_opts){.parallel = 100000}, NULL), TR_EINVAL,
                 "parallel");
    EXPECT_ERROR(tr_spawn_ask(self, &tr_compute, &(tr_compute_opts){.nice = 20}, NULL), TR_EINVAL, "nice");
    return TR_OK;
}

static void misuse_is_told(void **state)
{
    (void)state;
    run(misuse);
}

/* ---- input --------------------------------------------------------------------------------------------- */

#define LARGE ((size_t)10 << 20)

static tr_err large(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    uint32_t *data = malloc(LARGE), x = 1;
    for (size_t i = 0; i < LARGE / 4; i++)
        data[i] = x = x * 1664525u + 1013904223u;
    tr_future future =
        tr_ask(self, compute, LONG, tr_run, .argv = TR_ARGV("cat"), .input = {data, LARGE}, .limit = LARGE);
    const tr_ran *ran;
    tr_err err = tr_await(self, future, tr_ran, &ran);
    bool same = err == TR_OK && ran->out.size == LARGE && memcmp(ran->out.data, data, LARGE) == 0;
    free(data);
    TR_TRY(err);
    EXPECT(same, "%zu bytes came back", ran->out.size);
    return TR_OK;
}

static void ten_megabytes_through_cat_come_back_whole(void **state)
{
    (void)state;
    run(large);
}

static tr_err streamed_input(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    tr_future job = tr_ask(self, compute, LONG, tr_run, .argv = TR_ARGV("sort"), .input = {"c\n", 2},
                           .input_more = true, .job = 7);
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_run, .argv = TR_ARGV("sort"), .input_more = true, .job = 7),
                 TR_EEXIST, "job 7");
    TR_TRY(tr_send(self, compute, tr_run_input, .job = 7, .data = {"b\n", 2}));
    const tr_run_input_taken *taken;
    TR_TRY(tr_await(self, tr_ask(self, compute, LONG, tr_run_input, .job = 7, .data = {"d\n", 2}),
                    tr_run_input_taken, &taken));
    EXPECT(taken->job == 7, "%d", (int)taken->job);
    TR_TRY(tr_send(self, compute, tr_run_input, .job = 7, .data = {"a\n", 2}, .end = true));
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_run_input, .job = 7, .data = {"x\n", 2}), TR_ERESET, "job 7");
    const tr_ran *ran;
    TR_TRY(tr_await(self, job, tr_ran, &ran));
    EXPECT(equal(ran->out, "a\nb\nc\nd\n"), "%.*s", (int)ran->out.size, (const char *)ran->out.data);
    return TR_OK;
}

static void input_may_come_in_pieces(void **state)
{
    (void)state;
    run(streamed_input);
}

static tr_err unread_input(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    char *data = calloc(1, 1 << 20);
    tr_future future = tr_ask(self, compute, LONG, tr_run, .argv = TR_ARGV("true"), .input = {data, 1 << 20});
    tr_future piped =
        tr_ask(self, compute, LONG, tr_run, SHELL("exec sleep 100 <&-"), .input_more = true, .job = 1);
    /* Whether it is shut already or only after the pipe has taken some, it doesn't take it all. */
    EXPECT(marked_become(self, 1), "%d", marked(0));
    tr_err err = tr_await_msg(
        self, tr_ask(self, compute, LONG, tr_run_input, .job = 1, .data = {data, 1 << 20}, .end = false),
        NULL);
    free(data);
    EXPECT(err == TR_ERESET, "%s", tr_err_word(err));
    tr_cancel(self, piped);
    const tr_ran *ran;
    TR_TRY(tr_await(self, future, tr_ran, &ran));
    EXPECT(ran->exit_status == 0 && ran->signal == 0, "%d %d", ran->exit_status, ran->signal);
    EXPECT(marked_become(self, 0), "%d", marked(0));
    return TR_OK;
}

static void command_that_does_not_read_its_input_does_no_harm(void **state)
{
    (void)state;
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR); /* the loop's thread must hold it back by itself */
    run(unread_input);
}

static tr_err too_much_input(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    char *data = calloc(1, 1 << 20);
    tr_future job = tr_ask(self, compute, LONG, tr_run, SHELL("sleep 100"), .input_more = true, .job = 1);
    TR_TRY(tr_send(self, compute, tr_run_input, .job = 1, .data = {data, 1 << 20}));
    tr_err err =
        tr_await_msg(self, tr_ask(self, compute, LONG, tr_run_input, .job = 1, .data = {data, 1}), NULL);
    EXPECT(err == TR_EFULL, "%s", tr_err_word(err));
    TR_TRY(tr_send(self, compute, tr_run_input, .job = 1, .data = {data, 1}));
    free(data);
    EXPECT_ERROR(job, TR_EFULL, "await the answer");
    EXPECT(marked_become(self, 0), "%d", marked(0));
    return TR_OK;
}

static void input_that_waits_is_bounded(void **state)
{
    (void)state;
    run(too_much_input);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static tr_err starved(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 1});
    tr_err err = TR_ENOMEM;
    uint64_t nth = 0;
    for (int well = 0; well < 3; well = err == TR_OK ? well + 1 : 0) {
        EXPECT(++nth < 300, "never well");
        tr_future job =
            tr_ask(self, compute, LONG, tr_run, SHELL("cat; echo hi >&2"), .input = {"hello", 5}, .job = nth);
        tr__alloc_fail_at(nth);
        const tr_ran *ran = NULL;
        err = tr_await(self, job, tr_ran, &ran);
        tr__alloc_fail_at(0);
        EXPECT(err == TR_OK || err == TR_ENOMEM, "allocation %d: %s", (int)nth, tr_err_word(err));
        EXPECT(err != TR_OK || (equal(ran->out, "hello") && equal(ran->err, "hi\n")),
               "allocation %d: %zu %zu", (int)nth, ran->out.size, ran->err.size);
    }
    EXPECT(nth > 10, "%d", (int)nth);
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    return TR_OK;
}

static void allocation_that_fails_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    run(starved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stdout_stderr_and_status_come_apart),
        cmocka_unit_test(crash_is_answered_with_its_signal),
        cmocka_unit_test(arguments_environment_directory_and_descriptors_are_as_asked),
        cmocka_unit_test(what_cannot_run_is_an_error_that_names_it),
        cmocka_unit_test(misuse_is_told),
        cmocka_unit_test(ten_megabytes_through_cat_come_back_whole),
        cmocka_unit_test(input_may_come_in_pieces),
        cmocka_unit_test(command_that_does_not_read_its_input_does_no_harm),
        cmocka_unit_test(input_that_waits_is_bounded),
        cmocka_unit_test(allocation_that_fails_is_told_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, compute_prepare, compute_tidy);
}
