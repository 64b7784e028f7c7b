/* The stream client over the twin of TCP: what it does, each of its faults as the asker sees it, and that a seed says it
 * all. */
#include "tests/sim/sim_world.h"

/* ---- a server that answers each GET with its path ------------------------------------------------------ */

typedef struct server_state {
    bool closes;      /* after each answer */
    bool until_close; /* an answer ends where the connection does */
    bool mute;
    bool garbage;
    size_t padding; /* of each answer, bytes */
} server_state;

static size_t serve(void *context, const void *data, size_t size, sim_reply *reply)
{
    const server_state *s = context;
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    const char *path = memchr(data, '/', size);
    char head[128], lengths[64];
    if (!end || s->mute)
        return 0;
    size_t length = (size_t)((const char *)memchr(path, ' ', (size_t)(end - path)) - path);
    snprintf(lengths, sizeof(lengths), "Content-Length: %zu\r\n", length + s->padding);
    int used = s->garbage ? snprintf(head, sizeof(head), "no HTTP\r\n\r\n")
                          : snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n%s%s\r\n",
                                     s->until_close ? "" : lengths, s->closes ? "Connection: close\r\n" : "");
    sim_bytes_add(&reply->bytes, head, (size_t)used);
    sim_bytes_add(&reply->bytes, path, length);
    for (size_t i = 0; i < s->padding; i++)
        sim_bytes_add(&reply->bytes, "x", 1);
    reply->close = s->closes || s->until_close;
    return (size_t)(end + 4 - (const char *)data);
}

/* ---- the fixture --------------------------------------------------------------------------------------- */

static server_state behaviour;
static sim_server *server;
static tr_addr client;

static void spawn_client(world *w, const char *address)
{
    client = manual_spawn_def(w->m, 0, &tr_stream_client,
                              &(tr_stream_opts){.address = address, .codec = "http"}, NULL);
    manual_pump(w->m);
}

static world *open_world(uint64_t seed)
{
    world *w = world_open(seed);
    behaviour = (server_state){0};
    server = sim_tcp_listen(w->kinds->tcp, "server", 80, serve, &behaviour);
    spawn_client(w, "server:80");
    return w;
}

static void set(world *w, enum sim_tcp_fault which, uint32_t rate)
{
    w->kinds->tcp->faults[which].rate = rate;
}

static void ask_path(world *w, answer *a, const char *method, const char *path)
{
    world_ask(w, a, client, &tr_http_request_type, &(tr_http_request){.method = method, .path = path});
}

static answer get(world *w, const char *method)
{
    answer a = {0};
    ask_path(w, &a, method, "/path");
    world_wait(w, &a);
    return a;
}

static bool is(const sim_bytes *bytes, const char *text)
{
    return bytes->size == strlen(text) && memcmp(bytes->data, text, bytes->size) == 0;
}

/* ---- what goes well ------------------------------------------------------------------------------------ */

static void a_hundred_questions_get_their_own_answers(void **state)
{
    (void)state;
    for (uint32_t rate = 0; rate <= ALWAYS; rate += ALWAYS) { /* the second time in small pieces */
        world *w = open_world(1);
        answer a[100] = {{0}};
        char paths[100][16];
        set(w, SIM_TCP_PIECES, rate);
        for (size_t i = 0; i < TR_COUNT(a); i++) {
            snprintf(paths[i], sizeof(paths[i]), "/%zu", i);
            ask_path(w, &a[i], "GET", paths[i]);
        }
        for (size_t i = 0; i < TR_COUNT(a); i++) {
            world_wait(w, &a[i]);
            assert_int_equal(a[i].code, TR_OK);
            assert_int_equal(a[i].status, 200);
            assert_true(is(&a[i].out, paths[i]));
            answer_fini(&a[i]);
        }
        assert_in_range(server->accepted, 1, 4);
        assert_int_equal(w->m->now_ns > TR_MILLIS(1060),
                         rate > 0); /* pieces take their time; it began at 1 s */
        world_close(w);
    }
}

static void a_large_answer_comes_whole(void **state)
{
    (void)state;
    world *w = open_world(1);
    behaviour.padding = (size_t)2 << 20; /* more than may lie unread */
    answer a = get(w, "GET");
    assert_int_equal(a.code, TR_OK);
    assert_int_equal(a.out.size, 5 + behaviour.padding);
    answer_fini(&a);
    world_close(w);
}

static void a_server_that_closes_after_each_answer_is_asked_again(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a[10] = {{0}};
    behaviour.closes = true;
    for (size_t i = 0; i < TR_COUNT(a); i++)
        ask_path(w, &a[i], "GET", "/path");
    for (size_t i = 0; i < TR_COUNT(a); i++) {
        world_wait(w, &a[i]);
        assert_int_equal(a[i].code, TR_OK);
        answer_fini(&a[i]);
    }
    world_close(w);
}

static void an_answer_may_end_where_the_connection_does(void **state)
{
    (void)state;
    world *w = open_world(1);
    behaviour.until_close = true;
    answer a = get(w, "GET");
    assert_int_equal(a.code, TR_OK);
    assert_true(is(&a.out, "/path"));
    answer_fini(&a);
    world_close(w);
}

/* ---- faults -------------------------------------------------------------------------------------------- */

