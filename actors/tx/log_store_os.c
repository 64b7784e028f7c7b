/* The transaction log's file: see log_store.h.
 *
 * The owner's thread opens, reads and settles; a thread of this store then does the batches: pwrite,
 * fdatasync, the mark, more zeros. They meet at one place for one batch, under a mutex: IDLE -begin-> GIVEN
 * -thread-> OVER -finished-> IDLE. While GIVEN the thread has the file for itself.
 *
 * The file is extended by writing zeros, not by fallocate: forcing a write into blocks that were never
 * written costs a journal commit each time (measured: 1,500 forces a second instead of 8,000).
 *
 * A new log is made as PATH.new and renamed when it is whole. Both names are locked (flock) by who opened
 * them; the lock goes with the process, however it ends.
 *
 * How it can fail: by errno, told with the path. After a failed write or force nothing is tried again: the
 * kernel forgets which pages it could not write, so a second force would succeed and mean nothing. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "actors/tx/log_store.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define ZEROS_BYTES   (64u * 1024)
#define ZEROS_AT_ONCE 16
#define OPEN_TRIES    16

typedef enum stage { IDLE, GIVEN, OVER } stage;

typedef struct os_store {
    tr__log_store store;
    char *path, *fresh_path; /* the second is what a new log is called until it is published */
    int fd;
    bool unpublished;
    void (*wake)(void *context);
    void *context;
    pthread_t thread;
    uint64_t size; /* the thread's, once there is a batch */

    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t given;
    stage stage;
    bool closing;
    tr__log_batch batch;
    tr__log_done done;
} os_store;

static const uint8_t zeros[ZEROS_BYTES];

/* ---- the file ------------------------------------------------------------------------------------------ */

/* From errno. A disk that is full stays told as that; whatever else went wrong with bytes is TR_EIO. */
static tr_err fail(const os_store *os, const char *what, uint64_t offset, tr_error *error)
{
    tr_err code = tr__err_from_errno(errno);
    if (code != TR_ENOSPC && code != TR_ETOOBIG)
        code = TR_EIO;
    return tr__fail(error, code, "%s the transaction log %s at offset %llu failed: %s", what, os->store.name,
                    (unsigned long long)offset, strerrordesc_np(errno));
}

static tr_err read_file(tr__log_store *store, uint64_t offset, void *bytes, size_t length, tr_error *error)
{
    os_store *os = (os_store *)store;
    for (size_t at = 0; at < length;) {
        ssize_t got = pread(os->fd, (char *)bytes + at, length - at, (off_t)(offset + at));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(os, "reading", offset + at, error);
        if (got == 0)
            return tr__fail(error, TR_ESHORT, "the transaction log %s became shorter while it was read",
                            os->store.name);
        at += (size_t)got;
    }
    return TR_OK;
}

static tr_err write_file(tr__log_store *store, uint64_t offset, const void *bytes, size_t length,
                         tr_error *error)
{
    os_store *os = (os_store *)store;
    for (size_t at = 0; at < length;) {
        ssize_t put = pwrite(os->fd, (const char *)bytes + at, length - at, (off_t)(offset + at));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail(os, "writing", offset + at, error);
        at += (size_t)put;
    }
    return TR_OK;
}

static tr_err force_file(tr__log_store *store, tr_error *error)
{
    os_store *os = (os_store *)store;
    while (fdatasync(os->fd) != 0)
        if (errno != EINTR)
            return fail(os, "forcing", 0, error);
    return TR_OK;
}

static tr_err grow_file(tr__log_store *store, uint64_t size, tr_error *error)
{
    os_store *os = (os_store *)store;
    for (uint64_t at = os->size; at < size;) {
        struct iovec iov[ZEROS_AT_ONCE];
        int count = 0;
        for (uint64_t end = at; count < ZEROS_AT_ONCE && end < size; count++) {
            size_t length = size - end < ZEROS_BYTES ? (size_t)(size - end) : ZEROS_BYTES;
            iov[count] = (struct iovec){.iov_base = (void *)zeros, .iov_len = length};
            end += length;
        }
        ssize_t put = pwritev(os->fd, iov, count, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            tr_err code = fail(os, "extending", at, error);
            if (ftruncate(os->fd, (off_t)os->size) != 0 && (code == TR_ENOSPC || code == TR_ETOOBIG))
                return fail(os, "cutting", os->size, error);
            return code;
        }
        at += (uint64_t)put;
    }
    if (size > os->size)
        os->size = size;
    return TR_OK;
}

