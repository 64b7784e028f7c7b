/* See printable.h. */
#include "base/printable.h"

#include <string.h>

/* How many bytes at the front are a control character: those of U+0080 on are two in UTF-8. */
static size_t control_at(const unsigned char *at)
{
    if (at[0] < 0x20 || at[0] == 0x7f)
        return 1;
    return at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0 ? 2 : 0;
}

bool tr__is_printable(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++)
        if (control_at(at))
            return false;
    return true;
}

char *tr__printable(char *to, size_t room, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = (const unsigned char *)text;
    size_t used = 0;
    while (*at) {
        size_t control = control_at(at), needs = control ? 4 * control : 1;
        if (used + needs >= room)
            break;
        if (!control)
            to[used++] = (char)*at++;
        for (; control; control--, at++) {
            const char escaped[] = {'\\', 'x', digits[*at >> 4], digits[*at & 15]};
            memcpy(to + used, escaped, sizeof(escaped));
            used += sizeof(escaped);
        }
    }
    to[used] = '\0';
    return to;
}
