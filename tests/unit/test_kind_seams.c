/* A kind on a node whose driver gives it nothing to act in the world by. */
#include "tests/kit/manual.h"

#include <string.h>

#include <troupe/compute.h>
#include <troupe/downloader.h>
#include <troupe/nng_socket.h>
#include <troupe/stream_client.h>

static tr_down heard;
static char text[TR_ERROR_TEXT_MAX];

static void hear(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const tr_down *down = tr_match(msg, tr_down);
    (void)self, (void)puppet;
    if (!down)
        return;
    heard = *down;
    snprintf(text, sizeof(text), "%s", down->text);
}

typedef struct child {
    const tr_actor_def *def;
    const void *arg;
} child;

static void spawn(tr_actor *self, void *context)
{
    const child *c = context;
    uint64_t monitor;
    tr_spawn_with(self, c->def, c->arg, &(tr_spawn_opts){.monitor = &monitor});
}

static void expect_refused(const tr_actor_def *def, const void *arg, const char *part)
{
    manual *m = manual_open(1);
    manual_puppet puppet = {.on = hear};
    heard = (tr_down){0};
    text[0] = '\0';
    manual_spawn(m, 0, &puppet, NULL);
    manual_do(m, puppet.address, spawn, &(child){def, arg});
    assert_int_equal(heard.kind, TR_EXIT_ERROR);
    assert_int_equal(heard.code, TR_EINVAL);
    if (!strstr(text, part) || !strstr(text, "tr_node_create"))
        fail_msg("not what is missing, or not what to do: %s", text);
    manual_close(m);
}

static void a_kind_without_a_world_refuses_to_start_and_says_what_is_missing(void **state)
{
    (void)state;
    expect_refused(&tr_compute, NULL, "no child processes");
    expect_refused(&tr_downloader, NULL, "no HTTP");
    expect_refused(&tr_stream_client, &(tr_stream_opts){.address = "h:1", .codec = "http"},
                   "no TCP connections");
    static const char *const url = "inproc://x";
    expect_refused(&tr_nng_socket, &(tr_nng_opts){.protocol = "push", .listen = {&url, 1}}, "no nng sockets");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kind_without_a_world_refuses_to_start_and_says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
