/* See sim_bytes.h. */
#include "tests/kit/sim/sim_bytes.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void *sim_alloc(size_t size)
{
    void *block = calloc(1, size ? size : 1);
    tr__check(block, "no memory for the simulated world");
    return block;
}

char *sim_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(sim_alloc(size), text, size);
}

void sim_bytes_add(sim_bytes *bytes, const void *data, size_t size)
{
    if (size > bytes->room - bytes->size) {
        size_t room = bytes->room ? bytes->room : 256;
        while (room - bytes->size < size)
            room *= 2;
        bytes->data = realloc(bytes->data, room);
        tr__check(bytes->data, "no memory for the simulated world");
        bytes->room = room;
    }
    if (size)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

void sim_bytes_drop(sim_bytes *bytes, size_t size)
{
    bytes->size -= size;
    if (bytes->size)
        memmove(bytes->data, bytes->data + size, bytes->size);
}
