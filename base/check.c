/* What a failed check does: one line on stderr, then abort(), so that a core dump and the crash report show
 * the place. Any thread. It allocates nothing, since memory may be what is broken. */
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/stderr_os.h"

void (*tr__check_handler)(const char *text);

void tr__check_failed(const char *file, int line, const char *condition, const char *format, ...)
{
    char text[1024];
    int length = snprintf(text, sizeof text, "%s:%d: check failed: %s: ", file, line, condition);
    if (length < 0)
        length = 0;
    if ((size_t)length < sizeof text) {
        va_list args;
        va_start(args, format);
        if (vsnprintf(text + length, sizeof text - (size_t)length, format, args) < 0)
            text[length] = '\0';
        va_end(args);
    }
    if (tr__check_handler) {
        tr__check_handler(text);
        return;
    }
    tr__stderr_line("troupe", text);
    abort();
}
