/* See loader.h. What a plugin says of itself is checked here field by field before it is used; each refusal
 * names the file, what is wrong with it, and what to do. Nothing here defends against a hostile .so: its code
 * has run by then (who can write to the file is what counts, see loader_os.c). Any thread; the list of what
 * was loaded is appended to without a lock. */
#include "actors/plugin/loader.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mailbox/type.h"

#define SHOWN_MAX 80 /* bytes of a path in a text: its end, which tells files apart */

/* Up to what the first ABI has. */
#define BLOCK_MIN (offsetof(tr_plugin_block, actors) + sizeof(((tr_plugin_block *)0)->actors))

/* Reachable for ever, as the code is. */
static _Atomic(tr__plugin *) loaded;

static tr_err refuse(tr_error *error, const tr__plugin *plugin, const char *what)
{
    return tr__fail(error, TR_EINVAL, "plugin %s: %s", plugin->file, what);
}

/* ---- the block ----------------------------------------------------------------------------------------- */

static tr_err check_version(const tr__plugin *plugin, const tr_host *host, tr_error *error)
{
    const tr_plugin_block *block = plugin->block;
    if (block->abi_major == host->abi_major && block->abi_minor <= host->abi_minor)
        return TR_OK;
    bool newer = block->abi_major > host->abi_major ||
                 (block->abi_major == host->abi_major && block->abi_minor > host->abi_minor);
    return tr__fail(error, TR_EVERSION,
                    "plugin %s: built for ABI %u.%u, this node has %u.%u: rebuild it with the "
                    "headers of this Troupe (%s)%s",
                    plugin->file, block->abi_major, block->abi_minor, host->abi_major, host->abi_minor,
                    TR_VERSION, newer ? ", or run a newer node" : "");
}

static bool is_name(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    return length > 0 && length < TR_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == length;
}

static tr_err check_block(const tr__plugin *plugin, size_t symbol_size, const tr_host *host, tr_error *error)
{
    const tr_plugin_block *block = plugin->block;
    if (symbol_size < offsetof(tr_plugin_block, name) || block->magic != TR_PLUGIN_MAGIC)
        return refuse(error, plugin,
                      "its symbol tr_plugin is something else (no magic number): only TR_PLUGIN_EXPORT may "
                      "define it");
    TR_TRY(check_version(plugin, host, error));
    if (block->size < BLOCK_MIN || symbol_size < block->size)
        return tr__fail(
            error, TR_EINVAL,
            "plugin %s: its tr_plugin block says %u bytes and has %zu, ABI %u.%u needs %zu: rebuild it",
            plugin->file, block->size, symbol_size, block->abi_major, block->abi_minor, BLOCK_MIN);
    if (!is_name(block->name))
        return refuse(error, plugin,
                      "its name must be 1 to 63 letters, digits, '_' or '-': see its TR_PLUGIN_EXPORT");
    if (!block->version || !block->version[0] || strlen(block->version) >= TR_NAME_MAX)
        return refuse(error, plugin, "its version must have 1 to 63 bytes: see its TR_PLUGIN_EXPORT");
    if (!block->host || !block->actors)
        return refuse(error, plugin, "its tr_plugin block has empty places: use TR_PLUGIN_EXPORT");
    return TR_OK;
}

/* ---- actors -------------------------------------------------------------------------------------------- */

static tr_err check_actor(const tr__plugin *plugin, uint32_t index, tr_error *error)
{
    const tr_actor_def *const *all = plugin->block->actors, *def = all[index];
    if (!def->name || !def->name[0])
        return tr__fail(error, TR_EINVAL, "plugin %s: its actor %u has no name: define it by TR_ACTOR",
                        plugin->file, index);
    if (def->transact && def->run)
        return tr__fail(error, TR_EINVAL,
                        "plugin %s: its actor %s has transact, and run: only receive goes with it",
                        plugin->file, def->name);
    if (!def->transact && !def->receive == !def->run)
        return tr__fail(error, TR_EINVAL,
                        "plugin %s: its actor %s has %s receive %s run: give it one of them", plugin->file,
                        def->name, def->receive ? "both" : "neither", def->receive ? "and" : "nor");
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(all[i]->name, def->name) == 0)
            return tr__fail(
                error, TR_EEXIST,
                "plugin %s: two of its actors are named %s: give each definition a name of its own",
                plugin->file, def->name);
    return TR_OK;
}

