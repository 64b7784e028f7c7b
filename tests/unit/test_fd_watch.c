/* Descriptors that actors wait on: under a seam that the test plays, and with real pipes and sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "actors/driver/fd_watch.h"
#include "tests/kit/manual.h"

/* ---- a seam that the test plays ------------------------------------------------------------------------ */

typedef struct watched {
    int fd;
    uint64_t id; /* 0: not watched */
} watched;

static watched table[2000];
static uint32_t watches, unwatches;
static tr_err refuse_with;

static tr_err fake_watch(tr__loop *loop, int fd, uint32_t events, uint64_t id, tr_error *error)
{
    (void)loop;
    (void)events;
    if (refuse_with) {
        strcpy(error->text, "refused");
        return error->code = refuse_with;
    }
    assert_int_equal(0, table[fd].id);
    table[fd].id = id;
    watches++;
    return TR_OK;
}

static void fake_unwatch(tr__loop *loop, int fd)
{
    (void)loop;
    assert_int_not_equal(0, table[fd].id);
    table[fd].id = 0;
    unwatches++;
}

static const tr__fd_seam fake = {.watch = fake_watch, .unwatch = fake_unwatch};

static manual *open_fake(void)
{
    tr__kind_seams kinds = {.fds = &fake};
    memset(table, 0, sizeof(table));
    watches = unwatches = 0;
    refuse_with = TR_OK;
    return manual_open_kinds(1, &kinds);
}

static void ready(manual *m, int fd, uint32_t events)
{
    uint64_t id = table[fd].id;
    assert_int_not_equal(0, id);
    tr__fd_ready(m->node->loops[0], id, events);
}

static void note_ready(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const tr_fd_ready *r = tr_match(msg, tr_fd_ready);
    (void)self;
    if (r)
        manual_note(puppet, "%d:%u", r->fd, r->events);
}

static void watch_7(tr_actor *self, void *context)
{
    *(tr_err *)context = tr_fd_watch(self, 7, TR_FD_READ);
}

static void unwatch_7(tr_actor *self, void *context)
{
    (void)context;
    tr_fd_unwatch(self, 7);
}

static void end_it(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "done");
}

static void a_watch_gives_one_message_and_can_be_made_again(void **state)
{
    manual *m = open_fake();
    manual_puppet p = {.on = note_ready};
    tr_err err;
    (void)state;
    manual_spawn(m, 0, &p, NULL);
    manual_do(m, p.address, watch_7, &err);
    assert_int_equal(TR_OK, err);
    manual_do(m, p.address, watch_7, &err);
    assert_int_equal(TR_EEXIST, err);
    ready(m, 7, TR_FD_READ);
    manual_pump(m);
    assert_string_equal("init tr_fd_ready 7:1 ", p.trail);
    assert_int_equal(0, table[7].id);
    manual_do(m, p.address, watch_7, &err);
    assert_int_equal(TR_OK, err);
    ready(m, 7, TR_FD_READ | TR_FD_HANGUP);
    manual_pump(m);
    assert_string_equal("init tr_fd_ready 7:1 tr_fd_ready 7:5 ", p.trail);
    manual_close(m);
}

static void after_unwatch_nothing_of_it_is_handled(void **state)
{
    manual *m = open_fake();
    manual_puppet p = {.on = note_ready};
    tr_err err;
    (void)state;
    manual_spawn(m, 0, &p, NULL);
    manual_do(m, p.address, watch_7, &err);
    manual_do(m, p.address, unwatch_7, NULL);
    assert_int_equal(0, table[7].id);
    manual_do(m, p.address, watch_7, &err);
    manual_tell(m, p.address, unwatch_7, NULL);
    ready(m, 7, TR_FD_READ); /* queued behind that */
    manual_pump(m);
    assert_string_equal("init ", p.trail);
    assert_int_equal(1, manual_dropped(m, TR_DROP_CANCELED));
    manual_do(m, p.address, unwatch_7, NULL); /* nothing to do */
    manual_close(m);
}

