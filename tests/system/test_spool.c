/* Large messages into files, between two real node processes over loopback: contents, memory, latency beside it, and what is
 * left of the files. The other node is this same program, run with the word "node". TROUPE_SPOOL_BYTES says how large the
 * large one is (default: 256 MiB). */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#define MIB ((size_t)1 << 20)

TR_MESSAGE(prepare)
TR_MESSAGE(ready, (u64, resident))
TR_MESSAGE(film, (u64, n), (buffer, content), (string, title))
TR_MESSAGE(stored, (u64, size), (u64, hash), (bool, in_file), (u32, mode), (u32, links), (u64, peak),
           (string, title))
TR_MESSAGE(ping, (u64, n))

/* ---- the other node: it stores films ------------------------------------------------------------------- */

static uint64_t status_of(const char *what)
{
    char line[256], format[32];
    unsigned long long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    snprintf(format, sizeof(format), "%s: %%llu", what);
    while (fgets(line, sizeof(line), status) && sscanf(line, format, &kib) != 1)
        ;
    fclose(status);
    return kib * 1024;
}

static uint64_t hash_more(uint64_t hash, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 29;
    }
    for (size_t i = size & ~(size_t)7; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    return hash;
}

/* Piece by piece, so that a file takes no memory. */
static uint64_t hash_of(const tr_buffer *buffer)
{
    static uint8_t piece[64 << 10];
    int fd = tr_buffer_fd(buffer);
    if (fd < 0)
        return hash_more(1, buffer->data, buffer->size);
    uint64_t hash = 1;
    for (off_t at = 0; at < (off_t)buffer->size;) {
        ssize_t got = pread(fd, piece, sizeof(piece), at);
        if (got <= 0)
            return 0;
        hash = hash_more(hash, piece, (size_t)got);
        at += got;
    }
    return hash;
}

static void store(tr_actor *self, void *state, const tr_msg *msg)
{
    const film *f = tr_match(msg, film);
    (void)state;
    if (tr_match(msg, prepare)) {
        FILE *peak = fopen("/proc/self/clear_refs", "w"); /* the peak begins anew */
        if (peak) {
            fputs("5", peak);
            fclose(peak);
        }
        tr_reply(self, msg, ready, .resident = status_of("VmRSS"));
    }
    if (!f)
        return;
    struct stat of = {.st_mode = 0};
    uint64_t peak = status_of("VmHWM"), hash = hash_of(f->content);
    if (tr_buffer_fd(f->content) >= 0)
        fstat(tr_buffer_fd(f->content), &of);
    tr_reply(self, msg, stored, .size = f->content->size, .hash = hash,
             .in_file = tr_buffer_fd(f->content) >= 0, .mode = of.st_mode & 0777,
             .links = (uint32_t)of.st_nlink, .peak = peak, .title = f->title);
}
TR_ACTOR(store_def, .receive = store, .spool_above = 1 << 20, .own_thread = true); /* it reads files */

static void echo(tr_actor *self, void *state, const tr_msg *msg)
{
    const ping *p = tr_match(msg, ping);
    (void)state;
    if (p)
        tr_reply(self, msg, ping, .n = p->n);
}
TR_ACTOR(echo_def, .receive = echo);

static tr_err node_start(tr_actor *self, void *arg)
{
    (void)arg;
    tr_spawn_with(self, &store_def, NULL, &(tr_spawn_opts){.name = "store"});
    tr_spawn_with(self, &echo_def, NULL, &(tr_spawn_opts){.name = "echo"});
    printf("%s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    return tr_sleep(self, TR_FOREVER);
}

static bool put_line(const char *path, const char *line)
{
    int fd = open(path, O_WRONLY);
    bool put = fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line);
    close(fd);
    return put;
}

