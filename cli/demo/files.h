/* Which of the machine's files the demo copies, and what their digests are. Blocking: for threads of the
 * compute actor. */
#ifndef TR_CLI_DEMO_FILES_H
#define TR_CLI_DEMO_FILES_H

#include <troupe/compute.h>

#include "cli/demo/nng_web.h"

#define DEMO_FILE_LEAST ((uint64_t)24 << 10)
#define DEMO_FILE_LARGE ((uint64_t)256 << 10) /* the least where few are wanted */
#define DEMO_FILE_MOST  ((uint64_t)2 << 20)
#define DEMO_FILES_MOST 2000u

/* Choose up to `want` regular, readable files below `directory`, the same ones each time as long as the
 * directory is the same: of all those of 24 KiB to 2 MiB (of all below that if there aren't enough), sorted
 * by size, evenly spaced. *files is an array of *count for demo_files_free. TR_ENOTFOUND (nothing fit),
 * TR_EPERM, TR_ENOMEM, with a text. */
tr_err demo_files_choose(const char *directory, uint32_t want, tr__web_file **files, uint32_t *count,
                         tr_error *error);
void demo_files_free(tr__web_file *files, uint32_t count);

/* SHA-256 of a file, read in pieces, as 64 digits and a NUL. TR_EIO and the like. */
tr_err demo_file_digest(const char *path, char hex[65]);
/* The same for tr_call, under the name "demo-digests": the input is paths, each with its NUL; the output 65
 * bytes a path, empty where it couldn't be read. */
tr_err demo_files_register(void);

/* A picture to be written as a PNG file: the input of the function "demo-png", which demo_files_register
 * makes known as well. Behind it follow width x height pixels of RGB. */
typedef struct demo_png {
    char path[512];
    uint32_t width, height;
} demo_png;

/* That input, for tr__free; NULL if memory ran out. *size is its size. */
demo_png *demo_png_make(const char *path, const uint8_t *rgb, uint32_t width, uint32_t height, size_t *size);

/* Delete a directory with all in it; what isn't there is fine. False: something is left. */
bool demo_files_remove(const char *directory);

#endif
