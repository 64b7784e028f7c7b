/* See manual.h. One thread; a broken expectation fails the running cmocka test. */
#include "tests/kit/manual.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/adapter.h"
#include "actors/futures/pending.h"
#include "mailbox/buffer.h"
#include "tests/kit/memory_log.h"

#define TURNS_MAX 1000000

/* The order to a puppet: a function and its argument, as numbers. */
TR_MESSAGE(manual_order_msg, (u64, fn), (u64, context))

/* ---- the puppet ---------------------------------------------------------------------------------------- */

typedef struct puppet_state {
    manual_puppet *puppet;
} puppet_state;

void manual_note(manual_puppet *puppet, const char *format, ...)
{
    size_t length = strlen(puppet->trail);
    va_list args;
    va_start(args, format);
    int added = vsnprintf(puppet->trail + length, sizeof(puppet->trail) - length, format, args);
    va_end(args);
    assert_true(added >= 0 && length + (size_t)added + 1 < sizeof(puppet->trail));
    strcat(puppet->trail, " ");
}

manual_puppet *manual_self(tr_actor *self)
{
    return ((puppet_state *)tr_state(self))->puppet;
}

const char *manual_exit_word(uint32_t kind)
{
    static const char *const words[] = {"normal",        "shutdown", "killed",        "error",   "crashed",
                                        "no-connection", "overrun",  "out-of-memory", "no-actor"};
    return kind < TR_COUNT(words) ? words[kind] : "?";
}

static tr_err puppet_init(tr_actor *self, void *state, const void *arg)
{
    manual_puppet *puppet = (manual_puppet *)arg;
    ((puppet_state *)state)->puppet = puppet;
    if (puppet->init_error)
        return tr_fail(self, puppet->init_error, "the puppet's init was told to fail");
    manual_note(puppet, "init");
    return TR_OK;
}

static void puppet_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    manual_puppet *puppet = ((puppet_state *)state)->puppet;
    const manual_order_msg *order;
    const mark *m;
    const blob *b;
    const tr_down *down;
    const tr_exited *exited;
    if ((order = tr_match(msg, manual_order_msg))) {
        ((manual_fn)(uintptr_t)order->fn)(self, (void *)(uintptr_t)order->context);
        return;
    }
    if ((m = tr_match(msg, mark)))
        manual_note(puppet, "%llu", (unsigned long long)m->n);
    else if ((b = tr_match(msg, blob)))
        manual_note(puppet, "%llu", (unsigned long long)b->n);
    else if ((down = tr_match(msg, tr_down)))
        manual_note(puppet, "down:%s", manual_exit_word(down->kind));
    else if ((exited = tr_match(msg, tr_exited)))
        manual_note(puppet, "exited:%s", manual_exit_word(exited->kind));
    else if (tr_match(msg, tr_writable))
        manual_note(puppet, "writable");
    else if (tr_match(msg, tr_canceled))
        manual_note(puppet, "canceled");
    else
        manual_note(puppet, "%s", tr_msg_type_name(msg));
    if (puppet->on)
        puppet->on(self, puppet, msg);
}

static void puppet_stop(tr_actor *self, void *state)
{
    manual_puppet *puppet = ((puppet_state *)state)->puppet;
    manual_note(puppet, "stop");
    if (puppet->on_stop)
        puppet->on_stop(self, puppet);
}

const tr_actor_def manual_puppet_def = {.name = "puppet",
                                        .state_size = sizeof(puppet_state),
                                        .init = puppet_init,
                                        .receive = puppet_receive,
                                        .stop = puppet_stop};

static void note_result(tr_actor *self, void *state, const tr_result *result, void *context)
{
    manual_puppet *puppet = ((puppet_state *)state)->puppet;
    (void)self;
    (void)context;
    const mark *m = result->msg ? tr_match(result->msg, mark) : NULL;
    if (result->err)
        manual_note(puppet, "error:%s", tr_err_word(result->err));
    else if (m)
        manual_note(puppet, "reply:%llu", (unsigned long long)m->n);
    else
        manual_note(puppet, "reply:%s", result->msg ? tr_msg_type_name(result->msg) : "none");
}

