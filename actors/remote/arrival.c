/* A large message while it comes: its head says for whom it is, so one that its receiver doesn't take goes back at once, and
 * of one whose receiver wants files its large buffers go there. And what goes back, on both sides. Loop 0 only.
 *
 *   begins ──▶ gathered (transport/gathering.h), as one that nobody has anything to say about
 *         ├──▶ apart: the scan (mailbox/cbor_scan.h) finds its buffers; their bytes to files, all else to memory ──▶ taken
 *         │      └──▶ refused, if the disk has no room
 *         └──▶ refused; also later, if there is no memory to gather it
 *
 * A refused message goes back as a REFUSED record: here it is received and sent, and where it came from it is received, and
 * dropped for the reason that the record has. So it is counted once, at its sender's, who also leaves out what of it hasn't
 * left. An earlier version can't be told: it is dropped here, and an ask fails as any. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "actors/remote/spool.h"
#include "base/err.h"
#include "base/mem.h"
#include "mailbox/cbor_scan.h"

#define GAPS_MAX 4
#define NO_UNIT  UINT64_MAX

typedef struct tr__arrival {
    tr__record record; /* its head */
    size_t head_left;  /* bytes of that, to be passed over */
    tr__cbor_scan scan;
    uint8_t *bytes; /* the body but for what is in files, as far as it has come */
    size_t length, room;
    tr__spooled *file; /* of the buffer whose bytes come; NULL: none do */
    uint64_t file_left;
    tr__gap gaps[GAPS_MAX];
    uint32_t gap_count;
} arrival;

/* A message of the unit: taken back is what it was refused for, by whom. */
typedef struct refusal {
    uint64_t unit;
    uint32_t type;
    char text[TR_ERROR_TEXT_MAX];
} refusal;

/* ---- refusing ------------------------------------------------------------------------------------------ */

static tr_drop drop_of(tr_err code)
{
    return code == TR_ETOOBIG ? TR_DROP_TOO_BIG : code == TR_ENOMEM ? TR_DROP_NO_MEMORY : TR_DROP_SPOOL;
}

static bool is_ask(const tr__record *r)
{
    return r->kind == TR__WIRE_ASK || r->kind == TR__WIRE_STREAM_ASK;
}

static tr_addr here(const tr__remote_peer *p, uint32_t slot, uint32_t generation)
{
    return (tr_addr){p->remote->loop->node->id, slot, generation};
}

/* One that waits on its asker's loop. */
static void fail_elsewhere(tr__remote_peer *p, const tr__record *r, const tr_error *why)
{
    tr__record failure = *r;
    failure.kind = TR__WIRE_FAILURE;
    failure.code = why->code;
    failure.body = (const uint8_t *)why->text;
    failure.length = strlen(why->text);
    if (tr__hand_answer(p, &failure))
        TR__COUNT(p->remote->loop->counts.accepted);
}

/* An ask of ours hears at once that its answer, or an item, can't be had. */
static void fail_own_ask(tr__remote_peer *p, const tr__record *r, const tr_error *why)
{
    tr_msg *wait = tr__waits_find(&p->waits, TR__MSG_ASK, r->ask, r->to_slot, r->to_generation);
    if (!wait) { /* no stream does that */
        if (r->kind == TR__WIRE_REPLY)
            fail_elsewhere(p, r, why);
        return;
    }
    if (r->kind == TR__WIRE_ITEM) {
        tr__remote_item_lost(p, r, why->code);
        return;
    }
    tr__waits_take(&p->waits, TR__MSG_ASK, r->ask, r->to_slot, r->to_generation);
    tr__remote_fail_wait(p->remote->loop, p->peer->id, r, wait, why->code, why->text, strlen(why->text));
}

