/* What the program asks of its app: to put an item, how it is doing, an entry of the journal, to own a child.
 * See troupe/app.h. On the actor's loop. Every list here is bounded; what doesn't fit is refused at once with
 * TR_EFULL, and who no longer waits is forgotten. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "base/err.h"
#include "base/mem.h"

#define PUTS_BYTES_MAX (4u * 1024u * 1024u)

/* ---- puts ---------------------------------------------------------------------------------------------- */

static tr__put *put_pop(tr__app *app, tr__put **link)
{
    tr__put *put = *link;
    *link = put->next;
    if (!put->next)
        app->puts_end = link;
    app->puts_count--;
    return put;
}

static void put_free(tr_actor *self, tr__app *app, tr__put *put)
{
    const tr_app_put *body = tr_match(put->ask, tr_app_put);
    app->puts_bytes -= body->data.size;
    tr_msg_free(self, &put->ask);
    tr__free(put);
}

static bool under_way(const tr__put *put)
{
    return put->number > 0 || put->offered;
}

void tr__app_put_done(tr_actor *self, tr__app *app, uint64_t number)
{
    char text[TR__DIGEST_TEXT];
    tr__put *put = put_pop(app, &app->puts);
    tr_reply(self, put->ask, tr_app_put_done, .number = number, .digest = tr__digest_text(put->digest, text));
    put_free(self, app, put);
}

void tr__app_puts_sweep(tr_actor *self, tr__app *app)
{
    for (tr__put **link = &app->puts; *link;) {
        if (under_way(*link) || tr_msg_remaining(self, (*link)->ask) > 0)
            link = &(*link)->next;
        else
            put_free(self, app, put_pop(app, link));
    }
}

void tr__app_on_put(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_put *body)
{
    tr_error error = {.code = TR_OK};
    if (app->puts_count >= TR_APP_PUTS_MAX || app->puts_bytes + body->data.size > PUTS_BYTES_MAX)
        tr__app_puts_sweep(self, app);
    if (app->step == TR__APP_STOPPED)
        error = app->error;
    else if (body->data.size > TR_APP_ITEM_MAX)
        tr__fail(&error, TR_ETOOBIG, "an item of %zu bytes, the limit is %u: put it in pieces",
                 body->data.size, TR_APP_ITEM_MAX);
    else if (app->puts_count >= TR_APP_PUTS_MAX || app->puts_bytes + body->data.size > PUTS_BYTES_MAX)
        tr__fail(&error, TR_EFULL,
                 "app %.40s (%s) has %" PRIu64 " items waiting for %s: await some before more", app->name,
                 app->id, app->puts_count, tr__app_peer_label(self, app));
    tr__put *put = error.code == TR_OK ? tr__zalloc(sizeof(*put)) : NULL;
    if (!put || !(put->ask = tr_msg_take(self, msg))) {
        tr__free(put);
        if (error.code == TR_OK)
            tr__fail(&error, TR_ENOMEM, "no memory to keep an item");
        if (tr_reply_error(self, msg, error.code, "%s", error.text) != TR_OK)
            tr_log(self, TR_LOG_WARN, "app %s (%s): an item that nobody asked about is dropped: %s",
                   app->name, app->id, error.text);
        return;
    }
    crypto_hash_sha256(put->digest, body->data.data, body->data.size);
    *app->puts_end = put;
    app->puts_end = &put->next;
    app->puts_count++;
    app->puts_bytes += body->data.size;
}

/* ---- what the program asks ----------------------------------------------------------------------------- */

static void answer_query(tr_actor *self, tr__app *app, const tr_msg *ask)
{
    char text[TR__DIGEST_TEXT];
    tr_reply(self, ask, tr_app_status, .name = app->name, .id = app->id, .peer_name = app->peer_name,
             .peer_id = app->peer_id, .state = tr__app_step_name(app->step), .last = app->last,
             .both = app->both, .own = app->own, .other = app->other, .waiting = app->puts_count,
             .children = app->children_count, .digest = tr__digest_text(app->digest, text),
             .error = app->error.text);
}

/* Keep an ask in a bounded list, or refuse it. */
static void keep(tr_actor *self, tr__app *app, const tr_msg *msg, tr_msg **list, uint32_t *count)
{
    tr_msg *kept = *count < TR__APP_QUERIES_MAX ? tr_msg_take(self, msg) : NULL;
    if (kept)
        list[(*count)++] = kept;
    else
        tr_reply_error(self, msg, TR_EFULL, "app %.40s (%s): %d asks of that kind wait already", app->name,
                       app->id, TR__APP_QUERIES_MAX);
}

