/* The file of `troupe up`, in three steps: libyaml reads it whole, so that each value's line and column are known;
 * libcyaml puts it into up_file by the schema below, which refuses unknown keys and wrong kinds; then the values are
 * checked, against each other as well. The main thread. The first thing that is wrong is told, with its place. */
#include "cli/up/file.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml_os.h"
#include "transport/address.h"
#include "transport/frame.h"
#include "transport/key_os.h"
#include "transport/psk.h"

#define PATH_ROOM 8192

/* ---- the schema ---------------------------------------------------------------------------------------- */

static const cyaml_strval_t restarts[] = {
    {"permanent", TR_PERMANENT}, {"transient", TR_TRANSIENT}, {"temporary", TR_TEMPORARY}};
/* info first: it counts where the file has none. */
static const cyaml_strval_t levels[] = {{"info", 0}, {"error", 1}, {"warn", 2}, {"debug", 3}};

#define TEXT(key, flags, type, member) \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), type, member, 1, 4096)

static const cyaml_schema_value_t text_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 4096)};

static const cyaml_schema_field_t app_fields[] = {TEXT("name", 0, up_app, name), TEXT("id", 0, up_app, id),
                                                  TEXT("peer", 0, up_app, peer), CYAML_FIELD_END};

static const cyaml_schema_value_t app_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, up_app, app_fields)};

static const cyaml_schema_field_t node_fields[] = {
    TEXT("name", 0, up_node, name),
    TEXT("listen", CYAML_FLAG_OPTIONAL, up_node, listen),
    CYAML_FIELD_SEQUENCE("join", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, up_node, join, &text_schema, 1,
                         UP_LIST_MAX),
    CYAML_FIELD_SEQUENCE("plugins", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, up_node, plugins, &text_schema,
                         1, UP_LIST_MAX),
    CYAML_FIELD_SEQUENCE("apps", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, up_node, apps, &app_schema, 1,
                         UP_APPS_MAX),
    TEXT("data", CYAML_FLAG_OPTIONAL, up_node, data),
    TEXT("loops", CYAML_FLAG_OPTIONAL, up_node, loops),
    CYAML_FIELD_ENUM("restart", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, up_node, restart, restarts,
                     TR_COUNT(restarts)),
    TEXT("max_restarts", CYAML_FLAG_OPTIONAL, up_node, max_restarts),
    TEXT("within_s", CYAML_FLAG_OPTIONAL, up_node, within_s),
    CYAML_FIELD_ENUM("log", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, up_node, log, levels, TR_COUNT(levels)),
    CYAML_FIELD_END};

static const cyaml_schema_value_t node_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, up_node, node_fields)};

static const cyaml_schema_field_t file_fields[] = {
    TEXT("cluster", CYAML_FLAG_OPTIONAL, up_file, cluster), TEXT("key", CYAML_FLAG_OPTIONAL, up_file, key),
    CYAML_FIELD_SEQUENCE("nodes", CYAML_FLAG_POINTER, up_file, nodes, &node_schema, 1, UP_NODES_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t file_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, up_file, file_fields)};

/* ---- reading ------------------------------------------------------------------------------------------- */

typedef struct reader {
    const char *path;
    yaml_document_t document;
    bool has_document;
    tr_error *error;
    char first[200]; /* what libcyaml said first, and the first place it named; 0: none */
    unsigned line, column;
    char field[40]; /* and the member there, or the list that it is an entry of */
    bool in_entry, in_node;
} reader;

