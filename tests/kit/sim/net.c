/* The network: byte streams as TCP gives them. See sim.h, S5, and transport/stream.h for what each function promises.
 *
 * What is sent lies, as packets with a time of arrival, at the stream that is to receive it. A packet waits there while the
 * direction is cut or clogged, or its node stands still. `fin` behind the last one says how the stream ends. `lost`: what
 * this side sends reaches nobody, and nobody has told it. */
#include "tests/kit/sim/net.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

#define BUFFER \
    (256u << 10) /* bytes on their way in a direction that the system takes before it says `sent` */
#define RESEND_MAX TR_MILLIS(400)
#define RESEND \
    TR_MILLIS(200) /* a sender whom nobody acknowledges what it sent sends nothing new after that time */

/* ---- packets ------------------------------------------------------------------------------------------- */

static void packets_drop(tr__stream *stream)
{
    while (stream->in) {
        sim_packet *packet = stream->in;
        stream->in = packet->next;
        free(packet);
    }
    stream->in_end = &stream->in;
    stream->in_bytes = 0;
}

static void on_arrival(void *context, uint64_t token);

/* Look when the next thing can be received. */
static void arrival_at(tr__stream *stream, uint64_t at)
{
    sim_event_at(stream->node->sim, at, on_arrival, stream, ++stream->arrival);
}

static void arrival_look(tr__stream *stream)
{
    if (stream->in)
        arrival_at(stream, stream->in->at);
    else if (stream->fin)
        arrival_at(stream, stream->fin_at);
}

/* How long one more takes on this connection. */
static uint64_t latency(tr__stream *stream)
{
    tr_sim *sim = stream->node->sim;
    return stream->latency + (stream->jitter ? sim_draw(sim, TR_SIM_LATENCY, stream->jitter) : 0);
}

/* Something is sent to it. Where the other direction is cut, nobody will hear that it has arrived. */
static void unacked(tr__stream *to, uint64_t now)
{
    if (to->unacked_since == 0 && to->node->sim->cut[to->node->index][to->other])
        to->unacked_since = now;
}

/* What was sent at that time waits at its sender: as by TCP, which sends only the first part again until it hears of it. */
static bool waits_for_ack(const tr__stream *to, uint64_t sent_at)
{
    return to->unacked_since && sent_at > to->unacked_since + RESEND;
}

static void put(tr__stream *from, const tr__iov *iov, unsigned count, size_t size)
{
    tr__stream *to = from->peer;
    sim_packet *packet = malloc(sizeof(*packet) + size);
    tr__check(packet != NULL, "no memory for the simulator");
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(packet->bytes + at, iov[i].bytes, iov[i].length);
        at += iov[i].length;
    }
    uint64_t arrives = from->node->sim->now + latency(from);
    packet->next = NULL;
    packet->length = size;
    packet->given = 0;
    packet->sent_at = from->node->sim->now;
    unacked(to, packet->sent_at);
    packet->at = to->in_last = arrives > to->in_last ? arrives : to->in_last + 1;
    bool first = !to->in;
    *to->in_end = packet;
    to->in_end = &packet->next;
    to->in_bytes += size;
    if (first)
        arrival_look(to);
}

/* ---- upcalls ------------------------------------------------------------------------------------------- */

static bool can_hear(const tr__stream *stream)
{
    const sim_node *node = stream->node;
    return stream->started && !stream->closed && !stream->told && sim_node_is_up(node) && !node->paused_until;
}

static void on_sent(void *context, uint64_t token)
{
    tr__stream *stream = context;
    if (token != stream->sent_token || !stream->sending || stream->closed || !sim_node_is_up(stream->node))
        return;
    if (stream->node->paused_until) {
        sim_event_at(stream->node->sim, sim_when_it_goes_on(stream->node), on_sent, stream, token);
        return;
    }
    stream->sending = false;
    sim_node_enter(stream->node);
    stream->upcalls->sent(stream->context, stream->send_size);
    sim_node_leave(stream->node);
}

/* The system has taken it, as soon as there is room. */
static void sent_soon(tr__stream *stream)
{
    if (!stream->sending || (stream->peer && !stream->lost && stream->peer->in_bytes > BUFFER))
        return;
    sim_event_at(stream->node->sim, stream->node->sim->now + 300, on_sent, stream, ++stream->sent_token);
}

