/* See spawn_at.h. */
#include "actors/remote/spawn_at.h"

#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/names/warden.h"
#include "actors/send.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- offers: any thread, under the names' lock --------------------------------------------------------- */

struct tr__offer {
    struct tr__offer *next;
    const tr_actor_def *def;
    char name[TR_NAME_MAX];
};

static const tr_actor_def *offer_find(tr_node *node, const char *name)
{
    tr__spin_lock(&node->names_lock);
    const struct tr__offer *offer = node->offers;
    while (offer && strcmp(offer->name, name) != 0)
        offer = offer->next;
    tr__spin_unlock(&node->names_lock);
    return offer ? offer->def : NULL;
}

static tr_err check_offer(tr_actor *self, const char *name, const tr_actor_def *def)
{
    size_t length = name ? strlen(name) : 0;
    const tr_typeinfo *info = def->arg_type ? tr__type_of(def->arg_type) : NULL;
    if (length == 0 || length >= TR_NAME_MAX)
        return tr__self_fail(self, TR_EINVAL, "tr_offer: a name of 1 to %d bytes is needed", TR_NAME_MAX - 1);
    if (def->transact)
        return tr__self_fail(self, TR_EINVAL,
                             "tr_offer: %s takes part in transactions, which needs a name of its own", name);
    if (info && tr__type_is(info, TR__TYPE_BUFFERS))
        return tr__self_fail(self, TR_EINVAL, "tr_offer: the argument of %s holds a buffer: use bytes", name);
    return TR_OK;
}

tr_err tr_offer(tr_actor *self, const char *name, const tr_actor_def *def)
{
    tr_node *node = tr__owner(self)->node;
    TR_TRY(check_offer(self, name, def));
    struct tr__offer *offer = tr__zalloc(sizeof(*offer));
    if (!offer)
        return tr__self_fail(self, TR_ENOMEM, "no memory to offer %s", name);
    *offer = (struct tr__offer){.def = def};
    snprintf(offer->name, sizeof(offer->name), "%s", name);
    tr__spin_lock(&node->names_lock);
    const struct tr__offer *taken = node->offers;
    while (taken && strcmp(taken->name, name) != 0)
        taken = taken->next;
    const tr_actor_def *before = taken ? taken->def : NULL;
    if (!taken) {
        offer->next = node->offers;
        node->offers = offer;
    }
    tr__spin_unlock(&node->names_lock);
    if (!before)
        return TR_OK;
    tr__free(offer);
    return before == def ? TR_OK
                         : tr__self_fail(self, TR_EEXIST, "another kind is offered as %s already", name);
}

void tr__offers_fini(tr_node *node)
{
    while (node->offers) {
        struct tr__offer *offer = node->offers;
        node->offers = offer->next;
        tr__free(offer);
    }
}

/* ---- who asks ------------------------------------------------------------------------------------------ */

/* The argument in CBOR, to be freed; *error says what is wrong with it. */
static tr_err encode(tr_type *type, const void *body, tr__spawn_request *ask, uint8_t **bytes,
                     tr_error *error)
{
    *bytes = NULL;
    if (!type)
        return TR_OK;
    const tr_typeinfo *info = tr__type_of(type);
    if (info && tr__type_is(info, TR__TYPE_BUFFERS))
        return tr__fail(error, TR_EINVAL, "an argument for another node can't hold buffers");
    size_t bound = info ? tr__cbor_bound(info, body) : 0;
    if (bound > 16 * TR__SPAWN_ARG_MAX)
        bound = 16 * TR__SPAWN_ARG_MAX;
    *bytes = info ? tr__alloc(bound) : NULL;
    if (!*bytes)
        return tr__fail(error, TR_ENOMEM, "no memory for the argument");
    size_t length = tr__cbor_encode(info, body, *bytes, bound);
    ask->type_id = info->id;
    ask->fingerprint = info->fingerprint;
    ask->schema = info->schema;
    ask->argument = (tr_bytes){*bytes, length};
    return length && length <= TR__SPAWN_ARG_MAX
               ? TR_OK
               : tr__fail(error, TR_ETOOBIG, "an argument has at most %u bytes", TR__SPAWN_ARG_MAX);
}

static tr_future failed(tr_actor *self, const tr_error *error)
{
    tr__self_fail(self, error->code, "tr_spawn_at: %s", error->text);
    return (tr_future){0};
}

