/* See warden.h. An actor like others; what it can't answer yet it keeps, and tries again every RETRY and when
 * a node comes. Bounded: WAITING_MAX look-ups wait, TR__WATCHERS_MAX watch.
 *
 * Who watches hears of each node in turn that it is up and that it is down, whatever is short when: whom it couldn't tell
 * (a full mailbox, no memory) the warden tells later. It needs nothing for that but the nodes' records: one that went
 * stays until all who were told of its coming were told of its end, and one that went untold is never told of. */
#include "actors/names/warden.h"

#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/names/claims.h"
#include "actors/remote/spawn_at.h"
#include "actors/send.h"
#include "base/err.h"

#define WAITING_MAX 256
#define RETRY       TR_MILLIS(20)

TR_MESSAGE(retry)

typedef struct watcher {
    tr_addr actor;    /* none: a free place */
    uint64_t monitor; /* 0: it isn't watched yet */
} watcher;

typedef struct warden {
    tr__claims claims; /* first: it is what callbacks of its own have as their state */
    tr_msg *waiting[WAITING_MAX];
    uint32_t waiting_count;
    watcher watchers[TR__WATCHERS_MAX];
    tr_msg *nodes;     /* their records, in order of coming */
    uint64_t serial;   /* how many came so far */
    tr__starts starts; /* actors that were started for others */
    bool untold;       /* not all who watch have heard all */
    bool untaught;     /* nor have all peers that learn */
    tr__pending *tick; /* what is waiting, or untold, is tried again */
} warden;

static tr__node_record *record_of(tr_msg *msg)
{
    return tr__msg_body(msg);
}

static void retry_soon(tr_actor *self, warden *w)
{
    if (w->waiting_count || w->untold || w->untaught || w->claims.unsettled)
        tr__tick_set(tr__owner(self), w->tick, RETRY);
}

/* It waits, for its name or its node. False: too many do. */
static bool wait_for_it(tr_actor *self, warden *w, tr_msg *ask)
{
    if (w->waiting_count == WAITING_MAX)
        return false;
    w->waiting[w->waiting_count++] = ask;
    retry_soon(self, w);
    return true;
}

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr_msg *ask = context;
    /* The node that was asked is gone: its next incarnation may know. */
    if (result->err == TR_ENOCONN && wait_for_it(self, state, ask))
        return;
    const tr_found *found = result->msg ? tr_match(result->msg, tr_found) : NULL;
    if (found)
        tr_reply(self, ask, tr_found, .actor = found->actor);
    else if (result->err == TR_EDEADLINE) /* with this name, not with this node's way of asking */
        tr_reply_error(self, ask, TR_EDEADLINE, TR__NOBODY_CALLED, tr_match(ask, tr__find_name)->path);
    else
        tr_reply_error(self, ask, result->err ? result->err : TR_EPROTO, "%s",
                       result->error ? result->error->text : "the other node answered something else");
    tr_msg_free(self, &ask);
}

/* Of the one that came last; 0: it isn't connected. */
static uint64_t node_id(const warden *w, const char *name, size_t length)
{
    uint64_t id = 0;
    for (tr_msg *msg = w->nodes; msg; msg = msg->next) {
        const tr__node_record *r = record_of(msg);
        if (r->changed.up && strlen(r->name) == length && memcmp(r->name, name, length) == 0)
            id = r->changed.node;
    }
    return id;
}

static bool answer_if_found(tr_actor *self, tr_msg *ask, tr_addr found)
{
    if (tr_addr_is_none(found))
        return false;
    tr_reply(self, ask, tr_found, .actor = found);
    tr_msg_free(self, &ask);
    return true;
}

/* Answer a kept look-up, or hand it to the node that can; false: not yet. */
static bool try_find(tr_actor *self, warden *w, tr_msg *ask)
{
    const tr_node *node = tr__owner(self)->node;
    const tr__find_name *find = tr_match(ask, tr__find_name);
    const char *slash = strchr(find->path, '/'), *name = slash ? slash + 1 : find->path;
    size_t length = slash ? (size_t)(slash - find->path) : 0;
    if (!slash || (strlen(node->name) == length && memcmp(node->name, find->path, length) == 0))
        return answer_if_found(self, ask, tr_whereis(self, name));
    if (tr__is_of_cluster(find->path))
        return answer_if_found(self, ask, tr__claims_holder(&w->claims, name));
    uint64_t id = node_id(w, find->path, length);
    if (!id)
        return false;
    tr_future future =
        tr_ask(self, TR__WARDEN_OF(id), tr_msg_remaining(self, ask), tr__find_name, .path = name);
    return tr_then(self, future, answered, ask) == TR_OK; /* on an error: it waits for the node to be back */
}

