/* The shipped kinds on nodes that the simulator drives: they do their work in virtual time, through crashes too, and the
 * same seed is the same run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <troupe/compute.h>
#include <troupe/downloader.h>
#include <troupe/stream_client.h>

#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/sim_kinds.h"

static unsigned ran, called, fetched, answered; /* in all runs of a test */

/* ---- the world ----------------------------------------------------------------------------------------- */

static int hello(void *context, const char *const *argv, tr_bytes input, FILE *out)
{
    (void)context, (void)argv, (void)input;
    fputs("hello", out);
    return 0;
}

static tr_err sum(const void *in, size_t in_size, tr_compute_out *out)
{
    uint8_t total = 0;
    for (size_t i = 0; i < in_size; i++)
        total += ((const uint8_t *)in)[i];
    return tr_compute_write(out, &total, 1);
}

static size_t pong(void *context, const void *data, size_t size, FILE *out)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong";
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    (void)context;
    if (!end)
        return 0;
    fputs(text, out);
    return (size_t)(end + 4 - (const char *)data);
}

static tr_sim *open_sim(uint64_t seed, const tr_scenario *scenario, uint32_t faults, uint32_t rate)
{
    tr_error error;
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = scenario, .faults = faults}, &error);
    if (!sim)
        fail_msg("%s", error.text);
    tr_sim_command(sim, "hello", hello, NULL);
    tr_sim_origin(sim, "http://origin/", 100000);
    tr_sim_server(sim, "server", 80, pong, NULL);
    if (rate)
        sim_world_fails(sim, rate);
    return sim;
}

/* ---- what each node does ------------------------------------------------------------------------------- */

static tr_err run_once(tr_actor *self, tr_addr compute)
{
    const tr_ran *answer;
    tr_err err = tr_await(self, tr_ask(self, compute, TR_SECONDS(5), tr_run, .argv = TR_ARGV("hello")),
                          tr_ran, &answer);
    ran += err == TR_OK && answer->out.size == 5;
    return err;
}

static tr_err call_once(tr_actor *self, tr_addr compute)
{
    const tr_called *answer;
    tr_future future =
        tr_ask(self, compute, TR_SECONDS(5), tr_call, .function = "sum", .input = {"\1\2\3", 3});
    tr_err err = tr_await(self, future, tr_called, &answer);
    called += err == TR_OK && *(const uint8_t *)answer->output.data == 6;
    return err;
}

static tr_err fetch_once(tr_actor *self, tr_addr downloader)
{
    const tr_fetched *answer;
    tr_future future = tr_ask(self, downloader, TR_SECONDS(20), tr_fetch, .url = "http://origin/file",
                              .into = "/data/", .resume = true);
    tr_err err = tr_await(self, future, tr_fetched, &answer);
    fetched += err == TR_OK && answer->size == 100000;
    return err;
}

static tr_err get_once(tr_actor *self, tr_addr client)
{
    const tr_http_response *answer;
    tr_future future = tr_ask(self, client, TR_SECONDS(5), tr_http_request, .method = "GET", .path = "/");
    tr_err err = tr_await(self, future, tr_http_response, &answer);
    answered += err == TR_OK && answer->body.size == 4;
    return err;
}

static tr_err start(tr_actor *self, uint32_t index)
{
    (void)index;
    tr_addr compute = tr_spawn(self, &tr_compute, NULL), downloader = tr_spawn(self, &tr_downloader, NULL);
    tr_addr client =
        tr_spawn(self, &tr_stream_client, &(tr_stream_opts){.address = "server:80", .codec = "http"});
    if (tr_addr_is_none(compute) || tr_addr_is_none(downloader) || tr_addr_is_none(client))
        return TR_OK; /* no memory: this life of the node does nothing */
    while (run_once(self, compute) != TR_EKILLED && call_once(self, compute) != TR_EKILLED &&
           fetch_once(self, downloader) != TR_EKILLED && get_once(self, client) != TR_EKILLED) {
    }
    return TR_OK;
}

static const tr_scenario scenario = {.size = sizeof(scenario), .name = "kinds", .nodes = 3, .start = start};

static uint64_t run(uint64_t seed, uint32_t faults, uint32_t rate)
{
    tr_sim_result result;
    tr_sim *sim = open_sim(seed, &scenario, faults, rate);
    tr_sim_step(sim, TR_SECONDS(10));
    tr_sim_result_get(sim, &result);
    if (result.failed)
        fail_msg("seed %llu: %s", (unsigned long long)seed, result.what);
    tr_sim_destroy(sim);
    return result.hash;
}

/* ---- the tests ----------------------------------------------------------------------------------------- */

static void the_kinds_do_their_work_on_simulated_nodes(void **state)
{
    (void)state;
    ran = called = fetched = answered = 0;
    run(16, 0, 0);
    assert_true(ran > 100 && called > 100 && fetched > 100 && answered > 100);
}

static void the_same_seed_is_the_same_run_with_crashes_and_faults(void **state)
{
    (void)state;
    ran = called = fetched = answered = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t hash = run(seed, TR_SIM_ALL_FAULTS, SIM_MILLION / 20);
        assert_true(hash == run(seed, TR_SIM_ALL_FAULTS, SIM_MILLION / 20));
        assert_true(hash != run(seed + 100, TR_SIM_ALL_FAULTS, SIM_MILLION / 20));
    }
    assert_true(ran && called && fetched && answered);
}

static bool any_alive(const sim_handle *handle, uint32_t node)
{
    while (handle && (handle->node != node || handle->dead))
        handle = handle->next;
    return handle != NULL;
}

static void nothing_goes_on_of_what_a_killed_node_had_begun(void **state)
{
    (void)state;
    for (int power = 0; power < 2; power++) {
        tr_sim *sim = open_sim(16, &scenario, 0, 0);
        const sim_twin *files = &sim->kinds->files->twin;
        for (int i = 0; i < 1000 && !any_alive(files->handles, 1); i++)
            tr_sim_step(sim, TR_MILLIS(1));
        assert_true(any_alive(files->handles, 1));
        tr_sim_kill(sim, 1, power);
        assert_false(any_alive(files->handles, 1));
        tr_sim_destroy(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kinds_do_their_work_on_simulated_nodes),
        cmocka_unit_test(nothing_goes_on_of_what_a_killed_node_had_begun),
        cmocka_unit_test(the_same_seed_is_the_same_run_with_crashes_and_faults),
    };
    if (tr_compute_register("sum", sum) != TR_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
