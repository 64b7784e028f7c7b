/* What `troupe fetch` shows: a bar for each running file on a terminal (stderr), and for whom it may concern
 * (stdout) a line a file that `sha256sum -c` can read, or with --json an object a line. Writing fails
 * silently here; cli_fetch looks at the end whether stdout took it all. */
#include "cli/fetch.h"
#include "cli/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include <troupe/troupe.h>

#include "mailbox/utf8.h"

#define DRAW_EVERY  TR_MILLIS(100)
#define BAR_COLUMNS 24
#define NAME_LEAST  8

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const char *fetch_shown_path(const char *path)
{
    return strncmp(path, "./", 2) == 0 ? path + 2 : path;
}

static const char *amount(double bytes, char out[16])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    int unit = 0;
    for (; bytes >= 1000 && unit < 4; unit++)
        bytes /= 1000;
    snprintf(out, 16, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

/* ---- the bars ------------------------------------------------------------------------------------------ */

static void measure(int *rows, int *columns)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    *rows = known ? size.ws_row : 24;
    *columns = known ? size.ws_col : 80;
}

static void erase(fetch *f)
{
    if (f->view.drawn)
        fprintf(stderr, "\r\033[%dA\033[J", f->view.drawn);
    f->view.drawn = 0;
}

/* "name  ████░░  43 %  1.2 MB", no wider than the screen. The name is cut by bytes: so only ASCII is cut, and
 * what has other letters is shown if it is short. */
static void draw_task(fetch *f, const fetch_task *t, int columns)
{
    char size[16], bar[BAR_COLUMNS + 1];
    int room = columns - BAR_COLUMNS - 22, filled = 0;
    const char *name = strrchr(t->path, '/') + 1;
    if (t->total)
        filled = (int)(t->done >= t->total ? BAR_COLUMNS : t->done * BAR_COLUMNS / t->total);
    memset(bar, '.', BAR_COLUMNS);
    memset(bar, '#', (size_t)filled);
    bar[BAR_COLUMNS] = 0;
    amount((double)t->done, size);
    if (room < NAME_LEAST)
        fprintf(stderr, "%.*s\n", columns - 1, size);
    else if (t->total)
        fprintf(stderr, "%-*.*s [%s] %3d %% %10s\n", room, room, name, bar,
                (int)(t->done >= t->total ? 100 : t->done * 100 / t->total), size);
    else
        fprintf(stderr, "%-*.*s [%s]       %10s\n", room, room, name, bar, size);
    f->view.drawn++;
}

static void draw(fetch *f)
{
    int rows, columns;
    char size[16], speed[16];
    uint64_t bytes = f->bytes;
    measure(&rows, &columns);
    erase(f);
    for (size_t i = 0; i < f->next; i++) {
        if (f->tasks[i].state != FETCH_RUNNING)
            continue;
        bytes += f->tasks[i].done;
        if (f->view.drawn < rows - 3)
            draw_task(f, &f->tasks[i], columns);
    }
    double seconds = (double)(now_ns() - f->view.begun_ns) / 1e9;
    char line[128];
    snprintf(line, sizeof(line), "%zu of %zu file%s, %s, %s/s", f->fetched, f->count, cli_s(f->count),
             amount((double)bytes, size), amount((double)bytes / (seconds > 0.1 ? seconds : 0.1), speed));
    fprintf(stderr, "%.*s\n", columns - 1, line);
    f->view.drawn++;
    f->view.drawn_ns = now_ns();
    fflush(stderr);
}

void fetch_view_moved(fetch *f)
{
    if (f->view.bars && now_ns() - f->view.drawn_ns >= DRAW_EVERY)
        draw(f);
}

/* ---- lines --------------------------------------------------------------------------------------------- */

/* Text that JSON can hold. */
static json_t *text_value(const char *text)
{
    size_t size = strlen(text);
    if (tr__utf8_valid(text, size) == size)
        return json_string(text);
    char *ascii = strdup(text);
    for (char *at = ascii; at && *at; at++)
        *at = (unsigned char)*at < 0x80 ? *at : '?';
    json_t *value = ascii ? json_string(ascii) : NULL;
    free(ascii);
    return value;
}

static void print_object(json_t *object)
{
    if (object)
        json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

void fetch_view_done(fetch *f, const tr_fetched *fetched)
{
    const char *path = fetch_shown_path(fetched->path);
    if (f->view.json) {
        print_object(json_pack("{s:o, s:o, s:I, s:s, s:I, s:I}", "url", text_value(fetched->url), "path",
                               text_value(path), "size", (json_int_t)fetched->size, "sha256", fetched->sha256,
                               "resumed_from", (json_int_t)fetched->resumed_from, "elapsed_ms",
                               (json_int_t)(fetched->elapsed_ns / 1000000)));
        return;
    }
    erase(f);
    /* As sha256sum does: a name with a backslash is written with it doubled, and the line says so. */
    printf("%s%s  ", strchr(path, '\\') ? "\\" : "", fetched->sha256);
    for (const char *at = path; *at; at++)
        printf("%s%c", *at == '\\' ? "\\" : "", *at);
    putchar('\n');
    fflush(stdout);
    if (f->view.bars)
        draw(f);
}

void fetch_view_failed(fetch *f, const char *url, tr_err code, const char *text)
{
    if (f->view.json) {
        print_object(json_pack("{s:o, s:s, s:o}", "url", text_value(url), "error", tr_err_word(code), "text",
                               text_value(text)));
        return;
    }
    /* Most texts begin with the URL, cut to a length; those about the file don't. */
    bool named = strncmp(text, url, strnlen(url, 60)) == 0;
    erase(f);
    fprintf(stderr, "troupe fetch: %s%s%s (%s)\n", named ? "" : url, named ? "" : ": ", text,
            tr_err_word(code));
    if (f->view.bars)
        draw(f);
}

void fetch_view_open(fetch *f, bool json)
{
    const char *term = getenv("TERM");
    f->view.json = json;
    f->view.bars = !json && isatty(STDERR_FILENO) && term && term[0] && strcmp(term, "dumb") != 0;
    f->view.begun_ns = now_ns();
}

void fetch_view_close(fetch *f, int signal)
{
    char size[16];
    double seconds = (double)(now_ns() - f->view.begun_ns) / 1e9;
    erase(f);
    if (f->view.json)
        print_object(json_pack("{s:b, s:I, s:I, s:I, s:I, s:b, s:I}", "ok", f->fetched == f->count, "files",
                               (json_int_t)f->count, "fetched", (json_int_t)f->fetched, "failed",
                               (json_int_t)f->failed, "bytes", (json_int_t)f->bytes, "interrupted",
                               signal != 0, "elapsed_ms", (json_int_t)(seconds * 1000)));
    else if (signal)
        fprintf(stderr,
                "troupe fetch: interrupted; %zu of %zu file%s there; the same command goes on with what is "
                "missing\n",
                f->fetched, f->count, f->count == 1 ? " is" : "s are");
    else if (f->failed)
        fprintf(stderr, "troupe fetch: %zu of %zu failed\n", f->failed, f->count);
    else if (f->view.bars)
        fprintf(stderr, "%zu file%s, %s, %.1f s\n", f->count, cli_s(f->count), amount((double)f->bytes, size),
                seconds);
}
