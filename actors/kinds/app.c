/* The app actor: its life, its steps, and what the program asks of it; see troupe/app.h, and app_state.h for
 * the steps and the invariants. What the program asks is in app_asks.c, the exchange itself in
 * app_active.c and app_passive.c.
 *
 * It runs like any actor, a message at a time; it touches no file, clock or library of the system itself.
 * Hashing a batch (64 KiB) is done here, a quarter of a millisecond; files are read, hashed and forced behind
 * the journal's seam, one operation at a time, and each ends with a tr_journal_done.
 *
 * After whatever happened, tr__app_pump() looks for the next thing to do. How it can fail: what breaks the
 * agreement of the journals ends the exchange (tr__app_end); what may be otherwise the next time, such as a
 * broken connection or a full mailbox, makes the two part (tr__app_part) and meet again after a back-off. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define BACKOFF_FIRST_NS TR_MILLIS(50)
#define BACKOFF_MAX_NS   TR_SECONDS(2)

TR_MESSAGE(tr_app_tick, (u64, session))

/* ---- steps --------------------------------------------------------------------------------------------- */

#define TO(step) (1u << TR__APP_##step)

static const struct {
    const char *name;
    unsigned next; /* the steps that may follow */
} steps[TR__APP_STEPS] = {
    [TR__APP_OPENING] = {"opening", TO(APART) | TO(STOPPED)},
    [TR__APP_APART] = {"apart", TO(GREETING) | TO(CATCHING_UP) | TO(STOPPED)},
    [TR__APP_GREETING] = {"greeting", TO(CATCHING_UP) | TO(APART) | TO(STOPPED)},
    [TR__APP_CATCHING_UP] = {"catching-up", TO(TOGETHER) | TO(APART) | TO(STOPPED)},
    [TR__APP_TOGETHER] = {"together", TO(APART) | TO(STOPPED)},
    [TR__APP_STOPPED] = {"stopped", 0},
};

const char *tr__app_step_name(tr__app_step step)
{
    return steps[step].name;
}

static void check_app(const tr__app *app)
{
    bool session = tr__app_in_session(app);
    tr__check(!session || !tr_addr_is_none(app->peer), "P5: a session has a peer");
    tr__check(!app->path || app->both <= app->last, "P1: the peer has a prefix");
    tr__check(app->step != TR__APP_GREETING || (app->path && !app->offer_writing), "P3: idle while greeting");
}

void tr__app_go(tr_actor *self, tr__app *app, tr__app_step step)
{
    tr__check(steps[app->step].next & 1u << step, "an app does not go from %s to %s", steps[app->step].name,
              steps[step].name);
    tr_log(self, TR_LOG_DEBUG, "app %s (%s): %s -> %s", app->name, app->id, steps[app->step].name,
           steps[step].name);
    app->step = step;
    check_app(app);
}

bool tr__app_in_session(const tr__app *app)
{
    return app->step == TR__APP_CATCHING_UP || app->step == TR__APP_TOGETHER;
}

const char *tr__app_peer_label(tr_actor *self, const tr__app *app)
{
    if (app->peer_name[0])
        return tr_fmt(self, "app %.40s (%s)", app->peer_name, app->peer_id);
    return app->path ? tr_fmt(self, "the app at %.60s", app->path) : "its peer";
}

/* ---- ends and beginnings ------------------------------------------------------------------------------- */

static void session_drop(tr_actor *self, tr__app *app)
{
    app->session++;
    if (app->asking.id)
        tr_cancel(self, app->asking);
    app->asking = (tr_future){0};
    if (app->monitor)
        tr_demonitor(self, app->monitor);
    app->monitor = 0;
    app->found = app->prefix_wanted = app->no_room = false;
    if (!app->offer_writing)
        tr_msg_free(self, &app->offer);
}

void tr__app_end(tr_actor *self, tr__app *app, tr_err code, const char *format, ...)
{
    tr_error why;
    va_list args;
    if (app->step == TR__APP_STOPPED)
        return;
    va_start(args, format);
    tr__vfail(&why, code, format, args);
    va_end(args);
    tr__fail(&app->error, code, "app %.40s (%s) could not talk properly to %s: %s", app->name, app->id,
             tr__app_peer_label(self, app), why.text);
    tr_log(self, TR_LOG_ERROR, "%s", app->error.text);
    tr__app_refuse(self, &app->offer, code, why.text);
    tr__app_refuse(self, &app->hello, code, why.text);
    tr__app_refuse(self, &app->entries, code, why.text);
    if (!tr_addr_is_none(app->peer))
        tr_send(self, app->peer, tr_app_ended, .code = code, .why = why.text);
    session_drop(self, app);
    app->peer = TR_ADDR_NONE;
    tr__app_go(self, app, TR__APP_STOPPED);
    tr__app_fail_all(self, app);
}

