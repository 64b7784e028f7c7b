/* What two apps say to each other. All of it may come from anybody, and be anything: each handler checks the
 * sender, the state and every field. `records` are entries of a journal as in journal.h.
 *
 *     active                                   passive
 *       hello (ask)      ------------------>     who I am, how far my journal goes
 *               <--------------------- welcome   who I am, how far mine goes, its digest
 *       entries (ask)    ------------------>     numbered: behind your last
 *               <------------------------ echo   the digest of each, after they are in the journal
 *               <----------------- offer (ask)   items of mine, to be numbered (here they count from 1)
 *       echo             ------------------>     they are in the journal; they will come as entries
 *               <------------------------ again  say hello anew: an offer went astray
 *       ended            <----------------->     I have given up, because ...
 *
 * One entries and one offer is under way at a time, a batch each. */
#ifndef TR_ACTORS_KINDS_APP_WIRE_H
#define TR_ACTORS_KINDS_APP_WIRE_H

#include <troupe/message.h>

#define TR__APP_VERSION 1

TR_MESSAGE(tr_app_hello, (u32, version), (string, name), (string, id), (u64, last))
TR_MESSAGE(tr_app_welcome, (string, name), (string, id), (u64, last), (bytes, digest))
TR_MESSAGE(tr_app_entries, (bytes, records))
TR_MESSAGE(tr_app_offer, (bytes, records))
TR_MESSAGE(tr_app_echo, (bytes, digests))
TR_MESSAGE(tr_app_again, (u32, spare))
TR_MESSAGE(tr_app_ended, (u32, code), (string, why))

#endif
