/* Monitors of names: tr_monitor_name. Each is an actor of its own, on the watcher's loop if it can, that looks the name up,
 * monitors who has it, and tells the watcher; it ends with the watcher, or when the monitor is taken back.
 *
 *     SEEKING ──the look-up found somebody──► HELD ──that one is down──► SEEKING
 *
 * Of a name in the cluster it asks the warden each time for who has it next, since there one can lose it and live (claims.h).
 *
 * What it couldn't tell (a full mailbox, no memory) it tells later: that somebody has the name only if that is still so;
 * that one has lost it, of each who was told to have it, also if it has the name again (its node was out of reach). */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/names/claims.h"
#include "actors/send.h"

#define SEEK  TR_SECONDS(10) /* a look-up; then the next one */
#define RETRY TR_MILLIS(20)

TR_MESSAGE(tr__name_watch_arg, (string, path), (addr, watcher), (u64, number))
TR_MESSAGE(tr__name_watch_retry)

typedef struct name_watch {
    char path[2 * TR_NAME_MAX];
    tr_addr watcher;
    uint64_t number, watcher_monitor;
    tr_addr holder, told; /* none: nobody */
    uint64_t holder_monitor;
    uint64_t known; /* of a claim: tr__claimed */
    bool seeking;
    bool lost; /* `told` has lost it since, and isn't told so yet, even if it has it again */
    char reason[TR__REASON_TEXT];
    tr__pending *tick;
} name_watch;

static bool tell(tr_actor *self, const name_watch *w, bool up, tr_addr actor)
{
    tr_name_event event = {
        .name = w->path, .monitor = w->number, .up = up, .actor = actor, .reason = up ? "" : w->reason};
    return tr__send_notice(self, w->watcher, &tr_name_event_type, &event) == TR_OK;
}

static void found(tr_actor *self, void *state, const tr_result *result, void *context);
static void changed(tr_actor *self, void *state, const tr_result *result, void *context);

/* Have found or changed called. */
static void seek(tr_actor *self, name_watch *w)
{
    bool claim = tr__is_of_cluster(w->path);
    if (w->seeking || (!claim && !tr_addr_is_none(w->holder)))
        return;
    tr_future future = claim ? tr_ask(self, tr__owner(self)->node->warden, TR_FOREVER, tr__await_claim,
                                      .name = w->path + 2, .known = w->known)
                             : tr_lookup(self, w->path, SEEK);
    w->seeking = future.id && tr_then(self, future, claim ? changed : found, NULL) == TR_OK;
    if (!w->seeking)
        tr__tick_set(tr__owner(self), w->tick, RETRY);
}

/* Without memory for it later: it goes on meanwhile. */
static void watch_watcher(tr_actor *self, name_watch *w)
{
    if (!w->watcher_monitor && !(w->watcher_monitor = tr_monitor(self, w->watcher)))
        tr__tick_set(tr__owner(self), w->tick, RETRY);
}

static void go_on(tr_actor *self, name_watch *w)
{
    watch_watcher(self, w);
    w->lost = !tr_addr_is_none(w->told) && (w->lost || !tr_addr_equal(w->told, w->holder));
    if (w->lost && tell(self, w, false, w->told)) {
        w->told = TR_ADDR_NONE;
        w->lost = false;
    }
    if (tr_addr_is_none(w->told) && !tr_addr_is_none(w->holder) && tell(self, w, true, w->holder))
        w->told = w->holder;
    if (w->lost || !tr_addr_equal(w->told, w->holder))
        tr__tick_set(tr__owner(self), w->tick, RETRY);
    seek(self, w);
}

static void found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    name_watch *w = state;
    const tr_found *f = result->msg ? tr_match(result->msg, tr_found) : NULL;
    (void)context;
    w->seeking = false;
    if (f && (w->holder_monitor = tr_monitor(self, f->actor)))
        w->holder = f->actor;
    if (result->err == TR_OK || result->err == TR_EDEADLINE)
        go_on(self, w);
    else /* too many look-ups, no memory: not at once again */
        tr__tick_set(tr__owner(self), w->tick, RETRY);
}

