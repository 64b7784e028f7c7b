/* What `troupe up` prints: a column with the node's name, then "|" and a line of its output, or "=" and what happens to
 * it. What a node prints can't move the cursor: its control characters are shown as "?". */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/up.h"

static void column(const up *u, const up_child *child, char sign)
{
    static const char *const colours[] = {"36", "32", "33", "35", "34"};
    const char *name = child ? child->node->name : "up";
    if (u->colour)
        printf("\033[%sm%-*s %c\033[0m ", child ? colours[(size_t)child->colour % TR_COUNT(colours)] : "1",
               u->name_width, name, sign);
    else
        printf("%-*s %c ", u->name_width, name, sign);
}

void up_say(up *u, const up_child *child, const char *format, ...)
{
    va_list args;
    column(u, child, '=');
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

void up_say_line(up *u, const up_child *child, const char *line)
{
    column(u, child, '|');
    for (; *line; line++)
        putchar(((unsigned char)*line < ' ' && *line != '\t') || *line == 0x7f ? '?' : *line);
    putchar('\n');
    fflush(stdout);
}
