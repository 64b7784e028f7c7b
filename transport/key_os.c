/* See key_os.h. What can fail is the file system; every text names the file and says what to do. */
#include "transport/key_os.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

#define HEADER    "troupe key 1\n"
#define DIGITS    ((size_t)2 * TR__KEY_SIZE)
#define FILE_SIZE (sizeof HEADER - 1 + DIGITS + 1)

static tr_err failed(const char *what, const char *path, tr_error *error)
{
    return tr__fail(error, tr__err_from_errno(errno), "cannot %s the key file %.150s: %s", what, path,
                    strerror(errno));
}

static tr_err need_sodium(tr_error *error)
{
    return sodium_init() >= 0
               ? TR_OK
               : tr__fail(error, TR_EIO, "libsodium can't start: the system has no random bytes");
}

void tr__key_secret(void *context, void *bytes, size_t length)
{
    (void)context;
    randombytes_buf(bytes, length);
}

/* ---- making one ---------------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t count = write(fd, bytes, length);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        bytes += count;
        length -= (size_t)count;
    }
    return true;
}

tr_err tr__key_create(const char *path, tr_error *error)
{
    uint8_t key[TR__KEY_SIZE];
    char text[FILE_SIZE + 1] = HEADER; /* one more for the digits' NUL, where the newline comes */
    TR_TRY(need_sodium(error));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return tr__fail(error, TR_EEXIST,
                        "%.150s exists already, and a key is never overwritten; choose another file", path);
    if (fd < 0)
        return failed("make", path, error);
    tr__key_secret(NULL, key, sizeof key);
    sodium_bin2hex(text + sizeof HEADER - 1, DIGITS + 1, key, sizeof key);
    text[FILE_SIZE - 1] = '\n';
    /* fchmod: whatever the umask is */
    bool written = fchmod(fd, 0600) == 0 && write_all(fd, text, FILE_SIZE) && fsync(fd) == 0;
    tr_err err = written ? TR_OK : failed("write", path, error);
    if (close(fd) != 0 && err == TR_OK)
        err = failed("write", path, error);
    if (err)
        unlink(path);
    sodium_memzero(key, sizeof key);
    sodium_memzero(text, sizeof text);
    return err;
}

/* ---- reading one --------------------------------------------------------------------------------------- */

static tr_err check_file(int fd, const char *path, tr_error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return failed("read", path, error);
    if (!S_ISREG(status.st_mode))
        return tr__fail(error, TR_EINVAL, "the key file %.150s is no file; make one by `troupe key new FILE`",
                        path);
    if (status.st_mode & 077)
        return tr__fail(
            error, TR_EPERM,
            "others than its owner can get at the key file %.110s (mode %03o); run: chmod 600 %.60s", path,
            (unsigned)(status.st_mode & 0777), path);
    return TR_OK;
}

static tr_err parse(const char *text, size_t length, const char *path, uint8_t *key, tr_error *error)
{
    const char *digits = text + sizeof HEADER - 1;
    size_t bytes = 0;
    bool whole =
        length == FILE_SIZE && memcmp(text, HEADER, sizeof HEADER - 1) == 0 && text[FILE_SIZE - 1] == '\n' &&
        sodium_hex2bin(key, TR__KEY_SIZE, digits, DIGITS, NULL, &bytes, NULL) == 0 && bytes == TR__KEY_SIZE;
    if (!whole)
        return tr__fail(
            error, TR_EINVAL,
            "%.150s is no key file of Troupe, or a damaged one; make one by `troupe key new FILE`, "
            "copy it to every node",
            path);
    return TR_OK;
}

tr_err tr__key_read(const char *path, uint8_t *key, tr_error *error)
{
    char text[FILE_SIZE + 1]; /* one more: to see that a longer file is one */
    size_t length = 0;
    ssize_t count = 0;
    TR_TRY(need_sodium(error));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a pipe must not keep us waiting */
    if (fd < 0 && errno == ENOENT)
        return tr__fail(error, TR_ENOTFOUND, "there is no key file %.150s; make one by `troupe key new FILE`",
                        path);
    if (fd < 0)
        return failed("read", path, error);
    tr_err err = check_file(fd, path, error);
    while (err == TR_OK && length < sizeof text &&
           (count = read(fd, text + length, sizeof text - length)) > 0)
        length += (size_t)count;
    if (err == TR_OK && count < 0)
        err = failed("read", path, error);
    close(fd);
    if (err == TR_OK)
        err = parse(text, length, path, key, error);
    sodium_memzero(text, sizeof text);
    return err;
}
