/* A file written off the loop, by libuv's thread pool: see file_sink.h.
 *
 * At most one piece of work of a sink is at the pool; advance() picks the next one, on the loop's thread, so
 * the pool's thread has the struct for itself but for what is marked as the loop's. Two buffers: the loop
 * fills one while the pool writes and hashes the other, so a sink holds 512 KiB at most.
 *
 *     open -> begin -> write... -> finish -> close
 *
 * Open looks for what an earlier try left (PATH.part with PATH.part.info), locks it, and hashes it, so that
 * the digest of the whole is known at the end without reading it again. Begin truncates, and writes the info
 * before any byte: a part without a whole info is never built upon. Finish compares the digest, forces the
 * bytes, renames, forces the directory. Close removes what must not stay; it comes always, and last.
 *
 * How it can fail: each step leaves an error with the path in it, told by `failed` once; then only close is
 * left. After a power cut (not: a kill) the tail of a part may be other than what was written: give the
 * sha256 where that matters. */
#include "actors/kinds/file_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "actors/driver/kinds_uv.h"
#include "actors/kinds/download_rules.h"
#include "base/err.h"
#include "base/mem.h"

#define BUFFER_BYTES (256 * 1024)
#define NAME_ROOM    (TR__DL_PATH_MAX + TR__DL_NAME_MAX + 32)

typedef enum sink_step { STEP_NONE, STEP_OPEN, STEP_BEGIN, STEP_WRITE, STEP_FINISH, STEP_CLOSE } sink_step;

typedef struct buffer {
    uint8_t *bytes; /* NULL until the first write */
    size_t size;
} buffer;

struct tr__file_sink {
    uv_work_t work;
    uv_loop_t *loop;

    /* the loop's */
    const tr__file_upcalls *upcalls;
    void *context;
    buffer filling;
    bool opened, begin_wanted, finish_wanted; /* opened: the open step is done or was picked */
    bool refused;                             /* a write got TR_EFULL: owes `drained` */
    bool muted;
    bool ended;          /* finished or failed was told */
    atomic_bool closing; /* also read by long work, to give up early */

    /* the pool's while it works, else the loop's */
    sink_step step;
    buffer writing;
    tr__dl_info info;    /* of this try; when opened: of what was found */
    uint64_t from, size; /* where begin puts the end; bytes of the file that are hashed */
    crypto_hash_sha256_state hash;
    int fd;     /* -1: none */
    bool named; /* `part` is the file's name on disk, else it has none */
    bool done;  /* it has its final name */
    bool keep;  /* set by close */
    tr_error error;
    char digest[TR__SHA256_TEXT];

    bool make_dir, resume;
    char *path, *part, *info_path, *dir; /* in the block behind the struct, with url and sha256 */
    char *url, *sha256;
};

/* ---- on the pool --------------------------------------------------------------------------------------- */

static tr_err fail(tr__file_sink *sink, const char *what, const char *path, int number)
{
    tr_err code = tr__err_from_errno(number);
    const char *todo = "";
    if (code == TR_ENOSPC)
        todo = "; make room there, or choose another place";
    else if (code == TR_EPERM || number == EROFS)
        todo = "; choose a directory that can be written to";
    else if (code == TR_ENOTFOUND || number == ENOTDIR)
        todo = "; make the directory first, or choose another";
    if (number == EROFS)
        code = TR_EPERM;
    else if (number == ENOTDIR)
        code = TR_ENOTFOUND;
    return tr__fail(&sink->error, code, "%.120s: can't %s: %s%s", path, what, strerror(number), todo);
}

static tr_err write_all(int fd, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return TR_EIO;
        }
        at += n;
        size -= (size_t)n;
    }
    return TR_OK;
}

