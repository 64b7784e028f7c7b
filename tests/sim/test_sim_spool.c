/* Large messages between nodes whose receivers have limits, or want files: what is refused and why, what is left behind when
 * it goes wrong, and that nothing is ever half there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "actors/node.h"
#include "actors/remote/peer.h"
#include "actors/remote/spool.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/kit/sim/sim.h"
#include "transport/link.h"

#define MIB (1u << 20)

TR_MESSAGE(parcel, (u64, n), (buffer, content), (string, label))
TR_MESSAGE(plain_parcel, (u64, n), (bytes, content))
TR_MESSAGE(got, (u64, n), (u64, size), (u64, hash), (u64, files), (u64, in_memory), (string, label))
TR_MESSAGE(note, (u64, n))
TR_MESSAGE(give, (u64, size))
TR_MESSAGE(give_items, (u64, size))
TR_MESSAGE(stream_for, (addr, of), (u64, size))
TR_MESSAGE(ask_for, (addr, of), (u64, size))
TR_MESSAGE(ask_with, (addr, of), (buffer, content))
TR_MESSAGE(outcome, (u32, code), (string, text), (u64, size), (u64, hash), (u64, files))
TR_MESSAGE(letter, (string, reason), (string, type))
TR_MESSAGE(report_to)

static tr_sim *sim;
static tr_probe *probe;
static tr_addr keeper, giver, helper; /* on n1, n1, n0 */

static uint8_t byte_at(uint64_t seed, size_t i)
{
    return (uint8_t)(i * 31 + (i >> 8) * 7 + seed);
}

static const tr_buffer *content_of(uint64_t seed, size_t size)
{
    uint8_t *bytes = tr__alloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(seed, i);
    return tr__buffer_adopt(NULL, bytes, size, NULL, NULL);
}

static uint64_t hash_of(const tr_buffer *buffer)
{
    return tr__hash(buffer->data, buffer->size);
}

/* ---- the actors ---------------------------------------------------------------------------------------- */

static uint64_t files_of(uint32_t node)
{
    return sim->nodes[node].spool_files;
}

static uint64_t in_memory(uint32_t node)
{
    return tr__buffers_bytes(sim->nodes[node].node->buffers);
}

/* Tells the probe, which said that it wants to hear. */
static void keep(tr_actor *self, void *state, const tr_msg *msg)
{
    tr_addr *to = state;
    const parcel *p = tr_match(msg, parcel);
    const plain_parcel *plain = tr_match(msg, plain_parcel);
    const note *n = tr_match(msg, note);
    if (tr_match(msg, report_to))
        *to = tr_msg_sender(msg);
    if (n)
        tr_send(self, *to, note, .n = n->n);
    if (p)
        tr_send(self, *to, got, .n = p->n, .size = p->content->size, .hash = hash_of(p->content),
                .files = files_of(1), .in_memory = in_memory(1), .label = p->label);
    if (plain)
        tr_send(self, *to, got, .n = plain->n, .size = plain->content.size);
    if (p && tr_msg_ask_number(msg))
        tr_reply(self, msg, note, .n = p->n);
}
TR_ACTOR(keeper_def, .receive = keep, .state_size = sizeof(tr_addr), .spool_above = 1,
         .message_max = 8 * MIB);

static void give_two(tr_actor *self, const tr_msg *msg, size_t size)
{
    const tr_buffer *content = content_of(9, size);
    for (uint64_t n = 1; n <= 2; n++)
        tr_reply_item(self, msg, parcel, .n = n, .content = content);
    tr__buffer_drop(content);
    tr_reply(self, msg, note, .n = 2);
}

static void answer(tr_actor *self, void *state, const tr_msg *msg)
{
    const give *g = tr_match(msg, give);
    const give_items *i = tr_match(msg, give_items);
    (void)state;
    if (i)
        give_two(self, msg, i->size);
    if (!g)
        return;
    const tr_buffer *content = content_of(9, g->size);
    tr_reply(self, msg, parcel, .n = 9, .content = content);
    tr__buffer_drop(content);
}
TR_ACTOR(giver_def, .receive = answer);

