/* See rights_file_os.h. libyaml makes a document of it; its texts stay there, and the entries point to them. */
#include "actors/remote/rights_file_os.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/remote/rights.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/yaml_os.h"
#include "transport/frame.h"

struct tr__rights_file {
    yaml_document_t document;
    bool has_document;
    tr_rights *entries;
    uint32_t count;
    const char **words; /* all lists, each ended by NULL */
    size_t used;
};

typedef struct reader {
    tr__rights_file *file;
    const char *path;
    tr_error *error;
} reader;

static tr_err wrong(const reader *r, yaml_mark_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static tr_err wrong(const reader *r, yaml_mark_t at, const char *format, ...)
{
    char what[TR_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return tr__yaml_wrong(r->path, at, what, r->error);
}

static const yaml_node_t *node_of(const reader *r, int number)
{
    return yaml_document_get_node(&r->file->document, number);
}

/* A text without NUL bytes; NULL: it is none. */
static const char *text_of(const yaml_node_t *node)
{
    const char *text = node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
    return text && strlen(text) == node->data.scalar.length ? text : NULL;
}

/* ---- values -------------------------------------------------------------------------------------------- */

static tr_err take_list(reader *r, const char *key, const yaml_node_t *value, const char *const **list)
{
    if (value->type != YAML_SEQUENCE_NODE)
        return wrong(r, value->start_mark, "%s: a list is needed, as [one, \"two*\"]", key);
    *list = &r->file->words[r->file->used];
    for (const yaml_node_item_t *item = value->data.sequence.items.start;
         item < value->data.sequence.items.top; item++) {
        const yaml_node_t *entry = node_of(r, *item);
        const char *text = text_of(entry);
        if (!text || !text[0] || strlen(text) >= TR_NAME_MAX)
            return wrong(r, entry->start_mark, "%s: names of 1 to %d bytes are needed", key, TR_NAME_MAX - 1);
        r->file->words[r->file->used++] = text;
    }
    r->file->words[r->file->used++] = NULL;
    return TR_OK;
}

static tr_err take_may(reader *r, const yaml_node_t *value, uint32_t *may)
{
    static const struct {
        const char *word;
        uint32_t bit;
    } rows[] = {
#define TR__ROW(name, word, bit) {word, bit},
        TR__RIGHTS(TR__ROW)
#undef TR__ROW
    };
    const char *const *list;
    TR_TRY(take_list(r, "may", value, &list));
    for (size_t i = 0; list[i]; i++) {
        uint32_t bit = 0;
        for (size_t row = 0; row < TR_COUNT(rows); row++)
            bit |= strcmp(rows[row].word, list[i]) == 0 ? rows[row].bit : 0;
        if (!bit)
            return wrong(r, node_of(r, value->data.sequence.items.start[i])->start_mark,
                         "may: there is no \"%s\" here; known are: send, link, stop, transact, subscribe",
                         list[i]);
        *may |= bit;
    }
    return TR_OK;
}

/* "100", "64K", "10M", "1G"; units of 1024. */
static tr_err take_number(reader *r, const char *key, const yaml_node_t *value, uint64_t least, uint64_t most,
                          uint64_t *number)
{
    static const char units[] = "KMG";
    const char *text = text_of(value);
    char *end = "";
    *number = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (unit && *number < UINT64_C(1) << 32) {
        *number <<= 10 * (unit - units + 1);
        end++;
    }
    if (*end || *number < least || *number > most)
        return wrong(r, value->start_mark, "%s: a number from %llu to %llu is needed, as 4096, 64K, 10M", key,
                     (unsigned long long)least, (unsigned long long)most);
    return TR_OK;
}

static tr_err take_value(reader *r, const char *key, const yaml_node_t *value, tr_rights *entry)
{
    uint64_t number;
    if (strcmp(key, "may") == 0)
        return take_may(r, value, &entry->may);
    if (strcmp(key, "names") == 0)
        return take_list(r, key, value, &entry->names);
    if (strcmp(key, "spawn") == 0)
        return take_list(r, key, value, &entry->spawn);
    if (strcmp(key, "rate") == 0)
        return take_number(r, key, value, TR__RATE_MIN, UINT64_C(1) << 40, &entry->rate);
    if (strcmp(key, "burst") == 0)
        return take_number(r, key, value, 1, UINT64_C(1) << 40, &entry->burst);
    TR_TRY(take_number(r, key, value, 1, TR__SPAWN_MAX, &number));
    entry->spawn_max = (uint32_t)number;
    return TR_OK;
}

/* ---- entries ------------------------------------------------------------------------------------------- */

static tr_err take_entry(reader *r, const yaml_node_t *map, tr_rights *entry)
{
    static const char *const keys[] = {"may", "names", "spawn", "spawn_max", "rate", "burst"};
    bool seen[TR_COUNT(keys)] = {0};
    if (map->type != YAML_MAPPING_NODE)
        return wrong(r, map->start_mark, "what a peer may is needed here, as `may: [send]`");
    for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *key = node_of(r, pair->key);
        const char *word = text_of(key);
        size_t known = 0;
        while (known < TR_COUNT(keys) && (!word || strcmp(word, keys[known]) != 0))
            known++;
        if (known == TR_COUNT(keys))
            return wrong(
                r, key->start_mark,
                "there is no key \"%.40s\" here; known are: may, names, spawn, spawn_max, rate, burst",
                word ? word : "");
        if (seen[known])
            return wrong(r, key->start_mark, "a second \"%s\"", word);
        seen[known] = true;
        TR_TRY(take_value(r, word, node_of(r, pair->value), entry));
    }
    return TR_OK;
}

static tr_err take_all(reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->file->document);
    if (!root || root->type != YAML_MAPPING_NODE)
        return wrong(r, root ? root->start_mark : (yaml_mark_t){0},
                     "names of nodes are needed, each with what it may, or `default`");
    size_t nodes = (size_t)(r->file->document.nodes.top - r->file->document.nodes.start);
    /* An alias may put one list into many entries. */
    size_t pairs = (size_t)(root->data.mapping.pairs.top - root->data.mapping.pairs.start);
    if (pairs > TR__RIGHTS_MAX)
        return wrong(r, node_of(r, root->data.mapping.pairs.start[TR__RIGHTS_MAX].key)->start_mark,
                     "rights: more than %u entries", TR__RIGHTS_MAX);
    size_t most = (nodes + 3) * (pairs + 1);
    r->file->entries = tr__zalloc((pairs + 1) * sizeof(tr_rights));
    r->file->words = most <= 64 * TR__YAML_MAX ? tr__alloc(most * sizeof(char *)) : NULL;
    if (!r->file->entries || !r->file->words)
        return tr__fail(r->error, TR_ENOMEM, "%s: no memory to read it", r->path);
    for (size_t i = 0; i < pairs; i++) {
        const yaml_node_pair_t *pair = &root->data.mapping.pairs.start[i];
        const yaml_node_t *key = node_of(r, pair->key);
        const char *peer = text_of(key);
        tr_error why;
        if (!peer || tr__name_check("node", peer, &why) != TR_OK)
            return wrong(r, key->start_mark, "%s", peer ? why.text : "the name of a node is needed");
        tr_rights *entry = &r->file->entries[r->file->count++];
        entry->peer = strcmp(peer, "default") == 0 ? NULL : peer;
        TR_TRY(take_entry(r, node_of(r, pair->value), entry));
        if (tr__rights_check_one(r->file->entries, r->file->count - 1, &why) != TR_OK)
            return wrong(r, key->start_mark, "%s", why.text);
    }
    return TR_OK;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static tr_err load(reader *r, const char *bytes, size_t length)
{
    TR_TRY(tr__yaml_load(r->path, bytes, length, &r->file->document, r->error));
    r->file->has_document = true;
    return take_all(r);
}

tr__rights_file *tr__rights_file_read(const char *path, tr_error *error)
{
    size_t length;
    char *bytes = tr__yaml_bytes(path, &length, error);
    if (!bytes)
        return NULL;
    reader r = {.file = tr__zalloc(sizeof(tr__rights_file)), .path = path, .error = error};
    tr_err err = r.file ? load(&r, bytes, length) : tr__fail(error, TR_ENOMEM, "%s: no memory", path);
    tr__free(bytes);
    if (err == TR_OK)
        return r.file;
    tr__rights_file_free(r.file);
    return NULL;
}

const tr_rights *tr__rights_file_entries(const tr__rights_file *file, uint32_t *count)
{
    *count = file->count;
    return file->entries;
}

void tr__rights_file_free(tr__rights_file *file)
{
    if (!file)
        return;
    if (file->has_document)
        yaml_document_delete(&file->document);
    tr__free(file->entries);
    tr__free(file->words);
    tr__free(file);
}
