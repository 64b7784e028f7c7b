/* See stderr_os.h. */
#include "base/stderr_os.h"

#include <stdio.h>

#include "base/printable.h"

void tr__stderr_line(const char *who, const char *line)
{
    char shown[1024];
    fprintf(stderr, "%s: %s\n", who, tr__printable(shown, sizeof(shown), line));
}