static void on_answer(tr_actor *self, void *state, const tr_result *result, void *context)
{
    const parcel *p = result->msg ? tr_match(result->msg, parcel) : NULL;
    (void)context;
    tr_send(self, *(tr_addr *)state, outcome, .code = result->err,
            .text = result->error ? result->error->text : "", .size = p ? p->content->size : 0,
            .hash = p ? hash_of(p->content) : 0, .files = files_of(0));
}

static bool on_item(tr_actor *self, void *state, const tr_msg *item, void *context)
{
    const parcel *p = tr_match(item, parcel);
    (void)context;
    tr_send(self, *(tr_addr *)state, got, .n = p->n, .size = p->content->size, .hash = hash_of(p->content),
            .files = files_of(0));
    return true;
}

static void help(tr_actor *self, void *state, const tr_msg *msg)
{
    tr_addr *to = state;
    const ask_for *f = tr_match(msg, ask_for);
    const ask_with *w = tr_match(msg, ask_with);
    const stream_for *s = tr_match(msg, stream_for);
    const tr_dead_letter *d = tr_match(msg, tr_dead_letter);
    if (tr_match(msg, report_to)) {
        *to = tr_msg_sender(msg);
        tr_watch_dead_letters(self, true);
    }
    if (f)
        tr_then(self, tr_ask(self, f->of, TR_SECONDS(60), give, .size = f->size), on_answer, NULL);
    if (s) {
        tr_future items = tr_ask_stream(self, s->of, TR_SECONDS(60), 4, give_items, .size = s->size);
        tr_each(self, items, on_item, NULL);
        tr_then(self, items, on_answer, NULL);
    }
    if (w)
        tr_then(self, tr_ask(self, w->of, TR_SECONDS(60), parcel, .n = 1, .content = w->content), on_answer,
                NULL);
    if (d)
        tr_send(self, *to, letter, .reason = d->reason, .type = d->type);
}
TR_ACTOR(helper_def, .receive = help, .state_size = sizeof(tr_addr), .spool_above = 200000);

static tr_err start(tr_actor *self, uint32_t index)
{
    if (index == 1) {
        tr_spawn_with(self, &keeper_def, NULL, &(tr_spawn_opts){.name = "keeper"});
        tr_spawn_with(self, &giver_def, NULL, &(tr_spawn_opts){.name = "giver"});
    } else {
        tr_spawn_with(self, &helper_def, NULL,
                      &(tr_spawn_opts){.name = "helper", .place = TR_PLACE_LOOP, .loop = 1});
    }
    return tr_sleep(self, TR_FOREVER);
}

static const tr_scenario scenario = {
    .size = sizeof(tr_scenario), .name = "spool", .nodes = 2, .loops = 2, .start = start};

/* ---- the fixture --------------------------------------------------------------------------------------- */

static void meet(void)
{
    keeper = tr_probe_lookup(probe, "n1/keeper", TR_SECONDS(10));
    giver = tr_probe_lookup(probe, "n1/giver", TR_SECONDS(10));
    assert_int_equal(tr_probe_send(probe, keeper, report_to), TR_OK);
    tr_sim_step(sim, TR_MILLIS(5));
}

static int set_up(void **state)
{
    (void)state;
    sim = tr_sim_create(&(tr_sim_opts){.seed = 11, .scenario = &scenario}, NULL);
    probe = tr_probe_open(sim, 0);
    helper = tr_probe_lookup(probe, "helper", TR_SECONDS(1));
    assert_int_equal(tr_probe_send(probe, helper, report_to), TR_OK);
    meet();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tr_sim_destroy(sim);
    return 0;
}

static void holds(void)
{
    tr_sim_result r;
    tr_sim_result_get(sim, &r);
    if (r.failed)
        fail_msg("%s", r.what);
}

static tr_err send_parcel(uint64_t n, size_t size)
{
    const tr_buffer *content = content_of(n, size);
    tr_err err = tr_probe_send(probe, keeper, parcel, .n = n, .content = content, .label = "fragile");
    tr__buffer_drop(content);
    return err;
}

static void ask_parcel(size_t size)
{
    const tr_buffer *content = content_of(1, size);
    assert_int_equal(tr_probe_send(probe, helper, ask_with, .of = keeper, .content = content), TR_OK);
    tr__buffer_drop(content);
}

