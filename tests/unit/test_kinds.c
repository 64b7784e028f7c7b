/* mailbox/body.c, cbor_*.c, json_*.c for what is made of other kinds: nested structs, lists, optional fields, buffers; in
 * copies, over connections, as JSON. Bodies and inputs lie in blocks of exactly their size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "mailbox/type.h"

TR_STRUCT(point, (i8, x), (i16, y))
TR_STRUCT(item, (string, name), (f64, price), (list, point, track), (optional, u8, count))
TR_MESSAGE(order, (u8, tiny), (string, customer), (list, item, items), (point, at), (list, u64, numbers),
           (list, string, tags), (list, addr, seen), (list, bytes, blobs), (list, buffer, pictures),
           (f32, ratio), (optional, u16, limit), (optional, string, note), (optional, list, i32, deltas),
           (optional, item, gift), (optional, buffer, seal))

/* ---- helpers ------------------------------------------------------------------------------------------- */

static const point track[] = {{-128, -32768}, {127, 32767}, {0, 0}};
static const tr_buffer *pictures[2];
static tr__buffers *account;

/* With values everywhere; or with nothing that may be left out. */
static order make_full(void)
{
    static const item items[] = {
        {.name = "tea", .price = 1.25, .count = TR_SOME(3), .track = {track, 3}},
        {.name = NULL, .price = -0.5},
        {.name = "milk \xc3\xab", .price = 1e300, .count = TR_SOME(255), .track = {track, 1}},
    };
    static const uint64_t numbers[] = {0, 1, UINT64_MAX, 23, 24};
    static const char *const tags[] = {"", NULL, "x", "longer than that"};
    static const tr_addr seen[] = {{1, 2, 3}, {0, 0, 0}};
    static const tr_bytes blobs[] = {{"a\0b", 3}, {NULL, 0}};
    static const int32_t deltas[] = {-1, INT32_MIN, INT32_MAX};
    return (order){
        .tiny = 200,
        .customer = "ada",
        .items = {items, 3},
        .at = {-1, 1000},
        .numbers = {numbers, 5},
        .tags = {tags, 4},
        .seen = {seen, 2},
        .blobs = {blobs, 2},
        .pictures = {pictures, 2},
        .ratio = 0.25f,
        .limit = TR_SOME(65535),
        .note = TR_SOME("soon"),
        .deltas = TR_SOME({deltas, 3}),
        .gift = TR_SOME({.name = "cake", .price = 2, .track = {track, 2}}),
        .seal = TR_SOME(pictures[0]),
    };
}

static int open_buffers(void **state)
{
    (void)state;
    account = tr__buffers_open();
    pictures[0] = tr__buffer_make(account, "pixels", 6);
    pictures[1] = NULL;
    return 0;
}

/* All but the one that the tests hold is gone. */
static int close_buffers(void **state)
{
    (void)state;
    assert_int_equal(tr__buffers_bytes(account), 6);
    tr__buffer_drop(pictures[0]);
    assert_int_equal(tr__buffers_bytes(account), 0);
    tr__buffers_close(account);
    return 0;
}

static void assert_items_equal(const item *is, const item *was)
{
    assert_string_equal(is->name, was->name ? was->name : "");
    assert_true(is->price == was->price);
    assert_int_equal(is->count.present, was->count.present);
    assert_int_equal(is->count.value, was->count.value);
    assert_int_equal(is->track.count, was->track.count);
    assert_non_null(is->track.data);
    for (size_t i = 0; i < is->track.count; i++) {
        assert_int_equal(is->track.data[i].x, was->track.data[i].x);
        assert_int_equal(is->track.data[i].y, was->track.data[i].y);
    }
}

