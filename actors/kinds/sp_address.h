/* The URLs of an nng socket, judged before nng sees them. Pure: resolves nothing. Any thread. */
#ifndef TR_ACTORS_KINDS_SP_ADDRESS_H
#define TR_ACTORS_KINDS_SP_ADDRESS_H

#include <stdbool.h>

#include <troupe/err.h>

/* May it be dialled? TR_EADDR with a text that shows the forms. */
tr_err tr__sp_check_dial(const char *url, tr_error *error);
/* May it be listened on? The same; and beyond loopback only with `anywhere` (TR_EPERM). Names of hosts can't be: what they
 * stand for may change. */
tr_err tr__sp_check_listen(const char *url, bool anywhere, tr_error *error);

#endif
