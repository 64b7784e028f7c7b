/* The compute actor over the twins of processes and threads: what they do, each of their faults as the asker sees it,
 * and that a seed says it all. */
#include "tests/sim/sim_world.h"

#include <signal.h>

/* ---- commands and functions ---------------------------------------------------------------------------- */

static void echo(void *context, sim_command *command)
{
    (void)context;
    sim_print(command, 1, command->argv[1], strlen(command->argv[1]));
    sim_print(command, 2, "done", 4);
    command->status = 3;
}

static void cat(void *context, sim_command *command)
{
    (void)context;
    sim_print(command, 1, command->input.data, command->input.size);
}

static void spew(void *context, sim_command *command)
{
    for (size_t i = 0, n = *(const size_t *)context; i < n; i++) {
        uint8_t byte = (uint8_t)(i * 7 % 251);
        sim_print(command, 1, &byte, 1);
    }
}

static void endless(void *context, sim_command *command)
{
    command->stubborn = context != NULL;
    command->duration_ns = SIM_ENDLESS;
}

static void lingering(void *context, sim_command *command)
{
    (void)context;
    sim_print(command, 1, "early", 5);
    command->lingers = true;
}

static uint32_t calls;

static tr_err twice(const void *in, size_t in_size, tr_compute_out *out)
{
    calls++;
    TR_TRY(tr_compute_write(out, in, in_size));
    return tr_compute_write(out, in, in_size);
}

static tr_err refuses(const void *in, size_t in_size, tr_compute_out *out)
{
    (void)in, (void)in_size;
    return tr_compute_fail(out, TR_EAPP, "not today");
}

/* ---- the fixture --------------------------------------------------------------------------------------- */

static size_t spew_size = (size_t)3 << 20;
static tr_addr compute;

static void spawn_compute(world *w)
{
    compute = manual_spawn_def(w->m, 0, &tr_compute, NULL, NULL);
    manual_pump(w->m);
}

static world *open_world(uint64_t seed)
{
    world *w = world_open(seed);
    sim_process_add(w->kinds->process, "echo", echo, NULL);
    sim_process_add(w->kinds->process, "cat", cat, NULL);
    sim_process_add(w->kinds->process, "spew", spew, &spew_size);
    sim_process_add(w->kinds->process, "endless", endless, NULL);
    sim_process_add(w->kinds->process, "stubborn", endless, w);
    sim_process_add(w->kinds->process, "lingering", lingering, NULL);
    assert_int_equal(tr_compute_register("twice", twice), TR_OK);
    assert_int_equal(tr_compute_register("refuses", refuses), TR_OK);
    spawn_compute(w);
    return w;
}

static sim_fault *fault_of(world *w, enum sim_process_fault which)
{
    return &w->kinds->process->faults[which];
}

static answer run(world *w, const char *command, const char *arg)
{
    answer a = {0};
    world_ask(w, &a, compute, &tr_run_type, &(tr_run){.argv = TR_ARGV(command, arg)});
    world_wait(w, &a);
    return a;
}

static void expect_nothing_left(world *w)
{
    assert_null(w->kinds->process->twin.handles);
    assert_null(w->kinds->workers->works.handles);
}

static bool is(const sim_bytes *bytes, const char *text)
{
    return bytes->size == strlen(text) && memcmp(bytes->data, text, bytes->size) == 0;
}

/* ---- commands ------------------------------------------------------------------------------------------ */

static void a_command_prints_and_ends_as_its_function_says(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = run(w, "echo", "hello");
    assert_int_equal(a.code, TR_OK);
    assert_true(is(&a.out, "hello"));
    assert_true(is(&a.err, "done"));
    assert_int_equal(a.status, 3);
    assert_int_equal(a.signal, 0);
    expect_nothing_left(w);
    answer_fini(&a);
    world_close(w);
}

static void a_command_that_nobody_added_is_not_found(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = run(w, "ls", "");
    expect_error(&a, TR_ENOTFOUND, "no command 'ls'");
    world_close(w);
}

