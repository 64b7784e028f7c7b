/* Participants that have refused a call for they have too much to do are left alone for a moment: whoever calls them then is
 * refused here, before anything is sent. So of a load far beyond what one can carry little reaches it, and the little is
 * refused by it as cheaply as by us. Older transactions than the one that was refused may try: its line is by priority.
 * The owner's thread. Nothing can fail: what isn't remembered is asked for. */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#define CROWDS_MAX 256
#define CROWDED_NS TR_MILLIS(10) /* a line that was too long isn't empty by then */

static tr__crowd_key key_of(const tr__tx_party *party)
{
    tr__crowd_key key;
    memset(&key, 0, sizeof(key));
    snprintf(key.node, sizeof(key.node), "%s", party->node);
    snprintf(key.actor, sizeof(key.actor), "%s", party->actor);
    return key;
}

static void forget(tr__tx *tx, tr__tx_crowd *crowd)
{
    HASH_DEL(tx->crowds, crowd);
    tr__free(crowd);
}

static void forget_until(tr__tx *tx, uint64_t now_ns)
{
    tr__tx_crowd *crowd, *next;
    HASH_ITER(hh, tx->crowds, crowd, next)
    {
        if (crowd->until_ns <= now_ns)
            forget(tx, crowd);
    }
}

static tr__tx_crowd *find(tr__tx *tx, const tr__tx_party *party)
{
    tr__tx_crowd *crowd;
    tr__crowd_key key = key_of(party);
    HASH_FIND(hh, tx->crowds, &key, sizeof(key), crowd);
    return crowd;
}

static tr__tx_crowd *make(tr__tx *tx, const tr__tx_party *party, uint64_t now_ns)
{
    if (HASH_COUNT(tx->crowds) >= CROWDS_MAX)
        forget_until(tx, now_ns);
    tr__tx_crowd *crowd = HASH_COUNT(tx->crowds) < CROWDS_MAX ? tr__zalloc(sizeof(*crowd)) : NULL;
    if (!crowd)
        return NULL;
    crowd->key = key_of(party);
    HASH_ADD(hh, tx->crowds, key, sizeof(crowd->key), crowd);
    if (tr__hash_added(crowd))
        return crowd;
    tr__free(crowd);
    return NULL;
}

void tr__tx_crowd_put(tr__tx *tx, const tr__tx_party *party, uint64_t priority)
{
    uint64_t now = tr__tx_now(tx);
    tr__tx_crowd *crowd = find(tx, party);
    if (!crowd && !(crowd = make(tx, party, now)))
        return;
    if (crowd->until_ns <= now || priority < crowd->priority)
        crowd->priority = priority;
    crowd->until_ns = now + CROWDED_NS;
}

bool tr__tx_is_crowded(tr__tx *tx, const tr__tx_party *party, uint64_t priority)
{
    tr__tx_crowd *crowd = tx->crowds ? find(tx, party) : NULL;
    if (crowd && crowd->until_ns <= tr__tx_now(tx)) {
        forget(tx, crowd);
        return false;
    }
    return crowd && priority >= crowd->priority;
}

void tr__tx_crowds_fini(tr__tx *tx)
{
    forget_until(tx, UINT64_MAX);
}
