/* See sim_process.h. A child goes through
 *
 *     start ─► (its input ends) ─► run: the command says everything ─► pieces of output, as the window allows
 *                                    └─► its exit, after the duration, or by a signal ─► its streams' ends
 *
 * Its exit waits until no more is unread than a pipe holds, as that of a process that still writes does. What its actor
 * is to hear and there is no memory to say is said 20 ms later. */
#include "tests/kit/sim/sim_process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/kit/sim/sim_kinds.h"

#define RETRY_NS   TR_MILLIS(20)
#define PIECES_MAX 16 /* output messages of one child under way to its actor, as of the real one */
#define PIPE       (64u * 1024)
#define CUT_MAX    64 /* bytes of a small piece */

typedef struct sim_program {
    struct sim_program *next;
    char *name;
    sim_command_fn command;
    void *context;
} sim_program;

enum owed { OWED_END_1 = 1, OWED_END_2 = 2, OWED_WROTE = 4, OWED_EXIT = 8 };

struct tr__child {
    sim_handle handle;
    sim_process *process;
    const sim_program *program;
    tr_addr owner;
    uint64_t job;
    char **argv;
    sim_bytes input, output[2];
    bool in_open, ran, stubborn, lingers, cut;
    bool exit_due, exited;
    bool telling, delivering; /* an event of that name is under way */
    int32_t status, signal;
    tr_err lost;
    uint32_t owed, ended; /* bits of what is to be said; of the streams' ends that were */
    bool wrote_closed;
    uint64_t window, credit;
    uint32_t pieces;
};

/* ---- telling the actor --------------------------------------------------------------------------------- */

static tr_err tell_one(tr__child *child, enum owed what)
{
    tr__loop *loop = child->handle.loop;
    if (what == OWED_EXIT)
        return tr__inject(loop, child->owner, tr__child_exited, .job = child->job, .status = child->status,
                          .signal = child->signal, .error = child->lost);
    if (what == OWED_WROTE)
        return tr__inject(loop, child->owner, tr__child_wrote, .job = child->job,
                          .closed = child->wrote_closed);
    return tr__inject(loop, child->owner, tr__child_output, .job = child->job,
                      .stream = what == OWED_END_1 ? 1 : 2);
}

static void on_tell(void *context)
{
    tr__child *child = context;
    sim_handle_wake(&child->handle);
    child->telling = false;
    for (uint32_t bit = OWED_END_1; bit <= OWED_EXIT; bit <<= 1)
        if (child->owed & bit && tell_one(child, bit) == TR_OK)
            child->owed &= ~bit;
    if (child->owed) {
        child->telling = true;
        sim_handle_later(&child->handle, RETRY_NS, on_tell);
    }
}

static void tell(tr__child *child, uint32_t what, uint64_t delay_ns)
{
    child->owed |= what;
    if (child->telling)
        return;
    child->telling = true;
    sim_handle_later(&child->handle, delay_ns, on_tell);
}

static void deliver_later(tr__child *child);

/* ---- the end ------------------------------------------------------------------------------------------- */

static void end_streams(tr__child *child)
{
    uint32_t both = OWED_END_1 | OWED_END_2;
    for (uint32_t i = 0; i < 2; i++)
        if (child->output[i].size)
            both &= ~(OWED_END_1 << i);
    both &= ~child->ended;
    child->ended |= both;
    if (both)
        tell(child, both, 0);
}

static void exit_now(tr__child *child)
{
    child->exited = child->wrote_closed = true;
    child->in_open = false;
    if (sim_strikes(&child->process->faults[SIM_PROCESS_LOST]))
        child->lost = TR_EIO;
    tell(child, OWED_EXIT, 0);
    if (!child->lingers)
        end_streams(child);
}

static void on_exit_due(void *context)
{
    tr__child *child = context;
    sim_handle_wake(&child->handle);
    child->exit_due = true;
    if (!child->exited && child->output[0].size <= PIPE && child->output[1].size <= PIPE)
        exit_now(child);
}

/* A signal ends it; what it had written is still in the pipes. */
static void die(tr__child *child, int number)
{
    if (child->exited)
        return;
    child->signal = number;
    for (int i = 0; i < 2; i++) {
        uint64_t most = child->output[i].size < PIPE ? child->output[i].size : PIPE;
        child->output[i].size = (size_t)sim_between(&child->handle.twin->random, 0, most);
    }
    exit_now(child);
}

static void on_terminated(void *context)
{
    tr__child *child = context;
    sim_handle_wake(&child->handle);
    if (!child->stubborn)
        die(child, SIGTERM);
}

static void on_killed(void *context)
{
    tr__child *child = context;
    sim_handle_wake(&child->handle);
    child->lingers = false;
    if (child->exited)
        end_streams(child);
    else
        die(child, SIGKILL);
}

