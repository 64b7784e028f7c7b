/* Pairs of apps as their programs see them, both on one node under a clock that only the test moves: what is put, who
 * waits, what is refused and why. Each test is a fiber; between nodes, and with kills: tests/system/test_apps.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/app.h>

#include "actors/kinds/app_wire.h"
#include "actors/tx/frame.h"
#include "tests/kit/bank.h"

#include <sodium.h>

/* ---- fixture: apps "one" and "two" of node alice --------------------------------------------------------- */

/* The text is what it was instead. */
#define EXPECT(condition, format, ...)                                                                \
    do {                                                                                              \
        if (!(condition))                                                                             \
            return tr_fail(self, TR_EAPP, "line %d: %s: " format, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

#define WAIT TR_SECONDS(20)

static tr_addr spawn_app(tr_actor *self, const char *name, const char *id, const char *peer)
{
    return tr_spawn_with(self, &tr_app, &(tr_app_opts){.name = name, .id = id, .peer = peer},
                         &(tr_spawn_opts){.name = name});
}

static tr_addr one(tr_actor *self)
{
    return spawn_app(self, "one", "a1", "alice/two");
}

static tr_addr two(tr_actor *self)
{
    return spawn_app(self, "two", "b1", "alice/one");
}

static tr_future put(tr_actor *self, tr_addr app, const char *text, uint64_t within)
{
    return tr_ask(self, app, within, tr_app_put, .data = {text, strlen(text)});
}

static tr_err status(tr_actor *self, tr_addr app, bool together, const tr_app_status **s)
{
    return tr_await(self, tr_ask(self, app, WAIT, tr_app_query, .together = together), tr_app_status, s);
}

/* Until it is in that state, and tells why; *s is as it is then. */
static tr_err reaches(tr_actor *self, tr_addr app, const char *state, const tr_app_status **s)
{
    for (int i = 0; i < 100; i++) {
        TR_TRY(status(self, app, false, s));
        if (strcmp((*s)->state, state) == 0 && (*s)->error[0])
            return TR_OK;
        TR_TRY(tr_sleep(self, TR_MILLIS(100)));
    }
    return tr_fail(self, TR_EAPP, "it is %s (%s), not %s", (*s)->state, (*s)->error, state);
}

/* Its journal, as "a1:x b1:y ", with numbers from 1 without a gap. */
static tr_err journal(tr_actor *self, tr_addr app, char *out, size_t room)
{
    const tr_app_item *item;
    out[0] = '\0';
    for (uint64_t n = 1;; n++) {
        tr_err err = tr_await(self, tr_ask(self, app, WAIT, tr_app_get, .number = n), tr_app_item, &item);
        if (err == TR_ENOTFOUND)
            return TR_OK;
        TR_TRY(err);
        EXPECT(item->number == n, "%" PRIu64, item->number);
        size_t length = strlen(out);
        snprintf(out + length, room - length, "%s:%.*s ", item->origin, (int)item->data.size,
                 (const char *)item->data.data);
    }
}

static tr_err expect_same(tr_actor *self, tr_addr a, tr_addr b, const char *want)
{
    char first[512], second[512];
    TR_TRY(journal(self, a, first, sizeof(first)));
    TR_TRY(journal(self, b, second, sizeof(second)));
    EXPECT(strcmp(first, second) == 0, "%s and %s", first, second);
    EXPECT(!want || strcmp(first, want) == 0, "%s", first);
    return TR_OK;
}

static void play(tr_err (*run)(tr_actor *self, script *s))
{
    for (uint32_t loops = 1; loops <= 2; loops++) {
        bank *b = bank_open(loops);
        script s = {.run = run};
        bank_play(b, &s);
        bank_close(b);
    }
}

/* ---- what comes through -------------------------------------------------------------------------------- */

static tr_err exchange(tr_actor *self, script *s)
{
    tr_future puts[6];
    const tr_app_put_done *done;
    const tr_app_status *of_one, *of_two;
    uint64_t numbers = 0;
    char text[16], digest[65];
    tr_addr a = one(self), b = two(self);
    (void)s;
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof(text), "%d", i);
        puts[i] = put(self, i % 2 ? b : a, text, WAIT);
    }
    for (int i = 0; i < 6; i++) {
        TR_TRY(tr_await(self, puts[i], tr_app_put_done, &done));
        EXPECT(done->number >= 1 && done->number <= 6 && strlen(done->digest) == 64, "%" PRIu64,
               done->number);
        numbers |= 1u << done->number;
    }
    EXPECT(numbers == 0x7e, "%" PRIx64, numbers);
    TR_TRY(status(self, a, true, &of_one));
    EXPECT(of_one->last == 6 && of_one->own == 3 && of_one->other == 3 && of_one->waiting == 0, "%" PRIu64,
           of_one->last);
    EXPECT(strcmp(of_one->peer_name, "two") == 0 && strcmp(of_one->peer_id, "b1") == 0, "%s",
           of_one->peer_name);
    snprintf(digest, sizeof(digest), "%s", of_one->digest);
    TR_TRY(status(self, b, true, &of_two));
    EXPECT(strcmp(digest, of_two->digest) == 0 && of_two->own == 3 && of_two->other == 3, "%s %s", digest,
           of_two->digest);
    return expect_same(self, a, b, NULL);
}

