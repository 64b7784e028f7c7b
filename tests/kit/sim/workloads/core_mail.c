/* Mailboxes of every policy: beings flood each other's small ones with numbered notes, some with little time to live; they
 * shut, and set aside what comes until they open again; they end, and come again. What arrives keeps its order, and what is
 * missing was counted. */
#include <string.h>

#include "tests/kit/sim/workloads/core.h"
#include "tests/kit/sim/workloads/list.h"

TR_MESSAGE(mail_tick)

typedef struct mail {
    core_being *being;
    bool shut;
} mail;

static uint64_t any_ttl(tr_actor *self)
{
    return tr_random(self) % 3 ? 0 : 1 + tr_random(self) % TR_MILLIS(100);
}

static void flood(tr_actor *self, const mail *m)
{
    const core_being *to = core_any(self, NULL, true);
    uint64_t count = tr_random(self) % 8 ? 1 + tr_random(self) % 3 : 30;
    for (uint64_t i = 0; to && i < count; i++) {
        uint64_t ttl = any_ttl(self);
        core_note_send_for(self, m->being, to, tr_random(self) % 3000, ttl);
    }
}

static void open_up(tr_actor *self, mail *m)
{
    m->shut = false;
    tr_undefer(self);
}

static void tick(tr_actor *self, mail *m)
{
    m->being->ticked = sim_now_running->now;
    if (core.phase != CORE_BUSY) {
        open_up(self, m);
        m->being->last_done = true;
    } else if (tr_random(self) % 300 == 0) {
        core_exit(self, m->being, tr_random(self) % 2 ? TR_OK : TR_EAPP);
    } else {
        flood(self, m);
        if (m->shut && tr_random(self) % 3 == 0)
            open_up(self, m);
        else if (tr_random(self) % 10 == 0)
            m->shut = true;
    }
    if (core.phase == CORE_QUIET)
        return;
    if (!tr_after(self, TR_MILLIS(1) + tr_random(self) % TR_MILLIS(60), mail_tick).id)
        core_exit(self, m->being, TR_ENOMEM);
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    mail *m = state;
    m->being = core_born(self, (uint32_t)(uintptr_t)arg);
    m->being->lossy = true;
    if (!tr_after(self, tr_random(self) % TR_MILLIS(50), mail_tick).id)
        core_exit(self, m->being, TR_ENOMEM);
    return TR_OK;
}

/* What can't be set aside is taken: then nothing is aside. */
static bool is_deferred(tr_actor *self, const mail *m, const tr_msg *msg)
{
    bool deferred = m->shut && core_is_note(msg) && tr_defer(self, msg) == TR_OK;
    tr_sometimes(self, deferred, "a note is set aside");
    return deferred;
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    mail *m = state;
    if (is_deferred(self, m, msg))
        return;
    if (tr_match(msg, mail_tick))
        tick(self, m);
    else if (!core_note_take(m->being, self, msg))
        core_wrong("being %u got a %s", m->being->number, tr_msg_type_name(msg));
}

static void stop(tr_actor *self, void *state)
{
    (void)self;
    core_ended(((mail *)state)->being);
}

#define MAIL(policy)                                                                                \
    {                                                                                               \
        .name = "mail", .state_size = sizeof(mail), .init = init, .receive = receive, .stop = stop, \
        .mailbox_places = 12, .overflow = (policy)                                                  \
    }
static const tr_actor_def refuses = MAIL(TR_OVERFLOW_REFUSE), drops_oldest = MAIL(TR_OVERFLOW_DROP_OLDEST),
                          drops_newest = MAIL(TR_OVERFLOW_DROP_NEWEST), lets_wait = MAIL(TR_OVERFLOW_WAIT);

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_actor_def *const defs[] = {&refuses, &drops_oldest, &drops_newest, &lets_wait};
    return core_keep(self, index, defs, TR_COUNT(defs));
}

static tr_err check(tr_actor *self)
{
    return core_check(self, NULL, NULL);
}

const tr_scenario sim_core_mail = {.size = sizeof(tr_scenario),
                                   .name = "core-mail",
                                   .nodes = 3,
                                   .run_ns = TR_SECONDS(6),
                                   .start = start,
                                   .check = check};