void manual_then(tr_actor *self, tr_future future)
{
    if (future.id == 0)
        manual_note(manual_self(self), "failed:%s", tr_err_word(tr_last_error(self)->code));
    else
        assert_int_equal(tr_then(self, future, note_result, NULL), TR_OK);
}

/* ---- the node ------------------------------------------------------------------------------------------ */

static uint64_t manual_now(void *context)
{
    manual *m = context;
    m->now_ns += m->clock_step_ns;
    return m->now_ns;
}

static uint64_t manual_now_coarse(void *context)
{
    const manual *m = context;
    return m->coarse_step_ns ? m->now_ns - m->now_ns % m->coarse_step_ns : m->now_ns;
}

static void manual_wake(void *context, unsigned index)
{
    (void)index; /* pumping looks at every loop anyway */
    ((manual *)context)->wakes++;
}

static tr_err manual_start_loop(void *context, unsigned index, tr_error *error)
{
    (void)context;
    (void)index;
    (void)error;
    return TR_OK;
}

static void manual_log(void *context, tr_log_level level, const char *line)
{
    manual *m = context;
    (void)level;
    m->logged++;
    snprintf(m->last_log, sizeof(m->last_log), "%s", line);
}

/* Its clock began in 2020. */
static uint64_t manual_wall_ms(void *context)
{
    return 1577836800000u + ((manual *)context)->now_ns / 1000000u;
}

static struct tr__log_store *manual_open_log(void *context, const char *directory, const char *node,
                                             void (*wake)(void *context), void *wake_context, tr_error *error)
{
    manual *m = context;
    (void)directory;
    (void)node;
    (void)error;
    m->disk_wake = wake;
    m->disk_wake_context = wake_context;
    return memory_log_open(m->disk);
}

static void manual_point(void *context, const char *name)
{
    manual *m = context;
    size_t length = strlen(m->points);
    snprintf(m->points + length, sizeof(m->points) - length, "%s ", name);
}

static void manual_fatal(void *context)
{
    ((manual *)context)->fatals++;
}

static manual *open_node(uint32_t loops, const char *name, struct memory_log *disk,
                         const tr__kind_seams *kinds)
{
    manual *m = calloc(1, sizeof(*m));
    assert_non_null(m);
    m->now_ns = TR_SECONDS(1);
    m->seed = 1;
    m->disk = disk;
    tr__seams seams = {.now = manual_now,
                       .now_coarse = manual_now_coarse,
                       .start_loop = manual_start_loop,
                       .wake = manual_wake,
                       .wall_ms = manual_wall_ms,
                       .open_log = manual_open_log,
                       .point = manual_point,
                       .fatal = manual_fatal,
                       .context = m,
                       .seed = 42 + (name ? (uint64_t)name[0] : 0)};
    if (kinds)
        seams.kinds = *kinds;
    tr_node_opts opts = {.name = name,
                         .loops = loops,
                         .log = manual_log,
                         .log_context = m,
                         .log_level = TR_LOG_DEBUG,
                         .data = disk ? "disk" : NULL};
    tr_error error;
    m->node = tr__node_make(&opts, &seams, &error);
    if (!m->node)
        fail_msg("manual_open: %s", error.text);
    return m;
}

manual *manual_open(uint32_t loops)
{
    return open_node(loops, NULL, NULL, NULL);
}

manual *manual_open_kinds(uint32_t loops, const tr__kind_seams *kinds)
{
    return open_node(loops, NULL, NULL, kinds);
}

manual *manual_open_tx(uint32_t loops, const char *name, struct memory_log *disk)
{
    tr_error error;
    manual *m = open_node(loops, name, disk, NULL);
    if (tr__node_begin(m->node, &error) != TR_OK)
        fail_msg("manual_open_tx: %s", error.text);
    return m;
}

