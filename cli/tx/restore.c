/* See backup.h. All is copied into a directory of its own beside where it is to be, read as a node would read it, and only
 * then gets its names, the log last, when the others are on the disk: so a node never finds a part of it. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/tx/backup.h"
#include "cli/tx/copy.h"
#include "cli/tx/merge.h"

static const char usage[] =
    "usage: troupe tx restore BACKUP DIRECTORY [--lose-what-is-missing]\n"
    "  Puts a backup where its node can start with it: node NAME --data DIRECTORY. What is there of that "
    "node is\n"
    "  never written over. The node begins no transaction, and says log-lost of what it has no record of, "
    "until\n"
    "  `troupe tx accept`: what was committed after the backup is gone, though it was told.\n"
    "  --lose-what-is-missing  do that here and now\n";

typedef struct restore {
    const char *from, *to;
    char node[TR_NAME_MAX], beside[PATH_MAX];
    uint64_t lsn;
    bool goes_on;
    json_t *manifest;
} restore;

/* ---- what it says it is -------------------------------------------------------------------------------- */

/* A name of its node's, and nothing that leads elsewhere. */
static bool is_good_name(const restore *r, const char *name)
{
    size_t length = strlen(r->node);
    return length > 0 && strncmp(name, r->node, length) == 0 && strncmp(name + length, ".tx", 3) == 0 &&
           !strchr(name, '/') && strlen(name) < sizeof(((tx_file *)0)->name);
}

static tr_err read_manifest(restore *r, tr_error *error)
{
    char path[PATH_MAX];
    json_error_t why;
    size_t i;
    const json_t *file;
    r->manifest = json_load_file(tx_path_of(r->from, TX_MANIFEST, path), 0, &why);
    if (!r->manifest && access(path, R_OK) != 0)
        return tr__fail(error, TR_ENOTFOUND, "%.120s is no whole backup: it has no %s", r->from, TX_MANIFEST);
    json_int_t format = tx_number(r->manifest, "troupe_backup");
    if (format > TX_COPY_FORMAT)
        return tr__fail(error, TR_EVERSION, "%.120s has backup format %lld, this program knows %d", path,
                        (long long)format, TX_COPY_FORMAT);
    snprintf(r->node, sizeof(r->node), "%s", tx_text(r->manifest, "node"));
    r->lsn = (uint64_t)tx_number(r->manifest, "lsn");
    bool good = format == TX_COPY_FORMAT && r->node[0];
    json_array_foreach(json_object_get(r->manifest, "files"), i, file) good =
        good && is_good_name(r, tx_text(file, "name"));
    return good ? TR_OK : tr__fail(error, TR_EMISMATCH, "%.120s is damaged: it makes no sense", path);
}

/* ---- copying ------------------------------------------------------------------------------------------- */

/* A file in a directory that is this node's. Another value than TR_OK ends it with that. */
typedef tr_err each_name(const restore *r, const char *name, tr_error *error);

static const char *head_of(const restore *r, char head[TR_NAME_MAX + 16])
{
    snprintf(head, TR_NAME_MAX + 16, "%s.txlog", r->node);
    return head;
}

/* The log's head last. */
static tr_err for_each(const restore *r, const char *directory, each_name *fn, tr_error *error)
{
    char head[TR_NAME_MAX + 16];
    struct dirent **entries;
    tr_err err = TR_OK;
    bool headed = false;
    int count = scandir(directory, &entries, NULL, alphasort);
    head_of(r, head);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        headed = headed || strcmp(name, head) == 0;
        if (err == TR_OK && is_good_name(r, name) && strcmp(name, head) != 0)
            err = fn(r, name, error);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return count < 0                ? tx_fail_errno(error, "reading", directory)
           : err == TR_OK && headed ? fn(r, head, error)
                                    : err;
}

static tr_err is_in_the_way(const restore *r, const char *name, tr_error *error)
{
    return tr__fail(error, TR_EEXIST, "%.100s/%.100s is there already: nothing is written over", r->to, name);
}

