/* What a peer's batch may not do: bring a notice of the runtime as a message. Its messages of other versions of a type, its
 * monitors without memory, and what it gathers in one unit of the bulk lane. */
#include <stdlib.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/futures/pending.h"
#include "actors/remote/peer.h"
#include "actors/remote/wire.h"
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
    tr__remote_peer p = {.remote = &remote, .peer = &peer, .rights = tr__rights_of(m->node, peer.name)};
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
    /* As an answer neither: piped, it would be a message. The ask fails, though here nobody waits for it any more. */
    uint8_t batch[1024], body[512];
    tr_msg *waits = tr__msg_alloc(&loop->pool, loop->index, 0);
    waits->kind = TR__MSG_ASK;
    waits->sender = a.address;
    waits->ask = 5;
    assert_true(tr__waits_put(&p.waits, waits));
    size_t size = tr__cbor_encode(types[0], bodies[0], body, sizeof(body));
    tr__remote_take_batch(&p, batch,
                          put(batch,
                              (tr__record){.kind = TR__WIRE_REPLY,
                                           .to_slot = a.address.slot,
                                           .to_generation = a.address.generation,
                                           .ask = 5,
                                           .type = 0,
                                           .length = size},
                              body));
    manual_pump(m);
    assert_int_equal(manual_dropped(m, TR_DROP_MALFORMED), 2);
    assert_int_equal(manual_dropped(m, TR_DROP_LATE_REPLY), 1);
    tr__waits_fini(&p.waits);
    tr__heard_types_end(&p);
    manual_close(m);
}

/* ---- schemas ------------------------------------------------------------------------------------------- */

TR_STRUCT(line, (string, what), (u32, price))
TR_MESSAGE(bill, (u32, n), (list, line, lines), (optional, string, note))

static void note_bill(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const bill *b = tr_match(msg, bill);
    (void)self;
    if (b)
        manual_note(puppet, "%s:%u:%s", b->lines.data[0].what, b->lines.data[0].price,
                    b->note.present ? b->note.value : "-");
}

typedef struct peer_of {
    manual *m;
    manual_puppet a;
    tr__remote remote;
    tr__peer peer;
    tr__remote_peer p;
} peer_of;

/* A type is told with that schema, under a fingerprint that nobody here knows, and a message of it is sent. */
static void take_bill(peer_of *o, const char *schema, const uint8_t *body, size_t size, tr__wire_kind kind)
{
    uint8_t batch[1024];
    uint32_t number = o->p.heard_count;
    size_t length = put(batch,
                        (tr__record){.kind = TR__WIRE_TYPE,
                                     .type = number,
                                     .type_id = tr__type_of(&bill_type)->id,
                                     .fingerprint = 1000 + number,
                                     .length = strlen(schema)},
                        schema);
    length += put(batch + length,
                  (tr__record){.kind = kind,
                               .to_slot = o->a.address.slot,
                               .to_generation = o->a.address.generation,
                               .ask = kind == TR__WIRE_ASK ? 9 : 0,
                               .type = number,
                               .length = size},
                  body);
    tr__remote_take_batch(&o->p, batch, length);
    manual_pump(o->m);
}
#define TAKE_BILL(o, schema, kind, ...) \
    take_bill((o), (schema), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), (kind))

static peer_of *open_peer(void)
{
    static peer_of o;
    o = (peer_of){.m = manual_open(1), .a = {.on = note_bill}, .peer = {.id = 7, .name = "eve"}};
    manual_spawn(o.m, 0, &o.a, NULL);
    manual_pump(o.m);
    o.remote.loop = o.m->node->loops[0];
    o.p.remote = &o.remote;
    o.p.peer = &o.peer;
    o.p.rights = tr__rights_of(o.m->node, o.peer.name);
    return &o;
}

static void close_peer(peer_of *o)
{
    tr__heard_types_end(&o->p);
    manual_close(o->m);
}

static size_t of_mark(const peer_of *o, uint8_t *at, tr__record record)
{
    const tr_typeinfo *type = tr__type_of(&mark_type);
    uint8_t body[64];
    size_t length = 0;
    if (!o->p.heard_count)
        length = put(at,
                     (tr__record){.kind = TR__WIRE_TYPE,
                                  .type_id = type->id,
                                  .fingerprint = type->fingerprint,
                                  .length = strlen(type->schema)},
                     type->schema);
    record.length = tr__cbor_encode(type, &(mark){.n = 5}, body, sizeof(body));
    record.to_slot = o->a.address.slot;
    record.to_generation = o->a.address.generation;
    return length + put(at + length, record, body);
}