static void a_command_reads_its_input_to_the_end(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = {0}, b = {0};
    world_ask(w, &a, compute, &tr_run_type,
              &(tr_run){.argv = TR_ARGV("cat"), .input = {"one ", 4}, .input_more = true, .job = 7});
    world_step(w, TR_SECONDS(1));
    assert_false(a.done);
    world_ask(w, &b, compute, &tr_run_input_type, &(tr_run_input){.job = 7, .data = {"two", 3}, .end = true});
    world_wait(w, &b);
    assert_int_equal(b.code, TR_OK);
    world_wait(w, &a);
    assert_true(is(&a.out, "one two"));
    answer_fini(&a);
    world_close(w);
}

static void much_output_comes_whole_however_it_is_cut(void **state)
{
    (void)state;
    for (uint32_t rate = 0; rate <= ALWAYS; rate += ALWAYS) {
        world *w = open_world(1);
        answer a = {0};
        spew_size = rate ? 50000 : (size_t)3 << 20;
        fault_of(w, SIM_PROCESS_CUT)->rate = rate;
        world_ask(w, &a, compute, &tr_run_type, &(tr_run){.argv = TR_ARGV("spew"), .limit = spew_size});
        world_wait(w, &a);
        assert_int_equal(a.code, TR_OK);
        assert_int_equal(a.out.size, spew_size);
        assert_true(!rate || w->m->now_ns > TR_MILLIS(1060)); /* hundreds of pieces; it began at 1 s */
        for (size_t i = 0; i < spew_size; i++)
            assert_int_equal(a.out.data[i], i * 7 % 251);
        answer_fini(&a);
        world_close(w);
    }
}

static void output_waits_while_its_consumer_has_enough(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = {0};
    spew_size = 500000;
    world_ask(w, &a, compute, &tr_run_type,
              &(tr_run){.argv = TR_ARGV("spew"), .output = w->user.address, .job = 1, .limit = 1000});
    world_step(w, TR_MILLIS(500));
    assert_string_equal(w->user.trail, "init tr_output "); /* and it stays so: its exit waits as well */
    assert_false(a.done);
    manual_do(w->m, w->user.address, do_cancel, &a);
    world_step(w, TR_SECONDS(5));
    expect_nothing_left(w);
    world_close(w);
}

static void a_command_that_does_not_end_is_ended_at_its_deadline(void **state)
{
    static const char *const commands[] = {"endless", "stubborn"};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(commands); i++) {
        world *w = open_world(1);
        answer a = {.timeout_ns = TR_SECONDS(2)};
        world_ask(w, &a, compute, &tr_run_type, &(tr_run){.argv = TR_ARGV(commands[i])});
        world_wait(w, &a);
        assert_int_equal(a.code, TR_EDEADLINE);
        world_step(w, TR_MILLIS(100)); /* SIGTERM has come; a second later SIGKILL does */
        assert_int_equal(w->kinds->process->twin.handles != NULL, i == 1);
        world_step(w, TR_MILLIS(1100));
        expect_nothing_left(w);
        world_close(w);
    }
}

static void what_a_command_leaves_behind_is_killed_after_the_grace(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = {0};
    world_ask(w, &a, compute, &tr_run_type, &(tr_run){.argv = TR_ARGV("lingering")});
    world_step(w, TR_MILLIS(900));
    assert_false(a.done);
    world_step(w, TR_MILLIS(200));
    assert_true(a.done);
    assert_int_equal(a.code, TR_OK);
    assert_true(is(&a.out, "early"));
    answer_fini(&a);
    world_close(w);
}

/* ---- faults of commands -------------------------------------------------------------------------------- */

static void a_refused_start_is_told(void **state)
{
    bool seen[TR_ERR_COUNT] = {false};
    (void)state;
    world *w = open_world(1);
    fault_of(w, SIM_PROCESS_REFUSED)->rate = ALWAYS;
    for (int i = 0; i < 20; i++) {
        answer a = run(w, "echo", "x");
        expect_error(&a, a.code == TR_ENOMEM ? TR_ENOMEM : TR_EIO,
                     a.code == TR_ENOMEM ? "no memory to run 'echo'" : "no more processes allowed");
        seen[a.code] = true;
    }
    assert_true(seen[TR_ENOMEM] && seen[TR_EIO]);
    world_close(w);
}

static void a_signal_is_in_the_answer(void **state)
{
    (void)state;
    world *w = open_world(1);
    fault_of(w, SIM_PROCESS_KILLED)->rate = ALWAYS;
    answer a = run(w, "endless", "");
    assert_int_equal(a.code, TR_OK);
    assert_int_equal(a.status, -1);
    assert_int_not_equal(a.signal, 0);
    assert_int_equal(fault_of(w, SIM_PROCESS_KILLED)->struck, 1);
    world_close(w);
}