static void two_apps_that_put_at_once_have_the_same_journal(void **state)
{
    (void)state;
    play(exchange);
}

static tr_err waits_for_the_peer(tr_actor *self, script *s)
{
    const tr_app_status *st;
    const tr_app_put_done *done;
    tr_addr a = one(self);
    tr_future f = put(self, a, "early", TR_SECONDS(50));
    (void)s;
    TR_TRY(reaches(self, a, "apart", &st));
    EXPECT(st->waiting == 1 && strstr(st->error, "two"), "%s", st->error);
    tr_addr b = two(self);
    TR_TRY(tr_await(self, f, tr_app_put_done, &done));
    EXPECT(done->number == 1, "%" PRIu64, done->number);
    return expect_same(self, a, b, "a1:early ");
}

static void a_put_waits_while_the_peer_is_away_and_comes_through(void **state)
{
    (void)state;
    play(waits_for_the_peer);
}

static tr_err killed_and_again(tr_actor *self, script *s)
{
    const tr_app_status *st;
    tr_addr a = one(self), b = two(self);
    (void)s;
    TR_TRY(tr_await_msg(self, put(self, a, "x", WAIT), NULL));
    tr_future cut = put(self, a, "y", WAIT);
    TR_TRY(tr_stop(self, a, TR_EXIT_KILLED));
    tr_err err = tr_await_msg(self, cut, NULL);
    EXPECT(err == TR_ENOACTOR, "%s", tr_err_word(err));
    TR_TRY(tr_sleep(self, TR_MILLIS(10))); /* its name is free */
    a = one(self);
    TR_TRY(status(self, a, true, &st));
    if (st->own == 1)
        TR_TRY(tr_await_msg(self, put(self, a, "y", WAIT), NULL));
    return expect_same(self, a, b, "a1:x a1:y ");
}

static void an_app_that_was_killed_is_started_again_with_its_journal(void **state)
{
    (void)state;
    play(killed_and_again);
}

static tr_err puts_one(tr_actor *self, script *s)
{
    (void)s;
    tr_addr a = one(self);
    two(self);
    return tr_await_msg(self, put(self, a, "x", WAIT), NULL);
}

static tr_err finds_one(tr_actor *self, script *s)
{
    (void)s;
    return expect_same(self, one(self), two(self), "a1:x ");
}

static void journals_are_there_after_a_power_cut(void **state)
{
    bank *b = bank_open(1);
    script first = {.run = puts_one}, second = {.run = finds_one};
    (void)state;
    bank_play(b, &first);
    manual_close(b->m);
    memory_log_power_cut(&b->disk);
    bank_start(b);
    bank_play(b, &second);
    bank_close(b);
}

