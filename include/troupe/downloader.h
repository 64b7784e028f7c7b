/* The downloader: fetches files over HTTP and HTTPS while everything else runs.
 *
 *     tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.parallel = 8});
 *     tr_future f = tr_ask(self, dl, TR_MINUTES(5), tr_fetch, .url = url, .into = "downloads/");
 *
 * It streams to disk off the loop and leaves either the whole file under its name or nothing: the name
 * appears when the body is complete, checked and forced to disk. A file that was there is replaced then, not
 * before.
 *
 * Bytes on the way lie in a file without a name, so nothing is left when the job fails, is cancelled, or the
 * process dies (on a file system without O_TMPFILE, in a hidden `.NAME.PID-N.part` that a kill leaves
 * behind). With `resume` they lie in `NAME.part`, beside `NAME.part.info` (where from, which version), and
 * stay: the next fetch of that URL with `resume` goes on at that byte, if the server still has the same
 * version. After a power cut (not: a kill) the end of NAME.part may be other than what came: give `sha256`
 * where that matters. */
#ifndef TROUPE_DOWNLOADER_H
#define TROUPE_DOWNLOADER_H

#include <troupe/actor.h>

/* Spawn it with tr_downloader_opts or NULL. */
extern const tr_actor_def tr_downloader;

/* 0 always means the default. */
TR_MESSAGE(tr_downloader_opts, (u32, parallel), /* at a time; 4, at most 64 */
           (u32, queue),            /* waiting beyond those; 1,024, at most 65,536; then TR_EFULL */
           (u64, timeout_ns),       /* for one fetch, waiting included; only the ask's deadline */
           (u64, stall_ns),         /* without a byte; 30 s */
           (u64, connect_ns),       /* to connect; 10 s */
           (u64, progress_ns),      /* between progress messages; 250 ms */
           (u64, bytes_per_second)) /* of each transfer; unlimited */

/* Ask for a file. A cancelled ask, or one whose deadline passes, ends the transfer. Errors, each with the URL
 * or the path in its text:
 *   TR_EINVAL    a URL that isn't http(s), a name that can't be made of it, `into` not usable
 *   TR_EADDR     the host's name can't be resolved     TR_EREFUSED  connection refused, or 401, 403, 407
 *   TR_ENOCONN   no way to the host                    TR_ERESET    the server cut the connection
 *   TR_ENOTFOUND 404, 410, or no such directory        TR_EAPP      another HTTP status, in the text
 *   TR_ESHORT    the body ended early                  TR_EMISMATCH other than the size or sha256 asked for
 *   TR_EDEADLINE not done in time, or stalled          TR_EPROTO    not HTTP, bad TLS, redirected too often
 *   TR_ENOSPC    the disk is full                      TR_EPERM     not allowed to write there
 *   TR_EEXIST    that file is being downloaded now     TR_EFULL     too many waiting
 *   TR_EIO       reading or writing failed             TR_ENOMEM */
TR_MESSAGE(tr_fetch, (string, url), /* http:// or https://, without user or password */
           (string, into),          /* a file's path; or a directory with '/' at its end (made if its parent
                                     * is there), and the name is the last part of the URL's path */
           (string, sha256),        /* 64 hexadecimal digits that it must have; "" = any */
           (u64, size),             /* bytes that it must have; 0 = any */
           (bool, resume),          /* keep what arrived, and go on from it */
           (addr, progress))        /* gets tr_progress; none = nobody */

/* The answer: the file is there, whole. */
TR_MESSAGE(tr_fetched, (string, url), (string, path), (u64, size), (string, sha256), (u64, resumed_from),
           (u64, elapsed_ns))

/* Sent now and then, and once at the end of a fetch that went well; lost if the receiver's mailbox is full.
 * `total` is 0 while unknown. */
TR_MESSAGE(tr_progress, (string, url), (u64, done), (u64, total))

#endif
