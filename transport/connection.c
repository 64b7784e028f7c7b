/* See connection.h. The control thread only; no thread, clock or waiting of its own.
 *
 * The happy path: frames come in, a handler a frame kind changes the state and leaves with the channel what
 * is to be said. How it ends: the other side's goodbye or refusal, its bytes (we refuse, naming what was
 * wrong), its silence, the stream, memory; go_down is the one way out. */
#include "transport/connection.h"

#include <string.h>

#include "base/buggify.h"
#include "base/check.h"
#include "base/err.h"

#define BIT(n) (1u << (n))
#define LATE \
    32 /* what part of a heartbeat a look may be late before we distrust ourselves: timers are never exact */

enum {
    /* batches and chunks are the home's */
    DATA_KINDS = BIT(TR__FRAME_HEARTBEAT) | BIT(TR__FRAME_ACK) | BIT(TR__FRAME_GRANT) |
                 BIT(TR__FRAME_BULK_GRANT) | BIT(TR__FRAME_GOODBYE) | BIT(TR__FRAME_REFUSE),
    FAILS_TO = BIT(TR__CONNECTION_REFUSING) | BIT(TR__CONNECTION_DOWN),
};

/* A row a state: its word, the states it may go to, the frames it takes. */
static const struct state_row {
    const char *word;
    unsigned next, takes;
} STATES[TR__CONNECTION_STATES] = {
    [TR__CONNECTION_KEYING] = {"keying",
                               BIT(TR__CONNECTION_GREETING) | BIT(TR__CONNECTION_WAITING) | FAILS_TO,
                               BIT(TR__FRAME_KEY) | BIT(TR__FRAME_REFUSE)},
    [TR__CONNECTION_GREETING] = {"greeting", BIT(TR__CONNECTION_DECIDED) | FAILS_TO,
                                 BIT(TR__FRAME_HELLO_ACK) | BIT(TR__FRAME_REFUSE)},
    [TR__CONNECTION_WAITING] = {"waiting", BIT(TR__CONNECTION_ANSWERED) | FAILS_TO,
                                BIT(TR__FRAME_HELLO) | BIT(TR__FRAME_REFUSE)},
    [TR__CONNECTION_DECIDED] = {"decided", BIT(TR__CONNECTION_UP) | FAILS_TO,
                                BIT(TR__FRAME_GRANT) | BIT(TR__FRAME_REFUSE)},
    [TR__CONNECTION_ANSWERED] = {"answered", BIT(TR__CONNECTION_UP) | FAILS_TO,
                                 BIT(TR__FRAME_GRANT) | BIT(TR__FRAME_REFUSE)},
    [TR__CONNECTION_UP] = {"up", BIT(TR__CONNECTION_DRAINING) | FAILS_TO, DATA_KINDS},
    [TR__CONNECTION_DRAINING] = {"draining", FAILS_TO, DATA_KINDS},
    [TR__CONNECTION_REFUSING] = {"refusing", BIT(TR__CONNECTION_DOWN), 0},
    [TR__CONNECTION_DOWN] = {"down", 0, 0},
};

/* States ---- */

static void enter(tr__connection *c, tr__connection_state state)
{
    tr__check(STATES[c->state].next & BIT(state), "a connection cannot go from %s to %s",
              STATES[c->state].word, STATES[state].word);
    c->state = state;
    c->entered_ns = c->now_ns;
}

static bool is_open(const tr__connection *c)
{
    return c->state == TR__CONNECTION_UP || c->state == TR__CONNECTION_DRAINING;
}

/* The one way out. */
static void go_down(tr__connection *c, const tr_error *why)
{
    tr_error said = *why; /* it may be c->failure */
    enter(c, TR__CONNECTION_DOWN);
    tr__channel_close(c->channel);
    c->upcalls->down(c->context, &said);
}

void tr__connection_cut(tr__connection *c, const tr_error *why)
{
    if (c->state != TR__CONNECTION_DOWN)
        go_down(c, why);
}

void tr__connection_refuse(tr__connection *c, const tr_error *why, uint64_t now_ns)
{
    if (c->state == TR__CONNECTION_DOWN || c->state == TR__CONNECTION_REFUSING)
        return;
    c->now_ns = now_ns;
    enter(c, TR__CONNECTION_REFUSING);
    c->failure = c->channel->refusal = *why;
    atomic_store(&c->channel->ended, true);
    tr__channel_want(c->channel, TR__WANT_REFUSE);
    tr__channel_pump(c->channel);
}

