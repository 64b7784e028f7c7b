/* Histories as files (cli/tx/history.h): what is malformed is said with its line, several are merged, EDN; and the judge of
 * "bank". */
#include "tests/kit/judge_kit.h"

#include "base/mem.h"

#define BANK  "{\"workload\":\"bank\",\"accounts\":2,\"total\":100,\"initial\":50,\"negative\":false}\n"
#define PLAIN "{\"workload\":\"bank\",\"accounts\":2,\"total\":100}\n"

#define EVENT(index, time, process, type, rest) \
    "{\"index\":" #index ",\"time\":" #time ",\"process\":" #process ",\"type\":\"" #type "\"," rest "}\n"
#define MOVE(from, to, amount) \
    "\"f\":\"transfer\",\"value\":{\"from\":\"" #from "\",\"to\":\"" #to "\",\"amount\":" #amount "}"
#define MOVED     "\"f\":\"transfer\""
#define READ      "\"f\":\"read\""
#define SAW(a, b) "\"f\":\"read\",\"value\":{\"a\":" #a ",\"b\":" #b "}"

static void expect(const char *text, const char *kinds, const char *says)
{
    judged j = judge_text(text);
    if (j.err != TR_OK || strcmp(j.kinds, kinds) != 0 || (says && !strstr(j.texts, says)))
        fail_msg("expected \"%s\" and \"%s\", found \"%s\":\n%s%s", kinds, says ? says : "", j.kinds, j.texts,
                 j.error.text);
}

/* ---- bank ------------------------------------------------------------------------------------------------ */

static void balances_sum_up_and_are_not_below_zero(void **state)
{
    (void)state;
    expect(PLAIN EVENT(1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, SAW(60, 40)), "", NULL);
    expect(PLAIN EVENT(1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, SAW(60, 41)), "wrong total",
           "line 2: the balances are 101 in all, and should be 100");
    expect(PLAIN EVENT(1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, SAW(-1, 101)), "", NULL);
    expect("{\"workload\":\"bank\",\"accounts\":2,\"total\":100,\"negative\":false}\n" EVENT(
               1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, SAW(-1, 101)),
           "negative balance", "\"a\" has -1");
}

static void a_balance_has_what_was_committed_before_the_read(void **state)
{
#define DONE BANK EVENT(1, 1, 0, invoke, MOVE(a, b, 20)) EVENT(2, 2, 0, ok, MOVED)
    (void)state;
    expect(DONE EVENT(3, 3, 0, invoke, READ) EVENT(4, 4, 0, ok, SAW(30, 70)), "", NULL);
    expect(DONE EVENT(3, 3, 0, invoke, READ) EVENT(4, 4, 0, ok, SAW(50, 50)), "stale balance stale balance",
           "\"a\" has 50, and by what was committed before this read, and begun before its end, it has 30 to "
           "30");
    /* At one time: at once. */
    expect(DONE EVENT(3, 2, 0, invoke, READ) EVENT(4, 4, 0, ok, SAW(50, 50)), "", NULL);
    /* In the same way for one of which nobody knows, and one that is aborted. */
    expect(BANK EVENT(1, 1, 0, invoke, MOVE(a, b, 20)) EVENT(2, 2, 0, info, MOVED)
               EVENT(3, 3, 0, invoke, READ) EVENT(4, 4, 0, ok, SAW(50, 50)) EVENT(5, 5, 0, invoke, READ)
                   EVENT(6, 6, 0, ok, SAW(30, 70)),
           "", NULL);
    expect(BANK EVENT(1, 1, 0, invoke, MOVE(a, b, 20)) EVENT(2, 2, 0, fail, MOVED)
               EVENT(3, 3, 0, invoke, READ) EVENT(4, 4, 0, ok, SAW(30, 70)),
           "stale balance stale balance", "it has 50 to 50");
    /* What began after the read isn't in it. */
    expect(BANK EVENT(1, 1, 1, invoke, READ) EVENT(2, 2, 1, ok, SAW(30, 70))
               EVENT(3, 3, 0, invoke, MOVE(a, b, 20)) EVENT(4, 4, 0, ok, MOVED),
           "stale balance stale balance", "it has 50 to 50");
    /* Several at once: anything between. */
    expect(BANK EVENT(1, 1, 0, invoke, MOVE(a, b, 20)) EVENT(2, 1, 1, invoke, MOVE(b, a, 5))
               EVENT(3, 2, 2, invoke, READ) EVENT(4, 3, 2, ok, SAW(55, 45)),
           "", NULL);
    expect(BANK EVENT(1, 1, 0, invoke, MOVE(a, b, 20)) EVENT(2, 1, 1, invoke, MOVE(b, a, 5))
               EVENT(3, 2, 2, invoke, READ) EVENT(4, 3, 2, ok, SAW(56, 44)),
           "stale balance stale balance", "it has 30 to 55");
#undef DONE
}

