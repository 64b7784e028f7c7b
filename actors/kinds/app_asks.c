/* What the program asks of its app: how it is doing, an entry of the journal, to own a child. See troupe/app.h. What is
 * committed is read by a transaction of its own, one an ask. On the actor's loop. Every list here is bounded; what
 * doesn't fit is refused at once with TR_EFULL. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "base/err.h"

#define READ_LOCK_NS TR_MILLIS(500) /* while a put is in doubt the journal can't be read: told soon */
#define LONGEST_NS   TR_MINUTES(10) /* that a transaction may take */
#define READ_TRIES   20             /* of a look that older transactions take the journal from */

static const tr_tx_opts brief = {.lock_wait_ns = READ_LOCK_NS};

/* ---- reads --------------------------------------------------------------------------------------------- */

static void reading_end(tr_actor *self, tr__app_reading *r)
{
    tr_msg_free(self, &r->ask);
}

/* The status, as far as it could be read; to a `together` only if it could. `why` not. */
static void answer_status(tr_actor *self, tr__app *app, tr__app_reading *r, tr_err err, const char *why)
{
    char text[TR__DIGEST_TEXT] = "";
    const tr_app_query *query = tr_match(r->ask, tr_app_query);
    const char *error = app->error.text;
    bool stopped = app->step == TR__APP_STOPPED;
    if (query->together && (stopped || err != TR_OK)) {
        tr_reply_error(self, r->ask, stopped ? app->error.code : err, "%s", stopped ? error : why);
        reading_end(self, r);
        return;
    }
    if (err != TR_OK)
        error = tr_fmt(self, "%s%sits journal can't be read just now: %s", error, error[0] ? "; " : "", why);
    else
        tr__digest_text(r->digest, text);
    tr_reply(self, r->ask, tr_app_status, .name = app->name, .id = app->id, .peer_name = app->peer_name,
             .peer_id = app->peer_id, .state = tr__app_step_name(app->step), .last = r->seen.last,
             .own = r->seen.own, .other = r->seen.other, .waiting = app->puts_count,
             .children = app->children_count, .digest = text, .error = error);
    reading_end(self, r);
}

static void got_over(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self;
    (void)state;
    (void)result;
    (void)context;
}

/* An older one took the journal while it was read: it is read again. */
static bool reads_again(tr_actor *self, tr__app_reading *r, const tr_tx_done *done)
{
    return done && done->reason == TR_TX_WOUNDED && ++r->wounded < READ_TRIES &&
           tr_msg_remaining(self, r->ask) > 0;
}

static void look(tr_actor *self, tr__app *app, tr__app_reading *r);

static void status_missed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app_reading *r = context;
    const tr_tx_done *done = result->msg ? tr_match(result->msg, tr_tx_done) : NULL;
    if (reads_again(self, r, done))
        look(self, state, r);
    else
        answer_status(self, state, r, done ? TR_EABORTED : result->err,
                      done ? done->text : tr_err_word(result->err));
}

/* One look is true whatever comes of it; it is committed so that who looks sees nothing that went wrong. */
static void status_seen(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app_reading *r = context;
    const tr_app_seen *seen = result->msg ? tr_match(result->msg, tr_app_seen) : NULL;
    if (seen) {
        r->seen = (tr_app_seen){.last = seen->last, .own = seen->own, .other = seen->other};
        memcpy(r->digest, seen->digest.data, TR__DIGEST); /* our own answer: it has that size */
    }
    if (tr_then(self, tr_tx_commit(&r->tx), seen ? got_over : status_missed, r) != TR_OK)
        tr_tx_abort(&r->tx);
    else if (!seen)
        return; /* its end says why */
    tr_err err = seen ? TR_OK : result->err;
    answer_status(self, state, r, err, result->error ? result->error->text : tr_err_word(err));
}

/* Who asked for `together` waits for what is in doubt, as long as it wants to. */
static void look(tr_actor *self, tr__app *app, tr__app_reading *r)
{
    uint64_t left = tr_msg_remaining(self, r->ask), most = left < LONGEST_NS ? left : LONGEST_NS;
    const tr_tx_opts patient = {.deadline_ns = most, .lock_wait_ns = most};
    r->tx = tr_tx_begin(self, tr_match(r->ask, tr_app_query)->together ? &patient : &brief);
    if (tr_then(self, tr_tx_call(&r->tx, app->path, tr_app_look), status_seen, r) != TR_OK) {
        tr_error why = *tr_last_error(self);
        answer_status(self, app, r, why.code, why.text);
    }
}

static void read_entry(tr_actor *self, tr__app *app, tr__app_reading *r);