/* A disk of 8 MiB, which only this process sees. */
static bool mount_small(const char *directory)
{
    char users[64], groups[64];
    snprintf(users, sizeof(users), "%d %d 1", (int)getuid(), (int)getuid());
    snprintf(groups, sizeof(groups), "%d %d 1", (int)getgid(), (int)getgid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && put_line("/proc/self/setgroups", "deny") &&
           put_line("/proc/self/uid_map", users) && put_line("/proc/self/gid_map", groups) &&
           mount("small", directory, "tmpfs", 0, "size=8m,mode=0700") == 0;
}

static int node_main(const char *directory, const char *small)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (small[0] == 's' && !mount_small(directory)) {
        puts("can't");
        return 1;
    }
    tr_error error;
    tr_node_opts opts = {.name = "bob",
                         .listen = "127.0.0.1:0",
                         .start = node_start,
                         .spool = directory,
                         .message_max = (uint64_t)1 << 31};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    tr_err err = tr_node_run(node, &error);
    tr_node_destroy(node);
    return err == TR_OK ? 0 : 1;
}

/* ---- fixture ------------------------------------------------------------------------------------------- */

typedef struct other {
    pid_t pid;
    char address[64], directory[64];
    size_t bytes;
} other;

/* `how`: "whole", or "small" for one with a small disk. False: that can't be had here. */
static bool other_start(other *o, const char *how)
{
    int out[2];
    assert_int_equal(0, pipe(out));
    o->pid = fork();
    if (o->pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        execl("/proc/self/exe", "node", "node", o->directory, how, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *lines = fdopen(out[0], "r");
    assert_non_null(fgets(o->address, sizeof(o->address), lines));
    o->address[strcspn(o->address, "\n")] = 0;
    fclose(lines);
    return strcmp(o->address, "can't") != 0;
}

static void other_end(other *o)
{
    int status;
    if (!o->pid)
        return;
    kill(o->pid, SIGKILL);
    waitpid(o->pid, &status, 0);
    o->pid = 0;
}

static int set_up(void **state)
{
    static other o;
    const char *bytes = getenv("TROUPE_SPOOL_BYTES"), *temporary = getenv("TMPDIR");
    o = (other){.bytes = bytes ? strtoull(bytes, NULL, 10) : 256 * MIB};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    o.bytes = 32 * MIB;
#endif
    snprintf(o.directory, sizeof(o.directory), "%.30s/troupe-spool-XXXXXX",
             temporary ? temporary : "/var/tmp");
    assert_non_null(mkdtemp(o.directory));
    *state = &o;
    return 0;
}

static int files_in(const char *directory)
{
    int count = 0;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += entry->d_name[0] != '.' || strncmp(entry->d_name, ".troupe", 7) == 0;
    if (dir)
        closedir(dir);
    return count;
}

static int tear_down(void **state)
{
    other *o = *state;
    other_end(o);
    rmdir(o->directory);
    return 0;
}

/* Run `start` in a node that joins `o`, and fail with its error's text. */
static void run_with(other *o, tr_err (*start)(tr_actor *self, void *arg))
{
    tr_error error = {0};
    const char *join[] = {o->address, NULL};
    tr_node_opts opts = {.name = "alice", .join = join, .start = start, .arg = o};
    tr_node *node = tr_node_create(&opts, &error);
    assert_non_null(node);
    tr_err err = tr_node_run(node, &error);
    tr_sums s;
    tr_node_sums(node, &s);
    uint64_t dropped = 0;
    for (int i = 0; i < TR_DROP_COUNT; i++)
        dropped += s.dropped[i];
    tr_node_destroy(node);
    if (err != TR_OK)
        fail_msg("%s", error.text);
    assert_int_equal(s.accepted + s.arrived + s.received, s.handled + dropped + s.queued + s.passed + s.sent);
}

#define EXPECT(self, condition)                                                                 \
    do {                                                                                        \
        if (!(condition))                                                                       \
            return tr_fail(self, TR_EAPP, "line %d: %s (last error: %s)", __LINE__, #condition, \
                           tr_last_error(self)->text);                                          \
    } while (0)

static tr_err find(tr_actor *self, const char *path, tr_addr *address)
{
    const tr_found *found;
    TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(20)), tr_found, &found));
    *address = found->actor;
    return TR_OK;
}

