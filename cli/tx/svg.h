/* A transaction as a drawing. See svg.c. Any thread. */
#ifndef TR_CLI_TX_SVG_H
#define TR_CLI_TX_SVG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* One of merge.h's "transactions", as an SVG. False: no memory, nothing was written. Whether writing worked, `out` knows. */
bool tx_svg_write(FILE *out, const json_t *transaction);

#endif
