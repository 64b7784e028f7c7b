/* base/hash.c and base/crc32c.c. FNV's vectors are those of the FNV reference, the CRC's those of RFC 3720.
 */
#include "base/hash.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void fnv1a_gives_its_published_values(void **state)
{
    (void)state;
    assert_int_equal(tr__hash_more(TR__HASH_INIT, "", 0), 0xcbf29ce484222325ull);
    assert_int_equal(tr__hash_more(TR__HASH_INIT, "a", 1), 0xaf63dc4c8601ec8cull);
    assert_int_equal(tr__hash_more(TR__HASH_INIT, "foobar", 6), 0x85944171f73967e8ull);
    assert_int_equal(tr__hash_more(TR__HASH_INIT, "\xff\x80", 2),
                     0xa9a2607b6f6e56aull); /* bytes have no sign */
}

static void the_final_mix_gives_murmurs_values(void **state)
{
    (void)state;
    assert_int_equal(tr__hash_done(0), 0);
    assert_int_equal(tr__hash_done(1), 0xb456bcfc34c2cb2cull);
    assert_int_equal(tr__hash_done(UINT64_MAX), 0x64b5720b4b825f21ull);
}

static void parts_hash_like_the_whole(void **state)
{
    (void)state;
    const char *text = "a name of a type";
    size_t length = strlen(text);
    for (size_t cut = 0; cut <= length; cut++) {
        uint64_t hash = tr__hash_more(TR__HASH_INIT, text, cut);
        hash = tr__hash_more(hash, text + cut, length - cut);
        assert_int_equal(tr__hash_done(hash), tr__hash_text(text));
    }
    assert_int_equal(tr__hash(text, length), tr__hash_text(text));
}

/* Ids travel on the wire: these must never change. */
static void ids_of_names_are_stable(void **state)
{
    (void)state;
    assert_int_equal(tr__hash_text(""), 0xefd01f60ba992926ull);
    assert_int_equal(tr__hash_text("troupe"), 0x304014920bdbb31dull);
}

/* The vectors of the reference, for SipHash-1-3: the key is 00 01 ... 0f, the bytes are 00 01 02 ... */
static void the_secret_hash_gives_published_values_and_hangs_on_its_key(void **state)
{
    (void)state;
    uint8_t key[16], bytes[16], zeros[16] = {0};
    for (int i = 0; i < 16; i++)
        key[i] = bytes[i] = (uint8_t)i;
    uint64_t without = tr__hash_secret(bytes, 15);
    tr__hash_key(key);
    assert_int_equal(tr__hash_secret(bytes, 0), 0xabac0158050fc4dcull);
    assert_int_equal(tr__hash_secret(bytes, 1), 0xc9f49bf37d57ca93ull);
    assert_int_equal(tr__hash_secret(bytes, 8), 0x369095118d299a8eull);
    assert_int_equal(tr__hash_secret(bytes, 15), 0xd320d86d2a519956ull);
    tr__hash_key(zeros);
    assert_int_equal(tr__hash_secret(bytes, 15), without);
}

/* Keys that all fell into one chain of a table without a secret: they spread. */
static void keys_that_somebody_chose_do_not_fall_into_one_place(void **state)
{
    (void)state;
    unsigned places[64] = {0}, most = 0;
    for (uint64_t i = 0; i < 6400; i++) {
        uint64_t key = i << 50;
        unsigned at = (unsigned)tr__hash_secret(&key, sizeof(key)) % 64;
        most = ++places[at] > most ? places[at] : most;
    }
    assert_in_range(most, 100, 160);
}

typedef uint32_t (*crc_fn)(uint32_t crc, const void *bytes, size_t length);
static const crc_fn crc_fns[] = {tr__crc32c, tr__crc32c_by_table};

static void crc32c_gives_its_published_values(void **state)
{
    (void)state;
    unsigned char zeros[32] = {0}, ones[32], up[32], down[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) {
        up[i] = (unsigned char)i;
        down[i] = (unsigned char)(31 - i);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(crc_fns[i](0, "", 0), 0);
        assert_int_equal(crc_fns[i](0, "123456789", 9), 0xe3069283);
        assert_int_equal(crc_fns[i](0, zeros, 32), 0x8a9136aa);
        assert_int_equal(crc_fns[i](0, ones, 32), 0x62a8ab43);
        assert_int_equal(crc_fns[i](0, up, 32), 0x46dd794e);
        assert_int_equal(crc_fns[i](0, down, 32), 0x113fdb5c);
    }
}

static void crc32c_by_instruction_and_by_table_agree_in_any_parts(void **state)
{
    (void)state;
    unsigned char bytes[4000]; /* several times the three lanes that the instruction has side by side */
    tr__random random;
    tr__random_init(&random, 11);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)tr__random_next(&random);
    for (int round = 0; round < 3000; round++) {
        size_t from = tr__random_below(&random, 20);
        size_t length = tr__random_below(&random, sizeof bytes - from + 1);
        size_t cut = tr__random_below(&random, length + 1);
        uint32_t whole = tr__crc32c(0, bytes + from, length);
        assert_int_equal(tr__crc32c_by_table(0, bytes + from, length), whole);
        uint32_t first = tr__crc32c_by_table(0, bytes + from, cut);
        assert_int_equal(tr__crc32c(first, bytes + from + cut, length - cut), whole);
        assert_int_equal(tr__crc32c_by_table(first, bytes + from + cut, length - cut), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fnv1a_gives_its_published_values),
        cmocka_unit_test(the_final_mix_gives_murmurs_values),
        cmocka_unit_test(parts_hash_like_the_whole),
        cmocka_unit_test(ids_of_names_are_stable),
        cmocka_unit_test(the_secret_hash_gives_published_values_and_hangs_on_its_key),
        cmocka_unit_test(keys_that_somebody_chose_do_not_fall_into_one_place),
        cmocka_unit_test(crc32c_gives_its_published_values),
        cmocka_unit_test(crc32c_by_instruction_and_by_table_agree_in_any_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