void tr__connection_close(tr__connection *c, uint64_t now_ns)
{
    c->now_ns = now_ns;
    if (c->state == TR__CONNECTION_UP) {
        enter(c, TR__CONNECTION_DRAINING);
        atomic_store(&c->channel->draining, true);
        c->upcalls->drain(c->context);
    } else if (c->state < TR__CONNECTION_UP && c->failure.code == TR_OK) {
        tr__fail(&c->failure, TR_ECLOSED, "closed by this node before the handshake was done");
    }
}

static void said_goodbye(const tr__connection *c, tr_error *why)
{
    tr__fail(why, TR_ECLOSED, "node %s and this one said goodbye", c->peer.name);
}

/* Both said goodbye and everything is known to have arrived: done. */
static void finish_draining(tr__connection *c)
{
    tr_error why;
    if (c->state != TR__CONNECTION_DRAINING || !c->goodbye_received || !tr__channel_is_drained(c->channel))
        return;
    said_goodbye(c, &why);
    go_down(c, &why);
}

/* Hearing: a handler a kind. An error is our refusal ---- */

/* Whether we want to be connected with who says so. */
static tr_err judge(tr__connection *c, tr_error *refusal)
{
    const tr__hello *self = &c->config->self, *peer = &c->peer;
    if (peer->version_max < self->version_min || peer->version_min > self->version_max)
        return tr__fail(
            refusal, TR_EVERSION,
            "node %s speaks versions %u to %u of the protocol, node %s speaks %u to %u; upgrade the older",
            self->name, self->version_min, self->version_max, peer->name, peer->version_min,
            peer->version_max);
    if (strcmp(peer->cluster, self->cluster) != 0)
        return tr__fail(refusal, TR_EMISMATCH,
                        "node %s is in cluster %s, node %s in cluster %s; --cluster sets it", self->name,
                        self->cluster, peer->name, peer->cluster);
    if (peer->id == self->id)
        return tr__fail(refusal, TR_EINVAL, "node %s dialled itself; check the address given to --join",
                        self->name);
    if (strcmp(peer->name, self->name) == 0)
        return tr__fail(refusal, TR_EEXIST, "two nodes are named %s; --name gives one another name",
                        self->name);
    return c->upcalls->judge(c->context, peer, refusal);
}

/* From now on the other side may send batches, once it has our grant. */
static void open_window(tr__connection *c)
{
    tr__channel *ch = c->channel;
    ch->net->limit(ch->stream, TR__FRAME_SIZE_MAX);
    /* release: before the grant, so whose batch uses that finds it */
    atomic_store_explicit(&ch->open, true, memory_order_release);
    tr__channel_want(ch, TR__WANT_GRANT | (ch->lanes ? TR__WANT_BULK_GRANT : 0));
}

/* Whether both have a bulk lane; else large messages go as before there was one. */
static void agree_on_lanes(tr__connection *c)
{
    c->channel->lanes = c->config->bulk_window && (c->peer.capabilities & TR__CAPABILITY_LANES);
    c->channel->peer_message_max = c->channel->lanes ? c->peer.message_max : 0;
}

static void make_pair(tr__connection *c)
{
    tr__psk_pair_make(c->config->psk, &c->pair);
    memcpy(c->channel->open_key, c->pair.open, TR__KEY_SIZE);
}

/* Who accepted makes its pair only now: who connects and says nothing costs no arithmetic. */
static tr_err on_key(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    uint8_t theirs[TR__KEY_SIZE];
    TR_TRY(tr__frame_get_key(frame, theirs, error));
    if (!c->channel->dialled)
        make_pair(c);
    TR_TRY(tr__channel_set_keys(c->channel, &c->pair, theirs, error));
    enter(c, c->channel->dialled ? TR__CONNECTION_GREETING : TR__CONNECTION_WAITING);
    tr__channel_want(c->channel, c->channel->dialled ? TR__WANT_HELLO : TR__WANT_KEY);
    return TR_OK;
}

