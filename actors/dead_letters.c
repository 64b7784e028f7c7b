/* Dead letters: tr__drop() is the one place where a message is lost. It counts by reason, reports, and answers who waits.
 * The thread of the loop that finds it can't be delivered; nothing fails. */
#include <troupe/troupe.h>

#include "actors/budget.h"
#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/remote/records.h"
#include "actors/transactions.h"
#include "base/plant.h"

#define BURST    100u  /* notices a loop gives one watcher at once */
#define A_SECOND 1000u /* and on the average */

static const char *const drop_words[TR_DROP_COUNT] = {
#define TR__WORD(name, word) word,
    TR_DROPS(TR__WORD)
#undef TR__WORD
};

static tr_err drop_error(tr_drop why)
{
    switch (why) {
    case TR_DROP_FULL:
    case TR_DROP_OLDEST:
    case TR_DROP_NEWEST:
        return TR_EFULL;
    case TR_DROP_NO_CONNECTION:
        return TR_ENOCONN;
    case TR_DROP_CANCELED:
        return TR_ECANCELED;
    case TR_DROP_UNKNOWN_TYPE:
        return TR_ETYPE;
    case TR_DROP_MALFORMED:
        return TR_EPROTO;
    case TR_DROP_NO_MEMORY:
        return TR_ENOMEM;
    case TR_DROP_EXPIRED:
        return TR_EDEADLINE;
    case TR_DROP_REFUSED:
        return TR_EPERM;
    default:
        return TR_ENOACTOR;
    }
}

/* At most one line a second, loop and reason; the others are counted into the next one. */
static bool log_it(tr__loop *loop, tr_drop why, const char *type, tr_addr sender, tr_addr receiver)
{
    uint64_t *logged = &loop->dead_letters_logged_ns[why], *silent = &loop->dead_letters_silent[why];
    if (loop->node->log_level < TR_LOG_DEBUG || (loop->now_ns - *logged < TR_SECONDS(1) && *logged)) {
        ++*silent;
        return false;
    }
    char from[TR_ADDR_TEXT_MAX], to[TR_ADDR_TEXT_MAX];
    tr__addr_format(sender, from);
    tr__addr_format(receiver, to);
    tr__node_log(loop->node, TR_LOG_DEBUG,
                 "dead letter (%s): a %s from %s to %s; %llu more since the last such line", drop_words[why],
                 type, from, to, (unsigned long long)*silent);
    *logged = loop->now_ns;
    *silent = 0;
    return true;
}

/* ---- who watches --------------------------------------------------------------------------------------- */

typedef struct tr__dead_letter_watch watch;

static uint64_t key_of(const tr_actor *actor)
{
    return (uint64_t)atomic_load_explicit(&((tr_actor *)actor)->generation, memory_order_relaxed) << 32 |
           actor->index;
}

/* One of `from` becomes `to`; false: there was none. */
static bool swap_watcher(tr_node *node, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < TR__DEAD_LETTER_WATCHERS; i++) {
        uint64_t seen = from;
        if (atomic_compare_exchange_strong_explicit(&node->dead_letter_watchers[i], &seen, to,
                                                    memory_order_relaxed, memory_order_relaxed))
            return true;
    }
    return false;
}

tr_err tr_watch_dead_letters(tr_actor *self, bool on)
{
    tr__loop *loop = tr__owner(self);
    tr__extras *extras = tr__extras_of(loop, self);
    if (!extras || !tr__type_of(&tr_dead_letter_type))
        return tr__self_fail(self, TR_ENOMEM, "no memory to watch dead letters");
    if (extras->watches_dead_letters == on)
        return TR_OK;
    if (!on) {
        tr__dead_letters_unwatch(self);
    } else if (!swap_watcher(loop->node, 0, key_of(self))) {
        return tr__self_fail(self, TR_EFULL, "%d actors watch the dead letters of this node already",
                             TR__DEAD_LETTER_WATCHERS);
    } else {
        atomic_fetch_add_explicit(&loop->node->dead_letter_watcher_count, 1, memory_order_relaxed);
    }
    extras->watches_dead_letters = on;
    return TR_OK;
}

void tr__dead_letters_unwatch(tr_actor *actor)
{
    tr_node *node = tr__owner(actor)->node;
    if (swap_watcher(node, key_of(actor), 0))
        atomic_fetch_sub_explicit(&node->dead_letter_watcher_count, 1, memory_order_relaxed);
}

/* A second's worth of tokens comes in a second, and no more than a burst is kept. */
static bool take_token(const tr__loop *loop, watch *w)
{
    uint64_t come = (loop->now_ns - w->filled_ns) / (TR_SECONDS(1) / A_SECOND);
    if (come) {
        w->filled_ns += come * (TR_SECONDS(1) / A_SECOND);
        w->tokens = come > BURST - w->tokens ? BURST : w->tokens + come;
    }
    if (!w->tokens)
        return false;
    w->tokens--;
    return true;
}

