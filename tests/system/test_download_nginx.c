/* The downloader against nginx, a server that we did not write. */
#include "nginx.h"

#include <sched.h>
#include <sys/mount.h>

#define MANY     100
#define BIG_SIZE (5 * 1000 * 1000 + 7)

static bool have_tmpfs;

/* ---- fixture ------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    const char *program = find_nginx();
    if (!program)
        return -1;
    make_work_dir();
    char path[ROOM];
    /* In a mount namespace of its own, so it goes when the program ends; before there are threads. */
    snprintf(path, sizeof(path), "%s/full", work_dir);
    mkdir(path, 0777);
    have_tmpfs = unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                 mount("none", path, "tmpfs", 0, "size=1m") == 0;
    snprintf(path, sizeof(path), "%s/files", work_dir);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/files/small", work_dir);
    make_file(path, 1000, 0);
    snprintf(path, sizeof(path), "%s/files/empty", work_dir);
    make_file(path, 0, 0);
    snprintf(path, sizeof(path), "%s/files/big", work_dir);
    make_file(path, BIG_SIZE, 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof(path), "%s/files/many-%d", work_dir, i);
        make_file(path, 5000 + (uint64_t)i * 1000, (uint64_t)i);
    }
    start_nginx(program);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char path[ROOM];
    stop_nginx();
    snprintf(path, sizeof(path), "%s/full", work_dir);
    if (have_tmpfs)
        umount(path);
    if (work_dir[0])
        remove_tree(work_dir);
    return 0;
}

static const char *served(tr_actor *self, const char *name)
{
    return tr_fmt(self, "%s/files/%s", work_dir, name);
}

/* ---- what goes well ------------------------------------------------------------------------------------ */

static tr_err fetch_into_a_directory(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_fetched *f;
    char digest[65];
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    TR_TRY(tr_await(self, FETCH(dl, .url = url(self, "/big?x=1"), .into = into_dir), tr_fetched, &f));
    WANT(f->size == BIG_SIZE && f->resumed_from == 0 && f->elapsed_ns > 0);
    WANT(strcmp(f->path, in_dir(self, "big")) == 0);
    WANT(strcmp(f->sha256, digest_of(f->path, digest)) == 0);
    WANT(strcmp(f->sha256, digest_of(served(self, "big"), digest)) == 0);
    WANT(count_files(into_dir) == 1);
    return TR_OK;
}

static void a_file_arrives_whole_under_its_name(void **state)
{
    (void)state;
    run(fetch_into_a_directory, NULL);
}

static tr_err fetch_in_other_ways(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_fetched *f;
    char digest[65];
    tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.parallel = 1});
    /* A name of one's own, what was there is replaced, size and digest as expected. */
    make_file(in_dir(self, "mine"), 10, 77);
    TR_TRY(tr_await(self,
                    FETCH(dl, .url = url(self, "/small"), .into = in_dir(self, "mine"), .size = 1000,
                          .sha256 = digest_of(served(self, "small"), digest)),
                    tr_fetched, &f));
    WANT(f->size == 1000 && file_size(in_dir(self, "mine")) == 1000);
    /* A directory that isn't there yet; with resume, though there is nothing to go on from. */
    TR_TRY(tr_await(self, FETCH(dl, .url = url(self, "/small"), .into = in_dir(self, "new/"), .resume = true),
                    tr_fetched, &f));
    WANT(f->resumed_from == 0 && count_files(in_dir(self, "new/")) == 1);
    TR_TRY(tr_await(self, FETCH(dl, .url = url(self, "/empty"), .into = into_dir), tr_fetched, &f));
    WANT(f->size == 0 && file_size(in_dir(self, "empty")) == 0);
    TR_TRY(tr_await(self, FETCH(dl, .url = url(self, "/moved"), .into = into_dir), tr_fetched, &f));
    WANT(f->size == 1000 && file_size(in_dir(self, "moved")) == 1000);
    WANT(count_files(into_dir) == 4);
    return TR_OK;
}

