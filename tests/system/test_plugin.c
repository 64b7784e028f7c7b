/* Plugins as users meet them: what the loader refuses, and why; what a node makes of plugins that are well
 * and of those that fail; `troupe plugin check`; and the folder of `troupe new plugin`, built and tested as
 * its README says against an installed Troupe. Needs a compiler and cmake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/plugin/loader.h"
#include "base/backtrace_os.h"

/* ---- fixture: a directory, and plugins built into it --------------------------------------------------- */

static char directory[64];

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/troupe-plugin-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

/* The exit status of a shell command; its output goes to the file `out` in the directory. */
static int run(const char *format, ...)
{
    char command[2048], whole[2300];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    snprintf(whole, sizeof(whole), "{ cd %s && %s; } >%s/out 2>&1", directory, command, directory);
    int status = system(whole);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *output(void)
{
    static char text[8192];
    char path[256];
    snprintf(path, sizeof(path), "%s/out", directory);
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    text[length] = 0;
    if (file)
        fclose(file);
    return text;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

#define HEAD                                                              \
    "#define TR_PLUGIN\n"                                                 \
    "#include <troupe/troupe.h>\n"                                        \
    "TR_MESSAGE(ping, (u32, n))\n"                                        \
    "static void receive(tr_actor *self, void *state, const tr_msg *m)\n" \
    "{ (void)state; const ping *p = tr_match(m, ping);\n"                 \
    "  if (p && p->n == 0) tr_exit(self, TR_EAPP, \"had enough\");\n"     \
    "  else if (p) tr_reply(self, m, ping, .n = p->n + 1); }\n"

#define PLAIN HEAD "TR_ACTOR(plain, .receive = receive);\n"

/* A block by hand, so that one field can be wrong. */
#define BLOCK(...)                                                                                     \
    PLAIN "const tr_host *tr__host; const tr_actor_def *const actors[] = {&plain, NULL, NULL};\n"      \
          "__attribute__((visibility(\"default\"))) const tr_plugin_block tr_plugin = {.magic = "      \
          "TR_PLUGIN_MAGIC, .size = sizeof(tr_plugin_block), .abi_major = TR_ABI_MAJOR, .abi_minor = " \
          "TR_ABI_MINOR, .name = \"hand\", .version = \"1\", .host = &tr__host, .actors = "            \
          "actors, " __VA_ARGS__ "};\n"

/* Builds NAME.so; its path. */
static const char *build(const char *name, const char *source)
{
    char file[80];
    snprintf(file, sizeof(file), "%s.c", name);
    FILE *to = fopen(path_of(file), "w");
    assert_non_null(to);
    fputs(source, to);
    fclose(to);
    if (run("umask 022; cc -std=gnu17 -w -shared -fPIC -fvisibility=hidden -I'%s/include' -o %s.so %s.c",
            getenv("TROUPE_SOURCE"), name, name) != 0)
        fail_msg("%s", output());
    snprintf(file, sizeof(file), "%s.so", name);
    return path_of(file);
}

/* ---- assertions ---------------------------------------------------------------------------------------- */

static void assert_text(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" isn't in: %s", part, text);
}

static void assert_refused_by(const tr_host *host, const char *file, tr_err code, const char *part)
{
    tr_error error = {0};
    assert_null(tr__plugin_load(file, host, &error));
    assert_text(error.text, part);
    assert_int_equal(code, error.code);
}

static void assert_refused(const char *file, tr_err code, const char *part)
{
    assert_refused_by(&tr__host_table, file, code, part);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void a_file_that_is_none_is_refused(void **state)
{
    (void)state;
    assert_refused(path_of("nowhere.so"), TR_ENOTFOUND, "no such file");
    assert_refused(directory, TR_EINVAL, "not a regular file");
    assert_int_equal(0, mkfifo(path_of("fifo"), 0600));
    assert_refused(path_of("fifo"), TR_EINVAL, "not a regular file");
    assert_int_equal(0, run(": > empty.so; printf hello > text.so; chmod 600 *.so"));
    assert_refused(path_of("empty.so"), TR_EINVAL, "is empty");
    assert_refused(path_of("text.so"), TR_EINVAL, "no shared library");
}

static void a_file_that_others_can_write_is_refused(void **state)
{
    (void)state;
    char file[256], link[256];
    snprintf(file, sizeof(file), "%s", build("open", PLAIN "TR_PLUGIN_EXPORT(\"open\", \"1\", &plain);"));
    chmod(file, 0766);
    assert_refused(file, TR_EPERM, "chmod go-w the file");
    chmod(file, 0775);
    assert_refused(file, TR_EPERM, "mode 0775");
    chmod(file, 0755);
    assert_int_equal(
        0, run("mkdir -m 700 wide && mv open.so wide/ && ln -s wide/open.so link.so && chmod 777 wide"));
    snprintf(link, sizeof(link), "%s", path_of("link.so"));
    assert_refused(path_of("wide/open.so"), TR_EPERM, "chmod go-w that directory");
    assert_refused(link, TR_EPERM, "chmod go-w that directory");
    assert_int_equal(0, run("chmod 755 wide"));
    tr_error error;
    assert_non_null(tr__plugin_load(link, &tr__host_table, &error));
}

static void a_library_without_a_good_block_is_refused(void **state)
{
    (void)state;
    const struct {
        const char *source;
        tr_err code;
        const char *part;
    } cases[] = {
        {"int x;\n", TR_EINVAL, "exports no symbol tr_plugin"},
        {"char tr_plugin[4] __attribute__((visibility(\"default\")));\n", TR_EINVAL, "no magic number"},
        {"__attribute__((visibility(\"default\"))) void tr_plugin(void) {}\n", TR_EINVAL, "no magic number"},
        {"#include <troupe/troupe.h>\nint f(tr_actor *a);\nint f(tr_actor *a) { return tr_now(a) > 0; }\n",
         TR_EINVAL, "undefined symbol: tr_now"},
        {BLOCK(".magic = 1"), TR_EINVAL, "no magic number"},
        {BLOCK(".abi_major = 1"), TR_EVERSION, "built for ABI 1.1, this node has 5.1: rebuild it"},
        {BLOCK(".abi_major = 0"), TR_EVERSION, "built for ABI 0.1"},
        {BLOCK(".abi_minor = 2"), TR_EVERSION, "built for ABI 5.2, this node has 5.1"},
        {BLOCK(".size = 40"), TR_EINVAL, "says 40 bytes"},
        {BLOCK(".size = 4000"), TR_EINVAL, "says 4000 bytes"},
        {BLOCK(".name = 0"), TR_EINVAL, "its name must be"},
        {BLOCK(".name = \"a/b\""), TR_EINVAL, "its name must be"},
        {BLOCK(".version = \"\""), TR_EINVAL, "its version must"},
        {BLOCK(".host = 0"), TR_EINVAL, "empty places"},
        {BLOCK(".actors = actors + 1"), TR_EINVAL, "exports no actors"},
        {HEAD "TR_ACTOR(a);\nTR_PLUGIN_EXPORT(\"n\", \"1\", &a);", TR_EINVAL, "neither receive nor run"},
        {PLAIN "static const tr_actor_def b = {.name = \"plain\", .receive = receive};\n"
               "TR_PLUGIN_EXPORT(\"n\", \"1\", &plain, &b);",
         TR_EEXIST, "two of its actors are named plain"},
        {PLAIN "static tr_type bad = {\"bad\", (tr_field[]){{\"x\", 77, 0}, {0}}, 8};\n"
               "static tr_type *const entry __attribute__((used, section(\"tr_types\"))) = &bad;\n"
               "TR_PLUGIN_EXPORT(\"n\", \"1\", &plain);",
         TR_EINVAL, "message type bad is broken"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char name[16];
        snprintf(name, sizeof(name), "bad%zu", i);
        assert_refused(build(name, cases[i].source), cases[i].code, cases[i].part);
    }
}

static void an_older_minor_loads_and_another_major_does_not(void **state)
{
    (void)state;
    tr_host newer = tr__host_table;
    newer.abi_minor++;
    tr_error error = {0};
    const char *file = build("older", PLAIN "TR_PLUGIN_EXPORT(\"older\", \"1\", &plain);");
    const tr__plugin *plugin = tr__plugin_load(file, &newer, &error);
    if (!plugin)
        fail_msg("%s", error.text);
    assert_ptr_equal(&newer, *plugin->block->host);
    newer.abi_major++;
    assert_refused_by(&newer, file, TR_EVERSION, "built for ABI 5.1, this node has 6.2");
}

static void two_plugins_are_two_libraries(void **state)
{
    (void)state;
    tr_error error;
    const tr__plugin *one = tr__plugin_load(build("one", PLAIN "TR_PLUGIN_EXPORT(\"one\", \"1\", &plain);"),
                                            &tr__host_table, &error);
    const tr__plugin *two = tr__plugin_load(build("two", PLAIN "TR_PLUGIN_EXPORT(\"two\", \"1\", &plain);"),
                                            &tr__host_table, &error);
    assert_string_equal("one", one->block->name);
    assert_string_equal("two", two->block->name);
}

static void stacks_tell_the_file_that_a_plugin_came_from(void **state)
{
    (void)state;
    tr_error error;
    char text[256];
    const tr__plugin *plugin = tr__plugin_load(
        build("stacked", PLAIN "TR_PLUGIN_EXPORT(\"other\", \"1\", &plain);"), &tr__host_table, &error);
    assert_non_null(plugin);
    void *frame = (void *)(uintptr_t)plugin->block->actors[0]->receive;
    assert_text(tr__frame_text(frame, 0, text, sizeof(text)), "receive+0x0 (stacked.so+0x");
}

/* ---- in a node ----------------------------------------------------------------------------------------- */

TR_MESSAGE(ping, (u32, n))

static const char *data; /* the directory of the nodes' log; NULL: none */

static tr_err run_node(tr_err (*start)(tr_actor *self, void *arg), uint32_t loops, const char *const *plugins,
                       tr_error *error)
{
    *error = (tr_error){0};
    tr_node *node = tr_node_create(
        &(tr_node_opts){.start = start, .loops = loops, .plugins = plugins, .data = data}, error);
    assert_non_null(node);
    tr_err err = tr_node_run(node, error);
    tr_node_destroy(node);
    return err;
}

static tr_err ask_both(tr_actor *self, void *arg)
{
    (void)arg;
    const ping *answer;
    tr_addr pair = tr_whereis(self, "pair"), other = tr_whereis(self, "pair.other");
    TR_TRY(tr_await(self, tr_ask(self, pair, TR_SECONDS(5), ping, .n = 1), ping, &answer));
    TR_TRY(tr_await(self, tr_ask(self, other, TR_SECONDS(5), ping, .n = answer->n), ping, &answer));
    return answer->n == 3 ? TR_OK : tr_fail(self, TR_EAPP, "answered %u", answer->n);
}

/* One end is followed by a new beginning under the same name. */
static tr_err end_it_once(tr_actor *self, void *arg)
{
    tr_addr first = tr_whereis(self, "pair");
    const tr_found *found;
    uint64_t monitor = tr_monitor(self, first);
    TR_TRY(tr_send(self, first, ping, .n = 0));
    const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
    if (!monitor || !msg || !tr_match(msg, tr_down))
        return tr_fail(self, TR_EAPP, "it didn't end");
    TR_TRY(tr_await(self, tr_lookup(self, "pair", TR_SECONDS(5)), tr_found, &found));
    return tr_addr_equal(found->actor, first) ? tr_fail(self, TR_EAPP, "the old address")
                                              : ask_both(self, arg);
}

static void its_actors_run_under_its_name_and_are_started_again(void **state)
{
    (void)state;
    char file[256];
    snprintf(file, sizeof(file), "%s",
             build("pair", PLAIN "TR_ACTOR(other, .receive = receive);\n"
                                 "TR_PLUGIN_EXPORT(\"pair\", \"1\", &plain, &other);"));
    const char *const plugins[] = {file, NULL};
    tr_error error;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        if (run_node(ask_both, loops, plugins, &error) != TR_OK)
            fail_msg("%s", error.text);
        if (run_node(end_it_once, loops, plugins, &error) != TR_OK)
            fail_msg("%s", error.text);
    }
}

TR_MESSAGE(invoice, (u32, n), (list, string, lines), (buffer, scan))
TR_MESSAGE(paid, (u32, n), (bool, had_due), (bytes, seen))
TR_MESSAGE(tick, (u32, n))

static tr_err ask_the_newer(tr_actor *self, void *arg)
{
    (void)arg;
    static const char *const lines[] = {"tea", "milk"};
    const paid *answer;
    const tr_msg *other;
    tr_addr to = tr_whereis(self, "office");
    const tr_buffer *scan = tr_buffer_make(self, "scan", 4);
    TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(5), invoice, .n = 7, .lines = {lines, 2}, .scan = scan),
                    paid, &answer));
    if (answer->n != 9 || answer->had_due || answer->seen.size != 4 ||
        memcmp(answer->seen.data, "scan", 4) != 0)
        return tr_fail(self, TR_EAPP, "answered %u %d", answer->n, answer->had_due);
    tr_err err = tr_await_msg(self, tr_ask(self, to, TR_SECONDS(5), tick, .n = 7), &other);
    return err == TR_ENOACTOR ? TR_OK : tr_fail(self, TR_EAPP, "a tick was understood");
}

