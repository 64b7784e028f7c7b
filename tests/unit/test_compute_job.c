/* The compute actor's table of jobs, their states, and the checks of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "actors/kinds/compute_job.h"
#include "base/check.h"
#include "base/mem.h"

static char check_text[512];

static void note_check(const char *text)
{
    strncpy(check_text, text, sizeof(check_text) - 1);
}

static void expect_list(const tr__job_list *list, const tr__job *const *jobs, uint32_t count)
{
    const tr__job *job = list->first;
    for (uint32_t i = 0; i < count; i++, job = job->next)
        assert_ptr_equal(job, jobs[i]);
    assert_null(job);
    assert_int_equal(list->count, count);
}

static void jobs_wait_in_order_and_move_to_the_running_ones(void **state)
{
    (void)state;
    tr__jobs jobs = {0};
    tr__job *a = tr__jobs_add(&jobs), *b = tr__jobs_add(&jobs), *c = tr__jobs_add(&jobs);
    expect_list(&jobs.queued, (const tr__job *const[]){a, b, c}, 3);
    tr__job_move(&jobs, b, TR__JOB_RUNNING);
    expect_list(&jobs.queued, (const tr__job *const[]){a, c}, 2);
    expect_list(&jobs.running, (const tr__job *const[]){b}, 1);
    tr__job_move(&jobs, b, TR__JOB_ENDING);
    expect_list(&jobs.running, (const tr__job *const[]){b}, 1);
    tr__jobs_remove(&jobs, b);
    tr__jobs_remove(&jobs, a);
    tr__jobs_remove(&jobs, c);
    expect_list(&jobs.queued, NULL, 0);
    expect_list(&jobs.running, NULL, 0);
    tr__jobs_fini(&jobs);
}

static void id_of_a_removed_job_finds_nothing_though_its_place_is_used_again(void **state)
{
    (void)state;
    tr__jobs jobs = {0};
    tr__job *a = tr__jobs_add(&jobs);
    uint64_t id = a->id;
    assert_ptr_equal(tr__jobs_get(&jobs, id), a);
    tr__jobs_remove(&jobs, a);
    assert_null(tr__jobs_get(&jobs, id));
    tr__job *b = tr__jobs_add(&jobs);
    assert_int_equal((uint32_t)b->id, (uint32_t)id);
    assert_null(tr__jobs_get(&jobs, id));
    assert_null(tr__jobs_get(&jobs, 12345));
    tr__jobs_remove(&jobs, b);
    tr__jobs_fini(&jobs);
}

static void a_thousand_jobs_keep_their_ids(void **state)
{
    (void)state;
    tr__jobs jobs = {0};
    static tr__job *all[1000];
    for (int i = 0; i < 1000; i++)
        all[i] = tr__jobs_add(&jobs);
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(tr__jobs_get(&jobs, all[i]->id), all[i]);
    for (int i = 0; i < 1000; i++)
        tr__jobs_remove(&jobs, all[i]);
    tr__jobs_fini(&jobs);
}

static void job_is_found_by_its_ask_its_asker_and_its_consumer(void **state)
{
    (void)state;
    tr__jobs jobs = {0};
    tr_addr ann = {1, 2, 3}, bob = {1, 4, 5};
    tr__job *job = tr__jobs_add(&jobs);
    job->asker = ann;
    job->ask_number = 7;
    job->number = 9;
    assert_ptr_equal(tr__jobs_of_ask(&jobs, ann, 7), job);
    assert_null(tr__jobs_of_ask(&jobs, bob, 7));
    assert_null(tr__jobs_of_ask(&jobs, ann, 8));
    /* It takes no input and streams to nobody. */
    assert_null(tr__jobs_of_asker(&jobs, ann, 9));
    assert_null(tr__jobs_of_consumer(&jobs, TR_ADDR_NONE, 9));
    job->takes_input = true;
    job->output = bob;
    tr__job_move(&jobs, job, TR__JOB_RUNNING);
    assert_ptr_equal(tr__jobs_of_asker(&jobs, ann, 9), job);
    assert_ptr_equal(tr__jobs_of_consumer(&jobs, bob, 9), job);
    assert_null(tr__jobs_of_consumer(&jobs, ann, 9));
    tr__jobs_remove(&jobs, job);
    tr__jobs_fini(&jobs);
}

static void move_that_is_not_in_the_drawing_is_caught(void **state)
{
    (void)state;
    tr__jobs jobs = {0};
    tr__job *job = tr__jobs_add(&jobs);
    tr__job_move(&jobs, job, TR__JOB_RUNNING);
    tr__job_move(&jobs, job, TR__JOB_KILLED);
    tr__check_handler = note_check;
    check_text[0] = '\0';
    tr__job_move(&jobs, job, TR__JOB_ENDING);
    tr__check_handler = NULL;
    assert_non_null(strstr(check_text, "may not go from state"));
    job->state = TR__JOB_KILLED;
    tr__jobs_remove(&jobs, job);
    tr__jobs_fini(&jobs);
}

