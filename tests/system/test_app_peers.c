/* An app whose peer is the test itself: a healthy one that is cut off at a bad moment, and ones that break
 * the rules in each way. One node, libuv, real files; no second process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/kit/app_peer.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

static tr_addr start_active(tr_actor *self, const char *journal)
{
    if (tr_addr_is_none(tr_whereis(self, "bob")))
        tr_register_name(self, "bob");
    return tr_spawn(self, &tr_app,
                    (&(tr_app_opts){.name = "alice", .id = "a1", .peer = "bob", .journal = journal}));
}

static void digest_of(const void *bytes, size_t size, uint8_t *digest)
{
    crypto_hash_sha256(digest, bytes, size);
}

static void put(tr_actor *self, tr_addr app, const char *text, tr_future *future)
{
    *future = tr_ask(self, app, SOON, tr_app_put, .data = {text, strlen(text)});
}

static tr_err welcome(tr_actor *self, uint64_t last, const void *journal, size_t size)
{
    const tr_msg *msg;
    uint8_t digest[TR__DIGEST];
    const tr_app_hello *hello = NEXT(self, tr_app_hello, &msg);
    EXPECT(self, hello && strcmp(hello->name, "alice") == 0 && strcmp(hello->id, "a1") == 0);
    digest_of(journal, size, digest);
    return tr_reply(self, msg, tr_app_welcome, .name = "bob", .id = "b1", .last = last,
                    .digest = {digest, sizeof(digest)});
}

/* Answer entries as a healthy peer would, with the digests' first byte changed by `wrong`. */
static tr_err echo(tr_actor *self, uint8_t wrong, size_t *count)
{
    const tr_msg *msg;
    const char *why;
    uint8_t digests[64][TR__DIGEST];
    const tr_app_entries *e = NEXT(self, tr_app_entries, &msg);
    EXPECT(self, e);
    *count = 0;
    for (size_t done = 0; done < e->records.size; (*count)++) {
        tr__entry parsed;
        EXPECT(self, tr__entry_parse((const uint8_t *)e->records.data + done, e->records.size - done, &parsed,
                                     &why) == TR__ENTRY_WHOLE);
        digest_of(parsed.data, parsed.size, digests[*count]);
        digests[*count][0] ^= wrong;
        done += parsed.whole;
    }
    return tr_reply(self, msg, tr_app_echo, .digests = {digests, *count * TR__DIGEST});
}

static tr_err send_entries(tr_actor *self, tr_addr app, const void *bytes, size_t size, const tr_app_echo **e)
{
    return tr_await(self, tr_ask(self, app, SOON, tr_app_entries, .records = {bytes, size}), tr_app_echo, e);
}

/* ---- the active app ------------------------------------------------------------------------------------ */

static tr_err wrong_echo(tr_actor *self, void *arg)
{
    tr_future f;
    size_t count;
    const tr_msg *msg;
    (void)arg;
    tr_addr app = start_active(self, "");
    TR_TRY(welcome(self, 0, "", 0));
    put(self, app, "hello", &f);
    TR_TRY(echo(self, 1, &count));
    EXPECT(self, tr_await_msg(self, f, NULL) == TR_EMISMATCH);
    EXPECT_TEXT(self, "app alice (a1) could not talk properly to app bob (b1): item 1 was sent with digest "
                      "2cf24dba5fb0.. and echoed with 2df24dba5fb0..; compare both journals");
    const tr_app_ended *ended = NEXT(self, tr_app_ended, &msg);
    EXPECT(self, ended && ended->code == TR_EMISMATCH && strncmp(ended->why, "item 1 was", 10) == 0);
    /* It stays so. */
    put(self, app, "more", &f);
    EXPECT(self, tr_await_msg(self, f, NULL) == TR_EMISMATCH);
    const tr_app_status *s;
    EXPECT(self, status(self, app, true, &s) == TR_EMISMATCH);
    TR_TRY(status(self, app, false, &s));
    EXPECT(self,
           strcmp(s->state, "stopped") == 0 && strstr(s->error, "could not talk properly") && s->last == 1);
    return TR_OK;
}

static void a_wrong_digest_echoed_ends_the_exchange_by_name(void **state)
{
    (void)state;
    run(wrong_echo);
}

