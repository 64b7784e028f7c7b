/* How an nng socket ends and begins: at once, whatever nng does, and only where it may. */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tests/kit/loopback.h"
#include "tests/system/nng_kit.h"

static void echo(tr_actor *self, void *state, const tr_msg *msg)
{
    const tr_nng_request *request = tr_match(msg, tr_nng_request);
    (void)state;
    if (request)
        (void)tr_reply(self, msg, tr_nng_reply, .data = request->data);
}
TR_ACTOR(echo_def, .receive = echo);

/* ---- closing, and starting again ----------------------------------------------------------------------- */

static atomic_bool hang;
static atomic_int hanging;
static pthread_mutex_t hang_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hang_changed = PTHREAD_COND_INITIALIZER;

typedef struct nng_socket_s {
    uint32_t id;
} socket_of_nng;
int nng_close(socket_of_nng socket);

/* Between the library and nng: a close that hangs, as nng #1543, until the test lets it go on. */
__attribute__((visibility("default"))) int nng_close(socket_of_nng socket)
{
    int (*real)(socket_of_nng) = (int (*)(socket_of_nng))dlsym(RTLD_NEXT, "nng_close");
    pthread_mutex_lock(&hang_lock);
    hanging++;
    while (hang)
        pthread_cond_wait(&hang_changed, &hang_lock);
    hanging--;
    pthread_mutex_unlock(&hang_lock);
    return real(socket);
}

static tr_err close_hangs(tr_actor *self, void *arg)
{
    char url[128];
    tr_nng_status status;
    uint64_t monitor;
    (void)arg;
    hang = true;
    tr_addr consumer = tr_spawn(self, &echo_def, NULL);
    tr_addr rep = spawn_socket(
        self,
        &(tr_nng_opts){.protocol = "rep", .listen = URLS("tcp://" LISTENS_AGAIN ":0"), .consumer = consumer});
    EXPECT(!tr_addr_is_none(rep), LAST);
    TR_TRY(status_of(self, rep, &status, url));
    monitor = tr_monitor(self, rep);
    TR_TRY(tr_stop(self, rep, TR_EXIT_KILLED));
    EXPECT(monitor && tr_receive_type(self, TR_SECONDS(20), tr_down), "it ended, though nng hangs");
    for (int i = 0; hanging == 0 && i < 1000; i++)
        TR_TRY(tr_sleep(self, TR_MILLIS(2)));
    EXPECT(hanging == 1, "nng hangs meanwhile");
    rep = spawn_socket(self, &(tr_nng_opts){.protocol = "rep", .listen = URLS(url), .consumer = consumer});
    EXPECT(!tr_addr_is_none(rep), LAST);
    tr_addr req = spawn_socket(self, &(tr_nng_opts){.protocol = "req", .dial = URLS(url)});
    TR_TRY(reply_is(self, tr_ask(self, req, TR_SECONDS(10), tr_nng_request, .data = BYTES("on")), "on"));
    return TR_OK;
}

static void a_close_that_hangs_holds_up_neither_the_loop_nor_the_address(void **state)
{
    (void)state;
    real_node_run(2, close_hangs, NULL);
    pthread_mutex_lock(&hang_lock);
    hang = false;
    pthread_cond_broadcast(&hang_changed);
    pthread_mutex_unlock(&hang_lock);
}

static tr_err again_and_again(tr_actor *self, void *arg)
{
    char url[128] = "tcp://" LISTENS_AGAIN ":0";
    tr_nng_status status;
    (void)arg;
    tr_addr consumer = tr_spawn(self, &echo_def, NULL);
    for (int i = 0; i < 50; i++) {
        tr_addr rep =
            spawn_socket(self, &(tr_nng_opts){.protocol = "rep", .listen = URLS(url), .consumer = consumer});
        EXPECT(!tr_addr_is_none(rep), kept("the %d. time: %s", i, LAST));
        TR_TRY(status_of(self, rep, &status, url));
        tr_addr req = spawn_socket(self, &(tr_nng_opts){.protocol = "req", .dial = URLS(url)});
        TR_TRY(reply_is(self, tr_ask(self, req, TR_SECONDS(10), tr_nng_request, .data = BYTES("x")), "x"));
        (void)tr_monitor(self, rep);
        TR_TRY(tr_stop(self, req, TR_EXIT_KILLED));
        TR_TRY(tr_stop(self, rep, TR_EXIT_KILLED));
        EXPECT(tr_receive_type(self, TR_SECONDS(5), tr_down), "it ended");
    }
    return TR_OK;
}

