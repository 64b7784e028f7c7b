/* Where the demo's story goes: a terminal, as one screen that is drawn over itself; a pipe, a file, a dumb
 * terminal, as a line an event without control codes; --json, as a JSON object an event. The main thread.
 * Writing fails silently: a reader that went away doesn't stop the demo. */
#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <jansson.h>

#include "base/mem.h"
#include "cli/demo/keys.h"
#include "cli/demo/node.h"
#include "cli/demo/screen.h"

#define DRAW_EVERY TR_MILLIS(100)

double demo_seconds(const demo *d)
{
    return (double)(demo_now() - d->start_ns) / 1e9;
}

/* ---- the frame ----------------------------------------------------------------------------------------- */

static const char *const inks[INKS] = {"", "1", "2", "31", "32", "33", "34", "35"};

static void put(demo_frame *f, const char *text, size_t size)
{
    if (f->used + size < sizeof(f->text)) {
        memcpy(f->text + f->used, text, size);
        f->used += size;
    }
}

/* As much of the text as there are columns left; a character is what a byte other than 10xxxxxx begins. */
static size_t fitting(demo_frame *f, const char *text)
{
    size_t size = 0;
    while (text[size]) {
        bool begins = ((unsigned char)text[size] & 0xc0) != 0x80;
        if (begins && f->column >= f->screen->columns)
            break;
        f->column += begins;
        size++;
    }
    return size;
}

void demo_frame_add(demo_frame *f, demo_ink ink, const char *format, ...)
{
    char text[1024], code[16];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t size = fitting(f, text);
    bool inked = f->screen->colour && ink != INK_PLAIN && size > 0;
    if (inked)
        put(f, code, (size_t)snprintf(code, sizeof(code), "\033[%sm", inks[ink]));
    put(f, text, size);
    if (inked)
        put(f, "\033[0m", 4);
}

void demo_frame_end_line(demo_frame *f)
{
    put(f, "\033[K\n", 4);
    f->lines++;
    f->column = 0;
}

/* ---- the terminal -------------------------------------------------------------------------------------- */

static bool utf8_here(void)
{
    const char *names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0])
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

static void measure(struct demo_screen *s)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    s->columns = known ? size.ws_col : 80;
    s->rows = known ? size.ws_row : 24;
}

tr_err demo_screen_open(demo *d)
{
    struct demo_screen *s = d->screen = tr__zalloc(sizeof(*s));
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    if (!s)
        return demo_trouble_is(d, TR_ENOMEM, "the screen: no memory");
    bool able = isatty(STDOUT_FILENO) && term && term[0] && strcmp(term, "dumb") != 0;
    s->mode = d->opts.json ? DEMO_JSON : able ? DEMO_REDRAW : DEMO_LINES;
    s->colour = s->mode == DEMO_REDRAW && !(no_colour && no_colour[0]);
    s->utf8 = utf8_here();
    if (s->mode != DEMO_REDRAW) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        return TR_OK;
    }
    measure(s);
    s->keys = demo_keys_open();
    return TR_OK;
}

void demo_screen_draw(demo *d, bool now)
{
    struct demo_screen *s = d->screen;
    uint64_t time = demo_now();
    demo_page_refresh(d);
    if (s->mode != DEMO_REDRAW || (!now && time - s->last_ns < DRAW_EVERY))
        return;
    int columns = s->columns, rows = s->rows;
    static demo_frame frame; /* too large for a fiber's stack */
    measure(s);
    if (columns != s->columns || rows != s->rows || demo_keys_resumed()) {
        /* Another size: what was drawn has been wrapped anew, nobody knows where. */
        fputs("\033[H\033[2J", stdout);
        s->drawn = 0;
    }
    frame = (demo_frame){.screen = s};
    demo_view_make(d, &frame, s->rows - 1);
    if (s->drawn)
        printf("\033[%dA\r", s->drawn);
    fwrite(frame.text, 1, frame.used, stdout);
    fputs("\033[J", stdout);
    fflush(stdout);
    s->drawn = frame.lines;
    s->last_ns = time;
}

void demo_screen_close(demo *d)
{
    struct demo_screen *s = d->screen;
    if (!s || s->mode != DEMO_REDRAW)
        return;
    s->keys = false; /* nor are they told on the last picture */
    demo_screen_draw(d, true);
    demo_keys_close();
}

/* ---- events -------------------------------------------------------------------------------------------- */

static void print_json(const demo_event *event)
{
    json_t *object = json_pack("{s:f, s:s}", "at", event->at, "event", event->text);
    char *line = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    if (line)
        puts(line);
    free(line);
    json_decref(object);
}

void demo_screen_event(demo *d, const char *format, ...)
{
    demo_event *event = &d->events[d->event_count++ % DEMO_EVENTS];
    va_list args;
    va_start(args, format);
    vsnprintf(event->text, sizeof(event->text), format, args);
    va_end(args);
    event->at = demo_seconds(d);
    if (d->screen->mode == DEMO_JSON)
        print_json(event);
    else if (d->screen->mode == DEMO_LINES)
        printf("%5.1fs  %s\n", event->at, event->text);
    else
        demo_screen_draw(d, true);
}

bool demo_event_is_bad(const demo_event *event)
{
    return strncmp(event->text, "kill", 4) == 0 || strncmp(event->text, "bob is cut", 10) == 0;
}

bool demo_screen_coloured(const demo *d)
{
    return d->screen && d->screen->colour;
}

const char *demo_screen_mark(const demo *d, bool good)
{
    bool utf8 = d->screen && d->screen->utf8;
    if (demo_screen_coloured(d))
        return good   ? utf8 ? "\033[32m✔\033[0m" : "\033[32mok\033[0m"
               : utf8 ? "\033[31m✖\033[0m"
                      : "\033[31mNO\033[0m";
    return good ? utf8 ? "✔" : "ok" : utf8 ? "✖" : "NO";
}
