/* mailbox/schema.c, versions.c: which declarations of a name understand each other, and what one makes of the other's
 * messages. The other declarations lie in functions, as they would in another program. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "base/mem.h"
#include "mailbox/type.h"
#include "mailbox/versions.h"

#pragma GCC diagnostic ignored "-Wshadow" /* the same names are what this is about */

TR_STRUCT(part, (string, name), (u32, size))
TR_MESSAGE(plan, (u32, n), (string, title), (list, part, parts), (buffer, sketch), (optional, u32, limit))

/* ---- other versions ------------------------------------------------------------------------------------ */

/* The plan of the next version; its part has grown, too. */
static tr_type *next_type(void)
{
    TR_STRUCT(part, (string, name), (u32, size), (optional, string, colour))
    TR_MESSAGE(plan, (u32, n), (string, title), (list, part, parts), (buffer, sketch), (optional, u32, limit),
               (optional, list, part, spares))
    return &plan_type;
}

static tr_type *first_type(void)
{
    TR_MESSAGE(plan, (u32, n), (string, title), (list, part, parts), (buffer, sketch))
    return &plan_type;
}

#define OTHER(name, ...)              \
    static tr_type *name(void)        \
    {                                 \
        TR_MESSAGE(plan, __VA_ARGS__) \
        return &plan_type;            \
    }
OTHER(another_kind, (u64, n), (string, title), (list, part, parts), (buffer, sketch))
OTHER(another_name, (u32, n), (string, headline), (list, part, parts), (buffer, sketch))
OTHER(no_list, (u32, n), (string, title), (part, parts), (buffer, sketch))
OTHER(one_less, (u32, n), (string, title), (list, part, parts))
OTHER(one_more, (u32, n), (string, title), (list, part, parts), (buffer, sketch), (u32, limit))
OTHER(another_optional, (u32, n), (string, title), (list, part, parts), (buffer, sketch),
      (optional, u64, limit))
OTHER(other_order, (string, title), (u32, n), (list, part, parts), (buffer, sketch))

static tr_type *another_part(void)
{
    TR_STRUCT(part, (string, name), (i32, size))
    TR_MESSAGE(plan, (u32, n), (string, title), (list, part, parts), (buffer, sketch))
    return &plan_type;
}

static tr_type *other_struct(void)
{
    TR_STRUCT(piece, (string, name), (u32, size))
    TR_MESSAGE(plan, (u32, n), (string, title), (list, piece, parts), (buffer, sketch))
    return &plan_type;
}

/* ---- schemas ------------------------------------------------------------------------------------------- */

static tr_err check(tr_type *ours, tr_type *theirs, tr_error *error)
{
    const char *schema = tr__type_of(theirs)->schema;
    *error = (tr_error){TR_OK, ""};
    return tr__schema_check(tr__type_of(ours), schema, strlen(schema), error);
}

static void optional_fields_at_the_end_make_no_difference(void **state)
{
    (void)state;
    tr_type *const types[] = {first_type(), &plan_type, next_type()};
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            tr_error error;
            if (check(types[a], types[b], &error) != TR_OK)
                fail_msg("%d and %d: %s", a, b, error.text);
        }
}

