/* The types that we told one peer, each once, before its first message. Loop 0 only. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "actors/remote/wire.h"
#include "base/hash_table.h"
#include "base/mem.h"

typedef struct tr__told_type {
    const tr_typeinfo *type;
    uint32_t number;
    UT_hash_handle hh;
} told_type;

/* From now on other loops write messages of it. release: who reads it sees the route's epoch as well (far.c). */
static void publish(tr__remote_peer *p, const tr_typeinfo *type, uint32_t number)
{
    tr__told *told = &p->remote->told[p->route - p->remote->routes];
    if (number >= TR__TOLD_MAX)
        return;
    atomic_store_explicit(&told->types[number], type, memory_order_release);
    atomic_store_explicit(&told->count, number + 1, memory_order_release);
}

tr_err tr__told_number(tr__remote_peer *p, const tr_typeinfo *type, uint32_t *number)
{
    if (p->writer.last_type == type) {
        *number = p->writer.last_number;
        return TR_OK;
    }
    told_type *told;
    HASH_FIND_PTR(p->told, &type, told);
    if (!told) {
        uint32_t next = HASH_COUNT(p->told);
        if (next >= TR__TYPES_MAX || !(told = tr__alloc(sizeof(*told))))
            return TR_ENOMEM;
        *told = (told_type){.type = type, .number = next};
        tr__record record = {.kind = TR__WIRE_TYPE,
                             .type = next,
                             .type_id = type->id,
                             .fingerprint = type->fingerprint,
                             .length = strlen(type->schema)};
        tr_err err = tr__remote_put_record(p, NULL, &record, type->schema);
        if (err != TR_OK) {
            tr__free(told);
            return err;
        }
        HASH_ADD_PTR(p->told, type, told);
        if (!tr__hash_added(told)) {
            /* The other side has heard its number by now: the next type's would be taken for it. */
            tr__free(told);
            tr__remote_cut(p, &(tr_error){TR_ENOMEM, "no memory for what was told to it"});
            return TR_ENOCONN;
        }
        publish(p, type, next);
    }
    p->writer.last_type = type;
    p->writer.last_number = *number = told->number;
    return TR_OK;
}

const char *tr__told_name(const tr__remote_peer *p, uint32_t number)
{
    for (const told_type *told = p->told; told; told = told->hh.next)
        if (told->number == number)
            return told->type->name;
    return NULL;
}

void tr__told_types_end(tr__remote_peer *p)
{
    told_type *told, *next;
    HASH_ITER(hh, p->told, told, next)
    {
        HASH_DEL(p->told, told);
        tr__free(told);
    }
}
