/* Streamed asks between real processes over loopback: each receiver has its own demand, large items go by a lane of their own
 * and keep their place, and kill -9 of either side in the middle is heard on the other. The other nodes are this same
 * program, run with a node's options. Under faults, in the simulator: tests/sim/test_sim_streams.c and the workload
 * core-streams. */
#include "tests/kit/operator_kit.h"

#define LARGE      (1u << 20) /* bytes of one item in a hundred: more than one send takes */
#define STREAMS    8
#define FOR_EVER   UINT64_MAX
#define SLOW_TAKES 3

TR_MESSAGE(count_to, (u64, items))
TR_MESSAGE(counted, (u64, number), (bytes, data))
TR_MESSAGE(total, (u64, items))
TR_MESSAGE(how_many)
TR_MESSAGE(open_are, (u32, streams), (u64, canceled),
           (u64, least)) /* least: items of the one that sent fewest */
TR_MESSAGE(take_for_ever, (string, from))
TR_MESSAGE(taking)

static size_t size_of(uint64_t number)
{
    return number % 100 == 7 ? LARGE : 0;
}

/* ---- who counts ---------------------------------------------------------------------------------------- */

typedef struct source_state {
    struct {
        tr_msg *ask;
        uint64_t sent;
    } streams[STREAMS];
    uint64_t canceled;
} source_state;

/* As far as there is demand. */
static void produce(tr_actor *self, source_state *s, int i)
{
    static const char zeros[LARGE];
    uint64_t items = tr_match(s->streams[i].ask, count_to)->items, *sent = &s->streams[i].sent;
    while (*sent < items && tr_reply_item(self, s->streams[i].ask, counted, .number = *sent,
                                          .data = {zeros, size_of(*sent)}) == TR_OK)
        ++*sent;
    if (*sent < items)
        return;
    tr_reply(self, s->streams[i].ask, total, .items = *sent);
    tr_msg_free(self, &s->streams[i].ask);
}

static int find_stream(const source_state *s, tr_addr asker, uint64_t ask)
{
    int i = 0;
    while (i < STREAMS && !(s->streams[i].ask && tr_msg_ask_number(s->streams[i].ask) == ask &&
                            tr_addr_equal(tr_msg_sender(s->streams[i].ask), asker)))
        i++;
    return i;
}

static void tell(tr_actor *self, const source_state *s, const tr_msg *msg)
{
    open_are is = {.canceled = s->canceled, .least = UINT64_MAX};
    for (int i = 0; i < STREAMS; i++) {
        if (!s->streams[i].ask)
            continue;
        is.streams++;
        is.least = s->streams[i].sent < is.least ? s->streams[i].sent : is.least;
    }
    tr_reply(self, msg, open_are, .streams = is.streams, .canceled = is.canceled, .least = is.least);
}

static void source(tr_actor *self, void *state, const tr_msg *msg)
{
    source_state *s = state;
    const tr_demand *demand = tr_match(msg, tr_demand);
    const tr_canceled *canceled = tr_match(msg, tr_canceled);
    int i = 0;
    if (tr_match(msg, count_to)) {
        while (i < STREAMS - 1 && s->streams[i].ask)
            i++;
        s->streams[i].ask = tr_msg_take(self, msg);
        s->streams[i].sent = 0;
        produce(self, s, i);
    } else if (demand && (i = find_stream(s, demand->asker, demand->ask)) < STREAMS) {
        produce(self, s, i);
    } else if (canceled && (i = find_stream(s, canceled->asker, canceled->ask)) < STREAMS) {
        tr_msg_free(self, &s->streams[i].ask);
        s->canceled++;
    } else if (tr_match(msg, how_many)) {
        tell(self, s, msg);
    }
}
TR_ACTOR(source_def, .receive = source, .state_size = sizeof(source_state));

/* ---- who takes ----------------------------------------------------------------------------------------- */

