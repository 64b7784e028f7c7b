/* mailbox/type.c: the registry, and self-contained copies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mailbox/type.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

TR_MESSAGE(nothing)
TR_MESSAGE(greet, (string, name), (u32, times))
TR_MESSAGE(greet_again, TR_WRITES, (string, name))
TR_MESSAGE(numbers, (bool, flag), (i32, a), (i64, b), (u32, c), (u64, d), (f64, e), (addr, who))
TR_MESSAGE(parcel, (string, label), (bytes, content), (u64, number), (bytes, more))
TR_MESSAGE(twenty, (u32, a), (u32, b), (u32, c), (u32, d), (u32, e), (u32, f), (u32, g), (u32, h), (u32, i),
           (u32, j), (string, k), (bytes, l), (addr, m), (bool, n), (i32, o), (i64, p), (u64, q), (f64, r),
           (string, s), (u32, t))

static void a_type_is_described_as_declared(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&greet_type);
    assert_string_equal(info->name, "greet");
    assert_int_equal(info->count, 2);
    assert_int_equal(info->size, sizeof(greet));
    assert_int_equal(info->inline_count, 1);
    assert_string_equal(info->fields[0].name, "name");
    assert_int_equal(info->fields[0].kind, TR_KIND_string);
    assert_string_equal(info->fields[1].name, "times");
    assert_int_equal(info->fields[1].kind, TR_KIND_u32);
    assert_int_equal(info->fields[1].offset, offsetof(greet, times));
    assert_int_equal(info->fields[2].kind, TR_KIND_END);
    assert_string_equal(tr__kind_word(TR_KIND_u32), "u32");
    assert_string_equal(tr__kind_word(TR_KIND_END), "unknown");
    assert_string_equal(tr__kind_word(1000), "unknown");
    assert_int_equal(tr__type_of(&numbers_type)->fields[0].kind, TR_KIND_bool);
    assert_int_equal(tr__type_of(&nothing_type)->count, 0);
    assert_int_equal(tr__type_of(&twenty_type)->count, 20);
    assert_ptr_equal(tr__type_of(&greet_type), info);
}

/* Ids are on the wire: the hashes may never change. */
static void ids_and_fingerprints_are_what_they_always_were(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&greet_type);
    assert_int_equal(info->id, 0x18bc8abe98497e07ull);
    assert_string_equal(info->schema, "greet(string name,u32 times)");
    assert_int_equal(info->fingerprint, 0xdcb8d53ee75c22ebull);
}

static tr_type declared(const char *name, const tr_field *fields, uint32_t size)
{
    return (tr_type){name, fields, size, 0, NULL};
}

static void the_same_declaration_in_two_places_is_one_type(void **state)
{
    (void)state;
    char name[] = "greet", field[] = "name"; /* a plugin's own copy */
    tr_field fields[] = {{field, TR_KIND_string, offsetof(greet, name)},
                         {"times", TR_KIND_u32, offsetof(greet, times)},
                         {NULL, TR_KIND_END, 0}};
    tr_type other = declared(name, fields, sizeof(greet));
    const tr_typeinfo *info = tr__type_of(&other);
    assert_ptr_equal(info, tr__type_of(&greet_type));
    memset(name, 'x', 5);
    memset(field, 'x', 4);
    memset(fields, 0xff, sizeof fields);
    assert_string_equal(info->name, "greet");
    assert_string_equal(info->fields[0].name, "name");
}

