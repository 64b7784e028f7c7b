/* See warden.h. An actor like others; what it can't answer yet it keeps, and tries again every RETRY and when
 * a node comes. Bounded: WAITING_MAX look-ups wait, WATCHERS_MAX watch, TR__PEERS_MAX nodes are known. */
#include "actors/warden.h"

#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "actors/remote.h"
#include "base/mem.h"
#include "transport/endpoint.h"

#define WAITING_MAX  256
#define WATCHERS_MAX 256
#define RETRY        TR_MILLIS(20)

TR_MESSAGE(retry)

typedef struct peer {
    uint64_t id;
    char name[TR_NAME_MAX];
} peer;

typedef struct warden {
    tr_msg *waiting[WAITING_MAX];
    uint32_t waiting_count;
    tr_addr watchers[WATCHERS_MAX];
    uint32_t watcher_count;
    peer *peers;
    uint32_t peer_count, peer_room;
    bool retrying;
} warden;

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)state;
    tr_msg *ask = context;
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

static uint64_t peer_id(const warden *w, const char *name, size_t length)
{
    for (uint32_t i = 0; i < w->peer_count; i++)
        if (strlen(w->peers[i].name) == length && memcmp(w->peers[i].name, name, length) == 0)
            return w->peers[i].id;
    return 0;
}

/* Answer a kept look-up, or hand it to the node that can; false: not yet. */
static bool try_find(tr_actor *self, warden *w, tr_msg *ask)
{
    const tr_node *node = tr__owner(self)->node;
    const tr__find_name *find = tr_match(ask, tr__find_name);
    const char *slash = strchr(find->path, '/'), *name = slash ? slash + 1 : find->path;
    size_t length = slash ? (size_t)(slash - find->path) : 0;
    if (!slash || (strlen(node->name) == length && memcmp(node->name, find->path, length) == 0)) {
        tr_addr found = tr_whereis(self, name);
        if (tr_addr_is_none(found))
            return false;
        tr_reply(self, ask, tr_found, .actor = found);
        tr_msg_free(self, &ask);
        return true;
    }
    uint64_t id = peer_id(w, find->path, length);
    if (!id)
        return false;
    tr_future future =
        tr_ask(self, TR__WARDEN_OF(id), tr_msg_remaining(self, ask), tr__find_name, .path = name);
    return tr_then(self, future, answered, ask) == TR_OK; /* on an error: it waits for the node to be back */
}

static void retry_soon(tr_actor *self, warden *w)
{
    if (w->waiting_count && !w->retrying)
        w->retrying = tr_after(self, RETRY, retry).id != 0;
}

static void find(tr_actor *self, warden *w, const tr_msg *msg)
{
    if (w->waiting_count == WAITING_MAX) {
        tr_reply_error(self, msg, TR_EFULL, "%d look-ups wait already on this node", WAITING_MAX);
        return;
    }
    tr_msg *ask = tr_msg_take(self, msg);
    if (!ask || try_find(self, w, ask))
        return;
    w->waiting[w->waiting_count++] = ask;
    retry_soon(self, w);
}

