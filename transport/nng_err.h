/* nng's error numbers as ours. Pure: any thread. */
#ifndef TR_TRANSPORT_NNG_ERR_H
#define TR_TRANSPORT_NNG_ERR_H

#include <troupe/err.h>

tr_err tr__nng_err(int nng_error);

#endif