static void assert_lists_equal(const order *is, const order *was)
{
    assert_int_equal(is->items.count, was->items.count);
    for (size_t i = 0; i < is->items.count; i++)
        assert_items_equal(&is->items.data[i], &was->items.data[i]);
    assert_int_equal(is->numbers.count, was->numbers.count);
    assert_int_equal((uintptr_t)is->numbers.data % 8, 0);
    for (size_t i = 0; i < is->numbers.count; i++)
        assert_true(is->numbers.data[i] == was->numbers.data[i]);
    assert_int_equal(is->tags.count, was->tags.count);
    for (size_t i = 0; i < is->tags.count; i++)
        assert_string_equal(is->tags.data[i], was->tags.data[i] ? was->tags.data[i] : "");
    assert_int_equal(is->seen.count, was->seen.count);
    for (size_t i = 0; i < is->seen.count; i++)
        assert_true(tr_addr_equal(is->seen.data[i], was->seen.data[i]));
    assert_int_equal(is->blobs.count, was->blobs.count);
    for (size_t i = 0; i < is->blobs.count; i++) {
        assert_int_equal(is->blobs.data[i].size, was->blobs.data[i].size);
        assert_memory_equal(is->blobs.data[i].data, was->blobs.data[i].data, was->blobs.data[i].size);
    }
    assert_int_equal(is->pictures.count, was->pictures.count);
    for (size_t i = 0; i < is->pictures.count; i++) {
        assert_non_null(is->pictures.data[i]);
        assert_int_equal(is->pictures.data[i]->size, was->pictures.data[i] ? was->pictures.data[i]->size : 0);
        assert_memory_equal(is->pictures.data[i]->data, "pixels", is->pictures.data[i]->size);
    }
}

static void assert_equal(const order *is, const order *was)
{
    assert_int_equal(is->tiny, was->tiny);
    assert_string_equal(is->customer, was->customer ? was->customer : "");
    assert_int_equal(is->at.x, was->at.x);
    assert_int_equal(is->at.y, was->at.y);
    assert_true(is->ratio == was->ratio);
    assert_lists_equal(is, was);
    assert_int_equal(is->limit.present, was->limit.present);
    assert_int_equal(is->limit.value, was->limit.value);
    assert_int_equal(is->note.present, was->note.present);
    assert_string_equal(is->note.value, was->note.present ? was->note.value : "");
    assert_int_equal(is->deltas.present, was->deltas.present);
    assert_int_equal(is->deltas.value.count, was->deltas.value.count);
    for (size_t i = 0; i < is->deltas.value.count; i++)
        assert_int_equal(is->deltas.value.data[i], was->deltas.value.data[i]);
    assert_int_equal(is->gift.present, was->gift.present);
    assert_items_equal(&is->gift.value, &was->gift.value);
    assert_int_equal(is->seal.present, was->seal.present);
    assert_int_equal(is->seal.value->size, was->seal.present ? 6 : 0);
}

static void free_body(void *body)
{
    tr__body_release(tr__type_of(&order_type), body);
    tr__free(body);
}

static order *copy_of(const order *from)
{
    const tr_typeinfo *info = tr__type_of(&order_type);
    size_t size = tr__body_size(info, from);
    order *copy = tr__alloc(size);
    memset(copy, 0xa5, size);
    tr__body_copy(info, copy, from);
    assert_int_equal(tr__body_size(info, copy), size);
    return copy;
}

static uint8_t *encode(const void *body, size_t *length)
{
    const tr_typeinfo *info = tr__type_of(&order_type);
    size_t bound = tr__cbor_bound(info, body);
    uint8_t *out = tr__alloc(bound);
    *length = tr__cbor_encode(info, body, out, bound);
    assert_true(*length > 0 && *length <= bound);
    return out;
}

/* NULL: refused. */
static order *decode(const uint8_t *bytes, size_t length, tr_error *error)
{
    const tr_typeinfo *info = tr__type_of(&order_type);
    size_t size;
    uint8_t *in = tr__alloc(length);
    memcpy(in, bytes, length);
    order *body = NULL;
    if (tr__cbor_measure(info, in, length, &size, error) == TR_OK) {
        body = tr__alloc(size);
        memset(body, 0xa5, size);
        assert_true(tr__cbor_decode(info, in, length, account, body));
        assert_int_equal(tr__body_size(info, body), size);
    }
    tr__free(in);
    return body;
}

/* ---- copies and round trips ---------------------------------------------------------------------------- */

static void a_copy_is_deep_and_in_one_block(void **state)
{
    (void)state;
    order full = make_full();
    order *copy = copy_of(&full);
    assert_equal(copy, &full);
    assert_ptr_not_equal(copy->items.data, full.items.data);
    assert_ptr_not_equal(copy->items.data[0].track.data, track);
    assert_ptr_equal(copy->pictures.data[0], pictures[0]); /* shared */
    const char *end = (const char *)copy + tr__body_size(tr__type_of(&order_type), copy);
    assert_true((const char *)copy->tags.data[3] > (const char *)copy && copy->tags.data[3] < end);
    order *again = copy_of(copy);
    free_body(copy);
    assert_equal(again, &full);
    free_body(again);
}

