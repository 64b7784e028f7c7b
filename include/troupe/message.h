/* Addresses, messages and message types.
 *
 * A message type is declared once, at file level:
 *
 *     TR_MESSAGE(greet, (string, name), (u32, times))
 *
 * which gives a C struct `greet` with those fields and a table `greet_type` that describes it (data, not
 * code, so it can be compared, sent and printed). Field kinds:
 *
 *     bool                         as in C
 *     i8 i16 i32 i64               int8_t ...
 *     u8 u16 u32 u64               uint8_t ...
 *     f32 f64                      float, double
 *     string                       const char *, NUL-terminated UTF-8; NULL travels as ""
 *     bytes                        tr_bytes { data, size }
 *     addr                         tr_addr
 *     buffer                       const tr_buffer *, counted and shared instead of copied; NULL travels as an empty one
 *     a type's name                that struct, by value: declared before by TR_MESSAGE, or by TR_STRUCT if it is only
 *                                  ever a part of others; up to 8 deep
 *
 * Of each there are lists and optional fields:
 *
 *     (list, item, items)          struct { const item *data; size_t count; } items
 *     (optional, u32, limit)       struct { bool present; uint32_t value; } limit; absent: its value is zero or empty
 *     (optional, list, u32, seen)  both
 *
 *     tr_send(self, to, order, .customer = "ada", .items = {items, 3}, .limit = TR_SOME(5))
 *
 * Versions. Only optional fields, and only at the end, may be added to a type: then old and new understand each other, as
 * nodes and as parts of one process. What the older doesn't know it doesn't see; what it doesn't send is absent. Any other
 * difference is refused (TR_ETYPE, with type and field), so give such a type another name.
 *
 * An item without parentheses is a flag of the type: TR_MESSAGE(debit, TR_WRITES, (i64, amount)).
 *
 * A message is one self-contained block with one owner: this header, the struct, and behind it its strings
 * and bytes; making one copies them. The receiver borrows it for the call (a fiber: until its next receive or
 * await); tr_msg_take() keeps it. */
#ifndef TROUPE_MESSAGE_H
#define TROUPE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names one actor for ever: node (its random incarnation), slot in that node, generation of the slot. A
 * value: copy it, send it, print it (tr_addr_format). An address whose actor is gone never names a newer one.
 */
typedef struct tr_addr {
    uint64_t node;
    uint32_t slot;
    uint32_t generation; /* never 0 in an address that names an actor */
} tr_addr;

#define TR_ADDR_NONE     ((tr_addr){0, 0, 0})
#define TR_ADDR_TEXT_MAX 48 /* bytes that tr_addr_format() needs at most, with the NUL */

static inline bool tr_addr_is_none(tr_addr a)
{
    return a.generation == 0;
}

static inline bool tr_addr_equal(tr_addr a, tr_addr b)
{
    return a.node == b.node && a.slot == b.slot && a.generation == b.generation;
}

typedef struct tr_bytes {
    const void *data;
    size_t size;
} tr_bytes;

/* Bytes that never change, with a count of who holds them: messages to many receivers, on any loop, share one instead of
 * copying it. Made by tr_buffer_make or tr_buffer_adopt; a message holds those of its fields as long as it lives, an
 * actor keeps one by tr_buffer_hold. To an actor of another node the bytes travel. */
typedef struct tr_buffer {
    const void *data;
    size_t size;
} tr_buffer;

typedef enum tr_kind {
    TR_KIND_END,
    TR_KIND_bool,
    TR_KIND_i8,
    TR_KIND_i16,
    TR_KIND_i32,
    TR_KIND_i64,
    TR_KIND_u8,
    TR_KIND_u16,
    TR_KIND_u32,
    TR_KIND_u64,
    TR_KIND_f32,
    TR_KIND_f64,
    TR_KIND_string,
    TR_KIND_bytes,
    TR_KIND_addr,
    TR_KIND_buffer,
    TR_KIND_nested,
} tr_kind;

#define TR_FIELD_LIST     1u
#define TR_FIELD_OPTIONAL 2u

struct tr_type;

typedef struct tr_field {
    const char *name;
    uint32_t kind;      /* tr_kind; a list's: of its elements */
    uint32_t offset;    /* of the value in the struct, bytes */
    uint32_t form;      /* TR_FIELD_LIST, TR_FIELD_OPTIONAL */
    uint32_t present;   /* an optional one's: offset of `present` */
    struct tr_type *of; /* TR_KIND_nested: of that type */
} tr_field;

/* Flags of a type. They are its declaration's, and no part of its schema. */
#define TR_WRITES 1u /* in a transaction: executing it may write (troupe/tx.h) */

