/* Words of counts, for what people read. */
#ifndef TR_CLI_WORDS_H
#define TR_CLI_WORDS_H

#include <stdint.h>

/* The end of a noun of which there are so many. */
static inline const char *cli_s(uint64_t count)
{
    return count == 1 ? "" : "s";
}

#endif
