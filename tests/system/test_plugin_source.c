/* The same source is an actor in a program and in a plugin: examples/hello's greeter, built with TR_PLUGIN
 * into a .so that links nothing of Troupe's, answers through the host table. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/plugin/host.h"
#include "actors/plugin/loader.h"
#include "base/backtrace_os.h"

TR_MESSAGE(greet, (string, name))
TR_MESSAGE(greeting, (string, text))

static const char source[] =
    "#define TR_PLUGIN\n"
    "#include <troupe/troupe.h>\n"
    "TR_MESSAGE(greet, (string, name))\n"
    "TR_MESSAGE(greeting, (string, text))\n"
    "static void greeter(tr_actor *self, void *state, const tr_msg *msg)\n"
    "{\n"
    "    (void)state;\n"
    "    const greet *g = tr_match(msg, greet);\n"
    "    if (g)\n"
    "        tr_reply(self, msg, greeting, .text = tr_fmt(self, \"hello, %s\", g->name));\n"
    "}\n"
    "TR_ACTOR(greeter_def, .receive = greeter);\n"
    "TR_PLUGIN_EXPORT(\"greeter\", \"1.0.0\", &greeter_def);\n";

static char library[256];

static void build(const char *compiler)
{
    char path[128], command[1024];
    snprintf(path, sizeof(path), "/tmp/troupe-plugin-%d.c", (int)getpid());
    snprintf(library, sizeof(library), "/tmp/troupe-plugin-%d.so", (int)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(source, file);
    fclose(file);
    snprintf(command, sizeof(command),
             "%s -std=gnu17 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -Wl,-z,defs "
             "-I'%s/include' -o %s %s",
             compiler, getenv("TROUPE_SOURCE"), library, path);
    int status = system(command);
    unlink(path);
    assert_int_equal(0, status);
}

static tr_err start(tr_actor *self, void *arg)
{
    const greeting *answer;
    tr_addr to = tr_spawn(self, arg, NULL);
    TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(1), greet, .name = "plugin"), greeting, &answer));
    return strcmp(answer->text, "hello, plugin") == 0 ? TR_OK
                                                      : tr_fail(self, TR_EAPP, "it said: %s", answer->text);
}

static void the_same_source_answers_from_a_plugin(void **state)
{
    (void)state;
    build("cc");
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    unlink(library);
    if (!handle)
        fail_msg("%s", dlerror());
    const tr_plugin_block *block = dlsym(handle, "tr_plugin");
    assert_non_null(block);
    assert_true(block->magic == TR_PLUGIN_MAGIC && block->size == sizeof(*block));
    assert_int_equal(TR_ABI_MAJOR, block->abi_major);
    assert_string_equal("greeter", block->name);
    int own = 0; /* the others are the headers' */
    for (tr_type *const *type = block->types; type < block->types_end; type++)
        if (strncmp((*type)->name, "tr_", 3) != 0)
            own++;
    assert_int_equal(2, own);
    *block->host = &tr__host_table;
    tr_error error = {0};
    tr_node_opts opts = {.start = start, .arg = (void *)block->actors[0]};
    tr_node *node = tr_node_create(&opts, &error);
    assert_non_null(node);
    if (tr_node_run(node, &error) != TR_OK)
        fail_msg("%s", error.text);
    tr_node_destroy(node);
}

static void stacks_tell_the_file_that_a_plugin_came_from(void **state)
{
    (void)state;
    tr_error error = {0};
    char text[256], tail[64];
    build("umask 022; cc");
    const tr__plugin *plugin = tr__plugin_load(library, &tr__host_table, &error);
    unlink(library);
    if (!plugin)
        fail_msg("%s", error.text);
    snprintf(tail, sizeof(tail), "greeter+0x0 (%s+0x", strrchr(library, '/') + 1);
    tr__frame_text((void *)(uintptr_t)plugin->block->actors[0]->receive, 0, text, sizeof(text));
    if (!strstr(text, tail))
        fail_msg("%s", text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_same_source_answers_from_a_plugin),
                                       cmocka_unit_test(stacks_tell_the_file_that_a_plugin_came_from)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
