/* The twin of TCP connections outwards (actors/kinds/tcp.h): servers, found by host and port, each a function from the
 * bytes that came to the bytes that go back.
 *
 * Possible failures, as of the real one: a host that no server has (TR_EADDR); a port that none listens on
 * (TR_EREFUSED); the faults. */
#ifndef TR_TESTS_KIT_SIM_TCP_H
#define TR_TESTS_KIT_SIM_TCP_H

#include "actors/kinds/tcp.h"
#include "tests/kit/sim/sim_twin.h"

enum sim_tcp_fault {
    SIM_TCP_SLOW,    /* all of a connection takes 10 to 1,000 times as long */
    SIM_TCP_REFUSED, /* TR_EREFUSED */
    SIM_TCP_RESET,   /* the connection breaks after some bytes, in whichever direction: TR_ERESET */
    SIM_TCP_SILENT,  /* connecting never ends, or nothing is ever answered */
    SIM_TCP_PIECES,  /* bytes come in small pieces, both ways */
    SIM_TCP_FAULTS
};

/* What a server says. */
typedef struct sim_reply {
    sim_bytes bytes;
    bool close; /* and then it closes, in order */
} sim_reply;

/* What came on one connection and wasn't taken yet: add to *reply, and say how many bytes were taken. It is called again
 * with the rest while it takes some. */
typedef size_t (*sim_serve_fn)(void *context, const void *data, size_t size, sim_reply *reply);

typedef struct sim_server {
    struct sim_server *next;
    char *host;
    uint16_t port;
    bool down; /* to be set at any time: connections break, and no new one is accepted */
    sim_serve_fn serve;
    void *context;
    uint64_t accepted; /* connections so far */
} sim_server;

typedef struct sim_tcp {
    sim_twin twin;
    sim_fault faults[SIM_TCP_FAULTS];
    sim_server *servers;
} sim_tcp;

sim_tcp *sim_tcp_create(struct tr_sim *sim, tr__random *seeds);
void sim_tcp_destroy(sim_tcp *tcp);
/* A server for all nodes; lives as long as `tcp`. The host is copied. */
sim_server *sim_tcp_listen(sim_tcp *tcp, const char *host, uint16_t port, sim_serve_fn serve, void *context);
void sim_tcp_drop(sim_tcp *tcp, uint32_t node);

extern const tr__tcp_seam sim_tcp_seam;

#endif
