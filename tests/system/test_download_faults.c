/* The downloader against a server that misbehaves on purpose, and against its own process being killed. */
#include "downloads.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/mem.h"

#define BODY   (4 * 1000 * 1000)
#define CUT_AT (1500 * 1000)

/* ---- fixture: a server, one thread a connection -------------------------------------------------------- */

static atomic_int active, most_active, served, closed_early;
static atomic_int version; /* of /flaky */
static atomic_bool whole;  /* /flaky and /hold give all of it now */
static atomic_ullong asked_from;
static pthread_barrier_t three;
static pthread_t acceptor;
static int listener;

static bool send_text(int fd, const char *text)
{
    return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

static bool send_body(int fd, uint64_t from, uint64_t to)
{
    uint8_t piece[16384];
    while (from < to) {
        size_t n = to - from < sizeof(piece) ? (size_t)(to - from) : sizeof(piece);
        for (size_t i = 0; i < n; i++)
            piece[i] = byte_at(from + i);
        if (send(fd, piece, n, MSG_NOSIGNAL) != (ssize_t)n)
            return false;
        from += n;
    }
    return true;
}

/* Until the other side has closed. */
static void wait_for_close(int fd)
{
    char byte;
    if (recv(fd, &byte, 1, 0) <= 0)
        atomic_fetch_add(&closed_early, 1);
}

static void head(int fd, const char *status, uint64_t from, uint64_t total)
{
    char text[300], range[80] = "";
    if (from > 0)
        snprintf(range, sizeof(range), "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)from,
                 (unsigned long long)total - 1, (unsigned long long)total);
    snprintf(text, sizeof(text),
             "HTTP/1.1 %s\r\nContent-Length: %llu\r\nETag: \"v%d\"\r\n%sConnection: close\r\n\r\n", status,
             (unsigned long long)(total - from), atomic_load(&version), range);
    send_text(fd, text);
}

/* A body that ends, or stops, at CUT_AT until `whole`; ranges are honoured for the version that is asked for.
 */
static void serve_part(int fd, const char *request, bool hold)
{
    char tag[32];
    unsigned long long from = 0;
    const char *range = strstr(request, "Range: bytes=");
    snprintf(tag, sizeof(tag), "If-Range: \"v%d\"", atomic_load(&version));
    if (range && strstr(request, tag))
        sscanf(range, "Range: bytes=%llu-", &from);
    atomic_store(&asked_from, from);
    bool all = atomic_load(&whole);
    head(fd, from ? "206 Partial Content" : "200 OK", from, BODY);
    if (send_body(fd, from, all ? BODY : CUT_AT) && hold && !all)
        wait_for_close(fd);
}

/* A head with a Content-Length for each of the query's parts: "5&4 " gives two. */
static void send_lengths(int fd, const char *query)
{
    char line[100];
    send_text(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n");
    for (const char *end = query; *end != ' '; query = end + 1) {
        end = query + strcspn(query, "& ");
        snprintf(line, sizeof(line), "Content-Length: %.*s\r\n", (int)(end - query), query);
        send_text(fd, line);
    }
    send_text(fd, "\r\nhello");
}

static void serve(int fd, const char *request)
{
    if (strstr(request, "GET /short ")) {
        head(fd, "200 OK", 0, 1000);
        send_body(fd, 0, 400);
    } else if (strstr(request, "GET /lengths?")) {
        send_lengths(fd, strchr(request, '?') + 1);
    } else if (strstr(request, "GET /chunks ")) {
        send_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    } else if (strstr(request, "GET /endless ")) {
        send_text(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while (send_body(fd, 0, 65536))
            continue;
        atomic_fetch_add(&closed_early, 1);
    } else if (strstr(request, "GET /reset ")) {
        struct linger at_once = {1, 0};
        head(fd, "200 OK", 0, 1000);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    } else if (strstr(request, "GET /noise ")) {
        send_text(fd, "this is not HTTP\r\n\r\n");
    } else if (strstr(request, "GET /silent ")) {
        wait_for_close(fd);
    } else if (strstr(request, "GET /flaky ")) {
        serve_part(fd, request, false);
    } else if (strstr(request, "GET /hold")) {
        serve_part(fd, request, true);
    } else if (strstr(request, "GET /three")) {
        pthread_barrier_wait(&three);
        head(fd, "200 OK", 0, 100);
        send_body(fd, 0, 100);
    } /* else closes without a word */
}

static void *connection(void *arg)
{
    int fd = (int)(intptr_t)arg, now = atomic_fetch_add(&active, 1) + 1, most = atomic_load(&most_active);
    char request[2048];
    size_t used = 0;
    while (now > most && !atomic_compare_exchange_weak(&most_active, &most, now))
        continue;
    while (used < sizeof(request) - 1) {
        ssize_t n = recv(fd, request + used, sizeof(request) - 1 - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
        request[used] = '\0';
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    request[used] = '\0';
    atomic_fetch_add(&served, 1);
    serve(fd, request);
    atomic_fetch_sub(&active, 1);
    close(fd);
    return NULL;
}

static void *accept_all(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_t thread;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        if (pthread_create(&thread, NULL, connection, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
}

static int set_up(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    make_work_dir();
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 64), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    snprintf(web_root, sizeof(web_root), "http://127.0.0.1:%d", ntohs(address.sin_port));
    pthread_barrier_init(&three, NULL, 3);
    return pthread_create(&acceptor, NULL, accept_all, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    shutdown(listener, SHUT_RDWR);
    pthread_join(acceptor, NULL);
    close(listener);
    remove_tree(work_dir);
    return 0;
}

static int fresh(void **state)
{
    atomic_store(&whole, false);
    atomic_store(&version, 1);
    atomic_store(&closed_early, 0);
    atomic_store(&served, 0);
    return empty_into(state);
}

/* ---- a server that fails ------------------------------------------------------------------------------- */

static tr_err fetch_from_a_bad_server(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    WANT_ERROR(FETCH(dl, .url = url(self, "/short"), .into = into_dir), TR_ESHORT, "after 400 bytes");
    WANT_ERROR(FETCH(dl, .url = url(self, "/chunks"), .into = into_dir), TR_ESHORT, "after 5 bytes");
    WANT_ERROR(FETCH(dl, .url = url(self, "/reset"), .into = into_dir), TR_ERESET, "cut the connection");
    WANT_ERROR(FETCH(dl, .url = url(self, "/nothing"), .into = into_dir), TR_ERESET, "cut the connection");
    WANT_ERROR(FETCH(dl, .url = url(self, "/noise"), .into = into_dir), TR_EPROTO, "speak HTTP");
    WANT_ERROR(FETCH(dl, .url = url(self, "/endless"), .into = into_dir, .size = 100000), TR_EMISMATCH,
               "more came");
    WANT(count_files(into_dir) == 0);
    return TR_OK;
}

static void each_failure_of_a_server_has_its_name_and_leaves_nothing(void **state)
{
    (void)state;
    run(fetch_from_a_bad_server, NULL);
}

static tr_err fetch_from_a_silent_server(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr dl = tr_spawn(self, &tr_downloader,
                          &(tr_downloader_opts){.stall_ns = TR_MILLIS(100), .progress_ns = TR_MILLIS(20)});
    WANT_ERROR(FETCH(dl, .url = url(self, "/silent"), .into = into_dir), TR_EDEADLINE, "no byte came");
    WANT_ERROR(FETCH(dl, .url = url(self, "/hold"), .into = into_dir), TR_EDEADLINE, "no byte came");
    dl = tr_spawn(self, &tr_downloader,
                  &(tr_downloader_opts){.timeout_ns = TR_MILLIS(100), .progress_ns = TR_MILLIS(20)});
    WANT_ERROR(FETCH(dl, .url = url(self, "/silent"), .into = into_dir), TR_EDEADLINE, "time it was given");
    /* The ask's own deadline ends the transfer too: the one that waits for its place gets it. */
    dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.parallel = 1, .progress_ns = TR_MILLIS(20)});
    tr_future hopeless =
        tr_ask(self, dl, TR_MILLIS(100), tr_fetch, .url = url(self, "/silent"), .into = into_dir);
    atomic_store(&whole, true);
    tr_future next = FETCH(dl, .url = url(self, "/flaky"), .into = into_dir);
    WANT(tr_await_msg(self, hopeless, NULL) == TR_EDEADLINE);
    TR_TRY(tr_await_msg(self, next, NULL));
    WANT(count_files(into_dir) == 1);
    return TR_OK;
}

static void a_server_that_falls_silent_ends_in_a_deadline(void **state)
{
    (void)state;
    run(fetch_from_a_silent_server, NULL);
}

static tr_err fetch_what_has_no_good_length(tr_actor *self, void *arg)
{
    (void)arg;
    static const char *const bad[] = {"18446744073709551621",
                                      "9223372036854775808",
                                      "5&4",
                                      "4&5",
                                      "5x",
                                      "99999999999999999999999999999999999",
                                      "5&18446744073709551621"};
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    for (size_t i = 0; i < TR_COUNT(bad); i++)
        WANT_ERROR(FETCH(dl, .url = url(self, tr_fmt(self, "/lengths?%s", bad[i])), .into = into_dir),
                   TR_EPROTO, "Content-Length can't be");
    WANT_ERROR(FETCH(dl, .url = url(self, "/lengths?-5"), .into = into_dir), TR_EPROTO, "Content-Length");
    WANT_ERROR(FETCH(dl, .url = url(self, "/lengths?9223372036854775807"), .into = into_dir), TR_ESHORT,
               "after 5 bytes");
    WANT(count_files(into_dir) == 0);
    TR_TRY(tr_await_msg(self, FETCH(dl, .url = url(self, "/lengths?5&5"), .into = into_dir), NULL));
    WANT(count_files(into_dir) == 1);
    return TR_OK;
}

static void a_length_that_cannot_be_is_no_whole_file(void **state)
{
    (void)state;
    run(fetch_what_has_no_good_length, NULL);
}

/* ---- resume -------------------------------------------------------------------------------------------- */

static tr_err fetch_what_breaks_off(tr_actor *self, void *arg)
{
    (void)arg;
    char digest[65];
    const tr_fetched *f;
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    WANT_ERROR(FETCH(dl, .url = url(self, "/flaky"), .into = into_dir, .resume = true), TR_ESHORT,
               "after 1500000");
    WANT(file_size(in_dir(self, "flaky.part")) == CUT_AT && file_size(in_dir(self, "flaky")) == -1);
    WANT_ERROR(FETCH(dl, .url = url(self, "/flaky"), .into = into_dir, .resume = true), TR_ESHORT,
               "ended early");
    WANT(atomic_load(&asked_from) == CUT_AT);
    atomic_store(&whole, true);
    TR_TRY(tr_await(self, FETCH(dl, .url = url(self, "/flaky"), .into = into_dir, .resume = true), tr_fetched,
                    &f));
    WANT(f->resumed_from == CUT_AT && f->size == BODY && atomic_load(&asked_from) == CUT_AT);
    WANT(strcmp(f->sha256, digest_of_content(BODY, digest)) == 0);
    WANT(strcmp(f->sha256, digest_of(f->path, digest)) == 0);
    WANT(count_files(into_dir) == 1);
    return TR_OK;
}

static void what_broke_off_goes_on_at_the_byte_it_had(void **state)
{
    (void)state;
    run(fetch_what_breaks_off, NULL);
}

static tr_err fetch_what_changes(tr_actor *self, void *arg)
{
    (void)arg;
    char digest[65];
    const tr_fetched *f;
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    WANT_ERROR(FETCH(dl, .url = url(self, "/flaky"), .into = into_dir, .resume = true), TR_ESHORT,
               "ended early");
    atomic_store(&version, 2);
    atomic_store(&whole, true);
    TR_TRY(tr_await(self, FETCH(dl, .url = url(self, "/flaky"), .into = into_dir, .resume = true), tr_fetched,
                    &f));
    WANT(f->resumed_from == 0 && strcmp(f->sha256, digest_of_content(BODY, digest)) == 0);
    return TR_OK;
}

static tr_err fetch_another_url(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_fetched *f;
    char path[ROOM];
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    snprintf(path, sizeof(path), "%sfile", into_dir);
    WANT_ERROR(FETCH(dl, .url = url(self, "/flaky"), .into = path, .resume = true), TR_ESHORT, "ended early");
    atomic_store(&whole, true);
    TR_TRY(
        tr_await(self, FETCH(dl, .url = url(self, "/hold"), .into = path, .resume = true), tr_fetched, &f));
    WANT(f->resumed_from == 0 && atomic_load(&asked_from) == 0);
    return TR_OK;
}

static void a_part_of_another_url_is_not_used(void **state)
{
    (void)state;
    run(fetch_another_url, NULL);
}

static void a_part_of_an_older_version_is_not_used(void **state)
{
    (void)state;
    run(fetch_what_changes, NULL);
}

/* ---- many, queue, cancel ------------------------------------------------------------------------------- */

static tr_err fetch_three_at_a_time(tr_actor *self, void *arg)
{
    (void)arg;
    tr_future futures[9];
    tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.parallel = 3, .queue = 6});
    for (int i = 0; i < 9; i++)
        futures[i] = FETCH(dl, .url = tr_fmt(self, "%s/three%d", web_root, i), .into = into_dir);
    WANT_ERROR(FETCH(dl, .url = url(self, "/flaky"), .into = into_dir), TR_EFULL, "6 downloads wait");
    TR_TRY(tr_await_msg(self, tr_gather(self, futures, 9), NULL));
    /* The server answers three together only, so three there were; and never more. */
    WANT(atomic_load(&most_active) == 3 && count_files(into_dir) == 9);
    return TR_OK;
}

static void as_many_run_as_allowed_and_the_queue_is_bounded(void **state)
{
    (void)state;
    atomic_store(&most_active, 0);
    run(fetch_three_at_a_time, NULL);
}

static tr_err await_progress(tr_actor *self, uint64_t bytes)
{
    for (;;) {
        const tr_msg *msg = tr_receive(self, TR_SECONDS(20));
        WANT(msg != NULL);
        const tr_progress *p = tr_match(msg, tr_progress);
        if (p && p->done >= bytes)
            return TR_OK;
    }
}

static tr_err cancel_in_the_middle(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_fetched *f;
    tr_addr dl =
        tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.parallel = 1, .progress_ns = TR_MILLIS(20)});
    tr_future held = FETCH(dl, .url = url(self, "/hold"), .into = into_dir, .progress = tr_self(self));
    tr_future waits = FETCH(dl, .url = url(self, "/hold2"), .into = into_dir);
    tr_future last = FETCH(dl, .url = url(self, "/flaky"), .into = into_dir);
    TR_TRY(await_progress(self, CUT_AT));
    atomic_store(&whole, true);
    tr_cancel(self, waits);
    tr_cancel(self, held);
    TR_TRY(tr_await(self, last, tr_fetched, &f));
    WANT(atomic_load(&served) == 2 && count_files(into_dir) == 1);
    return TR_OK;
}

static void a_cancel_ends_the_transfer_and_leaves_nothing(void **state)
{
    (void)state;
    run(cancel_in_the_middle, NULL);
    for (int i = 0; i < 2000 && atomic_load(&closed_early) < 1;
         i++) /* its server sees it in a thread of its own */
        poll(NULL, 0, 5);
    assert_int_equal(atomic_load(&closed_early), 1);
}

static tr_err leave_in_the_middle(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.progress_ns = TR_MILLIS(20)});
    FETCH(dl, .url = url(self, "/hold"), .into = into_dir, .progress = tr_self(self));
    FETCH(dl, .url = url(self, "/hold3"), .into = into_dir, .resume = true);
    FETCH(dl, .url = url(self, "/silent"), .into = into_dir);
    FETCH(dl, .url = "http://no-such-host.invalid/x", .into = into_dir);
    return await_progress(self, CUT_AT);
}