static void older_and_newer_versions_are_read(void **state)
{
    (void)state;
    peer_of *o = open_peer();
    TAKE_BILL(o, "bill(u32 n,list line(string what,u32 price) lines)", TR__WIRE_NORMAL, 0x82, 1, 0x81, 0x82,
              0x61, 't', 3);
    TAKE_BILL(o,
              "bill(u32 n,list line(string what,u32 price,optional f64 tax) lines,optional string note,"
              "optional list other(u8 x) more)",
              TR__WIRE_NORMAL, 0x84, 1, 0x81, 0x83, 0x61, 'c', 4, 0xf9, 0x3c, 0x00, 0x61, 'n', 0x81, 0x81, 2);
    assert_string_equal(o->a.trail, "init bill t:3:- bill c:4:n ");
    assert_int_equal(manual_dropped(o->m, TR_DROP_UNKNOWN_TYPE), 0);
    close_peer(o);
}

static void another_schema_is_refused_and_named(void **state)
{
    (void)state;
    peer_of *o = open_peer();
    TAKE_BILL(o, "bill(u64 n)", TR__WIRE_NORMAL, 0x81, 1);
    assert_int_equal(manual_dropped(o->m, TR_DROP_UNKNOWN_TYPE), 1);
    assert_non_null(strstr(o->m->last_log, "from node eve: bill.n is u32 here and u64 there"));
    manual_step(o->m, TR_SECONDS(1)); /* of one reason there is a line a second */
    TAKE_BILL(o, "bill(u32 n,list line(string what,i32 price) lines)", TR__WIRE_NORMAL, 0x82, 1, 0x80);
    assert_non_null(strstr(o->m->last_log, "bill.lines.price is u32 here and i32 there"));
    TAKE_BILL(o, "bill(u32 n,list line(string what,u32 price) lines)", TR__WIRE_NORMAL, 0x82, 1, 0x81, 0x82,
              0x61, 't', 0x20);
    assert_non_null(strstr(o->m->last_log, "bill.lines[0].price, byte 6: expected an unsigned integer"));
    assert_int_equal(manual_dropped(o->m, TR_DROP_MALFORMED), 1);
    assert_string_equal(o->a.trail, "init ");
    close_peer(o);
}

/* ---- what is too large for its receiver ---------------------------------------------------------------- */

static void receive_little(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state, (void)msg;
}
static const tr_actor_def little_def = {.name = "little", .receive = receive_little, .message_max = 200000};

static size_t typed(peer_of *o, uint8_t *at, const tr_typeinfo *type)
{
    return put(at,
               (tr__record){.kind = TR__WIRE_TYPE,
                            .type = o->p.heard_count,
                            .type_id = type->id,
                            .fingerprint = type->fingerprint,
                            .length = strlen(type->schema)},
               type->schema);
}

/* It knows nothing of refusals: a message is dropped here, for its reason, and an ask is answered by a failure, which has a
 * code and a text as every one. */
static void a_peer_of_an_earlier_version_hears_of_its_ask_and_nothing_else(void **state)
{
    (void)state;
    static uint8_t batch[400000], data[200000];
    peer_of *o = open_peer();
    const tr_typeinfo *type = tr__type_of(&blob_type);
    tr_addr little = manual_spawn_def(o->m, 0, &little_def, NULL, NULL);
    manual_pump(o->m);
    tr__wire_kind kinds[] = {TR__WIRE_NORMAL, TR__WIRE_ASK};
    for (size_t i = 0; i < 2; i++) {
        static uint8_t body[250000];
        size_t size =
            tr__cbor_encode(type, &(blob){.n = 1, .data = {data, sizeof(data)}}, body, sizeof(body));
        size_t length = i == 0 ? typed(o, batch, type) : 0;
        length += put(batch + length,
                      (tr__record){.kind = kinds[i],
                                   .to_slot = little.slot,
                                   .to_generation = little.generation,
                                   .from_slot = 3,
                                   .from_generation = 1,
                                   .ask = i,
                                   .remaining_ns = UINT64_MAX,
                                   .length = size},
                      body);
        tr__remote_take_batch(&o->p, batch, length);
        manual_pump(o->m);
        assert_int_equal(manual_dropped(o->m, TR_DROP_TOO_BIG), i + 1);
        assert_int_equal(manual_dropped(o->m, TR_DROP_NO_CONNECTION), i); /* the failure of the ask */
        if (i == 0)
            assert_non_null(strstr(o->m->last_log, "larger than a little on node"));
    }
    close_peer(o);
}

