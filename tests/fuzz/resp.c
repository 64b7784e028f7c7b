/* The stream client's codec "resp": answers of a server that sends anything, requests that are none. */
#include "tests/fuzz/codecs.h"

static void one(const uint8_t *bytes, size_t length)
{
    fuzz_codec(&tr__codec_resp, bytes, length);
}

const fuzz_target fuzz_resp = {"resp", 256u << 10, 64, one};