static void a_node_that_stops_leaves_only_what_can_be_resumed(void **state)
{
    (void)state;
    run(leave_in_the_middle, NULL);
    char path[ROOM];
    snprintf(path, sizeof(path), "%shold3.part", into_dir);
    assert_true(count_files(into_dir) == 0 || file_size(path) > 0);
}

static tr_err kill_the_actor(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.progress_ns = TR_MILLIS(20)});
    tr_future held = FETCH(dl, .url = url(self, "/hold"), .into = into_dir, .progress = tr_self(self));
    TR_TRY(await_progress(self, CUT_AT));
    tr_stop(self, dl, TR_EXIT_KILLED);
    WANT(tr_await_msg(self, held, NULL) == TR_ENOACTOR);
    return TR_OK;
}

static void a_killed_downloader_leaves_nothing(void **state)
{
    (void)state;
    run(kill_the_actor, NULL);
    assert_int_equal(count_files(into_dir), 0);
}

/* ---- no memory ----------------------------------------------------------------------------------------- */

/* The n-th allocation of the loop's thread fails, wherever that is. */
static tr_err fetch_without_memory(tr_actor *self, void *arg)
{
    (void)arg;
    int well = 0, badly = 0;
    atomic_store(&whole, true);
    for (uint64_t nth = 1; nth < 60 && well < 10; nth++) {
        /* A new one each time: it ends if libcurl can't go on. */
        tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
        tr__alloc_fail_at(nth);
        tr_err err = tr_await_msg(self, FETCH(dl, .url = url(self, "/flaky"), .into = into_dir), NULL);
        tr__alloc_fail_at(0);
        bool there = err == TR_OK || strstr(tr_last_error(self)->text, "is there and whole");
        WANT(count_files(into_dir) == there);
        well = there ? well + 1 : 0;
        badly += err == TR_ENOMEM || err == TR_ECLOSED;
        remove_tree(into_dir);
        WANT(mkdir(into_dir, 0777) == 0);
    }
    WANT(well > 0 && badly > 0);
    return TR_OK;
}

