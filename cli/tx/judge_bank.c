/* What is wrong with a history of "bank": a read whose balances don't sum up, one below 0 where none may be, and, if the
 * balances at first are known, one that can't be: it has all transfers that were committed before the read began, none that
 * began after it ended, and of the others any. See judge.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/tx/judge_state.h"

/* An account's changes by time, each with the sums of all up to it: of those above 0, and below. */
typedef struct change {
    int64_t ns, up, down;
} change;

/* By account: those from starts[a] to starts[a + 1]. */
typedef struct curves {
    change *changes;
    size_t *starts;
} curves;

static int by_time(const void *a, const void *b)
{
    const change *x = a, *y = b;
    return (x->ns > y->ns) - (x->ns < y->ns);
}

static bool counts(const judge_op *op, bool surely)
{
    return op->f == JUDGE_TRANSFER && (surely ? op->committed && op->end_known : !op->aborted);
}

static void fill(const judge_history *h, curves *c, bool surely)
{
    for (size_t i = 0; i < h->ops_count; i++) {
        const judge_op *op = &h->ops[i];
        for (uint32_t k = 0; counts(op, surely) && k < op->items_count; k++) {
            const judge_kept *item = &h->items[op->items + k];
            c->changes[c->starts[item->key + 1]++] = (change){.ns = surely ? op->end_ns : op->invoke_ns,
                                                              .up = item->value > 0 ? item->value : 0,
                                                              .down = item->value < 0 ? item->value : 0};
        }
    }
}

/* Of what was surely done by then, or may have begun. 0: no memory. */
static int draw(const judge_history *h, curves *c, bool surely)
{
    size_t all = 0;
    c->starts = tr__zalloc((h->keys_count + 2) * sizeof(*c->starts));
    for (size_t i = 0; c->starts && i < h->ops_count; i++)
        for (uint32_t k = 0; counts(&h->ops[i], surely) && k < h->ops[i].items_count; k++, all++)
            c->starts[h->items[h->ops[i].items + k].key + 2]++;
    c->changes = tr__alloc(all * sizeof(*c->changes) + 1);
    if (!c->starts || !c->changes)
        return 0;
    for (size_t a = 2; a < h->keys_count + 2; a++)
        c->starts[a] += c->starts[a - 1];
    fill(h, c, surely);
    for (size_t a = 0; a < h->keys_count; a++) {
        change *first = c->changes + c->starts[a];
        size_t count = c->starts[a + 1] - c->starts[a];
        if (surely && count)
            qsort(first, count, sizeof(*first), by_time);
        for (size_t i = 1; i < count; i++) {
            first[i].up += first[i - 1].up;
            first[i].down += first[i - 1].down;
        }
    }
    return 1;
}

/* Sums of all before that time, or also at it. */
static change sums(const curves *c, uint32_t account, int64_t ns, bool with)
{
    size_t low = c->starts[account], high = c->starts[account + 1];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c->changes[middle].ns < ns || (with && c->changes[middle].ns == ns))
            low = middle + 1;
        else
            high = middle;
    }
    return low > c->starts[account] ? c->changes[low - 1] : (change){0};
}

static void judge_balance(judge_history *h, const curves *done, const curves *begun, uint32_t number,
                          const judge_kept *item)
{
    const judge_op *op = &h->ops[number];
    change surely = sums(done, item->key, op->invoke_ns, false),
           maybe = sums(begun, item->key, op->end_ns, true);
    int64_t first = h->keys[item->key].initial;
    int64_t least = first + surely.up + maybe.down, most = first + maybe.up + surely.down;
    if (item->value < least || item->value > most)
        judge_find(h, "stale balance", number,
                   "%.40s has %" PRId64
                   ", and by what was committed before this read, and begun before its end, it has %" PRId64
                   " to %" PRId64,
                   h->keys[item->key].text, item->value, least, most);
}

static void judge_read(judge_history *h, const curves *done, const curves *begun, uint32_t number)
{
    const judge_op *op = &h->ops[number];
    int64_t sum = 0;
    for (uint32_t i = 0; i < op->items_count; i++) {
        const judge_kept *item = &h->items[op->items + i];
        sum += item->value;
        if (h->options.no_negative && item->value < 0)
            judge_find(h, "negative balance", number, "%.40s has %" PRId64, h->keys[item->key].text,
                       item->value);
    }
    if (sum != h->options.total) {
        judge_find(h, "wrong total", number, "the balances are %" PRId64 " in all, and should be %" PRId64,
                   sum, h->options.total);
        return;
    }
    for (uint32_t i = 0; h->options.has_initial && i < op->items_count; i++)
        judge_balance(h, done, begun, number, &h->items[op->items + i]);
}

tr_err judge_bank(judge_history *h, tr_error *error)
{
    curves done = {0}, begun = {0};
    int good = draw(h, &done, true) && draw(h, &begun, false);
    for (uint32_t i = 0; good && i < h->ops_count; i++)
        if (h->ops[i].f == JUDGE_READ && h->ops[i].told == JUDGE_OK)
            judge_read(h, &done, &begun, i);
    tr__free(done.changes);
    tr__free(done.starts);
    tr__free(begun.changes);
    tr__free(begun.starts);
    return good ? TR_OK : judge_no_memory(error);
}
