/* Where a node's transaction log lies: DIRECTORY/NODE.txlog, and its snapshot beside it, NODE.txsnap. At the node's start;
 * waits for the disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/transactions.h"
#include "actors/tx/snap_store.h"
#include "base/err.h"
#include "base/mem.h"

/* NULL with *error; the caller's. */
static char *path_of(const char *directory, const char *node, const char *end, tr_error *error)
{
    size_t room = strlen(directory) + strlen(node) + strlen(end) + 2;
    char *path = tr__alloc(room);
    if (path)
        snprintf(path, room, "%s/%s%s", directory, node, end);
    else
        tr__fail(error, TR_ENOMEM, "no memory for a path in %s", directory);
    return path;
}

/* The directory's own name is on the disk, or with the power all that its log has would go. False: it can't be said, as in a
 * directory that we may not read. */
static bool force_name(const char *directory)
{
    tr_error ignored;
    char *parent = path_of(directory, "..", "", &ignored);
    int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool forced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    tr__free(parent);
    return forced;
}

static tr__log_store *open_both(const char *log, const char *snap, void (*wake)(void *context),
                                void *wake_context, tr_error *error)
{
    tr__log_store *store = tr__log_store_open_os(log, wake, wake_context, error); /* has the lock: first */
    if (!store)
        return NULL;
    store->snap = tr__snap_store_open_os(snap, wake, wake_context, error);
    if (store->snap)
        return store;
    store->close(store);
    return NULL;
}

struct tr__log_store *tr__data_open_log(const char *directory, const char *node, void (*wake)(void *context),
                                        void *wake_context, tr_error *error)
{
    bool made = mkdir(directory, 0700) == 0;
    if (!made && errno != EEXIST) {
        tr__fail(error, tr__err_from_errno(errno), "%s can't be made: %s", directory, strerror(errno));
        return NULL;
    }
    if (!force_name(directory) && made) { /* if it was there, it was forced when it was made, or isn't ours */
        tr__fail(error, TR_EIO, "%s was made, but what it is in can't be forced to the disk: %s", directory,
                 strerror(errno));
        return NULL;
    }
    char *log = path_of(directory, node, ".txlog", error);
    char *snap = log ? path_of(directory, node, ".txsnap", error) : NULL;
    tr__log_store *store = snap ? open_both(log, snap, wake, wake_context, error) : NULL;
    tr__free(log);
    tr__free(snap);
    return store;
}