static void adding_without_memory_changes_nothing(void **state)
{
    (void)state;
    tr__jobs jobs = {0};
    tr__job *job = NULL;
    uint64_t nth = 0;
    while (!job) {
        assert_true(++nth < 10);
        tr__alloc_fail_at(nth);
        job = tr__jobs_add(&jobs);
        tr__alloc_fail_at(0);
        if (!job)
            expect_list(&jobs.queued, NULL, 0);
    }
    assert_true(nth > 3);
    tr__jobs_remove(&jobs, job);
    tr__jobs_fini(&jobs);
}

static void gathered_bytes_are_those_added(void **state)
{
    (void)state;
    tr__gather gather = {0};
    for (uint32_t i = 0; i < 10000; i++)
        assert_true(tr__gather_add(&gather, &i, sizeof(i)));
    assert_int_equal(gather.size, 40000);
    for (uint32_t i = 0; i < 10000; i++)
        assert_memory_equal(gather.data + i * 4, &i, 4);
    assert_true(tr__gather_add(&gather, NULL, 0));
    tr__gather_fini(&gather);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static void joined_arguments_split_into_the_same(void **state)
{
    (void)state;
    tr_error error;
    tr_bytes block = TR_ARGV("sh", "-c", "", "a b");
    assert_int_equal(block.size, 3 + 3 + 1 + 4);
    const char **list = tr__argv_split(block, "argv", &error);
    assert_non_null(list);
    assert_string_equal(list[0], "sh");
    assert_string_equal(list[1], "-c");
    assert_string_equal(list[2], "");
    assert_string_equal(list[3], "a b");
    assert_null(list[4]);
    tr__free(list);
    list = tr__argv_split((tr_bytes){NULL, 0}, "environment", &error);
    assert_null(list[0]);
    tr__free(list);
}

static void block_without_its_last_nul_is_refused(void **state)
{
    (void)state;
    tr_error error;
    assert_null(tr__argv_split((tr_bytes){"ls\0-l", 5}, "argv", &error));
    assert_int_equal(error.code, TR_EINVAL);
    assert_non_null(strstr(error.text, "TR_ARGV"));
}

static void arguments_that_do_not_fit_give_nothing(void **state)
{
    (void)state;
    static char large[TR_ARGV_MAX + 1];
    memset(large, 'x', TR_ARGV_MAX - 1);
    assert_int_equal(TR_ARGV(large).size, TR_ARGV_MAX);
    large[TR_ARGV_MAX - 1] = 'x';
    assert_int_equal(TR_ARGV(large).size, 0);
    assert_int_equal(TR_ARGV("ls", large).size, 0);
}

static void expect_refused(const tr_run *run, const char *part)
{
    tr_error error;
    assert_int_equal(tr__run_check(run, &error), TR_EINVAL);
    assert_non_null(strstr(error.text, part));
}

static void request_that_makes_no_sense_is_refused_by_name(void **state)
{
    (void)state;
    tr_error error;
    expect_refused(&(tr_run){0}, "without a command");
    expect_refused(&(tr_run){.argv = TR_ARGV("")}, "without a command");
    expect_refused(&(tr_run){.argv = {"ls", 2}}, "tr_run.argv");
    expect_refused(&(tr_run){.argv = TR_ARGV("ls"), .environment = {"A=b", 3}}, "tr_run.environment");
    expect_refused(&(tr_run){.argv = TR_ARGV("ls"), .environment = TR_ARGV("A=b", "C")}, "'C'");
    expect_refused(&(tr_run){.argv = TR_ARGV("ls"), .environment = TR_ARGV("=b")}, "'=b'");
    expect_refused(&(tr_run){.argv = TR_ARGV("ls"), .limit = UINT64_MAX}, "tr_run.limit");
    assert_int_equal(
        tr__run_check(&(tr_run){.argv = TR_ARGV("ls"), .environment = TR_ARGV("A=b", "C=")}, &error), TR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_wait_in_order_and_move_to_the_running_ones),
        cmocka_unit_test(id_of_a_removed_job_finds_nothing_though_its_place_is_used_again),
        cmocka_unit_test(a_thousand_jobs_keep_their_ids),
        cmocka_unit_test(job_is_found_by_its_ask_its_asker_and_its_consumer),
        cmocka_unit_test(move_that_is_not_in_the_drawing_is_caught),
        cmocka_unit_test(adding_without_memory_changes_nothing),
        cmocka_unit_test(gathered_bytes_are_those_added),
        cmocka_unit_test(joined_arguments_split_into_the_same),
        cmocka_unit_test(block_without_its_last_nul_is_refused),
        cmocka_unit_test(arguments_that_do_not_fit_give_nothing),
        cmocka_unit_test(request_that_makes_no_sense_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