static void other_fields_under_the_same_name_are_another_type(void **state)
{
    (void)state;
    const tr_typeinfo *first = tr__type_of(&greet_type);
    const tr_field renamed[] = {
        {"name", TR_KIND_string, 0}, {"count", TR_KIND_u32, 8}, {NULL, TR_KIND_END, 0}};
    const tr_field rekinded[] = {
        {"name", TR_KIND_string, 0}, {"times", TR_KIND_i32, 8}, {NULL, TR_KIND_END, 0}};
    const tr_field shorter[] = {{"name", TR_KIND_string, 0}, {NULL, TR_KIND_END, 0}};
    const tr_field swapped[] = {
        {"times", TR_KIND_u32, 0}, {"name", TR_KIND_string, 8}, {NULL, TR_KIND_END, 0}};
    const tr_field *const variants[] = {renamed, rekinded, shorter, swapped};
    const tr_typeinfo *infos[4];
    for (int i = 0; i < 4; i++) {
        tr_type type = declared("greet", variants[i], sizeof(greet));
        infos[i] = tr__type_of(&type);
        assert_ptr_not_equal(infos[i], first);
        assert_int_equal(infos[i]->id, first->id);
        assert_int_not_equal(infos[i]->fingerprint, first->fingerprint);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(infos[i]->fingerprint, infos[j]->fingerprint);
        assert_ptr_equal(tr__type_find(first->id, infos[i]->fingerprint), infos[i]);
    }
    assert_ptr_equal(tr__type_find(first->id, first->fingerprint), first);
    assert_ptr_equal(tr__type_find(first->id, 0), first);
    assert_ptr_equal(tr__type_find_name("greet"), first);
}

static void a_flag_is_no_part_of_the_schema(void **state)
{
    (void)state;
    tr_type plain = {"greet_again", greet_again_fields, sizeof(greet_again), 0, NULL};
    assert_int_equal(TR_WRITES, greet_again_type.flags);
    assert_int_equal(0, greet_type.flags);
    assert_int_equal(1, tr__type_of(&greet_again_type)->count);
    assert_ptr_equal(tr__type_of(&greet_again_type), tr__type_of(&plain));
}

static void names_that_meet_at_the_seams_are_told_apart(void **state)
{
    (void)state;
    const tr_field one[] = {{"ab", TR_KIND_u32, 0}, {"c", TR_KIND_u32, 4}, {NULL, TR_KIND_END, 0}};
    const tr_field two[] = {{"a", TR_KIND_u32, 0}, {"bc", TR_KIND_u32, 4}, {NULL, TR_KIND_END, 0}};
    tr_type first = declared("seams", one, 8), second = declared("seams", two, 8);
    assert_int_not_equal(tr__type_of(&first)->fingerprint, tr__type_of(&second)->fingerprint);
}

static void what_is_not_registered_is_not_found(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&greet_type);
    assert_null(tr__type_find(info->id + 1, 0));
    assert_null(tr__type_find(info->id, info->fingerprint + 1));
    assert_null(tr__type_find_name("gree"));
}

static void without_memory_a_type_is_registered_at_the_next_use(void **state)
{
    (void)state;
    const tr_field fields[] = {{"n", TR_KIND_u64, 0}, {NULL, TR_KIND_END, 0}};
    tr_type type = declared("unlucky", fields, 8);
    tr__alloc_fail_at(1);
    assert_null(tr__type_of(&type));
    tr__alloc_fail_at(0);
    assert_null(tr__type_find_name("unlucky"));
    assert_non_null(tr__type_of(&type));
}

/* ---- threads ------------------------------------------------------------------------------------------- */

enum { THREADS = 4, TYPES = 300 };
static char type_names[TYPES][24];
static const tr_field one_field[] = {{"n", TR_KIND_u64, 0}, {NULL, TR_KIND_END, 0}};
static tr_type shared_types[TYPES];
static const tr_typeinfo *seen[THREADS][TYPES];
static pthread_barrier_t start;

static void *register_all(void *arg)
{
    int me = (int)(intptr_t)arg;
    pthread_barrier_wait(&start);
    for (int i = 0; i < TYPES; i++) {
        tr_type own = declared(type_names[i], one_field, 8);
        const tr_typeinfo *info = tr__type_of(i % 2 ? &own : &shared_types[i]);
        const tr_typeinfo *found = tr__type_find_name(type_names[i]);
        seen[me][i] = found == info && tr__type_find(info->id, info->fingerprint) == info ? info : NULL;
    }
    return NULL;
}

