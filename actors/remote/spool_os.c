/* The spool's files on a real disk: see spool.h. */
#include "actors/remote/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

#define NAME   ".troupe-spool-"
#define RANDOM "XXXXXX"
#define AT_ONCE \
    ((size_t)8 << 20) /* what is larger is given back by a thread of its own: a gigabyte takes some 100 ms */

struct tr__spool_file {
    int fd;
    const char *directory;
    void *data; /* NULL: not mapped */
    size_t size;
};

static tr_err fail(const char *directory, const char *what, int number, tr_error *error)
{
    tr_err code = tr__err_from_errno(number);
    return tr__fail(error, code, "%.120s: can't %s a file for a large message: %s; %s", directory, what,
                    strerror(number),
                    code == TR_ENOSPC ? "make room there, or choose another directory (--spool)"
                                      : "choose a directory that can be written to (--spool)");
}

/* Where the file system can't make one without a name it has one for a moment. */
static int open_nameless(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd;
    char path[4096];
    if (snprintf(path, sizeof(path), "%s/" NAME RANDOM, directory) >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static bool is_left(int directory, const char *name)
{
    struct stat of;
    return strncmp(name, NAME, strlen(NAME)) == 0 && strlen(name) == strlen(NAME RANDOM) &&
           fstatat(directory, name, &of, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(of.st_mode) &&
           of.st_uid == geteuid();
}

/* Those of a live node have such a name for a moment as well, and are to lose it. */
static void take_names(const char *directory)
{
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (is_left(dirfd(dir), entry->d_name))
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
}

static tr_err spool_begin(void *context, const char *directory, tr_error *error)
{
    (void)context;
    take_names(directory);
    int fd = open_nameless(directory);
    if (fd < 0)
        return fail(directory, "make", errno, error);
    close(fd);
    return TR_OK;
}

static tr__spool_file *spool_open(void *context, const char *directory, tr_error *error)
{
    (void)context;
    tr__spool_file *file = tr__alloc(sizeof(*file));
    if (!file) {
        tr__fail(error, TR_ENOMEM, "no memory for a file for a large message");
        return NULL;
    }
    *file = (tr__spool_file){.fd = open_nameless(directory), .directory = directory};
    if (file->fd >= 0)
        return file;
    fail(directory, "make", errno, error);
    tr__free(file);
    return NULL;
}

static tr_err spool_write(tr__spool_file *file, const void *bytes, size_t length, tr_error *error)
{
    for (size_t at = 0; at < length;) {
        ssize_t written = write(file->fd, (const char *)bytes + at, length - at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail(file->directory, "write", errno, error);
        at += (size_t)written;
    }
    file->size += length;
    return TR_OK;
}

static tr_err spool_map(tr__spool_file *file, const void **data, int *fd, tr_error *error)
{
    void *mapped = mmap(NULL, file->size, PROT_READ, MAP_SHARED, file->fd, 0);
    if (mapped == MAP_FAILED)
        return fail(file->directory, "map", errno, error);
    *data = file->data = mapped;
    *fd = file->fd;
    return TR_OK;
}

static void *give_back(void *context)
{
    tr__spool_file *file = context;
    if (file->data)
        munmap(file->data, file->size);
    close(file->fd);
    tr__free(file);
    return NULL;
}

static void spool_close(tr__spool_file *file)
{
    pthread_t thread;
    if (file->size > AT_ONCE && pthread_create(&thread, NULL, give_back, file) == 0)
        pthread_detach(thread);
    else
        give_back(file);
}

const tr__spool_seam tr__spool_os = {spool_begin, spool_open, spool_write, spool_map, spool_close};