static void without_memory_a_fetch_fails_and_leaves_nothing(void **state)
{
    (void)state;
    run(fetch_without_memory, NULL);
}

/* ---- the process is killed ----------------------------------------------------------------------------- */

static tr_err child_start(tr_actor *self, void *arg)
{
    char **args = arg; /* URL, directory, "resume" */
    tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.progress_ns = TR_MILLIS(20)});
    tr_future future =
        FETCH(dl, .url = args[0], .into = args[1], .resume = args[2][0] == 'r', .progress = tr_self(self));
    TR_TRY(await_progress(self, CUT_AT));
    if (write(STDOUT_FILENO, "x", 1) != 1)
        return TR_EIO;
    return tr_await_msg(self, future, NULL);
}

/* Run this program as a downloader, and kill it when it has CUT_AT bytes. */
static void download_and_be_killed(const char *how)
{
    int pipe_fds[2];
    char byte, target[192];
    snprintf(target, sizeof(target), "%s/hold", web_root);
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fds[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test", target, into_dir, how, (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    struct pollfd ready = {.fd = pipe_fds[0], .events = POLLIN};
    int said = poll(&ready, 1, 30000) == 1 ? (int)read(pipe_fds[0], &byte, 1) : 0;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(pipe_fds[0]);
    assert_int_equal(said, 1);
}

static tr_err go_on_after_the_kill(tr_actor *self, void *arg)
{
    (void)arg;
    char digest[65];
    const tr_fetched *f;
    tr_addr dl = tr_spawn(self, &tr_downloader, NULL);
    TR_TRY(tr_await(self, FETCH(dl, .url = url(self, "/hold"), .into = into_dir, .resume = true), tr_fetched,
                    &f));
    WANT(f->resumed_from >= CUT_AT - 512 * 1024 && f->resumed_from <= CUT_AT && f->size == BODY);
    WANT(strcmp(f->sha256, digest_of_content(BODY, digest)) == 0);
    WANT(strcmp(f->sha256, digest_of(f->path, digest)) == 0);
    WANT(count_files(into_dir) == 1);
    return TR_OK;
}

static void after_a_kill_the_part_is_there_and_resume_goes_on(void **state)
{
    (void)state;
    download_and_be_killed("resume");
    assert_int_equal(count_files(into_dir), 2);
    atomic_store(&whole, true);
    run(go_on_after_the_kill, NULL);
}

static void after_a_kill_without_resume_nothing_is_there(void **state)
{
    (void)state;
    download_and_be_killed("anew");
    assert_int_equal(count_files(into_dir), 0);
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        tr_node_opts opts = {.name = "child", .start = child_start, .arg = argv + 1};
        tr_node *node = tr_node_create(&opts, NULL);
        return node ? tr_node_run(node, NULL) != TR_OK : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_failure_of_a_server_has_its_name_and_leaves_nothing, fresh),
        cmocka_unit_test_setup(a_length_that_cannot_be_is_no_whole_file, fresh),
        cmocka_unit_test_setup(a_server_that_falls_silent_ends_in_a_deadline, fresh),
        cmocka_unit_test_setup(what_broke_off_goes_on_at_the_byte_it_had, fresh),
        cmocka_unit_test_setup(a_part_of_an_older_version_is_not_used, fresh),
        cmocka_unit_test_setup(a_part_of_another_url_is_not_used, fresh),
        cmocka_unit_test_setup(as_many_run_as_allowed_and_the_queue_is_bounded, fresh),
        cmocka_unit_test_setup(a_cancel_ends_the_transfer_and_leaves_nothing, fresh),
        cmocka_unit_test_setup(a_node_that_stops_leaves_only_what_can_be_resumed, fresh),
        cmocka_unit_test_setup(a_killed_downloader_leaves_nothing, fresh),
        cmocka_unit_test_setup(without_memory_a_fetch_fails_and_leaves_nothing, fresh),
        cmocka_unit_test_setup(after_a_kill_the_part_is_there_and_resume_goes_on, fresh),
        cmocka_unit_test_setup(after_a_kill_without_resume_nothing_is_there, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