static void unmap(void *data, size_t size, void *context)
{
    (void)context;
    munmap(data, size);
}

/* The sender's bytes are in a file as well: mapped, they are no memory of its own. */
static const tr_buffer *film_of(tr_actor *self, const other *o, uint64_t *hash)
{
    static uint8_t piece[MIB];
    int fd = open(o->directory, O_TMPFILE | O_RDWR, 0600);
    uint64_t word = 1;
    *hash = 1;
    for (size_t at = 0; at < o->bytes; at += MIB) {
        for (size_t i = 0; i < MIB; i += 8) {
            word = word * 6364136223846793005u + 1442695040888963407u;
            memcpy(piece + i, &word, 8);
        }
        if (write(fd, piece, MIB) != (ssize_t)MIB)
            return NULL;
        *hash = hash_more(*hash, piece, MIB);
    }
    void *data = mmap(NULL, o->bytes, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    return data == MAP_FAILED ? NULL : tr_buffer_adopt(self, data, o->bytes, unmap, NULL);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

/* Ask for it to be stored, with small asks of another actor meanwhile, one at a time. */
static tr_err store_film(tr_actor *self, const other *o, tr_addr to, const stored **out)
{
    tr_addr beside;
    const tr_msg *msg;
    uint64_t hash, longest = 0, asks = 0, begun = now_us();
    tr_err err;
    TR_TRY(find(self, "bob/echo", &beside));
    const tr_buffer *content = film_of(self, o, &hash);
    EXPECT(self, content);
    tr_future answer =
        tr_ask(self, to, TR_SECONDS(120), film, .n = 1, .content = content, .title = "Metropolis");
    for (; (err = tr_take_result(self, answer, &msg)) == TR_EAGAIN; asks++) {
        uint64_t asked = now_us();
        TR_TRY(tr_await_msg(self, tr_ask(self, beside, TR_SECONDS(60), ping, .n = asks), NULL));
        longest = now_us() - asked > longest ? now_us() - asked : longest;
    }
    TR_TRY(err);
    *out = tr_match(msg, stored);
    EXPECT(self, *out && (*out)->size == o->bytes && (*out)->hash == hash);
    EXPECT(self, strcmp((*out)->title, "Metropolis") == 0);
    EXPECT(self, tr_buffer_release(self, content) == TR_OK);
    printf("%zu MiB stored in %.2f s; %llu asks beside it, the longest %.2f ms\n", o->bytes >> 20,
           (double)(now_us() - begun) / 1e6, (unsigned long long)asks, (double)longest / 1e3);
    return TR_OK;
}

static tr_err check_film(tr_actor *self, void *arg)
{
    const other *o = arg;
    tr_addr to;
    const ready *r;
    const stored *s = NULL;
    TR_TRY(find(self, "bob/store", &to));
    TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(5), prepare), ready, &r));
    uint64_t idle = r->resident;
    TR_TRY(store_film(self, o, to, &s));
    EXPECT(self, s->in_file && s->mode == 0600 && s->links == 0);
    printf("its node's memory: %llu KiB idle, %llu KiB at most meanwhile\n", (unsigned long long)idle >> 10,
           (unsigned long long)s->peak >> 10);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT(self, getenv("LD_PRELOAD") || s->peak <= idle + 8 * MIB);
#endif
    EXPECT(self, files_in(o->directory) == 0);
    return TR_OK;
}

static void a_large_message_crosses_into_a_file_without_a_name_and_takes_no_memory(void **state)
{
    other *o = *state;
    assert_true(other_start(o, "whole"));
    run_with(o, check_film);
}

static tr_err kill_in_the_middle(tr_actor *self, void *arg)
{
    other *o = arg;
    tr_addr to;
    uint64_t hash;
    TR_TRY(find(self, "bob/store", &to));
    const tr_buffer *content = film_of(self, o, &hash);
    tr_future answer = tr_ask(self, to, TR_SECONDS(120), film, .n = 1, .content = content);
    TR_TRY(tr_sleep(self, TR_MILLIS(20)));
    other_end(o);
    EXPECT(self, tr_await_msg(self, answer, NULL) == TR_ENOCONN);
    EXPECT(self, files_in(o->directory) == 0);
    return TR_OK;
}

