/* The compute actor: output that streams, and how commands end. */
#include "tests/system/compute_kit.h"

/* ---- output -------------------------------------------------------------------------------------------- */

static tr_err endless(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_run, SHELL("yes & yes >&2 & wait"), .limit = 100000),
                 TR_ETOOBIG, "limit");
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    return TR_OK;
}

static tr_err limits(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    const tr_ran *ran;
    TR_TRY(tr_await(
        self,
        tr_ask(self, compute, LONG, tr_run, SHELL("yes | head -c 900; yes | head -c 100 >&2"), .limit = 1000),
        tr_ran, &ran));
    EXPECT(ran->out.size == 900 && ran->err.size == 100, "%zu %zu", ran->out.size, ran->err.size);
    EXPECT_ERROR(
        tr_ask(self, compute, LONG, tr_run, SHELL("yes | head -c 900; yes | head -c 101 >&2"), .limit = 1000),
        TR_ETOOBIG, "limit");
    return TR_OK;
}

static void limit_is_of_both_streams_and_exact(void **state)
{
    (void)state;
    run(limits);
}

static void endless_output_is_too_big_and_ends_the_group(void **state)
{
    (void)state;
    run(endless);
}

/* Take `expected` bytes of output, and what else comes within a while: how much it was; *order stays true while it is
 * what `yes` prints. */
static size_t take_output(tr_actor *self, size_t expected, size_t *at, bool *order)
{
    size_t total = 0;
    for (const tr_msg *msg; (msg = tr_receive(self, total < expected ? LONG : TR_MILLIS(300)));) {
        const tr_output *output = tr_match(msg, tr_output);
        if (!output)
            continue;
        const char *bytes = output->data.data;
        for (size_t i = 0; i < output->data.size; i++, (*at)++)
            *order = *order && bytes[i] == "y\n"[*at % 2] && output->stream == 1 && output->job == 3;
        total += output->data.size;
    }
    return total;
}

static tr_err paused(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    tr_future job = tr_ask(self, compute, LONG, tr_run, SHELL("exec yes"), .output = tr_self(self), .job = 3,
                           .limit = 100000);
    size_t at = 0;
    bool order = true;
    size_t got = take_output(self, 100000, &at, &order);
    EXPECT(got == 100000, "%zu", got);
    TR_TRY(tr_send(self, compute, tr_output_more, .job = 3, .bytes = 50001));
    got = take_output(self, 50001, &at, &order);
    EXPECT(got == 50001, "%zu", got);
    TR_TRY(tr_send(self, compute, tr_output_more, .job = 3, .bytes = UINT64_MAX));
    got = take_output(self, 100000, &at, &order);
    EXPECT(got == 100000, "%zu", got);
    EXPECT(order, "after %zu bytes", at);
    tr_cancel(self, job);
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    return TR_OK;
}

static void streamed_output_pauses_until_the_consumer_has_dealt_with_it(void **state)
{
    (void)state;
    run(paused);
}

static tr_err streamed(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    tr_future job = tr_ask(self, compute, LONG, tr_run, SHELL("echo one; echo two >&2; exit 4"),
                           .output = tr_self(self), .job = 3);
    char seen[2][16] = {"", ""};
    for (int ends = 0; ends < 2;) {
        const tr_msg *msg = tr_receive(self, LONG);
        EXPECT(msg, "nothing came");
        const tr_output *output = tr_match(msg, tr_output);
        EXPECT(output && output->stream - 1 < 2, "%s", tr_msg_type_name(msg));
        ends += output->data.size == 0;
        strncat(seen[output->stream - 1], output->data.data ? output->data.data : "", output->data.size);
    }
    const tr_ran *ran;
    TR_TRY(tr_await(self, job, tr_ran, &ran));
    EXPECT(strcmp(seen[0], "one\n") == 0 && strcmp(seen[1], "two\n") == 0, "%s %s", seen[0], seen[1]);
    EXPECT(ran->exit_status == 4 && ran->out.size == 0, "%d %zu", ran->exit_status, ran->out.size);
    return TR_OK;
}

static void streams_and_their_ends_reach_the_consumer(void **state)
{
    (void)state;
    run(streamed);
}

