/* Names in the cluster: found and watched from every node, told once of each change, over lost connections and heals; two
 * nodes that took the same one apart; what a node and a peer may have at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/names/claims.h"
#include "actors/remote/peer.h"
#include "tests/kit/sim/sim.h"
#include "transport/link.h"

#define NODES 3

/* "agent" on each node claims, releases and ends, as it is told, and starts anew; "watch" notes what it hears of a name. */
TR_MESSAGE(claim, (string, name))
TR_MESSAGE(release, (string, name))
TR_MESSAGE(end_now)
TR_MESSAGE(came_out, (u32, code), (string, text))

static struct {
    char heard[512];    /* by who watches on that node */
    char conflict[256]; /* by its agent */
    tr_addr agent;      /* its address */
} at[NODES];

static uint32_t here(void)
{
    return sim_now_running->current->index;
}

static const char *who(tr_addr actor)
{
    static char text[12];
    for (int i = 0; i < NODES; i++)
        if (tr_addr_equal(actor, at[i].agent))
            return snprintf(text, sizeof(text), "%d", i), text;
    return "?";
}

__attribute__((format(printf, 2, 3))) static void note(char *trail, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(trail + strlen(trail), 64, format, args);
    va_end(args);
}

/* ---- the actors ---------------------------------------------------------------------------------------- */

static void claimed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr_addr *boss = state;
    (void)context;
    tr_send(self, *boss, came_out, .code = result->err, .text = result->error ? result->error->text : "");
}

static void agent(tr_actor *self, void *state, const tr_msg *msg)
{
    tr_addr *boss = state;
    const claim *c = tr_match(msg, claim);
    const release *r = tr_match(msg, release);
    const tr_name_conflict *conflict = tr_match(msg, tr_name_conflict);
    if (c) {
        *boss = tr_msg_sender(msg);
        assert_int_equal(tr_then(self, tr_claim_name(self, c->name), claimed, NULL), TR_OK);
    } else if (r) {
        assert_int_equal(tr_release_name(self, r->name), TR_OK);
    } else if (conflict) {
        note(at[here()].conflict, "%s kept:%s ", conflict->name, who(conflict->kept));
        note(at[here()].conflict, "lost:%s ", who(conflict->lost));
    } else if (tr_match(msg, end_now)) {
        tr_exit(self, TR_OK, "told to");
    }
}
TR_ACTOR(agent_def, .receive = agent, .state_size = sizeof(tr_addr));

static tr_err watch_init(tr_actor *self, void *state, const void *arg)
{
    (void)state;
    (void)arg;
    return tr_monitor_name(self, "*/bank") ? TR_OK : TR_ENOMEM;
}

static void watch(tr_actor *self, void *state, const tr_msg *msg)
{
    const tr_name_event *e = tr_match(msg, tr_name_event);
    (void)self;
    (void)state;
    if (e)
        note(at[here()].heard, "%s:%s ", e->up ? "up" : "down", who(e->actor));
}
TR_ACTOR(watch_def, .init = watch_init, .receive = watch);

static tr_err start(tr_actor *self, uint32_t index)
{
    tr_spawn_with(self, &watch_def, NULL, &(tr_spawn_opts){.place = TR_PLACE_SPREAD});
    for (;;) {
        uint64_t monitor;
        at[index].agent =
            tr_spawn_with(self, &agent_def, NULL,
                          &(tr_spawn_opts){.name = "agent", .place = TR_PLACE_SPREAD, .monitor = &monitor});
        if (tr_addr_is_none(at[index].agent))
            TR_TRY(tr_sleep(self, TR_MILLIS(1)));
        else if (!tr_receive(self, TR_FOREVER))
            return TR_OK;
    }
}

static const tr_scenario claims = {
    .size = sizeof(tr_scenario), .name = "claims", .nodes = NODES, .loops = 2, .start = start};

/* ---- fixture ------------------------------------------------------------------------------------------- */

static tr_sim *sim;
static tr_probe *boss[NODES];
static int lower, higher; /* of 0 and 1, by node id */