/* What they only have in common by name is told in the log, and seen by neither. */
static void a_plugin_with_newer_message_types_understands_older_ones(void **state)
{
    (void)state;
    const char *const plugins[] = {
        build("office",
              "#define TR_PLUGIN\n#include <troupe/troupe.h>\n"
              "TR_MESSAGE(invoice, (u32, n), (list, string, lines), (buffer, scan), (optional, u32, due))\n"
              "TR_MESSAGE(paid, (u32, n), (bool, had_due), (bytes, seen), (optional, list, u32, more))\n"
              "TR_MESSAGE(tick, (u64, n))\n"
              "static void receive(tr_actor *self, void *state, const tr_msg *m)\n"
              "{ const invoice *i = tr_match(m, invoice);\n"
              "  const uint32_t more[] = {1, 2};\n"
              "  if (tr_match(m, tick)) tr_reply(self, m, tick, .n = 1);\n"
              "  if (i) tr_reply(self, m, paid, .n = i->n + i->lines.count, .had_due = i->due.present,\n"
              "                  .seen = {i->scan->data, i->scan->size}, .more = TR_SOME({more, 2})); }\n"
              "TR_ACTOR(office, .receive = receive);\nTR_PLUGIN_EXPORT(\"office\", \"1\", &office);\n"),
        NULL};
    tr_error error;
    for (uint32_t loops = 1; loops <= 2; loops++)
        if (run_node(ask_the_newer, loops, plugins, &error) != TR_OK)
            fail_msg("%s", error.text);
}