static tr_err on_hello(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    TR_TRY(tr__frame_get_hello(frame, &c->peer, error));
    TR_TRY(judge(c, error));
    agree_on_lanes(c);
    if (c->state == TR__CONNECTION_WAITING) {
        enter(c, TR__CONNECTION_ANSWERED);
        tr__channel_want(c->channel, TR__WANT_HELLO);
    } else {
        enter(c, TR__CONNECTION_DECIDED);
        open_window(c);
    }
    return TR_OK;
}

static tr_err on_refuse(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    tr_error said, why;
    TR_TRY(tr__frame_get_refuse(frame, &said, error));
    tr__fail(&why, said.code, "refused by the other side: %s", said.text);
    go_down(c, &why);
    return TR_OK;
}

static tr_err on_nothing(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    (void)c, (void)frame, (void)error; /* that it came was noticed */
    return TR_OK;
}

static tr_err on_ack(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    return tr__channel_on_ack(c->channel, frame, error);
}

static tr_err on_grant(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    TR_TRY(tr__channel_on_grant(c->channel, frame, error));
    if (c->state == TR__CONNECTION_ANSWERED)
        open_window(c);
    if (c->state == TR__CONNECTION_ANSWERED || c->state == TR__CONNECTION_DECIDED) {
        enter(c, TR__CONNECTION_UP);
        tr__detector_init(&c->detector, &c->config->detector, c->now_ns);
        /* release: the window of theirs is known; from now on the callback settles acks and grants */
        atomic_store_explicit(&c->channel->up, true, memory_order_release);
        c->taken_ns = c->now_ns;
        c->upcalls->up(c->context);
    }
    return TR_OK;
}

static tr_err on_bulk_grant(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    return tr__channel_on_bulk_grant(c->channel, frame, error);
}

static tr_err on_goodbye(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    (void)frame, (void)error;
    tr__connection_close(c, c->now_ns);
    c->goodbye_received = true;
    return TR_OK;
}

static tr_err (*const HANDLERS[TR__FRAME_KINDS])(tr__connection *, const tr__frame *, tr_error *) = {
    [TR__FRAME_HELLO] = on_hello,
    [TR__FRAME_HELLO_ACK] = on_hello,
    [TR__FRAME_REFUSE] = on_refuse,
    [TR__FRAME_HEARTBEAT] = on_nothing,
    [TR__FRAME_ACK] = on_ack,
    [TR__FRAME_GRANT] = on_grant,
    [TR__FRAME_GOODBYE] = on_goodbye,
    [TR__FRAME_KEY] = on_key,
    [TR__FRAME_BULK_GRANT] = on_bulk_grant,
};

/* One frame, unless somebody else takes it. *size: of the frame. */
static tr_err hear(tr__connection *c, const tr__slice *slice, size_t at, size_t *size, tr_error *error)
{
    tr__frame frame;
    const uint8_t *bytes = slice->bytes + at;
    TR_TRY(tr__frame_header(bytes, TR__FRAME_SIZE_MAX, &frame, error));
    *size = frame.size;
    if (slice->elsewhere & TR__KIND_BIT(frame.kind))
        return TR_OK;
    TR_TRY(tr__frame_decode(bytes, slice->length - at, TR__FRAME_SIZE_MAX, &frame, error));
    if (!(STATES[c->state].takes & BIT(frame.kind)))
        return tr__fail(error, TR_EPROTO, "a %s frame came in state %s", tr__frame_kind_word(frame.kind),
                        STATES[c->state].word);
    return HANDLERS[frame.kind](c, &frame, error);
}

/* Events ---- */

void tr__connection_init(tr__connection *c, tr__channel *channel, tr__flow *flow, uint64_t now_ns,
                         const tr__connection_upcalls *upcalls, void *context)
{
    *c = (tr__connection){
        .config = channel->config,
        .upcalls = upcalls,
        .context = context,
        .channel = channel,
        .flow = flow,
        .state = channel->config->psk ? TR__CONNECTION_KEYING
                 : channel->dialled   ? TR__CONNECTION_GREETING
                                      : TR__CONNECTION_WAITING,
        .now_ns = now_ns,
        .begun_ns = now_ns,
        .entered_ns = now_ns,
        .taken_ns = now_ns,
        .owing_ns = now_ns,
        .listened_ns = now_ns,
        .said_ns = now_ns,
        .look_ns = now_ns + channel->config->detector.heartbeat_ns / 2,
        .ack_due_ns = UINT64_MAX,
        .grant_due_ns = UINT64_MAX,
    };
    if (c->state == TR__CONNECTION_KEYING && channel->dialled)
        make_pair(c);
}

