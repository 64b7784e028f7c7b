/* `troupe top` on a terminal, by ncurses. The main thread. Each look asks the nodes, so a node that hangs delays it by the
 * client's bound. SIGINT and SIGTERM end it like the key q: the terminal is as before. */
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <ncurses.h>

#include "cli/top.h"

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static void put_line(void *context, const char *line, int ink)
{
    static const int colours[] = {0, 0, 1, 2};
    int row = getcury(stdscr), *left = context, columns = COLS;
    if (*left <= 0 || columns <= 0)
        return;
    (*left)--;
    int look = ink == 1 ? A_BOLD : ink == 3 ? A_REVERSE : 0;
    attron(look | COLOR_PAIR(colours[ink]));
    addnstr(line, ink == 2 || ink == 1 ? columns : -1);
    attroff(look | COLOR_PAIR(colours[ink]));
    move(row + 1, 0);
}

static void draw(const top *t)
{
    int left = LINES - 1;
    erase();
    move(0, 0);
    if (!t->node_count)
        put_line(&left, "No node runs here with an operator socket.", 0);
    else
        top_table(t, TOP_ROWS_MAX, (size_t)(COLS > 0 ? COLS : 1), put_line, &left);
    char keys[160];
    snprintf(keys, sizeof(keys),
             "q quit  sort: b busy r rate m mail a age 9 p99 (by %s)  +/- faster, slower",
             top_key_word(t->key));
    attron(A_DIM);
    mvaddnstr(LINES - 1, 0, keys, COLS > 1 ? COLS - 1 : 1); /* not the last cell: it would scroll */
    attroff(A_DIM);
    refresh();
}

/* false: quit. *again: ask the nodes at once. */
static bool on_key(int key, top_key *by, double *every_s)
{
    static const char letters[TOP_KEYS] = {'b', 'r', 'm', 'a', '9'};
    for (int i = 0; i < TOP_KEYS; i++)
        if (key == letters[i])
            *by = (top_key)i;
    if (key == '+' && *every_s > 0.25)
        *every_s /= 2;
    if (key == '-' && *every_s < 4)
        *every_s *= 2;
    return key != 'q' && key != 'Q';
}

static void loop(const char *node, top_key key, double every_s, top *looks)
{
    int which = 0;
    bool first = true;
    while (!ended) {
        top *now = &looks[which];
        now->key = key;
        top_look(now, first ? NULL : &looks[1 - which], node);
        /* The first look has no rates yet: the second comes soon. */
        int left_ms = first ? 300 : (int)(every_s * 1000);
        first = false;
        which = 1 - which;
        do {
            now->key = key;
            top_sort(now);
            draw(now);
            int step = left_ms > 100 ? 100 : left_ms;
            timeout(step);
            int pressed = getch();
            left_ms -= pressed == ERR ? step : 0;
            if (pressed != ERR && pressed != KEY_RESIZE && !on_key(pressed, &key, &every_s))
                return;
        } while (left_ms > 0 && !ended);
    }
}

int top_screen(const char *node, top_key key, double every_s)
{
    top *looks = calloc(2, sizeof(*looks));
    if (!looks)
        return -1;
    setlocale(LC_CTYPE, "");
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (!screen) {
        free(looks);
        return -1;
    }
    struct sigaction on = {.sa_handler = on_signal}, before_int, before_term;
    sigaction(SIGINT, &on, &before_int);
    sigaction(SIGTERM, &on, &before_term);
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    const char *no_colour = getenv("NO_COLOR");
    if (has_colors() && !(no_colour && *no_colour)) {
        start_color();
        use_default_colors();
        init_pair(1, COLOR_RED, -1);
        init_pair(2, COLOR_CYAN, -1);
    }
    loop(node, key, every_s, looks);
    endwin();
    delscreen(screen);
    sigaction(SIGINT, &before_int, NULL);
    sigaction(SIGTERM, &before_term, NULL);
    free(looks);
    return 0;
}
