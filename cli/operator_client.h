/* Talking to running nodes of this user by their operator sockets (docs/operator.md). Blocking with a bound; one thread
 * at a time for each client. */
#ifndef TR_CLI_OPERATOR_CLIENT_H
#define TR_CLI_OPERATOR_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#include <troupe/actor.h>
#include <troupe/err.h>

typedef struct operator_client operator_client;

/* Connect to the node of that name. NULL with *error: TR_ENOTFOUND (no node of that name runs here), TR_EPERM, TR_EINVAL,
 * TR_EIO, TR_ENOMEM; the text says what to do. */
operator_client *operator_open(const char *node, tr_error *error);
/* Send a request and wait for its answer, at most timeout_ns; `request` is borrowed. TR_OK and *answer, the caller's: an
 * object whose "ok" is true. Else *answer is NULL and *error says what the node said, or TR_EDEADLINE, TR_ERESET,
 * TR_EPROTO, TR_EIO, TR_ETOOBIG, TR_ENOMEM; after one of these last the client is to be closed. */
tr_err operator_request(operator_client *client, const json_t *request, uint64_t timeout_ns, json_t **answer,
                        tr_error *error);
/* NULL is fine. */
void operator_close(operator_client *client);
/* The three in one, for a single request. */
tr_err operator_request_once(const char *node, const json_t *request, uint64_t timeout_ns, json_t **answer,
                             tr_error *error);

/* Call `each` with the name of each node that has a socket here (it may be one that a killed node left), in order of
 * names, until it returns false; how many there were. No directory is none; -1 with *error: it can't be read, or others
 * may enter it. */
int operator_each_node(bool (*each)(void *context, const char *name), void *context, tr_error *error);

#endif
