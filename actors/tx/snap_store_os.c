/* Snapshots in SQLite: see snap_store.h. One connection, which nobody shares: WAL, synchronous=FULL, and a lock that keeps
 * others out, so that there is no file for shared memory.
 *
 * SQLite's WAL forgets committed rows behind one flipped bit, without a word. So what was committed isn't relied upon
 * until it was sealed: the WAL is written back and cut to nothing, the connection closed, the database opened anew. Before
 * that the segments of the log are there, and who opens finds an older snapshot at worst.
 *
 * The owner's thread opens and reads; a job has a thread of its own, and the connection, until it is over.
 *
 * How it can fail: SQLite's codes become ours here; what it says goes into the text. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/tx/snap_store.h"
#include "base/err.h"
#include "base/mem.h"

enum { GET, NEXT, PUT, DEL, EACH, STATEMENTS };

typedef struct os_snap {
    tr__snap_store store;
    char *path;
    sqlite3 *db; /* NULL: there is no file yet, or it couldn't be opened anew the last time */
    bool made;   /* there is a file */
    sqlite3_stmt *statements[STATEMENTS];
    bool changing; /* within a transaction */
    void (*wake)(void *context);
    void *context;

    bool (*step)(void *context); /* of the job */
    void *step_context;
    pthread_t thread;
    bool running; /* the owner's: there is a thread to be joined */
    /* The job's last step is over. seq_cst: who is woken gives the wake's block back and then looks here, the thread does it
     * the other way round (manager.c). */
    atomic_bool over;
    atomic_bool stopping; /* relaxed: only a hint, the join orders all else */
} os_snap;

/* ---- errors -------------------------------------------------------------------------------------------- */

static bool is_full(int system_errno)
{
    return system_errno == EDQUOT || system_errno == EFBIG || system_errno == ENOSPC;
}

/* No file can be opened now. */
static bool lacks_descriptors(int system_errno)
{
    return system_errno == EMFILE || system_errno == ENFILE;
}

/* SQLite knows one way in which a disk is full; what a quota says is with the file that was written. */
static bool may_not_grow(const os_snap *os)
{
    int file = 0, journal = 0;
    sqlite3_file *wal = NULL;
    sqlite3_file_control(os->db, "main", SQLITE_FCNTL_LAST_ERRNO, &file);
    sqlite3_file_control(os->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (wal && wal->pMethods)
        wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &journal);
    return is_full(file) || is_full(journal);
}

static tr_err code_of(const os_snap *os, int code)
{
    if (code == SQLITE_IOERR_NOMEM)
        return TR_ENOMEM;
    if (code == SQLITE_IOERR_WRITE && os->db && may_not_grow(os))
        return TR_ENOSPC;
    if ((code & 0xff) == SQLITE_CANTOPEN && os->db && is_full(sqlite3_system_errno(os->db)))
        return TR_ENOSPC;
    if ((code & 0xff) == SQLITE_CANTOPEN && os->db && lacks_descriptors(sqlite3_system_errno(os->db)))
        return TR_EFULL;
    switch (code & 0xff) {
    case SQLITE_FULL:
        return TR_ENOSPC;
    case SQLITE_NOMEM:
        return TR_ENOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR: /* no such table: somebody else's database */
        return TR_EMISMATCH;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return TR_EADDRINUSE;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return TR_EPERM;
    default:
        return TR_EIO;
    }
}

static tr_err fail(const os_snap *os, int code, const char *what, tr_error *error)
{
    const char *text = os->db ? sqlite3_errmsg(os->db) : sqlite3_errstr(code);
    tr_err err = code_of(os, code);
    if (err == TR_EMISMATCH)
        return tr__fail(error, err, "snapshot %s is damaged (at no offset that SQLite tells): %s: %s",
                        os->store.name, what, text);
    return tr__fail(error, err, "snapshot %s: %s: %s", os->store.name, what, text);
}

/* ---- the connection ------------------------------------------------------------------------------------ */

static void disconnect(os_snap *os)
{
    for (int i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(os->statements[i]);
        os->statements[i] = NULL;
    }
    sqlite3_close(os->db);
    os->db = NULL;
    os->changing = false;
}