/* ---- who gives up, and who is too many ----------------------------------------------------------------- */

static tr_err given_up(tr_actor *self, script *s)
{
    const tr_app_status *st;
    tr_addr a = one(self);
    (void)s;
    TR_TRY(reaches(self, a, "apart", &st));
    tr_future canceled = put(self, a, "canceled", WAIT);
    put(self, a, "late", TR_SECONDS(2));
    tr_future kept = put(self, a, "kept", TR_SECONDS(50));
    TR_TRY(tr_sleep(self, TR_MILLIS(200)));
    tr_cancel(self, canceled);
    TR_TRY(status(self, a, false, &st));
    EXPECT(st->waiting == 2, "%" PRIu64, st->waiting);
    TR_TRY(tr_sleep(self, TR_SECONDS(3)));
    tr_addr b = two(self);
    TR_TRY(tr_await_msg(self, kept, NULL));
    return expect_same(self, a, b, "a1:kept ");
}

static void what_was_cancelled_or_late_before_it_was_under_way_is_dropped(void **state)
{
    (void)state;
    play(given_up);
}

static tr_err too_much(tr_actor *self, script *s)
{
    static char large[TR_APP_ITEM_MAX + 1];
    const tr_app_status *st;
    tr_addr a = one(self);
    (void)s;
    TR_TRY(reaches(self, a, "apart", &st));
    tr_err err = tr_await_msg(self, tr_ask(self, a, WAIT, tr_app_put, .data = {large, sizeof(large)}), NULL);
    EXPECT(err == TR_ETOOBIG, "%s", tr_err_word(err));
    for (unsigned i = 0; i < TR_APP_PUTS_MAX; i++) {
        tr_future f = put(self, a, "x", TR_FOREVER);
        EXPECT(f.id, "%u: %s", i, tr_last_error(self)->text);
        if (i % 256 == 0)
            TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    }
    err = tr_await_msg(self, put(self, a, "x", WAIT), NULL);
    EXPECT(err == TR_EFULL, "%s", tr_err_word(err));
    EXPECT(strstr(tr_last_error(self)->text, "1024 items waiting"), "%s", tr_last_error(self)->text);
    tr_addr b = two(self);
    TR_TRY(tr_sleep(self, TR_SECONDS(5)));
    TR_TRY(status(self, b, true, &st));
    EXPECT(st->other == TR_APP_PUTS_MAX, "%" PRIu64, st->other);
    return TR_OK;
}

static void items_are_bounded_in_size_and_number(void **state)
{
    (void)state;
    play(too_much);
}

static tr_err large_ones(tr_actor *self, script *s)
{
    static char large[TR_APP_ITEM_MAX];
    const tr_app_status *st;
    tr_addr a = one(self);
    tr_err err = TR_OK;
    int accepted = 0;
    (void)s;
    TR_TRY(reaches(self, a, "apart", &st));
    while (err == TR_OK && accepted < 100) { /* who isn't refused waits, for there is no peer */
        tr_future f = tr_ask(self, a, TR_SECONDS(50), tr_app_put, .data = {large, sizeof(large)});
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
        err = tr_take_result(self, f, NULL);
        if (err == TR_EAGAIN)
            accepted++, err = TR_OK;
    }
    EXPECT(err == TR_EFULL && accepted == 64, "%s after %d", tr_err_word(err), accepted);
    tr_addr b = two(self);
    TR_TRY(tr_sleep(self, TR_SECONDS(5)));
    TR_TRY(status(self, b, true, &st));
    EXPECT(st->other == 64, "%" PRIu64, st->other);
    return TR_OK;
}

static void items_that_wait_are_bounded_in_bytes(void **state)
{
    (void)state;
    play(large_ones);
}

/* ---- what ends the exchange ---------------------------------------------------------------------------- */