/* It can't go back, for want of memory or since they wouldn't understand: it ends here. */
static void refuse_here(tr__remote_peer *p, const tr__record *r, const tr_error *why)
{
    tr__loop *loop = p->remote->loop;
    const tr_typeinfo *type = tr__heard_type_of(p, r->type);
    tr_addr from = {p->peer->id, r->from_slot, r->from_generation};
    tr_drop reason = drop_of(why->code);
    loop->counts.dropped[reason]++;
    if (tr__dead_letter(loop, reason, type ? type->name : "message", from,
                        here(p, r->to_slot, r->to_generation)))
        tr__node_log(loop->node, TR_LOG_DEBUG, "from node %s: %s", p->peer->name, why->text);
    if (is_ask(r))
        tr__remote_refuse_ask(loop, p->peer->id, r, why);
}

/* It was counted as received. */
static void refuse(tr__remote_peer *p, const tr__record *r, uint64_t unit, const tr_error *why)
{
    tr__loop *loop = p->remote->loop;
    if (r->kind == TR__WIRE_REPLY || r->kind == TR__WIRE_ITEM)
        fail_own_ask(p, r, why);
    tr_msg *msg =
        tr__peer_hears_refusals(p->peer) ? tr__msg_alloc(&loop->pool, loop->index, sizeof(refusal)) : NULL;
    if (!msg) {
        refuse_here(p, r, why);
        return;
    }
    refusal *body = tr__msg_body(msg);
    *body = (refusal){.unit = unit, .type = r->type};
    memcpy(body->text, why->text, sizeof(body->text));
    msg->kind = TR__MSG_REFUSED;
    msg->error = (uint8_t)why->code;
    msg->sender = here(p, r->to_slot, r->to_generation);
    msg->to.slot = r->from_slot;
    msg->to.generation = r->from_generation;
    msg->ask = is_ask(r) ? r->ask : 0;
    tr__remote_peer_send(p, msg);
}

tr_err tr__put_refused(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    const refusal *body = tr__msg_body(msg);
    record->outflow = body->unit;
    record->type = body->type;
    record->code = msg->error;
    record->length = strlen(body->text);
    return tr__remote_put_record(p, p->pair, record, body->text);
}

/* Of ours. */
void tr__take_refused(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_err code = r->code > TR_OK && r->code < TR_ERR_COUNT ? (tr_err)r->code : TR_EPROTO;
    tr_drop reason = drop_of(code);
    loop->counts.dropped[reason]++;
    tr__endpoint_bulk_skip(p->peer, r->outflow);
    if (r->ask) {
        tr_msg *wait = tr__waits_take(&p->waits, TR__MSG_ASK, r->ask, r->to_slot, r->to_generation);
        if (wait)
            tr__remote_fail_wait(p->remote->loop, p->peer->id, r, wait, code, (const char *)r->body,
                                 r->length);
        return;
    }
    const char *type = tr__told_name(p, r->type);
    tr_addr receiver = {p->peer->id, r->from_slot, r->from_generation};
    if (tr__dead_letter(loop, reason, type ? type : "message", here(p, r->to_slot, r->to_generation),
                        receiver))
        tr__node_log(loop->node, TR_LOG_DEBUG, "node %s: %.*s", p->peer->name, (int)r->length,
                     (const char *)r->body);
}

static bool is_answer(const tr__record *r)
{
    return r->kind == TR__WIRE_REPLY || r->kind == TR__WIRE_ITEM;
}

/* Answers were asked for, so only what comes unasked has to keep to its receiver's limit. */
static bool is_too_large(tr__remote_peer *p, const tr__record *r, const tr_actor_def *def, tr_error *error)
{
    if (!def || is_answer(r) || r->length <= tr__limit_of(def))
        return false;
    const tr_typeinfo *type = tr__heard_type_of(p, r->type);
    tr__fail(error, TR_ETOOBIG,
             "a %s of %zu bytes is larger than a %s on node %s takes, which is %zu (message_max of its "
             "definition): split it",
             type ? type->name : "message", r->length, def->name, p->remote->loop->node->name,
             tr__limit_of(def));
    return true;
}

