/* A shop with four troubles, for docs/debugging.md: a clerk who forgets an order, a teller who is too slow, a thinker who
 * keeps everybody waiting, and one who falls over. */
#include <stdio.h>
#include <time.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

TR_MESSAGE(order, (string, what))
TR_MESSAGE(coin, (u32, number))
TR_MESSAGE(next_coin)
TR_MESSAGE(think, (u32, ms))
TR_MESSAGE(fall_over, (string, why))

/* Keeps each order, to answer it later; and never does. */
static void clerk(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, order))
        tr_msg_take(self, msg);
}
TR_ACTOR(clerk_def, .receive = clerk);

static tr_err customer(tr_actor *self, void *arg)
{
    (void)arg;
    return tr_await_msg(self, tr_ask(self, tr_whereis(self, "clerk"), TR_FOREVER, order, .what = "tea"),
                        NULL);
}
TR_ACTOR(customer_def, .run = customer);

static void busy_for(uint32_t ms)
{
    struct timespec now, end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += (long)(ms % 1000) * 1000000;
    end.tv_sec += ms / 1000 + end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
}

/* A coin takes him 3 ms, and one comes every 10 ms. */
static void teller(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state;
    if (tr_match(msg, coin))
        busy_for(3);
}
TR_ACTOR(teller_def, .receive = teller, .mailbox_places = 16);

static void till(tr_actor *self, void *state, const tr_msg *msg)
{
    uint32_t *number = state;
    if (tr_match(msg, next_coin))
        tr_send(self, tr_whereis(self, "teller"), coin, .number = (*number)++); /* refused when he has 16 */
    tr_after(self, TR_MILLIS(10), next_coin);
}
TR_ACTOR(till_def, .receive = till, .state_size = sizeof(uint32_t));

/* Computes in its handler: the loop's other actors wait for it. */
static void thinker(tr_actor *self, void *state, const tr_msg *msg)
{
    const think *t = tr_match(msg, think);
    (void)self, (void)state;
    if (t)
        busy_for(t->ms);
}
TR_ACTOR(thinker_def, .receive = thinker);

static volatile int *nowhere;

static void faller(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state;
    if (tr_match(msg, fall_over))
        *nowhere = 1;
}
TR_ACTOR(faller_def, .receive = faller);

static tr_err start(tr_actor *self, void *arg)
{
    static const struct {
        const char *name;
        const tr_actor_def *def;
    } all[] = {{"clerk", &clerk_def}, {"customer", &customer_def}, {"teller", &teller_def},
               {"till", &till_def},   {"thinker", &thinker_def},   {"faller", &faller_def}};
    (void)arg;
    for (size_t i = 0; i < TR_COUNT(all); i++)
        tr_spawn_with(self, all[i].def, NULL, &(tr_spawn_opts){.name = all[i].name});
    tr_send(self, tr_whereis(self, "till"), next_coin);
    puts("the shop is open");
    fflush(stdout);
    while (tr_receive(self, TR_FOREVER))
        ;
    return TR_OK;
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
