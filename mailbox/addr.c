/* An actor's address as text and back. Pure functions: any thread. Parsing fails with TR_EADDR and a text
 * that quotes what was given. */
#include "base/err.h"
#include "mailbox/type.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void tr__addr_format(tr_addr address, char *out)
{
    if (tr_addr_is_none(address))
        memcpy(out, "<none>", sizeof "<none>");
    else
        snprintf(out, TR_ADDR_TEXT_MAX, "<%016" PRIx64 ".%" PRIu32 ".%" PRIu32 ">", address.node,
                 address.slot, address.generation);
}

/* Sixteen lower-case digits, no more and no fewer: an address has one spelling. Where it ends, or NULL. */
static const char *parse_node(const char *text, uint64_t *node)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++, text++) {
        if (*text >= '0' && *text <= '9')
            value = value << 4 | (uint64_t)(*text - '0');
        else if (*text >= 'a' && *text <= 'f')
            value = value << 4 | (uint64_t)(*text - 'a' + 10);
        else
            return NULL;
    }
    *node = value;
    return text;
}

/* A decimal number without sign and leading zeros. Where it ends, or NULL. */
static const char *parse_u32(const char *text, uint32_t *number)
{
    if (*text < '0' || *text > '9' || (*text == '0' && text[1] >= '0' && text[1] <= '9'))
        return NULL;
    uint64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > UINT32_MAX)
            return NULL;
    }
    *number = (uint32_t)value;
    return text;
}

tr_err tr__addr_parse(const char *text, tr_addr *address, tr_error *error)
{
    tr_addr found = TR_ADDR_NONE;
    if (strcmp(text, "<none>") == 0) {
        *address = found;
        return TR_OK;
    }
    const char *at = *text == '<' ? parse_node(text + 1, &found.node) : NULL;
    at = at && *at == '.' ? parse_u32(at + 1, &found.slot) : NULL;
    at = at && *at == '.' ? parse_u32(at + 1, &found.generation) : NULL;
    if (!at || at[0] != '>' || at[1] != '\0' || found.generation == 0)
        return tr__fail(error, TR_EADDR,
                        "'%.60s' is no actor's address; one looks like <a1f3c09e12345678.12.7>: the node in "
                        "16 lower-case "
                        "hexadecimal digits, the slot, the generation from 1 on",
                        text);
    *address = found;
    return TR_OK;
}