static void a_node_that_is_killed_in_the_middle_leaves_no_file(void **state)
{
    other *o = *state;
    assert_true(other_start(o, "whole"));
    run_with(o, kill_in_the_middle);
}

static tr_err fill_the_disk(tr_actor *self, void *arg)
{
    static uint8_t bytes[16 << 20];
    const other *o = arg;
    tr_addr to;
    const stored *s;
    TR_TRY(find(self, "bob/store", &to));
    const tr_buffer *large = tr_buffer_make(self, bytes, sizeof(bytes));
    const tr_buffer *fits = tr_buffer_make(self, bytes, 4 * MIB);
    for (int i = 0; i < 3; i++) {
        tr_err err = tr_await_msg(self, tr_ask(self, to, TR_SECONDS(20), film, .content = large), NULL);
        EXPECT(self, err == TR_ENOSPC && strstr(tr_last_error(self)->text, o->directory) &&
                         strstr(tr_last_error(self)->text, "(--spool)"));
        TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(20), film, .content = fits), stored, &s));
        EXPECT(self, s->in_file && s->size == 4 * MIB && s->hash == hash_more(1, bytes, 4 * MIB));
    }
    return TR_OK;
}

static void a_full_disk_is_told_to_the_sender_and_gets_room_again(void **state)
{
    other *o = *state;
    if (!other_start(o, "small")) {
        puts("no mounts here: not tried");
        return;
    }
    run_with(o, fill_the_disk);
}

static tr_err find_no_directory(tr_actor *self, void *arg)
{
    static uint8_t bytes[2 << 20];
    const other *o = arg;
    tr_addr to;
    TR_TRY(find(self, "bob/store", &to));
    rmdir(o->directory);
    const tr_buffer *content = tr_buffer_make(self, bytes, sizeof(bytes));
    tr_err err = tr_await_msg(self, tr_ask(self, to, TR_SECONDS(20), film, .content = content), NULL);
    EXPECT(self, err == TR_ENOTFOUND && strstr(tr_last_error(self)->text, o->directory));
    return TR_OK;
}

static void a_directory_that_is_gone_is_named_to_the_sender(void **state)
{
    other *o = *state;
    assert_true(other_start(o, "whole"));
    run_with(o, find_no_directory);
}

static tr_err end_at_once(tr_actor *self, void *arg)
{
    (void)self, (void)arg;
    return TR_OK;
}

/* Only where it was asked for: nobody may need the default. */
static void a_node_does_not_start_without_its_directory(void **state)
{
    (void)state;
    tr_error error = {0};
    tr_node_opts opts = {.name = "bob", .start = end_at_once, .spool = "/no/such/place"};
    assert_null(tr_node_create(&opts, &error));
    assert_int_equal(error.code, TR_ENOTFOUND);
    assert_non_null(strstr(error.text, "/no/such/place: can't make a file for a large message"));
    assert_non_null(strstr(error.text, "(--spool)"));
    opts.spool = ".";
    tr_node *node = tr_node_create(&opts, &error);
    assert_non_null(node);
    assert_int_equal(tr_node_run(node, &error), TR_OK);
    tr_node_destroy(node);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "node") == 0)
        return node_main(argv[2], argv[3]);
#define SPOOLS(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SPOOLS(a_large_message_crosses_into_a_file_without_a_name_and_takes_no_memory),
        SPOOLS(a_node_that_is_killed_in_the_middle_leaves_no_file),
        SPOOLS(a_full_disk_is_told_to_the_sender_and_gets_room_again),
        SPOOLS(a_directory_that_is_gone_is_named_to_the_sender),
        cmocka_unit_test(a_node_does_not_start_without_its_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
