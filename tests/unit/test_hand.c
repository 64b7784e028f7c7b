/* What a peer's batch has for actors of another loop than the one with the connection (actors/remote/hand.c). */
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/remote/peer.h"

/* A node of two loops, with a puppet on the second one, and a peer whose batches are written here. */
typedef struct peer_of {
    manual *m;
    manual_puppet a;
    tr__remote remote;
    tr__peer peer;
    tr__remote_peer p;
    uint8_t batch[4096];
    size_t length;
} peer_of;

static int open_peer(void **state)
{
    static peer_of o;
    o = (peer_of){.m = manual_open(2), .peer = {.id = 7, .name = "eve"}};
    manual_spawn(o.m, 1, &o.a, NULL);
    manual_pump(o.m);
    o.remote.loop = o.m->node->loops[0];
    o.p.remote = &o.remote;
    o.p.peer = &o.peer;
    o.p.route = &o.remote.routes[0];
    o.p.rights = tr__rights_of(o.m->node, o.peer.name);
    *state = &o;
    return 0;
}

static int close_peer(void **state)
{
    peer_of *o = *state;
    tr__heard_types_end(&o->p);
    manual_close(o->m);
    return 0;
}

static void put(peer_of *o, tr__record record, const void *body)
{
    o->length += tr__wire_put(o->batch + o->length, &record);
    memcpy(o->batch + o->length, body, record.length);
    o->length += record.length;
}

/* By that number. */
static void put_type(peer_of *o, const tr_typeinfo *type, uint32_t number)
{
    put(o,
        (tr__record){.kind = TR__WIRE_TYPE,
                     .type = number,
                     .type_id = type->id,
                     .fingerprint = type->fingerprint,
                     .length = strlen(type->schema)},
        type->schema);
}

static void put_mark(peer_of *o, uint32_t number, uint64_t n)
{
    uint8_t body[64];
    put(o,
        (tr__record){.kind = TR__WIRE_NORMAL,
                     .to_slot = o->a.address.slot,
                     .to_generation = o->a.address.generation,
                     .type = number,
                     .length = tr__cbor_encode(tr__type_of(&mark_type), &(mark){.n = n}, body, sizeof(body))},
        body);
}

static void take(peer_of *o)
{
    tr__remote_take_batch(&o->p, o->batch, o->length);
    o->length = 0;
}

static bool waits_for_it(const peer_of *o)
{
    const tr__chain *out = &o->remote.loop->outboxes[1];
    return out->open || out->head;
}

/* As who has two versions of it does, which are read as one here. */
static void a_type_that_was_told_by_two_numbers_is_read_by_both(void **state)
{
    peer_of *o = *state;
    const tr_typeinfo *type = tr__type_of(&mark_type);
    put_type(o, type, 0);
    put_type(o, type, 1);
    put_mark(o, 0, 5);
    put_mark(o, 1, 6);
    put_mark(o, 0, 7);
    take(o);
    assert_true(waits_for_it(o));
    manual_pump(o->m);
    assert_string_equal(o->a.trail, "init 5 6 7 ");
}

static void end_it(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "enough");
}

static void what_nobody_gets_waits_for_no_other_loop(void **state)
{
    peer_of *o = *state;
    put_type(o, tr__type_of(&mark_type), 0);
    put_mark(o, 0, 5);
    take(o);
    manual_pump(o->m);
    manual_do(o->m, o->a.address, end_it, NULL);
    manual_puppet b = {0}; /* another has its place: so it is that loop's still */
    manual_spawn(o->m, 1, &b, NULL);
    manual_pump(o->m);
    assert_int_equal(b.address.slot, o->a.address.slot);
    for (uint64_t n = 0; n < 3; n++)
        put_mark(o, 0, n);
    take(o);
    assert_false(waits_for_it(o));
    assert_int_equal(manual_dropped(o->m, TR_DROP_NO_ACTOR), 3);
    assert_string_equal(b.trail, "init ");
    manual_do(o->m, b.address, end_it, NULL); /* it is on this stack */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_peer, close_peer)
        TEST(a_type_that_was_told_by_two_numbers_is_read_by_both),
        TEST(what_nobody_gets_waits_for_no_other_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
