/* One download: see download_job.h. Happy path:
 *
 *     start: sink.open -> opened: source.start -> head: sink.begin -> data: sink.write, again and again
 *     -> done: sink.finish -> finished: sink.close -> closed: ended
 *
 *  - data, but the sink is full: the source pauses; drained: it resumes.
 *  - head says another version (or 416): the get is aborted, and in `done` started again from byte 0.
 *  - anything fails: the error is kept; a get that is in its upcall is aborted and ends the job in `done`,
 *    else the get is cancelled. The sink is closed, and in `closed` the job has ended. The sink keeps what
 * came if the plan says so.
 *
 * All of it runs on the loop's thread. */
#include "actors/kinds/download_job.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"

static void move(tr__dl_job *job, tr__dl_state to)
{
    tr__check(tr__dl_may_move(job->state, to), "a download goes from %s to %s", tr__dl_state_name(job->state),
              tr__dl_state_name(to));
    job->state = to;
}

/* What came stays for a later try, unless it is known to be wrong. */
static bool worth_keeping(const tr__dl_job *job)
{
    return job->resume && job->error.code != TR_EMISMATCH;
}

/* Its outcome is settled: release what it has. */
static void end(tr__dl_job *job)
{
    if (job->get)
        job->env->http->cancel(job->get);
    job->get = NULL;
    if (job->sink) {
        move(job, TR__DL_CLOSING);
        job->env->files->close(job->sink, worth_keeping(job));
        return;
    }
    move(job, TR__DL_ENDED);
    job->env->ended(job->env->context);
}

/* Keep the first error only. */
static void note(tr__dl_job *job, tr_err code, const char *text)
{
    if (job->error.code == TR_OK)
        tr__fail(&job->error, code, "%.110s: %s", job->url, text);
}

/* ---- the source's upcalls ------------------------------------------------------------------------------ */

static tr__http_verdict on_head(void *context, const tr__http_head *head)
{
    tr__dl_job *job = context;
    tr__dl_answer answer;
    tr_error error;
    tr__dl_wanted wanted = {job->from, job->found_total, job->from ? job->validator : "", job->size};
    tr_err code = tr__dl_judge(head, &wanted, &answer, &error);
    if (code == TR_EAGAIN && !job->started_over) {
        job->over_again = true;
        return head->status == 416 ? TR__HTTP_DROP : TR__HTTP_ABORT;
    }
    if (code != TR_OK) {
        note(job, code,
             code == TR_EAGAIN ? "the server changes its mind about the file; try again" : error.text);
        return head->status >= 400 ? TR__HTTP_DROP : TR__HTTP_ABORT;
    }
    job->from = job->done = answer.from;
    job->total = answer.total;
    job->env->files->begin(job->sink, job->from, tr__dl_validator(head), job->total);
    return TR__HTTP_TAKE;
}

static tr__http_verdict on_data(void *context, const void *data, size_t size)
{
    tr__dl_job *job = context;
    if (job->size && job->done + size > job->size) {
        char text[96];
        snprintf(text, sizeof(text), "more came than the %" PRIu64 " bytes expected; correct the size",
                 job->size);
        note(job, TR_EMISMATCH, text);
        return TR__HTTP_ABORT;
    }
    tr_err err = job->env->files->write(job->sink, data, size);
    job->paused = err == TR_EFULL;
    if (job->paused)
        return TR__HTTP_PAUSE;
    if (err != TR_OK) {
        note(job, err, err == TR_ENOMEM ? "no memory to write it" : "it can't be written any more");
        return TR__HTTP_ABORT;
    }
    job->done += size;
    return TR__HTTP_TAKE;
}

static void ask_source(tr__dl_job *job);