tr_future tr_spawn_at_body(tr_actor *self, const char *node, const char *offer, uint64_t timeout_ns,
                           tr_type *type, const void *body, const tr_spawn_at_opts *opts)
{
    tr__loop *loop = tr__owner(self);
    tr__spawn_request ask = {.node = node, .offer = offer, .schema = "", .link = opts && opts->link};
    uint8_t *bytes = NULL;
    tr_error error;
    tr_err err = !node || !offer ? tr__fail(&error, TR_EINVAL, "a node and the name of an offer are needed")
                                 : encode(type, body, &ask, &bytes, &error);
    if (err == TR_OK && opts && opts->monitor) {
        ask.monitor = *opts->monitor = ++loop->next_number;
        if (!tr__own_monitor_add(self, ask.monitor, TR_ADDR_NONE, false))
            err = tr__fail(&error, tr_last_error(self)->code, "no place for another monitor");
    }
    if (err != TR_OK) {
        tr__free(bytes);
        return failed(self, &error);
    }
    tr_future future = tr_ask_body(self, loop->node->warden, timeout_ns, &tr__spawn_request_type, &ask);
    tr__free(bytes);
    if (ask.monitor)
        tr__own_monitor_spawning(self, ask.monitor, future.id);
    tr__pending *pending = tr__pending_get(loop, self, future.id);
    if (!pending)
        return future;
    pending->special |= TR__SPAWNS;
    char text[TR_ERROR_TEXT_MAX];
    snprintf(text, sizeof(text), "node %.63s didn't start \"%.63s\" within the time given: is it connected?",
             node, offer);
    tr__pending_explain(loop, self, future.id, text);
    return future;
}

/* ---- who starts it ------------------------------------------------------------------------------------- */

static uint32_t started_for(const tr__starts *starts, const char *peer)
{
    uint32_t count = 0;
    for (const tr__started *s = starts->first; s; s = s->next)
        count += strcmp(s->peer, peer) == 0;
    return count;
}

static tr_err check_count(const tr_node *node, const tr__starts *starts, const char *peer, tr_error *error)
{
    const tr_rights *rights = tr__rights_of(node, peer);
    bool own = strcmp(peer, node->name) == 0;
    uint32_t most = own ? TR__SPAWN_MAX : rights->spawn_max ? rights->spawn_max : TR__SPAWN_DEFAULT;
    if (starts->count >= TR__SPAWN_MAX)
        return tr__fail(error, TR_EFULL, "node %s runs %u actors for others, as many as it may", node->name,
                        TR__SPAWN_MAX);
    return started_for(starts, peer) < most
               ? TR_OK
               : tr__fail(error, TR_EFULL,
                          "node %s runs %u actors for node %s already: spawn_max of its entry in the rights "
                          "there (--allow FILE)",
                          node->name, most, peer);
}

/* The argument as a struct of the offer's type, to be freed; NULL: it takes none. */
static tr_err decode(const tr_actor_def *def, const tr__spawn_request *a, void **argument, tr_error *error)
{
    const tr_typeinfo *info = def->arg_type ? tr__type_of(def->arg_type) : NULL;
    size_t size;
    *argument = NULL;
    if (!info && !def->arg_type && !a->type_id)
        return TR_OK;
    if (!info || info->id != a->type_id)
        return tr__fail(error, TR_ETYPE, "\"%.63s\" takes %s%s as its argument", a->offer,
                        info ? "a " : "nothing", info ? info->name : "");
    if (info->fingerprint != a->fingerprint)
        TR_TRY(tr__schema_check(info, a->schema, strlen(a->schema), error));
    if (a->argument.size > TR__SPAWN_ARG_MAX)
        return tr__fail(error, TR_ETOOBIG, "an argument has at most %u bytes", TR__SPAWN_ARG_MAX);
    TR_TRY(tr__cbor_measure(info, a->argument.data, a->argument.size, &size, error));
    if (size > 16 * TR__SPAWN_ARG_MAX)
        return tr__fail(error, TR_ETOOBIG, "an argument has at most %u bytes in memory",
                        16 * TR__SPAWN_ARG_MAX);
    *argument = tr__alloc(size);
    if (!*argument)
        return tr__fail(error, TR_ENOMEM, "no memory for the argument");
    tr__cbor_decode(info, a->argument.data, a->argument.size, NULL, *argument);
    return TR_OK;
}