/* ---- monitors ------------------------------------------------------------------------------------------ */

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

/* ---- asks that were handed on -------------------------------------------------------------------------- */

typedef struct asked {
    tr_addr of;
    tr_future future;
} asked;

static void keep_it(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        tr_msg_take(self, msg);
}

static void ask_it(tr_actor *self, void *context)
{
    asked *a = context;
    a->future = tr_ask(self, a->of, TR_SECONDS(1), mark, .n = 1);
}

static void give_it_up(tr_actor *self, void *context)
{
    tr_cancel(self, ((asked *)context)->future);
}

static void a_peer_moves_no_ask_that_it_has_not(void **state)
{
    (void)state;
    peer_of *o = open_peer();
    manual_puppet b = {.on = keep_it};
    manual_spawn(o->m, 0, &b, NULL);
    manual_pump(o->m);
    asked a = {.of = b.address};
    manual_do(o->m, o->a.address, ask_it, &a);
    uint8_t batch[128];
    tr__remote_take_batch(&o->p, batch,
                          put(batch,
                              (tr__record){.kind = TR__WIRE_MOVED,
                                           .to_slot = o->a.address.slot,
                                           .to_generation = o->a.address.generation,
                                           .ask = a.future.id,
                                           .moved_to = {o->peer.id, 1, 1}},
                              ""));
    manual_pump(o->m);
    manual_do(o->m, o->a.address, give_it_up, &a);
    assert_string_equal(b.trail, "init 1 canceled ");
    close_peer(o);
}

/* On to a third node, while the connection to the asker's ends. */
static void forward_it_too_late(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    peer_of *o = puppet->user;
    if (!tr_msg_ask_number(msg))
        return;
    o->remote.routes[0].id = o->peer.id;
    o->remote.route_count = 1;
    o->m->node->remote = &o->remote;
    manual_note(puppet, "%s", tr_err_word(tr_forward(self, msg, (tr_addr){8, 1, 1})));
    o->m->node->remote = NULL;
}

/* There it would be taken for one of this node's own asks, of an actor with the same slot. */
static void a_cancel_of_anothers_ask_goes_to_no_third_node(void **state)
{
    (void)state;
    peer_of *o = open_peer();
    uint8_t batch[2048];
    o->a.on = forward_it_too_late;
    o->a.user = o;
    tr__record ask = {
        .kind = TR__WIRE_ASK, .ask = 9, .from_slot = 3, .from_generation = 1, .remaining_ns = UINT64_MAX};
    tr__remote_take_batch(&o->p, batch, of_mark(o, batch, ask));
    manual_pump(o->m);
    assert_string_equal(o->a.trail, "init 5 ok ");
    assert_int_equal(manual_dropped(o->m, TR_DROP_NO_CONNECTION),
                     1); /* where it went; nothing else was sent */
    close_peer(o);
}

/* ---- streams ------------------------------------------------------------------------------------------- */

static void stream_two(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    static tr_msg *kept;
    if (tr_msg_ask_number(msg))
        kept = tr_msg_take(self, msg);
    for (int i = 0; i < 2; i++)
        manual_note(puppet, "%s", tr_err_word(tr_reply_item(self, kept, mark, .n = 1)));
    manual_note(puppet, "%u", tr_msg_demand(self, kept));
}

/* A demand beyond the window, one of a stream that isn't, and one for an outflow that isn't. */
static void a_demand_beyond_the_window_is_not_believed(void **state)
{
    (void)state;
    peer_of *o = open_peer();
    uint8_t batch[2048];
    o->a.on = stream_two;
    tr__remote_take_batch(&o->p, batch,
                          of_mark(o, batch,
                                  (tr__record){.kind = TR__WIRE_STREAM_ASK,
                                               .ask = 9,
                                               .from_slot = 3,
                                               .from_generation = 1,
                                               .remaining_ns = UINT64_MAX,
                                               .window = 1}));
    manual_pump(o->m);
    assert_string_equal(o->a.trail, "init 5 ok again 0 ");
    const tr__pending *outflow = manual_actor(o->m, o->a.address)->pendings;
    tr__record demand = {.kind = TR__WIRE_DEMAND,
                         .to_slot = o->a.address.slot,
                         .to_generation = o->a.address.generation,
                         .from_slot = 3,
                         .from_generation = 1,
                         .outflow = tr__pending_id(outflow),
                         .window = 200};
    tr__remote_take_batch(&o->p, batch, put(batch, demand, "")); /* of ask 0 */
    demand.ask = 9;
    demand.outflow += 1ull << 32;
    tr__remote_take_batch(&o->p, batch, put(batch, demand, ""));
    manual_pump(o->m);
    assert_string_equal(o->a.trail, "init 5 ok again 0 ");
    demand.outflow -= 1ull << 32;
    tr__remote_take_batch(&o->p, batch, put(batch, demand, ""));
    manual_pump(o->m);
    assert_string_equal(o->a.trail, "init 5 ok again 0 tr_demand ok again 0 ");
    tr__msg_free(o->remote.loop, tr__waits_pop(&o->p.waits));
    tr__waits_fini(&o->p.waits);
    close_peer(o);
}

