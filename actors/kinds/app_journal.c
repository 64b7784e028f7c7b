/* The app as a participant of transactions: its journal is its state there, an entry a key ("e" and the number in 16
 * hexadecimal digits) and where it ends under "sum". On the actor's loop; what is wrong is refused with its name, and
 * leaves no effect on either side. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "actors/tx/frame.h"

#define KEY_ROOM 24

static const char *key_of(uint64_t number, char key[KEY_ROOM])
{
    snprintf(key, KEY_ROOM, "e%016" PRIx64, number);
    return key;
}

static tr_err sum_get(tr_txview *v, tr__journal_sum *sum)
{
    tr_bytes bytes;
    tr__journal_sum_init(sum);
    if (tr_view_get(v, "sum", &bytes) != TR_OK)
        return TR_OK; /* nothing was ever appended */
    if (bytes.size != sizeof(*sum))
        return tr_refuse(v, "its journal was kept by another version of Troupe");
    memcpy(sum, bytes.data, sizeof(*sum));
    return TR_OK;
}

/* ---- append -------------------------------------------------------------------------------------------- */

static tr_err append_one(tr_txview *v, tr__app *app, tr__journal_sum *sum, const char *origin,
                         tr_bytes digest, tr_bytes data)
{
    uint8_t right[TR__DIGEST];
    char key[KEY_ROOM];
    if (digest.size != TR__DIGEST || data.size > TR_APP_ITEM_MAX)
        return tr_refuse(v, "item %" PRIu64 " is malformed", sum->last + 1);
    crypto_hash_sha256(right, data.data, data.size);
    if (memcmp(right, digest.data, TR__DIGEST) != 0)
        return tr_refuse(v, "item %" PRIu64 " doesn't have the digest it came with", sum->last + 1);
    size_t size = tr__entry_print(app->entry, sum->last + 1, origin, digest.data, data.data, data.size);
    TR_TRY(tr_view_put(v, key_of(sum->last + 1, key), app->entry, size));
    tr__journal_add(sum, strcmp(origin, app->id) == 0, app->entry, size);
    return TR_OK;
}

/* Of whom is it? The pair is one for good: whose items came first is the peer. */
static tr_err check_origin(tr_txview *v, const tr__app *app, tr__journal_sum *sum, const char *origin)
{
    if (strcmp(origin, app->id) == 0)
        return TR_OK;
    if (!tr__app_id_valid(origin))
        return tr_refuse(v, "an item's origin is none");
    if (sum->peer[0] && strcmp(sum->peer, origin) != 0)
        return tr_refuse(v, "its journal is shared with app %s, not with %s", sum->peer, origin);
    if (app->peer_id[0] && strcmp(app->peer_id, origin) != 0)
        return tr_refuse(v, "its peer is app %s, not %s", app->peer_id, origin);
    snprintf(sum->peer, sizeof(sum->peer), "%s", origin);
    return TR_OK;
}

static tr_err append(tr_txview *v, tr__app *app, const tr_app_append *a)
{
    uint8_t digest[TR__DIGEST];
    tr__journal_sum sum;
    tr__tx_reader reader = {a->items.data, (const uint8_t *)a->items.data + a->items.size, false};
    TR_TRY(sum_get(v, &sum));
    TR_TRY(check_origin(v, app, &sum, a->origin));
    uint64_t first = sum.last + 1;
    while (reader.at < reader.end && !reader.failed) {
        tr_bytes item_digest = tr__tx_get_bytes(&reader), data = tr__tx_get_bytes(&reader);
        if (!reader.failed)
            TR_TRY(append_one(v, app, &sum, a->origin, item_digest, data));
    }
    if (reader.failed || sum.last < first)
        return tr_refuse(v, "a malformed list of items");
    TR_TRY(tr_view_put(v, "sum", &sum, sizeof(sum)));
    tr__journal_digest(&sum, digest);
    return tr_view_reply(v, tr_app_appended, .first = first, .last = sum.last,
                         .digest = {digest, TR__DIGEST});
}

/* ---- reads --------------------------------------------------------------------------------------------- */

static tr_err look(tr_txview *v, const tr__app *app)
{
    uint8_t digest[TR__DIGEST];
    tr__journal_sum sum;
    TR_TRY(sum_get(v, &sum));
    tr__journal_digest(&sum, digest);
    return tr_view_reply(v, tr_app_seen, .name = app->name, .id = app->id, .last = sum.last, .own = sum.own,
                         .other = sum.other, .digest = {digest, TR__DIGEST});
}

static tr_err read_entry(tr_txview *v, uint64_t number)
{
    char key[KEY_ROOM], text[TR__DIGEST_TEXT];
    tr_bytes bytes;
    tr__entry entry;
    if (tr_view_get(v, key_of(number, key), &bytes) != TR_OK)
        return tr_view_reply(v, tr_app_item, .number = 0, .origin = "", .digest = "");
    const char *why = tr__entry_read(bytes.data, bytes.size, &entry);
    if (why)
        return tr_refuse(v, "entry %" PRIu64 " is damaged: %s", number, why);
    return tr_view_reply(v, tr_app_item, .number = entry.number, .origin = entry.origin,
                         .digest = tr__digest_text(entry.digest, text), .data = {entry.data, entry.size});
}

tr_err tr__app_transact(tr_txview *v, void *state, const tr_msg *msg)
{
    tr__app *app = state;
    const tr_app_append *a = tr_match(msg, tr_app_append);
    const tr_app_read *r = tr_match(msg, tr_app_read);
    if (a)
        return append(v, app, a);
    if (r)
        return read_entry(v, r->number);
    if (tr_match(msg, tr_app_look))
        return look(v, app);
    return tr_refuse(v, "an app takes no %s", tr_msg_type_name(msg));
}
