/* One lock a participant, shared or exclusive, and wound-wait: who waits does so in the order of priorities (the caller's
 * clock at the first attempt, then the id: the same at every participant), and whoever is younger, holds what an older
 * one needs, and has promised nothing yet, is wounded: it ends here, and its caller hears. So whoever waits waits for
 * older ones, or for what is decided without a lock, and there is no circle of them. The owner's thread.
 *
 * W1  A line is in the order of priorities.
 * W2  Nobody waits for a younger one that can be wounded.
 * W3  A priority stays what the caller said it is, and who is run again keeps it.
 * W4  What is prepared, or being decided, isn't wounded. */
#include "actors/tx/internal.h"

#include <string.h>

#include <utlist.h>

#include "base/buggify.h"
#include "base/check.h"
#include "base/plant.h"

/* A short line may take half of a lock wait: as many callers as there usually are all get their turn. A long one is of a load
 * that comes whether or not it is served: it gets no shorter by waiting, each that waits may hold other locks, and is wounded
 * for them, so it is kept at a sixteenth. */
#define LINE_MIN   2 /* so many may always wait: or nobody would see that it moves again */
#define LINE_SHORT 16
#define SHORT_PART 2
#define LONG_PART  16
#define LONG_LEAST_NS \
    TR_MILLIS(25)     /* longer than its refusals are remembered (crowd.c), or it would run empty meanwhile */
#define PACE_OVER   8 /* grants */
#define PACE_MAX_NS TR_SECONDS(1) /* a longer one counts so */

bool tr__tx_is_older(const tr__tx_branch *branch, const tr__tx_branch *other)
{
    return branch->priority != other->priority
               ? branch->priority < other->priority
               : memcmp(&branch->key.id, &other->key.id, sizeof(other->key.id)) < 0;
}

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

/* ---- the line ------------------------------------------------------------------------------------------ */

/* The last of the line that is older, and how many are; NULL: none is. Most that come are younger than all. */
static tr__tx_branch *older_than(const tr__tx_branch *branch, uint32_t *count)
{
    tr__tx_branch *first = branch->at->waiting, *at = first ? first->prev_waiting : NULL;
    *count = branch->at->waiting_count;
    while (at && !TR_PLANT(lock_by_arrival) && tr__tx_is_older(branch, at)) {
        --*count;
        at = at == first ? NULL : at->prev_waiting;
    }
    return at;
}

static void wait_in_line(tr__tx *tx, tr__tx_branch *branch)
{
    uint32_t count;
    tr__tx_actor *actor = branch->at;
    tr__tx_branch *before = older_than(branch, &count);
    if (!actor->waiting)
        actor->moved_ns = tr__tx_now(tx);
    if (before)
        DL_APPEND_ELEM2(actor->waiting, before, branch, prev_waiting, next_waiting);
    else
        DL_PREPEND2(actor->waiting, branch, prev_waiting, next_waiting);
    actor->waiting_count++;
}

static void leave_line(tr__tx_branch *branch)
{
    if (!branch->prev_waiting)
        return;
    DL_DELETE2(branch->at->waiting, branch, prev_waiting, next_waiting);
    branch->prev_waiting = branch->next_waiting = NULL;
    branch->at->waiting_count--;
}

/* Its first goes. A holder that is in doubt for long says nothing of how it moves otherwise. */
static void note_pace(tr__tx *tx, tr__tx_actor *actor)
{
    uint64_t now = tr__tx_now(tx), took = now - actor->moved_ns;
    took = took < PACE_MAX_NS ? took : PACE_MAX_NS;
    actor->pace_ns = actor->pace_ns ? (actor->pace_ns * (PACE_OVER - 1) + took) / PACE_OVER : took;
    actor->moved_ns = now;
}

/* What has done something here is let be. */
static bool is_new(const tr__tx_branch *branch)
{
    return !branch->holds && !branch->reads && !branch->writes;
}

/* How long the next one waits behind so many. */
static uint64_t takes(const tr__tx_actor *actor, uint32_t count)
{
    return count < LINE_MIN ? 0 : count * actor->pace_ns;
}

/* What it may take of the time that it has, where so many go first. */
static uint64_t may_take(tr__tx *tx, const tr__tx_branch *branch, uint32_t count)
{
    uint64_t left = tr__tx_left(tx, branch->calls->lock_until_ns), most = left / SHORT_PART;
    if (count < LINE_SHORT)
        return most;
    uint64_t part = left / LONG_PART > LONG_LEAST_NS ? left / LONG_PART : LONG_LEAST_NS;
    return part < most ? part : most;
}

