/* The downloader actor: who asked for what, in which order, and what they are told. See troupe/downloader.h.
 *
 * It runs like any actor, on its loop's thread, a message at a time. The transfers themselves
 * (download_job.c) go on between its turns and touch only their job; one that ends sends this actor a
 * tr_download_ended (never more than one is outstanding), upon which it looks through its jobs, answers, and
 * starts the next ones. A tick, kept up while there are jobs, sees to deadlines, stalls and progress
 * messages.
 *
 * How it can fail: a fetch fails by its answer, never the actor; only if libcurl itself is beyond use the
 * actor ends with TR_ECLOSED, so that its supervisor starts it again. */
#include <troupe/downloader.h>
#include <troupe/troupe.h>

#include <inttypes.h>
#include <stdio.h>

#include "actors/kinds/download_job.h"
#include "base/err.h"
#include "base/mem.h"

#define PARALLEL_DEFAULT 4
#define PARALLEL_MAX     64
#define QUEUE_DEFAULT    1024
#define QUEUE_MAX        65536

/* To itself. */
TR_MESSAGE(tr_download_ended, (u32, spare))
TR_MESSAGE(tr_download_tick, (u32, spare))

typedef struct task {
    tr__dl_job job;
    struct task *next;
    tr_msg *ask; /* kept: the job's strings are in it */
    tr_addr progress;
    uint64_t came_ns, deadline_ns; /* UINT64_MAX: none */
    uint64_t moved_ns, moved_done; /* when `done` was last seen to have changed, and to what */
    uint64_t told_done;            /* what the last progress message said */
    bool canceled;                 /* nobody waits for the answer */
} task;

typedef struct downloader {
    tr__dl_env env;
    tr_addr self;
    tr_downloader_opts opts;
    task *tasks; /* in order of asking, the running ones among them */
    uint32_t running, waiting;
    bool woken;   /* a tr_download_ended is on its way */
    bool ticking; /* a tr_download_tick is */
} downloader;

static uint64_t sum_or_never(uint64_t now, uint64_t more)
{
    return more == 0 || more > UINT64_MAX - now ? UINT64_MAX : now + more;
}

/* A job has ended; between turns, or in one. */
static void on_ended(void *context)
{
    downloader *d = context;
    if (!d->woken)
        d->woken = tr__inject(d->env.loop, d->self, tr_download_ended, .spare = 0) == TR_OK;
    /* Without memory the next tick finds it. */
}

/* ---- telling ------------------------------------------------------------------------------------------- */

static void tell_progress(tr_actor *self, task *t)
{
    if (tr_addr_is_none(t->progress) || t->told_done == t->job.done + 1)
        return;
    t->told_done = t->job.done + 1; /* so that 0 bytes are told too */
    tr_send(self, t->progress, tr_progress, .url = t->job.url, .done = t->job.done, .total = t->job.total);
}

static void answer(tr_actor *self, task *t)
{
    if (t->canceled)
        return;
    if (t->job.error.code != TR_OK) {
        tr_reply_error(self, t->ask, t->job.error.code, "%s", t->job.error.text);
        return;
    }
    t->job.total = t->job.done;
    tell_progress(self, t);
    if (tr_reply(self, t->ask, tr_fetched, .url = t->job.url, .path = t->job.path, .size = t->job.done,
                 .sha256 = t->job.digest, .resumed_from = t->job.from,
                 .elapsed_ns = tr_now(self) - t->came_ns) == TR_ENOMEM)
        tr_reply_error(self, t->ask, TR_ENOMEM, "%.150s: is there and whole, but no memory to say more",
                       t->job.path);
}

static void free_task(tr_actor *self, task *t)
{
    tr_msg_free(self, &t->ask);
    tr__free((char *)t->job.path);
    tr__free(t);
}

/* ---- the list ------------------------------------------------------------------------------------------ */

static void start_waiting(tr_actor *self, downloader *d)
{
    for (task *t = d->tasks; t && d->waiting > 0 && d->running < d->opts.parallel; t = t->next) {
        if (t->job.state != TR__DL_QUEUED)
            continue;
        d->waiting--;
        d->running++;
        t->moved_ns = tr_now(self);
        tr__dl_job_start(&t->job);
    }
}