static int set_up(void **state)
{
    (void)state;
    memset(at, 0, sizeof(at));
    sim = tr_sim_create(&(tr_sim_opts){.seed = 7, .scenario = &claims}, NULL);
    assert_non_null(sim);
    tr_sim_step(sim, TR_SECONDS(1));
    for (uint32_t i = 0; i < NODES; i++)
        boss[i] = tr_probe_open(sim, i);
    lower = tr_node_id(tr_sim_node(sim, 0)) < tr_node_id(tr_sim_node(sim, 1)) ? 0 : 1;
    higher = 1 - lower;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tr_sim_result r;
    tr_sim_heal_all(sim);
    tr_sim_result_get(sim, &r);
    if (r.failed)
        fail_msg("%s", r.what);
    tr_sim_destroy(sim);
    return 0;
}

static void have_claimed(int node, const char *name, tr_err code)
{
    assert_int_equal(tr_probe_send(boss[node], at[node].agent, claim, .name = name), TR_OK);
    const came_out *out = tr_probe_expect(boss[node], TR_SECONDS(1), came_out);
    assert_non_null(out);
    assert_string_equal(tr_err_word((tr_err)out->code), tr_err_word(code));
    tr_sim_step(sim, TR_MILLIS(200));
}

static void have_ended(int node)
{
    assert_int_equal(tr_probe_send(boss[node], at[node].agent, end_now), TR_OK);
    tr_sim_step(sim, TR_MILLIS(200));
}

static void all_heard(const char *what)
{
    for (int i = 0; i < NODES; i++)
        assert_string_equal(at[i].heard, what);
}

static void nothing_was_heard(void)
{
    for (int i = 0; i < NODES; i++)
        at[i].heard[0] = '\0';
}

static void cut(uint32_t a, uint32_t b)
{
    tr_sim_cut(sim, a, b);
    tr_sim_cut(sim, b, a);
    tr_sim_step(sim, TR_SECONDS(15));
}

static void heal(uint32_t a, uint32_t b)
{
    tr_sim_heal(sim, a, b);
    tr_sim_heal(sim, b, a);
    tr_sim_step(sim, TR_SECONDS(15));
}

static void all_find(const char *path, tr_addr actor)
{
    for (int i = 0; i < NODES; i++)
        assert_true(tr_addr_equal(tr_probe_lookup(boss[i], path, TR_SECONDS(2)), actor));
}

/* ---- what holds ---------------------------------------------------------------------------------------- */

static void a_name_is_found_from_every_node_and_refused_on_every_node(void **state)
{
    (void)state;
    have_claimed(1, "bank", TR_OK);
    all_find("*/bank", at[1].agent);
    have_claimed(1, "bank", TR_OK); /* it has it */
    have_claimed(0, "bank", TR_EEXIST);
    have_claimed(2, "bank", TR_EEXIST);
    have_claimed(0, "a/b", TR_EINVAL);
    have_claimed(0, "", TR_EINVAL);
}

static void a_lookup_waits_for_the_name_to_be_claimed(void **state)
{
    (void)state;
    assert_int_equal(tr_probe_send(boss[0], at[0].agent, claim, .name = "bank"), TR_OK);
    all_find("*/bank", at[0].agent);
}

static void who_watches_hears_each_coming_and_going_once(void **state)
{
    (void)state;
    have_claimed(1, "bank", TR_OK);
    all_heard("up:1 ");
    nothing_was_heard();
    assert_int_equal(tr_probe_send(boss[1], at[1].agent, release, .name = "bank"), TR_OK);
    tr_sim_step(sim, TR_MILLIS(200));
    all_heard("down:1 ");
    nothing_was_heard();
    have_claimed(2, "bank", TR_OK);
    all_heard("up:2 ");
    nothing_was_heard();
    tr_addr was = at[2].agent;
    have_ended(2);
    assert_false(tr_addr_equal(was, at[2].agent));
    all_heard("down:? "); /* of the one that was */
    nothing_was_heard();
    have_claimed(0, "bank", TR_OK);
    all_heard("up:0 ");
}

