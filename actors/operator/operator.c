/* The requests' table, and the actor that works on them on each loop. That loop's thread, but for what says "any
 * thread". What fails is an answer that says so; without memory for that, an empty one. */
#include "actors/operator/operator.h"

#include <string.h>

#include <troupe/troupe.h>

#include "actors/operator/meter.h"
#include "actors/send.h"
#include "base/err.h"
#include "base/mem.h"
#include "mailbox/json.h"

#define TIMEOUT_MAX 600 /* seconds */

/* ---- the table ----------------------------------------------------------------------------------------- */

static const tr__operator_row rows[] = {
    {"nodes", true, false, tr__operator_run_nodes},                                   /* operator/ps.c */
    {"ps", true, false, tr__operator_run_ps},                                         /* the same */
    {"send", false, true, tr__operator_run_message},                                  /* operator/ask.c */
    {"ask", false, true, tr__operator_run_message},                                   /* the same */
    {"top", true, false, tr__operator_run_top},                                       /* operator/top.c */
    {"tap", false, false, tr__operator_run_tap},                                      /* the same */
    {"why", false, false, tr__operator_run_why, .or_stuck = true, .for_peers = true}, /* operator/why.c */
    {"reload-key", .at_once = tr__operator_reload_key},                               /* operator/key_os.c */
};

static const tr__operator_row *row_called(const char *word)
{
    for (size_t i = 0; i < TR_COUNT(rows); i++)
        if (strcmp(rows[i].word, word) == 0)
            return &rows[i];
    return NULL;
}

static tr_err no_row(const char *word, tr_error *error)
{
    char known[160] = "";
    for (size_t i = 0; i < TR_COUNT(rows); i++)
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "", rows[i].word);
    if (!word)
        return tr__fail(error, TR_EINVAL, "a request is an object like {\"do\":\"ps\"}; known are: %s",
                        known);
    return tr__fail(error, TR_EINVAL, "no request is called \"%.40s\"; known are: %s", word, known);
}

const tr__operator_row *tr__operator_row_of(const json_t *request, tr_error *error)
{
    const char *word = json_string_value(json_object_get(request, "do"));
    const tr__operator_row *row = word ? row_called(word) : NULL;
    const json_t *timeout = json_object_get(request, "timeout");
    if (!row) {
        no_row(word, error);
        return NULL;
    }
    double seconds = json_number_value(timeout);
    if (timeout && !(json_is_number(timeout) && seconds > 0 && seconds <= TIMEOUT_MAX)) {
        tr__fail(error, TR_EINVAL, "\"timeout\" is a number of seconds, more than 0, at most %d",
                 TIMEOUT_MAX);
        return NULL;
    }
    return row;
}

