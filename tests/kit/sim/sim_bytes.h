/* The simulated world's memory: no node's, so it is not counted as one's, and there is always enough (else a check fails).
 * One thread. */
#ifndef TR_TESTS_KIT_SIM_BYTES_H
#define TR_TESTS_KIT_SIM_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed; freed with free(). */
void *sim_alloc(size_t size);
char *sim_strdup(const char *text);

/* Bytes that grow. Zeroed = empty; `data` is freed with free(). */
typedef struct sim_bytes {
    uint8_t *data;
    size_t size, room;
} sim_bytes;
void sim_bytes_add(sim_bytes *bytes, const void *data, size_t size);
/* The first `size` are gone. */
void sim_bytes_drop(sim_bytes *bytes, size_t size);

#endif
