/* See flow.h. The home loop's thread. */
#include "transport/flow.h"

#include <string.h>

#include "base/buggify.h"
#include "base/check.h"
#include "base/err.h"
#include "base/plant.h"

void tr__flow_init(tr__flow *f, tr__channel *channel, const tr__flow_upcalls *upcalls, void *context)
{
    *f = (tr__flow){.channel = channel, .upcalls = upcalls, .context = context};
}

bool tr__flow_fini(tr__flow *f)
{
    return tr__gathering_drop(&f->bulk);
}

uint64_t tr__flow_unknown(const tr__flow *f)
{
    return atomic_load(&f->channel->messages_out) - atomic_load(&f->channel->messages_acked);
}

/* For what this thread alone writes. */
static void add(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_release);
}

/* Out ---- */

static int64_t credit(const tr__flow *f)
{
    return (int64_t)(atomic_load(&f->channel->granted_to_us) - atomic_load(&f->channel->spent));
}

/* Whether a message that costs that much is within the credit, or may go beyond it (flow.h). */
static bool has_credit(const tr__flow *f, size_t cost)
{
    size_t window = f->channel->peer_window;
    int64_t open = credit(f);
    return open >= (int64_t)cost || open >= (int64_t)(window - window / 4);
}

static bool admits(const tr__flow *f, size_t cost)
{
    size_t queued = tr__outgoing_queued(&f->channel->out);
    return has_credit(f, cost) && (queued == 0 || queued + cost <= f->channel->config->queue_max);
}

/* From now on credit and room are told; so the caller looks again after this. */
static void ask_for_credit(tr__flow *f, size_t length)
{
    atomic_store(&f->channel->blocked, true);
    if (length + f->channel->out.overhead > f->blocked_cost)
        f->blocked_cost = length + f->channel->out.overhead;
}

/* Whether there is credit and room again for what was refused. */
static bool normal_again(tr__flow *f)
{
    tr__channel *ch = f->channel;
    if (!atomic_load(&ch->blocked) || tr__outgoing_queued(&ch->out) > ch->config->queue_max / 2 ||
        credit(f) < (int64_t)(ch->peer_window / 4) || !has_credit(f, f->blocked_cost))
        return false;
    atomic_store(&ch->blocked, false);
    f->blocked_cost = 0;
    return true;
}

/* The same of the bulk lane: room for half of it, and for the largest that was refused. */
static bool has_bulk_room(const tr__flow *f)
{
    const tr__bulk *bulk = &f->channel->bulk;
    size_t most = f->channel->config->bulk_queue_max;
    return atomic_load(&bulk->queued) <= most / 2 && tr__bulk_admits(bulk, f->bulk_blocked_length, most);
}

static bool bulk_again(tr__flow *f)
{
    if (!atomic_load(&f->channel->bulk_blocked) || !has_bulk_room(f))
        return false;
    atomic_store(&f->channel->bulk_blocked, false);
    f->bulk_blocked_length = 0;
    return true;
}

void tr__flow_credit(tr__flow *f)
{
    if (f->closing || atomic_load(&f->channel->ended))
        return;
    bool normal = normal_again(f), bulk = bulk_again(f);
    if (normal || bulk)
        f->upcalls->writable(f->context);
}

static tr_err usable(const tr__flow *f)
{
    if (f->closing)
        return TR_ECLOSED;
    return atomic_load_explicit(&f->channel->ended, memory_order_relaxed) ? TR_ENOCONN : TR_OK;
}