/* The next try: of looking the peer up, or of asking it to say hello. */
static void tick_later(tr_actor *self, tr__app *app)
{
    uint64_t wait = app->backoff_ns ? app->backoff_ns : BACKOFF_FIRST_NS;
    app->backoff_ns = wait * 2 < BACKOFF_MAX_NS ? wait * 2 : BACKOFF_MAX_NS;
    wait = wait / 2 + tr_random(self) % (wait / 2); /* jitter: both ends may have lost each other at once */
    if (!tr_after(self, wait, tr_app_tick, .session = app->session).id)
        tr_exit(self, TR_ENOMEM, "app %.40s (%s): no memory for a timer", app->name, app->id);
}

void tr__app_part(tr_actor *self, tr__app *app, const tr_error *why)
{
    /* Not again and again the same while the peer is away. */
    if (why->code != TR_OK && strcmp(app->error.text, why->text) != 0)
        tr_log(self, TR_LOG_INFO, "app %s (%s) is apart from %s: %s", app->name, app->id,
               tr__app_peer_label(self, app), why->text);
    app->error = *why;
    session_drop(self, app);
    if (app->path)
        app->peer = TR_ADDR_NONE;
    if (app->step != TR__APP_APART)
        tr__app_go(self, app, TR__APP_APART);
    if (app->path || !tr_addr_is_none(app->peer))
        tick_later(self, app);
}

static void on_tick(tr_actor *self, tr__app *app, const tr_app_tick *tick)
{
    if (app->step != TR__APP_APART || tick->session != app->session || app->asking.id || app->found)
        return;
    if (app->path) {
        tr__app_seek(self, app);
    } else if (!tr_addr_is_none(app->peer)) {
        /* It may not know that we are apart. If this is lost as well, the next one comes. */
        tr_send(self, app->peer, tr_app_again, .spare = 0);
        tick_later(self, app);
    }
}

bool tr__app_asked(tr_actor *self, tr__app *app, tr_future future, tr_then_fn then)
{
    if (future.id && tr_then(self, future, then, NULL) == TR_OK) {
        app->asking = future;
        return true;
    }
    tr_error error = *tr_last_error(self);
    bool later = !future.id && (error.code == TR_EAGAIN || error.code == TR_EFULL);
    if (later && tr_notify_writable(self, app->peer) == TR_OK) {
        app->no_room = true;
        return false;
    }
    if (future.id)
        tr_cancel(self, future);
    tr__app_part(self, app, &error);
    return false;
}

void tr__app_ask_failed(tr_actor *self, tr__app *app, const char *what, const tr_result *result)
{
    static const unsigned char final[TR_ERR_COUNT] = {
        [TR_EMISMATCH] = 1, [TR_EPROTO] = 1, [TR_EINVAL] = 1,  [TR_EVERSION] = 1,
        [TR_ETYPE] = 1,     [TR_EPERM] = 1,  [TR_EIO] = 1,     [TR_ENOSPC] = 1,
        [TR_EEXIST] = 1,    [TR_EAPP] = 1,   [TR_ETOOBIG] = 1, [TR_ESHORT] = 1,
    };
    tr_error error;
    const char *text =
        result->error && result->error->text[0] ? result->error->text : tr_err_word(result->err);
    tr__fail(&error, result->err, "%s: %s", what, text);
    if (final[result->err])
        tr__app_end(self, app, error.code, "%s", error.text);
    else
        tr__app_part(self, app, &error);
}

void tr__app_together(tr_actor *self, tr__app *app)
{
    app->error = (tr_error){.code = TR_OK};
    app->backoff_ns = 0;
    for (tr__put *put = app->puts; put; put = put->next)
        put->offered = false; /* P3: what came through has been answered */
    tr__app_go(self, app, TR__APP_TOGETHER);
    tr_log(self, TR_LOG_INFO, "app %s (%s) is together with %s at entry %" PRIu64, app->name, app->id,
           tr__app_peer_label(self, app), app->last);
}

tr_err tr__app_peer_check(const tr__app *app, const char *name, const char *id, tr_error *error)
{
    size_t length = strnlen(name, TR__APP_NAME_MAX + 1);
    bool good = length > 0 && length <= TR__APP_NAME_MAX;
    for (size_t i = 0; good && i < length; i++)
        good = (unsigned char)name[i] >= ' ' && name[i] != 127;
    if (!good)
        return tr__fail(error, TR_EINVAL, "an app's name has 1 to %d bytes and no control characters",
                        TR__APP_NAME_MAX);
    if (!tr__app_id_valid(id))
        return tr__fail(error, TR_EINVAL, "an app's id is 1 to %d of A-Z a-z 0-9 . _ -", TR__APP_ID_MAX);
    if (strcmp(id, app->id) == 0)
        return tr__fail(error, TR_EINVAL, "both apps have the id %s: give each its own", id);
    return TR_OK;
}