static void any_other_difference_is_refused_and_named(void **state)
{
    (void)state;
    const struct {
        tr_type *type;
        const char *why;
    } cases[] = {
        {another_kind(), "plan.n is u32 here and u64 there"},
        {another_name(), "plan.title is called headline there"},
        {no_list(), "plan.parts is list part here and part there"},
        {one_less(), "plan.sketch (buffer) is missing there, and isn't optional here"},
        {one_more(), "plan.limit is optional u32 here and u32 there"},
        {another_optional(), "plan.limit is optional u32 here and optional u64 there"},
        {other_order(), "plan.n is u32 here and string there"},
        {another_part(), "plan.parts.size is u32 here and i32 there"},
        {other_struct(), "plan.parts is list part here and list piece there"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tr_error error;
        assert_int_equal(check(&plan_type, cases[i].type, &error), TR_ETYPE);
        assert_string_equal(error.text, cases[i].why);
        assert_int_equal(check(cases[i].type, &plan_type, &error), TR_ETYPE); /* nor the other way round */
    }
    tr_error error;
    assert_int_equal(check(first_type(), one_more(), &error), TR_ETYPE);
    assert_string_equal(error.text, "plan.limit isn't declared here, and isn't optional there");
}

/* It comes from other nodes: anything at all is refused, if it isn't a schema. */
static void what_is_no_schema_is_refused(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&plan_type);
    static const char *const wrong[] = {
        "",
        "plan",
        "plan(",
        "plan()",
        "plan(u32)",
        "plan(u32 n",
        "plan(u32 n,",
        "plan(u32 n,,)",
        "other(u32 n)",
        "plan(u32 n,string title,list part(",
        "plan(optional",
        "plan(optional list",
        "plan(u32  n)",
        "(((((((",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        for (size_t length = 0; length <= strlen(wrong[i]); length++)
            assert_int_equal(tr__schema_check(info, wrong[i], length, NULL), TR_ETYPE);
    const char *whole = info->schema;
    size_t length = strlen(whole);
    for (size_t cut = 0; cut < length; cut++) {
        char *part = tr__alloc(cut + 1); /* of its own, so that reading on is found */
        memcpy(part, whole, cut);
        assert_int_equal(tr__schema_check(info, part, cut, NULL), TR_ETYPE);
        tr__free(part);
    }
    assert_int_equal(tr__schema_check(info, whole, length, NULL), TR_OK);
    for (size_t at = 0; at < length; at++)
        for (const char *sign = "(), x"; *sign; sign++) {
            char *other = tr__strdup(whole);
            other[at] = *sign;
            tr_err same = strcmp(other, whole) == 0 ? TR_OK : TR_ETYPE;
            /* Another name for the optional one at the end, or one more of the kind, may be all right. */
            if (tr__schema_check(info, other, length, NULL) != same)
                fail_msg("%s", other);
            tr__free(other);
        }
}

/* ---- over a connection --------------------------------------------------------------------------------- */

static void a_type_is_found_for_a_schema_that_fits(void **state)
{
    (void)state;
    const tr_typeinfo *ours = tr__type_of(&plan_type);
    tr_error error;
    const char *newer = "plan(u32 n,string title,list part(string name,u32 size) parts,buffer sketch,"
                        "optional u32 limit,optional list nobody(optional i8 x) more)";
    const tr_typeinfo *found = tr__type_for(ours->id, 1, newer, strlen(newer), &error);
    assert_non_null(found);
    assert_int_equal(found->id, ours->id);
    const char *wrong = "plan(u64 n)";
    assert_null(tr__type_for(ours->id, 1, wrong, strlen(wrong), &error));
    assert_int_equal(error.code, TR_ETYPE);
    assert_non_null(strstr(error.text, "plan."));
    assert_null(tr__type_for(12345, 1, "strange(u32 n)", 14, &error));
    assert_string_equal(error.text, "strange(u32 n) isn't declared here");
}

/* ---- in one process ------------------------------------------------------------------------------------ */

static const char *seen_title, *seen_part;
static const tr_buffer *seen_sketch;
static uint32_t seen_limit, seen_count;
static bool seen_spares, keep_it, refused;
static tr_msg *kept;

static void read_next(const tr_msg *msg)
{
    TR_STRUCT(part, (string, name), (u32, size), (optional, string, colour))
    TR_MESSAGE(plan, (u32, n), (string, title), (list, part, parts), (buffer, sketch), (optional, u32, limit),
               (optional, list, part, spares))
    const plan *p = tr_match(msg, plan);
    assert_non_null(p);
    assert_ptr_equal(tr_match(msg, plan), p); /* converted once */
    assert_false(p->parts.data[0].colour.present);
    assert_string_equal(p->parts.data[0].colour.value, "");
    seen_title = p->title;
    seen_part = p->parts.data[0].name;
    seen_sketch = p->sketch;
    seen_limit = p->limit.value;
    seen_spares = p->spares.present;
    seen_count++;
}

static void read_it(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (strcmp(tr_msg_type_name(msg), "plan") != 0)
        return;
    refused = !tr_match_type(msg, another_kind());
    read_next(msg);
    if (keep_it)
        kept = tr_msg_take(self, msg);
}

static void send_ours(tr_actor *self, void *context)
{
    static const part parts[] = {{"wing", 3}};
    const tr_buffer *sketch = tr_buffer_make(self, "lines", 5);
    assert_int_equal(tr_send(self, *(tr_addr *)context, plan, .n = 1, .title = "bird", .parts = {parts, 1},
                             .sketch = sketch, .limit = TR_SOME(9)),
                     TR_OK);
    tr_buffer_release(self, sketch);
}

static void an_actor_reads_another_version_of_its_process(void **state)
{
    (void)state;
    tr__type_of(next_type());
    manual *m = manual_open(2);
    manual_puppet sender = {0}, receiver = {.on = read_it};
    manual_spawn(m, 0, &sender, NULL);
    manual_spawn(m, 1, &receiver, NULL);
    keep_it = true;
    seen_count = 0;
    manual_do(m, sender.address, send_ours, &receiver.address);
    manual_pump(m);
    assert_int_equal(seen_count, 1);
    assert_true(refused);
    assert_string_equal(seen_title, "bird"); /* the copy lives as long as the message, which is kept */
    assert_string_equal(seen_part, "wing");
    assert_memory_equal(seen_sketch->data, "lines", 5); /* the buffer is the same one */
    assert_int_equal(tr__buffers_bytes(m->node->buffers), 5);
    assert_int_equal(seen_limit, 9);
    assert_false(seen_spares);
    manual_close(m);
}

static void send_flat(tr_actor *self, void *context)
{
    TR_MESSAGE(step, (u32, n))
    assert_int_equal(tr_send(self, *(tr_addr *)context, step, .n = 5), TR_OK);
}

static void read_flat(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    TR_MESSAGE(step, (u32, n), (optional, u32, more))
    const step *s = tr_match(msg, step);
    (void)self;
    if (s)
        manual_note(puppet, "n=%u more=%d", s->n, s->more.present);
}

static void flat_messages_are_converted_too_once_there_are_versions(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet sender = {0}, receiver = {.on = read_flat};
    manual_spawn(m, 0, &sender, NULL);
    manual_spawn(m, 0, &receiver, NULL);
    manual_do(m, sender.address, send_flat, &receiver.address);
    manual_pump(m);
    assert_string_equal(receiver.trail, "init step n=5 more=0 ");
    manual_close(m);
}

static void no_memory_for_a_conversion_is_no_match(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&plan_type), *wanted = tr__type_of(next_type());
    static const part parts[] = {{"wing", 3}};
    plan body = {.n = 1, .title = "bird", .parts = {parts, 1}};
    tr__buffers account = {0};
    tr_msg *msg = tr__msg_alloc_plain(&account, tr__body_size(info, &body));
    tr__body_copy(info, tr__msg_body(msg), &body);
    tr__msg_filled(msg, info);
    bool converted = false;
    for (uint64_t n = 1; !converted; n++) {
        tr__alloc_fail_at(n);
        converted = tr__version_of(msg, wanted) != NULL;
        tr__alloc_fail_at(0);
        assert_true(converted || !(msg->flags & TR__MSG_CONVERTED));
        assert_true(n < 100);
    }
    assert_true(msg->home & TR__HOME_HOLDS);
    tr__msg_let_go(msg);
    assert_int_equal(msg->home, TR__HOME_NONE);
    tr__free(msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optional_fields_at_the_end_make_no_difference),
        cmocka_unit_test(any_other_difference_is_refused_and_named),
        cmocka_unit_test(what_is_no_schema_is_refused),
        cmocka_unit_test(a_type_is_found_for_a_schema_that_fits),
        cmocka_unit_test(an_actor_reads_another_version_of_its_process),
        cmocka_unit_test(flat_messages_are_converted_too_once_there_are_versions),
        cmocka_unit_test(no_memory_for_a_conversion_is_no_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