uint64_t tr__operator_timeout(const json_t *request)
{
    const json_t *timeout = json_object_get(request, "timeout");
    return timeout ? (uint64_t)(json_number_value(timeout) * 1e9) : TR__OPERATOR_TIMEOUT;
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

TR_MESSAGE(tr__operator_go_on, (u64, number))
TR_MESSAGE(tr__operator_expire)

typedef struct state {
    tr__operator_peers peers;
    tr__operator_job *jobs;
    tr_timer expiry;    /* a tr__operator_expire is to come */
    uint64_t expiry_ns; /* when; 0: none is */
} state;

static void job_free(tr_actor *self, tr__operator_job *job)
{
    state *s = tr_state(self);
    tr__operator_job **at = &s->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    json_decref(job->request);
    json_decref(job->answer);
    tr__free(job->names);
    tr__free(job);
}

static void answer_to(tr_actor *self, uint64_t number, json_t *answer)
{
    const tr__loop *loop = tr__owner(self);
    const tr__operators *operators = loop->node->operators;
    operators->answered(operators->context, number, loop->index, answer);
}

void tr__operator_answer(tr_actor *self, tr__operator_job *job, json_t *answer)
{
    uint64_t number = job->number;
    job_free(self, job); /* first: `answered` may ask again at once */
    answer_to(self, number, answer);
}

void tr__operator_fail(tr_actor *self, tr__operator_job *job)
{
    tr__operator_answer(self, job, tr__operator_error(tr_last_error(self)));
}

void tr__operator_again(tr_actor *self, tr__operator_job *job)
{
    if (tr_send(self, tr_self(self), tr__operator_go_on, .number = job->number) != TR_OK)
        tr__operator_fail(self, job);
}

/* ---- leases -------------------------------------------------------------------------------------------- */

/* Have it looked at by then what has ended. False: no memory, and there is no look to come. */
static bool look_by(tr_actor *self, state *s, uint64_t due_ns)
{
    uint64_t now = tr_now(self);
    if (s->expiry_ns && s->expiry_ns <= due_ns)
        return true;
    tr_timer next = tr_after(self, due_ns > now ? due_ns - now : 0, tr__operator_expire);
    if (!next.id)
        return s->expiry_ns != 0;
    tr_timer_cancel(self, s->expiry);
    s->expiry = next;
    s->expiry_ns = due_ns;
    return true;
}

/* End what nobody watches any more, and look again when the next lease is over. */
static void expire(tr_actor *self, state *s)
{
    tr__loop *loop = tr__owner(self);
    uint64_t now = tr_now(self), meter = tr__meter_expire(loop, now), taps = tr__taps_expire(loop, now);
    uint64_t next = meter < taps ? meter : taps;
    tr_timer_cancel(self, s->expiry); /* if this is an older one */
    s->expiry_ns = 0;
    if (next != TR__NEVER && !look_by(self, s, next)) { /* no memory for a timer: what has no end is ended */
        tr__meter_expire(loop, TR__NEVER);
        tr__taps_expire(loop, TR__NEVER);
    }
}

uint64_t tr__operator_lease(tr_actor *self, const json_t *request)
{
    double seconds = json_number_value(json_object_get(request, "lease"));
    seconds = seconds > TR__LEASE_MAX ? TR__LEASE_MAX : seconds >= 0.1 ? seconds : 3;
    uint64_t until = tr_now(self) + (uint64_t)(seconds * 1e9);
    return look_by(self, tr_state(self), until) ? until : 0;
}

/* ---- requests ------------------------------------------------------------------------------------------ */

/* It was looked at on the control thread already, but the value is that thread's. */
static void begin(tr_actor *self, const tr__operator_request *request)
{
    state *s = tr_state(self);
    tr__operator_job *job = tr__zalloc(sizeof(*job));
    json_t *value = job ? json_loads(request->text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!value) {
        tr__free(job);
        answer_to(self, request->number, NULL);
        return;
    }
    job->number = request->number;
    job->request = value;
    job->next = s->jobs;
    s->jobs = job;
    row_called(json_string_value(json_object_get(value, "do")))->run(self, job);
}

static void go_on(tr_actor *self, uint64_t number)
{
    const state *s = tr_state(self);
    tr__operator_job *job = s->jobs;
    while (job && job->number != number)
        job = job->next;
    if (job)
        row_called(json_string_value(json_object_get(job->request, "do")))->run(self, job);
}

static void receive(tr_actor *self, void *s, const tr_msg *msg)
{
    const tr__operator_request *request = tr_match(msg, tr__operator_request);
    const tr__operator_go_on *more = tr_match(msg, tr__operator_go_on);
    if (request && msg->kind == TR__MSG_NOTICE) /* from the socket: no actor, no peer can make one */
        begin(self, request);
    else if (more && tr_addr_equal(tr_msg_sender(msg), tr_self(self)))
        go_on(self, more->number);
    else if (tr_match(msg, tr__operator_expire) && tr_addr_equal(tr_msg_sender(msg), tr_self(self)))
        expire(self, s);
    else
        tr__operator_peers_take(self, &((state *)s)->peers, msg);
}

static void stop(tr_actor *self, void *s)
{
    while (((state *)s)->jobs)
        job_free(self, ((state *)s)->jobs);
}

/* A place a KiB: a request of each client, as large as a frame may be, and the runtime's own messages. */
#define PLACES (TR__OPERATOR_CLIENTS_MAX * (TR__OPERATOR_FRAME_MAX / 1024 + 1) + 1024)

static const tr_actor_def operator_def = {.name = "operator",
                                          .state_size = sizeof(state),
                                          .mailbox_places = PLACES,
                                          .receive = receive,
                                          .stop = stop};

tr_err tr__operator_begin(tr_node *node, tr_error *error)
{
    tr__json_prepare();
    for (uint32_t i = 0; i < node->loop_count; i++)
        TR_TRY(tr__spawn(node->loops[0], &operator_def, NULL,
                         &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = i}, &node->operators->actors[i],
                         error));
    return TR_OK;
}
