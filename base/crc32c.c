/* CRC-32C (Castagnoli), which the frames carry: with SSE4.2's instruction where the processor has it,
 * otherwise eight bytes a step by tables (Kounavis and Berry 2008). The instruction has a latency of three cycles and
 * starts one a cycle, so what is long is done as three streams side by side, which a carry-less multiplication joins
 * (Gopal et al. 2011; the form is Peter Cawley's). Pure functions: any thread, no failure. */
#include "base/hash.h"

#include <endian.h>
#include <string.h>

/* The CRC of a byte is the exclusive or of the CRCs of its bits, so eight constants make a table of 256 at
 * compile time. Table k holds what a byte becomes when k zero bytes follow it. */
#define ENTRY(n, a, b, c, d, e, f, g, h)                                                        \
    (((n)&1 ? a : 0) ^ ((n)&2 ? b : 0) ^ ((n)&4 ? c : 0) ^ ((n)&8 ? d : 0) ^ ((n)&16 ? e : 0) ^ \
     ((n)&32 ? f : 0) ^ ((n)&64 ? g : 0) ^ ((n)&128 ? h : 0))
#define ENTRIES4(n, ...) \
    ENTRY(n, __VA_ARGS__), ENTRY(n + 1, __VA_ARGS__), ENTRY(n + 2, __VA_ARGS__), ENTRY(n + 3, __VA_ARGS__)
#define ENTRIES16(n, ...)                                                                 \
    ENTRIES4(n, __VA_ARGS__), ENTRIES4(n + 4, __VA_ARGS__), ENTRIES4(n + 8, __VA_ARGS__), \
        ENTRIES4(n + 12, __VA_ARGS__)
#define ENTRIES64(n, ...)                                                                      \
    ENTRIES16(n, __VA_ARGS__), ENTRIES16(n + 16, __VA_ARGS__), ENTRIES16(n + 32, __VA_ARGS__), \
        ENTRIES16(n + 48, __VA_ARGS__)
#define TABLE(...)                                                                          \
    {                                                                                       \
        ENTRIES64(0, __VA_ARGS__), ENTRIES64(64, __VA_ARGS__), ENTRIES64(128, __VA_ARGS__), \
            ENTRIES64(192, __VA_ARGS__)                                                     \
    }

static const uint32_t tables[8][256] = {
    TABLE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
    TABLE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
    TABLE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
    TABLE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    TABLE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    TABLE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    TABLE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    TABLE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};

static inline uint64_t load64(const unsigned char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

uint32_t tr__crc32c_by_table(uint32_t crc, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    crc = ~crc;
    for (; length >= 8; length -= 8, at += 8) {
        uint64_t word = le64toh(load64(at)) ^ crc;
        crc = 0;
        for (int i = 0; i < 8; i++)
            crc ^= tables[7 - i][(word >> (8 * i)) & 0xff];
    }
    for (; length > 0; length--)
        crc = (crc >> 8) ^ tables[0][(crc ^ *at++) & 0xff];
    return ~crc;
}

#ifdef __x86_64__
#include <nmmintrin.h>
#include <wmmintrin.h>

#define LONG 1024 /* bytes from which on joining pays */

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *bytes,
                                                                 size_t length)
{
    const unsigned char *at = bytes;
    uint64_t wide = ~crc;
    for (; length >= 8; length -= 8, at += 8)
        wide = _mm_crc32_u64(wide, load64(at));
    uint32_t narrow = (uint32_t)wide;
    for (; length > 0; length--)
        narrow = _mm_crc32_u8(narrow, *at++);
    return ~narrow;
}

/* x^n modulo the polynomial, bits reversed as the instruction has them; n >= 64. By squaring, from the top of n. */
__attribute__((target("sse4.2,pclmul"))) static uint32_t power(uint64_t n)
{
    uint64_t steps = ~(uint64_t)1;
    for (; n > 191; n = (n >> 1) - 16)
        steps = (steps << 1) + (n & 1);
    steps = ~steps;
    uint32_t value = (uint32_t)0x80000000 >> (n & 31), low;
    for (n >>= 5; n; n--)
        value = _mm_crc32_u32(value, 0);
    while (low = (uint32_t)(steps & 1), steps >>= 1) {
        __m128i x = _mm_cvtsi32_si128((int)value);
        uint64_t square = (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(x, x, 0));
        value = (uint32_t)_mm_crc32_u64(0, square << low);
    }
    return value;
}

/* What this crc becomes behind so many more bytes of zeros, but for the last eight of them. */
__attribute__((target("sse4.2,pclmul"))) static uint64_t moved(uint64_t crc, size_t bytes)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)crc),
                                           _mm_cvtsi32_si128((int)power((uint64_t)bytes * 8 - 33)), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t by_three(uint32_t crc, const void *bytes,
                                                                  size_t length)
{
    const unsigned char *at = bytes;
    size_t third = (length - 8) / 24 * 8;
    uint64_t a = ~crc & UINT32_MAX, b = 0, c = 0;
    for (size_t i = 0; i < third; i += 8) {
        a = _mm_crc32_u64(a, load64(at + i));
        b = _mm_crc32_u64(b, load64(at + third + i));
        c = _mm_crc32_u64(c, load64(at + 2 * third + i));
    }
    uint64_t before = moved(a, 2 * third + 8) ^ moved(b, third + 8);
    c = _mm_crc32_u64(c, load64(at + 3 * third) ^ before);
    size_t done = 3 * third + 8;
    return by_instruction(~(uint32_t)c, at + done, length - done);
}

uint32_t tr__crc32c(uint32_t crc, const void *bytes, size_t length)
{
    if (!__builtin_cpu_supports("sse4.2"))
        return tr__crc32c_by_table(crc, bytes, length);
    return length >= LONG && __builtin_cpu_supports("pclmul") ? by_three(crc, bytes, length)
                                                              : by_instruction(crc, bytes, length);
}
#else
uint32_t tr__crc32c(uint32_t crc, const void *bytes, size_t length)
{
    return tr__crc32c_by_table(crc, bytes, length);
}
#endif