void tr__connection_begin(tr__connection *c)
{
    if (c->channel->dialled)
        tr__channel_want(c->channel, c->state == TR__CONNECTION_KEYING ? TR__WANT_KEY : TR__WANT_HELLO);
    tr__channel_pump(c->channel);
}

/* Whether something came since we listened last: at the earliest then. */
static void listen(tr__connection *c)
{
    uint64_t bytes = atomic_load_explicit(&c->channel->bytes_in, memory_order_relaxed);
    if (bytes != c->heard_bytes && is_open(c))
        tr__detector_heard(&c->detector, c->listened_ns);
    c->heard_bytes = bytes;
    c->listened_ns = c->now_ns;
}

void tr__connection_received(tr__connection *c, const tr__slice *slice, uint64_t now_ns)
{
    tr_error error;
    size_t at = 0, size;
    c->now_ns = now_ns;
    listen(c);
    while (at < slice->length && c->state < TR__CONNECTION_REFUSING) {
        if (hear(c, slice, at, &size, &error)) {
            tr__connection_refuse(c, &error, now_ns);
            break;
        }
        at += size;
    }
    atomic_fetch_sub_explicit(&c->channel->unread, slice->length, memory_order_relaxed);
    if (c->state != TR__CONNECTION_DOWN)
        tr__channel_pump(c->channel);
    finish_draining(c);
}

void tr__connection_owes_ack(tr__connection *c, uint64_t now_ns)
{
    if (c->ack_due_ns == UINT64_MAX)
        c->ack_due_ns = now_ns + (TR_BUGGIFY(ack_at_once) ? 0 : c->config->ack_delay_ns);
}

void tr__connection_meter(tr__connection *c, uint64_t rate, uint64_t burst)
{
    const tr__connection_config *config = c->config;
    size_t most = config->window > config->bulk_window ? config->window : config->bulk_window;
    if (rate == 0)
        return;
    tr__quota_init(&c->quota, rate, burst < most ? most : burst, c->now_ns);
    atomic_store(&c->channel->grant_limit, config->window); /* that may not have left yet */
    atomic_store(&c->channel->bulk_grant_limit, config->bulk_window);
    c->channel->metered = true;
}

typedef struct metered_lane {
    _Atomic uint64_t *limit;
    const _Atomic uint64_t *consumed;
    size_t window, step; /* step: of which it is granted without a quota */
    unsigned want;
} metered_lane;

/* What the quota lets through of what is owed to a lane is granted. Bytes to wait for: what is missing is given in steps, so
 * that a message that is larger than the window finds that open some time. 0: nothing is missing. */
static uint64_t meter(tr__connection *c, const metered_lane *lane)
{
    uint64_t limit = atomic_load(lane->limit), total = atomic_load(lane->consumed) + lane->window;
    uint64_t owed = total > limit ? total - limit : 0;
    uint64_t given = tr__quota_take(&c->quota, owed, c->now_ns), missing = owed - given;
    if (given) {
        atomic_store(lane->limit, limit + given);
        tr__channel_want(c->channel, lane->want);
    }
    return missing < lane->step ? missing : lane->step;
}

/* Both lanes live on one bucket. Who had the first draught has the last one next: neither starves. */
static void tend_grants(tr__connection *c)
{
    tr__channel *ch = c->channel;
    const tr__connection_config *config = c->config;
    const metered_lane lanes[] = {
        {&ch->grant_limit, &ch->consumed, config->window, config->window / 4, TR__WANT_GRANT},
        {&ch->bulk_grant_limit, &ch->bulk_consumed, config->bulk_window, config->bulk_window / 2,
         TR__WANT_BULK_GRANT},
    };
    c->bulk_first = !c->bulk_first && ch->lanes;
    uint64_t first = meter(c, &lanes[c->bulk_first]), last = ch->lanes ? meter(c, &lanes[!c->bulk_first]) : 0;
    c->grant_due_ns = UINT64_MAX;
    tr__channel_pump(ch);
    if (!first && !last)
        return;
    atomic_fetch_add(&ch->grants_held, 1);
    c->grant_due_ns = tr__quota_due(&c->quota, last ? last : first);
}

