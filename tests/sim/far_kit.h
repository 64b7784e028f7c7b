/* Three nodes in the simulator, each with a puppet "p" (and one more on loop 1, "q") that does what it is told and notes what
 * it hears, and with offers: for the tests of what actors do to actors of other nodes. Included by one file a program. */
#ifndef TR_TESTS_SIM_FAR_KIT_H
#define TR_TESTS_SIM_FAR_KIT_H

#include <stdlib.h>

#include "actors/remote/peer.h"
#include "tests/kit/sim/sim.h"

TR_MESSAGE(far_order, (u64, function), (u64, context)) /* of this process: all nodes are in it */
TR_MESSAGE(far_question)
TR_MESSAGE(far_answer, (u64, n))
TR_MESSAGE(far_job, (u64, n), (bytes, more))

typedef void (*far_fn)(tr_actor *self, void *context);

static struct {
    tr_sim *sim;
    tr_probe *probe[3];
    tr_addr at[3];       /* the puppets */
    char heard[3][1024]; /* what they heard since it was looked at */
    tr_err code;         /* of the last order */
    char text[TR_ERROR_TEXT_MAX];
    tr_addr spawned;
    tr_future future;
    uint64_t monitor;
    /* For far_spawn */
    const char *node, *offer;
    uint64_t n, spawn_timeout_ns;
    size_t spawn_bytes;
    tr_type *spawn_type;
    bool link, watch;
    const tr_rights *rights; /* of n1 */
    uint32_t rights_count;
} far;

static void far_note(const tr_actor *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void far_note(const tr_actor *self, const char *format, ...)
{
    uint64_t node = tr_self(self).node;
    for (int i = 0; i < 3; i++) {
        if (far.at[i].node != node)
            continue;
        size_t used = strlen(far.heard[i]);
        va_list args;
        va_start(args, format);
        vsnprintf(far.heard[i] + used, sizeof(far.heard[i]) - used, format, args);
        va_end(args);
    }
}

static const char *far_exit_word(uint32_t kind)
{
    static const char *const words[] = {"normal",        "shutdown", "killed",        "error",   "crashed",
                                        "no-connection", "overrun",  "out-of-memory", "no-actor"};
    return words[kind];
}

/* ---- what is offered ----------------------------------------------------------------------------------- */

static tr_err far_worker_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    *(uint64_t *)state = ((const far_job *)arg)->n;
    return TR_OK;
}

static void far_worker(tr_actor *self, void *state, const tr_msg *msg)
{
    if (tr_match(msg, far_question))
        tr_reply(self, msg, far_answer, .n = *(uint64_t *)state);
}

static tr_err far_stillborn_init(tr_actor *self, void *state, const void *arg)
{
    (void)state;
    (void)arg;
    return tr_fail(self, TR_EAPP, "not today");
}

static const tr_actor_def far_worker_def = {.name = "worker",
                                            .state_size = sizeof(uint64_t),
                                            .arg_type = &far_job_type,
                                            .init = far_worker_init,
                                            .receive = far_worker};
static const tr_actor_def far_stillborn_def = {
    .name = "stillborn", .arg_type = &far_job_type, .init = far_stillborn_init, .receive = far_worker};
static const tr_actor_def far_bare_def = {
    .name = "bare", .state_size = sizeof(uint64_t), .receive = far_worker};

/* ---- puppets ------------------------------------------------------------------------------------------- */

static void far_puppet(tr_actor *self, void *state, const tr_msg *msg)
{
    const far_order *order = tr_match(msg, far_order);
    const tr_exited *e = tr_match(msg, tr_exited);
    const tr_down *d = tr_match(msg, tr_down);
    (void)state;
    if (order)
        ((far_fn)(uintptr_t)order->function)(self, (void *)(uintptr_t)order->context);
    else if (e)
        far_note(self, "exited:%s:%s:%s ", far_exit_word(e->kind), tr_err_word((tr_err)e->code), e->text);
    else if (d)
        far_note(self, "down:%s ", far_exit_word(d->kind));
    else if (tr_match(msg, far_question) && tr_msg_ask_number(msg))
        tr_reply(self, msg, far_answer, .n = 1);
    else if (tr_match(msg, far_question))
        far_note(self, "question ");
}