void manual_stop(manual *m)
{
    for (uint32_t i = 0; i < tr__loops_all(m->node); i++)
        tr__loop_end_actors(m->node->loops[i]);
    for (uint32_t i = 0; i < tr__loops_all(m->node); i++)
        tr__loop_end(m->node->loops[i]);
}

void manual_close(manual *m)
{
    manual_stop(m);
    manual_check(m);
    assert_int_equal(tr__buffers_bytes(m->node->buffers), 0);
    tr__node_unmake(m->node);
    free(m);
}

/* ---- what must hold ------------------------------------------------------------------------------------ */

/* A mailbox is whole, and its places are where they should be. Returns its messages. */
static uint64_t check_mailbox(tr_actor *actor)
{
    uint64_t messages = 0, places = 0;
    for (const tr_msg *msg = actor->head; msg; msg = msg->next) {
        messages++;
        places += msg->places;
        if (!msg->next)
            assert_ptr_equal(actor->tail, msg);
    }
    for (const tr_msg *msg = actor->extras ? actor->extras->deferred : NULL; msg; msg = msg->next) {
        messages++;
        places += msg->places;
    }
    assert_int_equal(messages, actor->count);
    if (actor->state != TR__ACTOR_RUNNING)
        return messages;
    if (actor->mail & TR__MAIL_TRANSIT) { /* B3 */
        assert_int_equal(tr__places_free(&actor->places), actor->capacity);
        assert_int_equal(actor->local + (actor->extras ? actor->extras->kept_back : 0) + places,
                         actor->capacity);
    } else { /* B1; loops hold none between turns */
        assert_int_equal(tr__places_free(&actor->places) + actor->local + places, actor->capacity);
    }
    return messages;
}

static void check_loop(const tr__loop *loop, uint64_t queued)
{
    const tr__loop_counts *c = &loop->counts;
    uint64_t dropped = 0;
    for (int why = 0; why < TR_DROP_COUNT; why++)
        dropped += c->dropped[why];
    assert_int_equal(c->accepted + c->arrived + c->received,
                     c->handled + dropped + queued + c->passed + c->sent);
    assert_null(atomic_load(&((tr__loop *)loop)->inbox));
    if (!loop->stopping)
        return;
    assert_int_equal(queued, 0);
    assert_int_equal(loop->wheel.count, 0);
    uint32_t free_ones = 0;
    for (const tr__pending *p = loop->pending_free; p; p = tr__pending_at(loop, p->next))
        free_ones++;
    assert_int_equal(free_ones, loop->pending_next);
}

void manual_check(manual *m)
{
    uint64_t queued[TR__LOOPS_MAX] = {0}, passed = 0, arrived = 0;
    uint32_t segments = atomic_load(&m->node->segment_count);
    for (uint32_t i = 0; i < segments * TR__SEGMENT_SLOTS; i++) {
        tr_actor *actor = tr__slot(m->node, i);
        if (!actor)
            continue;
        tr__loop *owner = tr__owner(actor);
        if (actor->state == TR__ACTOR_FREE || !owner) {
            assert_null(actor->head);
            continue;
        }
        assert_false(owner->stopping); /* no actor is left */
        queued[owner->index] += check_mailbox(actor);
    }
    for (uint32_t i = 0; i < tr__loops_all(m->node); i++) {
        check_loop(m->node->loops[i], queued[i]);
        passed += m->node->loops[i]->counts.passed;
        arrived += m->node->loops[i]->counts.arrived;
    }
    assert_int_equal(passed + atomic_load(&m->node->posted), arrived);
}

/* ---- spawning and telling ------------------------------------------------------------------------------ */

tr_addr manual_spawn_def(manual *m, uint32_t loop, const tr_actor_def *def, const void *arg,
                         const tr_spawn_opts *opts)
{
    tr_addr address;
    tr_error error;
    if (tr__spawn(m->node->loops[loop], def, arg, opts, &address, &error) != TR_OK)
        fail_msg("manual_spawn: %s", error.text);
    return address;
}

