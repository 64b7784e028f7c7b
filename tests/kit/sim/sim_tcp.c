/* See sim_tcp.h. A connection: open ─► on_connect: up ─► write ─► on_send: bytes come to the server, which answers ─►
 * on_deliver: pieces of the answer, while the owner has read enough ─► down, or close. */
#include "tests/kit/sim/sim_tcp.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/kit/sim/sim_kinds.h"

#define READ_SIZE  ((size_t)64 * 1024)
#define PIECE_MAX  16           /* bytes of a small piece */
#define RESET_MAX  (16u * 1024) /* a connection that breaks does so after so many bytes at most */
#define CONNECT_NS TR_MILLIS(2)
#define MOVE_NS    TR_MILLIS(1)

struct tr__tcp {
    sim_handle handle;
    sim_tcp *tcp;
    tr_addr owner;
    uint64_t key;
    char *host;
    uint16_t port;
    sim_server *server;
    bool up, down, sending, delivering, was_full; /* sending, delivering: that event is under way */
    bool silent, pieces;
    uint64_t slowness, moved, reset_at; /* bytes */
    sim_bytes out, served;              /* written; come to the server and not taken by it */
    sim_reply reply;
    size_t unread; /* bytes in the owner's mailbox */
};

static void later(tr__tcp *tcp, uint64_t most_ns, void (*fire)(void *context))
{
    uint64_t delay = sim_between(&tcp->handle.twin->random, most_ns / 100, most_ns);
    sim_handle_later(&tcp->handle, delay * tcp->slowness, fire);
}

static void tell_down(tr__tcp *tcp, tr_err code, const char *text)
{
    if (tcp->down)
        return;
    tcp->down = true;
    tcp->up = false;
    (void)tr__inject(tcp->handle.loop, tcp->owner, tr__tcp_down, .key = tcp->key, .code = code, .text = text);
}

/* So many bytes are to move, in whichever direction: how many do. If it breaks there, it is told afterwards. */
static size_t may_move(tr__tcp *tcp, size_t size)
{
    if (tcp->pieces && size)
        size = (size_t)sim_between(&tcp->tcp->faults[SIM_TCP_PIECES].random, 1,
                                   size < PIECE_MAX ? size : PIECE_MAX);
    if (size > tcp->reset_at - tcp->moved)
        size = (size_t)(tcp->reset_at - tcp->moved);
    tcp->moved += size;
    return size;
}

static bool broken(const tr__tcp *tcp)
{
    return tcp->moved >= tcp->reset_at || tcp->server->down;
}

static void on_deliver(void *context);
static void on_send(void *context);

static void deliver_later(tr__tcp *tcp)
{
    bool any = tcp->reply.bytes.size || tcp->reply.close || broken(tcp);
    if (!tcp->up || tcp->delivering || tcp->silent || !any || tcp->unread >= TR__TCP_UNREAD)
        return;
    tcp->delivering = true;
    later(tcp, MOVE_NS, on_deliver);
}

static void send_later(tr__tcp *tcp)
{
    if (!tcp->up || tcp->sending || tcp->out.size == 0)
        return;
    tcp->sending = true;
    later(tcp, MOVE_NS, on_send);
}

static void on_deliver(void *context)
{
    tr__tcp *tcp = context;
    sim_bytes *bytes = &tcp->reply.bytes;
    sim_handle_wake(&tcp->handle);
    tcp->delivering = false;
    size_t size = tcp->server->down ? 0 : may_move(tcp, bytes->size < READ_SIZE ? bytes->size : READ_SIZE);
    if (size && tr__inject(tcp->handle.loop, tcp->owner, tr__tcp_data, .key = tcp->key,
                           .data = {bytes->data, size}) != TR_OK) {
        tell_down(tcp, TR_ENOMEM, "no memory for what the server sent");
        return;
    }
    tcp->unread += size;
    sim_bytes_drop(bytes, size);
    if (broken(tcp))
        tell_down(tcp, TR_ERESET, "the connection broke: connection reset by peer");
    else if (bytes->size == 0 && tcp->reply.close)
        tell_down(tcp, TR_ECLOSED, "the server closed the connection");
    else
        deliver_later(tcp);
}

static void serve(tr__tcp *tcp)
{
    size_t taken = 1;
    while (taken && tcp->served.size && !tcp->reply.close) {
        taken = tcp->server->serve(tcp->server->context, tcp->served.data, tcp->served.size, &tcp->reply);
        sim_bytes_drop(&tcp->served, taken);
    }
}

static void on_send(void *context)
{
    tr__tcp *tcp = context;
    sim_handle_wake(&tcp->handle);
    tcp->sending = false;
    size_t size = tcp->server->down ? 0 : may_move(tcp, tcp->out.size);
    if (!tcp->silent && size) {
        sim_bytes_add(&tcp->served, tcp->out.data, size);
        serve(tcp);
    }
    sim_bytes_drop(&tcp->out, size);
    if (broken(tcp)) {
        tell_down(tcp, TR_ERESET, "the connection broke: connection reset by peer");
        return;
    }
    if (tcp->out.size == 0 && tcp->was_full) {
        tcp->was_full = false;
        (void)tr__inject(tcp->handle.loop, tcp->owner, tr__tcp_writable, .key = tcp->key);
    }
    send_later(tcp);
    deliver_later(tcp);
}