static void find(tr_actor *self, warden *w, const tr_msg *msg)
{
    const char *path = tr_match(msg, tr__find_name)->path;
    tr_error error;
    if (tr__node_may(tr__owner(self), tr_msg_sender(msg).node, TR__RIGHT_NAMES, path, &error) != TR_OK) {
        tr_reply_error(self, msg, error.code, "%s", error.text);
        return;
    }
    if (w->waiting_count == WAITING_MAX) {
        tr_reply_error(self, msg, TR_EFULL, "%d look-ups wait already on this node", WAITING_MAX);
        return;
    }
    tr_msg *ask = tr_msg_take(self, msg);
    if (!ask || try_find(self, w, ask))
        return;
    w->waiting[w->waiting_count++] = ask;
}

/* Start it, or hand that on to the node that is to; false: not yet. */
static bool try_spawn(tr_actor *self, warden *w, tr_msg *ask)
{
    tr_node *node = tr__owner(self)->node;
    const char *name = tr_match(ask, tr__spawn_request)->node;
    uint64_t id = node_id(w, name, strlen(name)), connection;
    if (strcmp(name, node->name) == 0) {
        tr__spawn_for(self, &w->starts, ask);
    } else if (!id || tr__remote_allows(node, id, 0, &connection) == TR_ENOCONN) {
        return false;
    } else if (tr__remote_allows(node, id, 0, &connection) == TR_EVERSION) {
        tr_reply_error(self, ask, TR_EVERSION, "node %s is of a version that starts nothing for others",
                       name);
    } else {
        return tr_forward(self, ask, TR__WARDEN_OF(id)) == TR_OK;
    }
    tr_msg_free(self, &ask);
    return true;
}

/* A peer can only have started what is offered here: it is never handed on to a third node. */
static void spawn(tr_actor *self, warden *w, const tr_msg *msg)
{
    if (tr_msg_sender(msg).node != tr__owner(self)->node->id) {
        tr__spawn_for(self, &w->starts, msg);
        return;
    }
    tr_msg *ask = w->waiting_count < WAITING_MAX ? tr_msg_take(self, msg) : NULL;
    if (!ask)
        tr_reply_error(self, msg, TR_EFULL, "%d look-ups and spawns wait already on this node", WAITING_MAX);
    else if (!try_spawn(self, w, ask))
        w->waiting[w->waiting_count++] = ask;
}

static void retry_all(tr_actor *self, warden *w)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < w->waiting_count; i++) {
        tr_msg *ask = w->waiting[i];
        if (tr_msg_remaining(self, ask) == 0)
            tr_msg_free(self, &ask); /* the asker's own deadline has told it */
        else if (!(tr_match(ask, tr__find_name) ? try_find(self, w, ask) : try_spawn(self, w, ask)))
            w->waiting[left++] = ask;
    }
    w->waiting_count = left;
}

static void forget(tr_actor *self, warden *w, const tr_canceled *canceled)
{
    for (uint32_t i = 0; i < w->waiting_count; i++)
        if (tr_msg_ask_number(w->waiting[i]) == canceled->ask &&
            tr_addr_equal(tr_msg_sender(w->waiting[i]), canceled->asker)) {
            tr_msg_free(self, &w->waiting[i]);
            w->waiting[i] = w->waiting[--w->waiting_count];
            return;
        }
}

/* ---- telling who watches ------------------------------------------------------------------------------- */

/* As a notice, which nobody can forge; a place is drawn for it as for other messages. False: it couldn't be told now. */
static bool tell(tr_actor *self, tr_addr to, const tr__node_changed *change)
{
    tr_node_event event = {
        .name = change->name, .node = change->node, .up = change->up, .reason = change->reason};
    return tr__send_notice(self, to, &tr_node_event_type, &event) == TR_OK;
}

