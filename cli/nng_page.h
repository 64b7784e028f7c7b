/* The page that shows a demo or a node file's nodes in a browser: page.html and the state that it asks for
 * twice a second, on loopback only. Routes: /, /state.json, /picture.png (404 until there is one). Who asks
 * for another host than this machine by name of loopback gets a 403: a foreign page whose name was made to
 * lead here (DNS rebinding) must not read it. */
#ifndef TR_CLI_NNG_PAGE_H
#define TR_CLI_NNG_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <troupe/err.h>

typedef struct tr__page tr__page;

/* Listens on 127.0.0.1 when it returns; port 0 takes a free one. NULL with *error: TR_EADDRINUSE, TR_EPERM,
 * TR_ENOMEM, TR_EIO. */
tr__page *tr__page_open(uint16_t port, tr_error *error);
uint16_t tr__page_port(const tr__page *page);
/* The state from now on: JSON text from malloc, taken; NULL is ignored. Any thread. */
void tr__page_set_state(tr__page *page, char *json);
/* The picture from now on, a PNG file's bytes, copied. False: no memory. Any thread. */
bool tr__page_set_picture(tr__page *page, const void *png, size_t size);
/* Stop. If somebody looks at the page, first let them have the state that was set last, for up to
 * TR__PAGE_LINGER_MS. Blocks that long. NULL is fine. */
void tr__page_close(tr__page *page);

#define TR__PAGE_LINGER_MS 1500

#endif
