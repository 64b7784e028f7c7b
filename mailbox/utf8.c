/* Checking UTF-8: eight bytes at a time as long as they are ASCII, else a character at a time. Pure
 * functions: any thread. */
#include "mailbox/utf8.h"

#include <stdint.h>
#include <string.h>

#define EACH_BYTE(b) (0x0101010101010101ull * (b))

/* Has it a byte that is 0, or above 127? (A borrow reaches a byte only from a lower one that is 0 itself.) */
static inline int plain_ascii(uint64_t word)
{
    return (((word - EACH_BYTE(0x01)) | word) & EACH_BYTE(0x80)) == 0;
}

static inline int continues(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the character at `at`, of which `left` are there; 0 if it breaks the rules. The second byte's
 * range is what excludes overlong forms, surrogates and what is above U+10FFFF (Unicode standard, table 3-7).
 */
static size_t character(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80)
        return first != 0;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (left < size)
        return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (!continues(at[i]))
            return 0;
    return size;
}

size_t tr__utf8_valid(const void *text, size_t length)
{
    const uint8_t *bytes = text;
    size_t at = 0;
    while (at < length) {
        uint64_t word;
        if (length - at >= sizeof word) {
            memcpy(&word, bytes + at, sizeof word);
            if (plain_ascii(word)) {
                at += sizeof word;
                continue;
            }
        }
        size_t size = character(bytes + at, length - at);
        if (size == 0)
            break;
        at += size;
    }
    return at;
}