static void tell_down(tr__stream *stream)
{
    sim_node *node = stream->node;
    stream->told = stream->broken = true;
    if (stream->failure.code == TR_OK)
        tr__fail(&stream->failure, TR_ERESET, "the other side closed the connection");
    sim_hash(node->sim, 0xd0000 + node->index);
    sim_node_enter(node);
    stream->upcalls->down(stream->context, &stream->failure);
    sim_node_leave(node);
}

/* Some bytes of the first packet, as many as fit; all of it if nothing cuts it. */
static size_t piece(tr__stream *stream, size_t room)
{
    sim_packet *packet = stream->in;
    tr_sim *sim = stream->node->sim;
    size_t left = packet->length - packet->given;
    size_t length = left < room ? left : room;
    if (stream->pieces && length > 1)
        length = 1 + (size_t)sim_draw(sim, TR_SIM_PIECES, length < stream->pieces ? length : stream->pieces);
    return length;
}

static void receive(tr__stream *stream)
{
    uint8_t *at;
    size_t room;
    tr__slice *slice = NULL;
    sim_node *node = stream->node;
    tr_err err = tr__splitter_room(&stream->splitter, stream->frame_max, &at, &room, &stream->failure);
    if (err == TR_OK) {
        sim_packet *packet = stream->in;
        size_t length = piece(stream, room);
        memcpy(at, packet->bytes + packet->given, length);
        packet->given += length;
        stream->in_bytes -= length;
        if (packet->given == packet->length) {
            stream->in = packet->next;
            if (!stream->in)
                stream->in_end = &stream->in;
            free(packet);
        }
        sim_hash(node->sim, length << 8 | node->index);
        err = tr__splitter_took(&stream->splitter, length, stream->frame_max, &slice, &stream->failure);
        if (slice)
            stream->upcalls->received(stream->context, slice);
    }
    if (err != TR_OK) {
        packets_drop(stream);
        stream->broken = stream->fin = true;
        stream->fin_at = node->sim->now;
    }
}

static void on_arrival(void *context, uint64_t token)
{
    tr__stream *stream = context;
    sim_node *node = stream->node;
    tr_sim *sim = node->sim;
    if (token != stream->arrival || !can_hear(stream))
        return; /* start and resume look again */
    if (stream->clogged_until > sim->now) {
        arrival_at(stream, stream->clogged_until);
        return;
    }
    if (sim->cut[stream->other][node->index] ||
        waits_for_ack(stream, stream->in ? stream->in->sent_at : stream->fin_sent_at))
        return; /* healing looks again */
    if (!stream->in) {
        if (stream->fin)
            tell_down(stream);
        return;
    }
    tr__stream *peer = stream->peer;
    uint64_t life = node->life;
    sim_node_enter(node);
    receive(stream);
    sim_node_leave(node);
    if (node->life != life || !sim_node_is_up(node))
        return; /* the stream may be gone with it */
    arrival_look(stream);
    if (peer && !peer->closed && stream->in_bytes <= BUFFER)
        sent_soon(peer);
}

/* ---- a stream's life ----------------------------------------------------------------------------------- */

static tr__stream *stream_make(sim_node *node, uint32_t other)
{
    tr_sim *sim = node->sim;
    tr__stream *stream = calloc(1, sizeof(*stream));
    tr__check(stream != NULL, "no memory for the simulator");
    stream->node = node;
    stream->other = other;
    stream->in_end = &stream->in;
    stream->next = sim->streams;
    if (stream->next)
        stream->next->previous = stream;
    sim->streams = stream;
    return stream;
}

