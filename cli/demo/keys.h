/* Keys that are pressed while the demo runs. The terminal gives them at once and doesn't show them, and gets its old
 * ways back whatever ends the demo but kill -9: in order, an abort, a crash; and while it is stopped by Ctrl-Z.
 * One at a time in a process; the main thread. */
#ifndef TR_CLI_DEMO_KEYS_H
#define TR_CLI_DEMO_KEYS_H

#include <stdbool.h>

/* Take the terminal that is standard input, and hide the cursor of the one that is standard output. False: standard
 * input is none, or belongs to another job; there will be no keys, but the cursor is hidden. */
bool demo_keys_open(void);
/* The next key, or 0. Doesn't wait. */
char demo_keys_next(void);
/* Whether it was stopped and goes on since the last call: what is on the screen is unknown. */
bool demo_keys_resumed(void);
/* Give the terminal back; more than once is fine. */
void demo_keys_close(void);

#endif