/* One, whose journal has an item that it shares with two, is given another peer. */
static tr_err another_peer(tr_actor *self, script *s)
{
    const tr_app_status *st;
    TR_TRY(puts_one(self, s));
    TR_TRY(tr_stop(self, tr_whereis(self, "one"), TR_EXIT_SHUTDOWN));
    TR_TRY(tr_sleep(self, TR_MILLIS(10)));
    tr_addr a = spawn_app(self, "one", "a1", "alice/three");
    tr_addr c = spawn_app(self, "three", "c1", "alice/one");
    TR_TRY(reaches(self, a, "stopped", &st));
    EXPECT(strstr(st->error, "app one (a1) could not talk properly to ") &&
               strstr(st->error, "alice/three has 0 entries and alice/one has 1"),
           "%s", st->error);
    EXPECT(st->last == 1 && st->own == 1, "%" PRIu64, st->last);
    TR_TRY(reaches(self, c, "stopped", &st));
    EXPECT(strstr(st->error, "app three (c1) could not talk properly to "), "%s", st->error);
    tr_err err = tr_await_msg(self, put(self, a, "x", WAIT), NULL);
    EXPECT(err == TR_EMISMATCH && strstr(tr_last_error(self)->text, "could not talk properly"), "%s",
           tr_last_error(self)->text);
    err = status(self, c, true, &st);
    EXPECT(err == TR_EMISMATCH, "%s", tr_err_word(err));
    return TR_OK;
}

static void a_peer_with_another_journal_ends_the_exchange_by_name_on_both_sides(void **state)
{
    (void)state;
    play(another_peer);
}

static tr_err same_id(tr_actor *self, script *s)
{
    const tr_app_status *st;
    tr_addr a = one(self), b = spawn_app(self, "two", "a1", "alice/one");
    (void)s;
    tr_future waiting = tr_ask(self, a, WAIT, tr_app_query, .together = true);
    tr_err err = tr_await_msg(self, waiting, NULL);
    EXPECT(err == TR_EINVAL && strstr(tr_last_error(self)->text, "both apps have the id a1"), "%s",
           tr_last_error(self)->text);
    return reaches(self, b, "stopped", &st);
}

static void two_apps_of_one_id_are_stopped_by_name(void **state)
{
    (void)state;
    play(same_id);
}

typedef struct foreign {
    const char *origin, *data;
    bool wrong_digest, cut;
    const char *text;
} foreign;

static tr_err append_body(tr_actor *self, tr_tx *tx, void *arg)
{
    const foreign *f = arg;
    uint8_t digest[crypto_hash_sha256_BYTES];
    tr__tx_buffer items = {0};
    (void)self;
    crypto_hash_sha256(digest, (const uint8_t *)f->data, strlen(f->data));
    digest[0] ^= f->wrong_digest;
    tr__tx_put_bytes(&items, digest, sizeof(digest));
    tr__tx_put_bytes(&items, f->data, strlen(f->data));
    tr_err err = tr_tx_await(tx, "alice/one", tr_app_append, .origin = f->origin,
                             .items = {items.bytes, items.length - f->cut});
    tr__tx_buffer_free(&items);
    return err;
}

static tr_err foreigners(tr_actor *self, script *s)
{
    foreign all[] = {
        {"c1", "x", false, false, "not c1"},
        {"c/1", "x", false, false, "an item's origin is none"},
        {"b1", "x", true, false, "item 2 doesn't have the digest it came with"},
        {"b1", "x", false, true, "a malformed list of items"},
    };
    TR_TRY(puts_one(self, s));
    for (size_t i = 0; i < TR_COUNT(all); i++) {
        tr_tx_outcome out = tr_tx_run(self, append_body, &all[i], NULL);
        EXPECT(out.status == TR_TX_ABORTED && out.reason == TR_TX_APP && strstr(out.text, all[i].text),
               "%zu: %s", i, out.text);
    }
    return expect_same(self, tr_whereis(self, "one"), tr_whereis(self, "two"), "a1:x ");
}

static void items_of_a_third_app_and_wrong_ones_are_refused_by_name(void **state)
{
    (void)state;
    play(foreigners);
}

