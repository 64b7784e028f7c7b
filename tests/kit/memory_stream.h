/* The seam of transport/stream.h in memory: any number of nodes in one thread, no socket, no clock. What
 * happens next is drawn from a seed; bytes can be split anywhere, sends be short, dials refused, everything
 * cut or frozen. */
#ifndef TR_TESTS_MEMORY_STREAM_H
#define TR_TESTS_MEMORY_STREAM_H

#include "base/random.h"
#include "transport/stream.h"

typedef struct memory_net {
    tr__net net;
    tr__random random;
    size_t piece_max;  /* at most so many bytes move at a time; 0 = no bound */
    size_t pipe_max;   /* bytes one direction holds between "sent" and received */
    bool at_once;      /* some sends are done when they return */
    bool refuse_dials; /* nobody answers: TR_EREFUSED */
    bool frozen;       /* established streams move nothing */
    /* Sees all bytes of endpoints on their way, once, and may change them; NULL: nobody does */
    void (*tap)(void *context, bool of_dialler, uint8_t *bytes, size_t length);
    void *tap_context;
    uint16_t next_port;
    uint64_t origin;     /* from where those come that are dialled from now on */
    tr__stream *streams; /* in order of creation */
    tr__listener *listeners;
    tr__dial *dials;
    size_t streams_open; /* made and not closed: to find leaks */
} memory_net;

void memory_net_init(memory_net *net, uint64_t seed);
/* All streams, listeners and dials must have been closed. */
void memory_net_fini(memory_net *net);
/* Do one thing that can be done; false: there is nothing. */
bool memory_net_step(memory_net *net);
void memory_net_run(memory_net *net); /* until there is nothing */
/* Every established stream moves nothing any more, nor says that it ends; those to come do. */
void memory_net_freeze(memory_net *net);
/* Every established stream breaks: TR_ERESET on both sides, what was under way is lost. */
void memory_net_cut(memory_net *net);

/* A client without manners: connects to that port; writes any bytes; reads what came. */
tr__stream *memory_raw_dial(memory_net *net, uint16_t port);
void memory_raw_write(tr__stream *raw, const void *bytes, size_t length);
/* Up to `length` bytes that the other side sent; 0: none now. */
size_t memory_raw_read(tr__stream *raw, void *bytes, size_t length);
bool memory_raw_is_cut(tr__stream *raw); /* the other side closed */
void memory_raw_close(tr__stream *raw);

#endif
