/* UTF-8 as messages may carry it: RFC 3629 (no surrogates, no overlong forms, nothing above U+10FFFF) and no
 * NUL, since a receiver's string ends at the first. Pure: any thread, no failure. */
#ifndef TR_MAILBOX_UTF8_H
#define TR_MAILBOX_UTF8_H

#include <stddef.h>

/* Bytes of `text` up to the first that breaks the rules; `length` if none does. */
size_t tr__utf8_valid(const void *text, size_t length);

#endif
