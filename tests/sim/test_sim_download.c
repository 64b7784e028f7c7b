/* The downloader over the twins of HTTP and of files: what they do, each of their faults as the asker sees it, what a
 * crash leaves on the disk, and that a seed says it all. */
#include "tests/sim/sim_world.h"

#define URL  "http://origin/file"
#define PATH "/data/file"
#define SIZE 300000
#define RATE 300000 /* bytes a second, so that a file takes one */

/* ---- the fixture --------------------------------------------------------------------------------------- */

static tr_addr downloader;
static sim_origin *origin;

static void spawn_downloader(world *w, uint64_t rate)
{
    tr_downloader_opts opts = {.bytes_per_second = rate};
    downloader = manual_spawn_def(w->m, 0, &tr_downloader, &opts, NULL);
    manual_pump(w->m);
}

static world *open_world(uint64_t seed)
{
    world *w = world_open(seed);
    origin = sim_http_serve(w->kinds->http, "http://origin/", SIZE);
    spawn_downloader(w, 0);
    return w;
}

static void set(world *w, enum sim_http_fault which, uint32_t rate)
{
    w->kinds->http->faults[which].rate = rate;
}

static void set_file(world *w, enum sim_files_fault which, uint32_t rate)
{
    w->kinds->files->faults[which].rate = rate;
}

static void begin_fetch(world *w, answer *a, const tr_fetch *fetch)
{
    tr_fetch whole = *fetch;
    whole.url = whole.url ? whole.url : URL;
    whole.into = whole.into ? whole.into : PATH;
    whole.sha256 = whole.sha256 ? whole.sha256 : "";
    world_ask(w, a, downloader, &tr_fetch_type, &whole);
}

static answer fetch_with(world *w, const tr_fetch *fetch)
{
    answer a = {0};
    begin_fetch(w, &a, fetch);
    world_wait(w, &a);
    return a;
}

static answer fetch(world *w)
{
    return fetch_with(w, &(tr_fetch){0});
}

static sim_file *file_at(world *w, const char *path)
{
    return sim_fs_find(sim_files_fs(w->kinds->files, 0), path);
}

static bool is_version(const sim_file *file, uint64_t version)
{
    uint8_t *expected = sim_alloc(origin->resource.size);
    sim_content(NULL, URL, version, 0, expected, origin->resource.size);
    bool is = file && file->bytes.size == origin->resource.size &&
              memcmp(file->bytes.data, expected, file->bytes.size) == 0;
    free(expected);
    return is;
}

/* Nothing runs, and on the disk is nothing but what is named. */
static void expect_rest(world *w, bool file, bool part)
{
    world_step(w, TR_SECONDS(10));
    assert_null(w->kinds->http->gets.handles);
    assert_null(w->kinds->files->twin.handles);
    assert_int_equal(file_at(w, PATH) != NULL, file);
    assert_int_equal(file_at(w, PATH ".part") != NULL, part);
    assert_int_equal(file_at(w, PATH ".part.info") != NULL, part);
}

/* ---- what goes well ------------------------------------------------------------------------------------ */

static void a_file_is_fetched_whole_and_forced(void **state)
{
    (void)state;
    for (int resume = 0; resume < 2; resume++) {
        world *w = open_world(1);
        answer a = fetch_with(w, &(tr_fetch){.resume = resume});
        assert_int_equal(a.code, TR_OK);
        assert_int_equal(a.size, SIZE);
        expect_rest(w, true, false);
        assert_true(is_version(file_at(w, PATH), 0));
        world_crash(w, true);
        assert_true(is_version(file_at(w, PATH), 0));
        world_close(w);
    }
}

