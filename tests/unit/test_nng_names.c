/* What is listened on and dialled by nng's byte streams: addresses, names, ports. Over real loopback sockets. */
#include "tests/unit/nng_stream_fixture.h"

static void nobody_there_is_refused_by_name(void **state)
{
    fixture *f = *state;
    f->net->unlisten(f->listener);
    dial(f);
    assert_null(f->client.stream);
    assert_int_equal(f->dial_why.code, TR_EREFUSED);
    assert_non_null(strstr(f->dial_why.text, "cannot reach 127.0.0.1:"));
    f->address.port = 0;
    assert_int_equal(f->net->listen(f->net, &f->address, on_accepted, f, &f->listener, NULL), TR_OK);
}

static void a_port_in_use_is_told_with_the_option_that_changes_it(void **state)
{
    fixture *f = *state;
    tr_error error;
    tr__listener *second;
    assert_int_equal(f->net->listen(f->net, &f->address, on_accepted, f, &second, &error), TR_EADDRINUSE);
    assert_non_null(strstr(error.text, "--listen"));
}

static void names_are_listened_on_only_if_they_are_loopback(void **state)
{
    fixture *f = *state;
    tr_error error;
    tr__listener *listener;
    tr__net_address address;
    assert_int_equal(tr__net_address_parse("localhost:0", true, &address, &error), TR_OK);
    assert_int_equal(f->net->listen(f->net, &address, on_accepted, f, &listener, &error), TR_OK);
    f->net->unlisten(listener);
    assert_int_equal(tr__net_address_parse("no-such-host.invalid:0", true, &address, &error), TR_OK);
    assert_int_equal(f->net->listen(f->net, &address, on_accepted, f, &listener, &error), TR_EADDR);
}

static void a_name_of_another_address_is_listened_on_only_if_any_may_be(void **state)
{
    fixture *f = *state;
    tr_error error;
    tr__listener *listener;
    tr__net_address address = {.kind = TR__HOST_NAME, .host = "0.0.0.0"}; /* what a name can resolve to */
    assert_int_equal(f->net->listen(f->net, &address, on_accepted, f, &listener, &error), TR_EPERM);
    assert_non_null(strstr(error.text, "troupe key new FILE"));
    address.anywhere = true;
    assert_int_equal(f->net->listen(f->net, &address, on_accepted, f, &listener, &error), TR_OK);
    f->net->unlisten(listener);
}

/* This program's own, found before that of the C library. */
static const char *moved_to = "";
static unsigned asked;

__attribute__((visibility("default"))) int getaddrinfo(const char *host, const char *service,
                                                       const struct addrinfo *hints, struct addrinfo **found)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(
            RTLD_NEXT, "getaddrinfo");
    if (!host || strcmp(host, "moves.test") != 0)
        return next(host, service, hints, found);
    asked++;
    return next(moved_to, service, hints, found);
}

static void a_name_is_resolved_anew_at_each_dial(void **state)
{
    fixture *f = *state;
    f->address.kind = TR__HOST_NAME;
    strcpy(f->address.host, "moves.test");
    moved_to = "127.0.0.2"; /* nobody listens there */
    dial(f);
    assert_null(f->client.stream);
    assert_int_equal(f->dial_why.code, TR_EREFUSED);
    close_all(f);
    moved_to = "127.0.0.1";
    establish(f);
    assert_int_equal(asked, 2);
}

static void ipv6_loopback_works_where_there_is_one(void **state)
{
    fixture *f = *state;
    tr__net_address address;
    tr__listener *listener;
    assert_int_equal(tr__net_address_parse("[::1]:0", true, &address, NULL), TR_OK);
    if (f->net->listen(f->net, &address, on_accepted, f, &listener, NULL))
        skip();
    f->address = address;
    f->address.port = f->net->port(listener);
    establish(f);
    f->net->unlisten(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_there_is_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_port_in_use_is_told_with_the_option_that_changes_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(names_are_listened_on_only_if_they_are_loopback, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_of_another_address_is_listened_on_only_if_any_may_be, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_name_is_resolved_anew_at_each_dial, setup, teardown),
        cmocka_unit_test_setup_teardown(ipv6_loopback_works_where_there_is_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
