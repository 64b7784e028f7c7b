/* Message types at run time: the registry, self-contained copies, CBOR and JSON.
 *
 * A type is registered at its first use and lives as long as the process. The same name with the same fields
 * gives the same tr_typeinfo, wherever (program, plugin) it was declared; the same name with other fields
 * gives another one, with another fingerprint. Registration takes a lock; all else here is pure and may run
 * on any thread. Type numbers and fingerprints depend on names and kinds alone, so they agree between
 * processes. */
#ifndef TR_MAILBOX_TYPE_H
#define TR_MAILBOX_TYPE_H

#include <troupe/err.h>
#include <troupe/message.h>

#include "mailbox/buffer.h"

#define TR__SCHEMA_MAX 8192 /* bytes of a type's description, with its NUL */

typedef struct tr__field {
    const char *name;
    uint8_t kind;                 /* tr_kind; a list's: of its elements */
    bool plain, list, optional;   /* neither of the two; one of them, or both */
    uint32_t offset, present;     /* in the struct, bytes: of the value, and of an optional one's `present` */
    uint32_t size;                /* of a value, or of a list's element */
    const struct tr_typeinfo *of; /* of TR_KIND_nested */
} tr__field;

/* What a list looks like, whatever it is of. */
typedef struct tr__list {
    void *data;
    size_t count;
} tr__list;

/* Why a message of a type needs more than its block (tr__msg_filled): */
#define TR__TYPE_BUFFERS  1u /* it, or what it has as fields, has buffers */
#define TR__TYPE_VERSIONS 2u /* the process knows its name with another schema */

typedef struct tr_typeinfo {
    const char *name;
    const tr__field *fields; /* own copy; ends with a TR_KIND_END */
    uint32_t count;          /* of fields */
    uint32_t needed;         /* of those that aren't optional: they come first */
    uint32_t size;           /* of the struct */
    uint32_t inline_count; /* fields, its parts' too, that a copy must look at: 0 = the struct is all of it */
    /* Without lists and buffers, its parts' too: bytes of CBOR beside what stands in strings and bytes, at most. Else 0. */
    uint32_t heads;
    uint8_t
        flat_class; /* then: the pool's size class of a message of this type; TR__CLASS_LARGE otherwise, and of a type
                           with versions. Atomic, for that may come later */
    uint8_t special; /* TR__TYPE_...; atomic for the same reason */
    bool notice;     /* only the runtime may send it: then flat_class is TR__CLASS_LARGE, off the fast path */
    uint64_t id;     /* hash of the name */
    uint64_t fingerprint; /* hash of the schema */
    const char
        *schema; /* "order(string customer,list item(string name,f64 price) items,optional string note)" */
    struct tr_typeinfo *next;
} tr_typeinfo;

static inline bool tr__type_is(const tr_typeinfo *type, uint8_t what)
{
    return __atomic_load_n(&type->special, __ATOMIC_RELAXED) & what;
}

/* Bytes of a value of that kind; of a nested one its type says. */
uint32_t tr__kind_size(uint32_t kind);
/* The word of a kind as declarations have it ("u32"); "unknown" for a number that is none. Static storage. */
const char *tr__kind_word(uint32_t kind);
/* The registered form of a declared type; NULL only if memory ran out. Fast when it was used before. */
const tr_typeinfo *tr__type_register(tr_type *type);
static inline const tr_typeinfo *tr__type_of(tr_type *type)
{
    const tr_typeinfo *info = __atomic_load_n(&type->registered, __ATOMIC_ACQUIRE);
    return __builtin_expect(info != NULL, 1) ? info : tr__type_register(type);
}
/* Register every type that was declared in this program, so that messages of other nodes find them; at a
 * node's start. TR_ENOMEM. */
tr_err tr__types_register_all(void);
/* A type by id and fingerprint (fingerprint 0: any schema of that id); NULL if none is registered. */
const tr_typeinfo *tr__type_find(uint64_t id, uint64_t fingerprint);
/* What is wrong with a declaration, as no macro could have made it; NULL: nothing. Static storage. */
const char *tr__type_wrong(const tr_type *type);
/* The form in which a registered type is handed to who takes declarations. */
static inline tr_type tr__type_declared(const tr_typeinfo *info)
{
    return (tr_type){.name = info->name, .size = info->size, .registered = info};
}
/* Whether messages of the schema `theirs` (not trusted; `length` bytes) can be read as this type: TR_ETYPE with a text that
 * names the field if they differ by more than optional fields at the end. */
tr_err tr__schema_check(const tr_typeinfo *ours, const char *theirs, size_t length, tr_error *error);
/* The type to read messages of that id, fingerprint and schema with: the same, or one that tr__schema_check accepts. NULL:
 * none; *error says what the first of that name has against it (TR_ETYPE). */
const tr_typeinfo *tr__type_for(uint64_t id, uint64_t fingerprint, const char *schema, size_t length,
                                tr_error *error);
