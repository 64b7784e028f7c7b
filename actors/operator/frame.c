/* Frames of the operator socket, and its errors: see operator.h. Pure: any thread. What can fail: a length that is no
 * length (TR_EPROTO), memory. */
#include "actors/operator/operator.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define ROOM_MIN 4096u

static tr_err take_head(tr__operator_reader *r, tr_error *error)
{
    r->length =
        (uint32_t)r->head[0] << 24 | (uint32_t)r->head[1] << 16 | (uint32_t)r->head[2] << 8 | r->head[3];
    if (r->length == 0 || r->length > TR__OPERATOR_FRAME_MAX)
        return tr__fail(error, TR_EPROTO,
                        "a frame of %u bytes: the first 4 bytes are the length of the JSON behind them, most "
                        "significant first, from 1 to %u",
                        r->length, TR__OPERATOR_FRAME_MAX);
    return TR_OK;
}

/* Room for `want` bytes of text and the NUL. */
static bool grow(tr__operator_reader *r, uint32_t want)
{
    uint32_t room = r->room ? r->room : ROOM_MIN;
    while (room < want + 1)
        room *= 2;
    if (room == r->room)
        return true;
    char *text = tr__realloc(r->text, room);
    if (!text)
        return false;
    r->text = text;
    r->room = room;
    return true;
}

tr_err tr__operator_read(tr__operator_reader *r, const void *bytes, size_t length, size_t *used, char **text,
                         size_t *text_length, tr_error *error)
{
    const uint8_t *at = bytes;
    size_t left = length;
    *text = NULL;
    *used = 0;
    while (left && r->have < sizeof(r->head)) {
        r->head[r->have++] = *at++;
        left--;
        if (r->have == sizeof(r->head))
            TR_TRY(take_head(r, error));
    }
    if (r->have < sizeof(r->head)) {
        *used = length;
        return TR_OK;
    }
    uint32_t there = r->have - (uint32_t)sizeof(r->head), missing = r->length - there;
    uint32_t take = left < missing ? (uint32_t)left : missing;
    if (!grow(r, there + take))
        return tr__fail(error, TR_ENOMEM, "no memory for a frame of %u bytes", r->length);
    memcpy(r->text + there, at, take);
    r->have += take;
    *used = length - left + take;
    if (take < missing)
        return TR_OK;
    r->text[r->length] = '\0';
    *text = r->text;
    *text_length = r->length;
    *r = (tr__operator_reader){0};
    return TR_OK;
}

void tr__operator_reader_fini(tr__operator_reader *r)
{
    tr__free(r->text);
    *r = (tr__operator_reader){0};
}

void tr__operator_head(uint8_t head[4], uint32_t length)
{
    for (int i = 0; i < 4; i++)
        head[i] = (uint8_t)(length >> (24 - 8 * i));
}

json_t *tr__operator_error(const tr_error *error)
{
    json_t *text = json_string(error->text); /* names in it come from outside */
    if (!text)
        text = json_string("(a text that isn't UTF-8)");
    return json_pack("{s:b, s:{s:s, s:o}}", "ok", 0, "error", "code", tr__err_word(error->code), "text",
                     text);
}