/* A connection's own latency, jitter and pieces, drawn when it is made; both directions have theirs. */
static void draw_manners(tr__stream *stream)
{
    tr_sim *sim = stream->node->sim;
    stream->latency = TR_MICROS(30);
    if (sim->rates.every_ns[TR_SIM_LATENCY]) {
        static const uint64_t most[] = {TR_MICROS(200), TR_MILLIS(2), TR_MILLIS(20), TR_MILLIS(150)};
        uint64_t bound = most[sim_draw(sim, TR_SIM_LATENCY, TR_COUNT(most))];
        stream->latency += sim_draw(sim, TR_SIM_LATENCY, bound);
        stream->jitter = sim_draw(sim, TR_SIM_LATENCY, 2) ? sim_draw(sim, TR_SIM_LATENCY, bound) : 0;
    }
    if (sim->rates.every_ns[TR_SIM_PIECES] && sim_draw(sim, TR_SIM_PIECES, 3) == 0)
        stream->pieces = (size_t)1 << sim_draw(sim, TR_SIM_PIECES, 12);
}

/* Nothing of it happens any more; its memory stays its owner's. */
static void detach(tr__stream *stream)
{
    tr_sim *sim = stream->node->sim;
    if (stream->closed)
        return;
    stream->closed = true;
    sim_event_forget(sim, stream);
    packets_drop(stream);
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        sim->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
}

/* `stream` hears, behind what still comes, that it is over. */
static void end_of(tr__stream *stream, tr_err code, const char *text)
{
    if (stream->fin)
        return;
    uint64_t at = stream->node->sim->now + latency(stream);
    stream->fin = true;
    stream->fin_sent_at = stream->node->sim->now;
    stream->fin_at = stream->in_last = at > stream->in_last ? at : stream->in_last + 1;
    tr__fail(&stream->failure, code, "%s", text);
    if (!stream->in)
        arrival_look(stream);
}

/* The other side is not there any more: what is sent vanishes. */
static void part(tr__stream *stream)
{
    if (stream->peer) {
        stream->peer->peer = NULL;
        stream->peer = NULL;
    }
}

static tr_err stream_start(tr__stream *stream, const tr__stream_upcalls *upcalls, void *context,
                           tr_error *error)
{
    (void)error;
    stream->upcalls = upcalls;
    stream->context = context;
    stream->started = true;
    arrival_look(stream);
    return TR_OK;
}

static void stream_limit(tr__stream *stream, size_t frame_max)
{
    stream->frame_max = frame_max;
}

/* What it sends reaches nobody. Where there is somebody to say so, it hears that. */
static void sent_into_nothing(tr__stream *stream)
{
    sim_node *other = &stream->node->sim->nodes[stream->other];
    bool somebody = !stream->peer && !stream->silent && other->node && !other->dead &&
                    !stream->node->sim->cut[stream->node->index][other->index] &&
                    !stream->node->sim->cut[other->index][stream->node->index];
    if (somebody)
        end_of(stream, TR_ERESET, "the other side doesn't know this connection");
}

static tr_err stream_send(tr__stream *stream, const tr__iov *iov, unsigned count, tr_error *error)
{
    tr__check(stream->started && !stream->sending, "a send before start, or two at a time");
    tr__check(count > 0 && count <= TR__IOV_MAX, "a send of %u pieces", count);
    if (!sim_node_seam(stream->node) || stream->broken || stream->closed)
        return tr__fail(error, TR_ERESET, "the connection is broken");
    stream->send_size = 0;
    for (unsigned i = 0; i < count; i++) {
        tr__check(iov[i].length > 0, "an empty piece");
        stream->send_size += iov[i].length;
    }
    stream->sending = true;
    if (stream->peer && !stream->lost)
        put(stream, iov, count, stream->send_size);
    else
        sent_into_nothing(stream);
    sent_soon(stream);
    return TR_OK;
}

/* Of what is on its way to it a part still arrives, then that it is over. */
static void cut_short(tr__stream *stream, tr_sim_fault fault)
{
    tr_sim *sim = stream->node->sim;
    uint32_t count = 0, keep;
    for (sim_packet *p = stream->in; p; p = p->next)
        count++;
    keep = (uint32_t)sim_draw(sim, fault, count + 1);
    sim_packet **at = &stream->in;
    while (*at && keep--)
        at = &(*at)->next;
    while (*at) {
        sim_packet *packet = *at;
        *at = packet->next;
        stream->in_bytes -= packet->length - packet->given;
        free(packet);
    }
    stream->in_end = at;
    stream->fin = false;
    end_of(stream, TR_ERESET, "the connection was reset");
}