static void expect_parcel(uint64_t n, size_t size)
{
    const tr_buffer *content = content_of(n, size);
    const got *g = tr_probe_expect(probe, TR_SECONDS(5), got);
    holds();
    assert_int_equal(g->n, n);
    assert_int_equal(g->size, size);
    assert_int_equal(g->hash, hash_of(content));
    assert_string_equal(g->label, "fragile");
    tr__buffer_drop(content);
}

static void expect_letter(const char *reason, const char *type)
{
    const letter *l = tr_probe_expect(probe, TR_SECONDS(5), letter);
    holds();
    assert_string_equal(l->reason, reason);
    assert_string_equal(l->type, type);
}

static void expect_error(tr_err code, const char *part)
{
    const outcome *o = tr_probe_expect(probe, TR_SECONDS(5), outcome);
    holds();
    if (o->code != (uint32_t)code || !strstr(o->text, part))
        fail_msg("expected %s with \"%s\", got %s: %s", tr_err_word(code), part, tr_err_word(o->code),
                 o->text);
}

static tr_sums sums_of(uint32_t node)
{
    tr_sums sums;
    tr_node_sums(tr_sim_node(sim, node), &sums);
    return sums;
}

static uint64_t bulk_bytes_to(uint32_t node)
{
    tr__connection_counters counters;
    tr__endpoint *endpoint = tr_sim_node(sim, node)->remote->endpoint;
    tr__endpoint_peer_counters(tr__endpoint_next_peer(endpoint, NULL), &counters);
    return counters.bulk_received;
}

static void sums_add_up(uint32_t node)
{
    tr_sums s = sums_of(node);
    uint64_t dropped = 0;
    for (int why = 0; why < TR_DROP_COUNT; why++)
        dropped += s.dropped[why];
    assert_int_equal(s.accepted + s.arrived + s.received, s.handled + dropped + s.queued + s.passed + s.sent);
}

/* It still does what it did, in order, and nothing is left nor lost count of. */
static void still_works(void)
{
    assert_int_equal(send_parcel(20, 2 * MIB), TR_OK);
    assert_int_equal(tr_probe_send(probe, keeper, note, .n = 21), TR_OK);
    expect_parcel(20, 2 * MIB);
    const note *n = tr_probe_expect(probe, TR_SECONDS(5), note);
    holds();
    assert_int_equal(n->n, 21);
    tr_sim_step(sim, TR_MILLIS(100));
    assert_int_equal(files_of(0) + files_of(1) + in_memory(1), 0);
    sums_add_up(0);
    sums_add_up(1);
}

static void until_a_file_is_on(uint32_t node)
{
    for (int i = 0; i < 100000 && files_of(node) == 0; i++)
        tr_sim_step(sim, TR_MICROS(10));
    assert_int_equal(files_of(node), 1);
}

static void a_large_buffer_comes_in_a_file_that_is_gone_with_its_message(void **state)
{
    (void)state;
    assert_int_equal(send_parcel(3, 5 * MIB), TR_OK);
    const got *g = tr_probe_expect(probe, TR_SECONDS(5), got);
    holds();
    assert_int_equal(g->size, 5 * MIB);
    assert_int_equal(g->files, 1);
    assert_int_equal(g->in_memory, 0);
    tr_sim_step(sim, TR_MILLIS(1));
    assert_int_equal(files_of(1), 0);
    still_works();
}

static void what_is_not_above_its_bound_stays_in_memory(void **state)
{
    (void)state;
    assert_int_equal(send_parcel(4, 128 << 10), TR_OK);
    const got *g = tr_probe_expect(probe, TR_SECONDS(5), got);
    assert_int_equal(g->files, 0);
    assert_int_equal(g->size, 128 << 10);
    assert_int_equal(send_parcel(5, (128 << 10) + 1), TR_OK);
    g = tr_probe_expect(probe, TR_SECONDS(5), got);
    holds();
    assert_int_equal(g->files, 1);
    assert_int_equal(g->size, (128 << 10) + 1);
}