/* All that it hasn't heard, in order; false: not all. */
static bool tell_one(tr_actor *self, warden *w, uint32_t number)
{
    watcher *who = &w->watchers[number];
    uint64_t bit = 1ull << number % 64;
    if (!who->monitor && !(who->monitor = tr_monitor(self, who->actor)))
        return false;
    for (tr_msg *msg = w->nodes; msg; msg = msg->next) {
        tr__node_record *r = record_of(msg);
        uint64_t *told = &r->told[number / 64];
        bool told_up = *told & bit;
        if (told_up == r->changed.up)
            continue;
        if (!tell(self, who->actor, &r->changed))
            return false;
        *told ^= bit;
    }
    return true;
}

/* Of nodes that went and of whose coming nobody is told any more. */
static void records_free(tr_actor *self, warden *w)
{
    for (tr_msg **at = &w->nodes; *at;) {
        tr_msg *msg = *at;
        const tr__node_record *r = record_of(msg);
        bool told = r->changed.up;
        for (uint32_t i = 0; i < TR__WATCHERS_MAX / 64; i++)
            told = told || r->told[i];
        if (told) {
            at = &msg->next;
        } else {
            *at = msg->next;
            tr__claims_forget(record_of(msg));
            tr__msg_free(tr__owner(self), msg);
        }
    }
}

static void tell_all(tr_actor *self, warden *w)
{
    w->untold = false;
    for (uint32_t i = 0; i < TR__WATCHERS_MAX; i++)
        if (!tr_addr_is_none(w->watchers[i].actor) && !tell_one(self, w, i))
            w->untold = true;
    records_free(self, w);
}

static void watch(tr_actor *self, warden *w, tr_addr actor)
{
    uint32_t place = TR__WATCHERS_MAX;
    for (uint32_t i = TR__WATCHERS_MAX; i-- > 0;) {
        if (tr_addr_equal(w->watchers[i].actor, actor))
            return;
        if (tr_addr_is_none(w->watchers[i].actor))
            place = i;
    }
    if (place == TR__WATCHERS_MAX) {
        tr_log(self, TR_LOG_WARN, "more than %d actors watch the nodes: one more is refused",
               TR__WATCHERS_MAX);
        return;
    }
    w->watchers[place] = (watcher){.actor = actor};
    tell_all(self, w);
}

static void watcher_down(tr_actor *self, warden *w, const tr_down *down)
{
    uint32_t i = 0;
    while (i < TR__WATCHERS_MAX && w->watchers[i].monitor != down->monitor)
        i++;
    if (i == TR__WATCHERS_MAX)
        return;
    if (tr__may_run(down)) {
        w->watchers[i].monitor = 0;
        w->untold = true;
        return;
    }
    w->watchers[i] = (watcher){.monitor = 0};
    for (tr_msg *msg = w->nodes; msg; msg = msg->next)
        record_of(msg)->told[i / 64] &= ~(1ull << i % 64);
    records_free(self, w);
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

tr_msg *tr__node_changed_make(tr__loop *loop, const char *name, uint64_t node, bool up)
{
    const tr_typeinfo *info = tr__type_of(&tr__node_changed_type);
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, sizeof(tr__node_record)) : NULL;
    if (!msg)
        return NULL;
    tr__node_record *r = record_of(msg);
    memset(r, 0, sizeof(*r));
    snprintf(r->name, sizeof(r->name), "%s", name);
    r->changed = (tr__node_changed){.name = r->name, .node = node, .up = up, .reason = r->reason};
    msg->kind = TR__MSG_NOTICE;
    tr__msg_filled(msg, info);
    return msg;
}

void tr__node_changed_tell(tr__loop *loop, tr_msg *msg, const char *reason)
{
    tr__node_record *r = record_of(msg);
    snprintf(r->reason, sizeof(r->reason), "%s", reason);
    tr__submit(loop, loop->node->warden, msg);
}

static void teach(tr_actor *self, warden *w)
{
    w->untaught = tr__owner(self)->node->opts.learn && !tr__learn_tell(self, w->nodes, w->serial);
}

