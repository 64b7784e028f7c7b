/* The names of a node's actors: one table a node, under a lock that is held for a look-up. Any thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/node.h"
#include "actors/supervision/roots.h"
#include "base/err.h"
#include "base/hash_table.h"
#include "base/mem.h"

struct tr__name {
    char name[TR_NAME_MAX];
    tr_addr address;
    uint64_t order; /* of what the node stops in order (roots.h); 0: its supervisor does, or nobody */
    UT_hash_handle hh;
};

tr_err tr__name_put(tr_node *node, const char *name, tr_addr address, bool root, tr_error *error)
{
    size_t length = name ? strlen(name) : 0;
    if (length == 0 || length >= TR_NAME_MAX || strchr(name, '/'))
        return tr__fail(error, TR_EINVAL, "\"%s\" can't be a name: 1 to %d bytes, no '/'", name ? name : "",
                        TR_NAME_MAX - 1);
    struct tr__name *entry = tr__zalloc(sizeof(*entry)), *taken;
    if (!entry)
        return tr__fail(error, TR_ENOMEM, "no memory to register the name \"%s\"", name);
    memcpy(entry->name, name, length);
    entry->address = address;
    tr__spin_lock(&node->names_lock);
    HASH_FIND_STR(node->names, name, taken);
    entry->order = root ? ++node->names_order : 0;
    if (!taken)
        HASH_ADD_STR(node->names, name, entry);
    bool added = !taken && tr__hash_added(entry);
    if (added)
        atomic_fetch_add_explicit(&node->names_given, 1, memory_order_relaxed);
    tr__spin_unlock(&node->names_lock);
    if (added)
        return TR_OK;
    tr__free(entry);
    if (!taken)
        return tr__fail(error, TR_ENOMEM, "no memory to register the name \"%s\"", name);
    return tr__fail(error, TR_EEXIST, "the name \"%s\" is taken on node %s", name, node->name);
}

tr_addr tr__name_get(tr_node *node, const char *name)
{
    struct tr__name *entry;
    tr__spin_lock(&node->names_lock);
    HASH_FIND_STR(node->names, name, entry);
    tr_addr address = entry ? entry->address : TR_ADDR_NONE;
    tr__spin_unlock(&node->names_lock);
    return address;
}

bool tr__name_nth(tr_node *node, tr_addr address, uint32_t nth, char name[TR_NAME_MAX])
{
    struct tr__name *entry, *found = NULL;
    tr__spin_lock(&node->names_lock);
    for (entry = node->names; entry && !found; entry = entry->hh.next)
        if (tr_addr_equal(entry->address, address) && nth-- == 0)
            found = entry;
    if (found)
        memcpy(name, found->name, TR_NAME_MAX);
    tr__spin_unlock(&node->names_lock);
    return found != NULL;
}

void tr__names_drop(tr_node *node, tr_addr address)
{
    struct tr__name *entry, *next;
    tr__spin_lock(&node->names_lock);
    HASH_ITER(hh, node->names, entry, next)
    {
        if (!tr_addr_equal(entry->address, address))
            continue;
        HASH_DEL(node->names, entry);
        tr__free(entry);
    }
    tr__spin_unlock(&node->names_lock);
}

static int by_slot(const void *a, const void *b)
{
    const tr__named *x = a, *y = b;
    return x->address.slot != y->address.slot
               ? (x->address.slot > y->address.slot) - (x->address.slot < y->address.slot)
               : strcmp(x->name, y->name);
}

size_t tr__names_copy(tr_node *node, tr__named *into, size_t room)
{
    struct tr__name *entry, *next;
    size_t count = 0;
    tr__spin_lock(&node->names_lock);
    HASH_ITER(hh, node->names, entry, next)
    {
        if (count == room)
            break;
        memcpy(into[count].name, entry->name, sizeof(entry->name));
        into[count++].address = entry->address;
    }
    tr__spin_unlock(&node->names_lock);
    qsort(into, count, sizeof(*into), by_slot);
    return count;
}

static int by_order(const void *a, const void *b)
{
    const struct tr__root *x = a, *y = b;
    return (x->order < y->order) - (x->order > y->order);
}

/* An actor of two names is in there twice, which harms nobody. */
static size_t roots_gather(tr_node *node, struct tr__root *found, size_t room)
{
    size_t count = 0;
    tr__spin_lock(&node->names_lock);
    for (const struct tr__name *entry = node->names; entry && count < room; entry = entry->hh.next)
        if (entry->order)
            found[count++] = (struct tr__root){.address = entry->address, .order = entry->order};
    for (const struct tr__root *root = node->roots; root && count < room; root = root->next)
        found[count++] = *root;
    tr__spin_unlock(&node->names_lock);
    return count;
}

size_t tr__roots_copy(tr_node *node, tr_addr *into, size_t room)
{
    struct tr__root *found = tr__alloc(room * sizeof(*found));
    size_t count = found ? roots_gather(node, found, room) : 0;
    if (found)
        qsort(found, count, sizeof(*found), by_order);
    for (size_t i = 0; i < count; i++)
        into[i] = found[i].address;
    tr__free(found);
    return count;
}

void tr__names_fini(tr_node *node)
{
    struct tr__name *entry, *next;
    HASH_ITER(hh, node->names, entry, next)
    {
        HASH_DEL(node->names, entry);
        tr__free(entry);
    }
}
