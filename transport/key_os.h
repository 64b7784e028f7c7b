/* Key files: what `troupe key` writes, and a node reads at its start and when it is told to. Lines of text: "troupe
 * key 1", then the current key as 64 hexadecimal digits, then, while a cluster changes its key, another one. A file is
 * replaced as a whole: whoever reads it finds the old keys or the new ones. Blocking; any thread. */
#ifndef TR_TRANSPORT_KEY_OS_H
#define TR_TRANSPORT_KEY_OS_H

#include "transport/psk.h"

/* Make a key of random bytes and write it to a new file that its owner alone can read. TR_EEXIST: never over
 * an existing file. TR_EPERM, TR_ENOTFOUND, TR_ENOSPC, TR_EIO: then there is no such file. */
tr_err tr__key_create(const char *path, tr_error *error);
/* Read it; keys: the caller's to wipe, as many as there are, at least one. TR_ENOTFOUND, TR_EPERM (also: others can read
 * it), TR_EINVAL (no key file), TR_EIO. */
tr_err tr__key_read(const char *path, tr__keys *keys, tr_error *error);
/* The current key of another file becomes the other key of this one. As reading both and writing; TR_EFULL: it has
 * another one already; TR_EEXIST: it has that one. */
tr_err tr__key_add(const char *path, const char *from, tr_error *error);
/* The other key becomes the current one, and the current one the other. As reading and writing; TR_EINVAL: it has no
 * other. */
tr_err tr__key_swap(const char *path, tr_error *error);
/* The other key is forgotten. As tr__key_swap. */
tr_err tr__key_drop(const char *path, tr_error *error);

#define TR__KEY_ID 16 /* digits */
/* By what people tell a key from others without knowing it: the first digits of its hash. text: TR__KEY_ID + 1 bytes. */
void tr__key_id(const uint8_t *key, char *text);
/* "key 3f9a12bc00d1e2f3 (another one that is taken: 77b1...)"; text: TR__KEYS_WORDS bytes. */
#define TR__KEYS_WORDS 96
void tr__keys_words(const tr__keys *keys, char *text);
/* Unpredictable bytes from the system, by libsodium: the seams' `secret`. After one of the above. */
void tr__key_secret(void *context, void *bytes, size_t length);

#endif