static void names_redirects_and_empty_files(void **state)
{
    (void)state;
    run(fetch_in_other_ways, NULL);
}

static tr_err fetch_many(tr_actor *self, void *arg)
{
    tr_future futures[MANY];
    char digest[65], name[32];
    (void)arg;
    tr_addr dl =
        tr_spawn_with(self, &tr_downloader, &(tr_downloader_opts){.parallel = 8},
                      &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = 1}); /* another than this one */
    for (int i = 0; i < MANY; i++)
        futures[i] = FETCH(dl, .url = tr_fmt(self, "%s/many-%d", web_root, i), .into = into_dir);
    TR_TRY(tr_await_msg(self, tr_gather(self, futures, MANY), NULL));
    for (int i = 0; i < MANY; i++) {
        const tr_fetched *f;
        TR_TRY(tr_await(self, futures[i], tr_fetched, &f));
        snprintf(name, sizeof(name), "many-%d", i);
        WANT(strcmp(f->path, in_dir(self, name)) == 0);
        WANT(strcmp(f->sha256, digest_of(served(self, name), digest)) == 0);
        WANT(strcmp(f->sha256, digest_of(f->path, digest)) == 0);
    }
    WANT(count_files(into_dir) == MANY);
    return TR_OK;
}

static void many_arrive_over_connections_that_end_after_ten_requests(void **state)
{
    (void)state;
    run(fetch_many, NULL);
}

/* ---- what the server refuses --------------------------------------------------------------------------- */

static tr_err fetch_what_is_refused(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    WANT_ERROR(FETCH(dl, .url = url(self, "/none"), .into = into_dir), TR_ENOTFOUND,
               "/none: the server answers 404");
    WANT_ERROR(FETCH(dl, .url = url(self, "/none"), .into = into_dir, .resume = true), TR_ENOTFOUND, "404");
    WANT_ERROR(FETCH(dl, .url = url(self, "/secret"), .into = into_dir), TR_EREFUSED, "403");
    WANT_ERROR(FETCH(dl, .url = url(self, "/busy"), .into = into_dir), TR_EAPP, "503");
    WANT_ERROR(FETCH(dl, .url = url(self, "/round"), .into = into_dir), TR_EPROTO, "redirected");
    WANT_ERROR(FETCH(dl, .url = url(self, "/away"), .into = into_dir), TR_EINVAL, "ftp");
    WANT_ERROR(FETCH(dl, .url = "ftp://127.0.0.1/small", .into = into_dir), TR_EINVAL, "http");
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = ""), TR_EINVAL, "into");
    WANT_ERROR(FETCH(dl, .url = url(self, "/a%2f..%2fb"), .into = into_dir), TR_EINVAL, "name");
    WANT_ERROR(FETCH(dl, .url = tr_fmt(self, "http://127.0.0.1:%d/x", free_port), .into = into_dir),
               TR_EREFUSED, "check that the server runs");
    WANT_ERROR(FETCH(dl, .url = "http://no-such-host.invalid/x", .into = into_dir), TR_EADDR, "no-such-host");
    WANT(count_files(into_dir) == 0);
    return TR_OK;
}

static void each_refusal_has_its_name_and_leaves_nothing(void **state)
{
    (void)state;
    run(fetch_what_is_refused, NULL);
}

static tr_err fetch_other_than_expected(tr_actor *self, void *arg)
{
    (void)arg;
    char digest[65];
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    digest_of(served(self, "big"), digest);
    make_file(in_dir(self, "small"), 10, 77);
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = into_dir, .sha256 = digest), TR_EMISMATCH,
               "sha256");
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = into_dir, .sha256 = digest, .resume = true),
               TR_EMISMATCH, "sha256");
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = into_dir, .size = 999), TR_EMISMATCH,
               "1000 bytes");
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = into_dir, .sha256 = "12"), TR_EINVAL, "64");
    WANT(count_files(into_dir) == 1 && file_size(in_dir(self, "small")) == 10);
    return TR_OK;
}

