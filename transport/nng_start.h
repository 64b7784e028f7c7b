/* Whether nng can be begun with. Any thread.
 *
 * nng makes its threads when it is first used, and as it is (1.5.2) it crashes if the system gives it fewer than it wants.
 * So before the first use as many threads are made as it makes, and ended again. */
#ifndef TR_TRANSPORT_NNG_START_H
#define TR_TRANSPORT_NNG_START_H

#include <troupe/err.h>

/* Before nng is used, as often as anybody likes: once it was TR_OK in this process it costs nothing. TR_EAGAIN: the system gives no
 * more threads, or no memory for their stacks. */
tr_err tr__nng_may_start(tr_error *error);

#endif
