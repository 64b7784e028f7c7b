/* `troupe fetch` against nginx, a server that we did not write. */
#include "nginx.h"

#include "cli_kit.h"

#define BIG_SIZE (4 * 1000 * 1000 + 3) /* two seconds at /slow */

static int set_up(void **state)
{
    (void)state;
    char path[ROOM];
    const char *program = find_nginx();
    if (!program)
        return -1;
    make_work_dir();
    snprintf(path, sizeof(path), "%s/files", work_dir);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/files/small", work_dir);
    make_file(path, 1000, 0);
    snprintf(path, sizeof(path), "%s/files/big", work_dir);
    make_file(path, BIG_SIZE, 0);
    snprintf(path, sizeof(path), "%s/files/back\\slash", work_dir);
    make_file(path, 7, 0);
    start_nginx(program);
    snprintf(cli_directory, sizeof(cli_directory), "%.60s/", work_dir);
    strcat(cli_directory, "in");
    return 0;
}

static int empty(void **state)
{
    (void)state;
    remove_tree(cli_directory);
    return mkdir(cli_directory, 0777);
}

static int tear_down(void **state)
{
    (void)state;
    stop_nginx();
    remove_tree(work_dir);
    return 0;
}

/* ---- what goes well ------------------------------------------------------------------------------------ */

static void files_arrive_and_their_digests_can_be_checked(void **state)
{
    (void)state;
    assert_int_equal(0, sh("$T fetch %s/small %s/big %s/back%%5Cslash >SUMS && sha256sum -c SUMS", web_root,
                           web_root, web_root));
    assert_string_equal("", content("err"));
    assert_contains(content("out"), "small: OK\n");
    assert_contains(content("out"), "big: OK\n");
    assert_contains(content("out"), "slash: OK\n");
    assert_int_equal(0, sh("$T fetch %s/small --output deeper && cmp small deeper/small", web_root));
    assert_contains(content("out"), "  deeper/small\n");
}

static void json_tells_each_file_and_the_sum(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T fetch --json %s/small %s/none", web_root, web_root));
    assert_contains(content("out"), "/small\",\"path\":\"small\",\"size\":1000,\"sha256\":\"");
    assert_contains(content("out"), "/none\",\"error\":\"not-found\",\"text\":\"");
    assert_contains(content("out"), "{\"ok\":false,\"files\":2,\"fetched\":1,\"failed\":1,\"bytes\":1000,");
    assert_string_equal("", content("err"));
}

static void a_terminal_gets_bars_and_what_is_read_by_others_does_not(void **state)
{
    (void)state;
    assert_int_equal(0, sh("TERM=xterm script -qec \"$T fetch %s/slow/big\" /dev/null </dev/null", web_root));
    assert_contains(content("out"), "###");
    assert_contains(content("out"), " of 1 file, ");
    assert_contains(content("out"), "  big\r\n");
    assert_int_equal(0, sh("TERM=xterm $T fetch %s/slow/big", web_root));
    assert_null(strchr(content("out"), '\033'));
    assert_string_equal("", content("err"));
}

/* ---- what fails ---------------------------------------------------------------------------------------- */

static void each_url_that_fails_is_named_and_the_others_arrive(void **state)
{
    (void)state;
    char dead[64];
    snprintf(dead, sizeof(dead), "http://127.0.0.1:%d/x", free_port);
    assert_int_equal(1, sh("$T fetch %s/none %s small http://no-such-host.invalid/y %s/ %s/small", web_root,
                           dead, web_root, web_root));
    const char *said = content("err");
    assert_contains(said, "/none: the server answers 404, no such file; check the URL (not-found)\n");
    assert_contains(said, dead);
    assert_contains(said, "(refused)\n");
    assert_contains(said, "troupe fetch: small: not a URL that can be fetched; give http:// or https:// (in");
    assert_contains(said, "no-such-host");
    assert_contains(said, "(address)\n");
    assert_contains(said, "/: no file name can be made of the end of this URL (invalid)\n");
    assert_contains(said, "troupe fetch: 5 of 6 failed\n");
    assert_contains(content("out"), "  small\n");
    assert_int_equal(3, count_files(cli_directory)); /* small, out, err */
}

