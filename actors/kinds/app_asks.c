/* What the program asks of its app: how it is doing, an entry of the journal, to own a child. See troupe/app.h. What is
 * committed is read by a transaction of its own, one an ask. On the actor's loop. Every list here is bounded; what
 * doesn't fit is refused at once with TR_EFULL. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "base/mem.h"

#define READ_LOCK_NS TR_MILLIS(500) /* while a put is in doubt the journal can't be read: told soon */

/* ---- reads --------------------------------------------------------------------------------------------- */

/* A transaction that reads this app's journal for who asked. */
typedef struct reading {
    tr_msg *ask; /* kept */
    tr_tx tx;
    tr_app_seen seen; /* its texts aren't used */
    uint8_t digest[TR__DIGEST];
} reading;

static void reading_end(tr_actor *self, tr__app *app, reading *r)
{
    tr_msg_free(self, &r->ask);
    tr__free(r);
    app->reading--;
}

static void answer_status(tr_actor *self, tr__app *app, const reading *r, const char *error)
{
    char text[TR__DIGEST_TEXT];
    tr_reply(self, r->ask, tr_app_status, .name = app->name, .id = app->id, .peer_name = app->peer_name,
             .peer_id = app->peer_id, .state = tr__app_step_name(app->step), .last = r->seen.last,
             .own = r->seen.own, .other = r->seen.other, .waiting = app->puts_count,
             .children = app->children_count, .digest = tr__digest_text(r->digest, text), .error = error);
}

static void status_done(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    reading *r = context;
    const tr_tx_done *done = result->msg ? tr_match(result->msg, tr_tx_done) : NULL;
    bool good = done && done->status == TR_TX_COMMITTED;
    answer_status(self, app, r, good ? app->error.text : done ? done->text : tr_err_word(result->err));
    reading_end(self, app, r);
}

/* Who can't read it now tells what there is to tell, and why. */
static void status_seen(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    reading *r = context;
    const tr_app_seen *seen = result->msg ? tr_match(result->msg, tr_app_seen) : NULL;
    if (seen && seen->digest.size == TR__DIGEST) {
        r->seen = (tr_app_seen){.last = seen->last, .own = seen->own, .other = seen->other};
        memcpy(r->digest, seen->digest.data, TR__DIGEST);
        if (tr_then(self, tr_tx_commit(&r->tx), status_done, r) == TR_OK)
            return;
    }
    tr_tx_abort(&r->tx);
    answer_status(self, app, r, result->error ? result->error->text : "the journal can't be read now");
    reading_end(self, app, r);
}

static void got_done(tr_actor *self, void *state, const tr_result *result, void *context)
{
    reading *r = context;
    tr_tx_abort(&r->tx); /* one read: there is nothing to commit */
    const tr_app_item *item = result->msg ? tr_match(result->msg, tr_app_item) : NULL;
    if (item)
        tr_reply_body(self, r->ask, &tr_app_item_type, item);
    else
        tr_reply_error(self, r->ask, result->err == TR_EAPP ? TR_ENOTFOUND : result->err, "%s",
                       result->error ? result->error->text : tr_err_word(result->err));
    reading_end(self, state, r);
}

/* NULL: refused, for want of room. */
static tr_msg *keep(tr_actor *self, tr__app *app, const tr_msg *msg, uint32_t waiting)
{
    tr_msg *kept = waiting < TR__APP_QUERIES_MAX ? tr_msg_take(self, msg) : NULL;
    if (!kept)
        tr_reply_error(self, msg, TR_EFULL, "app %.40s (%s): %d asks of that kind wait already", app->name,
                       app->id, TR__APP_QUERIES_MAX);
    return kept;
}

/* Begin, for a kept ask; NULL: no memory, and it was told. */
static reading *read_for(tr_actor *self, tr__app *app, tr_msg *kept)
{
    reading *r = tr__zalloc(sizeof(*r));
    if (!r) {
        tr_reply_error(self, kept, TR_ENOMEM, "no memory to read the journal");
        tr_msg_free(self, &kept);
        return NULL;
    }
    r->ask = kept;
    r->tx = tr_tx_begin(self, &(tr_tx_opts){.lock_wait_ns = READ_LOCK_NS});
    app->reading++;
    return r;
}