static tr_err wrong_at(const reader *r, size_t line, size_t column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static tr_err wrong_at(const reader *r, size_t line, size_t column, const char *format, ...)
{
    char what[TR_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return tr__fail(r->error, TR_EINVAL, "%s:%zu:%zu: %s", r->path, line, column, what);
}

static tr_err read_document(reader *r, const char *bytes, size_t length)
{
    TR_TRY(tr__yaml_load(r->path, bytes, length, &r->document, r->error));
    r->has_document = true;
    if (yaml_document_get_root_node(&r->document))
        return TR_OK;
    return wrong_at(r, 1, 1, "nothing is in it: `nodes:` and at least one are needed");
}

/* libcyaml tells what is wrong, then where it was, innermost first. */
static void on_cyaml_log(cyaml_log_t level, void *context, const char *format, va_list args)
{
    reader *r = context;
    char line[200];
    unsigned at_line, at_column;
    if (level < CYAML_LOG_ERROR)
        return;
    vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    const char *place = strstr(line, "(line: ");
    r->in_node = r->in_node || strstr(line, "in sequence entry");
    if (place && !r->line && sscanf(place, "(line: %u, column: %u)", &at_line, &at_column) == 2) {
        r->line = at_line;
        r->column = at_column;
        r->in_entry = strstr(line, "in sequence entry") != NULL;
    } else if (!place && !r->first[0] && !strstr(line, "Backtrace")) {
        snprintf(r->first, sizeof(r->first), "%s", strncmp(line, "Load: ", 6) == 0 ? line + 6 : line);
    }
    if (place && !r->field[0])
        sscanf(line, "  in mapping field '%39[^']", r->field);
}

/* The place of a key that libcyaml names: it tells where it was before that. */
static void find_key(reader *r, const char *key)
{
    const yaml_node_t *best = NULL;
    for (int i = 1;; i++) {
        const yaml_node_t *map = yaml_document_get_node(&r->document, i);
        if (!map)
            break;
        if (map->type != YAML_MAPPING_NODE)
            continue;
        for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top;
             pair++) {
            const yaml_node_t *at = yaml_document_get_node(&r->document, pair->key);
            yaml_mark_t mark = at->start_mark;
            bool behind =
                mark.line + 1 > r->line || (mark.line + 1 == r->line && mark.column + 1 >= r->column);
            if (at->type == YAML_SCALAR_NODE && strcmp((const char *)at->data.scalar.value, key) == 0 &&
                behind && (!best || mark.index < best->start_mark.index))
                best = at;
        }
    }
    if (best) {
        r->line = (unsigned)best->start_mark.line + 1;
        r->column = (unsigned)best->start_mark.column + 1;
    }
}

static void add_word(char *list, size_t room, const char *word)
{
    size_t used = strlen(list);
    snprintf(list + used, room - used, "%s%s", used ? ", " : "", word);
}

static const cyaml_schema_field_t *field_of(const reader *r)
{
    static const cyaml_schema_field_t *const tables[] = {file_fields, node_fields, app_fields};
    for (size_t i = 0; i < TR_COUNT(tables); i++)
        for (const cyaml_schema_field_t *f = tables[i]; f->key; f++)
            if (strcmp(f->key, r->field) == 0)
                return f;
    return NULL;
}

/* What should be where something else is. */
static tr_err kind_wrong(reader *r, const cyaml_schema_field_t *field)
{
    const cyaml_schema_value_t *value = field ? &field->value : &file_schema;
    value = field && r->in_entry && value->type == CYAML_SEQUENCE ? value->sequence.entry : value;
    return wrong_at(r, r->line ? r->line : 1, r->column ? r->column : 1, "%s%s%s is needed here", r->field,
                    field ? ": " : "",
                    value->type == CYAML_MAPPING    ? "a mapping, `key: value`,"
                    : value->type == CYAML_SEQUENCE ? "a list"
                                                    : "a text");
}

static tr_err enum_wrong(reader *r, const cyaml_schema_field_t *field)
{
    char words[160] = "";
    for (uint32_t i = 0; i < field->value.enumeration.count; i++)
        add_word(words, sizeof(words), field->value.enumeration.strings[i].str);
    return wrong_at(r, r->line, r->column, "%s: one of %s", r->field, words);
}

static tr_err key_wrong(reader *r, const char *key)
{
    char words[160] = "";
    const cyaml_schema_field_t *f = strcmp(r->field, "apps") == 0 ? app_fields
                                    : r->in_node                  ? node_fields
                                                                  : file_fields;
    find_key(r, key);
    for (; f->key; f++)
        add_word(words, sizeof(words), f->key);
    return wrong_at(r, r->line, r->column, "there is no key \"%.40s\" here; known are: %s", key, words);
}

/* In our words: libcyaml's leave out what would be right. */
static tr_err schema_wrong(reader *r, cyaml_err_t failed)
{
    const cyaml_schema_field_t *field = field_of(r);
    const char *value = strstr(r->first, ": ");
    unsigned line = r->line ? r->line : 1, column = r->column ? r->column : 1;
    value = value ? value + 2 : "";
    if (strncmp(r->first, "Mapping field already", 21) == 0) {
        find_key(r, value);
        return wrong_at(r, r->line, r->column, "a second \"%.40s\"", value);
    }
    if (field && field->value.type == CYAML_ENUM)
        return enum_wrong(r, field);
    switch (failed) {
    case CYAML_ERR_INVALID_KEY:
        return key_wrong(r, value);
    case CYAML_ERR_MAPPING_FIELD_MISSING:
        return wrong_at(r, line, column, "`%.40s:` is missing here", value);
    case CYAML_ERR_STRING_LENGTH_MIN:
    case CYAML_ERR_STRING_LENGTH_MAX:
        return wrong_at(r, line, column, "%s: a text of 1 to 4096 bytes is needed", r->field);
    case CYAML_ERR_SEQUENCE_ENTRIES_MIN:
    case CYAML_ERR_SEQUENCE_ENTRIES_MAX:
        return wrong_at(r, line, column, "%s: a list of 1 to %u is needed", r->field,
                        field ? field->value.sequence.max : 1);
    case CYAML_ERR_ALIAS:
        return wrong_at(r, line, column, "no alias is taken here: write out what it stands for");
    case CYAML_ERR_UNEXPECTED_EVENT:
    case CYAML_ERR_INVALID_VALUE:
        return kind_wrong(r, field);
    default:
        return wrong_at(r, line, column, "%s", r->first[0] ? r->first : cyaml_strerror(failed));
    }
}

static tr_err read_schema(reader *r, const char *bytes, size_t length, up_file **file)
{
    const cyaml_config_t config = {.log_fn = on_cyaml_log,
                                   .log_ctx = r,
                                   .log_level = CYAML_LOG_ERROR,
                                   .mem_fn = cyaml_mem,
                                   .flags = CYAML_CFG_NO_ALIAS};
    cyaml_err_t failed =
        cyaml_load_data((const uint8_t *)bytes, length, &config, &file_schema, (cyaml_data_t **)file, NULL);
    if (failed == CYAML_OK && *file)
        return TR_OK;
    if (failed == CYAML_ERR_OOM)
        return tr__fail(r->error, TR_ENOMEM, "%s: no memory to read it", r->path);
    return schema_wrong(r, failed);
}

/* ---- where a value is ---------------------------------------------------------------------------------- */

static const yaml_node_t *member(reader *r, const yaml_node_t *map, const char *key)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *at = yaml_document_get_node(&r->document, pair->key);
        if (at->type == YAML_SCALAR_NODE && strcmp((const char *)at->data.scalar.value, key) == 0)
            return yaml_document_get_node(&r->document, pair->value);
    }
    return NULL;
}