/* ---- what is in doubt ---------------------------------------------------------------------------------- */

static tr_err locked(tr_actor *self, script *s)
{
    const tr_app_status *st;
    foreign f = {.origin = "a1", .data = "y"};
    TR_TRY(puts_one(self, s));
    tr_addr a = tr_whereis(self, "one");
    tr_tx tx = tr_tx_begin(self, &(tr_tx_opts){.deadline_ns = TR_MINUTES(1)});
    TR_TRY(append_body(self, &tx, &f)); /* holds its lock from here */
    TR_TRY(status(self, a, false, &st));
    EXPECT(strstr(st->error, "its journal can't be read just now: another transaction held it for too long"),
           "%s", st->error);
    EXPECT(st->digest[0] == '\0' && st->last == 0 && strcmp(st->name, "one") == 0, "%s", st->digest);
    tr_future got = tr_ask(self, a, WAIT, tr_app_get, .number = 1);
    tr_err err = tr_await_msg(self, got, NULL);
    EXPECT(err == TR_EABORTED, "%s", tr_err_word(err));
    tr_future together = tr_ask(self, a, WAIT, tr_app_query, .together = true);
    TR_TRY(tr_sleep(self, TR_SECONDS(5)));
    err = tr_take_result(self, together, NULL);
    EXPECT(err == TR_EAGAIN, "%s", tr_err_word(err));
    tr_tx_abort(&tx);
    TR_TRY(tr_await(self, together, tr_app_status, &st));
    EXPECT(st->own == 1 && st->last == 1, "%" PRIu64, st->own);
    return TR_OK;
}

static void while_the_journal_is_locked_the_status_tells_why_and_together_waits(void **state)
{
    (void)state;
    play(locked);
}

static tr_err many_wait(tr_actor *self, script *s)
{
    const tr_app_status *st;
    tr_future f = {0};
    tr_addr a = one(self);
    (void)s;
    TR_TRY(reaches(self, a, "apart", &st));
    for (int i = 0; i < 64; i++)
        f = tr_ask(self, a, WAIT, tr_app_query, .together = true);
    tr_err err = status(self, a, true, &st);
    EXPECT(err == TR_EFULL, "%s", tr_err_word(err));
    tr_cancel(self, f);
    f = tr_ask(self, a, WAIT, tr_app_query, .together = true);
    two(self);
    return tr_await_msg(self, f, NULL);
}

/* The same while they wait for the journal, which another transaction has. */
static tr_err many_read(tr_actor *self, script *s)
{
    foreign f = {.origin = "a1", .data = "y"};
    const tr_app_status *st;
    tr_future query = {0};
    TR_TRY(puts_one(self, s));
    tr_addr a = tr_whereis(self, "one");
    TR_TRY(status(self, a, true, &st));
    tr_tx tx = tr_tx_begin(self, &(tr_tx_opts){.deadline_ns = TR_MINUTES(1)});
    TR_TRY(append_body(self, &tx, &f));
    for (int i = 0; i < 64; i++)
        query = tr_ask(self, a, WAIT, tr_app_query, .together = true);
    tr_err err = status(self, a, true, &st);
    EXPECT(err == TR_EFULL, "%s", tr_err_word(err));
    tr_cancel(self, query);
    TR_TRY(tr_sleep(self, TR_MILLIS(10)));
    query = tr_ask(self, a, WAIT, tr_app_query, .together = true);
    TR_TRY(tr_sleep(self, TR_MILLIS(10)));
    tr_tx_abort(&tx);
    return tr_await_msg(self, query, NULL);
}

static void queries_that_read_are_bounded_and_can_be_cancelled(void **state)
{
    (void)state;
    play(many_read);
}

static void queries_that_wait_are_bounded_and_can_be_cancelled(void **state)
{
    (void)state;
    play(many_wait);
}