/* ---- the journal --------------------------------------------------------------------------------------- */

void tr__app_journal_takes(tr__app *app)
{
    tr__check(!app->busy, "P4: the journal does one thing at a time");
    app->busy = true;
    app->op_session = app->session;
}

static void on_journal(tr_actor *self, tr__app *app)
{
    const tr__journal_result *result = app->journal ? app->seam->result(app->journal) : NULL;
    if (!result)
        return; /* somebody else's message */
    app->busy = false;
    app->last = result->last;
    app->own = result->own;
    app->other = result->other;
    memcpy(app->digest, result->digest, TR__DIGEST);
    if (app->step == TR__APP_STOPPED) {
        app->getting = app->offer_writing = false;
    } else if (result->error.code != TR_OK) {
        tr__app_end(self, app, result->error.code, "%s", result->error.text);
    } else if (result->op == TR__JOURNAL_OPEN) {
        if (result->cut > 0)
            tr_log(self, TR_LOG_WARN,
                   "app %s (%s): %" PRIu64 " bytes of a torn last entry were cut off its journal", app->name,
                   app->id, result->cut);
        tr__app_go(self, app, TR__APP_APART);
        app->both = app->path ? 0 : app->last;
        if (app->path)
            tr__app_seek(self, app);
    } else if (app->getting) {
        tr__app_got(self, app, result);
    } else if (app->path) {
        tr__app_journal_active(self, app, result);
    } else {
        tr__app_journal_passive(self, app, result);
    }
}

tr_err tr__app_batch_check(tr_bytes records, uint64_t first, size_t *count, uint8_t (*digests)[TR__DIGEST],
                           tr_error *error)
{
    const uint8_t *at = records.data;
    size_t left = records.size;
    *count = 0;
    if (left == 0 || left > TR__BATCH_MAX)
        return tr__fail(error, TR_EPROTO, "a batch of %zu bytes, it must have 1 to %u", left, TR__BATCH_MAX);
    while (left > 0) {
        tr__entry entry;
        const char *why = "it is cut short";
        tr__entry_found found = tr__entry_parse(at, left, &entry, &why);
        if (found != TR__ENTRY_WHOLE || *count == TR__APP_BATCH_COUNT)
            return tr__fail(error, TR_EPROTO, "item %" PRIu64 " of a batch is malformed, %s",
                            first ? first + *count : *count + 1,
                            found == TR__ENTRY_SHORT ? "it is cut short" : why);
        if (first == 0 && *count == 0)
            first = entry.number;
        if (entry.number != first + *count)
            return tr__fail(error, TR_EPROTO, "item %" PRIu64 " came where item %" PRIu64 " was due",
                            entry.number, first + *count);
        crypto_hash_sha256(digests[*count], entry.data, entry.size);
        if (!tr__entry_right(&entry))
            return tr__fail(error, TR_EMISMATCH,
                            "item %" PRIu64
                            " came with other bytes than its digest says: something between the two "
                            "changes data; compare both journals, then start both apps anew",
                            entry.number);
        (*count)++;
        at += entry.whole;
        left -= entry.whole;
    }
    return TR_OK;
}

/* ---- the actor ----------------------------------------------------------------------------------------- */

