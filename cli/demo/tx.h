/* The transactions of alice's and bob's apps, as their nodes' managers tell them: asked a few times a second, put together
 * by transaction, kept for the page; and the one that a death leaves in doubt. The main thread, the observer's fiber. */
#ifndef TR_CLI_DEMO_TX_H
#define TR_CLI_DEMO_TX_H

#include "cli/demo/demo.h"

/* Ask, take answers; part of every step. */
void demo_tx_step(demo *d);
/* Bob was killed: what is in doubt from here on is told, and how it ends. */
void demo_tx_killed(demo *d);
/* Nothing is in doubt or locked on either node, as they told after `since_ns`. */
bool demo_tx_at_rest(const demo *d, uint64_t since_ns);
/* For the page (docs/page.md): at most 20, newest last, those that a death fell into among them. The caller's. */
struct json_t *demo_tx_state(const demo *d);
void demo_tx_close(demo *d);

#endif
