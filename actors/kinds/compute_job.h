/* The compute actor's inside: its jobs, and what its two files share. All of it runs in the actor, on its
 * loop; compute_job.c is pure but for memory.
 *
 *     QUEUED ──place free──► RUNNING ──its end──────────────────────────────► (answered, removed)
 *        │                    │   └─command exits, output open─► LEFT ─ends────►   │
 *        │                    │                                   │ grace         │
 *        │     deadline, cancel, consumer gone                    ▼               │
 *        │                    ├──► ENDING (SIGTERM, marked) ──► KILLED (SIGKILL) ─►│
 *        │                    └────── output beyond the limit ──►┘                │
 *        └───deadline, cancel, could not start───────────────────────────────────►┘
 *
 * J1  A job is in exactly one list: `queued` in state QUEUED, `running` otherwise; running ones are
 * `parallel` at most. J2  `ask` is kept until the job is answered; it is answered once, at the latest when it
 * is removed. J3  A job whose answer was an error (`failed`) stays among the running ones until what it
 * started has ended. */
#ifndef TR_ACTORS_KINDS_COMPUTE_JOB_H
#define TR_ACTORS_KINDS_COMPUTE_JOB_H

#include <troupe/compute.h>

#include "actors/kinds/process.h"
#include "actors/kinds/worker_pool.h"

typedef enum tr__job_state {
    TR__JOB_FREE,
    TR__JOB_QUEUED,
    TR__JOB_RUNNING,
    TR__JOB_LEFT,
    TR__JOB_ENDING,
    TR__JOB_KILLED,
    TR__JOB_STATES
} tr__job_state;

/* Bytes that grow. */
typedef struct tr__gather {
    uint8_t *data;
    size_t size, room;
} tr__gather;

/* Input that waits: of the ask itself (msg is NULL), or of a tr_run_input that is kept. */
typedef struct tr__feed {
    struct tr__feed *next;
    tr_msg *msg;
    tr_bytes data;
    bool end;
} tr__feed;

typedef struct tr__job {
    struct tr__job *next, *prev;
    uint64_t id;         /* index and generation in the table */
    tr__job_state state; /* changed by tr__job_move alone */
    tr_msg *ask;         /* NULL once answered */
    tr_addr asker;
    uint64_t ask_number;
    tr_timer deadline, grace;
    bool failed;
    /* A function */
    tr_compute_fn function; /* NULL: it is a command */
    tr__work *work;         /* until it is done */
    /* A command */
    tr__child *child;
    uint64_t number, limit; /* the asker's */
    tr_addr output;
    uint64_t monitor; /* of the consumer */
    uint64_t started_ns;
    bool exited, ended[2]; /* itself, and its stdout and stderr */
    int32_t status, signal;
    tr__gather kept[2];   /* captured; or what the consumer had no place for */
    bool end_owed[2];     /* the consumer hasn't heard of that stream's end */
    bool blocked;         /* a tr_writable from the consumer will come */
    uint64_t unconfirmed; /* bytes at the consumer */
    tr__feed *feeds, **feeds_end;
    size_t fed;           /* of the first one, bytes */
    size_t input_waiting; /* of tr_run_inputs, bytes */
    bool takes_input;     /* by tr_run_input */
    bool writing, input_closed;
} tr__job;

typedef struct tr__job_list {
    tr__job *first, *last;
    uint32_t count;
} tr__job_list;

typedef struct tr__jobs {
    tr__job **slots;
    uint32_t *generations;
    uint32_t used, room; /* of slots: ever used, allocated */
    uint32_t *free;      /* indices */
    uint32_t free_count;
    tr__job_list queued, running;
} tr__jobs;

typedef struct tr__compute {
    const tr__process_seam *process;
    const tr__workers_seam *threads;
    tr__workers *workers; /* opened by the first tr_call */
    tr__jobs jobs;
    uint32_t parallel, queue_max;
    uint64_t grace_ns;
    int32_t nice;
} tr__compute;

enum tr__due { TR__DUE_DEADLINE, TR__DUE_GRACE };
TR_MESSAGE(tr__job_due, (u64, job), (u32, what))

/* ---- the table (compute_job.c) ------------------------------------------------------------------------- */

