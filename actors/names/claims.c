/* A node's own claims, who holds a name, and who waits for that to change: see claims.h.
 *
 *     FREE ──claimed──► HELD ──its actor ended, released, or one of a lower node id is known──► OVER ──all have heard──► FREE
 *                         ▲──────────────────────────claimed again──────────────────────────────┘ */
#include "actors/names/claims.h"

#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/send.h"
#include "base/err.h"
#include "base/plant.h"

static bool is_topic(const char *name)
{
    return name[0] == '/';
}

tr_err tr__claims_check(const char *name, tr_error *error)
{
    const char *rest = name && is_topic(name) ? name + 1 : name;
    size_t length = rest ? strlen(rest) : 0;
    if (length == 0 || length >= TR_NAME_MAX || strchr(rest, '/'))
        return tr__fail(error, TR_EINVAL, "\"%.100s\" can't be a name: 1 to %d bytes, no '/'",
                        rest ? rest : "", TR_NAME_MAX - 1);
    return TR_OK;
}

/* ---- the list, by serial ------------------------------------------------------------------------------- */

static void unlist(tr__claims *c, tr__claim *claim)
{
    *(claim->previous ? &claim->previous->next : &c->first) = claim->next;
    *(claim->next ? &claim->next->previous : &c->last) = claim->previous;
}

static void list_last(tr__claims *c, tr__claim *claim)
{
    claim->previous = c->last;
    claim->next = NULL;
    *(c->last ? &c->last->next : &c->first) = claim;
    c->last = claim;
}

/* It changed: all are to hear of it, behind what they are told of already. */
static void renew(tr__claims *c, tr__claim *claim)
{
    claim->serial = ++c->serial;
    unlist(c, claim);
    list_last(c, claim);
}

static void claim_free(tr__claims *c, tr__claim *claim)
{
    unlist(c, claim);
    HASH_DEL(c->own, claim);
    tr__free(claim);
}

void tr__claims_sweep(tr__claims *c)
{
    uint64_t told = UINT64_MAX;
    for (tr_msg *msg = *c->nodes; msg; msg = msg->next) {
        const tr__node_record *r = tr__msg_body(msg);
        if (r->changed.up && r->takes_claims && r->claims_told < told)
            told = r->claims_told;
    }
    for (tr__claim *claim = c->first, *next; claim && claim->serial <= told; claim = next) {
        next = claim->next;
        if (claim->over && !claim->untold)
            claim_free(c, claim);
    }
}

void tr__claims_fini(tr__claims *c)
{
    while (c->first)
        claim_free(c, c->first);
    tr__free(c->waits);
}

/* ---- who has a name ------------------------------------------------------------------------------------ */

tr__claim *tr__claims_own(const tr__claims *c, const char *name)
{
    tr__claim *claim;
    HASH_FIND_STR(c->own, name, claim);
    return claim && !claim->over ? claim : NULL;
}

tr_addr tr__claims_holder(const tr__claims *c, const char *name)
{
    const tr__claim *own = tr__claims_own(c, name);
    tr_addr holder = own ? own->actor : TR_ADDR_NONE;
    for (tr_msg *msg = *c->nodes; msg; msg = msg->next) {
        tr_addr theirs = tr__claims_heard(tr__msg_body(msg), name);
        if (!tr_addr_is_none(theirs) && (tr_addr_is_none(holder) || theirs.node < holder.node))
            holder = theirs;
    }
    return holder;
}

/* Of all of them; 0: there is none. */
static uint64_t mixed(uint64_t known, tr_addr actor)
{
    uint64_t x = actor.node ^ ((uint64_t)actor.generation << 32 | actor.slot) * 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9ull;
    return tr_addr_is_none(actor) ? known : known ^ (x | 1);
}

typedef struct holders {
    tr_addr *actors; /* NULL: only counted */
    size_t count;
    uint64_t known;
} holders;

static void add_holder(holders *h, tr_addr actor)
{
    if (tr_addr_is_none(actor))
        return;
    if (h->actors)
        h->actors[h->count] = actor;
    h->count++;
    h->known = mixed(h->known, actor);
}

/* Those of a topic are all that claim it. */
static holders holders_of(const tr__claims *c, const char *name, tr_addr *actors)
{
    holders h = {.actors = actors};
    if (!is_topic(name)) {
        add_holder(&h, tr__claims_holder(c, name));
        return h;
    }
    const tr__claim *own = tr__claims_own(c, name);
    add_holder(&h, own ? own->actor : TR_ADDR_NONE);
    for (tr_msg *msg = *c->nodes; msg; msg = msg->next)
        add_holder(&h, tr__claims_heard(tr__msg_body(msg), name));
    return h;
}

/* ---- who waits ----------------------------------------------------------------------------------------- */