/* Takes the kept ask. */
static void read_status(tr_actor *self, tr__app *app, tr_msg *kept)
{
    reading *r = read_for(self, app, kept);
    if (r && tr_then(self, tr_tx_call(&r->tx, app->path, tr_app_look), status_seen, r) != TR_OK) {
        answer_status(self, app, r, tr_last_error(self)->text);
        reading_end(self, app, r);
    }
}

void tr__app_on_get(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_get *get)
{
    tr_msg *kept = keep(self, app, msg, app->reading);
    reading *r = kept ? read_for(self, app, kept) : NULL;
    if (r && tr_then(self, tr_tx_call(&r->tx, app->path, tr_app_read, .number = get->number), got_done, r) !=
                 TR_OK) {
        tr_reply_error(self, r->ask, tr_last_error(self)->code, "%s", tr_last_error(self)->text);
        reading_end(self, app, r);
    }
}

/* ---- together ------------------------------------------------------------------------------------------ */

void tr__app_on_query(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_query *query)
{
    bool now = !query->together || app->step == TR__APP_TOGETHER;
    if (!now && app->step == TR__APP_STOPPED) {
        tr_reply_error(self, msg, app->error.code, "%s", app->error.text);
        return;
    }
    tr_msg *kept = keep(self, app, msg, now ? app->reading : app->queries_count);
    if (kept && now)
        read_status(self, app, kept);
    else if (kept)
        app->queries[app->queries_count++] = kept;
}

void tr__app_answer_queries(tr_actor *self, tr__app *app)
{
    for (uint32_t i = 0; i < app->queries_count; i++)
        read_status(self, app, app->queries[i]);
    app->queries_count = 0;
}

void tr__app_fail_queries(tr_actor *self, tr__app *app)
{
    for (uint32_t i = 0; i < app->queries_count; i++) {
        tr_reply_error(self, app->queries[i], app->error.code, "%s", app->error.text);
        tr_msg_free(self, &app->queries[i]);
    }
    app->queries_count = 0;
}

void tr__app_query_canceled(tr_actor *self, tr__app *app, const tr_canceled *canceled)
{
    for (uint32_t i = 0; i < app->queries_count; i++) {
        tr_msg *ask = app->queries[i];
        if (tr_msg_ask_number(ask) != canceled->ask || !tr_addr_equal(tr_msg_sender(ask), canceled->asker))
            continue;
        tr_msg_free(self, &app->queries[i]);
        app->queries[i] = app->queries[--app->queries_count];
        return;
    }
}

/* ---- children ------------------------------------------------------------------------------------------ */

void tr__app_on_own(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_own *own)
{
    if (app->children_count == TR__APP_CHILDREN_MAX) {
        tr_reply_error(self, msg, TR_EFULL, "app %.40s (%s) has %d children: that is the limit", app->name,
                       app->id, TR__APP_CHILDREN_MAX);
    } else if (tr_link(self, own->actor) != TR_OK) {
        const tr_error *error = tr_last_error(self);
        tr_reply_error(self, msg, error->code, "%s", error->text);
    } else {
        app->children[app->children_count++] = own->actor;
        tr_reply(self, msg, tr_app_owned, .children = app->children_count);
    }
}

/* A child, or who started us: that one takes us with it. */
void tr__app_on_exited(tr_actor *self, tr__app *app, const tr_exited *exited)
{
    bool failed = exited->kind != TR_EXIT_NORMAL && exited->kind != TR_EXIT_SHUTDOWN;
    for (uint32_t i = 0; i < app->children_count; i++) {
        if (!tr_addr_equal(app->children[i], exited->actor))
            continue;
        app->children[i] = app->children[--app->children_count];
        if (failed)
            tr_log(self, TR_LOG_WARN, "app %s (%s): a child failed: %s", app->name, app->id, exited->text);
        return;
    }
    if (exited->kind != TR_EXIT_NORMAL)
        tr_exit(self, TR_ECLOSED, "app %.40s (%s): what it was linked to has ended: %s", app->name, app->id,
                exited->text);
}
