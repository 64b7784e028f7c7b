/* The passive app: is found by its peer, appends what comes numbered, and offers its own items to be
 * numbered. See app_state.h for steps and invariants. On the actor's loop; how it can fail: tr__app_end and
 * tr__app_part in app.c. A stranger that says nonsense is refused and nothing else happens. */
#include <inttypes.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "base/check.h"
#include "base/err.h"

/* ---- hello --------------------------------------------------------------------------------------------- */

void tr__app_on_hello(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_hello *hello)
{
    tr_error error = {.code = TR_OK};
    if (app->step == TR__APP_STOPPED)
        tr__fail(&error, app->error.code, "%s", app->error.text);
    else if (app->path)
        tr__fail(&error, TR_EINVAL, "both apps look for each other: leave `peer` of one empty");
    else if (hello->version != TR__APP_VERSION)
        tr__fail(&error, TR_EVERSION, "apps of version %u and %d do not go together", hello->version,
                 TR__APP_VERSION);
    else if (tr__app_peer_check(app, hello->name, hello->id, &error) == TR_OK &&
             !tr_addr_is_none(app->peer) && app->step != TR__APP_APART &&
             strcmp(hello->id, app->peer_id) != 0)
        tr__fail(&error, TR_EEXIST, "it is with app %.40s (%s) already", app->peer_name, app->peer_id);
    if (error.code != TR_OK) {
        tr_reply_error(self, msg, error.code, "%s", error.text);
        return;
    }
    tr_msg_free(self, &app->hello);
    app->hello = tr_msg_take(self, msg); /* without memory it goes unanswered, and the peer tries again */
}

static void answer_hello(tr_actor *self, tr__app *app)
{
    static const tr_error anew = {TR_OK, ""};
    const tr_app_hello *hello = tr_match(app->hello, tr_app_hello);
    app->peer = TR_ADDR_NONE;
    tr__app_part(self, app, &anew);
    app->peer = tr_msg_sender(app->hello);
    strcpy(app->peer_name, hello->name);
    strcpy(app->peer_id, hello->id);
    app->monitor = tr_monitor(self, app->peer);
    app->target = hello->last;
    tr_reply(self, app->hello, tr_app_welcome, .name = app->name, .id = app->id, .last = app->last,
             .digest = {app->digest, TR__DIGEST});
    tr_msg_free(self, &app->hello);
    if (app->last > app->target)
        return; /* it will find that its journal is the shorter one, and say so */
    tr__app_go(self, app, TR__APP_CATCHING_UP);
    if (app->last == app->target)
        tr__app_together(self, app);
}

/* ---- entries ------------------------------------------------------------------------------------------- */

/* The next item of ours that the peer may have: it must be the next of ours that comes back. */
static tr__put *expected(tr__put *put)
{
    return put && put->offered ? put : NULL;
}

/* Check the entries: `skip` bytes of them are known already. */
static tr_err entries_check(tr_actor *self, tr__app *app, tr_bytes records, size_t *skip, tr_error *error)
{
    const uint8_t *bytes = records.data;
    const char *why;
    tr__put *put = app->puts;
    tr__entry entry;
    *skip = 0;
    TR_TRY(tr__app_batch_check(records, 0, &app->digests_count, app->digests, error));
    for (size_t done = 0; done < records.size; done += entry.whole) {
        tr__entry_parse(bytes + done, records.size - done, &entry, &why);
        if (done == 0 && entry.number > app->last + 1)
            return tr__fail(error, TR_EPROTO, "item %" PRIu64 " came where item %" PRIu64 " was due",
                            entry.number, app->last + 1);
        bool own = strcmp(entry.origin, app->id) == 0;
        if (!own && strcmp(entry.origin, app->peer_id) != 0)
            return tr__fail(error, TR_EPROTO,
                            "item %" PRIu64
                            " is of %s, who is neither of the two: that journal has been used with "
                            "another app",
                            entry.number, entry.origin);
        if (entry.number <= app->last) {
            *skip = done + entry.whole;
        } else if (own && expected(put)) {
            if (memcmp(put->digest, entry.digest, TR__DIGEST) != 0)
                return tr__fail(error, TR_EMISMATCH,
                                "item %" PRIu64 " came back as ours, but it is not what %s put: compare both "
                                "journals, then start both apps anew",
                                entry.number, app->name);
            put = put->next;
        }
    }
    (void)self;
    return TR_OK;
}

static void echo(tr_actor *self, tr__app *app, const tr_msg *ask)
{
    tr_reply(self, ask, tr_app_echo, .digests = {app->digests, app->digests_count * TR__DIGEST});
}

