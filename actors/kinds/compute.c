/* The compute actor: takes requests, keeps their queue, starts at most `parallel` at once, and ends them by
 * deadline or cancel. Commands are in compute_command.c. It runs on its loop and calls nothing of the OS:
 * children and threads are behind the seams of process.h and worker_pool.h, whose events come as messages.
 *
 *     ask ─► checked ─► queue ─► started when there is a place ─► events ─► over: answered, removed, the next
 * one starts
 *
 * What can go wrong is an error of the one job, told to its asker; the actor itself only fails to start, for
 * lack of memory or for options that are out of range. */
#include <string.h>

#include "actors/kinds/compute_job.h"
#include "base/err.h"
#include "base/mem.h"

/* How much less urgent than the loops jobs are. With all of 2 cores computing (and others at work on the
 * machine), the 99th of 200 timers was late by, median of six runs: processes 5.3, 4.0, 1.7 ms,
 * threads 3.5, 2.1, 3.7 ms at nice 0, 5, 19; the 50th by 0.1 ms whatever it is. 5 is the compromise: a loop
 * that wakes goes first, and jobs still have their share of a machine where other programs compute at nice 0.
 */
#define NICE_DEFAULT 5

#define PARALLEL_MAX 1024u
#define QUEUE_MAX    65536u

static tr_err compute_init(tr_actor *self, void *state, const void *arg)
{
    tr__compute *compute = state;
    const tr_compute_opts *opts = arg ? arg : &(tr_compute_opts){0};
    if (opts->parallel > PARALLEL_MAX || opts->queue > QUEUE_MAX)
        return tr_fail(self, TR_EINVAL, "tr_compute_opts: parallel %u (at most %u), queue %u (at most %u)",
                       opts->parallel, PARALLEL_MAX, opts->queue, QUEUE_MAX);
    if (opts->nice > 19)
        return tr_fail(self, TR_EINVAL, "tr_compute_opts.nice is %d, more than 19", opts->nice);
    const tr__kind_seams *kinds = tr__loop_kinds(tr__loop_of(self));
    if (!kinds->process || !kinds->workers)
        return tr_fail(
            self, TR_EINVAL,
            "this node has no %s for the compute actor: start it on a node of tr_node_create, or give "
            "the test's driver a simulated one",
            kinds->process ? "threads" : "child processes");
    compute->process = kinds->process;
    compute->threads = kinds->workers;
    uint32_t cores = compute->process->cores(tr__loop_of(self));
    compute->parallel = opts->parallel ? opts->parallel : cores < PARALLEL_MAX ? cores : PARALLEL_MAX;
    compute->queue_max = opts->queue ? opts->queue : 1024;
    compute->grace_ns = opts->grace_ns ? opts->grace_ns : TR_SECONDS(1);
    compute->nice = opts->nice ? opts->nice < 0 ? 0 : opts->nice : NICE_DEFAULT;
    return TR_OK;
}

/* ---- the end of a job ---------------------------------------------------------------------------------- */

static void answer_error(tr_actor *self, tr__job *job, const tr_error *error)
{
    job->failed = true;
    if (job->ask)
        tr_reply_error(self, job->ask, error->code, "%s", error->text);
    /* A queued or running command reads its input from the ask: it is freed with the job. */
}

bool tr__job_grace(tr_actor *self, const tr__compute *compute, tr__job *job)
{
    if (job->grace.id)
        return true;
    job->grace = tr_after(self, compute->grace_ns, tr__job_due, .job = job->id, .what = TR__DUE_GRACE);
    return job->grace.id != 0;
}

void tr__job_fail(tr_actor *self, tr__compute *compute, tr__job *job, bool hard, const tr_error *error)
{
    if (!job->failed)
        answer_error(self, job, error);
    if (job->work) {
        if (job->state == TR__JOB_RUNNING)
            tr__job_move(&compute->jobs, job, TR__JOB_ENDING);
        compute->threads->cancel(job->work);
    } else if (job->child) {
        /* Nobody takes its output any more; so that it can end, it is read on. */
        for (int i = 0; i < 2; i++) {
            job->kept[i].size = 0;
            job->end_owed[i] = false;
        }
        job->unconfirmed = 0;
        compute->process->more(job->child, 0, TR__LIMIT_MAX);
        if (hard) {
            tr__command_kill(compute, job);
        } else if (job->state == TR__JOB_RUNNING || job->state == TR__JOB_LEFT) {
            tr__job_move(&compute->jobs, job, TR__JOB_ENDING);
            compute->process->end(job->child, false);
            if (!tr__job_grace(self, compute, job))
                tr__command_kill(compute, job);
        }
    }
}

