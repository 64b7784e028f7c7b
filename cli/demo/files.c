/* The demo's choice of files, and their digests by libsodium. Any thread; blocking. What can't be read is
 * left out of the choice; symbolic links aren't followed. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/demo/files.h"
#include "cli/demo/mandelbrot.h"

#define CANDIDATES_MOST 200000u /* enough for /usr/share of any machine; bounds memory and time */
#define OPEN_FOLDERS    32
#define FEW             100

typedef struct candidates {
    tr__web_file *files;
    uint32_t count, room;
    bool no_memory;
} candidates;

/* nftw has no context argument; the choice is made by one thread at a time. */
static candidates found;
static pthread_mutex_t found_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- choice -------------------------------------------------------------------------------------------- */

/* The list of files is JSON made by hand, so names that would need escapes aren't chosen. */
static bool plain(const char *path)
{
    for (; *path; path++)
        if (*path < ' ' || *path > '~' || *path == '"' || *path == '\\')
            return false;
    return true;
}

static bool room_for_one(void)
{
    if (found.count < found.room)
        return true;
    uint32_t room = found.room ? found.room * 2 : 1024;
    tr__web_file *files = tr__realloc(found.files, room * sizeof(*files));
    if (!files)
        return false;
    found.files = files;
    found.room = room;
    return true;
}

static int visit(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)where;
    if (type != FTW_F || !S_ISREG(status->st_mode) || status->st_size == 0 ||
        (uint64_t)status->st_size > DEMO_FILE_MOST || !plain(path) || access(path, R_OK) != 0)
        return 0;
    if (found.count == CANDIDATES_MOST)
        return 1;
    char *copy = room_for_one() ? tr__strdup(path) : NULL;
    if (!copy) {
        found.no_memory = true;
        return 1;
    }
    found.files[found.count++] = (tr__web_file){
        .path = copy,
        .size = (uint64_t)status->st_size,
        .modified_ns = (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec,
    };
    return 0;
}

static int by_size(const void *a, const void *b)
{
    const tr__web_file *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return strcmp(x->path, y->path);
}

/* Many: by name, so that large and small are mixed when they are fetched in order. Few: the large ones first,
 * so that some are half done for a while. */
static int by_name(const void *a, const void *b)
{
    return strcmp(((const tr__web_file *)a)->path, ((const tr__web_file *)b)->path);
}

static int by_size_down(const void *a, const void *b)
{
    return by_size(b, a);
}

/* The first of at least that size. */
static uint32_t first_of(uint64_t size)
{
    uint32_t first = 0;
    while (first < found.count && found.files[first].size < size)
        first++;
    return first;
}

/* Keep `want` of them, evenly spaced by size; free the others. */
static void thin_out(uint32_t want)
{
    qsort(found.files, found.count, sizeof(*found.files), by_size);
    uint32_t first = first_of(want < FEW ? DEMO_FILE_LARGE : DEMO_FILE_LEAST);
    if (found.count - first < want)
        first = first_of(DEMO_FILE_LEAST);
    if (found.count - first < want)
        first = found.count > want ? found.count - want : 0;
    uint32_t kept = 0, choice = found.count - first;
    for (uint32_t i = 0; i < found.count; i++) {
        bool chosen = i >= first && kept < want &&
                      (choice <= want || i - first == (uint32_t)((uint64_t)kept * choice / want));
        if (chosen)
            found.files[kept++] = found.files[i];
        else
            tr__free(found.files[i].path);
    }
    found.count = kept;
    qsort(found.files, kept, sizeof(*found.files), kept < FEW ? by_size_down : by_name);
}

tr_err demo_files_choose(const char *directory, uint32_t want, tr__web_file **files, uint32_t *count,
                         tr_error *error)
{
    tr_err err = TR_OK;
    pthread_mutex_lock(&found_lock);
    found = (candidates){0};
    int result = nftw(directory, visit, OPEN_FOLDERS, FTW_PHYS);
    if (found.no_memory)
        err = tr__fail(error, TR_ENOMEM, "choosing files of %s: no memory", directory);
    else if (result < 0)
        err = tr__fail(error, tr__err_from_errno(errno),
                       "choosing files of %s: %s; --dir takes another directory", directory, strerror(errno));
    else if (found.count == 0)
        err = tr__fail(error, TR_ENOTFOUND,
                       "%s has no readable file of at most 2 MiB to copy; --dir takes another directory",
                       directory);
    else
        thin_out(want);
    if (err != TR_OK)
        demo_files_free(found.files, found.count);
    *files = err == TR_OK ? found.files : NULL;
    *count = err == TR_OK ? found.count : 0;
    pthread_mutex_unlock(&found_lock);
    return err;
}

void demo_files_free(tr__web_file *files, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        tr__free(files[i].path);
    tr__free(files);
}

/* ---- digests ------------------------------------------------------------------------------------------- */

tr_err demo_file_digest(const char *path, char hex[65])
{
    crypto_hash_sha256_state state;
    unsigned char piece[16384], digest[crypto_hash_sha256_BYTES];
    hex[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return tr__err_from_errno(errno);
    crypto_hash_sha256_init(&state);
    ssize_t got;
    while ((got = read(fd, piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR))
        if (got > 0)
            crypto_hash_sha256_update(&state, piece, (unsigned long long)got);
    close(fd);
    if (got < 0)
        return TR_EIO;
    crypto_hash_sha256_final(&state, digest);
    sodium_bin2hex(hex, 65, digest, sizeof(digest));
    return TR_OK;
}

static tr_err digests(const void *in, size_t in_size, tr_compute_out *out)
{
    const char *path = in, *end = path + in_size;
    for (; path < end; path += strlen(path) + 1) {
        char *hex = tr_compute_reserve(out, 65);
        if (!hex)
            return TR_ENOMEM;
        if (tr_compute_canceled(out))
            return TR_ECANCELED;
        if (demo_file_digest(path, hex) != TR_OK)
            memset(hex, 0, 65);
    }
    return TR_OK;
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

demo_png *demo_png_make(const char *path, const uint8_t *rgb, uint32_t width, uint32_t height, size_t *size)
{
    size_t pixels = (size_t)width * height * 3;
    demo_png *png = tr__zalloc(sizeof(*png) + pixels);
    if (!png)
        return NULL;
    *size = sizeof(*png) + pixels;
    snprintf(png->path, sizeof(png->path), "%s", path);
    png->width = width;
    png->height = height;
    memcpy(png + 1, rgb, pixels);
    return png;
}

static tr_err write_png(const void *in, size_t in_size, tr_compute_out *out)
{
    const demo_png *png = in;
    tr_error error = {0};
    if (in_size < sizeof(*png) || in_size - sizeof(*png) != (size_t)png->width * png->height * 3)
        return tr_compute_fail(out, TR_EINVAL, "a picture of another size than it says");
    tr_err err = tr__png_write(png->path, (const uint8_t *)(png + 1), png->width, png->height, &error);
    return err == TR_OK ? TR_OK : tr_compute_fail(out, err, "%s", error.text);
}

tr_err demo_files_register(void)
{
    TR_TRY(tr_compute_register("demo-png", write_png));
    return tr_compute_register("demo-digests", digests);
}

/* ---- removal ------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    remove(path);
    return 0;
}

bool demo_files_remove(const char *directory)
{
    struct stat status;
    nftw(directory, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
    return lstat(directory, &status) != 0 && errno == ENOENT;
}
