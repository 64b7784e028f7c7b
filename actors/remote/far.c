/* What loops other than the one with the connections write to other nodes: blocks of records, one open for each node that
 * is written to in a turn. A node's types have numbers on its connection, which loop 0 tells it; those that it has told stand
 * in a table that others read. A message of another type goes the long way, as a message, and with it the type is told. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "base/buggify.h"
#include "base/mem.h"
#include "base/plant.h"

/* Beside one route. */
typedef struct tr__far {
    struct tr__far *next_open;
    bool listed;    /* among the loop's that have something open */
    uint16_t epoch; /* of the route; all here is of that, and of that node */
    uint64_t node;
    tr__waits waits;   /* asks */
    int64_t asking;    /* of them, that the route doesn't know of yet; below 0: that it still counts */
    tr_msg *open;      /* NULL: nothing was written since the last one went */
    tr__writer writer; /* likewise */
} tr__far;

/* Before the asks leave, and when some wait no more. */
static void tell_asking(tr__far *far, tr__route *route)
{
    if (far->asking)
        atomic_fetch_add_explicit(&route->asking, (uint64_t)far->asking, memory_order_release);
    far->asking = 0;
}

/* To the outbox. */
static void close_open(tr__loop *loop, tr__far *far)
{
    tr_msg *msg = far->open;
    if (!msg)
        return;
    far->open = NULL;
    if (!tr__records_of(msg)->count) { /* what it was opened for doesn't fit into any */
        tr__msg_free(loop, msg);
        return;
    }
    msg = tr__records_fit(loop, msg);
    tr__route *route = &loop->node->remote->routes[msg->route - 1];
    tell_asking(far, route);
    atomic_fetch_add_explicit(&route->records, tr__records_cost(msg), memory_order_relaxed);
    loop->counts.passed += tr__records_of(msg)->count - 1;
    tr__to_loop(loop, 0, msg);
}

static tr__far *far_make(tr__loop *loop, size_t index)
{
    if (!loop->fars && !(loop->fars = tr__zalloc(TR__PEERS_MAX * sizeof(*loop->fars))))
        return NULL;
    tr__far *far = tr__zalloc(sizeof(*far));
    if (far)
        far->waits.ours = true;
    return loop->fars[index] = far;
}

/* What is beside the route, of its epoch while it leads to that node; NULL: no memory, or it doesn't any more. */
static tr__far *far_of(tr__loop *loop, size_t index, tr__route *route, uint64_t node)
{
    tr__far *far = loop->fars ? loop->fars[index] : NULL;
    uint16_t epoch;
    if (!tr__route_epoch(route, node, &epoch))
        return NULL;
    if (__builtin_expect(far && far->epoch == epoch, 1))
        return far;
    if (!far && !(far = far_make(loop, index)))
        return NULL;
    if (far->waits.count) /* until it is told of the end (tr__far_ended) */
        return NULL;
    close_open(loop, far);
    far->epoch = epoch;
    far->node = node;
    far->writer = (tr__writer){0};
    return far;
}

/* Whether the type has a number there: it is the writer's last one then. A number that was read is of the epoch if that is
 * still the same: another connection's are written after its epoch was. */
static bool is_told(tr__far *far, tr__route *route, tr__told *told, const tr_typeinfo *type)
{
    if (far->writer.last_type == type)
        return true;
    uint32_t count = atomic_load_explicit(&told->count, memory_order_acquire), i = 0;
    while (i < count && atomic_load_explicit(&told->types[i], memory_order_acquire) != type)
        i++;
    if (i >= count || atomic_load_explicit(&route->epoch, memory_order_acquire) != far->epoch)
        return false;
    far->writer.last_type = type;
    far->writer.last_number = i;
    return true;
}

