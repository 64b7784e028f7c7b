/* The plain parts of transactions: bytes and ids (frame.h), keys and values (store.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/store.h"
#include "base/random.h"

/* ---- bytes --------------------------------------------------------------------------------------------- */

static void numbers_and_bytes_read_back(void **state)
{
    static const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    tr__tx_buffer buffer = {0};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(numbers); i++)
        tr__tx_put_number(&buffer, numbers[i]);
    tr__tx_put_bytes(&buffer, "", 0);
    tr__tx_put_text(&buffer, "alice");
    tr__tx_reader reader = {buffer.bytes, buffer.bytes + buffer.length, false};
    for (size_t i = 0; i < TR_COUNT(numbers); i++)
        assert_int_equal(tr__tx_get_number(&reader), numbers[i]);
    assert_int_equal(tr__tx_get_bytes(&reader).size, 0);
    char text[6];
    tr__tx_get_text(&reader, text, sizeof(text));
    assert_string_equal(text, "alice");
    assert_true(tr__tx_read_all(&reader));
    tr__tx_buffer_free(&buffer);
}

static void what_was_cut_or_claims_too_much_fails(void **state)
{
    (void)state;
    static const uint8_t claims[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 'a'};
    static const uint8_t overlong[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02};
    tr__tx_reader reader = {claims, claims + sizeof(claims), false};
    assert_int_equal(tr__tx_get_bytes(&reader).size, 0);
    assert_true(reader.failed);
    reader = (tr__tx_reader){overlong, overlong + sizeof(overlong), false};
    tr__tx_get_number(&reader);
    assert_true(reader.failed);
    reader = (tr__tx_reader){claims, claims + 2, false};
    tr__tx_get_number(&reader);
    assert_true(reader.failed);
    assert_false(tr__tx_read_all(&reader));
}

static void a_text_with_a_nul_or_too_long_fails(void **state)
{
    (void)state;
    static const uint8_t nul[] = {3, 'a', 0, 'b'}, longer[] = {4, 'a', 'b', 'c', 'd'};
    char text[4] = "x";
    tr__tx_reader reader = {nul, nul + sizeof(nul), false};
    tr__tx_get_text(&reader, text, sizeof(text));
    assert_true(reader.failed);
    assert_string_equal(text, "");
    reader = (tr__tx_reader){longer, longer + sizeof(longer), false};
    tr__tx_get_text(&reader, text, sizeof(text));
    assert_true(reader.failed);
}

static void parties_read_back_and_damaged_ones_are_refused(void **state)
{
    (void)state;
    tr__tx_party parties[2] = {{"alice", "account", 7, 1, 2}, {"bob", "account", 9, 0, 1}};
    tr__tx_party out[TR_TX_PARTICIPANTS_MAX];
    tr__tx_buffer buffer = {0};
    uint32_t count;
    tr__tx_put_parties(&buffer, parties, 2);
    assert_true(tr__tx_get_parties((tr_bytes){buffer.bytes, buffer.length}, out, &count));
    assert_int_equal(count, 2);
    assert_string_equal(out[1].node, "bob");
    assert_int_equal(out[0].writes, 2);
    for (size_t length = 0; length < buffer.length; length++)
        assert_false(tr__tx_get_parties((tr_bytes){buffer.bytes, length}, out, &count));
    tr__random random;
    tr__random_init(&random, 1);
    for (int i = 0; i < 20000; i++) { /* anything: no crash, and no more than there is room for */
        buffer.bytes[tr__random_below(&random, buffer.length)] = (uint8_t)tr__random_next(&random);
        if (tr__tx_get_parties((tr_bytes){buffer.bytes, buffer.length}, out, &count))
            assert_in_range(count, 1, TR_TX_PARTICIPANTS_MAX);
    }
    tr__tx_buffer_free(&buffer);
}

/* ---- ids ----------------------------------------------------------------------------------------------- */

static void an_id_is_the_same_as_text_and_back(void **state)
{
    (void)state;
    tr__random random;
    tr__random_init(&random, 2);
    for (int i = 0; i < 1000; i++) {
        char text[TR_TX_ID_TEXT];
        tr_tx_id back, id = tr__tx_id_make(tr__random_next(&random) >> 16, tr__random_next(&random),
                                           tr__random_next(&random));
        assert_true(tr__tx_id_parse(tr__tx_id_format(&id, text), &back));
        assert_memory_equal(&id, &back, sizeof(id));
    }
}

static void ids_sort_by_time_as_text(void **state)
{
    (void)state;
    char early[TR_TX_ID_TEXT], late[TR_TX_ID_TEXT];
    tr_tx_id a = tr__tx_id_make(1700000000000, UINT64_MAX, UINT64_MAX),
             b = tr__tx_id_make(1700000000001, 0, 0);
    assert_true(strcmp(tr__tx_id_format(&a, early), tr__tx_id_format(&b, late)) < 0);
    assert_int_equal(tr__tx_id_ms(&b), 1700000000001);
}

