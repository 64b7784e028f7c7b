/* The active app: finds its peer, compares journals, numbers the items of both, and sends what the peer
 * lacks. See app_state.h for steps and invariants. On the actor's loop; how it can fail: tr__app_end and
 * tr__app_part in app.c.
 *
 * The journal is also the queue: what is sent is read back from it, from behind what the peer has, a batch at
 * a time. So a peer that was away for a day is no special case. While one batch is with the peer, the next
 * one is gathered, appended and forced. */
#include <inttypes.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "base/check.h"
#include "base/err.h"

/* ---- finding and greeting ------------------------------------------------------------------------------ */

static void on_found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    const tr_found *found = result->err == TR_OK ? tr_match(result->msg, tr_found) : NULL;
    (void)context;
    app->asking = (tr_future){0};
    if (!found) {
        tr_error error;
        tr__fail(&error, result->err, "can't be found by now: %s",
                 result->error ? result->error->text : tr_err_word(result->err));
        tr__app_part(self, app, &error);
        return;
    }
    app->peer = found->actor;
    app->monitor = tr_monitor(self, app->peer);
    app->found = true;
    if (!app->monitor) {
        tr_error error = *tr_last_error(self);
        tr__app_part(self, app, &error);
    }
    tr__app_pump(self, app);
}

void tr__app_seek(tr_actor *self, tr__app *app)
{
    tr__app_asked(self, app, tr_lookup(self, app->path, TR__APP_ASK_NS), on_found);
}

static void on_welcome(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    tr_error error;
    (void)context;
    app->asking = (tr_future){0};
    if (result->err != TR_OK) {
        tr__app_ask_failed(self, app, "hello", result);
        return;
    }
    const tr_app_welcome *welcome = tr_match(result->msg, tr_app_welcome);
    if (!welcome || welcome->digest.size != TR__DIGEST) {
        tr__app_end(self, app, TR_EPROTO,
                    "it answered hello by something else: is there an app of that name?");
        return;
    }
    if (tr__app_peer_check(app, welcome->name, welcome->id, &error) != TR_OK) {
        tr__app_end(self, app, error.code, "%s", error.text);
        return;
    }
    strcpy(app->peer_name, welcome->name);
    strcpy(app->peer_id, welcome->id);
    memcpy(app->peer_digest, welcome->digest.data, TR__DIGEST);
    if (welcome->last > app->last) {
        tr__app_end(self, app, TR_EMISMATCH,
                    "its journal goes to item %" PRIu64 ", ours to %" PRIu64
                    ": ours was lost or replaced; put a copy "
                    "of its journal in the place of ours and start again",
                    welcome->last, app->last);
        return;
    }
    app->both = welcome->last;
    app->target = app->last;
    app->prefix_wanted = true;
    tr__app_pump(self, app);
}

/* Answer the puts that the peer is known to have. */
static void settle(tr_actor *self, tr__app *app)
{
    while (app->puts && app->puts->number > 0 && app->puts->number <= app->both)
        tr__app_put_done(self, app, app->puts->number);
    if (app->step == TR__APP_CATCHING_UP && app->both >= app->target)
        tr__app_together(self, app);
}

