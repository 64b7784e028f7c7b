/* See keys.h. Ctrl-C and Ctrl-Z stay signals. What a signal handler needs is static, and what it calls
 * (tcsetattr, write, sigaction, raise) is safe there. A handler that somebody else has set (a sanitizer's) stays. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <termios.h>
#include <unistd.h>

#include "cli/demo/keys.h"

#define HIDE "\033[?25l"
#define SHOW "\033[?25h"

static struct termios as_it_was;
static volatile sig_atomic_t has_keyboard, taken, resumed;

static bool is_ours(void)
{
    return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void say(const char *code, size_t size)
{
    ssize_t ignored = write(STDOUT_FILENO, code, size);
    (void)ignored;
}

static void take(void)
{
    struct termios quiet = as_it_was;
    quiet.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    if (has_keyboard && is_ours()) /* else it would stop us */
        tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
    say(HIDE, sizeof(HIDE) - 1);
    taken = true;
}

static void give_back(void)
{
    if (!taken)
        return;
    taken = false;
    if (has_keyboard && is_ours())
        tcsetattr(STDIN_FILENO, TCSANOW, &as_it_was);
    say(SHOW, sizeof(SHOW) - 1);
}

static void on_crash(int number)
{
    give_back();
    raise(number); /* by now with its default: it was set to be reset, and comes when this returns */
}

static void on_stop(int number)
{
    int kept = errno;
    struct sigaction again;
    sigset_t unblock;
    give_back();
    sigaction(number, NULL, &again);
    signal(number, SIG_DFL);
    raise(number);
    sigemptyset(&unblock);
    sigaddset(&unblock, number);
    pthread_sigmask(SIG_UNBLOCK, &unblock, NULL); /* it stops here, and goes on after SIGCONT */
    sigaction(number, &again, NULL);
    take();
    resumed = true;
    errno = kept;
}

/* In the background we don't stop at Ctrl-Z but may come to the foreground: `fg` sends SIGCONT. */
static void on_continue(int number)
{
    int kept = errno;
    (void)number;
    if (taken)
        take();
    resumed = true;
    errno = kept;
}

static void set_if_default(int number, void (*handler)(int), int flags)
{
    struct sigaction now, ours = {.sa_handler = handler, .sa_flags = flags};
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        sigaction(number, &ours, NULL);
}

bool demo_keys_open(void)
{
    static const int crashes[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    has_keyboard = isatty(STDIN_FILENO) && is_ours() && tcgetattr(STDIN_FILENO, &as_it_was) == 0;
    for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
        set_if_default(crashes[i], on_crash, (int)SA_RESETHAND);
    set_if_default(SIGTSTP, on_stop, SA_RESTART);
    set_if_default(SIGCONT, on_continue, SA_RESTART);
    take();
    return has_keyboard;
}

char demo_keys_next(void)
{
    char key;
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    if (!has_keyboard || !taken || !is_ours() || poll(&ready, 1, 0) != 1 || !(ready.revents & POLLIN))
        return 0;
    return read(STDIN_FILENO, &key, 1) == 1 ? key : 0;
}

bool demo_keys_resumed(void)
{
    bool did = resumed;
    resumed = false;
    return did;
}

void demo_keys_close(void)
{
    give_back();
}
