/* A running command of the compute actor: its input, its output and its end. Runs in the actor; what happens
 * in the world comes as the process seam's messages.
 *
 *     start ─► outputs, input ─► exit and both streams' ends, in whatever order ─► tr_ran
 *
 * What can go wrong: it can't be started (the asker gets the seam's error); too much output (killed,
 * TR_ETOOBIG); the consumer is gone or can't be sent to (ended, TR_ENOACTOR or what the send said); no memory
 * for output (ended); it closes its stdin (the rest of the input is dropped, which is no error: head does
 * so). */
#include <string.h>

#include "actors/kinds/compute_job.h"
#include "base/err.h"
#include "base/mem.h"

static const char *command_of(const tr__job *job)
{
    const tr_run *run = job->ask ? tr_match(job->ask, tr_run) : NULL;
    return run ? (const char *)run->argv.data : "the command";
}

/* Fail it with an error about its command. */
static void fail(tr_actor *self, tr__compute *compute, tr__job *job, bool hard, tr_err code, const char *what)
{
    tr_error error;
    tr__fail(&error, code, "%.80s: %s", command_of(job), what);
    tr__job_fail(self, compute, job, hard, &error);
}

/* ---- input --------------------------------------------------------------------------------------------- */

bool tr__command_feed(tr__job *job, tr_msg *msg, tr_bytes data, bool end)
{
    tr__feed *feed = tr__alloc(sizeof(*feed));
    if (!feed)
        return false;
    *feed = (tr__feed){.msg = msg, .data = data, .end = end};
    *job->feeds_end = feed;
    job->feeds_end = &feed->next;
    return true;
}

/* The first feed is dealt with: `taken` by the command, or lost. */
static void feed_done(tr_actor *self, tr__job *job, bool taken)
{
    tr__feed *feed = job->feeds;
    job->feeds = feed->next;
    if (!job->feeds)
        job->feeds_end = &job->feeds;
    job->fed = 0;
    if (feed->msg) {
        job->input_waiting -= feed->data.size;
        if (tr_msg_ask_number(feed->msg)) {
            if (taken)
                tr_reply(self, feed->msg, tr_run_input_taken, .job = job->number);
            else
                tr_reply_error(self, feed->msg, TR_ERESET, "job %llu: the command takes no more input",
                               (unsigned long long)job->number);
        }
        tr_msg_free(self, &feed->msg);
    }
    tr__free(feed);
}

static void feeds_drop(tr_actor *self, tr__job *job)
{
    while (job->feeds)
        feed_done(self, job, false);
}

/* Give the command the next piece, if it can take one. */
static void feed_next(tr_actor *self, tr__compute *compute, tr__job *job)
{
    while (job->child && job->feeds && !job->writing && !job->input_closed) {
        tr__feed *feed = job->feeds;
        size_t left = feed->data.size - job->fed;
        if (left) {
            size_t piece = left < TR__CHILD_PIECE ? left : TR__CHILD_PIECE;
            if (compute->process->write(job->child, (const uint8_t *)feed->data.data + job->fed, piece) !=
                TR_OK) {
                fail(self, compute, job, true, TR_ENOMEM, "no memory for its input");
                return;
            }
            job->fed += piece;
            job->writing = true;
            return;
        }
        bool end = feed->end;
        feed_done(self, job, true);
        if (end) {
            job->input_closed = true;
            compute->process->end_input(job->child);
            feeds_drop(self, job);
        }
    }
}

void tr__command_begin(tr_actor *self, tr__compute *compute, tr__job *job)
{
    feed_next(self, compute, job);
}

void tr__command_wrote(tr_actor *self, tr__compute *compute, tr__job *job, bool closed)
{
    job->writing = false;
    if (closed) {
        job->input_closed = true;
        feeds_drop(self, job);
    } else {
        feed_next(self, compute, job);
    }
}