/* What has to be there before it is started, so that nothing fails behind that. */
typedef struct start {
    tr__started *started;
    tr_msg *link, *link_back; /* to the actor; to its asker, of this node */
    tr_msg *monitor;
} start;

static void start_free(tr_actor *self, start *s)
{
    tr_msg *blocks[] = {s->link, s->link_back, s->monitor};
    for (int i = 0; i < 3; i++)
        if (blocks[i])
            tr__msg_free(tr__owner(self), blocks[i]);
    tr_free(self, s->started);
}

static tr_err start_make(tr_actor *self, tr_addr asker, const tr__spawn_request *a, start *s, tr_error *error)
{
    tr__loop *loop = tr__owner(self);
    bool near = asker.node == loop->node->id;
    *s = (start){.started = tr_alloc(self, sizeof(tr__started))};
    s->link = a->link ? tr__link_make(loop, asker) : NULL;
    s->link_back = a->link && near ? tr__link_make(loop, asker) : NULL;
    s->monitor = a->monitor ? tr__monitor_make(loop, asker, a->monitor) : NULL;
    if (s->started && (!a->link || (s->link && (!near || s->link_back))) && (!a->monitor || s->monitor))
        return TR_OK;
    start_free(self, s);
    return tr__fail(error, TR_ENOMEM, "no memory to start \"%.63s\"", a->offer);
}

/* The child's side of both, and the asker's if that is here; in order before its init, and before the answer. False: no
 * memory to remember them, or too many; the connection, if it goes over one, is cut. */
static bool relate(tr_actor *self, tr_addr child, tr_addr asker, start *s)
{
    tr__loop *loop = tr__owner(self);
    tr__remote_peer *p = tr__remote_peer_of(loop, asker.node);
    bool kept =
        !p || ((!s->link || tr__tie_make(p, child, asker)) &&
               (!s->monitor || tr__watching_put(p, asker.slot, asker.generation, s->monitor->ask, child)));
    if (!kept) {
        tr__remote_cut_for(p, TR_ENOMEM, "no memory to be linked with what is started for it");
        return false;
    }
    if (s->link) {
        s->link->deadline_ns = p ? p->connection : 0;
        tr__submit(loop, child, s->link);
    }
    if (s->link_back) {
        s->link_back->sender = child;
        tr__submit(loop, asker, s->link_back);
    }
    if (s->monitor)
        tr__submit(loop, child, s->monitor);
    *s = (start){.started = s->started};
    return true;
}

static tr_err spawn(tr_actor *self, tr__starts *starts, const tr_msg *msg, const char *peer, tr_addr *child,
                    tr_error *error)
{
    tr__loop *loop = tr__owner(self);
    const tr__spawn_request *a = tr_match(msg, tr__spawn_request);
    const tr_actor_def *def = offer_find(loop->node, a->offer);
    tr_addr asker = tr_msg_sender(msg);
    void *argument;
    start s;
    if (!def)
        return tr__fail(error, TR_ENOTFOUND, "node %s offers no \"%.63s\"", loop->node->name, a->offer);
    TR_TRY(check_count(loop->node, starts, peer, error));
    TR_TRY(decode(def, a, &argument, error));
    tr_err err = start_make(self, asker, a, &s, error);
    if (err == TR_OK) {
        err = tr__spawn(loop, def, argument, &(tr_spawn_opts){.place = TR_PLACE_SPREAD}, child, error);
        if (err == TR_OK &&
            (!(s.started->monitor = tr_monitor(self, *child)) || !relate(self, *child, asker, &s))) {
            err = tr__fail(error, TR_ENOMEM, "no memory to look after \"%.63s\"", a->offer);
            tr_demonitor(self, s.started->monitor);
            tr_stop(self, *child, TR_EXIT_KILLED);
        }
        if (err != TR_OK)
            start_free(self, &s);
    }
    tr__free(argument);
    if (err != TR_OK)
        return err;
    snprintf(s.started->peer, sizeof(s.started->peer), "%s", peer);
    s.started->next = starts->first;
    starts->first = s.started;
    starts->count++;
    return TR_OK;
}

