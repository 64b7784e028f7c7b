/* See copy.h: files as bytes. */
#include "cli/tx/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"

#define PIECE (1024u * 1024)

tr_err tx_fail_errno(tr_error *error, const char *what, const char *path)
{
    int why = errno;
    return tr__fail(error, tr__err_from_errno(why), "%s %.120s: %s", what, path, strerrordesc_np(why));
}

const char *tx_path_of(const char *directory, const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s", directory, name);
    return out;
}

static tr_err write_all(int fd, const char *path, const uint8_t *bytes, size_t length, tr_error *error)
{
    while (length > 0) {
        ssize_t put = write(fd, bytes, length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return tx_fail_errno(error, "writing", path);
        bytes += put;
        length -= (size_t)put;
    }
    return TR_OK;
}

typedef struct pipe_of {
    int in, out; /* out -1: only looked at */
    const char *from, *to;
    uint64_t most;
    tx_copy_tick *tick;
    void *context;
} pipe_of;

static tr_err pump(const pipe_of *p, uint8_t *piece, tx_file *file, tr_error *error)
{
    for (file->bytes = 0, file->crc = 0; file->bytes < p->most;) {
        uint64_t left = p->most - file->bytes;
        ssize_t got = read(p->in, piece, left < PIECE ? (size_t)left : PIECE);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tx_fail_errno(error, "reading", p->from);
        if (got == 0)
            break;
        file->bytes += (uint64_t)got;
        file->crc = tr__crc32c(file->crc, piece, (size_t)got);
        if (p->out >= 0)
            TR_TRY(write_all(p->out, p->to, piece, (size_t)got, error));
        if (p->tick)
            TR_TRY(p->tick(p->context, error));
    }
    return p->out < 0 || fsync(p->out) == 0 ? TR_OK : tx_fail_errno(error, "forcing", p->to);
}

static tr_err pump_with(const pipe_of *p, tx_file *file, tr_error *error)
{
    uint8_t *piece = malloc(PIECE);
    tr_err err =
        piece ? pump(p, piece, file, error) : tr__fail(error, TR_ENOMEM, "no memory to copy %s", p->from);
    free(piece);
    return err;
}

tr_err tx_copy(const char *from, const char *to, tx_file *file, uint64_t most, tx_copy_tick *tick,
               void *context, tr_error *error)
{
    char source[PATH_MAX], target[PATH_MAX];
    pipe_of p = {.from = tx_path_of(from, file->name, source),
                 .to = tx_path_of(to, file->name, target),
                 .most = most,
                 .tick = tick,
                 .context = context};
    p.in = open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (p.in < 0)
        return tx_fail_errno(error, "opening", source);
    p.out = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    tr_err err = p.out < 0 ? tx_fail_errno(error, "making", target) : pump_with(&p, file, error);
    if (p.out >= 0 && close(p.out) != 0 && err == TR_OK)
        err = tx_fail_errno(error, "closing", target);
    if (p.out >= 0 && err != TR_OK)
        unlink(target);
    close(p.in);
    return err;
}

tr_err tx_look(const char *directory, tx_file *file, tr_error *error)
{
    char path[PATH_MAX];
    pipe_of p = {.from = tx_path_of(directory, file->name, path), .out = -1, .most = UINT64_MAX};
    p.in = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (p.in < 0)
        return tx_fail_errno(error, "opening", path);
    tr_err err = pump_with(&p, file, error);
    close(p.in);
    return err;
}

tr_err tx_force_directory(const char *path, tr_error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tr_err err = fd < 0 || fsync(fd) != 0 ? tx_fail_errno(error, "forcing", path) : TR_OK;
    if (fd >= 0)
        close(fd);
    return err;
}

tr_err tx_force_name(const char *directory, tr_error *error)
{
    char parent[PATH_MAX];
    return tx_force_directory(tx_path_of(directory, "..", parent), error);
}