/* It has arrived, and its process didn't take it: it stands still. */
static bool has_unread(const tr__stream *stream)
{
    const tr_sim *sim = stream->node->sim;
    return stream->in && stream->in->at <= sim->now && stream->node->paused_until &&
           stream->clogged_until <= sim->now && !sim->cut[stream->other][stream->node->index];
}

/* Of this side nobody is left: the system closes it, or, without power, nobody does. If there was something that the
 * process hadn't read, the system resets the connection, and that may overtake what was on its way. */
static void process_ended(tr__stream *stream, bool power)
{
    tr__stream *peer = stream->peer;
    bool unread = has_unread(stream);
    part(stream);
    if (peer && !stream->lost) {
        if (power)
            peer->lost = true;
        else if (unread)
            cut_short(peer, TR_SIM_CRASH);
        else
            end_of(peer, TR_ERESET, "the other side's process ended");
        sent_soon(peer);
    }
    detach(stream);
}

static void stream_close(tr__stream *stream)
{
    tr__stream *peer = stream->peer;
    if (stream->closed)
        return;
    if (!sim_node_seam(stream->node)) {
        process_ended(stream, stream->node->dying_of_power);
        return;
    }
    part(stream);
    if (peer && !stream->lost)
        end_of(peer, TR_ERESET, "the other side closed the connection");
    detach(stream);
}

static void stream_free(tr__stream *stream)
{
    tr__check(stream->closed, "a stream is freed that wasn't closed");
    sim_connection_end(stream);
    tr__splitter_fini(&stream->splitter);
    free(stream);
}

void sim_stream_discard(tr__stream *stream)
{
    stream_close(stream);
    stream_free(stream);
}

/* Some connections have a time at which they break. */
static void on_fate(void *context, uint64_t token)
{
    tr__stream *stream = context;
    (void)token;
    if (!stream->peer || !stream->node->sim->faults_on)
        return;
    sim_fault_happened(stream->node->sim, TR_SIM_RESET, "n%u - n%u, as was its fate", stream->node->index,
                       stream->other);
    sim_net_break(stream->node->sim, stream->node->index, stream->other, false);
}

static void draw_fate(tr__stream *stream)
{
    static const uint64_t means[] = {TR_MILLIS(30), TR_MILLIS(500), TR_SECONDS(5)};
    tr_sim *sim = stream->node->sim;
    if (!sim->rates.every_ns[TR_SIM_RESET] || sim_draw(sim, TR_SIM_RESET, 4))
        return;
    uint64_t mean = means[sim_draw(sim, TR_SIM_RESET, TR_COUNT(means))];
    sim_event_at(sim, sim->now + sim_draw_time(sim, TR_SIM_RESET, mean), on_fate, stream, 0);
}

void sim_accept(tr__listener *listener, tr__stream *stream)
{
    tr__stream *one = stream->peer;
    stream->unaccepted = NULL;
    sim_node_enter(listener->node);
    if (!listener->accepted(listener->context, stream)) {
        part(stream);
        if (one)
            end_of(one, TR_ERESET, "the other side has no room");
        detach(stream);
        stream_free(stream);
    }
    sim_node_leave(listener->node);
}

tr__stream *sim_connect(sim_node *from, tr__listener *listener)
{
    sim_node *there = listener->node;
    tr__stream *one = stream_make(from, there->index), *two = stream_make(there, from->index);
    one->peer = two;
    two->peer = one;
    if (listener->port == SIM_PORT_FIRST + there->index) /* else it is a test's own, and no endpoint's */
        one->connection = two->connection = ++from->sim->connections;
    draw_manners(one);
    draw_manners(two);
    draw_fate(one);
    two->unaccepted = listener;
    if (!there->paused_until)
        sim_accept(listener, two);
    return one;
}

/* ---- breaking ------------------------------------------------------------------------------------------ */

static bool connects(const tr__stream *stream, uint32_t a, uint32_t b)
{
    return stream->peer && stream->node->index == a && stream->other == b;
}

