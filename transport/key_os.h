/* Key files: what `troupe key new` writes and a node reads at its start. Two lines of text: "troupe key 1",
 * then the key as 64 hexadecimal digits. Blocking; any thread. */
#ifndef TR_TRANSPORT_KEY_OS_H
#define TR_TRANSPORT_KEY_OS_H

#include "transport/frame.h"

/* Make a key of random bytes and write it to a new file that its owner alone can read. TR_EEXIST: never over
 * an existing file. TR_EPERM, TR_ENOTFOUND, TR_ENOSPC, TR_EIO: then there is no such file. */
tr_err tr__key_create(const char *path, tr_error *error);
/* Read it; key: TR__KEY_SIZE bytes, the caller's to wipe. TR_ENOTFOUND, TR_EPERM (also: others can read it),
 * TR_EINVAL (no key file), TR_EIO. */
tr_err tr__key_read(const char *path, uint8_t *key, tr_error *error);
/* Unpredictable bytes from the system, by libsodium: the seams' `secret`. After one of the above. */
void tr__key_secret(void *context, void *bytes, size_t length);

#endif
