/* The parts of net.c's things. */
#ifndef TR_TESTS_KIT_SIM_NET_H
#define TR_TESTS_KIT_SIM_NET_H

#include "tests/kit/sim/sim.h"

#define SIM_PORT_FIRST 7000

typedef struct sim_packet {
    struct sim_packet *next;
    uint64_t at, sent_at;
    size_t length, given;
    uint8_t bytes[];
} sim_packet;

struct tr__stream {
    tr__stream *next, *previous;
    sim_node *node;
    uint64_t connection; /* its number: both ends have the same; 0: no endpoint has it */
    uint32_t other;      /* the node at the other end */
    tr__stream *peer;    /* NULL: nobody is there any more */
    const tr__stream_upcalls *upcalls;
    void *context;
    bool started, closed, told;
    bool broken; /* it sends no more */
    bool lost;   /* what it sends reaches nobody */
    bool silent; /* and nobody will say so */
    tr_error failure;
    tr__splitter splitter;
    size_t frame_max;
    bool sending;
    size_t send_size;
    uint64_t sent_token;
    uint64_t latency, jitter; /* of what it sends */
    size_t pieces;            /* what it receives comes in pieces of at most that; 0: whole */
    uint64_t clogged_until;   /* what it receives */
    sim_packet *in, **in_end;
    size_t in_bytes;
    uint64_t in_last;
    uint64_t arrival;       /* token of the event that looks at `in` */
    uint64_t unacked_since; /* what was sent to it since then is not acknowledged: 0: nothing */
    bool fin;               /* behind what comes: it is over, for `failure` */
    uint64_t fin_at, fin_sent_at;
    tr__listener *unaccepted; /* that has not been told of it, since its process stands still */
};

struct tr__listener {
    tr__listener *next;
    sim_node *node;
    uint16_t port;
    tr__accepted_fn *accepted;
    void *context;
};

/* A new connection: its end at `from`, not started; the other is handed to who listens, before this returns, or, if its
 * process stands still, when that goes on. */
tr__stream *sim_connect(sim_node *from, tr__listener *listener);
/* Hand that end, which is new, to who listens. */
void sim_accept(tr__listener *listener, tr__stream *stream);
/* The node goes on: hand over those that came while it stood still. */
void sim_accept_late(sim_node *node);
/* Close and free. */
void sim_stream_discard(tr__stream *stream);

/* The end of a connection is about to be freed: what it counted is kept until the other's is there too; sums.c. */
void sim_connection_end(const tr__stream *stream);
void sim_sums_fini(tr_sim *sim);

/* Of the table; dial.c. */
tr_err sim_listen(tr__net *net, const tr__net_address *address, tr__accepted_fn *accepted, void *context,
                  tr__listener **listener, tr_error *error);
uint16_t sim_port(tr__listener *listener);
void sim_unlisten(tr__listener *listener);
tr_err sim_dial(tr__net *net, const tr__net_address *address, uint64_t timeout_ns, tr__dialled_fn *dialled,
                void *context, tr__dial **dial, tr_error *error);
void sim_undial(tr__dial *dial);

struct tr__dial {
    sim_node *node;
    uint16_t port;
    uint32_t to;
    tr__dialled_fn *dialled;
    void *context;
    void (*step)(void *context, uint64_t step);
    uint64_t again;     /* the pause before the next try, if nobody answers */
    tr__stream *stream; /* made, and not told yet */
    bool done;
};

#endif
