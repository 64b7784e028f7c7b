/* The shared keys between nodes: how a connection's own keys come from one, and how frames are sealed with
 * them. Pure functions over bytes, by libsodium; random bytes come through the caller's `secret`.
 *
 *   who dialled ──KEY: a public key made for this connection──▶ who accepted
 *               ◀──KEY: likewise──
 *   both: BLAKE2b, keyed by the shared key, of (label, X25519 of the two, both public keys in that order)
 *         gives 64 bytes: 32 for the frames of who dialled, 32 for those of who accepted
 *               ──everything from HELLO on: sealed──▶  ◀──sealed──
 *
 * The first sealed frame of a side proves that it has the shared key, and to this connection only: each
 * side's public key is the other's challenge, and which side it is decides which half it seals with. Names,
 * cluster, incarnation and version are in the sealed HELLO. X25519 is there so that who records a connection
 * and gets the shared key later still can't read it.
 *
 * A node may have two shared keys, so that a cluster changes its key while it runs: who dials takes its first
 * one, who accepted finds by the first sealed frame which of its own that is, and answers with the same.
 * Nothing names a key on the way, so a stranger can't tell which keys a node has.
 *
 * Sealing is ChaCha20-Poly1305 (IETF) in place: the header stays readable, but is proven with the body; the
 * nonce is the number of the frame in its direction, over both lanes, and does not travel. So a frame that
 * was altered, repeated, left out or moved doesn't open, and nothing behind it does. */
#ifndef TR_TRANSPORT_PSK_H
#define TR_TRANSPORT_PSK_H

#include "transport/frame.h"

#define TR__KEYS_MAX 2

/* What a key file has. */
typedef struct tr__keys {
    unsigned count;                          /* 0: none */
    uint8_t key[TR__KEYS_MAX][TR__KEY_SIZE]; /* the current one, then the other */
} tr__keys;

/* What a node has for all its connections. */
typedef struct tr__psk {
    tr__keys keys;
    void (*secret)(void *context, void *bytes, size_t length); /* unpredictable bytes */
    void *context;
} tr__psk;

/* A pair for one connection. */
typedef struct tr__psk_pair {
    uint8_t secret[TR__KEY_SIZE], open[TR__KEY_SIZE]; /* open: the public one */
} tr__psk_pair;

/* One direction of one connection; one thread at a time. */
typedef struct tr__seal {
    uint8_t key[TR__KEY_SIZE];
    uint64_t count; /* frames sealed, or opened, so far */
} tr__seal;

/* Both directions, by one shared key. */
typedef struct tr__seals {
    tr__seal out, in;
} tr__seals;

void tr__psk_pair_make(const tr__psk *psk, tr__psk_pair *pair);
/* From our pair and their public key: by each of the shared keys one of `seals`, TR__KEYS_MAX of them; those
 * without a key are zeros. Wipes our pair's secret. TR_EPROTO: theirs is none. */
tr_err tr__psk_derive(const tr__psk *psk, tr__psk_pair *pair, const uint8_t *theirs, bool dialled,
                      tr__seals *seals, tr_error *error);
/* Seal the frame at bytes, whose header was written and which has TR__FRAME_TAG bytes of room behind it;
 * returns its size with them. */
size_t tr__seal_close(tr__seal *seal, uint8_t *bytes);
/* Open the sealed frame at bytes, of which `frame` is the header: its body is readable then. False: it is not
 * the next frame that the other side sealed; its bytes are of no use then. */
bool tr__seal_open(tr__seal *seal, uint8_t *bytes, const tr__frame *frame);
/* Whether it would open it; the bytes stay as they are. */
bool tr__seal_fits(const tr__seal *seal, const uint8_t *bytes, const tr__frame *frame);
/* Overwrite it with zeros, in a way that the compiler keeps. */
void tr__wipe(void *bytes, size_t length);

#endif