struct tr_typeinfo; /* what the process knows of a type once it is registered; one a (name, schema) */

/* A type as its declaration made it. `registered` is filled at the first use, from whatever thread. */
typedef struct tr_type {
    const char *name;
    const tr_field *fields; /* ends with a TR_KIND_END */
    uint32_t size;          /* of the struct, bytes */
    uint32_t flags;         /* TR_WRITES */
    const struct tr_typeinfo *registered;
} tr_type;

/* The header of every message. Its layout is fixed; read it through the tr_msg_...() functions and
 * tr_match(). */
typedef struct tr_msg {
    struct tr_msg *next;
    const struct tr_typeinfo *type;
    tr_addr sender; /* TR_ADDR_NONE: from outside any actor */
    union {
        struct {
            uint32_t slot, generation;
        } to;                /* while it travels */
        struct tr_msg *prev; /* while an actor keeps it */
    };
    uint64_t ask;         /* the asker's number of the ask; 0: not an ask and not a reply */
    uint64_t deadline_ns; /* on this node's clock; of an ask, UINT64_MAX: none; of another message, 0: none */
    uint32_t size;        /* of the body, bytes */
    uint16_t places;      /* of its receiver's mailbox that it takes */
    uint8_t kind;         /* tr__msg_kind */
    uint8_t flags;        /* tr__msg_flag */
    uint8_t home;         /* the loop whose pool the block is of */
    uint8_t size_class;   /* in that pool */
    uint8_t error;      /* a failed answer's tr_err; of a streamed ask its window, of a demand its count; of a
                             message 1: a transaction emitted it */
    uint8_t routed : 1; /* it has a route */
    uint8_t hops : 7;   /* of an ask, how often it was handed on on this node; the most stands for more */
    union {
        struct {
            uint16_t route, route_epoch; /* on its way to another node, by the loop that has the connection */
        };
        uint32_t queued_at; /* in a mailbox: when it came there */
    };
} tr_msg;

#define TR__MSG_VERSIONS 32 /* in tr_msg.flags: this process knows another version of its type */

/* The struct of a message, as a pointer of that type, or NULL if the message is of another type. Of a message of another
 * version of the type it is a converted copy, which lives as long as the message; NULL if there is no memory for it. */
#define tr_match(msg, type) ((const type *)tr__match((msg), &type##_type, tr_match_type))

/* Most times the declaration was used before, and the answer lies in two words; else the call decides. */
static inline const void *tr__match(const tr_msg *msg, tr_type *type,
                                    const void *(*call)(const tr_msg *, tr_type *))
{
    const struct tr_typeinfo *known = __atomic_load_n(&type->registered, __ATOMIC_RELAXED);
    return known && known == msg->type                 ? msg + 1
           : known && !(msg->flags & TR__MSG_VERSIONS) ? NULL
                                                       : call(msg, type);
}

/* For an optional field that is there: .limit = TR_SOME(5), .tags = TR_SOME({tags, 3}). */
#define TR_SOME(...)      \
    {                     \
        true, __VA_ARGS__ \
    }

/* ---- how TR_MESSAGE is made ---------------------------------------------------------------------------- */

/* Each declaration also leaves a pointer in the section tr_types, so that a node knows its program's types before the
 * first message of another node comes. */

/* Of each kind: its C type, its number, the type that it is of, and how deep that is. The first word is for TR__OF(): what
 * stands behind it counts only if the macro exists, else the word is the name of a declared type. */
#define TR__K_bool   ~, bool, TR_KIND_bool, NULL, 0
#define TR__K__Bool  ~, bool, TR_KIND_bool, NULL, 0
#define TR__K_i8     ~, int8_t, TR_KIND_i8, NULL, 0
#define TR__K_i16    ~, int16_t, TR_KIND_i16, NULL, 0
#define TR__K_i32    ~, int32_t, TR_KIND_i32, NULL, 0
#define TR__K_i64    ~, int64_t, TR_KIND_i64, NULL, 0
#define TR__K_u8     ~, uint8_t, TR_KIND_u8, NULL, 0
#define TR__K_u16    ~, uint16_t, TR_KIND_u16, NULL, 0
#define TR__K_u32    ~, uint32_t, TR_KIND_u32, NULL, 0
#define TR__K_u64    ~, uint64_t, TR_KIND_u64, NULL, 0
#define TR__K_f32    ~, float, TR_KIND_f32, NULL, 0
#define TR__K_f64    ~, double, TR_KIND_f64, NULL, 0
#define TR__K_string ~, const char *, TR_KIND_string, NULL, 0
#define TR__K_bytes  ~, tr_bytes, TR_KIND_bytes, NULL, 0
#define TR__K_addr   ~, tr_addr, TR_KIND_addr, NULL, 0
#define TR__K_buffer ~, const tr_buffer *, TR_KIND_buffer, NULL, 0

