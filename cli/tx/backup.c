/* See backup.h. The node keeps its log and snapshot as they are meanwhile (actors/tx/hold.c), and says how far the log goes; this
 * copies, verifies the copy, and then lets go. Whatever goes wrong, what was made is removed, and the node goes on. */
#include "cli/tx/backup.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "actors/tx/log_format.h"
#include "base/err.h"
#include "cli/operator_client.h"
#include "cli/tx/copy.h"
#include "cli/tx/merge.h"
#include "cli/words.h"

#define ANSWER_NS  TR_SECONDS(10)
#define RENEW_S    5   /* the node forgets after 30 */
#define BUSY_TRIES 600 /* a second apart, while a snapshot is being taken */
#define FILES_MOST 1024

static const char usage[] = "usage: troupe tx backup NODE DIRECTORY\n"
                            "  Copies what transactions keep on a node that runs here into a new directory, "
                            "while it goes on, and verifies\n"
                            "  the copy. `troupe tx restore` makes a node's data directory of it.\n";

typedef struct backup {
    const char *node, *directory;
    char from[PATH_MAX]; /* the node's data directory */
    uint64_t token, end, lsn;
    uint32_t first, last; /* segments */
    char log[64];
    time_t renewed;
    tx_file files[FILES_MOST];
    uint32_t count;
} backup;

/* ---- the node ------------------------------------------------------------------------------------------ */

/* *answer: what the node's manager answered, of that type; the caller's. */
static tr_err ask(const backup *b, const char *what, const char *type, json_t **answer, tr_error *error)
{
    json_t *whole = NULL;
    json_t *request = json_pack("{s:s, s:s, s:{s:{s:I}}, s:i}", "do", "ask", "to", "tx", "message", what,
                                "token", (json_int_t)b->token, "timeout", (int)(ANSWER_NS / TR_SECONDS(1)));
    tr_err err = operator_request_once(b->node, request, ANSWER_NS + TR_SECONDS(2), &whole, error);
    json_decref(request);
    TR_TRY(err);
    *answer = json_incref(json_object_get(json_object_get(whole, "answer"), type));
    json_decref(whole);
    return *answer ? TR_OK
                   : tr__fail(error, TR_EVERSION, "node %s is of a version that knows no backups", b->node);
}

static tr_err hold(backup *b, tr_error *error)
{
    json_t *held;
    TR_TRY(ask(b, "tr__tx_do_hold", "tr__tx_is_held_so", &held, error));
    b->token = (uint64_t)tx_number(held, "token");
    b->first = (uint32_t)tx_number(held, "first");
    b->last = (uint32_t)tx_number(held, "last");
    b->end = (uint64_t)tx_number(held, "end");
    b->lsn = (uint64_t)tx_number(held, "lsn");
    snprintf(b->log, sizeof(b->log), "%s", tx_text(held, "log"));
    snprintf(b->from, sizeof(b->from), "%s", tx_text(held, "path"));
    json_decref(held);
    b->renewed = time(NULL);
    char *slash = strrchr(b->from, '/');
    if (!slash)
        return tr__fail(error, TR_EINVAL, "the log of node %s is in no file", b->node);
    *slash = 0;
    return TR_OK;
}

/* For who copies for long. */
static tr_err renew(void *context, tr_error *error)
{
    backup *b = context;
    json_t *held;
    if (time(NULL) - b->renewed < RENEW_S)
        return TR_OK;
    b->renewed = time(NULL);
    TR_TRY(ask(b, "tr__tx_do_hold", "tr__tx_is_held_so", &held, error));
    json_decref(held);
    return TR_OK;
}

static tr_err hold_when_free(backup *b, tr_error *error)
{
    tr_err err = hold(b, error);
    if (err == TR_EAGAIN)
        fprintf(stderr, "troupe tx backup: waiting: %s\n", error->text);
    for (int i = 0; i < BUSY_TRIES && err == TR_EAGAIN; i++) {
        sleep(1);
        err = hold(b, error);
    }
    return err;
}

static tr_err let_go(const backup *b, tr_error *error)
{
    json_t *done;
    TR_TRY(ask(b, "tr__tx_do_let_go", "tr_tx_called", &done, error));
    json_decref(done);
    return TR_OK;
}

/* ---- files --------------------------------------------------------------------------------------------- */

static tx_file *next_file(backup *b)
{
    return &b->files[b->count];
}

static tr_err copy_segment(backup *b, uint32_t segment, tr_error *error)
{
    char path[PATH_MAX];
    tx_file *file = next_file(b);
    bool last = segment == b->last;
    if (b->count == FILES_MOST)
        return tr__fail(error, TR_EFULL, "a log of more than %d files", FILES_MOST);
    if (segment == TR__LOG_SEGMENT)
        snprintf(file->name, sizeof(file->name), "%s.txlog", b->node);
    else
        snprintf(file->name, sizeof(file->name), "%s.txlog.%u", b->node, segment);
    TR_TRY(tx_copy(b->from, b->directory, file, last ? b->end : UINT64_MAX, renew, b, error));
    b->count++;
    if (last) /* its slots may say more by now, of what isn't copied */
        return tx_set_slots(tx_path_of(b->directory, file->name, path), b->lsn, error);
    return TR_OK;
}

