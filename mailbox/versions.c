/* See versions.h. The copies stand in a table of the process, under one lock: a message has no room for them, and few are
 * ever converted. A copy is made as if it came over a connection, by the same code that holds versions to the rules. */
#include "mailbox/versions.h"

#include <string.h>

#include "base/hash_table.h"
#include "base/mem.h"
#include "base/spin.h"
#include "mailbox/message.h"

typedef struct version {
    const tr_msg *msg;
    const tr_typeinfo *type;
    struct version *next; /* of the same message */
    UT_hash_handle hh;
    _Alignas(8) char body[];
} version;

static version *versions; /* by message: the first of its list */
static tr__spin lock = TR__SPIN_INIT;

static const void *find(const tr_msg *msg, const tr_typeinfo *type)
{
    version *v;
    tr__spin_lock(&lock);
    HASH_FIND_PTR(versions, &msg, v);
    while (v && v->type != type)
        v = v->next;
    tr__spin_unlock(&lock);
    return v ? v->body : NULL;
}

/* False: no memory. */
static bool add(version *v)
{
    version *first;
    bool added = true;
    tr__spin_lock(&lock);
    HASH_FIND_PTR(versions, &v->msg, first);
    if (first) {
        v->next = first->next;
        first->next = v;
    } else {
        HASH_ADD_PTR(versions, msg, v);
        added = tr__hash_added(v);
    }
    tr__spin_unlock(&lock);
    return added;
}

static void free_version(version *v)
{
    tr__body_release(v->type, v->body);
    tr__free(v);
}

/* NULL: no memory, or it can't be one. */
static version *convert(const tr_msg *msg, const tr_typeinfo *wanted)
{
    const void *body = msg + 1;
    size_t room = tr__cbor_bound(msg->type, body), size;
    uint8_t *bytes = tr__alloc(room);
    version *v = NULL;
    if (!bytes)
        return NULL;
    size_t length = tr__cbor_encode_shared(msg->type, body, bytes, room);
    if (tr__cbor_measure_shared(wanted, bytes, length, &size) == TR_OK &&
        (v = tr__zalloc(sizeof(*v) + size))) {
        v->msg = msg;
        v->type = wanted;
        tr__cbor_decode_shared(wanted, bytes, length, v->body);
    }
    tr__free(bytes);
    return v;
}

const void *tr__version_of(tr_msg *msg, const tr_typeinfo *wanted)
{
    if (!msg->type || msg->type->id != wanted->id)
        return NULL;
    const void *found = msg->flags & TR__MSG_CONVERTED ? find(msg, wanted) : NULL;
    if (found || tr__schema_check(wanted, msg->type->schema, strlen(msg->type->schema), NULL) != TR_OK)
        return found;
    version *made = convert(msg, wanted);
    if (made && !add(made)) {
        free_version(made);
        made = NULL;
    }
    if (!made)
        return NULL;
    msg->flags |= TR__MSG_CONVERTED;
    msg->home |= TR__HOME_HOLDS;
    return made->body;
}

void tr__versions_drop(tr_msg *msg)
{
    version *v;
    const tr_msg *key = msg;
    tr__spin_lock(&lock);
    HASH_FIND_PTR(versions, &key, v);
    if (v)
        HASH_DEL(versions, v);
    tr__spin_unlock(&lock);
    while (v) {
        version *next = v->next;
        free_version(v);
        v = next;
    }
    msg->flags &= (uint8_t)~TR__MSG_CONVERTED;
}

tr_err tr__versions_check(const tr_typeinfo *type, tr_error *error)
{
    for (const tr_typeinfo *other = tr__type_find(type->id, 0); other; other = tr__type_next(other))
        if (other != type)
            TR_TRY(tr__schema_check(type, other->schema, strlen(other->schema), error));
    return TR_OK;
}
