/* See seeds.h: inputs that are written by hand, or made from texts of the tree. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/kinds/journal.h"
#include "mailbox/type.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"

static void texts(const char *target, const char *front, size_t front_length, const char *const *all,
                  size_t count)
{
    char line[4096];
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(all[i]);
        memcpy(line, front, front_length);
        memcpy(line + front_length, all[i], length);
        seed_write(target, line, front_length + length);
    }
}
#define TEXTS(target, front, all) texts(target, front, sizeof(front) - 1, all, sizeof(all) / sizeof(*(all)))

static const char *const jsons[FUZZ_TYPES] = {
    ("{\"flag\":true,\"a\":-5,\"b\":70000,\"c\":-9000000000,\"d\":200,\"e\":60000,\"f\":4000000000,\"g\":"
     "\"18446744073709551615\","
     "\"ratio\":\"NaN\",\"half\":0.5,\"who\":\"<a1f3c09e12345678.12.7>\"}"),
    "{\"name\":\"Zo\xc3\xab \\ud83c\\udfad\",\"blob\":\"aGVsbG8=\",\"last\":\"end\"}",
    ("{\"n\":3,\"parts\":[{\"name\":\"bolt\",\"price\":4},{\"name\":\"nut\",\"price\":2,\"tax\":0.5}],"
     "\"whole\":{\"name\":\"all\","
     "\"price\":6},\"note\":\"paid\",\"codes\":[1,2,300]}"),
    "{\"all\":[{\"a\":1},{},{\"d\":4,\"b\":2}]}",
    "{\"one\":\"AAECAwQ=\",\"names\":[\"a\",\"b\",\"\"],\"two\":\"\"}",
    ("{\"branches\":[{\"leaves\":[{\"small\":[1,2,255],\"who\":\"<none>\"},{}]}],\"trunk\":{\"leaves\":[],"
     "\"leaf\":{\"small\":[7]}}}"),
    "{}",
};

/* JSON, the same as CBOR, and the schema, of each type. */
static void of_types(void)
{
    for (unsigned i = 0; i < FUZZ_TYPES; i++) {
        char front = (char)i;
        static uint8_t out[4096];
        tr_error error = {0};
        void *body;
        size_t size;
        const tr_typeinfo *type = fuzz_type(i);
        texts("json", &front, 1, &jsons[i], 1);
        texts("schema", &front, 1, &type->schema, 1);
        tr_err err = tr__json_decode(type, jsons[i], NULL, &body, &size, &error);
        tr__check(err == TR_OK, "%s", error.text);
        out[0] = (uint8_t)i;
        seed_write("cbor", out, 1 + tr__cbor_encode(type, body, out + 1, sizeof(out) - 1));
        tr__body_release(type, body);
        free(body);
    }
    static const char *const schemas[] = {
        "fuzz_bill(u32 n,list fuzz_part(string name,u32 price) parts,fuzz_part(string name,u32 price) whole)",
        ("fuzz_bill(u32 n,list fuzz_part(string name,u32 price,optional f64 tax) parts,fuzz_part(string "
         "name,u32 price,optional f64 "
         "tax) whole,optional string note,optional list u64 codes,optional list x(u8 y,optional z(bool b) c) "
         "more)")};
    TEXTS("schema", "\2", schemas);
}

static void of_servers(void)
{
    static const char *const http[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\nHTTP/1.1 204 "
         "No "
         "Content\r\n\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\nConnection: close\r\n\r\nuntil the end",
        ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
         "99999999999999999999\r\n\r\n")};
    static const char *const resp[] = {"+OK\r\n-ERR no\r\n:42\r\n$5\r\nhello\r\n$-1\r\n",
                                       "*3\r\n$3\r\nfoo\r\n*2\r\n:1\r\n$-1\r\n-bad\r\n*-1\r\n*0\r\n",
                                       "$18446744073709551615\r\nx", "*2147483647\r\n:1\r\n"};
    static const char *const asked[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                        "POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"};
    static const char *const commands[] = {"SET a \"b\\x00\\n\"", "GET 'a b'", "EVAL \"return 1\" 0"};
    static const char *const raw[] = {"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "PING\r\n"};
    TEXTS("http", "\340", http);
    TEXTS("http", "\344", http);
    TEXTS("http", "\1\1", asked);
    TEXTS("http", "\1\0", commands);
    TEXTS("resp", "\340", resp);
    TEXTS("resp", "\344", resp);
    TEXTS("resp", "\1\0", commands);
    TEXTS("resp", "\1\1", raw);
}

