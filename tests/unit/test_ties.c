/* Ties of links over a connection (K4 in remote/links.c), where what comes and what leaves cross: the order in which the
 * connection's loop sees them, while the actor here is on another one. */
#include <string.h>

#include "actors/remote/peer.h"
#include "tests/kit/manual.h"

#define OURS \
    ((tr_addr){m->node->id, 900, 1}) /* nobody: what comes for it is answered as by one that has ended */
#define THEIRS ((tr_addr){77, 5, 3})

static manual *m;
static tr__remote remote;
static tr__peer peer;
static tr__remote_peer p;

static int set_up(void **state)
{
    (void)state;
    m = manual_open(1);
    remote = (tr__remote){.loop = m->node->loops[0]};
    peer = (tr__peer){.id = THEIRS.node};
    p = (tr__remote_peer){.remote = &remote, .peer = &peer, .rights = &(tr_rights){.may = TR_MAY_ALL}};
    return 0;
}

static int tear_down(void **state)
{
    tr_msg *msg;
    (void)state;
    while ((msg = tr__waits_pop(&p.waits)))
        tr__msg_free(remote.loop, msg);
    tr__waits_fini(&p.waits);
    manual_close(m);
    return 0;
}

static tr_msg *message(uint8_t kind, uint64_t number)
{
    tr_msg *msg = tr__link_make(remote.loop, OURS);
    msg->kind = kind;
    msg->to.slot = THEIRS.slot;
    msg->to.generation = THEIRS.generation;
    msg->ask = number;
    return msg;
}

static void link_leaves(void)
{
    tr_msg *link = message(TR__MSG_LINK, 0);
    if (tr__tie_sent(&p, link))
        tr__waits_put(&p.waits, link);
    else
        tr__msg_free(remote.loop, link);
}

static void leaves(uint8_t kind, uint64_t number)
{
    tr_msg *msg = message(kind, number);
    tr__tie_leaving(&p, msg);
    tr__msg_free(remote.loop, msg);
}

static void link_comes(void)
{
    assert_true(tr__tie_make(&p, OURS, THEIRS));
}

static void unlink_comes(uint64_t number)
{
    const tr__record r = {.from_slot = THEIRS.slot,
                          .from_generation = THEIRS.generation,
                          .to_slot = OURS.slot,
                          .to_generation = OURS.generation,
                          .ask = number};
    remote.loop->counts.received++; /* as who reads it does */
    tr__take_unlink(&p, &r);
}

static void unlinked_comes(uint64_t number)
{
    const tr__record r = {.from_slot = THEIRS.slot,
                          .from_generation = THEIRS.generation,
                          .to_slot = OURS.slot,
                          .to_generation = OURS.generation,
                          .ask = number};
    remote.loop->counts.received++;
    tr__take_unlinked(&p, &r);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void a_link_that_leaves_before_their_unlink_is_answered_is_over_with_the_answer(void **state)
{
    (void)state;
    link_comes();
    unlink_comes(5); /* the actor hasn't read it when it unlinks and links again */
    leaves(TR__MSG_UNLINK, 7);
    link_leaves();
    assert_int_equal(p.ties, 1);
    leaves(TR__MSG_UNLINKED, 5);
    assert_int_equal(p.ties, 0);
    unlinked_comes(7);
    assert_int_equal(p.ties, 0);
}

static void so_it_is_when_their_unlink_comes_between_our_unlink_and_our_link(void **state)
{
    (void)state;
    link_comes();
    leaves(TR__MSG_UNLINK, 7);
    unlink_comes(5);
    link_leaves();
    leaves(TR__MSG_UNLINKED, 5);
    assert_int_equal(p.ties, 0);
}

static void a_link_of_theirs_that_came_behind_their_unlink_stays(void **state)
{
    (void)state;
    link_comes();
    leaves(TR__MSG_UNLINK, 7);
    unlink_comes(5);
    link_comes();
    link_leaves();
    leaves(TR__MSG_UNLINKED, 5);
    assert_int_equal(p.ties, 1);
}

static void a_link_that_leaves_behind_the_answer_stays(void **state)
{
    (void)state;
    link_comes();
    unlink_comes(5);
    leaves(TR__MSG_UNLINKED, 5);
    link_leaves();
    unlinked_comes(3);
    assert_int_equal(p.ties, 1);
}

static void an_unlink_of_ours_that_is_under_way_keeps_its_tie_until_it_is_answered(void **state)
{
    (void)state;
    link_leaves();
    leaves(TR__MSG_UNLINK, 7);
    unlink_comes(5);
    leaves(TR__MSG_UNLINKED, 5);
    assert_int_equal(p.ties, 1);
    unlinked_comes(7);
    assert_int_equal(p.ties, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_link_that_leaves_before_their_unlink_is_answered_is_over_with_the_answer),
        TEST(so_it_is_when_their_unlink_comes_between_our_unlink_and_our_link),
        TEST(a_link_of_theirs_that_came_behind_their_unlink_stays),
        TEST(a_link_that_leaves_behind_the_answer_stays),
        TEST(an_unlink_of_ours_that_is_under_way_keeps_its_tie_until_it_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
