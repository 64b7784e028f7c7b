/* What happens to bob: he is killed and started again, or cut off and connected again; as the script says, or by a key.
 * All from the observer's fiber, on the main thread; each runs to its end while the rest goes on. */
#ifndef TR_CLI_DEMO_INCIDENTS_H
#define TR_CLI_DEMO_INCIDENTS_H

#include "cli/demo/demo.h"

/* kill -9, with asks of alice open, and start him again when that was noticed. in_transaction: when he has just decided
 * the next transaction and told nobody yet (he halts there); at once if none comes within 3 s. */
tr_err demo_kill_bob(demo *d, bool in_transaction);
/* Take his interface down, with asks of alice open; up again when that was noticed. */
tr_err demo_cut_bob(demo *d);
/* What keys say. TR_ECANCELED: to stop. Part of every step, so also of those within an incident. */
tr_err demo_incident_keys(demo *d);
/* Tell the probe what is measured now. */
tr_err demo_set_phase(demo *d, demo_phase_kind phase);

/* ---- script.c, for incidents ---------------------------------------------------------------------- */

#define DEMO_START_WITHIN TR_SECONDS(10)

/* One step: a message, if one comes, keys, the screen. */
tr_err demo_step(demo *d);
/* Time that incidents take meanwhile doesn't count. */
tr_err demo_wait_until(demo *d, bool (*done)(demo *d), uint64_t within_ns, const char *what);
tr_err demo_watch_for(demo *d, uint64_t duration_ns);
/* An error of the fiber's last call becomes the demo's. */
tr_err demo_told(demo *d, tr_err err, const char *what);
tr_err demo_start_bob(demo *d);
/* Tell him to download, or to go on with it. */
tr_err demo_begin_download(demo *d);

#endif
