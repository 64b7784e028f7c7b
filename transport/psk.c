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

/* By one shared key; `secret` is what X25519 made, `dialler` and `acceptor` the public keys. */
static void derive(const uint8_t *key, const uint8_t *secret, const uint8_t *dialler, const uint8_t *acceptor,
                   tr__seal *of_dialler, tr__seal *of_acceptor)
{
    uint8_t keys[2 * TR__KEY_SIZE];
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, key, TR__KEY_SIZE, sizeof keys);
    crypto_generichash_update(&hash, (const uint8_t *)LABEL, sizeof LABEL);
    crypto_generichash_update(&hash, secret, TR__KEY_SIZE);
    crypto_generichash_update(&hash, dialler, TR__KEY_SIZE);
    crypto_generichash_update(&hash, acceptor, TR__KEY_SIZE);
    crypto_generichash_final(&hash, keys, sizeof keys);
    memcpy(of_dialler->key, keys, TR__KEY_SIZE);
    memcpy(of_acceptor->key, keys + TR__KEY_SIZE, TR__KEY_SIZE);
    tr__wipe(&hash, sizeof hash);
    tr__wipe(keys, sizeof keys);
}

tr_err tr__psk_derive(const tr__psk *psk, tr__psk_pair *pair, const uint8_t *theirs, bool dialled,
                      tr__seals *seals, tr_error *error)
{
    uint8_t secret[TR__KEY_SIZE];
    const uint8_t *ours = pair->open;
    int failed = crypto_scalarmult(secret, pair->secret, theirs);
    tr__wipe(pair->secret, sizeof pair->secret);
    memset(seals, 0, TR__KEYS_MAX * sizeof *seals);
    if (failed) /* a point that gives zero with any secret */
        return tr__fail(error, TR_EPROTO, "a key frame has a public key that is none");
    for (unsigned i = 0; i < psk->keys.count; i++) {
        if (dialled)
            derive(psk->keys.key[i], secret, ours, theirs, &seals[i].out, &seals[i].in);
        else
            derive(psk->keys.key[i], secret, theirs, ours, &seals[i].in, &seals[i].out);
    }
    tr__wipe(secret, sizeof secret);
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

/* The text goes to `into`; NULL: the tag is looked at only. */
static bool decrypt(const tr__seal *seal, uint8_t *into, const uint8_t *bytes, const tr__frame *frame)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    const uint8_t *body = bytes + TR__FRAME_HEADER;
    put_nonce(nonce, seal->count);
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(into, NULL, body, frame->length,
                                                              body + frame->length, bytes, TR__FRAME_HEADER,
                                                              nonce, seal->key) == 0;
}

bool tr__seal_open(tr__seal *seal, uint8_t *bytes, const tr__frame *frame)
{
    if (!decrypt(seal, bytes + TR__FRAME_HEADER, bytes, frame))
        return false;
    seal->count++;
    return true;
}

bool tr__seal_fits(const tr__seal *seal, const uint8_t *bytes, const tr__frame *frame)
{
    return decrypt(seal, NULL, bytes, frame);
}
