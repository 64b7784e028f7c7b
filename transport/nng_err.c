/* See nng_err.h. */
#include "transport/nng_err.h"

#include <nng/nng.h>

#include "base/err.h"

tr_err tr__nng_err(int nng_error)
{
    switch (nng_error) {
    case NNG_ENOMEM:
        return TR_ENOMEM;
    case NNG_ETIMEDOUT:
        return TR_EDEADLINE;
    case NNG_ECONNREFUSED:
        return TR_EREFUSED;
    case NNG_ECONNSHUT:
    case NNG_ECONNRESET:
    case NNG_ECONNABORTED:
        return TR_ERESET;
    case NNG_ECLOSED:
    case NNG_ECANCELED:
        return TR_ECLOSED;
    case NNG_EADDRINUSE:
        return TR_EADDRINUSE;
    case NNG_EADDRINVAL:
        return TR_EADDR;
    case NNG_EUNREACHABLE:
        return TR_ENOCONN;
    case NNG_EPROTO:
        return TR_EPROTO;
    case NNG_EMSGSIZE:
        return TR_ETOOBIG;
    case NNG_EPERM:
        return TR_EPERM;
    default:
        return nng_error & NNG_ESYSERR ? tr__err_from_errno(nng_error & ~NNG_ESYSERR) : TR_EIO;
    }
}