/* A file without a name; where the file system has none of these, one with a hidden name of its own. */
static tr_err open_fresh(tr__file_sink *sink)
{
    static atomic_uint number;
    errno = EOPNOTSUPP;
    if (access("/proc/self/fd", F_OK) == 0) /* the way to name it later */
        sink->fd = open(sink->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (sink->fd >= 0)
        return TR_OK;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && access("/proc/self/fd", F_OK) == 0)
        return fail(sink, "make a file in that directory", sink->dir, errno);
    for (int tries = 0; tries < 100; tries++) {
        const char *slash = strrchr(sink->path, '/');
        snprintf(sink->part, NAME_ROOM, "%s/.%.200s.%d-%u" TR__DL_PART, sink->dir,
                 slash ? slash + 1 : sink->path, (int)getpid(), atomic_fetch_add(&number, 1));
        sink->fd = open(sink->part, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
        if (sink->fd >= 0 || errno != EEXIST)
            break;
    }
    sink->named = sink->fd >= 0;
    return sink->named ? TR_OK : fail(sink, "make", sink->part, errno);
}

/* PATH.part, ours alone: nobody else (other processes too) builds on it while we hold the lock. */
static tr_err open_part(tr__file_sink *sink)
{
    for (int tries = 0; tries < 10; tries++) {
        struct stat here, there;
        int fd = open(sink->part, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0)
            return fail(sink, "make", sink->part, errno);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int number = errno;
            close(fd);
            if (number != EWOULDBLOCK)
                return fail(sink, "lock", sink->part, number);
            return tr__fail(&sink->error, TR_EEXIST,
                            "%.150s: another download writes to it now; wait for that "
                            "one, or choose another path",
                            sink->part);
        }
        /* Who had the lock before us may have renamed or removed it. */
        if (fstat(fd, &here) == 0 && stat(sink->part, &there) == 0 && here.st_ino == there.st_ino &&
            here.st_dev == there.st_dev) {
            sink->fd = fd;
            sink->named = true;
            sink->size = S_ISREG(here.st_mode) ? (uint64_t)here.st_size : 0;
            return TR_OK;
        }
        close(fd);
    }
    return tr__fail(&sink->error, TR_EEXIST, "%.150s: others keep replacing it; choose another path",
                    sink->part);
}

/* Whether PATH.part.info tells what PATH.part holds. */
static bool read_info(tr__file_sink *sink)
{
    char text[TR__DL_INFO_TEXT_MAX + 1];
    int fd = open(sink->info_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, sizeof(text));
    close(fd);
    return length > 0 && tr__dl_info_parse(text, (size_t)length, &sink->info) &&
           strcmp(sink->info.url, sink->url) == 0;
}

