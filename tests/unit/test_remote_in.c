/* What a peer's batch may not do: bring a notice of the runtime as a message. And its monitors without
 * memory. */
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/remote_peer.h"
#include "actors/wire.h"
#include "base/mem.h"

static size_t put(uint8_t *at, tr__record record, const void *body)
{
    size_t head = tr__wire_put(at, &record);
    memcpy(at + head, body, record.length);
    return head + record.length;
}

static void a_notice_that_comes_as_a_message_is_malformed(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet a = {0};
    manual_spawn(m, 0, &a, NULL);
    manual_pump(m);
    tr__loop *loop = m->node->loops[0];
    tr__remote remote = {.loop = loop};
    tr__peer peer = {.id = 7, .name = "eve"};
    tr__remote_peer p = {.remote = &remote, .peer = &peer};
    const tr_typeinfo *types[] = {tr__type_of(&tr_down_type), tr__type_of(&mark_type)};
    const void *bodies[] = {&(tr_down){.monitor = 1}, &(mark){.n = 5}};
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t batch[1024], body[512];
        size_t length = put(batch,
                            (tr__record){.kind = TR__WIRE_TYPE,
                                         .type = i,
                                         .type_id = types[i]->id,
                                         .fingerprint = types[i]->fingerprint,
                                         .length = strlen(types[i]->name)},
                            types[i]->name);
        size_t size = tr__cbor_encode(types[i], bodies[i], body, sizeof(body));
        length += put(batch + length,
                      (tr__record){.kind = TR__WIRE_NORMAL,
                                   .to_slot = a.address.slot,
                                   .to_generation = a.address.generation,
                                   .type = i,
                                   .length = size},
                      body);
        tr__remote_take_batch(&p, batch, length);
    }
    manual_pump(m);
    assert_string_equal(a.trail, "init 5 ");
    assert_int_equal(manual_dropped(m, TR_DROP_MALFORMED), 1);
    tr__heard_types_end(&p);
    manual_close(m);
}

static void a_monitor_of_theirs_without_memory_is_refused(void **state)
{
    (void)state;
    tr__remote_peer p = {0};
    tr_addr target = {1, 2, 3}, got;
    for (uint64_t n = 1; n <= 3; n++) { /* the entry, the table, its buckets */
        tr__alloc_fail_at(n);
        assert_false(tr__watching_put(&p, 1, 1, 1, target));
        tr__alloc_fail_at(0);
    }
    assert_false(tr__watching_take(&p, 1, 1, 1, &got));
    assert_true(tr__watching_put(&p, 1, 1, 1, target));
    assert_true(tr__watching_take(&p, 1, 1, 1, &got) && tr_addr_equal(got, target));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_notice_that_comes_as_a_message_is_malformed),
        cmocka_unit_test(a_monitor_of_theirs_without_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
