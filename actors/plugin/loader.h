/* Loading plugins: a .so is opened from a private copy, checked, given the host table, and its message types
 * are registered. A plugin that was loaded stays for ever (its code is never unloaded), and so does its
 * record: the definitions in it may be used by any actor until the process ends. */
#ifndef TR_ACTORS_PLUGIN_LOADER_H
#define TR_ACTORS_PLUGIN_LOADER_H

#include <troupe/plugin.h>

#include "actors/plugin/host.h"

#define TR__PLUGIN_ACTORS_MAX 64
#define TR__PLUGIN_TYPES_MAX  1024

struct tr__plugin;

/* One exported actor. `def` is the plugin's definition with an init (and run) around its own, which report to
 * `manager`. */
typedef struct tr__plugin_actor {
    const struct tr__plugin *plugin;
    const tr_actor_def *own; /* as the plugin has it */
    tr_actor_def def;
    tr_addr manager;
    char name[TR_NAME_MAX]; /* what it is registered as */
} tr__plugin_actor;

typedef struct tr__plugin {
    struct tr__plugin *next; /* all that were loaded: the loader's */
    void *handle;            /* dlopen's */
    const tr_plugin_block *block;
    const char *build; /* "" if it says none */
    uint32_t actor_count;
    tr__plugin_actor *actors;
    char file[]; /* as it was given, cut in front if it is long */
} tr__plugin;

/* Load it for a node with that host table. It runs on the calling thread, blocking; the .so's constructors
 * run before anything of it is checked. NULL with *error filled: TR_ENOTFOUND, TR_EPERM, TR_EVERSION,
 * TR_EINVAL, TR_ETOOBIG, TR_ENOMEM, TR_EIO. What is returned is never freed. Any thread. */
tr__plugin *tr__plugin_load(const char *file, const tr_host *host, tr_error *error);

/* What it exports under another name; NULL: nothing. */
const void *tr__plugin_find(const tr__plugin *plugin, const char *symbol);

/* ---- loader_os.c: files and dlopen --------------------------------------------------------------------- */

/* Check the file (regular, writable by nobody but its owner, its directory as well), copy it into memory that
 * nobody can change any more, and load that. `shown` is the file's name for texts. The handle is never
 * closed. */
tr_err tr__plugin_open(const char *file, const char *shown, void **handle, tr_error *error);
/* The exported symbol `tr_plugin`, and how large the .so says that it is. TR_EINVAL. */
tr_err tr__plugin_symbol(void *handle, const char *shown, const void **symbol, size_t *size, tr_error *error);

#endif
