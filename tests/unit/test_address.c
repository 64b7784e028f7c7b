/* Addresses as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "transport/address.h"

static void good_addresses_are_read_and_printed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *printed;
        tr__host_kind kind;
        bool loopback;
    } rows[] = {
        {"127.0.0.1:7100", "127.0.0.1:7100", TR__HOST_IPV4, true},
        {"tcp://127.9.9.9:1", "127.9.9.9:1", TR__HOST_IPV4, true},
        {"128.0.0.1:65535", "128.0.0.1:65535", TR__HOST_IPV4, false},
        {"[::1]:7100", "[::1]:7100", TR__HOST_IPV6, true},
        {"tcp://[fe80::1]:7100", "[fe80::1]:7100", TR__HOST_IPV6, false},
        {"[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", TR__HOST_IPV6, false},
        {"localhost:80", "localhost:80", TR__HOST_NAME, false},
        {"db-1.example_x.org:80", "db-1.example_x.org:80", TR__HOST_NAME, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tr__net_address address;
        tr_error error;
        char text[TR__ADDRESS_MAX + 1];
        assert_int_equal(tr__net_address_parse(rows[i].text, false, &address, &error), TR_OK);
        assert_int_equal(address.kind, rows[i].kind);
        assert_int_equal(tr__net_address_is_loopback(&address), rows[i].loopback);
        tr__net_address_print(&address, text);
        assert_string_equal(text, rows[i].printed);
    }
}

static void bad_addresses_are_refused_with_the_right_form(void **state)
{
    (void)state;
    static const char *const rows[] = {"",
                                       ":",
                                       "host",
                                       "host:",
                                       ":80",
                                       "[]:80",
                                       "[::1]",
                                       "[::1]80",
                                       "[::1]:",
                                       "[::1:80",
                                       "::1:80",
                                       "[127.0.0.1]:80",
                                       "host:0",
                                       "host:65536",
                                       "host:99999999999999999999",
                                       "host:-1",
                                       "host:+1",
                                       "host: 80",
                                       "host:80 ",
                                       "ho st:80",
                                       "http://host:80",
                                       "tcp://",
                                       "tcp://:80",
                                       "127.1:80",
                                       "2130706433:80",
                                       "0x7f000001:80",
                                       "127.0.0.256:80",
                                       "1.2.3.4.5:80",
                                       "-host:80",
                                       ".host:80",
                                       "host/:80",
                                       "[fe80::1%eth0]:80",
                                       "a@b:80"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tr__net_address address;
        tr_error error = {.code = TR_OK};
        if (tr__net_address_parse(rows[i], false, &address, &error) != TR_EADDR)
            fail_msg("'%s' was taken for an address", rows[i]);
        assert_non_null(strstr(error.text, "HOST:PORT"));
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    strcpy(longest + 300, ":80");
    assert_int_equal(tr__net_address_parse(longest, false, &(tr__net_address){0}, NULL), TR_EADDR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses_are_read_and_printed),
        cmocka_unit_test(bad_addresses_are_refused_with_the_right_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
