/* Log-linear histogram of unsigned values (HdrHistogram's layout by Gil Tene, 3 significant bits and a half:
 * 32 linear steps an octave, so a value is known to 3 %). Fixed size, no allocation, mergeable. One owner. */
#ifndef TR_BASE_HISTOGRAM_H
#define TR_BASE_HISTOGRAM_H

#include <stdint.h>

#define TR__HISTOGRAM_STEPS   32
#define TR__HISTOGRAM_BUCKETS (60 * TR__HISTOGRAM_STEPS)

typedef struct tr__histogram {
    uint64_t count, sum, min, max;
    uint32_t buckets[TR__HISTOGRAM_BUCKETS];
} tr__histogram;

void tr__histogram_reset(tr__histogram *histogram);
void tr__histogram_add(tr__histogram *histogram, uint64_t value);
void tr__histogram_merge(tr__histogram *into, const tr__histogram *from);
/* The value below which `per_million` of all lie (500000 = median), the upper end of its bucket but never
 * above max; 0 when empty. */
uint64_t tr__histogram_at(const tr__histogram *histogram, uint32_t per_million);
/* How many of all are below `value`; of the bucket that it falls into, none: 3 % off at most. For a drawing. */
uint64_t tr__histogram_below(const tr__histogram *histogram, uint64_t value);

#endif
