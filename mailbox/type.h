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

typedef struct tr_typeinfo {
    const char *name;
    const tr_field *fields; /* own copy */
    uint32_t count;         /* of fields */
    uint32_t size;          /* of the struct */
    uint32_t inline_count;  /* fields of kind string, bytes or buffer: 0 = the struct is all of it */
    uint8_t flat_class; /* then: the pool's size class of a message of this type; TR__CLASS_LARGE otherwise */
    bool buffers;       /* it has fields of kind buffer */
    bool notice; /* only the runtime may send it: then flat_class is TR__CLASS_LARGE, off the fast path */
    uint64_t id; /* hash of the name */
    uint64_t fingerprint; /* hash of name, field names and kinds, in order */
    struct tr_typeinfo *next;
} tr_typeinfo;

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
/* A type by name, the one registered first; NULL if there is none. */
const tr_typeinfo *tr__type_find_name(const char *name);

/* Bytes of a self-contained copy of `body`: the struct and, each behind the other, its strings (with NUL) and
 * bytes; a buffer is held, not copied. SIZE_MAX if it would exceed TR__BODY_MAX. In a copy, and in what decoding makes, no string and no
 * bytes.data is NULL, and no buffer (tr__buffer_empty). */
#define TR__BODY_MAX ((size_t)1 << 30)
size_t tr__body_size(const tr_typeinfo *type, const void *body);
/* Make that copy; `into` has tr__body_size() bytes and is aligned to 8. */
void tr__body_copy(const tr_typeinfo *type, void *into, const void *body);
/* Drop the buffers that a copy, or what decoding made, holds; the bytes behind its pointers may stay, it may not be used. */
void tr__body_release(const tr_typeinfo *type, const void *body);

/* CBOR (RFC 8949, by libcbor's streaming layer): an array of the fields by position; an address is an array
 * of three. Bytes written, or 0 if `room` is too little (tr__cbor_bound() is always enough). A string goes
 * out as it is: if it isn't UTF-8, the receiver refuses the message. */
size_t tr__cbor_bound(const tr_typeinfo *type, const void *body);
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
