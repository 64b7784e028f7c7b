/* See yaml_os.h. */
#include "base/yaml_os.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

char *tr__yaml_bytes(const char *path, size_t *length, tr_error *error)
{
    FILE *from = fopen(path, "re");
    char *bytes = from ? tr__alloc(TR__YAML_MAX + 1) : NULL;
    *length = bytes ? fread(bytes, 1, TR__YAML_MAX + 1, from) : 0;
    int number = !from || (bytes && ferror(from)) ? errno : !bytes ? ENOMEM : 0;
    if (from)
        fclose(from);
    if (number == 0 && *length <= TR__YAML_MAX)
        return bytes;
    tr__free(bytes);
    if (number)
        tr__fail(error, tr__err_from_errno(number), "%s: %s", path, strerror(number));
    else
        tr__fail(error, TR_ETOOBIG, "%s: more than %u bytes", path, TR__YAML_MAX);
    return NULL;
}

tr_err tr__yaml_wrong(const char *path, yaml_mark_t at, const char *what, tr_error *error)
{
    return tr__fail(error, TR_EINVAL, "%s:%zu:%zu: %s", path, at.line + 1, at.column + 1, what);
}

/* libyaml stopped. */
static tr_err broken(const char *path, const yaml_parser_t *parser, tr_error *error)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return tr__fail(error, TR_ENOMEM, "%s: no memory to read it", path);
    return tr__yaml_wrong(path, parser->problem_mark, parser->problem ? parser->problem : "not YAML", error);
}

typedef struct survey {
    unsigned documents, depth, anchors;
    bool over;
} survey;

/* What is too much about this event; NULL: nothing is. */
static const char *too_much(survey *s, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        s->documents++;
        return NULL;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        s->depth--;
        return NULL;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        s->depth++;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        s->depth++;
        break;
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        break;
    case YAML_ALIAS_EVENT:
        anchor = event->data.alias.anchor;
        break;
    default:
        s->over = event->type == YAML_STREAM_END_EVENT;
        return NULL;
    }
    s->anchors += anchor != NULL;
    if (s->documents > 1)
        return "a second document: only one is read";
    if (s->depth > TR__YAML_DEPTH_MAX)
        return "nested too deep: 32 lists and mappings within each other are the most";
    return s->anchors > TR__YAML_ANCHORS_MAX ? "too many anchors and aliases: 1000 are the most" : NULL;
}

/* Its events, one after the other, which are not kept. */
static tr_err look_through(const char *path, yaml_parser_t *parser, tr_error *error)
{
    survey s = {0};
    tr_err err = TR_OK;
    while (err == TR_OK && !s.over) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return broken(path, parser, error);
        const char *what = too_much(&s, &event);
        if (what)
            err = tr__yaml_wrong(path, event.start_mark, what, error);
        yaml_event_delete(&event);
    }
    return err;
}

static tr_err load(const char *path, yaml_parser_t *parser, yaml_document_t *document, tr_error *error)
{
    return yaml_parser_load(parser, document) ? TR_OK : broken(path, parser, error);
}

tr_err tr__yaml_load(const char *path, const char *bytes, size_t length, yaml_document_t *document,
                     tr_error *error)
{
    tr_err err = TR_OK;
    for (int pass = 0; pass < 2 && err == TR_OK; pass++) {
        yaml_parser_t parser;
        if (!yaml_parser_initialize(&parser))
            return tr__fail(error, TR_ENOMEM, "%s: no memory to read it", path);
        yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, length);
        err = pass ? load(path, &parser, document, error) : look_through(path, &parser, error);
        yaml_parser_delete(&parser);
    }
    return err;
}
