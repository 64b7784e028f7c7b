/* See message.h. */
#include "mailbox/message.h"

#include "base/mem.h"
#include "mailbox/versions.h"

tr_msg *tr__msg_alloc_plain(tr__buffers *account, size_t size)
{
    tr_msg *msg = tr__large_alloc(sizeof(tr_msg) + size);
    if (msg)
        *msg = (tr_msg){.size = (uint32_t)size, .home = TR__HOME_NONE, .size_class = TR__CLASS_LARGE};
    if (msg)
        tr__buffers_charge(account, size);
    return msg;
}

void tr__msg_let_go(tr_msg *msg)
{
    if (msg->flags & TR__MSG_CONVERTED)
        tr__versions_drop(msg);
    if (msg->type)
        tr__body_release(msg->type, tr__msg_body(msg));
    msg->home &= (uint8_t)~TR__HOME_HOLDS;
}
