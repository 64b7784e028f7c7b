/* The items that the program gave to its app, from their asks until both journals have them. On the actor's loop. The
 * list is bounded; what doesn't fit is refused at once with TR_EFULL, and who no longer waits is forgotten, unless it
 * is under way. */
#include <inttypes.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "base/err.h"
#include "base/mem.h"

#define PUTS_BYTES_MAX (4u * 1024u * 1024u)

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

/* The first that isn't under way. */
static tr__put **first_waiting(tr__app *app)
{
    tr__put **link = &app->puts;
    for (uint32_t i = 0; i < app->batch; i++)
        link = &(*link)->next;
    return link;
}

void tr__app_puts_done(tr_actor *self, tr__app *app, uint64_t first)
{
    for (; app->batch > 0; app->batch--) {
        char text[TR__DIGEST_TEXT];
        tr__put *put = put_pop(app, &app->puts);
        tr_reply(self, put->ask, tr_app_put_done, .number = first++,
                 .digest = tr__digest_text(put->digest, text));
        put_free(self, app, put);
    }
}

void tr__app_puts_fail(tr_actor *self, tr__app *app)
{
    while (app->puts) {
        tr__put *put = put_pop(app, &app->puts);
        tr_reply_error(self, put->ask, app->error.code, "%s", app->error.text);
        put_free(self, app, put);
    }
}

void tr__app_puts_refuse(tr_actor *self, tr__app *app, uint64_t within_ns)
{
    for (tr__put **link = first_waiting(app); *link;) {
        if (tr_msg_remaining(self, (*link)->ask) > within_ns) {
            link = &(*link)->next;
            continue;
        }
        tr__put *put = put_pop(app, link);
        tr_reply_error(self, put->ask, app->error.code, "app %.40s (%s) could not put it in time: %s",
                       app->name, app->id, app->error.text);
        put_free(self, app, put);
    }
}

void tr__app_puts_sweep(tr_actor *self, tr__app *app)
{
    for (tr__put **link = first_waiting(app); *link;) {
        if (tr_msg_remaining(self, (*link)->ask) > 0)
            link = &(*link)->next;
        else
            put_free(self, app, put_pop(app, link));
    }
}

void tr__app_put_canceled(tr_actor *self, tr__app *app, const tr_canceled *canceled)
{
    for (tr__put **link = first_waiting(app); *link; link = &(*link)->next) {
        tr_msg *ask = (*link)->ask;
        if (tr_msg_ask_number(ask) == canceled->ask && tr_addr_equal(tr_msg_sender(ask), canceled->asker)) {
            put_free(self, app, put_pop(app, link));
            return;
        }
    }
}

static bool is_full(const tr__app *app, size_t more)
{
    return app->puts_count >= TR_APP_PUTS_MAX || app->puts_bytes + more > PUTS_BYTES_MAX;
}

void tr__app_on_put(tr_actor *self, tr__app *app, const tr_msg *msg, const tr_app_put *body)
{
    tr_error error = {.code = TR_OK};
    if (is_full(app, body->data.size))
        tr__app_puts_sweep(self, app);
    if (app->step == TR__APP_STOPPED)
        error = app->error;
    else if (body->data.size > TR_APP_ITEM_MAX)
        tr__fail(&error, TR_ETOOBIG, "an item of %zu bytes, the limit is %u: put it in pieces",
                 body->data.size, TR_APP_ITEM_MAX);
    else if (is_full(app, body->data.size))
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

void tr__app_puts_free(tr__app *app)
{
    while (app->puts)
        tr__free(put_pop(app, &app->puts));
}