static void child_end(tr__child *child, bool hard)
{
    uint64_t delay = sim_between(&child->handle.twin->random, TR_MICROS(10), TR_MILLIS(1));
    sim_handle_later(&child->handle, delay, hard ? on_killed : on_terminated);
}

/* What left the group is killed as all else is, so it holds nothing open. */
static void child_drain(tr__child *child)
{
    (void)child;
}

/* ---- output -------------------------------------------------------------------------------------------- */

static size_t piece_of(tr__child *child, uint32_t i)
{
    size_t most = child->output[i].size < TR__CHILD_PIECE ? child->output[i].size : TR__CHILD_PIECE;
    most = child->credit < most ? (size_t)child->credit : most;
    if (child->cut && most > CUT_MAX)
        most = CUT_MAX;
    return child->cut && most ? (size_t)sim_between(&child->process->faults[SIM_PROCESS_CUT].random, 1, most)
                              : most;
}

static void on_deliver(void *context)
{
    tr__child *child = context;
    sim_handle_wake(&child->handle);
    child->delivering = false;
    uint32_t i = child->output[0].size == 0 ||
                 (child->output[1].size && tr__random_below(&child->handle.twin->random, 2));
    size_t size = piece_of(child, i);
    if (size == 0 || child->pieces == 0)
        return;
    tr_err err = tr__inject(child->handle.loop, child->owner, tr__child_output, .job = child->job,
                            .stream = i + 1, .data = {child->output[i].data, size});
    if (err != TR_OK) { /* as the real one does: it is killed, and its exit says that something is lost */
        child->lost = err;
        child->lingers = false;
        child->output[0].size = child->output[1].size = 0;
        if (child->exited)
            end_streams(child);
        else
            die(child, SIGKILL);
        return;
    }
    child->credit -= size;
    child->pieces--;
    sim_bytes_drop(&child->output[i], size);
    if (child->exited && !child->lingers)
        end_streams(child);
    else if (child->exit_due && !child->exited)
        on_exit_due(child);
    deliver_later(child);
}

static void deliver_later(tr__child *child)
{
    bool any = child->output[0].size || child->output[1].size;
    if (child->delivering || !any || child->credit == 0 || child->pieces == 0)
        return;
    child->delivering = true;
    sim_handle_later(&child->handle, sim_between(&child->handle.twin->random, TR_MICROS(1), TR_MICROS(200)),
                     on_deliver);
}

static void child_more(tr__child *child, uint32_t pieces, uint64_t bytes)
{
    uint64_t used = child->window - child->credit;
    child->credit += bytes < used ? bytes : used;
    child->pieces = child->pieces + pieces < PIECES_MAX ? child->pieces + pieces : PIECES_MAX;
    deliver_later(child);
}

/* ---- running ------------------------------------------------------------------------------------------- */

void sim_print(sim_command *command, uint32_t stream, const void *data, size_t size)
{
    sim_bytes_add(&command->output[stream - 1], data, size);
}

static void on_struck(void *context)
{
    static const int numbers[] = {SIGSEGV, SIGABRT, SIGKILL, SIGTERM};
    tr__child *child = context;
    sim_fault *killed = &child->process->faults[SIM_PROCESS_KILLED];
    sim_handle_wake(&child->handle);
    die(child, numbers[sim_between(&killed->random, 0, 3)]);
}

static void on_run(void *context)
{
    tr__child *child = context;
    sim_fault *faults = child->process->faults;
    if (child->ran || child->exited)
        return;
    child->ran = true;
    sim_command command = {.argv = (const char *const *)child->argv,
                           .input = {child->input.data, child->input.size},
                           .duration_ns =
                               sim_between(&child->handle.twin->random, TR_MILLIS(1), TR_MILLIS(20))};
    child->program->command(child->program->context, &command);
    memcpy(child->output, command.output, sizeof(child->output));
    child->status = command.status;
    child->stubborn = command.stubborn;
    child->lingers = command.lingers;
    child->cut = sim_strikes(&faults[SIM_PROCESS_CUT]);
    if (command.duration_ns != SIM_ENDLESS) {
        if (sim_strikes(&faults[SIM_PROCESS_SLOW]))
            command.duration_ns *= sim_between(&faults[SIM_PROCESS_SLOW].random, 10, 1000);
        sim_handle_later(&child->handle, command.duration_ns, on_exit_due);
    }
    if (sim_strikes(&faults[SIM_PROCESS_KILLED]))
        sim_handle_later(
            &child->handle,
            sim_between(&faults[SIM_PROCESS_KILLED].random, 0,
                        command.duration_ns == SIM_ENDLESS ? TR_SECONDS(1) : command.duration_ns),
            on_struck);
    deliver_later(child);
}

