/* What a node's log says of a seed that it can't reach: each reason at once, and the same again ever more rarely. */
#include <string.h>

#include "actors/remote/remote.h"
#include "tests/kit/manual.h"
#include "tests/kit/memory_stream.h"

typedef struct seeker {
    memory_net net;
    manual *m, *seed; /* the latter: of another cluster, or NULL */
} seeker;

static void woken(void *context)
{
    (void)context; /* it is stepped anyway */
}

static manual *open_node(seeker *s, const char *name, const char *cluster, const char *listen,
                         const char *const *seeds)
{
    tr_error error;
    manual *m = manual_open(1);
    tr_node *node = m->node;
    snprintf(node->name, sizeof(node->name), "%s", name);
    node->id = name[0];
    node->seams.net = &s->net.net;
    node->seams.wake_control = woken;
    snprintf(node->cluster, sizeof(node->cluster), "%s", cluster);
    node->opts.listen = listen;
    node->opts.join = seeds;
    if (tr__node_begin(node, &error) != TR_OK)
        fail_msg("%s", error.text);
    return m;
}

static void close_node(manual *m)
{
    manual_stop(m);
    tr__remote_free(m->node);
    manual_close(m);
}

static bool step_one(manual *m)
{
    if (!m)
        return false;
    m->busy[0] = manual_turn(m, 0);
    tr__remote_control_step(m->node->remote, m->now_ns);
    return m->busy[0] || tr__remote_has_news(m->node->remote) ||
           tr__remote_control_due(m->node->remote) <= m->now_ns;
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
    s.m = open_node(&s, "a", "ours", NULL, (const char *const[]){"127.0.0.1:7101", NULL});
    pass(&s, TR_SECONDS(30));
    assert_int_equal(s.m->logged, 1);
    assert_non_null(strstr(s.m->last_log, "--join 127.0.0.1:7101: "));
    assert_null(strstr(s.m->last_log, "times"));
    pass(&s, TR_SECONDS(45));
    assert_int_equal(s.m->logged, 2);
    assert_non_null(strstr(s.m->last_log, "so it was 16 times now"));
    pass(&s, TR_SECONDS(3600));
    assert_in_range(s.m->logged, 6, 9);
    close_node(s.m);
    memory_net_fini(&s.net);
}

static void another_reason_is_told_at_once(void **state)
{
    (void)state;
    seeker s = {.seed = NULL};
    memory_net_init(&s.net, 1);
    s.seed = open_node(&s, "b", "others", "127.0.0.1:0", NULL);
    const char *seeds[] = {tr__remote_address(s.seed->node->remote), NULL};
    s.net.refuse_dials = true;
    s.m = open_node(&s, "a", "ours", NULL, seeds);
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
    close_node(s.m);
    close_node(s.seed);
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
