/* The actors of a node as a tree. */
#ifndef TR_CLI_PS_TREE_H
#define TR_CLI_PS_TREE_H

#include <jansson.h>
#include <stdbool.h>

/* Print what the loops of a "ps" answer tell, a line an actor, below who started it; for a screen of so many columns (0: there is
 * none). */
void cli_ps_tree(const json_t *loops, int columns, bool colour);

#endif