static const yaml_node_t *entry(reader *r, const yaml_node_t *list, unsigned index)
{
    if (!list || list->type != YAML_SEQUENCE_NODE ||
        list->data.sequence.items.start + index >= list->data.sequence.items.top)
        return NULL;
    return yaml_document_get_node(&r->document, list->data.sequence.items.start[index]);
}

/* That member of the node of that index, or with a `nth` from 0 on its entry; NULL as key: the node itself. */
#define WHOLE (-1)
static tr_err wrong(reader *r, unsigned node, const char *key, int nth, const char *what)
{
    const yaml_node_t *at = member(r, yaml_document_get_root_node(&r->document), "nodes");
    at = entry(r, at, node);
    at = member(r, at, key);
    if (nth != WHOLE)
        at = entry(r, at, (unsigned)nth);
    return wrong_at(r, at ? at->start_mark.line + 1 : 1, at ? at->start_mark.column + 1 : 1, "%s", what);
}

/* ---- checking ------------------------------------------------------------------------------------------ */

static tr_err check_number(reader *r, unsigned i, const char *key, const char *text, uint32_t otherwise,
                           uint32_t max, uint32_t *number)
{
    char what[120], *end;
    *number = otherwise;
    if (!text)
        return TR_OK;
    unsigned long value = strtoul(text, &end, 10);
    *number = (uint32_t)value;
    if (*text >= '0' && *text <= '9' && !*end && value >= 1 && value <= max)
        return TR_OK;
    snprintf(what, sizeof(what), "%s: %.20s: a number from 1 to %u", key, text, max);
    return wrong(r, i, key, WHOLE, what);
}