/* A consumer with two places, that takes its time. */
typedef struct slow_count {
    size_t bytes, ends;
    bool order;
} slow_count;

static tr_err slow(tr_actor *self, void *arg)
{
    slow_count *count = arg;
    while (count->ends < 2) {
        const tr_msg *msg = tr_receive(self, LONG);
        if (!msg)
            return TR_EDEADLINE;
        const tr_output *output = tr_match(msg, tr_output);
        if (!output)
            continue;
        const char *bytes = output->data.data;
        for (size_t i = 0; i < output->data.size; i++, count->bytes++)
            count->order = count->order && bytes[i] == "y\n"[count->bytes % 2];
        count->ends += output->data.size == 0;
        uint64_t size = output->data.size;
        TR_TRY(tr_sleep(self, TR_MILLIS(2)));
        TR_TRY(tr_send(self, tr_msg_sender(msg), tr_output_more, .job = 3, .bytes = size));
    }
    return TR_OK;
}
TR_ACTOR(slow_def, .run = slow, .mailbox_places = 2);

static tr_err full(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    slow_count count = {.order = true};
    tr_addr consumer = tr_spawn(self, &slow_def, &count);
    const tr_ran *ran;
    TR_TRY(tr_await(
        self,
        tr_ask(self, compute, LONG, tr_run, SHELL("yes | head -c 1000000"), .output = consumer, .job = 3),
        tr_ran, &ran));
    for (int i = 0; i < 1000 && count.ends < 2; i++)
        TR_TRY(tr_sleep(self, TR_MILLIS(5)));
    EXPECT(count.bytes == 1000000 && count.order && count.ends == 2, "%zu bytes, %zu ends", count.bytes,
           count.ends);
    return TR_OK;
}

static void consumer_with_a_full_mailbox_loses_nothing(void **state)
{
    (void)state;
    run(full);
}

static tr_err brief(tr_actor *self, void *arg)
{
    (void)arg;
    tr_receive(self, LONG);
    return TR_OK;
}
TR_ACTOR(brief_def, .run = brief);

static tr_err orphaned(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    tr_addr consumer = tr_spawn(self, &brief_def, NULL);
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_run, SHELL("echo; sleep 100"), .output = consumer),
                 TR_ENOACTOR, "consumer");
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_run, SHELL("sleep 100"), .output = consumer), TR_ENOACTOR,
                 "consumer");
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    return TR_OK;
}

static void end_of_the_consumer_ends_the_job(void **state)
{
    (void)state;
    run(orphaned);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static tr_err deadline(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    tr_future job = tr_ask(self, compute, TR_SECONDS(3), tr_run, /* all are there by then */
                           SHELL("sleep 100 & sleep 100 & (sleep 100 & wait) & wait"));
    EXPECT(marked_become(self, 5), "%d of 5", marked(0));
    EXPECT_ERROR(job, TR_EDEADLINE, "");
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    return TR_OK;
}

static void deadline_ends_the_whole_group(void **state)
{
    (void)state;
    run(deadline);
}

static tr_err stubborn(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute =
        tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 1, .grace_ns = TR_MILLIS(200)});
    tr_future job = tr_ask(self, compute, LONG, tr_run, SHELL("trap '' TERM; while :; do sleep 1; done"));
    EXPECT(marked_become(self, 2), "%d of 2", marked(0));
    uint64_t start = tr_now(self);
    tr_cancel(self, job);
    /* It keeps its place until it has ended. */
    const tr_ran *ran;
    TR_TRY(tr_await(self, tr_ask(self, compute, LONG, tr_run, .argv = TR_ARGV("true")), tr_ran, &ran));
    EXPECT(tr_now(self) - start >= TR_MILLIS(200), "%llu", (unsigned long long)(tr_now(self) - start));
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    return TR_OK;
}

static void what_ignores_sigterm_is_killed_after_the_grace(void **state)
{
    (void)state;
    run(stubborn);
}

static tr_err polite(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.grace_ns = TR_SECONDS(8)});
    char path[100];
    snprintf(path, sizeof(path), "%s/said", directory);
    tr_future job =
        tr_ask(self, compute, LONG, tr_run, SHELL("trap 'echo bye >said; exit' TERM; sleep 100 & wait"),
               .directory = directory);
    EXPECT(marked_become(self, 2), "%d of 2", marked(0));
    tr_cancel(self, job);
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    EXPECT(unlink(path) == 0, "it had no time to write: %d", errno);
    return TR_OK;
}

