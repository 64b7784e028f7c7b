/* What an app does with its peer, each a transaction over the two: a look (do we agree?), and a put (append these to
 * both). On the actor's loop, by futures. Both call the two apps one after the other, the one with the greater path first
 * (P3), so two apps that put at once wait for each other in one place.
 *
 * How it can fail: a participant that refuses (TR_EAPP), or journals that don't end alike, end the exchange. All else
 * (a node away, a lock held too long) aborts, and is tried again after a back-off; that an older transaction came first is
 * nobody's news. An outcome that isn't known is asked for until it is (P2). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "actors/tx/frame.h"
#include "base/err.h"

#define RESOLVE_NS TR_SECONDS(10)

/* The path that is called first (0), or second. */
static const char *path_at(const tr__app *app, unsigned which)
{
    bool ours_first = strcmp(app->path, app->peer_path) > 0;
    return ours_first == (which == 0) ? app->path : app->peer_path;
}

static const char *text_of(const tr_result *result)
{
    return result->error && result->error->text[0] ? result->error->text : tr_err_word(result->err);
}

static void look_done(tr_actor *self, void *state, const tr_result *result, void *context);
static void put_done(tr_actor *self, void *state, const tr_result *result, void *context);

/* A call failed, or a future couldn't be had. Of a transaction that can only abort, its end says why. */
static void failed(tr_actor *self, tr__app *app, tr_err err, const char *text)
{
    tr_error why; /* a copy: the text may be the last error's, which the next failing call overwrites */
    tr__fail(&why, err, "%s", text);
    if (err == TR_EABORTED && tr_then(self, tr_tx_commit(&app->tx),
                                      app->step == TR__APP_PUTTING ? put_done : look_done, NULL) == TR_OK)
        return;
    tr_tx_abort(&app->tx);
    if (err == TR_EAPP || err == TR_ETYPE)
        tr__app_end_exchange(self, app, err, "%s", why.text);
    else
        tr__app_part(self, app, err, why.text);
}

static void aborted(tr_actor *self, tr__app *app, const tr_tx_done *done)
{
    if (done->reason == TR_TX_WOUNDED && app->step != TR__APP_RESOLVING)
        tr__app_again(self, app);
    else
        tr__app_part(self, app, done->reason == TR_TX_LOG_FULL ? TR_EFULL : TR_EABORTED, done->text);
    if (done->reason == TR_TX_LOG_FULL)
        tr__app_puts_refuse(self, app, app->backoff_ns);
}

static void next(tr_actor *self, tr__app *app, tr_future future, tr_then_fn then)
{
    if (!future.id || tr_then(self, future, then, NULL) != TR_OK)
        failed(self, app, tr_last_error(self)->code, tr_last_error(self)->text);
}

/* Both have answered the same question: false, and the exchange is over, if their journals end differently (P1). */
static bool agree(tr_actor *self, tr__app *app)
{
    const tr__app_end *a = &app->ends[0], *b = &app->ends[1];
    if (a->last != b->last) {
        tr_tx_abort(&app->tx);
        tr__app_end_exchange(self, app, TR_EMISMATCH,
                             "%s has %" PRIu64 " entries and %s has %" PRIu64
                             ": one of the logs was lost or replaced",
                             path_at(app, 0), a->last, path_at(app, 1), b->last);
        return false;
    }
    if (memcmp(a->digest, b->digest, TR__DIGEST) != 0) {
        tr_tx_abort(&app->tx);
        tr__app_end_exchange(self, app, TR_EMISMATCH,
                             "the two journals have %" PRIu64 " entries each, and another digest", a->last);
        return false;
    }
    return true;
}

/* ---- look ---------------------------------------------------------------------------------------------- */

static void look_at(tr_actor *self, tr__app *app);

static void look_done(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    const tr_tx_done *done = result->msg ? tr_match(result->msg, tr_tx_done) : NULL;
    (void)context;
    if (!done) {
        tr__app_part(self, app, result->err, text_of(result));
        return;
    }
    if (done->status != TR_TX_COMMITTED) {
        aborted(self, app, done);
        return;
    }
    app->error = (tr_error){.code = TR_OK};
    tr__app_go(self, app, TR__APP_TOGETHER);
    tr__app_pump(self, app);
}

static void seen(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    tr_error error;
    const tr_app_seen *s = result->msg ? tr_match(result->msg, tr_app_seen) : NULL;
    (void)context;
    if (!s || s->digest.size != TR__DIGEST) {
        failed(self, app, result->err != TR_OK ? result->err : TR_ETYPE,
               result->err != TR_OK ? text_of(result) : "it answered by something else: is that an app?");
        return;
    }
    if (path_at(app, app->called) == app->peer_path) {
        if (tr__app_peer_check(app, s->name, s->id, &error) != TR_OK) {
            tr_tx_abort(&app->tx);
            tr__app_end_exchange(self, app, error.code, "%s", error.text);
            return;
        }
        snprintf(app->peer_name, sizeof(app->peer_name), "%s", s->name);
        snprintf(app->peer_id, sizeof(app->peer_id), "%s", s->id);
    }
    app->ends[app->called] = (tr__app_end){.last = s->last};
    memcpy(app->ends[app->called++].digest, s->digest.data, TR__DIGEST);
    if (app->called < 2)
        look_at(self, app);
    else if (agree(self, app))
        next(self, app, tr_tx_commit(&app->tx), look_done);
}

