/* Colours of what commands print. */
#ifndef TR_CLI_COLOUR_H
#define TR_CLI_COLOUR_H

#include <stdbool.h>

/* Whether text written to that descriptor may be coloured: a terminal that isn't dumb, and NO_COLOR isn't set. */
bool cli_colours(int fd);

#endif
