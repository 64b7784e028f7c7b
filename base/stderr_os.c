/* See stderr_os.h. */
#include "base/stderr_os.h"

#include <stdio.h>

void tr__stderr_line(const char *who, const char *line)
{
    fprintf(stderr, "%s: %s\n", who, line);
}