void tr__spawn_for(tr_actor *self, tr__starts *starts, const tr_msg *ask)
{
    tr__loop *loop = tr__owner(self);
    uint64_t node = tr_msg_sender(ask).node;
    const char *offer = tr_match(ask, tr__spawn_request)->offer;
    const tr__remote_peer *p = tr__remote_peer_of(loop, node);
    tr_addr child;
    tr_error error;
    tr_err err = tr__node_may(loop, node, TR__RIGHT_SPAWN, offer, &error);
    if (err == TR_OK)
        err = spawn(self, starts, ask, p ? p->peer->name : loop->node->name, &child, &error);
    if (err != TR_OK)
        tr_reply_error(self, ask, err, "%s", error.text);
    else if (tr_reply(self, ask, tr_spawned, .actor = child) != TR_OK)
        tr_stop(self, child, TR_EXIT_KILLED); /* nobody knows it */
}

bool tr__spawn_ended(tr_actor *self, tr__starts *starts, const tr_down *down)
{
    for (tr__started **at = &starts->first; *at; at = &(*at)->next) {
        tr__started *s = *at;
        if (s->monitor != down->monitor)
            continue;
        if (tr__may_run(down) && (s->monitor = tr_monitor(self, down->actor)))
            return true;
        *at = s->next;
        starts->count--;
        tr_free(self, s);
        return true;
    }
    return false;
}

/* ---- the asker's node ---------------------------------------------------------------------------------- */

static const tr__reason given_up = {
    .kind = TR_EXIT_NO_ACTOR, .code = TR_ECANCELED, .text = "who had it started gave it up, or has ended"};

/* Both blocks, or none. */
static bool sides_make(tr__remote_peer *p, const tr__spawn_request *a, tr_addr asker, tr_addr child,
                       tr_msg **link, tr_msg **monitor)
{
    tr__loop *loop = p->remote->loop;
    *link = a->link ? tr__link_make(loop, child) : NULL;
    *monitor = a->monitor ? tr__monitor_make(loop, asker, a->monitor) : NULL;
    if ((!a->link || *link) && (!a->monitor || *monitor) && tr__waits_room(&p->waits))
        return true;
    if (*link)
        tr__msg_free(loop, *link);
    if (*monitor)
        tr__msg_free(loop, *monitor);
    return false;
}

bool tr__spawn_came(tr__remote_peer *p, const tr_msg *wait, tr_addr asker, const tr_msg *answer)
{
    tr__loop *loop = p->remote->loop;
    const tr_spawned *spawned = tr_match(answer, tr_spawned);
    const tr__spawn_request *a = wait ? tr_match(wait, tr__spawn_request) : NULL;
    if (!spawned || (wait && !a)) /* what is answered so was no spawn */
        return true;
    tr_addr child = spawned->actor;
    if (child.node != p->peer->id) {
        tr__remote_cut_for(p, TR_EPROTO, "it says that it has started an actor of another node");
        return false;
    }
    tr_msg *link, *monitor;
    tr__spawn_request none = {.link = true};
    bool made = sides_make(p, a ? a : &none, asker, child, &link, &monitor);
    if (made && a && a->link && !tr__tie_make(p, asker, child)) {
        tr__msg_free(loop, link);
        if (monitor)
            tr__msg_free(loop, monitor);
        made = false;
    }
    if (!made) {
        tr__remote_cut_for(p, TR_ENOMEM, "no memory to be linked to what it has started, or to monitor it");
        return false;
    }
    if (!a) { /* P3 */
        tr__link_fire(loop, link, asker, &given_up, 0);
        return true;
    }
    if (link) {
        link->deadline_ns = p->connection;
        tr__submit(loop, asker, link);
    }
    if (monitor) {
        monitor->to.slot = child.slot;
        monitor->to.generation = child.generation;
        tr__waits_put(&p->waits, monitor);
    }
    return true;
}

void tr__spawn_answered(tr__loop *loop, tr_actor *asker, const tr__pending *pending, const tr_msg *answer)
{
    const tr_spawned *spawned = answer->kind == TR__MSG_REPLY ? tr_match(answer, tr_spawned) : NULL;
    if (spawned && pending)
        tr__own_monitor_spawned(asker, tr__pending_id(pending), spawned->actor);
    else if (spawned)
        tr__link_give_up(loop, asker, spawned->actor, &given_up);
}
