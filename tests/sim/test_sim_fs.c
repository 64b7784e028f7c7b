/* A simulated node's disk, and what a crash leaves of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/sim/sim_fs.h"

#define SEEDS 200

static sim_fs fs;
static tr__random random_source;

static void begin(uint64_t seed)
{
    sim_fs_init(&fs);
    tr__random_init(&random_source, seed);
}

static void put(const char *path, const char *text, bool forced)
{
    sim_file *file = sim_fs_make(&fs);
    assert_true(sim_fs_append(file, text, strlen(text)));
    if (forced)
        sim_fs_force(file);
    sim_fs_link(&fs, path, file);
    sim_fs_let_go(file);
}

static bool holds(const char *path, const char *text)
{
    const sim_file *file = sim_fs_find(&fs, path);
    return file && file->bytes.size == strlen(text) && memcmp(file->bytes.data, text, strlen(text)) == 0;
}

static void what_was_forced_survives_each_crash(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin(seed);
        put("a", "forced", true);
        sim_fs_force_names(&fs);
        sim_fs_crash(&fs, &random_source);
        sim_fs_crash(&fs, &random_source);
        assert_true(holds("a", "forced"));
        sim_fs_fini(&fs);
    }
}

static void of_what_was_not_forced_some_stays_and_some_is_zeros(void **state)
{
    unsigned whole = 0, none = 0, shorter = 0, torn = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin(seed);
        put("a", "12", true);
        sim_fs_force_names(&fs);
        assert_true(sim_fs_append(sim_fs_find(&fs, "a"), "345678", 6));
        sim_fs_crash(&fs, &random_source);
        const sim_file *file = sim_fs_find(&fs, "a");
        assert_non_null(file);
        assert_in_range(file->bytes.size, 2, 8);
        size_t right = 0;
        while (right < file->bytes.size && file->bytes.data[right] == "12345678"[right])
            right++;
        assert_true(right >= 2);
        for (size_t i = right; i < file->bytes.size; i++)
            assert_int_equal(file->bytes.data[i], 0);
        whole += right == 8;
        none += file->bytes.size == 2;
        shorter += file->bytes.size < 8;
        torn += right < file->bytes.size;
        assert_int_equal(fs.used, file->bytes.size);
        sim_fs_fini(&fs);
        assert_int_equal(fs.used, 0);
    }
    assert_true(whole && none && shorter && torn);
}

/* Each change of names stays only if all before it do, and whole. */
static void changes_of_names_stay_from_the_first_on(void **state)
{
    unsigned seen[4] = {0};
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin(seed);
        put("old", "1", true);
        put("new.part", "2", true);
        sim_fs_force_names(&fs);
        sim_fs_rename(&fs, "new.part", "old");
        sim_fs_unlink(&fs, "nothing");
        put("later", "3", true);
        put("last", "4", true);
        assert_true(holds("old", "2") && !sim_fs_find(&fs, "new.part"));
        sim_fs_crash(&fs, &random_source);
        bool renamed = holds("old", "2");
        assert_true(renamed || holds("old", "1"));
        assert_int_equal(holds("new.part", "2"), !renamed);
        unsigned later = holds("later", "3"), last = holds("last", "4");
        assert_true(renamed >= later && later >= last);
        seen[renamed + later + last]++;
        sim_fs_fini(&fs);
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
}

static void a_full_disk_takes_what_fits_and_has_room_again(void **state)
{
    (void)state;
    begin(1);
    fs.capacity = 10;
    put("a", "123456", false);
    sim_file *file = sim_fs_find(&fs, "a");
    assert_false(sim_fs_append(file, "789012", 6));
    assert_true(holds("a", "1234567890"));
    sim_fs_cut(file, 2);
    assert_true(sim_fs_append(file, "789012", 6));
    sim_fs_unlink(&fs, "a");
    sim_fs_force_names(&fs);
    assert_int_equal(fs.used, 0);
    sim_fs_fini(&fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_forced_survives_each_crash),
        cmocka_unit_test(of_what_was_not_forced_some_stays_and_some_is_zeros),
        cmocka_unit_test(changes_of_names_stay_from_the_first_on),
        cmocka_unit_test(a_full_disk_takes_what_fits_and_has_room_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
