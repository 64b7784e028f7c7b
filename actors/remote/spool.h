/* Files in which large buffers of messages from other nodes come, instead of memory; and the seam to the disk: spool_os.c, or
 * the simulator's (tests/kit/sim/sim_spool.c).
 *
 *     begin ──write──▶ ... ──write──▶ end: a buffer, whose last holder ends the file
 *       └───────────────┴──▶ drop: no file is left
 *
 * X1  What files hold never exceeds the node's bound: a file is charged whole when it is begun.
 * X2  A file has no name: whatever becomes of the process, the system takes it back.
 *
 * Loop 0's thread; but a buffer's last holder may be on any, and outlive the node. Writing is to the system's cache: a few ten
 * microseconds a chunk, unless the disk is far behind. What can fail: the disk, and memory. */
#ifndef TR_ACTORS_REMOTE_SPOOL_H
#define TR_ACTORS_REMOTE_SPOOL_H

#include <troupe/node.h>

#include "mailbox/buffer.h"

#define TR__SPOOL_FILES_MAX 256
#define TR__SPOOL_MAX       ((uint64_t)4 << 30) /* bytes, unless the node's options say otherwise */
#define TR__SPOOL_DIRECTORY "/var/tmp"          /* likewise */

typedef struct tr__spool_file tr__spool_file; /* each implementation has its own */

typedef struct tr__spool_seam {
    /* Before the first open, when a node starts: whether files can be made there, errors as open's; and away with the names
     * that a process left there which died while it made one. */
    tr_err (*begin)(void *context, const char *directory, tr_error *error);
    /* An empty file without a name, in that directory, for this process alone. NULL with *error: TR_ENOTFOUND, TR_EPERM,
     * TR_ENOSPC, TR_ENOMEM, TR_EIO. The directory is borrowed until it is mapped. */
    tr__spool_file *(*open)(void *context, const char *directory, tr_error *error);
    /* Append. TR_ENOSPC, TR_EIO: only close is left to do. */
    tr_err (*write)(tr__spool_file *file, const void *bytes, size_t length, tr_error *error);
    /* All is written: *data is where it can be read until close, *fd the file, -1: there is none. TR_ENOMEM, TR_EIO. */
    tr_err (*map)(tr__spool_file *file, const void **data, int *fd, tr_error *error);
    /* Any thread; doesn't take long, however large it is. */
    void (*close)(tr__spool_file *file);
} tr__spool_seam;

extern const tr__spool_seam tr__spool_os;

typedef struct tr__spooled tr__spooled;

/* A node starts: the directory that it was given must be good, or *error says why it isn't. A disk that is full now, and the
 * default, which maybe nobody needs, are told when a file is needed. */
tr_err tr__spool_start(tr_node *node, tr_error *error);
/* A file for so many bytes, 1 or more. NULL with *error: TR_ENOSPC beyond the node's bounds, and as the seam says. */
tr__spooled *tr__spool_begin(tr_node *node, uint64_t size, tr_error *error);
/* The next of them. Errors as the seam's; then drop it. */
tr_err tr__spool_write(tr__spooled *spooled, const void *bytes, size_t length, tr_error *error);
/* All are written: it is a buffer now, held once. NULL with *error: then it was dropped. */
const tr_buffer *tr__spool_end(tr__spooled *spooled, tr_error *error);
/* Give it up; NULL is fine. */
void tr__spool_drop(tr__spooled *spooled);

#endif