static void job_remove(tr_actor *self, tr__compute *compute, tr__job *job)
{
    tr__command_release(self, compute, job);
    if (job->deadline.id)
        tr_timer_cancel(self, job->deadline);
    if (job->grace.id)
        tr_timer_cancel(self, job->grace);
    if (job->ask)
        tr_msg_free(self, &job->ask);
    tr__jobs_remove(&compute->jobs, job);
}

/* Remove it if it is over. */
static void settle(tr_actor *self, tr__compute *compute, tr__job *job)
{
    bool over = false;
    if (job->state == TR__JOB_QUEUED)
        over = job->failed;
    else if (job->function)
        over = !job->work;
    else
        over = tr__command_over(self, job);
    if (over)
        job_remove(self, compute, job);
}

/* ---- start --------------------------------------------------------------------------------------------- */

static tr_err call_start(tr_actor *self, tr__compute *compute, tr__job *job, tr_error *error)
{
    const tr_call *call = tr_match(job->ask, tr_call);
    if (!compute->workers) {
        compute->workers =
            compute->threads->open(tr__loop_of(self), tr_self(self), compute->parallel, compute->nice, error);
        if (!compute->workers)
            return error->code;
    }
    job->work = compute->threads->submit(compute->workers, job->id, call->function, job->function,
                                         call->input, job->limit, error);
    return job->work ? TR_OK : error->code;
}

static void start_queued(tr_actor *self, tr__compute *compute)
{
    while (compute->jobs.queued.first && compute->jobs.running.count < compute->parallel) {
        tr__job *job = compute->jobs.queued.first;
        tr_error error = {.code = TR_OK};
        tr_err err = job->function ? call_start(self, compute, job, &error)
                                   : tr__command_start(self, compute, job, &error);
        if (err != TR_OK) {
            answer_error(self, job, &error);
            job_remove(self, compute, job);
            continue;
        }
        tr__job_move(&compute->jobs, job, TR__JOB_RUNNING);
        if (!job->function)
            tr__command_begin(self, compute, job);
        settle(self, compute, job);
    }
}

/* Make the ask a queued job; NULL: it was answered with an error. */
static tr__job *enqueue(tr_actor *self, tr__compute *compute, const tr_msg *msg)
{
    tr__jobs *jobs = &compute->jobs;
    if (jobs->running.count >= compute->parallel && jobs->queued.count >= compute->queue_max) {
        tr_reply_error(self, msg, TR_EFULL,
                       "compute: %u jobs run and %u wait, as many as may; try again later, or raise "
                       "tr_compute_opts.queue",
                       jobs->running.count, jobs->queued.count);
        return NULL;
    }
    uint64_t remaining = tr_msg_remaining(self, msg);
    tr__job *job = tr__jobs_add(jobs);
    if (job && remaining != TR_FOREVER)
        job->deadline = tr_after(self, remaining, tr__job_due, .job = job->id, .what = TR__DUE_DEADLINE);
    if (job && (job->deadline.id || remaining == TR_FOREVER))
        job->ask = tr_msg_take(self, msg);
    if (!job || !job->ask) {
        tr_reply_error(self, msg, TR_ENOMEM, "compute: no memory for a job");
        if (job)
            job_remove(self, compute, job);
        return NULL;
    }
    job->asker = tr_msg_sender(msg);
    job->ask_number = tr_msg_ask_number(msg);
    return job;
}

/* True if it was asked; only an ask can be answered. */
static bool asked(tr_actor *self, const tr_msg *msg)
{
    if (tr_msg_ask_number(msg))
        return true;
    tr_log(self, TR_LOG_WARN, "compute: a %s was sent, not asked, and is ignored; use tr_ask",
           tr_msg_type_name(msg));
    return false;
}

