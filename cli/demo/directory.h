/* The demo's temporary directory, and those that dead demos left. Its name says whose it is: the process and when that
 * began, so that a process id that is used again misleads nobody. The main thread. */
#ifndef TR_CLI_DEMO_DIRECTORY_H
#define TR_CLI_DEMO_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

#include <troupe/err.h>

/* Make it, 0700, in TMPDIR or /tmp, after removing there what demos of this user left that were killed. */
tr_err demo_directory_make(char *out, size_t room, tr_error *error);
/* --keep: it stays when this process is gone, until somebody removes it. */
tr_err demo_directory_keep(const char *directory, tr_error *error);

#endif
