/* Alice's and bob's apps, as the demo uses them: how each is started, and what their items say. */
#ifndef TR_CLI_DEMO_APPS_H
#define TR_CLI_DEMO_APPS_H

#include <troupe/app.h>

#include "cli/demo/node.h"

#define DEMO_APP_TIMEOUT TR_SECONDS(60)

/* Start this node's app, named "app"; its journal is in the node's log, in its directory, and is taken up
 * again after a crash. TR_ADDR_NONE: see tr_last_error. */
tr_addr demo_app_spawn(tr_actor *self, const demo_role_arg *role);
/* Bob's item: one file's digest. The text lives as tr_fmt's. */
const char *demo_item_of_result(tr_actor *self, uint32_t n, uint64_t size, const char *sha256);
/* The reverse. False: it is none. */
bool demo_result_of_item(tr_bytes item, uint32_t *n, char sha256[65]);
/* Put a text as an item. */
tr_future demo_app_put(tr_actor *self, tr_addr app, const char *text);

#endif
