/* actors/dead_letters.c: who watches hears what is dropped and why, so often and no more, and of how many it didn't hear. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/adapter.h"

typedef struct world {
    manual *m;
    manual_puppet watcher, sender;
    tr_addr nobody;
    uint64_t told, lost;
} world;

static void note_letter(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self;
    world *w = puppet->user;
    const tr_dead_letter *letter = tr_match(msg, tr_dead_letter);
    if (!letter)
        return;
    w->told++;
    w->lost += letter->lost;
    manual_note(puppet, "%s:%s%s", letter->reason, letter->type,
                tr_addr_equal(letter->sender, w->sender.address) ? ":from-sender" : "");
    puppet->trail[0] = w->told > 20 ? '\0' : puppet->trail[0];
}

static void watch(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_watch_dead_letters(self, true), TR_OK);
    assert_int_equal(tr_watch_dead_letters(self, true), TR_OK); /* once is enough */
}

static void unwatch(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_watch_dead_letters(self, false), TR_OK);
}

typedef struct order {
    tr_addr to;
    uint64_t count;
} order;

static void send_marks(tr_actor *self, void *context)
{
    order *o = context;
    for (uint64_t i = 0; i < o->count; i++)
        tr_send(self, o->to, mark, .n = i);
}

static world *open_world(uint32_t loops, const tr_spawn_opts *opts)
{
    world *w = calloc(1, sizeof(*w));
    w->m = manual_open(loops);
    w->watcher.on = note_letter;
    w->watcher.user = w;
    manual_spawn(w->m, 0, &w->watcher, opts);
    manual_spawn(w->m, loops - 1, &w->sender, NULL);
    manual_pump(w->m);
    w->nobody = w->sender.address;
    w->nobody.generation += 5;
    manual_do(w->m, w->watcher.address, watch, NULL);
    return w;
}

static void close_world(world *w)
{
    manual_check(w->m);
    manual_close(w->m);
    free(w);
}

static void send_to_nobody(world *w, uint64_t count)
{
    order o = {w->nobody, count};
    manual_do(w->m, w->sender.address, send_marks, &o);
}

static void reason_type_and_sender_are_told(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, NULL);
        send_to_nobody(w, 1);
        assert_string_equal(w->watcher.trail, "init tr_dead_letter no-actor:mark:from-sender ");
        manual_puppet full = {0};
        tr_spawn_opts opts = {.mailbox_places = 1, .overflow = TR_OVERFLOW_DROP_NEWEST};
        order o = {manual_spawn(w->m, loops - 1, &full, &opts), 2};
        manual_do(w->m, w->sender.address, send_marks, &o);
        assert_non_null(strstr(w->watcher.trail, "dropped-newest:mark:from-sender"));
        manual_do(w->m, w->watcher.address, unwatch, NULL);
        send_to_nobody(w, 1);
        assert_int_equal(w->told, 2);
        close_world(w);
    }
}

static void a_flood_is_told_of_by_so_many_and_a_count_of_the_rest(void **state)
{
    (void)state;
    world *w = open_world(1, NULL);
    send_to_nobody(w, 1000);
    assert_int_equal(w->told, 100);
    assert_int_equal(w->lost, 0);
    w->m->now_ns += TR_MILLIS(10);
    send_to_nobody(w, 20); /* ten more in ten milliseconds */
    assert_int_equal(w->told, 110);
    assert_int_equal(w->lost, 900);
    w->m->now_ns += TR_SECONDS(1);
    send_to_nobody(w, 1);
    assert_int_equal(w->told + w->lost, 1021);
    w->m->now_ns += TR_SECONDS(10);
    send_to_nobody(w, 500);
    assert_int_equal(w->told, 211); /* a hundred at once, however long there was none */
    close_world(w);
}

static void a_watcher_whose_mailbox_is_full_loses_what_has_no_place_and_hears_so(void **state)
{
    (void)state;
    tr_spawn_opts opts = {.mailbox_places = 4};
    world *w = open_world(1, &opts);
    send_to_nobody(w, 10);
    assert_in_range(w->told, 3, 4);
    send_to_nobody(w, 1);
    assert_int_equal(w->told + w->lost, 11);
    close_world(w);
}

/* Each notice would drop the oldest, which is a dead letter again. */
static void telling_one_that_drops_its_oldest_comes_to_an_end(void **state)
{
    (void)state;
    tr_spawn_opts opts = {.mailbox_places = 4, .overflow = TR_OVERFLOW_DROP_OLDEST};
    world *w = open_world(1, &opts);
    tr_actor *watcher = manual_actor(w->m, w->watcher.address);
    watcher->queued = true;
    order o = {w->watcher.address, 4};
    manual_do(w->m, w->sender.address, send_marks, &o);
    send_to_nobody(w, 3);
    watcher->queued = false;
    manual_mark(w->m, w->watcher.address, 9);
    manual_pump(w->m);
    assert_int_equal(w->told, 3);
    assert_int_equal(manual_dropped(w->m, TR_DROP_OLDEST), 3);
    send_to_nobody(w, 1);
    assert_int_equal(w->told + w->lost, 7);
    close_world(w);
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

static void watch_as_one_too_many(tr_actor *self, void *context)
{
    (void)context;
    manual_note(manual_self(self), "%s", tr_err_word(tr_watch_dead_letters(self, true)));
}

static void eight_may_watch_and_one_that_ends_makes_room(void **state)
{
    (void)state;
    world *w = open_world(1, NULL);
    manual_puppet others[8] = {{.address = {0}}};
    for (int i = 0; i < 8; i++) {
        manual_spawn(w->m, 0, &others[i], NULL);
        manual_do(w->m, others[i].address, watch_as_one_too_many, NULL);
        assert_string_equal(others[i].trail, i < 7 ? "init ok " : "init full ");
    }
    manual_do(w->m, w->sender.address, kill_it, &others[3].address);
    manual_do(w->m, others[7].address, watch_as_one_too_many, NULL);
    assert_string_equal(others[7].trail, "init full ok ");
    close_world(w);
}

static void the_log_has_a_line_a_second_and_reason_with_how_many_were_silent(void **state)
{
    (void)state;
    world *w = open_world(1, NULL);
    uint32_t before = w->m->logged;
    send_to_nobody(w, 50);
    assert_int_equal(w->m->logged, before + 1);
    manual_puppet full = {0};
    tr_spawn_opts opts = {.mailbox_places = 1, .overflow = TR_OVERFLOW_DROP_NEWEST};
    order o = {manual_spawn(w->m, 0, &full, &opts), 5};
    manual_do(w->m, w->sender.address, send_marks, &o);
    assert_int_equal(w->m->logged, before + 2); /* another reason has its own */
    assert_non_null(strstr(w->m->last_log, "dead letter (dropped-newest): a mark from <"));
    w->m->now_ns += TR_SECONDS(1);
    send_to_nobody(w, 1);
    assert_non_null(strstr(w->m->last_log, "49 more since the last such line"));
    close_world(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reason_type_and_sender_are_told),
        cmocka_unit_test(a_flood_is_told_of_by_so_many_and_a_count_of_the_rest),
        cmocka_unit_test(a_watcher_whose_mailbox_is_full_loses_what_has_no_place_and_hears_so),
        cmocka_unit_test(telling_one_that_drops_its_oldest_comes_to_an_end),
        cmocka_unit_test(eight_may_watch_and_one_that_ends_makes_room),
        cmocka_unit_test(the_log_has_a_line_a_second_and_reason_with_how_many_were_silent),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
