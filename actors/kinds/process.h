/* Child processes as the compute actor sees them: a seam. process_uv.c is the real one.
 *
 * All functions are called on the loop's thread, by the actor that owns the child. What happens comes as
 * messages to that actor: outputs, then each stream's end; the exit comes whenever it comes. After close()
 * nothing is sent any more. */
#ifndef TR_ACTORS_KINDS_PROCESS_H
#define TR_ACTORS_KINDS_PROCESS_H

#include "actors/adapter.h"

/* Some output; no data: that stream (1 or 2) has ended. Until `more` says that it was dealt with it counts
 * against the window. */
TR_MESSAGE(tr__child_output, (u64, job), (u32, stream), (bytes, data))
/* What was given to write() is in the pipe, or `closed`: the command takes no more, and the data is lost. */
TR_MESSAGE(tr__child_wrote, (u64, job), (bool, closed))
/* It has ended: signal != 0: by that signal. `error` is a tr_err: the status, or output, was lost. */
TR_MESSAGE(tr__child_exited, (u64, job), (i32, status), (i32, signal), (u32, error))

#define TR__CHILD_PIECE (64u * 1024) /* an output's bytes at most */

typedef struct tr__child tr__child;

/* Borrowed for the call. */
typedef struct tr__child_spec {
    const char *const *argv;        /* ends with NULL; argv[0] is the command */
    const char *const *environment; /* additions, "NAME=value"; ends with NULL */
    const char *directory;          /* "": as it is */
    bool input;                     /* stdin is written; false: it is empty */
    uint64_t window;                /* bytes of output that may be outstanding */
    int32_t nice;                   /* added to the priority number; 0: leave it */
} tr__child_spec;

typedef struct tr__process_seam {
    /* How many cores this process may use; at least 1. */
    uint32_t (*cores)(tr__loop *loop);
    /* Start one, in a process group of its own; messages go to `owner` and carry `job`. NULL: *error says
     * why. */
    tr__child *(*start)(tr__loop *loop, tr_addr owner, uint64_t job, const tr__child_spec *spec,
                        tr_error *error);
    /* Give it input; it is copied. One at a time: a tr__child_wrote follows. TR_ENOMEM. */
    tr_err (*write)(tr__child *child, const void *data, size_t size);
    /* Its stdin ends; not while a write is under way. */
    void (*end_input)(tr__child *child);
    /* So many pieces, and so many bytes, were dealt with. */
    void (*more)(tr__child *child, uint32_t pieces, uint64_t bytes);
    /* Send its whole group SIGTERM or, `hard`, SIGKILL. Also after its exit, for what it left behind. */
    void (*end)(tr__child *child, bool hard);
    /* Read what its pipes hold now and take that for their ends: for processes that left the group. */
    void (*drain)(tr__child *child);
    /* SIGKILL to what is left of the group; everything is released, if need be later. */
    void (*close)(tr__child *child);
} tr__process_seam;

#endif