static void canceled_command_may_tidy_up(void **state)
{
    (void)state;
    run(polite);
}

static tr_err stopped(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    tr_future a = tr_ask(self, compute, LONG, tr_run, SHELL("trap '' TERM; sleep 100 & wait"));
    EXPECT(marked_become(self, 2), "%d of 2", marked(0));
    TR_TRY(tr_stop(self, compute, TR_EXIT_SHUTDOWN));
    EXPECT_ERROR(a, TR_ENOACTOR, "");
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    return TR_OK;
}

static void end_of_the_actor_kills_what_runs(void **state)
{
    (void)state;
    run(stopped);
}

static tr_err abandoned(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    tr_ask(self, compute, LONG, tr_run, SHELL("trap '' TERM; sleep 100 & wait"));
    tr_ask(self, compute, LONG, tr_run, SHELL("yes"), .output = tr_self(self));
    EXPECT(marked_become(self, 4), "%d of 4", marked(0));
    return TR_OK;
}

static void end_of_the_node_kills_what_runs(void **state)
{
    (void)state;
    run(abandoned);
}

static tr_err left(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.grace_ns = TR_MILLIS(100)});
    tr_addr patient = tr_spawn(self, &tr_compute, &(tr_compute_opts){.grace_ns = LONG});
    const tr_ran *ran;
    TR_TRY(tr_await(self, tr_ask(self, compute, LONG, tr_run, SHELL("sleep 100 & echo hi")), tr_ran, &ran));
    EXPECT(equal(ran->out, "hi\n") && ran->exit_status == 0, "%zu", ran->out.size);
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    /* It has let go of its output: nothing is waited for. */
    TR_TRY(tr_await(self, tr_ask(self, compute, LONG, tr_run, SHELL("sleep 100 >/dev/null 2>&1 & echo hi")),
                    tr_ran, &ran));
    EXPECT(equal(ran->out, "hi\n"), "%zu", ran->out.size);
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    /* What it leaves may finish within the grace. */
    TR_TRY(tr_await(self, tr_ask(self, patient, LONG, tr_run, SHELL("(sleep 0.1; echo ho) & echo hi")),
                    tr_ran, &ran));
    EXPECT(equal(ran->out, "hi\nho\n"), "%zu", ran->out.size);
    /* It has left the group: its output isn't waited for. */
    TR_TRY(
        tr_await(self,
                 tr_ask(self, compute, LONG, tr_run,
                        SHELL("setsid sh -c 'echo on; : >on; sleep 100' & until rm on; do sleep 0.01; done "
                              "2>/dev/null; echo hi"),
                        .directory = directory),
                 tr_ran, &ran));
    EXPECT(equal(ran->out, "on\nhi\n"), "%.*s", (int)ran->out.size, (const char *)ran->out.data);
    marked(SIGKILL);
    EXPECT(marked_become(self, 0), "%d left", marked(0));
    return TR_OK;
}

static void what_a_command_leaves_behind_has_the_grace(void **state)
{
    (void)state;
    run(left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_is_of_both_streams_and_exact),
        cmocka_unit_test(endless_output_is_too_big_and_ends_the_group),
        cmocka_unit_test(streamed_output_pauses_until_the_consumer_has_dealt_with_it),
        cmocka_unit_test(streams_and_their_ends_reach_the_consumer),
        cmocka_unit_test(consumer_with_a_full_mailbox_loses_nothing),
        cmocka_unit_test(end_of_the_consumer_ends_the_job),
        cmocka_unit_test(deadline_ends_the_whole_group),
        cmocka_unit_test(what_ignores_sigterm_is_killed_after_the_grace),
        cmocka_unit_test(canceled_command_may_tidy_up),
        cmocka_unit_test(end_of_the_actor_kills_what_runs),
        cmocka_unit_test(end_of_the_node_kills_what_runs),
        cmocka_unit_test(what_a_command_leaves_behind_has_the_grace),
    };
    return cmocka_run_group_tests(tests, compute_prepare, compute_tidy);
}