static void look_at(tr_actor *self, tr__app *app)
{
    next(self, app, tr_tx_call(&app->tx, path_at(app, app->called), tr_app_look), seen);
}

void tr__app_look(tr_actor *self, tr__app *app)
{
    app->called = 0;
    app->tx = tr_tx_begin(self, NULL);
    tr__app_go(self, app, TR__APP_LOOKING);
    look_at(self, app);
}

/* ---- put ----------------------------------------------------------------------------------------------- */

static void append_at(tr_actor *self, tr__app *app);

static void resolved_or_done(tr_actor *self, tr__app *app, const tr_tx_done *done)
{
    app->called = 0;
    if (done->status == TR_TX_COMMITTED) {
        tr__app_puts_done(self, app, app->ends[0].first);
        if (app->step == TR__APP_PUTTING) {
            tr__app_settled(self, app);
            tr__app_go(self, app, TR__APP_TOGETHER);
        } else {
            tr__app_part(self, app, TR_OK, "what was unknown is committed");
        }
    } else if (done->status == TR_TX_ABORTED) {
        aborted(self, app, done);
    } else {
        tr__fail(&app->error, TR_EABORTED, "what became of %s isn't known yet: %s", app->ticket, done->text);
        if (app->step == TR__APP_PUTTING) {
            tr_log(self, TR_LOG_INFO, "app %s (%s): %s", app->name, app->id, app->error.text);
            tr__app_go(self, app, TR__APP_RESOLVING);
        }
    }
    tr__app_pump(self, app);
}

static void put_done(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    const tr_tx_done *done = result->msg ? tr_match(result->msg, tr_tx_done) : NULL;
    (void)context;
    if (!done) { /* our own manager didn't answer: nothing can be known without a ticket */
        tr_exit(self, result->err, "app %.40s (%s): the transaction manager didn't answer: %s", app->name,
                app->id, text_of(result));
        return;
    }
    snprintf(app->ticket, sizeof(app->ticket), "%s", done->ticket);
    resolved_or_done(self, app, done);
}

static void appended(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    const tr_app_appended *a = result->msg ? tr_match(result->msg, tr_app_appended) : NULL;
    (void)context;
    if (!a || a->digest.size != TR__DIGEST) {
        failed(self, app, result->err != TR_OK ? result->err : TR_ETYPE,
               result->err != TR_OK ? text_of(result) : "it answered by something else: is that an app?");
        return;
    }
    app->ends[app->called] = (tr__app_end){.first = a->first, .last = a->last};
    memcpy(app->ends[app->called++].digest, a->digest.data, TR__DIGEST);
    if (app->called < 2)
        append_at(self, app);
    else if (agree(self, app))
        next(self, app, tr_tx_commit(&app->tx), put_done);
}

/* The batch under way, as the other files read it; the caller frees it. */
static tr__tx_buffer batch_items(const tr__app *app)
{
    tr__tx_buffer items = {0};
    const tr__put *put = app->puts;
    for (uint32_t i = 0; i < app->batch; i++, put = put->next) {
        const tr_app_put *body = tr_match(put->ask, tr_app_put);
        tr__tx_put_bytes(&items, put->digest, TR__DIGEST);
        tr__tx_put_bytes(&items, body->data.data, body->data.size);
    }
    return items;
}

static void append_at(tr_actor *self, tr__app *app)
{
    tr__tx_buffer items = batch_items(app);
    if (items.failed)
        failed(self, app, TR_ENOMEM, "no memory for a batch of items");
    else
        next(self, app,
             tr_tx_call(&app->tx, path_at(app, app->called), tr_app_append, .origin = app->id,
                        .items = {items.bytes, items.length}),
             appended);
    tr__tx_buffer_free(&items);
}

void tr__app_exchange(tr_actor *self, tr__app *app)
{
    size_t bytes = 0;
    tr__app_puts_sweep(self, app);
    app->batch = 0;
    for (const tr__put *put = app->puts; put && app->batch < TR__APP_BATCH_COUNT; put = put->next) {
        const tr_app_put *body = tr_match(put->ask, tr_app_put);
        bytes += body->data.size;
        if (app->batch > 0 && bytes > TR__APP_BATCH_BYTES)
            break;
        app->batch++;
    }
    if (app->batch == 0)
        return;
    app->called = 0;
    app->ticket[0] = '\0';
    app->tx = tr_tx_begin(self, NULL);
    tr__app_go(self, app, TR__APP_PUTTING);
    append_at(self, app);
}

/* ---- resolve ------------------------------------------------------------------------------------------- */

static void ask_again(tr_actor *self, tr__app *app)
{
    app->called = 0;
    tr__app_later(self, app);
}

static void resolved(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    const tr_tx_done *done = result->msg ? tr_match(result->msg, tr_tx_done) : NULL;
    (void)context;
    if (done && (done->reason == TR_TX_LOG_LOST || done->reason == TR_TX_EXPIRED))
        tr__app_end_exchange(self, app, TR_EMISMATCH, "%s: %s", app->ticket, done->text);
    else if (done)
        resolved_or_done(self, app, done);
    else
        ask_again(self, app);
}

void tr__app_resolve(tr_actor *self, tr__app *app)
{
    tr_future future = tr_tx_resolve(self, app->ticket, RESOLVE_NS);
    app->called = 1; /* under way */
    if (!future.id || tr_then(self, future, resolved, NULL) != TR_OK)
        ask_again(self, app);
}
