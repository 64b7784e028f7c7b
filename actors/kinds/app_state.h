/* The state of an app, and what its four files share: app.c (life), app_asks.c (what the program asks),
 * app_active.c (the one that finds its peer and numbers the items), app_passive.c (the one that is found).
 *
 *            opening --> apart <---------------+------------+
 *                         | \                  |            |
 *              (active) greeting  (passive)    |            |
 *                          \  \                |            |
 *                           +--> catching-up --+--> together        any --> stopped, for good
 *
 * Invariants; checks cite them:
 *   P1 The order of the entries is the active app's; the passive one appends only what came numbered, right
 * behind its last. So the passive journal is always a prefix of the active one, byte for byte. P2 An entry is
 * on the active app's disk before it is sent, and on the passive one's before it is echoed. So what a
 * put_done told, no kill undoes. P3 Hello is said with the journal idle, and what the old peer had offered is
 * forgotten by then. So its `last` counts all that ever came of the peer's items, and when the passive app
 * has come that far it knows which of its items did not come through: those it offers again, and nothing
 * twice. P4 At most one ask to the peer, and one operation of the journal, is under way. P5 What the peer
 * sends counts only if it comes from `peer`, which hello (or look-up) has set. */
#ifndef TR_ACTORS_KINDS_APP_STATE_H
#define TR_ACTORS_KINDS_APP_STATE_H

#include "actors/kinds/app_wire.h"
#include "actors/kinds/journal.h"

#define TR__APP_NAME_MAX     63 /* without the NUL */
#define TR__APP_CHILDREN_MAX 64
#define TR__APP_QUERIES_MAX  64
#define TR__APP_ASK_NS       TR_SECONDS(10) /* the deadline of what one app asks the other */

typedef enum tr__app_step {
    TR__APP_OPENING,
    TR__APP_APART,
    TR__APP_GREETING,
    TR__APP_CATCHING_UP,
    TR__APP_TOGETHER,
    TR__APP_STOPPED,
    TR__APP_STEPS
} tr__app_step;

/* An item of the program's, from its being asked until both have it. */
typedef struct tr__put {
    struct tr__put *next;
    tr_msg *ask;     /* kept; the data are in it */
    uint64_t number; /* active: once it is being appended, else 0 */
    bool offered;    /* passive: the peer may have it */
    uint8_t digest[TR__DIGEST];
} tr__put;

typedef struct tr__app {
    const tr__journal_seam *seam;
    tr__journal *journal;
    tr__app_step step;
    char name[TR__APP_NAME_MAX + 1], id[TR__APP_ID_MAX + 1];
    char *path; /* of the peer; NULL: passive */

    tr_addr peer; /* none: not found, or gone */
    char peer_name[TR__APP_NAME_MAX + 1], peer_id[TR__APP_ID_MAX + 1];
    uint64_t monitor; /* of the peer; 0: none */
    tr_future asking; /* id 0: nothing is under way */
    bool no_room;     /* the way to the peer is full: a notice will come, and nothing is asked until then */
    uint64_t session; /* counts how often it came apart; what began in an earlier one is void */
    uint64_t backoff_ns;

    tr__put *puts, **puts_end;
    uint64_t puts_count, puts_bytes;
    tr_msg *queries[TR__APP_QUERIES_MAX]; /* who waits for together */
    uint32_t queries_count;
    tr_addr children[TR__APP_CHILDREN_MAX];
    uint32_t children_count;
    tr_msg *gets[TR__APP_QUERIES_MAX]; /* who waits for an entry, in order */
    uint32_t gets_count;
    bool getting, get_turn; /* the journal reads for gets[0]; it is its turn before the exchange */

    bool busy;           /* the journal has an operation */
    uint64_t op_session; /* in which it began */
    uint64_t last, own, other;
    uint8_t digest[TR__DIGEST];
    uint64_t both;   /* the peer is known to have these */
    uint64_t target; /* when both have so many, the two are together */
    uint8_t *batch;  /* TR__BATCH_MAX: entries to append or to offer */
    /* Of what is with the peer (active) or to be echoed (passive), and of an offer. */
    uint8_t (*digests)[TR__DIGEST], (*offer_digests)[TR__DIGEST];
    size_t digests_count, offer_count;

    /* active */
    bool found;                      /* the peer was looked up and is to be greeted */
    bool prefix_wanted;              /* compare the peer's journal with as much of ours */
    uint8_t peer_digest[TR__DIGEST]; /* of its journal, when it said welcome */
    tr_msg *offer;                   /* kept, to be appended */
    bool offer_writing, offer_turn;  /* it is being appended; it is its turn before ours */
    uint64_t sent_first;             /* number of the first entry under way */

    /* passive */
    tr_msg *hello;   /* kept, until the journal is idle */
    tr_msg *entries; /* kept, being appended */

    tr_error error; /* why stopped, or apart */
} tr__app;