static tr_err run(os_snap *os, const char *sql, tr_error *error)
{
    int code = sqlite3_exec(os->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? TR_OK : fail(os, code, sql, error);
}

static tr_err prepare_all(os_snap *os, tr_error *error)
{
    static const char *const sql[STATEMENTS] = {
        [GET] = "SELECT value FROM row WHERE key = ?",
        [NEXT] = "SELECT key FROM row WHERE key > ? ORDER BY key LIMIT 1",
        [PUT] = "INSERT OR REPLACE INTO row(key, value) VALUES(?, ?)",
        [DEL] = "DELETE FROM row WHERE key = ?",
        [EACH] = "SELECT key, value FROM row ORDER BY key",
    };
    for (int i = 0; i < STATEMENTS; i++) {
        int code =
            sqlite3_prepare_v3(os->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &os->statements[i], NULL);
        if (code != SQLITE_OK)
            return fail(os, code, "preparing", error);
    }
    return TR_OK;
}

static tr_err connect_with(os_snap *os, tr_error *error)
{
    int code = sqlite3_open_v2(os->path, &os->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
    if (code != SQLITE_OK)
        return fail(os, code, "opening", error);
    sqlite3_extended_result_codes(os->db, 1);
    TR_TRY(run(os, "PRAGMA locking_mode=EXCLUSIVE", error));
    TR_TRY(run(os, "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA cache_size=-8192", error));
    TR_TRY(run(os, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", error));
    /* Also in a file that is there: its maker may have died before this. */
    TR_TRY(run(os, "CREATE TABLE IF NOT EXISTS row(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
               error));
    return prepare_all(os, error);
}

static tr_err connect_to(os_snap *os, tr_error *error)
{
    tr_err code = connect_with(os, error);
    if (code != TR_OK)
        disconnect(os);
    return code;
}

/* Rows that can't be read now are never taken for none: what is made of them would be a snapshot of nothing. */
static tr_err connect_again(os_snap *os, tr_error *error)
{
    return os->db || !os->made ? TR_OK : connect_to(os, error);
}

/* ---- the seam ------------------------------------------------------------------------------------------ */

static tr_err finish_statement(os_snap *os, int which, int code, tr_error *error)
{
    tr_err err = code == SQLITE_DONE || code == SQLITE_ROW ? TR_OK : fail(os, code, "a row", error);
    sqlite3_reset(os->statements[which]);
    sqlite3_clear_bindings(os->statements[which]);
    return err;
}

static void bind(sqlite3_stmt *statement, int at, tr_bytes bytes)
{
    sqlite3_bind_blob64(statement, at, bytes.size ? bytes.data : "", bytes.size, SQLITE_STATIC);
}

/* What they lent is over. */
static void let_go(os_snap *os)
{
    sqlite3_reset(os->statements[GET]);
    sqlite3_reset(os->statements[NEXT]);
}

/* The first column of the row that it finds by that key; *out NULL: none. */
static tr_err look_up(os_snap *os, int which, tr_bytes key, tr_bytes *out, tr_error *error)
{
    sqlite3_stmt *statement;
    *out = (tr_bytes){NULL, 0};
    TR_TRY(connect_again(os, error));
    if (!os->db)
        return TR_OK;
    statement = os->statements[which];
    let_go(os);
    bind(statement, 1, key);
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        return finish_statement(os, which, code, error);
    const void *data = sqlite3_column_blob(statement, 0);
    *out = (tr_bytes){data ? data : "", (size_t)sqlite3_column_bytes(statement, 0)};
    return TR_OK;
}

static tr_err get(tr__snap_store *store, tr_bytes key, tr_bytes *value, tr_error *error)
{
    return look_up((os_snap *)store, GET, key, value, error);
}

static tr_err next(tr__snap_store *store, tr_bytes after, tr_bytes *key, tr_error *error)
{
    return look_up((os_snap *)store, NEXT, after, key, error);
}

/* An empty file is an empty database; SQLite would give others the right to read it. */
static tr_err make(os_snap *os, tr_error *error)
{
    int fd = open(os->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return tr__fail(error,
                        is_full(errno)             ? TR_ENOSPC
                        : lacks_descriptors(errno) ? TR_EFULL
                                                   : TR_EIO,
                        "making the snapshot %s failed: %s", os->store.name, strerrordesc_np(errno));
    close(fd);
    os->made = true;
    return connect_to(os, error);
}

static tr_err begin_change(os_snap *os, tr_error *error)
{
    TR_TRY(connect_again(os, error));
    if (os->db)
        let_go(os);
    else
        TR_TRY(make(os, error));
    if (!os->changing)
        TR_TRY(run(os, "BEGIN IMMEDIATE", error));
    os->changing = true;
    return TR_OK;
}

static tr_err put(tr__snap_store *store, tr_bytes key, tr_bytes value, tr_error *error)
{
    os_snap *os = (os_snap *)store;
    TR_TRY(begin_change(os, error));
    bind(os->statements[PUT], 1, key);
    bind(os->statements[PUT], 2, value);
    return finish_statement(os, PUT, sqlite3_step(os->statements[PUT]), error);
}

static tr_err del(tr__snap_store *store, tr_bytes key, tr_error *error)
{
    os_snap *os = (os_snap *)store;
    TR_TRY(begin_change(os, error));
    bind(os->statements[DEL], 1, key);
    return finish_statement(os, DEL, sqlite3_step(os->statements[DEL]), error);
}

static tr_err commit(tr__snap_store *store, tr_error *error)
{
    os_snap *os = (os_snap *)store;
    if (!os->changing)
        return TR_OK;
    let_go(os);
    TR_TRY(run(os, "COMMIT", error));
    os->changing = false;
    return TR_OK;
}

static void rollback(tr__snap_store *store)
{
    os_snap *os = (os_snap *)store;
    if (!os->db)
        return;
    let_go(os);
    if (os->changing)
        sqlite3_exec(os->db, "ROLLBACK", NULL, NULL, NULL); /* SQLite may have done so itself */
    os->changing = false;
}

static tr_err seal(tr__snap_store *store, tr_error *error)
{
    os_snap *os = (os_snap *)store;
    int left = -1, back = -1;
    TR_TRY(connect_again(os, error));
    if (!os->db)
        return TR_OK;
    let_go(os);
    int code = sqlite3_wal_checkpoint_v2(os->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, &left, &back);
    if (code != SQLITE_OK)
        return fail(os, code, "writing back", error);
    disconnect(os);
    return connect_to(os, error);
}

static tr_err each(tr__snap_store *store, tr__snap_row_fn *row, void *context, tr_error *error)
{
    os_snap *os = (os_snap *)store;
    int code = SQLITE_DONE;
    tr_err err = TR_OK;
    TR_TRY(connect_again(os, error));
    if (!os->db)
        return TR_OK;
    sqlite3_stmt *statement = os->statements[EACH];
    while (err == TR_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (atomic_load_explicit(&os->stopping, memory_order_relaxed)) {
            err = tr__fail(error, TR_ECLOSED, "snapshot %s is being closed", os->store.name);
            break;
        }
        const void *key = sqlite3_column_blob(statement, 0), *value = sqlite3_column_blob(statement, 1);
        err = row(context, (tr_bytes){key ? key : "", (size_t)sqlite3_column_bytes(statement, 0)},
                  (tr_bytes){value ? value : "", (size_t)sqlite3_column_bytes(statement, 1)}, error);
    }
    tr_err end = finish_statement(os, EACH, code, err == TR_OK ? error : NULL);
    return err == TR_OK ? end : err;
}

/* ---- the job ------------------------------------------------------------------------------------------- */

static void *work(void *argument)
{
    os_snap *os = argument;
    while (!atomic_load_explicit(&os->stopping, memory_order_relaxed) && os->step(os->step_context)) {
    }
    atomic_store(&os->over, true);
    if (!atomic_load_explicit(&os->stopping, memory_order_relaxed))
        os->wake(os->context);
    return NULL;
}

static bool begin(tr__snap_store *store, bool (*step)(void *context), void *context)
{
    os_snap *os = (os_snap *)store;
    sigset_t all, before;
    os->step = step;
    os->step_context = context;
    atomic_store(&os->over, false);
    sigfillset(&all); /* signals are for the threads that expect them */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    os->running = pthread_create(&os->thread, NULL, work, os) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (os->running)
        pthread_setname_np(os->thread, "troupe-txsnap");
    return os->running;
}

static bool finished(tr__snap_store *store)
{
    os_snap *os = (os_snap *)store;
    if (!os->running || !atomic_load(&os->over))
        return false;
    pthread_join(os->thread, NULL);
    os->running = false;
    return true;
}

static void close_store(tr__snap_store *store)
{
    os_snap *os = (os_snap *)store;
    atomic_store_explicit(&os->stopping, true, memory_order_relaxed);
    if (os->running)
        pthread_join(os->thread, NULL);
    disconnect(os);
    tr__free(os->path);
    tr__free(os);
}

/* ---- open ---------------------------------------------------------------------------------------------- */

tr__snap_store *tr__snap_store_open_os(const char *path, void (*wake)(void *context), void *context,
                                       tr_error *error)
{
    os_snap *os = tr__zalloc(sizeof *os);
    size_t length = strlen(path);
    bool fits = length < TR__LOG_NAME_BYTES;
    struct stat info;
    if (!os || !(os->path = tr__strdup(path))) {
        tr__free(os);
        tr__fail(error, TR_ENOMEM, "no memory for the snapshot %.100s", path);
        return NULL;
    }
    snprintf(os->store.name, sizeof os->store.name, "%s%s", fits ? "" : "...",
             fits ? path : path + length - (TR__LOG_NAME_BYTES - 4));
    os->store.get = get;
    os->store.next = next;
    os->store.put = put;
    os->store.del = del;
    os->store.commit = commit;
    os->store.rollback = rollback;
    os->store.seal = seal;
    os->store.each = each;
    os->store.begin = begin;
    os->store.finished = finished;
    os->store.close = close_store;
    os->wake = wake;
    os->context = context;
    os->made = stat(path, &info) == 0;
    if (connect_again(os, error) != TR_OK) {
        close_store(&os->store);
        return NULL;
    }
    return &os->store;
}
