/* The compute actor: work that would stall a loop. Commands as child processes (tr_run), and C functions on
 * threads of its own (tr_call), at most `parallel` of both together at once; the others wait in order.
 *
 *     tr_addr compute = tr_spawn(self, &tr_compute, NULL);
 *     const tr_ran *ran;
 *     TR_TRY(tr_await(self, tr_ask(self, compute, TR_SECONDS(10), tr_run, .argv = TR_ARGV("sha256sum",
 * path)), tr_ran, &ran));
 *
 * The deadline of the ask is the deadline of the job; canceling the ask, or the end of the asker, ends the
 * job. A job is its whole process group: SIGTERM, and after the grace SIGKILL. The end of the compute actor
 * is SIGKILL at once. */
#ifndef TROUPE_COMPUTE_H
#define TROUPE_COMPUTE_H

#include <troupe/troupe.h>

/* Spawn it with a tr_compute_opts or with NULL. */
extern const tr_actor_def tr_compute;

/* parallel   jobs at once; 0 = the number of cores, at most 1,024
 * queue      jobs that may wait besides, then TR_EFULL; 0 = 1,024, at most 65,536
 * grace_ns   between SIGTERM and SIGKILL; 0 = 1 s
 * nice       how much less urgent than the node itself jobs are, 1 to 19, so that loops stay on time while
 * all cores compute; 0 = 5, negative: as urgent as the node */
TR_MESSAGE(tr_compute_opts, (u32, parallel), (u32, queue), (u64, grace_ns), (i32, nice))

/* ---- commands ------------------------------------------------------------------------------------------ */

/* Ask: run a command. Answered by tr_ran when it has ended and its output is read.
 *
 * argv         the command and its arguments, each with its NUL: TR_ARGV("ls", "-l"). There is no shell in
 *              between; a command without '/' is looked up in the node's PATH.
 * environment  additions to the node's, in the same form: TR_ARGV("LANG=C")
 * directory    to run in; "" = the node's
 * input        what it reads on stdin, from the start
 * input_more   more input comes by tr_run_input; without it stdin ends after `input`
 * output       who gets its output as tr_output, as it comes; none: it is captured and in the answer
 * job          the asker's own number for it, which tr_output, tr_output_more and tr_run_input carry. Only
 * for jobs that stream: it must differ from the asker's and the consumer's others (TR_EEXIST). limit
 * captured: bytes of stdout and stderr together, beyond it the job is killed and fails with TR_ETOOBIG; 0 = 1
 * MiB. Streamed: bytes that may be with the consumer at a time, until it says tr_output_more; 0 = 256 KiB. At
 * most 1 GiB.
 *
 * When the command itself ends, what it left running in its group and still holds its output has the grace to
 * finish, then it is killed. Errors: TR_ENOTFOUND (no such command or directory), TR_EPERM (not executable),
 * TR_EINVAL, TR_EFULL, TR_ETOOBIG, TR_ENOACTOR (the consumer is gone), TR_ENOMEM, TR_EIO. An exit status
 * other than 0 and a signal are answers. */
TR_MESSAGE(tr_run, (bytes, argv), (bytes, environment), (string, directory), (bytes, input),
           (bool, input_more), (addr, output), (u64, job), (u64, limit))

/* The answer. `signal` is 0 unless a signal ended it, exit_status is then -1. elapsed_ns: from its start; the
 * time in the queue isn't in it. `out` and `err`: what was captured. */
TR_MESSAGE(tr_ran, (i32, exit_status), (i32, signal), (bytes, out), (bytes, err), (u64, elapsed_ns))

/* To the compute actor, from the asker of tr_run: more input; `end` closes stdin after it. Asked, it is
 * answered by tr_run_input_taken when the command's pipe has taken it all: that is the back-pressure.
 * Otherwise, more than 1 MiB waiting fails: asked with TR_EFULL; sent, the job ends with TR_EFULL. Asked when
 * the command has closed its stdin: TR_ERESET; for a job that isn't there: TR_ENOTFOUND. */
