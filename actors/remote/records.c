/* See records.h. What can fail is memory. */
#include "actors/remote/records.h"

#include <string.h>

#include <troupe/troupe.h>

#include "base/check.h"
#include "base/plant.h"

#define HEAD (sizeof(tr_msg) + sizeof(tr__records))

tr_msg *tr__records_open(tr__loop *loop, uint64_t from_node, uint64_t to_node)
{
    tr_msg *msg = tr__pool_take(&loop->pool, TR__CLASS_RECORDS, TR__RECORDS_BLOCK);
    if (!msg)
        return NULL;
    *msg = (tr_msg){.kind = TR__MSG_RECORDS,
                    .size = TR__RECORDS_BLOCK - sizeof(tr_msg),
                    .home = loop->index,
                    .size_class = TR__CLASS_RECORDS};
    tr__records *r = tr__records_of(msg);
    r->from_node = from_node;
    r->to_node = to_node;
    r->count = r->answers = r->at = r->end = r->type_count = 0;
    return msg;
}

/* By its number: a peer may tell a type by two, and several versions are read as one. The newest are looked at first. */
static bool has_type(const tr__records *r, uint32_t number)
{
    for (uint32_t i = r->type_count; i-- > 0;)
        if (r->types[i].number == number)
            return true;
    return false;
}

uint8_t *tr__records_place(tr_msg *msg, const tr_typeinfo *type, uint32_t number, size_t length)
{
    tr__records *r = tr__records_of(msg);
    if (length > TR__RECORDS_BLOCK - HEAD - r->end)
        return NULL;
    if (__builtin_expect(type && !has_type(r, number), 0)) {
        if (r->type_count == TR__RECORDS_TYPES)
            return NULL;
        r->types[r->type_count].type = type;
        r->types[r->type_count++].number = number;
    }
    return r->bytes + r->end;
}

/* A copy of its head, in a block with room for so many bytes of records. */
static tr_msg *copy_head(tr__loop *loop, const tr_msg *msg, size_t bytes)
{
    tr_msg *copy = tr__msg_alloc(&loop->pool, loop->index, sizeof(tr__records) + bytes);
    if (!copy)
        return NULL;
    tr_msg head = *msg;
    head.size = copy->size;
    head.home = copy->home;
    head.size_class = copy->size_class;
    memcpy(copy, &head, sizeof(head));
    memcpy(tr__records_of(copy), tr__records_of(msg), sizeof(tr__records));
    return copy;
}

tr_msg *tr__records_fit(tr__loop *loop, tr_msg *msg)
{
    const tr__records *r = tr__records_of(msg);
    if (HEAD + r->end > TR__POOL_MAX)
        return msg;
    tr_msg *small = copy_head(loop, msg, r->end);
    if (!small)
        return msg;
    memcpy(tr__records_of(small)->bytes, r->bytes, r->end);
    tr__msg_free(loop, msg);
    return small;
}

tr_msg *tr__records_split(tr__loop *loop, tr_msg *msg, const tr__record *record, size_t used)
{
    tr__records *r = tr__records_of(msg);
    tr_msg *one = copy_head(loop, msg, used);
    if (!one)
        return NULL;
    tr__records *of_one = tr__records_of(one);
    memcpy(of_one->bytes, r->bytes + r->at, used);
    of_one->at = 0;
    of_one->end = (uint32_t)used;
    of_one->count = 1;
    one->sender = (tr_addr){r->from_node, record->from_slot, record->from_generation};
    one->to.slot = record->to_slot;
    one->to.generation = record->to_generation;
    tr__records_passed(r, used);
    return one;
}

const tr_typeinfo *tr__records_type(const tr__records *r, const tr__record *record)
{
    uint32_t i = 0;
    if (record->kind == TR__WIRE_FAILURE || record->kind == TR__WIRE_MOVED)
        return NULL;
    while (i < r->type_count && r->types[i].number != record->type)
        i++;
    tr__check(i < r->type_count, "a record of type %u in a block without it", record->type);
    return r->types[i].type;
}

void tr__records_front(const tr__records *r, tr__record *record, size_t *used)
{
    tr_error error;
    tr_err err = tr__wire_get(r->bytes + r->at, r->end - r->at, record, used, &error);
    tr__check(err == TR_OK, "a block of records that can't be read");
}

void tr__records_drop(tr__loop *loop, tr_msg *msg, tr_drop why)
{
    tr__records *r = tr__records_of(msg);
    loop->counts.dropped[why] += TR_PLANT(records_counted_once) ? 1 : r->count;
    while (r->count) {
        tr__record record;
        size_t used;
        tr__records_front(r, &record, &used);
        const tr_typeinfo *type = tr__records_type(r, &record);
        tr__dead_letter(loop, why, type ? type->name : "signal",
                        (tr_addr){r->from_node, record.from_slot, record.from_generation},
                        (tr_addr){r->to_node, record.to_slot, record.to_generation});
        tr__ring_put(&loop->ring, TR__TRACE_DROP, record.to_slot, type);
        tr__records_passed(r, used);
    }
    tr__msg_free(loop, msg);
}