tr_err tr__flow_reserve(tr__flow *f, size_t length, uint8_t **at)
{
    tr__channel *ch = f->channel;
    if (length == 0)
        return TR_EINVAL;
    if (length > TR__FRAME_SIZE_MAX - TR__BATCH_OVERHEAD)
        return TR_ETOOBIG;
    TR_TRY(usable(f));
    size_t cost = tr__outgoing_cost(&ch->out, length);
    if (TR_BUGGIFY(credit_late)) {
        ask_for_credit(f, length);
        ch->upcalls->credit(ch->context); /* it is told as when some has come */
        return TR_EAGAIN;
    }
    if (!admits(f, cost)) {
        ask_for_credit(f, length);
        if (!admits(f, cost)) {
            f->refused_sends++;
            return TR_EAGAIN;
        }
    }
    if (credit(f) < (int64_t)cost) /* a frame of its own; what joins it later is within the credit again */
        tr__outgoing_close_batch(&ch->out);
    uint64_t closed = ch->out.sequence;
    *at = tr__outgoing_reserve(&ch->out, length);
    if (ch->out.sequence != closed) /* a frame is full: it needn't wait for the others */
        tr__channel_pump(ch);
    return *at ? TR_OK : TR_ENOMEM;
}

/* Bytes of messages that may follow in the open frame: both bounds can only become wider. */
static size_t allowance(const tr__flow *f)
{
    int64_t open = credit(f);
    size_t queued = tr__outgoing_queued(&f->channel->out), most = f->channel->config->queue_max;
    size_t room = queued < most ? most - queued : 0;
    return open <= 0 ? 0 : (size_t)open < room ? (size_t)open : room;
}

static void commit(tr__flow *f, size_t length, uint32_t messages)
{
    add(&f->channel->spent, tr__outgoing_commit(&f->channel->out, length, messages));
    add(&f->channel->messages_out, messages);
    if (TR_BUGGIFY(batch_of_one))
        tr__outgoing_close_batch(&f->channel->out);
    else
        tr__outgoing_allow(&f->channel->out, allowance(f));
}

void tr__flow_commit(tr__flow *f, size_t length)
{
    commit(f, length, 1);
}

bool tr__flow_append(tr__flow *f, const void *bytes, size_t length, uint32_t messages)
{
    tr__channel *ch = f->channel;
    uint8_t *at;
    /* What goes beyond the credit must be one message. */
    bool within = credit(f) >= (int64_t)tr__outgoing_cost(&ch->out, length);
    if (!within || tr__flow_reserve(f, length, &at) != TR_OK)
        return false;
    memcpy(at, bytes, length);
    commit(f, length, messages);
    return true;
}

uint8_t *tr__flow_place(tr__flow *f, size_t length)
{
    return TR_BUGGIFY(credit_late) ? NULL : tr__outgoing_place(&f->channel->out, length);
}

void tr__flow_placed(tr__flow *f, size_t length)
{
    tr__outgoing_placed(&f->channel->out, length);
    add(&f->channel->spent, length);
    add(&f->channel->messages_out, 1);
    if (TR_BUGGIFY(batch_of_one))
        tr__outgoing_close_batch(&f->channel->out);
}

tr_err tr__flow_bulk_may(tr__flow *f, size_t length)
{
    tr__channel *ch = f->channel;
    size_t most = ch->config->bulk_queue_max;
    TR_TRY(usable(f));
    if (tr__bulk_admits(&ch->bulk, length, most) && !TR_BUGGIFY(bulk_late))
        return TR_OK;
    atomic_store(&ch->bulk_blocked, true);
    if (length > f->bulk_blocked_length)
        f->bulk_blocked_length = length;
    if (has_bulk_room(f)) /* it is told as when some has left */
        ch->upcalls->credit(ch->context);
    f->refused_sends++;
    return TR_EAGAIN;
}

/* What was gathered of both lanes may leave: what was committed to the normal lane so far goes first. */
static void close_open(tr__flow *f)
{
    tr__outgoing_close_batch(&f->channel->out);
    tr__bulk_close(&f->channel->bulk, f->channel->out.sequence);
}

tr_err tr__flow_bulk_reserve(tr__flow *f, size_t length, uint8_t **at)
{
    TR_TRY(tr__flow_bulk_may(f, length));
    if (!tr__bulk_fits(&f->channel->bulk, length))
        close_open(f);
    *at = tr__bulk_reserve(&f->channel->bulk, length);
    return *at ? TR_OK : TR_ENOMEM;
}