/* An open block with that room; what is full goes at once, since the connection's loop may be idle. */
static uint8_t *place(tr__loop *loop, tr__far *far, tr__route *route, uint64_t node, const tr_typeinfo *type,
                      uint32_t number, size_t length)
{
    uint8_t *at = far->open ? tr__records_place(far->open, type, number, length) : NULL;
    if (__builtin_expect(at != NULL, 1))
        return at;
    bool full = far->open != NULL;
    close_open(loop, far);
    if (full)
        tr__outbox_push(loop, 0);
    far->open = tr__records_open(loop, loop->node->id, node);
    if (!far->open)
        return NULL;
    far->open->routed = true;
    far->open->route = (uint16_t)(route - loop->node->remote->routes + 1);
    far->open->route_epoch = far->epoch;
    if (!far->listed) {
        far->listed = true;
        far->next_open = loop->far_open;
        loop->far_open = far;
    }
    return tr__records_place(far->open, type, number, length);
}

bool tr__far_put(tr__loop *loop, tr__route *route, tr_addr to, tr_addr from, const tr_typeinfo *type,
                 const void *body, size_t size)
{
    tr__remote *remote = loop->node->remote;
    size_t index = (size_t)(route - remote->routes);
    tr__far *far = far_of(loop, index, route, to.node);
    bool alike = far && tr__writer_is_alike(&far->writer, to, from, type);
    if (!far || (!alike && !is_told(far, route, &remote->told[index], type)))
        return false;
    uint32_t number = alike ? far->writer.alike.record.type : far->writer.last_number;
    size_t room = tr__cbor_room(type, body, size);
    uint8_t *at = place(loop, far, route, to.node, type, number, TR__WIRE_HEADER_MAX + room);
    if (!at)
        return false;
    size_t length = tr__writer_put(&far->writer, at, alike, to, from, type, body, room);
    tr__records_placed(far->open, length);
    TR__COUNT(loop->counts.accepted);
    if (TR_BUGGIFY(batch_of_one))
        close_open(loop, far);
    return true;
}

/* How such a message is written; 0: it isn't. */
static tr__wire_kind kind_of(const tr_msg *msg)
{
    if (msg->flags & ~TR__MSG_OF_BODY || msg->home & TR__HOME_HOLDS || !msg->type || !msg->type->heads ||
        msg->size > TR__FAR_MAX)
        return 0;
    return msg->kind == TR__MSG_NORMAL  ? TR__WIRE_NORMAL
           : msg->kind == TR__MSG_ASK   ? TR__WIRE_ASK /* one of an actor here: others' are handed on */
           : msg->kind == TR__MSG_REPLY ? TR__WIRE_REPLY
                                        : 0;
}

static tr__record record_of(const tr__loop *loop, const tr_msg *msg, tr__wire_kind kind, uint32_t number)
{
    uint64_t due = msg->deadline_ns, now = loop->now_ns;
    return (tr__record){.kind = kind,
                        .to_slot = msg->to.slot,
                        .to_generation = msg->to.generation,
                        .from_slot = msg->sender.slot,
                        .from_generation = msg->sender.generation,
                        .ask = msg->ask,
                        .remaining_ns = due == UINT64_MAX ? due
                                        : due > now       ? due - now
                                                          : 0,
                        .type = number};
}

bool tr__far_send(tr__loop *loop, tr__route *route, uint64_t node, tr_msg *msg)
{
    tr__remote *remote = loop->node->remote;
    size_t index = (size_t)(route - remote->routes);
    tr__wire_kind kind = kind_of(msg);
    tr__far *far = kind ? far_of(loop, index, route, node) : NULL;
    bool asks = kind == TR__WIRE_ASK;
    if (!far || !is_told(far, route, &remote->told[index], msg->type) ||
        (asks && !tr__waits_room(&far->waits)))
        return false;
    const void *body = tr__msg_body(msg);
    uint32_t number = far->writer.last_number;
    size_t room = tr__cbor_room(msg->type, body, msg->size);
    uint8_t *at = place(loop, far, route, node, msg->type, number, TR__WIRE_HEADER_MAX + room);
    if (!at)
        return false;
    tr__record record = record_of(loop, msg, kind, number);
    tr__records_placed(far->open, tr__writer_put_record(at, &record, msg->type, body, room));
    if (!asks || !tr__waits_put(&far->waits, msg))
        tr__msg_free(loop, msg);
    far->asking += asks;
    return true;
}

