/* See rights.h. */
#include "actors/remote/rights.h"

#include <stdio.h>
#include <string.h>

#include <troupe/groups.h>
#include <troupe/troupe.h>

#include "actors/names/warden.h"
#include "actors/remote/confirmed.h"
#include "actors/remote/peer.h"
#include "actors/transactions.h"
#include "base/err.h"

const char *const tr__right_words[TR__RIGHT_COUNT] = {
#define TR__WORD(name, word, bit) word,
    TR__RIGHTS(TR__WORD)
#undef TR__WORD
};

static const uint32_t bits[TR__RIGHT_COUNT] = {
#define TR__BIT(name, word, bit) bit,
    TR__RIGHTS(TR__BIT)
#undef TR__BIT
};

/* ---- entries ------------------------------------------------------------------------------------------- */

/* The last star takes as much as it must: what is before it fits already. */
bool tr__pattern_fits(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            from = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool fits_one(const char *const *patterns, const char *text)
{
    for (; patterns && *patterns; patterns++)
        if (tr__pattern_fits(*patterns, text))
            return true;
    return false;
}

const tr_rights *tr__rights_of(const tr_node *node, const char *peer)
{
    static const char *const any[] = {"*", NULL};
    static const tr_rights unsaid = {.may = TR_MAY_ALL, .names = any}, none = {0};
    const tr_rights *found = node->opts.rights ? &none : &unsaid;
    for (uint32_t i = 0; node->opts.rights && i < node->opts.rights_count; i++) {
        const tr_rights *entry = &node->opts.rights[i];
        if (entry->peer && strcmp(entry->peer, peer) == 0)
            return entry;
        found = entry->peer ? found : entry;
    }
    return found;
}

static bool same_peer(const tr_rights *a, const tr_rights *b)
{
    return a->peer && b->peer ? strcmp(a->peer, b->peer) == 0 : a->peer == b->peer;
}

tr_err tr__rights_check_one(const tr_rights *rights, uint32_t i, tr_error *error)
{
    const char *peer = rights[i].peer ? rights[i].peer : "default";
    if (i >= TR__RIGHTS_MAX)
        return tr__fail(error, TR_EINVAL, "rights: more than %u entries", TR__RIGHTS_MAX);
    if (rights[i].peer && tr__name_check("node", rights[i].peer, error) != TR_OK)
        return TR_EINVAL;
    for (uint32_t j = 0; j < i; j++)
        if (same_peer(&rights[i], &rights[j]))
            return tr__fail(error, TR_EINVAL, "rights: a second entry for %s", peer);
    if (rights[i].spawn_max > TR__SPAWN_MAX)
        return tr__fail(error, TR_EINVAL, "rights of %s: spawn_max is at most %u", peer, TR__SPAWN_MAX);
    if (rights[i].rate && rights[i].rate < TR__RATE_MIN)
        return tr__fail(error, TR_EINVAL, "rights of %s: a rate is %u bytes a second or more", peer,
                        TR__RATE_MIN);
    return TR_OK;
}

tr_err tr__rights_check(const tr_rights *rights, uint32_t count, tr_error *error)
{
    for (uint32_t i = 0; i < count; i++)
        TR_TRY(tr__rights_check_one(rights, i, error));
    return TR_OK;
}

/* ---- what is refused ----------------------------------------------------------------------------------- */

static void count_it(tr__remote_peer *p, tr__right right, const char *text)
{
    tr__loop *loop = p->remote->loop;
    tr__refusals *r = &p->refusals;
    r->count[right]++;
    if (r->told_ns && loop->now_ns - r->told_ns < TR_SECONDS(1)) {
        r->untold++;
        return;
    }
    tr__node_log(loop->node, TR_LOG_WARN, "refused: %s (%llu more since the last such line)", text,
                 (unsigned long long)r->untold);
    r->told_ns = loop->now_ns;
    r->untold = 0;
}

static tr_err refuse(tr__remote_peer *p, tr__right right, const char *what, tr_error *error)
{
    tr_error text;
    const char *peer = p->peer->name, *here = p->remote->loop->node->name;
    const char *where = "of its entry in the rights there (--allow FILE) doesn't say so";
    if (bits[right])
        tr__fail(&text, TR_EPERM, "node %s has no right to %s on node %s: `may` %s", peer,
                 tr__right_words[right], here, where);
    else
        tr__fail(&text, TR_EPERM, "node %s has no right to %s \"%.63s\" on node %s: `%s` %s", peer,
                 right == TR__RIGHT_SPAWN ? "spawn" : "look up", what, here, tr__right_words[right], where);
    count_it(p, right, text.text);
    if (error)
        *error = text;
    return TR_EPERM;
}

static bool has_right(const tr_rights *rights, tr__right right, const char *what)
{
    return bits[right] ? rights->may & bits[right]
                       : fits_one(right == TR__RIGHT_SPAWN ? rights->spawn : rights->names, what);
}

tr_err tr__peer_may(tr__remote_peer *p, tr__right right, const char *what, tr_error *error)
{
    return has_right(p->rights, right, what) ? TR_OK : refuse(p, right, what, error);
}

tr_err tr__node_may(tr__loop *loop, uint64_t node, tr__right right, const char *what, tr_error *error)
{
    tr__remote_peer *p = node == loop->node->id ? NULL : tr__remote_peer_of(loop, node);
    if (node == loop->node->id)
        return TR_OK;
    return p ? tr__peer_may(p, right, what, error)
             : tr__fail(error, TR_ENOCONN, "the node that asked isn't connected any more");
}

bool tr__node_lacks(tr__loop *loop, uint64_t node, tr__right right)
{
    const tr__remote_peer *p = node == loop->node->id ? NULL : tr__remote_peer_of(loop, node);
    return p && !has_right(p->rights, right, NULL);
}

/* ---- whom it may send to ------------------------------------------------------------------------------- */

static bool has_name(tr__remote_peer *p, tr_addr to)
{
    tr_node *node = p->remote->loop->node;
    uint32_t names = tr__names_given(node), at = (to.slot * 31 + to.generation) % TR__REACH_SLOTS;
    tr__reach *reach = &p->reach;
    if (reach->seen[at].slot == to.slot && reach->seen[at].generation == to.generation &&
        (reach->seen[at].has || reach->seen[at].names == names))
        return reach->seen[at].has;
    bool found = false;
    char name[TR_NAME_MAX];
    for (uint32_t nth = 0; !found && tr__name_nth(node, to, nth, name); nth++)
        found = fits_one(p->rights->names, name);
    reach->seen[at].slot = to.slot;
    reach->seen[at].generation = to.generation;
    reach->seen[at].names = names;
    reach->seen[at].has = found; /* a name is kept until its actor's end */
    return found;
}

/* Those that every node knows of every other are asked for what they are for, and see to rights themselves. */
static bool is_known(const tr_node *node, tr_addr to)
{
    return tr_addr_equal(to, TR__WARDEN_OF(node->id)) || tr_addr_equal(to, TR__TX_MANAGER_OF(node->id)) ||
           tr_addr_equal(to, TR__CONFIRMER_OF(node->id));
}

bool tr__peer_can_reach(tr__remote_peer *p, tr_addr to)
{
    return p->rights->may & TR_MAY_SEND || is_known(p->remote->loop->node, to) || has_name(p, to);
}

tr_err tr__peer_reaches(tr__remote_peer *p, tr_addr to, tr_error *error)
{
    return tr__peer_can_reach(p, to) ? TR_OK : refuse(p, TR__RIGHT_SEND, NULL, error);
}

tr_err tr__peer_may_send(tr__remote_peer *p, tr_addr to, uint64_t type, tr_error *error)
{
    const tr_typeinfo *subscribe = tr__type_of(&tr_subscribe_type);
    tr_err err = tr__peer_reaches(p, to, error);
    return err == TR_OK && subscribe && type == subscribe->id
               ? tr__peer_may(p, TR__RIGHT_SUBSCRIBE, NULL, error)
               : err;
}

tr_err tr__node_may_send(tr__loop *loop, uint64_t node, tr_addr to, uint64_t type, tr_error *error)
{
    tr__remote_peer *p = tr__remote_peer_of(loop, node);
    return p ? tr__peer_may_send(p, to, type, error)
             : tr__fail(error, TR_ENOCONN, "the node that sent it isn't connected any more");
}
