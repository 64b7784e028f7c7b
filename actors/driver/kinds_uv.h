/* The real sides of what the shipped kinds do in the world (base/seams.h), by libuv: on the loop's thread, for a node that
 * the libuv driver runs. Defined in actors/kinds, which are above: here only their names are known. */
#ifndef TR_ACTORS_DRIVER_KINDS_UV_H
#define TR_ACTORS_DRIVER_KINDS_UV_H

#include "base/seams.h"

extern const struct tr__process_seam tr__process_uv; /* process_uv.c: child processes */
extern const struct tr__workers_seam tr__workers_uv; /* worker_pool_uv.c: threads */
extern const struct tr__http_seam tr__http_curl;     /* http_curl_uv.c: libcurl */
extern const struct tr__file_seam tr__file_sink_uv;  /* file_sink_uv.c: files by libuv's thread pool */
extern const struct tr__tcp_seam tr__tcp_uv;         /* tcp_uv.c: sockets */
extern const struct tr__fd_seam tr__fds_uv;          /* actors/driver/fd_watch_uv.c: tr_fd_watch */
extern const struct tr__sp_seam tr__sp_nng;          /* nng_sp_uv.c: nng sockets */

#endif
