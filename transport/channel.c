/* See channel.h, which says whose thread each part is.
 *
 * What can fail: memory for a second slice, and the other side's bytes; both are a fault, told once, after
 * which nothing is handed up any more. A failed send is silent here: the stream reports `down` for it. */
#include "transport/channel.h"

#include <string.h>

#include "base/buggify.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define MS 1000000ull

#define BULK_PIECES 4 /* of a send that normal frames leave to the bulk lane: a chunk and more */

void tr__connection_config_defaults(tr__connection_config *config)
{
    *config = (tr__connection_config){
        .self = {.version_min = TR__FRAME_VERSION, .version_max = TR__FRAME_VERSION},
        .window = 1u << 20,
        .queue_max = 8u << 20,
        .bulk_window = 1024u << 10,
        .bulk_queue_max = 8u << 20,
        .message_max = 64u << 20,
        .handshake_ns = 5000 * MS,
        .ack_delay_ns = 20 * MS,
        .drain_ns = 2000 * MS,
        .stuck_ns = 10000 * MS,
    };
    tr__detector_config_defaults(&config->detector);
}

void tr__channel_init(tr__channel *ch, const tr__connection_config *config, tr__net *net, tr__stream *stream,
                      bool dialled, const tr__channel_upcalls *upcalls, void *context)
{
    *ch = (tr__channel){
        .config = config,
        .upcalls = upcalls,
        .context = context,
        .net = net,
        .stream = stream,
        .dialled = dialled,
    };
    atomic_store(&ch->grant_limit, UINT64_MAX);
    atomic_store(&ch->bulk_grant_limit, UINT64_MAX);
    tr__outgoing_init(&ch->out, config->psk != NULL);
    tr__bulk_init(&ch->bulk, config->psk != NULL);
    net->limit(stream, TR__FRAME_SIZE_HELLO);
}

void tr__channel_close(tr__channel *ch)
{
    atomic_store(&ch->ended, true);
    ch->net->close(ch->stream);
}

void tr__channel_fini(tr__channel *ch)
{
    if (ch->stream) {
        ch->net->free(ch->stream);
        tr__outgoing_fini(&ch->out);
        tr__bulk_fini(&ch->bulk);
    }
    ch->stream = NULL;
    tr__wipe(&ch->seal_out, sizeof ch->seal_out);
    tr__wipe(&ch->seal_in, sizeof ch->seal_in);
    tr__wipe(&ch->other, sizeof ch->other);
}

tr_err tr__channel_set_keys(tr__channel *ch, tr__psk_pair *pair, const uint8_t *theirs, tr_error *error)
{
    tr__seals seals[TR__KEYS_MAX];
    TR_TRY(tr__psk_derive(ch->config->psk, pair, theirs, ch->dialled, seals, error));
    ch->seal_out = seals[0].out;
    ch->seal_in = seals[0].in;
    if (!ch->dialled)
        ch->other = seals[1];
    tr__wipe(seals, sizeof seals);
    atomic_store_explicit(&ch->keyed, true, memory_order_release);
    if (ch->dialled) /* they had them before they said theirs */
        atomic_store_explicit(&ch->sealing, true, memory_order_release);
    return TR_OK;
}

/* Sending: whoever holds `sending` ---- */

bool tr__channel_owes_ack(const tr__channel *ch)
{
    return atomic_load_explicit(&ch->batches_in, memory_order_acquire) !=
           atomic_load_explicit(&ch->acked_by_us, memory_order_acquire);
}

