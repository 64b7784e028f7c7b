/* See operator_client.h. A request: connect, write a frame, read a frame, each with what is left of the time. Failures are
 * told in words; a node that hangs up in the middle is TR_ERESET. */
#include "cli/operator_client.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "actors/operator/operator.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/printable.h"
#include "mailbox/json.h"
#include "transport/frame.h"

#define SUFFIX ".sock"

struct operator_client {
    int fd;
    char node[TR_NAME_MAX];
    tr__operator_reader reader;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- connecting ---------------------------------------------------------------------------------------- */

operator_client *operator_open(const char *node, tr_error *error)
{
    char path[TR__OPERATOR_PATH_MAX], directory[TR__OPERATOR_PATH_MAX];
    if (tr__name_check("node", node, error) != TR_OK || tr__operator_path(node, path, error) != TR_OK ||
        tr__operator_directory(directory, error) != TR_OK)
        return NULL;
    /* Another user could have made the directory, and listen there in a node's name. */
    tr_err err = tr__operator_directory_check(directory, error);
    int fd = err == TR_OK ? tr__operator_dial(path, error) : -1;
    if (fd < 0) {
        if (error->code == TR_ENOTFOUND || error->code == TR_EREFUSED)
            tr__fail(error, TR_ENOTFOUND,
                     "no node \"%s\" runs here with an operator socket; `troupe ps` lists those that do, "
                     "`troupe node --name %s` starts one",
                     node, node);
        return NULL;
    }
    operator_client *client = tr__operator_peer_allowed(fd) ? tr__zalloc(sizeof(*client)) : NULL;
    if (!client) {
        tr__fail(error, TR_EPERM, "%s is served by another user's process, or memory ran out", path);
        close(fd);
        return NULL;
    }
    client->fd = fd;
    snprintf(client->node, sizeof(client->node), "%s", node);
    return client;
}

void operator_close(operator_client *client)
{
    if (!client)
        return;
    close(client->fd);
    tr__operator_reader_fini(&client->reader);
    tr__free(client);
}

/* ---- a request ----------------------------------------------------------------------------------------- */

/* It can be read from, or written to. */
static tr_err wait_for(operator_client *client, short events, uint64_t until_ns, tr_error *error)
{
    uint64_t now = now_ns(), left_ms = until_ns > now ? (until_ns - now + 999999u) / 1000000u : 0;
    struct pollfd ready = {.fd = client->fd, .events = events};
    int count = poll(&ready, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
    if (count == 0)
        return tr__fail(error, TR_EDEADLINE, "node %s does not answer; is its process stopped?",
                        client->node);
    if (count < 0 && errno != EINTR)
        return tr__fail(error, TR_EIO, "waiting for node %s: %s", client->node, strerror(errno));
    return TR_OK;
}

static tr_err broken(const operator_client *client, tr_error *error)
{
    return tr__fail(error, TR_ERESET, "node %s closed the connection: it stops, or has ended", client->node);
}

static tr_err send_all(operator_client *client, const void *bytes, size_t length, uint64_t until_ns,
                       tr_error *error)
{
    const char *at = bytes;
    while (length) {
        ssize_t sent = send(client->fd, at, length, MSG_NOSIGNAL);
        if (sent >= 0) {
            at += sent;
            length -= (size_t)sent;
        } else if (errno == EAGAIN) {
            TR_TRY(wait_for(client, POLLOUT, until_ns, error));
        } else if (errno != EINTR) {
            return broken(client, error);
        }
    }
    return TR_OK;
}

static tr_err receive_text(operator_client *client, uint64_t until_ns, char **text, tr_error *error)
{
    char bytes[65536];
    size_t used, length;
    *text = NULL;
    while (!*text) {
        TR_TRY(wait_for(client, POLLIN, until_ns, error));
        ssize_t got = recv(client->fd, bytes, sizeof(bytes), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return broken(client, error);
        if (got > 0)
            TR_TRY(tr__operator_read(&client->reader, bytes, (size_t)got, &used, text, &length, error));
    }
    return TR_OK;
}

/* What a node tells may be a peer's words, or an actor's: it is made fit to be shown where it comes in. Messages, under `answer`
 * and `messages`, stay as they are: they are shown as JSON only. */
static json_t *shown_string(const json_t *string)
{
    char shown[4096];
    return json_string(tr__printable(shown, sizeof(shown), json_string_value(string)));
}

static bool is_to_change(const json_t *value)
{
    return json_is_string(value) && !tr__is_printable(json_string_value(value));
}

static void make_printable(json_t *value)
{
    const char *key;
    json_t *one;
    size_t i;
    json_object_foreach(value, key, one)
    {
        if (is_to_change(one))
            json_object_set_new(value, key, shown_string(one));
        else if (strcmp(key, "answer") != 0 && strcmp(key, "messages") != 0)
            make_printable(one);
    }
    json_array_foreach(value, i, one)
    {
        if (is_to_change(one))
            json_array_set_new(value, i, shown_string(one));
        else
            make_printable(one);
    }
}

/* The node's words for what failed. */
static tr_err told_error(const json_t *answer, tr_error *error)
{
    const json_t *told = json_object_get(answer, "error");
    const char *word = json_string_value(json_object_get(told, "code"));
    const char *text = json_string_value(json_object_get(told, "text"));
    tr_err code = TR_EPROTO;
    for (int i = 1; word && i < TR_ERR_COUNT; i++)
        if (strcmp(tr__err_word((tr_err)i), word) == 0)
            code = (tr_err)i;
    return tr__fail(error, code, "%s",
                    text ? text : "the node answered something that isn't in docs/operator.md");
}

tr_err operator_request(operator_client *client, const json_t *request, uint64_t timeout_ns, json_t **answer,
                        tr_error *error)
{
    uint64_t until = now_ns() + timeout_ns;
    uint8_t head[4];
    char *text, *told;
    *answer = NULL;
    tr__json_prepare();
    text = tr__json_text(request);
    if (!text)
        return tr__fail(error, TR_ENOMEM, "no memory for a request");
    size_t length = strlen(text);
    tr_err err = length > TR__OPERATOR_FRAME_MAX
                     ? tr__fail(error, TR_ETOOBIG, "a request of %zu bytes; the limit is %u", length,
                                TR__OPERATOR_FRAME_MAX)
                     : TR_OK;
    tr__operator_head(head, (uint32_t)length);
    if (err == TR_OK)
        err = send_all(client, head, sizeof(head), until, error);
    if (err == TR_OK)
        err = send_all(client, text, length, until, error);
    tr__free(text);
    /* One that took no more may have said why: there was no room for us. */
    if (err == TR_OK || err == TR_ERESET)
        err = receive_text(client, until, &told, error);
    if (err != TR_OK)
        return err;
    json_t *value = json_loads(told, 0, NULL);
    tr__free(told);
    make_printable(value);
    if (json_is_true(json_object_get(value, "ok"))) {
        *answer = value;
        return TR_OK;
    }
    err = told_error(value, error);
    json_decref(value);
    return err;
}

tr_err operator_request_once(const char *node, const json_t *request, uint64_t timeout_ns, json_t **answer,
                             tr_error *error)
{
    *answer = NULL;
    operator_client *client = operator_open(node, error);
    if (!client)
        return error->code;
    tr_err err = operator_request(client, request, timeout_ns, answer, error);
    operator_close(client);
    return err;
}

/* ---- which there are ----------------------------------------------------------------------------------- */

static int is_socket(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name), suffix = strlen(SUFFIX);
    return length > suffix && length - suffix < TR_NAME_MAX &&
           strcmp(entry->d_name + length - suffix, SUFFIX) == 0;
}

int operator_each_node(bool (*each)(void *context, const char *name), void *context, tr_error *error)
{
    char directory[TR__OPERATOR_PATH_MAX], name[TR_NAME_MAX];
    struct dirent **entries = NULL;
    if (tr__operator_directory(directory, error) != TR_OK)
        return -1;
    if (tr__operator_directory_check(directory, error) != TR_OK)
        return error->code == TR_ENOTFOUND ? 0 : -1;
    int count = scandir(directory, &entries, is_socket, alphasort);
    if (count < 0) {
        tr__fail(error, tr__err_from_errno(errno), "reading %s: %s", directory, strerror(errno));
        return -1;
    }
    bool more = true;
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "%.*s", (int)(strlen(entries[i]->d_name) - strlen(SUFFIX)),
                 entries[i]->d_name);
        more = more && each(context, name);
        free(entries[i]);
    }
    free(entries);
    return count;
}
