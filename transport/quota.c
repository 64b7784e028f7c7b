/* See quota.h. */
#include "transport/quota.h"

#define A_SECOND 1000000000ull

void tr__quota_init(tr__quota *q, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
    *q = (tr__quota){.rate = rate, .burst = burst, .tokens = burst, .filled_ns = now_ns};
}

/* What a fraction of a token would be is left for the next time. */
static void fill(tr__quota *q, uint64_t now_ns)
{
    if (now_ns <= q->filled_ns)
        return;
    unsigned __int128 come = (unsigned __int128)(now_ns - q->filled_ns) * q->rate / A_SECOND;
    if (come == 0)
        return;
    if (come >= q->burst - q->tokens) {
        q->tokens = q->burst;
        q->filled_ns = now_ns;
        return;
    }
    q->tokens += (uint64_t)come;
    q->filled_ns += (uint64_t)(come * A_SECOND / q->rate);
}

uint64_t tr__quota_take(tr__quota *q, uint64_t wanted, uint64_t now_ns)
{
    fill(q, now_ns);
    uint64_t taken = wanted < q->tokens ? wanted : q->tokens;
    q->tokens -= taken;
    return taken;
}

uint64_t tr__quota_due(const tr__quota *q, uint64_t wanted)
{
    uint64_t most = wanted < q->burst ? wanted : q->burst;
    uint64_t missing = most > q->tokens ? most - q->tokens : 0;
    return q->filled_ns + (uint64_t)((unsigned __int128)missing * A_SECOND / q->rate) + 1;
}