static void of_people(void)
{
    static const char *const addresses[] = {
        "127.0.0.1:7101",
        "tcp://[::1]:0",
        "a-host.example:65535",
        "[fe80::1%eth0]:1",
        "<a1f3c09e12345678.12.7>",
        "<none>",
        "018bcfe5-6800-7123-8123-000000000001",
        "018bcfe5-6800-7123-8123-000000000001@n1/00112233445566778899aabbccddeeff"};
    static const char *const requests[] = {
        "{\"do\":\"ps\"}",
        "{\"do\":\"nodes\"}",
        "{\"do\":\"top\"}",
        "{\"do\":\"why\",\"to\":\"ada\"}",
        ("{\"do\":\"ask\",\"to\":\"ada\",\"message\":{\"fuzz_greet\":{\"name\":\"x\",\"more\":[1]}},"
         "\"timeout\":1.5}"),
        "{\"do\":\"send\",\"to\":\"ada\",\"message\":{\"mark\":{\"n\":1}}}",
        "{\"do\":\"tap\",\"to\":\"ada\",\"lease\":3}",
        "{\"do\":\"ask\",\"to\":\"<a1f3c09e12345678.12.7>\",\"message\":{\"mark\":{\"n\":1}},\"timeout\":60}",
        "{\"do\":\"ask\",\"to\":\"other/ada\",\"message\":{\"mark\":{\"n\":1}}}"};
    TEXTS("address", "", addresses);
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        char frame[1024] = {0, 0, 0, 0, (char)strlen(requests[i])};
        memcpy(frame + 5, requests[i], strlen(requests[i]));
        seed_write("operator", frame, 5 + strlen(requests[i]));
    }
}

/* Frames of transactions: a call and its commit, prepare and decision, what is asked about it, what is emitted. */
static void of_managers(void)
{
    static const uint8_t calls[] = {0, 1, 0, 0x11, 50, 0, 0, 2, 0, 3,  0, 0x51, 50,
                                    0, 0, 1, 0x29, 2,  0, 9, 0, 0, 50, 0, 0,    2};
    static const uint8_t prepares[] = {0, 1, 32,   0x11, 50, 0, 0,  2, 0, 5, 32, 0x51, 50, 0,
                                       0, 1, 0x29, 2,    0,  7, 0,  0, 0, 6, 0,  2,    0,  8,
                                       0, 0, 0,    6,    0,  0, 11, 0, 0, 0, 0,  0};
    static const uint8_t ours[] = {4, 12, 1, 2, 1, 2, 0, 6, 8, 0, 0, 2, 0, 2, 0, 10, 0, 0, 0, 6, 0, 0, 2};
    static const uint8_t emits[] = {0,  14,   0x08, 0x10, 0, 0, 0, 2,  0,    14,   0x08, 0x10, 0, 0, 0, 0,
                                    14, 0x88, 0x12, 0,    0, 0, 0, 14, 0x48, 0x14, 0,    0,    0, 2, 4, 1,
                                    1,  1,    1,    1,    1, 1, 1, 0,  15,   0x40, 0x0a, 0,    6, 0, 2};
    seed_write("tx_frames", calls, sizeof(calls));
    seed_write("tx_frames", prepares, sizeof(prepares));
    seed_write("tx_frames", ours, sizeof(ours));
    seed_write("tx_frames", emits, sizeof(emits));
}