#define EXPECT(self, condition)                                                                 \
    do {                                                                                        \
        if (!(condition))                                                                       \
            return tr_fail(self, TR_EAPP, "line %d: %s (last error: %s)", __LINE__, #condition, \
                           tr_last_error(self)->text);                                          \
    } while (0)

static tr_err find(tr_actor *self, const char *path, tr_addr *address)
{
    const tr_found *found;
    TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(20)), tr_found, &found));
    *address = found->actor;
    return TR_OK;
}

/* Up to `most` more; *taken counts them. What ended it, or TR_OK. */
static tr_err take(tr_actor *self, tr_future stream, uint64_t most, uint64_t *taken)
{
    const counted *item;
    tr_err err = TR_OK;
    while (most-- && (err = tr_next(self, stream, counted, &item)) == TR_OK) {
        EXPECT(self, item->number == *taken && item->data.size == size_of(*taken));
        ++*taken;
    }
    return err;
}

/* In a process of its own: it takes from there until it is killed. */
static tr_err taker(tr_actor *self, void *arg)
{
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive_type(self, TR_FOREVER, take_for_ever));) {
        tr_addr from;
        uint64_t taken = 0;
        tr_msg *asked = tr_msg_take(self, msg);
        TR_TRY(find(self, tr_match(asked, take_for_ever)->from, &from));
        tr_future stream = tr_ask_stream(self, from, TR_FOREVER, 16, count_to, .items = FOR_EVER);
        TR_TRY(take(self, stream, 500, &taken));
        tr_reply(self, asked, taking);
        tr_msg_free(self, &asked);
        TR_TRY(take(self, stream, FOR_EVER, &taken));
    }
    return TR_OK;
}
TR_ACTOR(taker_def, .run = taker);

