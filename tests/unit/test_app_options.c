/* What an app is told at its start, and what of that is refused, with which text. */
#include <string.h>

#include <troupe/app.h>

#include "tests/kit/bank.h"

/* The text is what it was instead. */
#define EXPECT(condition, format, ...)                                                                \
    do {                                                                                              \
        if (!(condition))                                                                             \
            return tr_fail(self, TR_EAPP, "line %d: %s: " format, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

static tr_err refused(tr_actor *self, const tr_app_opts *opts, const char *text)
{
    const tr_found *found;
    tr_future f = tr_spawn_ask(self, &tr_app, opts, &(tr_spawn_opts){.name = "app"});
    tr_err err = tr_await(self, f, tr_found, &found);
    EXPECT(err == TR_EINVAL && strstr(tr_last_error(self)->text, text), "%s", tr_last_error(self)->text);
    return TR_OK;
}

static tr_err bad_options(tr_actor *self, script *s)
{
    (void)s;
    TR_TRY(refused(self, NULL, "tr_app needs a tr_app_opts"));
    TR_TRY(refused(self, &(tr_app_opts){"", "a1", "bob/app"}, "an app's name has 1 to 63 bytes"));
    TR_TRY(refused(self, &(tr_app_opts){"one", "a 1", "bob/app"}, "an app's id is 1 to 32 of"));
    TR_TRY(refused(self, &(tr_app_opts){"one", "a1", ""}, "the other app's \"node/name\" is needed"));
    TR_TRY(refused(self, &(tr_app_opts){"one", "a1", "bob"}, "the other app's \"node/name\" is needed"));
    TR_TRY(refused(self, &(tr_app_opts){"one", "a1", "/app"}, "the other app's \"node/name\" is needed"));
    TR_TRY(refused(self, &(tr_app_opts){"one", "a1", "bob/"}, "the other app's \"node/name\" is needed"));
    TR_TRY(refused(self, &(tr_app_opts){"one", "a1", "b/a/c"}, "the other app's \"node/name\" is needed"));
    TR_TRY(refused(self, &(tr_app_opts){"one", "a1", "alice/app"}, "is this app itself"));
    tr_addr nameless = tr_spawn(self, &tr_app, &(tr_app_opts){"one", "a1", "bob/app"});
    EXPECT(tr_addr_is_none(nameless) && strstr(tr_last_error(self)->text, "spawn it with one"), "%s",
           tr_last_error(self)->text);
    return TR_OK;
}

static void options_that_can_not_be_are_refused_with_a_text(void **state)
{
    (void)state;
    bank *b = bank_open(1);
    script s = {.run = bad_options};
    bank_play(b, &s);
    bank_close(b);
}

static void spawn_without_log(tr_actor *self, void *context)
{
    (void)context;
    assert_true(tr_addr_is_none(tr_spawn_with(self, &tr_app, &(tr_app_opts){"one", "a1", "bob/app"},
                                              &(tr_spawn_opts){.name = "app"})));
    assert_non_null(strstr(tr_last_error(self)->text, "--data DIR"));
}

static void an_app_on_a_node_that_keeps_no_log_is_refused(void **state)
{
    (void)state;
    manual *m = manual_open_tx(1, "alice", NULL);
    manual_puppet p = {0};
    manual_spawn(m, 0, &p, NULL);
    manual_do(m, p.address, spawn_without_log, NULL);
    manual_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_can_not_be_are_refused_with_a_text),
        cmocka_unit_test(an_app_on_a_node_that_keeps_no_log_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