static void who_cannot_be_reached_is_told(void **state)
{
    static const struct {
        const char *address;
        uint32_t refused;
        tr_err code;
    } rows[] = {
        {"server:80", ALWAYS, TR_EREFUSED},
        {"server:81", 0, TR_EREFUSED},
        {"nobody:80", 0, TR_EADDR},
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        world *w = open_world(1);
        set(w, SIM_TCP_REFUSED, rows[i].refused);
        spawn_client(w, rows[i].address);
        answer a = get(w, "GET");
        expect_error(&a, rows[i].code, rows[i].address);
        world_close(w);
    }
}

static void a_reset_is_told_if_it_may_have_been_done(void **state)
{
    (void)state;
    world *w = open_world(1);
    set(w, SIM_TCP_RESET, ALWAYS);
    behaviour.padding = 100000; /* so that it always breaks within the first answer */
    answer a = get(w, "POST");
    expect_error(&a, TR_ERESET, "may or may not have been executed");
    a = get(w, "GET"); /* may be asked twice, but not for ever */
    assert_int_equal(a.code, TR_ERESET);
    world_close(w);
}

static void a_silent_server_is_given_up(void **state)
{
    bool connect = false, answer_time = false;
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        world *w = open_world(seed);
        set(w, SIM_TCP_SILENT, ALWAYS);
        answer a = get(w, "POST");
        assert_int_equal(a.code, TR_EDEADLINE);
        connect |= strstr(a.text, "no connection within") != NULL;
        answer_time |= strstr(a.text, "silent for") != NULL;
        world_close(w);
    }
    assert_true(connect && answer_time);
}

static void a_slow_server_is_waited_for(void **state)
{
    (void)state;
    world *w = open_world(2);
    set(w, SIM_TCP_SLOW, ALWAYS);
    answer a = get(w, "GET");
    assert_int_equal(a.code, TR_OK);
    assert_true(w->m->now_ns > TR_MILLIS(1010)); /* it began at 1 s */
    answer_fini(&a);
    world_close(w);
}

static void what_is_not_the_protocol_is_told(void **state)
{
    (void)state;
    world *w = open_world(1);
    behaviour.garbage = true;
    answer a = get(w, "GET");
    expect_error(&a, TR_EPROTO, "server:80");
    world_close(w);
}

static void a_server_that_goes_down_and_comes_back_is_found_again(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = get(w, "GET");
    answer_fini(&a);
    server->down = true;
    a = get(w, "GET");
    assert_int_equal(a.code, TR_EREFUSED);
    server->down = false;
    a = get(w, "GET");
    assert_int_equal(a.code, TR_OK);
    answer_fini(&a);
    world_close(w);
}

/* ---- crashes and seeds --------------------------------------------------------------------------------- */

static void a_crash_ends_all_without_a_word(void **state)
{
    (void)state;
    world *w = open_world(1);
    answer a = {0};
    behaviour.mute = true;
    ask_path(w, &a, "GET", "/path");
    world_step(w, TR_MILLIS(100));
    assert_non_null(w->kinds->tcp->twin.handles);
    world_crash(w, true);
    assert_null(w->kinds->tcp->twin.handles);
    world_close(w);
}

static void ask_once(world *w, answer *a)
{
    static const tr_http_request request = {.method = "GET", .path = "/path", .headers = ""};
    world_ask(w, a, client, &tr_http_request_type, &request);
}

static void check_memory(world *w, const answer *a)
{
    (void)w;
    assert_true(a->code == TR_OK || a->code == TR_ENOMEM);
    assert_true(a->code != TR_OK || is(&a->out, "/path"));
}

static void without_memory_at_any_point_it_is_told(void **state)
{
    (void)state;
    each_allocation_fails_once(open_world, ask_once, check_memory);
}

static uint64_t trail_of(uint64_t seed)
{
    world *w = open_world(seed);
    answer a[60] = {{0}};
    char paths[60][16];
    sim_fault *fault;
    for (unsigned i = 0; (fault = sim_kinds_fault(w->kinds, i)); i++)
        fault->rate = ALWAYS / 8;
    for (size_t i = 0; i < TR_COUNT(a); i++) {
        snprintf(paths[i], sizeof(paths[i]), "/%zu", i);
        ask_path(w, &a[i], i % 2 ? "GET" : "POST", paths[i]);
        world_step(w, TR_MILLIS(1));
    }
    for (size_t i = 0; i < TR_COUNT(a); i++) {
        world_wait(w, &a[i]);
        assert_true(a[i].code != TR_OK || is(&a[i].out, paths[i]));
        answer_fini(&a[i]);
    }
    return world_close(w);
}

static void the_same_seed_gives_the_same_trail(void **state)
{
    uint64_t before = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t trail = trail_of(seed);
        assert_true(trail == trail_of(seed));
        assert_true(trail != before);
        before = trail;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_questions_get_their_own_answers),
        cmocka_unit_test(a_large_answer_comes_whole),
        cmocka_unit_test(a_server_that_closes_after_each_answer_is_asked_again),
        cmocka_unit_test(an_answer_may_end_where_the_connection_does),
        cmocka_unit_test(who_cannot_be_reached_is_told),
        cmocka_unit_test(a_reset_is_told_if_it_may_have_been_done),
        cmocka_unit_test(a_silent_server_is_given_up),
        cmocka_unit_test(a_slow_server_is_waited_for),
        cmocka_unit_test(what_is_not_the_protocol_is_told),
        cmocka_unit_test(a_server_that_goes_down_and_comes_back_is_found_again),
        cmocka_unit_test(a_crash_ends_all_without_a_word),
        cmocka_unit_test(without_memory_at_any_point_it_is_told),
        cmocka_unit_test(the_same_seed_gives_the_same_trail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
