/* The records on a connection: what was put is got back; whatever else comes is an error, never more than was
 * there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/remote/wire.h"
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
           kind != TR__WIRE_MOVED && kind != TR__WIRE_DEMAND && kind != TR__WIRE_LINK &&
           kind != TR__WIRE_UNLINK && kind != TR__WIRE_UNLINKED && kind != TR__WIRE_STOP &&
           kind != TR__WIRE_RIGHTS;
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
                    kind == TR__WIRE_LINK || kind == TR__WIRE_EXIT || kind == TR__WIRE_STOP ||
                    out.ask == in.ask);
        assert_true((kind != TR__WIRE_ASK && kind != TR__WIRE_STREAM_ASK && kind != TR__WIRE_EXPIRING) ||
                    out.remaining_ns == in.remaining_ns);
        assert_true((kind != TR__WIRE_ITEM && kind != TR__WIRE_DEMAND) || out.outflow == in.outflow);
        assert_true((kind != TR__WIRE_STREAM_ASK && kind != TR__WIRE_DEMAND) || out.window == in.window);
        assert_true((kind != TR__WIRE_DOWN && kind != TR__WIRE_EXIT) ||
                    (out.exit_kind == 3 && out.code == 27));
        assert_true(kind != TR__WIRE_STOP || out.exit_kind == 3);
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

/* ---- many alike ---------------------------------------------------------------------------------------- */

/* Of addresses that are usual: the head is short enough to be kept. */
static tr__record usual(uint32_t to, size_t length)
{
    return (tr__record){.kind = TR__WIRE_NORMAL,
                        .to_slot = to,
                        .to_generation = 1,
                        .from_slot = 7,
                        .from_generation = 200,
                        .type = 3,
                        .length = length};
}

static void keep(tr__alike *alike, const tr__record *of)
{
    uint8_t bytes[TR__WIRE_HEADER_MAX + 300] = {0};
    tr__record record;
    size_t used;
    size_t head = tr__wire_put(bytes, of);
    assert_int_equal(TR_OK, tr__wire_get(bytes, head + of->length, &record, &used, NULL));
    assert_true(tr__alike_keep(alike, bytes, &record));
}

static void assert_same(const tr__record *a, const tr__record *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->to_slot, b->to_slot);
    assert_int_equal(a->to_generation, b->to_generation);
    assert_int_equal(a->from_slot, b->from_slot);
    assert_int_equal(a->from_generation, b->from_generation);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->ask, b->ask);
    assert_true(a->remaining_ns == b->remaining_ns);
    assert_int_equal(a->length, b->length);
    assert_ptr_equal(a->body, b->body);
}

static void what_is_put_alike_is_got_by_either_way(void **state)
{
    (void)state;
    tr__alike out = {0}, in = {0};
    tr__record of = usual(300, 5), record;
    keep(&out, &of);
    keep(&in, &of);
    for (size_t length = 0; length < 300; length++) {
        uint8_t bytes[TR__WIRE_HEADER_MAX + 300] = {0};
        size_t used, used_alike;
        size_t head = tr__alike_put(bytes, &out, length);
        assert_int_equal(TR_OK, tr__wire_get(bytes, head + length, &record, &used, NULL));
        assert_int_equal(used, head + length);
        if (head + length > TR__ALIKE_MAX) { /* a shorter one at a batch's end isn't worth a look */
            assert_true(tr__alike_get(&in, bytes, head + length, &used_alike));
            assert_int_equal(used_alike, used);
            assert_same(&in.record, &record);
        }
    }
}

static void one_to_another_actor_is_not_alike(void **state)
{
    (void)state;
    tr__alike alike = {0};
    tr__record of = usual(300, 100), other = usual(301, 100);
    uint8_t bytes[TR__WIRE_HEADER_MAX + 300] = {0};
    size_t used;
    assert_false(tr__alike_get(&alike, bytes, sizeof(bytes), &used)); /* none is kept */
    keep(&alike, &of);
    tr__wire_put(bytes, &other);
    assert_false(tr__alike_get(&alike, bytes, sizeof(bytes), &used));
    other = usual(300, 100);
    other.type = 4;
    tr__wire_put(bytes, &other);
    assert_false(tr__alike_get(&alike, bytes, sizeof(bytes), &used));
    other.kind = TR__WIRE_ASK;
    tr__wire_put(bytes, &other);
    assert_false(tr__alike_get(&alike, bytes, sizeof(bytes), &used));
}

