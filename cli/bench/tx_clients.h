/* Client apps of tx-clients, and what tx_clients.c hears of them: the first byte of a host's output says that all its clients
 * are connected, and after a byte on its input they begin; then come a client_sums, and a client_journal of each. */
#ifndef TR_CLI_BENCH_TX_CLIENTS_H
#define TR_CLI_BENCH_TX_CLIENTS_H

#include "cli/bench/tx.h"

#define CLIENTS_MAX     1000
#define CLIENT_PATIENCE TR_SECONDS(60) /* until all are connected */

typedef struct client_sums {
    uint64_t first_ns, last_ns; /* when they began, when the last was done */
    bench_tally tally;
} client_sums;

typedef struct client_journal {
    uint64_t entries, digest;
    int64_t balance;
} client_journal;

#endif
