/* The `troupe` program's commands: each is one row of the table in main.c. The main thread. */
#ifndef TR_CLI_CLI_H
#define TR_CLI_CLI_H

/* argv[0] is the command's own name. Returns the exit status: 0, 1 for what failed (told on stderr), 2 for a
 * bad command line. */
typedef int cli_run(int argc, char **argv);

typedef struct cli_command {
    const char *name;
    const char *help; /* one line; NULL: hidden, one that the program starts by itself */
    cli_run *run;
} cli_command;

cli_run cli_ask, cli_bench, cli_bench_clients, cli_bench_peer, cli_demo, cli_demo_node, cli_fetch, cli_key,
    cli_new, cli_node, cli_plugin, cli_ps, cli_run_command, cli_send, cli_sim, cli_tap, cli_top, cli_tx,
    cli_up, cli_why;

/* How `troupe node` says that its plugins run; behind it, if it listens, CLI_NODE_LISTENS and where, up to a ';'. */
#define CLI_NODE_RUNS    "the node runs"
#define CLI_NODE_LISTENS ", listening on "

#endif
