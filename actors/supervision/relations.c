/* Links and monitors. Each is one block that is made when the relation is made and travels: a MONITOR goes to
 * the target, waits there, and comes back as the tr_down; a LINK waits at each side and becomes the exit
 * signal to the other. So neither a full mailbox nor a failed allocation loses the news (paid ahead). The
 * owner's loop only. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/futures/period.h"
#include "actors/loop.h"
#include "actors/remote/remote.h"
#include "actors/remote/rights.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/plant.h"

#define NOTICE_ROOM (sizeof(tr_down) + sizeof(((tr__reason *)0)->text))

/* ---- monitors, at the target --------------------------------------------------------------------------- */

void tr__watch_add(tr__loop *loop, tr_actor *target, tr_msg *monitor)
{
    tr__extras *extras = tr__extras_of(loop, target);
    if (!extras) {
        loop->counts.handled--;
        tr__drop(loop, monitor, TR_DROP_NO_MEMORY); /* fires it: better early than never */
        return;
    }
    monitor->next = extras->watchers;
    extras->watchers = monitor;
}

void tr__watch_remove(tr__loop *loop, tr_actor *target, const tr_msg *demonitor)
{
    if (!target->extras)
        return;
    for (tr_msg **at = &target->extras->watchers; *at; at = &(*at)->next)
        if ((*at)->ask == demonitor->ask && tr_addr_equal((*at)->sender, demonitor->sender)) {
            tr_msg *found = *at;
            *at = found->next;
            tr__msg_free(loop, found);
            return;
        }
}

void tr__watch_fire(tr__loop *loop, tr_msg *monitor, tr_addr target, const tr__reason *reason)
{
    tr_addr watcher = monitor->sender;
    tr_down *down = tr__msg_body(monitor);
    char *text = (char *)(down + 1);
    snprintf(text, sizeof(reason->text), "%s", reason->text);
    *down = (tr_down){
        .actor = target, .monitor = monitor->ask, .kind = reason->kind, .code = reason->code, .text = text};
    monitor->kind = TR__MSG_NOTICE;
    tr__msg_filled(monitor, tr__type_of(&tr_down_type));
    monitor->sender = target;
    monitor->ask = 0;
    tr__submit(loop, watcher, monitor);
}

/* ---- monitors, at the watcher -------------------------------------------------------------------------- */

static tr_msg *block_make(tr__loop *loop, uint8_t kind, tr_addr sender, size_t size)
{
    tr_msg *msg = tr__type_of(&tr_down_type) && tr__type_of(&tr_exited_type)
                      ? tr__msg_alloc(&loop->pool, loop->index, size)
                      : NULL;
    if (msg) {
        msg->kind = kind;
        msg->sender = sender;
    }
    return msg;
}

tr_msg *tr__monitor_make(tr__loop *loop, tr_addr watcher, uint64_t number)
{
    tr_msg *msg = block_make(loop, TR__MSG_MONITOR, watcher, NOTICE_ROOM);
    if (msg)
        msg->ask = number;
    return msg;
}

static tr_msg *relation_make(tr_actor *self, uint8_t kind, size_t size)
{
    tr_msg *msg = block_make(tr__owner(self), kind, tr__addr_of(self), size);
    if (!msg)
        tr__self_fail(self, TR_ENOMEM, "no memory for a monitor or link");
    return msg;
}

static struct tr__own_monitor **own_monitor(tr_actor *self, uint64_t number)
{
    struct tr__own_monitor **at = self->extras ? &self->extras->monitors : NULL;
    while (at && *at && (*at)->number != number)
        at = &(*at)->next;
    return at && *at ? at : NULL;
}

/* Off the list of those that may still fire; number 0: it isn't there. */
static struct tr__own_monitor own_monitor_remove(tr_actor *self, uint64_t number)
{
    struct tr__own_monitor **at = own_monitor(self, number), removed = {0};
    if (!at)
        return removed;
    struct tr__own_monitor *own = *at;
    removed = *own;
    *at = own->next;
    self->extras->monitor_count--;
    tr__free(own);
    return removed;
}