static void a_lost_connection_takes_it_away_and_the_heal_brings_it_back(void **state)
{
    (void)state;
    have_claimed(0, "bank", TR_OK);
    nothing_was_heard();
    cut(0, 1);
    assert_string_equal(at[0].heard, "");
    assert_string_equal(at[1].heard, "down:0 ");
    assert_string_equal(at[2].heard, ""); /* it sees both */
    heal(0, 1);
    assert_string_equal(at[0].heard, "");
    assert_string_equal(at[1].heard, "down:0 up:0 ");
    assert_string_equal(at[2].heard, "");
    tr_sim_kill(sim, 0, false);
    tr_sim_step(sim, TR_SECONDS(15));
    assert_string_equal(at[1].heard, "down:0 up:0 down:0 ");
    assert_string_equal(at[2].heard, "down:0 ");
}

static void of_two_that_took_it_apart_the_lower_node_keeps_it_and_both_hear_it(void **state)
{
    (void)state;
    char up[32];
    cut(0, 1);
    have_claimed(higher, "bank", TR_OK);
    have_claimed(lower, "bank", TR_OK);
    snprintf(up, sizeof(up), "up:%d ", higher);
    assert_string_equal(at[higher].heard, up);
    heal(0, 1);
    all_find("*/bank", at[lower].agent);
    snprintf(up, sizeof(up), "bank kept:%d lost:%d ", lower, higher);
    assert_string_equal(at[0].conflict, up);
    assert_string_equal(at[1].conflict, up);
    snprintf(up, sizeof(up), "up:%d down:%d up:%d ", higher, higher, lower);
    assert_string_equal(at[higher].heard, up);
    assert_string_equal(at[2].heard, up);
    snprintf(up, sizeof(up), "up:%d ", lower);
    assert_string_equal(at[lower].heard, up);
    have_claimed(higher, "bank", TR_EEXIST);
    have_ended(lower);
    have_claimed(higher, "bank", TR_OK);
}

static void of_two_that_claim_it_at_once_one_has_it(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) /* no time passes between them */
        assert_int_equal(tr_post(tr_sim_node(sim, i), at[i].agent, claim, .name = "bank"), TR_OK);
    tr_sim_step(sim, TR_SECONDS(1));
    all_find("*/bank", at[lower].agent);
    assert_string_equal(at[0].conflict, at[1].conflict);
    assert_non_null(strstr(at[higher].conflict, "bank kept:"));
}

static void a_node_has_a_thousand_names_and_all_learn_them(void **state)
{
    (void)state;
    char name[TR_NAME_MAX], path[2 * TR_NAME_MAX];
    for (uint32_t i = 0; i < TR__CLAIMS_MAX; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        assert_int_equal(tr_probe_send(boss[1], at[1].agent, claim, .name = name), TR_OK);
        const came_out *out = tr_probe_expect(boss[1], TR_SECONDS(1), came_out);
        assert_true(out && out->code == TR_OK);
    }
    have_claimed(1, "bank", TR_EFULL);
    snprintf(path, sizeof(path), "*/%s", name);
    all_find(path, at[1].agent);
    assert_int_equal(tr_probe_send(boss[1], at[1].agent, release, .name = "k5"), TR_OK);
    tr_sim_step(sim, TR_SECONDS(1)); /* all have heard that */
    have_claimed(1, "bank", TR_OK);
    all_find("*/bank", at[1].agent);
    have_claimed(0, "k5", TR_OK);
}

/* ---- what no node does --------------------------------------------------------------------------------- */

static void tell_as_warden(int from, int to, const tr__claim_change *changes, size_t count)
{
    tr_node *node = tr_sim_node(sim, (uint32_t)from);
    tr__loop *loop = node->loops[0];
    tr_msg *msg = tr_msg_make(tr__slot(node, 0), &tr__claims_changed_type,
                              &(tr__claims_changed){.changes = {changes, count}});
    assert_non_null(msg);
    msg->kind = TR__MSG_ASK;
    msg->ask = 1;
    msg->deadline_ns = UINT64_MAX;
    msg->sender = TR__WARDEN_OF(node->id);
    tr__submit(loop, TR__WARDEN_OF(tr_node_id(tr_sim_node(sim, (uint32_t)to))), msg);
    /* Its loops turn. */
    assert_int_equal(tr_probe_send(boss[from], at[from].agent, release, .name = "nothing"), TR_OK);
    tr_sim_step(sim, TR_MILLIS(200));
}

