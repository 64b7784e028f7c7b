/* Dead letters: tr__drop() is the one place where a message is lost. It counts by reason, reports, and answers who waits.
 * The thread of the loop that finds it can't be delivered; nothing fails. */
#include <troupe/troupe.h>

#include "actors/loop.h"
#include "actors/pending.h"
#include "actors/transactions.h"
#include "base/plant.h"

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
    default:
        return TR_ENOACTOR;
    }
}

/* At most one line a second, loop and reason; the others are counted into the next one. */
static void log_it(tr__loop *loop, tr_drop why, const char *type, tr_addr sender, tr_addr receiver)
{
    uint64_t *logged = &loop->dead_letters_logged_ns[why], *silent = &loop->dead_letters_silent[why];
    if (loop->node->log_level < TR_LOG_DEBUG || (loop->now_ns - *logged < TR_SECONDS(1) && *logged)) {
        ++*silent;
        return;
    }
    char from[TR_ADDR_TEXT_MAX], to[TR_ADDR_TEXT_MAX];
    tr__addr_format(sender, from);
    tr__addr_format(receiver, to);
    tr__node_log(loop->node, TR_LOG_DEBUG,
                 "dead letter (%s): a %s from %s to %s; %llu more since the last such line", drop_words[why],
                 type, from, to, (unsigned long long)*silent);
    *logged = loop->now_ns;
    *silent = 0;
}

void tr__dead_letter(tr__loop *loop, tr_drop why, const char *type, tr_addr sender, tr_addr receiver)
{
    log_it(loop, why, type, sender, receiver);
}

void tr__drop(tr__loop *loop, tr_msg *msg, tr_drop why)
{
    tr__drop_for(loop, loop->node->id, msg, why);
}

void tr__drop_for(tr__loop *loop, uint64_t node, tr_msg *msg, tr_drop why)
{
    loop->counts.dropped[why] += !(TR_PLANT(dead_letter_uncounted) && why == TR_DROP_NO_ACTOR);
    tr_addr target = {node, msg->to.slot, msg->to.generation};
    tr__dead_letter(loop, why, tr_msg_type_name(msg), msg->sender, target);
    tr__ring_put(&loop->ring, TR__TRACE_DROP, msg->to.slot, msg->type);
    if (loop->stopping && why == TR_DROP_SHUTDOWN) { /* all others end as well: nobody is left to tell */
        tr__msg_free(loop, msg);
        return;
    }
    tr__reason reason = {.kind = why == TR_DROP_NO_CONNECTION ? TR_EXIT_NO_CONNECTION : TR_EXIT_NO_ACTOR,
                         .code = drop_error(why)};
    switch ((tr__msg_kind)msg->kind) {
    case TR__MSG_MOVED:
        tr__moved_arrived(loop, NULL, msg);
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
        tr__link_fire(loop, msg, target, &reason);
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