bool tr__own_monitor_add(tr_actor *self, uint64_t number, tr_addr target, bool of_name)
{
    tr__extras *extras = tr__extras_of(tr__owner(self), self);
    if (extras && extras->monitor_count >= TR__MONITORS_MAX) {
        tr__self_fail(self, TR_EFULL, "more than %u monitors of one actor", TR__MONITORS_MAX);
        return false;
    }
    struct tr__own_monitor *own = extras ? tr__alloc(sizeof(*own)) : NULL;
    if (!own) {
        tr__self_fail(self, TR_ENOMEM, "no memory for a monitor");
        return false;
    }
    *own = (struct tr__own_monitor){
        .next = extras->monitors, .number = number, .target = target, .of_name = of_name};
    extras->monitors = own;
    extras->monitor_count++;
    return true;
}

void tr__own_monitor_spawning(tr_actor *self, uint64_t number, uint64_t ask)
{
    if (ask)
        (*own_monitor(self, number))->spawning = ask;
    else
        own_monitor_remove(self, number);
}

void tr__own_monitor_spawned(tr_actor *self, uint64_t ask, tr_addr target)
{
    for (struct tr__own_monitor *own = self->extras ? self->extras->monitors : NULL; own; own = own->next)
        if (own->spawning == ask) {
            own->spawning = 0;
            own->target = target;
            if (tr_addr_is_none(target))
                own_monitor_remove(self, own->number);
            return;
        }
}

uint64_t tr_monitor(tr_actor *self, tr_addr to)
{
    tr__loop *loop = tr__owner(self);
    uint64_t number = ++loop->next_number;
    if (!tr__own_monitor_add(self, number, to, false))
        return 0;
    tr_msg *msg = relation_make(self, TR__MSG_MONITOR, NOTICE_ROOM);
    if (!msg) {
        own_monitor_remove(self, number);
        return 0;
    }
    msg->ask = number;
    tr__submit(loop, to, msg);
    return number;
}

bool tr__notice_wanted(tr__loop *loop, tr_actor *actor, tr_msg *notice)
{
    if (notice->flags & TR__MSG_TICK)
        return tr__period_taken(loop, actor, notice);
    if (notice->type == tr__type_of(&tr_name_event_type))
        return own_monitor(actor, ((const tr_name_event *)tr__msg_body(notice))->monitor) != NULL;
    return TR_PLANT(down_twice) || notice->type != tr__type_of(&tr_down_type) ||
           own_monitor_remove(actor, ((const tr_down *)tr__msg_body(notice))->monitor).number != 0;
}

void tr_demonitor(tr_actor *self, uint64_t number)
{
    struct tr__own_monitor own = own_monitor_remove(self, number);
    if (own.number == 0 ||
        tr_addr_is_none(own.target)) /* it is only being started: its tr_down won't be handled */
        return;
    /* Best effort: if there is no memory the tr_down comes, and is not handled. */
    tr_msg *msg =
        own.of_name ? tr__stop_make(self, TR_EXIT_KILLED) : relation_make(self, TR__MSG_DEMONITOR, 0);
    if (!msg)
        return;
    msg->ask = own.of_name ? 0 : number;
    tr__submit(tr__owner(self), own.target, msg);
}

/* ---- links ---------------------------------------------------------------------------------------------
 *
 * A link is a block at each side, whose `sender` is the other side: whom the exit signal goes to.
 *
 *     none ──tr_link, LINK──► linked ──tr_unlink──► unlinking ──UNLINKED──► none
 *      ▲                        │                       │ tr_link: linked
 *      └──UNLINK, exit signal───┴─────exit signal───────┘
 *
 * K1  An actor has at most one block for each other one, so an end is told it once.
 * K2  Between tr_unlink and the other side's UNLINKED nothing that the other side said counts: it didn't know yet. So a LINK
 *     that crosses an UNLINK makes no half of a link.
 * K3  Who lost a connection (deadline_ns: its number) ends links that went by it or by earlier ones, not those that were made
 *     anew since. */

/* Where it hangs; NULL: there is none. */
static tr_msg **link_at(const tr_actor *actor, tr_addr other)
{
    tr_msg **at = actor->extras ? &actor->extras->links : NULL;
    while (at && *at && !tr_addr_equal((*at)->sender, other))
        at = &(*at)->next;
    return at && *at ? at : NULL;
}

