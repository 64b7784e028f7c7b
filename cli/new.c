/* `troupe new plugin NAME`: writes a folder that builds and tests as it is. The main thread. Nothing that
 * exists is touched; if writing fails, what was written is removed again. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/new.h"
#include "cli/options.h"

#define NAME_MAX_BYTES 40

static const char usage[] =
    "usage: troupe new plugin NAME\n"
    "  makes the folder NAME: a plugin with one actor, its test, and a README with the\n"
    "  commands that build, test and run it\n";

typedef struct words {
    char name[NAME_MAX_BYTES + 1], upper[NAME_MAX_BYTES + 1];
    char prefix[PATH_MAX]; /* where the Troupe that makes the folder is installed */
} words;

static int bad_name(const char *name)
{
    fprintf(
        stderr,
        "troupe new: \"%s\" can't be a plugin's name: at most %d of a-z, 0-9 and '_', a letter first, and "
        "not \"tr\" nor beginning with \"tr_\"\n",
        name, NAME_MAX_BYTES);
    return 2;
}

static int take_name(words *w, const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > NAME_MAX_BYTES || name[0] < 'a' || name[0] > 'z' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != length || strcmp(name, "tr") == 0 ||
        strncmp(name, "tr_", 3) == 0)
        return bad_name(name);
    for (size_t i = 0; i <= length; i++) {
        w->name[i] = name[i];
        w->upper[i] = name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 'a' + 'A') : name[i];
    }
    return 0;
}

/* This program is PREFIX/bin/troupe; false if no headers are installed there, or its path needs quoting. */
static int find_prefix(words *w)
{
    char header[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", w->prefix, sizeof(w->prefix) - 1);
    w->prefix[length > 0 ? length : 0] = 0;
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(w->prefix, '/');
        if (slash)
            *slash = 0;
    }
    snprintf(header, sizeof(header), "%s/include/troupe/plugin.h", w->prefix);
    if (access(header, R_OK) == 0 && !strpbrk(w->prefix, "\"\\$`;\n"))
        return 1;
    snprintf(w->prefix, sizeof(w->prefix), "/usr/local");
    return 0;
}

/* The text with its words put in. */
static void put(FILE *to, const char *text, const words *w)
{
    const struct {
        const char *mark, *word;
    } marks[] = {{"@NAME@", w->name}, {"@UPPER@", w->upper}, {"@PREFIX@", w->prefix}};
    while (*text) {
        size_t taken = 0;
        for (size_t i = 0; i < 3 && !taken; i++)
            if (strncmp(text, marks[i].mark, strlen(marks[i].mark)) == 0) {
                fputs(marks[i].word, to);
                taken = strlen(marks[i].mark);
            }
        if (!taken)
            fputc(*text, to);
        text += taken ? taken : 1;
    }
}

static void path_of(const cli_template *file, const words *w, char *path, size_t size)
{
    int marked = strncmp(file->name, "@NAME@", 6) == 0;
    snprintf(path, size, "%s/%s%s", w->name, marked ? w->name : "", file->name + (marked ? 6 : 0));
}

static int write_file(const cli_template *file, const words *w)
{
    char path[2 * NAME_MAX_BYTES + 64];
    path_of(file, w, path, sizeof(path));
    FILE *to = fopen(path, "wx");
    if (!to)
        return errno;
    put(to, file->text, w);
    int failed = ferror(to) ? EIO : 0;
    return fclose(to) != 0 ? errno : failed;
}

static void remove_all(const words *w)
{
    char path[2 * NAME_MAX_BYTES + 64];
    for (const cli_template *file = cli_plugin_templates; file->name; file++) {
        path_of(file, w, path, sizeof(path));
        unlink(path);
    }
    rmdir(w->name);
}

static int make_folder(const words *w)
{
    if (mkdir(w->name, 0755) != 0) {
        fprintf(stderr, "troupe new: %s: %s\n", w->name,
                errno == EEXIST ? "it exists already: choose another name, or remove it" : strerror(errno));
        return 1;
    }
    for (const cli_template *file = cli_plugin_templates; file->name; file++) {
        int number = write_file(file, w);
        if (number == 0)
            continue;
        remove_all(w);
        fprintf(stderr, "troupe new: writing into %s failed: %s; nothing is left of it\n", w->name,
                strerror(number));
        return 1;
    }
    return 0;
}

int cli_new(int argc, char **argv)
{
    words w;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("%s", usage);
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "plugin") != 0)
        return cli_bad_words("new", argc > 1 ? argv[1] : NULL, "plugin", usage);
    int status = take_name(&w, argv[2]);
    int installed = find_prefix(&w);
    if (status == 0)
        status = make_folder(&w);
    if (status != 0)
        return status;
    printf(
        "made %s/: its README.md has the commands. Next:\n\n  cd %s && cmake --workflow --preset default\n",
        w.name, w.name);
    if (!installed)
        printf("\nThis troupe runs from where it was built, so the folder expects Troupe in /usr/local: "
               "install it\n"
               "there (cmake --install build/release), or put your prefix into %s/CMakePresets.json and "
               "README.md.\n",
               w.name);
    return 0;
}