static tr_err check_name(reader *r, const up_file *f, unsigned i)
{
    tr_error why;
    char what[120];
    if (tr__name_check("node", f->nodes[i].name, &why) != TR_OK)
        return wrong(r, i, "name", WHOLE, why.text);
    for (unsigned j = 0; j < i; j++)
        if (strcmp(f->nodes[j].name, f->nodes[i].name) == 0) {
            snprintf(what, sizeof(what), "a second node is named \"%s\"", f->nodes[i].name);
            return wrong(r, i, "name", WHOLE, what);
        }
    return TR_OK;
}

static tr_err check_listen(reader *r, const up_file *f, unsigned i)
{
    const char *listen = f->nodes[i].listen;
    tr__net_address address;
    tr_error why;
    char what[200];
    if (!listen)
        return TR_OK;
    tr_err err = tr__net_address_parse(listen, true, &address, &why);
    if (err == TR_OK && !f->key && address.kind != TR__HOST_NAME && !tr__net_address_is_loopback(&address))
        err = tr__net_address_refuse(listen, &why);
    if (err != TR_OK)
        return wrong(r, i, "listen", WHOLE, why.text);
    for (unsigned j = 0; j < i && address.port; j++)
        if (f->nodes[j].listen && strcmp(f->nodes[j].listen, listen) == 0) {
            snprintf(what, sizeof(what), "%s listens on %s already", f->nodes[j].name, listen);
            return wrong(r, i, "listen", WHOLE, what);
        }
    return TR_OK;
}

static tr_err check_join(reader *r, const up_file *f, unsigned i, unsigned nth)
{
    const char *join = f->nodes[i].join[nth];
    tr__net_address address;
    char what[200];
    if (tr__net_address_parse(join, false, &address, NULL) == TR_OK)
        return TR_OK;
    for (unsigned j = 0; j < i; j++)
        if (strcmp(f->nodes[j].name, join) == 0)
            return TR_OK;
    snprintf(what, sizeof(what),
             "join: \"%.80s\" is no node above this one, and no address like 127.0.0.1:7101", join);
    return wrong(r, i, "join", (int)nth, what);
}

static tr_err check_plugin(reader *r, const up_file *f, unsigned i, unsigned nth)
{
    char path[PATH_ROOM], what[TR_ERROR_TEXT_MAX];
    tr_err err = up_file_beside(r->path, f->nodes[i].plugins[nth], path, sizeof(path));
    if (err == TR_OK && access(path, R_OK) == 0)
        return TR_OK;
    snprintf(what, sizeof(what), "plugin %.120s: %s", f->nodes[i].plugins[nth],
             err == TR_OK ? strerror(errno) : tr__err_meaning(err));
    return wrong(r, i, "plugins", (int)nth, what);
}

