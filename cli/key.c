/* `troupe key`: makes and changes key files, which the nodes of a cluster share, and has running nodes read theirs again,
 * over their operator sockets. The main thread. A file is made where there is none, or replaced as a whole. */
#include <stdio.h>
#include <string.h>

#include "base/stderr_os.h"
#include "cli/cli.h"
#include "cli/operator_client.h"
#include "cli/options.h"
#include "transport/key_os.h"

#define ANSWER_NS TR_SECONDS(5)

static const char usage[] =
    "usage: troupe key new FILE       makes a key for the nodes of a cluster: a new file that its\n"
    "                                 owner alone can read (exit status 1 if there is such a file)\n"
    "       troupe key show FILE      tells the keys in a file by their ids, which aren't secret\n"
    "       troupe key add FILE NEXT  the key in NEXT becomes the other key in FILE: nodes take it\n"
    "       troupe key swap FILE      the other key becomes the one that nodes dial with\n"
    "       troupe key drop FILE      forgets the other key\n"
    "       troupe key reload NODE... has nodes that run here read their files again; connections\n"
    "                                 that are up stay\n"
    "  Copy a file to each machine in a safe way, and start every node with --key FILE. How a\n"
    "  cluster changes its key while it runs: docs/security.md.\n";

/* Returns the exit status. */
static int fail(const tr_error *error)
{
    tr__stderr_line("troupe key", error->text);
    return 1;
}

static int make(const char *file)
{
    tr_error error;
    if (tr__key_create(file, &error))
        return fail(&error);
    printf("made the key file %s; start every node of the cluster with --key and a copy of it\n", file);
    return 0;
}

static int show(const char *file)
{
    tr_error error;
    tr__keys keys;
    char words[TR__KEYS_WORDS];
    if (tr__key_read(file, &keys, &error))
        return fail(&error);
    tr__keys_words(&keys, words);
    tr__wipe(&keys, sizeof(keys));
    printf("%s: %s\n", file, words);
    return 0;
}

/* And what it has then. */
static int change(tr_err (*how)(const char *file, tr_error *error), const char *file)
{
    tr_error error;
    return how(file, &error) ? fail(&error) : show(file);
}

static int add(const char *file, const char *next)
{
    tr_error error;
    return tr__key_add(file, next, &error) ? fail(&error) : show(file);
}

static int reload(const char *node)
{
    tr_error error;
    json_t *request = json_pack("{s:s}", "do", "reload-key"), *answer = NULL;
    tr_err err = operator_request_once(node, request, ANSWER_NS, &answer, &error);
    json_decref(request);
    if (err)
        return fail(&error);
    const char *words = json_string_value(json_object_get(answer, "keys"));
    printf("%s: %s\n", node, words ? words : "");
    json_decref(answer);
    return 0;
}

/* All of them, whichever fails. */
static int reload_each(char **nodes)
{
    int status = 0;
    for (; *nodes; nodes++)
        status |= reload(*nodes);
    return status;
}

int cli_key(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (argc == 2 && (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0)) {
        printf("%s", usage);
        return 0;
    }
    if (argc == 3 && strcmp(what, "new") == 0)
        return make(argv[2]);
    if (argc == 3 && strcmp(what, "show") == 0)
        return show(argv[2]);
    if (argc == 4 && strcmp(what, "add") == 0)
        return add(argv[2], argv[3]);
    if (argc == 3 && strcmp(what, "swap") == 0)
        return change(tr__key_swap, argv[2]);
    if (argc == 3 && strcmp(what, "drop") == 0)
        return change(tr__key_drop, argv[2]);
    if (argc > 2 && strcmp(what, "reload") == 0)
        return reload_each(argv + 2);
    return cli_bad_words("key", argc > 1 ? what : NULL, "new, show, add, swap, drop, reload", usage);
}
