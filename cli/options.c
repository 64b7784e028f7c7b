/* Bad options, each named: see options.h. */
#include "cli/options.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_bad_option(const char *command, int option, char *const *argv)
{
    fprintf(stderr, "troupe %s: %s \"%s\": `troupe %s --help` lists the options\n", command,
            option == ':' ? "a value is missing after" : "unknown option", argv[optind - 1], command);
    return 2;
}

bool cli_number(const char *command, const char *option, const char *text, double least, double most,
                bool whole, double *out)
{
    char *end;
    /* Digits and one point; strtod alone would take "inf", "0x10" and " 1" as well. */
    bool plain = text[0] && strspn(text, "0123456789.") == strlen(text);
    double value = strtod(text, &end);
    if (plain && !*end && end != text && value >= least && value <= most &&
        !(whole && value != floor(value))) {
        *out = value;
        return true;
    }
    fprintf(stderr, "troupe %s: %s \"%s\": a %snumber from %.15g to %.15g is needed\n", command, option, text,
            whole ? "whole " : "", least, most);
    return false;
}

static bool is_known(const char *word, const char *known)
{
    size_t length = strlen(word);
    for (const char *at = known; at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || !at[length]))
            return true;
    }
    return false;
}

int cli_bad_words(const char *command, const char *word, const char *known, const char *usage)
{
    if (word && !is_known(word, known))
        fprintf(stderr, "troupe %s: \"%s\" is none of: %s\n", command, word, known);
    fputs(usage, stderr);
    return 2;
}
