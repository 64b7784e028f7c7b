/* See remote.h. */
#include "actors/remote.h"

tr_err tr__remote_check(tr_node *node, uint64_t to_node)
{
    (void)node;
    (void)to_node;
    return TR_ENOCONN;
}

void tr__remote_send(tr__loop *loop, uint64_t to_node, tr_msg *msg)
{
    (void)to_node;
    tr__drop(loop, msg, TR_DROP_NO_CONNECTION);
}

void tr__remote_step(tr__remote *remote, uint64_t now_ns)
{
    (void)remote;
    (void)now_ns;
}

void tr__remote_flush(tr__remote *remote)
{
    (void)remote;
}

uint64_t tr__remote_next_due(const tr__remote *remote)
{
    (void)remote;
    return TR__NEVER;
}