void tr__app_on_entries(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_entries *entries)
{
    tr_error error;
    size_t skip;
    bool known = !app->path && !tr_addr_is_none(app->peer) && tr_addr_equal(tr_msg_sender(msg), app->peer);
    if (!known || !tr__app_in_session(app)) {
        tr_reply_error(self, msg, TR_ENOCONN, "app %.40s (%s) has not met this one: hello comes first",
                       app->name, app->id);
        return;
    }
    if (app->entries) {
        tr_reply_error(self, msg, TR_EPROTO, "entries have to wait for the echo of those before them");
        return;
    }
    if (entries_check(self, app, entries->records, &skip, &error) != TR_OK) {
        tr_reply_error(self, msg, error.code, "%s", error.text);
        tr__app_end(self, app, error.code, "%s", error.text);
    } else if (skip == entries->records.size) {
        echo(self, app, msg);
    } else if (!(app->entries = tr_msg_take(self, msg))) {
        tr_reply_error(self, msg, TR_ENOMEM, "no memory to keep entries");
    }
}

static void append(tr__app *app)
{
    const tr_app_entries *entries = tr_match(app->entries, tr_app_entries);
    const uint8_t *at = entries->records.data;
    size_t left = entries->records.size;
    tr__entry entry;
    const char *why;
    while (tr__entry_parse(at, left, &entry, &why) == TR__ENTRY_WHOLE && entry.number <= app->last) {
        at += entry.whole;
        left -= entry.whole;
    }
    tr__app_journal_takes(app);
    app->seam->append(app->journal, at, left);
}

/* They are in the journal: echo, and answer the puts among them. */
static void appended(tr_actor *self, tr__app *app, uint64_t last_before)
{
    const tr_app_entries *entries = tr_match(app->entries, tr_app_entries);
    const uint8_t *bytes = entries->records.data;
    const char *why;
    tr__entry entry;
    for (size_t done = 0; done < entries->records.size; done += entry.whole) {
        tr__entry_parse(bytes + done, entries->records.size - done, &entry, &why);
        if (entry.number > last_before && strcmp(entry.origin, app->id) == 0 && expected(app->puts))
            tr__app_put_done(self, app, entry.number);
    }
    echo(self, app, app->entries);
    tr_msg_free(self, &app->entries);
    if (app->step == TR__APP_CATCHING_UP && app->last >= app->target)
        tr__app_together(self, app);
}

void tr__app_journal_passive(tr_actor *self, tr__app *app, const tr__journal_result *result)
{
    if (result->op == TR__JOURNAL_APPEND)
        appended(self, app, app->both);
    app->both = app->last; /* the active app has all that we have */
}

/* ---- offers -------------------------------------------------------------------------------------------- */

static void on_taken(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__app *app = state;
    (void)context;
    app->asking = (tr_future){0};
    if (result->err != TR_OK) {
        tr__app_ask_failed(self, app, "an offer of items", result);
        return;
    }
    /* The items themselves come back as entries, before or after this; they are compared there as well. */
    const tr_app_echo *echoed = tr_match(result->msg, tr_app_echo);
    bool right = echoed && echoed->digests.size == app->offer_count * TR__DIGEST &&
                 memcmp(echoed->digests.data, app->offer_digests, echoed->digests.size) == 0;
    if (!right)
        tr__app_end(
            self, app, echoed ? TR_EMISMATCH : TR_EPROTO,
            "items were offered and echoed with other digests: compare both journals, then start both apps "
            "anew");
    tr__app_pump(self, app);
}

static void offer(tr_actor *self, tr__app *app)
{
    size_t size = 0, room = 0;
    tr__app_puts_sweep(self, app);
    tr__put *first = app->puts;
    while (first && first->offered)
        first = first->next;
    app->offer_count = 0;
    for (tr__put *put = first; put; put = put->next) {
        const tr_app_put *body = tr_match(put->ask, tr_app_put);
        room += tr__entry_room(body->data.size); /* the numbers that they will get may be longer ones */
        if (room > TR__BATCH_MAX)
            break;
        memcpy(app->offer_digests[app->offer_count], put->digest, TR__DIGEST);
        size += tr__entry_print(app->batch + size, ++app->offer_count, app->id, put->digest, body->data.data,
                                body->data.size);
    }
    if (size == 0)
        return;
    tr_future taken = tr_ask(self, app->peer, TR__APP_ASK_NS, tr_app_offer, .records = {app->batch, size});
    if (!tr__app_asked(self, app, taken, on_taken))
        return;
    for (size_t i = 0; i < app->offer_count; i++, first = first->next)
        first->offered = true;
}

/* ---- what next ----------------------------------------------------------------------------------------- */

void tr__app_pump_passive(tr_actor *self, tr__app *app)
{
    if (!app->busy && app->entries)
        append(app);
    if (!app->busy && app->hello)
        answer_hello(self, app);
    if (app->step == TR__APP_TOGETHER && !app->asking.id && !app->no_room)
        offer(self, app);
}