static void a_lost_exit_status_is_an_error(void **state)
{
    (void)state;
    world *w = open_world(1);
    fault_of(w, SIM_PROCESS_LOST)->rate = ALWAYS;
    answer a = run(w, "echo", "x");
    expect_error(&a, TR_EIO, "its output or its exit status was lost");
    world_step(w, TR_SECONDS(2));
    expect_nothing_left(w);
    world_close(w);
}

static void a_slow_command_passes_its_deadline(void **state)
{
    (void)state;
    world *w = open_world(1);
    fault_of(w, SIM_PROCESS_SLOW)->rate = ALWAYS;
    answer a = {.timeout_ns = TR_MILLIS(10)};
    world_ask(w, &a, compute, &tr_run_type, &(tr_run){.argv = TR_ARGV("echo", "x")});
    world_wait(w, &a);
    assert_int_equal(a.code, TR_EDEADLINE);
    world_step(w, TR_SECONDS(2));
    expect_nothing_left(w);
    world_close(w);
}

/* ---- functions ----------------------------------------------------------------------------------------- */

static answer call(world *w, const char *function)
{
    answer a = {0};
    world_ask(w, &a, compute, &tr_call_type, &(tr_call){.function = function, .input = {"ab", 2}});
    world_wait(w, &a);
    return a;
}

static void a_function_is_called_and_answers(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = call(w, "twice"), b = call(w, "refuses");
    assert_int_equal(a.code, TR_OK);
    assert_true(is(&a.out, "abab"));
    expect_error(&b, TR_EAPP, "not today");
    expect_nothing_left(w);
    answer_fini(&a);
    world_close(w);
}

static void a_function_that_is_canceled_in_time_is_not_called(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = {0};
    calls = 0;
    world_ask(w, &a, compute, &tr_call_type, &(tr_call){.function = "twice"});
    manual_do(w->m, w->user.address, do_cancel, &a);
    world_step(w, TR_SECONDS(1));
    assert_int_equal(calls, 0);
    expect_nothing_left(w);
    world_close(w);
}

static void the_faults_of_threads_are_told(void **state)
{
    (void)state;
    world *w = open_world(1);
    sim_fault *faults = w->kinds->workers->faults;
    faults[SIM_WORKERS_REFUSED].rate = ALWAYS;
    answer a = call(w, "twice");
    expect_error(&a, a.code == TR_ENOMEM ? TR_ENOMEM : TR_EIO,
                 a.code == TR_ENOMEM ? "no memory for a call of 'twice'" : "no thread can be started");
    faults[SIM_WORKERS_REFUSED].rate = 0;
    faults[SIM_WORKERS_SLOW].rate = ALWAYS;
    a = (answer){.timeout_ns = TR_MILLIS(22)}; /* enough for any that isn't slow */
    world_ask(w, &a, compute, &tr_call_type, &(tr_call){.function = "twice"});
    world_wait(w, &a);
    assert_int_equal(a.code, TR_EDEADLINE);
    world_step(w, TR_MINUTES(1));
    expect_nothing_left(w);
    world_close(w);
}

/* ---- crashes and seeds --------------------------------------------------------------------------------- */

static void a_crash_ends_all_without_a_word(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a[3] = {{0}};
    world_ask(w, &a[0], compute, &tr_run_type, &(tr_run){.argv = TR_ARGV("endless")});
    world_ask(w, &a[1], compute, &tr_run_type, &(tr_run){.argv = TR_ARGV("echo", "x")});
    world_ask(w, &a[2], compute, &tr_call_type, &(tr_call){.function = "twice"});
    calls = 0;
    world_crash(w, true);
    expect_nothing_left(w); /* their owner closed them as it was taken down */
    world_step(w, TR_MINUTES(1));
    assert_int_equal(calls, 0);
    spawn_compute(w);
    answer b = run(w, "echo", "again");
    assert_true(is(&b.out, "again"));
    answer_fini(&b);
    world_close(w);
}

