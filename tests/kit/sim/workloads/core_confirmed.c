/* Confirmed messages between beings that end, and shut, on nodes to which anything happens. Of each it is known what its
 * sender was told, and whether it was handled: at most once, in order, with nothing missing that was confirmed, and never
 * one that was said not to be delivered. After healing each gets through to all. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/kit/sim/workloads/core.h"
#include "tests/kit/sim/workloads/list.h"

#define LAST_WITHIN TR_SECONDS(20)
#define OUTSTANDING 200 /* of a being */
#define BYTES_MAX   300000

TR_MESSAGE(confirmed_tick)
TR_MESSAGE(confirmed_note, (u32, from), (u32, to), (u64, number), (bytes, data))

typedef enum told {
    TOLD_NOTHING,       /* as yet, or for ever */
    TOLD_DELIVERED,     /* confirmed */
    TOLD_NOT_DELIVERED, /* and it won't be */
    TOLD_UNKNOWN,
} told;

typedef struct promise {
    struct line *line;
    uint64_t number, due_ns;
    told told;
    bool handled, last;
} promise;

/* What one being sent to another. */
typedef struct line {
    struct line *next;
    const core_being *from, *to;
    promise **promises; /* by number, from 1 */
    uint64_t count, room, handled;
} line;

static line *lines;
static uint64_t simulation;
static uint8_t data[BYTES_MAX];

typedef struct sender {
    core_being *being;
    bool shut;
    uint32_t outstanding;
    uint64_t last_round; /* bits of those that got the last one */
} sender;

/* ---- lines --------------------------------------------------------------------------------------------- */

static void begin(void)
{
    core_begin();
    if (simulation == core.simulation)
        return;
    simulation = core.simulation;
    while (lines) {
        line *l = lines;
        lines = l->next;
        for (uint64_t n = 1; n <= l->count; n++)
            free(l->promises[n]);
        free(l->promises);
        free(l);
    }
}

/* Those used last are first. */
static line *line_of(const core_being *from, const core_being *to)
{
    line **at = &lines, *l;
    while (*at && ((*at)->from != from || (*at)->to != to))
        at = &(*at)->next;
    l = *at;
    if (l)
        *at = l->next;
    else
        l = calloc(1, sizeof(*l));
    tr__check(l != NULL, "no memory for a workload");
    l->from = from;
    l->to = to;
    l->next = lines;
    lines = l;
    return l;
}

static promise *promise_add(line *l, uint64_t due_ns)
{
    if (++l->count >= l->room) {
        l->room = l->room ? 2 * l->room : 16;
        l->promises = realloc(l->promises, l->room * sizeof(*l->promises));
        tr__check(l->promises != NULL, "no memory for a workload");
    }
    promise *p = l->promises[l->count] = calloc(1, sizeof(*p));
    tr__check(p != NULL, "no memory for a workload");
    *p = (promise){.line = l, .number = l->count, .due_ns = due_ns, .last = core.phase == CORE_LAST};
    return p;
}

static void broken(const promise *p, const char *what)
{
    core_wrong("confirmed message %llu of being %u to %u %s", (unsigned long long)p->number,
               p->line->from->number, p->line->to->number, what);
}

/* ---- what senders are told ----------------------------------------------------------------------------- */

/* NULL: it may be said now. */
static const char *wrong_with(tr_actor *self, const promise *p, tr_err err)
{
    bool over = tr_now(self) + TR_MILLIS(10) >= p->due_ns; /* by one clock or the other */
    switch (err) {
    case TR_OK:
        return NULL;
    case TR_EDEADLINE:
    case TR_ENOCONN:
    case TR_EFULL:
        return over ? NULL : "has failed before its deadline";
    case TR_ENOACTOR:
        return core_lives(p->line->to) ? "has failed, but its receiver lives" : NULL;
    case TR_ERESET:
        return core_lives(p->line->to) ? "is unknown, but its receiver lives" : NULL;
    case TR_ENOMEM:
        return core_memory_failed() ? NULL : "has failed for memory that there was";
    default:
        return "has failed in a way that can't be";
    }
}