TR_MESSAGE(add, TR_WRITES, (i64, number))
TR_MESSAGE(sum_is, (i64, number))

static tr_err add_two(tr_actor *self, tr_tx *tx, void *arg)
{
    const sum_is *sum;
    (void)self;
    TR_TRY(tr_tx_await_reply(tx, "sum", sum_is, &sum, add, .number = 2));
    *(int64_t *)arg = sum->number;
    return TR_OK;
}

static tr_err add_in_a_transaction(tr_actor *self, void *arg)
{
    int64_t sum = 0;
    (void)arg;
    for (int64_t wanted = 2; wanted <= 4; wanted += 2) {
        tr_tx_outcome out = tr_tx_run(self, add_two, &sum, NULL);
        if (out.status != TR_TX_COMMITTED || sum != wanted)
            return tr_fail(self, TR_EAPP, "%d: %s", (int)sum, out.text);
    }
    return TR_OK;
}

static void an_actor_of_a_plugin_takes_part_in_transactions(void **state)
{
    (void)state;
    const char *const plugins[] = {
        build("sum", "#define TR_PLUGIN\n#include <troupe/troupe.h>\n"
                     "TR_MESSAGE(add, TR_WRITES, (i64, number))\nTR_MESSAGE(sum_is, (i64, number))\n"
                     "static tr_err transact(tr_txview *v, void *state, const tr_msg *msg)\n"
                     "{ const add *a = tr_match(msg, add); int64_t sum = tr_view_i64(v, \"sum\", 0);\n"
                     "  if (!a) return tr_refuse(v, \"what is a %s?\", tr_msg_type_name(msg));\n"
                     "  TR_TRY(tr_view_reply(v, sum_is, .number = sum + a->number));\n"
                     "  return tr_view_put_i64(v, \"sum\", sum + a->number); }\n"
                     "TR_ACTOR(sum, .transact = transact);\nTR_PLUGIN_EXPORT(\"sum\", \"1\", &sum);\n"),
        NULL};
    tr_error error;
    assert_int_equal(TR_EINVAL, run_node(add_in_a_transaction, 1, plugins, &error));
    assert_text(error.text, "--data DIR");
    data = directory;
    tr_err err = run_node(add_in_a_transaction, 2, plugins, &error);
    data = NULL;
    if (err != TR_OK)
        fail_msg("%s", error.text);
}

