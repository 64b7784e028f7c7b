/* Open addressing, linear, at most half full. See judge_table.h. */
#include "cli/tx/judge_table.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

#define FIRST_SIZE 64

static judge_slot *slot_of(const judge_table *table, uint64_t a, int64_t b)
{
    uint64_t key[2] = {a, (uint64_t)b};
    size_t at = (size_t)tr__hash_secret(key, sizeof(key)) & (table->size - 1);
    while (table->slots[at].used && (table->slots[at].a != a || table->slots[at].b != b))
        at = (at + 1) & (table->size - 1);
    return &table->slots[at];
}

uint32_t *judge_table_get(const judge_table *table, uint64_t a, int64_t b)
{
    judge_slot *slot = table->size ? slot_of(table, a, b) : NULL;
    return slot && slot->used ? &slot->value : NULL;
}

static int grow(judge_table *table)
{
    judge_table larger = {.size = table->size ? 2 * table->size : FIRST_SIZE, .count = table->count};
    larger.slots = tr__zalloc(larger.size * sizeof(*larger.slots));
    if (!larger.slots)
        return 0;
    for (size_t i = 0; i < table->size; i++)
        if (table->slots[i].used)
            *slot_of(&larger, table->slots[i].a, table->slots[i].b) = table->slots[i];
    tr__free(table->slots);
    *table = larger;
    return 1;
}

uint32_t *judge_table_put(judge_table *table, uint64_t a, int64_t b)
{
    if (2 * (table->count + 1) > table->size && !grow(table))
        return NULL;
    judge_slot *slot = slot_of(table, a, b);
    if (!slot->used) {
        *slot = (judge_slot){.a = a, .b = b, .value = JUDGE_NONE, .used = 1};
        table->count++;
    }
    return &slot->value;
}

void judge_table_free(judge_table *table)
{
    tr__free(table->slots);
    *table = (judge_table){0};
}

int judge_room(void *array, size_t *room, size_t count, size_t size)
{
    void *block;
    if (count < *room)
        return 1;
    size_t larger = *room ? 2 * *room : 16;
    memcpy(&block, array, sizeof(block));
    block = tr__realloc(block, larger * size);
    if (!block)
        return 0;
    memcpy(array, &block, sizeof(block));
    *room = larger;
    return 1;
}
