/* Typed messages from CBOR: the first byte says which type. What is accepted is encoded and read again: the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "mailbox/type.h"
#include "tests/fuzz/fuzz.h"

static void *decode(const tr_typeinfo *type, const uint8_t *bytes, size_t length)
{
    tr_error error = {0};
    size_t size;
    if (tr__cbor_measure(type, bytes, length, &size, &error) != TR_OK) {
        tr__check(error.text[0], "an error without a text");
        return NULL;
    }
    tr__check(size >= type->size && size <= type->size + 256 * length, "%zu bytes become a body of %zu",
              length, size);
    void *body = malloc(size);
    memset(body, 0xee, size);
    tr__check(tr__cbor_decode(type, bytes, length, NULL, body), "measured, and not decoded");
    tr__check(tr__body_size(type, body) == size, "measured %zu, and it has %zu", size,
              tr__body_size(type, body));
    return body;
}

static uint8_t *encode(const tr_typeinfo *type, const void *body, size_t *length)
{
    size_t room = tr__cbor_bound(type, body);
    uint8_t *out = malloc(room);
    *length = tr__cbor_encode(type, body, out, room);
    tr__check(*length > 0 && *length <= room, "the bound of %zu isn't enough", room);
    return out;
}

static void one(const uint8_t *bytes, size_t length)
{
    fuzz_bytes in = {bytes, bytes + length};
    const tr_typeinfo *type = fuzz_type(fuzz_byte(&in));
    size_t left = (size_t)(in.end - in.at), size, size_again;
    uint8_t *copy = fuzz_copy(in.at, left, false);
    void *body = decode(type, copy, left);
    free(copy);
    if (!body)
        return;
    uint8_t *out = encode(type, body, &size);
    void *back = decode(type, out, size);
    tr__check(back != NULL, "what we encoded of a %s isn't read", type->name);
    uint8_t *again = encode(type, back, &size_again);
    tr__check(size == size_again && memcmp(out, again, size) == 0, "a %s doesn't come back as it was",
              type->name);
    char *json = tr__json_encode(type, back); /* what came is what a tap, or an operator, shows */
    tr__check(json != NULL, "no JSON of a %s", type->name);
    tr__free(json);
    tr__body_release(type, body);
    tr__body_release(type, back);
    free(body);
    free(back);
    free(out);
    free(again);
}

const fuzz_target fuzz_cbor = {"cbor", 64u << 10, 2048, one};