/* An ask's block, out of those that wait. */
static tr_msg *take_wait(tr__far *far, uint64_t ask, uint32_t slot, uint32_t generation)
{
    tr_msg *wait = tr__waits_take(&far->waits, TR__MSG_ASK, ask, slot, generation);
    far->asking -= wait != NULL;
    return wait;
}

void tr__far_close(tr__loop *loop, const tr__route *route, const tr_msg *msg)
{
    tr__far *far = loop->fars ? loop->fars[route - loop->node->remote->routes] : NULL;
    if (!far)
        return;
    if (!TR_PLANT(records_overtaken))
        close_open(loop, far);
    tr_msg *wait = msg->kind == TR__MSG_CANCEL
                       ? take_wait(far, msg->ask, msg->sender.slot, msg->sender.generation)
                       : NULL;
    if (wait)
        tr__msg_free(loop, wait);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static tr__far *far_by(const tr__loop *loop, const tr_msg *msg)
{
    tr__far *far = loop->fars && msg->route ? loop->fars[msg->route - 1] : NULL;
    return far && far->epoch == msg->route_epoch ? far : NULL;
}

tr_msg *tr__far_wait_take(tr__loop *loop, const tr_msg *records, const tr__record *r)
{
    tr__far *far = far_by(loop, records);
    return far ? take_wait(far, r->ask, r->to_slot, r->to_generation) : NULL;
}

void tr__far_taken(tr__loop *loop, const tr_msg *msg, uint32_t answers, size_t bytes)
{
    tr__remote *remote = loop->node->remote;
    tr__far *far = far_by(loop, msg);
    if (!remote || !answers)
        return;
    tr__route *route = &remote->routes[msg->route - 1];
    atomic_fetch_sub_explicit(&route->answering_bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&route->answering, answers, memory_order_relaxed);
    if (far) /* behind that (E4) */
        tell_asking(far, route);
}

void tr__far_answered(tr__loop *loop, tr_msg *msg)
{
    tr__far *far = far_by(loop, msg);
    tr_msg *wait = far ? take_wait(far, msg->ask, msg->to.slot, msg->to.generation) : NULL;
    tr__far_taken(loop, msg, 1, tr__answer_cost(msg));
    if (!wait) { /* it may be of an actor that was started: the connection's loop knows */
        tr__to_loop(loop, 0, msg);
        return;
    }
    tr__msg_free(loop, wait);
    msg->routed = false;
    tr__deliver(loop, msg);
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void waits_end(tr__loop *loop, tr__far *far)
{
    tr_msg *msg;
    far->asking -= (int64_t)far->waits.count;
    while ((msg = tr__waits_pop(&far->waits)))
        if (loop->stopping || TR_PLANT(ask_left))
            tr__msg_free(loop, msg);
        else
            tr__fail_ask(loop, msg, far->node, TR_ENOCONN);
    tr__waits_fini(&far->waits);
}

void tr__far_ended(tr__loop *loop)
{
    tr__remote *remote = loop->node->remote;
    for (uint32_t i = 0; loop->fars && i < TR__PEERS_MAX; i++) {
        tr__far *far = loop->fars[i];
        uint16_t epoch;
        if (!far || !far->waits.count ||
            (remote && tr__route_epoch(&remote->routes[i], far->node, &epoch) && epoch == far->epoch))
            continue;
        waits_end(loop, far);
        if (remote)
            tell_asking(far, &remote->routes[i]);
    }
}

void tr__far_end(tr__loop *loop)
{
    for (uint32_t i = 0; loop->fars && i < TR__PEERS_MAX; i++)
        if (loop->fars[i])
            waits_end(loop, loop->fars[i]);
}

void tr__far_flush(tr__loop *loop)
{
    while (loop->far_open) {
        tr__far *far = loop->far_open;
        loop->far_open = far->next_open;
        far->listed = false;
        close_open(loop, far);
    }
}

void tr__far_fini(tr__loop *loop)
{
    for (uint32_t i = 0; loop->fars && i < TR__PEERS_MAX; i++)
        tr__free(loop->fars[i]);
    tr__free(loop->fars);
}