void tr__command_input(tr_actor *self, tr__compute *compute, tr__job *job, const tr_msg *msg)
{
    const tr_run_input *input = tr_match(msg, tr_run_input);
    bool asked = tr_msg_ask_number(msg) != 0;
    if (job->input_closed || job->failed) {
        if (asked)
            tr_reply_error(self, msg, TR_ERESET, "job %llu: the command takes no more input",
                           (unsigned long long)job->number);
        return;
    }
    /* One is always let in, so that no size is impossible. */
    if (job->input_waiting && job->input_waiting + input->data.size > TR__INPUT_WAITING_MAX) {
        if (asked)
            tr_reply_error(self, msg, TR_EFULL,
                           "job %llu: %zu bytes of input wait already; wait for their answers",
                           (unsigned long long)job->number, job->input_waiting);
        else
            fail(self, compute, job, false, TR_EFULL,
                 "more than 1 MiB of input waits; ask tr_run_input and await the answer instead of sending "
                 "it");
        return;
    }
    tr_msg *kept = tr_msg_take(self, msg);
    if (!kept || !tr__command_feed(job, kept, input->data, input->end)) {
        tr_msg_free(self, &kept);
        fail(self, compute, job, false, TR_ENOMEM, "no memory for its input");
        return;
    }
    job->input_waiting += input->data.size;
    feed_next(self, compute, job);
}

/* ---- start and end ------------------------------------------------------------------------------------- */

tr_err tr__command_start(tr_actor *self, tr__compute *compute, tr__job *job, tr_error *error)
{
    const tr_run *run = tr_match(job->ask, tr_run);
    tr_err err = TR_ENOMEM;
    const char **environment = NULL;
    const char **argv = tr__argv_split(run->argv, "argv", error);
    if (!argv)
        return error->code;
    environment = tr__argv_split(run->environment, "environment", error);
    if (!environment) {
        err = error->code;
        goto err_after_argv;
    }
    if (tr__job_streams(job)) {
        job->monitor = tr_monitor(self, job->output);
        if (!job->monitor) {
            tr__fail(error, TR_ENOMEM, "the consumer of the output can't be monitored: %s",
                     tr_last_error(self)->text);
            goto err_after_environment;
        }
    }
    tr__child_spec spec = {.argv = argv,
                           .environment = environment,
                           .directory = run->directory,
                           .input = job->feeds != NULL,
                           .window = tr__job_streams(job) ? job->limit : TR__RUN_WINDOW_DEFAULT,
                           .nice = compute->nice};
    job->child = compute->process->start(tr__loop_of(self), tr_self(self), job->id, &spec, error);
    err = job->child ? TR_OK : error->code;
    job->input_closed = !spec.input;
    job->started_ns = tr_now(self);
err_after_environment:
    tr__free(environment);
err_after_argv:
    tr__free(argv);
    return err;
}

void tr__command_release(tr_actor *self, tr__compute *compute, tr__job *job)
{
    job->input_closed = true;
    feeds_drop(self, job);
    if (job->monitor)
        tr_demonitor(self, job->monitor);
    job->monitor = 0;
    if (job->child)
        compute->process->close(job->child);
    job->child = NULL;
}

bool tr__command_over(tr_actor *self, tr__job *job)
{
    bool read = job->ended[0] && job->ended[1];
    if (!job->exited || (!read && !(job->failed && job->state == TR__JOB_KILLED)))
        return false;
    if (job->failed)
        return true;
    bool streams = tr__job_streams(job);
    if (streams && (job->kept[0].size || job->kept[1].size || job->end_owed[0] || job->end_owed[1]))
        return false;
    tr_bytes none = {NULL, 0};
    tr_err err = tr_reply(self, job->ask, tr_ran, .exit_status = job->status, .signal = job->signal,
                          .out = streams ? none : (tr_bytes){job->kept[0].data, job->kept[0].size},
                          .err = streams ? none : (tr_bytes){job->kept[1].data, job->kept[1].size},
                          .elapsed_ns = tr_now(self) - job->started_ns);
    if (err != TR_OK)
        tr_reply_error(self, job->ask, err, "%.80s ended, but there is no memory for the answer",
                       command_of(job));
    return true;
}

