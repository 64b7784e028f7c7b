/* Typed messages from JSON, as an operator gives them: the first byte says which type. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "mailbox/type.h"
#include "tests/fuzz/fuzz.h"

static void *decode(const tr_typeinfo *type, const char *text)
{
    tr_error error = {0};
    void *body;
    size_t size;
    if (tr__json_decode(type, text, NULL, &body, &size, &error) != TR_OK) {
        tr__check(error.code && error.text[0], "an error without a text");
        return NULL;
    }
    tr__check(tr__body_size(type, body) >= size, "%zu bytes were allocated for %zu", size,
              tr__body_size(type, body));
    return body;
}

static void one(const uint8_t *bytes, size_t length)
{
    fuzz_bytes in = {bytes, bytes + length};
    const tr_typeinfo *type = fuzz_type(fuzz_byte(&in));
    char *text = (char *)fuzz_copy(in.at, (size_t)(in.end - in.at), true);
    void *body = decode(type, text);
    free(text);
    if (!body)
        return;
    char *out = tr__json_encode(type, body);
    tr__check(out != NULL, "no JSON of a %s", type->name);
    void *back = decode(type, out);
    tr__check(back != NULL, "what we wrote of a %s isn't read: %s", type->name, out);
    char *again = tr__json_encode(type, back);
    tr__check(again && strcmp(out, again) == 0, "a %s doesn't come back as it was: %s", type->name, out);
    tr__body_release(type, body);
    tr__body_release(type, back);
    tr__free(body);
    tr__free(back);
    tr__free(out);
    tr__free(again);
}

const fuzz_target fuzz_json = {"json", 128u << 10, 2048, one};
