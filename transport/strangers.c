/* See strangers.h. The control thread. */
#include "transport/strangers.h"

#include "base/err.h"

/* Whether it is one that may have to go. */
static bool is_unproven(const tr__link *l)
{
    tr__connection_state state = l->connection.state;
    return l->accepted && !l->is_peer && !l->dead && state != TR__CONNECTION_ANSWERED;
}

/* Since when it waits for the other side's next word; who is only being told why it is refused waits for none. */
static uint64_t waits_since(const tr__link *l)
{
    return l->connection.state == TR__CONNECTION_REFUSING ? 0 : l->connection.entered_ns;
}

/* How many of them are from there. */
static unsigned count_from(tr__link *const *all, unsigned count, uint64_t origin)
{
    unsigned same = 0;
    for (unsigned i = 0; i < count; i++)
        same += all[i]->origin == origin;
    return same;
}

/* NULL: all have proven themselves. */
static tr__link *who_goes(tr__endpoint *e)
{
    tr__link *all[TR__UNAUTHENTICATED_MAX], *goes = NULL;
    unsigned count = 0, most = 0;
    for (tr__link *l = e->links; l; l = l->next)
        if (is_unproven(l))
            all[count++] = l;
    for (unsigned i = 0; i < count; i++) {
        unsigned same = count_from(all, count, all[i]->origin);
        /* links are in order, the newest first: of those that wait equally long the oldest goes */
        if (same > most || (same == most && waits_since(all[i]) <= waits_since(goes))) {
            most = same;
            goes = all[i];
        }
    }
    return goes;
}

bool tr__strangers_make_room(tr__endpoint *e)
{
    tr_error why;
    if (e->unauthenticated < TR__UNAUTHENTICATED_MAX)
        return true;
    tr__link *l = who_goes(e);
    if (!l)
        return false;
    e->counters.displaced++;
    tr__fail(&why, TR_EFULL, "it had to make room: %u connections were being made, and another one came",
             TR__UNAUTHENTICATED_MAX);
    tr__connection_cut(&l->connection, &why);
    return true;
}
