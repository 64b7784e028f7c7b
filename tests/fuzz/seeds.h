/* What makes the first inputs: seeds.c listens to nodes, seeds_written.c and seeds_chunks.c have what
 * is written by hand. */
#ifndef TR_TESTS_FUZZ_SEEDS_H
#define TR_TESTS_FUZZ_SEEDS_H

#include <stddef.h>

/* One more input of that target. Ends the process if it can't be written. */
void seed_write(const char *target, const void *bytes, size_t length);
void seeds_written(void);
/* Units in chunks, right and wrong (seeds_chunks.c). */
void seeds_of_chunks(void);

#endif