static void on_prefix(tr_actor *self, tr__app *app, const tr__journal_result *result)
{
    if (memcmp(result->prefix, app->peer_digest, TR__DIGEST) != 0) {
        tr__app_end(self, app, TR_EMISMATCH,
                    "its journal differs from ours within the first %" PRIu64
                    " items: compare the two files; the "
                    "wrong one has to be replaced by a copy of the right one",
                    app->both);
        return;
    }
    tr__app_go(self, app, TR__APP_CATCHING_UP);
    settle(self, app);
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static void on_echo(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    char got[TR__DIGEST_TEXT], want[TR__DIGEST_TEXT];
    (void)context;
    app->asking = (tr_future){0};
    if (result->err != TR_OK) {
        tr__app_ask_failed(self, app, tr_fmt(self, "items from %" PRIu64 " on", app->sent_first), result);
        return;
    }
    const tr_app_echo *echo = tr_match(result->msg, tr_app_echo);
    if (!echo || echo->digests.size != app->digests_count * TR__DIGEST) {
        tr__app_end(self, app, TR_EPROTO, "item %" PRIu64 " was not answered by the echo of its digest",
                    app->sent_first);
        return;
    }
    for (size_t i = 0; i < app->digests_count; i++) {
        const uint8_t *digest = (const uint8_t *)echo->digests.data + i * TR__DIGEST;
        if (memcmp(digest, app->digests[i], TR__DIGEST) == 0)
            continue;
        tr__app_end(
            self, app, TR_EMISMATCH,
            "item %" PRIu64 " was sent with digest %.12s.. and echoed with %.12s..; compare both journals, "
            "then start both apps anew",
            app->sent_first + i, tr__digest_text(app->digests[i], want), tr__digest_text(digest, got));
        return;
    }
    app->both = app->sent_first + app->digests_count - 1;
    settle(self, app);
    tr__app_pump(self, app);
}

static void send_entries(tr_actor *self, tr__app *app, const tr__journal_result *result)
{
    tr_error error;
    tr_bytes records = {result->bytes, result->size};
    /* What a disk gives back is checked like what a peer sends. */
    if (tr__app_batch_check(records, app->both + 1, &app->digests_count, app->digests, &error) != TR_OK) {
        tr__app_end(self, app, error.code, "our own journal has been damaged: %s", error.text);
        return;
    }
    app->sent_first = app->both + 1;
    tr__app_asked(self, app, tr_ask(self, app->peer, TR__APP_ASK_NS, tr_app_entries, .records = records),
                  on_echo);
}

/* ---- numbering ----------------------------------------------------------------------------------------- */

static tr__put *first_unnumbered(const tr__app *app)
{
    tr__put *put = app->puts;
    while (put && put->number > 0)
        put = put->next;
    return put;
}

static void append(tr__app *app, size_t size)
{
    tr__app_journal_takes(app);
    app->seam->append(app->journal, app->batch, size);
}

static void append_own(tr__app *app, tr__put *put)
{
    uint64_t number = app->last;
    size_t size = 0;
    for (; put; put = put->next) {
        const tr_app_put *body = tr_match(put->ask, tr_app_put);
        if (size + tr__entry_room(body->data.size) > TR__BATCH_MAX)
            break;
        put->number = ++number;
        size += tr__entry_print(app->batch + size, number, app->id, put->digest, body->data.data,
                                body->data.size);
    }
    app->offer_turn = true;
    append(app, size);
}

/* The peer's items, with the numbers that they have from now on. A larger number takes more room; an app
 * leaves it (see its offer()), so what does not fit is a broken peer's, which learns by the short echo. */
static void append_offer(tr__app *app)
{
    const tr_app_offer *offer = tr_match(app->offer, tr_app_offer);
    const uint8_t *at = offer->records.data;
    size_t left = offer->records.size, size = 0;
    uint64_t number = app->last;
    tr__entry entry;
    const char *why;
    app->offer_count = 0;
    while (left > 0 && tr__entry_parse(at, left, &entry, &why) == TR__ENTRY_WHOLE &&
           size + tr__entry_room(entry.size) <= TR__BATCH_MAX) {
        size += tr__entry_print(app->batch + size, ++number, app->peer_id,
                                app->offer_digests[app->offer_count], entry.data, entry.size);
        app->offer_count++;
        at += entry.whole;
        left -= entry.whole;
    }
    app->offer_turn = false;
    app->offer_writing = true;
    append(app, size);
}

void tr__app_on_offer(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_offer *offer)
{
    tr_error error;
    size_t count;
    bool known = app->path && !tr_addr_is_none(app->peer) && tr_addr_equal(tr_msg_sender(msg), app->peer);
    if (!known || app->offer || (!tr__app_in_session(app) && app->step != TR__APP_GREETING)) {
        /* Stopped, parted, restarted: a healthy peer says "again" upon this. */
        tr_reply_error(self, msg, app->step == TR__APP_STOPPED ? TR_EAPP : TR_ENOCONN,
                       "app %.40s (%s) does not take items of this one now", app->name, app->id);
        return;
    }
    tr_err err = tr__app_batch_check(offer->records, 1, &count, app->offer_digests, &error);
    const uint8_t *at = offer->records.data;
    size_t done = 0;
    for (size_t i = 0; err == TR_OK && i < count; i++) {
        tr__entry entry;
        const char *why;
        tr__entry_parse(at + done, offer->records.size - done, &entry, &why);
        done += entry.whole;
        if (strcmp(entry.origin, app->peer_id) != 0)
            err = tr__fail(&error, TR_EPROTO, "it offered an item of %s as its own", entry.origin);
    }
    app->offer = err == TR_OK ? tr_msg_take(self, msg) : NULL;
    if (err != TR_OK) {
        tr_reply_error(self, msg, err, "%s", error.text);
        tr__app_end(self, app, err, "an offer: %s", error.text);
    } else if (!app->offer) {
        tr_reply_error(self, msg, TR_ENOMEM, "no memory to keep an offer");
    }
}

static void offer_appended(tr_actor *self, tr__app *app)
{
    app->offer_writing = false;
    tr_reply(self, app->offer, tr_app_echo, .digests = {app->offer_digests, app->offer_count * TR__DIGEST});
    tr_msg_free(self, &app->offer);
}

/* ---- what next ----------------------------------------------------------------------------------------- */

void tr__app_journal_active(tr_actor *self, tr__app *app, const tr__journal_result *result)
{
    bool stale = app->op_session != app->session;
    if (result->op == TR__JOURNAL_APPEND && app->offer_writing)
        offer_appended(self, app);
    else if (result->op == TR__JOURNAL_READ && !stale)
        send_entries(self, app, result);
    else if (result->op == TR__JOURNAL_PREFIX && !stale)
        on_prefix(self, app, result);
}

void tr__app_pump_active(tr_actor *self, tr__app *app)
{
    if (app->busy)
        return;
    if (app->step == TR__APP_APART && app->found && !app->no_room) {
        tr_future hello =
            tr_ask(self, app->peer, TR__APP_ASK_NS, tr_app_hello, .version = TR__APP_VERSION,
                   .name = app->name, .id = app->id, .last = app->last); /* P3: the journal is idle */
        if (tr__app_asked(self, app, hello, on_welcome)) {
            app->found = false;
            tr__app_go(self, app, TR__APP_GREETING);
        }
    } else if (app->step == TR__APP_GREETING && app->prefix_wanted) {
        app->prefix_wanted = false;
        tr__app_journal_takes(app);
        app->seam->prefix(app->journal, app->both);
    } else if (tr__app_in_session(app)) {
        if (!app->asking.id && !app->no_room && app->both < app->last) {
            tr__app_journal_takes(app);
            app->seam->read(app->journal, app->both + 1);
            return;
        }
        tr__app_puts_sweep(self, app);
        tr__put *put = first_unnumbered(app);
        if (app->offer && (app->offer_turn || !put))
            append_offer(app);
        else if (put)
            append_own(app, put);
    }
}