/* Another one of that type's id, registered later; NULL: there is none. */
const tr_typeinfo *tr__type_next(const tr_typeinfo *type);
/* A type by name, the one registered first; NULL if there is none. */
const tr_typeinfo *tr__type_find_name(const char *name);

/* ---- bodies (body.c) ----------------------------------------------------------------------------------- */

/* Bytes of a self-contained copy of `body`: the struct and, behind it in the order of the fields, strings (with NUL), bytes
 * and lists, these aligned to 8 and before what belongs to their elements; a buffer is held, not copied. SIZE_MAX if it
 * would exceed TR__BODY_MAX. In a copy, and in what decoding makes, no pointer is NULL: it points to nothing that counts,
 * and a buffer is tr__buffer_empty. The value of an absent optional field is zero or empty. */
#define TR__BODY_MAX ((size_t)1 << 30)
size_t tr__body_size(const tr_typeinfo *type, const void *body);
/* Make that copy; `into` has tr__body_size() bytes and is aligned to 8. */
void tr__body_copy(const tr_typeinfo *type, void *into, const void *body);
/* A value of the field, zero or empty. */
void tr__value_clear(const tr__field *field, void *at);
/* Is the optional field of this body there? Of others: true. */
static inline bool tr__field_present(const tr__field *field, const void *body)
{
    return !field->optional || *((const uint8_t *)body + field->present) != 0;
}
static inline size_t tr__align8(size_t at)
{
    return (at + 7) & ~(size_t)7;
}
/* Integers of any size: `kind` is TR_KIND_i8 to i64, or u8 to u64. Inline, as they are in every loop over fields. */
static inline int64_t tr__load_signed(uint32_t kind, const void *at)
{
    return kind == TR_KIND_i64   ? *(const int64_t *)at
           : kind == TR_KIND_i32 ? *(const int32_t *)at
           : kind == TR_KIND_i16 ? *(const int16_t *)at
                                 : *(const int8_t *)at;
}
static inline uint64_t tr__load_unsigned(uint32_t kind, const void *at)
{
    return kind == TR_KIND_u64   ? *(const uint64_t *)at
           : kind == TR_KIND_u32 ? *(const uint32_t *)at
           : kind == TR_KIND_u16 ? *(const uint16_t *)at
                                 : *(const uint8_t *)at;
}
static inline void tr__store_integer(uint32_t kind, void *at, uint64_t value)
{
    if (kind == TR_KIND_i64 || kind == TR_KIND_u64)
        *(uint64_t *)at = value;
    else if (kind == TR_KIND_i32 || kind == TR_KIND_u32)
        *(uint32_t *)at = (uint32_t)value;
    else if (kind == TR_KIND_i16 || kind == TR_KIND_u16)
        *(uint16_t *)at = (uint16_t)value;
    else
        *(uint8_t *)at = (uint8_t)value;
}
/* Their bounds: of a signed kind the lowest is -1 - max. */
static inline uint64_t tr__kind_max(uint32_t kind)
{
    switch (kind) {
    case TR_KIND_i8:
        return INT8_MAX;
    case TR_KIND_i16:
        return INT16_MAX;
    case TR_KIND_i32:
        return INT32_MAX;
    case TR_KIND_i64:
        return INT64_MAX;
    case TR_KIND_u8:
        return UINT8_MAX;
    case TR_KIND_u16:
        return UINT16_MAX;
    case TR_KIND_u32:
        return UINT32_MAX;
    default:
        return UINT64_MAX;
    }
}

/* Drop the buffers that a copy, or what decoding made, holds; the bytes behind its pointers may stay, it may not be used. */
void tr__body_release(const tr_typeinfo *type, const void *body);

/* Where a reader is in a message: fields within fields, elements of lists. */
typedef struct tr__path {
    const tr_typeinfo *type;
    uint32_t depth;
    struct {
        const tr__field *field;
        size_t index; /* of the element; SIZE_MAX: not in one */
    } at[TR__NESTING_MAX];
} tr__path;
#define TR__PATH_TEXT 160
/* "order.items[3].price", at most TR__PATH_TEXT bytes with the NUL (its end is what is kept). Returns `out`. */
const char *tr__path_text(const tr__path *path, char *out);

/* ---- CBOR (cbor_write.c, cbor_read.c) ------------------------------------------------------------------ */

/* CBOR (RFC 8949, by libcbor's streaming layer): an array of the fields by position; a list and a nested struct
 * are arrays in it, an address is an array of three, an absent optional field is null, or missing at the end. Bytes written, or 0 if `room` is too little (tr__cbor_bound() is always enough). A string goes
 * out as it is: if it isn't UTF-8, the receiver refuses the message. */
