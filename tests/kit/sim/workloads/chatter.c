/* Five nodes with twenty actors each, who say ten words a second to any of the hundred: plain load, as the simulator's
 * speed is measured by. What must hold is what holds of every run (check.c), and that all hear each other after healing. */
#include <stdio.h>

#include <troupe/troupe.h>

#include "tests/kit/sim/workloads/list.h"

#define NODES  5
#define ACTORS 20
#define PAUSE  TR_MILLIS(100)

TR_MESSAGE(chatter_word, (u32, from), (u32, number))
TR_MESSAGE(chatter_tick)
TR_MESSAGE(chatter_hello)
TR_MESSAGE(chatter_found, (u32, whom))

typedef struct talker {
    uint32_t number, said;
    tr_addr others[NODES * ACTORS];
    bool asked[NODES * ACTORS];
} talker;

static void name_of(uint32_t number, char name[TR_NAME_MAX])
{
    snprintf(name, TR_NAME_MAX, "n%u/talker-%u", number / ACTORS, number % ACTORS);
}

static tr_err talker_init(tr_actor *self, void *state, const void *arg)
{
    talker *t = state;
    t->number = (uint32_t)(uintptr_t)arg;
    return tr_after(self, tr_random(self) % PAUSE, chatter_tick).id ? TR_OK : TR_ENOMEM;
}

static void found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    talker *t = state;
    uint32_t whom = (uint32_t)(uintptr_t)context;
    const tr_found *answer = result->msg ? tr_match(result->msg, tr_found) : NULL;
    (void)self;
    t->asked[whom] = false;
    t->others[whom] = answer ? answer->actor : TR_ADDR_NONE;
}

static void say(tr_actor *self, talker *t)
{
    char name[TR_NAME_MAX];
    uint32_t whom = (uint32_t)(tr_random(self) % (NODES * ACTORS));
    if (!tr_addr_is_none(t->others[whom])) {
        tr_err err = tr_send(self, t->others[whom], chatter_word, .from = t->number, .number = ++t->said);
        tr_sometimes(self, err == TR_OK, "a word is accepted");
        if (err != TR_OK)
            t->others[whom] = TR_ADDR_NONE;
    } else if (!t->asked[whom]) {
        name_of(whom, name);
        t->asked[whom] =
            tr_then(self, tr_lookup(self, name, TR_SECONDS(1)), found, (void *)(uintptr_t)whom) == TR_OK;
    }
}

static void talker_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    talker *t = state;
    if (tr_match(msg, chatter_tick)) {
        say(self, t);
        (void)tr_after(self, PAUSE, chatter_tick);
    } else if (tr_match(msg, chatter_hello)) {
        (void)tr_reply(self, msg, chatter_hello);
    }
}

static const tr_actor_def talker_def = {
    .name = "talker", .state_size = sizeof(talker), .init = talker_init, .receive = talker_receive};

static tr_err start(tr_actor *self, uint32_t index)
{
    for (uint32_t i = 0; i < ACTORS; i++) {
        char name[TR_NAME_MAX];
        const void *number = (const void *)(uintptr_t)(index * ACTORS + i);
        snprintf(name, sizeof(name), "talker-%u", i);
        while (tr_await_msg(self, tr_spawn_ask(self, &talker_def, number, &(tr_spawn_opts){.name = name}),
                            NULL) != TR_OK)
            TR_TRY(tr_sleep(self, PAUSE)); /* no memory just now */
    }
    return TR_OK;
}

static tr_err check(tr_actor *self)
{
    for (uint32_t i = 0; i < NODES * ACTORS; i++) {
        const tr_found *found_one;
        char name[TR_NAME_MAX];
        name_of(i, name);
        TR_TRY(tr_await(self, tr_lookup(self, name, TR_SECONDS(5)), tr_found, &found_one));
        TR_TRY(tr_await_msg(self, tr_ask(self, found_one->actor, TR_SECONDS(5), chatter_hello), NULL));
    }
    return TR_OK;
}

const tr_scenario sim_chatter = {
    .size = sizeof(tr_scenario), .name = "chatter", .nodes = NODES, .start = start, .check = check};