static tr_err take_actors(tr__plugin *plugin, tr_error *error)
{
    const tr_plugin_block *block = plugin->block;
    uint32_t count = 0;
    while (count < TR__PLUGIN_ACTORS_MAX && block->actors[count])
        TR_TRY(check_actor(plugin, count++, error));
    if (count == 0)
        return refuse(error, plugin, "it exports no actors: list them in its TR_PLUGIN_EXPORT");
    if (count == TR__PLUGIN_ACTORS_MAX)
        return refuse(error, plugin, "it exports 64 actors or more: let one of them spawn the others");
    plugin->actors = tr__zalloc(count * sizeof(*plugin->actors));
    if (!plugin->actors)
        return tr__fail(error, TR_ENOMEM, "plugin %s: no memory for its %u actors", plugin->file, count);
    plugin->actor_count = count;
    for (uint32_t i = 0; i < count; i++) {
        tr__plugin_actor *actor = &plugin->actors[i];
        actor->plugin = plugin;
        actor->own = block->actors[i];
        size_t length = (size_t)snprintf(actor->name, sizeof(actor->name), "%s%s%s", block->name,
                                         i ? "." : "", i ? actor->own->name : "");
        if (length >= sizeof(actor->name) || strchr(actor->name, '/'))
            return tr__fail(error, TR_EINVAL,
                            "plugin %s: \"%s.%s\" can't be an actor's name: at most %d bytes, no '/'",
                            plugin->file, block->name, actor->own->name, TR_NAME_MAX - 1);
    }
    return TR_OK;
}

/* ---- message types ------------------------------------------------------------------------------------- */

static tr_err check_type(const tr__plugin *plugin, const tr_type *type, tr_error *error)
{
    const char *wrong = tr__type_wrong(type);
    return !wrong
               ? TR_OK
               : tr__fail(error, TR_EINVAL,
                          "plugin %s: its message type %s is broken (%s): declare types by TR_MESSAGE only",
                          plugin->file, type && type->name ? type->name : "(without a name)", wrong);
}

static tr_err register_types(const tr__plugin *plugin, tr_error *error)
{
    const tr_plugin_block *block = plugin->block;
    size_t count =
        block->types && block->types_end >= block->types ? (size_t)(block->types_end - block->types) : 0;
    if (count > TR__PLUGIN_TYPES_MAX)
        return refuse(error, plugin, "it declares more than 1,024 message types");
    for (size_t i = 0; i < count; i++) {
        TR_TRY(check_type(plugin, block->types[i], error));
        if (!tr__type_of(block->types[i]))
            return tr__fail(error, TR_ENOMEM, "plugin %s: no memory for its message types", plugin->file);
    }
    return TR_OK;
}

/* ---- loading ------------------------------------------------------------------------------------------- */

static tr__plugin *record_make(const char *file, tr_error *error)
{
    size_t length = strlen(file), cut = length > SHOWN_MAX ? length - SHOWN_MAX : 0;
    tr__plugin *plugin = tr__zalloc(sizeof(*plugin) + SHOWN_MAX + sizeof("..."));
    if (!plugin) {
        tr__fail(error, TR_ENOMEM, "no memory to load the plugin %s", file + cut);
        return NULL;
    }
    snprintf(plugin->file, SHOWN_MAX + sizeof("..."), "%s%s", cut ? "..." : "", file + cut);
    plugin->build = "";
    return plugin;
}

static tr_err load(tr__plugin *plugin, const char *file, const tr_host *host, tr_error *error)
{
    const void *symbol;
    size_t size;
    TR_TRY(tr__plugin_open(file, plugin->file, &plugin->handle, error));
    TR_TRY(tr__plugin_symbol(plugin->handle, plugin->file, &symbol, &size, error));
    plugin->block = symbol;
    TR_TRY(check_block(plugin, size, host, error));
    if (plugin->block->build)
        plugin->build = plugin->block->build;
    *plugin->block->host = host; /* from here on its code may run */
    TR_TRY(take_actors(plugin, error));
    return register_types(plugin, error);
}

tr__plugin *tr__plugin_load(const char *file, const tr_host *host, tr_error *error)
{
    tr__plugin *plugin = record_make(file, error);
    if (!plugin)
        return NULL;
    if (load(plugin, file, host, error) != TR_OK) {
        tr__free(plugin->actors);
        tr__free(plugin);
        return NULL;
    }
    plugin->next = atomic_load(&loaded);
    while (!atomic_compare_exchange_weak(&loaded, &plugin->next, plugin))
        ;
    return plugin;
}