static void only_whole_tickets_are_read(void **state)
{
    (void)state;
    uint8_t log[TR__LOG_ID_BYTES] = {1, 2, 0xff}, log_back[TR__LOG_ID_BYTES];
    char ticket[TR_TX_TICKET_MAX], node[TR_NAME_MAX];
    tr_tx_id back, id = tr__tx_id_make(1700000000000, 3, 4);
    tr__tx_ticket_format(&id, "alice", log, ticket);
    assert_true(tr__tx_ticket_parse(ticket, &back, node, log_back));
    assert_memory_equal(&id, &back, sizeof(id));
    assert_string_equal(node, "alice");
    assert_memory_equal(log, log_back, sizeof(log));
    for (size_t length = strlen(ticket); length-- > 0;) {
        ticket[length] = '\0';
        assert_false(tr__tx_ticket_parse(ticket, &back, node, log_back));
    }
    assert_false(tr__tx_ticket_parse("not a ticket", &back, node, log_back));
}

/* ---- the store ----------------------------------------------------------------------------------------- */

static void put(tr_txview *view, const char *key, const char *value)
{
    assert_int_equal(TR_OK, tr__view_write(view, key, strlen(key), value, value ? strlen(value) : 0));
}

static void assert_value(const tr__kv *kv, const char *value)
{
    assert_non_null(kv);
    assert_string_equal(tr__kv_value(kv), value);
}

static void a_view_is_on_top_and_leaves_what_is_committed_alone(void **state)
{
    (void)state;
    tr__store store = {0};
    tr_txview view = {.store = &store}, other = {.store = &store};
    put(&view, "a", "1");
    put(&view, "b", "2");
    assert_null(tr__store_get(&store, "a", 1));
    assert_value(tr__view_find(&view, "a", 1), "1");
    assert_null(tr__view_find(&other, "a", 1));
    assert_true(tr__store_apply(&store, &view));
    assert_value(tr__view_find(&other, "a", 1), "1");
    put(&other, "a", NULL);
    put(&other, "b", "3");
    assert_null(tr__view_find(&other, "a", 1));
    assert_value(tr__store_get(&store, "a", 1), "1");
    tr__view_clear(&other); /* an abort is no more than this */
    assert_value(tr__view_find(&other, "b", 1), "2");
    tr__store_fini(&store);
}

static void redo_is_the_same_view_again(void **state)
{
    (void)state;
    tr__store store = {0};
    tr_txview view = {.store = &store}, again = {.store = &store};
    tr__tx_buffer redo = {0};
    put(&view, "gone", NULL);
    put(&view, "empty", "");
    put(&view, "key", "old");
    put(&view, "key", "new");
    tr__view_put_redo(&view, &redo);
    assert_int_equal(TR_OK, tr__view_get_redo(&again, (tr_bytes){redo.bytes, redo.length}));
    assert_value(tr__view_find(&again, "key", 3), "new");
    assert_value(tr__view_find(&again, "empty", 5), "");
    assert_null(tr__view_find(&again, "gone", 4));
    for (size_t length = 1; length < redo.length; length++) { /* cut: an error, or a shorter list; no crash */
        tr_txview cut = {.store = &store};
        tr__view_get_redo(&cut, (tr_bytes){redo.bytes, length});
        tr__view_clear(&cut);
    }
    tr__tx_buffer_free(&redo);
    tr__view_clear(&view);
    tr__view_clear(&again);
}

static void what_is_written_is_bounded(void **state)
{
    (void)state;
    tr__store store = {0};
    tr_txview view = {.store = &store};
    char key[TR_TX_KEY_MAX + 2] = {0};
    char *large = calloc(1, TR_TX_REDO_MAX);
    memset(key, 'k', TR_TX_KEY_MAX + 1);
    assert_int_equal(TR_ETOOBIG, tr__view_write(&view, key, TR_TX_KEY_MAX + 1, "", 0));
    assert_int_equal(TR_ETOOBIG, tr__view_write(&view, key, 0, "", 0));
    assert_int_equal(TR_OK, tr__view_write(&view, key, TR_TX_KEY_MAX, "", 0));
    assert_int_equal(TR_ETOOBIG, tr__view_write(&view, "a", 1, large, TR_TX_REDO_MAX));
    assert_int_equal(TR_OK, tr__view_write(&view, "a", 1, large, TR_TX_REDO_MAX / 2));
    assert_int_equal(TR_OK, tr__view_write(&view, "a", 1, large, TR_TX_REDO_MAX / 2)); /* in its own place */
    assert_int_equal(TR_ETOOBIG, tr__view_write(&view, "b", 1, large, TR_TX_REDO_MAX / 2));
    tr__view_clear(&view);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_bytes_read_back),
        cmocka_unit_test(what_was_cut_or_claims_too_much_fails),
        cmocka_unit_test(a_text_with_a_nul_or_too_long_fails),
        cmocka_unit_test(parties_read_back_and_damaged_ones_are_refused),
        cmocka_unit_test(an_id_is_the_same_as_text_and_back),
        cmocka_unit_test(ids_sort_by_time_as_text),
        cmocka_unit_test(only_whole_tickets_are_read),
        cmocka_unit_test(a_view_is_on_top_and_leaves_what_is_committed_alone),
        cmocka_unit_test(redo_is_the_same_view_again),
        cmocka_unit_test(what_is_written_is_bounded),
    };
    return cmocka_run_group_tests_name("tx_parts", tests, NULL, NULL);
}
