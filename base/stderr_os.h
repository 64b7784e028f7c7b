/* What a node says when nobody else is there to hear it. Any thread; allocates nothing. */
#ifndef TR_BASE_STDERR_OS_H
#define TR_BASE_STDERR_OS_H

/* "who: line" on stderr, by one call, so that the lines of two threads don't mix; as printable.h shows
 * it. */
void tr__stderr_line(const char *who, const char *line);

#endif
