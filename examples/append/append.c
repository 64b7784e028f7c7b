/* Lists on several nodes: each client appends numbers to some of them and reads others, in transactions of one to four of
 * these. Nobody ever appends the same number to a list twice, so each reading tells which transactions it has seen, and
 * in which order: a checker can find out whether all clients can have seen one and the same history.
 *
 *     append [--nodes N] [--clients N] [--seconds S] [--kill] [--history DIR]
 *
 * What each client did is written as a history: see README.md. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/common/cluster.h"

#define LISTS       3 /* participants of a node, each with a list for every second of the run */
#define OPS_MAX     4
#define ENTRIES_MAX 1024 /* of a list */
#define DOES_BYTES  (2 * CLUSTER_NODES_MAX * LISTS * 16384)

/* ---- lists: the participants ---------------------------------------------------------------------------- */

TR_MESSAGE(append, TR_WRITES, (i64, number), (i64, entry))
TR_MESSAGE(read_list, (i64, number))
TR_MESSAGE(list_is, (list, i64, entries))

static const char *entry_key(int64_t list, int64_t number, char key[48])
{
    snprintf(key, 48, "%" PRId64 "/%" PRId64, list, number);
    return key;
}

/* Under the list's own number is how many entries it has. */
static tr_err lists(tr_txview *v, void *state, const tr_msg *msg)
{
    static _Thread_local int64_t entries[ENTRIES_MAX];
    const append *a = tr_match(msg, append);
    const read_list *r = tr_match(msg, read_list);
    char key[48];
    (void)state;
    if (!a && !r)
        return tr_refuse(v, "a list takes no %s", tr_msg_type_name(msg));
    int64_t list = a ? a->number : r->number, count = tr_view_i64(v, entry_key(list, 0, key), 0);
    if (r) {
        for (int64_t i = 0; i < count; i++)
            entries[i] = tr_view_i64(v, entry_key(list, i + 1, key), 0);
        return tr_view_reply(v, list_is, .entries = {entries, (size_t)count});
    }
    if (count == ENTRIES_MAX)
        return tr_refuse(v, "list %" PRId64 " is full", list);
    TR_TRY(tr_view_put_i64(v, entry_key(list, count + 1, key), a->entry));
    return tr_view_put_i64(v, entry_key(list, 0, key), count + 1);
}
TR_ACTOR(lists_def, .transact = lists);

static tr_err open_lists(tr_actor *self, const cluster *c, uint32_t node)
{
    char name[16];
    (void)c;
    (void)node;
    for (int i = 0; i < LISTS; i++) {
        snprintf(name, sizeof(name), "l%d", i);
        if (tr_addr_is_none(tr_spawn_with(self, &lists_def, NULL, &(tr_spawn_opts){.name = name})))
            return tr_last_error(self)->code;
    }
    return TR_OK;
}

/* ---- a transaction -------------------------------------------------------------------------------------- */

typedef struct step {
    int64_t list;
    bool appends; /* else it reads */
    int64_t entry;
} step;

typedef struct job {
    operation *op;
    const cluster *c;
    step *steps;
    uint32_t count;
    char wants[2048]; /* what it is going to do, as JSON */
    char *does;       /* and what it did, with what it read */
    size_t used;
} job;

/* All that a list's number tells: the second, and who has it. "n1/l2" */
static const char *path_of(const cluster *c, int64_t list, char path[16])
{
    uint32_t number = (uint32_t)(list % (c->nodes * LISTS));
    snprintf(path, 16, "n%u/l%u", number / LISTS, number % LISTS);
    return path;
}

/* An attempt that was aborted leaves nothing, so the next one has entries of its own. */
static void begin(job *j, const tr_tx *tx)
{
    size_t used = 0;
    for (uint32_t i = 0; i < j->count; i++) {
        step *s = &j->steps[i];
        used += (size_t)snprintf(j->wants + used, sizeof(j->wants) - used, "%s[\"%s\",%" PRId64 ",",
                                 i ? "," : "[", s->appends ? "append" : "r", s->list);
        if (s->appends)
            s->entry = j->op->process * 1000000 + (int64_t)j->op->drawn++;
        used += (size_t)snprintf(j->wants + used, sizeof(j->wants) - used,
                                 s->appends ? "%" PRId64 "]" : "null]", s->entry);
    }
    snprintf(j->wants + used, sizeof(j->wants) - used, "]");
    j->used = 0;
    history_attempt(j->op, tx);
}

