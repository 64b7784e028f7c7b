/* Text that came from elsewhere (a peer, a server, an actor's error), as it may be shown: no byte of it moves a terminal's
 * cursor, or begins another line of a log. Any thread, no failure. */
#ifndef TR_BASE_PRINTABLE_H
#define TR_BASE_PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>

/* Whether it may be shown as it is. */
bool tr__is_printable(const char *text);
/* Into `room` bytes, cut if it must be: control characters, those of U+0080 to U+009F as well, become \xNN, byte by byte. Done
 * twice it is the same. Returns `to`. */
char *tr__printable(char *to, size_t room, const char *text);

#endif