void tr__app_on_query(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_query *query)
{
    if (!query->together)
        answer_query(self, app, msg);
    else if (app->step == TR__APP_STOPPED)
        tr_reply_error(self, msg, app->error.code, "%s", app->error.text);
    else
        keep(self, app, msg, app->queries, &app->queries_count);
}

void tr__app_on_get(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_get *get)
{
    if (app->step == TR__APP_STOPPED)
        tr_reply_error(self, msg, app->error.code, "%s", app->error.text);
    else if (get->number == 0 || get->number > app->last)
        tr_reply_error(self, msg, TR_ENOTFOUND,
                       "app %.40s (%s) has no entry %" PRIu64 ", its last one is %" PRIu64, app->name,
                       app->id, get->number, app->last);
    else
        keep(self, app, msg, app->gets, &app->gets_count);
}

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

static void forget(tr_actor *self, const tr_canceled *canceled, tr_msg **list, uint32_t *count,
                   uint32_t first)
{
    for (uint32_t i = first; i < *count; i++) {
        if (tr_msg_ask_number(list[i]) != canceled->ask ||
            !tr_addr_equal(tr_msg_sender(list[i]), canceled->asker))
            continue;
        tr_msg_free(self, &list[i]);
        memmove(&list[i], &list[i + 1], (--*count - i) * sizeof(list[0]));
        return;
    }
}

void tr__app_on_canceled(tr_actor *self, tr__app *app, const tr_canceled *canceled)
{
    forget(self, canceled, app->queries, &app->queries_count, 0);
    forget(self, canceled, app->gets, &app->gets_count, app->getting ? 1 : 0);
    for (tr__put **link = &app->puts; *link; link = &(*link)->next) {
        tr_msg *ask = (*link)->ask;
        if (tr_msg_ask_number(ask) == canceled->ask && tr_addr_equal(tr_msg_sender(ask), canceled->asker)) {
            if (!under_way(*link))
                put_free(self, app, put_pop(app, link));
            return;
        }
    }
}

void tr__app_start_get(tr_actor *self, tr__app *app)
{
    (void)self;
    if (app->busy || app->gets_count == 0)
        return;
    tr__app_journal_takes(app);
    app->getting = true;
    app->seam->read(app->journal, tr_match(app->gets[0], tr_app_get)->number);
}

void tr__app_got(tr_actor *self, tr__app *app, const tr__journal_result *result)
{
    char text[TR__DIGEST_TEXT];
    const char *why;
    tr__entry entry;
    app->getting = false;
    tr_msg *ask = app->gets[0];
    memmove(&app->gets[0], &app->gets[1], --app->gets_count * sizeof(app->gets[0]));
    if (tr__entry_parse(result->bytes, result->size, &entry, &why) == TR__ENTRY_WHOLE &&
        tr__entry_right(&entry))
        tr_reply(self, ask, tr_app_item, .number = entry.number, .origin = entry.origin,
                 .digest = tr__digest_text(entry.digest, text), .data = {entry.data, entry.size});
    else
        tr_reply_error(self, ask, TR_EMISMATCH, "app %.40s (%s): that entry of the journal has been damaged",
                       app->name, app->id);
    tr_msg_free(self, &ask);
}

void tr__app_refuse(tr_actor *self, tr_msg **kept, tr_err code, const char *why)
{
    if (!*kept)
        return;
    tr_reply_error(self, *kept, code, "%s", why);
    tr_msg_free(self, kept);
}

void tr__app_fail_all(tr_actor *self, tr__app *app)
{
    const tr_error *error = &app->error;
    while (app->puts) {
        tr__put *put = put_pop(app, &app->puts);
        tr_reply_error(self, put->ask, error->code, "%s", error->text);
        put_free(self, app, put);
    }
    for (uint32_t i = 0; i < app->queries_count; i++)
        tr__app_refuse(self, &app->queries[i], error->code, error->text);
    for (uint32_t i = 0; i < app->gets_count; i++)
        tr__app_refuse(self, &app->gets[i], error->code, error->text);
    app->queries_count = app->gets_count = 0;
}

void tr__app_answer_queries(tr_actor *self, tr__app *app)
{
    for (uint32_t i = 0; i < app->queries_count; i++) {
        answer_query(self, app, app->queries[i]);
        tr_msg_free(self, &app->queries[i]);
    }
    app->queries_count = 0;
}

void tr__app_puts_free(tr__app *app)
{
    while (app->puts)
        tr__free(put_pop(app, &app->puts));
}