static void a_broken_one_goes_on_where_it_was_cut(void **state)
{
    (void)state;
    world *w = open_world(1);
    set(w, SIM_HTTP_RESET, ALWAYS);
    answer a = fetch_with(w, &(tr_fetch){.resume = true});
    expect_error(&a, TR_ERESET, "the server cut the connection after");
    expect_rest(w, false, true);
    uint64_t left = file_at(w, PATH ".part")->bytes.size;
    assert_true(left > 0);
    set(w, SIM_HTTP_RESET, 0);
    a = fetch_with(w, &(tr_fetch){.resume = true});
    assert_int_equal(a.code, TR_OK);
    assert_int_equal(a.from, left);
    expect_rest(w, true, false);
    assert_true(is_version(file_at(w, PATH), 0));
    world_close(w);
}

static void a_disk_slower_than_the_server_loses_nothing(void **state)
{
    (void)state;
    world *w = open_world(1);
    set_file(w, SIM_FILES_SLOW, ALWAYS);
    origin->resource.size = 3000000; /* more than its buffers hold */
    answer a = fetch(w);
    assert_int_equal(a.code, TR_OK);
    assert_true(is_version(file_at(w, PATH), 0));
    assert_int_equal(w->kinds->files->faults[SIM_FILES_SLOW].struck, 1);
    world_close(w);
}

static void the_rate_that_was_asked_for_is_kept(void **state)
{
    (void)state;
    world *w = open_world(1);
    spawn_downloader(w, RATE / 10);
    answer a = {0};
    begin_fetch(w, &a, &(tr_fetch){0});
    world_step(w, TR_SECONDS(9));
    assert_false(a.done);
    world_step(w, TR_SECONDS(3));
    assert_true(a.done);
    assert_int_equal(a.code, TR_OK);
    world_close(w);
}

static void look(void *context, const char *url, sim_resource *resource)
{
    (void)context;
    resource->size = strtoul(strrchr(url, '/') + 1, NULL, 10);
    resource->status = resource->size ? 200 : 404;
}

static void all_a(void *context, const char *url, uint64_t version, uint64_t at, uint8_t *into, size_t size)
{
    (void)context, (void)url, (void)version, (void)at;
    memset(into, 'a', size);
}

static void an_origin_may_decide_by_the_url(void **state)
{
    (void)state;
    world *w = open_world(1);
    origin->look = look;
    origin->resource.content = all_a;
    answer a = fetch_with(w, &(tr_fetch){.url = "http://origin/3", .into = PATH});
    assert_int_equal(a.code, TR_OK);
    assert_int_equal(a.size, 3);
    assert_memory_equal(file_at(w, PATH)->bytes.data, "aaa", 3);
    a = fetch_with(w, &(tr_fetch){.url = "http://origin/0", .into = PATH});
    assert_int_equal(a.code, TR_ENOTFOUND);
    world_close(w);
}

/* Without a version and without a digest nothing tells whether two parts belong together. */
static void what_has_no_version_is_fetched_from_the_first_byte(void **state)
{
    (void)state;
    world *w = open_world(1);
    origin->resource.no_etag = true;
    set(w, SIM_HTTP_RESET, ALWAYS);
    fetch_with(w, &(tr_fetch){.resume = true});
    expect_rest(w, false, true);
    set(w, SIM_HTTP_RESET, 0);
    answer a = fetch_with(w, &(tr_fetch){.resume = true});
    assert_int_equal(a.code, TR_OK);
    assert_int_equal(a.from, 0);
    world_close(w);
}

/* ---- faults of the server ------------------------------------------------------------------------------ */

static void each_fault_of_the_server_is_told_and_leaves_nothing(void **state)
{
    static const struct {
        enum sim_http_fault fault;
        tr_err code;
        const char *text;
    } rows[] = {
        {SIM_HTTP_REFUSED, TR_EREFUSED, "refused"},
        {SIM_HTTP_RESET, TR_ERESET, "cut the connection"},
        {SIM_HTTP_LENGTH, TR_ESHORT, "ended early"},
        {SIM_HTTP_SILENT, TR_EDEADLINE, "no byte came for 30 s"},
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        world *w = open_world(i);
        set(w, rows[i].fault, ALWAYS);
        answer a = fetch(w);
        expect_error(&a, rows[i].code, rows[i].text);
        assert_non_null(strstr(a.text, URL));
        expect_rest(w, false, false);
        world_close(w);
    }
}