/* Of the version `more` says, which keeps so many times its number more than the one before. */
static char *build_stock(const char *name, const char *more)
{
    char source[2048];
    snprintf(source, sizeof(source),
             "#define TR_PLUGIN\n#include <troupe/troupe.h>\n"
             "TR_MESSAGE(add, TR_WRITES, (i64, number))\nTR_MESSAGE(sum_is, (i64, number))\n"
             "static tr_err ten_times(tr_txview *v, const char *key, tr_bytes value, void *context)\n"
             "{ return tr_view_put_i64(v, key, 10 * tr_view_i64(v, key, 0)); }\n"
             "static __attribute__((unused)) tr_err migrate(tr_txview *v, uint32_t from)\n"
             "{ return tr_view_each(v, ten_times, NULL); }\n"
             "static tr_err transact(tr_txview *v, void *state, const tr_msg *msg)\n"
             "{ const add *a = tr_match(msg, add); int64_t sum = tr_view_i64(v, \"stock\", 0);\n"
             "  TR_TRY(tr_view_reply(v, sum_is, .number = sum + a->number));\n"
             "  return tr_view_put_i64(v, \"stock\", sum + a->number); }\n"
             "TR_ACTOR(stock, .transact = transact%s);\nTR_PLUGIN_EXPORT(\"stock\", \"1\", &stock);\n",
             more);
    return strdup(build(name, source));
}

