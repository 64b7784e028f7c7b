/* For tests that play an app's peer: a node that runs one fiber of the test, a directory for a journal, and
 * what the two sides say first. Include it behind <cmocka.h>; its functions are for the test's main thread
 * (run, setup, teardown) or for the fiber (the others). What fails there is the fiber's error, which fails
 * the test. */
#ifndef TESTS_KIT_APP_PEER_H
#define TESTS_KIT_APP_PEER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <troupe/app.h>
#include <troupe/node.h>

#include "actors/kinds/app_wire.h"
#include "actors/kinds/journal.h"

#define SOON TR_SECONDS(20)

/* ---- fixture ------------------------------------------------------------------------------------------- */

static char dir[32], journal_path[64];

static inline int app_peer_setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_app.XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    sprintf(journal_path, "%s/journal", dir);
    return 0;
}

static inline int app_peer_teardown(void **state)
{
    (void)state;
    unlink(journal_path);
    return rmdir(dir);
}

static inline void no_log(void *context, tr_log_level level, const char *line)
{
    (void)context, (void)level, (void)line;
}

static inline void run(tr_err (*start)(tr_actor *self, void *arg))
{
    tr_error error = {0};
    tr_node_opts opts = {.name = "alice", .start = start, .log = no_log};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node)
        fail_msg("%s", error.text);
    tr_err err = tr_node_run(node, &error);
    tr_node_destroy(node);
    if (err != TR_OK)
        fail_msg("%s", error.text);
}

#define EXPECT(self, condition)                                                                 \
    do {                                                                                        \
        if (!(condition))                                                                       \
            return tr_fail(self, TR_EAPP, "line %d: %s (last error: %s)", __LINE__, #condition, \
                           tr_last_error(self)->text);                                          \
    } while (0)
#define EXPECT_TEXT(self, want)                                                                           \
    do {                                                                                                  \
        if (!strstr(tr_last_error(self)->text, want))                                                     \
            return tr_fail(self, TR_EAPP, "line %d: not in \"%s\"", __LINE__, tr_last_error(self)->text); \
    } while (0)

/* ---- helpers ------------------------------------------------------------------------------------------- */

static inline tr_addr start_passive(tr_actor *self, const char *journal)
{
    return tr_spawn(self, &tr_app, (&(tr_app_opts){.name = "bob", .id = "b1", .journal = journal}));
}

/* The next message of that type; others are passed over. */
static inline const void *next(tr_actor *self, tr_type *type, const tr_msg **msg)
{
    while ((*msg = tr_receive(self, SOON))) {
        const void *body = tr_match_type(*msg, type);
        if (body)
            return body;
    }
    return NULL;
}
#define NEXT(self, type, msg) ((const type *)next((self), &type##_type, (msg)))

static inline size_t entry(uint8_t *out, uint64_t number, const char *origin, const char *data)
{
    uint8_t digest[TR__DIGEST];
    crypto_hash_sha256(digest, (const uint8_t *)data, strlen(data));
    return tr__entry_print(out, number, origin, digest, data, strlen(data));
}

static inline tr_err status(tr_actor *self, tr_addr app, bool together, const tr_app_status **s)
{
    return tr_await(self, tr_ask(self, app, SOON, tr_app_query, .together = together), tr_app_status, s);
}

static inline tr_err hello(tr_actor *self, tr_addr app, uint64_t last, const tr_app_welcome **w)
{
    return tr_await(self,
                    tr_ask(self, app, SOON, tr_app_hello, .version = TR__APP_VERSION, .name = "alice",
                           .id = "a1", .last = last),
                    tr_app_welcome, w);
}

#endif
