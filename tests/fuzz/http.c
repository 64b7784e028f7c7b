/* The stream client's codec "http": answers of a server that sends anything, requests that are none. */
#include "tests/fuzz/codecs.h"

static void one(const uint8_t *bytes, size_t length)
{
    fuzz_codec(&tr__codec_http, bytes, length);
}

const fuzz_target fuzz_http = {"http", 256u << 10, 64, one};
