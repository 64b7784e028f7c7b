/* The registry of message types.
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

/* The words are in schemas, so they travel between versions: never change one. */
static const struct {
    const char *word;
    uint8_t size;
} kinds[] = {
    [TR_KIND_bool] = {"bool", sizeof(bool)},
    [TR_KIND_i8] = {"i8", sizeof(int8_t)},
    [TR_KIND_i16] = {"i16", sizeof(int16_t)},
    [TR_KIND_i32] = {"i32", sizeof(int32_t)},
    [TR_KIND_i64] = {"i64", sizeof(int64_t)},
    [TR_KIND_u8] = {"u8", sizeof(uint8_t)},
    [TR_KIND_u16] = {"u16", sizeof(uint16_t)},
    [TR_KIND_u32] = {"u32", sizeof(uint32_t)},
    [TR_KIND_u64] = {"u64", sizeof(uint64_t)},
    [TR_KIND_f32] = {"f32", sizeof(float)},
    [TR_KIND_f64] = {"f64", sizeof(double)},
    [TR_KIND_string] = {"string", sizeof(char *)},
    [TR_KIND_bytes] = {"bytes", sizeof(tr_bytes)},
    [TR_KIND_addr] = {"addr", sizeof(tr_addr)},
    [TR_KIND_buffer] = {"buffer", sizeof(tr_buffer *)},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

const char *tr__kind_word(uint32_t kind)
{
    return kind < KIND_COUNT && kinds[kind].word ? kinds[kind].word
           : kind == TR_KIND_nested              ? "nested"
                                                 : "unknown";
}

uint32_t tr__kind_size(uint32_t kind)
{
    return kinds[kind].size;
}

/* What the runtime tells actors (troupe/actor.h), whoever declares it: to be believed, it must not be forged. */
static bool is_notice(const char *name)
{
    static const char *const names[] = {
        "tr_down",          "tr_exited",      "tr_writable",   "tr_canceled",
        "tr_node_event",    "tr_shutdown",    "tr_child_up",   "tr_settled",
        "tr_tick",          "tr_idle",        "tr_name_event", "tr_fd_ready",
        "tr_mailbox_level", "tr_dead_letter", "tr_demand",     "tr_name_conflict"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* ---- declarations -------------------------------------------------------------------------------------- */

/* Names go into schemas, between these. */
static bool is_name(const char *name, bool type)
{
    size_t length = name ? strlen(name) : 0;
    return length > 0 && (length < 64 || !type) && length < 256 && !strpbrk(name, "(), ");
}

static const char *field_wrong(const tr_type *type, const tr_field *field, uint32_t depth);

static const char *type_wrong(const tr_type *type, uint32_t depth)
{
    bool optional = false;
    if (depth > TR__NESTING_MAX)
        return "it nests more than 8 deep";
    if (!type || !is_name(type->name, true) || !type->fields)
        return "it has no name of at most 63 bytes, or no fields";
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++) {
        const char *wrong = field_wrong(type, field, depth);
        if (wrong)
            return wrong;
        if (optional && !(field->form & TR_FIELD_OPTIONAL))
            return "an optional field isn't at the end";
        optional = field->form & TR_FIELD_OPTIONAL;
    }
    return NULL;
}

static bool lies_within(const tr_type *type, uint32_t offset, size_t size)
{
    return offset <= type->size && type->size - offset >= size;
}

static const char *field_wrong(const tr_type *type, const tr_field *field, uint32_t depth)
{
    bool nested = field->kind == TR_KIND_nested;
    if (!is_name(field->name, false))
        return "a field has no name";
    if (!nested && (field->kind >= KIND_COUNT || !kinds[field->kind].word))
        return "a field is of no kind";
    const char *wrong = nested ? type_wrong(field->of, depth + 1) : NULL;
    if (wrong)
        return wrong;
    size_t size = field->form & TR_FIELD_LIST ? sizeof(tr__list)
                  : nested                    ? field->of->size
                                              : kinds[field->kind].size;
    if (!lies_within(type, field->offset, size) ||
        (field->form & TR_FIELD_OPTIONAL && !lies_within(type, field->present, sizeof(bool))))
        return "a field lies outside the struct";
    return NULL;
}

const char *tr__type_wrong(const tr_type *type)
{
    return type_wrong(type, 1);
}

/* ---- schemas ------------------------------------------------------------------------------------------- */

typedef struct writer {
    char *out;
    size_t used; /* more than TR__SCHEMA_MAX: it doesn't fit */
} writer;

static void put(writer *t, const char *word)
{
    size_t length = strlen(word);
    if (t->used + length < TR__SCHEMA_MAX)
        memcpy(t->out + t->used, word, length + 1);
    t->used += length;
}

/* See schema.c for the form. */
static void put_schema(writer *t, const tr_type *type)
{
    put(t, type->name);
    put(t, "(");
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++) {
        if (field != type->fields)
            put(t, ",");
        if (field->form & TR_FIELD_OPTIONAL)
            put(t, "optional ");
        if (field->form & TR_FIELD_LIST)
            put(t, "list ");
        if (field->kind == TR_KIND_nested)
            put_schema(t, field->of);
        else
            put(t, kinds[field->kind].word);
        put(t, " ");
        put(t, field->name);
    }
    put(t, ")");
}

/* ---- the registry -------------------------------------------------------------------------------------- */

static uint32_t count_fields(const tr_type *type)
{
    uint32_t count = 0;
    while (type->fields[count].kind != TR_KIND_END)
        count++;
    return count;
}

/* The same schema, and the same places too: the same kinds in the same order are the same struct everywhere in a process,
 * unless something told a compiler otherwise. */
static bool describes(const tr_typeinfo *info, const tr_type *type, uint64_t fingerprint)
{
    if (info->fingerprint != fingerprint || info->size != type->size || strcmp(info->name, type->name) != 0)
        return false;
    for (uint32_t i = 0; i < info->count; i++) {
        const tr__field *ours = &info->fields[i];
        const tr_field *theirs = &type->fields[i];
        if (ours->kind != theirs->kind || ours->offset != theirs->offset ||
            ours->present != theirs->present || ours->of != (theirs->of ? theirs->of->registered : NULL) ||
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

static tr__field make_field(const tr_field *from, char **names)
{
    const tr_typeinfo *of = from->kind == TR_KIND_nested ? from->of->registered : NULL;
    return (tr__field){
        .name = copy_text(names, from->name),
        .kind = (uint8_t)from->kind,
        .plain = from->form == 0,
        .list = from->form & TR_FIELD_LIST,
        .optional = from->form & TR_FIELD_OPTIONAL,
        .offset = from->offset,
        .present = from->present,
        .size = of ? of->size : kinds[from->kind].size,
        .of = of,
    };
}

/* A copy of it must look at: what points somewhere, and what must be empty unless it is present. */
static uint32_t inline_of(const tr__field *field)
{
    bool points =
        field->kind == TR_KIND_string || field->kind == TR_KIND_bytes || field->kind == TR_KIND_buffer;
    return (field->list || field->optional || points) + (field->of ? field->of->inline_count : 0);
}

/* Of its CBOR, see tr_typeinfo.heads; 0: has no such bound. */
static uint32_t heads_of(const tr__field *field)
{
    if (field->list || field->kind == TR_KIND_buffer || (field->of && !field->of->heads))
        return 0;
    uint32_t inner = field->of ? field->of->heads : field->kind == TR_KIND_addr ? 3 * TR__CBOR_HEAD : 0;
    return TR__CBOR_HEAD + inner;
}

/* In one block: the info, its fields, all names, the schema. The declaration may be a plugin's, whose memory goes when it
 * is unloaded, so nothing points there. */
static tr_typeinfo *make_info(const tr_type *type, const char *schema, uint64_t id, uint64_t fingerprint)
{
    uint32_t count = count_fields(type);
    size_t size =
        sizeof(tr_typeinfo) + (count + 1) * sizeof(tr__field) + strlen(type->name) + 1 + strlen(schema) + 1;
    for (uint32_t i = 0; i < count; i++)
        size += strlen(type->fields[i].name) + 1;
    tr_typeinfo *info = tr__zalloc(size);
    if (!info)
        return NULL;
    tr__field *fields = (tr__field *)(info + 1);
    char *names = (char *)(fields + count + 1);
    info->name = copy_text(&names, type->name);
    info->schema = copy_text(&names, schema);
    bool unbounded = false;
    for (uint32_t i = 0; i < count; i++) {
        tr__field *field = &fields[i];
        *field = make_field(&type->fields[i], &names);
        info->needed += !field->optional;
        info->inline_count += inline_of(field);
        uint32_t heads = heads_of(field);
        unbounded |= heads == 0;
        info->heads += heads;
        if (field->kind == TR_KIND_buffer || (field->of && tr__type_is(field->of, TR__TYPE_BUFFERS)))
            info->special |= TR__TYPE_BUFFERS;
    }
    info->heads = unbounded ? 0 : info->heads + TR__CBOR_HEAD;
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

/* Another version of that name is known from now on: the short way of sending is for others. */
static void mark_version(tr_typeinfo *info)
{
    __atomic_store_n(&info->special, info->special | TR__TYPE_VERSIONS, __ATOMIC_RELAXED);
    __atomic_store_n(&info->flat_class, TR__CLASS_LARGE, __ATOMIC_RELAXED);
}

static char schema_text[TR__SCHEMA_MAX]; /* under the lock */

/* With the lock held, and its parts registered. New ones go to the end, so the first registered of a name is found first.
 */
static const tr_typeinfo *find_or_add(const tr_type *type)
{
    writer schema = {schema_text, 0};
    put_schema(&schema, type);
    tr__check(schema.used < TR__SCHEMA_MAX,
              "type %s: its description takes %zu bytes, the limit is %d: split it", type->name, schema.used,
              TR__SCHEMA_MAX);
    uint64_t id = tr__hash_text(type->name), fingerprint = tr__hash(schema_text, schema.used);
    fingerprint += fingerprint == 0; /* 0 is left for "any schema" */
    bool versions = false;
    tr_typeinfo **link = &buckets[id & (BUCKETS - 1)];
    for (; *link; link = &(*link)->next) {
        if (describes(*link, type, fingerprint))
            return *link;
        versions |= (*link)->id == id;
    }
    tr_typeinfo *info = make_info(type, schema_text, id, fingerprint);
    if (info && versions)
        mark_version(info);
    if (info)
        __atomic_store_n(link, info, __ATOMIC_RELEASE); /* pairs with chain_next() */
    for (link = &buckets[id & (BUCKETS - 1)]; info && versions && *link != info; link = &(*link)->next)
        if ((*link)->id == id)
            mark_version(*link);
    return info;
}

/* With the lock held: its parts first. */
static const tr_typeinfo *add(tr_type *type)
{
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++)
        if (field->kind == TR_KIND_nested && !add(field->of))
            return NULL;
    const tr_typeinfo *info = type->registered ? type->registered : find_or_add(type);
    if (info)
        __atomic_store_n(&type->registered, info, __ATOMIC_RELEASE); /* pairs with tr__type_of() */
    return info;
}

const tr_typeinfo *tr__type_register(tr_type *type)
{
    const char *wrong = tr__type_wrong(type);
    tr__check(!wrong, "type %s: %s", type->name, wrong);
    tr__spin_lock(&registering);
    const tr_typeinfo *info = add(type);
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

const tr_typeinfo *tr__type_next(const tr_typeinfo *type)
{
    uint64_t id = type->id;
    do
        type = chain_next(&((tr_typeinfo *)(uintptr_t)type)->next);
    while (type && type->id != id);
    return type;
}

const tr_typeinfo *tr__type_find_name(const char *name)
{
    const tr_typeinfo *info = chain_next(&buckets[tr__hash_text(name) & (BUCKETS - 1)]);
    while (info && strcmp(info->name, name) != 0)
        info = chain_next(&info->next);
    return info;
}

/* ---- the program's ------------------------------------------------------------------------------------- */

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
