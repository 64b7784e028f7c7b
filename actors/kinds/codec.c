/* The table of codecs, and the growing buffer that they write to. Pure; any thread. The buffer fails by its
 * flag, when memory ran out. */
#include "actors/kinds/codec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define BUF_KEPT ((size_t)64 * 1024)

static bool make_room(tr__buf *buf, size_t more)
{
    if (buf->failed)
        return false;
    if (more <= buf->room - buf->size)
        return true;
    size_t room = buf->room ? buf->room : 256;
    while (room - buf->size < more && room <= SIZE_MAX / 2)
        room *= 2;
    char *data = room - buf->size < more ? NULL : tr__realloc(buf->data, room);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->room = room;
    return true;
}

void tr__buf_append(tr__buf *buf, const void *data, size_t size)
{
    if (size == 0 || !make_room(buf, size))
        return;
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
}

void tr__buf_text(tr__buf *buf, const char *text)
{
    tr__buf_append(buf, text, strlen(text));
}

void tr__buf_format(tr__buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0 || !make_room(buf, (size_t)length + 1))
        return;
    va_start(args, format);
    vsnprintf(buf->data + buf->size, (size_t)length + 1, format, args);
    va_end(args);
    buf->size += (size_t)length;
}

void tr__buf_reset(tr__buf *buf)
{
    if (buf->room > BUF_KEPT)
        tr__buf_fini(buf);
    buf->size = 0;
    buf->failed = false;
}

void tr__buf_fini(tr__buf *buf)
{
    tr__free(buf->data);
    *buf = (tr__buf){0};
}

const tr__codec *tr__codec_find(const char *name)
{
    static const tr__codec *const codecs[] = {&tr__codec_http, &tr__codec_resp};
    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++)
        if (strcmp(codecs[i]->name, name) == 0)
            return codecs[i];
    return NULL;
}
