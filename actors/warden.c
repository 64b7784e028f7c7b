/* See warden.h. An actor like others; what it can't answer yet it keeps, and tries again every RETRY and when
 * a node comes. Bounded: WAITING_MAX look-ups wait, WATCHERS_MAX watch. */
#include "actors/warden.h"

#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "actors/remote.h"

#define WAITING_MAX  256
#define WATCHERS_MAX 256
#define PEERS_MAX    256
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
    peer peers[PEERS_MAX];
    uint32_t peer_count;
    bool retrying;
} warden;

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)state;
    tr_msg *ask = context;
    const tr_found *found = result->msg ? tr_match(result->msg, tr_found) : NULL;
    if (found)
        tr_reply(self, ask, tr_found, .actor = found->actor);
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

static void watch(tr_actor *self, warden *w, tr_addr watcher)
{
    if (w->watcher_count == WATCHERS_MAX) {
        tr_log(self, TR_LOG_WARN, "more than %d actors watch the nodes: one more is refused", WATCHERS_MAX);
        return;
    }
    w->watchers[w->watcher_count++] = watcher;
    tr_monitor(self, watcher);
    for (uint32_t i = 0; i < w->peer_count; i++)
        tr_send(self, watcher, tr_node_event, .name = w->peers[i].name, .node = w->peers[i].id, .up = true);
}

static void unwatch(warden *w, tr_addr watcher)
{
    for (uint32_t i = w->watcher_count; i-- > 0;)
        if (tr_addr_equal(w->watchers[i], watcher))
            w->watchers[i] = w->watchers[--w->watcher_count];
}

static void node_changed(tr_actor *self, warden *w, const tr__node_changed *change)
{
    uint32_t i = 0;
    while (i < w->peer_count && w->peers[i].id != change->node)
        i++;
    if (change->up && i == w->peer_count && w->peer_count < PEERS_MAX) {
        peer *new_peer = &w->peers[w->peer_count++];
        new_peer->id = change->node;
        snprintf(new_peer->name, sizeof(new_peer->name), "%s", change->name);
    } else if (!change->up && i < w->peer_count) {
        w->peers[i] = w->peers[--w->peer_count];
    }
    for (uint32_t j = 0; j < w->watcher_count; j++)
        if (tr_send(self, w->watchers[j], tr_node_event, .name = change->name, .node = change->node,
                    .up = change->up, .reason = change->reason) != TR_OK)
            tr_log(self, TR_LOG_WARN, "a node event was lost: %s", tr_last_error(self)->text);
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
    } else if ((watch_nodes = tr_match(msg, tr__watch_nodes))) {
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

const tr_actor_def tr__warden_def = {.name = "warden", .state_size = sizeof(warden), .receive = receive};
