/* See waits.h. */
#include "actors/remote/waits.h"

#include "base/hash.h"
#include "base/mem.h"

/* Of cancels, and of asks that were handed on, the number is a peer's choice. */
static uint32_t bucket_of(const tr__waits *waits, uint64_t number, uint32_t slot)
{
    const uint64_t key[] = {number, slot};
    if (waits->ours)
        return (uint32_t)tr__hash_done(number ^ (uint64_t)slot << 32) & (waits->size - 1);
    return (uint32_t)tr__hash_secret(key, sizeof(key)) & (waits->size - 1);
}

static bool grow(tr__waits *waits)
{
    tr__waits bigger = {.size = waits->size ? waits->size * 2 : 64, .ours = waits->ours};
    bigger.buckets = tr__zalloc(bigger.size * sizeof(*bigger.buckets));
    if (!bigger.buckets)
        return waits->size != 0; /* longer chains will do */
    for (uint32_t i = 0; i < waits->size; i++)
        while (waits->buckets[i]) {
            tr_msg *msg = waits->buckets[i];
            waits->buckets[i] = msg->next;
            tr_msg **at = &bigger.buckets[bucket_of(&bigger, msg->ask, msg->sender.slot)];
            msg->next = *at;
            *at = msg;
            bigger.count++;
        }
    tr__free(waits->buckets);
    *waits = bigger;
    return true;
}

bool tr__waits_room(tr__waits *waits)
{
    return waits->count < waits->size || grow(waits);
}

bool tr__waits_put(tr__waits *waits, tr_msg *msg)
{
    if (!tr__waits_room(waits))
        return false;
    tr_msg **at = &waits->buckets[bucket_of(waits, msg->ask, msg->sender.slot)];
    msg->next = *at;
    *at = msg;
    waits->count++;
    return true;
}

/* Where it hangs; NULL: there is none. */
static tr_msg **place_of(const tr__waits *waits, uint8_t kind, uint64_t number, uint32_t slot,
                         uint32_t generation)
{
    if (!waits->count)
        return NULL;
    for (tr_msg **at = &waits->buckets[bucket_of(waits, number, slot)]; *at; at = &(*at)->next) {
        const tr_msg *msg = *at;
        if (msg->kind == kind && msg->ask == number && msg->sender.slot == slot &&
            msg->sender.generation == generation)
            return at;
    }
    return NULL;
}

tr_msg *tr__waits_take(tr__waits *waits, uint8_t kind, uint64_t number, uint32_t slot, uint32_t generation)
{
    tr_msg **at = place_of(waits, kind, number, slot, generation);
    if (!at)
        return NULL;
    tr_msg *msg = *at;
    *at = msg->next;
    waits->count--;
    return msg;
}

tr_msg *tr__waits_find(const tr__waits *waits, uint8_t kind, uint64_t number, uint32_t slot,
                       uint32_t generation)
{
    tr_msg **at = place_of(waits, kind, number, slot, generation);
    return at ? *at : NULL;
}

tr_msg *tr__waits_pop(tr__waits *waits)
{
    for (uint32_t i = 0; waits->count && i < waits->size; i++)
        if (waits->buckets[i]) {
            tr_msg *msg = waits->buckets[i];
            waits->buckets[i] = msg->next;
            waits->count--;
            return msg;
        }
    return NULL;
}

void tr__waits_fini(tr__waits *waits)
{
    tr__free(waits->buckets);
    *waits = (tr__waits){.ours = waits->ours};
}
