/* The numbers in heads of CBOR's items: of 1, 2, 4 or 8 bytes, the highest first. Pure functions: any thread, no failure. */
#ifndef TR_MAILBOX_CBOR_HEAD_H
#define TR_MAILBOX_CBOR_HEAD_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One of `size` bytes; there are `left` of them, and that is enough. */
static inline uint64_t tr__cbor_get_number(const uint8_t *at, size_t size, size_t left)
{
    uint64_t number = 0;
    if (left >= sizeof(number)) {
        memcpy(&number, at, sizeof(number));
        return be64toh(number) >> (64 - 8 * size);
    }
    while (size-- > 0)
        number = number << 8 | *at++;
    return number;
}

/* In 2, 4 or 8 bytes, into which it fits. */
static inline void tr__cbor_put_number(uint8_t *at, uint64_t number, size_t size)
{
    uint64_t in_order = htobe64(number << (64 - 8 * size));
    if (size == 2)
        memcpy(at, &in_order, 2);
    else if (size == 4)
        memcpy(at, &in_order, 4);
    else
        memcpy(at, &in_order, 8);
}

#endif