static int64_t stock_wanted;

static tr_err add_three(tr_actor *self, tr_tx *tx, void *arg)
{
    const sum_is *sum;
    (void)self;
    TR_TRY(tr_tx_await_reply(tx, "stock", sum_is, &sum, add, .number = 3));
    *(int64_t *)arg = sum->number;
    return TR_OK;
}

static tr_err add_to_stock(tr_actor *self, void *arg)
{
    int64_t sum = 0;
    (void)arg;
    tr_tx_outcome out = tr_tx_run(self, add_three, &sum, NULL);
    return out.status == TR_TX_COMMITTED && sum == stock_wanted
               ? TR_OK
               : tr_fail(self, TR_EAPP, "%d: %s", (int)sum, out.text);
}

static void a_newer_plugin_in_its_place_migrates_what_its_actors_keep(void **state)
{
    static const struct {
        const char *more;
        int64_t wanted; /* 0: it doesn't start */
    } rows[] = {
        {"", 3},
        {"", 6},
        {", .state_version = 2, .migrate = migrate", 603},
        {", .state_version = 1, .migrate = migrate", 0},
        {"", 0},
        {", .state_version = 3, .migrate = migrate", 6033},
        {", .state_version = 3", 6036},
        {", .state_version = 4", 0},
    };
    (void)state;
    data = directory;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        char name[16];
        tr_error error;
        snprintf(name, sizeof(name), "stock%zu", i);
        char *const file = build_stock(name, rows[i].more);
        stock_wanted = rows[i].wanted;
        tr_err err = run_node(add_to_stock, 1 + i % 2, (const char *const[]){file, NULL}, &error);
        if (err != (rows[i].wanted ? TR_OK : TR_EVERSION))
            fail_msg("row %zu: %s", i, error.text);
        if (!rows[i].wanted)
            assert_text(error.text, "what stock keeps is of version ");
        free(file);
    }
    data = NULL;
}