void tr__flow_bulk_commit(tr__flow *f, size_t length)
{
    tr__bulk_commit(&f->channel->bulk, length);
    add(&f->channel->messages_out, 1);
}

tr_err tr__flow_bulk_put(tr__flow *f, tr__unit *unit)
{
    tr__channel *ch = f->channel;
    TR_TRY(usable(f));
    close_open(f);
    if (!tr__bulk_prepare(&ch->bulk))
        return TR_ENOMEM;
    add(&ch->messages_out, 1);
    tr__bulk_put(&ch->bulk, unit, ch->out.sequence);
    tr__channel_pump(ch); /* it is enough for a send: nothing is to be gathered first */
    return TR_OK;
}

void tr__flow_bulk_skip(tr__flow *f, uint64_t unit)
{
    tr__bulk_skip(&f->channel->bulk, unit);
}

void tr__flow_flush(tr__flow *f)
{
    close_open(f);
    tr__channel_pump(f->channel);
}

void tr__flow_close(tr__flow *f)
{
    if (f->closing)
        return;
    f->closing = true;
    atomic_store(&f->channel->draining, true);
    close_open(f);
    tr__channel_want(f->channel, TR__WANT_GOODBYE | TR__WANT_ACK);
    tr__channel_pump(f->channel);
}

/* In ---- */

static bool grant_due(const tr__flow *f)
{
    const tr__channel *ch = f->channel;
    uint64_t granted = atomic_load_explicit(&ch->granted_by_us, memory_order_acquire);
    uint64_t consumed = atomic_load_explicit(&ch->consumed, memory_order_relaxed);
    size_t due = TR_BUGGIFY(grant_early) ? 1 : ch->config->window / 4;
    return consumed + ch->config->window - granted >= due;
}

/* At once, or as the quota lets it through. */
static void grant(tr__flow *f, unsigned lane)
{
    if (f->channel->metered)
        f->upcalls->owes_grant(f->context);
    else
        tr__channel_want(f->channel, lane);
}

void tr__flow_consumed(tr__flow *f, size_t bytes)
{
    add(&f->channel->consumed, bytes);
    tr__check(atomic_load(&f->channel->consumed) <= f->received, "more was consumed than received");
    if (grant_due(f))
        grant(f, TR__WANT_GRANT);
}

static tr_err take_batch(tr__flow *f, const tr__frame *frame, tr_error *error)
{
    tr__channel *ch = f->channel;
    const uint8_t *bytes;
    size_t length, size = frame->size, window = ch->config->window;
    uint32_t messages;
    int64_t open = (int64_t)(atomic_load_explicit(&ch->granted_by_us, memory_order_acquire) - f->received);
    TR_TRY(tr__frame_get_batch(frame, &bytes, &length, &messages, error));
    bool beyond = open >= (int64_t)(window - window / 4) && messages == 1;
    if ((int64_t)size > open && !beyond)
        return tr__fail(error, TR_EPROTO, "a batch of %zu bytes came where %lld were granted", size,
                        (long long)open);
    f->received += size;
    add(&ch->consumed, size - length); /* what is beyond the messages is done with */
    add(&ch->messages_in, messages);
    add(&ch->batches_in, 1);
    f->upcalls->batch(f->context, bytes, length, messages);
    return TR_OK;
}

/* Half of what may be under way was taken: the other half keeps the sender busy until this arrives. */
static void grant_bulk(tr__flow *f)
{
    tr__channel *ch = f->channel;
    uint64_t granted = atomic_load_explicit(&ch->bulk_granted_by_us, memory_order_acquire);
    uint64_t consumed = atomic_load_explicit(&ch->bulk_consumed, memory_order_relaxed);
    if (consumed + ch->config->bulk_window - granted < ch->config->bulk_window / 2)
        return;
    grant(f, TR__WANT_BULK_GRANT);
    tr__channel_pump(ch);
}