bool tr__arrival_refuse_larger(tr__remote_peer *p, const tr__record *r)
{
    tr_error error;
    const tr_actor_def *def = tr__def_of(p->remote->loop->node, here(p, r->to_slot, r->to_generation));
    if (!is_too_large(p, r, def, &error))
        return false;
    refuse(p, r, NO_UNIT, &error);
    return true;
}

static void refuse_unit(tr__remote_peer *p, const tr__record *r, const tr_error *why)
{
    p->remote->loop->counts.received++;
    refuse(p, r, tr__endpoint_bulk_heard(p->peer), why);
}

/* ---- apart --------------------------------------------------------------------------------------------- */

static bool is_message(const tr__record *r)
{
    return r->kind == TR__WIRE_NORMAL || r->kind == TR__WIRE_EXPIRING || r->kind == TR__WIRE_ASK ||
           r->kind == TR__WIRE_REPLY || r->kind == TR__WIRE_STREAM_ASK || r->kind == TR__WIRE_ITEM;
}

/* Bytes beyond which its buffers go to files; SIZE_MAX: none do. */
static size_t spools_above(const tr__remote_peer *p, const tr__record *r, const tr_actor_def *def)
{
    const tr_typeinfo *type = tr__heard_type_of(p, r->type);
    if (!def || !def->spool_above || !p->remote->loop->node->seams.spool || !type ||
        !tr__type_is(type, TR__TYPE_BUFFERS))
        return SIZE_MAX;
    return def->spool_above < TR__LIMIT_MIN ? TR__LIMIT_MIN : def->spool_above;
}

/* The head of a unit's only message; false: it is something else. */
static bool head_of(const tr__remote_peer *p, uint64_t whole, const uint8_t *bytes, size_t length,
                    tr__record *r)
{
    return !p->cut && tr__wire_get_head(bytes, length, r) && is_message(r) && r->type < p->heard_count &&
           (uint64_t)(r->body - bytes) + r->length == whole;
}

static void refuse_for_memory(tr__remote_peer *p, const tr__record *r)
{
    tr_error error;
    tr__fail(&error, TR_ENOMEM, "node %s has no memory to receive a message of %zu bytes",
             p->remote->loop->node->name, r->length);
    refuse_unit(p, r, &error);
}

bool tr__arrival_no_memory(tr__remote_peer *p, uint64_t whole, const uint8_t *bytes, size_t length)
{
    tr__record r;
    if (!head_of(p, whole, bytes, length, &r))
        return false;
    refuse_for_memory(p, &r);
    return true;
}

tr__unit_way tr__arrival_begins(tr__remote_peer *p, uint64_t whole, const uint8_t *bytes, size_t length)
{
    tr__record r;
    tr_error error;
    if (!head_of(p, whole, bytes, length, &r))
        return TR__UNIT_GATHERED;
    tr_addr to = here(p, r.to_slot, r.to_generation);
    if (!is_answer(&r) && !tr__peer_can_reach(p, to))
        return TR__UNIT_GATHERED; /* and is refused then: no file, and no word of the receiver, for who has no right */
    const tr_actor_def *def = tr__def_of(p->remote->loop->node, to);
    if (is_too_large(p, &r, def, &error)) {
        refuse_unit(p, &r, &error);
        return TR__UNIT_REFUSED;
    }
    size_t above = spools_above(p, &r, def);
    if (above >= r.length)
        return TR__UNIT_GATHERED;
    p->arrival = tr__alloc(sizeof(*p->arrival));
    if (!p->arrival) {
        refuse_for_memory(p, &r);
        return TR__UNIT_REFUSED;
    }
    *p->arrival = (arrival){.record = r, .head_left = (size_t)(r.body - bytes)};
    tr__cbor_scan_init(&p->arrival->scan, tr__heard_type_of(p, r.type), (uint64_t)above + 1);
    return TR__UNIT_APART;
}