static tr_err random_id(tr__log_store *store, uint8_t id[TR__LOG_ID_BYTES], tr_error *error)
{
    if (getrandom(id, TR__LOG_ID_BYTES, 0) != TR__LOG_ID_BYTES)
        return tr__fail(error, TR_EIO, "no random number for the transaction log %s: %s", store->name,
                        strerrordesc_np(errno));
    return TR_OK;
}

static tr_err force_directory(const os_store *os, tr_error *error)
{
    const char *slash = strrchr(os->path, '/');
    char *dir =
        slash ? tr__strndup(os->path, slash > os->path ? (size_t)(slash - os->path) : 1) : tr__strdup(".");
    if (!dir)
        return tr__fail(error, TR_ENOMEM, "no memory for the transaction log %s", os->store.name);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tr__free(dir);
    if (fd < 0 || fsync(fd) != 0) {
        fail(os, "forcing the directory of", 0, error);
        if (fd >= 0)
            close(fd);
        return TR_EIO;
    }
    close(fd);
    return TR_OK;
}

static tr_err publish_file(tr__log_store *store, tr_error *error)
{
    os_store *os = (os_store *)store;
    if (rename(os->fresh_path, os->path) != 0)
        return fail(os, "renaming", 0, error);
    os->unpublished = false;
    return force_directory(os, error);
}

/* ---- batches ------------------------------------------------------------------------------------------- */

static void do_batch(os_store *os, const tr__log_batch *batch, tr__log_done *done)
{
    tr__log_store *store = &os->store;
    *done = (tr__log_done){.size = os->size};
    if (batch->length > 0) {
        if (write_file(store, batch->offset, batch->bytes, batch->length, &done->error) != TR_OK ||
            force_file(store, &done->error) != TR_OK ||
            write_file(store, batch->mark_offset, batch->mark, batch->mark_length, &done->error) != TR_OK)
            return;
    }
    if (batch->size > os->size) {
        tr_error error;
        tr_err code = grow_file(store, batch->size, &error);
        if (code == TR_ENOSPC || code == TR_ETOOBIG)
            done->grown = code;
        else if (code != TR_OK)
            done->error = error;
    }
    done->size = os->size;
}

static void *work(void *argument)
{
    os_store *os = argument;
    pthread_mutex_lock(&os->mutex);
    for (;;) {
        while (os->stage != GIVEN && !os->closing)
            pthread_cond_wait(&os->given, &os->mutex);
        if (os->stage != GIVEN)
            break;
        pthread_mutex_unlock(&os->mutex);
        tr__log_done done;
        do_batch(os, &os->batch, &done);
        pthread_mutex_lock(&os->mutex);
        os->done = done;
        os->stage = OVER;
        pthread_mutex_unlock(&os->mutex);
        os->wake(os->context);
        pthread_mutex_lock(&os->mutex);
    }
    pthread_mutex_unlock(&os->mutex);
    return NULL;
}

static void begin_batch(tr__log_store *store, const tr__log_batch *batch)
{
    os_store *os = (os_store *)store;
    pthread_mutex_lock(&os->mutex);
    tr__check(os->stage == IDLE, "a batch of the transaction log is under way");
    os->batch = *batch;
    os->stage = GIVEN;
    pthread_cond_signal(&os->given);
    pthread_mutex_unlock(&os->mutex);
}

static bool batch_finished(tr__log_store *store, tr__log_done *done)
{
    os_store *os = (os_store *)store;
    pthread_mutex_lock(&os->mutex);
    bool over = os->stage == OVER;
    if (over) {
        *done = os->done;
        os->stage = IDLE;
    }
    pthread_mutex_unlock(&os->mutex);
    return over;
}

/* ---- open, close --------------------------------------------------------------------------------------- */

/* All but the thread. */
static void drop(os_store *os)
{
    if (os->unpublished)
        unlink(os->fresh_path);
    if (os->fd >= 0)
        close(os->fd);
    pthread_cond_destroy(&os->given);
    pthread_mutex_destroy(&os->mutex);
    tr__free(os->path);
    tr__free(os->fresh_path);
    tr__free(os);
}

static void close_store(tr__log_store *store)
{
    os_store *os = (os_store *)store;
    pthread_mutex_lock(&os->mutex);
    os->closing = true;
    pthread_cond_signal(&os->given);
    pthread_mutex_unlock(&os->mutex);
    pthread_join(os->thread, NULL);
    drop(os);
}

/* Whether the name still means the file that is open. */
static bool is_named(int fd, const char *path)
{
    struct stat file, name;
    return fstat(fd, &file) == 0 && lstat(path, &name) == 0 && file.st_dev == name.st_dev &&
           file.st_ino == name.st_ino;
}