static void is_told(tr_actor *self, promise *p, tr_err err)
{
    const char *wrong = wrong_with(self, p, err);
    p->told = err == TR_OK                              ? TOLD_DELIVERED
              : err == TR_EDEADLINE || err == TR_ERESET ? TOLD_UNKNOWN
                                                        : TOLD_NOT_DELIVERED;
    if (wrong)
        broken(p, wrong);
    if (p->handled && p->told == TOLD_NOT_DELIVERED)
        broken(p, "was handled, and is said not to be delivered");
    tr_sometimes(self, err == TR_EDEADLINE, "of a confirmed message nothing is known at its deadline");
    tr_sometimes(self, err == TR_ENOCONN, "a confirmed message never leaves its node");
    tr_sometimes(self, err == TR_EFULL, "a confirmed message finds the mailbox full until its deadline");
    tr_sometimes(self, err == TR_ENOACTOR, "the receiver of a confirmed message is gone");
    tr_sometimes(self, err == TR_ERESET, "the node of a confirmed message is started anew");
}

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    sender *s = state;
    promise *p = context;
    if (!sim_counts())
        return;
    s->outstanding--;
    is_told(self, p, result->err);
    if (result->err == TR_OK && !tr_match(result->msg, tr_confirmed))
        broken(p, "was answered by something else");
    if (result->err == TR_OK && p->last)
        s->last_round |= 1ull << (p->line->to->node->index * CORE_SLOTS + p->line->to->slot);
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static uint64_t any_timeout(tr_actor *self)
{
    uint64_t kind = tr_random(self) % 10;
    return kind < 2   ? TR_MILLIS(5) + tr_random(self) % TR_MILLIS(200)
           : kind < 9 ? TR_SECONDS(1) + tr_random(self) % TR_SECONDS(5)
                      : TR_SECONDS(15);
}

/* No more to a small mailbox than it takes from other loops at any time: its own may keep a quarter of the places. */
static size_t any_size(tr_actor *self, const core_being *to)
{
    uint64_t kind = tr_random(self) % 500;
    return kind < 20 && to->slot == 0 ? tr_random(self) % 5000
           : kind == 0                ? tr_random(self) % BYTES_MAX
           : kind < 20                ? tr_random(self) % 30000
           : kind < 100               ? tr_random(self) % 2000
                                      : tr_random(self) % 50;
}

static void send_one(tr_actor *self, sender *s, const core_being *to, uint64_t timeout_ns, size_t bytes)
{
    if (!sim_counts() || s->outstanding >= OUTSTANDING)
        return;
    promise *p = promise_add(line_of(s->being, to), tr_now(self) + timeout_ns);
    tr_future future =
        tr_send_confirmed(self, to->address, timeout_ns, confirmed_note, .from = s->being->number,
                          .to = to->number, .number = p->number, .data = {data, bytes});
    if (!future.id || tr_then(self, future, answered, p) != TR_OK) {
        if (!future.id && tr_last_error(self)->code != TR_ENOMEM)
            broken(p, "is refused");
        p->told = future.id ? TOLD_NOTHING : TOLD_NOT_DELIVERED;
        return;
    }
    s->outstanding++;
    if (core.phase == CORE_BUSY && tr_random(self) % 40 == 0) { /* it goes its way all the same */
        tr_cancel(self, future);
        s->outstanding--;
    }
}

static void something(tr_actor *self, sender *s)
{
    const core_being *to = core_any(self, NULL, true);
    uint64_t count = tr_random(self) % 6 ? 1 + tr_random(self) % 3 : 25;
    if (tr_random(self) % 300 == 0)
        core_exit(self, s->being, tr_random(self) % 2 ? TR_OK : TR_EAPP);
    for (uint64_t i = 0; to && i < count; i++) {
        uint64_t timeout_ns = any_timeout(self); /* drawn first, whoever compiles this */
        send_one(self, s, to, timeout_ns, any_size(self, to));
    }
}