__attribute__((format(printf, 2, 3))) static void put(job *j, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (j->used < DOES_BYTES)
        j->used += (size_t)vsnprintf(j->does + j->used, DOES_BYTES - j->used, format, args);
    va_end(args);
}

static tr_err read_one(tr_tx *tx, job *j, int64_t list)
{
    const list_is *is;
    char path[16];
    TR_TRY(tr_tx_await_reply(tx, path_of(j->c, list, path), list_is, &is, read_list, .number = list));
    put(j, "[\"r\",%" PRId64 ",[", list);
    for (size_t i = 0; i < is->entries.count; i++)
        put(j, "%s%" PRId64, i ? "," : "", is->entries.data[i]);
    put(j, "]]");
    return TR_OK;
}

static tr_err append_one(tr_tx *tx, job *j, const step *s)
{
    char path[16];
    TR_TRY(tr_tx_await(tx, path_of(j->c, s->list, path), append, .number = s->list, .entry = s->entry));
    put(j, "[\"append\",%" PRId64 ",%" PRId64 "]", s->list, s->entry);
    return TR_OK;
}

static tr_err body(tr_actor *self, tr_tx *tx, void *arg)
{
    job *j = arg;
    bool writes = false;
    (void)self;
    begin(j, tx);
    for (uint32_t i = 0; i < j->count; i++) {
        put(j, i ? "," : "[");
        TR_TRY(j->steps[i].appends ? append_one(tx, j, &j->steps[i]) : read_one(tx, j, j->steps[i].list));
        writes |= j->steps[i].appends;
    }
    put(j, "]");
    return writes ? history_ticket(j->op, tx) : TR_OK;
}

static tr_tx_outcome run(tr_actor *self, const cluster *c, operation *op, step *steps, uint32_t count)
{
    job j = {.op = op, .c = c, .steps = steps, .count = count, .does = malloc(DOES_BYTES)};
    if (!j.does)
        return (tr_tx_outcome){.status = TR_TX_ABORTED};
    op->f = "txn";
    op->value = j.wants;
    tr_tx_outcome out = tr_tx_run(self, body, &j, &cluster_tx);
    history_end(op, self, &out, j.does);
    free(j.does);
    return out;
}

/* ---- the workload --------------------------------------------------------------------------------------- */

/* New lists every second, so none becomes long. */
static int64_t second_now(const cluster *c)
{
    return (int64_t)(cluster_now_ms() - c->since_ms) / 1000;
}

static void operate(tr_actor *self, const cluster *c, operation *op)
{
    step steps[OPS_MAX];
    uint32_t count = 1 + (uint32_t)(tr_random(self) % OPS_MAX), all = c->nodes * LISTS;
    for (uint32_t i = 0; i < count; i++)
        steps[i] = (step){.list = second_now(c) * all + (int64_t)(tr_random(self) % all),
                          .appends = tr_random(self) % 2};
    run(self, c, op, steps, count);
}

static void header(const cluster *c, char *out, size_t room)
{
    (void)c;
    snprintf(out, room, "{\"workload\":\"append\"}");
}

/* Read all lists of that second: the last that is written of them. */
static tr_err read_second(tr_actor *self, const cluster *c, operation *op, int64_t second)
{
    step steps[CLUSTER_NODES_MAX * LISTS];
    uint32_t all = c->nodes * LISTS;
    tr_tx_outcome out = {.status = TR_TX_ABORTED};
    for (uint32_t i = 0; i < all; i++)
        steps[i] = (step){.list = second * all + i};
    for (int i = 0; i < 50 && out.status != TR_TX_COMMITTED; i++) {
        out = run(self, c, op, steps, all);
        if (out.status != TR_TX_COMMITTED)
            TR_TRY(tr_sleep(self, TR_MILLIS(200)));
    }
    return out.status == TR_TX_COMMITTED ? TR_OK
                                         : tr_fail(self, TR_EAPP, "lists can't be read: %s", out.text);
}

static tr_err check(tr_actor *self, const cluster *c, operation *op)
{
    int64_t seconds = second_now(c);
    for (int64_t second = 0; second <= seconds; second++)
        TR_TRY(read_second(self, c, op, second));
    printf("all lists of %" PRId64 " seconds were read\n", seconds);
    return TR_OK;
}

int main(int argc, char **argv)
{
    static const workload lists_of_all = {.name = "append",
                                          .what = "3 lists a node",
                                          .header = header,
                                          .open = open_lists,
                                          .operate = operate,
                                          .check = check};
    return cluster_main(argc, argv, &lists_of_all);
}