#define TR__2(a, b, ...)          b
#define TR__3(a, b, c, ...)       c
#define TR__4(a, b, c, d, ...)    d
#define TR__5(a, b, c, d, e, ...) e
#define TR__NTH(nth, ...)         nth(__VA_ARGS__)
#define TR__OF(nth, kind)         TR__NTH(nth, TR__K_##kind, kind, TR_KIND_nested, &kind##_type, tr__depth_##kind, _)
#define TR__CTYPE(kind)           TR__OF(TR__2, kind)

/* TR__FORM(x): tr_list, tr_optional, or tr_plain if x is neither word. */
#define TR__F_list      ~, tr_list
#define TR__F_optional  ~, tr_optional
#define TR__FORM(first) TR__NTH(TR__2, TR__F_##first, tr_plain, _)
#define TR__CAT(a, b)   TR__CAT2(a, b)
#define TR__CAT2(a, b)  a##b

#define TR__SCAN(...)  TR__SCAN3(TR__SCAN3(TR__SCAN3(__VA_ARGS__)))
#define TR__SCAN3(...) TR__SCAN2(TR__SCAN2(TR__SCAN2(__VA_ARGS__)))
#define TR__SCAN2(...) TR__SCAN1(TR__SCAN1(TR__SCAN1(__VA_ARGS__)))
#define TR__SCAN1(...) __VA_ARGS__
#define TR__PARENS     ()
/* macro(context, item) for each item: up to 27, fields and flags. */
#define TR__EACH(macro, context, ...) __VA_OPT__(TR__SCAN(TR__EACH_ONE(macro, context, __VA_ARGS__)))
#define TR__EACH_ONE(macro, context, item, ...) \
    macro(context, item) __VA_OPT__(TR__EACH_AGAIN TR__PARENS(macro, context, __VA_ARGS__))
#define TR__EACH_AGAIN() TR__EACH_ONE

/* TR__IF_FIELD(item)(then)(otherwise): whether an item is in parentheses. The first is followed by a comma only if it
 * is, which moves the 1 into the second place. */
#define TR__IF_FIELD(item)          TR__IF_FIELD2(TR__FOUND item, 1, 0, )
#define TR__IF_FIELD2(...)          TR__IF_FIELD3(__VA_ARGS__)
#define TR__IF_FIELD3(a, b, c, ...) TR__IF_##c
#define TR__FOUND(...)              _, _
#define TR__IF_1(...)               __VA_ARGS__ TR__DROP
#define TR__IF_0(...)               TR__UNWRAP
#define TR__DROP(...)

#define TR__UNWRAP(...) __VA_ARGS__

