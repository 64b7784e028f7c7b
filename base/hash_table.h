/* uthash as Troupe uses it: include this, never <uthash.h>. Its memory comes from base/mem.h, and running out
 * of it is an answer instead of the end of the process: after HASH_ADD ask tr__hash_added(entry); an entry
 * that was not added is in no table and still the caller's. Keys may be of a peer's choice: the hash is keyed. */
#ifndef TR_BASE_HASH_TABLE_H
#define TR_BASE_HASH_TABLE_H

#include "base/hash.h"
#include "base/mem.h"

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)tr__hash_secret((keyptr), (keylen)))
#define HASH_NONFATAL_OOM                    1
#define uthash_malloc(size)                  tr__alloc(size)
#define uthash_free(ptr, size)               tr__free(ptr)
#define uthash_nonfatal_oom(entry)           ((void)(entry)) /* uthash has cleared its hh.tbl */
#include <uthash.h>

#define tr__hash_added(entry) ((entry)->hh.tbl != NULL)

#endif