static tr_err start(tr_actor *self, void *arg)
{
    (void)arg;
    tr_spawn_with(self, &source_def, NULL, &(tr_spawn_opts){.name = "source"});
    tr_spawn_with(self, &taker_def, NULL, &(tr_spawn_opts){.name = "taker"});
    puts(tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    while (tr_receive(self, TR_FOREVER))
        ;
    return TR_OK;
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

typedef struct others {
    part bob, carol;
    char addresses[2][256];
} others;

static others start_others(void)
{
    others o;
    START(&o.bob, "--name", "bob", "--listen", "127.0.0.1:0");
    strcpy(o.addresses[0], next_line(&o.bob));
    START(&o.carol, "--name", "carol", "--listen", "127.0.0.1:0", "--join", o.addresses[0]);
    strcpy(o.addresses[1], next_line(&o.carol));
    return o;
}

/* Run it on a node that joins both, and fail with its error's text. */
static void run_with(others *o, tr_err (*body)(tr_actor *self, void *arg))
{
    tr_error error = {0};
    const char *join[] = {o->addresses[0], o->addresses[1], NULL};
    tr_node *node = tr_node_create(
        &(tr_node_opts){.name = "alice", .loops = 2, .join = join, .start = body, .arg = o}, &error);
    assert_non_null(node);
    tr_err err = tr_node_run(node, &error);
    tr_node_destroy(node);
    if (err != TR_OK)
        fail_msg("%s", error.text);
}

static tr_err ask_how_many(tr_actor *self, tr_addr of, open_are *is)
{
    const open_are *answer;
    TR_TRY(tr_await(self, tr_ask(self, of, TR_SECONDS(20), how_many), open_are, &answer));
    *is = *answer;
    return TR_OK;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static tr_err take_by_two(tr_actor *self, void *arg)
{
    enum { WINDOW = 4, ITEMS = 5000 };
    tr_addr from;
    const total *t;
    open_are is;
    uint64_t slow_has = 0, fast_has = 0;
    (void)arg;
    TR_TRY(find(self, "bob/source", &from));
    tr_future slow = tr_ask_stream(self, from, TR_FOREVER, WINDOW, count_to, .items = ITEMS);
    TR_TRY(take(self, slow, SLOW_TAKES, &slow_has));
    tr_future fast = tr_ask_stream(self, from, TR_SECONDS(60), WINDOW, count_to, .items = ITEMS);
    EXPECT(self, take(self, fast, FOR_EVER, &fast_has) != TR_OK && fast_has == ITEMS);
    TR_TRY(tr_await(self, fast, total, &t));
    EXPECT(self, t->items == ITEMS);
    TR_TRY(ask_how_many(self, from, &is));
    EXPECT(self, is.streams == 1 && is.least >= SLOW_TAKES && is.least <= SLOW_TAKES + WINDOW);
    EXPECT(self, take(self, slow, FOR_EVER, &slow_has) != TR_OK && slow_has == ITEMS);
    TR_TRY(tr_await(self, slow, total, &t));
    TR_TRY(ask_how_many(self, from, &is));
    EXPECT(self, is.streams == 0 && is.canceled == 0);
    return TR_OK;
}

static void each_taker_has_its_own_demand_and_holds_up_no_other(void **state)
{
    others o = start_others();
    (void)state;
    run_with(&o, take_by_two);
    node_end(&o.bob, SIGTERM);
    node_end(&o.carol, SIGTERM);
}

static tr_err take_and_kill(tr_actor *self, void *arg)
{
    others *o = arg;
    tr_addr from;
    uint64_t taken = 0;
    TR_TRY(find(self, "bob/source", &from));
    tr_future stream = tr_ask_stream(self, from, TR_FOREVER, 16, count_to, .items = FOR_EVER);
    TR_TRY(take(self, stream, 1000, &taken));
    kill(o->bob.pid, SIGKILL);
    take(self, stream, FOR_EVER, &taken); /* what had come, in order */
    EXPECT(self, tr_await_msg(self, stream, NULL) == TR_ENOCONN);
    EXPECT(self, taken >= 1000);
    TR_TRY(find(self, "carol/source", &from)); /* another connection is none the worse */
    taken = 0;
    stream = tr_ask_stream(self, from, TR_SECONDS(60), 16, count_to, .items = 300);
    EXPECT(self, take(self, stream, FOR_EVER, &taken) != TR_OK && taken == 300);
    return tr_await_msg(self, stream, NULL);
}

static void who_takes_hears_when_the_senders_process_is_killed(void **state)
{
    others o = start_others();
    (void)state;
    run_with(&o, take_and_kill);
    node_end(&o.bob, SIGKILL);
    node_end(&o.carol, SIGTERM);
}

static tr_err kill_who_takes(tr_actor *self, void *arg)
{
    others *o = arg;
    tr_addr from, takes;
    open_are is;
    TR_TRY(find(self, "bob/source", &from));
    TR_TRY(find(self, "carol/taker", &takes));
    TR_TRY(
        tr_await_msg(self, tr_ask(self, takes, TR_SECONDS(20), take_for_ever, .from = "bob/source"), NULL));
    TR_TRY(ask_how_many(self, from, &is));
    EXPECT(self, is.streams == 1 && is.canceled == 0);
    kill(o->carol.pid, SIGKILL);
    for (int i = 0; i < 2000 && is.streams; i++) {
        TR_TRY(tr_sleep(self, TR_MILLIS(10)));
        TR_TRY(ask_how_many(self, from, &is));
    }
    EXPECT(self, is.streams == 0 && is.canceled == 1);
    return TR_OK;
}

static void who_sends_hears_when_the_takers_process_is_killed(void **state)
{
    others o = start_others();
    (void)state;
    run_with(&o, kill_who_takes);
    node_end(&o.bob, SIGTERM);
    node_end(&o.carol, SIGKILL);
}

OPERATOR_MAIN(start, TEST(each_taker_has_its_own_demand_and_holds_up_no_other),
              TEST(who_takes_hears_when_the_senders_process_is_killed),
              TEST(who_sends_hears_when_the_takers_process_is_killed))