static void answer(tr_actor *self, const tr__claims *c, const tr_msg *ask, const char *reason)
{
    const tr__await_claim *a = tr_match(ask, tr__await_claim);
    holders h = holders_of(c, a->name, NULL);
    tr_addr *actors = h.count ? tr__alloc(h.count * sizeof(*actors)) : NULL;
    if (h.count && !actors) {
        tr_reply_error(self, ask, TR_ENOMEM, "no memory to tell who has the name");
        return;
    }
    h = holders_of(c, a->name, actors);
    tr_reply(self, ask, tr__claimed, .actors = {actors, h.count}, .known = h.known, .reason = reason);
    tr__free(actors);
}

static bool more_room(tr__claims *c)
{
    if (c->wait_count < c->wait_room)
        return true;
    uint32_t room = c->wait_room ? 2 * c->wait_room : 16;
    tr_msg **waits = tr__realloc(c->waits, room * sizeof(tr_msg *));
    if (!waits)
        return false;
    c->waits = waits;
    c->wait_room = room;
    return true;
}

static void await(tr_actor *self, tr__claims *c, const tr_msg *msg)
{
    const tr__await_claim *a = tr_match(msg, tr__await_claim);
    tr_error error;
    if (tr__claims_check(a->name, &error) != TR_OK)
        tr_reply_error(self, msg, TR_EINVAL, "%s", error.text);
    else if (holders_of(c, a->name, NULL).known != a->known)
        answer(self, c, msg, "somebody else has it now");
    else if (c->wait_count == TR__CLAIM_WAITS_MAX)
        tr_reply_error(self, msg, TR_EFULL, "%d wait already on this node for names to change hands",
                       TR__CLAIM_WAITS_MAX);
    else if (more_room(c) && (c->waits[c->wait_count] = tr_msg_take(self, msg)))
        c->wait_count++;
    else
        tr_reply_error(self, msg, TR_ENOMEM, "no memory to wait for a name");
}

static void tell_waits(tr_actor *self, tr__claims *c, const char *name, const char *reason)
{
    uint64_t known = holders_of(c, name, NULL).known;
    uint32_t left = 0;
    for (uint32_t i = 0; i < c->wait_count; i++) {
        tr_msg *ask = c->waits[i];
        const tr__await_claim *a = tr_match(ask, tr__await_claim);
        if (strcmp(a->name, name) != 0 || a->known == known) {
            c->waits[left++] = ask;
            continue;
        }
        answer(self, c, ask, reason);
        tr_msg_free(self, &ask);
    }
    c->wait_count = left;
}

bool tr__claims_canceled(tr_actor *self, tr__claims *c, const tr_canceled *canceled)
{
    for (uint32_t i = 0; i < c->wait_count; i++)
        if (tr_msg_ask_number(c->waits[i]) == canceled->ask &&
            tr_addr_equal(tr_msg_sender(c->waits[i]), canceled->asker)) {
            tr_msg_free(self, &c->waits[i]);
            c->waits[i] = c->waits[--c->wait_count];
            return true;
        }
    return false;
}

/* ---- what becomes of a claim --------------------------------------------------------------------------- */

/* The place that this needs in its mailbox may not be there now. */
void tr__claims_conflict(tr_actor *self, tr__claims *c, tr__claim *claim)
{
    tr_name_conflict event = {.name = claim->name,
                              .kept = claim->over ? claim->kept_by : claim->actor,
                              .lost = claim->over ? claim->actor : claim->kept_from};
    tr_err err = tr__send_notice(self, claim->actor, &tr_name_conflict_type, &event);
    claim->untold = err != TR_OK && err != TR_ENOACTOR;
    c->unsettled = c->unsettled || claim->untold;
}

static void end_claim(tr_actor *self, tr__claims *c, tr__claim *claim, tr_addr kept_by, const char *reason)
{
    claim->over = true;
    claim->untold = false;
    claim->kept_by = kept_by;
    snprintf(claim->reason, sizeof(claim->reason), "%s", reason);
    if (claim->monitor)
        tr_demonitor(self, claim->monitor);
    claim->monitor = 0;
    renew(c, claim);
    if (!tr_addr_is_none(kept_by))
        tr__claims_conflict(self, c, claim);
}

void tr__claims_settle(tr_actor *self, tr__claims *c, const char *name, const char *reason)
{
    tr__claim *own = tr__claims_own(c, name);
    tr_addr holder = tr__claims_holder(c, name);
    if (own && !is_topic(name) && !tr_addr_equal(holder, own->actor) && !TR_PLANT(name_kept))
        end_claim(self, c, own, holder, "two nodes that hadn't seen each other both had it");
    tell_waits(self, c, name, reason);
    c->changed = true;
    tr__claims_tell(self, c);
}

