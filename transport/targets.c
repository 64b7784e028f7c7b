/* See targets.h. The endpoint's thread; what can fail is memory and the text of an address. */
#include "transport/targets.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

void tr__targets_init(tr__targets *targets, uint64_t seed, uint64_t backoff_min_ns, uint64_t backoff_max_ns)
{
    *targets = (tr__targets){
        .backoff_min_ns = backoff_min_ns ? backoff_min_ns : 100000000,
        .backoff_max_ns = backoff_max_ns ? backoff_max_ns : 5000000000,
    };
    tr__random_init(&targets->random, seed);
}

void tr__targets_fini(tr__targets *targets)
{
    while (targets->first) {
        tr__target *target = targets->first;
        targets->first = target->next;
        tr__free(target);
    }
}

static tr__target *find(tr__targets *targets, const char *text)
{
    tr__target *target = targets->first;
    while (target && strcmp(target->text, text) != 0)
        target = target->next;
    return target;
}

static tr_err add(tr__targets *targets, const tr__net_address *address, const char *text, tr__target **added,
                  tr_error *error)
{
    tr__target *target = tr__zalloc(sizeof *target);
    if (!target)
        return tr__fail(error, TR_ENOMEM, "no memory to dial %.80s", text);
    target->address = *address;
    memcpy(target->text, text, sizeof target->text);
    target->backoff_ns = targets->backoff_min_ns;
    target->next = targets->first;
    targets->first = target;
    targets->count++;
    *added = target;
    return TR_OK;
}

tr_err tr__targets_add(tr__targets *targets, const char *address, unsigned count_max, tr_error *error)
{
    tr__net_address parsed;
    char text[TR__ADDRESS_MAX + 1];
    TR_TRY(tr__net_address_parse(address, false, &parsed, error));
    tr__net_address_print(&parsed, text);
    tr__target *target = find(targets, text);
    if (target) {
        target->forgotten = false;
        targets->learned -= target->learned;
        target->learned = false;
        return TR_OK;
    }
    if (targets->count >= count_max)
        return tr__fail(error, TR_EFULL,
                        "cannot dial %.80s: %u addresses are dialled already, as many as a node dials", text,
                        count_max);
    return add(targets, &parsed, text, &target, error);
}

/* It has ten minutes from now on. A seed that is to be forgotten stays so. */
static void learn_again(tr__target *target)
{
    target->forgotten = false;
    target->failing_ns = 0;
}

tr_err tr__targets_learn(tr__targets *targets, const char *address, unsigned learned_max, tr_error *error)
{
    tr__net_address parsed;
    char text[TR__ADDRESS_MAX + 1];
    TR_TRY(tr__net_address_parse(address, false, &parsed, error));
    tr__net_address_print(&parsed, text);
    tr__target *target = find(targets, text);
    if (target) {
        if (target->learned)
            learn_again(target);
        return TR_OK;
    }
    if (targets->learned >= learned_max)
        return tr__fail(error, TR_EFULL, "%u addresses were learned already, as many as a node learns",
                        learned_max);
    TR_TRY(add(targets, &parsed, text, &target, error));
    target->learned = true;
    targets->learned++;
    return TR_OK;
}

void tr__targets_forget(tr__targets *targets, const char *address)
{
    tr__net_address parsed;
    char text[TR__ADDRESS_MAX + 1];
    if (tr__net_address_parse(address, false, &parsed, NULL))
        return;
    tr__net_address_print(&parsed, text);
    for (tr__target *target = targets->first; target; target = target->next) {
        if (strcmp(target->text, text) == 0)
            target->forgotten = true;
    }
}

void tr__targets_forget_all(tr__targets *targets)
{
    for (tr__target *target = targets->first; target; target = target->next)
        target->forgotten = true;
}

void tr__targets_sweep(tr__targets *targets)
{
    for (tr__target **at = &targets->first; *at;) {
        tr__target *target = *at;
        if (!target->forgotten || target->busy) {
            at = &target->next;
            continue;
        }
        *at = target->next;
        targets->count--;
        targets->learned -= target->learned;
        tr__free(target);
    }
}

uint64_t tr__target_due(const tr__target *target)
{
    return target->busy || target->satisfied_by || target->forgotten ? UINT64_MAX : target->next_ns;
}

uint64_t tr__targets_due(const tr__targets *targets)
{
    uint64_t due = UINT64_MAX;
    for (const tr__target *target = targets->first; target; target = target->next) {
        uint64_t one = target->forgotten ? 0 : tr__target_due(target);
        if (one < due)
            due = one;
    }
    return due;
}

/* Half to the whole of the back-off from now: many that lost the same node don't come back at once. */
static void schedule(tr__targets *targets, tr__target *target, uint64_t now_ns)
{
    uint64_t half = target->backoff_ns / 2;
    target->next_ns = now_ns + half + tr__random_below(&targets->random, half + 1);
}

void tr__targets_failed(tr__targets *targets, tr__target *target, uint64_t now_ns)
{
    schedule(targets, target, now_ns);
    target->backoff_ns *= 2;
    if (target->backoff_ns > targets->backoff_max_ns)
        target->backoff_ns = targets->backoff_max_ns;
    if (!target->failing_ns)
        target->failing_ns = now_ns;
    if (target->learned && now_ns - target->failing_ns >= TR__LEARNED_NS)
        target->forgotten = true;
}

uint64_t tr__target_alike(tr__target *target, const tr_error *why)
{
    if (why->code != target->why.code || strcmp(why->text, target->why.text) != 0)
        target->alike = 0;
    target->why = *why;
    return ++target->alike;
}

void tr__targets_lost(tr__targets *targets, tr__target *target, uint64_t now_ns, uint64_t up_ns)
{
    target->failing_ns = 0;
    target->alike = 0;
    if (up_ns >= targets->backoff_max_ns)
        target->backoff_ns = targets->backoff_min_ns;
    tr__targets_failed(targets, target, now_ns);
}

void tr__targets_unsatisfied(tr__targets *targets, uint64_t id, uint64_t now_ns)
{
    for (tr__target *target = targets->first; target; target = target->next) {
        if (target->satisfied_by == id) {
            target->satisfied_by = 0;
            target->failing_ns = 0;
            target->alike = 0;
            target->backoff_ns = targets->backoff_min_ns;
            schedule(targets, target, now_ns);
        }
    }
}
