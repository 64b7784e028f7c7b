/* `troupe plugin check FILE.so`: loads it as a node would (its constructors run, its actors don't) and tells
 * what it has. The main thread. A plugin that a node would refuse is exit status 1, with the node's words. */
#include <stdio.h>
#include <string.h>

#include "actors/plugin/loader.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "mailbox/type.h"

static const char usage[] =
    "usage: troupe plugin check FILE.so\n"
    "  tells name, version, ABI, actors and message types of a plugin, or why a node\n"
    "  would refuse it (exit status 1)\n";

static void print_actors(const tr__plugin *plugin)
{
    for (uint32_t i = 0; i < plugin->actor_count; i++) {
        const tr__plugin_actor *actor = &plugin->actors[i];
        printf("actor    %s: runs as \"%s\", %s, %zu bytes of state\n", actor->own->name, actor->name,
               actor->own->run ? "a fiber" : "handles messages", actor->own->state_size);
    }
}

static void print_types(const tr_plugin_block *block)
{
    for (tr_type *const *type = block->types; type < block->types_end; type++)
        if (strncmp((*type)->name, "tr_", 3) != 0) /* those come with Troupe's headers */
            printf("message  %s\n", (*type)->registered->schema);
}

static int check(const char *file)
{
    tr_error error;
    const tr__plugin *plugin = tr__plugin_load(file, &tr__host_table, &error);
    if (!plugin) {
        fprintf(stderr, "troupe: %s\n", error.text);
        return 1;
    }
    const tr_plugin_block *block = plugin->block;
    printf("plugin   %s %s\n", block->name, block->version);
    printf("ABI      %u.%u (this Troupe has %u.%u)\n", block->abi_major, block->abi_minor,
           tr__host_table.abi_major, tr__host_table.abi_minor);
    printf("build    %s\n", plugin->build);
    print_actors(plugin);
    print_types(block);
    return 0;
}

int cli_plugin(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("%s", usage);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "check") == 0)
        return check(argv[2]);
    return cli_bad_words("plugin", argc > 1 ? argv[1] : NULL, "check", usage);
}