static void fields_of_other_kinds_stay_in_memory(void **state)
{
    (void)state;
    static uint8_t bytes[MIB];
    assert_int_equal(tr_probe_send(probe, keeper, plain_parcel, .n = 6, .content = {bytes, MIB}), TR_OK);
    const got *g = tr_probe_expect(probe, TR_SECONDS(5), got);
    holds();
    assert_int_equal(g->size, MIB);
}

static void an_answer_comes_in_a_file_if_its_asker_wants_that(void **state)
{
    (void)state;
    assert_int_equal(tr_probe_send(probe, helper, ask_for, .of = giver, .size = 3 * MIB), TR_OK);
    const outcome *o = tr_probe_expect(probe, TR_SECONDS(5), outcome);
    holds();
    const tr_buffer *content = content_of(9, 3 * MIB);
    assert_int_equal(o->code, TR_OK);
    assert_int_equal(o->hash, hash_of(content));
    assert_int_equal(o->files, 1);
    tr__buffer_drop(content);
    tr_sim_step(sim, TR_MILLIS(100));
    assert_int_equal(files_of(0), 0);
}

static void items_of_a_stream_come_in_files_or_the_stream_ends(void **state)
{
    (void)state;
    const tr_buffer *content = content_of(9, 2 * MIB);
    uint64_t hash = hash_of(content);
    tr__buffer_drop(content);
    assert_int_equal(tr_probe_send(probe, helper, stream_for, .of = giver, .size = 2 * MIB), TR_OK);
    for (uint64_t n = 1; n <= 2; n++) {
        const got *g = tr_probe_expect(probe, TR_SECONDS(5), got);
        holds();
        assert_int_equal(g->n, n);
        assert_int_equal(g->hash, hash);
        assert_true(g->files >= 1);
    }
    expect_error(TR_OK, "");
    sim_disk_full(&sim->nodes[0], tr_sim_now(sim) + TR_SECONDS(10));
    assert_int_equal(tr_probe_send(probe, helper, stream_for, .of = giver, .size = 2 * MIB), TR_OK);
    expect_error(TR_ENOSPC, "");
    tr_sim_step(sim, TR_SECONDS(10));
    assert_int_equal(files_of(0), 0);
    still_works();
}

/* ---- limits -------------------------------------------------------------------------------------------- */

static void a_message_that_its_receiver_does_not_take_is_a_dead_letter_of_its_sender(void **state)
{
    (void)state;
    uint64_t before = bulk_bytes_to(1);
    assert_int_equal(send_parcel(7, 40 * MIB), TR_OK);
    expect_letter("too-big", "parcel");
    assert_int_equal(sums_of(0).dropped[TR_DROP_TOO_BIG], 1);
    assert_int_equal(sums_of(1).dropped[TR_DROP_TOO_BIG], 0);
    still_works();
    assert_in_range(bulk_bytes_to(1) - before, 2 * MIB, 6 * MIB); /* most of it never left */
}

static void an_ask_that_is_too_large_fails_at_once_with_both_numbers(void **state)
{
    (void)state;
    uint64_t begun = tr_sim_now(sim);
    ask_parcel(9 * MIB);
    expect_error(TR_ETOOBIG, "a parcel of 94371");
    ask_parcel(9 * MIB);
    expect_error(
        TR_ETOOBIG,
        "larger than a keeper_def on node n1 takes, which is 8388608 (message_max of its definition)");
    assert_in_range(tr_sim_now(sim) - begun, 0, TR_MILLIS(500));
    ask_parcel(7 * MIB);
    const outcome *o = tr_probe_expect(probe, TR_SECONDS(5), outcome);
    holds();
    assert_int_equal(o->code, TR_OK);
    still_works();
}

/* ---- a disk that is full ------------------------------------------------------------------------------- */

static void what_finds_the_disk_full_is_refused_with_that_reason_and_no_file_is_left(void **state)
{
    (void)state;
    sim_disk_full(&sim->nodes[1], tr_sim_now(sim) + TR_SECONDS(10));
    assert_int_equal(send_parcel(8, 5 * MIB), TR_OK);
    expect_letter("spool", "parcel");
    assert_int_equal(files_of(1), 0);
    ask_parcel(5 * MIB);
    expect_error(TR_ENOSPC, "its disk is full");
    assert_int_equal(sums_of(0).dropped[TR_DROP_SPOOL], 2);
    tr_sim_step(sim, TR_SECONDS(10));
    still_works();
}