/* ---- connecting ---------------------------------------------------------------------------------------- */

static void on_connect(void *context)
{
    tr__tcp *tcp = context;
    bool known = false;
    sim_server *server = tcp->tcp->servers;
    sim_handle_wake(&tcp->handle);
    for (; server; server = server->next) {
        known |= strcmp(server->host, tcp->host) == 0;
        if (strcmp(server->host, tcp->host) == 0 && server->port == tcp->port)
            break;
    }
    if (!known) {
        tell_down(tcp, TR_EADDR, "the name doesn't resolve: unknown node or service");
    } else if (!server || server->down || sim_strikes(&tcp->tcp->faults[SIM_TCP_REFUSED])) {
        tell_down(tcp, TR_EREFUSED, "cannot connect: connection refused");
    } else {
        tcp->server = server;
        server->accepted++;
        tcp->up = true;
        if (tr__inject(tcp->handle.loop, tcp->owner, tr__tcp_up, .key = tcp->key) != TR_OK)
            tell_down(tcp, TR_ENOMEM, "no memory");
    }
}

static void tcp_fini(sim_handle *handle)
{
    tr__tcp *tcp = (tr__tcp *)handle;
    free(tcp->host);
    free(tcp->out.data);
    free(tcp->served.data);
    free(tcp->reply.bytes.data);
}

static tr__tcp *tcp_open(tr__loop *loop, tr_addr owner, uint64_t key, const char *host, uint16_t port,
                         tr_error *error)
{
    sim_tcp *all = sim_host_of(loop)->kinds->tcp;
    sim_fault *slow = &all->faults[SIM_TCP_SLOW], *reset = &all->faults[SIM_TCP_RESET];
    sim_fault *silent = &all->faults[SIM_TCP_SILENT];
    tr__tcp *tcp = sim_handle_open(&all->twin, loop, sizeof(*tcp), tcp_fini);
    if (!tcp) {
        tr__fail(error, TR_ENOMEM, "no memory for a connection");
        return NULL;
    }
    tcp->tcp = all;
    tcp->owner = owner;
    tcp->key = key;
    tcp->host = sim_strdup(host);
    tcp->port = port;
    tcp->slowness = sim_strikes(slow) ? sim_between(&slow->random, 10, 1000) : 1;
    tcp->reset_at = sim_strikes(reset) ? sim_between(&reset->random, 1, RESET_MAX) : UINT64_MAX;
    tcp->pieces = sim_strikes(&all->faults[SIM_TCP_PIECES]);
    tcp->silent = sim_strikes(silent);
    if (!tcp->silent || sim_between(&silent->random, 0, 1))
        later(tcp, CONNECT_NS, on_connect);
    return tcp;
}

/* ---- the rest of the seam ------------------------------------------------------------------------------ */

static tr_err tcp_write(tr__tcp *tcp, const void *data, size_t size)
{
    if (!tcp->up)
        return TR_ECLOSED;
    sim_bytes_add(&tcp->out, data, size);
    tcp->was_full |= tcp->out.size > TR__TCP_UNSENT;
    send_later(tcp);
    return TR_OK;
}

static size_t tcp_unsent(const tr__tcp *tcp)
{
    return tcp->out.size;
}

static void tcp_consumed(tr__tcp *tcp, size_t bytes)
{
    tcp->unread -= bytes <= tcp->unread ? bytes : tcp->unread;
    deliver_later(tcp);
}

static void tcp_close(tr__tcp *tcp)
{
    if (tcp)
        sim_handle_close(&tcp->handle);
}

const tr__tcp_seam sim_tcp_seam = {tcp_open, tcp_write, tcp_unsent, tcp_consumed, tcp_close};

/* ---- the twin ------------------------------------------------------------------------------------------ */

sim_tcp *sim_tcp_create(struct tr_sim *sim, tr__random *seeds)
{
    static const char *const names[SIM_TCP_FAULTS] = {
        [SIM_TCP_SLOW] = "tcp-slow",     [SIM_TCP_REFUSED] = "tcp-refused", [SIM_TCP_RESET] = "tcp-reset",
        [SIM_TCP_SILENT] = "tcp-silent", [SIM_TCP_PIECES] = "tcp-pieces",
    };
    sim_tcp *tcp = sim_alloc(sizeof(*tcp));
    sim_twin_init(&tcp->twin, sim, seeds);
    sim_fault_setup(tcp->faults, names, SIM_TCP_FAULTS, seeds);
    return tcp;
}

void sim_tcp_destroy(sim_tcp *tcp)
{
    sim_twin_fini(&tcp->twin);
    while (tcp->servers) {
        sim_server *server = tcp->servers;
        tcp->servers = server->next;
        free(server->host);
        free(server);
    }
    free(tcp);
}

sim_server *sim_tcp_listen(sim_tcp *tcp, const char *host, uint16_t port, sim_serve_fn serve_fn,
                           void *context)
{
    sim_server *server = sim_alloc(sizeof(*server));
    *server = (sim_server){tcp->servers, sim_strdup(host), port, false, serve_fn, context, 0};
    return tcp->servers = server;
}

void sim_tcp_drop(sim_tcp *tcp, uint32_t node)
{
    sim_twin_drop(&tcp->twin, node);
}