static void one_that_was_asked_for_counts_from_the_answer_on(void **state)
{
#define ASKED(status)                                                       \
    BANK EVENT(1, 1, 0, invoke, MOVE(a, b, 20)) EVENT(2, 2, 0, info, MOVED) \
        EVENT(3, 3, 1, resolved, "\"of\":1,\"status\":\"" status "\"") EVENT(4, 4, 0, invoke, READ)
    (void)state;
    expect(ASKED("committed") EVENT(5, 5, 0, ok, SAW(30, 70)), "", NULL);
    expect(ASKED("committed") EVENT(5, 5, 0, ok, SAW(50, 50)), "stale balance stale balance", NULL);
    expect(ASKED("aborted") EVENT(5, 5, 0, ok, SAW(30, 70)), "stale balance stale balance", NULL);
#undef ASKED
}

static void accounts_may_have_several_balances_at_first(void **state)
{
#define OWN "{\"workload\":\"bank\",\"accounts\":2,\"total\":100,\"initial\":{\"a\":10,\"b\":90}}\n"
    (void)state;
    expect(OWN EVENT(1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, SAW(10, 90)), "", NULL);
    expect(OWN EVENT(1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, SAW(50, 50)), "stale balance stale balance",
           NULL);
#undef OWN
}

/* ---- malformed -------------------------------------------------------------------------------------------- */

#define APPEND       "{\"workload\":\"append\"}\n"
#define CALLS(value) "\"f\":\"txn\",\"value\":" value
#define AX1          CALLS("[[\"append\",\"x\",1]]")
#define RX           CALLS("[[\"r\",\"x\",null]]")

typedef struct malformed {
    const char *text, *says;
} malformed;

static void expect_malformed(const malformed *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        judged j = judge_text(rows[i].text);
        if (j.err == TR_OK || strncmp(j.error.text, rows[i].says, strlen(rows[i].says)) != 0)
            fail_msg("row %zu: expected \"%s\", got \"%s\"", i, rows[i].says, j.error.text);
    }
}

static void an_ok_that_calls_what_its_invoke_does_not_is_malformed(void **state)
{
    static const malformed rows[] = {
        {APPEND EVENT(1, 1, 0, invoke, RX) EVENT(2, 2, 0, ok, CALLS("[]")),
         "a:3: it doesn't append and read"},
        {APPEND EVENT(1, 1, 0, invoke, RX) EVENT(2, 2, 0, ok, CALLS("[[\"r\",\"y\",[]]]")),
         "a:3: it doesn't append and read what its invoke does (line 2)"},
        {APPEND EVENT(1, 1, 0, invoke, AX1)
             EVENT(2, 2, 0, ok, CALLS("[[\"append\",\"x\",1],[\"r\",\"x\",[1]]]")),
         "a:3: it doesn't append and read"},
        {APPEND EVENT(1, 1, 0, invoke, RX) EVENT(2, 2, 0, ok, AX1), "a:3: it doesn't append and read"},
        {APPEND EVENT(1, 1, 0, invoke, CALLS("[[\"r\",\"x\",null],[\"r\",\"y\",null]]"))
             EVENT(2, 2, 0, ok, CALLS("[[\"r\",\"y\",[]],[\"r\",\"x\",[]]]")),
         "a:3: it doesn't append and read"},
    };
    (void)state;
    expect_malformed(rows, sizeof(rows) / sizeof(*rows));
}