static void the_end_of_an_actor_unwatches_all(void **state)
{
    manual *m = open_fake();
    manual_puppet p = {0};
    tr_err err;
    (void)state;
    manual_spawn(m, 0, &p, NULL);
    manual_do(m, p.address, watch_7, &err);
    uint64_t id = table[7].id;
    manual_do(m, p.address, end_it, NULL);
    assert_int_equal(0, table[7].id);
    tr__fd_ready(m->node->loops[0], id, TR_FD_READ); /* too late: nobody's */
    manual_close(m);
}

static void watch_many(tr_actor *self, void *context)
{
    int fd = 0;
    while (tr_fd_watch(self, fd, TR_FD_WRITE) == TR_OK)
        fd++;
    *(int *)context = fd;
    assert_int_equal(TR_EFULL, tr_last_error(self)->code);
    assert_int_equal(TR_EINVAL, tr_fd_watch(self, fd, 0));
    assert_int_equal(TR_EINVAL, tr_fd_watch(self, fd, TR_FD_HANGUP));
}

static void there_is_a_bound_and_a_refusal_leaves_nothing_behind(void **state)
{
    manual *m = open_fake();
    manual_puppet p = {0}, q = {0};
    int count;
    tr_err err;
    (void)state;
    manual_spawn(m, 0, &p, NULL);
    manual_do(m, p.address, watch_many, &count);
    assert_int_equal(1024, count);
    manual_do(m, p.address, end_it, NULL);
    assert_int_equal(1024, unwatches);
    manual_spawn(m, 0, &q, NULL);
    refuse_with = TR_EINVAL;
    manual_do(m, q.address, watch_7, &err);
    assert_int_equal(TR_EINVAL, err);
    m->node->seams.kinds.fds = NULL; /* as in the simulator */
    manual_do(m, q.address, watch_7, &err);
    assert_int_equal(TR_EINVAL, err);
    manual_close(m);
}

/* ---- real ones ----------------------------------------------------------------------------------------- */

static tr_err expect(tr_actor *self, int fd, uint32_t events)
{
    const tr_msg *msg = tr_receive(self, TR_SECONDS(20));
    const tr_fd_ready *r = msg ? tr_match(msg, tr_fd_ready) : NULL;
    if (!r || r->fd != fd || r->events != events)
        return tr_fail(self, TR_EMISMATCH, "fd %d events %u in place of %d %u", r ? r->fd : -1,
                       r ? r->events : 0, fd, events);
    return TR_OK;
}

static tr_err with_pipes(tr_actor *self, void *arg)
{
    int one[2], two[2], file = open("/dev/null", O_RDONLY), directory = open("/", O_RDONLY);
    char bytes[8];
    (void)arg;
    if (pipe(one) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, two) != 0)
        return TR_EIO;
    TR_TRY(tr_fd_watch(self, one[0], TR_FD_READ));
    if (tr_fd_watch(self, directory, TR_FD_READ) != TR_EINVAL ||
        tr_fd_watch(self, 9999, TR_FD_READ) != TR_EINVAL || tr_fd_watch(self, -1, TR_FD_READ) != TR_EINVAL)
        return tr_fail(self, TR_EMISMATCH, "what can't be watched is");
    if (tr_receive(self, TR_MILLIS(20)))
        return tr_fail(self, TR_EMISMATCH, "ready too early");
    for (int i = 0; i < 100; i++) {
        if (write(one[1], "12", 2) != 2)
            return TR_EIO;
        TR_TRY(expect(self, one[0], TR_FD_READ));
        if (tr_receive(self, 0)) /* once, though it is still readable */
            return tr_fail(self, TR_EMISMATCH, "told twice");
        TR_TRY(tr_fd_watch(self, one[0], TR_FD_READ));
        TR_TRY(expect(self, one[0], TR_FD_READ)); /* it still is */
        if (read(one[0], bytes, 2) != 2)
            return TR_EIO;
        TR_TRY(tr_fd_watch(self, one[0], TR_FD_READ));
    }
    TR_TRY(tr_fd_watch(self, two[0], TR_FD_READ | TR_FD_WRITE));
    TR_TRY(expect(self, two[0], TR_FD_WRITE));
    TR_TRY(tr_fd_watch(self, two[0], TR_FD_READ));
    close(two[1]);
    TR_TRY(expect(self, two[0], TR_FD_READ | TR_FD_HANGUP));
    tr_fd_unwatch(self, one[0]);
    if (write(one[1], "12", 2) != 2 || tr_receive(self, TR_MILLIS(20)))
        return tr_fail(self, TR_EMISMATCH, "told of what isn't watched");
    close(file);
    close(directory);
    close(two[0]);
    close(one[0]);
    close(one[1]);
    return TR_OK;
}