void tr__connection_owes_grant(tr__connection *c, uint64_t now_ns)
{
    c->now_ns = now_ns;
    if (is_open(c) && c->grant_due_ns == UINT64_MAX) /* else it comes when it is due */
        tend_grants(c);
}

void tr__connection_nudged(tr__connection *c, uint64_t now_ns)
{
    c->now_ns = now_ns;
    finish_draining(c);
}

void tr__connection_stream_down(tr__connection *c, const tr_error *why, uint64_t now_ns)
{
    tr_error said = *why;
    c->now_ns = now_ns;
    if (c->state == TR__CONNECTION_DOWN)
        return;
    if (c->state == TR__CONNECTION_REFUSING)
        said = c->failure;
    else if (atomic_load(&c->channel->goodbye_sent) && c->goodbye_received)
        said_goodbye(c, &said);
    else if (c->state < TR__CONNECTION_UP && why->code != TR_EPROTO && why->code != TR_EVERSION)
        tr__fail(&said, why->code, "during the handshake: %s", why->text);
    go_down(c, &said);
}

/* What has lasted too long; TR_OK if nothing. */
static tr_err overdue(const tr__connection *c, tr_error *why)
{
    const tr__connection_config *config = c->config;
    uint64_t in_state = c->now_ns - c->entered_ns;
    if (c->state < TR__CONNECTION_UP && c->now_ns - c->begun_ns >= config->handshake_ns)
        return tr__fail(why, TR_EDEADLINE,
                        "no handshake within %.1f s; is that node stopped, or no node of Troupe?",
                        (double)config->handshake_ns / 1e9);
    if (c->stuck)
        return tr__fail(why, TR_EFULL, "node %s took nothing for %.1f s of the %zu bytes that wait for it",
                        c->peer.name, (double)(c->now_ns - c->taken_ns) / 1e9,
                        atomic_load(&c->channel->out.queued) + atomic_load(&c->channel->bulk.queued));
    if (c->owing)
        return tr__fail(why, TR_EDEADLINE,
                        "node %s began a message, and sent nothing of the other %llu bytes for %.1f s",
                        c->peer.name, (unsigned long long)atomic_load(&c->channel->bulk_left),
                        (double)(c->now_ns - c->owing_ns) / 1e9);
    if (is_open(c) && c->now_ns >= tr__detector_due(&c->detector))
        return tr__fail(why, TR_ENOCONN, "no heartbeat from node %s for %.1f s", c->peer.name,
                        (double)tr__detector_silence(&c->detector, c->now_ns) / 1e9);
    if (c->state == TR__CONNECTION_DRAINING && in_state >= config->drain_ns)
        return tr__fail(why, TR_EDEADLINE, "node %s didn't answer the goodbye within %.1f s", c->peer.name,
                        (double)config->drain_ns / 1e9);
    if (c->state == TR__CONNECTION_REFUSING && in_state >= config->drain_ns) {
        *why = c->failure;
        return why->code;
    }
    return TR_OK;
}

/* The control thread's part of acks: what no batch took along goes alone. */
static void tend_acks(tr__connection *c)
{
    bool owed = tr__channel_owes_ack(c->channel);
    if (!owed) { /* the home tells us of the next one; one that it has just added is seen by one of the two */
        atomic_exchange(&c->flow->ack_watched, false);
        owed = tr__channel_owes_ack(c->channel) && !atomic_exchange(&c->flow->ack_watched, true);
    } else {
        tr__channel_want(c->channel, TR__WANT_ACK);
    }
    c->ack_due_ns = owed ? c->now_ns + c->config->ack_delay_ns : UINT64_MAX;
}

/* Whether something waits for them to take what came before it. A home of ours that is stuck still counts as blocked when
 * they have long granted again: who took all has granted more than three quarters. */
static bool waits_for_them(const tr__channel *ch)
{
    int64_t credit = (int64_t)(atomic_load(&ch->granted_to_us) - atomic_load(&ch->spent));
    bool refused = atomic_load(&ch->blocked) && credit < (int64_t)(ch->peer_window - ch->peer_window / 4);
    return refused || atomic_load(&ch->out.queued) > 0 || tr__bulk_waits(&ch->bulk);
}

