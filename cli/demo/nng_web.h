/* A small web server for the demo, nng's, on loopback: GET /list, GET /files/N (ranges, ETag), and GET
 * /echo/N, which an actor answers. Everything but echo is answered on nng's threads from the table of files;
 * the table is borrowed and must not change while the server is open. */
#ifndef TR_CLI_NNG_WEB_H
#define TR_CLI_NNG_WEB_H

#include <stdint.h>
#include <troupe/err.h>

#define TR__WEB_WAITING_MAX 256 /* echo requests that may wait for their answer; beyond it they get a 503 */

typedef struct tr__web tr__web;

typedef struct tr__web_file {
    char *path;
    uint64_t size;
    int64_t modified_ns;
} tr__web_file;

typedef struct tr__web_opts {
    const char *address; /* "127.0.0.1:0" */
    const tr__web_file *files;
    uint32_t file_count;
    /* GET /echo/N came, on nng's thread: have tr__web_answer called with the ticket, once; false if that is
     * not possible, it is then answered with a 503. */
    bool (*on_echo)(void *context, uint64_t ticket, uint64_t number);
    void *context;
} tr__web_opts;

/* Listens when it returns. NULL with *error: TR_EADDRINUSE, TR_EADDR, TR_ENOMEM, TR_EIO. */
tr__web *tr__web_open(const tr__web_opts *opts, tr_error *error);
uint16_t tr__web_port(const tr__web *web);
/* Answer an echo request with a text, copied. A ticket that isn't waiting is ignored. Any thread. */
void tr__web_answer(tr__web *web, uint64_t ticket, const char *text);
/* Stop; what waits gets a 503. NULL is fine. Not from a callback. */
void tr__web_close(tr__web *web);

#endif
