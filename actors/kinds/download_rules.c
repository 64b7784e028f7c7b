/* What a download may and must do: see download_rules.h. Pure functions; they fail by value. */
#include "actors/kinds/download_rules.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"

static const struct {
    const char *name;
    uint32_t next; /* a bit a state */
} states[TR__DL_STATES] = {
    [TR__DL_QUEUED] = {"queued", 1u << TR__DL_OPENING | 1u << TR__DL_ENDED},
    [TR__DL_OPENING] = {"opening", 1u << TR__DL_FETCHING | 1u << TR__DL_CLOSING | 1u << TR__DL_ENDED},
    [TR__DL_FETCHING] = {"fetching", 1u << TR__DL_FETCHING | 1u << TR__DL_FINISHING | 1u << TR__DL_CLOSING},
    [TR__DL_FINISHING] = {"finishing", 1u << TR__DL_CLOSING},
    [TR__DL_CLOSING] = {"closing", 1u << TR__DL_ENDED},
    [TR__DL_ENDED] = {"ended", 0},
};

bool tr__dl_may_move(tr__dl_state from, tr__dl_state to)
{
    return (states[from].next >> to & 1) != 0;
}

const char *tr__dl_state_name(tr__dl_state state)
{
    return states[state].name;
}

/* ---- URL, digest, path --------------------------------------------------------------------------------- */

static const char *after_scheme(const char *url)
{
    if (strncasecmp(url, "http://", 7) == 0)
        return url + 7;
    if (strncasecmp(url, "https://", 8) == 0)
        return url + 8;
    return NULL;
}

tr_err tr__dl_check_url(const char *url, tr_error *error)
{
    const char *host = after_scheme(url);
    if (!host)
        return tr__fail(error, TR_EINVAL, "%.120s: not a URL that can be fetched; give http:// or https://",
                        url[0] ? url : "(empty)");
    size_t length = strlen(url), authority = strcspn(host, "/?#");
    if (length > TR__DL_URL_MAX)
        return tr__fail(error, TR_EINVAL, "%.80s...: a URL of %zu bytes; at most %d are accepted", url,
                        length, TR__DL_URL_MAX);
    if (authority == 0 || host[0] == ':')
        return tr__fail(error, TR_EINVAL, "%.120s: the URL names no host", url);
    if (memchr(host, '@', authority))
        return tr__fail(error, TR_EINVAL,
                        "a URL with user or password in it (host part of %zu bytes); leave "
                        "them out, they would show up in logs",
                        authority);
    for (const char *at = url; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f)
            return tr__fail(error, TR_EINVAL,
                            "a URL with a blank or control character at byte %zu; write it "
                            "as %%%02X",
                            (size_t)(at - url), (unsigned char)*at);
    return TR_OK;
}

