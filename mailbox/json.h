/* Messages as jansson's values, for those who put them into larger JSON (the operator socket). The text forms are in
 * type.h. Any thread; a value belongs to one thread at a time. */
#ifndef TR_MAILBOX_JSON_H
#define TR_MAILBOX_JSON_H

#include <jansson.h>

#include "mailbox/type.h"

/* Before any other use of jansson: its memory comes from tr__alloc from then on. */
void tr__json_prepare(void);
#define TR__JSON_BASE64 sodium_base64_VARIANT_ORIGINAL
/* Has an allocation of jansson's failed on this thread since it was last asked? It doesn't always say so itself. */
bool tr__json_starved(void);
/* The message as an object; the caller's. NULL if memory ran out. */
json_t *tr__json_make(const tr_typeinfo *type, const void *body);
/* As tr__json_decode (type.h), from a value. */
tr_err tr__json_read(const tr_typeinfo *type, json_t *value, tr__buffers *account, void **body,
                     size_t *body_size, tr_error *error);
/* The text on one line, to be freed with tr__free(); NULL if `value` is NULL or memory ran out. */
char *tr__json_text(const json_t *value);

#endif