/* Open and lock. TR_EAGAIN: another process renamed or removed it meanwhile. */
static tr_err take_file(os_store *os, const char *path, int flags, tr_error *error)
{
    os->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0600);
    if (os->fd < 0 && errno == ENOENT && !(flags & O_CREAT))
        return TR_ENOTFOUND;
    if (os->fd < 0) {
        tr_err code = tr__err_from_errno(errno);
        return tr__fail(error, code, "cannot open the transaction log %s: %s", os->store.name,
                        errno == ELOOP ? "it is a symbolic link; give the file itself"
                                       : strerrordesc_np(errno));
    }
    if (flock(os->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return tr__fail(
                error, TR_EADDRINUSE,
                "another node uses the transaction log %s: stop it, or give this one its own directory",
                os->store.name);
        return fail(os, "locking", 0, error);
    }
    struct stat info;
    if (fstat(os->fd, &info) != 0)
        return fail(os, "looking at", 0, error);
    if (!S_ISREG(info.st_mode))
        return tr__fail(error, TR_EINVAL, "the transaction log %s is not a plain file", os->store.name);
    os->store.size = os->size = (uint64_t)info.st_size;
    return is_named(os->fd, path) ? TR_OK : TR_EAGAIN;
}

/* What is there; if nothing is, a new one under its other name. */
static tr_err find_file(os_store *os, tr_error *error)
{
    for (int tries = 0; tries < OPEN_TRIES; tries++) {
        tr_err code = take_file(os, os->path, 0, error);
        if (code == TR_ENOTFOUND) {
            code = take_file(os, os->fresh_path, O_CREAT, error);
            /* Only who has the lock of PATH.new makes PATH: it is either there by now, or up to us. */
            if (code == TR_OK && access(os->path, F_OK) != 0) {
                os->unpublished = true;
                os->store.is_new = true;
                os->store.size = os->size = 0;
                return ftruncate(os->fd, 0) == 0 ? TR_OK : fail(os, "emptying", 0, error);
            }
            code = code == TR_OK ? TR_EAGAIN : code;
        }
        if (code != TR_EAGAIN)
            return code;
        close(os->fd);
        os->fd = -1;
    }
    return tr__fail(error, TR_EADDRINUSE, "the transaction log %s is moved about by another program",
                    os->store.name);
}

static tr_err start_thread(os_store *os, tr_error *error)
{
    /* Signals are for the threads that expect them. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&os->thread, NULL, work, os);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return tr__fail(error, TR_ENOMEM, "no thread for the transaction log %s: %s", os->store.name,
                        strerrordesc_np(failed));
    pthread_setname_np(os->thread, "troupe-txlog");
    return TR_OK;
}

static os_store *make_store(const char *path)
{
    os_store *os = tr__zalloc(sizeof *os);
    if (!os)
        return NULL;
    os->fd = -1;
    pthread_mutex_init(&os->mutex, NULL);
    pthread_cond_init(&os->given, NULL);
    size_t length = strlen(path);
    os->path = tr__strdup(path);
    os->fresh_path = tr__alloc(length + sizeof ".new");
    if (!os->path || !os->fresh_path) {
        drop(os);
        return NULL;
    }
    memcpy(os->fresh_path, path, length);
    memcpy(os->fresh_path + length, ".new", sizeof ".new");
    bool fits = length < TR__LOG_NAME_BYTES;
    snprintf(os->store.name, sizeof os->store.name, "%s%s", fits ? "" : "...",
             fits ? path : path + length - (TR__LOG_NAME_BYTES - 4));
    os->store.random = random_id;
    os->store.read = read_file;
    os->store.write = write_file;
    os->store.force = force_file;
    os->store.grow = grow_file;
    os->store.publish = publish_file;
    os->store.begin = begin_batch;
    os->store.finished = batch_finished;
    os->store.close = close_store;
    return os;
}

tr__log_store *tr__log_store_open_os(const char *path, void (*wake)(void *context), void *context,
                                     tr_error *error)
{
    os_store *os = make_store(path);
    if (!os) {
        tr__fail(error, TR_ENOMEM, "no memory for the transaction log %.100s", path);
        return NULL;
    }
    os->wake = wake;
    os->context = context;
    tr_err code = find_file(os, error);
    if (code == TR_OK)
        code = start_thread(os, error);
    if (code != TR_OK) {
        drop(os);
        return NULL;
    }
    return &os->store;
}
