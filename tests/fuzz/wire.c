/* The records of a batch: what is read, and put again, is the same once more. */
#include <stdlib.h>
#include <string.h>

#include "actors/remote/wire.h"
#include "tests/fuzz/fuzz.h"

static void again(const tr__record *record)
{
    uint8_t *out = malloc(TR__WIRE_HEADER_MAX + record->length);
    size_t head = tr__wire_put(out, record), used;
    tr__record back;
    tr_error error = {0};
    tr__check(head <= TR__WIRE_HEADER_MAX, "a record's head of %zu bytes", head);
    bool has_body = record->kind != TR__WIRE_CANCEL && record->kind != TR__WIRE_MONITOR &&
                    record->kind != TR__WIRE_DEMONITOR && record->kind != TR__WIRE_MOVED;
    size_t body = has_body ? record->length : 0;
    if (body)
        memcpy(out + head, record->body, body);
    tr_err err = tr__wire_get(out, head + body, &back, &used, &error);
    tr__check(err == TR_OK && used == head + body, "what was put isn't got back: %s", error.text);
    tr__check(back.kind == record->kind && back.to_slot == record->to_slot && back.ask == record->ask &&
                  back.type == record->type && back.fingerprint == record->fingerprint &&
                  back.remaining_ns == record->remaining_ns && back.code == record->code &&
                  back.length == record->length,
              "a record of kind %d comes back as another", record->kind);
    free(out);
}

static void one(const uint8_t *bytes, size_t length)
{
    uint8_t *copy = fuzz_copy(bytes, length, false);
    for (size_t at = 0; at < length;) {
        tr__record record;
        tr_error error = {0};
        size_t used = 0;
        if (tr__wire_get(copy + at, length - at, &record, &used, &error) != TR_OK) {
            tr__check(error.text[0], "an error without a text");
            break;
        }
        tr__check(used > 0 && used <= length - at, "%zu bytes used of %zu", used, length - at);
        tr__check(record.length <= used, "a body of %zu bytes in a record of %zu", record.length, used);
        again(&record);
        at += used;
    }
    free(copy);
}

const fuzz_target fuzz_wire = {"wire", 64u << 10, 4, one};