tr_addr manual_spawn(manual *m, uint32_t loop, manual_puppet *puppet, const tr_spawn_opts *opts)
{
    return puppet->address = manual_spawn_def(m, loop, &manual_puppet_def, puppet, opts);
}

static tr__loop *loop_of(manual *m, tr_addr address)
{
    tr_actor *actor = manual_actor(m, address);
    return actor ? tr__owner(actor) : m->node->loops[0];
}

void manual_tell(manual *m, tr_addr puppet, manual_fn fn, void *context)
{
    assert_non_null(manual_actor(m, puppet));
    assert_int_equal(tr__inject(loop_of(m, puppet), puppet, manual_order_msg, .fn = (uintptr_t)fn,
                                .context = (uintptr_t)context),
                     TR_OK);
}

void manual_do(manual *m, tr_addr puppet, manual_fn fn, void *context)
{
    manual_tell(m, puppet, fn, context);
    manual_pump(m);
}

void manual_mark(manual *m, tr_addr to, uint64_t n)
{
    assert_int_equal(tr__inject(loop_of(m, to), to, mark, .n = n), TR_OK);
}

tr_actor *manual_actor(manual *m, tr_addr address)
{
    tr_actor *actor = tr__slot(m->node, address.slot);
    return actor && address.generation && atomic_load(&actor->generation) == address.generation &&
                   actor->state != TR__ACTOR_FREE
               ? actor
               : NULL;
}

/* The free blocks stay in their chunks, unused. */
void manual_dry_pool(manual *m, uint32_t loop)
{
    tr__pool *pool = &m->node->loops[loop]->pool;
    memset(pool->free, 0, sizeof(pool->free));
    pool->bump = pool->bump_end;
}

uint64_t manual_dropped(manual *m, tr_drop why)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < tr__loops_all(m->node); i++)
        sum += m->node->loops[i]->counts.dropped[why];
    return sum;
}

/* ---- turning ------------------------------------------------------------------------------------------- */

bool manual_turn(manual *m, uint32_t loop)
{
    return tr__loop_turn(m->node->loops[loop]);
}

static bool round_of_turns(manual *m)
{
    bool more = false;
    uint32_t count = tr__loops_all(m->node);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = m->order == MANUAL_UP ? i : count - 1 - i;
        if (m->order == MANUAL_RANDOM) {
            m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
            index = (uint32_t)(m->seed >> 33) % count;
        }
        m->busy[index] = manual_turn(m, index);
    }
    for (uint32_t i = 0; i < count; i++) /* by random some had no turn in this round */
        more |= m->busy[i] || atomic_load(&m->node->loops[i]->inbox) != NULL;
    return more;
}

/* A batch of the log that is under way gets done, and the node is told; false: there is none. */
static bool disk_works(manual *m)
{
    if (!m->disk || !m->disk->is_open || !memory_log_step(m->disk))
        return false;
    memory_log_run(m->disk);
    m->disk_wake(m->disk_wake_context);
    return true;
}

void manual_pump(manual *m)
{
    for (uint32_t turns = 0; round_of_turns(m) || disk_works(m); turns++)
        if (turns == TURNS_MAX)
            fail_msg("the node is still busy after %d rounds of turns", TURNS_MAX);
}

void manual_step(manual *m, uint64_t duration_ns)
{
    uint64_t until = m->now_ns + duration_ns;
    manual_pump(m);
    for (;;) {
        uint64_t due = TR__NEVER;
        for (uint32_t i = 0; i < tr__loops_all(m->node); i++) {
            uint64_t at = tr__loop_next_due(m->node->loops[i]);
            if (at < due)
                due = at;
        }
        if (due > until)
            break;
        if (due > m->now_ns)
            m->now_ns = due;
        manual_pump(m);
    }
    m->now_ns = until;
    manual_pump(m);
}
