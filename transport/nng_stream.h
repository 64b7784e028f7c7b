/* The seam of stream.h over nng's byte streams (tcp). See nng_stream.c. */
#ifndef TR_TRANSPORT_NNG_STREAM_H
#define TR_TRANSPORT_NNG_STREAM_H

#include "transport/stream.h"

/* Static storage; any thread. Not to be used in a forked child (nng aborts there). */
tr__net *tr__nng_net(void);

#endif
