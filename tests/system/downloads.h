/* What the downloader's tests share: a directory of their own, a node with one fiber, waiting for an answer.
 */
#ifndef TESTS_SYSTEM_DOWNLOADS_H
#define TESTS_SYSTEM_DOWNLOADS_H

#include <troupe/downloader.h>
#include <troupe/node.h>
#include <troupe/troupe.h>

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOM 512

static char work_dir[64];  /* the test program's */
static char into_dir[96];  /* emptied for each test; with '/' at its end */
static char web_root[128]; /* "http://127.0.0.1:PORT" */

/* Within a fiber: end the test with where and what. */
#define WANT(condition)                                                                         \
    do {                                                                                        \
        if (!(condition))                                                                       \
            return tr_fail(self, TR_EAPP, "%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
    } while (0)

/* Fetch, and have it fail with that code and, in its text, that word. */
#define WANT_ERROR(future, code_, word)                                                                 \
    do {                                                                                                \
        tr_err got_ = tr_await_msg(self, (future), NULL);                                               \
        if (got_ != (code_) || !strstr(tr_last_error(self)->text, (word)))                              \
            return tr_fail(self, TR_EAPP, "%s:%d: want %s with \"%s\", got %s: %s", __FILE__, __LINE__, \
                           tr_err_word(code_), (word), tr_err_word(got_),                               \
                           tr_fmt(self, "%.160s", tr_last_error(self)->text));                          \
    } while (0)

#define FETCH(dl, ...) tr_ask(self, (dl), TR_SECONDS(30), tr_fetch, __VA_ARGS__)

static inline const char *url(tr_actor *self, const char *path)
{
    return tr_fmt(self, "%s%s", web_root, path);
}

/* The names in a directory, less "." and ".."; -1: no such directory. */
static inline int count_files(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (dir)
        closedir(dir);
    return dir ? count : -1;
}

static inline int64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static inline const char *in_dir(tr_actor *self, const char *name)
{
    return tr_fmt(self, "%s%s", into_dir, name);
}

/* Bytes that are the same whenever asked for: byte `at` of any content. */
static inline uint8_t byte_at(uint64_t at)
{
    at = (at + 1) * 0x9E3779B97F4A7C15ull;
    return (uint8_t)(at >> 40);
}

static inline void make_file(const char *path, uint64_t size, uint64_t from)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (uint64_t at = 0; at < size; at++)
        putc(byte_at(from + at), file);
    assert_int_equal(fclose(file), 0);
}

/* Computed from what lies there, independently of the downloader. */
static inline const char *digest_of(const char *path, char out[65])
{
    static uint8_t buffer[65536];
    uint8_t raw[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state hash;
    FILE *file = fopen(path, "r");
    crypto_hash_sha256_init(&hash);
    for (size_t n; file && (n = fread(buffer, 1, sizeof(buffer), file)) > 0;)
        crypto_hash_sha256_update(&hash, buffer, n);
    crypto_hash_sha256_final(&hash, raw);
    sodium_bin2hex(out, 65, raw, sizeof(raw));
    if (file)
        fclose(file);
    return file ? out : "no such file";
}

static inline const char *digest_of_content(uint64_t size, char out[65])
{
    uint8_t raw[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state hash;
    crypto_hash_sha256_init(&hash);
    for (uint64_t at = 0; at < size; at++)
        crypto_hash_sha256_update(&hash, (uint8_t[]){byte_at(at)}, 1);
    crypto_hash_sha256_final(&hash, raw);
    sodium_bin2hex(out, 65, raw, sizeof(raw));
    return out;
}

static inline void remove_tree(const char *path)
{
    char command[ROOM];
    snprintf(command, sizeof(command), "rm -rf -- '%s'", path);
    assert_int_equal(system(command), 0);
}

static inline void make_work_dir(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(work_dir, sizeof(work_dir), "%.40s/troupe-dl-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(work_dir));
    snprintf(into_dir, sizeof(into_dir), "%s/into/", work_dir);
}

static inline int empty_into(void **state)
{
    (void)state;
    remove_tree(into_dir);
    return mkdir(into_dir, 0777);
}

static inline void keep_quiet(void *context, tr_log_level level, const char *line)
{
    (void)context, (void)level, (void)line;
}

/* Run a node whose first actor is `start`; the test fails with what that returns. */
static inline void run(tr_err (*start)(tr_actor *self, void *arg), void *arg)
{
    tr_error error = {0};
    tr_node_opts opts = {.name = "test", .loops = 2, .start = start, .arg = arg, .log = keep_quiet};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node)
        fail_msg("%s", error.text);
    tr_err err = tr_node_run(node, &error);
    tr_node_destroy(node);
    if (err != TR_OK)
        fail_msg("%s: %s", tr_err_word(err), error.text);
}

#endif
