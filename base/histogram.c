/* The histogram. Works on the caller's struct only, on the caller's thread; cannot fail: what would overflow
 * stays at its maximum. Values below 32 have a bucket each; above, each octave has 32. */
#include "base/histogram.h"

#include <string.h>

#define STEP_BITS 5

static unsigned bucket_of(uint64_t value)
{
    if (value < TR__HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - STEP_BITS;
    return shift * TR__HISTOGRAM_STEPS + (unsigned)(value >> shift);
}

/* The largest value that falls into the bucket. */
static uint64_t end_of(unsigned bucket)
{
    if (bucket < TR__HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = bucket / TR__HISTOGRAM_STEPS - 1;
    uint64_t step = TR__HISTOGRAM_STEPS + bucket % TR__HISTOGRAM_STEPS;
    return (step << shift) + ((1ull << shift) - 1);
}

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint32_t add_capped32(uint32_t a, uint32_t b)
{
    uint32_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT32_MAX : sum;
}

void tr__histogram_reset(tr__histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

void tr__histogram_add(tr__histogram *histogram, uint64_t value)
{
    if (histogram->count == 0 || value < histogram->min)
        histogram->min = value;
    if (value > histogram->max)
        histogram->max = value;
    histogram->count++;
    histogram->sum = add_capped(histogram->sum, value);
    uint32_t *bucket = &histogram->buckets[bucket_of(value)];
    *bucket = add_capped32(*bucket, 1);
}

void tr__histogram_merge(tr__histogram *into, const tr__histogram *from)
{
    if (from->count == 0)
        return;
    if (into->count == 0 || from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    into->count = add_capped(into->count, from->count);
    into->sum = add_capped(into->sum, from->sum);
    for (unsigned i = 0; i < TR__HISTOGRAM_BUCKETS; i++)
        into->buckets[i] = add_capped32(into->buckets[i], from->buckets[i]);
}

uint64_t tr__histogram_at(const tr__histogram *histogram, uint32_t per_million)
{
    /* Summed anew instead of `count`: a bucket that stands at its maximum counts less than it got. */
    uint64_t total = 0;
    for (unsigned i = 0; i < TR__HISTOGRAM_BUCKETS; i++)
        total += histogram->buckets[i];
    if (total == 0)
        return 0;
    if (per_million > 1000000)
        per_million = 1000000;
    uint64_t rank = (uint64_t)(((unsigned __int128)total * per_million + 999999) / 1000000);
    if (rank == 0)
        return histogram->min;
    unsigned bucket = 0;
    for (uint64_t seen = histogram->buckets[0]; seen < rank; seen += histogram->buckets[bucket])
        bucket++;
    uint64_t end = end_of(bucket);
    return end < histogram->max ? end : histogram->max;
}

uint64_t tr__histogram_below(const tr__histogram *histogram, uint64_t value)
{
    uint64_t below = 0;
    for (unsigned i = 0, end = bucket_of(value); i < end; i++)
        below += histogram->buckets[i];
    return below;
}