static tr_err right_echo(tr_actor *self, void *arg)
{
    tr_future f;
    size_t count;
    const tr_app_put_done *done;
    const tr_app_status *s;
    const tr_app_item *item;
    (void)arg;
    tr_addr app = start_active(self, journal_path);
    put(self, app, "hello", &f);
    TR_TRY(welcome(self, 0, "", 0));
    TR_TRY(echo(self, 0, &count));
    TR_TRY(tr_await(self, f, tr_app_put_done, &done));
    EXPECT(self, done->number == 1);
    EXPECT(self,
           strcmp(done->digest, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824") == 0);
    TR_TRY(status(self, app, true, &s));
    EXPECT(self, s->last == 1 && s->both == 1 && s->own == 1 && s->other == 0 && s->waiting == 0);
    EXPECT(self, strcmp(s->state, "together") == 0 && strcmp(s->peer_id, "b1") == 0 && !s->error[0]);
    TR_TRY(tr_await(self, tr_ask(self, app, SOON, tr_app_get, .number = 1), tr_app_item, &item));
    EXPECT(self, item->number == 1 && item->data.size == 5 && memcmp(item->data.data, "hello", 5) == 0);
    EXPECT(self, strcmp(item->origin, "a1") == 0);
    EXPECT(self, tr_await_msg(self, tr_ask(self, app, SOON, tr_app_get, .number = 2), NULL) == TR_ENOTFOUND);
    return TR_OK;
}

static void a_right_echo_answers_the_put(void **state)
{
    (void)state;
    run(right_echo);
}

/* The peer's app dies after it took an item into its journal and before its echo; its successor says how far
 * it is. */
static tr_err lost_echo(tr_actor *self, void *arg)
{
    tr_future f, g;
    size_t count;
    const tr_msg *msg;
    const tr_app_put_done *done;
    uint8_t bytes[400];
    (void)arg;
    tr_addr app = start_active(self, "");
    TR_TRY(welcome(self, 0, "", 0));
    put(self, app, "hello", &f);
    const tr_app_entries *e = NEXT(self, tr_app_entries, &msg);
    EXPECT(self, e && e->records.size < sizeof(bytes));
    size_t size = e->records.size;
    memcpy(bytes, e->records.data, size);
    tr_reply_error(self, msg, TR_ENOMEM, "no memory just now");
    put(self, app, "again", &g);
    TR_TRY(welcome(self, 1, bytes, size));
    TR_TRY(echo(self, 0, &count));
    EXPECT(self, count == 1); /* the second only: nothing twice */
    TR_TRY(tr_await(self, f, tr_app_put_done, &done));
    EXPECT(self, done->number == 1);
    TR_TRY(tr_await(self, g, tr_app_put_done, &done));
    EXPECT(self, done->number == 2);
    return TR_OK;
}

static void an_echo_that_is_lost_is_made_up_for_at_the_next_meeting(void **state)
{
    (void)state;
    run(lost_echo);
}

static tr_err offers(tr_actor *self, void *arg)
{
    uint8_t bytes[1000];
    const tr_app_echo *taken;
    const tr_app_status *s;
    size_t count;
    (void)arg;
    tr_addr app = start_active(self, "");
    TR_TRY(welcome(self, 0, "", 0));
    TR_TRY(status(self, app, true, &s));
    size_t size = entry(bytes, 1, "b1", "one");
    size += entry(bytes + size, 2, "b1", "two");
    TR_TRY(
        tr_await(self, tr_ask(self, app, SOON, tr_app_offer, .records = {bytes, size}), tr_app_echo, &taken));
    EXPECT(self, taken->digests.size == 2 * TR__DIGEST);
    TR_TRY(echo(self, 0, &count));
    EXPECT(self, count == 2);
    size = entry(bytes, 1, "c1", "not mine");
    EXPECT(self, tr_await_msg(self, tr_ask(self, app, SOON, tr_app_offer, .records = {bytes, size}), NULL) ==
                     TR_EPROTO);
    TR_TRY(status(self, app, false, &s));
    EXPECT(self, strstr(s->error, "it offered an item of c1 as its own"));
    EXPECT(self, s->last == 2 && s->other == 2);
    return TR_OK;
}

static void what_the_peer_offers_is_numbered_unless_it_is_another_s(void **state)
{
    (void)state;
    run(offers);
}

/* Each of these answers to hello is refused, and says why. */
static tr_err bad_welcomes(tr_actor *self, void *arg)
{
    static const struct {
        const char *name, *id, *error;
        uint64_t last;
        size_t size;
    } answers[] = {
        {"bob", "a1", "both apps have the id a1", 0, TR__DIGEST},
        {"bob", "b 1", "an app's id is", 0, TR__DIGEST},
        {"b\nob", "b1", "an app's name has", 0, TR__DIGEST},
        {"bob", "b1", "it answered hello by something else", 0, 5},
        {"bob", "b1", "its journal goes to item 7, ours to 0", 7, TR__DIGEST},
        {"bob", "b1", "its journal differs from ours", 0, TR__DIGEST},
    };
    uint8_t digest[TR__DIGEST] = {1};
    const tr_msg *msg;
    tr_future f;
    (void)arg;
    for (size_t i = 0; i < TR_COUNT(answers); i++) {
        tr_addr app = start_active(self, "");
        put(self, app, "x", &f);
        EXPECT(self, NEXT(self, tr_app_hello, &msg));
        tr_reply(self, msg, tr_app_welcome, .name = answers[i].name, .id = answers[i].id,
                 .last = answers[i].last, .digest = {digest, answers[i].size});
        EXPECT(self, tr_await_msg(self, f, NULL) != TR_OK);
        EXPECT_TEXT(self, answers[i].error);
        tr_stop(self, app, TR_EXIT_SHUTDOWN);
    }
    return TR_OK;
}

static void a_bad_welcome_ends_it_by_name(void **state)
{
    (void)state;
    run(bad_welcomes);
}

static tr_err full(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr app =
        tr_spawn(self, &tr_app, (&(tr_app_opts){.name = "alice", .id = "a1", .peer = "nobody/app"}));
    const tr_app_status *s;
    tr_future last = {0}, f;
    for (unsigned i = 0; i < TR_APP_PUTS_MAX; i++) {
        put(self, app, "x", &f);
        last = i == 0 ? f : last;
        if (i % 100 == 0)
            TR_TRY(status(self, app, false, &s)); /* so that the mailbox is not what is full */
    }
    put(self, app, "x", &f);
    EXPECT(self, tr_await_msg(self, f, NULL) == TR_EFULL);
    EXPECT_TEXT(self, "app alice (a1) has 1024 items waiting for the app at nobody/app");
    tr_cancel(self, last);
    TR_TRY(status(self, app, false, &s));
    EXPECT(self, s->waiting == TR_APP_PUTS_MAX - 1);
    put(self, app, "x", &f);
    TR_TRY(status(self, app, false, &s));
    EXPECT(self, s->waiting == TR_APP_PUTS_MAX);
    static char large[TR_APP_ITEM_MAX + 1];
    f = tr_ask(self, app, SOON, tr_app_put, .data = {large, sizeof(large)});
    EXPECT(self, tr_await_msg(self, f, NULL) == TR_ETOOBIG);
    return TR_OK;
}

static void what_waits_is_bounded_and_can_be_cancelled(void **state)
{
    (void)state;
    run(full);
}

/* ---- the passive app ----------------------------------------------------------------------------------- */

static tr_err bad_entries(tr_actor *self, void *arg)
{
    uint8_t bytes[8][400];
    size_t sizes[8];
    static const char *errors[8] = {
        "item 1 of a batch is malformed",
        "item 1 came with other bytes than its digest says",
        "item 2 came where item 1 was due",
        "item 1 is of c1, who is neither of the two",
        "item 1 of a batch is malformed, it is cut short",
        "a batch of 0 bytes",
        "item 3 came where item 2 was due",
        "item 9223372036854775807 came where item 1 was due",
    };
    const tr_app_welcome *w;
    const tr_app_status *s;
    const tr_msg *msg;
    (void)arg;
    memset(bytes[0], 0, sizes[0] = sizeof(bytes[0]));
    sizes[1] = entry(bytes[1], 1, "a1", "x");
    bytes[1][sizes[1] - 2] = 'y';
    sizes[2] = entry(bytes[2], 2, "a1", "x");
    sizes[3] = entry(bytes[3], 1, "c1", "x");
    sizes[4] = entry(bytes[4], 1, "a1", "xyz") - 2;
    sizes[5] = 0;
    sizes[6] = entry(bytes[6], 1, "a1", "x");
    sizes[6] += entry(bytes[6] + sizes[6], 3, "a1", "x");
    sizes[7] = entry(bytes[7], INT64_MAX, "a1", "x");
    for (size_t i = 0; i < TR_COUNT(bytes); i++) {
        const tr_app_echo *e;
        tr_addr app = start_passive(self, "");
        TR_TRY(hello(self, app, 9, &w));
        EXPECT(self, send_entries(self, app, bytes[i], sizes[i], &e) != TR_OK);
        EXPECT_TEXT(self, errors[i]);
        EXPECT(self, NEXT(self, tr_app_ended, &msg));
        TR_TRY(status(self, app, false, &s));
        EXPECT(self, s->last == 0 && strstr(s->error, errors[i]));
        EXPECT(self,
               strstr(s->error, "app bob (b1) could not talk properly to app alice (a1): ") == s->error);
        tr_stop(self, app, TR_EXIT_SHUTDOWN);
    }
    return TR_OK;
}

static void bad_entries_end_it_by_name_and_change_nothing(void **state)
{
    (void)state;
    run(bad_entries);
}

static tr_err duplicates(tr_actor *self, void *arg)
{
    uint8_t bytes[1000];
    const tr_app_welcome *w;
    const tr_app_status *s;
    const tr_app_echo *e;
    (void)arg;
    tr_addr app = start_passive(self, journal_path);
    TR_TRY(hello(self, app, 3, &w));
    EXPECT(self, w->last == 0 && strcmp(w->name, "bob") == 0);
    size_t two = entry(bytes, 1, "a1", "one");
    two += entry(bytes + two, 2, "a1", "two");
    size_t three = two + entry(bytes + two, 3, "a1", "three");
    TR_TRY(send_entries(self, app, bytes, two, &e));
    EXPECT(self, e->digests.size == 2 * TR__DIGEST);
    TR_TRY(send_entries(self, app, bytes, three, &e));
    EXPECT(self, e->digests.size == 3 * TR__DIGEST);
    TR_TRY(send_entries(self, app, bytes, three, &e));
    TR_TRY(status(self, app, true, &s));
    EXPECT(self, s->last == 3 && s->other == 3);
    uint8_t digest[TR__DIGEST];
    char text[TR__DIGEST_TEXT];
    digest_of(bytes, three, digest);
    EXPECT(self, strcmp(s->digest, tr__digest_text(digest, text)) == 0);
    struct stat st;
    EXPECT(self, stat(journal_path, &st) == 0 && (size_t)st.st_size == three);
    return TR_OK;
}

static void duplicates_are_echoed_and_dropped(void **state)
{
    (void)state;
    run(duplicates);
}

/* The peer takes an offer and forgets it; after the next hello it comes again, and once in the journal is
 * enough. */
static tr_err offer_lost(tr_actor *self, void *arg)
{
    uint8_t bytes[400], digests[TR__DIGEST];
    tr_future f, ask;
    const tr_msg *msg;
    const tr_app_welcome *w;
    const tr_app_echo *e;
    const tr_app_put_done *done;
    (void)arg;
    tr_addr app = start_passive(self, "");
    put(self, app, "hello", &f);
    TR_TRY(hello(self, app, 0, &w));
    for (int i = 0; i < 2; i++) {
        EXPECT(self, NEXT(self, tr_app_offer, &msg));
        tr_reply_error(self, msg, TR_ENOCONN, "lost on the way");
        EXPECT(self, NEXT(self, tr_app_again, &msg)); /* it asks for another hello */
        TR_TRY(hello(self, app, 0, &w));
    }
    const tr_app_offer *o = NEXT(self, tr_app_offer, &msg);
    EXPECT(self, o);
    digest_of("hello", 5, digests);
    tr_reply(self, msg, tr_app_echo, .digests = {digests, TR__DIGEST});
    size_t size = entry(bytes, 1, "b1", "hello");
    ask = tr_ask(self, app, SOON, tr_app_entries, .records = {bytes, size});
    TR_TRY(tr_await(self, ask, tr_app_echo, &e));
    TR_TRY(tr_await(self, f, tr_app_put_done, &done));
    EXPECT(self, done->number == 1);
    /* What comes back as ours must be ours. */
    put(self, app, "second", &f);
    EXPECT(self, NEXT(self, tr_app_offer, &msg));
    size = entry(bytes, 2, "b1", "sekond");
    ask = tr_ask(self, app, SOON, tr_app_entries, .records = {bytes, size});
    EXPECT(self, tr_await_msg(self, ask, NULL) == TR_EMISMATCH);
    EXPECT(self, tr_await_msg(self, f, NULL) == TR_EMISMATCH);
    EXPECT_TEXT(self, "item 2 came back as ours, but it is not what bob put");
    return TR_OK;
}

static void an_offer_that_is_lost_comes_again(void **state)
{
    (void)state;
    run(offer_lost);
}

static tr_err stranger(tr_actor *self, void *arg)
{
    const tr_addr *app = arg;
    const tr_app_welcome *w;
    const tr_app_echo *e;
    uint8_t bytes[400];
    size_t size = entry(bytes, 1, "a1", "x");
    EXPECT(self, send_entries(self, *app, bytes, size, &e) == TR_ENOCONN);
    EXPECT(self, tr_await_msg(self, tr_ask(self, *app, SOON, tr_app_offer, .records = {bytes, size}), NULL) ==
                     TR_ENOCONN);
    EXPECT(self, tr_await(self,
                          tr_ask(self, *app, SOON, tr_app_hello, .version = TR__APP_VERSION, .name = "carol",
                                 .id = "c1"),
                          tr_app_welcome, &w) == TR_EEXIST);
    EXPECT_TEXT(self, "it is with app alice (a1) already");
    EXPECT(self, tr_await(self, tr_ask(self, *app, SOON, tr_app_hello, .version = 99), tr_app_welcome, &w) ==
                     TR_EVERSION);
    tr_send(self, *app, tr_app_ended, .code = 999999, .why = "because");
    tr_send(self, *app, tr_app_again, .spare = 1);
    tr_send(self, *app, tr_journal_done, .spare = 1);
    tr_send(self, *app, tr_exited, .kind = TR_EXIT_NORMAL);
    tr_send(self, *app, tr_down, .monitor = 0);
    return TR_OK;
}
TR_ACTOR(stranger_def, .run = stranger);

static tr_err strangers(tr_actor *self, void *arg)
{
    const tr_app_welcome *w;
    const tr_app_status *s;
    const tr_msg *msg;
    uint64_t monitor;
    (void)arg;
    tr_addr app = start_passive(self, "");
    TR_TRY(hello(self, app, 0, &w));
    TR_TRY(status(self, app, true, &s));
    tr_spawn_with(self, &stranger_def, &app, &(tr_spawn_opts){.monitor = &monitor});
    const tr_down *down = NEXT(self, tr_down, &msg);
    if (!down || down->kind != TR_EXIT_NORMAL)
        return tr_fail(self, TR_EAPP, "%s", down ? down->text : "no end");
    TR_TRY(status(self, app, false, &s));
    EXPECT(self, strcmp(s->state, "together") == 0);
    return TR_OK;
}

static void a_stranger_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    run(strangers);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, app_peer_setup, app_peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_wrong_digest_echoed_ends_the_exchange_by_name),
        TEST(a_right_echo_answers_the_put),
        TEST(an_echo_that_is_lost_is_made_up_for_at_the_next_meeting),
        TEST(what_the_peer_offers_is_numbered_unless_it_is_another_s),
        TEST(a_bad_welcome_ends_it_by_name),
        TEST(what_waits_is_bounded_and_can_be_cancelled),
        TEST(bad_entries_end_it_by_name_and_change_nothing),
        TEST(duplicates_are_echoed_and_dropped),
        TEST(an_offer_that_is_lost_comes_again),
        TEST(a_stranger_is_refused_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