static void take_stream(peer_of *o)
{
    uint8_t batch[2048];
    o->a.on = keep_it;
    tr__record ask = {.kind = TR__WIRE_STREAM_ASK,
                      .ask = 9,
                      .from_slot = 3,
                      .from_generation = 1,
                      .remaining_ns = UINT64_MAX,
                      .window = 1};
    tr__remote_take_batch(&o->p, batch, of_mark(o, batch, ask));
    manual_pump(o->m);
    assert_string_equal(o->a.trail, "init 5 ");
}

/* Who gives it up hasn't heard that it was handed on. */
static void a_cancel_of_a_stream_goes_to_who_has_it_whomever_it_names(void **state)
{
    (void)state;
    peer_of *o = open_peer();
    uint8_t batch[2048];
    take_stream(o);
    tr__record cancel = {.kind = TR__WIRE_CANCEL,
                         .ask = 9,
                         .from_slot = 3,
                         .from_generation = 1,
                         .to_slot = o->a.address.slot + 1,
                         .to_generation = 1};
    tr__remote_take_batch(&o->p, batch, put(batch, cancel, ""));
    manual_pump(o->m);
    assert_string_equal(o->a.trail, "init 5 canceled ");
    tr__waits_fini(&o->p.waits);
    close_peer(o);
}

/* The cancel came first, and went to who had it before. What would tell its asker where it went is the cancel then. */
static void a_stream_that_was_given_up_on_its_way_is_canceled_where_it_came(void **state)
{
    (void)state;
    peer_of *o = open_peer();
    tr__loop *loop = o->remote.loop;
    take_stream(o);
    tr__msg_free(loop, tr__waits_take(&o->p.waits, TR__MSG_CANCEL, 9, 3, 1));
    tr_msg *moved = tr__moved_make(loop, 9, o->a.address, 1);
    moved->flags |= TR__MSG_STREAM;
    moved->to.slot = 3;
    moved->to.generation = 1;
    loop->counts.accepted++;
    tr__remote_peer_send(&o->p, moved);
    manual_pump(o->m);
    assert_string_equal(o->a.trail, "init 5 canceled ");
    tr__waits_fini(&o->p.waits);
    close_peer(o);
}

TR_STRUCT(nothing, (optional, u64, a), (optional, u64, b), (optional, u64, c), (optional, u64, d))
TR_MESSAGE(nothings, (list, nothing, all))

/* Each element is a byte on the wire and 64 here: what is small there isn't let grow without bound. */
static void a_small_frame_that_would_be_a_huge_message_is_refused(void **state)
{
    (void)state;
    const uint32_t count = 2u << 20;
    const tr_typeinfo *type = tr__type_of(&nothings_type);
    peer_of *o = open_peer();
    uint8_t *body = malloc(count + 6), *batch = malloc(count + 4096);
    memcpy(body, (const uint8_t[]){0x81, 0x9a, 0, count >> 16, 0, 0}, 6);
    memset(body + 6, 0x80, count);
    size_t length = put(batch,
                        (tr__record){.kind = TR__WIRE_TYPE,
                                     .type_id = type->id,
                                     .fingerprint = type->fingerprint,
                                     .length = strlen(type->schema)},
                        type->schema);
    length += put(batch + length,
                  (tr__record){.kind = TR__WIRE_NORMAL,
                               .to_slot = o->a.address.slot,
                               .to_generation = o->a.address.generation,
                               .length = count + 6},
                  body);
    tr__remote_take_batch(&o->p, batch, length);
    manual_pump(o->m);
    assert_int_equal(manual_dropped(o->m, TR_DROP_MALFORMED), 1);
    assert_non_null(strstr(o->m->last_log, "from node eve: a nothings of 134217"));
    free(body);
    free(batch);
    close_peer(o);
}

/* ---- the bulk lane ------------------------------------------------------------------------------------- */

TR_MESSAGE(letter, (u32, n), (string, text), (bytes, seal))