bool tr__tx_line_is_too_long(tr__tx *tx, const tr__tx_branch *branch)
{
    uint32_t count;
    if (!is_new(branch) || branch->at->waiting_count < LINE_MIN)
        return false;
    older_than(branch, &count);
    return takes(branch->at, count) > may_take(tx, branch, count);
}

/* That one came before the last, who would now wait for twice as long as it was let in for. */
static void turn_away(tr__tx *tx, const tr__tx_branch *branch)
{
    const tr__tx_actor *actor = branch->at;
    tr__tx_branch *last;
    uint32_t count;
    while ((last = actor->waiting->prev_waiting) != branch && is_new(last)) {
        count = actor->waiting_count - 1;
        if (takes(actor, count) <= 2 * may_take(tx, last, count))
            return;
        last->crowded = true;
        tr__tx_branch_drop(tx, last, TR_TX_OVERLOAD);
    }
}

/* ---- wounds -------------------------------------------------------------------------------------------- */

/* What is being decided was promised to others; what executes, and was dropped, goes by itself. */
static bool may_be_wounded(const tr__tx_branch *branch)
{
    return (branch->state <= TR__BRANCH_READY && !branch->dropped) ||
           (TR_PLANT(prepared_wounded) && branch->state == TR__BRANCH_PREPARED);
}

tr__tx_branch *tr__tx_in_the_way(const tr__tx_branch *branch)
{
    for (tr__tx_branch *holder = branch->at->holders; holder; holder = holder->next_holder)
        if (holder != branch && (branch->wants_exclusive || holder->exclusive) && may_be_wounded(holder) &&
            tr__tx_is_older(branch, holder))
            return holder;
    return NULL;
}

/* All that it has on this node goes, and its caller sees to the rest. */
static void wound(tr__tx *tx, tr__tx_branch *victim, const tr__tx_branch *by)
{
    char text[TR_ERROR_TEXT_MAX], wounder[TR_TX_ID_TEXT], wounded[TR_TX_ID_TEXT];
    tr_tx_id id = victim->key.id;
    tr__tx_event(tx, &id, by->at->name, "wounded", tr__tx_id_format(&by->key.id, wounder));
    tr__tx_event(tx, &by->key.id, by->at->name, "wounds", tr__tx_id_format(&id, wounded));
    tx->wounds++;
    if (TR_PLANT(prepared_wounded) && victim->state == TR__BRANCH_PREPARED) {
        tr__tx_branch_end(tx, victim);
        return;
    }
    tr__tx_wounded_text(&by->key.id, text);
    if (!TR_BUGGIFY(wound_untold)) /* what gets lost is said by the votes */
        tr__tx_refuse_call(tx, &id, victim->caller, victim->at->name, 0, TR_TX_WOUNDED, text);
    tr__tx_branches_wound(tx, &id, &by->key.id);
}

static void take_out(tr__tx_branch *branch)
{
    tr__tx_branch **at;
    leave_line(branch);
    for (at = &branch->at->holders; branch->holds && *at; at = &(*at)->next_holder)
        if (*at == branch) {
            *at = branch->next_holder;
            break;
        }
    branch->holds = branch->exclusive = false;
}

/* A planted bug: who migrates doesn't wait for what is in doubt. */
static void let_go_of_doubt(const tr__tx_branch *branch)
{
    tr__tx_branch *holder = branch->at->holders;
    if (branch->calls && branch->calls->migrates && holder && holder->state == TR__BRANCH_PREPARED)
        take_out(holder);
}

bool tr__tx_lock(tr__tx *tx, tr__tx_branch *branch, bool exclusive)
{
    if (branch->holds && (branch->exclusive || !exclusive))
        return true;
    branch->wants_exclusive = exclusive;
    if (TR_PLANT(migrated_in_doubt))
        let_go_of_doubt(branch);
    const tr__tx_branch *first = branch->at->waiting;
    if ((!first || tr__tx_is_older(branch, first)) && may_hold(branch)) {
        hold(branch);
        return true;
    }
    wait_in_line(tx, branch);
    turn_away(tx, branch);
    /* Who goes grants what it held, perhaps to this one. */
    tr__tx_branch *victim;
    while (!TR_PLANT(wound_withheld) && branch->state == TR__BRANCH_WAITING &&
           (victim = tr__tx_in_the_way(branch)))
        wound(tx, victim, branch);
    return false;
}

void tr__tx_unlock(tr__tx *tx, tr__tx_branch *branch)
{
    tr__tx_actor *actor = branch->at;
    take_out(branch);
    while (actor->waiting && may_hold(actor->waiting)) {
        tr__tx_branch *next = actor->waiting;
        leave_line(next);
        note_pace(tx, actor);
        hold(next);
        tr__tx_granted(tx, next);
    }
}