#define TR__CBOR_HEAD 9 /* bytes of the largest head of an item: the initial byte and eight of argument */
size_t tr__cbor_bound(const tr_typeinfo *type, const void *body);
/* The like, mostly without a walk, of a body whose copy takes `size` bytes. */
static inline size_t tr__cbor_room(const tr_typeinfo *type, const void *body, size_t size)
{
    return type->heads && size >= type->size ? type->heads + size - type->size : tr__cbor_bound(type, body);
}
size_t tr__cbor_encode(const tr_typeinfo *type, const void *body, uint8_t *out, size_t room);
/* Decoding takes two steps so that the body is allocated once, by what is there and not by what is claimed:
 * measure checks everything (TR_EPROTO with a text that names the field and the byte; TR_ETOOBIG beyond
 * TR__BODY_MAX) and says how large the body will be; decode fills it. `length` bytes must be exactly one
 * item. `into` is aligned to 8 and must not overlap `in`. Buffers are made, and charged to `account` (NULL: to nobody);
 * false if memory ran out for one, and then nothing is held. */
tr_err tr__cbor_measure(const tr_typeinfo *type, const uint8_t *in, size_t length, size_t *body_size,
                        tr_error *error);
bool tr__cbor_decode(const tr_typeinfo *type, const uint8_t *in, size_t length, tr__buffers *account,
                     void *into);

/* Both steps in one walk, for types that have `heads`: a body of theirs takes at most the struct and as many bytes as it has
 * in CBOR, so `into` has type->size + length bytes. *body_size says what it took. What was read before an error is of no use,
 * and holds nothing. */
tr_err tr__cbor_read(const tr_typeinfo *type, const uint8_t *in, size_t length, void *into, size_t *body_size,
                     tr_error *error);
/* Encoding around the large parts of a body, which are sent from where they are. A hole is a string, bytes or a buffer of
 * TR__HOLE_MIN bytes or more in a field of the message itself. holes: finds them, up to `most`, in the order of the fields;
 * `all`: else only buffers, which can be held. encode_around: as encode, but without the holes' bytes, and says in each
 * where they belong. */
#define TR__HOLE_MIN 4096
typedef struct tr__hole {
    const tr__field *field;
    const void *data;
    size_t size, at;
    const tr_buffer *buffer; /* NULL: it is in the body */
} tr__hole;
uint32_t tr__cbor_holes(const tr_typeinfo *type, const void *body, bool all, tr__hole *holes, uint32_t most);
size_t tr__cbor_encode_around(const tr_typeinfo *type, const void *body, uint8_t *out, size_t room,
                              tr__hole *holes, uint32_t count);
/* Decoding what was measured without a copy, of a type that has no lists and no buffers: strings and bytes stay where they are in `in`, which is changed,
 * and must live as long as the body. */
bool tr__cbor_has_place(const tr_typeinfo *type);
void tr__cbor_decode_in_place(const tr_typeinfo *type, uint8_t *in, size_t length, void *into);

/* The like for messages that stay in this process (versions.c): a buffer goes as the pointer, and is held by what is
 * decoded. Strings may be any bytes. */
size_t tr__cbor_encode_shared(const tr_typeinfo *type, const void *body, uint8_t *out, size_t room);
tr_err tr__cbor_measure_shared(const tr_typeinfo *type, const uint8_t *in, size_t length, size_t *body_size);
void tr__cbor_decode_shared(const tr_typeinfo *type, const uint8_t *in, size_t length, void *into);

/* JSON (by jansson): an object of the fields by name, in their order; bytes as base64, an address as its
 * text. What JSON's numbers don't have is a string, both ways: a u64 above INT64_MAX its digits, an f64
 * "NaN", "Infinity" or
 * "-Infinity". Other 64-bit integers are numbers with all their digits; a reader that takes them for doubles
 * (JavaScript) is exact to 2^53 only. Bytes of a string that aren't UTF-8 come out as U+FFFD. The caller
 * frees the text with tr__free(); NULL if memory ran out. */
char *tr__json_encode(const tr_typeinfo *type, const void *body);
/* A self-contained body from JSON text, to be freed with tr__free() after tr__body_release(); buffers as above. Missing fields are zero, unknown ones
 * are an error (TR_EINVAL), as is a value of the wrong kind or out of range; the text names the field. An f64
 * may be given as an integer; null is no value. TR_ETOOBIG, TR_ENOMEM as they say. */
tr_err tr__json_decode(const tr_typeinfo *type, const char *text, tr__buffers *account, void **body,
                       size_t *body_size, tr_error *error);

/* "<a1f3c09e12345678.12.7>": node in 16 hexadecimal digits, slot, generation; "<none>" for no address. `out`
 * has TR_ADDR_TEXT_MAX bytes. */
void tr__addr_format(tr_addr address, char *out);
/* The reverse, strict: the whole text must be one address. TR_EADDR with a text otherwise. */
tr_err tr__addr_parse(const char *text, tr_addr *address, tr_error *error);

#endif
