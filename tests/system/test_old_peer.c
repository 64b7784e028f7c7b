/* A node as it was when the protocol's version 1 was first used, joins, asks, is asked and answers: not by our code of today,
 * but by bytes that were written down then, over a plain socket. What is here must never change: if this test fails, nodes
 * of an earlier build can't talk with those of this one, and the version has to go up.
 *
 * What has come since then it hears nothing of: no name in the cluster, no topic's feed, no question of `troupe why`, which
 * says so.
 *
 * The node under test is this same program, run with the word "node". */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/groups.h>
#include <troupe/node.h>
#include <troupe/troupe.h>

/* ---- the node under test: ours, of today ----------------------------------------------------------------- */

TR_MESSAGE(compat_question, (u64, number))
TR_MESSAGE(compat_answer, (u64, number))

static void service(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state, (void)msg;
}
TR_ACTOR(service_def, .receive = service);

/* Asks an actor of the old node, whose answer is the status. */
static tr_err node_start(tr_actor *self, void *arg)
{
    static const tr_topic_opts opts = {.cluster = true};
    const tr_found *found;
    const compat_answer *answer;
    const tr_published *published;
    (void)arg;
    tr_register_name(self, "asker");
    tr_spawn_with(self, &service_def, NULL, &(tr_spawn_opts){.name = "service"});
    tr_addr topic = tr_spawn_with(self, &tr_topic, &opts, &(tr_spawn_opts){.name = "news"});
    TR_TRY(tr_await(self, tr_claim_name(self, "chief"), tr_found, &found)); /* before they are connected, */
    printf("%s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    TR_TRY(tr_await(self, tr_lookup(self, "old/thing", TR_SECONDS(20)), tr_found, &found));
    tr_addr thing = found->actor;
    TR_TRY(tr_await(self, tr_claim_name(self, "second"), tr_found, &found)); /* and while they are */
    TR_TRY(tr_await(self, tr_ask(self, topic, TR_SECONDS(20), compat_answer), tr_published, &published));
    TR_TRY(tr_await(self, tr_ask(self, thing, TR_SECONDS(20), compat_question, .number = 41), compat_answer,
                    &answer));
    printf("answer %llu\n", (unsigned long long)answer->number);
    tr_err err = tr_await_msg(
        self, tr_send_confirmed(self, thing, TR_SECONDS(20), compat_question, .number = 1), NULL);
    printf("confirmed: %s\n", tr_err_word(err));
    fflush(stdout);
    const tr_msg *msg = tr_receive(self, TR_FOREVER);
    (void)msg;
    return TR_OK;
}

static int node_main(void)
{
    tr_error error = {.code = TR_OK};
    tr_node_opts opts = {.name = "new",
                         .cluster = "compat",
                         .listen = "127.0.0.1:0",
                         .learn = true, /* the old one has never heard of it, and must not */
                         .operator_socket = true,
                         .start = node_start};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    return err != TR_OK;
}

/* ---- frames, as they were -------------------------------------------------------------------------------- */

enum { HELLO = 1, HELLO_ACK = 2, HEARTBEAT = 4, ACK = 5, GRANT = 6, GOODBYE = 7, BATCH = 8 };
enum { TYPE = 1, ASK = 3, REPLY = 4 };
#define HEADER 24
#define OLD_ID 0x0123456789abcdefull

typedef struct fixture {
    pid_t node;
    FILE *said;
    char directory[32]; /* of operator sockets */
    int socket;
    uint64_t sequences[2];
    uint8_t got[65536]; /* the last frame's body */
    uint64_t heard_batches, heard_messages;
    bool answered, found, asked;
} fixture;

static uint32_t crc32c(uint32_t crc, const uint8_t *bytes, size_t length)
{
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void put_le(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static void say(fixture *f, int kind, const uint8_t *body, size_t length)
{
    uint8_t frame[4096] = "TRPE";
    int lane = kind == BATCH;
    frame[4] = 1;
    frame[5] = (uint8_t)kind;
    frame[6] = (uint8_t)lane;
    put_le(frame + 8, length, 4);
    put_le(frame + 16, ++f->sequences[lane], 8);
    if (length)
        memcpy(frame + HEADER, body, length);
    put_le(frame + 12, crc32c(crc32c(0, frame, 12), frame + 16, HEADER - 16 + length), 4);
    assert_int_equal(write(f->socket, frame, HEADER + length), HEADER + length);
}

static void take(fixture *f, uint8_t *into, size_t length)
{
    for (size_t have = 0; have < length;) {
        struct pollfd in = {.fd = f->socket, .events = POLLIN};
        ssize_t got = poll(&in, 1, 20000) == 1 ? read(f->socket, into + have, length - have) : 0;
        if (got <= 0)
            fail_msg("the node said nothing more");
        have += (size_t)got;
    }
}

/* The next frame; its kind. */
static int hear(fixture *f, size_t *length)
{
    uint8_t header[HEADER];
    take(f, header, HEADER);
    assert_memory_equal(header, "TRPE\1", 5);
    *length = get_le(header + 8, 4);
    assert_true(*length <= sizeof(f->got));
    take(f, f->got, *length);
    assert_int_equal(get_le(header + 12, 4),
                     crc32c(crc32c(crc32c(0, header, 12), header + 16, 8), f->got, *length));
    assert_int_equal(header[7], 0);
    assert_true(header[5] >= HELLO && header[5] <= BATCH); /* it knew no others */
    return header[5];
}

/* ---- what was written down ------------------------------------------------------------------------------- */

/* As the bodies of HELLO frames were: versions 1 to 1, no capabilities, OLD_ID, "compat", "old", no address. */
static const uint8_t HELLO_BODY[] = {1,    1,    0,    0,    0,    0,    0,   0,   0xef, 0xcd,
                                     0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 6,   'c', 'o',  'm',
                                     'p',  'a',  't',  3,    'o',  'l',  'd', 0};
static const uint8_t GRANT_BODY[] = {0, 0, 1, 0, 0, 0, 0, 0};

/* The types that it used: what its TYPE records said of them, after their number. */
static const uint8_t FIND_NAME[] = {0x99, 0x93, 0xf4, 0xaf, 0x73, 0x95, 0xdb, 0x62, 0x6b, 0x27, 0x56,
                                    0x9d, 0x1c, 0x09, 0x78, 0x1f, 0x1a, 0x74, 0x72, 0x5f, 0x5f, 0x66,
                                    0x69, 0x6e, 0x64, 0x5f, 0x6e, 0x61, 0x6d, 0x65, 0x28, 0x73, 0x74,
                                    0x72, 0x69, 0x6e, 0x67, 0x20, 0x70, 0x61, 0x74, 0x68, 0x29};
static const uint8_t FOUND[] = {0x72, 0x64, 0xc7, 0x75, 0x39, 0x02, 0x4b, 0x58, 0x7a, 0xa8, 0xec, 0x32, 0xa0,
                                0xc7, 0x23, 0x17, 0x14, 0x74, 0x72, 0x5f, 0x66, 0x6f, 0x75, 0x6e, 0x64, 0x28,
                                0x61, 0x64, 0x64, 0x72, 0x20, 0x61, 0x63, 0x74, 0x6f, 0x72, 0x29};
static const uint8_t ANSWER[] = {0x3d, 0xeb, 0x33, 0xc9, 0x7d, 0x0e, 0xb1, 0xfa, 0x0f, 0x20, 0x81,
                                 0xd5, 0xb7, 0x31, 0x52, 0x8d, 0x19, 0x63, 0x6f, 0x6d, 0x70, 0x61,
                                 0x74, 0x5f, 0x61, 0x6e, 0x73, 0x77, 0x65, 0x72, 0x28, 0x75, 0x36,
                                 0x34, 0x20, 0x6e, 0x75, 0x6d, 0x62, 0x65, 0x72, 0x29};
/* {path: "service"}; the actor of OLD_ID in slot 9, generation 1; {number: 42}. */
static const uint8_t FIND_BODY[] = {0x81, 0x67, 0x73, 0x65, 0x72, 0x76, 0x69, 0x63, 0x65};
static const uint8_t FOUND_BODY[] = {0x81, 0x83, 0x1b, 0x01, 0x23, 0x45, 0x67,
                                     0x89, 0xab, 0xcd, 0xef, 0x09, 0x01};
static const uint8_t ANSWER_BODY[] = {0x81, 0x18, 0x2a};

/* ---- records --------------------------------------------------------------------------------------------- */

typedef struct batch {
    uint8_t bytes[2048];
    size_t length;
    uint32_t messages;
} batch;

static void add(batch *b, const void *bytes, size_t length)
{
    if (!b->length)
        b->length = 4;
    memcpy(b->bytes + b->length, bytes, length);
    b->length += length;
}

static void add_number(batch *b, uint64_t number)
{
    uint8_t out[10];
    size_t length = 0;
    for (; number >= 0x80; number >>= 7)
        out[length++] = (uint8_t)number | 0x80;
    out[length++] = (uint8_t)number;
    add(b, out, length);
}

static void add_type(batch *b, uint8_t number, const uint8_t *what, size_t length)
{
    add(b, (const uint8_t[]){TYPE, 0, 0, 0, 0, number}, 6);
    add(b, what, length);
    b->messages++;
}

static void say_batch(fixture *f, batch *b)
{
    put_le(b->bytes, b->messages, 4);
    say(f, BATCH, b->bytes, b->length);
    *b = (batch){.length = 0};
}

static uint64_t number_at(const uint8_t **at)
{
    uint64_t number = 0;
    for (unsigned shift = 0;; shift += 7) {
        number |= (uint64_t)(**at & 0x7f) << shift;
        if (!(*(*at)++ & 0x80))
            return number;
    }
}

typedef struct record {
    uint8_t kind;
    uint64_t to_slot, to_generation, from_slot, from_generation, ask;
} record;

/* The record at *at, which it passes. */
static record record_at(const uint8_t **at)
{
    record r = {.kind = *(*at)++};
    r.to_slot = number_at(at);
    r.to_generation = number_at(at);
    r.from_slot = number_at(at);
    r.from_generation = number_at(at);
    assert_true(r.kind == TYPE || r.kind == ASK || r.kind == REPLY);
    if (r.kind != TYPE)
        r.ask = number_at(at);
    if (r.kind == ASK)
        number_at(at); /* what remains of its time */
    number_at(at);     /* the type's number */
    if (r.kind == TYPE)
        *at += 16;
    uint64_t length = number_at(at);
    *at += length;
    return r;
}

static void reply(fixture *f, const record *ask, uint8_t type, const uint8_t *what, size_t what_length,
                  const uint8_t *body, size_t length)
{
    batch b = {.length = 0};
    add_type(&b, type, what, what_length);
    add(&b, (const uint8_t[]){REPLY}, 1);
    add_number(&b, ask->from_slot);
    add_number(&b, ask->from_generation);
    add_number(&b, ask->to_slot);
    add_number(&b, ask->to_generation);
    add_number(&b, ask->ask);
    add_number(&b, type);
    add_number(&b, length);
    add(&b, body, length);
    b.messages++;
    say_batch(f, &b);
}

/* While the node waits for the old one. */
static void ask_why(void)
{
    char said[4096];
    FILE *out = popen("\"$TROUPE_BIN\" why new/asker 2>&1", "r");
    assert_non_null(out);
    said[fread(said, 1, sizeof(said) - 1, out)] = '\0';
    assert_int_equal(pclose(out), 0);
    if (!strstr(said, "node old is of an older version, which answers nobody elsewhere"))
        fail_msg("%s", said);
}

/* The answer to its ask 77; the node's asks: its warden's for a name, then for the actor of that name. */
static void handle(fixture *f, const record *r)
{
    if (r->kind == REPLY) {
        assert_true(r->ask == 77 && r->to_slot == 5 && r->to_generation == 1);
        f->answered = true;
    } else if (r->to_slot == 0) {
        assert_false(f->found);
        reply(f, r, 1, FOUND, sizeof(FOUND), FOUND_BODY, sizeof(FOUND_BODY));
        f->found = true;
    } else {
        assert_true(f->found && r->to_slot == 9 && r->to_generation == 1);
        ask_why();
        reply(f, r, 2, ANSWER, sizeof(ANSWER), ANSWER_BODY, sizeof(ANSWER_BODY));
        f->asked = true;
    }
}

/* Take a frame; if it has messages, handle and acknowledge them. */
static void listen_once(fixture *f)
{
    size_t length;
    if (hear(f, &length) != BATCH)
        return;
    uint32_t messages = (uint32_t)get_le(f->got, 4);
    const uint8_t *at = f->got + 4;
    for (uint32_t i = 0; i < messages; i++) {
        record r = record_at(&at);
        if (r.kind != TYPE)
            handle(f, &r);
    }
    assert_ptr_equal(at, f->got + length);
    uint8_t ack[16];
    put_le(ack, ++f->heard_batches, 8);
    put_le(ack + 8, f->heard_messages += messages, 8);
    say(f, ACK, ack, sizeof(ack));
}

/* ---- the test -------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    static fixture f;
    char line[128];
    int out[2];
    f = (fixture){.node = 0, .directory = "/tmp/troupe-old-peer-XXXXXX"};
    *state = &f;
    assert_non_null(mkdtemp(f.directory));
    assert_int_equal(0, setenv("XDG_RUNTIME_DIR", f.directory, 1));
    assert_int_equal(0, pipe(out));
    f.node = fork();
    if (f.node == 0) {
        dup2(out[1], 1);
        close(out[0]);
        execl("/proc/self/exe", "node", "node", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    f.said = fdopen(out[0], "r");
    assert_non_null(fgets(line, sizeof(line), f.said));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strchr(line, ':') + 1));
    f.socket = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(0, connect(f.socket, (struct sockaddr *)&to, sizeof(to)));
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    kill(f->node, SIGKILL);
    waitpid(f->node, NULL, 0);
    fclose(f->said);
    close(f->socket);
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", f->directory);
    return system(command);
}

static void shake_hands(fixture *f)
{
    size_t length;
    say(f, HELLO, HELLO_BODY, sizeof(HELLO_BODY));
    assert_int_equal(hear(f, &length), HELLO_ACK);
    assert_true(length >= 16 && f->got[0] <= 1 && f->got[1] >= 1); /* version 1 is among its own */
    say(f, GRANT, GRANT_BODY, sizeof(GRANT_BODY));
    assert_int_equal(hear(f, &length), GRANT);
}

static void a_node_of_the_first_version_joins_asks_and_answers(void **state)
{
    fixture *f = *state;
    char line[64];
    batch b = {.length = 0};
    shake_hands(f);
    say(f, HEARTBEAT, NULL, 0);
    add_type(&b, 0, FIND_NAME, sizeof(FIND_NAME)); /* it asks our warden for an actor, as its ask 77 */
    add(&b, (const uint8_t[]){ASK, 0, 1, 5, 1, 77, 0, 0}, 8);
    add_number(&b, sizeof(FIND_BODY));
    add(&b, FIND_BODY, sizeof(FIND_BODY));
    b.messages++;
    say_batch(f, &b);
    while (!f->answered || !f->found || !f->asked)
        listen_once(f);
    assert_non_null(fgets(line, sizeof(line), f->said));
    assert_string_equal(line, "answer 42\n");
    assert_non_null(fgets(line, sizeof(line), f->said));
    assert_string_equal(
        line, "confirmed: version\n"); /* at once, and it hears nothing of it: listen_once would fail */
    size_t length;
    say(f, GOODBYE, NULL, 0);
    int kind;
    while ((kind = hear(f, &length)) != GOODBYE)
        assert_true(kind == ACK || kind == GRANT || kind == HEARTBEAT);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "node") == 0)
        return node_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_node_of_the_first_version_joins_asks_and_answers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