/* One to each, until all have got one. */
static void last_round(tr_actor *self, sender *s)
{
    uint64_t all = 0;
    for (uint32_t n = 0; n < sim_now_running->node_count; n++)
        for (uint32_t slot = 0; slot < core.kept; slot++) {
            uint64_t bit = 1ull << (n * CORE_SLOTS + slot);
            all |= bit;
            if (!(s->last_round & bit) && s->outstanding == 0 && core_lives(core.slots[n][slot]))
                send_one(self, s, core.slots[n][slot], LAST_WITHIN, 20);
        }
    s->being->last_done = s->last_round == all && s->outstanding == 0;
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

static void check_note(tr_actor *self, const sender *s, const confirmed_note *note, const tr_msg *msg)
{
    const core_being *from = note->from && note->from < core.count ? core.beings[note->from] : NULL;
    if (!from || !tr_addr_equal(from->address, tr_msg_sender(msg)) || note->to != s->being->number) {
        core_wrong("a confirmed message to being %u is from %u, for %u", s->being->number, note->from,
                   note->to);
        return;
    }
    line *l = line_of(from, s->being);
    if (!note->number || note->number > l->count) {
        core_wrong("a confirmed message of being %u to %u was never sent", note->from, note->to);
        return;
    }
    promise *p = l->promises[note->number];
    if (p->handled)
        broken(p, "is handled twice");
    else if (note->number <= l->handled)
        broken(p, "is handled behind a later one");
    if (p->told == TOLD_NOT_DELIVERED)
        broken(p, "was said not to be delivered, and is handled");
    for (uint64_t n = l->handled + 1; n < note->number; n++)
        if (l->promises[n]->told == TOLD_DELIVERED)
            broken(l->promises[n], "was confirmed, and a later one is handled before it");
    if (note->data.size && memcmp(note->data.data, data, note->data.size) != 0)
        broken(p, "has another content");
    tr_sometimes(self, p->told == TOLD_UNKNOWN,
                 "a confirmed message is handled when its sender doesn't know");
    tr_sometimes(self, !core_lives(from), "a confirmed message is handled after its sender's end");
    p->handled = true;
    l->handled = note->number;
}

/* What can't be set aside is taken: then nothing is aside. */
static bool is_deferred(tr_actor *self, const sender *s, const tr_msg *msg)
{
    return s->shut && tr_match(msg, confirmed_note) && tr_defer(self, msg) == TR_OK;
}

static void tick(tr_actor *self, sender *s)
{
    s->being->ticked = sim_now_running->now;
    if (s->shut && (core.phase != CORE_BUSY || tr_random(self) % 8 == 0)) {
        s->shut = false;
        tr_undefer(self);
    } else if (core.phase == CORE_BUSY && s->being->slot == 0 && tr_random(self) % 15 == 0) {
        s->shut = true;
    }
    if (core.phase == CORE_QUIET)
        return;
    if (core.phase == CORE_BUSY)
        something(self, s);
    else if (!s->being->last_done && core_all_there())
        last_round(self, s);
    if (!tr_after(self, TR_MILLIS(5) + tr_random(self) % TR_MILLIS(100), confirmed_tick).id)
        core_exit(self, s->being, TR_ENOMEM);
}

/* ---- a being ------------------------------------------------------------------------------------------- */

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    sender *s = state;
    begin();
    s->being = core_born(self, (uint32_t)(uintptr_t)arg);
    if (!tr_after(self, tr_random(self) % TR_MILLIS(50), confirmed_tick).id)
        core_exit(self, s->being, TR_ENOMEM);
    return TR_OK;
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    sender *s = state;
    const confirmed_note *note;
    if (!sim_counts() || is_deferred(self, s, msg))
        return;
    if ((note = tr_match(msg, confirmed_note)))
        check_note(self, s, note, msg);
    else if (tr_match(msg, confirmed_tick))
        tick(self, s);
    else
        core_wrong("being %u got a %s", s->being->number, tr_msg_type_name(msg));
}

static void stop(tr_actor *self, void *state)
{
    (void)self;
    core_ended(((sender *)state)->being);
}

#define SENDER(places)                                                                                  \
    {                                                                                                   \
        .name = "sender", .state_size = sizeof(sender), .init = init, .receive = receive, .stop = stop, \
        .mailbox_places = (places)                                                                      \
    }
static const tr_actor_def small_def = SENDER(8), large_def = SENDER(2000);

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_actor_def *const defs[] = {&small_def, &large_def, &large_def};
    begin();
    return core_keep(self, index, defs, TR_COUNT(defs));
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static void at_rest(void)
{
    for (const line *l = lines; l; l = l->next)
        for (uint64_t n = 1; core_lives(l->to) && n <= l->count; n++)
            if (l->promises[n]->told == TOLD_DELIVERED && !l->promises[n]->handled)
                broken(l->promises[n], "was confirmed, and is never handled");
}

static tr_err check(tr_actor *self)
{
    return core_check(self, NULL, at_rest);
}

const tr_scenario sim_core_confirmed = {.size = sizeof(tr_scenario),
                                        .name = "core-confirmed",
                                        .nodes = 3,
                                        .run_ns = TR_SECONDS(8),
                                        .start = start,
                                        .check = check};
