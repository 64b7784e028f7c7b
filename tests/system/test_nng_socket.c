/* The nng socket against a foreign program that links libnng only, and nngcat: each protocol both ways. */
#include "tests/system/nng_kit.h"

static char directory[] = "/tmp/troupe-nng-XXXXXX";

/* ---- a consumer that answers --------------------------------------------------------------------------- */

static void upper(tr_actor *self, void *state, const tr_msg *msg)
{
    const tr_nng_request *request = tr_match(msg, tr_nng_request);
    char answer[256];
    (void)state;
    if (!request)
        return;
    int size = snprintf(answer, sizeof(answer), "troupe:%.*s", (int)request->data.size,
                        (const char *)request->data.data);
    (void)tr_reply(self, msg, tr_nng_reply, .data = {answer, (size_t)size});
}
TR_ACTOR(upper_def, .receive = upper);

/* ---- req and rep --------------------------------------------------------------------------------------- */

/* A foreign client calls our service on that URL, and we a foreign service. */
static tr_err both_ways(tr_actor *self, const char *ours, const char *theirs)
{
    foreign client, service;
    char url[128];
    tr_nng_status status;
    tr_addr rep = spawn_socket(self, &(tr_nng_opts){.protocol = "rep",
                                                    .listen = URLS(ours),
                                                    .consumer = tr_spawn(self, &upper_def, NULL)});
    EXPECT(!tr_addr_is_none(rep), LAST);
    TR_TRY(status_of(self, rep, &status, url));
    EXPECT(foreign_run(self, &client, "req", "dial", url, "ask", "3", NULL), LAST);
    EXPECT(foreign_says(self, &client, "got troupe:question 0"), LAST);
    EXPECT(foreign_says(self, &client, "got troupe:question 1"), LAST);
    EXPECT(foreign_says(self, &client, "got troupe:question 2"), LAST);
    TR_TRY(status_of(self, rep, &status, NULL));
    EXPECT(status.received == 3 && status.answered == 3 && status.peers == 1, "counts");
    EXPECT(foreign_end(&client) == 0, "its status");
    TR_TRY(await_peers(self, rep, 0));

    EXPECT(foreign_run(self, &service, "rep", "listen", theirs, "echo", "0", NULL), LAST);
    tr_addr req = spawn_socket(self, &(tr_nng_opts){.protocol = "req", .dial = URLS(service.url)});
    EXPECT(!tr_addr_is_none(req), LAST);
    tr_future futures[100];
    for (int i = 0; i < 100; i++) /* more than there are exchanges */
        futures[i] = tr_ask(self, req, TR_SECONDS(10), tr_nng_request, .data = BYTES(kept("%d", i)));
    for (int i = 0; i < 100; i++)
        TR_TRY(reply_is(self, futures[i], kept("re:%d", i)));
    foreign_kill(&service);
    return TR_OK;
}