/* Hash the first `size` bytes of the file. A failed read means: nothing to build upon. */
static bool hash_found(tr__file_sink *sink, uint64_t size)
{
    static const size_t piece = 64 * 1024;
    uint8_t *bytes = tr__alloc(piece);
    uint64_t at = 0;
    while (bytes && at < size && !atomic_load_explicit(&sink->closing, memory_order_relaxed)) {
        size_t want = size - at < piece ? (size_t)(size - at) : piece;
        ssize_t n = pread(sink->fd, bytes, want, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        crypto_hash_sha256_update(&sink->hash, bytes, (unsigned long long)n);
        at += (uint64_t)n;
    }
    tr__free(bytes);
    return at == size;
}

static void step_open(tr__file_sink *sink)
{
    struct stat st;
    if (sink->make_dir && mkdir(sink->dir, 0777) != 0 && errno != EEXIST) {
        fail(sink, "make the directory", sink->dir, errno);
        return;
    }
    if (stat(sink->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        tr__fail(&sink->error, TR_EINVAL,
                 "%.150s: is there and not a file; a directory to put the file into "
                 "must end with '/'",
                 sink->path);
        return;
    }
    if (!sink->resume) {
        open_fresh(sink);
        return;
    }
    if (open_part(sink) != TR_OK)
        return;
    uint64_t found = read_info(sink) ? sink->size : 0;
    /* At least one byte is asked for anew: an empty range is an error in HTTP, and the answer to it says
     * nothing about the version. */
    if (sink->info.total && found >= sink->info.total)
        found = sink->info.total - 1;
    sink->size = found;
    if (!hash_found(sink, found)) {
        crypto_hash_sha256_init(&sink->hash);
        sink->size = 0;
    }
}

static void step_begin(tr__file_sink *sink)
{
    char text[TR__DL_INFO_TEXT_MAX];
    if (sink->from == 0)
        crypto_hash_sha256_init(&sink->hash);
    sink->size = sink->from;
    /* In this order, so that a kill in between leaves no part with another version's info. */
    if (sink->resume && sink->from == 0)
        unlink(sink->info_path);
    if (ftruncate(sink->fd, (off_t)sink->from) != 0 || lseek(sink->fd, (off_t)sink->from, SEEK_SET) < 0) {
        fail(sink, "shorten", sink->part, errno);
        return;
    }
    if (!sink->resume || sink->from > 0)
        return;
    int fd = open(sink->info_path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0 || write_all(fd, text, tr__dl_info_print(&sink->info, text)) != TR_OK)
        fail(sink, "write", sink->info_path, errno);
    if (fd >= 0)
        close(fd);
}

static void step_write(tr__file_sink *sink)
{
    crypto_hash_sha256_update(&sink->hash, sink->writing.bytes, sink->writing.size);
    if (write_all(sink->fd, sink->writing.bytes, sink->writing.size) != TR_OK)
        fail(sink, "write", sink->path, errno);
    sink->size += sink->writing.size;
    sink->writing.size = 0;
}

/* Give a file without a name its final one: at once if that is free, else by a name in between. */
static tr_err link_fresh(tr__file_sink *sink)
{
    char fd_path[40];
    static atomic_uint number;
    snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", sink->fd);
    if (linkat(AT_FDCWD, fd_path, AT_FDCWD, sink->path, AT_SYMLINK_FOLLOW) == 0) {
        sink->done = true;
        return TR_OK;
    }
    for (int tries = 0; errno == EEXIST && tries < 100; tries++) {
        const char *slash = strrchr(sink->path, '/');
        snprintf(sink->part, NAME_ROOM, "%s/.%.200s.%d-%u.new" TR__DL_PART, sink->dir,
                 slash ? slash + 1 : sink->path, (int)getpid(), atomic_fetch_add(&number, 1));
        if (linkat(AT_FDCWD, fd_path, AT_FDCWD, sink->part, AT_SYMLINK_FOLLOW) == 0) {
            sink->named = true;
            return TR_OK;
        }
    }
    return fail(sink, "give the file its name", sink->path, errno);
}

static void step_finish(tr__file_sink *sink)
{
    uint8_t raw[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&sink->hash, raw);
    sodium_bin2hex(sink->digest, sizeof(sink->digest), raw, sizeof(raw));
    if (sink->sha256[0] && strcasecmp(sink->digest, sink->sha256) != 0) {
        tr__fail(&sink->error, TR_EMISMATCH,
                 "%.90s: what came has sha256 %.16s..., not %.16s...; removed, the "
                 "source is not what was expected",
                 sink->url, sink->digest, sink->sha256);
        return;
    }
    if (fsync(sink->fd) != 0) {
        fail(sink, "force to disk", sink->path, errno);
        return;
    }
    if (!sink->named && link_fresh(sink) != TR_OK)
        return;
    if (!sink->done && rename(sink->part, sink->path) != 0) {
        fail(sink, "rename the finished file to", sink->path, errno);
        return;
    }
    sink->done = true;
    if (sink->resume)
        unlink(sink->info_path);
    int dir = open(sink->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || (fsync(dir) != 0 && errno != EINVAL && errno != ENOSYS && errno != EROFS))
        fail(sink, "force its directory to disk; the file is there", sink->path, errno);
    if (dir >= 0)
        close(dir);
}

static void step_close(tr__file_sink *sink)
{
    if (sink->fd < 0)
        return;
    struct stat st;
    bool stays = sink->keep && sink->resume && fstat(sink->fd, &st) == 0 && st.st_size > 0;
    if (!sink->done && sink->named && !stays) {
        /* Info first, and the part while we hold its lock. */
        if (sink->resume)
            unlink(sink->info_path);
        unlink(sink->part);
    }
    close(sink->fd);
    sink->fd = -1;
}

static void on_pool(uv_work_t *work)
{
    static void (*const steps[])(tr__file_sink *) = {
        [STEP_OPEN] = step_open,     [STEP_BEGIN] = step_begin, [STEP_WRITE] = step_write,
        [STEP_FINISH] = step_finish, [STEP_CLOSE] = step_close,
    };
    tr__file_sink *sink = work->data;
    steps[sink->step](sink);
}

/* ---- on the loop --------------------------------------------------------------------------------------- */

static void destroy(tr__file_sink *sink)
{
    tr__free(sink->filling.bytes);
    tr__free(sink->writing.bytes);
    tr__free(sink);
}

static sink_step next_step(tr__file_sink *sink)
{
    bool closing = atomic_load_explicit(&sink->closing, memory_order_relaxed);
    bool failed = sink->error.code != TR_OK;
    if (!sink->opened)
        return closing ? STEP_CLOSE : STEP_OPEN;
    if (!failed && sink->begin_wanted)
        return closing && !sink->keep ? STEP_CLOSE : STEP_BEGIN;
    if (!failed && sink->filling.size > 0 && !sink->ended && (!closing || sink->keep))
        return STEP_WRITE;
    if (closing)
        return STEP_CLOSE;
    return !failed && !sink->ended && sink->finish_wanted ? STEP_FINISH : STEP_NONE;
}

static void on_loop(uv_work_t *work, int status);

/* Give the pool the next step, if none is there. */
static void advance(tr__file_sink *sink)
{
    if (sink->step != STEP_NONE)
        return;
    sink->step = next_step(sink);
    if (sink->step == STEP_NONE)
        return;
    if (sink->step == STEP_OPEN)
        sink->opened = true;
    if (sink->step == STEP_BEGIN)
        sink->begin_wanted = false;
    if (sink->step == STEP_FINISH)
        sink->finish_wanted = false;
    if (sink->step == STEP_WRITE) {
        buffer full = sink->filling;
        sink->filling = sink->writing;
        sink->writing = full;
    }
    sink->work.data = sink;
    uv_queue_work(sink->loop, &sink->work, on_pool, on_loop); /* fails only without a function */
}

/* What a step has come to. Not while the pool has the next one: its outcome goes to the same fields. */
static void tell_outcome(tr__file_sink *sink, sink_step step)
{
    const tr__file_upcalls *to = sink->upcalls;
    if (sink->error.code != TR_OK) {
        sink->ended = true;
        to->failed(sink->context, &sink->error);
    } else if (step == STEP_OPEN) {
        tr__file_found found = {sink->size, sink->size ? sink->info.validator : "",
                                sink->size ? sink->info.total : 0};
        to->opened(sink->context, &found);
    } else {
        sink->ended = true;
        to->finished(sink->context, sink->digest);
    }
}

/* The pool is done with a step. An upcall may close the sink, which frees it in a later step only. */
static void on_loop(uv_work_t *work, int status)
{
    tr__file_sink *sink = work->data;
    sink_step step = sink->step;
    (void)status; /* never cancelled by us */
    sink->step = STEP_NONE;
    bool deaf = sink->muted || sink->ended || atomic_load_explicit(&sink->closing, memory_order_relaxed);
    if (step == STEP_CLOSE) {
        if (!sink->muted)
            sink->upcalls->closed(sink->context);
        destroy(sink);
        return;
    }
    bool outcome = sink->error.code != TR_OK || step == STEP_OPEN || step == STEP_FINISH;
    if (outcome && !deaf)
        tell_outcome(sink, step);
    advance(sink); /* before `drained`, so that the disk has work while the other buffer is refilled */
    if (!outcome && !deaf && sink->refused) {
        sink->refused = false;
        sink->upcalls->drained(sink->context);
    }
}

static char *put(char **at, const char *text, const char *tail)
{
    char *start = *at;
    *at += sprintf(*at, "%s%s", text, tail) + 1;
    return start;
}

static tr__file_sink *sink_open(tr__loop *loop, const tr__file_plan *plan, const tr__file_upcalls *upcalls,
                                void *context, tr_error *error)
{
    uv_loop_t *driver = tr__loop_driver(loop);
    if (sodium_init() < 0) {
        tr__fail(error, TR_EIO, "%.120s: libsodium can't be set up, so no digest can be had", plan->path);
        return NULL;
    }
    size_t room = sizeof(tr__file_sink) + 3 * (strlen(plan->path) + sizeof(TR__DL_INFO)) + NAME_ROOM +
                  strlen(plan->url) + strlen(plan->sha256) + 8;
    tr__file_sink *sink = tr__zalloc(room);
    if (!sink) {
        tr__fail(error, TR_ENOMEM, "%.120s: no memory to write it", plan->path);
        return NULL;
    }
    char *at = (char *)(sink + 1);
    sink->path = put(&at, plan->path, "");
    sink->info_path = put(&at, plan->path, TR__DL_INFO);
    sink->dir = put(&at, plan->path, "");
    sink->url = put(&at, plan->url, "");
    sink->sha256 = put(&at, plan->sha256, "");
    sink->part = at; /* the last: it has NAME_ROOM, other names may come */
    snprintf(sink->part, NAME_ROOM, "%s" TR__DL_PART, plan->path);
    char *slash = strrchr(sink->dir, '/');
    if (!slash)
        strcpy(sink->dir, ".");
    else if (slash == sink->dir)
        slash[1] = '\0';
    else
        *slash = '\0';
    sink->loop = driver;
    sink->upcalls = upcalls;
    sink->context = context;
    sink->fd = -1;
    sink->make_dir = plan->make_dir;
    sink->resume = plan->resume;
    crypto_hash_sha256_init(&sink->hash);
    advance(sink);
    return sink;
}

static void sink_begin(tr__file_sink *sink, uint64_t from, const char *validator, uint64_t total)
{
    sink->from = from;
    snprintf(sink->info.url, sizeof(sink->info.url), "%s", sink->url);
    snprintf(sink->info.validator, sizeof(sink->info.validator), "%s", validator);
    sink->info.total = total;
    sink->begin_wanted = true;
    advance(sink);
}

static tr_err sink_write(tr__file_sink *sink, const void *data, size_t size)
{
    buffer *into = &sink->filling;
    if (sink->ended || (sink->step == STEP_NONE && sink->error.code != TR_OK))
        return TR_ECLOSED;
    if (size > BUFFER_BYTES - into->size) {
        sink->refused = size <= BUFFER_BYTES;
        return sink->refused ? TR_EFULL : TR_ETOOBIG;
    }
    if (!into->bytes)
        into->bytes = tr__alloc(BUFFER_BYTES);
    if (!into->bytes)
        return TR_ENOMEM;
    memcpy(into->bytes + into->size, data, size);
    into->size += size;
    advance(sink);
    return TR_OK;
}

static void sink_finish(tr__file_sink *sink)
{
    sink->finish_wanted = true;
    advance(sink);
}

static void sink_close(tr__file_sink *sink, bool keep)
{
    sink->keep = keep;
    atomic_store_explicit(&sink->closing, true, memory_order_relaxed);
    advance(sink);
}

static void sink_mute(tr__file_sink *sink)
{
    sink->muted = true;
}

const tr__file_seam tr__file_sink_uv = {sink_open,   sink_begin, sink_write,
                                        sink_finish, sink_close, sink_mute};