static uint64_t refused_on(int node)
{
    tr_sums sums;
    tr_node_sums(tr_sim_node(sim, (uint32_t)node), &sums);
    return sums.names_refused;
}

static void a_peer_that_claims_too_much_fills_no_memory_and_is_counted(void **state)
{
    (void)state;
    char names[32][16];
    tr__claim_change changes[32];
    tr_addr actor = at[1].agent;
    uint32_t n = 0;
    while (n < TR__CLAIMS_MAX + 32) {
        for (int i = 0; i < 32; i++, n++) {
            snprintf(names[i], sizeof(names[i]), "f%u", n);
            changes[i] = (tr__claim_change){
                .name = names[i], .actor = actor, .serial = n + 1, .up = true, .reason = ""};
        }
        tell_as_warden(1, 0, changes, 32);
    }
    assert_int_equal(refused_on(0), 32);
    assert_true(tr_addr_equal(tr_probe_lookup(boss[0], "*/f0", TR_SECONDS(1)), actor));
    tr__claim_change bad[] = {
        {.name = "a/b", .actor = actor, .serial = n + 1, .up = true, .reason = ""},
        {.name = "of-another", .actor = at[2].agent, .serial = n + 2, .up = true, .reason = ""}};
    tell_as_warden(1, 0, bad, 2);
    assert_int_equal(refused_on(0), 34);
}

static void a_node_of_an_earlier_version_is_told_nothing_and_what_it_tells_is_counted(void **state)
{
    (void)state;
    tr__endpoint_counters before[NODES], after;
    for (uint32_t i = 0; i < NODES; i++) {
        cut(1, i == 1 ? 0 : i);
        tr_sim_node(sim, 1)->remote->endpoint->config.self.capabilities &= ~TR__CAPABILITY_CLAIMS;
    }
    heal(1, 0);
    heal(1, 2);
    for (uint32_t i = 0; i < NODES; i++)
        tr__endpoint_counters_get(tr_sim_node(sim, i)->remote->endpoint, &before[i]);
    nothing_was_heard();
    have_claimed(0, "bank", TR_OK);
    assert_string_equal(at[1].heard, "");
    have_claimed(1, "bank", TR_OK); /* what it says to others isn't taken, though it should say nothing */
    assert_true(refused_on(0) > 0 && refused_on(1) == 0 && refused_on(2) > 0);
    for (int i = 0; i < NODES; i++)
        assert_true(tr_addr_equal(tr_probe_lookup(boss[i], "*/bank", TR_SECONDS(1)), at[i == 1].agent));
    assert_string_equal(at[0].heard, "up:0 ");
    assert_string_equal(at[2].heard, "up:0 ");
    assert_string_equal(at[0].conflict, "");
    assert_false(tr_addr_is_none(tr_probe_lookup(boss[0], "n1/agent", TR_SECONDS(1))));
    for (uint32_t i = 0; i < NODES; i++) {
        tr__endpoint_counters_get(tr_sim_node(sim, i)->remote->endpoint, &after);
        assert_int_equal(after.peers_down, before[i].peers_down);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_is_found_from_every_node_and_refused_on_every_node),
        TEST(a_lookup_waits_for_the_name_to_be_claimed),
        TEST(who_watches_hears_each_coming_and_going_once),
        TEST(a_lost_connection_takes_it_away_and_the_heal_brings_it_back),
        TEST(of_two_that_took_it_apart_the_lower_node_keeps_it_and_both_hear_it),
        TEST(of_two_that_claim_it_at_once_one_has_it),
        TEST(a_node_has_a_thousand_names_and_all_learn_them),
        TEST(a_peer_that_claims_too_much_fills_no_memory_and_is_counted),
        TEST(a_node_of_an_earlier_version_is_told_nothing_and_what_it_tells_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
