/* See manual_net.h. */
#include <stdio.h>

#include "actors/remote/remote.h"
#include "tests/kit/manual_net.h"

static void woken(void *context)
{
    (void)context; /* it is stepped anyway */
}

manual *manual_net_open(memory_net *net, const manual_net_opts *opts)
{
    tr_error error;
    manual *m = manual_open(opts->loops ? opts->loops : 1);
    tr_node *node = m->node;
    snprintf(node->name, sizeof(node->name), "%s", opts->name);
    if (opts->cluster)
        snprintf(node->cluster, sizeof(node->cluster), "%s", opts->cluster);
    node->id = opts->id;
    node->seams.net = &net->net;
    node->seams.wake_control = woken;
    node->opts.listen = opts->listen;
    node->opts.join = opts->join;
    if (tr__node_begin(node, &error) != TR_OK)
        fail_msg("%s", error.text);
    return m;
}

bool manual_net_rest(manual *m)
{
    bool more = false;
    tr__remote_control_step(m->node->remote, m->now_ns);
    for (uint32_t i = 0; i < m->node->loop_count; i++)
        more |= m->busy[i] || atomic_load(&m->node->loops[i]->inbox);
    return more || tr__remote_has_news(m->node->remote) ||
           tr__remote_control_due(m->node->remote) <= m->now_ns;
}

void manual_net_close(manual *m)
{
    manual_stop(m);
    tr__remote_free(m->node); /* before the sums are looked at: what was held is dropped */
    manual_close(m);
}
