/* The schema that a peer tells of a type: the first byte says of which of ours. */
#include <stdlib.h>
#include <string.h>

#include "mailbox/type.h"
#include "tests/fuzz/fuzz.h"

static void one(const uint8_t *bytes, size_t length)
{
    fuzz_bytes in = {bytes, bytes + length};
    const tr_typeinfo *type = fuzz_type(fuzz_byte(&in));
    size_t left = (size_t)(in.end - in.at);
    uint8_t *copy = fuzz_copy(in.at, left, false);
    tr_error error = {0};
    tr_err err = tr__schema_check(type, (const char *)copy, left, &error);
    tr__check(err == TR_OK || (err == TR_ETYPE && error.text[0]), "error %d, text '%s'", err, error.text);
    tr__check(err == TR_OK || strlen(type->schema) != left || memcmp(copy, type->schema, left) != 0,
              "our own schema is refused: %s", error.text);
    const tr_typeinfo *found = tr__type_for(type->id, 1, (const char *)copy, left, &error);
    tr__check((found != NULL) == (err == TR_OK), "found and checked differ");
    tr__type_for(left, 1, (const char *)copy, left, &error);
    free(copy);
}

const fuzz_target fuzz_schema = {"schema", 64u << 10, 4, one};
