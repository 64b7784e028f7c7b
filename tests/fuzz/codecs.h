/* What the targets of the stream client's codecs share. */
#ifndef TR_TESTS_FUZZ_CODECS_H
#define TR_TESTS_FUZZ_CODECS_H

#include "actors/kinds/codec.h"
#include "tests/fuzz/fuzz.h"

/* The first byte: whether the rest is a request to be checked, and else in what pieces answers come. */
void fuzz_codec(const tr__codec *codec, const uint8_t *bytes, size_t length);

#endif