static void what_differs_from_what_was_expected_is_not_put_in_place(void **state)
{
    (void)state;
    run(fetch_other_than_expected, NULL);
}

/* ---- where it can't be written ------------------------------------------------------------------------- */

static tr_err fetch_to_bad_places(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    make_file(in_dir(self, "file"), 10, 0);
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = in_dir(self, "file/x")), TR_ENOTFOUND, "file");
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = in_dir(self, "no/where/")), TR_ENOTFOUND,
               "no/where");
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = in_dir(self, "no/where/"), .resume = true),
               TR_ENOTFOUND, "no/where");
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = work_dir), TR_EINVAL, "must end with '/'");
    WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = "/proc/self/x", .resume = true), TR_ENOTFOUND,
               "/proc");
    if (have_tmpfs) {
        char full[ROOM];
        snprintf(full, sizeof(full), "%s/full", work_dir);
        if (mount("none", full, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0) {
            WANT_ERROR(FETCH(dl, .url = url(self, "/small"), .into = tr_fmt(self, "%s/", full)), TR_EPERM,
                       "choose");
            WANT_ERROR(
                FETCH(dl, .url = url(self, "/small"), .into = tr_fmt(self, "%s/", full), .resume = true),
                TR_EPERM, "choose");
            WANT(mount("none", full, NULL, MS_REMOUNT, NULL) == 0);
        }
    }
    WANT(count_files(into_dir) == 1);
    return TR_OK;
}

static void a_place_that_cannot_be_written_to_is_named(void **state)
{
    (void)state;
    run(fetch_to_bad_places, NULL);
}

static tr_err fetch_to_a_full_disk(tr_actor *self, void *arg)
{
    (void)arg;
    char full[ROOM], digest[65];
    const tr_fetched *f;
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    snprintf(full, sizeof(full), "%s/full/", work_dir);
    WANT_ERROR(FETCH(dl, .url = url(self, "/big"), .into = full), TR_ENOSPC, "make room");
    WANT(count_files(full) == 0);
    WANT_ERROR(FETCH(dl, .url = url(self, "/big"), .into = full, .resume = true), TR_ENOSPC, "make room");
    WANT(count_files(full) == 2); /* the part and what it is of */
    WANT(mount("none", full, NULL, MS_REMOUNT, "size=8m") == 0);
    TR_TRY(tr_await(self, FETCH(dl, .url = url(self, "/big"), .into = full, .resume = true), tr_fetched, &f));
    WANT(f->resumed_from > 500 * 1000 && f->size == BIG_SIZE && count_files(full) == 1);
    WANT(strcmp(f->sha256, digest_of(f->path, digest)) == 0);
    WANT(strcmp(f->sha256, digest_of(served(self, "big"), digest)) == 0);
    return TR_OK;
}

static void a_full_disk_is_named_and_resume_goes_on_when_there_is_room(void **state)
{
    (void)state;
    if (!have_tmpfs)
        skip();
    run(fetch_to_a_full_disk, NULL);
}

/* ---- cancel and resume --------------------------------------------------------------------------------- */

/* Wait for progress beyond `bytes`. */
static tr_err await_progress(tr_actor *self, uint64_t bytes)
{
    for (;;) {
        const tr_msg *msg = tr_receive(self, TR_SECONDS(20));
        WANT(msg != NULL);
        const tr_progress *p = tr_match(msg, tr_progress);
        if (p && p->done > bytes) {
            WANT(p->total == BIG_SIZE && p->done <= p->total);
            return TR_OK;
        }
    }
}

/* An ask of a fetch of the same path is refused until the cancelled one has tidied up; then it is answered.
 */
static tr_err resume_it(tr_actor *self, tr_addr dl, const char *path, const tr_fetched **f)
{
    tr_err err;
    do {
        err = tr_await(self, FETCH(dl, .url = url(self, path), .into = into_dir, .resume = true), tr_fetched,
                       f);
    } while (err == TR_EEXIST);
    return err;
}

