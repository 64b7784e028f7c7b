/* What is asked of an app as a participant of transactions: by itself and its peer, and perhaps by anybody, so all of
 * it is checked. Answered within the transaction. */
#ifndef TR_ACTORS_KINDS_APP_WIRE_H
#define TR_ACTORS_KINDS_APP_WIRE_H

#include <troupe/tx.h>

/* Append these items of that origin (an app's id), in order: for each its SHA-256 and its data, with their lengths in
 * front (actors/tx/frame.h). Answered by the numbers that they have, and where the journal ends now. */
TR_MESSAGE(tr_app_append, TR_WRITES, (string, origin), (bytes, items))
TR_MESSAGE(tr_app_appended, (u64, first), (u64, last), (bytes, digest))
/* Who are you, and where does your journal end? */
TR_MESSAGE(tr_app_look)
TR_MESSAGE(tr_app_seen, (string, name), (string, id), (u64, last), (u64, own), (u64, other), (bytes, digest))
/* One entry; answered by tr_app_item (troupe/app.h), of number 0 if there is none. */
TR_MESSAGE(tr_app_read, (u64, number))

#endif
