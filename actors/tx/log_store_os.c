/* The transaction log's files: see log_store.h. The first segment is PATH, the others are PATH.2 and so on.
 *
 * The owner's thread opens, reads and settles; a thread of this store then does the batches: pwrite,
 * fdatasync, the mark, more zeros. They meet at one place for one batch, under a mutex: IDLE -begin-> GIVEN
 * -thread-> OVER -finished-> IDLE. While GIVEN the thread has the files for itself; `read` and `size` open what
 * they look at anew, and may be called for closed segments by any thread.
 *
 * The file is extended by writing zeros, not by fallocate: forcing a write into blocks that were never
 * written costs a journal commit each time (measured: 1,500 forces a second instead of 8,000).
 *
 * A new log is made as PATH.new and renamed when it is whole, and so is each segment. PATH and PATH.new are
 * locked (flock) by who opened them, and PATH stays as long as the log does; the lock goes with the process,
 * however it ends.
 *
 * How it can fail: by errno, told with the path. After a failed write or force nothing is tried again: the
 * kernel forgets which pages it could not write, so a second force would succeed and mean nothing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "actors/tx/log_format.h"
#include "actors/tx/log_segments_os.h"
#include "actors/tx/snap_store.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define ZEROS_BYTES   (64u * 1024)
#define ZEROS_AT_ONCE 16
#define OPEN_TRIES    16

typedef enum stage { IDLE, GIVEN, OVER } stage;

/* A segment behind the first one that is open to be written. */
typedef struct segment_file {
    uint32_t segment; /* 0: none */
    int fd;
} segment_file;

typedef struct os_store {
    tr__log_store store;
    char *place;                       /* `path` from the root */
    char *path, *fresh_path;           /* the second is what a new log is called until it is published */
    char *segment_path, *segment_name; /* room for two, for who has the files */
    int fd;                            /* of the first segment */
    int directory;                     /* that they are all in */
    bool unpublished;
    segment_file files[2]; /* the thread's, once there is a batch */
    void (*wake)(void *context);
    void *context;
    pthread_t thread;

    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t given;
    stage stage;
    bool closing;
    tr__log_batch batch;
    tr__log_done done;
} os_store;

static const uint8_t zeros[ZEROS_BYTES];

#define SUFFIX_BYTES 24 /* ".4294967295.new" */

/* ---- the files ----------------------------------------------------------------------------------------- */

static char *path_of(const os_store *os, uint32_t segment, const char *end, char *out)
{
    size_t room = strlen(os->path) + SUFFIX_BYTES;
    if (segment == TR__LOG_SEGMENT)
        snprintf(out, room, "%s%s", os->path, end);
    else
        snprintf(out, room, "%s.%u%s", os->path, segment, end);
    return out;
}

static char *name_of(const tr__log_store *store, uint32_t segment, char out[TR__LOG_NAME_BYTES])
{
    if (segment == TR__LOG_SEGMENT)
        snprintf(out, TR__LOG_NAME_BYTES, "%s", store->name);
    else
        snprintf(out, TR__LOG_NAME_BYTES, "%.*s.%u", TR__LOG_NAME_BYTES - 12, store->name, segment);
    return out;
}

/* From errno. A disk that is full stays told as that, no descriptor as TR_EFULL; what else went wrong is TR_EIO. */
static tr_err fail(const os_store *os, uint32_t segment, const char *what, uint64_t offset, tr_error *error)
{
    char name[TR__LOG_NAME_BYTES];
    tr_err code = errno == EMFILE || errno == ENFILE ? TR_EFULL : tr__err_from_errno(errno);
    if (code != TR_ENOSPC && code != TR_ETOOBIG && code != TR_EFULL)
        code = TR_EIO;
    return tr__fail(error, code, "%s the transaction log %s at offset %llu failed: %s", what,
                    name_of(&os->store, segment, name), (unsigned long long)offset, strerrordesc_np(errno));
}