void tr__app_pump(tr_actor *self, tr__app *app)
{
    if (app->step == TR__APP_OPENING || app->step == TR__APP_STOPPED)
        return;
    if (app->step == TR__APP_TOGETHER)
        tr__app_answer_queries(self, app);
    if (app->get_turn)
        tr__app_start_get(self, app);
    bool was_busy = app->busy;
    if (app->path)
        tr__app_pump_active(self, app);
    else
        tr__app_pump_passive(self, app);
    app->get_turn = app->busy && !was_busy;
    if (app->step != TR__APP_STOPPED)
        tr__app_start_get(self, app);
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    const tr_app_opts *opts = arg;
    tr__app *app = state;
    tr_error error;
    app->puts_end = &app->puts;
    if (!opts)
        return tr_fail(self, TR_EINVAL, "tr_app needs a tr_app_opts with a name and an id");
    if (tr__app_peer_check(app, opts->name, opts->id, &error) != TR_OK)
        return tr_fail(self, error.code, "tr_app_opts of \"%.40s\": %s", opts->name, error.text);
    snprintf(app->name, sizeof(app->name), "%s", opts->name);
    snprintf(app->id, sizeof(app->id), "%s", opts->id);
    app->seam = tr__journal_uv();
    app->path = opts->peer[0] ? tr__strdup(opts->peer) : NULL;
    app->batch = tr__alloc(TR__BATCH_MAX);
    app->digests = tr__alloc(TR__APP_BATCH_COUNT * TR__DIGEST);
    app->offer_digests = tr__alloc(TR__APP_BATCH_COUNT * TR__DIGEST);
    bool memory = app->batch && app->digests && app->offer_digests && (app->path || !opts->peer[0]);
    if (!memory)
        tr__fail(&error, TR_ENOMEM, "no memory for app %.40s", app->name);
    else
        app->journal = app->seam->open(tr__loop_of(self), tr_self(self), opts->journal, app->id, &error);
    if (!app->journal) {
        tr__free(app->path);
        tr__free(app->batch);
        tr__free(app->digests);
        tr__free(app->offer_digests);
        return tr_fail(self, error.code, "%s", error.text);
    }
    tr__journal_sum none;
    tr__journal_sum_init(&none, app->id);
    tr__journal_digest(&none, app->digest);
    app->busy = true;
    tr_trap_exit(self, true);
    return TR_OK;
}

static void on_down(tr_actor *self, tr__app *app, const tr_down *down)
{
    tr_error error;
    if (!app->monitor || down->monitor != app->monitor)
        return;
    tr__fail(&error, TR_ENOCONN, "%s is gone: %s", tr__app_peer_label(self, app), down->text);
    app->monitor = 0;
    app->peer = TR_ADDR_NONE;
    tr__app_part(self, app, &error);
}

/* What comes from the peer only. */
static void on_peer(tr_actor *self, tr__app *app, const tr_msg *msg)
{
    static const tr_error again = {TR_EAGAIN, "the peer wants to say hello anew"};
    const tr_app_ended *ended = tr_match(msg, tr_app_ended);
    if (tr_addr_is_none(app->peer) || !tr_addr_equal(tr_msg_sender(msg), app->peer))
        return;
    if (ended)
        tr__app_end(self, app, ended->code > 0 && ended->code < TR_ERR_COUNT ? (tr_err)ended->code : TR_EAPP,
                    "that one gave up: %s", ended->why);
    else if (app->path && tr__app_in_session(app))
        tr__app_part(self, app, &again);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    tr__app *app = state;
    const void *body;
    if ((body = tr_match(msg, tr_app_put)))
        tr__app_on_put(self, app, msg, body);
    else if (tr_match(msg, tr_journal_done))
        on_journal(self, app);
    else if ((body = tr_match(msg, tr_app_entries)))
        tr__app_on_entries(self, app, msg, body);
    else if ((body = tr_match(msg, tr_app_offer)))
        tr__app_on_offer(self, app, msg, body);
    else if ((body = tr_match(msg, tr_app_hello)))
        tr__app_on_hello(self, app, msg, body);
    else if (tr_match(msg, tr_app_again) || tr_match(msg, tr_app_ended))
        on_peer(self, app, msg);
    else if ((body = tr_match(msg, tr_app_query)))
        tr__app_on_query(self, app, msg, body);
    else if ((body = tr_match(msg, tr_app_get)))
        tr__app_on_get(self, app, msg, body);
    else if ((body = tr_match(msg, tr_app_own)))
        tr__app_on_own(self, app, msg, body);
    else if ((body = tr_match(msg, tr_app_tick)))
        on_tick(self, app, body);
    else if ((body = tr_match(msg, tr_down)))
        on_down(self, app, body);
    else if ((body = tr_match(msg, tr_exited)))
        tr__app_on_exited(self, app, body);
    else if ((body = tr_match(msg, tr_canceled)))
        tr__app_on_canceled(self, app, body);
    else if (tr_match(msg, tr_writable))
        app->no_room = false;
    tr__app_pump(self, app);
}

static void stop(tr_actor *self, void *state)
{
    tr__app *app = state;
    (void)self; /* kept asks are the runtime's to release: their askers hear no-actor */
    app->seam->close(app->journal);
    tr__app_puts_free(app);
    tr__free(app->path);
    tr__free(app->batch);
    tr__free(app->digests);
    tr__free(app->offer_digests);
}

const tr_actor_def tr_app = {
    .name = "app",
    .state_size = sizeof(tr__app),
    .init = init,
    .receive = receive,
    .stop = stop,
    .arg_type = &tr_app_opts_type,
};
