/* The C functions that tr_call knows, and what one writes into. The table is the process's, under a lock; an
 * output belongs to the thread that runs the function until that has returned. */
#ifndef TR_ACTORS_KINDS_COMPUTE_FUNCTION_H
#define TR_ACTORS_KINDS_COMPUTE_FUNCTION_H

#include <stdatomic.h>

#include <troupe/compute.h>

#define TR__FUNCTION_NAME_MAX 64 /* bytes with the NUL */

struct tr_compute_out {
    _Atomic bool canceled; /* set by the loop's thread */
    uint8_t *data;
    size_t size, room, limit;
    tr_err refused; /* TR_ENOMEM or TR_ETOOBIG, once some output wasn't taken */
    tr_error error; /* as the function told it */
};

/* The function of that name; NULL: there is none. Any thread. */
tr_compute_fn tr__compute_function(const char *name);

void tr__compute_out_init(tr_compute_out *out, size_t limit);
void tr__compute_out_fini(tr_compute_out *out);
/* What the call comes to, from what the function returned: fills out->error, its code TR_OK if all is well.
 */
void tr__compute_out_settle(tr_compute_out *out, const char *name, tr_err returned);

#endif
