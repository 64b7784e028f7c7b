/* The state of an app, and what its files share: app.c (life and steps), app_puts.c (items that wait), app_exchange.c
 * (the transactions with the peer), app_journal.c (the app as a participant), app_asks.c (what the program asks).
 *
 *            apart ──back-off──► looking ──the journals agree──► together ◄──committed── putting
 *              ▲                    │ │                            │  └──items wait──►  ▲    │
 *              └──can't be done now─┘ └──they don't──► stopped     └─────────┬──────────┘    │
 *              └──aborted, or settled──── resolving ◄──unknown───────────────────────────────┘
 *
 * Invariants; checks cite them:
 *   P1 An entry is in both journals or in none, and has the same number in both: it is appended in one transaction,
 *      which both participants' ends are compared before.
 *   P2 No put is answered, and none begins anew, while it is not known what became of the transaction it was in.
 *   P3 One transaction that appends is under way at a time, and it calls the app with the greater path first,
 *      which so is the one whose node decides. */
#ifndef TR_ACTORS_KINDS_APP_STATE_H
#define TR_ACTORS_KINDS_APP_STATE_H

#include "actors/kinds/app_wire.h"
#include "actors/kinds/journal.h"

#define TR__APP_NAME_MAX     63 /* without the NUL */
#define TR__APP_CHILDREN_MAX 64
#define TR__APP_QUERIES_MAX  64
#define TR__APP_BATCH_BYTES  TR_APP_ITEM_MAX /* of items in one transaction: one always fits */
#define TR__APP_BATCH_COUNT  256
#define TR__APP_PATH_MAX     (2 * TR_NAME_MAX)

typedef enum tr__app_step {
    TR__APP_APART,
    TR__APP_LOOKING,
    TR__APP_TOGETHER,
    TR__APP_PUTTING,
    TR__APP_RESOLVING,
    TR__APP_STOPPED,
    TR__APP_STEPS
} tr__app_step;

/* An item of the program's, from its being asked until both have it. */
typedef struct tr__put {
    struct tr__put *next;
    tr_msg *ask; /* kept; the data are in it */
    uint8_t digest[TR__DIGEST];
} tr__put;

/* Where a journal ends, as its participant told within a transaction. */
typedef struct tr__app_end {
    uint64_t first, last;
    uint8_t digest[TR__DIGEST];
} tr__app_end;

/* A transaction that reads this app's own journal for who asked. */
typedef struct tr__app_reading {
    tr_msg *ask; /* kept; NULL: this place is free */
    tr_tx tx;
    tr_app_seen seen; /* its numbers; its texts aren't used */
    uint8_t digest[TR__DIGEST];
    unsigned wounded; /* how often it was */
} tr__app_reading;

typedef struct tr__app {
    tr__app_step step;
    char name[TR__APP_NAME_MAX + 1], id[TR__APP_ID_MAX + 1];
    char path[TR__APP_PATH_MAX], peer_path[TR__APP_PATH_MAX];
    char peer_name[TR__APP_NAME_MAX + 1], peer_id[TR__APP_ID_MAX + 1]; /* "" until it was seen */
    tr_error error;                                                    /* why stopped, or apart */
    char apart[TR_ERROR_TEXT_MAX]; /* and why the log was told so the last time */
    bool settled;                  /* together since, and nothing that waited was refused */
    uint64_t backoff_ns;           /* grows until that is so: that the journals agree isn't enough */
    bool ticking;

    /* The transaction with the peer: one at a time, a look or a put. */
    tr_tx tx;
    unsigned called;     /* how many of the two have answered */
    tr__app_end ends[2]; /* what they said, in the order of the calls */
    uint32_t batch;      /* of the puts, from the first: in the transaction under way (P2) */
    char ticket[TR_TX_TICKET_MAX];

    tr__put *puts, **puts_end;
    uint64_t puts_count, puts_bytes;
    tr_msg *queries[TR__APP_QUERIES_MAX]; /* who waits for together */
    uint32_t queries_count;
    tr__app_reading readings[TR__APP_QUERIES_MAX];
    tr_addr children[TR__APP_CHILDREN_MAX];
    uint32_t children_count;
    uint8_t
        entry[TR_APP_ITEM_MAX + TR__ENTRY_HEADER + 1]; /* as a participant: the one that is being printed */
} tr__app;

