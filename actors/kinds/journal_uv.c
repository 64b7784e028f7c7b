/* An app's journal as a file, by libuv's thread pool: see journal.h.
 *
 * Calls and the result are on the loop's thread; one operation at a time is at the pool, whose thread has the
 * fields marked so for itself meanwhile. When it is over, the app gets a tr_journal_done and fetches the
 * result.
 *
 * How it can fail: each error names the file and what to do. After a failed append the file is cut to where
 * it was; if that fails as well the next open finds a torn last entry and cuts it. An unnamed file isn't
 * forced: nothing could read it after a crash. The file is locked (flock) against a second app. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "actors/kinds/journal.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define SCAN_BYTES (256 * 1024) /* more than any entry */
#define PATH_SHOWN "%.110s"     /* of a path in an error's text */

struct tr__journal {
    uv_work_t work;
    uv_loop_t *driver;

    /* the loop's */
    tr__loop *loop;
    tr_addr owner;
    bool busy;    /* the pool has an operation, or its result isn't told yet */
    bool told;    /* a result waits to be fetched */
    bool closing; /* free it when the pool is done */

    atomic_bool hurry; /* set by close, read by long work: give up */

    /* the pool's while `busy`, else the loop's */
    tr__journal_result result;
    tr__journal_sum sum;
    int fd;            /* -1: none */
    bool tell_only;    /* nothing to do: come by once more to tell the result */
    uint64_t wanted;   /* read: from that number; prefix: up to that one */
    uint64_t *offsets; /* where each entry begins, by number - 1 */
    uint64_t offsets_room;
    uint8_t *in; /* TR__BATCH_MAX each */
    uint8_t *out;
    size_t in_size;

    char path[]; /* "": unnamed */
};

/* ---- on the pool --------------------------------------------------------------------------------------- */

static tr_err fail(tr__journal *j, const char *what, int number)
{
    tr_err code = tr__err_from_errno(number);
    const char *todo = code == TR_ENOSPC      ? "; make room there and start the app again"
                       : code == TR_EPERM     ? "; choose a place that can be written to"
                       : code == TR_ENOTFOUND ? "; make its directory first"
                                              : "";
    return tr__fail(&j->result.error, code, "journal " PATH_SHOWN ": can't %s: %s%s",
                    j->path[0] ? j->path : "(unnamed)", what, strerror(number), todo);
}

