/* What the demo's nodes say to each other. "demo" is the node of `troupe demo` itself: it starts the others,
 * tells them when to begin what, and collects what they report; its first actor is named "observer". */
#ifndef TR_CLI_DEMO_MESSAGES_H
#define TR_CLI_DEMO_MESSAGES_H

#include <troupe/troupe.h>

/* ---- every node -> observer ---------------------------------------------------------------------------- */

/* I am up. role: the actor that does this node's part. */
TR_MESSAGE(demo_hello, (string, name), (u32, pid), (u64, node), (string, listen), (addr, role))
/* How late timers fire on my loop: since the last report, and since the start. */
TR_MESSAGE(demo_lateness, (string, name), (u64, p99_ns), (u64, total_p99_ns), (u64, max_ns))
/* How many messages I sent to that node so far, on the connection to its incarnation `node`. */
TR_MESSAGE(demo_traffic, (string, name), (string, peer), (u64, node), (u64, sent))
/* I can't do my part. The demo fails with this text. */
TR_MESSAGE(demo_trouble, (string, name), (string, text))

/* ---- observer -> every node's first actor -------------------------------------------------------------- */

TR_MESSAGE(demo_stop) /* end in order */
TR_MESSAGE(demo_stay) /* --keep: live on when the demo ends */

/* ---- alice --------------------------------------------------------------------------------------------- */

/* alice -> observer: my web app is there. */
TR_MESSAGE(demo_web, (string, address), (u32, files), (u64, bytes))
/* observer -> alice: have so many asks open at bob. Sent back as demo_armed when bob holds them. */
TR_MESSAGE(demo_arm, (u32, asks))
TR_MESSAGE(demo_armed, (u32, asks), (string, bob))
/* alice -> observer: how those asks failed; at_ns on the machine's monotonic clock, of the last of them. */
TR_MESSAGE(demo_asks_failed, (u32, asks), (u32, no_connection), (u64, at_ns), (string, text))

/* observer -> alice: give your list to bob's app, as fast as his results come. */
TR_MESSAGE(demo_publish)
/* alice -> observer: how far the two journals are, as her app knows. */
TR_MESSAGE(demo_journal, (u64, last), (u64, own), (u64, other), (u64, waiting), (bool, together))

/* ---- bob ----------------------------------------------------------------------------------------------- */

/* observer -> bob: halt (SIGSTOP) when transactions on your node come to that point (TR__TX_POINTS) the next time. */
TR_MESSAGE(demo_halt, (string, point))

/* Ask that is held without an answer; and one that is answered at once. */
TR_MESSAGE(demo_hold)
TR_MESSAGE(demo_ready)
TR_MESSAGE(demo_yes)
/* observer -> bob: get the list from http://address/list, and the files in it, no faster than
 * that, in all and each. */
TR_MESSAGE(demo_download, (string, address), (string, into), (u64, bytes_per_second),
           (u64, bytes_per_transfer), (u32, parallel))
/* bob -> observer: step one is done; then how far step two is. half: files under way of which
 * some is there; recovered: results that he had in his journal when he came back. The last has done == true.
 */
TR_MESSAGE(demo_listed, (u32, files), (u64, bytes))
TR_MESSAGE(demo_downloads, (u32, files), (u64, bytes), (u32, half), (u32, resumed), (u64, resumed_bytes),
           (u32, hashed), (u32, recovered), (bool, done))
/* bob asks the observer to note one file's digest as carol computed it; answered by demo_yes. */
TR_MESSAGE(demo_result, (u32, n), (u64, size), (string, sha256))

/* ---- carol --------------------------------------------------------------------------------------------- */

/* bob asks for a file's digest. */
TR_MESSAGE(demo_digest, (string, path))
TR_MESSAGE(demo_digest_is, (string, sha256))
/* observer -> carol: send so many requests at once over one connection; and how it went. */
TR_MESSAGE(demo_pipeline, (string, address), (u32, count))
TR_MESSAGE(demo_pipelined, (u32, asked), (u32, answered), (u32, in_order), (u64, connections),
           (u64, elapsed_ns), (string, example))
/* observer -> carol: draw the picture, for about that much computing time, into that file. */
TR_MESSAGE(demo_render, (string, into), (u64, work_ns))
/* carol -> observer: tiles as they come; the last has done == true and the file is written. tile: the one that
 * came, or `total` if none did; by: who drew it; shades: how bright it is, DEMO_SHADES bytes row by row. */
#define DEMO_SHADES_ACROSS 4
#define DEMO_SHADES_DOWN   3
#define DEMO_SHADES        (DEMO_SHADES_ACROSS * DEMO_SHADES_DOWN)
TR_MESSAGE(demo_tiles, (u32, tiles), (u32, total), (u32, width), (u32, height), (u32, samples),
           (u32, workers), (bool, done), (u32, tile), (string, by), (bytes, shades))

/* ---- the probe: asks alice's web app every 10 ms ------------------------------------------------------- */

/* Nothing to do; the jobs run; bob is dead or cut off until he has healed. */
typedef enum demo_phase_kind { DEMO_QUIET, DEMO_BUSY, DEMO_KILL, DEMO_PHASES } demo_phase_kind;

/* observer -> probe: from now on it is this phase. */
TR_MESSAGE(demo_phase, (u32, phase))
/* probe -> observer: the last quarter of a second, and the phase so far. spread: DEMO_SPREAD counts, uint32_t of
 * this machine; the first is what took less than DEMO_SPREAD_FROM_NS, each next one reaches 2^(1/4) times as far,
 * the last takes the rest. */
#define DEMO_SPREAD         48
#define DEMO_SPREAD_FROM_NS 62500
TR_MESSAGE(demo_latency, (u32, phase), (u64, p50_ns), (u64, p99_ns), (u64, p999_ns), (u64, max_ns),
           (u64, window_p99_ns), (u64, asked), (u64, failed), (bytes, spread))

#endif