/* ---- app.c --------------------------------------------------------------------------------------------- */

/* The step in a word; static. */
const char *tr__app_step_name(tr__app_step step);
/* Move to another step; only as the table in app.c allows. */
void tr__app_go(tr_actor *self, tr__app *app, tr__app_step step);
/* End the exchange for good: everybody who waits hears "app ... could not talk properly to app ...: why". */
void tr__app_end_exchange(tr_actor *self, tr__app *app, tr_err code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Not now: another look after the back-off. */
void tr__app_part(tr_actor *self, tr__app *app, tr_err code, const char *why);
/* Nothing is wrong: the same look or put, after the back-off. */
void tr__app_again(tr_actor *self, tr__app *app);
/* They are together, and a put came through or none waits: the next back-off is the first again. */
void tr__app_settled(tr_actor *self, tr__app *app);
/* The pump does nothing more until the back-off has passed. */
void tr__app_later(tr_actor *self, tr__app *app);
/* "app bob (b1)", or what is known of it. */
const char *tr__app_peer_label(tr_actor *self, const tr__app *app);
/* Whether name and id are acceptable as the peer's: TR_EINVAL with a text. */
tr_err tr__app_peer_check(const tr__app *app, const char *name, const char *id, tr_error *error);
/* Go on with whatever can be done now. */
void tr__app_pump(tr_actor *self, tr__app *app);

/* ---- app_puts.c ---------------------------------------------------------------------------------------- */

void tr__app_on_put(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_put *body);
/* The first `app->batch` of them are committed, numbered from `first`: answer and forget them. */
void tr__app_puts_done(tr_actor *self, tr__app *app, uint64_t first);
void tr__app_puts_fail(tr_actor *self, tr__app *app);
/* None is under way: those whose askers wait no longer than that fail now, with app->error. */
void tr__app_puts_refuse(tr_actor *self, tr__app *app, uint64_t within_ns);
void tr__app_put_canceled(tr_actor *self, tr__app *app, const tr_canceled *canceled);
/* Forget those whose askers no longer wait, but for those that are under way. */
void tr__app_puts_sweep(tr_actor *self, tr__app *app);
/* At the end, when the messages are the runtime's to release. */
void tr__app_puts_free(tr__app *app);

/* ---- app_exchange.c ------------------------------------------------------------------------------------ */

/* See who the peer is and whether the journals agree. */
void tr__app_look(tr_actor *self, tr__app *app);
/* Put what waits, as much as one transaction takes. */
void tr__app_exchange(tr_actor *self, tr__app *app);
/* Ask again what became of the last one. */
void tr__app_resolve(tr_actor *self, tr__app *app);

/* ---- app_journal.c ------------------------------------------------------------------------------------- */

tr_err tr__app_transact(tr_txview *v, void *state, const tr_msg *msg);

/* ---- app_asks.c ---------------------------------------------------------------------------------------- */

void tr__app_on_query(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_query *query);
void tr__app_on_get(tr_actor *self, tr__app *app, const tr_msg *msg);
void tr__app_on_own(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_own *own);
void tr__app_on_exited(tr_actor *self, tr__app *app, const tr_exited *exited);
void tr__app_query_canceled(tr_actor *self, tr__app *app, const tr_canceled *canceled);
/* Answer who waits for `together`: with the status, or with app->error. */
void tr__app_answer_queries(tr_actor *self, tr__app *app);
void tr__app_fail_queries(tr_actor *self, tr__app *app);

#endif
