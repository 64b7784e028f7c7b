/* The pure parts of the app kind: entries of the journal at every cut and with every byte changed, the sum
 * over them, and the check of a batch that a peer sent. */
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

/* ---- fixture ------------------------------------------------------------------------------------------- */

static uint8_t bytes[4096];
static size_t sizes[5]; /* where each entry ends */
static size_t size;

static size_t print(uint8_t *out, uint64_t number, const char *origin, const char *data)
{
    uint8_t digest[TR__DIGEST];
    crypto_hash_sha256(digest, (const uint8_t *)data, strlen(data));
    return tr__entry_print(out, number, origin, digest, data, strlen(data));
}

static int fill(void **state)
{
    (void)state;
    size = 0;
    sizes[0] = size += print(bytes, 1, "a1", "first");
    sizes[1] = size += print(bytes + size, 2, "b1", "");
    sizes[2] = size += print(bytes + size, 3, "b1", "line\nline\n3 a1 5");
    sizes[3] = size +=
        print(bytes + size, 4, "a1", "fourth, somewhat longer than the others, to be cut in many places");
    return 0;
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

/* Take all that can be taken; returns how many bytes. */
static size_t take_all(tr__journal_sum *sum, const uint8_t *from, size_t length, bool end, tr_err *err,
                       tr_error *error)
{
    size_t done = 0, used = 1;
    *err = TR_OK;
    tr__journal_sum_init(sum, "a1");
    while (*err == TR_OK && used > 0 && done < length) {
        *err = tr__journal_take(sum, from + done, length - done, end, &used, error);
        done += *err == TR_OK ? used : 0;
    }
    return done;
}

/* In a block of exactly that size, so that the address sanitizer sees a read beyond it. */
static uint8_t *copy_of(const uint8_t *from, size_t length)
{
    uint8_t *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, from, length);
    return copy;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void an_entry_reads_back_as_it_was_written(void **state)
{
    tr__entry entry;
    const char *why;
    (void)state;
    assert_int_equal(TR__ENTRY_WHOLE, tr__entry_parse(bytes + sizes[1], size - sizes[1], &entry, &why));
    assert_int_equal(3, entry.number);
    assert_string_equal("b1", entry.origin);
    assert_int_equal(16, entry.size);
    assert_memory_equal("line\nline\n3 a1 5", entry.data, 16);
    assert_int_equal(sizes[2] - sizes[1], entry.whole);
    assert_true(tr__entry_right(&entry));
}

static void the_digest_is_that_of_the_bytes(void **state)
{
    tr__journal_sum sum;
    tr_error error;
    tr_err err;
    uint8_t want[TR__DIGEST], got[TR__DIGEST];
    (void)state;
    assert_int_equal(size, take_all(&sum, bytes, size, true, &err, &error));
    crypto_hash_sha256(want, bytes, size);
    tr__journal_digest(&sum, got);
    assert_memory_equal(want, got, TR__DIGEST);
    assert_int_equal(4, sum.last);
    assert_int_equal(2, sum.own);
    assert_int_equal(2, sum.other);
}

static void a_journal_cut_anywhere_gives_the_whole_entries_before(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t *copy = copy_of(bytes, cut);
        tr__journal_sum sum;
        tr_error error;
        tr_err err;
        size_t want = 0;
        for (int i = 0; i < 4; i++)
            want = sizes[i] <= cut ? sizes[i] : want;
        assert_int_equal(want, take_all(&sum, copy, cut, true, &err, &error));
        assert_int_equal(TR_OK, err);
        assert_int_equal(want, sum.size);
        free(copy);
    }
}

/* The promise: a wrong byte before the last entry is never silently cut away, and never accepted. */
static void a_wrong_byte_anywhere_is_found(void **state)
{
    (void)state;
    for (size_t at = 0; at < size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t *copy = copy_of(bytes, size);
            copy[at] ^= (uint8_t)(1 << bit);
            tr__journal_sum sum;
            tr_error error;
            tr_err err;
            size_t done = take_all(&sum, copy, size, true, &err, &error);
            assert_true(done < size);
            if (at < sizes[2])
                assert_int_equal(TR_EMISMATCH, err);
            free(copy);
        }
    }
}

static void a_last_entry_whose_data_never_reached_the_disk_is_torn(void **state)
{
    tr__journal_sum sum;
    tr_error error;
    tr_err err;
    (void)state;
    memset(bytes + size - 10, 0, 10);
    assert_int_equal(sizes[2], take_all(&sum, bytes, size, true, &err, &error));
    assert_int_equal(TR_OK, err);
    take_all(&sum, bytes, size, false, &err, &error);
    assert_int_equal(TR_EMISMATCH, err); /* it is not torn if something follows */
}

static void numbers_have_no_gap(void **state)
{
    tr__journal_sum sum;
    tr_error error;
    tr_err err;
    (void)state;
    memmove(bytes + sizes[0], bytes + sizes[1], size - sizes[1]);
    take_all(&sum, bytes, size - (sizes[1] - sizes[0]), true, &err, &error);
    assert_int_equal(TR_EMISMATCH, err);
    assert_string_equal("entry 3 follows entry 1", error.text);
}

/* A header with a right checksum and wrong fields, as only a broken peer makes it. */
static tr__entry_found parse_header(const char *fields)
{
    char line[512];
    tr__entry entry;
    const char *why = NULL;
    snprintf(line, sizeof(line), "%s %08x\nx\n", fields, tr__crc32c(0, fields, strlen(fields)));
    tr__entry_found found = tr__entry_parse((uint8_t *)line, strlen(line), &entry, &why);
    assert_true((found == TR__ENTRY_BAD) == (why != NULL));
    return found;
}