static tr_err far_init(tr_actor *self, void *state, const void *arg)
{
    (void)state;
    (void)arg;
    tr_trap_exit(self, true);
    return TR_OK;
}
static const tr_actor_def far_def = {.name = "puppet", .init = far_init, .receive = far_puppet};

static const char *const far_any[] = {"*", NULL};
static const tr_rights far_all = {.may = TR_MAY_ALL, .names = far_any, .spawn = far_any, .spawn_max = 10};

static tr_err far_start(tr_actor *self, uint32_t index)
{
    tr_node *node = tr_node_of(self);
    node->opts.rights = index == 1 && far.rights ? far.rights : &far_all; /* nobody is connected yet */
    node->opts.rights_count = index == 1 && far.rights ? far.rights_count : 1;
    tr_offer(self, "worker", &far_worker_def);
    tr_offer(self, "stillborn", &far_stillborn_def);
    tr_offer(self, "bare", &far_bare_def);
    tr_spawn_with(self, &far_def, NULL,
                  &(tr_spawn_opts){.name = "p", .place = TR_PLACE_LOOP, .loop = index % 2});
    return tr_sleep(self, TR_FOREVER);
}

static const tr_scenario far_scenario = {
    .size = sizeof(tr_scenario), .name = "far", .nodes = 3, .loops = 2, .data = true, .start = far_start};

/* ---- orders -------------------------------------------------------------------------------------------- */

static inline void far_settle(void)
{
    tr_sim_result result;
    tr_sim_step(far.sim, TR_MILLIS(50));
    tr_sim_result_get(far.sim, &result);
    if (result.failed)
        fail_msg("%s", result.what);
}

static inline void far_tell(int node, far_fn function, void *context)
{
    assert_int_equal(tr_probe_send(far.probe[node], far.at[node], far_order,
                                   .function = (uint64_t)(uintptr_t)function,
                                   .context = (uint64_t)(uintptr_t)context),
                     TR_OK);
}

static inline void far_do(int node, far_fn function, void *context)
{
    far.code = TR_OK;
    far.text[0] = '\0';
    far_tell(node, function, context);
    far_settle();
}

static inline void far_failed(tr_actor *self, tr_err code)
{
    far.code = code;
    snprintf(far.text, sizeof(far.text), "%s", code ? tr_last_error(self)->text : "");
}

#define FAR_ORDER(name) static inline void name(tr_actor *self, void *context)
FAR_ORDER(far_do_link)
{
    far_failed(self, tr_link(self, *(tr_addr *)context));
}
FAR_ORDER(far_do_unlink)
{
    far_failed(self, tr_unlink(self, *(tr_addr *)context));
}
FAR_ORDER(far_do_stop)
{
    far_failed(self, tr_stop(self, *(tr_addr *)context, TR_EXIT_SHUTDOWN));
}
FAR_ORDER(far_do_kill)
{
    far_failed(self, tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED));
}
FAR_ORDER(far_do_monitor)
{
    far.monitor = tr_monitor(self, *(tr_addr *)context);
}
FAR_ORDER(far_do_demonitor)
{
    (void)context;
    tr_demonitor(self, far.monitor);
}
FAR_ORDER(far_do_send)
{
    far_failed(self, tr_send(self, *(tr_addr *)context, far_question));
}
FAR_ORDER(far_do_trap)
{
    tr_trap_exit(self, (uintptr_t)context);
}
FAR_ORDER(far_do_end)
{
    tr_exit(self, (tr_err)(uintptr_t)context, "had enough");
}
FAR_ORDER(far_do_cancel)
{
    (void)context;
    tr_cancel(self, far.future);
}

static inline void far_answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    const tr_spawned *s = result->msg ? tr_match(result->msg, tr_spawned) : NULL;
    const tr_found *f = result->msg ? tr_match(result->msg, tr_found) : NULL;
    const far_answer *a = result->msg ? tr_match(result->msg, far_answer) : NULL;
    (void)state;
    (void)context;
    if (s) {
        far.spawned = s->actor;
        int node = 0;
        while (node < 3 && far.at[node].node != s->actor.node &&
               tr_node_id(tr_sim_node(far.sim, (uint32_t)node)) != s->actor.node)
            node++;
        far_note(self, "spawned:n%d ", node);
    } else if (f) {
        far_note(self, "found ");
    } else if (a) {
        far_note(self, "answered:%d ", (int)a->n);
    } else {
        far_note(self, "failed:%s:%s ", tr_err_word(result->err), result->error ? result->error->text : "");
    }
}

