/* A ticket office on three nodes, n0 to n2. Of the nodes that see each other the first one sells, a seat at a time; it
 * enters each sale in its own book and in those of the nodes that it sees, in one transaction. No seat may be sold twice.
 *
 * It has a mistake, which -DFIXED mends. docs/tutorial-simulator.md finds it. */
#define TR_PLUGIN
#include <stdio.h>

#include <troupe/scenario.h>
#include <troupe/troupe.h>

#define NODES     3
#define SEATS_MAX 500
#define AT_ONCE   32 /* calls under way */

TR_MESSAGE(sell, TR_WRITES, (u32, seat), (i64, customer))
TR_MESSAGE(who_has, (u32, seat))
TR_MESSAGE(customer_is, (i64, customer)) /* 0: nobody */
TR_MESSAGE(what_is_next)
TR_MESSAGE(next_is, (u32, seat))

/* ---- a node's book: a participant, which refuses what is sold ----------------------------------------------- */

static tr_err book(tr_txview *v, void *state, const tr_msg *msg)
{
    const sell *s = tr_match(msg, sell);
    const who_has *w = tr_match(msg, who_has);
    int64_t next = tr_view_i64(v, "next", 1);
    char seat[16];
    (void)state;
    snprintf(seat, sizeof(seat), "%u", s ? s->seat : w ? w->seat : 0);
    if (w)
        return tr_view_reply(v, customer_is, .customer = tr_view_i64(v, seat, 0));
    if (!s)
        return tr_view_reply(v, next_is, .seat = (uint32_t)next);
    if (tr_view_i64(v, seat, 0))
        return tr_refuse(v, "seat %s is sold", seat);
    TR_TRY(tr_view_put_i64(v, "next", s->seat >= next ? s->seat + 1 : next));
    return tr_view_put_i64(v, seat, s->customer);
}
TR_ACTOR(book_def, .transact = book);

/* ---- the clerk: sells while no node before its own can be seen ---------------------------------------------- */

typedef struct clerk {
    uint32_t index;
    bool sees[NODES]; /* its own node as well */
} clerk;

static void look(clerk *c, const tr_node_event *event)
{
    uint32_t node;
    if (sscanf(event->name, "n%u", &node) == 1 && node < NODES)
        c->sees[node] = event->up;
}

static bool may_sell(const clerk *c)
{
    uint32_t seen = 0, first = NODES;
    for (uint32_t node = NODES; node-- > 0;)
        if (c->sees[node])
            seen++, first = node;
#ifdef FIXED
    if (seen <= NODES / 2) /* two majorities have a node in common, whose book refuses the second sale */
        return false;
#endif
    return seen > 0 && first == c->index;
}

static tr_err enter_sale(tr_actor *self, tr_tx *tx, void *arg)
{
    const clerk *c = arg;
    const next_is *next;
    char path[24];
    int64_t customer = 1 + (int64_t)(tr_random(self) % 1000000);
    snprintf(path, sizeof(path), "n%u/office", c->index);
    TR_TRY(tr_tx_await_reply(tx, path, next_is, &next, what_is_next));
    uint32_t seat = next->seat;
    for (uint32_t node = 0; node < NODES; node++) {
        snprintf(path, sizeof(path), "n%u/office", node);
        if (c->sees[node])
            TR_TRY(tr_tx_await(tx, path, sell, .seat = seat, .customer = customer));
    }
    return TR_OK;
}

static tr_err start(tr_actor *self, uint32_t index)
{
    clerk c = {.index = index};
    c.sees[index] = true;
    while (tr_watch_nodes(self) != TR_OK)
        TR_TRY(tr_sleep(self, TR_MILLIS(100))); /* no memory just now */
    TR_TRY(tr_sleep(self, TR_SECONDS(2)));      /* time to meet the others */
    for (;;) {
        const tr_msg *msg = tr_receive(self, TR_MILLIS(200));
        const tr_node_event *event = msg ? tr_match(msg, tr_node_event) : NULL;
        if (event) {
            look(&c, event);
        } else if (!msg && tr_last_error(self)->code == TR_EKILLED) {
            return TR_EKILLED;
        } else if (!msg && may_sell(&c)) {
            tr_tx_outcome out = tr_tx_run(self, enter_sale, &c, NULL);
            tr_sometimes(self, out.status == TR_TX_COMMITTED && index > 0, "another than n0 sells");
        }
    }
}

/* ---- what must hold: who is told twice of a seat is told the same ------------------------------------------- */

typedef struct page {
    uint32_t node, seats;
    int64_t customers[SEATS_MAX];
} page;

static tr_err read_book(tr_actor *self, tr_tx *tx, void *arg)
{
    page *p = arg;
    char path[24];
    tr_future answers[AT_ONCE];
    const next_is *next;
    const customer_is *is;
    snprintf(path, sizeof(path), "n%u/office", p->node);
    TR_TRY(tr_tx_await_reply(tx, path, next_is, &next, what_is_next));
    p->seats = next->seat < SEATS_MAX ? next->seat : SEATS_MAX;
    for (uint32_t first = 1; first < p->seats; first += AT_ONCE) {
        uint32_t end = first + AT_ONCE < p->seats ? first + AT_ONCE : p->seats;
        for (uint32_t seat = first; seat < end; seat++)
            answers[seat - first] = tr_tx_call(tx, path, who_has, .seat = seat);
        for (uint32_t seat = first; seat < end; seat++) {
            TR_TRY(tr_await(self, answers[seat - first], customer_is, &is));
            p->customers[seat] = is->customer;
        }
    }
    return TR_OK;
}

static tr_err check(tr_actor *self)
{
    static page pages[NODES];
    for (uint32_t node = 0; node < NODES; node++) {
        pages[node] = (page){.node = node};
        tr_tx_outcome out = tr_tx_run(self, read_book, &pages[node], NULL);
        for (int tries = 1; out.status != TR_TX_COMMITTED && tries < 5; tries++)
            out = tr_tx_run(self, read_book, &pages[node], NULL);
        if (out.status != TR_TX_COMMITTED)
            return tr_fail(self, TR_EAPP, "the book of n%u can't be read: %s", node, out.text);
        for (uint32_t seat = 1; seat < pages[node].seats; seat++)
            for (uint32_t other = 0; other < node; other++) {
                int64_t one = pages[other].customers[seat], two = pages[node].customers[seat];
                if (one && two && one != two)
                    return tr_fail(self, TR_EAPP,
                                   "seat %u is customer %lld's in the book of n%u, and %lld's in that of n%u",
                                   seat, (long long)one, other, (long long)two, node);
            }
    }
    return TR_OK;
}

TR_PLUGIN_EXPORT("office", "1.0.0", &book_def);
TR_SCENARIO(.name = "tickets", .nodes = NODES, .run_ns = TR_SECONDS(20), .data = true, .start = start,
            .check = check);