static void what_is_left_out_is_zero_or_empty(void **state)
{
    (void)state;
    order none = {.limit = {false, 7},
                  .note = {false, "not said"}}; /* values without `present` don't count */
    order *copy = copy_of(&none);
    assert_false(copy->limit.present);
    assert_int_equal(copy->limit.value, 0);
    assert_string_equal(copy->note.value, "");
    assert_int_equal(copy->deltas.value.count, 0);
    assert_non_null(copy->deltas.value.data);
    assert_string_equal(copy->gift.value.name, "");
    assert_ptr_equal(copy->seal.value, &tr__buffer_empty);
    free_body(copy);
}

static void all_comes_back_from_cbor(void **state)
{
    (void)state;
    order bodies[] = {make_full(), {.tiny = 1}, {.note = TR_SOME("only")}, {.seal = TR_SOME(pictures[0])}};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        size_t length;
        tr_error error;
        order *copy = copy_of(&bodies[i]);
        uint8_t *bytes = encode(&bodies[i], &length);
        for (size_t room = 0; room < length; room++) {
            uint8_t *little = tr__alloc(room);
            assert_int_equal(tr__cbor_encode(tr__type_of(&order_type), &bodies[i], little, room), 0);
            tr__free(little);
        }
        order *back = decode(bytes, length, &error);
        if (!back)
            fail_msg("%s", error.text);
        assert_equal(back, copy);
        free_body(back);
        free_body(copy);
        tr__free(bytes);
    }
}

static void absent_fields_at_the_end_take_no_byte(void **state)
{
    (void)state;
    size_t length, more;
    order none = {.tiny = 1}, note = {.tiny = 1, .note = TR_SOME("")};
    tr__free(encode(&none, &length));
    tr__free(encode(&note, &more));
    assert_int_equal(more, length + 2); /* null for the limit, and the note */
}

static void all_comes_back_from_json(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&order_type);
    order bodies[] = {make_full(), {.tiny = 1}, {.note = TR_SOME("only")}};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        void *back;
        size_t size;
        tr_error error;
        order *copy = copy_of(&bodies[i]);
        char *text = tr__json_encode(info, &bodies[i]);
        if (tr__json_decode(info, text, account, &back, &size, &error) != TR_OK)
            fail_msg("%s: %s", text, error.text);
        assert_equal(back, copy);
        char *again = tr__json_encode(info, back);
        assert_string_equal(text, again);
        tr__free(again);
        tr__free(text);
        free_body(back);
        free_body(copy);
    }
}

static void json_shows_lists_structs_and_what_is_there(void **state)
{
    (void)state;
    item tea = {.name = "tea", .price = 1.5, .count = TR_SOME(2), .track = {track, 1}};
    char *text = tr__json_encode(tr__type_of(&item_type), &tea);
    assert_string_equal(text,
                        "{\"name\":\"tea\",\"price\":1.5,\"track\":[{\"x\":-128,\"y\":-32768}],\"count\":2}");
    tr__free(text);
    tea = (item){0};
    text = tr__json_encode(tr__type_of(&item_type), &tea);
    assert_string_equal(text, "{\"name\":\"\",\"price\":0.0,\"track\":[]}");
    tr__free(text);
}

/* ---- what is wrong is named by its path ---------------------------------------------------------------- */

static void json_errors_name_the_field_by_its_path(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"{\"items\":[{},{},{},{\"price\":\"dear\"}]}", "order.items[3].price: expected a number"},
        {"{\"items\":[{\"track\":[{},{\"x\":128}]}]}",
         "order.items[0].track[1].x: expected an integer from -128 to 127"},
        {"{\"items\":[{\"colour\":1}]}", "order.items[0] has no field 'colour'"},
        {"{\"items\":[7]}", "order.items[0]: expected an object, found an integer"},
        {"{\"items\":{}}", "order.items: expected an array, found an object"},
        {"{\"at\":null}", "order.at: expected an object, found null"},
        {"{\"numbers\":[1,-1]}", "order.numbers[1]: expected"},
        {"{\"tags\":[\"a\",null]}", "order.tags[1]: expected a string, found null"},
        {"{\"pictures\":[\"!\"]}", "order.pictures[0]: expected base64"},
        {"{\"blobs\":[\"QQ==\",\"QQ=\"]}", "order.blobs[1]: expected base64"},
        {"{\"limit\":65536}", "order.limit: expected an integer from 0 to 65535"},
        {"{\"ratio\":1e39}", "order.ratio: expected a number that a float holds"},
        {"{\"gift\":{\"name\":1}}", "order.gift.name: expected a string"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        void *body;
        size_t size;
        tr_error error;
        assert_int_equal(
            tr__json_decode(tr__type_of(&order_type), wrong[i][0], account, &body, &size, &error), TR_EINVAL);
        if (strncmp(error.text, wrong[i][1], strlen(wrong[i][1])) != 0)
            fail_msg("%s: %s", wrong[i][0], error.text);
    }
}

