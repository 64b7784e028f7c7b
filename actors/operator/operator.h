/* What a running node tells and does for its operator: the requests of docs/operator.md. Here is what works on the
 * loops; the socket is operator/socket_uv.c's.
 *
 *     control thread: frame ─► request ─► a notice to the operator actor of one loop, or of each
 *     a loop:         row's `run` ─► tr__operator_answer, now or later ─► back to the control thread
 *     control thread: all answers, or the time is up: one frame
 *
 * Each loop has its operator actor, so what is the loop's is read on its thread, and in its turn like other work. A new
 * request is one row in operator.c. */
#ifndef TR_ACTORS_OPERATOR_OPERATOR_H
#define TR_ACTORS_OPERATOR_OPERATOR_H

#include <jansson.h>

#include "actors/loop.h"

#define TR__OPERATOR_FRAME_MAX   (1u << 20) /* bytes of one request, and of one answer */
#define TR__OPERATOR_CLIENTS_MAX 32
#define TR__OPERATOR_SILENCE     TR_SECONDS(3) /* a client that said nothing for so long gives way to another */
#define TR__OPERATOR_ACTORS_MAX  2000          /* that one answer tells of */
#define TR__OPERATOR_TIMEOUT     TR_SECONDS(5)
#define TR__OPERATOR_LOOP_WAIT   TR_SECONDS(1)   /* for a loop that has nothing to wait for */
#define TR__OPERATOR_PEER_WAIT   TR_MILLIS(1800) /* for another node, whose loop may be waited for */

/* ---- frames (operator/frame.c): pure ------------------------------------------------------------------- */

/* A frame is its length, 4 bytes, most significant first, and that many bytes of JSON. The reader takes what has come,
 * in pieces of any size; its block grows with what is there, not by what is claimed. Zeroed: empty. */
typedef struct tr__operator_reader {
    uint8_t head[4];
    uint32_t have, length; /* bytes of the head, then of the text as well; of the text, known with the head */
    char *text;
    uint32_t room;
} tr__operator_reader;

/* Take from `bytes` up to the end of a frame. TR_OK and *text: a whole one of *text_length bytes, with a NUL behind, yours to
 * tr__free(); or NULL: more must come. *used says how much was taken. TR_EPROTO: a length of 0, or above TR__OPERATOR_FRAME_MAX; close
 * the connection. TR_ENOMEM. */
tr_err tr__operator_read(tr__operator_reader *reader, const void *bytes, size_t length, size_t *used,
                         char **text, size_t *text_length, tr_error *error);
void tr__operator_reader_fini(tr__operator_reader *reader);
/* The four bytes before a text of that length. */
void tr__operator_head(uint8_t head[4], uint32_t length);

/* {"ok":false,"error":{"code":WORD,"text":TEXT}}; NULL: no memory. */
json_t *tr__operator_error(const tr_error *error);

/* ---- requests (operator.c) ----------------------------------------------------------------------------- */

typedef struct tr__operator_job tr__operator_job;

typedef struct tr__operator_row {
    const char *word; /* the request's "do" */
    bool every_loop;  /* each loop answers its part; else the loop of "to" answers the whole */
    bool has_timeout; /* "timeout" says how long it may take; else it waits for nothing but its loop */
    void (*run)(tr_actor *self, tr__operator_job *job);
    json_t *(*at_once)(tr_node *node); /* instead of `run`: no loop's; the control thread. NULL: no memory */
    bool
        or_stuck; /* if its loop doesn't answer, the answer is what that is stuck in; else that is an error */
    bool for_peers; /* other nodes may ask it, and be asked it by "via" (operator/peer.c) */
} tr__operator_row;

/* Any thread. Check a request: its row; NULL and *error (TR_EINVAL) if it isn't an object with a known "do", or its
 * timeout isn't one. */
const tr__operator_row *tr__operator_row_of(const json_t *request, tr_error *error);
/* Its "timeout", ns. */
uint64_t tr__operator_timeout(const json_t *request);
/* The actor that its "to" names; TR_ADDR_NONE: that isn't known, or on another node. Any thread. */
tr_addr tr__operator_to(tr_node *node, const json_t *request);
/* The loop that its "to" lives on, 0 if that isn't known or on another node; one of an own thread has no operator actor.
 * Any thread. */
uint32_t tr__operator_loop(tr_node *node, const json_t *request);

/* One request as a loop works on it. */
struct tr__operator_job {
    tr__operator_job *next;
    uint64_t number;
    json_t *request;
    /* What the row keeps between its steps */
    json_t *answer;
    uint32_t next_slot;
    size_t room; /* left in the answer, bytes */
    struct tr__named *names;
    size_t name_count;
    uint64_t until_ns;
};

/* Within `run`, or later in the same actor: the answer, which is taken (NULL: there was no memory for it); the job is
 * gone. */
void tr__operator_answer(tr_actor *self, tr__operator_job *job, json_t *answer);
/* The like, with an error: of self's last one. */
void tr__operator_fail(tr_actor *self, tr__operator_job *job);
/* Have the row's `run` called again, after the other actors had their turn. */
void tr__operator_again(tr_actor *self, tr__operator_job *job);

