/* The same API, called through the table that the node hands to a plugin. A source file that is to be part of
 * a plugin says `#define TR_PLUGIN` before it includes <troupe/troupe.h>; nothing else in it changes, and the
 * .so links no library of Troupe's.
 *
 * The table's pointer is one hidden symbol a .so, defined by TR_PLUGIN_EXPORT and set by the node before any
 * other code of the plugin runs, but for what the .so itself has run when it is loaded (constructors): those
 * can't call Troupe. A plugin is never unloaded. */
#ifndef TROUPE_PLUGIN_H
#define TROUPE_PLUGIN_H

#include <stdarg.h>

#include <troupe/actor.h>
#include <troupe/tx.h>

#define TR_ABI_MAJOR 5 /* another: the plugin is refused */
#define TR_ABI_MINOR 1 /* functions are only appended; a plugin built for an older minor still loads */

/* One entry a function of api_list.h; the printf-like ones as their va_list form. Size-prefixed: an older
 * plugin sees the front of it. */
typedef struct tr_host {
    uint32_t size; /* bytes */
    uint32_t abi_major, abi_minor;
#define TR_FN(returns, name, parameters, arguments) returns(*name) parameters;
#define TR_FNV(returns, name, index, parameters, arguments) \
    returns (*v##name)(TR__UNWRAP parameters, va_list args);
#include <troupe/api_list.h>
#undef TR_FN
#undef TR_FNV
} tr_host;

#define TR_PLUGIN_MAGIC 0x65707572546c5031ull

/* What a .so exports as `tr_plugin`. Fields are only appended; `size` says how many there are. */
typedef struct tr_plugin_block {
    uint64_t magic;
    uint32_t size; /* of this block, bytes */
    uint32_t abi_major, abi_minor;
    const char *name, *version;               /* TR_NAME_MAX each; the name: letters, digits, '_', '-' */
    const char *build;                        /* what it was built with, or from; for people */
    const tr_host **host;                     /* where the node puts its table */
    tr_type *const *types, *const *types_end; /* the message types that the plugin declares */
    const tr_actor_def *const *actors;        /* ends with NULL */
} tr_plugin_block;

#ifdef TR_PLUGIN

extern const tr_host *tr__host __attribute__((visibility("hidden")));

static inline void tr__va_end(va_list *args)
{
    va_end(*args);
}

#define TR_FN(returns, name, parameters, arguments)                    \
    static inline __attribute__((unused)) returns tr_##name parameters \
    {                                                                  \
        return tr__host->name arguments;                               \
    }
#define TR_FNV(returns, name, index, parameters, arguments)                 \
    static inline __attribute__((unused, format(printf, index, index + 1))) \
    returns tr_##name(TR__UNWRAP parameters, ...)                           \
    {                                                                       \
        __attribute__((cleanup(tr__va_end))) va_list args;                  \
        va_start(args, format);                                             \
        return tr__host->v##name(TR__UNWRAP arguments, args);               \
    }
#include <troupe/api_list.h>
#undef TR_FN
#undef TR_FNV

extern tr_type *const __start_tr_types[] __attribute__((weak, visibility("hidden")));
extern tr_type *const __stop_tr_types[] __attribute__((weak, visibility("hidden")));

/* What `troupe plugin check` shows as the build; a build system may say better (a commit, say). */
#ifndef TR_PLUGIN_BUILD
#ifdef __clang__
#define TR_PLUGIN_BUILD __VERSION__
#else
#define TR_PLUGIN_BUILD "gcc " __VERSION__
#endif
#endif

/* TR_PLUGIN_EXPORT("greeter", "1.0.0", &greeter_def): once a .so, after the definitions. A node that loads it
 * starts each of these, supervised and with a NULL argument: the first goes by the plugin's name ("greeter"),
 * another by both names ("greeter.helper_def"). One with `receive` is started again whenever it ends, one with
 * `run` when it ends with an error. */
#define TR_PLUGIN_EXPORT(name_, version_, ...)                                  \
    const tr_host *tr__host;                                                    \
    static const tr_actor_def *const tr__plugin_actors[] = {__VA_ARGS__, NULL}; \
    extern const tr_plugin_block tr_plugin;                                     \
    __attribute__((visibility("default"))) const tr_plugin_block tr_plugin = {  \
        .magic = TR_PLUGIN_MAGIC,                                               \
        .size = sizeof(tr_plugin_block),                                        \
        .abi_major = TR_ABI_MAJOR,                                              \
        .abi_minor = TR_ABI_MINOR,                                              \
        .name = name_,                                                          \
        .version = version_,                                                    \
        .build = TR_PLUGIN_BUILD,                                               \
        .host = &tr__host,                                                      \
        .types = __start_tr_types,                                              \
        .types_end = __stop_tr_types,                                           \
        .actors = tr__plugin_actors,                                            \
    }

#endif

#endif
