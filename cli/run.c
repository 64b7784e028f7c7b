/* `troupe run -- COMMAND`: a command as a job of the compute actor. The main thread (loop 0) and a second
 * loop for the output.
 *
 *     runner: spawns compute and the writer, asks tr_run ─► the answer, or a deadline or signal that gives it up
 *             ─► the writer has written all ─► over
 *     writer: on loop 1, since a reader of our output that pauses would stall loop 0 and with it the deadline
 *     run_outside: signals and standard input, as messages to the runner
 *
 * Given up: the ask is cancelled, upon which compute ends the command's group, SIGTERM and a second later
 * SIGKILL. Compute runs one job at a time here: when a call that does nothing has had its turn, the group is
 * gone. A second signal doesn't wait for that. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <troupe/compute.h>
#include <troupe/node.h>

#include "base/mem.h"
#include "base/stderr_os.h"
#include "cli/await.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/run_outside.h"

#define JOB          1
#define DEADLINE_MAX 1e9 /* seconds */
#define LOOK_MS      100 /* how often a writer that can't write looks whether it is still wanted */

/* As timeout(1), env(1) and the shells have it. */
enum { STATUS_DEADLINE = 124, STATUS_OURS = 125, STATUS_NOT_RUNNABLE = 126, STATUS_NOT_FOUND = 127 };

typedef struct run {
    char *const *command;
    double deadline; /* seconds; 0: none */
    tr_bytes argv;
    run_outside outside;
    int status;
    tr_addr runner, compute, writer;
    uint64_t writer_monitor;
    tr_future job;
    bool ended, written; /* the command; all its output, or the writer gave up */
    bool given_up;
    _Atomic bool hurry; /* output that can't be written now is dropped */
    int write_errno;    /* why the writer ended early; set before its end is told */
} run;

/* From the writer to the runner: all output is written. */
TR_MESSAGE(run_written, (u32, spare))

static void say(int *status, int code, const char *text)
{
    *status = code;
    tr__stderr_line("troupe run", text);
}

/* ---- the writer ---------------------------------------------------------------------------------------- */

/* A pipe that is writable takes PIPE_BUF bytes without blocking, so poll can look at `hurry` in between. */
static bool write_all(run *r, int fd, const char *data, size_t size)
{
    while (size) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        int there = poll(&ready, 1, LOOK_MS);
        if (there == 0 && atomic_load(&r->hurry))
            return false;
        if (there <= 0)
            continue;
        ssize_t count = write(fd, data, size < PIPE_BUF ? size : PIPE_BUF);
        if (count < 0 && errno != EINTR && errno != EAGAIN) {
            r->write_errno = errno;
            return false;
        }
        data += count < 0 ? 0 : count;
        size -= count < 0 ? 0 : (size_t)count;
    }
    return true;
}

/* It doesn't end by itself when all is written: compute would take that for a consumer that has gone, and end
 * a job whose command hasn't been seen to exit. */
static tr_err write_output(tr_actor *self, void *arg)
{
    run *r = arg;
    int ends = 0;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const tr_output *output = tr_match(msg, tr_output);
        if (!output)
            continue;
        if (output->data.size) {
            size_t size = output->data.size;
            if (!write_all(r, (int)output->stream, output->data.data, size))
                return tr_fail(self, TR_EIO, "the output can't be written");
            TR_TRY(tr_send(self, tr_msg_sender(msg), tr_output_more, .job = JOB, .bytes = size));
        } else if (++ends == 2) {
            TR_TRY(tr_send(self, r->runner, run_written, .spare = 0));
        }
    }
    return tr_last_error(self)->code;
}
TR_ACTOR(writer_def, .run = write_output);

/* ---- the runner ---------------------------------------------------------------------------------------- */

static void look_if_over(tr_actor *self, run *r)
{
    if (r->ended && r->written)
        tr_exit(self, TR_OK, "over");
}

/* The command's group is gone. Its output ended when it was given up: the writer has what came before. */
static void group_is_gone(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)result, (void)context;
    run *r = *(run **)state;
    r->ended = true;
    if (!r->written)
        (void)tr_stop(self, r->writer, TR_EXIT_SHUTDOWN);
    look_if_over(self, r);
}

