/* How soon the nodes of a run noticed what was done to them, and how soon all were connected again: by what they wrote to
 * their logs, whose times are of the same clock as the runner's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/real/real.h"

#define NOTICED_MS 6500  /* a silence of 5 s is noticed, and the machine may be busy */
#define WHOLE_MS   12000 /* the longest pause between dials, an attempt that comes to nothing, and the same */

typedef struct seen {
    uint64_t first_down_ms, last_up_ms; /* 0: none */
} seen;

/* "12345.678 ... node n1 is down: ..." */
static void take_line(const real_cluster *c, const char *line, seen *s)
{
    unsigned long long seconds;
    unsigned milliseconds;
    if (sscanf(line, "%llu.%3u ", &seconds, &milliseconds) != 2 || !strstr(line, "node n"))
        return;
    uint64_t at = seconds * 1000 + milliseconds;
    if (at < c->fault_ms)
        return;
    if (strstr(line, " is down: ") && (!s->first_down_ms || at < s->first_down_ms))
        s->first_down_ms = at;
    if (strstr(line, " is up, ") && at > s->last_up_ms)
        s->last_up_ms = at;
}

static void take_log(const real_cluster *c, uint32_t index, seen *s)
{
    char path[96], line[600];
    snprintf(path, sizeof(path), "%s/n%u.log", c->home, index);
    FILE *log = fopen(path, "re");
    while (log && fgets(line, sizeof(line), log))
        take_line(c, line, s);
    if (log)
        fclose(log);
}

void real_measure(real_cluster *c, char *text, size_t room)
{
    seen s = {0};
    *text = 0;
    for (uint32_t i = 0; c->fault_ms && i < c->count; i++)
        take_log(c, i, &s);
    if (!s.first_down_ms)
        return;
    uint64_t noticed = s.first_down_ms - c->fault_ms;
    uint64_t whole = s.last_up_ms > c->over_ms ? s.last_up_ms - c->over_ms : 0;
    snprintf(text, room, "noticed after %.2f s, whole again %.2f s after it was over", (double)noticed / 1e3,
             (double)whole / 1e3);
    if (noticed > NOTICED_MS || whole > WHOLE_MS)
        real_fail(c, "%s: too late", text);
}
