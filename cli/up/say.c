/* What `troupe up` prints: a column with the node's name, then "|" and a line of its output, or "=" and what happens to
 * it. What a node prints can't move the cursor: its control characters are shown as "?".
 * The page has the last of it as its events. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/up/up.h"

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
    char text[1400]; /* a node's last words, and ours */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    column(u, child, '=');
    printf("%s\n", text);
    fflush(stdout);
    up_page_event_of(u, child, text, true);
}

void up_say_line(up *u, const up_child *child, const char *line)
{
    up_page_event_of(u, child, line, false);
    column(u, child, '|');
    for (; *line; line++)
        putchar(((unsigned char)*line < ' ' && *line != '\t') || *line == 0x7f ? '?' : *line);
    putchar('\n');
    fflush(stdout);
}
