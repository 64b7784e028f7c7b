/* TR_MESSAGE under the compilers: what must compile does, with warnings as errors, and a slip is a compiler's
 * error. Compilers that aren't installed are left out; one must be there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECLARED                                                                                            \
    "#include <troupe/message.h>\n"                                                                         \
    "TR_MESSAGE(nothing)\n"                                                                                 \
    "TR_MESSAGE(greet, (string, name), (u32, times))\n"                                                     \
    "TR_MESSAGE(twenty, (bool, a), (i32, b), (i64, c), (u32, d), (u64, e), (f64, f), (string, g), (bytes, " \
    "h),\n"                                                                                                 \
    "           (addr, i), (u32, j), (u32, k), (u32, l), (u32, m), (u32, n), (u32, o), (u32, p), (u32, "    \
    "q),\n"                                                                                                 \
    "           (u32, r), (u32, s), (u32, t))\n"

static const char *const compilers[] = {"gcc", "clang"};

/* 0 if `compiler` takes the text, 1 if not, -1 if it isn't installed. What it says goes to `said`. */
static int compile(const char *compiler, const char *text, char *said, size_t room)
{
    const char *source = getenv("TROUPE_SOURCE");
    char path[] = "/tmp/troupe-macro-XXXXXX.c", command[1024];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", compiler);
    if (system(command) != 0)
        return -1;
    int fd = mkstemps(path, 2);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    fputs(text, file);
    fclose(file);
    snprintf(command, sizeof command,
             "LC_ALL=C %s -std=gnu17 -Wall -Wextra -Werror -fsyntax-only -I'%s/include' %s 2>&1", compiler,
             source ? source : ".", path);
    FILE *output = popen(command, "r");
    said[fread(said, 1, room - 1, output)] = '\0';
    int status = pclose(output);
    remove(path);
    return status != 0;
}

static void must_compile(const char *text)
{
    int tried = 0;
    for (size_t i = 0; i < 2; i++) {
        char said[4096];
        int refused = compile(compilers[i], text, said, sizeof said);
        if (refused > 0)
            fail_msg("%s: %s", compilers[i], said);
        tried += refused == 0;
    }
    assert_true(tried > 0);
}

static void must_be_refused(const char *text, const char *because)
{
    int tried = 0;
    for (size_t i = 0; i < 2; i++) {
        char said[4096];
        int refused = compile(compilers[i], text, said, sizeof said);
        if (refused == 0 || (refused > 0 && !strstr(said, because)))
            fail_msg("%s should have said '%s': %s", compilers[i], because, said);
        tried += refused == 1;
    }
    assert_true(tried > 0);
}

static void no_fields_and_twenty_fields_compile(void **state)
{
    (void)state;
    must_compile(DECLARED
                 "const void *use(void);\n"
                 "const void *use(void)\n"
                 "{\n"
                 "    static greet g = {.name = \"ada\", .times = 2};\n"
                 "    static twenty w = {.a = true, .f = 1.5, .h = {\"x\", 1}, .i = {1, 2, 3}, .t = 20};\n"
                 "    return nothing_type.fields ? (const void *)&g : &w;\n"
                 "}\n");
}

static void a_declaration_that_is_not_used_is_no_warning(void **state)
{
    (void)state;
    must_compile(DECLARED);
}

static void a_misspelt_field_is_an_error_that_names_it(void **state)
{
    (void)state;
    must_be_refused(DECLARED "static const greet g = {.nmae = \"ada\"};\nconst void *use(void);\n"
                             "const void *use(void)\n{\n    return &g;\n}\n",
                    "nmae");
    must_be_refused(
        DECLARED "unsigned use(const greet *g);\nunsigned use(const greet *g)\n{\n    return g->tims;\n}\n",
        "tims");
}

static void a_kind_that_is_none_is_an_error(void **state)
{
    (void)state;
    must_be_refused("#include <troupe/message.h>\nTR_MESSAGE(greet, (strin, name))\n", "strin");
}

static void an_item_without_parentheses_is_a_flag(void **state)
{
    (void)state;
    must_compile("#include <troupe/message.h>\n"
                 "TR_MESSAGE(debit, TR_WRITES, (i64, amount))\n"
                 "TR_MESSAGE(clear, TR_WRITES)\n"
                 "TR_MESSAGE(last, (bool, yes), (string, name), TR_WRITES)\n"
                 "_Static_assert(sizeof(debit) == 8, \"the flag is no field\");\n"
                 "const void *use(void);\n"
                 "const void *use(void)\n"
                 "{\n"
                 "    static debit d = {.amount = 2};\n"
                 "    static last l = {.yes = true, .name = \"x\"};\n"
                 "    return clear_type.flags ? (const void *)&d : &l;\n"
                 "}\n");
    must_be_refused("#include <troupe/message.h>\nTR_MESSAGE(debit, TR_WRITE, (i64, amount))\n", "TR_WRITE");
    must_be_refused("#include <troupe/message.h>\nTR_MESSAGE(debit, TR_WRITES, (i64, amount))\n"
                    "static const debit d = {.amuont = 2};\n",
                    "amuont");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_fields_and_twenty_fields_compile),
        cmocka_unit_test(a_declaration_that_is_not_used_is_no_warning),
        cmocka_unit_test(a_misspelt_field_is_an_error_that_names_it),
        cmocka_unit_test(a_kind_that_is_none_is_an_error),
        cmocka_unit_test(an_item_without_parentheses_is_a_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