/* Answer and forget what has ended, and let the next ones begin. */
static void sweep(tr_actor *self, downloader *d)
{
    for (task **link = &d->tasks; *link;) {
        task *t = *link;
        if (t->job.state != TR__DL_ENDED) {
            link = &t->next;
            continue;
        }
        *link = t->next;
        d->running--;
        answer(self, t);
        free_task(self, t);
    }
    if (d->env.broken)
        tr_exit(self, TR_ECLOSED, "libcurl is of no use any more; the downloader has to be started again");
    else
        start_waiting(self, d);
}

/* End it early. Who waits in the queue ends at once, who runs when its files are tidied up. */
static void stop_task(downloader *d, task *t, tr_err code, const char *text)
{
    if (t->job.state == TR__DL_QUEUED) {
        d->waiting--;
        d->running++; /* until the sweep */
    }
    tr__dl_job_stop(&t->job, code, text);
}

static void tick(tr_actor *self, downloader *d)
{
    uint64_t now = tr_now(self);
    char text[96];
    for (task *t = d->tasks; t; t = t->next) {
        if (t->moved_done != t->job.done || t->job.state != TR__DL_FETCHING) {
            t->moved_done = t->job.done;
            t->moved_ns = now;
        }
        if (now >= t->deadline_ns) {
            stop_task(d, t, TR_EDEADLINE,
                      "not done in the time it was given; give it more, or fetch with resume");
        } else if (now - t->moved_ns >= d->opts.stall_ns) {
            snprintf(text, sizeof(text),
                     "no byte %s for %" PRIu64 " s; try again, with resume to go on from there",
                     t->job.paused ? "could be written" : "came", (now - t->moved_ns) / 1000000000);
            stop_task(d, t, TR_EDEADLINE, text);
        } else if (t->job.state == TR__DL_FETCHING) {
            tell_progress(self, t);
        }
    }
    sweep(self, d);
}

static void keep_ticking(tr_actor *self, downloader *d)
{
    if (!d->tasks || d->ticking)
        return;
    d->ticking = tr_after(self, d->opts.progress_ns, tr_download_tick, .spare = 0).id != 0;
}

/* ---- messages ------------------------------------------------------------------------------------------ */

/* What can be said at once against a fetch, and its path if there is nothing. */
static tr_err check_fetch(const downloader *d, const tr_fetch *f, char **path, tr_error *error)
{
    TR_TRY(tr__dl_check_url(f->url, error));
    TR_TRY(tr__dl_check_sha256(f->sha256, error));
    if (f->size > INT64_MAX)
        return tr__fail(error, TR_EINVAL, "%.120s: a size of %" PRIu64 " bytes can't be", f->url, f->size);
    if (d->waiting >= d->opts.queue)
        return tr__fail(error, TR_EFULL,
                        "%.90s: %u downloads wait already; ask again later, or raise the "
                        "downloader's queue or parallel",
                        f->url, d->waiting);
    TR_TRY(tr__dl_path(f->url, f->into, path, error));
    for (const task *t = d->tasks; t; t = t->next)
        if (strcmp(t->job.path, *path) == 0) {
            tr__fail(error, TR_EEXIST, "%.120s: is being downloaded already, from %.80s; choose another path",
                     *path, t->job.url);
            tr__free(*path);
            return TR_EEXIST;
        }
    return TR_OK;
}

static void on_fetch(tr_actor *self, downloader *d, const tr_msg *msg, const tr_fetch *f)
{
    tr_error error = {0};
    char *path = NULL;
    if (tr_msg_ask_number(msg) == 0) {
        tr_log(self, TR_LOG_WARN,
               "a tr_fetch of %.120s was sent and not asked, so nobody could be told how it "
               "ends; use tr_ask",
               f->url);
        return;
    }
    if (check_fetch(d, f, &path, &error) != TR_OK) {
        tr_reply_error(self, msg, error.code, "%s", error.text);
        return;
    }
    task *t = tr__zalloc(sizeof(*t)), **link = &d->tasks;
    tr_msg *ask = t ? tr_msg_take(self, msg) : NULL;
    if (!ask) {
        tr__free(path);
        tr__free(t);
        tr_reply_error(self, msg, TR_ENOMEM, "%.120s: no memory for another download", f->url);
        return;
    }
    uint64_t remaining = tr_msg_remaining(self, ask);
    t->job = (tr__dl_job){.env = &d->env,
                          .url = f->url,
                          .path = path,
                          .sha256 = f->sha256,
                          .size = f->size,
                          .make_dir = f->into[strlen(f->into) - 1] == '/',
                          .resume = f->resume};
    t->ask = ask;
    t->progress = f->progress;
    t->came_ns = t->moved_ns = tr_now(self);
    t->deadline_ns = sum_or_never(t->came_ns, d->opts.timeout_ns);
    if (remaining != TR_FOREVER && t->came_ns + remaining < t->deadline_ns)
        t->deadline_ns = t->came_ns + remaining;
    while (*link)
        link = &(*link)->next;
    *link = t;
    d->waiting++;
    start_waiting(self, d);
}

