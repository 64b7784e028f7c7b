/* `troupe node`: a node whose actors are its plugins'. The main thread, in tr_main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "cli/cli.h"

/* The plugins are up; what is left is to wait for the end. */
static tr_err wait_for_the_end(tr_actor *self, void *arg)
{
    char *const *rest = arg;
    if (*rest)
        return tr_fail(self, TR_EINVAL, "unexpected \"%s\": `troupe node --help` lists the options", *rest);
    const char *listen = tr_node_listen(tr_node_of(self));
    printf(CLI_NODE_RUNS "%s%s; Ctrl-C ends it\n", *listen ? CLI_NODE_LISTENS : "", listen);
    fflush(stdout);
    while (tr_receive(self, TR_FOREVER))
        ;
    return tr_last_error(self)->code;
}

/* A node that is left running wants to be looked at, so its operator socket is on with and without --name; an --operator
 * of the user's comes later and counts. */
int cli_node(int argc, char **argv)
{
    char **more = calloc((size_t)argc + 3, sizeof(*more));
    if (!more)
        return 1;
    more[0] = "troupe node";
    more[1] = "--operator";
    more[2] = "socket";
    memcpy(more + 3, argv + 1, (size_t)argc * sizeof(*more)); /* with the NULL at the end */
    int status = tr_main(argc + 2, more, wait_for_the_end, NULL);
    free(more);
    return status;
}