static tr_err cancel_and_resume(tr_actor *self, void *arg)
{
    (void)arg;
    char digest[65];
    const tr_fetched *f;
    tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.progress_ns = TR_MILLIS(20)});
    tr_future future =
        FETCH(dl, .url = url(self, "/slow/big"), .into = into_dir, .resume = true, .progress = tr_self(self));
    TR_TRY(await_progress(self, 600 * 1000));
    WANT_ERROR(FETCH(dl, .url = url(self, "/big"), .into = into_dir), TR_EEXIST, "already");
    tr_cancel(self, future);
    TR_TRY(resume_it(self, dl, "/slow/big", &f));
    WANT(f->resumed_from >= 600 * 1000 && f->resumed_from < BIG_SIZE && f->size == BIG_SIZE);
    WANT(strcmp(f->sha256, digest_of(served(self, "big"), digest)) == 0);
    WANT(strcmp(f->sha256, digest_of(f->path, digest)) == 0);
    WANT(count_files(into_dir) == 1);
    return TR_OK;
}

static void a_cancelled_fetch_goes_on_at_the_byte_it_had(void **state)
{
    (void)state;
    run(cancel_and_resume, NULL);
}

static tr_err resume_changed(tr_actor *self, void *arg)
{
    (void)arg;
    char digest[65];
    const tr_fetched *f;
    tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.progress_ns = TR_MILLIS(20)});
    make_file(served(self, "changing"), BIG_SIZE, 0);
    tr_future future = FETCH(dl, .url = url(self, "/slow/changing"), .into = into_dir, .resume = true,
                             .progress = tr_self(self));
    TR_TRY(await_progress(self, 300 * 1000));
    tr_cancel(self, future);
    make_file(served(self, "newer"), 400 * 1000, 5);
    WANT(rename(served(self, "newer"), served(self, "changing")) == 0);
    TR_TRY(resume_it(self, dl, "/slow/changing", &f));
    WANT(f->resumed_from == 0 && f->size == 400 * 1000);
    WANT(strcmp(f->sha256, digest_of(served(self, "changing"), digest)) == 0);
    return TR_OK;
}

static void a_file_that_changed_meanwhile_is_not_glued_to_the_old_part(void **state)
{
    (void)state;
    run(resume_changed, NULL);
}

static tr_err fetch_slowly(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_fetched *f;
    tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.bytes_per_second = 3000 * 1000});
    TR_TRY(tr_await(self, FETCH(dl, .url = url(self, "/big"), .into = into_dir), tr_fetched, &f));
    WANT(f->elapsed_ns > TR_MILLIS(800));
    return TR_OK;
}

static void the_bound_on_bytes_per_second_is_kept(void **state)
{
    (void)state;
    run(fetch_slowly, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_file_arrives_whole_under_its_name, empty_into),
        cmocka_unit_test_setup(names_redirects_and_empty_files, empty_into),
        cmocka_unit_test_setup(many_arrive_over_connections_that_end_after_ten_requests, empty_into),
        cmocka_unit_test_setup(each_refusal_has_its_name_and_leaves_nothing, empty_into),
        cmocka_unit_test_setup(what_differs_from_what_was_expected_is_not_put_in_place, empty_into),
        cmocka_unit_test_setup(a_place_that_cannot_be_written_to_is_named, empty_into),
        cmocka_unit_test_setup(a_full_disk_is_named_and_resume_goes_on_when_there_is_room, empty_into),
        cmocka_unit_test_setup(a_cancelled_fetch_goes_on_at_the_byte_it_had, empty_into),
        cmocka_unit_test_setup(a_file_that_changed_meanwhile_is_not_glued_to_the_old_part, empty_into),
        cmocka_unit_test_setup(the_bound_on_bytes_per_second_is_kept, empty_into),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
