/* The file of `troupe up`: YAML through libyaml and libcyaml, and what we check of it. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/up/file.h"
#include "tests/fuzz/fuzz.h"

static void one(const uint8_t *bytes, size_t length)
{
    static int file = -1;
    static char path[40];
    tr_error error = {0};
    if (file < 0) {
        file = memfd_create("up", 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    tr__check(ftruncate(file, 0) == 0 && pwrite(file, bytes, length, 0) == (ssize_t)length,
              "no file to write to");
    up_file *up = up_file_load(path, &error);
    tr__check(up || (error.code && error.text[0]), "an error without a text");
    tr__check(!up || (up->nodes_count > 0 && up->nodes[0].name && up->nodes[0].loop_count > 0),
              "a file without nodes");
    up_file_free(up);
}

const fuzz_target fuzz_up_file = {"up_file", 2u << 20, 1024, one, .slow = true};
