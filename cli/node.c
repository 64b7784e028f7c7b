/* `troupe node`: a node whose actors are its plugins'. The main thread, in tr_main. */
#include <stdio.h>

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

int cli_node(int argc, char **argv)
{
    argv[0] = "troupe node";
    return tr_main(argc, argv, wait_for_the_end, NULL);
}
