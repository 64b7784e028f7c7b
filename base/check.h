/* Checks of our own invariants and of the caller's contract. A failed check means a bug: it prints where,
 * what and the invariant's name and ends the process (a test can put a handler in its place, see
 * tr__check_handler). */
#ifndef TR_BASE_CHECK_H
#define TR_BASE_CHECK_H

#define tr__check(condition, ...)                                          \
    do {                                                                   \
        if (__builtin_expect(!(condition), 0))                             \
            tr__check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

/* Walks and other costly checks: debug and sanitizer builds only. */
#ifdef NDEBUG
#define tr__check_slow(condition, ...) ((void)0)
#else
#define tr__check_slow(condition, ...) tr__check(condition, __VA_ARGS__)
#endif

/* Does not return, unless a test's handler does. */
void tr__check_failed(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5), cold));

/* What a failed check calls with the whole text instead of abort(); NULL restores abort(). Tests only. */
extern void (*tr__check_handler)(const char *text);

#endif