FAR_ORDER(far_do_ask)
{
    tr_future f = tr_ask(self, *(tr_addr *)context, TR_SECONDS(5), far_question);
    tr_then(self, f, far_answered, NULL);
}
FAR_ORDER(far_do_lookup)
{
    tr_future f = tr_lookup(self, context, TR_SECONDS(5));
    tr_then(self, f, far_answered, NULL);
}
FAR_ORDER(far_do_spawn)
{
    far_job job = {.n = far.n, .more = {calloc(1, far.spawn_bytes + 1), far.spawn_bytes}};
    tr_spawn_at_opts opts = {.link = far.link, .monitor = far.watch ? &far.monitor : NULL};
    (void)context;
    far.future = tr_spawn_at_body(self, far.node, far.offer, far.spawn_timeout_ns, far.spawn_type,
                                  far.spawn_type ? &job : NULL, &opts);
    free((void *)(uintptr_t)job.more.data);
    if (far.future.id)
        tr_then(self, far.future, far_answered, NULL);
    else
        far_note(self, "none:%s:%s ", tr_err_word(tr_last_error(self)->code), tr_last_error(self)->text);
}

static inline void far_link(int from, int to)
{
    far_do(from, far_do_link, &far.at[to]);
    assert_int_equal(far.code, TR_OK);
}

static inline void far_unlink(int from, int to)
{
    far_do(from, far_do_unlink, &far.at[to]);
    assert_int_equal(far.code, TR_OK);
}

static inline void far_trap(int node, bool on)
{
    far_do(node, far_do_trap, (void *)(uintptr_t)on);
}

static inline void far_end(int node, tr_err code)
{
    far_do(node, far_do_end, (void *)(uintptr_t)code);
}

static inline void far_spawn(int from, const char *node, const char *offer, uint64_t n, bool link, bool watch)
{
    far.node = node;
    far.offer = offer;
    far.n = n;
    far.link = link;
    far.watch = watch;
    far_do(from, far_do_spawn, NULL);
}

/* What a puppet heard since the last time that was looked at. */
static inline void far_heard(int node, const char *expected)
{
    assert_string_equal(far.heard[node], expected);
    far.heard[node][0] = '\0';
}

static inline tr__loop *far_loop(int node)
{
    return tr_sim_node(far.sim, (uint32_t)node)->loops[0];
}

/* How many actors of that kind the node has. */
static inline int far_count(int node, const char *kind)
{
    tr_node *n = tr_sim_node(far.sim, (uint32_t)node);
    int count = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        tr_actor *actor = tr__slot(n, i);
        count += actor && tr__takes_mail(actor) && strcmp(actor->def->name, kind) == 0;
    }
    return count;
}

static inline bool far_lives(int node)
{
    tr_actor *actor = tr__slot(tr_sim_node(far.sim, (uint32_t)node), far.at[node].slot);
    return tr__is_generation(actor, far.at[node].generation) && tr__takes_mail(actor);
}

static int far_open(void **state)
{
    const tr_rights *rights = far.rights;
    uint32_t count = far.rights_count;
    (void)state;
    memset(&far, 0, sizeof(far));
    far.rights = rights;
    far.rights_count = count;
    far.spawn_type = &far_job_type;
    far.spawn_timeout_ns = TR_SECONDS(5);
    far.sim = tr_sim_create(&(tr_sim_opts){.seed = 5, .scenario = &far_scenario}, NULL);
    assert_non_null(far.sim);
    tr_sim_step(far.sim, TR_SECONDS(2));
    for (int i = 0; i < 3; i++) {
        far.probe[i] = tr_probe_open(far.sim, (uint32_t)i);
        far.at[i] = tr_probe_lookup(far.probe[i], "p", TR_SECONDS(1));
        assert_false(tr_addr_is_none(far.at[i]));
    }
    far_settle();
    return 0;
}

static int far_close(void **state)
{
    (void)state;
    tr_sim_destroy(far.sim);
    far.sim = NULL;
    far.rights = NULL;
    return 0;
}

#endif