#define HEX "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

static void a_header_of_wrong_fields_is_bad(void **state)
{
    (void)state;
    assert_int_equal(TR__ENTRY_WHOLE, parse_header("1 a1 1 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("0 a1 1 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("01 a1 1 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("-1 a1 1 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("99999999999999999999 a1 1 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("9223372036854775808 a1 1 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("1  1 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("1 a/1 1 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("1 a12345678901234567890123456789012 1 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("1 a1 65537 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("1 a1 18446744073709551615 " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("1 a1  " HEX));
    assert_int_equal(TR__ENTRY_BAD, parse_header("1 a1 1 " HEX "0"));
    assert_int_equal(TR__ENTRY_BAD,
                     parse_header("1 a1 1 2D711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"));
    assert_int_equal(TR__ENTRY_BAD, parse_header("1 a1 1 " HEX " more"));
    assert_int_equal(TR__ENTRY_BAD, parse_header(""));
    assert_int_equal(TR__ENTRY_SHORT, parse_header("1 a1 3 " HEX));
}

static void a_batch_of_any_cut_is_whole_or_refused(void **state)
{
    uint8_t(*digests)[TR__DIGEST] = malloc(TR__APP_BATCH_COUNT * TR__DIGEST);
    (void)state;
    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t *copy = copy_of(bytes, cut);
        tr_error error;
        size_t count;
        bool whole = cut == sizes[0] || cut == sizes[1] || cut == sizes[2] || cut == sizes[3];
        tr_err err = tr__app_batch_check((tr_bytes){copy, cut}, 1, &count, digests, &error);
        assert_int_equal(whole ? TR_OK : TR_EPROTO, err);
        free(copy);
    }
    free(digests);
}

static void a_batch_names_the_item_that_is_wrong(void **state)
{
    uint8_t(*digests)[TR__DIGEST] = malloc(TR__APP_BATCH_COUNT * TR__DIGEST);
    tr_error error;
    size_t count;
    (void)state;
    bytes[sizes[2] - 3] ^= 1;
    assert_int_equal(TR_EMISMATCH, tr__app_batch_check((tr_bytes){bytes, size}, 1, &count, digests, &error));
    assert_non_null(strstr(error.text, "item 3 came with other bytes"));
    assert_int_equal(TR_EPROTO, tr__app_batch_check((tr_bytes){bytes, size}, 2, &count, digests, &error));
    assert_string_equal("item 1 came where item 2 was due", error.text);
    assert_int_equal(TR_EPROTO,
                     tr__app_batch_check((tr_bytes){bytes, TR__BATCH_MAX + 1}, 1, &count, digests, &error));
    free(digests);
}

/* As many of the smallest entries as a batch can hold: the arrays for their digests are large enough. */
static void the_smallest_entries_fit_the_count_of_a_batch(void **state)
{
    uint8_t *batch = malloc(TR__BATCH_MAX + 1024),
            (*digests)[TR__DIGEST] = malloc(TR__APP_BATCH_COUNT * TR__DIGEST);
    tr_error error;
    size_t used = 0, count, next;
    uint64_t number = 0;
    (void)state;
    while ((next = print(batch + used, number + 1, "a", "")) + used <= TR__BATCH_MAX) {
        used += next;
        number++;
    }
    assert_int_equal(TR_OK, tr__app_batch_check((tr_bytes){batch, used}, 1, &count, digests, &error));
    assert_int_equal(number, count);
    free(batch);
    free(digests);
}

static void a_peer_needs_a_name_and_an_id_of_its_own(void **state)
{
    tr__app app = {.id = "a1"};
    tr_error error;
    (void)state;
    assert_int_equal(TR_OK, tr__app_peer_check(&app, "bob", "b1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(&app, "", "b1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(&app, "b\nob", "b1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(&app, "bob", "", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(&app, "bob", "b 1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(&app, "bob", "a1", &error));
    char longer[80];
    memset(longer, 'x', sizeof(longer));
    longer[64] = '\0';
    assert_int_equal(TR_EINVAL, tr__app_peer_check(&app, longer, "b1", &error));
    longer[63] = '\0';
    assert_int_equal(TR_OK, tr__app_peer_check(&app, longer, "b1", &error));
    assert_int_equal(TR_EINVAL, tr__app_peer_check(&app, "bob", longer, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_entry_reads_back_as_it_was_written, fill),
        cmocka_unit_test_setup(the_digest_is_that_of_the_bytes, fill),
        cmocka_unit_test_setup(a_journal_cut_anywhere_gives_the_whole_entries_before, fill),
        cmocka_unit_test_setup(a_wrong_byte_anywhere_is_found, fill),
        cmocka_unit_test_setup(a_last_entry_whose_data_never_reached_the_disk_is_torn, fill),
        cmocka_unit_test_setup(numbers_have_no_gap, fill),
        cmocka_unit_test(a_header_of_wrong_fields_is_bad),
        cmocka_unit_test_setup(a_batch_of_any_cut_is_whole_or_refused, fill),
        cmocka_unit_test_setup(a_batch_names_the_item_that_is_wrong, fill),
        cmocka_unit_test(the_smallest_entries_fit_the_count_of_a_batch),
        cmocka_unit_test(a_peer_needs_a_name_and_an_id_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