void tr__command_exited(tr_actor *self, tr__compute *compute, tr__job *job, const tr__child_exited *exited)
{
    job->exited = true;
    job->status = exited->signal ? -1 : exited->status;
    job->signal = exited->signal;
    job->input_closed = true;
    feeds_drop(self, job);
    if (exited->error != TR_OK && !job->failed) {
        fail(self, compute, job, true, (tr_err)exited->error, "its output or its exit status was lost");
    }
    if (job->state == TR__JOB_RUNNING && !(job->ended[0] && job->ended[1])) {
        /* Most often its last output is still on the way. */
        tr__job_move(&compute->jobs, job, TR__JOB_LEFT);
        if (!tr__job_grace(self, compute, job))
            tr__command_kill(compute, job);
    }
}

void tr__command_kill(tr__compute *compute, tr__job *job)
{
    if (job->state == TR__JOB_KILLED)
        return;
    tr__job_move(&compute->jobs, job, TR__JOB_KILLED);
    compute->process->end(job->child, true);
    if (job->exited)
        compute->process->drain(job->child);
}

/* ---- output -------------------------------------------------------------------------------------------- */

/* Send the consumer one piece, or a stream's end: true if it was accepted. Else the job is blocked, or
 * failed. */
static bool offer(tr_actor *self, tr__compute *compute, tr__job *job, uint32_t stream, tr_bytes data)
{
    tr_err err = tr_send(self, job->output, tr_output, .job = job->number, .stream = stream, .data = data);
    if (err == TR_OK) {
        job->unconfirmed += data.size;
        return true;
    }
    if (err == TR_EFULL || err == TR_EAGAIN) {
        if (job->blocked)
            return false;
        err = tr_notify_writable(self, job->output);
        if (err == TR_OK) {
            job->blocked = true;
            return false;
        }
    }
    fail(self, compute, job, false, err, "its output can't be sent to the consumer");
    return false;
}

void tr__command_flush(tr_actor *self, tr__compute *compute, tr__job *job)
{
    job->blocked = false;
    for (uint32_t i = 0; i < 2; i++) {
        tr__gather *kept = &job->kept[i];
        size_t sent = 0;
        bool accepted = true;
        while (accepted && sent < kept->size) {
            size_t left = kept->size - sent, piece = left < TR__CHILD_PIECE ? left : TR__CHILD_PIECE;
            accepted = offer(self, compute, job, i + 1, (tr_bytes){kept->data + sent, piece});
            if (accepted)
                sent += piece;
        }
        if (job->failed)
            return;
        if (sent)
            memmove(kept->data, kept->data + sent, kept->size - sent);
        kept->size -= sent;
        if (accepted && job->end_owed[i]) {
            accepted = offer(self, compute, job, i + 1, (tr_bytes){NULL, 0});
            if (job->failed)
                return;
            job->end_owed[i] = !accepted;
        }
        if (!accepted)
            return;
    }
}

void tr__command_more(tr__compute *compute, tr__job *job, uint64_t bytes)
{
    uint64_t dealt = bytes < job->unconfirmed ? bytes : job->unconfirmed;
    job->unconfirmed -= dealt;
    if (job->child && !job->failed)
        compute->process->more(job->child, 0, dealt);
}

void tr__command_output(tr_actor *self, tr__compute *compute, tr__job *job, const tr__child_output *output)
{
    uint32_t i = output->stream - 1;
    tr_bytes data = output->data;
    bool end = data.size == 0, streams = tr__job_streams(job);
    if (end)
        job->ended[i] = true;
    else
        compute->process->more(job->child, 1, streams && !job->failed ? 0 : data.size);
    if (job->failed)
        return;
    if (!streams && job->kept[0].size + job->kept[1].size + data.size > job->limit) {
        fail(self, compute, job, true, TR_ETOOBIG,
             "more output than the limit; raise tr_run.limit, or take it as it comes with .output");
        return;
    }
    if (streams && job->kept[i].size == 0 && !job->blocked) {
        if (offer(self, compute, job, i + 1, data) || job->failed)
            return;
    }
    if (!tr__gather_add(&job->kept[i], data.data, data.size)) {
        fail(self, compute, job, true, TR_ENOMEM, "no memory for its output");
        return;
    }
    job->end_owed[i] = end && streams;
}
