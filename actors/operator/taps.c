/* Taps: see meter.h. A copy is made where the message is handled, as JSON, so that nothing of it has to be kept; who taps
 * pays by the rate that is allowed, not by what comes. */
#include <string.h>

#include "actors/operator/meter.h"
#include "base/err.h"
#include "base/mem.h"
#include "mailbox/json.h"

typedef struct tr__tap {
    struct tr__tap *next;
    uint64_t number, until_ns;
    tr_addr actor;
    json_t *messages;
    size_t bytes;    /* of them, about */
    uint64_t lost;   /* since the last time they were taken */
    uint64_t second; /* the one that `copied` is of */
    uint32_t copied;
} tr__tap;

/* What hangs on the loop; NULL there when it is empty. */
typedef struct tr__taps {
    tr__tap *first;
    uint32_t count;
    uint64_t next_number;
} tr__taps;

static void tap_free(tr__tap *tap)
{
    json_decref(tap->messages);
    tr__free(tap);
}

static void taps_end_if_empty(tr__loop *loop)
{
    if (loop->taps->first)
        return;
    tr__free(loop->taps);
    loop->taps = NULL;
}

static tr__tap *tap_of(const tr__loop *loop, uint64_t number)
{
    tr__tap *tap = loop->taps ? loop->taps->first : NULL;
    while (tap && tap->number != number)
        tap = tap->next;
    return tap;
}

uint64_t tr__tap_open(tr__loop *loop, tr_addr actor, uint64_t until_ns, tr_error *error)
{
    if (loop->taps && loop->taps->count == TR__TAPS_MAX) {
        tr__fail(error, TR_EFULL, "%d taps are open on loop %u already", TR__TAPS_MAX, loop->index);
        return 0;
    }
    tr__taps *taps = loop->taps ? loop->taps : tr__zalloc(sizeof(*taps));
    tr__tap *tap = taps ? tr__zalloc(sizeof(*tap)) : NULL;
    json_t *messages = tap ? json_array() : NULL;
    if (!messages) {
        tr__free(tap);
        if (taps != loop->taps)
            tr__free(taps);
        tr__fail(error, TR_ENOMEM, "no memory for a tap");
        return 0;
    }
    /* By time, so that a number isn't used again when all taps had gone: who holds an old one hears that. */
    uint64_t number = loop->now_ns > taps->next_number ? loop->now_ns : taps->next_number + 1;
    *tap = (tr__tap){
        .next = taps->first, .number = number, .until_ns = until_ns, .actor = actor, .messages = messages};
    taps->next_number = number;
    taps->first = tap;
    taps->count++;
    loop->taps = taps;
    return number;
}

tr_addr tr__tap_actor(const tr__loop *loop, uint64_t number)
{
    const tr__tap *tap = tap_of(loop, number);
    return tap ? tap->actor : TR_ADDR_NONE;
}

bool tr__tap_is_alive(const tr__loop *loop, uint64_t number)
{
    const tr__tap *tap = tap_of(loop, number);
    const tr_actor *actor = tap ? tr__slot(loop->node, tap->actor.slot) : NULL;
    return actor && tr__is_owner(loop, actor) && tr__is_generation(actor, tap->actor.generation);
}

void tr__tap_close(tr__loop *loop, uint64_t number)
{
    tr__tap *tap = tap_of(loop, number);
    if (!tap)
        return;
    tap->until_ns = 0;
    tr__taps_expire(loop, 0);
}

uint64_t tr__taps_expire(tr__loop *loop, uint64_t now_ns)
{
    uint64_t next = TR__NEVER;
    if (!loop->taps)
        return next;
    for (tr__tap **at = &loop->taps->first; *at;) {
        tr__tap *tap = *at;
        if (tap->until_ns > now_ns) {
            next = tap->until_ns < next ? tap->until_ns : next;
            at = &tap->next;
            continue;
        }
        *at = tap->next;
        loop->taps->count--;
        tap_free(tap);
    }
    taps_end_if_empty(loop);
    return next;
}

json_t *tr__tap_take(tr__loop *loop, uint64_t number, uint64_t until_ns, tr_error *error)
{
    tr__tap *tap = tap_of(loop, number);
    if (!tap) {
        tr__fail(error, TR_ENOTFOUND, "this tap's time was up: it was not looked at for too long");
        return NULL;
    }
    json_t *fresh = json_array();
    json_t *answer = fresh ? json_pack("{s:b, s:I, s:I, s:O}", "ok", 1, "tap", (json_int_t)number, "lost",
                                       (json_int_t)tap->lost, "messages", tap->messages)
                           : NULL;
    if (!answer) {
        json_decref(fresh);
        tr__fail(error, TR_ENOMEM, "no memory for an answer");
        return NULL;
    }
    json_decref(tap->messages);
    tap->messages = fresh;
    tap->until_ns = until_ns;
    tap->bytes = 0;
    tap->lost = 0;
    return answer;
}

/* ---- copies -------------------------------------------------------------------------------------------- */

static const char *kind_word(const tr_msg *msg)
{
    switch ((tr__msg_kind)msg->kind) {
    case TR__MSG_NORMAL:
        return "send";
    case TR__MSG_ASK:
        return "ask";
    case TR__MSG_NOTICE:
        return "notice";
    case TR__MSG_REPLY:
        return "reply";
    case TR__MSG_FAILURE:
        return "failure";
    case TR__MSG_ITEM:
        return "item";
    default:
        return "runtime";
    }
}

/* Its fields, or how large they are if they are larger than a copy may be; *size: bytes. NULL: no memory. */
static json_t *content_of(const tr_msg *msg, size_t *size)
{
    *size = 0;
    if (!msg->type || !msg->size || msg->size > TR__TAP_CONTENT)
        return json_null();
    json_t *content = tr__json_make(msg->type, tr__msg_body(msg));
    *size = content ? json_dumpb(content, NULL, 0, JSON_COMPACT) : 0;
    if (*size <= TR__TAP_CONTENT)
        return content;
    *size = 0;
    json_decref(content);
    return json_null();
}

static bool copy(tr__loop *loop, tr__tap *tap, const tr_msg *msg)
{
    const tr__seams *seams = &loop->node->seams;
    uint64_t second = loop->now_ns / TR_SECONDS(1);
    if (tap->second != second) {
        tap->second = second;
        tap->copied = 0;
    }
    if (tap->copied == TR__TAP_RATE || tap->bytes >= TR__TAP_ROOM)
        return false;
    char from[TR_ADDR_TEXT_MAX] = "";
    if (!tr_addr_is_none(msg->sender))
        tr__addr_format(msg->sender, from);
    size_t size;
    json_t *content = content_of(msg, &size);
    json_t *row = json_pack("{s:I, s:s, s:s, s:s, s:I, s:o}", "time_ms",
                            (json_int_t)(seams->wall_ms ? seams->wall_ms(seams->context) : 0), "from", from,
                            "kind", kind_word(msg), "type", msg->type ? msg->type->name : "signal", "size",
                            (json_int_t)msg->size, "content", content);
    if (json_array_append_new(tap->messages, row) != 0)
        return false;
    tap->copied++;
    tap->bytes += size + 160;
    return true;
}

void tr__taps_see(tr__loop *loop, const tr_actor *actor, const tr_msg *msg)
{
    for (tr__tap *tap = loop->taps->first; tap; tap = tap->next)
        if (tap->actor.slot == actor->index && tr__is_generation(actor, tap->actor.generation) &&
            !copy(loop, tap, msg))
            tap->lost++;
}