/* A new job at the end of the queue; NULL: no memory. */
tr__job *tr__jobs_add(tr__jobs *jobs);
/* The job of that id; NULL if it is gone. */
tr__job *tr__jobs_get(const tr__jobs *jobs, uint64_t id);
/* The job that this is the ask of; NULL: none. */
tr__job *tr__jobs_of_ask(const tr__jobs *jobs, tr_addr asker, uint64_t ask_number);
/* The asker's job of that number that takes input and hasn't failed; NULL: none. */
tr__job *tr__jobs_of_asker(const tr__jobs *jobs, tr_addr asker, uint64_t number);
/* The consumer's job of that number that hasn't failed; NULL: none. */
tr__job *tr__jobs_of_consumer(const tr__jobs *jobs, tr_addr output, uint64_t number);
/* Take it out and free it; what it holds of others must be given back before. */
void tr__jobs_remove(tr__jobs *jobs, tr__job *job);
void tr__jobs_fini(tr__jobs *jobs);
/* The only way to change a state; a move that isn't in the drawing is a failed check. */
void tr__job_move(tr__jobs *jobs, tr__job *job, tr__job_state to);

/* Append; false: no memory. */
bool tr__gather_add(tr__gather *gather, const void *data, size_t size);
void tr__gather_fini(tr__gather *gather);

/* Strings of a block, each with its NUL, as a list that ends with NULL; the strings stay in the block. The
 * list is to be freed with tr__free(). NULL: *error (TR_EINVAL: the block doesn't end with a NUL; TR_ENOMEM).
 * `what` names the field in the text. */
const char **tr__argv_split(tr_bytes block, const char *what, tr_error *error);
/* All that can be said about a tr_run before anything is started. */
tr_err tr__run_check(const tr_run *run, tr_error *error);

#define TR__RUN_CAPTURE_DEFAULT ((uint64_t)1 << 20)
#define TR__RUN_WINDOW_DEFAULT  ((uint64_t)256 << 10)
#define TR__CALL_LIMIT_DEFAULT  ((uint64_t)64 << 20)
#define TR__LIMIT_MAX           ((uint64_t)1 << 30)
#define TR__INPUT_WAITING_MAX   ((size_t)1 << 20)

static inline bool tr__job_streams(const tr__job *job)
{
    return !tr_addr_is_none(job->output);
}

/* ---- a running command (compute_command.c) ------------------------------------------------------------- */

/* Start it; on an error it is still queued. */
tr_err tr__command_start(tr_actor *self, tr__compute *compute, tr__job *job, tr_error *error);
/* It is running: give it its first input. */
void tr__command_begin(tr_actor *self, tr__compute *compute, tr__job *job);
void tr__command_output(tr_actor *self, tr__compute *compute, tr__job *job, const tr__child_output *output);
void tr__command_exited(tr_actor *self, tr__compute *compute, tr__job *job, const tr__child_exited *exited);
/* Its stdin took something. */
void tr__command_wrote(tr_actor *self, tr__compute *compute, tr__job *job, bool closed);
/* Queue input: of `msg`, which is kept and taken, or with NULL of the ask. False: no memory. */
bool tr__command_feed(tr__job *job, tr_msg *msg, tr_bytes data, bool end);
/* More input came: `msg` is the tr_run_input. */
void tr__command_input(tr_actor *self, tr__compute *compute, tr__job *job, const tr_msg *msg);
/* The consumer has dealt with some, or has places again. */
void tr__command_more(tr__compute *compute, tr__job *job, uint64_t bytes);
void tr__command_flush(tr_actor *self, tr__compute *compute, tr__job *job);
/* Its whole group is killed. */
void tr__command_kill(tr__compute *compute, tr__job *job);
/* True if all that comes of it has come; then it is answered, too. */
bool tr__command_over(tr_actor *self, tr__job *job);
/* Give back what it holds: child, monitor, input. */
void tr__command_release(tr_actor *self, tr__compute *compute, tr__job *job);

/* ---- the actor (compute.c) ----------------------------------------------------------------------------- */

/* Answer with an error if it isn't answered yet, and have it end: gently, or `hard`. It stays in its list:
 * the end of each message's handling removes it when it is over. */
void tr__job_fail(tr_actor *self, tr__compute *compute, tr__job *job, bool hard, const tr_error *error);
/* Start its grace; false: no memory. */
bool tr__job_grace(tr_actor *self, const tr__compute *compute, tr__job *job);

#endif
