/* See spool.h. */
#include "actors/remote/spool.h"

#include <inttypes.h>

#include "actors/node.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

struct tr__spooled {
    const tr__spool_seam *seam;
    tr__spool_file *file;
    tr__buffers *account;
    uint64_t size, written;
};

/* Only loop 0 adds, so what is looked at first can only become less meanwhile. */
static tr_err admit(tr__buffers *account, uint64_t size, tr_error *error)
{
    uint64_t max = atomic_load(&account->spool_max), held = atomic_load(&account->spooled);
    uint32_t files = atomic_load(&account->spool_files);
    if (size > max || held > max - size)
        return tr__fail(error, TR_ENOSPC,
                        "a file of %" PRIu64 " bytes for a message: files hold %" PRIu64 " of the %" PRIu64
                        " that they may (--spool-max)",
                        size, held, max);
    if (files >= TR__SPOOL_FILES_MAX)
        return tr__fail(error, TR_ENOSPC, "a file for a message: there are %" PRIu32 ", which is the most",
                        files);
    atomic_fetch_add(&account->spooled, size);
    atomic_fetch_add(&account->spool_files, 1);
    atomic_fetch_add(&account->users, 1);
    return TR_OK;
}

static void leave(tr__buffers *account, uint64_t size)
{
    atomic_fetch_sub(&account->spooled, size);
    atomic_fetch_sub(&account->spool_files, 1);
    tr__buffers_close(account);
}

static const char *directory_of(const tr_node *node)
{
    return node->opts.spool ? node->opts.spool : TR__SPOOL_DIRECTORY;
}

tr_err tr__spool_start(tr_node *node, tr_error *error)
{
    const tr_node_opts *opts = &node->opts;
    bool connects = opts->listen || (opts->join && opts->join[0]);
    tr_error why;
    if (!node->seams.spool || (!opts->spool && !connects))
        return TR_OK;
    tr_err err = node->seams.spool->begin(node->seams.context, directory_of(node), &why);
    if (err == TR_OK || !opts->spool)
        return TR_OK;
    if (err == TR_ENOSPC) {
        tr__node_log(node, TR_LOG_WARN, "%s", why.text);
        return TR_OK;
    }
    return tr__fail(error, err, "%s", why.text);
}

tr__spooled *tr__spool_begin(tr_node *node, uint64_t size, tr_error *error)
{
    tr__spooled *spooled = tr__alloc(sizeof(*spooled));
    if (!spooled) {
        tr__fail(error, TR_ENOMEM, "no memory for a file for a message");
        return NULL;
    }
    *spooled = (tr__spooled){.seam = node->seams.spool, .account = node->buffers, .size = size};
    if (admit(node->buffers, size, error) == TR_OK) {
        spooled->file = spooled->seam->open(node->seams.context, directory_of(node), error);
        if (spooled->file)
            return spooled;
        leave(node->buffers, size);
    }
    tr__free(spooled);
    return NULL;
}

tr_err tr__spool_write(tr__spooled *spooled, const void *bytes, size_t length, tr_error *error)
{
    tr__check(length <= spooled->size - spooled->written, "more is written to a file than it was begun for");
    spooled->written += length;
    return spooled->seam->write(spooled->file, bytes, length, error);
}

void tr__spool_drop(tr__spooled *spooled)
{
    if (!spooled)
        return;
    spooled->seam->close(spooled->file);
    leave(spooled->account, spooled->size);
    tr__free(spooled);
}

static void drop_last(void *data, size_t size, void *context)
{
    (void)data, (void)size;
    tr__spool_drop(context);
}

const tr_buffer *tr__spool_end(tr__spooled *spooled, tr_error *error)
{
    const void *data;
    int fd;
    const tr_buffer *buffer = NULL;
    tr__check(spooled->written == spooled->size, "a file ends before all of it is written");
    if (spooled->seam->map(spooled->file, &data, &fd, error) == TR_OK) {
        buffer = tr__buffer_adopt(NULL, (void *)(uintptr_t)data, (size_t)spooled->size, drop_last, spooled);
        if (!buffer)
            tr__fail(error, TR_ENOMEM, "no memory for a buffer");
    }
    if (buffer)
        tr__buffer_set_fd(buffer, fd);
    else
        tr__spool_drop(spooled);
    return buffer;
}
