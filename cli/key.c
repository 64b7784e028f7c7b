/* `troupe key new FILE`: makes the key that the nodes of a cluster share. The main thread. Never touches a
 * file that exists. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "transport/key_os.h"

static const char usage[] =
    "usage: troupe key new FILE\n"
    "  makes a key for the nodes of a cluster: a new file that its owner alone can read\n"
    "  (exit status 1 if there is such a file). Copy it to each machine in a safe way, and\n"
    "  start every node with --key FILE.\n";

static int make(const char *file)
{
    tr_error error;
    if (tr__key_create(file, &error)) {
        fprintf(stderr, "troupe: %s\n", error.text);
        return 1;
    }
    printf("made the key file %s; start every node of the cluster with --key and a copy of it\n", file);
    return 0;
}

int cli_key(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("%s", usage);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "new") == 0)
        return make(argv[2]);
    fprintf(stderr, "%s", usage);
    return 2;
}