static void what_is_malformed_is_said_with_its_line(void **state)
{
    static const malformed rows[] = {
        {"", "a:1: empty"},
        {"\n", "a:1: not JSON"},
        {"{\"workload\":\"other\"}\n", "a:1: \"workload\" is \"other\", which is none of its words"},
        {"[]\n", "a:1: \"workload\" is missing"},
        {"{\"workload\":\"bank\",\"total\":1}\n", "a:1: \"accounts\" is missing"},
        {"{\"workload\":\"bank\",\"accounts\":0,\"total\":1}\n", "a:1: 0 accounts"},
        {"{\"workload\":\"bank\",\"accounts\":1,\"total\":1,\"initial\":\"x\"}\n", "a:1: \"initial\""},
        {"{\"workload\":\"bank\",\"accounts\":1,\"total\":1,\"initial\":{\"a\":1,\"b\":2}}\n",
         "a:1: account \"b\""},
        {APPEND "{\n", "a:2: not JSON"},
        {APPEND "{\"index\":1,\"index\":2}\n", "a:2: not JSON: duplicate object key"},
        {APPEND "[]\n", "a:2: \"type\" is missing"},
        {APPEND EVENT(1, 1, 0, going, AX1), "a:2: \"type\" is \"going\""},
        {APPEND EVENT("x", 1, 0, invoke, AX1), "a:2: \"index\" is no integer"},
        {APPEND EVENT(1, 1.5, 0, invoke, AX1), "a:2: \"time\" is no integer"},
        {APPEND EVENT(1, 1, -1, invoke, AX1), "a:2: process -1"},
        {APPEND EVENT(1, 1, 0, invoke, READ),
         "a:2: \"f\" is \"read\", which workload \"append\" doesn't have"},
        {APPEND EVENT(1, 1, 0, ok, AX1), "a:2: process 0 has no operation under way"},
        {APPEND EVENT(1, 1, 0, invoke, AX1) EVENT(2, 2, 0, invoke, CALLS("[]")),
         "a:3: process 0 has an operation under way (line 2)"},
        {APPEND EVENT(2, 1, 0, invoke, AX1) EVENT(2, 2, 0, ok, AX1), "a:3: \"index\" isn't larger"},
        {APPEND EVENT(1, 2, 0, invoke, AX1) EVENT(2, 1, 0, ok, AX1), "a:3: \"time\" is smaller"},
        {APPEND EVENT(1, 1, 0, invoke, AX1) EVENT(2, 2, 1, invoke, AX1),
         "a:3: 1 is appended to \"x\" a second time"},
        {APPEND EVENT(1, 1, 0, invoke, AX1) EVENT(2, 2, 0, ok, CALLS("[]")),
         "a:3: it doesn't append and read what"},
        {APPEND EVENT(1, 1, 0, invoke, CALLS("null")), "a:2: \"value\" is no list"},
        {APPEND EVENT(1, 1, 0, invoke, CALLS("[[\"append\",\"x\"]]")), "a:2: a call is neither"},
        {APPEND EVENT(1, 1, 0, invoke, CALLS("[[\"append\",1.5,1]]")),
         "a:2: a key is no string and no integer"},
        {APPEND EVENT(1, 1, 0, invoke, CALLS("[[\"append\",1,\"1\"]]")),
         "a:2: what is appended is no integer"},
        {APPEND EVENT(1, 1, 0, invoke, CALLS("[[\"r\",1,5]]")), "a:2: what was read is no list"},
        {APPEND EVENT(1, 1, 0, invoke, CALLS("[[\"r\",1,[null]]]")), "a:2: what was read has something"},
        {APPEND EVENT(1, 1, 0, resolved, "\"of\":7,\"status\":\"committed\""),
         "a:2: no operation was invoked at index 7"},
        {APPEND EVENT(1, 1, 0, resolved, "\"id\":\"x\",\"status\":\"committed\""),
         "a:2: no operation so far"},
        {APPEND EVENT(1, 1, 0, resolved, "\"status\":\"committed\""), "a:2: a resolved has neither"},
        {APPEND EVENT(1, 1, 0, resolved, "\"of\":1,\"status\":\"maybe\""), "a:2: \"status\" is \"maybe\""},
        {APPEND EVENT(1, 1, 0, invoke, AX1 ",\"id\":\"i\"")
             EVENT(2, 1, 1, invoke, CALLS("[]") ",\"id\":\"i\""),
         "a:3: id i is that of another operation (line 2)"},
        {BANK EVENT(1, 1, 0, invoke, MOVE(a, a, 1)), "a:2: a transfer from an account to itself"},
        {BANK EVENT(1, 1, 0, invoke, MOVE(a, b, -1)), "a:2: an amount of -1"},
        {BANK EVENT(1, 1, 0, invoke, MOVED), "a:2: \"value\" is no object"},
        {BANK EVENT(1, 1, 0, invoke, MOVE(a, b, 1)) EVENT(2, 1, 1, invoke, MOVE(a, c, 1)),
         "a:3: account \"c\": there are 2"},
        {BANK EVENT(1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, "\"f\":\"read\",\"value\":{\"a\":1}"),
         "a:3: a read of 1 account, and there are 2"},
        {BANK EVENT(1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, SAW("x", 1)),
         "a:3: the balance of \"a\" is no integer"},
        {BANK EVENT(1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, SAW(100000000001, 1)),
         "a:3: 100000000001 is beyond"},
        {BANK EVENT(1, 1, 0, invoke, READ) EVENT(2, 2, 0, ok, MOVED), "a:3: its f is another"},
    };
    (void)state;
    expect_malformed(rows, sizeof(rows) / sizeof(*rows));
}

