/* `troupe tx resolve|accept`: what an operator decides. The main thread. */
#ifndef TR_CLI_TX_OPERATE_H
#define TR_CLI_TX_OPERATE_H

/* argv[0] is the word itself; the exit status. */
int tx_resolve_command(int argc, char **argv);
int tx_accept_command(int argc, char **argv);

#endif
