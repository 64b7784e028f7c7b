/* The file of --allow: what each peer may do (docs/security.md), read with libyaml. Before the node runs. */
#ifndef TR_ACTORS_REMOTE_RIGHTS_FILE_OS_H
#define TR_ACTORS_REMOTE_RIGHTS_FILE_OS_H

#include <troupe/node.h>

typedef struct tr__rights_file tr__rights_file;

/* Read it. NULL: *error names the file, and the line and column of what is wrong: TR_EINVAL, TR_ETOOBIG, TR_ENOTFOUND and
 * what else opening a file says, TR_ENOMEM. */
tr__rights_file *tr__rights_file_read(const char *path, tr_error *error);
/* Its entries, which live as long as it. */
const tr_rights *tr__rights_file_entries(const tr__rights_file *file, uint32_t *count);
/* NULL is fine. */
void tr__rights_file_free(tr__rights_file *file);

#endif
