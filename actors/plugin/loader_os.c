/* The loader's dealings with the system: a file's permissions, a private copy of it, dlopen. Blocking calls,
 * on the thread that loads.
 *
 * The copy is a sealed memory file, so what runs is what was checked, and replacing the file of a running
 * plugin (a compiler does that) does no harm. Its descriptor stays open: glibc knows a library by its name,
 * and "/proc/self/fd/7" for a second plugin would be taken for the first.
 *
 * Every refusal closes what it had opened, except after dlopen has succeeded: code that has run stays. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/plugin/loader.h"
#include "base/backtrace_os.h"
#include "base/err.h"

#define FILE_MAX ((off_t)256 << 20)

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)

static tr_err fail_errno(tr_error *error, int number, const char *shown, const char *what)
{
    return tr__fail(error, tr__err_from_errno(number), "plugin %s: %s: %s", shown, what, strerror(number));
}

/* ---- who could change it ------------------------------------------------------------------------------- */

/* In a directory with the sticky bit (/tmp) others may write, but not replace this file. */
static tr_err check_directory(const char *file, const char *shown, tr_error *error)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(file, '/');
    size_t length = slash ? (size_t)(slash - file) : 0;
    if (length >= sizeof(directory))
        return tr__fail(error, TR_EINVAL, "plugin %s: the path is too long", shown);
    snprintf(directory, sizeof(directory), "%.*s", (int)length, file);
    const char *looked_at = !slash ? "." : length ? directory : "/";
    struct stat info;
    if (stat(looked_at, &info) != 0)
        return fail_errno(error, errno, shown, "its directory can't be examined");
    if ((info.st_mode & OTHERS_WRITE) && !(info.st_mode & S_ISVTX))
        return tr__fail(error, TR_EPERM,
                        "plugin %s: others than its owner can write to its directory (mode %04o), so anybody "
                        "could replace it: chmod go-w that directory",
                        shown, (unsigned)(info.st_mode & 07777));
    return TR_OK;
}

static tr_err check_place(const char *file, const char *shown, tr_error *error)
{
    char real[PATH_MAX];
    if (!realpath(file, real)) {
        int number = errno;
        return number == ENOENT
                   ? tr__fail(error, TR_ENOTFOUND, "plugin %s: there is no such file: check the path", shown)
                   : fail_errno(error, number, shown, "can't be opened");
    }
    TR_TRY(check_directory(file, shown, error));
    return check_directory(real, shown, error); /* another one if `file` is a link */
}

static tr_err check_file(int fd, const char *shown, off_t *size, tr_error *error)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return fail_errno(error, errno, shown, "can't be examined");
    if (!S_ISREG(info.st_mode))
        return tr__fail(error, TR_EINVAL, "plugin %s: not a regular file: give the path of a .so", shown);
    if (info.st_mode & OTHERS_WRITE)
        return tr__fail(
            error, TR_EPERM,
            "plugin %s: others than its owner can write to it (mode %04o), so anybody could put code "
            "there: chmod go-w the file",
            shown, (unsigned)(info.st_mode & 07777));
    if (info.st_size == 0)
        return tr__fail(error, TR_EINVAL, "plugin %s: the file is empty: build it again", shown);
    if (info.st_size > FILE_MAX)
        return tr__fail(error, TR_ETOOBIG, "plugin %s: larger than 256 MiB: strip it", shown);
    *size = info.st_size;
    return TR_OK;
}

/* ---- the copy ------------------------------------------------------------------------------------------ */

static tr_err copy_into(int copy, int fd, off_t size, const char *shown, tr_error *error)
{
    for (off_t done = 0; done < size;) {
        ssize_t n = sendfile(copy, fd, NULL, (size_t)(size - done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(error, errno, shown, "can't be copied into memory");
        if (n == 0)
            return tr__fail(error, TR_EIO, "plugin %s: it became shorter while it was read: try again",
                            shown);
        done += n;
    }
    if (fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        return fail_errno(error, errno, shown, "its copy in memory can't be sealed");
    return TR_OK;
}

static tr_err private_copy(const char *file, const char *shown, int *copy, tr_error *error)
{
    /* O_NONBLOCK: a FIFO that nobody writes to must not hang us; it is refused a line later. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail_errno(error, errno, shown, "can't be opened");
    off_t size = 0;
    tr_err err = check_file(fd, shown, &size, error);
    char name[TR__MODULE_MAX]; /* what stacks say (tr__module_name) */
    tr__module_name(file, name, sizeof(name));
    if (err == TR_OK && (*copy = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)) < 0)
        err = fail_errno(error, errno, shown, "no memory file for its copy");
    if (err == TR_OK && (err = copy_into(*copy, fd, size, shown, error)) != TR_OK)
        close(*copy);
    close(fd);
    return err;
}

/* ---- the library --------------------------------------------------------------------------------------- */

static tr_err fail_dlopen(const char *text, const char *path, const char *shown, tr_error *error)
{
    size_t length = strlen(path);
    if (strncmp(text, path, length) == 0 && text[length] == ':')
        text += length + 1 + strspn(text + length + 1, " ");
    if (strstr(text, "undefined symbol"))
        return tr__fail(error, TR_EINVAL,
                        "plugin %s: %s: link it against what it calls; Troupe's own functions come from the "
                        "node, by TR_PLUGIN defined before <troupe/troupe.h>",
                        shown, text);
    if (strstr(text, "ELF") || strstr(text, "too short"))
        return tr__fail(error, TR_EINVAL,
                        "plugin %s: no shared library of this machine (%s): build it with cc -shared -fPIC",
                        shown, text);
    return tr__fail(error, TR_EINVAL, "plugin %s: can't be loaded: %s", shown, text);
}

tr_err tr__plugin_open(const char *file, const char *shown, void **handle, tr_error *error)
{
    char path[64];
    int copy = -1;
    TR_TRY(check_place(file, shown, error));
    TR_TRY(private_copy(file, shown, &copy, error));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
    *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (*handle)
        return TR_OK;
    const char *text = dlerror();
    tr_err err = fail_dlopen(text ? text : "no reason given", path, shown, error);
    close(copy);
    return err;
}

tr_err tr__plugin_symbol(void *handle, const char *shown, const void **symbol, size_t *size, tr_error *error)
{
    Dl_info where;
    const ElfW(Sym) *entry = NULL;
    *symbol = dlsym(handle, "tr_plugin");
    if (!*symbol)
        return tr__fail(error, TR_EINVAL,
                        "plugin %s: it exports no symbol tr_plugin: end one of its source files with "
                        "TR_PLUGIN_EXPORT(\"name\", \"version\", &actor_def)",
                        shown);
    /* What the file itself says of the symbol's size, so that a block that is too small is not read beyond.
     */
    bool known = dladdr1(*symbol, &where, (void **)&entry, RTLD_DL_SYMENT) != 0 && entry;
    *size = known && ELF64_ST_TYPE(entry->st_info) == STT_OBJECT ? entry->st_size : 0;
    return TR_OK;
}

const void *tr__plugin_find(const tr__plugin *plugin, const char *symbol)
{
    return dlsym(plugin->handle, symbol);
}