/* Read up to `size` bytes; fewer only at the end of the file. -1: failed, with errno. */
static ssize_t read_at(int fd, uint8_t *bytes, size_t size, uint64_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, bytes + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static bool write_at(int fd, const uint8_t *bytes, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, bytes, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return false;
        }
        bytes += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

static bool index_add(tr__journal *j, uint64_t number, uint64_t offset)
{
    if (number > j->offsets_room) {
        uint64_t room = j->offsets_room ? 2 * j->offsets_room : 256;
        uint64_t *grown = tr__realloc(j->offsets, room * sizeof(*grown));
        if (!grown)
            return false;
        j->offsets = grown;
        j->offsets_room = room;
    }
    j->offsets[number - 1] = offset;
    return true;
}

/* Where entry `number` begins; behind the last: where the file ends. */
static uint64_t offset_of(const tr__journal *j, uint64_t number)
{
    return number > j->sum.last ? j->sum.size : j->offsets[number - 1];
}

/* Take all entries from the front of `bytes` into *sum and the index. Returns how many bytes, -1 on an error.
 */
static ssize_t take_all(tr__journal *j, tr__journal_sum *sum, const uint8_t *bytes, size_t size, bool end)
{
    size_t done = 0, used = 1;
    while (used > 0 && done < size) {
        tr_error *error = &j->result.error;
        uint64_t offset = sum->size;
        if (tr__journal_take(sum, bytes + done, size - done, end, &used, error) != TR_OK) {
            tr__fail(error, error->code,
                     "journal %.70s: at byte %" PRIu64
                     ", %s; replace the file by a copy of the peer's journal",
                     j->path[0] ? j->path : "(unnamed)", offset, error->text);
            return -1;
        }
        if (used > 0 && !index_add(j, sum->last, offset)) {
            fail(j, "index it", ENOMEM);
            return -1;
        }
        done += used;
    }
    return (ssize_t)done;
}

static bool file_open(tr__journal *j)
{
    if (!j->path[0]) {
        char name[] = "/tmp/troupe-journal-XXXXXX";
        j->fd = mkostemp(name, O_CLOEXEC);
        if (j->fd >= 0)
            unlink(name);
        return j->fd >= 0 || (fail(j, "make a file in /tmp", errno), false);
    }
    j->fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    struct stat st;
    if (j->fd < 0 || fstat(j->fd, &st) != 0)
        return fail(j, "open it", errno), false;
    if (!S_ISREG(st.st_mode))
        return fail(j, "use what is not a file", EINVAL), false;
    if (flock(j->fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno != EWOULDBLOCK)
        return fail(j, "lock it", errno), false;
    tr__fail(&j->result.error, TR_EEXIST,
             "journal " PATH_SHOWN ": another app uses it; give each app its own", j->path);
    return false;
}

/* The name must outlive a power cut as well. */
static bool force_dir(tr__journal *j)
{
    char dir[4096];
    snprintf(dir, sizeof(dir), "%s", j->path);
    char *slash = strrchr(dir, '/');
    if (!slash)
        strcpy(dir, ".");
    else
        slash[slash == dir] = '\0';
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL || errno == EROFS);
    int number = errno;
    if (fd >= 0)
        close(fd);
    return done || (fail(j, "force its directory to disk", number), false);
}

static bool force(tr__journal *j)
{
    return !j->path[0] || fdatasync(j->fd) == 0;
}

static void scan(tr__journal *j, uint8_t *piece)
{
    ssize_t n, used;
    do {
        n = read_at(j->fd, piece, SCAN_BYTES, j->sum.size);
        if (n < 0) {
            fail(j, "read it", errno);
            return;
        }
        used = take_all(j, &j->sum, piece, (size_t)n, n < SCAN_BYTES);
        if (used < 0)
            return;
        if (atomic_load_explicit(&j->hurry, memory_order_relaxed))
            return; /* nobody waits for it; what wasn't looked at is no torn entry */
    } while (n == SCAN_BYTES);
    j->result.cut = (uint64_t)(n - used);
    if (j->result.cut > 0 && (ftruncate(j->fd, (off_t)j->sum.size) != 0 || !force(j)))
        fail(j, "cut its torn last entry", errno);
}

static void do_open(tr__journal *j)
{
    if (!file_open(j) || (j->path[0] && !force_dir(j)))
        return;
    uint8_t *piece = tr__alloc(SCAN_BYTES);
    if (piece)
        scan(j, piece);
    else
        fail(j, "read it", ENOMEM);
    tr__free(piece);
}

/* Checked before it is written: the journal never holds what it would refuse at the next open. */
static void do_append(tr__journal *j)
{
    tr__journal_sum sum = j->sum;
    ssize_t used = take_all(j, &sum, j->in, j->in_size, false);
    if (used >= 0 && (size_t)used != j->in_size)
        tr__fail(&j->result.error, TR_EINVAL, "journal " PATH_SHOWN ": half an entry to append", j->path);
    if (used < 0 || (size_t)used != j->in_size)
        return;
    if (!write_at(j->fd, j->in, j->in_size, j->sum.size) || !force(j)) {
        fail(j, "append", errno);
        if (ftruncate(j->fd, (off_t)j->sum.size) != 0)
            return; /* the next open cuts it; the error is told already */
        return;
    }
    j->sum = sum;
}

static void do_read(tr__journal *j)
{
    uint64_t from = offset_of(j, j->wanted), next = j->wanted + 1;
    while (next <= j->sum.last && offset_of(j, next + 1) - from <= TR__BATCH_MAX)
        next++;
    size_t size = (size_t)(offset_of(j, next) - from);
    ssize_t n = read_at(j->fd, j->out, size, from);
    if (n < 0)
        fail(j, "read it", errno);
    else if ((size_t)n < size)
        tr__fail(&j->result.error, TR_ESHORT,
                 "journal " PATH_SHOWN ": somebody else has shortened it; put it back", j->path);
    j->result.bytes = j->out;
    j->result.size = size;
}

static void do_prefix(tr__journal *j)
{
    crypto_hash_sha256_state hash;
    uint64_t at = 0, end = offset_of(j, j->wanted + 1);
    crypto_hash_sha256_init(&hash);
    while (at < end && !atomic_load_explicit(&j->hurry, memory_order_relaxed)) {
        ssize_t n = read_at(j->fd, j->out, end - at < TR__BATCH_MAX ? (size_t)(end - at) : TR__BATCH_MAX, at);
        if (n <= 0) {
            fail(j, "read it", n < 0 ? errno : EIO);
            return;
        }
        crypto_hash_sha256_update(&hash, j->out, (unsigned long long)n);
        at += (uint64_t)n;
    }
    crypto_hash_sha256_final(&hash, j->result.prefix);
}

static void on_pool(uv_work_t *work)
{
    static void (*const ops[])(tr__journal *) = {
        [TR__JOURNAL_OPEN] = do_open,
        [TR__JOURNAL_APPEND] = do_append,
        [TR__JOURNAL_READ] = do_read,
        [TR__JOURNAL_PREFIX] = do_prefix,
    };
    tr__journal *j = work->data;
    if (j->tell_only)
        return;
    j->result.error = (tr_error){.code = TR_OK};
    j->result.cut = 0;
    ops[j->result.op](j);
    j->result.last = j->sum.last;
    j->result.own = j->sum.own;
    j->result.other = j->sum.other;
    tr__journal_digest(&j->sum, j->result.digest);
}

/* ---- on the loop --------------------------------------------------------------------------------------- */

static void on_loop(uv_work_t *work, int status);

static void destroy(tr__journal *j)
{
    if (j->fd >= 0)
        close(j->fd);
    tr__free(j->offsets);
    tr__free(j->in);
    tr__free(j->out);
    tr__free(j);
}

static void to_pool(tr__journal *j)
{
    j->work.data = j;
    uv_queue_work(j->driver, &j->work, on_pool, on_loop); /* fails only without a function */
}

static void on_loop(uv_work_t *work, int status)
{
    tr__journal *j = work->data;
    (void)status; /* never cancelled by us */
    if (j->closing) {
        destroy(j);
        return;
    }
    if (tr__inject(j->loop, j->owner, tr_journal_done, .spare = 0) != TR_OK) {
        j->tell_only = true; /* no memory for the message: come by again */
        to_pool(j);
        return;
    }
    j->busy = false;
    j->told = true;
}

static void start(tr__journal *j, tr__journal_op op)
{
    tr__check(!j->busy && !j->told, "J1: a journal does one thing at a time");
    j->busy = true;
    j->tell_only = false;
    j->result.op = op;
    to_pool(j);
}

static tr__journal *journal_open(tr__loop *loop, tr_addr owner, const char *path, const char *id,
                                 tr_error *error)
{
    uv_loop_t *driver = tr__loop_driver(loop);
    if (!driver || sodium_init() < 0) {
        tr__fail(error, TR_EINVAL, "journal " PATH_SHOWN ": files need a loop that libuv drives", path);
        return NULL;
    }
    tr__journal *j = tr__zalloc(sizeof(*j) + strlen(path) + 1);
    if (j) {
        j->fd = -1;
        j->in = tr__alloc(TR__BATCH_MAX);
        j->out = tr__alloc(TR__BATCH_MAX);
    }
    if (!j || !j->in || !j->out) {
        if (j)
            destroy(j);
        tr__fail(error, TR_ENOMEM, "journal " PATH_SHOWN ": no memory for it", path);
        return NULL;
    }
    strcpy(j->path, path);
    j->driver = driver;
    j->loop = loop;
    j->owner = owner;
    tr__journal_sum_init(&j->sum, id);
    start(j, TR__JOURNAL_OPEN);
    return j;
}

static void journal_append(tr__journal *j, const uint8_t *bytes, size_t size)
{
    tr__check(size <= TR__BATCH_MAX && !j->busy, "J2: a batch fits the journal's buffer, which is free");
    memcpy(j->in, bytes, size);
    j->in_size = size;
    start(j, TR__JOURNAL_APPEND);
}

static void journal_read(tr__journal *j, uint64_t from)
{
    tr__check(from >= 1 && from <= j->result.last, "J3: only what is there is read");
    j->wanted = from;
    start(j, TR__JOURNAL_READ);
}

static void journal_prefix(tr__journal *j, uint64_t last)
{
    tr__check(last <= j->result.last, "J3: only what is there is read");
    j->wanted = last;
    start(j, TR__JOURNAL_PREFIX);
}

static const tr__journal_result *journal_result(tr__journal *j)
{
    bool told = j->told;
    j->told = false;
    return told ? &j->result : NULL;
}

static void journal_close(tr__journal *j)
{
    if (!j)
        return;
    j->closing = true;
    atomic_store_explicit(&j->hurry, true, memory_order_relaxed);
    if (!j->busy)
        destroy(j);
}

const tr__journal_seam *tr__journal_uv(void)
{
    static const tr__journal_seam seam = {journal_open,   journal_append, journal_read,
                                          journal_prefix, journal_result, journal_close};
    return &seam;
}
