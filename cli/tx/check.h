/* `troupe tx check`: see check.c. The main thread. */
#ifndef TR_CLI_TX_CHECK_H
#define TR_CLI_TX_CHECK_H

#include <stdbool.h>

/* The exit status: 0 nothing is wrong, 1 findings (or no memory, told on stderr), 2 a file that is malformed or can't be read.
 * `edn`: a path, NULL: none. */
int tx_check(const char *const *files, int count, const char *edn, bool json);

#endif
