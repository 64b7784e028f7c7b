/* What tr_tx_run asks before it asks the manager: under overload most of what is begun is refused, and a refusal that costs
 * the manager a message delays what is under way, and what is under way holds locks. Any thread; what is read may be
 * a moment old, so the manager counts itself. Nothing can fail.
 *
 * D1  Who was run before has places of its own: the old ones finish before new ones begin.
 * D2  Attempts again for overload are a part of the first ones: else each that is refused comes back four times, and the
 *     more are refused the more come. A short overload finds a budget that was saved. */
#include "actors/tx/manager.h"

#define OLD_PLACES 100  /* of TR__TX_UNDECIDED_MAX */
#define BUDGET_MAX 1000 /* 500 attempts again */
#define SPENT      2    /* by each; one is earned by a first attempt */

void tr__door_open(tr__transactions *t)
{
    atomic_store_explicit(&t->retry_budget, BUDGET_MAX, memory_order_relaxed);
}

bool tr__door_is_open(tr__transactions *t, bool again)
{
    uint32_t count = atomic_load_explicit(&t->client_count, memory_order_relaxed);
    return count < TR__TX_UNDECIDED_MAX - (again ? 0 : OLD_PLACES);
}

void tr__retry_earned(tr__transactions *t)
{
    if (atomic_load_explicit(&t->retry_budget, memory_order_relaxed) < BUDGET_MAX)
        atomic_fetch_add_explicit(&t->retry_budget, 1, memory_order_relaxed);
}

bool tr__retry_spent(tr__transactions *t)
{
    if (atomic_fetch_sub_explicit(&t->retry_budget, SPENT, memory_order_relaxed) >= SPENT)
        return true;
    atomic_fetch_add_explicit(&t->retry_budget, SPENT, memory_order_relaxed);
    return false;
}