/* As of a node whose memory went without its actors being taken down. */
static void what_nobody_closes_after_a_crash_goes_at_the_next_one(void **state)
{
    static const char *const argv[] = {"endless", NULL}, *const none[] = {NULL};
    (void)state;
    world *w = open_world(1);
    sim_process *process = w->kinds->process;
    tr__child *child = sim_process_seam.start(w->m->node->loops[0], w->user.address, 1,
                                              &(tr__child_spec){.argv = argv, .environment = none}, NULL);
    assert_non_null(child);
    sim_process_drop(process, 1); /* another node */
    assert_false(process->twin.handles->dead);
    sim_process_drop(process, 0);
    assert_true(process->twin.handles->dead);
    sim_process_seam.end(child, true); /* does nothing any more */
    assert_null(w->sim.events);
    sim_process_drop(process, 0);
    assert_null(process->twin.handles);
    world_close(w);
}

static void ask_echo(world *w, answer *a)
{
    static const char argv[] = "echo\0x";
    world_ask(w, a, compute, &tr_run_type, &(tr_run){.argv = {argv, sizeof(argv)}, .input = {"in", 2}});
}

static void ask_twice(world *w, answer *a)
{
    world_ask(w, a, compute, &tr_call_type, &(tr_call){.function = "twice", .input = {"ab", 2}});
}

static void check_memory(world *w, const answer *a)
{
    assert_true(a->code == TR_OK || a->code == TR_ENOMEM);
    assert_true(a->code != TR_OK || is(&a->out, a->type == &tr_run_type ? "x" : "abab"));
    expect_nothing_left(w);
}

static void without_memory_at_any_point_it_is_told_and_nothing_is_left(void **state)
{
    (void)state;
    each_allocation_fails_once(open_world, ask_echo, check_memory);
    each_allocation_fails_once(open_world, ask_twice, check_memory);
}

static uint64_t trail_of(uint64_t seed)
{
    static const char *const commands[] = {"echo", "cat", "endless", "lingering", "nobody"};
    world *w = open_world(seed);
    answer a[60] = {{0}};
    sim_fault *fault;
    for (unsigned i = 0; (fault = sim_kinds_fault(w->kinds, i)); i++)
        fault->rate = ALWAYS / 10;
    for (size_t i = 0; i < TR_COUNT(a); i++) {
        a[i].timeout_ns = TR_SECONDS(1 + i % 5);
        if (i % 3)
            world_ask(w, &a[i], compute, &tr_run_type,
                      &(tr_run){.argv = TR_ARGV(commands[i % 5], "x"), .input = {"in", 2}});
        else
            world_ask(w, &a[i], compute, &tr_call_type, &(tr_call){.function = "twice", .input = {"i", 1}});
        world_step(w, TR_MILLIS(3));
    }
    for (size_t i = 0; i < TR_COUNT(a); i++) {
        world_wait(w, &a[i]);
        answer_fini(&a[i]);
    }
    world_step(w, TR_MINUTES(5));
    expect_nothing_left(w);
    return world_close(w);
}

static void the_same_seed_gives_the_same_trail(void **state)
{
    uint64_t before = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t trail = trail_of(seed);
        assert_true(trail == trail_of(seed));
        assert_true(trail != before);
        before = trail;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_prints_and_ends_as_its_function_says),
        cmocka_unit_test(a_command_that_nobody_added_is_not_found),
        cmocka_unit_test(a_command_reads_its_input_to_the_end),
        cmocka_unit_test(much_output_comes_whole_however_it_is_cut),
        cmocka_unit_test(output_waits_while_its_consumer_has_enough),
        cmocka_unit_test(a_command_that_does_not_end_is_ended_at_its_deadline),
        cmocka_unit_test(what_a_command_leaves_behind_is_killed_after_the_grace),
        cmocka_unit_test(a_refused_start_is_told),
        cmocka_unit_test(a_signal_is_in_the_answer),
        cmocka_unit_test(a_lost_exit_status_is_an_error),
        cmocka_unit_test(a_slow_command_passes_its_deadline),
        cmocka_unit_test(a_function_is_called_and_answers),
        cmocka_unit_test(a_function_that_is_canceled_in_time_is_not_called),
        cmocka_unit_test(the_faults_of_threads_are_told),
        cmocka_unit_test(a_crash_ends_all_without_a_word),
        cmocka_unit_test(what_nobody_closes_after_a_crash_goes_at_the_next_one),
        cmocka_unit_test(without_memory_at_any_point_it_is_told_and_nothing_is_left),
        cmocka_unit_test(the_same_seed_gives_the_same_trail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