/* Whatever comes: if it passes as one that is alike, it is what tr__wire_get makes of it, and nothing beyond it was read. */
static void any_bytes_that_pass_as_alike_say_the_same_by_the_long_way(void **state)
{
    (void)state;
    tr__random random;
    tr__random_init(&random, 3);
    tr__alike alike = {0};
    tr__record of = usual(5, 40), record;
    keep(&alike, &of);
    uint8_t first[TR__WIRE_HEADER_MAX + 300] = {0};
    size_t head = tr__wire_put(first, &of), passed = 0;
    for (int round = 0; round < 200000; round++) {
        size_t length = tr__random_below(&random, 64), used, used_alike;
        uint8_t *exact = malloc(length + 1);
        memcpy(exact, first, length);
        for (uint64_t damage = tr__random_below(&random, 3); damage && length; damage--)
            exact[tr__random_below(&random, length < head + 4 ? length : head + 4)] =
                (uint8_t)tr__random_next(&random);
        uint8_t *end = malloc(length ? length : 1); /* without a byte to spare */
        memcpy(end, exact, length);
        if (tr__alike_get(&alike, end, length, &used_alike)) {
            passed++;
            assert_int_equal(TR_OK, tr__wire_get(end, length, &record, &used, NULL));
            assert_int_equal(used, used_alike);
            assert_same(&alike.record, &record);
        }
        free(end);
        free(exact);
    }
    assert_true(passed > 1000);
}

/* A head whose numbers have more bytes than they need is kept as it came. */
static void a_length_in_a_longer_form_is_no_part_of_the_head(void **state)
{
    (void)state;
    tr__alike alike = {0};
    tr__record of = usual(5, 40), record;
    uint8_t bytes[TR__WIRE_HEADER_MAX + 300] = {0};
    size_t used, head = tr__wire_put(bytes, &of);
    bytes[head - 1] = 40 | 0x80;
    bytes[head] = 0;
    assert_int_equal(TR_OK, tr__wire_get(bytes, sizeof(bytes), &record, &used, NULL));
    assert_int_equal(record.length, 40);
    assert_true(tr__alike_keep(&alike, bytes, &record));
    assert_true(tr__alike_get(&alike, bytes, sizeof(bytes), &used));
    assert_int_equal(alike.record.length, 40);
    bytes[head - 1] = 33;
    assert_true(tr__alike_get(&alike, bytes, sizeof(bytes), &used));
    assert_int_equal(alike.record.length, 33);
}

static void of_heads_that_come_in_turn_only_some_are_kept(void **state)
{
    (void)state;
    tr__alike alike = {0};
    uint8_t bytes[TR__WIRE_HEADER_MAX];
    int kept = 0;
    for (uint32_t i = 0; i < 80; i++) {
        tr__record of = usual(i, 0), record;
        size_t used, head = tr__wire_put(bytes, &of);
        assert_int_equal(TR_OK, tr__wire_get(bytes, head, &record, &used, NULL));
        kept += tr__alike_keep(&alike, bytes, &record);
    }
    assert_int_equal(kept, 10);
}

static void a_record_is_made_to_fit_the_body_that_it_got(void **state)
{
    (void)state;
    const size_t claims[] = {0, 1, 127, 128, 200, 16383, 16384};
    static uint8_t bytes[TR__WIRE_HEADER_MAX + 16384];
    for (size_t c = 0; c < sizeof(claims) / sizeof(claims[0]); c++)
        for (size_t length = 0; length <= claims[c]; length += length < 300 ? 1 : 997) {
            tr__record of = usual(300, claims[c]), record;
            size_t used, head = tr__wire_put(bytes, &of);
            memset(bytes + head, 'x', length);
            head = tr__wire_resize(bytes, head, claims[c], length);
            assert_int_equal(TR_OK, tr__wire_get(bytes, head + length, &record, &used, NULL));
            assert_int_equal(used, head + length);
            assert_int_equal(record.length, length);
            assert_ptr_equal(record.body, bytes + head);
            for (size_t i = 0; i < length; i++)
                assert_int_equal(record.body[i], 'x');
        }
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
        cmocka_unit_test(what_is_put_alike_is_got_by_either_way),
        cmocka_unit_test(one_to_another_actor_is_not_alike),
        cmocka_unit_test(any_bytes_that_pass_as_alike_say_the_same_by_the_long_way),
        cmocka_unit_test(a_length_in_a_longer_form_is_no_part_of_the_head),
        cmocka_unit_test(of_heads_that_come_in_turn_only_some_are_kept),
        cmocka_unit_test(a_record_is_made_to_fit_the_body_that_it_got),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