static void a_status_that_is_drawn_is_told(void **state)
{
    bool not_found = false, other = false;
    (void)state;
    world *w = open_world(1);
    set(w, SIM_HTTP_STATUS, ALWAYS);
    for (int i = 0; i < 10; i++) {
        answer a = fetch(w);
        expect_error(&a, a.code == TR_ENOTFOUND ? TR_ENOTFOUND : TR_EAPP,
                     a.code == TR_ENOTFOUND ? "404" : "50");
        not_found |= a.code == TR_ENOTFOUND;
        other |= a.code == TR_EAPP;
    }
    assert_true(not_found && other);
    expect_rest(w, false, false);
    world_close(w);
}

static void a_host_that_nobody_serves_is_not_found(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = fetch_with(w, &(tr_fetch){.url = "http://elsewhere/file"});
    expect_error(&a, TR_EADDR, "http://elsewhere/file");
    world_close(w);
}

static void a_slow_server_is_waited_for_within_the_time_outs(void **state)
{
    bool well = false, late = false;
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        world *w = open_world(seed);
        set(w, SIM_HTTP_SLOW, ALWAYS);
        answer a = fetch(w);
        if (a.code == TR_OK)
            assert_true(is_version(file_at(w, PATH), 0));
        else
            expect_error(&a, TR_EDEADLINE, "raise connect_ns");
        well |= a.code == TR_OK;
        late |= a.code == TR_EDEADLINE;
        world_close(w);
    }
    assert_true(well && late);
}

/* Half of one version and half of another is never taken for a file. */
static void another_version_between_two_tries_is_fetched_anew(void **state)
{
    (void)state;
    world *w = open_world(1);
    set(w, SIM_HTTP_RESET, ALWAYS);
    fetch_with(w, &(tr_fetch){.resume = true});
    expect_rest(w, false, true);
    set(w, SIM_HTTP_RESET, 0);
    set(w, SIM_HTTP_CHANGED, ALWAYS);
    uint64_t before = w->kinds->http->asked;
    answer a = fetch_with(w, &(tr_fetch){.resume = true});
    assert_int_equal(a.code, TR_OK);
    assert_int_equal(w->kinds->http->asked - before, 1); /* If-Range saw to it */
    assert_int_equal(a.from, 0);
    assert_true(is_version(file_at(w, PATH), origin->resource.version));
    assert_int_not_equal(origin->resource.version, 0);
    world_close(w);
}

/* ---- faults of the disk -------------------------------------------------------------------------------- */

static void each_fault_of_the_disk_is_told_and_leaves_nothing(void **state)
{
    static const struct {
        enum sim_files_fault fault;
        tr_err code, or_code;
        const char *text;
    } rows[] = {
        {SIM_FILES_FULL, TR_ENOSPC, TR_ENOSPC, "make room there"},
        {SIM_FILES_FORCE, TR_EIO, TR_EIO, "can't force to disk"},
        {SIM_FILES_RENAME, TR_EPERM, TR_EIO, "can't rename the finished file"},
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        world *w = open_world(i);
        set_file(w, rows[i].fault, ALWAYS);
        answer a = fetch(w);
        expect_error(&a, a.code == rows[i].or_code ? rows[i].or_code : rows[i].code, rows[i].text);
        assert_non_null(strstr(a.text, PATH));
        expect_rest(w, false, false);
        world_close(w);
    }
}

static void a_disk_that_is_full_has_room_again_afterwards(void **state)
{
    (void)state;
    world *w = open_world(1);
    sim_fs *disk = sim_files_fs(w->kinds->files, 0);
    disk->capacity = SIZE / 3;
    answer a = fetch(w);
    expect_error(&a, TR_ENOSPC, PATH);
    expect_rest(w, false, false);
    assert_int_equal(disk->used, 0);
    disk->capacity = SIZE + 1000;
    a = fetch(w);
    assert_int_equal(a.code, TR_OK);
    assert_int_equal(disk->used, SIZE);
    world_close(w);
}

