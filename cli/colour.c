/* See colour.h. Any thread; nothing fails. */
#include "cli/colour.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cli_colours(int fd)
{
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    return isatty(fd) && !(no_colour && *no_colour) && term && *term && strcmp(term, "dumb") != 0;
}