static void retry_all(tr_actor *self, warden *w)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < w->waiting_count; i++) {
        tr_msg *ask = w->waiting[i];
        if (tr_msg_remaining(self, ask) == 0)
            tr_msg_free(self, &ask); /* the asker's own deadline has told it */
        else if (!try_find(self, w, ask))
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

/* As a notice, which nobody can forge; a place is drawn for it as for other messages. */
static void tell(tr_actor *self, tr_addr watcher, const tr_node_event *event)
{
    tr__loop *loop = tr__owner(self);
    tr_msg *msg = tr_msg_make(self, &tr_node_event_type, event);
    uint32_t places = msg ? tr__msg_places(msg->size) : 0;
    tr_err err = msg ? tr__reserve(loop, watcher, &places) : TR_ENOMEM;
    if (err != TR_OK) {
        tr_log(self, TR_LOG_WARN, "a watcher doesn't hear that node %s is %s: %s", event->name,
               event->up ? "up" : "down", tr_err_word(err));
        if (msg)
            tr_msg_free(self, &msg);
        return;
    }
    msg->kind = TR__MSG_NOTICE;
    msg->places = (uint16_t)places;
    msg->sender = tr_self(self);
    tr__submit(loop, watcher, msg);
}

static void watch(tr_actor *self, warden *w, tr_addr watcher)
{
    for (uint32_t i = 0; i < w->watcher_count; i++)
        if (tr_addr_equal(w->watchers[i], watcher))
            return;
    if (w->watcher_count == WATCHERS_MAX) {
        tr_log(self, TR_LOG_WARN, "more than %d actors watch the nodes: one more is refused", WATCHERS_MAX);
        return;
    }
    w->watchers[w->watcher_count++] = watcher;
    tr_monitor(self, watcher);
    for (uint32_t i = 0; i < w->peer_count; i++)
        tell(self, watcher, &(tr_node_event){.name = w->peers[i].name, .node = w->peers[i].id, .up = true});
}

static void unwatch(warden *w, tr_addr watcher)
{
    for (uint32_t i = w->watcher_count; i-- > 0;)
        if (tr_addr_equal(w->watchers[i], watcher))
            w->watchers[i] = w->watchers[--w->watcher_count];
}

/* Room for one more; false: there is none. */
static bool peers_grow(warden *w)
{
    uint32_t room = w->peer_room ? w->peer_room * 2 : 16;
    if (w->peer_count < w->peer_room)
        return true;
    peer *bigger = room <= TR__PEERS_MAX ? tr__realloc(w->peers, room * sizeof(*bigger)) : NULL;
    if (!bigger)
        return false;
    w->peers = bigger;
    w->peer_room = room;
    return true;
}

static void peer_came(tr_actor *self, warden *w, const tr__node_changed *change)
{
    if (!peers_grow(w)) {
        tr_log(self, TR_LOG_ERROR, "no room for node %s beside %u others: its names can't be looked up",
               change->name, w->peer_count);
        return;
    }
    peer *new_peer = &w->peers[w->peer_count++];
    new_peer->id = change->node;
    snprintf(new_peer->name, sizeof(new_peer->name), "%s", change->name);
}

static void node_changed(tr_actor *self, warden *w, const tr__node_changed *change)
{
    uint32_t i = 0;
    while (i < w->peer_count && w->peers[i].id != change->node)
        i++;
    if (change->up && i == w->peer_count)
        peer_came(self, w, change);
    else if (!change->up && i < w->peer_count)
        w->peers[i] = w->peers[--w->peer_count];
    tr_node_event event = {
        .name = change->name, .node = change->node, .up = change->up, .reason = change->reason};
    for (uint32_t j = 0; j < w->watcher_count; j++)
        tell(self, w->watchers[j], &event);
    if (change->up)
        retry_all(self, w);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    warden *w = state;
    const tr__watch_nodes *watch_nodes;
    const tr__node_changed *change;
    const tr_down *down;
    const tr_canceled *canceled;
    if (tr_match(msg, tr__find_name)) {
        find(self, w, msg);
    } else if ((watch_nodes = tr_match(msg, tr__watch_nodes)) &&
               tr_addr_equal(watch_nodes->watcher, tr_msg_sender(msg)) &&
               watch_nodes->watcher.node == tr__owner(self)->node->id) {
        watch(self, w, watch_nodes->watcher);
    } else if ((change = tr_match(msg, tr__node_changed)) && msg->kind == TR__MSG_NOTICE) {
        node_changed(self, w, change); /* from the connections only: no actor, no peer can say so */
    } else if ((down = tr_match(msg, tr_down))) {
        unwatch(w, down->actor);
    } else if ((canceled = tr_match(msg, tr_canceled))) {
        forget(self, w, canceled);
    } else if (tr_match(msg, retry)) {
        w->retrying = false;
        retry_all(self, w);
        retry_soon(self, w);
    }
}

static void stop(tr_actor *self, void *state)
{
    warden *w = state;
    (void)self;
    tr__free(w->peers);
}

const tr_actor_def tr__warden_def = {
    .name = "warden", .state_size = sizeof(warden), .receive = receive, .stop = stop};