/* A unit's way is said at its first chunk, but of one that is all there. */
static void choose_way(tr__flow *f, const tr__gathered *unit, bool first)
{
    if (first && unit->length < unit->left)
        f->bulk.way = f->upcalls->begins(f->context, unit->left, unit->bytes, unit->length);
    if (f->bulk.way == TR__UNIT_APART &&
        !f->upcalls->part(f->context, unit->bytes, unit->length, unit->length == unit->left))
        f->bulk.way = TR__UNIT_REFUSED;
}

/* Without memory to gather it the message goes back, and the connection stays. */
static tr_err gather(tr__flow *f, tr__gathered *unit, bool *gathered, tr_error *error)
{
    tr__gathering *g = &f->bulk;
    size_t headroom = f->channel->config->headroom;
    *gathered = g->way == TR__UNIT_GATHERED;
    tr_err err = tr__gathering_take(g, headroom, unit, error);
    if (err != TR_ENOMEM || !f->upcalls->no_memory(f->context, g->length + unit->left,
                                                   g->block ? g->block + headroom : unit->bytes,
                                                   g->block ? g->length : unit->length))
        return err;
    tr__gathering_refuse(g);
    *gathered = false;
    return tr__gathering_take(g, headroom, unit, error);
}

static tr_err take_chunk(tr__flow *f, const tr__frame *frame, tr_error *error)
{
    tr__channel *ch = f->channel;
    const tr__connection_config *config = ch->config;
    tr__gathered unit;
    bool first, gathered;
    TR_TRY(tr__gathering_look(&f->bulk, frame, config->message_max, &unit, &first, error));
    choose_way(f, &unit, first);
    TR_TRY(gather(f, &unit, &gathered, error));
    add(&ch->messages_in, unit.messages);
    add(&ch->batches_in, 1);
    atomic_store_explicit(&ch->bulk_left, f->bulk.left, memory_order_relaxed);
    if (!TR_PLANT(credit_kept))
        add(&ch->bulk_consumed, frame->size);
    grant_bulk(f);
    if (unit.messages && gathered)
        f->upcalls->bulk(f->context, unit.block, unit.bytes, unit.length, unit.messages);
    return TR_OK;
}

static tr_err take_all(tr__flow *f, const tr__slice *slice, tr_error *error)
{
    for (size_t at = 0; at < slice->length && !f->deaf;) { /* an upcall may have had it refused */
        tr__frame frame;
        TR_TRY(tr__frame_header(slice->bytes + at, TR__FRAME_SIZE_MAX, &frame, error));
        if (frame.kind == TR__FRAME_BATCH) {
            TR_TRY(
                tr__frame_decode(slice->bytes + at, slice->length - at, TR__FRAME_SIZE_MAX, &frame, error));
            TR_TRY(take_batch(f, &frame, error));
        } else if (frame.kind == TR__FRAME_CHUNK) {
            TR_TRY(
                tr__frame_decode(slice->bytes + at, slice->length - at, TR__FRAME_SIZE_MAX, &frame, error));
            TR_TRY(take_chunk(f, &frame, error));
        }
        at += frame.size;
    }
    return TR_OK;
}

void tr__flow_received(tr__flow *f, tr__slice *slice)
{
    tr_error error;
    if (!f->deaf && take_all(f, slice, &error)) {
        f->deaf = true;
        f->upcalls->fault(f->context, &error);
    }
    atomic_fetch_sub_explicit(&f->channel->unread, slice->length, memory_order_relaxed);
    tr__slice_destroy(slice);
    if (f->closing) {
        tr__channel_want(f->channel, TR__WANT_ACK);
        tr__channel_pump(f->channel);
    } else if (!atomic_exchange(&f->ack_watched, true)) { /* an exchange on both sides: one sees the other */
        f->upcalls->owes_ack(f->context);
    }
}