static void note_letter(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const letter *l = tr_match(msg, letter);
    (void)self;
    if (!l)
        return;
    size_t length = strlen(l->text), right = strspn(l->text, (char[]){(char)('a' + l->n), 0});
    bool sealed = l->seal.size == 3 && memcmp(l->seal.data, "wax", 3) == 0;
    manual_note(puppet, "%u:%zu%s%s", l->n, length, right == length && sealed ? "" : "?",
                (const void *)msg == puppet->user ? "*" : "");
}

/* Letters of those lengths, one behind the other, as they lie when they are whole; after the first `broken` one byte is. */
static void take_letters(peer_of *o, const size_t *lengths, uint32_t count, uint32_t broken)
{
    static char text[200001], body[sizeof text + 100];
    const tr_typeinfo *type = tr__type_of(&letter_type);
    uint8_t *block = tr__alloc(TR__HEADROOM + count * sizeof body + 4096), *at = block + TR__HEADROOM;
    at += put(at,
              (tr__record){.kind = TR__WIRE_TYPE,
                           .type_id = type->id,
                           .fingerprint = type->fingerprint,
                           .length = strlen(type->schema)},
              type->schema);
    for (uint32_t i = 0; i < count; i++) {
        memset(text, 'a' + (int)i, lengths[i]);
        text[lengths[i]] = '\0';
        letter l = {.n = i, .text = text, .seal = {"wax", 3}};
        tr__record record = {.kind = TR__WIRE_NORMAL,
                             .to_slot = o->a.address.slot,
                             .to_generation = o->a.address.generation,
                             .length = tr__cbor_encode(type, &l, (uint8_t *)body, sizeof body)};
        if (i == broken)
            body[0] = 0; /* no array */
        at += put(at, record, body);
    }
    o->a.on = note_letter;
    o->a.user = block; /* may it be a message's block */
    o->remote.message_max = 64 << 20;
    tr__remote_take_bulk(&o->p, block, block + TR__HEADROOM, (size_t)(at - block) - TR__HEADROOM);
    manual_pump(o->m);
}

static void a_unit_of_several_large_messages_is_all_of_them_and_only_the_last_takes_its_block(void **state)
{
    (void)state;
    peer_of *o = open_peer();
    take_letters(o, (const size_t[]){150000, 10, 200000, 120000}, 4, 9);
    assert_string_equal(o->a.trail, "init letter 0:150000 letter 1:10 letter 2:200000 letter 3:120000* ");
    close_peer(o);
    o = open_peer();
    take_letters(o, (const size_t[]){150000, 10}, 2, 9);
    assert_string_equal(o->a.trail, "init letter 0:150000 letter 1:10 ");
    close_peer(o);
}

static void one_that_is_malformed_among_them_is_counted_and_the_others_come(void **state)
{
    (void)state;
    for (uint32_t broken = 0; broken < 3; broken++) {
        static const char *const trails[] = {"init letter 1:60000 letter 2:70000* ",
                                             "init letter 0:50000 letter 2:70000* ",
                                             "init letter 0:50000 letter 1:60000 "};
        peer_of *o = open_peer();
        take_letters(o, (const size_t[]){50000, 60000, 70000}, 3, broken);
        assert_string_equal(o->a.trail, trails[broken]);
        assert_int_equal(manual_dropped(o->m, TR_DROP_MALFORMED), 1);
        close_peer(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_notice_that_comes_as_a_message_is_malformed),
        cmocka_unit_test(older_and_newer_versions_are_read),
        cmocka_unit_test(another_schema_is_refused_and_named),
        cmocka_unit_test(a_peer_of_an_earlier_version_hears_of_its_ask_and_nothing_else),
        cmocka_unit_test(a_monitor_of_theirs_without_memory_is_refused),
        cmocka_unit_test(a_peer_moves_no_ask_that_it_has_not),
        cmocka_unit_test(a_cancel_of_anothers_ask_goes_to_no_third_node),
        cmocka_unit_test(a_demand_beyond_the_window_is_not_believed),
        cmocka_unit_test(a_cancel_of_a_stream_goes_to_who_has_it_whomever_it_names),
        cmocka_unit_test(a_stream_that_was_given_up_on_its_way_is_canceled_where_it_came),
        cmocka_unit_test(a_small_frame_that_would_be_a_huge_message_is_refused),
        cmocka_unit_test(a_unit_of_several_large_messages_is_all_of_them_and_only_the_last_takes_its_block),
        cmocka_unit_test(one_that_is_malformed_among_them_is_counted_and_the_others_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
