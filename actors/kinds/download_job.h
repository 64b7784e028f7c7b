/* One download: it joins an HTTP source to a file sink, without the actor in between.
 *
 * The owner makes the struct, fills in what is asked, starts it, and hears `ended` once; between, source and
 * sink drive it by their upcalls, on the loop's thread and between turns, so neither side needs a lock. Who
 * waits for whom: a body that comes faster than the disk takes it is paused at the source.
 *
 * How it can fail: every failure ends it with `error` filled, the URL or path in the text. The first one
 * counts. */
#ifndef TR_ACTORS_KINDS_DOWNLOAD_JOB_H
#define TR_ACTORS_KINDS_DOWNLOAD_JOB_H

#include "actors/kinds/download_rules.h"
#include "actors/kinds/file_sink.h"
#include "actors/kinds/http_source.h"

/* What the jobs of one owner share; outlives them. */
typedef struct tr__dl_env {
    const tr__http_seam *http;
    const tr__file_seam *files;
    tr__http_source *source;
    tr__loop *loop;
    void (*ended)(void *context); /* a job has ended; see start and stop */
    void *context;
    bool broken; /* the source says that it is of no use any more */
} tr__dl_env;

typedef struct tr__dl_job {
    /* filled in by the owner, and its to free; they outlive the job's run */
    tr__dl_env *env;
    const char *url, *path, *sha256;
    uint64_t size; /* expected, bytes; 0 = any */
    bool make_dir, resume;
    /* the job's */
    tr__dl_state state; /* changed by move() alone */
    tr__http_get *get;
    tr__file_sink *sink;
    char validator[TR__DL_VALIDATOR_MAX + 1]; /* of what was found */
    uint64_t found, found_total;
    uint64_t from, done, total; /* bytes; done counts what was there already */
    bool over_again;            /* when this get is done, ask for the whole file */
    bool started_over;          /* once is enough */
    bool paused;
    tr_error error; /* TR_OK: it went well, if ended */
    char digest[TR__SHA256_TEXT];
} tr__dl_job;

/* Queued -> running. Its end is told by `ended`, maybe before this returns. */
void tr__dl_job_start(tr__dl_job *job);
/* End it from outside with an error (a deadline, a cancel), told by `ended` as well; nothing if it is ending
 * already. Not from an upcall of the source. */
void tr__dl_job_stop(tr__dl_job *job, tr_err code, const char *text);
/* The owner is going: let go of everything, in whatever state; nothing is told. The source must be closed
 * after it. */
void tr__dl_job_abandon(tr__dl_job *job);

#endif