static void a_line_may_not_be_longer_than_a_mebibyte(void **state)
{
    size_t length = HISTORY_LINE_MAX + 100;
    char *text = malloc(length + 2);
    (void)state;
    memset(text, ' ', length);
    memcpy(text, APPEND, strlen(APPEND));
    memcpy(text + length, "\n", 2);
    judged j = judge_text(text);
    assert_int_equal(j.err, TR_ETOOBIG);
    assert_non_null(strstr(j.error.text, "a:2: a line of more than"));
    free(text);
}

static void what_a_kill_left_of_a_line_is_left_out(void **state)
{
    (void)state;
    judged j = judge_text(APPEND EVENT(1, 1, 0, invoke, AX1) "{\"index\":2,\"ti");
    assert_int_equal(j.err, TR_OK);
    assert_int_equal(j.read.torn, 1);
    assert_int_equal(j.counts.unknown, 1);
    j = judge_text(APPEND "{\"index\":1,\"time\":1,\"process\":0,\"type\":\"invoke\"," AX1 "}");
    assert_int_equal(j.err, TR_OK);
    assert_int_equal(j.read.torn, 0);
    assert_int_equal(j.counts.operations, 1);
}

/* ---- several files, names, EDN ---------------------------------------------------------------------------- */

static void several_files_are_one_history_by_time(void **state)
{
    const char *texts[] = {APPEND EVENT(1, 1, 0, invoke, AX1) EVENT(2, 3, 0, ok, AX1),
                           APPEND EVENT(1, 4, 0, invoke, CALLS("[[\"r\",\"x\",null]]"))
                               EVENT(2, 5, 0, ok, CALLS("[[\"r\",\"x\",[]]]"))};
    (void)state;
    judged j = judge_texts(texts, 2, NULL);
    assert_string_equal(j.kinds, "lost update");
    assert_non_null(strstr(j.texts, "a:2: it appended 1 to \"x\" and is committed, and b:2"));
    texts[1] = BANK;
    j = judge_texts(texts, 2, NULL);
    assert_string_equal(j.error.text, "b:1: another header than that of a");
    texts[1] = APPEND EVENT(1, 2, 0, invoke, AX1);
    j = judge_texts(texts, 2, NULL);
    assert_non_null(strstr(j.error.text, "b:2: 1 is appended to \"x\" a second time (the first: a:2)"));
}

static void a_key_that_is_a_number_is_another_than_its_text(void **state)
{
    (void)state;
    expect(APPEND EVENT(1, 1, 0, invoke, CALLS("[[\"append\",1,5],[\"append\",\"1\",5]]")), "", NULL);
    /* Of accounts it is the same. */
    expect("{\"workload\":\"bank\",\"accounts\":2,\"total\":0}\n" EVENT(
               1, 1, 0, invoke, "\"f\":\"transfer\",\"value\":{\"from\":1,\"to\":2,\"amount\":3}")
               EVENT(2, 2, 1, invoke, READ) EVENT(3, 3, 1, ok, "\"f\":\"read\",\"value\":{\"1\":-3,\"2\":3}"),
           "", NULL);
}

static char *edn_of(const char *const *texts, uint32_t count)
{
    char *edn;
    size_t size;
    FILE *out = open_memstream(&edn, &size);
    judged j = judge_texts(texts, count, out);
    assert_int_equal(j.err, TR_OK);
    fclose(out);
    return edn;
}