static void on_run(tr_actor *self, tr__compute *compute, const tr_msg *msg, const tr_run *run)
{
    tr_error error;
    if (!asked(self, msg))
        return;
    if (tr__run_check(run, &error) != TR_OK) {
        tr_reply_error(self, msg, error.code, "%s", error.text);
        return;
    }
    bool streams = !tr_addr_is_none(run->output);
    if ((run->input_more && tr__jobs_of_asker(&compute->jobs, tr_msg_sender(msg), run->job)) ||
        (streams && tr__jobs_of_consumer(&compute->jobs, run->output, run->job))) {
        tr_reply_error(self, msg, TR_EEXIST,
                       "compute: a job %llu streams already; give each its own tr_run.job",
                       (unsigned long long)run->job);
        return;
    }
    tr__job *job = enqueue(self, compute, msg);
    if (!job)
        return;
    job->number = run->job;
    job->output = run->output;
    job->limit = run->limit ? run->limit : streams ? TR__RUN_WINDOW_DEFAULT : TR__RUN_CAPTURE_DEFAULT;
    job->takes_input = run->input_more;
    if ((run->input.size || run->input_more) && !tr__command_feed(job, NULL, run->input, !run->input_more))
        tr__job_fail(self, compute, job, false,
                     &(tr_error){.code = TR_ENOMEM, .text = "compute: no memory for the input"});
    settle(self, compute, job);
}

static void on_call(tr_actor *self, tr__compute *compute, const tr_msg *msg, const tr_call *call)
{
    if (!asked(self, msg))
        return;
    tr_compute_fn function = tr__compute_function(call->function);
    if (!function) {
        tr_reply_error(
            self, msg, TR_ENOTFOUND,
            "compute: no function '%.63s' in this process; call tr_compute_register for it at its start",
            call->function);
        return;
    }
    if (call->limit > TR__LIMIT_MAX) {
        tr_reply_error(self, msg, TR_EINVAL, "tr_call.limit is %llu, more than 1 GiB",
                       (unsigned long long)call->limit);
        return;
    }
    tr__job *job = enqueue(self, compute, msg);
    if (!job)
        return;
    job->function = function;
    job->limit = call->limit ? call->limit : TR__CALL_LIMIT_DEFAULT;
}

/* ---- events -------------------------------------------------------------------------------------------- */

static void on_due(tr_actor *self, tr__compute *compute, const tr__job_due *due)
{
    tr__job *job = tr__jobs_get(&compute->jobs, due->job);
    if (!job)
        return;
    if (due->what == TR__DUE_DEADLINE) {
        job->deadline.id = 0;
        tr_error error;
        tr__fail(&error, TR_EDEADLINE, "compute: not done at its deadline%s",
                 job->state == TR__JOB_QUEUED ? "; it was still in the queue" : "; it is being ended");
        tr__job_fail(self, compute, job, false, &error);
    } else {
        job->grace.id = 0;
        if (job->child)
            tr__command_kill(compute, job);
    }
    settle(self, compute, job);
}

static void on_work_done(tr_actor *self, tr__compute *compute, const tr__work_done *done)
{
    tr__job *job = tr__jobs_get(&compute->jobs, done->job);
    if (!job || !job->work)
        return;
    tr__work_result result = compute->threads->result(job->work);
    if (!result.error)
        return; /* another actor made it up */
    if (!job->failed) {
        tr_err err = result.error->code;
        if (err != TR_OK)
            tr_reply_error(self, job->ask, err, "%s", result.error->text);
        else if ((err = tr_reply(self, job->ask, tr_called, .output = result.output,
                                 .elapsed_ns = result.elapsed_ns)) != TR_OK)
            tr_reply_error(self, job->ask, err, "compute: no memory for the function's answer of %zu bytes",
                           result.output.size);
    }
    compute->threads->release(compute->workers, job->work);
    job->work = NULL;
    settle(self, compute, job);
}

static void on_canceled(tr_actor *self, tr__compute *compute, const tr_canceled *canceled)
{
    tr__job *job = tr__jobs_of_ask(&compute->jobs, canceled->asker, canceled->ask);
    if (!job)
        return;
    tr_error error = {.code = TR_ECANCELED, .text = "compute: canceled by who asked for it"};
    tr__job_fail(self, compute, job, false, &error);
    settle(self, compute, job);
}

/* A consumer is gone. */
static void on_down(tr_actor *self, tr__compute *compute, const tr_down *down)
{
    tr__job *next;
    for (tr__job *job = compute->jobs.running.first; job; job = next) {
        next = job->next;
        if (job->function || !job->monitor || !tr_addr_equal(job->output, down->actor))
            continue;
        job->monitor = job->monitor == down->monitor ? 0 : job->monitor;
        tr_error error;
        tr__fail(&error, TR_ENOACTOR, "compute: the consumer of the output is gone: %s", down->text);
        tr__job_fail(self, compute, job, false, &error);
        settle(self, compute, job);
    }
}