static void two_that_write_to_one_part_are_told(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = {0}, b = {0};
    tr_addr first = downloader;
    spawn_downloader(w, 0);
    begin_fetch(w, &a, &(tr_fetch){.resume = true});
    world_step(w, TR_MILLIS(5));
    downloader = first;
    begin_fetch(w, &b, &(tr_fetch){.resume = true});
    world_wait(w, &b);
    expect_error(&b, TR_EEXIST, "another download writes to it now");
    world_wait(w, &a);
    assert_int_equal(a.code, TR_OK);
    world_close(w);
}

/* ---- crashes ------------------------------------------------------------------------------------------- */

static void fetch_until_crash(world *w, const char *sha256)
{
    answer a = {0};
    begin_fetch(w, &a, &(tr_fetch){.resume = true, .sha256 = sha256});
    world_step(w, sim_between(&w->kinds->http->twin.random, 0, TR_MILLIS(1500)));
    world_crash(w, true);
    spawn_downloader(w, RATE);
}

/* Whatever a power cut leaves: with the digest given, what is fetched in the end is right or isn't there; and what was
 * answered stays. */
static void after_crashes_a_file_is_right_or_is_not_there(void **state)
{
    unsigned well = 0, wrong = 0, resumed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        world *w = open_world(seed);
        answer a = fetch(w);
        char sha256[TR__SHA256_TEXT];
        snprintf(sha256, sizeof(sha256), "%s", a.sha256);
        sim_fs_unlink(sim_files_fs(w->kinds->files, 0), PATH);
        sim_fs_force_names(sim_files_fs(w->kinds->files, 0));
        spawn_downloader(w, RATE);
        for (int crashes = 0; crashes < 3; crashes++) {
            fetch_until_crash(w, sha256);
            assert_true(!file_at(w, PATH) || is_version(file_at(w, PATH), 0));
        }
        a = fetch_with(w, &(tr_fetch){.resume = true, .sha256 = sha256});
        if (a.code != TR_OK) {
            expect_error(&a, TR_EMISMATCH, "what came has sha256");
            a = fetch_with(w, &(tr_fetch){.resume = true, .sha256 = sha256});
            assert_int_equal(a.code, TR_OK);
            wrong++;
        }
        well++;
        resumed += a.from > 0;
        assert_true(is_version(file_at(w, PATH), 0));
        world_crash(w, true);
        assert_true(is_version(file_at(w, PATH), 0));
        world_close(w);
    }
    assert_true(well == 60 && wrong > 0 && resumed > 0); /* all of it was met */
}

static void a_kill_without_a_power_cut_loses_no_byte_that_was_written(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = {0};
    spawn_downloader(w, RATE);
    begin_fetch(w, &a, &(tr_fetch){.resume = true});
    world_step(w, TR_MILLIS(500));
    size_t written = file_at(w, PATH ".part")->bytes.size;
    assert_true(written > 0);
    world_crash(w, false);
    spawn_downloader(w, 0);
    a = fetch_with(w, &(tr_fetch){.resume = true});
    assert_int_equal(a.code, TR_OK);
    assert_int_equal(a.from, written);
    assert_true(is_version(file_at(w, PATH), 0));
    world_close(w);
}

static void a_crash_ends_all_without_a_word(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = {0};
    spawn_downloader(w, RATE);
    begin_fetch(w, &a, &(tr_fetch){0});
    world_step(w, TR_MILLIS(500));
    assert_non_null(w->kinds->http->gets.handles);
    world_crash(w, true);
    assert_null(w->kinds->http->gets.handles);
    assert_null(w->kinds->http->twin.handles);
    assert_null(w->kinds->files->twin.handles);
    assert_null(file_at(w, PATH));
    world_close(w);
}

