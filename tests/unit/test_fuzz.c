/* The inputs that the fuzzers kept (tests/fuzz/corpus), once more, in every build: as they are, cut after each byte, each byte
 * changed, and garbage. `test_fuzz NAME FILE...` replays files of one target, as they are. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/fuzz/fuzz.h"

#define FILE_MAX  (1u << 20)
#define CUTS      24 /* of a slow target's file, evenly; and as many bytes changed. Of other files each byte */
#define GARBAGE   200
#define LARGE     (256u << 10)
#define PATH_ROOM 4096

static const fuzz_target *const targets[] = {
#define TARGET(name) &fuzz_##name,
    FUZZ_TARGETS(TARGET)
#undef TARGET
};
#define TARGETS (sizeof(targets) / sizeof(*targets))

static uint8_t *read_file(const char *path, size_t *length)
{
    FILE *from = fopen(path, "rb");
    uint8_t *bytes = malloc(FILE_MAX);
    *length = from ? fread(bytes, 1, FILE_MAX, from) : 0;
    if (!from) {
        perror(path);
        exit(2);
    }
    fclose(from);
    return bytes;
}

/* ---- which input it was --------------------------------------------------------------------------------- */

static char current[PATH_ROOM + 400];

static void say(const fuzz_target *target, const char *path, const char *what, size_t at)
{
    snprintf(current, sizeof(current), "test_fuzz: the input was %s %s, %s %zu\n", target->name, path, what,
             at);
}

static void tell(void)
{
    ssize_t written = write(STDERR_FILENO, current, strlen(current));
    (void)written;
}

static void on_abort(int number)
{
    (void)number;
    tell();
}

/* A sanitizer's, where there is one: it ends the process without a signal. */
void __attribute__((weak)) __sanitizer_set_death_callback(void (*callback)(void));

static void tell_when_it_crashes(void)
{
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(tell);
}

/* ---- replaying ------------------------------------------------------------------------------------------ */

static void replay_file(const fuzz_target *target, const char *path, bool hostile)
{
    size_t length;
    uint8_t *bytes = read_file(path, &length);
    say(target, path, "whole", length);
    fuzz_run(target, bytes, length);
    const char *name = strrchr(path, '/');
    bool every = !target->slow || (name && strncmp(name, "/real-", 6) == 0);
    size_t step = every ? 1 : length / CUTS + 1;
    for (size_t at = 0; hostile && at < length; at += step) {
        uint8_t was = bytes[at];
        say(target, path, "cut", at);
        fuzz_run(target, bytes, at);
        bytes[at] = was ^ (uint8_t)(at % 3 ? 0xff : 1u << at % 8);
        say(target, path, "changed", at);
        fuzz_run(target, bytes, length);
        bytes[at] = was;
    }
    free(bytes);
}

static void garbage(const fuzz_target *target)
{
    uint8_t *bytes = malloc(LARGE);
    tr__random random;
    tr__random_init(&random, 11);
    for (unsigned i = 0; i < GARBAGE; i++) {
        size_t length = tr__random_below(&random, i % 50 ? 300 : LARGE);
        for (size_t at = 0; at < length; at++)
            bytes[at] = i % 7 == 3 ? 0xff : (uint8_t)tr__random_next(&random);
        say(target, "garbage", "number", i);
        fuzz_run(target, bytes, length);
    }
    free(bytes);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static unsigned replay_corpus(const fuzz_target *target)
{
    char folder[PATH_ROOM], path[PATH_ROOM + 300];
    struct dirent **entries;
    const char *source = getenv("TROUPE_SOURCE");
    snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", source ? source : ".", target->name);
    int count = scandir(folder, &entries, is_input, by_name);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        replay_file(target, path, true);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return count > 0 ? (unsigned)count : 0;
}

static const fuzz_target *target_named(const char *name)
{
    for (size_t i = 0; i < TARGETS; i++)
        if (strcmp(targets[i]->name, name) == 0)
            return targets[i];
    fprintf(stderr, "test_fuzz: no target \"%s\"\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    tell_when_it_crashes();
    if (argc > 1) {
        const fuzz_target *target = target_named(argv[1]);
        fuzz_begin(target);
        for (int i = 2; i < argc; i++) {
            printf("%s %s\n", target->name, argv[i]);
            replay_file(target, argv[i], false);
        }
        return 0;
    }
    unsigned missing = 0;
    for (size_t i = 0; i < TARGETS; i++) {
        fuzz_begin(targets[i]);
        unsigned files = replay_corpus(targets[i]);
        garbage(targets[i]);
        printf("%-12s %u files\n", targets[i]->name, files);
        missing += files == 0;
    }
    if (missing)
        fprintf(stderr, "test_fuzz: %u targets have no kept inputs: `./dev fuzz corpus` makes them\n",
                missing);
    return missing > 0;
}
