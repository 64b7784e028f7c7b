/* The compute actor's table of jobs and their states, and the checks of a request. Runs in the actor; pure
 * but for memory. Fails by running out of it, then nothing has changed. */
#include <string.h>

#include "actors/kinds/compute_job.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

/* Which states a state may go to, as bits. */
#define BIT(state) (1u << TR__JOB_##state)
static const uint32_t moves[TR__JOB_STATES] = {
    [TR__JOB_FREE] = BIT(QUEUED),
    [TR__JOB_QUEUED] = BIT(RUNNING) | BIT(FREE),
    [TR__JOB_RUNNING] = BIT(LEFT) | BIT(ENDING) | BIT(KILLED) | BIT(FREE),
    [TR__JOB_LEFT] = BIT(ENDING) | BIT(KILLED) | BIT(FREE),
    [TR__JOB_ENDING] = BIT(KILLED) | BIT(FREE),
    [TR__JOB_KILLED] = BIT(FREE),
};

static void list_append(tr__job_list *list, tr__job *job)
{
    job->next = NULL;
    job->prev = list->last;
    if (list->last)
        list->last->next = job;
    else
        list->first = job;
    list->last = job;
    list->count++;
}

static void list_remove(tr__job_list *list, tr__job *job)
{
    if (job->prev)
        job->prev->next = job->next;
    else
        list->first = job->next;
    if (job->next)
        job->next->prev = job->prev;
    else
        list->last = job->prev;
    list->count--;
}

