/* A little web server, so that the examples run on a machine where there is none: a thread for each connection,
 * plain sockets, nothing of Troupe. HTTP/1.1 with keep-alive and pipelining, GET only, on loopback.
 *
 *     /bytes/SIZE/NAME  SIZE bytes (at most 100 million)      /echo/TEXT  "TEXT is request N of this connection"
 *     /slow/SIZE/NAME   the same, 100,000 bytes every 50 ms   anything else is a 404 */
#ifndef TROUPE_EXAMPLES_WEB_H
#define TROUPE_EXAMPLES_WEB_H

/* Serve until the process ends. The port; 0: no port or no thread to be had. */
int web_start(void);

#endif