static tr_err do_nothing(const void *in, size_t in_size, tr_compute_out *out)
{
    (void)in, (void)in_size, (void)out;
    return TR_OK;
}

/* The exit status of a command that couldn't be run. Texts of the compute actor go on, behind a semicolon,
 * with advice for those who call the API. */
static void failed(run *r, const tr_error *error)
{
    int status = error->code == TR_ENOTFOUND ? STATUS_NOT_FOUND
                 : error->code == TR_EPERM || error->code == TR_EINVAL || error->code == TR_ETOOBIG
                     ? STATUS_NOT_RUNNABLE
                     : STATUS_OURS;
    char text[TR_ERROR_TEXT_MAX];
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(error->text, ";"), error->text);
    say(&r->status, status, text);
}

static void give_up(tr_actor *self, run *r, int status)
{
    if (r->given_up)
        return;
    r->given_up = true;
    r->status = status;
    atomic_store(&r->hurry, true);
    tr_cancel(self, r->job);
    if (tr_then(self, tr_ask(self, r->compute, TR_FOREVER, tr_call, .function = "troupe run: nothing"),
                group_is_gone, NULL) != TR_OK)
        group_is_gone(self, tr_state(self), NULL, NULL);
}

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)context;
    run *r = *(run **)state;
    const tr_ran *ran = result->msg ? tr_match(result->msg, tr_ran) : NULL;
    if (ran) {
        r->status = ran->signal ? 128 + ran->signal : ran->exit_status;
        r->ended = true;
    } else if (result->err == TR_EDEADLINE) {
        char text[96];
        snprintf(text, sizeof(text), "not done after %g s (--deadline): it was ended", r->deadline);
        say(&r->status, STATUS_DEADLINE, text);
        give_up(self, r, STATUS_DEADLINE);
    } else if (result->err == TR_ENOACTOR) {
        give_up(self, r, STATUS_OURS); /* the writer has gone: `on_down` says why */
    } else {
        failed(r, result->error);
        r->ended = r->written = true; /* nothing ran */
    }
    look_if_over(self, r);
}

static void on_down(tr_actor *self, run *r, const tr_down *down)
{
    if (down->monitor != r->writer_monitor)
        return;
    r->written = true;
    if (r->write_errno == EPIPE) { /* as if the command had written to that pipe itself */
        give_up(self, r, 128 + SIGPIPE);
        r->status = 128 + SIGPIPE;
    } else if (r->write_errno) {
        char text[160];
        snprintf(text, sizeof(text), "its output can't be written (%s): it was ended",
                 strerror(r->write_errno));
        give_up(self, r, STATUS_OURS);
        say(&r->status, STATUS_OURS, text);
    } else if (!r->given_up) {
        give_up(self, r, STATUS_OURS);
        say(&r->status, STATUS_OURS, down->text);
    }
    look_if_over(self, r);
}

static void on_signal(tr_actor *self, run *r, int number)
{
    if (r->given_up)
        tr_node_stop(tr_node_of(self)); /* the end of compute is SIGKILL to the group */
    give_up(self, r, 128 + number);
    r->status = 128 + number;
}

/* The command has taken the last piece, or takes no more. */
static void input_taken(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self, (void)context;
    run *r = *(run **)state;
    if (result->err == TR_OK)
        run_outside_read(&r->outside);
}

static void runner_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    run *r = *(run **)state;
    const tr_down *down = tr_match(msg, tr_down);
    const run_signal *number = tr_match(msg, run_signal);
    const run_stdin *input = tr_match(msg, run_stdin);
    if (tr_match(msg, run_written)) {
        r->written = true;
        look_if_over(self, r);
    }
    if (down)
        on_down(self, r, down);
    else if (number)
        on_signal(self, r, number->number);
    else if (input && input->end)
        (void)tr_send(self, r->compute, tr_run_input, .job = JOB, .end = true);
    else if (input)
        (void)tr_then(self,
                      tr_ask(self, r->compute, TR_FOREVER, tr_run_input, .job = JOB, .data = input->data),
                      input_taken, NULL);
}

