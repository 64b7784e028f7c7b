/* See pairs.h. What can fail is memory. */
#include "actors/remote/pairs.h"

#include "base/hash_table.h"
#include "base/mem.h"

typedef struct pair_key {
    uint32_t from_slot, from_generation, to_slot, to_generation;
} pair_key;

struct tr__pair {
    pair_key key;
    uint64_t unit; /* that has its last message */
    int32_t held;
    UT_hash_handle hh;
};

static pair_key key_of(const tr__record *r)
{
    return (pair_key){r->from_slot, r->from_generation, r->to_slot, r->to_generation};
}

static bool is_over(const tr__pair *pair, uint64_t taken)
{
    return pair->held == 0 && pair->unit <= taken;
}

static void forget(tr__pairs *pairs, tr__pair *pair)
{
    HASH_DEL(pairs->table, pair);
    tr__free(pair);
}

tr__pair *tr__pairs_find(tr__pairs *pairs, const tr__record *record, uint64_t taken)
{
    tr__pair *pair;
    pair_key key = key_of(record);
    HASH_FIND(hh, pairs->table, &key, sizeof(key), pair);
    if (pair && is_over(pair, taken)) {
        forget(pairs, pair);
        pair = NULL;
    }
    return pair;
}

static void sweep(tr__pairs *pairs, uint64_t taken)
{
    tr__pair *pair, *next;
    HASH_ITER(hh, pairs->table, pair, next)
    if (is_over(pair, taken))
        forget(pairs, pair);
    pairs->sweep_at = HASH_COUNT(pairs->table) + TR__PAIRS_STALE;
}

tr__pair *tr__pairs_make(tr__pairs *pairs, const tr__record *record, uint64_t taken)
{
    tr__pair *pair = tr__pairs_find(pairs, record, taken);
    if (pair)
        return pair;
    if (HASH_COUNT(pairs->table) >= pairs->sweep_at)
        sweep(pairs, taken);
    pair = tr__zalloc(sizeof(*pair));
    if (!pair)
        return NULL;
    pair->key = key_of(record);
    HASH_ADD(hh, pairs->table, key, sizeof(pair->key), pair);
    if (tr__hash_added(pair))
        return pair;
    tr__free(pair);
    return NULL;
}

void tr__pair_sent(tr__pair *pair, uint64_t unit)
{
    pair->unit = unit;
}

bool tr__pair_is_held(const tr__pair *pair)
{
    return pair->held > 0;
}

void tr__pair_hold(tr__pair *pair, int32_t by)
{
    pair->held += by;
}

void tr__pairs_end(tr__pairs *pairs)
{
    tr__pair *pair, *next;
    HASH_ITER(hh, pairs->table, pair, next)
    forget(pairs, pair);
}