/* The rest of it the node says itself. */
static tr_err check_app(reader *r, const up_file *f, unsigned i, unsigned nth)
{
    if (!f->nodes[i].data)
        return wrong(r, i, "apps", (int)nth,
                     "an app keeps its journal in its node's log: give the node `data: DIR`");
    if (!strchr(f->nodes[i].apps[nth].peer, '/'))
        return wrong(r, i, "apps", (int)nth, "peer: the other app's \"node/name\" is needed");
    return TR_OK;
}

static tr_err check_node(reader *r, up_file *f, unsigned i)
{
    up_node *n = &f->nodes[i];
    uint32_t within_s;
    TR_TRY(check_name(r, f, i));
    TR_TRY(check_listen(r, f, i));
    TR_TRY(check_number(r, i, "loops", n->loops, 1, 64, &n->loop_count));
    TR_TRY(check_number(r, i, "max_restarts", n->max_restarts, 5, 1000, &n->restarts_max));
    TR_TRY(check_number(r, i, "within_s", n->within_s, 60, 86400, &within_s));
    n->within_ns = TR_SECONDS(within_s);
    for (unsigned nth = 0; nth < n->join_count; nth++)
        TR_TRY(check_join(r, f, i, nth));
    for (unsigned nth = 0; nth < n->plugins_count; nth++)
        TR_TRY(check_plugin(r, f, i, nth));
    for (unsigned nth = 0; nth < n->apps_count; nth++)
        TR_TRY(check_app(r, f, i, nth));
    return TR_OK;
}

/* Of the whole file. */
static tr_err wrong_top(reader *r, const char *key, const char *what)
{
    const yaml_node_t *at = member(r, yaml_document_get_root_node(&r->document), key);
    return wrong_at(r, at->start_mark.line + 1, at->start_mark.column + 1, "%s", what);
}

/* As a node would read it: others may not. */
static tr_err check_key(reader *r, const up_file *f)
{
    char path[PATH_ROOM];
    tr__keys keys;
    tr_error why;
    tr_err err = up_file_beside(r->path, f->key, path, sizeof(path));
    if (err != TR_OK)
        return wrong_top(r, "key", tr__err_meaning(err));
    err = tr__key_read(path, &keys, &why);
    tr__wipe(&keys, sizeof(keys));
    return err == TR_OK ? TR_OK : wrong_top(r, "key", why.text);
}

static tr_err check(reader *r, up_file *f)
{
    tr_error why;
    if (f->cluster && tr__name_check("cluster", f->cluster, &why) != TR_OK)
        return wrong_top(r, "cluster", why.text);
    if (f->key)
        TR_TRY(check_key(r, f));
    for (unsigned i = 0; i < f->nodes_count; i++)
        TR_TRY(check_node(r, f, i));
    return TR_OK;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

tr_err up_file_beside(const char *path, const char *other, char *out, size_t room)
{
    const char *slash = *other == '/' ? NULL : strrchr(path, '/');
    int folder = slash ? (int)(slash - path + 1) : 0;
    return (size_t)snprintf(out, room, "%.*s%s", folder, path, other) < room ? TR_OK : TR_ETOOBIG;
}

up_file *up_file_load(const char *path, tr_error *error)
{
    reader r = {.path = path, .error = error};
    up_file *file = NULL;
    size_t length;
    char *bytes = tr__yaml_bytes(path, &length, error);
    if (!bytes)
        return NULL;
    tr_err err = read_document(&r, bytes, length);
    if (err == TR_OK)
        err = read_schema(&r, bytes, length, &file);
    if (err == TR_OK)
        err = check(&r, file);
    if (r.has_document)
        yaml_document_delete(&r.document);
    tr__free(bytes);
    if (err == TR_OK)
        return file;
    up_file_free(file);
    return NULL;
}

const char *up_file_log(const up_node *node)
{
    return levels[node->log].str;
}

void up_file_free(up_file *file)
{
    static const cyaml_config_t config = {.mem_fn = cyaml_mem};
    if (file)
        cyaml_free(&config, &file_schema, file, 0);
}
