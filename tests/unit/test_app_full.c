/* Two apps on a node whose disk is full, under a clock that only the test moves. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/app.h>

#include "actors/kinds/app_wire.h"
#include "actors/tx/frame.h"
#include "tests/kit/bank.h"

#define WAIT TR_SECONDS(20)

static tr_addr spawn_app(tr_actor *self, const char *name, const char *id, const char *peer)
{
    return tr_spawn_with(self, &tr_app, &(tr_app_opts){.name = name, .id = id, .peer = peer},
                         &(tr_spawn_opts){.name = name});
}

/* How many transactions of this node have been aborted. */
static tr_err aborted_so_far(tr_actor *self, uint64_t *count)
{
    const tr_tx_listing *listing;
    TR_TRY(tr_await(self, tr_ask(self, tr_whereis(self, "tx"), WAIT, tr_tx_list), tr_tx_listing, &listing));
    const char *at = strstr(listing->json, "\"aborted\":");
    if (!at)
        return tr_fail(self, TR_EAPP, "%s", listing->json);
    *count = strtoull(at + strlen("\"aborted\":"), NULL, 10);
    return TR_OK;
}

static bank *with_a_full_disk; /* while that script runs */

static tr_err no_place(tr_actor *self, script *s)
{
    static const uint8_t large[60000];
    const tr_bytes item = {large, sizeof(large)};
    const tr_app_put_done *done;
    uint64_t before, after;
    tr_err err = TR_OK;
    tr_addr a = spawn_app(self, "one", "a1", "alice/two");
    (void)s;
    spawn_app(self, "two", "b1", "alice/one");
    for (int i = 0; i < 1000 && err == TR_OK; i++)
        err =
            tr_await(self, tr_ask(self, a, TR_SECONDS(2), tr_app_put, .data = item), tr_app_put_done, &done);
    if (err != TR_EFULL || !strstr(tr_last_error(self)->text, "could not put it in time") ||
        !strstr(tr_last_error(self)->text, "the disk is full"))
        return tr_fail(self, TR_EAPP, "the disk never was full: %s: %s", tr_err_word(err),
                       tr_last_error(self)->text);
    tr_future waits = tr_ask(self, a, TR_MINUTES(1), tr_app_put, .data = item);
    TR_TRY(tr_sleep(self, TR_SECONDS(2)));
    TR_TRY(aborted_so_far(self, &before));
    TR_TRY(tr_sleep(self, TR_SECONDS(20)));
    TR_TRY(aborted_so_far(self, &after));
    if (after == before || after - before > 40) /* they are 1 to 2 s apart */
        return tr_fail(self, TR_EAPP, "tried %" PRIu64 " times in 20 s", after - before);
    with_a_full_disk->disk.space = 0;
    return tr_await(self, waits, tr_app_put_done, &done);
}

static void a_log_without_place_is_tried_again_less_and_less_often(void **state)
{
    bank *b = with_a_full_disk = bank_open(1);
    script s = {.run = no_place};
    (void)state;
    b->disk.space = memory_log_used(&b->disk);
    bank_play(b, &s);
    bank_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_without_place_is_tried_again_less_and_less_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
