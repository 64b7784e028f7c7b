/* What wardens tell each other of claims: see claims.h. To each peer that takes them one ask at a time, of at most
 * AT_ONCE changes; its answer is the credit for the next. An ask that failed changed nothing, or will change nothing when it
 * comes again: a change that was taken is known by its serial. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/names/claims.h"
#include "actors/remote/remote.h"
#include "base/err.h"
#include "base/plant.h"
#include "transport/frame.h"

#define AT_ONCE 32

/* One of a peer's. */
typedef struct tr__heard_claim {
    char name[TR__CLAIM_NAME_MAX];
    tr_addr actor;
    UT_hash_handle hh;
} heard_claim;

static tr__node_record *record_of(const tr__claims *c, uint64_t node)
{
    for (tr_msg *msg = *c->nodes; msg; msg = msg->next) {
        tr__node_record *r = tr__msg_body(msg);
        if (r->changed.up && r->changed.node == node)
            return r;
    }
    return NULL;
}

/* ---- what this node tells ------------------------------------------------------------------------------ */

void tr__claims_came(tr_actor *self, tr__node_record *r)
{
    uint32_t capabilities;
    tr__remote_connected(tr__owner(self)->node->remote, r->changed.node, &capabilities);
    r->takes_claims = capabilities & TR__CAPABILITY_CLAIMS;
}

static void taken(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__claims *c = state; /* the warden's first part */
    tr__node_record *r = record_of(c, (uint64_t)(uintptr_t)context);
    if (!r || result->err == TR_ENOCONN) /* when it is up again it is told of all */
        return;
    if (result->err == TR_OK) {
        r->claims_told = r->claims_asked;
        r->claims_asked = 0;
        tr__claims_sweep(c);
        tr__claims_tell(self, c);
    } else { /* it was full, or had no memory */
        r->claims_asked = 0;
        c->unsettled = true;
    }
}

/* The next changes that it doesn't know of. */
static void tell(tr_actor *self, tr__claims *c, tr__node_record *r)
{
    tr__claim_change changes[AT_ONCE];
    size_t count = 0;
    const tr__claim *claim = c->last;
    while (claim && claim->serial > r->claims_told)
        claim = claim->previous;
    for (claim = claim ? claim->next : c->first; claim && count < AT_ONCE; claim = claim->next)
        changes[count++] = (tr__claim_change){.name = claim->name,
                                              .actor = claim->actor,
                                              .serial = claim->serial,
                                              .up = !claim->over,
                                              .kept_by = claim->over ? claim->kept_by : TR_ADDR_NONE,
                                              .reason = claim->over ? claim->reason : ""};
    if (!count)
        return;
    tr_future f = tr_ask(self, TR__WARDEN_OF(r->changed.node), TR_FOREVER, tr__claims_changed,
                         .changes = {changes, count});
    if (f.id && tr_then(self, f, taken, (void *)(uintptr_t)r->changed.node) == TR_OK) {
        r->claims_asked = changes[count - 1].serial;
        return;
    }
    tr_cancel(self, f);
    c->unsettled = true;
}

void tr__claims_tell(tr_actor *self, tr__claims *c)
{
    for (tr_msg *msg = *c->nodes; msg; msg = msg->next) {
        tr__node_record *r = tr__msg_body(msg);
        if (r->changed.up && r->takes_claims && !r->claims_asked && r->claims_told < c->serial)
            tell(self, c, r);
    }
    tr__claims_sweep(c);
}

/* ---- what peers tell ----------------------------------------------------------------------------------- */

static heard_claim *find(const tr__node_record *r, const char *name)
{
    heard_claim *entry;
    HASH_FIND_STR(r->claims, name, entry);
    return entry;
}

tr_addr tr__claims_heard(const tr__node_record *r, const char *name)
{
    const heard_claim *entry = r->claims ? find(r, name) : NULL;
    return entry ? entry->actor : TR_ADDR_NONE;
}

void tr__claims_forget(tr__node_record *r)
{
    heard_claim *entry, *next;
    HASH_ITER(hh, r->claims, entry, next)
    {
        HASH_DEL(r->claims, entry);
        tr__free(entry);
    }
}

