/* What the commands' options have in common. The main thread. */
#ifndef TR_CLI_OPTIONS_H
#define TR_CLI_OPTIONS_H

#include <stdbool.h>

/* getopt_long said '?' or ':' (its string begins with "+:", opterr is 0): say what is wrong. The exit status,
 * 2. */
int cli_bad_option(const char *command, int option, char *const *argv);
/* A decimal number of least to most, both included; false after saying what is needed. `option` is as the
 * user wrote it ("--parallel"). */
bool cli_number(const char *command, const char *option, const char *text, double least, double most,
                bool whole, double *out);

/* The words behind a command are wrong: the usage, and before it, if the first is none of `known` ("list, show"), that. The
 * exit status, 2. `word` may be NULL. */
int cli_bad_words(const char *command, const char *word, const char *known, const char *usage);

#endif