void tr__job_move(tr__jobs *jobs, tr__job *job, tr__job_state to)
{
    tr__check(moves[job->state] & 1u << to, "job %llu may not go from state %d to %d",
              (unsigned long long)job->id, job->state, to);
    if (job->state == TR__JOB_QUEUED)
        list_remove(&jobs->queued, job);
    else if (to == TR__JOB_FREE)
        list_remove(&jobs->running, job);
    if (to == TR__JOB_QUEUED)
        list_append(&jobs->queued, job);
    else if (to == TR__JOB_RUNNING)
        list_append(&jobs->running, job);
    job->state = to;
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static bool grow(tr__jobs *jobs)
{
    uint32_t room = jobs->room ? jobs->room * 2 : 16;
    tr__job **slots = tr__realloc(jobs->slots, room * sizeof(*slots));
    if (!slots)
        return false;
    jobs->slots = slots;
    uint32_t *generations = tr__realloc(jobs->generations, room * sizeof(*generations));
    if (!generations)
        return false;
    jobs->generations = generations;
    uint32_t *free = tr__realloc(jobs->free, room * sizeof(*free));
    if (!free)
        return false;
    jobs->free = free;
    jobs->room = room;
    return true;
}

tr__job *tr__jobs_add(tr__jobs *jobs)
{
    if (!jobs->free_count && jobs->used == jobs->room && !grow(jobs))
        return NULL;
    tr__job *job = tr__zalloc(sizeof(*job));
    if (!job)
        return NULL;
    uint32_t index;
    if (jobs->free_count) {
        index = jobs->free[--jobs->free_count];
    } else {
        index = jobs->used++;
        jobs->generations[index] = 0;
    }
    jobs->slots[index] = job;
    job->id = (uint64_t)++jobs->generations[index] << 32 | index;
    job->feeds_end = &job->feeds;
    tr__job_move(jobs, job, TR__JOB_QUEUED);
    return job;
}

tr__job *tr__jobs_get(const tr__jobs *jobs, uint64_t id)
{
    uint32_t index = (uint32_t)id;
    if (index >= jobs->used || !jobs->slots[index] || jobs->slots[index]->id != id)
        return NULL;
    return jobs->slots[index];
}

/* In either list, the first job that `is` says yes to. */
static tr__job *find(const tr__jobs *jobs, tr_addr address, uint64_t number,
                     bool (*is)(const tr__job *job, tr_addr address, uint64_t number))
{
    for (tr__job *job = jobs->running.first; job; job = job->next)
        if (is(job, address, number))
            return job;
    for (tr__job *job = jobs->queued.first; job; job = job->next)
        if (is(job, address, number))
            return job;
    return NULL;
}

static bool is_ask(const tr__job *job, tr_addr asker, uint64_t number)
{
    return job->ask_number == number && tr_addr_equal(job->asker, asker);
}

static bool is_asker(const tr__job *job, tr_addr asker, uint64_t number)
{
    return job->takes_input && !job->failed && job->number == number && tr_addr_equal(job->asker, asker);
}

static bool is_consumer(const tr__job *job, tr_addr output, uint64_t number)
{
    return tr__job_streams(job) && !job->failed && job->number == number &&
           tr_addr_equal(job->output, output);
}

tr__job *tr__jobs_of_ask(const tr__jobs *jobs, tr_addr asker, uint64_t ask_number)
{
    return find(jobs, asker, ask_number, is_ask);
}

tr__job *tr__jobs_of_asker(const tr__jobs *jobs, tr_addr asker, uint64_t number)
{
    return find(jobs, asker, number, is_asker);
}

tr__job *tr__jobs_of_consumer(const tr__jobs *jobs, tr_addr output, uint64_t number)
{
    return find(jobs, output, number, is_consumer);
}

void tr__jobs_remove(tr__jobs *jobs, tr__job *job)
{
    tr__job_move(jobs, job, TR__JOB_FREE);
    uint32_t index = (uint32_t)job->id;
    jobs->slots[index] = NULL;
    jobs->free[jobs->free_count++] = index;
    for (int i = 0; i < 2; i++)
        tr__gather_fini(&job->kept[i]);
    tr__free(job);
}

void tr__jobs_fini(tr__jobs *jobs)
{
    tr__check(!jobs->queued.first && !jobs->running.first, "jobs are left at the compute actor's end");
    tr__free(jobs->slots);
    tr__free(jobs->generations);
    tr__free(jobs->free);
    memset(jobs, 0, sizeof(*jobs));
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

bool tr__gather_add(tr__gather *gather, const void *data, size_t size)
{
    if (size > gather->room - gather->size) {
        size_t room = gather->room ? gather->room : 4096;
        while (room - gather->size < size)
            room *= 2; /* limits are 1 GiB at most: no overflow */
        uint8_t *grown = tr__realloc(gather->data, room);
        if (!grown)
            return false;
        gather->data = grown;
        gather->room = room;
    }
    if (size)
        memcpy(gather->data + gather->size, data, size);
    gather->size += size;
    return true;
}

void tr__gather_fini(tr__gather *gather)
{
    tr__free(gather->data);
    memset(gather, 0, sizeof(*gather));
}

const char **tr__argv_split(tr_bytes block, const char *what, tr_error *error)
{
    const char *text = block.data;
    if (block.size && text[block.size - 1] != '\0') {
        tr__fail(error, TR_EINVAL, "tr_run.%s doesn't end with a NUL: make it with TR_ARGV or tr_argv_join",
                 what);
        return NULL;
    }
    size_t count = 0;
    for (size_t i = 0; i < block.size; i++)
        count += text[i] == '\0';
    const char **list = tr__alloc((count + 1) * sizeof(*list));
    if (!list) {
        tr__fail(error, TR_ENOMEM, "no memory for the list of tr_run.%s", what);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        list[i] = text;
        text += strlen(text) + 1;
    }
    list[count] = NULL;
    return list;
}

tr_err tr__run_check(const tr_run *run, tr_error *error)
{
    const char *argv = run->argv.data, *environment = run->environment.data;
    if (run->argv.size == 0 || argv[0] == '\0')
        return tr__fail(
            error, TR_EINVAL,
            "tr_run without a command: give .argv = TR_ARGV(\"command\", ...); beyond %d bytes use "
            "tr_argv_join",
            TR_ARGV_MAX);
    if (argv[run->argv.size - 1] != '\0')
        return tr__fail(error, TR_EINVAL,
                        "tr_run.argv doesn't end with a NUL: make it with TR_ARGV or tr_argv_join");
    for (size_t i = 0; i < run->environment.size;) {
        size_t length = strnlen(environment + i, run->environment.size - i);
        if (i + length == run->environment.size)
            return tr__fail(error, TR_EINVAL,
                            "tr_run.environment doesn't end with a NUL: make it with TR_ARGV");
        const char *equals = memchr(environment + i, '=', length);
        if (!equals || equals == environment + i)
            return tr__fail(error, TR_EINVAL, "tr_run.environment: '%.60s' isn't of the form NAME=value",
                            environment + i);
        i += length + 1;
    }
    if (run->limit > TR__LIMIT_MAX)
        return tr__fail(error, TR_EINVAL, "tr_run.limit is %llu, more than 1 GiB",
                        (unsigned long long)run->limit);
    return TR_OK;
}