static uint64_t cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* Closed first, and a copy stays open, as in a child process: the kernel goes on telling of it. */
static tr_err with_one_closed_too_early(tr_actor *self, void *arg)
{
    int ends[2];
    (void)arg;
    if (pipe(ends) != 0)
        return TR_EIO;
    TR_TRY(tr_fd_watch(self, ends[0], TR_FD_READ));
    int copy = dup(ends[0]);
    close(ends[0]);
    tr_fd_unwatch(self, ends[0]);
    if (write(ends[1], "1", 1) != 1)
        return TR_EIO;
    uint64_t before = cpu_ns();
    if (tr_receive(self, TR_MILLIS(400)))
        return tr_fail(self, TR_EMISMATCH, "told of what isn't watched");
    uint64_t used = cpu_ns() - before;
    close(copy);
    close(ends[1]);
    return used < TR_MILLIS(100)
               ? TR_OK
               : tr_fail(self, TR_EMISMATCH, "the loop is busy: %llu ns", (unsigned long long)used);
}

static void run_node(tr_err (*start)(tr_actor *self, void *arg))
{
    tr_error error = {0};
    tr_node_opts opts = {.loops = 1, .start = start};
    tr_node *node = tr_node_create(&opts, &error);
    assert_non_null(node);
    if (tr_node_run(node, &error) != TR_OK)
        fail_msg("%s", error.text);
    tr_node_destroy(node);
}

static void pipes_and_sockets_tell_when_they_are_ready(void **state)
{
    (void)state;
    run_node(with_pipes);
}

static void one_that_is_closed_before_it_is_unwatched_costs_nothing(void **state)
{
    (void)state;
    run_node(with_one_closed_too_early);
}

static bool set_aside;

static void defer_ready(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, tr_fd_ready) && set_aside)
        assert_int_equal(TR_OK, tr_defer(self, msg));
    else
        manual_puppet_def.receive(self, state, msg);
}

static void put_back(tr_actor *self, void *context)
{
    (void)context;
    set_aside = false;
    tr_undefer(self);
}

static void what_was_set_aside_of_it_is_not_handled_either(void **state)
{
    tr_actor_def defers = manual_puppet_def;
    (void)state;
    for (int again = 0; again < 3; again++) {
        manual *m = open_fake();
        manual_puppet p = {0};
        tr_err err;
        defers.receive = defer_ready;
        set_aside = true;
        p.address = manual_spawn_def(m, 0, &defers, &p, NULL);
        manual_pump(m);
        manual_do(m, p.address, watch_7, &err);
        ready(m, 7, TR_FD_READ);
        manual_pump(m);
        if (again)
            manual_do(m, p.address, watch_7, &err);
        if (again == 2) { /* that one is set aside as well */
            ready(m, 7, TR_FD_READ);
            manual_pump(m);
        }
        manual_do(m, p.address, unwatch_7, NULL);
        assert_int_equal(0, table[7].id);
        manual_do(m, p.address, put_back, NULL);
        assert_string_equal("init ", p.trail);
        assert_int_equal(again == 2 ? 2 : 1, manual_dropped(m, TR_DROP_CANCELED));
        manual_check(m);
        manual_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_gives_one_message_and_can_be_made_again),
        cmocka_unit_test(after_unwatch_nothing_of_it_is_handled),
        cmocka_unit_test(the_end_of_an_actor_unwatches_all),
        cmocka_unit_test(there_is_a_bound_and_a_refusal_leaves_nothing_behind),
        cmocka_unit_test(pipes_and_sockets_tell_when_they_are_ready),
        cmocka_unit_test(one_that_is_closed_before_it_is_unwatched_costs_nothing),
        cmocka_unit_test(what_was_set_aside_of_it_is_not_handled_either),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