/* macro_FORM(context, what is in the parentheses) for an item that is a field; nothing for a flag. */
#define TR__BY_FORM(macro, context, item) TR__IF_FIELD(item)(TR__BY_FORM2(macro, context, TR__UNWRAP item))()
#define TR__BY_FORM2(...)                 TR__BY_FORM3(__VA_ARGS__)
#define TR__BY_FORM3(macro, context, first, ...) \
    TR__CAT(macro##_, TR__FORM(first))(context, first, __VA_ARGS__)

/* The struct's member. */
#define TR__MEMBER(_, item)           TR__BY_FORM(TR__M, _, item)
#define TR__M_tr_plain(_, kind, name) TR__CTYPE(kind) name;
#define TR__LIST_OF(kind)            \
    struct {                         \
        TR__CTYPE(kind) const *data; \
        size_t count;                \
    }
#define TR__M_tr_list(_, list, kind, name)         TR__LIST_OF(kind) name;
#define TR__M_tr_optional(_, optional, first, ...) TR__CAT(TR__MO_, TR__FORM(first))(first, __VA_ARGS__)
#define TR__MO_tr_plain(kind, name) \
    struct {                        \
        bool present;               \
        TR__CTYPE(kind) value;      \
    } name;
#define TR__MO_tr_list(list, kind, name) \
    struct {                             \
        bool present;                    \
        TR__LIST_OF(kind) value;         \
    } name;

/* Its row in the table. */
#define TR__FIELD(type, item) TR__BY_FORM(TR__R, type, item)
#define TR__R_tr_plain(type, kind, name) \
    {#name, TR__OF(TR__3, kind), offsetof(type, name), 0, 0, TR__OF(TR__4, kind)},
#define TR__R_tr_list(type, list, kind, name) \
    {#name, TR__OF(TR__3, kind), offsetof(type, name), TR_FIELD_LIST, 0, TR__OF(TR__4, kind)},
#define TR__R_tr_optional(type, optional, first, ...) \
    TR__CAT(TR__RO_, TR__FORM(first))(type, first, __VA_ARGS__)
#define TR__RO_tr_plain(type, kind, name) \
    {#name,                               \
     TR__OF(TR__3, kind),                 \
     offsetof(type, name.value),          \
     TR_FIELD_OPTIONAL,                   \
     offsetof(type, name.present),        \
     TR__OF(TR__4, kind)},
#define TR__RO_tr_list(type, list, kind, name) \
    {#name,                                    \
     TR__OF(TR__3, kind),                      \
     offsetof(type, name.value),               \
     TR_FIELD_OPTIONAL | TR_FIELD_LIST,        \
     offsetof(type, name.present),             \
     TR__OF(TR__4, kind)},

/* Optional ones come last: then each other one has the same place among all fields as among those. */
#define TR__PLACE(_, item)                         TR__BY_FORM(TR__P, _, item)
#define TR__P_tr_plain(_, kind, name)              char name;
#define TR__P_tr_list(_, list, kind, name)         char name;
#define TR__P_tr_optional(_, optional, first, ...) TR__CAT(TR__PO_, TR__FORM(first))(first, __VA_ARGS__)
#define TR__PO_tr_plain(kind, name)                char name;
#define TR__PO_tr_list(list, kind, name)           char name;
#define TR__NEEDED(_, item)                        TR__BY_FORM(TR__N, _, item)
#define TR__N_tr_plain(_, kind, name)              char name;
#define TR__N_tr_list(_, list, kind, name)         char name;
#define TR__N_tr_optional(...)
#define TR__LAST(type, item) TR__BY_FORM(TR__L, type, item)
#define TR__L_tr_plain(type, kind, name)                                                                 \
    _Static_assert(offsetof(struct tr__places_##type, name) == offsetof(struct tr__needed_##type, name), \
                   "optional fields come after all others, and " #name " isn't one");
#define TR__L_tr_list(type, list, kind, name) TR__L_tr_plain(type, kind, name)
#define TR__L_tr_optional(...)

/* How deep types nest: bit n is set if something lies n deep. */
#define TR__DEPTH(_, item)                         TR__BY_FORM(TR__D, _, item)
#define TR__D_tr_plain(_, kind, name)              | TR__OF(TR__5, kind)
#define TR__D_tr_list(_, list, kind, name)         | TR__OF(TR__5, kind)
#define TR__D_tr_optional(_, optional, first, ...) TR__CAT(TR__DO_, TR__FORM(first))(first, __VA_ARGS__)
#define TR__DO_tr_plain(kind, name)                | TR__OF(TR__5, kind)
#define TR__DO_tr_list(list, kind, name)           | TR__OF(TR__5, kind)

#define TR__FLAG(context, item) TR__IF_FIELD(item)()(| item)

#define TR__NESTING_MAX 8

/* A struct that is a part of messages. A name goes to other nodes in 63 bytes at most. */
#define TR_STRUCT(name_, ...)                                                                       \
    _Static_assert(sizeof(#name_) <= 64, "a type's name has at most 63 bytes: " #name_);            \
    typedef struct name_ {                                                                          \
        TR__EACH(TR__MEMBER, _, __VA_ARGS__)                                                        \
    } name_;                                                                                        \
    struct tr__places_##name_ {                                                                     \
        TR__EACH(TR__PLACE, _, __VA_ARGS__)                                                         \
    };                                                                                              \
    struct tr__needed_##name_ {                                                                     \
        TR__EACH(TR__NEEDED, _, __VA_ARGS__)                                                        \
    };                                                                                              \
    TR__EACH(TR__LAST, name_, __VA_ARGS__)                                                          \
    enum { tr__depth_##name_ = 1 | (0 TR__EACH(TR__DEPTH, _, __VA_ARGS__)) << 1 };                  \
    _Static_assert(tr__depth_##name_ < 1 << TR__NESTING_MAX, "types nest at most 8 deep: " #name_); \
    static const tr_field name_##_fields[] __attribute__((unused)) = {                              \
        TR__EACH(TR__FIELD, name_, __VA_ARGS__){NULL, TR_KIND_END, 0, 0, 0, NULL}};                 \
    static tr_type name_##_type __attribute__((unused)) = {#name_, name_##_fields, sizeof(name_),   \
                                                           0 TR__EACH(TR__FLAG, _, __VA_ARGS__), NULL};

#define TR_MESSAGE(name_, ...)    \
    TR_STRUCT(name_, __VA_ARGS__) \
    static tr_type *const name_##_entry __attribute__((used, section("tr_types"))) = &name_##_type;

#endif