/* -1 with errno. */
static int open_segment(const os_store *os, uint32_t segment, int flags, char *path)
{
    return open(path_of(os, segment, "", path), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* In the place of the lowest. */
static void keep_open(os_store *os, uint32_t segment, int fd)
{
    segment_file *file = os->files[0].segment <= os->files[1].segment ? &os->files[0] : &os->files[1];
    if (file->segment)
        close(file->fd);
    *file = (segment_file){segment, fd};
}

/* What is open of it, or opened now; -1 with errno. */
static int fd_of(os_store *os, uint32_t segment)
{
    if (segment == TR__LOG_SEGMENT)
        return os->fd;
    for (int i = 0; i < 2; i++)
        if (os->files[i].segment == segment)
            return os->files[i].fd;
    int fd = open_segment(os, segment, O_RDWR, os->segment_path);
    if (fd >= 0)
        keep_open(os, segment, fd);
    return fd;
}

static uint64_t size_of(tr__log_store *store, uint32_t segment)
{
    os_store *os = (os_store *)store;
    struct stat info;
    char
        path[PATH_MAX + SUFFIX_BYTES]; /* no memory is needed: one that is there is never taken for missing */
    bool is_there = segment == TR__LOG_SEGMENT ? fstat(os->fd, &info) == 0
                                               : stat(path_of(os, segment, "", path), &info) == 0;
    return is_there && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
}

static tr_err read_fd(const os_store *os, int fd, uint32_t segment, uint64_t offset, void *bytes,
                      size_t length, tr_error *error)
{
    char name[TR__LOG_NAME_BYTES];
    for (size_t at = 0; at < length;) {
        ssize_t got = pread(fd, (char *)bytes + at, length - at, (off_t)(offset + at));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(os, segment, "reading", offset + at, error);
        if (got == 0)
            return tr__fail(error, TR_ESHORT, "the transaction log %s became shorter while it was read",
                            name_of(&os->store, segment, name));
        at += (size_t)got;
    }
    return TR_OK;
}

static tr_err read_file(tr__log_store *store, uint32_t segment, uint64_t offset, void *bytes, size_t length,
                        tr_error *error)
{
    os_store *os = (os_store *)store;
    if (segment == TR__LOG_SEGMENT)
        return read_fd(os, os->fd, segment, offset, bytes, length, error);
    char *path = tr__alloc(strlen(os->path) + SUFFIX_BYTES);
    if (!path)
        return tr__fail(error, TR_ENOMEM, "no memory to read the transaction log %s", store->name);
    int fd = open_segment(os, segment, O_RDONLY, path);
    tr__free(path);
    if (fd < 0)
        return fail(os, segment, "opening", 0, error);
    tr_err code = read_fd(os, fd, segment, offset, bytes, length, error);
    close(fd);
    return code;
}

static tr_err write_fd(const os_store *os, int fd, uint32_t segment, uint64_t offset, const void *bytes,
                       size_t length, tr_error *error)
{
    for (size_t at = 0; at < length;) {
        ssize_t put = fd < 0 ? -1 : pwrite(fd, (const char *)bytes + at, length - at, (off_t)(offset + at));
        if (put < 0 && fd >= 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail(os, segment, "writing", offset + at, error);
        at += (size_t)put;
    }
    return TR_OK;
}

static tr_err write_file(tr__log_store *store, uint32_t segment, uint64_t offset, const void *bytes,
                         size_t length, tr_error *error)
{
    os_store *os = (os_store *)store;
    return write_fd(os, fd_of(os, segment), segment, offset, bytes, length, error);
}

static tr_err force_fd(const os_store *os, int fd, uint32_t segment, tr_error *error)
{
    while (fd < 0 || fdatasync(fd) != 0)
        if (fd < 0 || errno != EINTR)
            return fail(os, segment, "forcing", 0, error);
    return TR_OK;
}

static tr_err force_file(tr__log_store *store, uint32_t segment, tr_error *error)
{
    os_store *os = (os_store *)store;
    return force_fd(os, fd_of(os, segment), segment, error);
}

/* From `from` to `size` zeros; as long as before if the disk is full. */
static tr_err extend(const os_store *os, int fd, uint32_t segment, uint64_t from, uint64_t size,
                     tr_error *error)
{
    for (uint64_t at = from; at < size;) {
        struct iovec iov[ZEROS_AT_ONCE];
        int count = 0;
        for (uint64_t end = at; count < ZEROS_AT_ONCE && end < size; count++) {
            size_t length = size - end < ZEROS_BYTES ? (size_t)(size - end) : ZEROS_BYTES;
            iov[count] = (struct iovec){.iov_base = (void *)zeros, .iov_len = length};
            end += length;
        }
        ssize_t put = pwritev(fd, iov, count, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            tr_err code = fail(os, segment, "extending", at, error);
            if (ftruncate(fd, (off_t)from) != 0 && (code == TR_ENOSPC || code == TR_ETOOBIG))
                return fail(os, segment, "cutting", from, error);
            return code;
        }
        at += (uint64_t)put;
    }
    return TR_OK;
}

static tr_err grow_file(tr__log_store *store, uint32_t segment, uint64_t size, tr_error *error)
{
    os_store *os = (os_store *)store;
    int fd = fd_of(os, segment);
    if (fd < 0)
        return fail(os, segment, "extending", 0, error);
    return extend(os, fd, segment, size_of(store, segment), size, error);
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
    return fsync(os->directory) == 0 ? TR_OK
                                     : fail(os, TR__LOG_SEGMENT, "forcing the directory of", 0, error);
}

static tr_err publish_file(tr__log_store *store, tr_error *error)
{
    os_store *os = (os_store *)store;
    if (rename(os->fresh_path, os->path) != 0)
        return fail(os, TR__LOG_SEGMENT, "renaming", 0, error);
    os->unpublished = false;
    return force_directory(os, error);
}

/* ---- segments ------------------------------------------------------------------------------------------ */

/* Zeros, under another name until all of it has its place. It stays open: who writes it needs no descriptor. */
static tr_err make_segment(os_store *os, uint32_t segment, uint64_t size, tr_error *error)
{
    char *path = os->segment_path;
    int fd =
        open(path_of(os, segment, ".new", path), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(os, segment, "making", 0, error);
    tr_err code = extend(os, fd, segment, 0, size, error);
    if (code == TR_OK)
        code = force_fd(os, fd, segment, error);
    if (code == TR_OK && rename(path, path_of(os, segment, "", os->segment_name)) != 0)
        code = fail(os, segment, "renaming", 0, error);
    if (code != TR_OK) {
        close(fd);
        unlink(path);
        return code;
    }
    keep_open(os, segment, fd);
    return force_directory(os, error);
}

/* Of the first one the records, of the others the files; one after the other, each before the next goes. */
static tr_err drop_segments(os_store *os, uint32_t keep, tr_error *error)
{
    tr__log_store *store = &os->store;
    if (keep > TR__LOG_SEGMENT && size_of(store, TR__LOG_SEGMENT) > TR__LOG_DATA_AT &&
        (ftruncate(os->fd, TR__LOG_DATA_AT) != 0 || fsync(os->fd) != 0))
        return fail(os, TR__LOG_SEGMENT, "cutting", TR__LOG_DATA_AT, error);
    if (store->second == 0)
        store->second = TR__LOG_SEGMENT + 1;
    for (; store->second < keep; store->second++) {
        if (unlink(path_of(os, store->second, "", os->segment_path)) != 0)
            return fail(os, store->second, "dropping", 0, error);
        TR_TRY(force_directory(os, error));
    }
    return TR_OK;
}

/* ---- batches ------------------------------------------------------------------------------------------- */

static tr_err write_batch(os_store *os, const tr__log_batch *batch, tr_error *error)
{
    tr__log_store *store = &os->store;
    if (batch->length > 0) {
        if (batch->head_length > 0)
            TR_TRY(write_file(store, batch->segment, 0, batch->head, batch->head_length, error));
        TR_TRY(write_file(store, batch->segment, batch->offset, batch->bytes, batch->length, error));
        TR_TRY(force_file(store, batch->segment, error));
        TR_TRY(write_file(store, batch->segment, batch->mark_offset, batch->mark, batch->mark_length, error));
    }
    return batch->keep ? drop_segments(os, batch->keep, error) : TR_OK;
}

static tr_err make_room(os_store *os, const tr__log_batch *batch, tr_error *error)
{
    tr__log_store *store = &os->store;
    uint64_t next_size = size_of(store, batch->segment + 1);
    if (batch->size > size_of(store, batch->segment))
        TR_TRY(grow_file(store, batch->segment, batch->size, error));
    if (batch->next_size <= next_size)
        return TR_OK;
    return next_size > 0 ? grow_file(store, batch->segment + 1, batch->next_size, error)
                         : make_segment(os, batch->segment + 1, batch->next_size, error);
}

static void do_batch(os_store *os, const tr__log_batch *batch, tr__log_done *done)
{
    tr_error error;
    *done = (tr__log_done){0};
    if (write_batch(os, batch, &done->error) != TR_OK)
        return;
    tr_err code = make_room(os, batch, &error);
    if (code == TR_ENOSPC || code == TR_ETOOBIG || code == TR_EFULL)
        done->grown = code;
    else if (code != TR_OK)
        done->error = error;
    done->size = size_of(&os->store, batch->segment);
    done->next_size = size_of(&os->store, batch->segment + 1);
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
    if (os->directory >= 0)
        close(os->directory);
    for (int i = 0; i < 2; i++)
        if (os->files[i].segment)
            close(os->files[i].fd);
    pthread_cond_destroy(&os->given);
    pthread_mutex_destroy(&os->mutex);
    tr__free(os->place);
    tr__free(os->path);
    tr__free(os->fresh_path);
    tr__free(os->segment_path);
    tr__free(os->segment_name);
    tr__free(os);
}

static void close_store(tr__log_store *store)
{
    os_store *os = (os_store *)store;
    if (store->snap)
        store->snap->close(store->snap);
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
        return fail(os, TR__LOG_SEGMENT, "locking", 0, error);
    }
    struct stat info;
    if (fstat(os->fd, &info) != 0)
        return fail(os, TR__LOG_SEGMENT, "looking at", 0, error);
    if (!S_ISREG(info.st_mode))
        return tr__fail(error, TR_EINVAL, "the transaction log %s is not a plain file", os->store.name);
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
                return ftruncate(os->fd, 0) == 0 ? TR_OK : fail(os, TR__LOG_SEGMENT, "emptying", 0, error);
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

/* Those that will be written first: later there may be no descriptor. What can't be opened is told by who reads it. */
static void open_last(os_store *os)
{
    for (uint32_t segment = os->store.last - 1; segment <= os->store.last; segment++)
        if (segment > TR__LOG_SEGMENT)
            fd_of(os, segment);
}

/* Which other segments there are; without the first one none of them is of use. */
static tr_err find_segments(os_store *os, tr_error *error)
{
    char name[TR__LOG_NAME_BYTES];
    os->directory = tr__log_directory_open(os->path);
    if (os->directory < 0 || !tr__log_segments_list(os->path, &os->store.second, &os->store.last))
        return fail(os, TR__LOG_SEGMENT, "listing the directory of", 0, error);
    open_last(os);
    if (!os->store.is_new || os->store.last == TR__LOG_SEGMENT)
        return TR_OK;
    return tr__fail(
        error, TR_EMISMATCH,
        "transaction log %s is missing at offset 0, and a later segment of it, %s, is there: restore "
        "the file",
        os->store.name, name_of(&os->store, os->store.second, name));
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
    os_store *os = strlen(path) < PATH_MAX ? tr__zalloc(sizeof *os) : NULL;
    if (!os)
        return NULL;
    os->fd = os->directory = -1;
    pthread_mutex_init(&os->mutex, NULL);
    pthread_cond_init(&os->given, NULL);
    size_t length = strlen(path);
    os->path = tr__strdup(path);
    os->store.path = os->place = tr__path_from_root(path);
    os->fresh_path = tr__alloc(length + sizeof ".new");
    os->segment_path = tr__alloc(length + SUFFIX_BYTES);
    os->segment_name = tr__alloc(length + SUFFIX_BYTES);
    if (!os->place || !os->path || !os->fresh_path || !os->segment_path || !os->segment_name) {
        drop(os);
        return NULL;
    }
    memcpy(os->fresh_path, path, length);
    memcpy(os->fresh_path + length, ".new", sizeof ".new");
    bool fits = length < TR__LOG_NAME_BYTES;
    snprintf(os->store.name, sizeof os->store.name, "%s%s", fits ? "" : "...",
             fits ? path : path + length - (TR__LOG_NAME_BYTES - 4));
    os->store.last = TR__LOG_SEGMENT;
    os->store.random = random_id;
    os->store.size = size_of;
    os->store.name_of = name_of;
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
        code = find_segments(os, error);
    if (code == TR_OK)
        code = start_thread(os, error);
    if (code != TR_OK) {
        drop(os);
        return NULL;
    }
    return &os->store;
}