static void add(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* A control frame was written there; its size, with the tag if it had to be sealed. */
static size_t put(tr__channel *ch, uint8_t *at, size_t size)
{
    /* acquire: the keys that were set before */
    return atomic_load_explicit(&ch->sealing, memory_order_acquire) ? tr__seal_close(&ch->seal_out, at)
                                                                    : size;
}

static size_t put_ack(tr__channel *ch, uint8_t *at)
{
    tr__ack ack = {.sequence = atomic_load_explicit(&ch->batches_in, memory_order_acquire)};
    ack.messages = atomic_load_explicit(&ch->messages_in, memory_order_relaxed);
    atomic_store_explicit(&ch->acked_by_us, ack.sequence, memory_order_release);
    return put(ch, at, tr__frame_put_ack(at, ++ch->control_sequence, &ack));
}

/* What a lane is granted in all: a window beyond what was consumed, as far as a quota lets it. */
static uint64_t to_grant(const _Atomic uint64_t *consumed, size_t window, const _Atomic uint64_t *limit)
{
    uint64_t total = atomic_load_explicit(consumed, memory_order_acquire) + window;
    uint64_t most = atomic_load_explicit(limit, memory_order_acquire);
    return total < most ? total : most;
}

static size_t put_grant(tr__channel *ch, uint8_t *at)
{
    uint64_t total = to_grant(&ch->consumed, ch->config->window, &ch->grant_limit);
    atomic_store_explicit(&ch->granted_by_us, total, memory_order_release);
    return put(ch, at, tr__frame_put_grant(at, ++ch->control_sequence, total));
}

static size_t put_bulk_grant(tr__channel *ch, uint8_t *at)
{
    uint64_t total = to_grant(&ch->bulk_consumed, ch->config->bulk_window, &ch->bulk_grant_limit);
    atomic_store_explicit(&ch->bulk_granted_by_us, total, memory_order_release);
    return put(ch, at, tr__frame_put_bulk_grant(at, ++ch->control_sequence, total));
}

/* Write what is wanted of control frames, the goodbye excepted; returns their bytes. */
static size_t put_control(tr__channel *ch, unsigned wants, bool with_batches)
{
    uint8_t *at = ch->control;
    if (wants & TR__WANT_REFUSE) {
        ch->muted = true;
        return put(ch, at, tr__frame_put_refuse(at, ++ch->control_sequence, &ch->refusal));
    }
    if (wants & TR__WANT_KEY)
        at += tr__frame_put_key(at, ++ch->control_sequence, ch->open_key);
    if (wants & TR__WANT_HELLO)
        at += put(ch, at,
                  tr__frame_put_hello(at, ch->dialled ? TR__FRAME_HELLO : TR__FRAME_HELLO_ACK,
                                      ++ch->control_sequence, &ch->config->self));
    if ((wants || with_batches) && tr__channel_owes_ack(ch))
        at += put_ack(ch, at);
    if (wants & TR__WANT_GRANT)
        at += put_grant(ch, at);
    if (wants & TR__WANT_BULK_GRANT)
        at += put_bulk_grant(ch, at);
    if (wants & TR__WANT_HEARTBEAT)
        at += put(ch, at, tr__frame_put_empty(at, TR__FRAME_HEARTBEAT, ++ch->control_sequence));
    return (size_t)(at - ch->control);
}

/* What waits of both lanes; returns how many pieces. */
static unsigned gather_data(tr__channel *ch, tr__iov *iov, unsigned room)
{
    unsigned bulk_room = tr__bulk_may_send(&ch->bulk) ? BULK_PIECES : 0, chunks;
    bool one = TR_BUGGIFY(send_one);
    unsigned taken = tr__outgoing_take(&ch->out, &ch->seal_out, iov, one ? 1 : room - bulk_room);
    unsigned used = taken;
    if (tr__bulk_waits(&ch->bulk)) {
        used += tr__bulk_take(&ch->bulk, &ch->seal_out, ch->out.taken, iov + used, room - used,
                              one ? 1 : TR__TURN_CHUNKS, &chunks);
        taken += chunks;
    }
    add(&ch->batches_out, taken);
    return used;
}

static bool data_waits(const tr__channel *ch)
{
    return tr__outgoing_waits(&ch->out) || tr__bulk_waits(&ch->bulk);
}

/* What one send is to carry; returns how many pieces. */
static unsigned gather(tr__channel *ch, tr__iov *iov)
{
    unsigned count = 0;
    /* acq_rel: what was written before a bit was set is seen; batches closed before a goodbye as well. */
    unsigned wants = atomic_exchange_explicit(&ch->wants, 0, memory_order_acq_rel);
    bool batches = !(wants & TR__WANT_REFUSE) && data_waits(ch);
    size_t control = put_control(ch, wants, batches);
    if (control)
        iov[count++] = (tr__iov){ch->control, control};
    if (batches)
        count += gather_data(ch, iov + count, TR__IOV_MAX - 1 - count);
    ch->goodbye_due |= (wants & TR__WANT_GOODBYE) != 0;
    if (ch->goodbye_due && !ch->muted && !data_waits(ch)) {
        size_t length =
            put(ch, ch->tail, tr__frame_put_empty(ch->tail, TR__FRAME_GOODBYE, ++ch->control_sequence));
        iov[count++] = (tr__iov){ch->tail, length};
        ch->goodbye_due = false;
        atomic_store_explicit(&ch->goodbye_sent, true, memory_order_release);
    }
    for (unsigned i = 0; i < count; i++)
        add(&ch->bytes_out, iov[i].length);
    if (batches || (wants & ~(unsigned)TR__WANT_HEARTBEAT))
        add(&ch->spoken, 1);
    return count;
}

static bool has_work(const tr__channel *ch)
{
    return atomic_load(&ch->wants) || !tr__mpsc_is_empty(&ch->out.closed) || tr__bulk_may_send(&ch->bulk);
}

static void tell_blocked(tr__channel *ch)
{
    if (atomic_load(&ch->blocked) || atomic_load(&ch->bulk_blocked))
        ch->upcalls->credit(ch->context);
}

/* What was sent is given away. */
static void done(tr__channel *ch)
{
    tr__outgoing_sent(&ch->out);
    tr__bulk_sent(&ch->bulk);
    tell_blocked(ch);
}

/* True: it is done; false: `sent` will come, or never. */
static bool send(tr__channel *ch, const tr__iov *iov, unsigned count)
{
    if (ch->net->send_now)
        return ch->net->send_now(ch->stream, iov, count);
    ch->net->send(ch->stream, iov, count, NULL);
    return false;
}

/* Go on as the one who holds `sending`: post, or give it back. Once muted, or after a send that failed, it is
 * held for ever. */
static void go_on(tr__channel *ch)
{
    tr__iov iov[TR__IOV_MAX];
    do {
        for (;;) {
            if (ch->muted)
                return;
            unsigned count = gather(ch, iov);
            if (!count)
                break;
            if (!send(ch, iov, count))
                return;
            done(ch);
        }
        atomic_exchange(&ch->sending, false);
        if (atomic_load(&ch->draining))
            ch->upcalls->nudge(ch->context);
    } while (has_work(ch) && !atomic_exchange(&ch->sending, true));
}

void tr__channel_want(tr__channel *ch, unsigned wants)
{
    atomic_fetch_or(&ch->wants, wants);
}

void tr__channel_pump(tr__channel *ch)
{
    if (has_work(ch) && !atomic_exchange(&ch->sending, true))
        go_on(ch);
}

void tr__channel_sent(tr__channel *ch)
{
    done(ch);
    go_on(ch);
}

bool tr__channel_is_drained(const tr__channel *ch)
{
    return atomic_load_explicit(&ch->goodbye_sent, memory_order_acquire) && !atomic_load(&ch->sending) &&
           atomic_load(&ch->batches_sorted) == atomic_load(&ch->acked_by_us) &&
           atomic_load(&ch->messages_out) == atomic_load(&ch->messages_acked);
}

/* Receiving: the callback ---- */

tr_err tr__channel_on_ack(tr__channel *ch, const tr__frame *frame, tr_error *error)
{
    tr__ack ack;
    TR_TRY(tr__frame_get_ack(frame, &ack, error));
    uint64_t sent = atomic_load(&ch->messages_out), acked = atomic_load(&ch->messages_acked);
    if (ack.sequence > atomic_load(&ch->batches_out) || ack.messages > sent ||
        ack.sequence < atomic_load(&ch->batches_acked) || ack.messages < acked)
        return tr__fail(
            error, TR_EPROTO, "an ack of %llu messages came where %llu were sent and %llu acknowledged",
            (unsigned long long)ack.messages, (unsigned long long)sent, (unsigned long long)acked);
    atomic_store(&ch->batches_acked, ack.sequence);
    atomic_store(&ch->messages_acked, ack.messages);
    if (atomic_load(&ch->draining))
        ch->upcalls->nudge(ch->context);
    return TR_OK;
}

tr_err tr__channel_on_grant(tr__channel *ch, const tr__frame *frame, tr_error *error)
{
    uint64_t total, granted = atomic_load(&ch->granted_to_us), spent = atomic_load(&ch->spent);
    TR_TRY(tr__frame_get_grant(frame, &total, error));
    if (ch->peer_window == 0 && total >= TR__FRAME_SIZE_HELLO && total <= UINT32_MAX)
        ch->peer_window = (size_t)total;
    if (ch->peer_window == 0 || total < granted || total > spent + ch->peer_window)
        return tr__fail(error, TR_EPROTO,
                        "a grant up to byte %llu came where %llu were granted and %llu sent",
                        (unsigned long long)total, (unsigned long long)granted, (unsigned long long)spent);
    atomic_store(&ch->granted_to_us, total);
    tell_blocked(ch);
    return TR_OK;
}

tr_err tr__channel_on_bulk_grant(tr__channel *ch, const tr__frame *frame, tr_error *error)
{
    uint64_t total, granted = atomic_load(&ch->bulk.granted), spent = atomic_load(&ch->bulk.spent);
    TR_TRY(tr__frame_get_grant(frame, &total, error));
    if (!ch->lanes || total < granted || total < 2 * TR__CHUNK_FRAME_MAX || total > spent + UINT32_MAX)
        return tr__fail(error, TR_EPROTO,
                        "a bulk grant up to byte %llu came where %llu were granted and %llu sent",
                        (unsigned long long)total, (unsigned long long)granted, (unsigned long long)spent);
    atomic_store(&ch->bulk.granted, total);
    return TR_OK;
}

/* A frame that is settled here. */
static tr_err settle(tr__channel *ch, const uint8_t *bytes, size_t left, tr_error *error)
{
    tr__frame frame;
    TR_TRY(tr__frame_decode(bytes, left, TR__FRAME_SIZE_HELLO, &frame, error));
    if (frame.kind == TR__FRAME_ACK)
        return tr__channel_on_ack(ch, &frame, error);
    if (frame.kind == TR__FRAME_GRANT)
        return tr__channel_on_grant(ch, &frame, error);
    if (frame.kind == TR__FRAME_BULK_GRANT)
        return tr__channel_on_bulk_grant(ch, &frame, error);
    add(&ch->heartbeats_in, 1);
    return TR_OK;
}

/* Who accepted learns from the first sealed frame by which of its keys the other side has sealed, and seals
 * with that one. Without another key `other` is zeros, which nobody has derived. */
static void choose_key(tr__channel *ch, const uint8_t *bytes, const tr__frame *frame)
{
    static const tr__seals none;
    if (memcmp(&ch->other, &none, sizeof none) == 0)
        return;
    if (tr__seal_fits(&ch->other.in, bytes, frame)) {
        ch->seal_in = ch->other.in;
        ch->seal_out = ch->other.out; /* nobody seals before `sealing` is set */
    }
    tr__wipe(&ch->other, sizeof ch->other);
}

/* Whether such a frame may come now; one that is sealed is opened, in place. The texts are read on both
 * sides. */
static tr_err admit(tr__channel *ch, uint8_t *bytes, const tr__frame *frame, tr_error *error)
{
    const char *they = ch->dialled ? "was dialled" : "dialled";
    bool proven = ch->seal_in.count > 0;
    if (frame->sealed) {
        if (!atomic_load_explicit(&ch->keyed, memory_order_acquire))
            return tr__fail(error, TR_EPROTO, "a sealed frame came before keys were exchanged");
        if (!proven)
            choose_key(ch, bytes, frame);
        if (tr__seal_open(&ch->seal_in, bytes, frame)) {
            if (!proven && !ch->dialled)
                atomic_store_explicit(&ch->sealing, true, memory_order_release);
            return TR_OK;
        }
        if (proven)
            return tr__fail(error, TR_EPROTO, "a sealed %s frame was altered, repeated or moved on its way",
                            tr__frame_kind_word(frame->kind));
        return tr__fail(error, TR_EPERM,
                        "the two nodes have different keys; give both a copy of the same file by --key FILE");
    }
    if (proven)
        return tr__fail(error, TR_EPROTO, "a %s frame came unsealed", tr__frame_kind_word(frame->kind));
    if (ch->config->psk && frame->kind != TR__FRAME_KEY && frame->kind != TR__FRAME_REFUSE)
        return tr__fail(error, TR_EPERM,
                        "the node that %s has no key, the other has one; give both the same by --key FILE",
                        they);
    if (!ch->config->psk && frame->kind == TR__FRAME_KEY)
        return tr__fail(error, TR_EPERM,
                        "the node that %s has a key, the other has none; give both the same by --key FILE",
                        they);
    return TR_OK;
}

/* A chunk came. Here, where it arrives, and not where it is taken: what is granted in between doesn't excuse it. */
static tr_err spend(tr__channel *ch, const tr__frame *frame, tr_error *error)
{
    uint64_t granted = atomic_load_explicit(&ch->bulk_granted_by_us, memory_order_acquire);
    uint64_t came = atomic_load_explicit(&ch->bulk_in, memory_order_relaxed);
    if (frame->size > granted - came)
        return tr__fail(error, TR_EPROTO, "a chunk of %zu bytes came where %llu were granted", frame->size,
                        (unsigned long long)(granted - came));
    add(&ch->bulk_in, frame->size);
    return TR_OK;
}

/* Walk the frames: admit, settle, and note which lanes the rest is for. *good: the bytes before what was wrong. */
static tr_err sort(tr__channel *ch, tr__slice *slice, bool *data, bool *control, size_t *good,
                   tr_error *error)
{
    enum {
        SETTLED = TR__KIND_BIT(TR__FRAME_ACK) | TR__KIND_BIT(TR__FRAME_GRANT) |
                  TR__KIND_BIT(TR__FRAME_HEARTBEAT) | TR__KIND_BIT(TR__FRAME_BULK_GRANT),
        DATA = TR__KIND_BIT(TR__FRAME_BATCH) | TR__KIND_BIT(TR__FRAME_CHUNK)
    };
    tr__frame frame;
    /* Both acquire, once a slice: who sends a batch has our grant, so it finds `open`. */
    if (atomic_load_explicit(&ch->up, memory_order_acquire))
        slice->elsewhere = SETTLED | DATA;
    else if (atomic_load_explicit(&ch->open, memory_order_acquire))
        slice->elsewhere = DATA;
    for (size_t at = *good; at < slice->length; *good = at) {
        uint8_t *bytes = slice->chunk->bytes + (slice->bytes - slice->chunk->bytes) + at; /* not const */
        TR_TRY(tr__frame_header(bytes, SIZE_MAX, &frame, error));
        TR_TRY(admit(ch, bytes, &frame, error));
        bool elsewhere = slice->elsewhere & TR__KIND_BIT(frame.kind);
        bool is_data = frame.lane != TR__LANE_CONTROL;
        if (is_data && ch->goodbye_heard)
            return tr__fail(error, TR_EPROTO, "a %s came after goodbye", tr__frame_kind_word(frame.kind));
        if (frame.kind == TR__FRAME_CHUNK)
            TR_TRY(spend(ch, &frame, error));
        if (elsewhere && is_data) {
            *data = true;
            atomic_fetch_add(&ch->batches_sorted, 1);
        } else if (elsewhere) {
            TR_TRY(settle(ch, bytes, slice->length - at, error));
        } else {
            *control = true;
            ch->goodbye_heard |= frame.kind == TR__FRAME_GOODBYE;
        }
        at += frame.size;
    }
    return TR_OK;
}

static void fault(tr__channel *ch, const tr_error *why)
{
    if (!ch->deaf) {
        ch->deaf = true;
        ch->upcalls->fault(ch->context, why);
    }
}

/* Hand it up, counted as unread. */
static void hand_up(tr__channel *ch, tr__slice *slice, void (*to)(void *, tr__slice *))
{
    bool open = atomic_load_explicit(&ch->open, memory_order_acquire);
    size_t bulk = ch->lanes ? ch->config->bulk_window : 0; /* set before `open` */
    size_t max = open ? ch->config->window + bulk + TR__CONTROL_UNREAD_MAX : TR__FRAME_SIZE_HELLO;
    size_t unread = atomic_fetch_add_explicit(&ch->unread, slice->length, memory_order_relaxed);
    tr_error error;
    to(ch->context, slice);
    if (unread > max) {
        tr__fail(&error, TR_EPROTO,
                 "the other side sent more than it was granted: %zu bytes are unread, %zu allowed", unread,
                 max);
        fault(ch, &error);
    }
}

void tr__channel_received(tr__channel *ch, tr__slice *slice)
{
    tr_error error;
    bool data = false, control = false;
    size_t good = 0;
    add(&ch->bytes_in, slice->length);
    if (ch->deaf) {
        tr__slice_destroy(slice);
        return;
    }
    tr_err err = sort(ch, slice, &data, &control, &good, &error);
    slice->length = good;
    if (data && control) {
        tr__slice *both = tr__slice_clone(slice);
        if (both)
            hand_up(ch, both, ch->upcalls->control);
        else
            err = tr__fail(&error, TR_ENOMEM, "no memory to pass on received frames");
    }
    if (data || control)
        hand_up(ch, slice, data ? ch->upcalls->data : ch->upcalls->control);
    else
        tr__slice_destroy(slice);
    if (err)
        fault(ch, &error);
    else if (tr__bulk_may_send(&ch->bulk)) /* it may have waited for a grant in here */
        tr__channel_pump(ch);
}