static void on_writable(tr_actor *self, tr__compute *compute, const tr_writable *writable)
{
    tr__job *next;
    for (tr__job *job = compute->jobs.running.first; job; job = next) {
        next = job->next;
        if (job->blocked && tr_addr_equal(job->output, writable->actor)) {
            tr__command_flush(self, compute, job);
            settle(self, compute, job);
        }
    }
}

static void on_input(tr_actor *self, tr__compute *compute, const tr_msg *msg, const tr_run_input *input)
{
    tr__job *job = tr__jobs_of_asker(&compute->jobs, tr_msg_sender(msg), input->job);
    if (job) {
        tr__command_input(self, compute, job, msg);
        settle(self, compute, job);
    } else if (tr_msg_ask_number(msg)) {
        tr_reply_error(self, msg, TR_ENOTFOUND,
                       "compute: no job %llu of yours takes input; it may have ended; see tr_run.input_more",
                       (unsigned long long)input->job);
    }
}

/* From the seams; true if it was one of theirs. */
static bool on_event(tr_actor *self, tr__compute *compute, const tr_msg *msg)
{
    const tr__child_output *output = tr_match(msg, tr__child_output);
    const tr__child_exited *exited = tr_match(msg, tr__child_exited);
    const tr__child_wrote *wrote = tr_match(msg, tr__child_wrote);
    if (!output && !exited && !wrote)
        return false;
    if (!tr_addr_is_none(tr_msg_sender(msg)))
        return true; /* another actor made it up */
    tr__job *job = tr__jobs_get(&compute->jobs, output ? output->job : exited ? exited->job : wrote->job);
    if (!job || !job->child)
        return true;
    if (output)
        tr__command_output(self, compute, job, output);
    else if (exited)
        tr__command_exited(self, compute, job, exited);
    else
        tr__command_wrote(self, compute, job, wrote->closed);
    settle(self, compute, job);
    return true;
}

static void compute_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    tr__compute *compute = state;
    const tr_run *run;
    const tr_call *call;
    const tr_run_input *input;
    const tr_output_more *more;
    const tr_canceled *canceled;
    const tr_down *down;
    const tr_writable *writable;
    const tr__job_due *due;
    const tr__work_done *done;
    if (on_event(self, compute, msg)) {
    } else if ((run = tr_match(msg, tr_run))) {
        on_run(self, compute, msg, run);
    } else if ((call = tr_match(msg, tr_call))) {
        on_call(self, compute, msg, call);
    } else if ((done = tr_match(msg, tr__work_done))) {
        on_work_done(self, compute, done);
    } else if ((more = tr_match(msg, tr_output_more))) {
        tr__job *job = tr__jobs_of_consumer(&compute->jobs, tr_msg_sender(msg), more->job);
        if (job)
            tr__command_more(compute, job, more->bytes);
    } else if ((input = tr_match(msg, tr_run_input))) {
        on_input(self, compute, msg, input);
    } else if ((due = tr_match(msg, tr__job_due))) {
        on_due(self, compute, due);
    } else if ((canceled = tr_match(msg, tr_canceled))) {
        on_canceled(self, compute, canceled);
    } else if ((down = tr_match(msg, tr_down))) {
        on_down(self, compute, down);
    } else if ((writable = tr_match(msg, tr_writable))) {
        on_writable(self, compute, writable);
    } else if (tr_msg_ask_number(msg)) {
        tr_reply_error(self, msg, TR_ETYPE, "compute: ask tr_run or tr_call, not %s", tr_msg_type_name(msg));
    }
    start_queued(self, compute);
}

static void compute_stop(tr_actor *self, void *state)
{
    tr__compute *compute = state;
    while (compute->jobs.queued.first)
        job_remove(self, compute, compute->jobs.queued.first);
    while (compute->jobs.running.first)
        job_remove(self, compute, compute->jobs.running.first);
    if (compute->workers)
        compute->threads->close(compute->workers);
    tr__jobs_fini(&compute->jobs);
}

/* Places: an ask with its whole input, up to 64 MiB, must fit. */
const tr_actor_def tr_compute = {
    .name = "compute",
    .state_size = sizeof(tr__compute),
    .init = compute_init,
    .receive = compute_receive,
    .stop = compute_stop,
    .arg_type = &tr_compute_opts_type,
    .mailbox_places = 65535,
};
