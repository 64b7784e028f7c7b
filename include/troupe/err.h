/* Error codes and error values. One enum for the whole of Troupe; codes of libuv, nng, curl and errno are
 * translated where those are called and travel no further. An error's text says what failed, where, and what
 * to do. Plain data: any thread. */
#ifndef TROUPE_ERR_H
#define TROUPE_ERR_H

/* One line a code: name, the word people see in messages and in JSON, what it means. */
#define TR_ERRORS(X)                                                                           \
    X(TR_OK, "ok", "no error")                                                                 \
    X(TR_EFULL, "full", "the mailbox, or the bound on outstanding asks, has no place left")    \
    X(TR_EAGAIN, "again", "the connection has no credit now; a writable notice follows")       \
    X(TR_ENOACTOR, "no-actor", "the address names no living actor")                            \
    X(TR_ENOCONN, "no-connection", "the connection to that node is down")                      \
    X(TR_EDEADLINE, "deadline", "not done when its deadline came")                             \
    X(TR_ECANCELED, "canceled", "canceled by who asked for it")                                \
    X(TR_EKILLED, "killed", "the actor was killed; a fiber's body must return")                \
    X(TR_EINVAL, "invalid", "an argument is not acceptable")                                   \
    X(TR_ENOMEM, "no-memory", "an allocation failed")                                          \
    X(TR_ETYPE, "type", "a message of another type, or another schema, than was expected")     \
    X(TR_ETOOBIG, "too-big", "larger than a stated limit")                                     \
    X(TR_EEXIST, "exists", "the name is taken")                                                \
    X(TR_ENOTFOUND, "not-found", "nothing goes by that name")                                  \
    X(TR_EPERM, "permission", "not permitted")                                                 \
    X(TR_EIO, "io", "reading or writing failed")                                               \
    X(TR_EPROTO, "protocol", "the other side broke the protocol, or sent something malformed") \
    X(TR_EVERSION, "version", "no version in common")                                          \
    X(TR_ECLOSED, "closed", "it is closed or closing")                                         \
    X(TR_EADDR, "address", "an address that cannot be parsed or resolved")                     \
    X(TR_EADDRINUSE, "address-in-use", "another program listens there")                        \
    X(TR_EREFUSED, "refused", "refused by the other side")                                     \
    X(TR_ERESET, "reset", "the other side cut the connection")                                 \
    X(TR_ESHORT, "short", "it ended before its promised length")                               \
    X(TR_ENOSPC, "no-space", "the disk is full")                                               \
    X(TR_ECRASHED, "crashed", "ended by a signal, or by a bug that was caught")                \
    X(TR_EMISMATCH, "mismatch", "the content differs from what it was checked against")        \
    X(TR_EAPP, "app", "an error of the application; the text says which")                      \
    X(TR_EABORTED, "aborted", "the transaction can only abort; the text says why")             \
    X(TR_EDEADLOCK, "deadlock", "actors wait for each other in a cycle; the text names them")

#define TR__ENUM(name, word, meaning) name,
typedef enum tr_err { TR_ERRORS(TR__ENUM) TR_ERR_COUNT } tr_err;
#undef TR__ENUM

#define TR_ERROR_TEXT_MAX 240 /* bytes with the ending NUL; longer texts are cut */

/* A code with its text. A value: copied freely, owns nothing. */
typedef struct tr_error {
    tr_err code;
    char text[TR_ERROR_TEXT_MAX];
} tr_error;

/* Return the error from the enclosing function, unless it is TR_OK. */
#define TR_TRY(expression)               \
    do {                                 \
        tr_err tr__tried = (expression); \
        if (tr__tried != TR_OK)          \
            return tr__tried;            \
    } while (0)

#endif
