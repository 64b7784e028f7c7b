/* The twin of the spool's files (actors/remote/spool.h): in memory, on the node's own disk, which may be full. They have no names, so
 * nothing of them outlives the node; and no descriptor. */
#include <stdlib.h>
#include <string.h>

#include "actors/remote/spool.h"
#include "base/err.h"
#include "tests/kit/sim/sim.h"

struct tr__spool_file {
    sim_node *node;
    uint8_t *bytes;
    size_t size, room;
};

static tr_err full(const sim_node *node, tr_error *error)
{
    return tr__fail(error, TR_ENOSPC, "%s: can't write a file for a large message: its disk is full",
                    node->name);
}

static tr_err spool_begin(void *context, const char *directory, tr_error *error)
{
    (void)context, (void)directory, (void)error;
    return TR_OK;
}

static tr__spool_file *spool_open(void *context, const char *directory, tr_error *error)
{
    sim_node *node = context;
    (void)directory;
    sim_node_seam(node);
    tr__spool_file *file = node->disk.space ? NULL : calloc(1, sizeof(*file));
    if (!file) {
        full(node, error);
        return NULL;
    }
    file->node = node;
    node->spool_files++;
    return file;
}

static tr_err spool_write(tr__spool_file *file, const void *bytes, size_t length, tr_error *error)
{
    sim_node_seam(file->node);
    if (file->node->disk.space)
        return full(file->node, error);
    if (file->size + length > file->room) {
        size_t room = 2 * (file->size + length);
        uint8_t *bigger = realloc(file->bytes, room);
        if (!bigger)
            return full(file->node, error);
        file->bytes = bigger;
        file->room = room;
    }
    memcpy(file->bytes + file->size, bytes, length);
    file->size += length;
    return TR_OK;
}

static tr_err spool_map(tr__spool_file *file, const void **data, int *fd, tr_error *error)
{
    (void)error;
    sim_node_seam(file->node);
    *data = file->bytes;
    *fd = -1;
    return TR_OK;
}

static void spool_close(tr__spool_file *file)
{
    file->node->spool_files--;
    free(file->bytes);
    free(file);
}

const tr__spool_seam sim_spool_seam = {spool_begin, spool_open, spool_write, spool_map, spool_close};