static void changed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    name_watch *w = state;
    const tr__claimed *c = result->msg ? tr_match(result->msg, tr__claimed) : NULL;
    (void)context;
    w->seeking = false;
    if (c) {
        w->known = c->known;
        w->holder = c->actors.count ? c->actors.data[0] : TR_ADDR_NONE;
        snprintf(w->reason, sizeof(w->reason), "%s", c->reason);
        go_on(self, w);
    } else {
        tr__tick_set(tr__owner(self), w->tick, RETRY);
    }
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    name_watch *w = state;
    const tr_down *d = tr_match(msg, tr_down);
    if (d && d->monitor == w->watcher_monitor) {
        if (!tr__may_run(d)) {
            tr_exit(self, TR_OK, "nobody wants to know any more");
            return;
        }
        w->watcher_monitor = 0;
    } else if (d && d->monitor == w->holder_monitor) {
        w->lost = !tr_addr_is_none(w->told);
        w->holder = TR_ADDR_NONE;
        w->holder_monitor = 0;
        snprintf(w->reason, sizeof(w->reason), "%s", d->text);
    } else if (tr_match(msg, tr__name_watch_retry)) {
        tr__tick_back(tr__owner(self), w->tick);
    }
    go_on(self, w);
}

/* What it needs besides its state; false: no memory. */
static bool equip(tr_actor *self, name_watch *w)
{
    w->tick = tr__tick_make(tr__owner(self), self, &tr__name_watch_retry_type);
    w->watcher_monitor = w->tick ? tr_monitor(self, w->watcher) : 0;
    return w->watcher_monitor != 0;
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    name_watch *w = state;
    const tr__name_watch_arg *a = arg;
    bool called_here = !tr_addr_is_none(w->watcher);
    snprintf(w->path, sizeof(w->path), "%s", a->path);
    w->watcher = a->watcher;
    w->number = a->number;
    if (!called_here)
        equip(self, w);
    if (called_here ? !w->watcher_monitor : !w->tick) {
        if (!called_here) /* the call has said that all is well */
            tr_log(self, TR_LOG_ERROR, "no memory to watch the name %s: who asked for it won't hear of it",
                   w->path);
        return TR_ENOMEM;
    }
    go_on(self, w);
    return TR_OK;
}

static const tr_actor_def name_watch_def = {.name = "name-watch",
                                            .state_size = sizeof(name_watch),
                                            .arg_type = &tr__name_watch_arg_type,
                                            .init = init,
                                            .receive = receive};

static tr_addr start(tr_actor *self, const tr__name_watch_arg *arg)
{
    static const tr_spawn_opts here = {.place = TR_PLACE_HERE};
    tr__loop *loop = tr__owner(self);
    uint8_t before = loop->spawning;
    loop->spawning = TR__SYSTEM; /* it ends with its watcher */
    tr_addr watch = tr_spawn_with(self, &name_watch_def, arg, loop->exclusive ? NULL : &here);
    loop->spawning = before;
    return watch;
}

/* All that the watch needs is made with the call: nobody would miss one that failed later. From a thread of the watcher's own
 * it goes elsewhere, and makes it there. */
uint64_t tr_monitor_name(tr_actor *self, const char *path)
{
    tr__loop *loop = tr__owner(self);
    size_t length = path ? strlen(path) : 0;
    if (length == 0 || length >= 2 * TR_NAME_MAX) {
        tr__self_fail(self, TR_EINVAL, "tr_monitor_name: \"node/name\" or \"name\" is needed");
        return 0;
    }
    tr__name_watch_arg arg = {.path = path, .watcher = tr__addr_of(self), .number = ++loop->next_number};
    tr_addr watch = start(self, &arg);
    if (tr_addr_is_none(watch))
        return 0;
    tr_actor *here = loop->exclusive ? NULL : tr__slot(loop->node, watch.slot);
    name_watch *w = here ? here->state_block : NULL;
    if (w)
        w->watcher = arg.watcher;
    bool noted = tr__own_monitor_add(self, arg.number, watch, true);
    if (noted && (!w || equip(here, w)))
        return arg.number;
    if (noted) {
        tr_demonitor(self, arg.number);
        tr__self_fail(self, TR_ENOMEM, "no memory for a monitor of a name");
    } else if (!w) {
        tr_stop(self, watch, TR_EXIT_KILLED); /* else its init ends it */
    }
    return 0;
}