TR_MESSAGE(tr_run_input, (u64, job), (bytes, data), (bool, end))
TR_MESSAGE(tr_run_input_taken, (u64, job))

/* To the consumer: a piece of output; stream is 1 (stdout) or 2 (stderr). No data: that stream has ended. */
TR_MESSAGE(tr_output, (u64, job), (u32, stream), (bytes, data))
/* From the consumer: so many bytes are dealt with, as many more may come. */
TR_MESSAGE(tr_output_more, (u64, job), (u64, bytes))

/* ---- functions ----------------------------------------------------------------------------------------- */

/* A function's output, and whether it is still wanted. Only for the thread that runs the function. */
typedef struct tr_compute_out tr_compute_out;

/* A function for tr_call: it runs on a thread of the compute actor, has no `self`, and may block and compute
 * as it likes. `in` is borrowed for the call, aligned to 16. It may run on several threads at once. A crash
 * in it is one of the whole node: what may crash belongs in a command. */
typedef tr_err (*tr_compute_fn)(const void *in, size_t in_size, tr_compute_out *out);

/* Make it known under a name, for the life of the process and to all nodes in it. Any thread. TR_EEXIST:
 * another function has that name; TR_EINVAL: the name is empty or longer than 63 bytes; TR_ENOMEM, also
 * beyond 1,024. */
tr_err tr_compute_register(const char *name, tr_compute_fn function);
/* Append `size` bytes of output, to be filled in by the caller at once; NULL: no memory, or the limit of the
 * call is passed (return TR_ENOMEM or the like; the answer names the real reason). The pointer is good until
 * the next call of this or of write. */
void *tr_compute_reserve(tr_compute_out *out, size_t size);
/* The same with a copy of `data`: TR_ENOMEM, TR_ETOOBIG. */
tr_err tr_compute_write(tr_compute_out *out, const void *data, size_t size);
/* True once nobody wants the answer (canceled, deadline, end of the actor): a long function looks at it now
 * and then and returns TR_ECANCELED. One that doesn't keeps its place among the `parallel` ones until it
 * returns. */
bool tr_compute_canceled(const tr_compute_out *out);
/* Say why it fails; returns the code, as in `return tr_compute_fail(out, TR_EINVAL, "...")`. */
tr_err tr_compute_fail(tr_compute_out *out, tr_err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Ask: call a registered function. limit: bytes of output, beyond it TR_ETOOBIG; 0 = 64 MiB, at most 1 GiB.
 * Answered by tr_called. Errors: TR_ENOTFOUND (not registered on that node), TR_EFULL, TR_ENOMEM, what the
 * function returned. */
TR_MESSAGE(tr_call, (string, function), (bytes, input), (u64, limit))
/* elapsed_ns: of the function itself. */
TR_MESSAGE(tr_called, (bytes, output), (u64, elapsed_ns))

/* ---- arguments ----------------------------------------------------------------------------------------- */

#define TR_ARGV_MAX 2048 /* bytes that TR_ARGV takes, with each NUL */

/* Strings as one block of bytes, each with its NUL; it lives until the enclosing block ends. If they don't
 * fit in TR_ARGV_MAX bytes the result is empty, which tr_run refuses (TR_EINVAL): use tr_argv_join then. */
#define TR_ARGV(...) \
    tr_argv_join((char[TR_ARGV_MAX]){0}, TR_ARGV_MAX, (const char *const[]){__VA_ARGS__, NULL})

/* The same into `room` bytes of the caller's; `list` ends with NULL. Empty if they don't fit. Any thread. */
static inline tr_bytes tr_argv_join(char *into, size_t room, const char *const *list)
{
    size_t used = 0;
    for (; *list; list++) {
        size_t length = strlen(*list) + 1;
        if (length > room - used)
            return (tr_bytes){NULL, 0};
        memcpy(into + used, *list, length);
        used += length;
    }
    return (tr_bytes){into, used};
}

#endif