static tr_err never(tr_actor *self, void *arg)
{
    (void)arg;
    return tr_fail(self, TR_EAPP, "start was run");
}

static void an_init_that_fails_stops_the_node_and_is_named(void **state)
{
    (void)state;
    char file[256];
    snprintf(file, sizeof(file), "%s",
             build("broken", HEAD "static tr_err init(tr_actor *self, void *state, const void *arg)\n"
                                  "{ return tr_fail(self, TR_EAPP, \"no licence found\"); }\n"
                                  "TR_ACTOR(broken_def, .init = init, .receive = receive);\n"
                                  "TR_PLUGIN_EXPORT(\"broken\", \"1\", &broken_def);"));
    const char *const plugins[] = {file, NULL};
    tr_error error;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        assert_int_equal(TR_EAPP, run_node(never, loops, plugins, &error));
        assert_text(error.text, "plugin broken (");
        assert_text(error.text, "its actor broken_def failed in init: no licence found");
    }
}

static void a_name_that_is_taken_and_a_missing_file_stop_the_node(void **state)
{
    (void)state;
    char file[256], missing[256];
    snprintf(file, sizeof(file), "%s", build("same", PLAIN "TR_PLUGIN_EXPORT(\"same\", \"1\", &plain);"));
    snprintf(missing, sizeof(missing), "%s", path_of("missing.so"));
    const char *const twice[] = {file, file, NULL}, *const gone[] = {file, missing, NULL};
    tr_error error;
    assert_int_equal(TR_EEXIST, run_node(never, 1, twice, &error));
    assert_text(error.text, "the name \"same\" is taken");
    assert_int_equal(TR_ENOTFOUND, run_node(never, 1, gone, &error));
    assert_text(error.text, "missing.so: there is no such file");
}

static tr_err wait_here(tr_actor *self, void *arg)
{
    (void)arg;
    tr_receive(self, TR_SECONDS(30));
    return tr_fail(self, TR_EDEADLINE, "nothing stopped the node");
}

static void a_plugin_that_keeps_ending_stops_the_node(void **state)
{
    (void)state;
    char file[256];
    snprintf(file, sizeof(file), "%s",
             build("restless", HEAD "static tr_err init(tr_actor *self, void *state, const void *arg)\n"
                                    "{ return tr_send(self, tr_self(self), ping, .n = 0); }\n"
                                    "TR_ACTOR(restless_def, .init = init, .receive = receive);\n"
                                    "TR_PLUGIN_EXPORT(\"restless\", \"1\", &restless_def);"));
    const char *const plugins[] = {file, NULL};
    tr_error error;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        assert_int_equal(TR_EAPP, run_node(wait_here, loops, plugins, &error));
        assert_text(error.text, "restless ended more than 5 times");
        assert_text(error.text, "had enough");
    }
}

/* ---- the program --------------------------------------------------------------------------------------- */

