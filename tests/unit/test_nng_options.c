/* What an nng socket takes for its options, and which URLs: over a scripted seam. */
#include "tests/kit/manual.h"

#include <stdio.h>
#include <string.h>

#include <troupe/nng_socket.h>

#include "actors/kinds/sp_address.h"
#include "tests/kit/script_sp.h"

static script_sp script;
static manual *m;
static manual_puppet puppet;

static void spawn_it(tr_actor *self, void *context)
{
    uint64_t monitor;
    tr_spawn_with(self, &tr_nng_socket, context, &(tr_spawn_opts){.monitor = &monitor});
}

/* ---- URLs ---------------------------------------------------------------------------------------------- */

static void urls_are_judged_before_nng_sees_them(void **state)
{
    static const struct {
        const char *url;
        tr_err dial, listen, anywhere;
    } rows[] = {
        {"tcp://127.0.0.1:5555", TR_OK, TR_OK, TR_OK},
        {"tcp://[::1]:5555", TR_OK, TR_OK, TR_OK},
        {"tcp://127.0.0.1:0", TR_EADDR, TR_OK, TR_OK},
        {"tcp://0.0.0.0:5555", TR_OK, TR_EPERM, TR_OK},
        {"tcp://192.168.1.2:5555", TR_OK, TR_EPERM, TR_OK},
        {"tcp://[::]:5555", TR_OK, TR_EPERM, TR_OK},
        {"tcp://example.org:5555", TR_OK, TR_EADDR, TR_EADDR},
        {"tcp://*:5555", TR_EADDR, TR_EADDR, TR_EADDR},
        {"tcp://:5555", TR_EADDR, TR_EADDR, TR_EADDR},
        {"tcp://127.0.0.1", TR_EADDR, TR_EADDR, TR_EADDR},
        {"tcp://127.0.0.1:5555/x", TR_EADDR, TR_EADDR, TR_EADDR},
        {"ws://127.0.0.1:80/x", TR_OK, TR_OK, TR_OK},
        {"ws://0.0.0.0:80/x", TR_OK, TR_EPERM, TR_OK},
        {"ws://127.0.0.1.evil.org:80/127.0.0.1", TR_OK, TR_EADDR, TR_EADDR},
        {"ipc:///run/x", TR_OK, TR_OK, TR_OK},
        {"abstract://x", TR_OK, TR_OK, TR_OK},
        {"inproc://x", TR_OK, TR_OK, TR_OK},
        {"inproc://", TR_EADDR, TR_EADDR, TR_EADDR},
        {"tls+tcp://127.0.0.1:5555", TR_EADDR, TR_EADDR, TR_EADDR},
        {"zt://x", TR_EADDR, TR_EADDR, TR_EADDR},
        {"127.0.0.1:5555", TR_EADDR, TR_EADDR, TR_EADDR},
        {"", TR_EADDR, TR_EADDR, TR_EADDR},
        {"tcp://127.0.0.1:5555 ", TR_EADDR, TR_EADDR, TR_EADDR},
        {"ipc:///a\nb", TR_EADDR, TR_EADDR, TR_EADDR},
    };
    tr_error error;
    char url[200] = "inproc://";
    (void)state;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        if (tr__sp_check_dial(rows[i].url, &error) != rows[i].dial)
            fail_msg("dial %s: %s", rows[i].url, error.text);
        if (tr__sp_check_listen(rows[i].url, false, &error) != rows[i].listen)
            fail_msg("listen %s: %s", rows[i].url, error.text);
        if (tr__sp_check_listen(rows[i].url, true, &error) != rows[i].anywhere)
            fail_msg("listen anywhere %s: %s", rows[i].url, error.text);
    }
    memset(url + 9, 'x', TR__SP_URL_MAX - 10);
    assert_int_equal(tr__sp_check_dial(url, &error), TR_OK);
    url[TR__SP_URL_MAX - 1] = 'x';
    assert_int_equal(tr__sp_check_dial(url, &error), TR_EADDR);
}

/* ---- options ------------------------------------------------------------------------------------------- */

static tr_down heard;
static char heard_text[TR_ERROR_TEXT_MAX];

static void hear_down(tr_actor *self, manual_puppet *p, const tr_msg *msg)
{
    const tr_down *down = tr_match(msg, tr_down);
    (void)self, (void)p;
    if (down) {
        heard = *down;
        snprintf(heard_text, sizeof(heard_text), "%s", down->text);
    }
}

static void refuse(tr_nng_opts opts, bool with_consumer, tr_err code, const char *part)
{
    script_sp_init(&script);
    tr__kind_seams kinds = {.sp = script_sp_seam(), .context = &script};
    m = manual_open_kinds(1, &kinds);
    puppet = (manual_puppet){.on = hear_down};
    manual_spawn(m, 0, &puppet, NULL);
    manual_pump(m);
    if (with_consumer)
        opts.consumer = puppet.address;
    heard = (tr_down){0};
    manual_do(m, puppet.address, spawn_it, &opts);
    if (heard.kind != TR_EXIT_ERROR || heard.code != code || !strstr(heard_text, part))
        fail_msg("not %s with \"%s\": %s", tr_err_word(code), part, heard_text);
    manual_close(m);
    script_sp_fini(&script);
}

#define URL(...)                              \
    {                                         \
        (const char *const[]){__VA_ARGS__}, 1 \
    }

static void a_wrong_option_ends_it_and_is_named(void **state)
{
    static const char *many[TR_NNG_URLS_MAX + 1];
    (void)state;
    for (size_t i = 0; i < TR_COUNT(many); i++)
        many[i] = "inproc://x";
    refuse((tr_nng_opts){.protocol = "reply", .listen = URL("inproc://x")}, true, TR_EINVAL, "\"reply\"");
    refuse((tr_nng_opts){.protocol = "pull", .listen = URL("inproc://x")}, false, TR_EINVAL, "consumer");
    refuse((tr_nng_opts){.protocol = "push"}, false, TR_EINVAL, "URL");
    refuse((tr_nng_opts){.protocol = "push", .dial = {many, TR_COUNT(many)}}, false, TR_EINVAL, "at most 16");
    refuse((tr_nng_opts){.protocol = "push", .dial = URL("udp://x")}, false, TR_EADDR, "udp://x");
    refuse((tr_nng_opts){.protocol = "push", .listen = URL("tcp://0.0.0.0:1")}, false, TR_EPERM,
           "listen_anywhere");
    refuse((tr_nng_opts){.protocol = "push", .listen = URL("inproc://x"), .topics = URL("x")}, false,
           TR_EINVAL, "topics");
    refuse((tr_nng_opts){.protocol = "push", .listen = URL("inproc://x"), .encoding = "xml"}, false,
           TR_EINVAL, "\"xml\"");
    refuse((tr_nng_opts){.protocol = "push", .listen = URL("inproc://x"), .receive_max = (uint64_t)1 << 40},
           false, TR_EINVAL, "receive_max");
    refuse((tr_nng_opts){.protocol = "req", .listen = URL("inproc://x"), .exchanges = 1000}, false, TR_EINVAL,
           "exchanges");
    refuse((tr_nng_opts){0}, false, TR_EINVAL, "protocol");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_judged_before_nng_sees_them),
        cmocka_unit_test(a_wrong_option_ends_it_and_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
