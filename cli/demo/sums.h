/* A node's sums as one line of text between the demo's processes, and whether they add up. Pure but for the
 * file. */
#ifndef TR_CLI_DEMO_SUMS_H
#define TR_CLI_DEMO_SUMS_H

#include <stdio.h>

#include <troupe/node.h>

void demo_sums_print(const tr_sums *sums, FILE *to);
/* False: not such a line. */
bool demo_sums_parse(const char *line, tr_sums *sums);
uint64_t demo_sums_dropped(const tr_sums *sums);
/* At rest: all that came is accounted for. */
bool demo_sums_add_up(const tr_sums *sums);
/* "no-actor", for a tr_drop. */
const char *demo_drop_word(int drop);

#endif
