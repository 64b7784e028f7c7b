/* Everybody sends everybody confirmed numbers. Each node has a `till`, and for each other node a `payer` that finds its till
 * and sends it 1, 2, 3 and so on, several at a time. What must hold: a till gets a payer's numbers one after another, none
 * missing and none twice, whatever became of connections; what was confirmed has come; and a payer is told of a failure only
 * if the till's process has ended. */
#include <stdio.h>

#include <troupe/troupe.h>

#include "tests/scenarios/list.h"

#define NODES      3
#define PAYERS_MAX 64 /* that a till remembers: of lives of other nodes */
#define EVERY      TR_MILLIS(5)
#define AT_A_TIME  30
#define WITHIN     TR_MINUTES(5) /* longer than any run */
#define PATIENCE   TR_SECONDS(20)
#define ENOUGH     50 /* numbers that get through in any run */

TR_MESSAGE(pay_number, (u64, number))
TR_MESSAGE(pay_to, (u32, node))
/* To a till: how far did that payer come? */
TR_MESSAGE(pay_heard, (addr, payer))
TR_MESSAGE(pay_heard_is, (u64, last), (u64, wrong))
/* To a payer: what was it told? */
TR_MESSAGE(pay_told)
TR_MESSAGE(pay_told_is, (addr, payer), (addr, till), (u64, confirmed), (u64, failed), (u64, wrong))

/* ---- who is paid ---------------------------------------------------------------------------------------- */

typedef struct paid {
    tr_addr payer;
    uint64_t last;
} paid;

typedef struct till_state {
    paid by[PAYERS_MAX];
    uint32_t payers;
    uint64_t wrong;
} till_state;

/* The oldest is forgotten when there are too many. */
static paid *paid_by(till_state *state, tr_addr payer)
{
    for (uint32_t i = 0; i < PAYERS_MAX; i++)
        if (tr_addr_equal(state->by[i].payer, payer))
            return &state->by[i];
    paid *place = &state->by[state->payers++ % PAYERS_MAX];
    *place = (paid){.payer = payer};
    return place;
}

static void till(tr_actor *self, void *state, const tr_msg *msg)
{
    till_state *t = state;
    const pay_number *n = tr_match(msg, pay_number);
    const pay_heard *h = tr_match(msg, pay_heard);
    if (n) {
        paid *by = paid_by(t, tr_msg_sender(msg));
        bool holds = n->number == by->last + 1;
        tr_always(self, holds, "confirmed numbers come one after another, none missing and none twice");
        t->wrong += !holds;
        by->last = n->number;
    }
    if (h)
        tr_reply(self, msg, pay_heard_is, .last = paid_by(t, h->payer)->last, .wrong = t->wrong);
}
/* Few places: that it is full now and then is nothing to a payer. */
TR_ACTOR(till_def, .receive = till, .state_size = sizeof(till_state), .mailbox_places = 8);

/* ---- who pays ------------------------------------------------------------------------------------------- */

typedef struct payer {
    tr_actor *self;
    const char *path;
    tr_addr till; /* none: to be found */
    uint64_t sent, confirmed, outstanding, failed, wrong;
} payer;

static void find(payer *p)
{
    const tr_found *found;
    if (tr_await(p->self, tr_lookup(p->self, p->path, TR_SECONDS(1)), tr_found, &found) == TR_OK) {
        p->till = found->actor;
        p->sent = p->confirmed = 0;
    }
}

static void pay(payer *p)
{
    while (p->outstanding < AT_A_TIME) {
        tr_future future = tr_send_confirmed(p->self, p->till, WITHIN, pay_number, .number = p->sent + 1);
        if (!future.id || tr_pipe(p->self, future, p->sent + 1) != TR_OK)
            return;
        p->sent++;
        p->outstanding++;
    }
}

static void told(payer *p, const tr_msg *msg, uint64_t number)
{
    const tr_settled *settled = tr_match(msg, tr_settled);
    bool holds =
        settled ? settled->code == TR_ERESET || settled->code == TR_ENOACTOR : number == p->confirmed + 1;
    tr_always(p->self, holds, "numbers are confirmed in order, or their till has ended");
    p->wrong += !holds;
    p->outstanding--;
    if (settled) {
        tr_log(p->self, TR_LOG_INFO, "%s, number %llu: %s", p->path, (unsigned long long)number,
               settled->text);
        p->failed++;
        p->till = TR_ADDR_NONE;
    } else {
        p->confirmed = number;
    }
}

static void hear(payer *p, const tr_msg *msg)
{
    if (tr_msg_tag(msg))
        told(p, msg, tr_msg_tag(msg));
    else if (tr_match(msg, pay_told))
        tr_reply(p->self, msg, pay_told_is, .payer = tr_self(p->self), .till = p->till,
                 .confirmed = p->confirmed, .failed = p->failed, .wrong = p->wrong);
}