/* The reads are under way when it ends: nothing of them is left (the sanitizer looks). */
static tr_err killed_while_it_reads(tr_actor *self, script *s)
{
    foreign f = {.origin = "a1", .data = "y"};
    TR_TRY(puts_one(self, s));
    tr_addr a = tr_whereis(self, "one");
    tr_tx tx = tr_tx_begin(self, NULL);
    TR_TRY(append_body(self, &tx, &f));
    tr_future query = tr_ask(self, a, WAIT, tr_app_query, .together = true);
    tr_future get = tr_ask(self, a, WAIT, tr_app_get, .number = 1);
    TR_TRY(tr_sleep(self, TR_MILLIS(10)));
    TR_TRY(tr_stop(self, a, TR_EXIT_KILLED));
    tr_err first = tr_await_msg(self, query, NULL), second = tr_await_msg(self, get, NULL);
    EXPECT(first == TR_ENOACTOR && second == TR_ENOACTOR, "%s %s", tr_err_word(first), tr_err_word(second));
    return TR_OK;
}

static void who_reads_when_the_app_ends_hears_so(void **state)
{
    (void)state;
    play(killed_while_it_reads);
}

/* ---- children ------------------------------------------------------------------------------------------ */

static void child_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, mark))
        tr_exit(self, TR_EAPP, "a child that fails");
}
TR_ACTOR(child_def, .receive = child_receive);

static tr_err children(tr_actor *self, script *s)
{
    const tr_app_owned *owned;
    const tr_app_status *st;
    const tr_msg *msg;
    tr_addr a = one(self), child[65];
    (void)s;
    for (int i = 0; i < 65; i++) {
        child[i] = tr_spawn(self, &child_def, NULL);
        tr_err err =
            tr_await(self, tr_ask(self, a, WAIT, tr_app_own, .actor = child[i]), tr_app_owned, &owned);
        EXPECT(i < 64 ? err == TR_OK && owned->children == (uint64_t)i + 1 : err == TR_EFULL, "%d: %s", i,
               tr_err_word(err));
    }
    TR_TRY(tr_send(self, child[0], mark, .n = 1));
    TR_TRY(tr_sleep(self, TR_MILLIS(10)));
    TR_TRY(status(self, a, false, &st));
    EXPECT(st->children == 63, "%" PRIu64, st->children);
    tr_monitor(self, child[1]);
    TR_TRY(tr_stop(self, a, TR_EXIT_SHUTDOWN));
    msg = tr_receive(self, WAIT);
    EXPECT(msg && tr_match(msg, tr_down), "%s", msg ? tr_msg_type_name(msg) : "nothing");
    return TR_OK;
}

static void children_end_with_the_app_and_it_outlives_them(void **state)
{
    (void)state;
    play(children);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_apps_that_put_at_once_have_the_same_journal),
        cmocka_unit_test(a_put_waits_while_the_peer_is_away_and_comes_through),
        cmocka_unit_test(an_app_that_was_killed_is_started_again_with_its_journal),
        cmocka_unit_test(journals_are_there_after_a_power_cut),
        cmocka_unit_test(what_was_cancelled_or_late_before_it_was_under_way_is_dropped),
        cmocka_unit_test(items_are_bounded_in_size_and_number),
        cmocka_unit_test(items_that_wait_are_bounded_in_bytes),
        cmocka_unit_test(a_peer_with_another_journal_ends_the_exchange_by_name_on_both_sides),
        cmocka_unit_test(two_apps_of_one_id_are_stopped_by_name),
        cmocka_unit_test(items_of_a_third_app_and_wrong_ones_are_refused_by_name),
        cmocka_unit_test(while_the_journal_is_locked_the_status_tells_why_and_together_waits),
        cmocka_unit_test(queries_that_wait_are_bounded_and_can_be_cancelled),
        cmocka_unit_test(queries_that_read_are_bounded_and_can_be_cancelled),
        cmocka_unit_test(who_reads_when_the_app_ends_hears_so),
        cmocka_unit_test(children_end_with_the_app_and_it_outlives_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