static void one_that_ended_can_listen_again_at_once_with_a_peer_or_without(void **state)
{
    (void)state;
    real_node_run(2, again_and_again, NULL);
}

static int descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Counted when nng runs, which has descriptors of its own. Two more: the last connection may still be at its end, on both
 * sides. */
static tr_err stop_as_they_connect(tr_actor *self, void *arg)
{
    char url[128];
    tr_nng_status status;
    (void)arg;
    tr_addr consumer = tr_spawn(self, &echo_def, NULL);
    tr_addr rep = spawn_socket(
        self, &(tr_nng_opts){.protocol = "rep", .listen = URLS("tcp://127.0.0.1:0"), .consumer = consumer});
    TR_TRY(status_of(self, rep, &status, url));
    int before = descriptors();
    for (int i = 0; i < 400; i++) {
        tr_addr req = spawn_socket(self, &(tr_nng_opts){.protocol = "req", .dial = URLS(url)});
        EXPECT(!tr_addr_is_none(req), LAST);
        TR_TRY(tr_sleep(self, TR_MICROS(i % 40 * 10)));
        TR_TRY(tr_stop(self, req, TR_EXIT_KILLED));
    }
    for (int i = 0; descriptors() > before + 2 && i < 100; i++)
        TR_TRY(tr_sleep(self, TR_MILLIS(100)));
    EXPECT(descriptors() <= before + 2, kept("%d before, %d now", before, descriptors()));
    return TR_OK;
}

static void sockets_stopped_as_they_connect_leave_no_descriptor(void **state)
{
    (void)state;
    real_node_run(2, stop_as_they_connect, NULL);
}

static tr_err refused(tr_actor *self, void *arg)
{
    char url[128];
    tr_nng_status status;
    (void)arg;
    tr_addr push =
        spawn_socket(self, &(tr_nng_opts){.protocol = "push", .listen = URLS("tcp://127.0.0.1:0")});
    TR_TRY(status_of(self, push, &status, url));
    EXPECT(tr_addr_is_none(spawn_socket(self, &(tr_nng_opts){.protocol = "push", .listen = URLS(url)})),
           "it is taken");
    EXPECT(tr_last_error(self)->code == TR_EADDRINUSE && strstr(LAST, url), LAST);
    EXPECT(tr_addr_is_none(
               spawn_socket(self, &(tr_nng_opts){.protocol = "push", .listen = URLS("tcp://0.0.0.0:0")})),
           "");
    EXPECT(tr_last_error(self)->code == TR_EPERM, LAST);
    EXPECT(strstr(LAST, "listen_anywhere"), LAST + 60);
    EXPECT(!tr_addr_is_none(spawn_socket(self, &(tr_nng_opts){.protocol = "push",
                                                              .listen = URLS("tcp://0.0.0.0:0"),
                                                              .listen_anywhere = true})),
           LAST);
    tr_addr consumer = tr_spawn(self, &echo_def, NULL);
    tr_addr rep = spawn_socket(
        self, &(tr_nng_opts){.protocol = "rep", .listen = URLS("tcp://127.0.0.1:0"), .consumer = consumer});
    (void)tr_monitor(self, rep);
    TR_TRY(tr_stop(self, consumer, TR_EXIT_KILLED));
    const tr_msg *msg = tr_receive_type(self, TR_SECONDS(5), tr_down);
    EXPECT(msg && tr_match(msg, tr_down)->code == TR_ENOACTOR, "it ends with its consumer");
    return TR_OK;
}

static void only_loopback_is_listened_on_unless_it_is_meant_and_what_is_taken_is_told(void **state)
{
    (void)state;
    real_node_run(2, refused, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_close_that_hangs_holds_up_neither_the_loop_nor_the_address),
        cmocka_unit_test(one_that_ended_can_listen_again_at_once_with_a_peer_or_without),
        cmocka_unit_test(sockets_stopped_as_they_connect_leave_no_descriptor),
        cmocka_unit_test(only_loopback_is_listened_on_unless_it_is_meant_and_what_is_taken_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