/* Where it can be put; NULL: reply has said why not. */
static tr__claim *place_for(tr_actor *self, tr__claims *c, const tr_msg *msg, const char *name)
{
    tr__claim *claim;
    HASH_FIND_STR(c->own, name, claim);
    if (claim && claim->untold) {
        tr__claims_conflict(self, c, claim);
        if (!claim->untold)
            return claim;
        tr_reply_error(self, msg, TR_EAGAIN, "who had \"%s\" before hasn't heard yet that it lost it", name);
        return NULL;
    }
    if (claim)
        return claim;
    if (HASH_COUNT(c->own) >= TR__CLAIMS_MAX) {
        tr_reply_error(self, msg, TR_EFULL, "the actors of a node have %d names in the cluster at most",
                       TR__CLAIMS_MAX);
        return NULL;
    }
    claim = tr__zalloc(sizeof(*claim));
    if (claim) {
        snprintf(claim->name, sizeof(claim->name), "%s", name);
        HASH_ADD_STR(c->own, name, claim);
        if (tr__hash_added(claim)) {
            claim->over = true;
            list_last(c, claim);
            return claim;
        }
        tr__free(claim);
    }
    tr_reply_error(self, msg, TR_ENOMEM, "no memory for the name \"%s\"", name);
    return NULL;
}

static bool is_free(tr_actor *self, const tr__claims *c, const tr_msg *msg, const char *name)
{
    tr_addr holder = TR_ADDR_NONE;
    const tr__claim *own = tr__claims_own(c, name);
    char text[TR_ADDR_TEXT_MAX];
    tr_error error;
    if (tr__claims_check(name, &error) != TR_OK) {
        tr_reply_error(self, msg, TR_EINVAL, "%s", error.text);
        return false;
    }
    if (own)
        holder = own->actor;
    else if (!is_topic(name))
        holder = tr__claims_holder(c, name);
    if (tr_addr_is_none(holder))
        return true;
    if (tr_addr_equal(holder, tr_msg_sender(msg)))
        tr_reply(self, msg, tr_found, .actor = holder);
    else
        tr_reply_error(self, msg, TR_EEXIST, "the name \"%s\" is taken in the cluster, by %s",
                       is_topic(name) ? name + 1 : name, tr_addr_format(holder, text));
    return false;
}

static void claim_it(tr_actor *self, tr__claims *c, const tr_msg *msg)
{
    const char *name = tr_match(msg, tr__claim_name)->name;
    tr__claim *claim = is_free(self, c, msg, name) ? place_for(self, c, msg, name) : NULL;
    if (!claim)
        return;
    claim->monitor = tr_monitor(self, tr_msg_sender(msg));
    if (!claim->monitor) {
        tr_reply_error(self, msg, TR_ENOMEM, "no memory for the name \"%s\"", name);
        if (!claim->serial)
            claim_free(c, claim);
        return;
    }
    claim->over = false;
    claim->actor = tr_msg_sender(msg);
    claim->kept_by = claim->kept_from = TR_ADDR_NONE;
    renew(c, claim);
    tr_reply(self, msg, tr_found, .actor = claim->actor);
    tr__claims_settle(self, c, name, "");
}

static void ended(tr_actor *self, tr__claims *c, tr__claim *claim, const char *reason)
{
    char name[TR__CLAIM_NAME_MAX];
    snprintf(name, sizeof(name), "%s", claim->name);
    end_claim(self, c, claim, TR_ADDR_NONE, reason);
    tr__claims_settle(self, c, name, reason);
}

bool tr__claims_down(tr_actor *self, tr__claims *c, const tr_down *down)
{
    tr__claim *claim = c->first;
    while (claim && claim->monitor != down->monitor)
        claim = claim->next;
    if (!claim)
        return false;
    claim->monitor = 0;
    if (tr__may_run(down) && !claim->over)
        c->unsettled = true;
    else
        ended(self, c, claim, down->text[0] ? down->text : "it has ended");
    return true;
}

/* ---- what the warden hands on -------------------------------------------------------------------------- */

void tr__claims_retry(tr_actor *self, tr__claims *c)
{
    c->unsettled = false;
    for (tr__claim *claim = c->first; claim; claim = claim->next) {
        if (claim->untold)
            tr__claims_conflict(self, c, claim);
        if (!claim->over && !claim->monitor && !(claim->monitor = tr_monitor(self, claim->actor)))
            c->unsettled = true;
    }
    tr__claims_tell(self, c);
}

bool tr__claims_take(tr_actor *self, tr__claims *c, const tr_msg *msg)
{
    bool ours = tr_msg_sender(msg).node == tr__owner(self)->node->id;
    const tr__release_name *release = tr_match(msg, tr__release_name);
    if (tr_match(msg, tr__claims_changed)) {
        tr__claims_hear(self, c, msg);
    } else if (tr_match(msg, tr__claim_name) && ours) {
        claim_it(self, c, msg);
    } else if (tr_match(msg, tr__await_claim) && ours) {
        await(self, c, msg);
    } else if (release) {
        tr__claim *claim = tr__claims_own(c, release->name);
        if (claim && tr_addr_equal(claim->actor, tr_msg_sender(msg)))
            ended(self, c, claim, "it gave the name up");
    } else {
        return false;
    }
    return true;
}