static void node_came(tr_actor *self, warden *w)
{
    tr__loop *loop = tr__owner(self);
    tr_msg **at = &w->nodes;
    while (*at)
        at = &(*at)->next;
    *at = loop->current; /* taken */
    (*at)->next = NULL;
    tr__learn_came(self, record_of(loop->current), ++w->serial);
    tr__claims_came(self, record_of(loop->current));
    loop->current = NULL;
    teach(self, w);
    tr__claims_tell(self, &w->claims);
    tell_all(self, w);
    retry_all(self, w);
}

static void node_went(tr_actor *self, warden *w, const tr__node_changed *change)
{
    for (tr_msg *msg = w->nodes; msg; msg = msg->next) {
        tr__node_record *r = record_of(msg);
        if (r->changed.node != change->node || !r->changed.up)
            continue;
        r->changed.up = false;
        snprintf(r->reason, sizeof(r->reason), "%s", change->reason);
        tr__claims_went(self, &w->claims, r);
        tell_all(self, w);
        return;
    }
}

/* ---- the actor ----------------------------------------------------------------------------------------- */

static void dispatch(tr_actor *self, warden *w, const tr_msg *msg)
{
    const tr__watch_nodes *watch_nodes;
    const tr__node_changed *change;
    const tr_down *down;
    const tr_canceled *canceled;
    if (tr_match(msg, tr__find_name)) {
        find(self, w, msg);
    } else if (tr_match(msg, tr__spawn_request) && tr_msg_ask_number(msg)) {
        spawn(self, w, msg);
    } else if ((watch_nodes = tr_match(msg, tr__watch_nodes)) &&
               tr_addr_equal(watch_nodes->watcher, tr_msg_sender(msg)) &&
               watch_nodes->watcher.node == tr__owner(self)->node->id) {
        watch(self, w, watch_nodes->watcher);
    } else if ((change = tr_match(msg, tr__node_changed)) && msg->kind == TR__MSG_NOTICE) {
        if (change->up) /* from the connections only: no actor, no peer can say so */
            node_came(self, w);
        else
            node_went(self, w, change);
    } else if ((down = tr_match(msg, tr_down))) {
        if (!tr__spawn_ended(self, &w->starts, down) && !tr__claims_down(self, &w->claims, down))
            watcher_down(self, w, down);
    } else if ((canceled = tr_match(msg, tr_canceled))) {
        if (!tr__claims_canceled(self, &w->claims, canceled))
            forget(self, w, canceled);
    } else if (tr_match(msg, tr__node_at)) {
        tr__learn_take(self, msg);
    } else if (tr_match(msg, tr__operator_peer_ask)) {
        tr__operator_forward(self, msg);
    } else if (tr_match(msg, retry) && msg->kind == TR__MSG_NOTICE) {
        tr__tick_back(tr__owner(self), w->tick);
        teach(self, w);
        tr__claims_retry(self, &w->claims);
        tell_all(self, w);
        retry_all(self, w);
    } else {
        tr__claims_take(self, &w->claims, msg);
    }
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    warden *w = state;
    dispatch(self, w, msg);
    if (w->claims.changed && w->waiting_count)
        retry_all(self, w);
    w->claims.changed = false;
    retry_soon(self, w);
}

static void stop(tr_actor *self, void *state)
{
    warden *w = state;
    while (w->nodes) {
        tr_msg *msg = w->nodes;
        w->nodes = msg->next;
        tr__claims_forget(record_of(msg));
        tr__msg_free(tr__owner(self), msg);
    }
    tr__claims_fini(&w->claims);
}

static const tr_actor_def warden_def = {
    .name = "warden", .state_size = sizeof(warden), .receive = receive, .stop = stop};

tr_err tr__warden_open(tr_node *node, tr_error *error)
{
    tr__loop *loop = node->loops[0];
    TR_TRY(tr__spawn(loop, &warden_def, NULL, NULL, &node->warden, error));
    tr_actor *self = tr__slot(node, node->warden.slot);
    warden *w = self->state_block;
    w->claims.nodes = &w->nodes;
    w->tick = tr__tick_make(loop, self, &retry_type);
    return w->tick ? TR_OK : tr__fail(error, TR_ENOMEM, "no memory for the warden of node %s", node->name);
}
