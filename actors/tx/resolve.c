/* Who has a ticket asks the node that decides what became of the transaction, and has it settled if nothing had: again and
 * again until it answers, or the asker's time is over. The owner's thread.
 *
 * How it can fail: nobody answers in time, or the log that could isn't there any more: UNKNOWN. */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/buggify.h"
#include "base/mem.h"

static void ask(tr__tx *tx, tr__tx_resolver *resolver)
{
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_INQUIRE, &resolver->id);
    frame.actor = "";
    frame.log = (tr_bytes){resolver->log, TR__LOG_ID_BYTES};
    bool silent = tr__tx_send(tx, resolver->node, &frame, NULL) != TR_OK;
    if (silent && tx->decided_in->shared && !tr__tx_is_old(tx, &resolver->id))
        tr__tx_propose_abort(tx, &resolver->id);
    tr__tx_pause(tx, &resolver->retry_ns, &resolver->pause_ns);
}

void tr__tx_resolve(tr__tx *tx, const char *ticket, uint64_t until_ns, void *token)
{
    tr__tx_resolver *resolver = tr__zalloc(sizeof(*resolver));
    if (!resolver || !tr__tx_ticket_parse(ticket, &resolver->id, resolver->node, resolver->log)) {
        tr__tx_answer_done(tx, token, TR_TX_UNKNOWN, resolver ? TR_TX_NOT_ALLOWED : TR_TX_OVERLOAD,
                           resolver ? "that is no ticket: ID@node/log is needed, as tr_tx_outcome has it"
                                    : "no memory to ask what became of it",
                           ticket, 0, 0);
        tr__free(resolver);
        return;
    }
    snprintf(resolver->ticket, sizeof(resolver->ticket), "%s", ticket);
    resolver->until_ns = until_ns;
    resolver->token = token;
    resolver->next = tx->resolvers;
    tx->resolvers = resolver;
    ask(tx, resolver);
    if (TR_BUGGIFY(resolve_twice))
        ask(tx, resolver);
}

static void resolved(tr__tx *tx, tr__tx_resolver **at, tr_tx_status status, tr_tx_reason why,
                     const char *text, uint64_t ts)
{
    tr__tx_resolver *resolver = *at;
    *at = resolver->next;
    if (resolver->until_ns)
        tr__tx_answer_done(tx, resolver->token, status, why, text, resolver->ticket, ts, 0);
    tr__free(resolver);
}

void tr__tx_on_answer_resolve(tr__tx *tx, const tr__tx_frame *frame)
{
    tr__tx_resolver **at = &tx->resolvers;
    while (*at) {
        tr__tx_resolver *resolver = *at;
        if (memcmp(&resolver->id, frame->id.data, sizeof(resolver->id)) != 0 ||
            strcmp(resolver->node, frame->from) != 0 || frame->status == TR__TX_PENDING)
            at = &resolver->next;
        else if (frame->status == TR__TX_COMMITTED)
            resolved(tx, at, TR_TX_COMMITTED, TR_TX_NONE, "", frame->ts);
        else if (frame->status == TR__TX_ABORTED)
            resolved(tx, at, TR_TX_ABORTED, TR_TX_DEADLINE, "nothing had decided it; it is aborted now", 0);
        else if (frame->status == TR__TX_EXPIRED)
            resolved(tx, at, TR_TX_UNKNOWN, TR_TX_EXPIRED,
                     "asked later than promised: the node that decides may have forgotten it", 0);
        else
            resolved(tx, at, TR_TX_UNKNOWN, TR_TX_LOG_LOST,
                     "the node that decides has another log than it had, or an older one: ask its operator",
                     0);
    }
}

/* By the store, which is asked while the node that decides is away. */
void tr__tx_resolvers_decided(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts)
{
    tr__tx_resolver **at = &tx->resolvers;
    while (*at) {
        if (memcmp(&(*at)->id, id, sizeof(*id)) != 0)
            at = &(*at)->next;
        else if (committed)
            resolved(tx, at, TR_TX_COMMITTED, TR_TX_NONE, "", ts);
        else
            resolved(tx, at, TR_TX_ABORTED, TR_TX_DEADLINE, "nothing had decided it; it is aborted now", 0);
    }
}

/* ---- time and loss ------------------------------------------------------------------------------------- */

void tr__tx_resolvers_forget(tr__tx *tx, const void *token)
{
    for (tr__tx_resolver *resolver = tx->resolvers; resolver; resolver = resolver->next)
        if (resolver->token == token)
            resolver->until_ns = 0; /* it ends with the next tick, without a word */
}

void tr__tx_resolvers_tick(tr__tx *tx, uint64_t now_ns)
{
    for (tr__tx_resolver **at = &tx->resolvers; *at;) {
        tr__tx_resolver *resolver = *at;
        if (resolver->until_ns <= now_ns) {
            resolved(tx, at, TR_TX_UNKNOWN, TR_TX_UNREACHABLE,
                     "the node that decides it can't be asked now: try again", 0);
            continue;
        }
        if (resolver->retry_ns <= now_ns)
            ask(tx, resolver);
        at = &resolver->next;
    }
}

void tr__tx_resolvers_node_up(tr__tx *tx, const char *node)
{
    for (tr__tx_resolver *resolver = tx->resolvers; resolver; resolver = resolver->next)
        if (strcmp(resolver->node, node) == 0)
            ask(tx, resolver);
}

void tr__tx_resolvers_fini(tr__tx *tx)
{
    while (tx->resolvers) {
        tr__tx_resolver *resolver = tx->resolvers;
        tx->resolvers = resolver->next;
        tr__free(resolver);
    }
}
