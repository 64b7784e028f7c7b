/* Making and naming errors (the public part is troupe/err.h). Pure functions: any thread, no failure. */
#ifndef TR_BASE_ERR_H
#define TR_BASE_ERR_H

#include <stdarg.h>
#include <troupe/err.h>

/* The word for a code ("no-connection"); "unknown" for a number that is none. Static storage. */
const char *tr__err_word(tr_err code);
/* What a code means, a phrase. Static storage. */
const char *tr__err_meaning(tr_err code);
/* The code of an errno value: ENOENT -> TR_ENOTFOUND, ENOSPC and EDQUOT -> TR_ENOSPC, EACCES and EPERM ->
 * TR_EPERM, ECONNREFUSED -> TR_EREFUSED, ECONNRESET and EPIPE -> TR_ERESET, ETIMEDOUT -> TR_EDEADLINE,
 * EADDRINUSE, ENOMEM, EEXIST, EINVAL ... (the table in err.c); TR_OK for 0, TR_EIO for the rest. */
tr_err tr__err_from_errno(int number);
/* Fill *error (which may be NULL) with the code and the formatted text; returns the code, so that
 * `return tr__fail(error, TR_EINVAL, ...)` reads well. Text beyond TR_ERROR_TEXT_MAX is cut at a character.
 * The arguments may quote error->text itself: that is how an error is wrapped. */
tr_err tr__fail(tr_error *error, tr_err code, const char *format, ...) __attribute__((format(printf, 3, 4)));
tr_err tr__vfail(tr_error *error, tr_err code, const char *format, va_list args);

#endif
