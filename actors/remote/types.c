/* Types that a peer told, and messages of them from the bytes of records. Nothing in those is trusted. Loop 0 only. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "actors/remote/wire.h"
#include "base/err.h"
#include "base/mem.h"

typedef struct tr__heard_type {
    const tr_typeinfo *type; /* what its messages are read as; NULL: nothing here can, so far */
    uint64_t id, fingerprint;
    size_t length; /* of the schema */
    char *schema;  /* until it has a type */
} heard_type;

/* ---- types of theirs ----------------------------------------------------------------------------------- */

void tr__heard_types_end(tr__remote_peer *p)
{
    for (uint32_t i = 0; i < p->heard_count; i++)
        tr__free(p->heard[i].schema);
    tr__free(p->heard);
}

const tr_typeinfo *tr__heard_type_of(const tr__remote_peer *p, uint32_t number)
{
    return p->heard[number].type;
}

/* Look for a type that can read it; again, too, for one may have been declared since. */
static bool resolve(heard_type *heard, tr_error *error)
{
    if (heard->type)
        return true;
    heard->type = tr__type_for(heard->id, heard->fingerprint, heard->schema, heard->length, error);
    if (!heard->type)
        return false;
    tr__free(heard->schema);
    heard->schema = NULL;
    return true;
}

tr_err tr__hear_type(tr__remote_peer *p, const tr__record *r)
{
    if (r->type != p->heard_count || r->type >= TR__TYPES_MAX || r->length >= TR__SCHEMA_MAX)
        return TR_EPROTO;
    if (p->heard_count == p->heard_room) {
        uint32_t room = p->heard_room ? p->heard_room * 2 : 16;
        heard_type *bigger = tr__realloc(p->heard, room * sizeof(*bigger));
        if (!bigger)
            return TR_ENOMEM;
        p->heard = bigger;
        p->heard_room = room;
    }
    char *schema = tr__alloc(r->length + 1);
    if (!schema)
        return TR_ENOMEM;
    memcpy(schema, r->body, r->length);
    schema[r->length] = '\0';
    heard_type *heard = &p->heard[p->heard_count++];
    *heard = (heard_type){NULL, r->type_id, r->fingerprint, r->length, schema};
    resolve(heard, NULL);
    return TR_OK;
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static tr_msg *no_memory(const tr_typeinfo *type, size_t size, tr_drop *why, tr_error *error)
{
    *why = TR_DROP_NO_MEMORY;
    tr__fail(error, TR_ENOMEM, "no memory for a %s of %zu bytes", type->name, size);
    return NULL;
}

/* An item's block can become its demand (W7). */
static size_t room_for(const tr__record *r, size_t size)
{
    return r->kind == TR__WIRE_ITEM && size < sizeof(tr_demand) ? sizeof(tr_demand) : size;
}

/* The block in which the record came becomes the message's: its header and struct stand in the headroom, and its strings
 * and bytes where they came. NULL: it can't be; the block has to last as long as there are records in it. */
static tr_msg *decode_in_place(tr__remote_peer *p, const tr__record *r, const tr_typeinfo *type)
{
    size_t at = (size_t)(r->body - p->block);
    size_t size = p->block_size - sizeof(tr_msg);
    tr_msg *msg = (tr_msg *)p->block;
    if (sizeof(*msg) + type->size > at || size > TR__BODY_MAX || at + r->length < p->block_size ||
        !tr__cbor_has_place(type))
        return NULL;
    tr__cbor_decode_in_place(type, p->block + at, r->length, tr__msg_body(msg));
    p->block = NULL;
    *msg = (tr_msg){.size = (uint32_t)size, .home = TR__HOME_NONE, .size_class = TR__CLASS_LARGE};
    tr__buffers_charge(p->remote->loop->node->buffers, size);
    return msg;
}

/* One whose size is known when it is measured. */
static tr_msg *decode_measured(tr__remote_peer *p, const tr_typeinfo *type, const tr__record *r, tr_drop *why,
                               tr_error *error)
{
    tr__loop *loop = p->remote->loop;
    size_t size, most = tr__remote_body_max(p->remote->message_max);
    if (tr__cbor_measure_around(type, r->body, r->length, p->gaps, p->gap_count, &size, error) != TR_OK)
        return NULL;
    if (size > most) {
        tr__fail(error, TR_ETOOBIG, "a %s of %zu bytes: between nodes %zu is the most", type->name, size,
                 most);
        return NULL;
    }
    tr_msg *msg = p->block ? decode_in_place(p, r, type) : NULL;
    if (msg)
        return msg;
    msg = tr__msg_alloc(&loop->pool, loop->index, room_for(r, size));
    if (!msg)
        return no_memory(type, size, why, error);
    msg->size = (uint32_t)size;
    if (!tr__cbor_decode_around(type, r->body, r->length, p->gaps, p->gap_count, loop->node->buffers,
                                tr__msg_body(msg))) {
        tr__msg_free(loop, msg);
        return no_memory(type, size, why, error);
    }
    return msg;
}

/* One that fits in a pooled block by what its bytes can become: checked and decoded in one walk. */
tr_msg *tr__remote_decode_small(tr__loop *loop, const tr_typeinfo *type, const tr__record *r, tr_drop *why,
                                tr_error *error)
{
    size_t most = type->size + r->length, size = 0;
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, room_for(r, most));
    if (!msg)
        return no_memory(type, most, why, error);
    if (tr__cbor_read(type, r->body, r->length, tr__msg_body(msg), &size, error) != TR_OK) {
        tr__msg_free(loop, msg);
        return NULL;
    }
    msg->size = (uint32_t)size;
    return msg;
}

tr_msg *tr__remote_decode(tr__remote_peer *p, const tr__record *r, tr_drop *why, tr_error *error)
{
    tr__loop *loop = p->remote->loop;
    heard_type *heard = &p->heard[r->type];
    *why = TR_DROP_UNKNOWN_TYPE;
    if (!resolve(heard, error))
        return NULL;
    const tr_typeinfo *type = heard->type;
    *why = TR_DROP_MALFORMED;
    if (type->notice) { /* theirs come as records of their own; an answer that is piped is a message as well */
        tr__fail(error, TR_EPROTO, "a %s is sent by the runtime only", type->name);
        return NULL;
    }
    tr_msg *msg = tr__is_small(type, r) ? tr__remote_decode_small(loop, type, r, why, error)
                                        : decode_measured(p, type, r, why, error);
    if (msg)
        tr__msg_filled(msg, type);
    return msg;
}