/* The number by which the UNLINKED is known that it waits for; 0: it is linked. */
static uint64_t unlinking(const tr_msg *link)
{
    return link->ask;
}

static void link_free(tr__loop *loop, tr_actor *actor, tr_msg **at)
{
    tr_msg *link = *at;
    *at = link->next;
    actor->extras->link_count -= !unlinking(link);
    tr__msg_free(loop, link);
}

static void link_put(tr__extras *extras, tr_msg *link)
{
    link->next = extras->links;
    extras->links = link;
    extras->link_count++;
}

tr_msg *tr__link_make(tr__loop *loop, tr_addr other)
{
    return block_make(loop, TR__MSG_LINK, other, NOTICE_ROOM);
}

void tr__link_add(tr__loop *loop, tr_actor *target, tr_msg *link)
{
    static const tr__reason of_the_node = {
        .kind = TR_EXIT_ERROR, .code = TR_EPERM, .text = "the node's own actors aren't linked from outside"};
    tr__extras *extras = tr__extras_of(loop, target);
    tr_msg **at = link_at(target, link->sender);
    if (!extras) {
        loop->counts.handled--;
        tr__drop(loop, link, TR_DROP_NO_MEMORY);
    } else if (tr__is_guarded(target, link)) {
        tr__link_fire(loop, link, tr__addr_of(target), &of_the_node, 0);
    } else if (at) {
        (*at)->deadline_ns = unlinking(*at) ? (*at)->deadline_ns : link->deadline_ns;
        tr__msg_free(loop, link);
    } else {
        link_put(extras, link);
    }
}

void tr__link_fire(tr__loop *loop, tr_msg *link, tr_addr from, const tr__reason *reason, uint64_t connection)
{
    tr_addr other = link->sender;
    tr_exited *exited = tr__msg_body(link);
    char *text = (char *)(exited + 1);
    snprintf(text, sizeof(reason->text), "%s", reason->text);
    *exited = (tr_exited){.actor = from, .kind = reason->kind, .code = reason->code, .text = text};
    link->kind = TR__MSG_EXIT;
    tr__msg_filled(link, tr__type_of(&tr_exited_type));
    link->sender = from;
    link->ask = 0;
    link->deadline_ns = connection;
    tr__submit(loop, other, link);
}

/* It is the end of a link that this actor has; which it hasn't any more. */
static bool link_ends(tr__loop *loop, tr_actor *actor, const tr_msg *msg)
{
    tr_msg **at = link_at(actor, ((const tr_exited *)tr__msg_body(msg))->actor);
    if (TR_PLANT(exit_unlinked))
        return true;
    if (!at || (msg->deadline_ns && msg->deadline_ns < (*at)->deadline_ns))
        return false;
    bool linked = !unlinking(*at);
    link_free(loop, actor, at);
    return linked;
}

void tr__link_give_up(tr__loop *loop, tr_actor *actor, tr_addr other, const tr__reason *reason)
{
    tr_msg **at = link_at(actor, other);
    if (!at || unlinking(*at))
        return;
    tr_msg *link = *at;
    *at = link->next;
    actor->extras->link_count--;
    tr__link_fire(loop, link, tr__addr_of(actor), reason, 0);
}

void tr__exit_signal(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    const tr_exited *exited = tr__msg_body(msg);
    if (!link_ends(loop, actor, msg)) { /* unlinked while this was under way */
        tr__msg_free(loop, msg);
        return;
    }
    msg->deadline_ns = 0;
    if (actor->traits & TR__TRAPS_EXIT) {
        tr__hand_notice(loop, actor, msg);
        return;
    }
    tr__reason reason = {.kind = exited->kind, .code = exited->code};
    snprintf(reason.text, sizeof(reason.text), "%s", exited->text);
    tr__msg_free(loop, msg);
    if (reason.kind != TR_EXIT_NORMAL)
        tr__end(loop, actor, &reason);
}