static void of_apps(void)
{
    static const char *const data[] = {"", "hello", "two\nlines\n"};
    for (unsigned i = 0; i < 3; i++) {
        uint8_t entry[512], digest[TR__DIGEST];
        entry[0] = (uint8_t)i;
        crypto_hash_sha256(digest, (const uint8_t *)data[i], strlen(data[i]));
        seed_write("journal", entry,
                   1 + tr__entry_print(entry + 1, i + 1, "an-app_1.x", digest, data[i], strlen(data[i])));
    }
}

/* Of each kind of finding one, and of both workloads what has none. */
static void of_histories(void)
{
#define TXN(index, type, process, value)                                                  \
    "{\"index\":" #index ",\"time\":" #index ",\"process\":" #process ",\"type\":\"" type \
    "\",\"f\":\"txn\",\"value\":" value "}\n"
#define APPEND "{\"workload\":\"append\"}\n"
    static const char *const histories[] = {
        APPEND TXN(1, "invoke", 0, "[[\"append\",\"x\",1],[\"r\",2,null]]")
            TXN(2, "ok", 0, "[[\"append\",\"x\",1],[\"r\",2,[3]]]")
                TXN(3, "invoke", 1, "[[\"append\",2,3],[\"r\",\"x\",null]]")
                    TXN(4, "ok", 1, "[[\"append\",2,3],[\"r\",\"x\",[1]]]"),
        APPEND TXN(1, "invoke", 0, "[[\"append\",1,1]]") TXN(2, "invoke", 1, "[[\"append\",1,2]]")
            TXN(3, "info", 0, "null") TXN(4, "fail", 1, "null") TXN(5, "invoke", 2, "[[\"r\",1,null]]")
                TXN(6, "ok", 2, "[[\"r\",1,[1,2]]]") TXN(7, "invoke", 3, "[[\"r\",1,null]]")
                    TXN(8, "ok", 3, "[[\"r\",1,[2]]]") "{\"index\":9,\"time\":9,\"process\":1,\"type\":"
                                                       "\"resolved\",\"of\":1,\"status\":\"committed\","
                                                       "\"ts\":7}\n",
        "{\"workload\":\"bank\",\"accounts\":2,\"total\":10,\"initial\":{\"a\":4,\"b\":6},\"negative\":false}"
        "\n"
        "{\"index\":1,\"time\":1,\"process\":0,\"type\":\"invoke\",\"f\":\"transfer\",\"value\":{\"from\":"
        "\"a\","
        "\"to\":\"b\",\"amount\":3},\"id\":\"i\"}\n"
        "{\"index\":2,\"time\":2,\"process\":0,\"type\":\"ok\",\"f\":\"transfer\"}\n"
        "{\"index\":3,\"time\":3,\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n"
        "{\"index\":4,\"time\":4,\"process\":0,\"type\":\"ok\",\"f\":\"read\",\"value\":{\"a\":4,\"b\":6}}"
        "\n"};
    static char two[2048];
    TEXTS("history", "", histories);
    /* Two files. */
    int length = snprintf(two, sizeof(two), "%s%c%s", histories[0], 0, APPEND);
    length +=
        snprintf(two + length, sizeof(two) - (size_t)length, "%s", TXN(2, "invoke", 0, "[[\"append\",3,1]]"));
    seed_write("history", two, (size_t)length);
#undef APPEND
#undef TXN
}

static void of_files(const char *target, const char *pattern)
{
    static char bytes[64 << 10];
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *from = fopen(found.gl_pathv[i], "rb");
        size_t length = from ? fread(bytes, 1, sizeof(bytes), from) : 0;
        if (from)
            fclose(from);
        seed_write(target, bytes, length);
    }
    globfree(&found);
}

void seeds_written(void)
{
    of_types();
    of_servers();
    of_people();
    of_managers();
    of_apps();
    of_histories();
    of_files("script", "tests/scenarios/*.scenario");
    of_files("up_file", "examples/up/*.yaml");
}
