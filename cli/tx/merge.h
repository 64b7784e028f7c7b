/* What the nodes' transaction managers tell (tr_tx_listing), put together by transaction. Any thread; what one works on is
 * its own. */
#ifndef TR_CLI_TX_MERGE_H
#define TR_CLI_TX_MERGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/operator_client.h"

/* An object {"figures":[...], "in_doubt":[...], "log_lost":[...], "versions":[...], "transactions":[...]}, empty so far; the caller's. NULL:
 * no memory. */
json_t *tx_merge_new(void);
/* Add one node's listing (the text of a tr_tx_listing), again and again as it grows: what is there isn't doubled, and its
 * figures and in_doubt replace the last ones. False: it is none. */
bool tx_merge_add(json_t *all, const char *listing);
/* Ask a node's manager for its listing, all that it remembers, and wait at most timeout_ns. Its text, for tr__free(); NULL
 * with *error as of operator_request. */
char *tx_merge_ask(operator_client *client, uint64_t timeout_ns, tr_error *error);
/* NULL: there is none of that id. Borrowed. */
json_t *tx_merge_find(const json_t *all, const char *id);
/* Of all nodes of this user here; those that fail are told on stderr and counted in *failed. NULL: that was told. */
json_t *tx_merge_all(int *failed);

/* "figures" has of each node "node", "in_doubt", "oldest_in_doubt_ns" (since when; 0: none) and "alarms" since its start. In
 * "in_doubt" each has "node" besides, in "log_lost" "node" and "text", in "versions" "node", "actor" and "version". In "transactions" (oldest first) each has "id", "state" (committed, aborted, in
 * doubt, unknown, open: the most certain that a node told), "reason", "began_ns", "nodes", and "events" in order of time,
 * each with its "node". */

/* A member; "" and 0 if it isn't there. */
const char *tx_text(const json_t *object, const char *key);
json_int_t tx_number(const json_t *object, const char *key);

#endif
