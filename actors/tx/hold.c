/* What is on the disk is kept as it is, for somebody who copies it: a backup, by `troupe tx backup`. Of the log what is durable
 * doesn't change anyway; what could go are segments, and the snapshot could get what the copied segments haven't got. Both happen
 * when a snapshot is taken, so none is. The owner's thread.
 *
 * How it can fail: whoever copies may end without a word, so a hold ends by itself; and he asks at the end whether it still
 * was one. A node that starts again holds nothing. */
#include "actors/tx/internal.h"

#include "base/err.h"

bool tr__tx_is_held(const tr__tx *tx)
{
    return tx->held.token && tx->held_ns > tr__tx_now(tx);
}

static tr_err not_held(const tr__tx *tx, tr_error *error)
{
    return tr__fail(
        error, TR_ENOTFOUND,
        "node %s has not kept its log for this copy: it was started again, or for %llu s nobody went "
        "on with it",
        tx->node, (unsigned long long)(TR__TX_HOLD_NS / TR_SECONDS(1)));
}

static tr_err begin(tr__tx *tx, tr_error *error)
{
    if (!tx->log)
        return tr__fail(error, TR_EINVAL, "node %s keeps no log: there is nothing to copy", tx->node);
    tr__log_settled settled = tr__log_settled_of(tx->log);
    if (tr__tx_is_held(tx))
        return tr__fail(error, TR_EAGAIN, "somebody else copies the log of node %s", tx->node);
    if (tx->snapshot || settled.dropping)
        return tr__fail(error, TR_EAGAIN, "a snapshot of the log of node %s is being taken", tx->node);
    tx->held = (tr__tx_held){.token = (tx->io->random(tx->context) >> 1) | 1, /* JSON's integers are signed */
                             .path = tx->store->path,
                             .first = settled.oldest,
                             .last = settled.segment,
                             .end = settled.end,
                             .lsn = settled.lsn,
                             .log = tr__log_id(tx->log)};
    return TR_OK;
}

tr_err tr__tx_hold(tr__tx *tx, uint64_t token, tr__tx_held *held, tr_error *error)
{
    if (token && (!tr__tx_is_held(tx) || token != tx->held.token))
        return not_held(tx, error);
    if (!token)
        TR_TRY(begin(tx, error));
    tx->held_ns = tr__tx_now(tx) + TR__TX_HOLD_NS;
    *held = tx->held;
    return TR_OK;
}

tr_err tr__tx_let_go(tr__tx *tx, uint64_t token, tr_error *error)
{
    if (!token || !tr__tx_is_held(tx) || token != tx->held.token)
        return not_held(tx, error);
    tx->held.token = 0;
    tr__tx_snapshots_go_on(tx);
    return TR_OK;
}
