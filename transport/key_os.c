/* See key_os.h. What can fail is the file system; every text names the file and says what to do. */
#include "transport/key_os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

#define HEADER      "troupe key 1\n"
#define HEADER_SIZE (sizeof HEADER - 1)
#define DIGITS      ((size_t)2 * TR__KEY_SIZE)
#define LINE        (DIGITS + 1) /* a key and its newline */
#define FILE_MAX    (HEADER_SIZE + TR__KEYS_MAX * LINE)

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

/* ---- what people see of keys --------------------------------------------------------------------------- */

void tr__key_id(const uint8_t *key, char *text)
{
    static const char label[] = "troupe key id";
    uint8_t hash[crypto_generichash_BYTES];
    crypto_generichash(hash, sizeof hash, (const uint8_t *)label, sizeof label, key, TR__KEY_SIZE);
    sodium_bin2hex(text, TR__KEY_ID + 1, hash, TR__KEY_ID / 2);
}

void tr__keys_words(const tr__keys *keys, char *text)
{
    char id[TR__KEYS_MAX][TR__KEY_ID + 1];
    for (unsigned i = 0; i < keys->count; i++)
        tr__key_id(keys->key[i], id[i]);
    if (keys->count > 1)
        snprintf(text, TR__KEYS_WORDS, "key %s (and takes %s)", id[0], id[1]);
    else
        snprintf(text, TR__KEYS_WORDS, "key %s", id[0]);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

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

/* To a file that isn't there; on failure it isn't there either. `like`: whose it is to be; NULL: ours. */
static tr_err write_new(const char *path, const tr__keys *keys, const struct stat *like, tr_error *error)
{
    char text[FILE_MAX + 1] = HEADER; /* one more for the digits' NUL, where the newline comes */
    size_t length = HEADER_SIZE;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return tr__fail(error, TR_EEXIST,
                        "%.150s exists already, and a key is never overwritten; choose another file", path);
    if (fd < 0)
        return failed("make", path, error);
    for (unsigned i = 0; i < keys->count; i++) {
        sodium_bin2hex(text + length, DIGITS + 1, keys->key[i], TR__KEY_SIZE);
        length += LINE;
        text[length - 1] = '\n';
    }
    bool owned = !like || fchown(fd, like->st_uid, like->st_gid) == 0;
    /* fchmod: whatever the umask is */
    bool written = owned && fchmod(fd, 0600) == 0 && write_all(fd, text, length) && fsync(fd) == 0;
    tr_err err = written ? TR_OK : failed("write", path, error);
    if (close(fd) != 0 && err == TR_OK)
        err = failed("write", path, error);
    if (err)
        unlink(path);
    sodium_memzero(text, sizeof text);
    return err;
}

tr_err tr__key_create(const char *path, tr_error *error)
{
    tr__keys keys = {.count = 1};
    TR_TRY(need_sodium(error));
    tr__key_secret(NULL, keys.key[0], TR__KEY_SIZE);
    tr_err err = write_new(path, &keys, NULL, error);
    tr__wipe(&keys, sizeof keys);
    return err;
}

/* Beside it, then in its place, for the same owner, though it may be root who does it. What an attempt left that was killed
 * is in the way of none. */
static tr_err replace(const char *path, const tr__keys *keys, tr_error *error)
{
    char beside[PATH_MAX];
    struct stat old;
    if (stat(path, &old) != 0)
        return failed("replace", path, error);
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return tr__fail(error, TR_EINVAL, "the path of the key file %.60s... is too long", path);
    unlink(beside);
    TR_TRY(write_new(beside, keys, &old, error));
    if (rename(beside, path) == 0)
        return TR_OK;
    tr_err err = failed("replace", path, error);
    unlink(beside);
    return err;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

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

static bool parse_line(const char *line, uint8_t *key)
{
    size_t bytes = 0;
    return line[DIGITS] == '\n' && sodium_hex2bin(key, TR__KEY_SIZE, line, DIGITS, NULL, &bytes, NULL) == 0 &&
           bytes == TR__KEY_SIZE;
}

static tr_err parse(const char *text, size_t length, const char *path, tr__keys *keys, tr_error *error)
{
    size_t digits = length < HEADER_SIZE ? 0 : length - HEADER_SIZE;
    bool whole = digits && digits % LINE == 0 && digits / LINE <= TR__KEYS_MAX &&
                 memcmp(text, HEADER, HEADER_SIZE) == 0;
    keys->count = (unsigned)(digits / LINE);
    for (unsigned i = 0; whole && i < keys->count; i++)
        whole = parse_line(text + HEADER_SIZE + i * LINE, keys->key[i]);
    if (!whole)
        return tr__fail(
            error, TR_EINVAL,
            "%.150s is no key file of Troupe, or a damaged one; make one by `troupe key new FILE`, "
            "copy it to every node",
            path);
    return TR_OK;
}

tr_err tr__key_read(const char *path, tr__keys *keys, tr_error *error)
{
    char text[FILE_MAX + 1]; /* one more: to see that a longer file is one */
    size_t length = 0;
    ssize_t count = 0;
    memset(keys, 0, sizeof *keys);
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
        err = parse(text, length, path, keys, error);
    sodium_memzero(text, sizeof text);
    return err;
}

/* ---- changing ------------------------------------------------------------------------------------------ */

static tr_err add(const char *path, const tr__keys *from, tr__keys *keys, tr_error *error)
{
    char id[TR__KEY_ID + 1];
    tr__key_id(from->key[0], id);
    for (unsigned i = 0; i < keys->count; i++)
        if (memcmp(keys->key[i], from->key[0], TR__KEY_SIZE) == 0)
            return tr__fail(error, TR_EEXIST, "the key file %.150s has the key %s already", path, id);
    if (keys->count == TR__KEYS_MAX)
        return tr__fail(error, TR_EFULL,
                        "the key file %.150s has two keys already; `troupe key drop` forgets the other one",
                        path);
    memcpy(keys->key[keys->count++], from->key[0], TR__KEY_SIZE);
    return replace(path, keys, error);
}

tr_err tr__key_add(const char *path, const char *from, tr_error *error)
{
    tr__keys keys, more;
    TR_TRY(tr__key_read(path, &keys, error));
    tr_err err = tr__key_read(from, &more, error);
    if (err == TR_OK)
        err = add(path, &more, &keys, error);
    tr__wipe(&keys, sizeof keys);
    tr__wipe(&more, sizeof more);
    return err;
}

/* Read a file that has two. */
static tr_err read_two(const char *path, tr__keys *keys, tr_error *error)
{
    TR_TRY(tr__key_read(path, keys, error));
    return keys->count == TR__KEYS_MAX
               ? TR_OK
               : tr__fail(error, TR_EINVAL,
                          "the key file %.150s has one key only; `troupe key add` gives it another", path);
}

tr_err tr__key_swap(const char *path, tr_error *error)
{
    tr__keys keys, swapped = {.count = TR__KEYS_MAX};
    TR_TRY(read_two(path, &keys, error));
    memcpy(swapped.key[0], keys.key[1], TR__KEY_SIZE);
    memcpy(swapped.key[1], keys.key[0], TR__KEY_SIZE);
    tr_err err = replace(path, &swapped, error);
    tr__wipe(&keys, sizeof keys);
    tr__wipe(&swapped, sizeof swapped);
    return err;
}

tr_err tr__key_drop(const char *path, tr_error *error)
{
    tr__keys keys;
    TR_TRY(read_two(path, &keys, error));
    keys.count = 1;
    tr_err err = replace(path, &keys, error);
    tr__wipe(&keys, sizeof keys);
    return err;
}