/* A node that ends in order stops its downloads; what is left to tidy up then needs no node any more. */
static void what_is_tidied_up_outlives_its_node(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = {0};
    spawn_downloader(w, RATE);
    begin_fetch(w, &a, &(tr_fetch){.resume = true});
    world_step(w, TR_MILLIS(500));
    w->sim.before_ns += w->m->now_ns;
    manual_close(w->m);
    world_begin(w);
    assert_non_null(w->kinds->files->twin.handles);
    world_step(w, TR_SECONDS(1));
    expect_rest(w, false, true);
    world_close(w);
}

/* ---- seeds --------------------------------------------------------------------------------------------- */

static world *open_small(uint64_t seed)
{
    world *w = open_world(seed);
    origin->resource.size = 1000;
    return w;
}

static void ask_file(world *w, answer *a)
{
    static const tr_fetch small = {.url = URL, .into = PATH, .sha256 = "", .resume = true};
    world_ask(w, a, downloader, &tr_fetch_type, &small);
}

static void check_memory(world *w, const answer *a)
{
    assert_true(a->code == TR_OK || a->code == TR_ENOMEM);
    assert_true(a->code != TR_OK || is_version(file_at(w, PATH), 0));
    assert_null(w->kinds->http->gets.handles);
    assert_null(w->kinds->files->twin.handles);
}

static void without_memory_at_any_point_it_is_told_and_nothing_is_left(void **state)
{
    (void)state;
    each_allocation_fails_once(open_small, ask_file, check_memory);
}

static uint64_t trail_of(uint64_t seed)
{
    world *w = open_world(seed);
    answer a[24] = {{0}};
    char paths[24][32];
    sim_fault *fault;
    origin->resource.size = 200000;
    for (unsigned i = 0; (fault = sim_kinds_fault(w->kinds, i)); i++)
        fault->rate = ALWAYS / 8;
    for (size_t i = 0; i < TR_COUNT(a); i++) {
        snprintf(paths[i], sizeof(paths[i]), "/data/%zu", i % 12);
        begin_fetch(w, &a[i], &(tr_fetch){.into = paths[i], .resume = i % 2});
        world_step(w, TR_MILLIS(7));
    }
    for (size_t i = 0; i < TR_COUNT(a); i++)
        world_wait(w, &a[i]);
    world_step(w, TR_MINUTES(1));
    assert_null(w->kinds->http->gets.handles);
    assert_null(w->kinds->files->twin.handles);
    return world_close(w);
}

static void the_same_seed_gives_the_same_trail(void **state)
{
    uint64_t before = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t trail = trail_of(seed);
        assert_true(trail == trail_of(seed));
        assert_true(trail != before);
        before = trail;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_fetched_whole_and_forced),
        cmocka_unit_test(a_broken_one_goes_on_where_it_was_cut),
        cmocka_unit_test(a_disk_slower_than_the_server_loses_nothing),
        cmocka_unit_test(the_rate_that_was_asked_for_is_kept),
        cmocka_unit_test(an_origin_may_decide_by_the_url),
        cmocka_unit_test(what_has_no_version_is_fetched_from_the_first_byte),
        cmocka_unit_test(each_fault_of_the_server_is_told_and_leaves_nothing),
        cmocka_unit_test(a_status_that_is_drawn_is_told),
        cmocka_unit_test(a_host_that_nobody_serves_is_not_found),
        cmocka_unit_test(a_slow_server_is_waited_for_within_the_time_outs),
        cmocka_unit_test(another_version_between_two_tries_is_fetched_anew),
        cmocka_unit_test(each_fault_of_the_disk_is_told_and_leaves_nothing),
        cmocka_unit_test(a_disk_that_is_full_has_room_again_afterwards),
        cmocka_unit_test(two_that_write_to_one_part_are_told),
        cmocka_unit_test(after_crashes_a_file_is_right_or_is_not_there),
        cmocka_unit_test(a_kill_without_a_power_cut_loses_no_byte_that_was_written),
        cmocka_unit_test(a_crash_ends_all_without_a_word),
        cmocka_unit_test(what_is_tidied_up_outlives_its_node),
        cmocka_unit_test(without_memory_at_any_point_it_is_told_and_nothing_is_left),
        cmocka_unit_test(the_same_seed_gives_the_same_trail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
