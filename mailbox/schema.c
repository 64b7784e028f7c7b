/* Whether two schemas understand each other. The other one comes as the text that its owner made of it (tr_typeinfo's
 * `schema`), from another node or of another declaration in this process, and may be anything: it is read within its
 * bounds, and followed only as deep as our own type goes.
 *
 *     type   = name "(" [ field { "," field } ] ")"
 *     field  = [ "optional " ] [ "list " ] ( kind | type ) " " name
 */
#include "base/err.h"
#include "mailbox/type.h"

#include <stdio.h>
#include <string.h>

typedef struct reader {
    const char *at, *end;
    tr__path path;
    tr_error *error;
} reader;

/* A word of theirs, not ended by a NUL. */
typedef struct word {
    const char *text;
    int length;
} word;

typedef struct their_field {
    bool optional, list, nested;
    word kind; /* of a nested one its type's name; the reader then stands behind its "(" */
} their_field;

/* ---- reading ------------------------------------------------------------------------------------------- */

static bool take(reader *r, char sign)
{
    if (r->at == r->end || *r->at != sign)
        return false;
    r->at++;
    return true;
}

static word take_word(reader *r)
{
    const char *start = r->at;
    while (r->at < r->end && !strchr("(), ", *r->at) && r->at - start < 64)
        r->at++;
    return (word){start, (int)(r->at - start)};
}

static bool word_is(word w, const char *text)
{
    return strlen(text) == (size_t)w.length && memcmp(w.text, text, (size_t)w.length) == 0;
}

/* What stands before its name. */
static their_field take_field(reader *r)
{
    their_field field = {.kind = take_word(r)};
    if (word_is(field.kind, "optional") && take(r, ' ')) {
        field.optional = true;
        field.kind = take_word(r);
    }
    if (word_is(field.kind, "list") && take(r, ' ')) {
        field.list = true;
        field.kind = take_word(r);
    }
    field.nested = take(r, '(');
    return field;
}

/* The rest of a type of theirs that isn't looked at, up to and with its ")". */
static bool skip_type(reader *r)
{
    for (unsigned open = 1; open > 0;) {
        if (r->at == r->end)
            return false;
        open += *r->at == '(';
        open -= *r->at == ')';
        r->at++;
    }
    return true;
}

/* ---- comparing ----------------------------------------------------------------------------------------- */

static tr_err malformed(reader *r)
{
    return tr__fail(r->error, TR_ETYPE, "the other side's description of %s can't be read",
                    r->path.type->name);
}

/* The path of the field. */
static const char *where(reader *r, const tr__field *field, char *out)
{
    tr__path path = r->path;
    if (path.depth < TR__NESTING_MAX)
        path.at[path.depth++].field = field, path.at[path.depth - 1].index = SIZE_MAX;
    return tr__path_text(&path, out);
}

static tr_err differs(reader *r, const tr__field *ours, const their_field *theirs)
{
    char path[TR__PATH_TEXT];
    return tr__fail(r->error, TR_ETYPE, "%s is %s%s%s here and %s%s%.*s there", where(r, ours, path),
                    ours->optional ? "optional " : "", ours->list ? "list " : "",
                    ours->of ? ours->of->name : tr__kind_word(ours->kind),
                    theirs->optional ? "optional " : "", theirs->list ? "list " : "", theirs->kind.length,
                    theirs->kind.text);
}

static tr_err compare_type(reader *r, const tr_typeinfo *ours);

static tr_err compare_field(reader *r, const tr__field *ours)
{
    char path[TR__PATH_TEXT];
    their_field theirs = take_field(r);
    bool same = ours->optional == theirs.optional && ours->list == theirs.list &&
                (ours->of != NULL) == theirs.nested &&
                word_is(theirs.kind, ours->of ? ours->of->name : tr__kind_word(ours->kind));
    if (!same)
        return differs(r, ours, &theirs);
    if (ours->of) {
        r->path.at[r->path.depth].field = ours;
        r->path.at[r->path.depth++].index = SIZE_MAX;
        TR_TRY(compare_type(r, ours->of));
        r->path.depth--;
    }
    word name = take(r, ' ') ? take_word(r) : (word){"", 0};
    if (!word_is(name, ours->name))
        return tr__fail(r->error, TR_ETYPE, "%s is called %.*s there", where(r, ours, path), name.length,
                        name.text);
    return TR_OK;
}

/* A field that we don't have. */
static tr_err extra_field(reader *r)
{
    char path[TR__PATH_TEXT];
    their_field theirs = take_field(r);
    if (theirs.nested && !skip_type(r))
        return malformed(r);
    word name = take(r, ' ') ? take_word(r) : (word){"", 0};
    if (!theirs.optional)
        return tr__fail(r->error, TR_ETYPE, "%s.%.*s isn't declared here, and isn't optional there",
                        tr__path_text(&r->path, path), name.length, name.text);
    return TR_OK;
}

/* The reader stands behind the "(". */
static tr_err compare_type(reader *r, const tr_typeinfo *ours)
{
    const tr__field *field = ours->fields;
    char path[TR__PATH_TEXT];
    bool first = true;
    while (!take(r, ')')) {
        if (!first && !take(r, ','))
            return malformed(r);
        first = false;
        if (field->kind == TR_KIND_END)
            TR_TRY(extra_field(r));
        else
            TR_TRY(compare_field(r, field++));
    }
    if (field->kind != TR_KIND_END && !field->optional)
        return tr__fail(r->error, TR_ETYPE, "%s (%s) is missing there, and isn't optional here",
                        where(r, field, path), tr__kind_word(field->kind));
    return TR_OK;
}

tr_err tr__schema_check(const tr_typeinfo *ours, const char *theirs, size_t length, tr_error *error)
{
    reader r = {.at = theirs, .end = theirs + length, .path = {.type = ours}, .error = error};
    word name = take_word(&r);
    if (!word_is(name, ours->name) || !take(&r, '('))
        return malformed(&r);
    TR_TRY(compare_type(&r, ours));
    return r.at == r.end ? TR_OK : malformed(&r);
}

const tr_typeinfo *tr__type_for(uint64_t id, uint64_t fingerprint, const char *schema, size_t length,
                                tr_error *error)
{
    const tr_typeinfo *type = tr__type_find(id, fingerprint);
    if (type)
        return type;
    tr_error other;
    for (type = tr__type_find(id, 0); type; type = tr__type_next(type)) {
        if (tr__schema_check(type, schema, length, error) == TR_OK)
            return type;
        error = &other; /* the first one's words are kept */
    }
    if (error != &other)
        tr__fail(error, TR_ETYPE, "%.*s isn't declared here", (int)(length < 63 ? length : 63), schema);
    return NULL;
}
