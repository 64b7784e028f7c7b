/* The demo's screen: its private part, between screen.c (modes, terminal) and view.c (what is on
 * it). */
#ifndef TR_CLI_DEMO_SCREEN_H
#define TR_CLI_DEMO_SCREEN_H

#include "cli/demo/demo.h"

typedef enum demo_screen_mode { DEMO_LINES, DEMO_JSON, DEMO_REDRAW } demo_screen_mode;

typedef enum demo_ink {
    INK_PLAIN,
    INK_BOLD,
    INK_DIM,
    INK_RED,
    INK_GREEN,
    INK_YELLOW,
    INK_BLUE,
    INK_MAGENTA,
    INKS
} demo_ink;

struct demo_screen {
    demo_screen_mode mode;
    bool colour, utf8, keys; /* keys: they are read */
    int rows, columns;       /* of the terminal */
    int drawn;               /* lines that are on the screen, above the cursor */
    uint64_t last_ns;        /* when */
};

/* A frame being made: lines, none longer than the terminal is wide. */
typedef struct demo_frame {
    const struct demo_screen *screen;
    char text[32768];
    size_t used;
    int lines, column; /* column: of the line being made */
} demo_frame;

/* Add text to the line; what goes beyond the terminal's width is left out. */
void demo_frame_add(demo_frame *frame, demo_ink ink, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void demo_frame_end_line(demo_frame *frame);

/* The whole picture, `rows_max` lines at most. */
void demo_view_make(const demo *d, demo_frame *frame, int rows_max);

#endif
