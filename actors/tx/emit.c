/* See emit.h. */
#include "actors/tx/emit.h"

#include <string.h>

#include "base/mem.h"
#include "mailbox/utf8.h"

tr__emit *tr__emit_make(tr_bytes to, uint64_t type, uint64_t fingerprint, tr_bytes body)
{
    tr__emit *emit = tr__zalloc(sizeof(*emit) + to.size + 1 + body.size);
    if (!emit)
        return NULL;
    emit->type = type;
    emit->fingerprint = fingerprint;
    emit->to_size = to.size;
    emit->size = body.size;
    memcpy(emit->bytes, to.data, to.size);
    if (body.size)
        memcpy(emit->bytes + to.size + 1, body.data, body.size);
    return emit;
}

static bool is_name(const char *name, size_t size)
{
    return size >= 1 && size < TR_NAME_MAX && !memchr(name, 0, size) && !memchr(name, '/', size) &&
           tr__utf8_valid(name, size) == size;
}

bool tr__emit_path(const char *to, size_t size, char node[TR_NAME_MAX], char actor[TR_NAME_MAX])
{
    const char *slash = size ? memchr(to, '/', size) : NULL;
    const char *name = slash ? slash + 1 : to;
    size_t node_size = slash ? (size_t)(slash - to) : 0, name_size = size - (size_t)(name - to);
    if ((slash && !is_name(to, node_size)) || !is_name(name, name_size))
        return false;
    if (slash) {
        memcpy(node, to, node_size);
        node[node_size] = '\0';
    }
    memcpy(actor, name, name_size);
    actor[name_size] = '\0';
    return true;
}

void tr__emit_put(const tr__emit *emit, tr__tx_buffer *buffer)
{
    tr__tx_put_number(buffer, emit->type);
    tr__tx_put_number(buffer, emit->fingerprint);
    tr__tx_put_raw(buffer, tr__emit_body(emit), emit->size);
}

tr__emit *tr__emit_get(tr_bytes to, tr_bytes rest, bool *failed)
{
    char node[TR_NAME_MAX], actor[TR_NAME_MAX];
    tr__tx_reader reader = {rest.data, (const uint8_t *)rest.data + rest.size, false};
    uint64_t type = tr__tx_get_number(&reader), fingerprint = tr__tx_get_number(&reader);
    *failed = reader.failed || !tr__emit_path(to.data, to.size, node, actor);
    if (*failed)
        return NULL;
    return tr__emit_make(to, type, fingerprint, (tr_bytes){reader.at, (size_t)(reader.end - reader.at)});
}
