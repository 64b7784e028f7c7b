/* Two node processes on a machine whose cores have more to do than they can, while a gigabyte crosses and then nothing:
 * neither takes the other to be down. The other node is this same program, run with the word "node". */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#define BURNERS_A_CORE 3
#define BURNERS_MAX    64
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BYTES_ALL (64u << 20)
#else
#define BYTES_ALL (1u << 30)
#endif
#define BYTES_EACH (1u << 20)
#define IDLE_NS    TR_SECONDS(12) /* in which a peer that is silent would be missed twice */

TR_MESSAGE(load, (u64, number), (bytes, data))
TR_MESSAGE(how_much)
TR_MESSAGE(so_much, (u64, bytes), (bool, in_order))

/* ---- the other node -------------------------------------------------------------------------------------- */

typedef struct sink_state {
    uint64_t bytes, next;
    bool disorder;
} sink_state;

static void sink(tr_actor *self, void *state, const tr_msg *msg)
{
    sink_state *s = state;
    const load *l = tr_match(msg, load);
    if (l) {
        s->disorder |= l->number != s->next++;
        s->bytes += l->data.size;
    } else if (tr_match(msg, how_much)) {
        tr_reply(self, msg, so_much, .bytes = s->bytes, .in_order = !s->disorder);
    }
}
TR_ACTOR(sink_def, .receive = sink, .state_size = sizeof(sink_state), .mailbox_places = 65536);

/* Until the other one goes in order; its going in another way is said. */
static tr_err other_start(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(tr_watch_nodes(self));
    tr_spawn_with(self, &sink_def, NULL, &(tr_spawn_opts){.name = "sink"});
    printf("%s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const tr_node_event *event = tr_match(msg, tr_node_event);
        if (event && !event->up)
            return strstr(event->reason, "said goodbye") ? TR_OK
                                                         : tr_fail(self, TR_EAPP, "%s", event->reason);
    }
    return TR_OK;
}

static int node_main(void)
{
    tr_error error = {.code = TR_OK};
    tr_node_opts opts = {
        .name = "bob", .listen = "127.0.0.1:0", .log_level = TR_LOG_ERROR, .start = other_start};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK)
        fprintf(stderr, "bob: %s\n", error.text);
    return err != TR_OK;
}

/* ---- this one -------------------------------------------------------------------------------------------- */

typedef struct fixture {
    pid_t burners[BURNERS_MAX], other;
    int burner_count;
    char address[64];
} fixture;

static pid_t burn(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (volatile uint64_t i = 0;; i++) {
        }
    }
    return pid;
}

static int setup(void **state)
{
    static fixture f;
    int out[2];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    f = (fixture){.burner_count = 0};
    *state = &f;
    assert_int_equal(0, pipe(out));
    f.other = fork();
    if (f.other == 0) {
        dup2(out[1], 1);
        close(out[0]);
        execl("/proc/self/exe", "node", "node", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *lines = fdopen(out[0], "r");
    assert_non_null(fgets(f.address, sizeof(f.address), lines));
    f.address[strcspn(f.address, "\n")] = 0;
    fclose(lines);
    for (long i = 0; i < cores * BURNERS_A_CORE && i < BURNERS_MAX; i++)
        f.burners[f.burner_count++] = burn();
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < f->burner_count; i++) {
        kill(f->burners[i], SIGKILL);
        waitpid(f->burners[i], NULL, 0);
    }
    if (f->other > 0) {
        kill(f->other, SIGKILL);
        waitpid(f->other, NULL, 0);
    }
    return 0;
}

/* Nobody goes; what comes until then is handled: a writable notice. */
static tr_err stay_for(tr_actor *self, uint64_t ns, bool one)
{
    uint64_t until = tr_now(self) + ns;
    do {
        uint64_t now = tr_now(self);
        const tr_msg *msg = tr_receive(self, until > now ? until - now : 0);
        const tr_node_event *event = msg ? tr_match(msg, tr_node_event) : NULL;
        if (event && !event->up)
            return tr_fail(self, TR_EAPP, "%s is down: %s", event->name, event->reason);
        if (msg && one)
            break;
    } while (tr_now(self) < until);
    return TR_OK;
}

/* After TR_EAGAIN: until it is worth trying again. */
static tr_err stay_for_credit(tr_actor *self, tr_addr to)
{
    TR_TRY(tr_notify_writable(self, to));
    return stay_for(self, TR_SECONDS(30), true);
}

static tr_err ask_how_much(tr_actor *self, tr_addr to, so_much *out)
{
    const so_much *got;
    tr_err err;
    while ((err = tr_await(self, tr_ask(self, to, TR_SECONDS(60), how_much), so_much, &got)) == TR_EAGAIN)
        TR_TRY(stay_for_credit(self, to));
    if (err == TR_OK)
        *out = *got;
    return err;
}

/* What is full there would be a dead letter there, so ask now and then: the answer comes when all before it is handled. */
static tr_err cross(tr_actor *self, tr_addr to, so_much *got)
{
    static char data[BYTES_EACH];
    for (uint64_t i = 0; i < BYTES_ALL / BYTES_EACH; i++) {
        tr_err err;
        while ((err = tr_send(self, to, load, .number = i, .data = {data, sizeof(data)})) == TR_EAGAIN)
            TR_TRY(stay_for_credit(self, to));
        TR_TRY(err);
        if (i % 16 == 15)
            TR_TRY(ask_how_much(self, to, got));
    }
    return TR_OK;
}

static tr_err all_of_it(tr_actor *self, void *arg)
{
    const tr_found *found;
    so_much got = {.bytes = 0};
    (void)arg;
    TR_TRY(tr_watch_nodes(self));
    TR_TRY(tr_await(self, tr_lookup(self, "bob/sink", TR_SECONDS(20)), tr_found, &found));
    tr_addr to = found->actor;
    TR_TRY(cross(self, to, &got));
    if (got.bytes != BYTES_ALL || !got.in_order)
        return tr_fail(self, TR_EAPP, "%llu bytes came, %s", (unsigned long long)got.bytes,
                       got.in_order ? "in order" : "in disorder");
    return stay_for(self, IDLE_NS, false);
}

static void nobody_is_taken_to_be_down_while_all_cores_are_busy_and_a_gigabyte_crosses(void **state)
{
    fixture *f = *state;
    int status;
    tr_error error = {.code = TR_OK};
    const char *join[] = {f->address, NULL};
    tr_node_opts opts = {.name = "alice", .join = join, .log_level = TR_LOG_ERROR, .start = all_of_it};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node || tr_node_run(node, &error) != TR_OK)
        fail_msg("%s", error.text);
    tr_node_destroy(node);
    assert_int_equal(f->other, waitpid(f->other, &status, 0));
    f->other = 0;
    assert_int_equal(0, status);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "node") == 0)
        return node_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            nobody_is_taken_to_be_down_while_all_cores_are_busy_and_a_gigabyte_crosses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
