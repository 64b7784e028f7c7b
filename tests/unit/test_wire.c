/* The records on a connection: what was put is got back; whatever else comes is an error, never more than was
 * there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/wire.h"
#include "base/random.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

static tr__record example(tr__wire_kind kind)
{
    return (tr__record){.kind = kind,
                        .to_slot = 300,
                        .to_generation = 1,
                        .from_slot = UINT32_MAX,
                        .from_generation = 70000,
                        .ask = UINT64_MAX - 1,
                        .remaining_ns = 5000000000u,
                        .outflow = UINT64_MAX - 2,
                        .window = 255,
                        .type = 4095,
                        .exit_kind = 3,
                        .code = 27,
                        .type_id = 0x0123456789abcdefu,
                        .fingerprint = UINT64_MAX,
                        .moved_to = {UINT64_MAX - 7, 1u << 25, 3},
                        .length = 5};
}

static size_t put(uint8_t *out, const tr__record *record)
{
    size_t head = tr__wire_put(out, record);
    assert_true(head <= TR__WIRE_HEADER_MAX);
    memcpy(out + head, "hello", 5);
    return head + 5;
}

static bool has_body(tr__wire_kind kind)
{
    return kind != TR__WIRE_CANCEL && kind != TR__WIRE_MONITOR && kind != TR__WIRE_DEMONITOR &&
           kind != TR__WIRE_MOVED && kind != TR__WIRE_DEMAND;
}

/* A copy without a byte to spare, so that a sanitizer sees a read beyond it. */
static tr_err get_exactly(const uint8_t *bytes, size_t length, tr__record *record, size_t *used)
{
    uint8_t *exact = malloc(length ? length : 1);
    tr_error error;
    memcpy(exact, bytes, length);
    tr_err err = tr__wire_get(exact, length, record, used, &error);
    if (err != TR_OK)
        assert_true(error.text[0] != 0);
    else
        assert_true(*used <= length);
    free(exact);
    return err;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void every_kind_comes_back_as_it_was_put(void **state)
{
    (void)state;
    for (int kind = 1; kind < TR__WIRE_KINDS; kind++) {
        uint8_t bytes[TR__WIRE_HEADER_MAX + 5];
        tr__record in = example((tr__wire_kind)kind), out;
        size_t length = put(bytes, &in), used;
        if (!has_body(in.kind))
            length -= 5;
        assert_int_equal(TR_OK, tr__wire_get(bytes, length, &out, &used, NULL));
        assert_int_equal(length, used);
        assert_int_equal(in.kind, out.kind);
        assert_int_equal(in.to_slot, out.to_slot);
        assert_int_equal(in.to_generation, out.to_generation);
        assert_int_equal(in.from_slot, out.from_slot);
        assert_int_equal(in.from_generation, out.from_generation);
        assert_true(kind == TR__WIRE_TYPE || kind == TR__WIRE_NORMAL || kind == TR__WIRE_EXPIRING ||
                    out.ask == in.ask);
        assert_true((kind != TR__WIRE_ASK && kind != TR__WIRE_STREAM_ASK && kind != TR__WIRE_EXPIRING) ||
                    out.remaining_ns == in.remaining_ns);
        assert_true((kind != TR__WIRE_ITEM && kind != TR__WIRE_DEMAND) || out.outflow == in.outflow);
        assert_true((kind != TR__WIRE_STREAM_ASK && kind != TR__WIRE_DEMAND) || out.window == in.window);
        assert_true(kind != TR__WIRE_DOWN || (out.exit_kind == 3 && out.code == 27));
        assert_true(kind != TR__WIRE_MOVED || tr_addr_equal(out.moved_to, in.moved_to));
        assert_true(kind != TR__WIRE_TYPE ||
                    (out.type_id == in.type_id && out.fingerprint == in.fingerprint));
        if (has_body(in.kind))
            assert_memory_equal("hello", out.body, 5);
    }
}

static void an_ask_without_a_deadline_has_none_there_either(void **state)
{
    (void)state;
    uint8_t bytes[TR__WIRE_HEADER_MAX + 5];
    tr__record in = example(TR__WIRE_ASK), out;
    size_t used;
    in.remaining_ns = UINT64_MAX;
    size_t length = put(bytes, &in);
    assert_int_equal(TR_OK, tr__wire_get(bytes, length, &out, &used, NULL));
    assert_true(out.remaining_ns == UINT64_MAX);
}

static void a_record_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (int kind = 1; kind < TR__WIRE_KINDS; kind++) {
        uint8_t bytes[TR__WIRE_HEADER_MAX + 5];
        tr__record in = example((tr__wire_kind)kind), out;
        size_t length = put(bytes, &in), used;
        if (!has_body(in.kind))
            length -= 5;
        for (size_t cut = 0; cut < length; cut++)
            assert_int_equal(TR_EPROTO, get_exactly(bytes, cut, &out, &used));
    }
}

static void a_length_beyond_what_is_there_is_refused(void **state)
{
    (void)state;
    const size_t lengths[] = {6, 1000, (size_t)1 << 32, SIZE_MAX};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint8_t bytes[TR__WIRE_HEADER_MAX + 5];
        tr__record in = example(TR__WIRE_NORMAL), out;
        size_t used;
        in.length = lengths[i];
        size_t length = put(bytes, &in);
        assert_int_equal(TR_EPROTO, get_exactly(bytes, length, &out, &used));
    }
}

static void numbers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    const uint8_t too_many_bits[] = {
        TR__WIRE_CANCEL, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 1, 1, 1};
    const uint8_t beyond_32[] = {TR__WIRE_CANCEL, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1, 1, 1};
    tr__record out;
    size_t used;
    assert_int_equal(TR_EPROTO, get_exactly(too_many_bits, sizeof(too_many_bits), &out, &used));
    assert_int_equal(TR_EPROTO, get_exactly(beyond_32, sizeof(beyond_32), &out, &used));
}

static void random_bytes_never_read_beyond_their_end(void **state)
{
    (void)state;
    tr__random random;
    tr__random_init(&random, 42);
    int good = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[64];
        size_t length = tr__random_below(&random, sizeof(bytes) + 1), used;
        for (size_t j = 0; j < length; j++)
            bytes[j] = (uint8_t)tr__random_next(&random);
        if (length)
            bytes[0] %= TR__WIRE_KINDS + 1;
        tr__record out;
        good += get_exactly(bytes, length, &out, &used) == TR_OK;
    }
    assert_true(good > 0); /* else nothing but the first byte was tried */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back_as_it_was_put),
        cmocka_unit_test(an_ask_without_a_deadline_has_none_there_either),
        cmocka_unit_test(a_record_cut_anywhere_is_refused),
        cmocka_unit_test(a_length_beyond_what_is_there_is_refused),
        cmocka_unit_test(numbers_that_do_not_fit_are_refused),
        cmocka_unit_test(random_bytes_never_read_beyond_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