tr_err tr__dl_check_sha256(const char *sha256, tr_error *error)
{
    size_t length = strlen(sha256);
    if (length == 0 || (length == 64 && strspn(sha256, "0123456789abcdefABCDEF") == 64))
        return TR_OK;
    return tr__fail(error, TR_EINVAL, "\"%.70s\": not a sha256; give 64 hexadecimal digits, or nothing",
                    sha256);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The last part of the URL's path, decoded; false if an escape is broken or it doesn't fit. */
static bool decode_name(const char *url, char *name, size_t room)
{
    const char *path = after_scheme(url);
    path += strcspn(path, "/?#");
    size_t length = strcspn(path, "?#"), used = 0;
    const char *at = path + length;
    while (at > path && at[-1] != '/')
        at--;
    for (const char *end = path + length; at < end; at++) {
        char c = *at;
        if (c == '%') {
            int high = end - at > 2 ? hex_digit(at[1]) : -1, low = end - at > 2 ? hex_digit(at[2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            at += 2;
        }
        if (c == '\0' || used + 1 >= room)
            return false;
        name[used++] = c;
    }
    name[used] = '\0';
    return true;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), tail_length = strlen(tail);
    return length >= tail_length && strcmp(text + length - tail_length, tail) == 0;
}

/* A plain name of one file, that isn't one of ours for unfinished downloads. */
static bool is_plain_name(const char *name)
{
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    if (strlen(name) > TR__DL_NAME_MAX || ends_with(name, TR__DL_PART) || ends_with(name, TR__DL_INFO))
        return false;
    for (; *name; name++)
        if ((unsigned char)*name < ' ' || *name == 0x7f || *name == '/')
            return false;
    return true;
}

tr_err tr__dl_path(const char *url, const char *into, char **path, tr_error *error)
{
    char name[TR__DL_NAME_MAX + 1];
    size_t length = strlen(into);
    if (length == 0)
        return tr__fail(error, TR_EINVAL,
                        "%.120s: `into` is empty; give a file's path, or a directory that "
                        "ends with '/'",
                        url);
    if (length > TR__DL_PATH_MAX)
        return tr__fail(error, TR_EINVAL, "%.80s...: a path of %zu bytes; at most %d are accepted", into,
                        length, TR__DL_PATH_MAX);
    if (into[length - 1] == '/') {
        if (!decode_name(url, name, sizeof(name)) || !is_plain_name(name))
            return tr__fail(error, TR_EINVAL,
                            "%.120s: no file name can be made of the end of this URL; give "
                            "the file's path in `into` instead of the directory",
                            url);
    } else {
        const char *slash = strrchr(into, '/');
        if (!is_plain_name(slash ? slash + 1 : into))
            return tr__fail(error, TR_EINVAL,
                            "%.120s: can't be the name of the file; give another in `into` "
                            "(a directory ends with '/'; .part is for unfinished ones)",
                            into);
        name[0] = '\0';
    }
    *path = tr__alloc(length + strlen(name) + 1);
    if (!*path)
        return tr__fail(error, TR_ENOMEM, "%.120s: no memory for the path", url);
    memcpy(*path, into, length);
    strcpy(*path + length, name);
    return TR_OK;
}

/* ---- what the server says ------------------------------------------------------------------------------ */

/* Digits only, no sign, no blank, within 63 bits. */
static bool read_number(const char **at, uint64_t *number)
{
    char *end;
    if (!isdigit((unsigned char)**at))
        return false;
    unsigned long long value = strtoull(*at, &end, 10);
    if (value > INT64_MAX)
        return false;
    *at = end;
    *number = value;
    return true;
}

bool tr__dl_content_range(const char *text, uint64_t *from, uint64_t *total)
{
    uint64_t last;
    if (strncasecmp(text, "bytes ", 6) != 0)
        return false;
    text += 6;
    if (!read_number(&text, from) || *text++ != '-' || !read_number(&text, &last) || *text++ != '/')
        return false;
    if (strcmp(text, "*") == 0) {
        *total = 0;
        return last >= *from;
    }
    return read_number(&text, total) && *text == '\0' && last >= *from && last < *total;
}

const char *tr__dl_validator(const tr__http_head *head)
{
    if (head->etag[0] == '"' && strlen(head->etag) <= TR__DL_VALIDATOR_MAX)
        return head->etag;
    return strlen(head->last_modified) <= TR__DL_VALIDATOR_MAX ? head->last_modified : "";
}

static tr_err judge_status(uint32_t status, tr_error *error)
{
    switch (status) {
    case 404:
    case 410:
        return tr__fail(error, TR_ENOTFOUND, "the server answers %u, no such file; check the URL", status);
    case 401:
    case 403:
    case 407:
        return tr__fail(error, TR_EREFUSED, "the server answers %u, it doesn't give this file to us", status);
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return tr__fail(error, TR_EAPP, "the server answers HTTP status %u; try again later", status);
    default:
        return tr__fail(error, TR_EAPP, "the server answers HTTP status %u instead of the file", status);
    }
}

tr_err tr__dl_judge(const tr__http_head *head, const tr__dl_wanted *wanted, tr__dl_answer *answer,
                    tr_error *error)
{
    *answer = (tr__dl_answer){0};
    if (head->status == 416 && wanted->from > 0)
        return TR_EAGAIN;
    if (head->status != 200 && head->status != 206)
        return judge_status(head->status, error);
    if (head->length == TR__HTTP_MALFORMED)
        return tr__fail(error, TR_EPROTO,
                        "the server's Content-Length can't be (too large, or two that differ), so nothing "
                        "tells when the file is whole");
    if (head->status == 206) {
        if (wanted->from == 0)
            return tr__fail(error, TR_EPROTO, "the server answers with a part that nobody asked for");
        if (!tr__dl_content_range(head->content_range, &answer->from, &answer->total) ||
            answer->from != wanted->from)
            return tr__fail(error, TR_EPROTO,
                            "asked for bytes from %" PRIu64 ", the server answers \"%.40s\"; "
                            "fetch without resume",
                            wanted->from, head->content_range);
        /* If-Range should have seen to it; a cache in between may not know it. */
        bool other_size = wanted->total && answer->total && wanted->total != answer->total;
        bool other_tag =
            wanted->validator[0] == '"' && head->etag[0] && strcmp(wanted->validator, head->etag) != 0;
        if (other_size || other_tag)
            return TR_EAGAIN;
    }
    bool known = answer->total > 0 || head->length != TR__HTTP_UNKNOWN;
    if (answer->total == 0 && known)
        answer->total = answer->from + head->length;
    if (wanted->size && known && answer->total != wanted->size)
        return tr__fail(error, TR_EMISMATCH,
                        "the server's file has %" PRIu64 " bytes, not the %" PRIu64
                        " expected; correct the size or the URL",
                        answer->total, wanted->size);
    return TR_OK;
}

/* ---- the file beside an unfinished one ----------------------------------------------------------------- */

static const char info_first[] = "troupe part 1\n";
static const char info_last[] = "end\n";

size_t tr__dl_info_print(const tr__dl_info *info, char *out)
{
    int length = snprintf(out, TR__DL_INFO_TEXT_MAX, "%surl %s\nversion %s\ntotal %" PRIu64 "\n%s",
                          info_first, info->url, info->validator, info->total, info_last);
    return (size_t)length;
}

/* One line "word rest\n"; the rest goes to `out`. */
static bool read_line(const char **at, const char *end, const char *word, char *out, size_t room)
{
    size_t skip = strlen(word);
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    if (!stop || (size_t)(stop - *at) < skip + 1 || memcmp(*at, word, skip) != 0 || (*at)[skip] != ' ')
        return false;
    size_t length = (size_t)(stop - *at) - skip - 1;
    if (length >= room || memchr(*at, '\0', (size_t)(stop - *at)))
        return false;
    memcpy(out, *at + skip + 1, length);
    out[length] = '\0';
    *at = stop + 1;
    return true;
}

bool tr__dl_info_parse(const char *text, size_t length, tr__dl_info *info)
{
    const char *at = text, *end = text + length;
    char number[24];
    const char *digits = number;
    size_t first = sizeof(info_first) - 1, last = sizeof(info_last) - 1;
    if (length < first || memcmp(at, info_first, first) != 0)
        return false;
    at += first;
    return read_line(&at, end, "url", info->url, sizeof(info->url)) &&
           read_line(&at, end, "version", info->validator, sizeof(info->validator)) &&
           read_line(&at, end, "total", number, sizeof(number)) && read_number(&digits, &info->total) &&
           *digits == '\0' && (size_t)(end - at) == last && memcmp(at, info_last, last) == 0;
}
