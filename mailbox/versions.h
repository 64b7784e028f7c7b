/* Messages of one version of a type for actors that were compiled with another (a program and its plugins). */
#ifndef TR_MAILBOX_VERSIONS_H
#define TR_MAILBOX_VERSIONS_H

#include <troupe/message.h>

#include "mailbox/type.h"

/* The body as that other version of its type, converted at the first call and freed with the message. NULL: they don't
 * understand each other (schema.c), or no memory. The thread that has the message. */
const void *tr__version_of(tr_msg *msg, const tr_typeinfo *wanted);
/* Free what was made of it. Any thread. */
void tr__versions_drop(tr_msg *msg);
/* Two declarations of one name in this process that don't understand each other: TR_ETYPE and why, as `type` sees an older
 * one; TR_OK if there are none. */
tr_err tr__versions_check(const tr_typeinfo *type, tr_error *error);

#endif
