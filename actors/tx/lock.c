/* One lock a participant, shared or exclusive, in order of arrival; who holds it shared and wants more goes ahead of
 * those that wait (it can't be served behind them), so two of those wait until one's time is up. */
#include "actors/tx/state.h"

#include "base/check.h"
#include "base/plant.h"

static bool may_hold(const tr__tx_branch *branch)
{
    const tr__tx_branch *holders = branch->at->holders;
    if (!holders || (holders == branch && !branch->next_holder))
        return true;
    return !branch->wants_exclusive && (TR_PLANT(dirty_neighbour) || !holders->exclusive);
}

static void hold(tr__tx_branch *branch)
{
    if (!branch->holds) {
        branch->next_holder = branch->at->holders;
        branch->at->holders = branch;
    }
    branch->holds = true;
    branch->exclusive = branch->exclusive || branch->wants_exclusive;
    tr__check_slow(!branch->exclusive || !branch->next_holder, "T1: an exclusive lock is one branch's");
}

static void wait_in_line(tr__tx_branch *branch)
{
    tr__tx_branch **at = &branch->at->waiting;
    while (*at && (!branch->holds || (*at)->holds))
        at = &(*at)->next_waiting;
    branch->next_waiting = *at;
    *at = branch;
}

bool tr__tx_lock(tr__tx_branch *branch, bool exclusive)
{
    if (branch->holds && (branch->exclusive || !exclusive))
        return true;
    branch->wants_exclusive = exclusive;
    if ((!branch->at->waiting || branch->holds) && may_hold(branch)) {
        hold(branch);
        return true;
    }
    wait_in_line(branch);
    return false;
}

static void take_out(tr__tx_branch *branch)
{
    tr__tx_branch **at = &branch->at->waiting;
    while (*at && *at != branch)
        at = &(*at)->next_waiting;
    if (*at)
        *at = branch->next_waiting;
    for (at = &branch->at->holders; branch->holds && *at; at = &(*at)->next_holder)
        if (*at == branch) {
            *at = branch->next_holder;
            break;
        }
    branch->holds = branch->exclusive = false;
}

void tr__tx_unlock(tr__tx *tx, tr__tx_branch *branch)
{
    tr__tx_actor *actor = branch->at;
    take_out(branch);
    while (actor->waiting && may_hold(actor->waiting)) {
        tr__tx_branch *next = actor->waiting;
        actor->waiting = next->next_waiting;
        hold(next);
        tr__tx_granted(tx, next);
    }
}