static tr_err ask_and_serve(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(both_ways(self, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0"));
    TR_TRY(both_ways(self, kept("ipc://%s/a", directory), kept("ipc://%s/b", directory)));
    TR_TRY(
        both_ways(self, kept("abstract://troupe-%d-a", getpid()), kept("abstract://troupe-%d-b", getpid())));
    return both_ways(self, "ws://127.0.0.1:0/a", kept("ws://127.0.0.1:%u/b", test_free_port()));
}

static void a_foreign_client_calls_our_service_and_we_a_foreign_one(void **state)
{
    (void)state;
    real_node_run(2, ask_and_serve, NULL);
}

static tr_err within_the_process(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr rep = spawn_socket(self, &(tr_nng_opts){.protocol = "rep",
                                                    .listen = URLS("inproc://here"),
                                                    .consumer = tr_spawn(self, &upper_def, NULL)});
    EXPECT(!tr_addr_is_none(rep), LAST);
    tr_addr req = spawn_socket(self, &(tr_nng_opts){.protocol = "req", .dial = URLS("inproc://here")});
    return reply_is(self, tr_ask(self, req, TR_SECONDS(10), tr_nng_request, .data = BYTES("x")), "troupe:x");
}

static void two_sockets_of_one_process_talk(void **state)
{
    (void)state;
    real_node_run(2, within_the_process, NULL);
}

/* ---- push, pull, pub, sub, pair, bus ------------------------------------------------------------------- */

static tr_err one_way(tr_actor *self, const char *sender, const char *receiver, bool we_listen)
{
    foreign f;
    char url[128] = "tcp://127.0.0.1:0";
    tr_nng_status status;
    const char *const topics[] = {"message 1", "message 3"}, *at = url;
    tr_nng_opts opts = {.protocol = receiver, .consumer = tr_self(self)};
    opts.topics.data = topics;
    opts.topics.count = strcmp(receiver, "sub") == 0 ? 2 : 0;
    if (!we_listen)
        EXPECT(foreign_run(self, &f, sender, "listen", url, "send", "5", NULL), LAST);
    opts.listen.data = opts.dial.data = &at;
    opts.listen.count = we_listen;
    opts.dial.count = !we_listen;
    if (!we_listen)
        at = f.url;
    tr_addr socket = spawn_socket(self, &opts);
    EXPECT(!tr_addr_is_none(socket), LAST);
    TR_TRY(status_of(self, socket, &status, url));
    if (we_listen)
        EXPECT(foreign_run(self, &f, sender, "dial", url, "send", "5", NULL), LAST);
    for (int i = 0; i < 5; i++)
        if (!opts.topics.count || i == 1 || i == 3)
            EXPECT(message_is(self, kept("message %d", i)), LAST);
    EXPECT(foreign_says(self, &f, "done 5") && foreign_end(&f) == 0, LAST);
    return tr_stop(self, socket, TR_EXIT_SHUTDOWN);
}

static tr_err other_way(tr_actor *self, const char *sender, const char *receiver, bool we_listen)
{
    foreign f;
    char url[128] = "tcp://127.0.0.1:0";
    const tr_nng_sent *sent;
    tr_nng_status status;
    const char *at = url;
    tr_nng_opts opts = {.protocol = sender, .consumer = tr_self(self)};
    if (!we_listen)
        EXPECT(foreign_run(self, &f, receiver, "listen", url, "recv", "5", NULL), LAST);
    opts.listen.data = opts.dial.data = &at;
    opts.listen.count = we_listen;
    opts.dial.count = !we_listen;
    if (!we_listen)
        at = f.url;
    tr_addr socket = spawn_socket(self, &opts);
    EXPECT(!tr_addr_is_none(socket), LAST);
    TR_TRY(status_of(self, socket, &status, url));
    if (we_listen)
        EXPECT(foreign_run(self, &f, receiver, "dial", url, "recv", "5", NULL), LAST);
    TR_TRY(await_peers(self, socket, 1));
    for (int i = 0; i < 4; i++)
        TR_TRY(tr_send(self, socket, tr_nng_send, .data = BYTES(kept("ours %d", i))));
    TR_TRY(tr_await(self, tr_ask(self, socket, TR_SECONDS(5), tr_nng_send, .data = BYTES("the last")),
                    tr_nng_sent, &sent));
    EXPECT(sent->peers == 1, "peers");
    for (int i = 0; i < 4; i++)
        EXPECT(foreign_says(self, &f, kept("got ours %d", i)), LAST);
    EXPECT(foreign_says(self, &f, "got the last") && foreign_says(self, &f, "done 5"), LAST);
    EXPECT(foreign_end(&f) == 0, "its status");
    TR_TRY(status_of(self, socket, &status, NULL));
    EXPECT(status.sent == 5 && status.sent_to_nobody == 0 && status.unsent == 0, "counts");
    return tr_stop(self, socket, TR_EXIT_SHUTDOWN);
}

static tr_err all_ways(tr_actor *self, void *arg)
{
    static const struct {
        const char *sender, *receiver;
    } pairs[] = {{"push", "pull"}, {"pub", "sub"}, {"pair", "pair"}, {"pair1", "pair1"}, {"bus", "bus"}};
    (void)arg;
    for (size_t i = 0; i < TR_COUNT(pairs); i++) {
        for (int listen = 0; listen < 2; listen++) {
            tr_err err = one_way(self, pairs[i].sender, pairs[i].receiver, listen);
            if (err == TR_OK)
                err = other_way(self, pairs[i].sender, pairs[i].receiver, listen);
            if (err != TR_OK)
                return tr_fail(self, err, "%s, %s: %s", pairs[i].receiver, listen ? "listening" : "dialling",
                               kept("%s", LAST));
        }
    }
    return TR_OK;
}

static void push_pull_pub_sub_pair_and_bus_talk_with_foreign_ones_both_ways(void **state)
{
    (void)state;
    real_node_run(2, all_ways, NULL);
}

/* ---- surveys ------------------------------------------------------------------------------------------- */

static tr_err surveys(tr_actor *self, void *arg)
{
    foreign voters[3], surveyor;
    char url[128];
    tr_nng_status status;
    const tr_nng_answers *answers;
    (void)arg;
    tr_addr socket = spawn_socket(self, &(tr_nng_opts){.protocol = "surveyor",
                                                       .listen = URLS("tcp://127.0.0.1:0"),
                                                       .survey_ns = TR_SECONDS(2)});
    EXPECT(!tr_addr_is_none(socket), LAST);
    TR_TRY(status_of(self, socket, &status, url));
    for (int i = 0; i < 3; i++)
        EXPECT(foreign_run(self, &voters[i], "respondent", "dial", url, "echo", "0", NULL), LAST);
    TR_TRY(await_peers(self, socket, 3));
    uint64_t begun = tr_now(self);
    TR_TRY(tr_await(self, tr_ask(self, socket, TR_SECONDS(10), tr_nng_request, .data = BYTES("well?")),
                    tr_nng_answers, &answers));
    EXPECT(tr_now(self) - begun >= TR_MILLIS(1990), "it was over too soon");
    EXPECT(answers->answers.count == 3 && answers->dropped == 0, kept("%zu answers", answers->answers.count));
    for (int i = 0; i < 3; i++)
        EXPECT(answers->answers.data[i].size == 8 &&
                   memcmp(answers->answers.data[i].data, "re:well?", 8) == 0,
               "answer");
    for (int i = 0; i < 3; i++)
        foreign_kill(&voters[i]);
    TR_TRY(await_peers(self, socket, 0));
    TR_TRY(tr_await(self, tr_ask(self, socket, TR_MILLIS(2200), tr_nng_request, .data = BYTES("nobody?")),
                    tr_nng_answers, &answers));
    EXPECT(answers->answers.count == 0, "nobody answers, in seven eighths of the time that the ask has");

    tr_addr respondent = spawn_socket(self, &(tr_nng_opts){.protocol = "respondent",
                                                           .listen = URLS("tcp://127.0.0.1:0"),
                                                           .consumer = tr_spawn(self, &upper_def, NULL)});
    TR_TRY(status_of(self, respondent, &status, url));
    EXPECT(foreign_run(self, &surveyor, "surveyor", "dial", url, "survey", "2", NULL), LAST);
    EXPECT(foreign_says(self, &surveyor, "got troupe:survey 0"), LAST);
    EXPECT(foreign_says(self, &surveyor, "got troupe:survey 1"), LAST);
    EXPECT(foreign_says(self, &surveyor, "done 2") && foreign_end(&surveyor) == 0, LAST);
    return TR_OK;
}

static void a_survey_gathers_answers_until_its_time_is_over_and_we_answer_foreign_ones(void **state)
{
    (void)state;
    real_node_run(2, surveys, NULL);
}

/* ---- nngcat -------------------------------------------------------------------------------------------- */

static tr_err with_nngcat(tr_actor *self, void *arg)
{
    const char *nngcat = arg;
    foreign f;
    char url[128];
    tr_nng_status status;
    tr_addr rep = spawn_socket(self, &(tr_nng_opts){.protocol = "rep",
                                                    .listen = URLS("tcp://127.0.0.1:0"),
                                                    .consumer = tr_spawn(self, &upper_def, NULL)});
    EXPECT(!tr_addr_is_none(rep), LAST);
    TR_TRY(status_of(self, rep, &status, url));
    foreign_start(&f, nngcat,
                  (const char *[]){"nngcat", "--req", "--dial", url, "--data", "hello", "--quoted", NULL});
    EXPECT(foreign_says(self, &f, "\"troupe:hello\""), LAST);
    foreign_kill(&f);

    const char *theirs = kept("tcp://127.0.0.1:%u", test_free_port());
    snprintf(url, sizeof(url), "%s", theirs);
    foreign_start(
        &f, nngcat,
        (const char *[]){"nngcat", "--rep", "--listen", url, "--data", "from nngcat", "--quoted", NULL});
    tr_addr req = spawn_socket(self, &(tr_nng_opts){.protocol = "req", .dial = URLS(url)});
    TR_TRY(
        reply_is(self, tr_ask(self, req, TR_SECONDS(10), tr_nng_request, .data = BYTES("x")), "from nngcat"));
    EXPECT(foreign_says(self, &f, "\"x\""), LAST);
    foreign_kill(&f);
    return TR_OK;
}

static void nngcat_calls_us_and_we_call_nngcat(void **state)
{
    (void)state;
    const char *nngcat = getenv("TROUPE_NNGCAT");
    if (!nngcat || access(nngcat, X_OK) != 0)
        skip();
    real_node_run(2, with_nngcat, (void *)nngcat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_foreign_client_calls_our_service_and_we_a_foreign_one),
        cmocka_unit_test(two_sockets_of_one_process_talk),
        cmocka_unit_test(push_pull_pub_sub_pair_and_bus_talk_with_foreign_ones_both_ways),
        cmocka_unit_test(a_survey_gathers_answers_until_its_time_is_over_and_we_answer_foreign_ones),
        cmocka_unit_test(nngcat_calls_us_and_we_call_nngcat),
    };
    if (!mkdtemp(directory))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(directory);
    return failed;
}
