/* What a download may and must do, as pure functions: names, states, answers of the server, and the file
 * that remembers an unfinished one. Any thread; nothing here blocks. */
#ifndef TR_ACTORS_KINDS_DOWNLOAD_RULES_H
#define TR_ACTORS_KINDS_DOWNLOAD_RULES_H

#include "actors/kinds/http_source.h"

#define TR__DL_URL_MAX       2048 /* bytes, without the NUL; the next three likewise */
#define TR__DL_PATH_MAX      3800
#define TR__DL_NAME_MAX      240 /* leaves room for .part.info in the 255 of a file name */
#define TR__DL_VALIDATOR_MAX 255
#define TR__DL_PART          ".part"
#define TR__DL_INFO          ".part.info"

/* A job's life. Every state that has a sink may go to closing, the
 * others to ended:
 *
 *     queued -> opening -> fetching -> finishing -> closing -> ended
 *                            ^  |
 *                            +--+ the server has another version: from the first byte again
 *
 * Closing: its outcome is settled, and the disk is being tidied up; so whoever hears of the end finds it
 * done.
 */
typedef enum tr__dl_state {
    TR__DL_QUEUED,
    TR__DL_OPENING,
    TR__DL_FETCHING,
    TR__DL_FINISHING,
    TR__DL_CLOSING,
    TR__DL_ENDED,
    TR__DL_STATES,
} tr__dl_state;

bool tr__dl_may_move(tr__dl_state from, tr__dl_state to);
const char *tr__dl_state_name(tr__dl_state state);

/* TR_EINVAL unless it is http:// or https:// with a host, without user or password, blanks and control
 * characters. */
tr_err tr__dl_check_url(const char *url, tr_error *error);
/* "" or 64 hexadecimal digits, else TR_EINVAL. */
tr_err tr__dl_check_sha256(const char *sha256, tr_error *error);
/* Where the file goes, to be freed with tr__free(). A directory ends with '/'; the name is then the decoded
 * last part of the URL's path, and TR_EINVAL if it isn't a plain name ("", "..", with '/' or control
 * characters, too long). TR_ENOMEM. */
tr_err tr__dl_path(const char *url, const char *into, char **path, tr_error *error);

/* "bytes 5-9/10" -> 5, 10; a total of "*" is 0. False if it isn't that. */
bool tr__dl_content_range(const char *text, uint64_t *from, uint64_t *total);
/* What names this version of the file for If-Range: the strong ETag, else Last-Modified, else "". Points into
 * the head. */
const char *tr__dl_validator(const tr__http_head *head);

typedef struct tr__dl_wanted {
    uint64_t from;         /* first byte asked for */
    uint64_t total;        /* of the earlier try; 0 = unknown */
    const char *validator; /* sent as If-Range; "" = none */
    uint64_t size;         /* the asker's; 0 = any */
} tr__dl_wanted;

typedef struct tr__dl_answer {
    uint64_t from;  /* of the first byte of the body in the file */
    uint64_t total; /* bytes of the file; 0 = unknown */
} tr__dl_answer;

/* Judge a response: TR_OK with *answer; TR_EAGAIN: ask again for all of it; else the error, its text without
 * the URL. */
tr_err tr__dl_judge(const tr__http_head *head, const tr__dl_wanted *wanted, tr__dl_answer *answer,
                    tr_error *error);

/* What PATH.part.info holds. */
typedef struct tr__dl_info {
    char url[TR__DL_URL_MAX + 1];
    char validator[TR__DL_VALIDATOR_MAX + 1];
    uint64_t total;
} tr__dl_info;
#define TR__DL_INFO_TEXT_MAX (TR__DL_URL_MAX + TR__DL_VALIDATOR_MAX + 128)

/* Write it as text into `out` (TR__DL_INFO_TEXT_MAX bytes); the length. */
size_t tr__dl_info_print(const tr__dl_info *info, char *out);
/* The reverse; false for anything that print can't have made, such as a torn file. */
bool tr__dl_info_parse(const char *text, size_t length, tr__dl_info *info);

#endif