bool sim_net_break(tr_sim *sim, uint32_t a, uint32_t b, bool half_open)
{
    bool any = false;
    tr_sim_fault fault = half_open ? TR_SIM_HALF_OPEN : TR_SIM_RESET;
    for (tr__stream *stream = sim->streams; stream; stream = stream->next) {
        tr__stream *peer = stream->peer;
        if (!connects(stream, a, b))
            continue;
        any = true;
        part(stream);
        cut_short(stream, fault);
        if (!half_open) {
            cut_short(peer, fault);
            continue;
        }
        packets_drop(peer);
        peer->lost = true;
        peer->silent = sim_draw(sim, TR_SIM_HALF_OPEN, 2) == 0;
        sent_soon(peer);
    }
    return any;
}

bool sim_net_pick(tr_sim *sim, tr_sim_fault draws, uint32_t *a, uint32_t *b)
{
    uint64_t count = 0;
    for (tr__stream *stream = sim->streams; stream; stream = stream->next)
        count += stream->peer != NULL;
    if (count == 0)
        return false;
    count = sim_draw(sim, draws, count);
    for (tr__stream *stream = sim->streams; stream; stream = stream->next) {
        if (!stream->peer || count-- > 0)
            continue;
        *a = stream->node->index;
        *b = stream->other;
        return true;
    }
    return false;
}

bool sim_net_clog(tr_sim *sim, uint32_t from, uint32_t to, uint64_t until)
{
    bool any = false;
    for (tr__stream *stream = sim->streams; stream; stream = stream->next)
        if (connects(stream, to, from)) {
            stream->clogged_until = until;
            any = true;
        }
    return any;
}

/* TCP sends again, at times that double: after a long cut it may be as long again before anything comes. */
static void sent_again(tr__stream *stream, uint64_t cut_ns)
{
    tr_sim *sim = stream->node->sim;
    uint64_t most = cut_ns < RESEND_MAX ? RESEND_MAX : cut_ns;
    if (!sim->cut[stream->node->index][stream->other])
        stream->unacked_since = 0;
    if (!stream->in && !stream->fin)
        return;
    uint64_t due = stream->in ? stream->in->at : stream->fin_at;
    uint64_t again = sim->now + sim_draw(sim, TR_SIM_PARTITION, most);
    arrival_at(stream, again > due ? again : due);
}

/* Both directions go on: one because it is open, the other because it is acknowledged. */
void sim_net_healed(tr_sim *sim, uint32_t from, uint32_t to)
{
    for (tr__stream *stream = sim->streams; stream; stream = stream->next)
        if ((stream->node->index == to && stream->other == from) ||
            (stream->node->index == from && stream->other == to))
            sent_again(stream, sim->now - sim->cut_since[from][to]);
}

void sim_net_unclog(tr_sim *sim)
{
    for (tr__stream *stream = sim->streams; stream; stream = stream->next) {
        if (stream->clogged_until <= sim->now)
            continue;
        stream->clogged_until = 0;
        arrival_look(stream);
    }
}

/* Who goes on first, the network's thread or another, is chance. */
void sim_net_node_resumed(sim_node *node)
{
    tr_sim *sim = node->sim;
    for (tr__stream *stream = sim->streams; stream; stream = stream->next)
        if (stream->node == node && (stream->in || stream->fin)) {
            uint64_t due = stream->in ? stream->in->at : stream->fin_at;
            uint64_t soon = sim->now + sim_draw(sim, TR_SIM_PAUSE, TR_MICROS(50));
            arrival_at(stream, soon > due ? soon : due);
        }
    sim_accept_late(node);
}

void sim_net_node_died(sim_node *node, bool power)
{
    tr__stream *next;
    for (tr__stream *stream = node->sim->streams; stream; stream = next) {
        next = stream->next;
        if (stream->node != node)
            continue;
        process_ended(stream, power);
        if (stream->unaccepted)
            stream_free(stream);
    }
}

/* ---- the table -------------------------------------------------------------------------------------------- */

void sim_net_init(sim_net *net, sim_node *node)
{
    net->node = node;
    net->net = (tr__net){sim_listen,   sim_port,     sim_unlisten, sim_dial,     sim_undial,
                         stream_start, stream_limit, stream_send,  stream_close, stream_free};
}

void sim_net_fini(tr_sim *sim)
{
    tr__check(!sim->streams && !sim->listeners, "a stream or a listener wasn't closed");
    sim_sums_fini(sim);
}