/* ---- app.c --------------------------------------------------------------------------------------------- */

/* The step in a word; static. */
const char *tr__app_step_name(tr__app_step step);
/* Move to another step; only as the table in app.c allows. */
void tr__app_go(tr_actor *self, tr__app *app, tr__app_step step);
/* End the exchange for good: everybody who waits hears "app ... could not talk properly to app ...: why", and
 * the peer hears why as well. Does nothing when stopped already. */
void tr__app_end(tr_actor *self, tr__app *app, tr_err code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Give up the session, and begin another after the back-off. */
void tr__app_part(tr_actor *self, tr__app *app, const tr_error *why);
/* Keep `future`, asked of the peer just now, and have `then` called. False: it could not be asked; if that
 * was for want of room, there will be a notice and a pump, else they are apart. */
bool tr__app_asked(tr_actor *self, tr__app *app, tr_future future, tr_then_fn then);
/* An ask of the peer has failed: end or part, by what the error is. */
void tr__app_ask_failed(tr_actor *self, tr__app *app, const char *what, const tr_result *result);
/* Both have everything up to `target`: be together. */
void tr__app_together(tr_actor *self, tr__app *app);
/* In a session whose peer is known to be who it should be. */
bool tr__app_in_session(const tr__app *app);
/* Whether name and id are acceptable as the peer's: TR_EINVAL with a text. */
tr_err tr__app_peer_check(const tr__app *app, const char *name, const char *id, tr_error *error);
/* Mark the journal as busy; called right before an operation. */
void tr__app_journal_takes(tr__app *app);
/* "app bob (b1)", or what is known of it. */
const char *tr__app_peer_label(tr_actor *self, const tr__app *app);
/* Check a batch of records: whole entries, numbers on from `first` (0: any first one) without a gap, each
 * with the right digest. *count and, if digests isn't NULL, the digest of each as we computed it (room for
 * TR__APP_BATCH_COUNT). TR_EPROTO, TR_EMISMATCH with a text that names the item. */
#define TR__APP_BATCH_COUNT 1024 /* no batch has more: an entry takes 80 bytes at least */
tr_err tr__app_batch_check(tr_bytes records, uint64_t first, size_t *count, uint8_t (*digests)[TR__DIGEST],
                           tr_error *error);
/* Go on with whatever can be done now. */
void tr__app_pump(tr_actor *self, tr__app *app);

/* ---- app_asks.c ---------------------------------------------------------------------------------------- */

/* Answer the oldest put, which both have now, and forget it. */
void tr__app_put_done(tr_actor *self, tr__app *app, uint64_t number);
/* Forget puts whose askers no longer wait, but for those that are under way. */
void tr__app_puts_sweep(tr_actor *self, tr__app *app);
/* Answer a kept ask with an error and let go of it; nothing if *kept is NULL. */
void tr__app_refuse(tr_actor *self, tr_msg **kept, tr_err code, const char *why);
/* Tell app->error to everybody who waits. */
void tr__app_fail_all(tr_actor *self, tr__app *app);
/* Answer who waits for `together`. */
void tr__app_answer_queries(tr_actor *self, tr__app *app);
/* At the end, when the messages are the runtime's to release. */
void tr__app_puts_free(tr__app *app);
/* Have the journal read for the first who waits, if it is idle and there is one. */
void tr__app_start_get(tr_actor *self, tr__app *app);
/* It has been read. */
void tr__app_got(tr_actor *self, tr__app *app, const tr__journal_result *result);
void tr__app_on_put(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_put *body);
void tr__app_on_query(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_query *query);
void tr__app_on_get(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_get *get);
void tr__app_on_own(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_own *own);
void tr__app_on_exited(tr_actor *self, tr__app *app, const tr_exited *exited);
void tr__app_on_canceled(tr_actor *self, tr__app *app, const tr_canceled *canceled);

/* ---- app_active.c -------------------------------------------------------------------------------------- */

void tr__app_seek(tr_actor *self, tr__app *app);
void tr__app_pump_active(tr_actor *self, tr__app *app);
void tr__app_journal_active(tr_actor *self, tr__app *app, const tr__journal_result *result);
void tr__app_on_offer(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_offer *offer);

/* ---- app_passive.c ------------------------------------------------------------------------------------- */

void tr__app_pump_passive(tr_actor *self, tr__app *app);
void tr__app_journal_passive(tr_actor *self, tr__app *app, const tr__journal_result *result);
void tr__app_on_hello(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_hello *hello);
void tr__app_on_entries(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_entries *entries);

#endif