static void two_urls_of_one_name_are_not_written_over_each_other(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T fetch %s/small %s/slow/small", web_root, web_root));
    assert_contains(content("err"), "/slow/small: its file would be small, as that of http://");
    assert_contains(content("err"), "(exists)\n");
    assert_int_equal(1000, file_size(strcat(strcpy((char[128]){0}, cli_directory), "/small")));
}

static void a_directory_that_cannot_be_is_one_error(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T fetch -o /proc/none %s/small %s/big", web_root, web_root));
    assert_string_equal("troupe fetch: -o \"/proc/none\": no files can be put there: No such file or "
                        "directory\n",
                        content("err"));
    assert_int_equal(1, sh(": >file; $T fetch -o file %s/small", web_root));
    assert_contains(content("err"), "-o \"file\": no files can be put there: Not a directory");
    assert_int_equal(1, sh("$T fetch -o a/b/c %s/small", web_root));
    assert_contains(content("err"), "-o \"a/b/c\": no files can be put there");
    /* Root may write anywhere; so as somebody else, if we are root. */
    if (geteuid() == 0) {
        assert_int_equal(1,
                         sh("mkdir shut; chmod 755 . shut; setpriv --reuid 65534 --clear-groups $T fetch -o "
                            "shut %s/small",
                            web_root));
        if (!strstr(content("err"), "setpriv"))
            assert_contains(content("err"), "-o \"shut\": no files can be put there");
    }
}

static void bad_options_are_named(void **state)
{
    (void)state;
    assert_int_equal(2, sh("$T fetch"));
    assert_contains(content("err"), "no URL given");
    assert_int_equal(2, sh("$T fetch --parallel 65 http://x/y"));
    assert_contains(content("err"), "--parallel \"65\": a whole number from 1 to 64 is needed");
    assert_int_equal(2, sh("$T fetch --sideways http://x/y"));
    assert_contains(content("err"), "unknown option \"--sideways\"");
    assert_int_equal(2, sh("$T fetch http://x/y -o"));
    assert_contains(content("err"), "a value is missing after \"-o\"");
    assert_int_equal(2, sh("$T fetch $(seq -f http://x/%%.0f 4097)"));
    assert_contains(content("err"), "4097 URLs, at most 4096 at once");
    assert_int_equal(1, sh("$T fetch %s/small >/dev/full", web_root));
    assert_contains(content("err"), "standard output: not all of it could be written");
}

/* ---- interrupted --------------------------------------------------------------------------------------- */

static void ctrl_c_leaves_what_the_next_run_goes_on_from(void **state)
{
    (void)state;
    char command[512], digest[2][65];
    snprintf(command, sizeof(command), "exec $T fetch %s/small %s/slow/big", web_root, web_root);
    pid_t pid = start_sh(command);
    assert_true(has_content("out")); /* small is there */
    assert_true(has_content("big.part"));
    kill(pid, SIGINT);
    assert_int_equal(128 + SIGINT, end_of(pid));
    assert_contains(content("err"), "interrupted; 1 of 2 files are there; the same command goes on");
    assert_int_equal(5, count_files(cli_directory)); /* small, big.part, big.part.info, out, err */
    assert_int_equal(0, sh("$T fetch --json %s/slow/big", web_root));
    assert_null(strstr(content("out"), "\"resumed_from\":0"));
    assert_contains(content("out"), "\"resumed_from\":");
    assert_int_equal(4, count_files(cli_directory));
    assert_string_equal(digest_of(strcat(strcpy((char[128]){0}, cli_directory), "/big"), digest[0]),
                        digest_of_content(BIG_SIZE, digest[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(files_arrive_and_their_digests_can_be_checked, empty),
        cmocka_unit_test_setup(json_tells_each_file_and_the_sum, empty),
        cmocka_unit_test_setup(a_terminal_gets_bars_and_what_is_read_by_others_does_not, empty),
        cmocka_unit_test_setup(each_url_that_fails_is_named_and_the_others_arrive, empty),
        cmocka_unit_test_setup(two_urls_of_one_name_are_not_written_over_each_other, empty),
        cmocka_unit_test_setup(a_directory_that_cannot_be_is_one_error, empty),
        cmocka_unit_test_setup(bad_options_are_named, empty),
        cmocka_unit_test_setup(ctrl_c_leaves_what_the_next_run_goes_on_from, empty),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
