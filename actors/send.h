/* Making and sending messages, shared by what sends. The sending actor's loop. */
#ifndef TR_ACTORS_SEND_H
#define TR_ACTORS_SEND_H

#include <stdarg.h>

#include <troupe/troupe.h>

#include "mailbox/message.h"

/* Draw a place at `to` and make the message with a copy of `body`; on an error nothing is held and self's
 * last error is set. Then tr__submit it, or give it back by tr__unprepare. */
tr_err tr__prepare(tr_actor *self, tr_addr to, tr_type *type, const void *body, tr_msg **msg);
void tr__unprepare(tr_actor *self, tr_addr to, tr_msg *msg);

/* The va_list forms of the printf-like calls. */
#define TR_FN(returns, name, parameters, arguments)
#define TR_FNV(returns, name, index, parameters, arguments) \
    returns tr_v##name(TR__UNWRAP parameters, va_list args) __attribute__((format(printf, index, 0)));
#include <troupe/api_list.h>
#undef TR_FN
#undef TR_FNV

#endif