static tr_err copy_if_there(backup *b, const char *end, tr_error *error)
{
    tx_file *file = next_file(b);
    snprintf(file->name, sizeof(file->name), "%s%s", b->node, end);
    tr_err err = tx_copy(b->from, b->directory, file, UINT64_MAX, renew, b, error);
    if (err == TR_ENOTFOUND)
        return TR_OK;
    b->count += err == TR_OK;
    return err;
}

static tr_err copy_all(backup *b, tr_error *error)
{
    TR_TRY(copy_if_there(b, ".txsnap", error));
    TR_TRY(copy_if_there(b, ".txsnap-wal", error));
    if (b->first != TR__LOG_SEGMENT) /* its head only */
        TR_TRY(copy_segment(b, TR__LOG_SEGMENT, error));
    for (uint32_t segment = b->first; segment <= b->last; segment++)
        TR_TRY(copy_segment(b, segment, error));
    return TR_OK;
}

/* ---- what it is ---------------------------------------------------------------------------------------- */

/* The reader of the copy may have tidied the snapshot. */
static json_t *files_of(backup *b, tr_error *error)
{
    json_t *files = json_array();
    for (uint32_t i = 0; i < b->count; i++) {
        tr_err err = tx_look(b->directory, &b->files[i], error);
        if (err == TR_ENOTFOUND && strstr(b->files[i].name, "-wal"))
            continue;
        if (err != TR_OK) {
            json_decref(files);
            return NULL;
        }
        json_array_append_new(files, json_pack("{s:s, s:I, s:I}", "name", b->files[i].name, "bytes",
                                               (json_int_t)b->files[i].bytes, "crc32c",
                                               (json_int_t)b->files[i].crc));
    }
    return files;
}

static tr_err write_manifest(backup *b, tr_error *error)
{
    char path[PATH_MAX];
    json_t *files = files_of(b, error);
    if (!files)
        return error->code;
    json_t *all = json_pack("{s:i, s:s, s:s, s:I, s:I, s:o}", "troupe_backup", TX_COPY_FORMAT, "node",
                            b->node, "log", b->log, "lsn", (json_int_t)b->lsn, "taken_ms",
                            (json_int_t)time(NULL) * 1000, "files", files);
    FILE *out = fopen(tx_path_of(b->directory, TX_MANIFEST, path), "wx");
    bool good = out && all && json_dumpf(all, out, JSON_INDENT(2)) == 0 && fputc('\n', out) == '\n' &&
                fflush(out) == 0 && fsync(fileno(out)) == 0;
    json_decref(all);
    if (out && fclose(out) != 0)
        good = false;
    return good ? tx_force_directory(b->directory, error) : tx_fail_errno(error, "writing", path);
}

/* All that is in it is ours: it wasn't there before. */
static void remove_all(const backup *b)
{
    char path[PATH_MAX];
    static const char *const others[] = {".txsnap", ".txsnap-wal", ".txsnap-journal", ".txsnap-shm"};
    for (uint32_t i = 0; i < b->count; i++)
        unlink(tx_path_of(b->directory, b->files[i].name, path));
    for (size_t i = 0; i < TR_COUNT(others); i++) {
        char name[TR_NAME_MAX + 32];
        snprintf(name, sizeof(name), "%s%s", b->node, others[i]);
        unlink(tx_path_of(b->directory, name, path));
    }
    unlink(tx_path_of(b->directory, TX_MANIFEST, path));
    rmdir(b->directory);
}

/* ---- the command --------------------------------------------------------------------------------------- */

static tr_err take(backup *b, tr_error *error)
{
    tr_error late;
    TR_TRY(hold_when_free(b, error));
    if (mkdir(b->directory, 0700) != 0) {
        tx_fail_errno(error, "making", b->directory);
        let_go(b, &late);
        return error->code;
    }
    tr_err err = copy_all(b, error), gone = let_go(b, err == TR_OK ? error : &late);
    err = err == TR_OK ? gone : err;
    if (err == TR_OK)
        err = tx_verify(b->directory, b->node, b->lsn, error);
    if (err == TR_OK)
        err = write_manifest(b, error);
    if (err == TR_OK)
        err = tx_force_name(b->directory, error);
    if (err != TR_OK)
        remove_all(b);
    return err;
}

int tx_backup_command(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    tr_error error = {0};
    argv[0] = "troupe tx backup";
    int option = getopt_long(argc, argv, "h", options, NULL);
    if (option != -1 || argc - optind != 2 || strlen(argv[optind]) >= TR_NAME_MAX) {
        fputs(usage, option == 'h' ? stdout : stderr);
        return option == 'h' ? 0 : 2;
    }
    backup *b = calloc(1, sizeof(*b));
    if (!b)
        return 1;
    b->node = argv[optind];
    b->directory = argv[optind + 1];
    signal(SIGXFSZ, SIG_IGN); /* an error, as a full disk is */
    tr_err err = take(b, &error);
    if (err == TR_OK)
        printf("%s: node %s up to record %llu, %u file%s\n", b->directory, b->node,
               (unsigned long long)b->lsn, b->count, cli_s(b->count));
    else
        fprintf(stderr, "troupe tx backup: %s\n", error.text);
    free(b);
    return err != TR_OK;
}
