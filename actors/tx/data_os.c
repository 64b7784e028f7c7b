/* Where a node's transaction log lies: DIRECTORY/NODE.txlog. At the node's start; waits for the disk. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "actors/transactions.h"
#include "actors/tx/log_store.h"
#include "base/err.h"
#include "base/mem.h"

struct tr__log_store *tr__data_open_log(const char *directory, const char *node, void (*wake)(void *context),
                                        void *wake_context, tr_error *error)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        tr__fail(error, tr__err_from_errno(errno), "%s can't be made: %s", directory, strerror(errno));
        return NULL;
    }
    size_t room = strlen(directory) + strlen(node) + sizeof("/.txlog");
    char *path = tr__alloc(room);
    if (!path) {
        tr__fail(error, TR_ENOMEM, "no memory for a path in %s", directory);
        return NULL;
    }
    snprintf(path, room, "%s/%s.txlog", directory, node);
    tr__log_store *store = tr__log_store_open_os(path, wake, wake_context, error);
    tr__free(path);
    return store;
}