static tr_err run(tr_actor *self, void *arg)
{
    char path[16];
    const pay_to *to = arg;
    payer p = {.self = self, .path = path};
    snprintf(path, sizeof(path), "n%u/till", to->node);
    for (;;) {
        if (!tr_addr_is_none(p.till))
            pay(&p);
        else if (!p.outstanding)
            find(&p);
        const tr_msg *msg = tr_receive(self, EVERY);
        if (!msg && tr_last_error(self)->code == TR_EKILLED)
            return TR_OK;
        if (msg)
            hear(&p, msg);
    }
}
TR_ACTOR(payer_def, .run = run, .arg_type = &pay_to_type);

static tr_err start(tr_actor *self, uint32_t index)
{
    if (tr_addr_is_none(tr_spawn_with(self, &till_def, NULL, &(tr_spawn_opts){.name = "till"})))
        return tr_last_error(self)->code;
    for (uint32_t i = 0; i < NODES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "payer-%u", i);
        if (i != index && tr_addr_is_none(tr_spawn_with(self, &payer_def, &(pay_to){.node = i},
                                                        &(tr_spawn_opts){.name = name})))
            return tr_last_error(self)->code;
    }
    return TR_OK;
}

/* ---- what must hold ------------------------------------------------------------------------------------- */

static tr_err found(tr_actor *self, const char *path, tr_addr *out)
{
    const tr_found *answer;
    tr_err err = tr_await(self, tr_lookup(self, path, TR_SECONDS(4)), tr_found, &answer);
    *out = err == TR_OK ? answer->actor : TR_ADDR_NONE;
    return err;
}

/* The payer from `at` to `to` pays the till that is there, and gets through to it. TR_EAGAIN: not yet. */
static tr_err check_one(tr_actor *self, uint32_t at, uint32_t to, bool may_fail)
{
    const pay_told_is *answer;
    const pay_heard_is *heard;
    tr_addr payer_is, till_is;
    char payer_path[24], till_path[24];
    snprintf(payer_path, sizeof(payer_path), "n%u/payer-%u", at, to);
    snprintf(till_path, sizeof(till_path), "n%u/till", to);
    if (found(self, payer_path, &payer_is) != TR_OK || found(self, till_path, &till_is) != TR_OK ||
        tr_await(self, tr_ask(self, payer_is, TR_SECONDS(4), pay_told), pay_told_is, &answer) != TR_OK)
        return tr_fail(self, TR_EAGAIN, "n%u's payer to n%u isn't there", at, to);
    pay_told_is told_is = *answer;
    if (!tr_addr_equal(told_is.till, till_is) || told_is.confirmed < ENOUGH)
        return tr_fail(self, TR_EAGAIN, "n%u doesn't get through to n%u's till", at, to);
    if (tr_await(self, tr_ask(self, till_is, TR_SECONDS(4), pay_heard, .payer = payer_is), pay_heard_is,
                 &heard) != TR_OK)
        return tr_fail(self, TR_EAGAIN, "n%u's till doesn't answer", to);
    if (told_is.wrong + heard->wrong > 0 || heard->last < told_is.confirmed)
        return tr_fail(self, TR_EAPP,
                       "n%u to n%u: a number was lost, came twice, or wasn't confirmed in order", at, to);
    if (told_is.failed && !may_fail)
        return tr_fail(self, TR_EAPP, "n%u to n%u: %u numbers failed, and the till lives", at, to,
                       (unsigned)told_is.failed);
    return TR_OK;
}

static tr_err check_all(tr_actor *self, uint32_t killed)
{
    uint64_t until = tr_now(self) + PATIENCE;
    for (uint32_t pair = 0; pair < NODES * NODES; pair++) {
        uint32_t at = pair / NODES, to = pair % NODES;
        tr_err err = at == to ? TR_OK : check_one(self, at, to, to == killed);
        if (err == TR_EAGAIN && tr_now(self) < until) {
            TR_TRY(tr_sleep(self, TR_MILLIS(100)));
            pair--;
        } else if (err != TR_OK) {
            return err;
        }
    }
    return TR_OK;
}

static tr_err check_none_ended(tr_actor *self)
{
    return check_all(self, NODES);
}

static tr_err check_n1_was_killed(tr_actor *self)
{
    return check_all(self, 1);
}

const tr_scenario scenario_confirmed = {.size = sizeof(tr_scenario),
                                        .name = "confirmed",
                                        .nodes = NODES,
                                        .run_ns = TR_SECONDS(3),
                                        .start = start,
                                        .check = check_none_ended};
const tr_scenario scenario_confirmed_killed = {.size = sizeof(tr_scenario),
                                               .name = "confirmed-killed",
                                               .nodes = NODES,
                                               .run_ns = TR_SECONDS(3),
                                               .start = start,
                                               .check = check_n1_was_killed};