static void a_disk_that_is_full_in_the_middle_leaves_no_half_file(void **state)
{
    (void)state;
    ask_parcel(7 * MIB);
    until_a_file_is_on(1);
    assert_int_equal(in_memory(1), 0);
    sim_disk_full(&sim->nodes[1], tr_sim_now(sim) + TR_SECONDS(10));
    expect_error(TR_ENOSPC, "its disk is full");
    assert_int_equal(files_of(1), 0);
    tr_sim_step(sim, TR_SECONDS(10));
    still_works();
}

static void an_asker_without_room_for_the_answer_hears_it_at_once(void **state)
{
    (void)state;
    sim_disk_full(&sim->nodes[0], tr_sim_now(sim) + TR_SECONDS(10));
    for (int i = 0; i < 2; i++) { /* the second one waits on its own loop, for its type has been told */
        assert_int_equal(tr_probe_send(probe, helper, ask_for, .of = giver, .size = 3 * MIB), TR_OK);
        expect_error(TR_ENOSPC, "its disk is full");
    }
    tr_sim_step(sim, TR_MILLIS(100));
    assert_int_equal(sums_of(1).dropped[TR_DROP_SPOOL], 2); /* the answers */
    still_works();
}

static void what_files_hold_is_bounded(void **state)
{
    (void)state;
    tr__buffers *held = tr_sim_node(sim, 1)->buffers;
    atomic_store(&held->spool_max, 4 * MIB);
    ask_parcel(5 * MIB);
    expect_error(TR_ENOSPC, "files hold 0 of the 4194304 that they may (--spool-max)");
    assert_int_equal(atomic_load(&held->spooled), 0);
    atomic_store(&held->spooled, 3 * MIB); /* as by others' */
    ask_parcel(2 * MIB);
    expect_error(TR_ENOSPC, "files hold 3145728 of the 4194304 that they may (--spool-max)");
    atomic_store(&held->spooled, 0);
    atomic_store(&held->spool_files, TR__SPOOL_FILES_MAX);
    ask_parcel(2 * MIB);
    expect_error(TR_ENOSPC, "there are 256, which is the most");
    atomic_store(&held->spool_files, 0);
    still_works();
    assert_int_equal(atomic_load(&held->spooled) + atomic_load(&held->spool_files), 0);
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void begin_one(void)
{
    assert_int_equal(send_parcel(9, 7 * MIB), TR_OK);
    until_a_file_is_on(1);
}

static void a_connection_that_ends_in_the_middle_delivers_nothing_and_leaves_nothing(void **state)
{
    (void)state;
    begin_one();
    tr_sim_reset(sim, 0, 1);
    tr_sim_step(sim, TR_SECONDS(2));
    assert_int_equal(files_of(1), 0);
    assert_int_equal(atomic_load(&tr_sim_node(sim, 1)->buffers->spooled), 0);
    assert_true(sums_of(0).lost >= 1);
    tr_probe_expect_nothing(probe, TR_MILLIS(100));
    holds();
    still_works();
}

static void who_is_killed_in_the_middle_leaves_nothing(void **state)
{
    (void)state;
    begin_one();
    tr_sim_kill(sim, 1, false);
    assert_int_equal(files_of(1), 0);
    assert_int_equal(tr_sim_start(sim, 1, NULL), TR_OK);
    tr_sim_step(sim, TR_SECONDS(5));
    meet();
    still_works();
}

/* An answer of n1's is on its way to n0. */
static void begin_answer(void)
{
    assert_int_equal(tr_probe_send(probe, helper, ask_for, .of = giver, .size = 7 * MIB), TR_OK);
    until_a_file_is_on(0);
    assert_int_equal(atomic_load(&tr_sim_node(sim, 0)->buffers->spooled), 7 * MIB);
}

static void nothing_of_it_is_held(void)
{
    tr_sim_step(sim, TR_MILLIS(10));
    assert_int_equal(files_of(0), 0);
    assert_int_equal(atomic_load(&tr_sim_node(sim, 0)->buffers->spooled), 0);
    assert_int_equal(in_memory(0), 0);
}

static void of_a_sender_that_is_killed_in_the_middle_nothing_is_held(void **state)
{
    (void)state;
    begin_answer();
    tr_sim_kill(sim, 1, false);
    expect_error(TR_ENOCONN, "");
    nothing_of_it_is_held();
    assert_int_equal(tr_sim_start(sim, 1, NULL), TR_OK);
    tr_sim_step(sim, TR_SECONDS(5));
    meet();
    still_works();
}

/* Its silence is borne, as if it said that it lives: only that the rest of its message doesn't come ends it. */
static void what_is_held_for_a_sender_that_goes_on_with_nothing_is_let_go(void **state)
{
    (void)state;
    tr__connection_config patient;
    tr__connection_config_defaults(&patient);
    patient.detector.silence_ns = TR_SECONDS(3600);
    tr__remote_tune(tr_sim_node(sim, 0)->remote, &patient);
    patient.stuck_ns = TR_SECONDS(3600);
    tr__remote_tune(tr_sim_node(sim, 1)->remote, &patient);
    tr_sim_step(sim, TR_SECONDS(2)); /* so they have heard each other with that */
    begin_answer();
    const tr__peer *them = tr__endpoint_next_peer(tr_sim_node(sim, 1)->remote->endpoint, NULL);
    uint64_t begun = tr_sim_now(sim);
    tr__link_of_peer(them)->channel.muted = true; /* as if its last send went on for ever */
    tr_sim_step(sim, TR_SECONDS(9));
    assert_int_equal(files_of(0), 1);
    expect_error(TR_ENOCONN, "");
    assert_true(tr_sim_now(sim) - begun <= TR_SECONDS(11));
    nothing_of_it_is_held();
}

/* Whichever allocation fails while it comes: it arrives, or its asker hears; and nothing is left. */
static void without_memory_an_asker_hears_it_and_nothing_is_left(void **state)
{
    uint64_t nth = 1, failed = 0;
    (void)state;
    for (bool tried = true; tried && nth < 200; nth++) {
        ask_parcel(MIB);
        sim->nodes[1].fail_allocation_in = nth;
        const outcome *o = tr_probe_expect(probe, TR_SECONDS(70), outcome);
        holds();
        tried = sim->nodes[1].fail_allocation_in == 0;
        sim->nodes[1].fail_allocation_in = 0;
        assert_true(o->code == TR_OK || o->code == TR_ENOMEM || o->code == TR_ENOCONN ||
                    o->code == TR_EDEADLINE);
        failed += o->code != TR_OK;
        tr_sim_step(sim, TR_SECONDS(5));
        assert_int_equal(files_of(1), 0);
        meet();
    }
    assert_true(failed > 0);
    still_works();
}

int main(void)
{
#define SPOOLS(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SPOOLS(a_large_buffer_comes_in_a_file_that_is_gone_with_its_message),
        SPOOLS(what_is_not_above_its_bound_stays_in_memory),
        SPOOLS(fields_of_other_kinds_stay_in_memory),
        SPOOLS(an_answer_comes_in_a_file_if_its_asker_wants_that),
        SPOOLS(items_of_a_stream_come_in_files_or_the_stream_ends),
        SPOOLS(a_message_that_its_receiver_does_not_take_is_a_dead_letter_of_its_sender),
        SPOOLS(an_ask_that_is_too_large_fails_at_once_with_both_numbers),
        SPOOLS(what_finds_the_disk_full_is_refused_with_that_reason_and_no_file_is_left),
        SPOOLS(a_disk_that_is_full_in_the_middle_leaves_no_half_file),
        SPOOLS(an_asker_without_room_for_the_answer_hears_it_at_once),
        SPOOLS(what_files_hold_is_bounded),
        SPOOLS(a_connection_that_ends_in_the_middle_delivers_nothing_and_leaves_nothing),
        SPOOLS(who_is_killed_in_the_middle_leaves_nothing),
        SPOOLS(of_a_sender_that_is_killed_in_the_middle_nothing_is_held),
        SPOOLS(what_is_held_for_a_sender_that_goes_on_with_nothing_is_let_go),
        SPOOLS(without_memory_an_asker_hears_it_and_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
