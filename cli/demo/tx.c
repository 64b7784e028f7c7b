/* See tx.h. A node that is away isn't asked; an answer that doesn't come is asked again. How it can fail: without
 * memory there is less to see. */
#include "cli/demo/tx.h"

#include <stdio.h>
#include <string.h>

#include "actors/transactions.h"
#include "cli/demo/node.h"
#include "cli/demo/screen.h"
#include "cli/page_state.h"
#include "cli/tx/merge.h"

#define ASK_EVERY  TR_MILLIS(250)
#define ASK_WITHIN TR_SECONDS(1)

static const int askable[DEMO_TX_NODES] = {DEMO_ALICE, DEMO_BOB};

/* ---- the one in doubt ---------------------------------------------------------------------------------- */

static const char *short_id(const char *id)
{
    size_t length = strlen(id);
    return length > 4 ? id + length - 4 : id;
}

static const char *state_of(const demo *d, const char *id)
{
    return tx_text(tx_merge_find(d->tx.all, id), "state");
}

/* While bob is dead: his manager had decided it, or not; who is prepared can't know, and waits. */
static void look_for_doubt(demo *d)
{
    const json_t *doubt = json_array_get(json_object_get(d->tx.all, "in_doubt"), 0);
    if (!d->tx.killed_ns || d->tx.doubt[0] || !doubt)
        return;
    snprintf(d->tx.doubt, sizeof(d->tx.doubt), "%s", tx_text(doubt, "id"));
    demo_screen_event(d, "tx ..%s is in doubt at %s: only %s knows; its journal stays locked, and asks",
                      short_id(d->tx.doubt), tx_text(doubt, "node"), tx_text(doubt, "decider"));
}

static bool still_in_doubt(const demo *d, const char *id)
{
    const json_t *doubt;
    size_t i;
    json_array_foreach(json_object_get(d->tx.all, "in_doubt"), i, doubt)
    {
        if (strcmp(tx_text(doubt, "id"), id) == 0)
            return true;
    }
    return false;
}

static void look_for_settling(demo *d)
{
    if (!d->tx.doubt[0] || still_in_doubt(d, d->tx.doubt))
        return;
    bool committed = strcmp(state_of(d, d->tx.doubt), "committed") == 0;
    demo_screen_event(d, "tx ..%s: %s on both, %.0f ms after the kill", short_id(d->tx.doubt),
                      committed ? "COMMITTED" : "ABORTED", (double)(demo_now() - d->tx.killed_ns) / 1e6);
    d->tx.settled++;
    d->tx.settled_committed += committed;
    d->tx.doubt[0] = '\0';
    d->tx.killed_ns = 0;
}

void demo_tx_killed(demo *d)
{
    d->tx.killed_ns = demo_now();
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static void figures(demo *d, int which, const char *listing)
{
    json_t *told = json_loads(listing, 0, NULL);
    const json_t *f = json_object_get(told, "figures");
    d->tx.open[which] = (uint32_t)(tx_number(f, "branches") + tx_number(f, "deciding"));
    d->tx.told_ns[which] = d->tx.asked_ns[which];
    json_decref(told);
}

static void take(demo *d, int which)
{
    const tr_msg *msg;
    tr_err err = tr_take_result(d->self, d->tx.asking[which], &msg);
    if (err == TR_EAGAIN)
        return;
    d->tx.asking[which].id = 0;
    const tr_tx_listing *listing = err == TR_OK ? tr_match(msg, tr_tx_listing) : NULL;
    if (!listing || !tx_merge_add(d->tx.all, listing->json))
        return;
    figures(d, which, listing->json);
    look_for_doubt(d);
    look_for_settling(d);
    page_state_prune(d->tx.all);
}

void demo_tx_step(demo *d)
{
    uint64_t now = demo_now();
    if (!d->tx.all && !(d->tx.all = tx_merge_new()))
        return;
    for (int i = 0; i < DEMO_TX_NODES; i++) {
        const demo_child *child = &d->children[askable[i]];
        if (d->tx.asking[i].id) {
            take(d, i);
        } else if (child->up && now - d->tx.asked_ns[i] >= ASK_EVERY) {
            d->tx.asked_ns[i] = now;
            d->tx.asking[i] =
                tr_ask(d->self, TR__TX_MANAGER_OF(child->incarnation), ASK_WITHIN, tr_tx_list, .most = 0);
        }
    }
}

bool demo_tx_at_rest(const demo *d, uint64_t since_ns)
{
    for (int i = 0; i < DEMO_TX_NODES; i++)
        if (d->tx.told_ns[i] < since_ns || d->tx.open[i] > 0)
            return false;
    return json_array_size(json_object_get(d->tx.all, "in_doubt")) == 0;
}

json_t *demo_tx_state(const demo *d)
{
    return page_state_transactions(d->tx.all, d->start_ns);
}

void demo_tx_close(demo *d)
{
    json_decref(d->tx.all);
    d->tx.all = NULL;
}
