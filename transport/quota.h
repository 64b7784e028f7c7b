/* A token bucket: how many bytes a second one peer is granted. Pure; the caller's thread and clock. */
#ifndef TR_TRANSPORT_QUOTA_H
#define TR_TRANSPORT_QUOTA_H

#include <stdint.h>

typedef struct tr__quota {
    uint64_t rate, burst; /* bytes a second; bytes that the bucket holds. rate 0: there is no bound */
    uint64_t tokens, filled_ns;
} tr__quota;

/* A full bucket. */
void tr__quota_init(tr__quota *quota, uint64_t rate, uint64_t burst, uint64_t now_ns);
/* Take what there is of `wanted`. */
uint64_t tr__quota_take(tr__quota *quota, uint64_t wanted, uint64_t now_ns);
/* When there will be so many, at most a bucket full. */
uint64_t tr__quota_due(const tr__quota *quota, uint64_t wanted);

#endif