static void run_later(tr__child *child)
{
    sim_handle_later(&child->handle, sim_between(&child->handle.twin->random, TR_MICROS(100), TR_MILLIS(2)),
                     on_run);
}

static tr_err child_write(tr__child *child, const void *data, size_t size)
{
    if (child->in_open)
        sim_bytes_add(&child->input, data, size);
    tell(child, OWED_WROTE, sim_between(&child->handle.twin->random, TR_MICROS(1), TR_MICROS(100)));
    return TR_OK;
}

static void child_end_input(tr__child *child)
{
    if (child->in_open)
        run_later(child);
    child->in_open = false;
}

/* ---- start and close ----------------------------------------------------------------------------------- */

static void child_fini(sim_handle *handle)
{
    tr__child *child = (tr__child *)handle;
    for (char **arg = child->argv; arg && *arg; arg++)
        free(*arg);
    free(child->argv);
    free(child->input.data);
    free(child->output[0].data);
    free(child->output[1].data);
}

static const sim_program *find(const sim_process *process, const char *name)
{
    const sim_program *program = process->programs;
    while (program && strcmp(program->name, name) != 0)
        program = program->next;
    return program;
}

static tr_err may_start(sim_process *process, const char *name, tr_error *error)
{
    sim_fault *refused = &process->faults[SIM_PROCESS_REFUSED];
    if (!find(process, name))
        return tr__fail(
            error, TR_ENOTFOUND,
            "no command '%.80s' in the node's PATH; install it, or give its whole path in tr_run.argv", name);
    if (!sim_strikes(refused))
        return TR_OK;
    if (sim_between(&refused->random, 0, 1))
        return tr__fail(error, TR_ENOMEM, "no memory to run '%.80s'", name);
    return tr__fail(error, TR_EIO, "can't run '%.80s': no more processes allowed; see ulimit -u", name);
}

static tr__child *child_start(tr__loop *loop, tr_addr owner, uint64_t job, const tr__child_spec *spec,
                              tr_error *error)
{
    sim_process *process = sim_host_of(loop)->kinds->process;
    size_t count = 0;
    if (may_start(process, spec->argv[0], error) != TR_OK)
        return NULL;
    tr__child *child = sim_handle_open(&process->twin, loop, sizeof(*child), child_fini);
    if (!child) {
        tr__fail(error, TR_ENOMEM, "no memory to run '%.80s'", spec->argv[0]);
        return NULL;
    }
    while (spec->argv[count])
        count++;
    child->argv = sim_alloc((count + 1) * sizeof(*child->argv));
    for (size_t i = 0; i < count; i++)
        child->argv[i] = sim_strdup(spec->argv[i]);
    child->process = process;
    child->program = find(process, spec->argv[0]);
    child->owner = owner;
    child->job = job;
    child->window = child->credit = spec->window;
    child->pieces = PIECES_MAX;
    child->in_open = spec->input;
    if (!spec->input)
        run_later(child);
    return child;
}

static void child_close(tr__child *child)
{
    sim_handle_close(&child->handle);
}

static uint32_t cores(tr__loop *loop)
{
    return sim_host_of(loop)->kinds->process->cores;
}

const tr__process_seam sim_process_seam = {.cores = cores,
                                           .start = child_start,
                                           .write = child_write,
                                           .end_input = child_end_input,
                                           .more = child_more,
                                           .end = child_end,
                                           .drain = child_drain,
                                           .close = child_close};

/* ---- the twin ------------------------------------------------------------------------------------------ */

sim_process *sim_process_create(struct tr_sim *sim, tr__random *seeds)
{
    static const char *const names[SIM_PROCESS_FAULTS] = {
        [SIM_PROCESS_SLOW] = "process-slow",       [SIM_PROCESS_KILLED] = "process-killed",
        [SIM_PROCESS_CUT] = "process-cut",         [SIM_PROCESS_LOST] = "process-lost",
        [SIM_PROCESS_REFUSED] = "process-refused",
    };
    sim_process *process = sim_alloc(sizeof(*process));
    sim_twin_init(&process->twin, sim, seeds);
    sim_fault_setup(process->faults, names, SIM_PROCESS_FAULTS, seeds);
    process->cores = 4;
    return process;
}

void sim_process_destroy(sim_process *process)
{
    sim_twin_fini(&process->twin);
    while (process->programs) {
        sim_program *program = process->programs;
        process->programs = program->next;
        free(program->name);
        free(program);
    }
    free(process);
}

void sim_process_add(sim_process *process, const char *name, sim_command_fn command, void *context)
{
    sim_program *program = sim_alloc(sizeof(*program));
    *program = (sim_program){process->programs, sim_strdup(name), command, context};
    process->programs = program;
}

void sim_process_drop(sim_process *process, uint32_t node)
{
    sim_twin_drop(&process->twin, node);
}
