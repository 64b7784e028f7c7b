/* `troupe tx check`: its exit statuses, what it prints, --json and --edn; and a large history. */
#include <sys/resource.h>

#include <jansson.h>

#include "tests/system/cli_kit.h"

#define OPERATIONS 100000

static void write_text(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", cli_directory, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static const char good[] =
    "{\"workload\":\"append\"}\n"
    "{\"index\":0,\"time\":1,\"process\":0,\"type\":\"invoke\",\"f\":\"txn\",\"value\":[[\"append\",\"x\",1]]"
    "}\n"
    "{\"index\":1,\"time\":2,\"process\":0,\"type\":\"ok\",\"f\":\"txn\",\"value\":[[\"append\",\"x\",1]]}\n"
    "{\"index\":2,\"time\":3,\"process\":0,\"type\":\"invoke\",\"f\":\"txn\",\"value\":[[\"r\",\"x\",null]]}"
    "\n";
static const char sees[] =
    "{\"index\":3,\"time\":4,\"process\":0,\"type\":\"ok\",\"f\":\"txn\",\"value\":[[\"r\",\"x\",[1]]]}\n";
static const char misses[] =
    "{\"index\":3,\"time\":4,\"process\":0,\"type\":\"ok\",\"f\":\"txn\",\"value\":[[\"r\",\"x\",[]]]}\n";

static void write_two(const char *name, const char *last)
{
    char text[2048];
    snprintf(text, sizeof(text), "%s%s", good, last);
    write_text(name, text);
}

static void a_good_history_passes(void **state)
{
    (void)state;
    write_two("good", sees);
    assert_int_equal(0, sh("$T tx check good"));
    assert_contains(content("out"), "2 operations: 2 committed, 0 aborted, 0 unknown");
    assert_contains(content("out"), "passes\n");
}

static void findings_are_status_1_and_explained(void **state)
{
    (void)state;
    write_two("bad", misses);
    assert_int_equal(1, sh("$T tx check bad"));
    assert_contains(content("out"),
                    "lost update: line 2: it appended 1 to \"x\" and is committed, and line 4, which "
                    "began later, read the key without it\n");
    assert_contains(content("out"), "fails: 1 finding\n");
    assert_int_equal(1, sh("$T tx check bad --json"));
    json_t *told = json_loads(content("out"), 0, NULL);
    assert_true(json_is_false(json_object_get(told, "passes")));
    const json_t *finding = json_array_get(json_object_get(told, "findings"), 0);
    assert_string_equal(json_string_value(json_object_get(finding, "kind")), "lost update");
    assert_string_equal(json_string_value(json_object_get(finding, "file")), "bad");
    assert_int_equal(json_integer_value(json_object_get(finding, "line")), 2);
    json_decref(told);
}

static void what_cannot_be_read_is_status_2(void **state)
{
    (void)state;
    write_two("torn", "{\"index\":3,\n");
    assert_int_equal(2, sh("$T tx check torn"));
    assert_contains(content("err"), "torn:5: not JSON");
    assert_int_equal(2, sh("$T tx check nosuch"));
    assert_contains(content("err"), "nosuch: can't be read: No such file");
    assert_int_equal(2, sh("$T tx check"));
    assert_contains(content("err"), "usage: troupe tx list");
    assert_int_equal(2, sh("$T tx check good --edn /nosuch/file"));
    assert_contains(content("err"), "/nosuch/file: can't be written");
    assert_int_equal(2, sh("$T tx list --edn x"));
}

static void a_name_moves_no_terminal(void **state)
{
    (void)state;
    write_text("red",
               "{\"workload\":\"append\"}\n"
               "{\"index\":0,\"time\":1,\"process\":0,\"type\":\"invoke\",\"f\":\"txn\",\"value\":[[\"r\","
               "\"\\u001b[31m\\u00e9\",null]]}\n"
               "{\"index\":1,\"time\":2,\"process\":0,\"type\":\"ok\",\"f\":\"txn\",\"value\":[[\"r\","
               "\"\\u001b[31m\\u00e9\",[1]]]}\n");
    assert_int_equal(1, sh("$T tx check red"));
    assert_contains(content("out"), "it read 1 in \"\\x1b[31m\xc3\xa9\"");
}

static void edn_is_written_as_well(void **state)
{
    (void)state;
    write_two("good", sees);
    assert_int_equal(0, sh("$T tx check good --edn good.edn"));
    assert_contains(content("good.edn"),
                    "{:index 3, :time 4, :process 0, :type :ok, :f :txn, :value [[:r \"x\" [1]]]}\n");
}

/* Each transaction appends to a key and reads another; a key gets 100 values. Ten processes, always all of them busy. */
static void write_large(const char *name)
{
    char path[256], lists[2][1200];
    snprintf(path, sizeof(path), "%s/%s", cli_directory, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs("{\"workload\":\"append\"}\n", out);
    for (int i = 0; i < OPERATIONS; i++) {
        int key = i / 100, place = i % 100;
        size_t used = 0;
        for (int k = 0; k < place; k++)
            used += (size_t)snprintf(lists[0] + used, sizeof(lists[0]) - used, "%s%d", k ? "," : "", k);
        lists[0][used] = '\0';
        fprintf(out,
                "{\"index\":%d,\"time\":%d,\"process\":%d,\"type\":\"invoke\",\"f\":\"txn\",\"value\":[["
                "\"r\",%d,null],["
                "\"append\",%d,%d]]}\n",
                2 * i, 2 * i, i % 10, key, key, place);
        fprintf(out,
                "{\"index\":%d,\"time\":%d,\"process\":%d,\"type\":\"ok\",\"f\":\"txn\",\"value\":[[\"r\",%d,"
                "[%s]],["
                "\"append\",%d,%d]],\"ts\":%d}\n",
                2 * i + 1, 2 * i + 1, i % 10, key, lists[0], key, place, i);
    }
    fclose(out);
}

static void a_large_history_takes_seconds(void **state)
{
    struct rusage usage;
    (void)state;
    write_large("large");
    assert_int_equal(0, sh("$T tx check large"));
    assert_contains(content("out"), "100000 operations: 100000 committed");
    getrusage(RUSAGE_CHILDREN, &usage);
    print_message("%d lines: %ld s, %ld MiB at most\n", 2 * OPERATIONS, (long)usage.ru_utime.tv_sec,
                  usage.ru_maxrss / 1024);
    assert_true(usage.ru_utime.tv_sec < 30); /* of all tests here: one as a rule */
}

static int begin(void **state)
{
    (void)state;
    snprintf(cli_directory, sizeof(cli_directory), "/tmp/troupe-tx-check-XXXXXX");
    return mkdtemp(cli_directory) ? 0 : -1;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", cli_directory);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_history_passes),
        cmocka_unit_test(findings_are_status_1_and_explained),
        cmocka_unit_test(what_cannot_be_read_is_status_2),
        cmocka_unit_test(a_name_moves_no_terminal),
        cmocka_unit_test(edn_is_written_as_well),
        cmocka_unit_test(a_large_history_takes_seconds),
    };
    return cmocka_run_group_tests_name("tx_check", tests, begin, end);
}
