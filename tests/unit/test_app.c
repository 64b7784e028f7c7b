/* The pure parts of the app kind: entries of the journal at every cut and with every bit changed, the sum over them,
 * and what is acceptable as an app's name and id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/kinds/app_state.h"
#include "base/hash.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

static size_t print(uint8_t *out, uint64_t number, const char *origin, const char *data)
{
    uint8_t digest[TR__DIGEST];
    crypto_hash_sha256(digest, (const uint8_t *)data, strlen(data));
    return tr__entry_print(out, number, origin, digest, data, strlen(data));
}

/* What is wrong with the first `length` bytes of it; NULL: nothing. In a block of exactly that size, so that the address
 * sanitizer sees a read beyond it. */
static const char *read_copy(const uint8_t *from, size_t length, size_t flip_at, uint8_t flip)
{
    tr__entry entry;
    uint8_t *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, from, length);
    if (flip)
        copy[flip_at] ^= flip;
    const char *why = tr__entry_read(copy, length, &entry);
    free(copy);
    return why;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void an_entry_reads_back_as_it_was_printed(void **state)
{
    static const char *const data[] = {"", "x", "line\nline\n3 a1 5"};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(data); i++) {
        uint8_t bytes[512], digest[TR__DIGEST];
        tr__entry entry;
        size_t size = print(bytes, 3 + i, "b1", data[i]);
        assert_true(size <= tr__entry_room(strlen(data[i])));
        assert_null(tr__entry_read(bytes, size, &entry));
        assert_int_equal(3 + i, entry.number);
        assert_string_equal("b1", entry.origin);
        assert_int_equal(strlen(data[i]), entry.size);
        assert_memory_equal(data[i], entry.data, entry.size);
        assert_int_equal(size, entry.whole);
        crypto_hash_sha256(digest, (const uint8_t *)data[i], strlen(data[i]));
        assert_memory_equal(digest, entry.digest, TR__DIGEST);
    }
}

static void no_part_of_an_entry_passes_for_a_whole_one(void **state)
{
    uint8_t bytes[512];
    size_t size = print(bytes, 4, "a1", "somewhat longer than the others, to be cut in many places");
    (void)state;
    for (size_t cut = 0; cut < size; cut++)
        assert_non_null(read_copy(bytes, cut, 0, 0));
    bytes[size] = '\n';
    assert_non_null(read_copy(bytes, size + 1, 0, 0));
}

static void a_changed_bit_anywhere_is_found(void **state)
{
    uint8_t bytes[512];
    size_t size = print(bytes, 4, "a1", "fourth");
    (void)state;
    for (size_t at = 0; at < size; at++)
        for (int bit = 0; bit < 8; bit++)
            assert_non_null(read_copy(bytes, size, at, (uint8_t)(1 << bit)));
}

/* A header with a right checksum and wrong fields, as only a broken program makes it, over the data "x". */
static const char *read_header(const char *fields)
{
    char line[512];
    snprintf(line, sizeof(line), "%s %08x\nx\n", fields, tr__crc32c(0, fields, strlen(fields)));
    return read_copy((const uint8_t *)line, strlen(line), 0, 0);
}

#define HEX "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

static void a_header_of_wrong_fields_is_named(void **state)
{
    (void)state;
    assert_null(read_header("1 a1 1 " HEX));
    assert_string_equal("its number is none", read_header("0 a1 1 " HEX));
    assert_string_equal("its number is none", read_header("01 a1 1 " HEX));
    assert_string_equal("its number is none", read_header("-1 a1 1 " HEX));
    assert_string_equal("its number is none", read_header("99999999999999999999 a1 1 " HEX));
    assert_string_equal("its number is none", read_header("9223372036854775808 a1 1 " HEX));
    assert_string_equal("its origin is none", read_header("1  1 " HEX));
    assert_string_equal("its origin is none", read_header("1 a/1 1 " HEX));
    assert_string_equal("its origin is none", read_header("1 a12345678901234567890123456789012 1 " HEX));
    assert_string_equal("its length is none, or too large", read_header("1 a1 65537 " HEX));
    assert_string_equal("its length is none, or too large", read_header("1 a1 18446744073709551615 " HEX));
    assert_string_equal("its length is none, or too large", read_header("1 a1  " HEX));
    assert_string_equal("its length is another", read_header("1 a1 3 " HEX));
    assert_string_equal("its digest is none", read_header("1 a1 1 " HEX "0"));
    assert_string_equal(
        "its digest is none",
        read_header("1 a1 1 2D711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"));
    assert_string_equal("its digest is none", read_header("1 a1 1 " HEX " more"));
    assert_non_null(read_header(""));
}

static void the_digest_of_a_journal_is_that_of_all_its_bytes(void **state)
{
    uint8_t bytes[1024], want[TR__DIGEST], got[TR__DIGEST];
    tr__journal_sum sum;
    size_t size = 0;
    (void)state;
    tr__journal_sum_init(&sum);
    for (uint64_t i = 1; i <= 3; i++) {
        size_t more = print(bytes + size, i, i == 2 ? "b1" : "a1", "data");
        tr__journal_add(&sum, i != 2, bytes + size, more);
        size += more;
    }
    crypto_hash_sha256(want, bytes, size);
    tr__journal_digest(&sum, got);
    assert_memory_equal(want, got, TR__DIGEST);
    assert_int_equal(3, sum.last);
    assert_int_equal(2, sum.own);
    assert_int_equal(1, sum.other);
}

static void a_peer_needs_a_name_and_an_id_of_its_own(void **state)
{
    tr__app *app = calloc(1, sizeof(*app));
    tr_error error;
    char longer[80];
    (void)state;
    strcpy(app->id, "a1");
    assert_int_equal(TR_OK, tr__app_peer_check(app, "bob", "b1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(app, "", "b1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(app, "b\nob", "b1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(app, "bob", "", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(app, "bob", "b 1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(app, "bob", "a1", &error));
    memset(longer, 'x', sizeof(longer));
    longer[64] = '\0';
    assert_int_equal(TR_EINVAL, tr__app_peer_check(app, longer, "b1", &error));
    longer[63] = '\0';
    assert_int_equal(TR_OK, tr__app_peer_check(app, longer, "b1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(app, "bob", longer, &error));
    free(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_reads_back_as_it_was_printed),
        cmocka_unit_test(no_part_of_an_entry_passes_for_a_whole_one),
        cmocka_unit_test(a_changed_bit_anywhere_is_found),
        cmocka_unit_test(a_header_of_wrong_fields_is_named),
        cmocka_unit_test(the_digest_of_a_journal_is_that_of_all_its_bytes),
        cmocka_unit_test(a_peer_needs_a_name_and_an_id_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