static void null_is_absent_for_an_optional_field(void **state)
{
    (void)state;
    void *body;
    size_t size;
    assert_int_equal(
        tr__json_decode(tr__type_of(&order_type), "{\"limit\":null}", account, &body, &size, NULL), TR_OK);
    assert_false(((order *)body)->limit.present);
    free_body(body);
}

static void cbor_errors_name_the_field_by_its_path(void **state)
{
    (void)state;
    /* order[1, "", [["", 1.0, [[1, "x" */
    static const uint8_t bytes[] = {0x8a, 1,    0x60, 0x81, 0x83, 0x60, 0xf9,
                                    0x3c, 0x00, 0x81, 0x82, 1,    0x61, 'x'};
    tr_error error;
    assert_null(decode(bytes, sizeof(bytes), &error));
    assert_int_equal(error.code, TR_EPROTO);
    assert_non_null(strstr(error.text, "order.items[0].track[0].y, byte 12: expected an unsigned integer"));
    static const uint8_t list[] = {0x8a, 1, 0x60, 0x9a, 0xff, 0xff, 0xff, 0xff};
    assert_null(decode(list, sizeof(list), &error));
    assert_non_null(
        strstr(error.text, "order.items, byte 3: expected a list, found one longer than the message"));
    static const uint8_t small[] = {0x8a, 0x19, 0x01, 0x00};
    assert_null(decode(small, sizeof(small), &error));
    assert_non_null(
        strstr(error.text, "order.tiny, byte 1: expected a number below 2^8, found a larger one"));
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

static void absurd_sizes_are_refused(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&order_type);
    static const size_t counts[] = {SIZE_MAX, SIZE_MAX / 8 + 2, (size_t)1 << 40, TR__BODY_MAX / 8};
    for (size_t i = 0; i < 4; i++) {
        order huge = {.numbers = {(const uint64_t *)track, counts[i]}};
        assert_int_equal(tr__body_size(info, &huge), SIZE_MAX);
    }
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static void whichever_allocation_fails_decoding_leaves_nothing_behind(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&order_type);
    order full = make_full();
    size_t length, size;
    uint8_t *bytes = encode(&full, &length);
    char *text = tr__json_encode(info, &full);
    assert_int_equal(tr__cbor_measure(info, bytes, length, &size, NULL), TR_OK);
    order *into = tr__alloc(size);
    for (uint64_t n = 1, left = 0; !left; n++) {
        void *back = NULL;
        size_t back_size;
        tr__alloc_fail_at(n);
        bool decoded = tr__cbor_decode(info, bytes, length, account, into);
        tr_err read = tr__json_decode(info, text, account, &back, &back_size, NULL);
        char *printed = tr__json_encode(info, &full);
        left = tr__alloc_fail_left();
        tr__alloc_fail_at(0);
        if (decoded)
            tr__body_release(info, into);
        if (read == TR_OK)
            free_body(back);
        else
            assert_int_equal(read, TR_ENOMEM);
        assert_true(left || !decoded || read != TR_OK || !printed);
        tr__free(printed);
        assert_int_equal(tr__buffers_bytes(account), 6);
    }
    tr__free(into);
    tr__free(text);
    tr__free(bytes);
}

/* ---- anything at all ----------------------------------------------------------------------------------- */

/* What isn't refused is a good body: it can be copied, written as both, and read again. */
static bool still_good(const uint8_t *bytes, size_t length)
{
    tr_error error;
    order *body = decode(bytes, length, &error);
    if (!body) {
        assert_true(error.code == TR_EPROTO || error.code == TR_ETOOBIG);
        assert_memory_equal(error.text, "order", 5);
        return false;
    }
    size_t again_length;
    order *copy = copy_of(body);
    uint8_t *again = encode(copy, &again_length);
    order *back = decode(again, again_length, &error);
    assert_non_null(back);
    free_body(back);
    free_body(copy);
    free_body(body);
    tr__free(again);
    return true;
}