/* Never more than twice what has come (N5). */
static tr_err keep(arrival *a, const uint8_t *bytes, size_t length, tr_error *error)
{
    size_t needs = a->length + length;
    if (needs > a->room) {
        size_t room = 2 * needs < a->record.length ? 2 * needs : a->record.length;
        uint8_t *bigger = tr__realloc(a->bytes, room);
        if (!bigger)
            return tr__fail(error, TR_ENOMEM, "no memory to receive a message of %zu bytes",
                            a->record.length);
        a->bytes = bigger;
        a->room = room;
    }
    memcpy(a->bytes + a->length, bytes, length);
    a->length = needs;
    return TR_OK;
}

static tr_err fill(arrival *a, const uint8_t *bytes, size_t length, tr_error *error)
{
    TR_TRY(tr__spool_write(a->file, bytes, length, error));
    a->file_left -= length;
    if (a->file_left > 0)
        return TR_OK;
    const tr_buffer *buffer = tr__spool_end(a->file, error);
    a->file = NULL;
    a->gaps[a->gap_count - 1].buffer = buffer;
    return buffer ? TR_OK : error->code;
}

/* To memory, up to a buffer that is to be in a file. */
static tr_err look(tr__remote_peer *p, arrival *a, const uint8_t *bytes, size_t length, size_t *used,
                   tr_error *error)
{
    uint64_t hole = 0;
    size_t head = 0;
    *used = a->gap_count < GAPS_MAX ? tr__cbor_scan_pass(&a->scan, bytes, length, &hole, &head) : length;
    TR_TRY(keep(a, bytes, *used, error));
    if (hole == 0)
        return TR_OK;
    if (hole > a->record.length) { /* a lie: decoding will tell which */
        a->scan.lost = true;
        return TR_OK;
    }
    a->gaps[a->gap_count++] = (tr__gap){a->length - head, a->length, NULL};
    a->file_left = hole;
    a->file = tr__spool_begin(p->remote->loop->node, hole, error);
    return a->file ? TR_OK : error->code;
}

static tr_err take_bytes(tr__remote_peer *p, const uint8_t *bytes, size_t length, tr_error *error)
{
    arrival *a = p->arrival;
    size_t at = a->head_left < length ? a->head_left : length;
    a->head_left -= at;
    while (at < length) {
        size_t part = length - at;
        if (a->file_left) {
            part = a->file_left < part ? (size_t)a->file_left : part;
            TR_TRY(fill(a, bytes + at, part, error));
        } else {
            TR_TRY(look(p, a, bytes + at, part, &part, error));
        }
        at += part;
    }
    return TR_OK;
}

/* It is whole: as one that came in a batch, but for where some of its buffers are. */
static void take_whole(tr__remote_peer *p)
{
    arrival *a = p->arrival;
    a->record.body = a->bytes;
    a->record.length = a->length;
    p->gaps = a->gaps;
    p->gap_count = a->file ? a->gap_count - 1 : a->gap_count; /* one that isn't whole is malformed */
    tr__remote_take(p, &a->record);
    p->gaps = NULL;
    p->gap_count = 0;
}

bool tr__arrival_part(tr__remote_peer *p, const uint8_t *bytes, size_t length, bool last)
{
    tr_error error;
    tr_err err = take_bytes(p, bytes, length, &error);
    if (err != TR_OK)
        refuse_unit(p, &p->arrival->record, &error);
    else if (last)
        take_whole(p);
    if (err != TR_OK || last)
        tr__arrival_end(p);
    return err == TR_OK;
}

void tr__arrival_end(tr__remote_peer *p)
{
    arrival *a = p->arrival;
    if (!a)
        return;
    tr__spool_drop(a->file);
    for (uint32_t i = 0; i < a->gap_count; i++)
        tr__buffer_drop(a->gaps[i].buffer);
    tr__free(a->bytes);
    tr__free(a);
    p->arrival = NULL;
}
