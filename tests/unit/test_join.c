/* What a node's log says of a seed that it can't reach: each reason at once, and the same again ever more rarely. */
#include <string.h>

#include "actors/remote/remote.h"
#include "tests/kit/manual_net.h"

typedef struct seeker {
    memory_net net;
    manual *m, *seed; /* the latter: of another cluster, or NULL */
} seeker;

static manual *open_node(seeker *s, const char *const *seeds)
{
    return manual_net_open(&s->net,
                           &(manual_net_opts){.name = "a", .cluster = "ours", .id = 1, .join = seeds});
}

static bool step_one(manual *m)
{
    if (!m)
        return false;
    m->busy[0] = manual_turn(m, 0);
    return manual_net_rest(m);
}

static void pass(seeker *s, uint64_t duration_ns)
{
    for (uint64_t passed = 0; passed < duration_ns; passed += TR_MILLIS(50)) {
        bool more = true;
        s->m->now_ns += TR_MILLIS(50);
        if (s->seed)
            s->seed->now_ns = s->m->now_ns;
        while (more) {
            more = step_one(s->m);
            more |= step_one(s->seed);
            more |= memory_net_step(&s->net);
        }
    }
}

static void a_seed_that_stays_away_is_told_of_once_and_then_ever_more_rarely(void **state)
{
    (void)state;
    seeker s = {.seed = NULL};
    memory_net_init(&s.net, 1);
    s.m = open_node(&s, (const char *const[]){"127.0.0.1:7101", NULL});
    pass(&s, TR_SECONDS(30));
    assert_int_equal(s.m->logged, 1);
    assert_non_null(strstr(s.m->last_log, "--join 127.0.0.1:7101: "));
    assert_null(strstr(s.m->last_log, "times"));
    pass(&s, TR_SECONDS(45));
    assert_int_equal(s.m->logged, 2);
    assert_non_null(strstr(s.m->last_log, "so it was 16 times now"));
    pass(&s, TR_SECONDS(3600));
    assert_in_range(s.m->logged, 6, 9);
    manual_net_close(s.m);
    memory_net_fini(&s.net);
}

static void another_reason_is_told_at_once(void **state)
{
    (void)state;
    seeker s = {.seed = NULL};
    memory_net_init(&s.net, 1);
    s.seed = manual_net_open(
        &s.net, &(manual_net_opts){.name = "b", .cluster = "others", .id = 2, .listen = "127.0.0.1:0"});
    const char *seeds[] = {tr__remote_address(s.seed->node->remote), NULL};
    s.net.refuse_dials = true;
    s.m = open_node(&s, seeds);
    pass(&s, TR_SECONDS(30));
    assert_int_equal(s.m->logged, 1);
    s.net.refuse_dials = false;
    pass(&s, TR_SECONDS(30));
    assert_int_equal(s.m->logged, 2);
    assert_non_null(strstr(s.m->last_log, "cluster"));
    assert_null(strstr(s.m->last_log, "times"));
    s.net.refuse_dials = true;
    pass(&s, TR_SECONDS(30));
    assert_int_equal(s.m->logged, 3);
    manual_net_close(s.m);
    manual_net_close(s.seed);
    memory_net_fini(&s.net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_that_stays_away_is_told_of_once_and_then_ever_more_rarely),
        cmocka_unit_test(another_reason_is_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