static void plugin_check_tells_or_refuses(void **state)
{
    (void)state;
    const char *troupe = getenv("TROUPE_BIN");
    build("seen", PLAIN "TR_PLUGIN_EXPORT(\"seen\", \"2.1\", &plain);");
    assert_int_equal(0, run("'%s' plugin check seen.so", troupe));
    assert_text(output(), "plugin   seen 2.1\n");
    assert_text(output(), "actor    plain: runs as \"seen\"");
    assert_text(output(), "message  ping(u32 n)\n");
    assert_int_equal(1, run("'%s' plugin check nowhere.so", troupe));
    assert_text(output(), "plugin nowhere.so: there is no such file");
    assert_int_equal(2, run("'%s' plugin check", troupe));
    assert_int_equal(1, run("'%s' node --plugin nowhere.so", troupe));
    assert_text(output(), "plugin nowhere.so: there is no such file");
    assert_int_equal(0, run("chmod o+w seen.so"));
    assert_int_equal(1, run("'%s' node --plugin seen.so", troupe));
    assert_text(output(), "anybody could put code there: chmod go-w the file\n"); /* to its last letter */
}

static void new_refuses_bad_names_and_what_exists(void **state)
{
    (void)state;
    const char *troupe = getenv("TROUPE_BIN");
    assert_int_equal(2, run("'%s' new plugin ../up", troupe));
    assert_int_equal(2, run("'%s' new plugin Upper", troupe));
    assert_int_equal(2, run("'%s' new plugin tr_x", troupe));
    assert_int_equal(2, run("'%s' new", troupe));
    assert_int_equal(0, run("mkdir there && echo mine > there/there.c"));
    assert_int_equal(1, run("'%s' new plugin there", troupe));
    assert_text(output(), "it exists already");
    assert_int_equal(0, run("grep -q mine there/there.c"));
}

/* As a user does it, with an umask that leaves things open to the group. */
static void a_new_plugin_builds_tests_and_runs_without_an_edit(void **state)
{
    (void)state;
    char here[512];
    assert_non_null(getcwd(here, sizeof(here)));
    setenv("CMAKE_GENERATOR", "Ninja", 1); /* what builds Troupe is here; make may not be */
    if (run("cmake --install '%s' --prefix %s/prefix", here, directory) != 0)
        fail_msg("%s", output());
    if (run("umask 002; prefix/bin/troupe new plugin counter && cd counter && cmake --workflow --preset "
            "default"))
        fail_msg("%s", output());
    assert_text(output(), "100% tests passed");
    if (run("umask 002; cd counter && rm -rf build && grep '^    ' README.md | grep -v -e workflow -e ' node "
            "' > steps"
            " && sh -e steps"))
        fail_msg("%s", output());
    assert_text(output(), "actor    counter_def: runs as \"counter\"");
    /* The node says on its standard output when the plugin is up; then it is asked to end. */
    if (run("mkfifo said; prefix/bin/troupe node --plugin counter/build/counter.so >said & read line <said;"
            " echo \"$line\"; kill -INT $!; wait $!"))
        fail_msg("%s", output());
    assert_text(output(), "the node runs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_none_is_refused),
        cmocka_unit_test(a_file_that_others_can_write_is_refused),
        cmocka_unit_test(a_library_without_a_good_block_is_refused),
        cmocka_unit_test(an_older_minor_loads_and_another_major_does_not),
        cmocka_unit_test(two_plugins_are_two_libraries),
        cmocka_unit_test(stacks_tell_the_file_that_a_plugin_came_from),
        cmocka_unit_test(its_actors_run_under_its_name_and_are_started_again),
        cmocka_unit_test(a_plugin_with_newer_message_types_understands_older_ones),
        cmocka_unit_test(an_actor_of_a_plugin_takes_part_in_transactions),
        cmocka_unit_test(a_newer_plugin_in_its_place_migrates_what_its_actors_keep),
        cmocka_unit_test(an_init_that_fails_stops_the_node_and_is_named),
        cmocka_unit_test(a_name_that_is_taken_and_a_missing_file_stop_the_node),
        cmocka_unit_test(a_plugin_that_keeps_ending_stops_the_node),
        cmocka_unit_test(plugin_check_tells_or_refuses),
        cmocka_unit_test(new_refuses_bad_names_and_what_exists),
        cmocka_unit_test(a_new_plugin_builds_tests_and_runs_without_an_edit),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