static bool tell_one(tr__loop *loop, uint64_t watcher, const tr_dead_letter *letter)
{
    tr_addr to = {loop->node->id, (uint32_t)watcher, (uint32_t)(watcher >> 32)};
    const tr_typeinfo *info = tr__type_of(&tr_dead_letter_type);
    size_t size = tr__body_size(info, letter);
    uint32_t places = tr__msg_places(size);
    if (tr__reserve(loop, to, &places) != TR_OK)
        return false;
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, size);
    if (!msg) {
        tr__unreserve(loop, to, places);
        return false;
    }
    tr__msg_filled(msg, info);
    tr__body_copy(info, tr__msg_body(msg), letter);
    msg->kind = TR__MSG_NOTICE;
    msg->places = (uint16_t)places;
    tr__submit(loop, to, msg);
    return true;
}

/* Telling may itself drop something (the oldest of a watcher's mailbox): then that is only counted. */
static void tell_watchers(tr__loop *loop, tr_dead_letter *letter)
{
    bool nested = loop->telling_dead_letters;
    loop->telling_dead_letters = true;
    for (uint32_t i = 0; i < TR__DEAD_LETTER_WATCHERS; i++) {
        uint64_t watcher = atomic_load_explicit(&loop->node->dead_letter_watchers[i], memory_order_relaxed);
        watch *w = &loop->dead_letter_watches[i];
        if (w->watcher != watcher)
            *w = (watch){.watcher = watcher, .tokens = BURST, .filled_ns = loop->now_ns};
        if (!watcher)
            continue;
        letter->lost = w->lost;
        if (!nested && take_token(loop, w) && tell_one(loop, watcher, letter))
            w->lost -= letter->lost; /* it may have grown meanwhile */
        else
            w->lost++;
    }
    loop->telling_dead_letters = nested;
}

bool tr__dead_letter(tr__loop *loop, tr_drop why, const char *type, tr_addr sender, tr_addr receiver)
{
    bool logged = log_it(loop, why, type, sender, receiver);
    if (__builtin_expect(
            atomic_load_explicit(&loop->node->dead_letter_watcher_count, memory_order_relaxed) == 0, 1) ||
        loop->stopping)
        return logged;
    tr_dead_letter letter = {.reason = drop_words[why], .type = type, .sender = sender, .receiver = receiver};
    tell_watchers(loop, &letter);
    return logged;
}

void tr__drop(tr__loop *loop, tr_msg *msg, tr_drop why)
{
    tr__drop_for(loop, loop->node->id, msg, why);
}

void tr__drop_for(tr__loop *loop, uint64_t node, tr_msg *msg, tr_drop why)
{
    if (msg->kind == TR__MSG_RECORDS) {
        tr__records_drop(loop, msg, why);
        return;
    }
    /* Nothing is lost: who sent the items has answered, or fails the ask; who unlinked has ended. */
    if (msg->kind == TR__MSG_DEMAND || msg->kind == TR__MSG_UNLINKED) {
        TR__COUNT(loop->counts.handled);
        tr__msg_free(loop, msg);
        return;
    }
    loop->counts.dropped[why] += !(TR_PLANT(dead_letter_uncounted) && why == TR_DROP_NO_ACTOR);
    tr_addr target = {node, msg->to.slot, msg->to.generation};
    if (msg->type != tr__type_of(&tr_dead_letter_type)) /* of one that came too late nobody is told */
        tr__dead_letter(loop, why, tr_msg_type_name(msg), msg->sender, target);
    tr__ring_put(&loop->ring, TR__TRACE_DROP, msg->to.slot, msg->type);
    if (loop->stopping && why == TR_DROP_SHUTDOWN) { /* all others end as well: nobody is left to tell */
        tr__msg_free(loop, msg);
        return;
    }
    tr__reason reason = {.kind = why == TR_DROP_NO_CONNECTION ? TR_EXIT_NO_CONNECTION : TR_EXIT_NO_ACTOR,
                         .code = drop_error(why)};
    if (msg->flags & TR__MSG_BEYOND && (msg->kind <= TR__MSG_ASK || msg->kind == TR__MSG_FORWARD))
        tr__budget_left(loop, msg);
    switch ((tr__msg_kind)msg->kind) {
    case TR__MSG_MOVED:
        tr__moved_lost(loop, node, msg);
        break;
    case TR__MSG_FORWARD:
    case TR__MSG_ASK:
        /* Of one that has expired the asker's own deadline tells. */
        if (loop->stopping || (msg->flags & TR__MSG_ANSWERED) || why == TR_DROP_EXPIRED)
            tr__msg_free(loop, msg);
        else
            tr__fail_ask(loop, msg, node, reason.code);
        break;
    case TR__MSG_STARTED:
        tr__started_failed(loop, msg, &reason);
        break;
    case TR__MSG_EXECUTE:
        if (loop->stopping)
            tr__msg_free(loop, msg);
        else
            tr__transact_lost(loop, msg);
        break;
    case TR__MSG_MONITOR:
        if (TR_PLANT(monitor_late))
            tr__msg_free(loop, msg);
        else
            tr__watch_fire(loop, msg, target, &reason);
        break;
    case TR__MSG_LINK:
        tr__link_fire(loop, msg, target, &reason, why == TR_DROP_NO_CONNECTION ? msg->deadline_ns : 0);
        break;
    case TR__MSG_UNLINK:
        tr__unlinked_tell(loop, target, msg);
        break;
    case TR__MSG_WANT_WRITABLE: /* whoever waits may try again, and learn */
        tr__writable(loop, msg);
        break;
    case TR__MSG_WANT_LEVEL:
        tr__level_lost(loop, msg);
        break;
    default:
        tr__msg_free(loop, msg);
    }
}
