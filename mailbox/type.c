/* The registry of message types, and self-contained copies of bodies.
 *
 * Registration runs under one lock; a type found is never changed or freed, and a chain only grows at its end
 * by a release store, so finding needs no lock. Any thread.
 *
 * What can fail: registration, when memory runs out (NULL; the next use tries again). A table of fields that
 * no TR_MESSAGE could have made is a failed check. */
#include "mailbox/type.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/spin.h"
#include "mailbox/pool.h"

#include <string.h>

#define BUCKETS 256 /* a power of two; programs have tens of types */

static tr_typeinfo *buckets[BUCKETS];
static tr__spin registering = TR__SPIN_INIT;

/* The words are hashed into fingerprints, so they travel between versions: never change one. */
static const struct {
    const char *word;
    uint8_t size;
} kinds[] = {
    [TR_KIND_bool] = {"bool", sizeof(bool)},       [TR_KIND_i32] = {"i32", sizeof(int32_t)},
    [TR_KIND_i64] = {"i64", sizeof(int64_t)},      [TR_KIND_u32] = {"u32", sizeof(uint32_t)},
    [TR_KIND_u64] = {"u64", sizeof(uint64_t)},     [TR_KIND_f64] = {"f64", sizeof(double)},
    [TR_KIND_string] = {"string", sizeof(char *)}, [TR_KIND_bytes] = {"bytes", sizeof(tr_bytes)},
    [TR_KIND_addr] = {"addr", sizeof(tr_addr)},    [TR_KIND_buffer] = {"buffer", sizeof(tr_buffer *)},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

const char *tr__kind_word(uint32_t kind)
{
    return kind < KIND_COUNT && kinds[kind].word ? kinds[kind].word : "unknown";
}

/* What the runtime tells actors (troupe/actor.h), whoever declares it: to be believed, it must not be forged. */
static bool is_notice(const char *name)
{
    static const char *const names[] = {"tr_down",     "tr_exited",        "tr_writable",
                                        "tr_canceled", "tr_node_event",    "tr_shutdown",
                                        "tr_child_up", "tr_mailbox_level", "tr_dead_letter"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* ---- the registry -------------------------------------------------------------------------------------- */

static uint32_t count_fields(const tr_type *type)
{
    uint32_t count = 0;
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++, count++) {
        tr__check(field->kind < KIND_COUNT, "type %s, field %s: %u is no kind", type->name, field->name,
                  field->kind);
        tr__check(field->offset <= type->size && type->size - field->offset >= kinds[field->kind].size,
                  "type %s, field %s lies outside the struct", type->name, field->name);
    }
    return count;
}

/* 0 is left for "any schema". The words end with their NUL, so that "a","bc" and "ab","c" differ. */
static uint64_t fingerprint_of(const tr_type *type)
{
    uint64_t hash = tr__hash_more(TR__HASH_INIT, type->name, strlen(type->name) + 1);
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++) {
        const char *kind = kinds[field->kind].word;
        hash = tr__hash_more(hash, kind, strlen(kind) + 1);
        hash = tr__hash_more(hash, field->name, strlen(field->name) + 1);
    }
    hash = tr__hash_done(hash);
    return hash ? hash : 1;
}

/* Names and kinds, and the places too: the same kinds in the same order are the same struct everywhere in a
 * process. */
static bool describes(const tr_typeinfo *info, const tr_type *type, uint64_t fingerprint)
{
    if (info->fingerprint != fingerprint || info->size != type->size || strcmp(info->name, type->name) != 0)
        return false;
    for (uint32_t i = 0; i < info->count; i++) {
        const tr_field *ours = &info->fields[i], *theirs = &type->fields[i];
        if (ours->kind != theirs->kind || ours->offset != theirs->offset ||
            strcmp(ours->name, theirs->name) != 0)
            return false;
    }
    return type->fields[info->count].kind == TR_KIND_END;
}

static const char *copy_text(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

/* In one block: the info, its fields, all names. The declaration may be a plugin's, whose memory goes when it
 * is unloaded, so nothing points there. */
static tr_typeinfo *make_info(const tr_type *type, uint32_t count, uint64_t id, uint64_t fingerprint)
{
    size_t size = sizeof(tr_typeinfo) + (count + 1) * sizeof(tr_field) + strlen(type->name) + 1;
    for (uint32_t i = 0; i < count; i++)
        size += strlen(type->fields[i].name) + 1;
    tr_typeinfo *info = tr__zalloc(size);
    if (!info)
        return NULL;
    tr_field *fields = (tr_field *)(info + 1);
    char *names = (char *)(fields + count + 1);
    info->name = copy_text(&names, type->name);
    for (uint32_t i = 0; i < count; i++) {
        fields[i] = type->fields[i];
        fields[i].name = copy_text(&names, type->fields[i].name);
        info->buffers |= fields[i].kind == TR_KIND_buffer;
        info->inline_count += fields[i].kind == TR_KIND_string || fields[i].kind == TR_KIND_bytes ||
                              fields[i].kind == TR_KIND_buffer;
    }
    info->fields = fields; /* the one behind the last is zeroed: TR_KIND_END */
    info->count = count;
    info->size = type->size;
    info->notice = is_notice(info->name);
    info->flat_class =
        info->inline_count || info->notice ? TR__CLASS_LARGE : tr__pool_class(sizeof(tr_msg) + info->size);
    info->id = id;
    info->fingerprint = fingerprint;
    return info;
}

/* With the lock held. New ones go to the end, so the first registered of a name is found first. */
static const tr_typeinfo *find_or_add(const tr_type *type)
{
    uint32_t count = count_fields(type);
    uint64_t id = tr__hash_text(type->name), fingerprint = fingerprint_of(type);
    tr_typeinfo **link = &buckets[id & (BUCKETS - 1)];
    for (; *link; link = &(*link)->next)
        if (describes(*link, type, fingerprint))
            return *link;
    tr_typeinfo *info = make_info(type, count, id, fingerprint);
    if (info)
        __atomic_store_n(link, info, __ATOMIC_RELEASE); /* pairs with chain_next() */
    return info;
}

const tr_typeinfo *tr__type_register(tr_type *type)
{
    tr__spin_lock(&registering);
    const tr_typeinfo *info = find_or_add(type);
    if (info)
        __atomic_store_n(&type->registered, info, __ATOMIC_RELEASE); /* pairs with tr__type_of() */
    tr__spin_unlock(&registering);
    return info;
}

static const tr_typeinfo *chain_next(tr_typeinfo *const *link)
{
    return __atomic_load_n(link, __ATOMIC_ACQUIRE);
}

const tr_typeinfo *tr__type_find(uint64_t id, uint64_t fingerprint)
{
    const tr_typeinfo *info = chain_next(&buckets[id & (BUCKETS - 1)]);
    while (info && (info->id != id || (fingerprint != 0 && info->fingerprint != fingerprint)))
        info = chain_next(&info->next);
    return info;
}

const tr_typeinfo *tr__type_find_name(const char *name)
{
    const tr_typeinfo *info = chain_next(&buckets[tr__hash_text(name) & (BUCKETS - 1)]);
    while (info && strcmp(info->name, name) != 0)
        info = chain_next(&info->next);
    return info;
}

/* ---- bodies -------------------------------------------------------------------------------------------- */

size_t tr__body_size(const tr_typeinfo *type, const void *body)
{
    size_t size = type->size;
    if (type->inline_count == 0)
        return size;
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++) {
        const void *at = (const char *)body + field->offset;
        size_t part = 0;
        if (field->kind == TR_KIND_string) {
            const char *text = *(const char *const *)at;
            part = text ? strlen(text) + 1 : 1;
        } else if (field->kind == TR_KIND_bytes) {
            part = ((const tr_bytes *)at)->size;
        }
        if (part > TR__BODY_MAX - size)
            return SIZE_MAX;
        size += part;
    }
    return size;
}

void tr__body_copy(const tr_typeinfo *type, void *into, const void *body)
{
    memcpy(into, body, type->size);
    if (type->inline_count == 0)
        return;
    char *tail = (char *)into + type->size;
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++) {
        void *at = (char *)into + field->offset;
        if (field->kind == TR_KIND_string) {
            const char *text = *(const char **)at ? *(const char **)at : "";
            size_t size = strlen(text) + 1;
            *(const char **)at = memcpy(tail, text, size);
            tail += size;
        } else if (field->kind == TR_KIND_bytes) {
            tr_bytes *bytes = at;
            if (bytes->size > 0)
                memcpy(tail, bytes->data, bytes->size);
            bytes->data = tail;
            tail += bytes->size;
        } else if (field->kind == TR_KIND_buffer) {
            const tr_buffer **buffer = at;
            if (*buffer)
                tr__buffer_hold(*buffer);
            else
                *buffer = &tr__buffer_empty;
        }
    }
}

void tr__body_release(const tr_typeinfo *type, const void *body)
{
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++)
        if (field->kind == TR_KIND_buffer)
            tr__buffer_drop(*(const tr_buffer *const *)((const char *)body + field->offset));
}

/* The linker makes these two for a section whose name is an identifier; weak: a program may declare none. */
extern tr_type *const __start_tr_types[] __attribute__((weak, visibility("hidden")));
extern tr_type *const __stop_tr_types[] __attribute__((weak, visibility("hidden")));

tr_err tr__types_register_all(void)
{
    for (tr_type *const *entry = __start_tr_types; entry < __stop_tr_types; entry++)
        if (!tr__type_of(*entry))
            return TR_ENOMEM;
    return TR_OK;
}