static void on_canceled(downloader *d, const tr_canceled *c)
{
    for (task *t = d->tasks; t; t = t->next)
        if (tr_msg_ask_number(t->ask) == c->ask && tr_addr_equal(tr_msg_sender(t->ask), c->asker)) {
            t->canceled = true;
            stop_task(d, t, TR_ECANCELED, "canceled");
            return;
        }
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    downloader *d = state;
    const tr_fetch *fetch = tr_match(msg, tr_fetch);
    const tr_canceled *canceled = tr_match(msg, tr_canceled);
    if (fetch) {
        on_fetch(self, d, msg, fetch);
    } else if (canceled) {
        on_canceled(d, canceled);
    } else if (tr_match(msg, tr_download_ended)) {
        d->woken = false;
        sweep(self, d);
    } else if (tr_match(msg, tr_download_tick)) {
        d->ticking = false;
        tick(self, d);
    } else {
        tr_log(self, TR_LOG_WARN, "the downloader doesn't know what to do with a %s", tr_msg_type_name(msg));
    }
    keep_ticking(self, d);
}

static void set_default(uint64_t *value, uint64_t otherwise)
{
    *value = *value ? *value : otherwise;
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    downloader *d = state;
    tr_error error;
    if (arg)
        d->opts = *(const tr_downloader_opts *)arg;
    d->opts.parallel = d->opts.parallel ? d->opts.parallel : PARALLEL_DEFAULT;
    d->opts.queue = d->opts.queue ? d->opts.queue : QUEUE_DEFAULT;
    set_default(&d->opts.stall_ns, TR_SECONDS(30));
    set_default(&d->opts.connect_ns, TR_SECONDS(10));
    set_default(&d->opts.progress_ns, TR_MILLIS(250));
    if (d->opts.parallel > PARALLEL_MAX || d->opts.queue > QUEUE_MAX)
        return tr_fail(self, TR_EINVAL, "a downloader with parallel %u and queue %u: at most %d and %d",
                       d->opts.parallel, d->opts.queue, PARALLEL_MAX, QUEUE_MAX);
    if (d->opts.connect_ns < TR_MILLIS(1) || d->opts.bytes_per_second > INT64_MAX)
        return tr_fail(self, TR_EINVAL,
                       "a downloader with connect_ns %" PRIu64 " (at least a millisecond) and "
                       "bytes_per_second %" PRIu64,
                       d->opts.connect_ns, d->opts.bytes_per_second);
    d->self = tr_self(self);
    d->env.loop = tr__loop_of(self);
    d->env.http = tr__loop_kinds(d->env.loop)->http;
    d->env.files = tr__loop_kinds(d->env.loop)->files;
    if (!d->env.http || !d->env.files)
        return tr_fail(
            self, TR_EINVAL,
            "this node has no %s for the downloader: start it on a node of tr_node_create, or give the "
            "test's driver a simulated one",
            d->env.http ? "files" : "HTTP");
    d->env.ended = on_ended;
    d->env.context = d;
    tr__http_opts opts = {d->opts.parallel, d->opts.connect_ns, d->opts.bytes_per_second};
    d->env.source = d->env.http->open(d->env.loop, &opts, &error);
    return d->env.source ? TR_OK : tr_fail(self, error.code, "%s", error.text);
}

/* Transfers end here and leave what they were told to leave; the asks fail by themselves. */
static void stop(tr_actor *self, void *state)
{
    downloader *d = state;
    while (d->tasks) {
        task *t = d->tasks;
        d->tasks = t->next;
        tr__dl_job_abandon(&t->job);
        free_task(self, t);
    }
    if (d->env.source)
        d->env.http->close(d->env.source);
}

const tr_actor_def tr_downloader = {
    .name = "downloader",
    .state_size = sizeof(downloader),
    .init = init,
    .receive = receive,
    .stop = stop,
    .arg_type = &tr_downloader_opts_type,
};