static void edn_is_what_jepsen_writes(void **state)
{
    const char *append[] = {APPEND EVENT(5, 1, 0, invoke, CALLS("[[\"append\",\"x\\\"\",1],[\"r\",2,null]]"))
                                EVENT(6, 3, 0, info, "\"f\":\"txn\",\"value\":null")
                                    EVENT(7, 4, 9, resolved, "\"of\":5,\"status\":\"committed\"")
                                        EVENT(8, 5, 0, invoke, CALLS("[[\"r\",2,null]]"))
                                            EVENT(9, 6, 0, ok, CALLS("[[\"r\",2,[3,-4]]]")),
                            APPEND EVENT(1, 2, 0, invoke, CALLS("[[\"append\",2,3],[\"append\",2,-4]]"))
                                EVENT(2, 7, 0, fail, "\"f\":\"txn\"")};
    const char *bank[] = {BANK EVENT(1, 1, 3, invoke, MOVE(a, 7, 20)) EVENT(2, 2, 3, ok, MOVED) EVENT(
        3, 3, 3, invoke, READ) EVENT(4, 4, 3, ok, "\"f\":\"read\",\"value\":{\"a\":30,\"7\":70}")};
    (void)state;
    char *edn = edn_of(append, 2);
    assert_string_equal(
        edn,
        "{:index 0, :time 1, :process 0, :type :invoke, :f :txn, :value [[:append \"x\\\"\" 1] [:r 2 nil]]}\n"
        "{:index 1, :time 2, :process 1, :type :invoke, :f :txn, :value [[:append 2 3] [:append 2 -4]]}\n"
        "{:index 2, :time 3, :process 0, :type :info, :f :txn, :value [[:append \"x\\\"\" 1] [:r 2 nil]]}\n"
        "{:index 3, :time 5, :process 2, :type :invoke, :f :txn, :value [[:r 2 nil]]}\n"
        "{:index 4, :time 6, :process 2, :type :ok, :f :txn, :value [[:r 2 [3 -4]]]}\n"
        "{:index 5, :time 7, :process 1, :type :fail, :f :txn, :value [[:append 2 3] [:append 2 -4]]}\n");
    free(edn);
    edn = edn_of(bank, 1);
    assert_string_equal(
        edn,
        "{:index 0, :time 1, :process 0, :type :invoke, :f :transfer, :value {:from \"a\", :to 7, :amount "
        "20}}\n"
        "{:index 1, :time 2, :process 0, :type :ok, :f :transfer, :value {:from \"a\", :to 7, :amount 20}}\n"
        "{:index 2, :time 3, :process 0, :type :invoke, :f :read, :value nil}\n"
        "{:index 3, :time 4, :process 0, :type :ok, :f :read, :value {\"a\" 30, 7 70}}\n");
    free(edn);
}

static void a_list_with_nothing_in_it_is_no_nil(void **state)
{
    const char *append[] = {APPEND EVENT(1, 1, 0, invoke, CALLS("[[\"r\",2,null]]"))
                                EVENT(2, 2, 0, ok, CALLS("[[\"r\",2,[]]]"))};
    (void)state;
    char *edn = edn_of(append, 1);
    assert_non_null(strstr(edn, ":type :ok, :f :txn, :value [[:r 2 []]]}"));
    free(edn);
}

/* ---- memory ----------------------------------------------------------------------------------------------- */

static void no_memory_is_an_answer_wherever_it_is_missing(void **state)
{
    static const row rows[] = {{1, 5, 'o', "rx ax1 ay1"}, {2, 6, 'o', "rx ax2 ry1"}, {7, 8, 'o', "ry1"}};
    const char *texts[] = {rows_text(rows, 3)};
    bool passed = false;
    (void)state;
    for (uint64_t n = 1; !passed; n++) {
        tr__alloc_fail_at(n);
        judged j = judge_texts(texts, 1, NULL);
        tr__alloc_fail_at(0);
        passed = j.err == TR_OK;
        if (!passed && (j.err != TR_ENOMEM || !j.error.text[0]))
            fail_msg("allocation %llu: %d %s", (unsigned long long)n, (int)j.err, j.error.text);
        if (passed)
            assert_true(n > 10 && strcmp(j.kinds, "G-single") == 0);
    }
    free((char *)(uintptr_t)texts[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balances_sum_up_and_are_not_below_zero),
        cmocka_unit_test(a_balance_has_what_was_committed_before_the_read),
        cmocka_unit_test(one_that_was_asked_for_counts_from_the_answer_on),
        cmocka_unit_test(accounts_may_have_several_balances_at_first),
        cmocka_unit_test(an_ok_that_calls_what_its_invoke_does_not_is_malformed),
        cmocka_unit_test(what_is_malformed_is_said_with_its_line),
        cmocka_unit_test(a_line_may_not_be_longer_than_a_mebibyte),
        cmocka_unit_test(what_a_kill_left_of_a_line_is_left_out),
        cmocka_unit_test(several_files_are_one_history_by_time),
        cmocka_unit_test(a_key_that_is_a_number_is_another_than_its_text),
        cmocka_unit_test(edn_is_what_jepsen_writes),
        cmocka_unit_test(a_list_with_nothing_in_it_is_no_nil),
        cmocka_unit_test(no_memory_is_an_answer_wherever_it_is_missing),
    };
    return cmocka_run_group_tests_name("tx_history", tests, NULL, NULL);
}
