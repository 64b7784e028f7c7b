/* A node's sums as text and back. Any thread; a malformed line is refused. */
#include <inttypes.h>
#include <string.h>

#include "cli/demo/sums.h"

#define FIELDS 10

void demo_sums_print(const tr_sums *s, FILE *to)
{
    const uint64_t fields[FIELDS] = {s->accepted, s->arrived, s->handled,  s->queued, s->passed,
                                     s->posted,   s->sent,    s->received, s->lost,   TR_DROP_COUNT};
    fputs("sums", to);
    for (int i = 0; i < FIELDS; i++)
        fprintf(to, " %" PRIu64, fields[i]);
    for (int i = 0; i < TR_DROP_COUNT; i++)
        fprintf(to, " %" PRIu64, s->dropped[i]);
    fputc('\n', to);
}

bool demo_sums_parse(const char *line, tr_sums *s)
{
    uint64_t count = 0;
    uint64_t *fields[FIELDS] = {&s->accepted, &s->arrived, &s->handled,  &s->queued, &s->passed,
                                &s->posted,   &s->sent,    &s->received, &s->lost,   &count};
    int used;
    if (strncmp(line, "sums", 4) != 0)
        return false;
    line += 4;
    for (int i = 0; i < FIELDS + TR_DROP_COUNT; i++, line += used)
        if (sscanf(line, " %" SCNu64 "%n", i < FIELDS ? fields[i] : &s->dropped[i - FIELDS], &used) != 1)
            return false;
    return count == TR_DROP_COUNT;
}

uint64_t demo_sums_dropped(const tr_sums *sums)
{
    uint64_t total = 0;
    for (int i = 0; i < TR_DROP_COUNT; i++)
        total += sums->dropped[i];
    return total;
}

bool demo_sums_add_up(const tr_sums *s)
{
    return s->accepted + s->arrived + s->received ==
               s->handled + demo_sums_dropped(s) + s->queued + s->passed + s->sent &&
           s->arrived == s->passed + s->posted;
}

const char *demo_drop_word(int drop)
{
#define WORD(name, word) word,
    static const char *const words[] = {TR_DROPS(WORD)};
#undef WORD
    return drop >= 0 && drop < TR_DROP_COUNT ? words[drop] : "";
}