static void mutate(tr__random *random, uint8_t *bytes, size_t *length, size_t room)
{
    size_t at = (size_t)tr__random_below(random, *length);
    switch (tr__random_below(random, 5)) {
    case 0:
        bytes[at] = (uint8_t)tr__random_below(random, 256);
        break;
    case 1:
        bytes[at] ^= (uint8_t)(1u << tr__random_below(random, 8));
        break;
    case 2: /* a byte less */
        memmove(bytes + at, bytes + at + 1, *length - at - 1);
        *length -= *length > 1;
        break;
    case 3: /* a stretch twice */
        if (*length + 8 < room && at + 8 < *length) {
            memmove(bytes + at + 8, bytes + at, *length - at);
            *length += 8;
        }
        break;
    default: { /* the head of an array or a string, with any count */
        static const uint8_t heads[] = {0x80, 0x98, 0x9a, 0x9b, 0x58, 0x5b, 0x78, 0x7b, 0xf6, 0x5f};
        bytes[at] = heads[tr__random_below(random, sizeof(heads))];
    }
    }
}

static void mutated_messages_are_refused_or_give_a_good_body(void **state)
{
    (void)state;
    enum { ROOM = 1024, ROUNDS = 60000 };
    order full = make_full();
    size_t whole;
    uint8_t *good = encode(&full, &whole), bytes[ROOM];
    tr__random random;
    tr__random_init(&random, 20);
    int taken = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t length = whole;
        memcpy(bytes, good, whole);
        for (uint64_t changes = 1 + tr__random_below(&random, 4); changes > 0; changes--)
            mutate(&random, bytes, &length, ROOM);
        taken += still_good(bytes, length);
        assert_int_equal(tr__buffers_bytes(account), 6);
    }
    print_message("%d of %d taken\n", taken, ROUNDS);
    assert_true(taken > ROUNDS / 100 && taken < ROUNDS);
    tr__free(good);
}

static void mutated_json_is_refused_or_gives_a_good_body(void **state)
{
    (void)state;
    enum { ROUNDS = 20000 };
    const tr_typeinfo *info = tr__type_of(&order_type);
    static const char signs[] = "{}[]\",:0189.-eEn\\ tf";
    order full = make_full();
    char *good = tr__json_encode(info, &full), *text = tr__strdup(good);
    size_t length = strlen(good);
    tr__random random;
    tr__random_init(&random, 21);
    int taken = 0;
    for (int round = 0; round < ROUNDS; round++) {
        void *body;
        size_t size;
        tr_error error;
        memcpy(text, good, length + 1);
        for (uint64_t changes = 1 + tr__random_below(&random, 2); changes > 0; changes--) {
            size_t at = (size_t)tr__random_below(&random, length);
            text[at] = signs[tr__random_below(&random, sizeof(signs) - 1)];
        }
        tr_err failed = tr__json_decode(info, text, account, &body, &size, &error);
        assert_true(failed == TR_OK || failed == TR_EINVAL);
        if (failed == TR_OK) {
            free_body(body);
            taken++;
        }
        assert_int_equal(tr__buffers_bytes(account), 6);
    }
    print_message("%d of %d taken\n", taken, ROUNDS);
    assert_true(taken > ROUNDS / 100 && taken < ROUNDS);
    tr__free(text);
    tr__free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_deep_and_in_one_block),
        cmocka_unit_test(what_is_left_out_is_zero_or_empty),
        cmocka_unit_test(all_comes_back_from_cbor),
        cmocka_unit_test(absent_fields_at_the_end_take_no_byte),
        cmocka_unit_test(all_comes_back_from_json),
        cmocka_unit_test(json_shows_lists_structs_and_what_is_there),
        cmocka_unit_test(json_errors_name_the_field_by_its_path),
        cmocka_unit_test(null_is_absent_for_an_optional_field),
        cmocka_unit_test(cbor_errors_name_the_field_by_its_path),
        cmocka_unit_test(absurd_sizes_are_refused),
        cmocka_unit_test(whichever_allocation_fails_decoding_leaves_nothing_behind),
        cmocka_unit_test(mutated_messages_are_refused_or_give_a_good_body),
        cmocka_unit_test(mutated_json_is_refused_or_gives_a_good_body),
    };
    return cmocka_run_group_tests(tests, open_buffers, close_buffers);
}