/* All of what the server wanted to give came: is it the file? It may answer with less than the range asked. */
static void check_size(tr__dl_job *job)
{
    char words[112];
    if (job->size && job->done != job->size) {
        snprintf(words, sizeof(words), "%" PRIu64 " bytes came, not the %" PRIu64 " expected", job->done,
                 job->size);
        note(job, TR_EMISMATCH, words);
    } else if (job->total && job->done != job->total) {
        snprintf(words, sizeof(words), "the body ended at byte %" PRIu64 " of %" PRIu64 "; try again",
                 job->done, job->total);
        note(job, job->done < job->total ? TR_ESHORT : TR_EMISMATCH, words);
    }
}

static void on_done(void *context, tr_err code, const char *text)
{
    tr__dl_job *job = context;
    job->get = NULL;
    job->paused = false;
    job->env->broken |= code == TR_ECLOSED;
    if (job->over_again && job->error.code == TR_OK) {
        job->over_again = false;
        job->started_over = true;
        job->from = job->done = job->total = 0;
        ask_source(job);
        return;
    }
    if (code != TR_OK)
        note(job, code, text);
    if (job->error.code == TR_OK)
        check_size(job);
    if (job->error.code != TR_OK) {
        end(job);
        return;
    }
    move(job, TR__DL_FINISHING);
    job->env->files->finish(job->sink);
}

static const tr__http_upcalls http_upcalls = {on_head, on_data, on_done};

static void ask_source(tr__dl_job *job)
{
    tr_error error;
    tr__http_request request = {job->url, job->from, job->from ? job->validator : ""};
    move(job, TR__DL_FETCHING);
    job->get = job->env->http->start(job->env->source, &request, &http_upcalls, job, &error);
    if (job->get)
        return;
    job->env->broken |= error.code == TR_ECLOSED;
    note(job, error.code, error.text);
    end(job);
}

/* ---- the sink's upcalls -------------------------------------------------------------------------------- */

static void on_opened(void *context, const tr__file_found *found)
{
    tr__dl_job *job = context;
    /* Without a version only the digest can tell whether two parts belong together. */
    if (found->size > 0 && (found->validator[0] || job->sha256[0])) {
        job->from = job->found = found->size;
        job->found_total = found->total;
        snprintf(job->validator, sizeof(job->validator), "%s", found->validator);
    }
    ask_source(job);
}

static void on_drained(void *context)
{
    tr__dl_job *job = context;
    if (!job->paused || !job->get)
        return;
    job->paused = false;
    job->env->http->resume(job->get);
}

static void on_finished(void *context, const char *sha256)
{
    tr__dl_job *job = context;
    snprintf(job->digest, sizeof(job->digest), "%s", sha256);
    end(job);
}

static void on_failed(void *context, const tr_error *error)
{
    tr__dl_job *job = context;
    if (job->error.code == TR_OK)
        job->error = *error;
    end(job);
}

static void on_closed(void *context)
{
    tr__dl_job *job = context;
    job->sink = NULL;
    move(job, TR__DL_ENDED);
    job->env->ended(job->env->context);
}

static const tr__file_upcalls file_upcalls = {on_opened, on_drained, on_finished, on_failed, on_closed};

/* ---- start and stop ------------------------------------------------------------------------------------ */

void tr__dl_job_start(tr__dl_job *job)
{
    tr_error error;
    tr__file_plan plan = {job->path, job->url, job->sha256, job->make_dir, job->resume};
    move(job, TR__DL_OPENING);
    job->sink = job->env->files->open(job->env->loop, &plan, &file_upcalls, job, &error);
    if (job->sink)
        return;
    note(job, error.code, error.text);
    end(job);
}

void tr__dl_job_stop(tr__dl_job *job, tr_err code, const char *text)
{
    if (job->state == TR__DL_CLOSING || job->state == TR__DL_ENDED)
        return;
    note(job, code, text);
    end(job);
}

void tr__dl_job_abandon(tr__dl_job *job)
{
    if (job->get)
        job->env->http->cancel(job->get);
    if (job->sink)
        job->env->files->mute(job->sink);
    if (job->sink && job->state != TR__DL_CLOSING)
        job->env->files->close(job->sink, worth_keeping(job));
    job->get = NULL;
    job->sink = NULL;
}