static tr_err runner_init(tr_actor *self, void *state, const void *arg)
{
    run *r = *(run **)state = (run *)arg;
    uint64_t deadline = r->deadline > 0 ? (uint64_t)(r->deadline * 1e9) : TR_FOREVER;
    TR_TRY(tr_compute_register("troupe run: nothing", do_nothing));
    r->runner = tr_self(self);
    r->compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 1, .nice = -1});
    r->writer =
        tr_spawn_with(self, &writer_def, r,
                      &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = 1, .monitor = &r->writer_monitor});
    if (tr_addr_is_none(r->compute) || tr_addr_is_none(r->writer))
        return tr_last_error(self)->code;
    r->job = tr_ask(self, r->compute, deadline, tr_run, .argv = r->argv, .input_more = true,
                    .output = r->writer, .job = JOB);
    TR_TRY(tr_then(self, r->job, answered, NULL));
    if (!run_outside_start(&r->outside, tr_node_of(self), tr_self(self)))
        return tr_fail(self, TR_EIO, "no thread for signals and input: %s", strerror(errno));
    run_outside_read(&r->outside);
    return TR_OK;
}
TR_ACTOR(runner, .init = runner_init, .receive = runner_receive, .state_size = sizeof(run *));

static tr_err start(tr_actor *self, void *arg)
{
    return cli_await_actor(self, &runner, arg);
}

/* ---- the command --------------------------------------------------------------------------------------- */

static void print_help(void)
{
    printf("usage: troupe run [options] -- COMMAND [ARGUMENTS]\n"
           "\n"
           "Runs a command as the compute actor does: no shell in between, its standard three\n"
           "are pipes, and it has a process group of its own, which is ended as a whole.\n"
           "Output is passed on as it comes, unchanged, and what isn't read yet takes bounded\n"
           "memory. Input is passed on too, read ahead of the command; where that is unwanted\n"
           "give </dev/null.\n"
           "\n"
           "  --deadline S  after S seconds (2, 0.5, ...) SIGTERM to its group, and SIGKILL a\n"
           "                second later; what it writes upon SIGTERM is not shown\n"
           "  --help        this text\n"
           "\n"
           "Ctrl-C, SIGTERM and SIGHUP end the command as the deadline does; a second one\n"
           "doesn't wait. When the command itself has ended, what it left running in its\n"
           "group and holds its output has a second to finish.\n"
           "\n"
           "Exit status: the command's; 128 + N if signal N ended it, or troupe; 124 at the\n"
           "deadline; 125 if troupe fails; 126 if the command can't be run, 127 if it isn't\n"
           "there; 2 for a bad option.\n");
}

/* -1: go on; else the exit status. */
static int read_options(int argc, char **argv, run *r)
{
    enum { DEADLINE = 256, HELP };
    static const struct option options[] = {{"deadline", required_argument, NULL, DEADLINE},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    int option;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
        if (option == HELP || option == 'h')
            return print_help(), 0;
        if (option != DEADLINE)
            return cli_bad_option("run", option, argv);
        if (!cli_number("run", "--deadline", optarg, 0.001, DEADLINE_MAX, false, &r->deadline))
            return 2;
    }
    r->command = argv + optind;
    if (optind < argc && argv[optind][0])
        return -1;
    fprintf(stderr, "troupe run: no command given: troupe run -- COMMAND [ARGUMENTS]\n");
    return 2;
}

static void run_node(run *r)
{
    tr_error error = {0};
    tr_node *node = NULL;
    if (!run_outside_open(&r->outside))
        say(&r->status, STATUS_OURS, strerror(errno));
    else if (!(node = tr_node_create(&(tr_node_opts){.name = "run", .loops = 2, .start = start, .arg = r},
                                     &error)))
        say(&r->status, STATUS_OURS, error.text);
    else if (tr_node_run(node, &error) != TR_OK)
        say(&r->status, STATUS_OURS, error.text);
    run_outside_close(&r->outside);
    tr_node_destroy(node);
}

int cli_run_command(int argc, char **argv)
{
    run r = {.status = STATUS_OURS};
    int status = read_options(argc, argv, &r);
    if (status >= 0)
        return status;
    size_t room = 0;
    for (char *const *word = r.command; *word; word++)
        room += strlen(*word) + 1;
    char *words = tr__alloc(room);
    if (words) {
        r.argv = tr_argv_join(words, room, (const char *const *)r.command);
        run_node(&r);
    } else {
        say(&r.status, STATUS_OURS, "no memory for the command");
    }
    tr__free(words);
    return r.status;
}