static void get_missed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app_reading *r = context;
    const tr_tx_done *done = result->msg ? tr_match(result->msg, tr_tx_done) : NULL;
    if (reads_again(self, r, done)) {
        read_entry(self, state, r);
        return;
    }
    tr_reply_error(self, r->ask, done ? TR_EABORTED : result->err, "%s",
                   done ? done->text : tr_err_word(result->err));
    reading_end(self, r);
}

static void got(tr_actor *self, void *state, const tr_result *result, void *context)
{
    const tr__app *app = state;
    tr__app_reading *r = context;
    const tr_app_get *get = tr_match(r->ask, tr_app_get);
    const tr_app_item *item = result->msg ? tr_match(result->msg, tr_app_item) : NULL;
    if (result->err == TR_EABORTED && tr_then(self, tr_tx_commit(&r->tx), get_missed, r) == TR_OK)
        return; /* its end says why */
    if (item && item->number)
        tr_reply_body(self, r->ask, &tr_app_item_type, item);
    else if (item)
        tr_reply_error(self, r->ask, TR_ENOTFOUND, "app %.40s (%s) has no entry %" PRIu64, app->name, app->id,
                       get->number);
    else
        tr_reply_error(self, r->ask, result->err == TR_EAPP ? TR_EMISMATCH : result->err, "%s",
                       result->error ? result->error->text : tr_err_word(result->err));
    /* One read is true whatever comes of it; it is committed so that who looks sees nothing that went wrong. */
    if (!item || tr_then(self, tr_tx_commit(&r->tx), got_over, NULL) != TR_OK)
        tr_tx_abort(&r->tx);
    reading_end(self, r);
}

static void read_entry(tr_actor *self, tr__app *app, tr__app_reading *r)
{
    uint64_t number = tr_match(r->ask, tr_app_get)->number;
    r->tx = tr_tx_begin(self, &brief);
    if (tr_then(self, tr_tx_call(&r->tx, app->path, tr_app_read, .number = number), got, r) != TR_OK) {
        tr_reply_error(self, r->ask, tr_last_error(self)->code, "%s", tr_last_error(self)->text);
        reading_end(self, r);
    }
}

static tr__app_reading *free_reading(tr__app *app)
{
    for (uint32_t i = 0; i < TR__APP_QUERIES_MAX; i++)
        if (!app->readings[i].ask)
            return &app->readings[i];
    return NULL;
}

static void refuse_full(tr_actor *self, const tr__app *app, const tr_msg *msg)
{
    tr_reply_error(self, msg, TR_EFULL, "app %.40s (%s): %d asks of that kind wait already", app->name,
                   app->id, TR__APP_QUERIES_MAX);
}

/* A place for a kept ask. NULL: refused, and freed. */
static tr__app_reading *read_for(tr_actor *self, tr__app *app, tr_msg *kept)
{
    tr__app_reading *r = free_reading(app);
    if (!r) {
        refuse_full(self, app, kept);
        tr_msg_free(self, &kept);
        return NULL;
    }
    *r = (tr__app_reading){.ask = kept};
    return r;
}

/* Takes the kept ask. */
static void read_status(tr_actor *self, tr__app *app, tr_msg *kept)
{
    tr__app_reading *r = read_for(self, app, kept);
    if (r)
        look(self, app, r);
}

void tr__app_on_get(tr_actor *self, tr__app *app, const tr_msg *msg)
{
    tr_msg *kept = tr_msg_take(self, msg);
    tr__app_reading *r = kept ? read_for(self, app, kept) : NULL;
    if (r)
        read_entry(self, app, r);
}

/* ---- together ------------------------------------------------------------------------------------------ */

void tr__app_on_query(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_query *query)
{
    bool now = !query->together || app->step == TR__APP_TOGETHER;
    if (!now && app->step == TR__APP_STOPPED) {
        tr_reply_error(self, msg, app->error.code, "%s", app->error.text);
        return;
    }
    if (!now && app->queries_count == TR__APP_QUERIES_MAX) {
        refuse_full(self, app, msg);
        return;
    }
    tr_msg *kept = tr_msg_take(self, msg);
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

static bool is_of(const tr_msg *ask, const tr_canceled *canceled)
{
    return tr_msg_ask_number(ask) == canceled->ask && tr_addr_equal(tr_msg_sender(ask), canceled->asker);
}

void tr__app_query_canceled(tr_actor *self, tr__app *app, const tr_canceled *canceled)
{
    for (uint32_t i = 0; i < app->queries_count; i++) {
        if (!is_of(app->queries[i], canceled))
            continue;
        tr_msg_free(self, &app->queries[i]);
        app->queries[i] = app->queries[--app->queries_count];
        return;
    }
    for (uint32_t i = 0; i < TR__APP_QUERIES_MAX; i++)
        if (app->readings[i].ask && is_of(app->readings[i].ask, canceled))
            tr_tx_abort(&app->readings[i].tx); /* its call fails, and gives the place back */
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
