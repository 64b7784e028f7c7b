/* See psk.h. What can fail is what the other side sent. */
#include "transport/psk.h"

#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

static const char LABEL[] = "troupe psk 1"; /* its number is the suite of KEY frames */

_Static_assert(TR__KEY_SIZE == crypto_scalarmult_BYTES && TR__KEY_SIZE == crypto_scalarmult_SCALARBYTES &&
                   TR__KEY_SIZE == crypto_aead_chacha20poly1305_ietf_KEYBYTES &&
                   TR__FRAME_TAG == crypto_aead_chacha20poly1305_ietf_ABYTES,
               "the sizes of libsodium's keys and tags");

void tr__wipe(void *bytes, size_t length)
{
    sodium_memzero(bytes, length);
}

void tr__psk_pair_make(const tr__psk *psk, tr__psk_pair *pair)
{
    psk->secret(psk->context, pair->secret, sizeof pair->secret);
    crypto_scalarmult_base(pair->open, pair->secret);
}

tr_err tr__psk_derive(const tr__psk *psk, tr__psk_pair *pair, const uint8_t *theirs, bool dialled,
                      tr__seal *out, tr__seal *in, tr_error *error)
{
    uint8_t shared[TR__KEY_SIZE], keys[2 * TR__KEY_SIZE];
    crypto_generichash_state hash;
    int failed = crypto_scalarmult(shared, pair->secret, theirs);
    tr__wipe(pair->secret, sizeof pair->secret);
    if (failed) /* a point that gives zero with any secret */
        return tr__fail(error, TR_EPROTO, "a key frame has a public key that is none");
    crypto_generichash_init(&hash, psk->key, sizeof psk->key, sizeof keys);
    crypto_generichash_update(&hash, (const uint8_t *)LABEL, sizeof LABEL);
    crypto_generichash_update(&hash, shared, sizeof shared);
    crypto_generichash_update(&hash, dialled ? pair->open : theirs, TR__KEY_SIZE);
    crypto_generichash_update(&hash, dialled ? theirs : pair->open, TR__KEY_SIZE);
    crypto_generichash_final(&hash, keys, sizeof keys);
    memcpy(dialled ? out->key : in->key, keys, TR__KEY_SIZE);
    memcpy(dialled ? in->key : out->key, keys + TR__KEY_SIZE, TR__KEY_SIZE);
    out->count = in->count = 0;
    tr__wipe(&hash, sizeof hash);
    tr__wipe(shared, sizeof shared);
    tr__wipe(keys, sizeof keys);
    return TR_OK;
}

/* The count as bytes, little-endian: never the same twice under one key. */
static void put_nonce(uint8_t *nonce, uint64_t count)
{
    memset(nonce, 0, crypto_aead_chacha20poly1305_ietf_NPUBBYTES);
    for (int i = 0; i < 8; i++)
        nonce[i] = (uint8_t)(count >> (8 * i));
}

size_t tr__seal_close(tr__seal *seal, uint8_t *bytes)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES], *body = bytes + TR__FRAME_HEADER;
    size_t size = tr__frame_mark_sealed(bytes), length = size - TR__FRAME_HEADER - TR__FRAME_TAG;
    tr__check(seal->count < UINT64_MAX, "a direction's nonces are used up");
    put_nonce(nonce, seal->count++);
    crypto_aead_chacha20poly1305_ietf_encrypt_detached(body, body + length, NULL, body, length, bytes,
                                                       TR__FRAME_HEADER, NULL, nonce, seal->key);
    return size;
}

bool tr__seal_open(tr__seal *seal, uint8_t *bytes, const tr__frame *frame)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES], *body = bytes + TR__FRAME_HEADER;
    put_nonce(nonce, seal->count);
    if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(
            body, NULL, body, frame->length, body + frame->length, bytes, TR__FRAME_HEADER, nonce, seal->key))
        return false;
    seal->count++;
    return true;
}
