/* CRC-32C (Castagnoli), which the frames carry: with SSE4.2's instruction where the processor has it, otherwise eight bytes
 * a step by tables (Kounavis and Berry 2008). The instruction takes three cycles and a new one can begin in each, so three
 * parts of a long text go side by side (Gopal et al. 2011). Pure functions: any thread, no failure. */
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

#define LANE 256 /* bytes of each of the three parts */
/* x^(8n - 33) modulo the polynomial, bits reversed: times it, a CRC is what n zero bytes behind it make of it. */
#define BEHIND_ONE 0xb9e02b86u /* n = LANE */
#define BEHIND_TWO 0xdd7e3b0cu /* n = 2 * LANE */

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const unsigned char *at,
                                                                 size_t length)
{
    uint64_t wide = crc;
    for (; length >= 8; length -= 8, at += 8)
        wide = _mm_crc32_u64(wide, load64(at));
    uint32_t narrow = (uint32_t)wide;
    for (; length > 0; length--)
        narrow = _mm_crc32_u8(narrow, *at++);
    return narrow;
}

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t behind(uint64_t crc, uint32_t factor)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi32_si128((int)factor), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* As many whole threes of lanes as there are; the rest is the caller's. */
__attribute__((target("sse4.2,pclmul"))) static uint32_t by_lanes(uint32_t crc, const unsigned char *at,
                                                                  size_t length)
{
    uint64_t a = crc;
    for (; length >= (size_t)3 * LANE; length -= (size_t)3 * LANE, at += (size_t)3 * LANE) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            a = _mm_crc32_u64(a, load64(at + i));
            b = _mm_crc32_u64(b, load64(at + LANE + i));
            c = _mm_crc32_u64(c, load64(at + (size_t)2 * LANE + i));
        }
        a = behind(a, BEHIND_TWO) ^ behind(b, BEHIND_ONE) ^ c;
    }
    return (uint32_t)a;
}

uint32_t tr__crc32c(uint32_t crc, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    size_t in_lanes = length - length % ((size_t)3 * LANE);
    if (!__builtin_cpu_supports("sse4.2"))
        return tr__crc32c_by_table(crc, bytes, length);
    if (in_lanes == 0 || !__builtin_cpu_supports("pclmul"))
        return ~by_instruction(~crc, at, length);
    return ~by_instruction(by_lanes(~crc, at, in_lanes), at + in_lanes, length - in_lanes);
}
#else
uint32_t tr__crc32c(uint32_t crc, const void *bytes, size_t length)
{
    return tr__crc32c_by_table(crc, bytes, length);
}
#endif