/* Whether a link to that actor can be made at all. The connection it will go by, 0: none. */
static tr_err may_link(tr_actor *self, tr_addr to, uint64_t *connection)
{
    const tr_node *node = tr__owner(self)->node;
    *connection = 0;
    if (to.node == node->id)
        return TR_OK;
    tr_err err = tr__remote_allows(tr__owner(self)->node, to.node, TR_MAY_LINK, connection);
    if (err == TR_OK || err == TR_ENOCONN) /* which the exit signal tells */
        return TR_OK;
    return tr__allows_fail(self, err, "tr_link", "link");
}

tr_err tr_link(tr_actor *self, tr_addr to)
{
    tr__loop *loop = tr__owner(self);
    uint64_t connection;
    tr_msg **at = link_at(self, to), *here = NULL;
    if (tr_addr_equal(to, tr__addr_of(self)) || (at && !unlinking(*at)))
        return TR_OK;
    TR_TRY(may_link(self, to, &connection));
    tr__extras *extras = tr__extras_of(loop, self);
    if (extras && extras->link_count >= TR__MONITORS_MAX)
        return tr__self_fail(self, TR_EFULL, "more than %u links of one actor", TR__MONITORS_MAX);
    if (!at)
        here = extras ? relation_make(self, TR__MSG_LINK, NOTICE_ROOM) : NULL;
    tr_msg *there = at || here ? relation_make(self, TR__MSG_LINK, NOTICE_ROOM) : NULL;
    if (!there) {
        if (here)
            tr__msg_free(loop, here);
        return tr__self_fail(self, TR_ENOMEM, "no memory for a link");
    }
    if (here) {
        here->sender = to;
        link_put(extras, here);
        at = link_at(self, to);
    }
    self->extras->link_count += unlinking(*at) != 0;
    (*at)->ask = 0;
    (*at)->deadline_ns = there->deadline_ns = connection;
    tr__submit(loop, to, there);
    return TR_OK;
}

tr_err tr_unlink(tr_actor *self, tr_addr to)
{
    tr__loop *loop = tr__owner(self);
    tr_msg **at = link_at(self, to);
    if (!at || unlinking(*at))
        return TR_OK;
    tr_msg *msg = relation_make(self, TR__MSG_UNLINK, 0);
    if (!msg)
        return TR_ENOMEM;
    (*at)->ask = msg->ask = ++loop->next_number;
    self->extras->link_count--; /* of those that are linked */
    tr__submit(loop, to, msg);
    return TR_OK;
}

void tr__unlinked_tell(tr__loop *loop, tr_addr from, tr_msg *unlink)
{
    tr_addr other = unlink->sender;
    unlink->kind = TR__MSG_UNLINKED;
    unlink->sender = from;
    tr__submit(loop, other, unlink);
}

void tr__unlink_arrived(tr__loop *loop, tr_actor *target, tr_msg *unlink)
{
    tr_msg **at = link_at(target, unlink->sender);
    if (at && !unlinking(*at))
        link_free(loop, target, at);
    tr__unlinked_tell(loop, tr__addr_of(target), unlink);
}

void tr__unlinked_arrived(tr__loop *loop, tr_actor *target, tr_msg *unlinked)
{
    tr_msg **at = link_at(target, unlinked->sender);
    if (at && unlinking(*at) == unlinked->ask)
        link_free(loop, target, at);
    tr__msg_free(loop, unlinked);
}

void tr_trap_exit(tr_actor *self, bool on)
{
    self->traits = (uint8_t)(on ? self->traits | TR__TRAPS_EXIT : self->traits & ~TR__TRAPS_EXIT);
}

void tr_trap_stop(tr_actor *self, bool on)
{
    self->traits = (uint8_t)(on ? self->traits | TR__TRAPS_STOP : self->traits & ~TR__TRAPS_STOP);
}

void tr__relations_end(tr__loop *loop, tr_actor *actor, const tr__reason *reason)
{
    tr_addr self = tr__addr_of(actor);
    tr__extras *extras = actor->extras;
    while (extras->links) {
        tr_msg *link = extras->links;
        extras->links = link->next;
        if (unlinking(link))
            tr__msg_free(loop, link);
        else
            tr__link_fire(loop, link, self, reason, 0);
    }
    while (extras->watchers) {
        tr_msg *monitor = extras->watchers;
        extras->watchers = monitor->next;
        tr__watch_fire(loop, monitor, self, reason);
    }
}
