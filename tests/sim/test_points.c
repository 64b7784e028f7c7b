/* Fault points and planted bugs: whose library has them, and that whoever is to decide is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buggify.h"
#include "base/plant.h"
#include "tests/kit/manual_pair.h"
#include "transport/splitter.h"

/* ---- names --------------------------------------------------------------------------------------------- */

static void every_name_is_there_once(void **state)
{
    static const char *const names[] = {
#define TR__POINT_WORD(name, what)           #name,
#define TR__PLANT_WORD(name, property, what) #name,
        TR__BUGGIFY_POINTS(TR__POINT_WORD) TR__PLANTED_BUGS(TR__PLANT_WORD)};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(names); i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
}

static void every_planted_bug_breaks_a_property_that_there_is(void **state)
{
    static const char properties[] =
        " order at_most_once confirmed down stale sums supervisor bound leak liveness tx_atomic "
        "tx_durable tx_order tx_locks tx_lost tx_resolve tx_emits tx_version ";
    static const char *const broken[] = {
#define TR__PROPERTY(name, property, what) " " #property " ",
        TR__PLANTED_BUGS(TR__PROPERTY)};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(broken); i++)
        assert_non_null(strstr(properties, broken[i]));
}

/* ---- libraries ----------------------------------------------------------------------------------------- */

/* Whether that archive, named by the environment, has the word anywhere: its symbols are in it as text. */
static bool archive_has(const char *variable, const char *word)
{
    const char *path = getenv(variable);
    if (!path)
        fail_msg("%s isn't set: run it by ./dev test test_points", variable);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    char *bytes = malloc(size);
    assert_non_null(bytes);
    rewind(file);
    assert_int_equal(fread(bytes, 1, size, file), size);
    fclose(file);
    bool has = memmem(bytes, size, word, strlen(word)) != NULL;
    free(bytes);
    return has;
}

static void what_users_link_has_neither(void **state)
{
    (void)state;
    assert_true(archive_has("TROUPE_LIBRARY", "tr__loop_turn"));
    assert_false(archive_has("TROUPE_LIBRARY", "tr__buggify"));
    assert_false(archive_has("TROUPE_LIBRARY", "tr__plant"));
    assert_true(archive_has("TROUPE_POINTS_LIBRARY", "tr__buggify"));
#ifdef TR_PLANTS
    assert_true(archive_has("TROUPE_POINTS_LIBRARY", "tr__plant"));
#else
    assert_false(archive_has("TROUPE_POINTS_LIBRARY", "tr__plant"));
#endif
}

/* ---- who decides --------------------------------------------------------------------------------------- */

static uint64_t asked[TR__POINT_COUNT];
static tr__buggify_point happens;

static bool decide(tr__buggify_point point)
{
    asked[point]++;
    return point == happens;
}

static int nobody_decides(void **state)
{
    (void)state;
    tr__buggify = NULL;
    memset(asked, 0, sizeof(asked));
    return 0;
}

static size_t room(void)
{
    tr__splitter splitter = {0};
    uint8_t *at;
    size_t room;
    assert_int_equal(tr__splitter_room(&splitter, TR__FRAME_SIZE_NORMAL, &at, &room, NULL), TR_OK);
    tr__splitter_fini(&splitter);
    return room;
}

static void a_point_happens_when_the_one_who_decides_says_so(void **state)
{
    (void)state;
    assert_int_equal(room(), TR__CHUNK_SIZE);
    tr__buggify = decide;
    happens = TR__POINT_COUNT;
    assert_int_equal(room(), TR__CHUNK_SIZE);
    assert_int_equal(asked[TR__POINT_receive_few], 1);
    happens = TR__POINT_receive_few;
    assert_int_equal(room(), 7);
    assert_string_equal(tr__buggify_names[TR__POINT_receive_few], "receive_few");
}

#ifdef TR_PLANTS
static void a_planted_bug_is_there_when_it_was_chosen(void **state)
{
    (void)state;
    assert_false(TR_PLANT(two_swapped));
    assert_false(tr__plant_choose("no_such_bug"));
    assert_true(tr__plant_choose("two_swapped"));
    assert_true(TR_PLANT(two_swapped));
    assert_false(TR_PLANT(held_overtaken));
    assert_string_equal(tr__plants[tr__plant].property, "order");
    assert_true(tr__plant_choose(NULL));
    assert_false(TR_PLANT(two_swapped));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_is_there_once),
        cmocka_unit_test(every_planted_bug_breaks_a_property_that_there_is),
        cmocka_unit_test(what_users_link_has_neither),
        cmocka_unit_test_teardown(a_point_happens_when_the_one_who_decides_says_so, nobody_decides),
#ifdef TR_PLANTS
        cmocka_unit_test(a_planted_bug_is_there_when_it_was_chosen),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
