/* Addresses, messages and message types.
 *
 * A message type is declared once, at file level:
 *
 *     TR_MESSAGE(greet, (string, name), (u32, times))
 *
 * which gives a C struct `greet` with those fields and a table `greet_type` that describes it (data, not
 * code, so it can be compared, sent and printed). Field kinds:
 *
 *     bool i32 i64 u32 u64 f64     as in C
 *     string                       const char *, NUL-terminated UTF-8; NULL travels as ""
 *     bytes                        tr_bytes { data, size }
 *     addr                         tr_addr
 *     buffer                       const tr_buffer *, counted and shared instead of copied; NULL travels as an empty one
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
    TR_KIND_i32,
    TR_KIND_i64,
    TR_KIND_u32,
    TR_KIND_u64,
    TR_KIND_f64,
    TR_KIND_string,
    TR_KIND_bytes,
    TR_KIND_addr,
    TR_KIND_buffer,
} tr_kind;

typedef struct tr_field {
    const char *name;
    uint32_t kind;   /* tr_kind */
    uint32_t offset; /* in the struct, bytes */
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
    uint8_t error;        /* a failed answer's tr_err */
    uint8_t routed;       /* it has a route */
    union {
        struct {
            uint16_t route, route_epoch; /* on its way to another node, by the loop that has the connection */
        };
        uint32_t queued_at; /* in a mailbox: when it came there */
    };
} tr_msg;

/* The struct of a message, as a pointer of that type, or NULL if the message is of another type. */
#define tr_match(msg, type) ((const type *)tr__match((msg), &type##_type, tr_match_type))

/* Most times the declaration was used before, and the answer lies in two words; else the call decides. */
static inline const void *tr__match(const tr_msg *msg, tr_type *type,
                                    const void *(*call)(const tr_msg *, tr_type *))
{
    const struct tr_typeinfo *known = __atomic_load_n(&type->registered, __ATOMIC_RELAXED);
    return known && known == msg->type ? msg + 1 : known ? NULL : call(msg, type);
}

/* ---- how TR_MESSAGE is made ---------------------------------------------------------------------------- */

/* Each declaration also leaves a pointer in the section tr_types, so that a node knows its program's types before the
 * first message of another node comes. */

#define TR__C_bool    bool
#define TR__C__Bool   bool
#define TR__C_i32     int32_t
#define TR__C_i64     int64_t
#define TR__C_u32     uint32_t
#define TR__C_u64     uint64_t
#define TR__C_f64     double
#define TR__C_string  const char *
#define TR__C_bytes   tr_bytes
#define TR__C_addr    tr_addr
#define TR__C_buffer  const tr_buffer *
#define TR_KIND__Bool TR_KIND_bool

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

#define TR__MEMBER(context, item)      TR__IF_FIELD(item)(TR__MEMBER_OF item)()
#define TR__MEMBER_OF(kind, name)      TR__MEMBER_AS(kind, name)
#define TR__MEMBER_AS(kind, name)      TR__C_##kind name;
#define TR__FLAG(context, item)        TR__IF_FIELD(item)()(| item)
#define TR__FIELD(type, item)          TR__IF_FIELD(item)(TR__FIELD_OF(type, TR__UNWRAP item))()
#define TR__UNWRAP(...)                __VA_ARGS__
#define TR__FIELD_OF(...)              TR__FIELD_AS(__VA_ARGS__)
#define TR__FIELD_AS(type, kind, name) {#name, TR_KIND_##kind, offsetof(type, name)},

/* A name goes to other nodes in 63 bytes at most. */
#define TR_MESSAGE(name_, ...)                                                                          \
    _Static_assert(sizeof(#name_) <= 64, "a message's name has at most 63 bytes: " #name_);             \
    typedef struct name_ {                                                                              \
        TR__EACH(TR__MEMBER, _, __VA_ARGS__)                                                            \
    } name_;                                                                                            \
    static const tr_field name_##_fields[]                                                              \
        __attribute__((unused)) = {TR__EACH(TR__FIELD, name_, __VA_ARGS__){NULL, TR_KIND_END, 0}};      \
    static tr_type name_##_type __attribute__((unused)) = {#name_, name_##_fields, sizeof(name_),       \
                                                           0 TR__EACH(TR__FLAG, _, __VA_ARGS__), NULL}; \
    static tr_type *const name_##_entry __attribute__((used, section("tr_types"))) = &name_##_type;

#endif
