/* Starting this program again as a child process: the demo's nodes, and those of `troupe up`. */
#ifndef TR_CLI_CHILD_H
#define TR_CLI_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

/* Run this program with those arguments (argv[0] first, NULL last), nothing on its standard input, `out` and `err` as its
 * outputs; both stay the caller's. It is killed when this process is gone. `namespace`: a descriptor of the
 * network namespace that it is to be in, or -1: ours. `own_group`: the terminal's Ctrl-C is not for
 * it. -1: errno says why. The main thread only: a child's life is bound to the thread that made it. */
pid_t cli_child_start(char *const *argv, int out, int err, int namespace, bool own_group);

#endif