static void four_threads_at_once_agree(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < TYPES; i++) {
        snprintf(type_names[i], sizeof type_names[i], "threaded%d", i);
        shared_types[i] = declared(type_names[i], one_field, 8);
    }
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, register_all, (void *)(intptr_t)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
    for (int i = 0; i < TYPES; i++) {
        assert_non_null(seen[0][i]);
        assert_string_equal(seen[0][i]->name, type_names[i]);
        for (int t = 1; t < THREADS; t++)
            assert_ptr_equal(seen[t][i], seen[0][i]);
    }
}

/* ---- bodies -------------------------------------------------------------------------------------------- */

static void a_copy_stands_alone(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&parcel_type);
    char label[] = "fragile";
    uint8_t content[] = {1, 2, 0, 4};
    parcel from = {.label = label, .content = {content, sizeof content}, .number = 77};
    size_t size = tr__body_size(info, &from);
    assert_int_equal(size, sizeof(parcel) + 8 + 4);
    parcel *copy = tr__alloc(size);
    tr__body_copy(info, copy, &from);
    memset(label, 'x', 7);
    memset(content, 9, sizeof content);
    memset(&from, 0xff, sizeof from);
    assert_string_equal(copy->label, "fragile");
    assert_int_equal(copy->content.size, 4);
    assert_memory_equal(copy->content.data, "\1\2\0\4", 4);
    assert_int_equal(copy->number, 77);
    assert_int_equal(copy->more.size, 0);
    assert_non_null(copy->more.data);
    assert_true((const char *)copy->label > (char *)copy && (const char *)copy->label < (char *)copy + size);
    assert_int_equal(tr__body_size(info, copy), size);
    tr__free(copy);
}

static void a_missing_string_is_copied_as_an_empty_one(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&greet_type);
    greet from = {.times = 3};
    size_t size = tr__body_size(info, &from);
    assert_int_equal(size, sizeof(greet) + 1);
    greet *copy = tr__alloc(size);
    tr__body_copy(info, copy, &from);
    assert_string_equal(copy->name, "");
    assert_int_equal(copy->times, 3);
    tr__free(copy);
}

static void a_type_without_fields_has_an_empty_body(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&nothing_type);
    nothing from;
    assert_int_equal(tr__body_size(info, &from), 0);
    tr__body_copy(info, &from, &from);
}

static void a_body_beyond_the_limit_has_no_size(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&parcel_type);
    const size_t too_much[][2] = {{TR__BODY_MAX, 0},
                                  {TR__BODY_MAX / 2, TR__BODY_MAX / 2},
                                  {SIZE_MAX, 0},
                                  {SIZE_MAX, SIZE_MAX},
                                  {1, SIZE_MAX}};
    for (size_t i = 0; i < sizeof too_much / sizeof too_much[0]; i++) {
        parcel from = {.content = {"", too_much[i][0]}, .more = {"", too_much[i][1]}};
        assert_int_equal(tr__body_size(info, &from), SIZE_MAX);
    }
    parcel most = {.content = {"", TR__BODY_MAX - sizeof(parcel) - 1}};
    assert_int_equal(tr__body_size(info, &most), TR__BODY_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_type_is_described_as_declared),
        cmocka_unit_test(ids_and_fingerprints_are_what_they_always_were),
        cmocka_unit_test(the_same_declaration_in_two_places_is_one_type),
        cmocka_unit_test(other_fields_under_the_same_name_are_another_type),
        cmocka_unit_test(a_flag_is_no_part_of_the_schema),
        cmocka_unit_test(names_that_meet_at_the_seams_are_told_apart),
        cmocka_unit_test(what_is_not_registered_is_not_found),
        cmocka_unit_test(without_memory_a_type_is_registered_at_the_next_use),
        cmocka_unit_test(four_threads_at_once_agree),
        cmocka_unit_test(a_copy_stands_alone),
        cmocka_unit_test(a_missing_string_is_copied_as_an_empty_one),
        cmocka_unit_test(a_type_without_fields_has_an_empty_body),
        cmocka_unit_test(a_body_beyond_the_limit_has_no_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