static tr_err copy_in(const restore *r, tr_error *error)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(r->manifest, "files"), i, one)
    {
        tx_file file = {0};
        snprintf(file.name, sizeof(file.name), "%s", tx_text(one, "name"));
        TR_TRY(tx_copy(r->from, r->beside, &file, UINT64_MAX, NULL, NULL, error));
        if (file.bytes != (uint64_t)tx_number(one, "bytes") || file.crc != (uint32_t)tx_number(one, "crc32c"))
            return tr__fail(error, TR_EMISMATCH,
                            "%.100s/%.100s is damaged: its checksum or its size is another one", r->from,
                            file.name);
    }
    return TR_OK;
}

/* ---- names --------------------------------------------------------------------------------------------- */

static tr_err put_in_place(const restore *r, const char *name, tr_error *error)
{
    char from[PATH_MAX], to[PATH_MAX], head[TR_NAME_MAX + 16];
    if (strcmp(name, head_of(r, head)) == 0)
        TR_TRY(tx_force_directory(r->to, error));
    return link(tx_path_of(r->beside, name, from), tx_path_of(r->to, name, to)) == 0
               ? TR_OK
               : tx_fail_errno(error, "making", to);
}

/* Only what is ours: the same file. */
static tr_err take_back(const restore *r, const char *name, tr_error *error)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct stat own, there;
    (void)error;
    if (stat(tx_path_of(r->beside, name, from), &own) == 0 &&
        lstat(tx_path_of(r->to, name, to), &there) == 0 && own.st_ino == there.st_ino &&
        own.st_dev == there.st_dev)
        unlink(to);
    return TR_OK;
}

static tr_err forget(const restore *r, const char *name, tr_error *error)
{
    char path[PATH_MAX];
    (void)error;
    unlink(tx_path_of(r->beside, name, path));
    return TR_OK;
}

static void remove_beside(const restore *r)
{
    tr_error error;
    for_each(r, r->beside, forget, &error);
    rmdir(r->beside);
}

/* ---- the command --------------------------------------------------------------------------------------- */

static tr_err put(const restore *r, tr_error *error)
{
    tr_error ignored;
    TR_TRY(copy_in(r, error));
    TR_TRY(tx_verify(r->beside, r->node, r->lsn, error));
    TR_TRY(tx_mark_restored(r->beside, r->node, r->lsn, r->goes_on, error));
    tr_err err = for_each(r, r->beside, put_in_place, error);
    if (err == TR_OK)
        err = tx_force_directory(r->to, error);
    if (err != TR_OK)
        for_each(r, r->beside, take_back, &ignored);
    return err;
}

static tr_err restore_it(restore *r, tr_error *error)
{
    TR_TRY(read_manifest(r, error));
    bool made = mkdir(r->to, 0700) == 0;
    if (!made && errno != EEXIST)
        return tx_fail_errno(error, "making", r->to);
    TR_TRY(for_each(r, r->to, is_in_the_way, error));
    snprintf(r->beside, sizeof(r->beside), "%.3900s/.restore-XXXXXX", r->to);
    tr_err err = mkdtemp(r->beside) ? put(r, error) : tx_fail_errno(error, "making", r->beside);
    if (err == TR_OK && made)
        err = tx_force_name(r->to, error);
    remove_beside(r);
    if (err != TR_OK && made)
        rmdir(r->to);
    return err;
}

static void tell(const restore *r)
{
    printf("%s: node %s up to record %llu\n", r->to, r->node, (unsigned long long)r->lsn);
    if (!r->goes_on)
        printf("It says log-lost until `troupe tx accept %s --lose-what-is-missing`.\n", r->node);
}

int tx_restore_command(int argc, char **argv)
{
    static const struct option options[] = {{"lose-what-is-missing", no_argument, NULL, 'l'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    restore r = {.goes_on = false};
    tr_error error = {0};
    int option;
    argv[0] = "troupe tx restore";
    while ((option = getopt_long(argc, argv, "h", options, NULL)) == 'l')
        r.goes_on = true;
    if (option != -1 || argc - optind != 2) {
        fputs(usage, option == 'h' ? stdout : stderr);
        return option == 'h' ? 0 : 2;
    }
    r.from = argv[optind];
    r.to = argv[optind + 1];
    signal(SIGXFSZ, SIG_IGN); /* an error, as a full disk is */
    tr_err err = restore_it(&r, &error);
    json_decref(r.manifest);
    if (err == TR_OK)
        tell(&r);
    else
        fprintf(stderr, "troupe tx restore: %s\n", error.text);
    return err != TR_OK;
}