/* Counted; told once a connection. */
static void refuse(tr_actor *self, tr__node_record *r, const char *why)
{
    tr_node *node = tr__owner(self)->node;
    atomic_fetch_add_explicit(&node->claims_refused, 1, memory_order_relaxed);
    if (r->claims_refused++ == 0)
        tr_log(self, TR_LOG_WARN, "a name that node %s claims isn't taken: %s", r->name, why);
}

/* TR_ENOMEM: it is to be told again. */
static tr_err put(tr_actor *self, tr__node_record *r, const tr__claim_change *change)
{
    heard_claim *entry = find(r, change->name);
    if (!entry && HASH_COUNT(r->claims) >= TR__CLAIMS_MAX) {
        refuse(self, r, "it has more than a node may have");
        return TR_OK;
    }
    if (!entry) {
        if (!(entry = tr__zalloc(sizeof(*entry))))
            return TR_ENOMEM;
        snprintf(entry->name, sizeof(entry->name), "%s", change->name);
        HASH_ADD_STR(r->claims, name, entry);
        if (!tr__hash_added(entry)) {
            tr__free(entry);
            return TR_ENOMEM;
        }
    }
    entry->actor = change->actor;
    return TR_OK;
}

static void drop(tr__node_record *r, const tr__claim_change *change)
{
    heard_claim *entry = find(r, change->name);
    if (!entry || TR_PLANT(claim_left))
        return;
    HASH_DEL(r->claims, entry);
    tr__free(entry);
}

static tr_err hear(tr_actor *self, tr__claims *c, tr__node_record *r, const tr__claim_change *change)
{
    tr_error error;
    if (change->serial <= r->claims_heard)
        return TR_OK;
    if (tr__claims_check(change->name, &error) != TR_OK || change->actor.node != r->changed.node) {
        refuse(self, r, "it is no name, or of an actor elsewhere");
    } else {
        tr__claim *own = tr__claims_own(c, change->name);
        if (change->up)
            TR_TRY(put(self, r, change));
        else
            drop(r, change);
        if (own && !change->up && tr_addr_equal(own->actor, change->kept_by)) {
            own->kept_from = change->actor;
            tr__claims_conflict(self, c, own);
        }
        tr__claims_settle(self, c, change->name, change->reason);
    }
    r->claims_heard = change->serial;
    return TR_OK;
}

void tr__claims_hear(tr_actor *self, tr__claims *c, const tr_msg *msg)
{
    const tr__claims_changed *news = tr_match(msg, tr__claims_changed);
    tr_addr sender = tr_msg_sender(msg);
    tr__node_record *r = tr_addr_equal(sender, TR__WARDEN_OF(sender.node)) ? record_of(c, sender.node) : NULL;
    if (!r) {
        tr_reply_error(self, msg, TR_EPERM, "only the warden of a connected node tells of its claims");
        return;
    }
    if (!r->takes_claims) { /* it would be told of none of ours, and two would have a name for ever */
        refuse(self, r, "it is of a version that has no names in the cluster");
        tr_reply_error(self, msg, TR_EVERSION, "who takes no claims has none");
        return;
    }
    for (size_t i = 0; i < news->changes.count; i++)
        if (hear(self, c, r, &news->changes.data[i]) != TR_OK) {
            tr_reply_error(self, msg, TR_ENOMEM, "no memory for another node's names");
            return;
        }
    tr_reply(self, msg, tr__claims_taken);
}

void tr__claims_went(tr_actor *self, tr__claims *c, tr__node_record *r)
{
    heard_claim *all = r->claims, *entry, *next;
    char reason[TR__REASON_TEXT];
    snprintf(reason, sizeof(reason), "node %.32s is down: %.76s", r->name, r->reason);
    r->claims = NULL;
    HASH_ITER(hh, all, entry, next)
    {
        HASH_DEL(all, entry);
        tr__claims_settle(self, c, entry->name, reason);
        tr__free(entry);
    }
    tr__claims_sweep(c);
}
