/* Error codes to words, errno to codes, and the making of error values. Pure functions over their arguments
 * and static tables: any thread. They cannot fail; a text that is too long is cut, one that cannot be
 * formatted is replaced by a note saying so. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WORD(name, word, meaning)    [name] = word,
#define MEANING(name, word, meaning) [name] = meaning,
static const char *const words[TR_ERR_COUNT] = {TR_ERRORS(WORD)};
static const char *const meanings[TR_ERR_COUNT] = {TR_ERRORS(MEANING)};
#undef WORD
#undef MEANING

static const struct {
    int number;
    tr_err code;
} from_errno[] = {
    {0, TR_OK},
    {ENOENT, TR_ENOTFOUND},
    {ENOSPC, TR_ENOSPC},
    {EDQUOT, TR_ENOSPC},
    {EACCES, TR_EPERM},
    {EPERM, TR_EPERM},
    {EROFS, TR_EPERM},
    {ECONNREFUSED, TR_EREFUSED},
    {ECONNRESET, TR_ERESET},
    {ECONNABORTED, TR_ERESET},
    {EPIPE, TR_ERESET},
    {ENOTCONN, TR_ENOCONN},
    {EHOSTUNREACH, TR_ENOCONN},
    {ENETUNREACH, TR_ENOCONN},
    {ENETDOWN, TR_ENOCONN},
    {ETIMEDOUT, TR_EDEADLINE},
    {EADDRINUSE, TR_EADDRINUSE},
    {EADDRNOTAVAIL, TR_EADDR},
    {ENOMEM, TR_ENOMEM},
    {EEXIST, TR_EEXIST},
    {EINVAL, TR_EINVAL},
    {ECANCELED, TR_ECANCELED},
    {EFBIG, TR_ETOOBIG},
    {E2BIG, TR_ETOOBIG},
    {EMSGSIZE, TR_ETOOBIG},
    {ENAMETOOLONG, TR_ETOOBIG},
    {EPROTO, TR_EPROTO},
};

const char *tr__err_word(tr_err code)
{
    return (unsigned)code < TR_ERR_COUNT ? words[code] : "unknown";
}

const char *tr__err_meaning(tr_err code)
{
    return (unsigned)code < TR_ERR_COUNT ? meanings[code] : "a number that is no error code";
}

tr_err tr__err_from_errno(int number)
{
    for (size_t i = 0; i < sizeof from_errno / sizeof from_errno[0]; i++)
        if (from_errno[i].number == number)
            return from_errno[i].code;
    return TR_EIO;
}

/* Where to end a text of `length` bytes that was cut somewhere: before its last character if only a part of
 * that one's UTF-8 is there. Bytes that are no UTF-8 are left alone. */
static size_t whole_characters(const char *text, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        unsigned char byte = (unsigned char)text[length - back];
        if ((byte & 0xc0) == 0x80)
            continue;
        size_t promised = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        return promised > back ? length - back : length;
    }
    return length;
}

tr_err tr__fail(tr_error *error, tr_err code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tr__vfail(error, code, format, args);
    va_end(args);
    return code;
}

tr_err tr__vfail(tr_error *error, tr_err code, const char *format, va_list args)
{
    if (!error)
        return code;
    /* Formatted beside it, not into it: an error is often wrapped by the one that quotes its text. */
    char text[TR_ERROR_TEXT_MAX];
    int wanted = vsnprintf(text, sizeof text, format, args);
    size_t length;
    if (wanted < 0)
        length = (size_t)snprintf(text, sizeof text, "(a text that could not be formatted)");
    else if ((size_t)wanted < sizeof text)
        length = (size_t)wanted;
    else
        length = whole_characters(text, sizeof text - 1);
    error->code = code;
    memcpy(error->text, text, length);
    error->text[length] = '\0';
    return code;
}
