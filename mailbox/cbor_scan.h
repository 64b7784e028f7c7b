/* Finding the large buffers of a message in its CBOR while that comes, in pieces cut anywhere: so that their bytes can go
 * elsewhere than to memory. A pure state machine over bytes; what it can't make out it passes over to the end, for
 * decoding to judge.
 *
 *     array ──head──▶ field ──its items──▶ field ──...──▶ rest
 *                       └──a buffer of `min` bytes or more──▶ hole: its bytes are the caller's ──▶ field
 *
 * Holes are buffers in fields of the message itself: none in a list, none in a nested struct. */
#ifndef TR_MAILBOX_CBOR_SCAN_H
#define TR_MAILBOX_CBOR_SCAN_H

#include "mailbox/type.h"

typedef struct tr__cbor_scan {
    const tr_typeinfo *type;
    uint64_t min;                /* bytes of a buffer that is a hole; 1 or more */
    bool begun, lost;            /* the message's array was read; nothing is looked for any more */
    uint32_t field;              /* the one whose items come */
    uint64_t items;              /* of it, behind its first, that have not come; 0: the field begins */
    uint64_t string;             /* bytes of a string to pass over */
    uint8_t head[TR__CBOR_HEAD]; /* of an item, as far as it has come */
    uint8_t head_size;
} tr__cbor_scan;

void tr__cbor_scan_init(tr__cbor_scan *scan, const tr_typeinfo *type, uint64_t min);
/* Go on over these bytes: returns how many were passed. Fewer than `length`, or *hole > 0: right behind them a hole of *hole
 * bytes begins, *head bytes of head in front of it; the scan goes on behind it. */
size_t tr__cbor_scan_pass(tr__cbor_scan *scan, const uint8_t *bytes, size_t length, uint64_t *hole,
                          size_t *head);

#endif