/* The rows' work: operator/ps.c, operator/ask.c, operator/top.c, operator/why.c. */
void tr__operator_run_nodes(tr_actor *self, tr__operator_job *job);
void tr__operator_run_top(tr_actor *self, tr__operator_job *job);
void tr__operator_run_tap(tr_actor *self, tr__operator_job *job);
void tr__operator_run_why(tr_actor *self, tr__operator_job *job);
void tr__operator_run_ps(tr_actor *self, tr__operator_job *job);
void tr__operator_run_message(tr_actor *self, tr__operator_job *job);

/* ---- over connections (operator/peer.c) ---------------------------------------------------------------- */

/* Asks of other nodes that this one's control thread works on. */
#define TR__PEER_ASKS_MAX 16
typedef struct tr__operator_peers {
    uint64_t numbers[TR__PEER_ASKS_MAX], last;
    tr_msg *asks[TR__PEER_ASKS_MAX]; /* NULL: a free place */
} tr__operator_peers;

/* Answers a tr__operator_peer_ask (warden.h). */
TR_MESSAGE(tr__operator_peer_told, (string, text))
/* From the control thread, a notice: the answer to the ask of that number. */
TR_MESSAGE(tr__operator_told, (u64, number), (string, text))

/* Have the node that "via" names answer the request. On loop 0. */
void tr__operator_relay(tr_actor *self, tr__operator_job *job);
/* What other nodes ask, and the answers: a message of the operator actor of loop 0. */
void tr__operator_peers_take(tr_actor *self, tr__operator_peers *peers, const tr_msg *msg);
/* The node's key file is read again (operator/key_os.c): for connections to come. */
json_t *tr__operator_reload_key(tr_node *node);

/* Until when what the request watches is watched, by its "lease" (seconds); self's loop lets go of it then.
 * 0: there is no memory for the timer. */
uint64_t tr__operator_lease(tr_actor *self, const json_t *request);
/* The actor of this loop that "to" names by address or name; NULL, and self's last error: there is none. */
const tr_actor *tr__operator_target(tr_actor *self, const tr__operator_job *job);

/* ---- what loops tell (operator/actor.c, operator/ps.c) -------------------------------------------------- */

/* A string of our own; what isn't UTF-8 (a name may be any bytes) is shown as "?". */
json_t *tr__operator_text(const char *text, size_t length_max);
json_t *tr__operator_address(tr_addr address);
/* Takes `row` and appends it, if it fits into what is left of `room` bytes. */
void tr__operator_append(json_t *array, json_t *row, size_t *room);
/* Copy the node's names into the job; false: no memory. */
bool tr__operator_names(tr_node *node, tr__operator_job *job);
/* What "ps" tells of an actor, but for its children. */
json_t *tr__operator_actor(const tr__operator_job *job, const tr_actor *actor);
/* `each` of the next actors of self's loop: some thousand slots, so that a node of a million doesn't stand still for it;
 * true: that was the last of them. */
bool tr__operator_each(tr_actor *self, tr__operator_job *job,
                       void (*each)(tr__operator_job *job, const tr_actor *actor, void *context),
                       void *context);
/* The loop's number and sums, and on loop 0 the node's peers. */
json_t *tr__operator_of_loop(const tr__loop *loop);

/* ---- the node's side ----------------------------------------------------------------------------------- */

/* To the operator actor of a loop, from the control thread: a notice. */
TR_MESSAGE(tr__operator_request, (u64, number), (string, text))

typedef struct tr__operators {
    tr_addr actors[TR__LOOPS_MAX]; /* by loop; fixed once the node runs */
    /* A loop's answer to its request of that number; any loop's thread. Takes `answer`, which may be NULL: no memory. */
    void (*answered)(void *context, uint64_t number, uint32_t loop, json_t *answer);
    /* Another node's request: a tr__operator_told of that number answers it. Loop 0's thread. Takes `text`. */
    void (*asked)(void *context, uint64_t number, char *text);
    void *context;
} tr__operators;

/* Spawn the operator actors of node->operators; on loop 0 before its first turn. */
tr_err tr__operator_begin(tr_node *node, tr_error *error);

/* ---- where sockets are (operator/sockets_os.c) ----------------------------------------------------------------- */

#define TR__OPERATOR_PATH_MAX 108 /* what a socket's address holds */

/* The directory of the sockets: $XDG_RUNTIME_DIR/troupe, without that variable /tmp/troupe-UID. TR_ETOOBIG. */
tr_err tr__operator_directory(char out[TR__OPERATOR_PATH_MAX], tr_error *error);
/* It is a directory (no link), ours, and open to nobody else: TR_OK; TR_ENOTFOUND, TR_EPERM. */
tr_err tr__operator_directory_check(const char *directory, tr_error *error);
/* NODE's socket in it. TR_ETOOBIG. */
tr_err tr__operator_path(const char *node, char out[TR__OPERATOR_PATH_MAX], tr_error *error);
/* Make the directory if need be, check it, and lock it until the returned descriptor is closed; -1: *error. Others wait
 * for the lock, so it is held for the binding of a socket only. */
int tr__operator_directory_lock(tr_error *error);
/* Connected, not blocking, close-on-exec; -1: *error. TR_ENOTFOUND: no such socket; TR_EREFUSED: nobody listens on it (its
 * process is dead); TR_EPERM; TR_EIO. */
int tr__operator_dial(const char *path, tr_error *error);
/* Whether the process at the other end runs as this one's user, or as root. */
bool tr__operator_peer_allowed(int fd);

#endif
