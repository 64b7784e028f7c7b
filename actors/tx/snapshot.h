/* Taking a snapshot: the closed segments of a log are read once more, and what their records do to participants and
 * outcomes is done to the rows of a snapshot. So it costs what was logged, not what is kept, and needs nothing of the
 * state machine, which goes on meanwhile. When all is in, it is sealed, and each row is looked at; then the segments may
 * go.
 *
 *   taking ─all records are in─► forgetting ─► sealing ─► verifying ─► over
 *      └───────────────────────────┴─────────────┴──────────┴─ error: over
 *
 * Forgetting: outcomes that the log says may be forgotten go. A COMMIT that isn't acknowledged by all has a row of its own,
 * which stays until its END.
 *
 * Each step leaves rows that are a snapshot, of the LSN that they say. Whoever has the rows; one thread at a time. */
#ifndef TR_ACTORS_TX_SNAPSHOT_H
#define TR_ACTORS_TX_SNAPSHOT_H

#include "actors/tx/log.h"
#include "actors/tx/snap_store.h"

typedef struct tr__snapshot tr__snapshot;

/* Of those segments; `id` is the log's. Borrows both stores until it is freed. NULL: no memory. */
tr__snapshot *tr__snapshot_make(tr__log_store *log, const uint8_t *id, tr__snap_store *rows,
                                const tr__log_closed *closed);
/* For the seam's begin: a piece of it, a MiB of records or so; false: it is over. */
bool tr__snapshot_step(void *snapshot);
/* When it is over. TR_OK: all up to there is in the snapshot, and whole. Else what was wrong, as of the seams. */
tr_err tr__snapshot_result(const tr__snapshot *snapshot, tr_error *error);
/* The first segment that it leaves. */
uint32_t tr__snapshot_keep(const tr__snapshot *snapshot);
void tr__snapshot_free(tr__snapshot *snapshot);

#endif
