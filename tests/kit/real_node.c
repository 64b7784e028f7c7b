/* See real_node.h. */
#include "tests/kit/real_node.h"

void real_node_quiet(void *context, tr_log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

tr_sums real_node_sums(const tr_node *node)
{
    tr_sums s;
    uint64_t dropped = 0;
    tr_node_sums(node, &s);
    for (int why = 0; why < TR_DROP_COUNT; why++)
        dropped += s.dropped[why];
    assert_int_equal(s.queued, 0);
    assert_int_equal(s.passed + s.posted, s.arrived);
    assert_int_equal(s.accepted + s.arrived, s.handled + dropped + s.passed);
    return s;
}

tr_sums real_node_run(uint32_t loops, tr_err (*start)(tr_actor *self, void *arg), void *arg)
{
    tr_node_opts opts = {.loops = loops, .log = real_node_quiet, .start = start, .arg = arg};
    tr_error error = {0};
    tr_node *node = tr_node_create(&opts, &error);
    assert_non_null(node);
    tr_err err = tr_node_run(node, &error);
    if (err != TR_OK)
        fail_msg("the node ended with: %s", error.text);
    tr_sums s = real_node_sums(node);
    tr_node_destroy(node);
    return s;
}