static void look_for_stuck(tr__connection *c)
{
    const tr__channel *ch = c->channel;
    uint64_t taken =
        atomic_load(&ch->granted_to_us) + atomic_load(&ch->bulk.granted) + atomic_load(&ch->batches_acked);
    if (c->state != TR__CONNECTION_UP || taken != c->taken_seen || !waits_for_them(ch))
        c->taken_ns = c->now_ns;
    c->taken_seen = taken;
    c->stuck = c->now_ns - c->taken_ns >= c->config->stuck_ns;
}

/* They began a message, all that came of it was taken, so they have credit for more: what has come is held for them, and what
 * they claimed may be set aside. */
static bool owe_the_rest(const tr__channel *ch)
{
    uint64_t consumed = atomic_load(&ch->bulk_consumed); /* before what is left */
    return atomic_load(&ch->bulk_left) > 0 && consumed == atomic_load(&ch->bulk_in);
}

static void look_for_owed(tr__connection *c)
{
    uint64_t came = atomic_load(&c->channel->bulk_in);
    if (c->state != TR__CONNECTION_UP || came != c->came_seen || !owe_the_rest(c->channel))
        c->owing_ns = c->now_ns;
    c->came_seen = came;
    c->owing = c->now_ns - c->owing_ns >= c->config->stuck_ns;
}

/* Twice a heartbeat. A look that comes late is this thread's own fault, or its machine's: it distrusts itself, and
 * waits for the next one. */
static void listen_and_distrust(tr__connection *c)
{
    uint64_t late = c->now_ns > c->look_ns ? c->now_ns - c->look_ns : 0;
    listen(c);
    if (is_open(c) && late > c->config->detector.heartbeat_ns / LATE) {
        tr__detector_lagged(&c->detector, late, c->now_ns);
        c->taken_ns += late; /* for so long we didn't see whether they took something */
        c->owing_ns += late; /* or sent */
    }
}

/* A heartbeat if nothing else was said for that long. */
static void look(tr__connection *c)
{
    uint64_t heartbeat_ns = c->config->detector.heartbeat_ns;
    uint64_t spoken = atomic_load_explicit(&c->channel->spoken, memory_order_relaxed);
    listen_and_distrust(c);
    if (spoken != c->spoken_seen) {
        c->said_ns = c->now_ns;
    } else if (is_open(c) && c->now_ns - c->said_ns >= heartbeat_ns) {
        c->said_ns = c->now_ns;
        tr__channel_want(c->channel, TR__WANT_HEARTBEAT);
    }
    c->spoken_seen = spoken;
    look_for_stuck(c);
    look_for_owed(c);
    c->look_ns = c->now_ns + heartbeat_ns / 2;
}

void tr__connection_tick(tr__connection *c, uint64_t now_ns)
{
    tr_error why;
    if (c->state == TR__CONNECTION_DOWN)
        return;
    c->now_ns = now_ns;
    if (now_ns >= c->look_ns || (is_open(c) && now_ns >= tr__detector_due(&c->detector)))
        look(c);
    if ((c->failure.code && c->state != TR__CONNECTION_REFUSING) || overdue(c, &why)) {
        go_down(c, c->failure.code ? &c->failure : &why);
        return;
    }
    if (now_ns >= c->ack_due_ns)
        tend_acks(c);
    if (now_ns >= c->grant_due_ns && is_open(c))
        tend_grants(c);
    tr__channel_pump(c->channel);
    finish_draining(c);
}

uint64_t tr__connection_next_due(const tr__connection *c)
{
    const tr__connection_config *config = c->config;
    uint64_t due = c->look_ns;
    if (c->state == TR__CONNECTION_DOWN)
        return UINT64_MAX;
    if (c->failure.code && c->state != TR__CONNECTION_REFUSING)
        return 0;
    if (c->state < TR__CONNECTION_UP && c->begun_ns + config->handshake_ns < due)
        due = c->begun_ns + config->handshake_ns;
    if (c->state > TR__CONNECTION_UP && c->entered_ns + config->drain_ns < due)
        due = c->entered_ns + config->drain_ns;
    if (is_open(c) && tr__detector_due(&c->detector) < due)
        due = tr__detector_due(&c->detector);
    if (c->grant_due_ns < due)
        due = c->grant_due_ns;
    return c->ack_due_ns < due ? c->ack_due_ns : due;
}
