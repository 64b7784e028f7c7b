/* See trail.h. */
#include "actors/tx/trail.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "mailbox/utf8.h"

typedef struct trail_event {
    uint64_t at_ns;
    char actor[TR_NAME_MAX], what[16], detail[32];
} trail_event;

struct tr__trail_transaction {
    char state[16], reason[16];
    uint32_t count;
    trail_event events[TR__TRAIL_EVENTS];
};

static void copy(char *out, size_t room, const char *text)
{
    size_t length = text ? strnlen(text, room - 1) : 0;
    if (length)
        memcpy(out, text, length);
    out[length] = '\0';
    out[tr__utf8_valid(out, length)] = '\0';
}

/* The newest first: events of one transaction come close together. NULL: it isn't there. */
static struct tr__trail_transaction *find(const tr__tx_trail *trail, const tr_tx_id *id)
{
    for (uint32_t i = 1; i <= trail->count; i++) {
        uint32_t place = (trail->next - i) % TR__TRAIL_TRANSACTIONS;
        if (memcmp(&trail->ids[place], id, sizeof(*id)) == 0)
            return trail->ring[place];
    }
    return NULL;
}

/* In the place of the oldest. */
static struct tr__trail_transaction *begin(tr__tx_trail *trail, const tr_tx_id *id)
{
    struct tr__trail_transaction **place = &trail->ring[trail->next % TR__TRAIL_TRANSACTIONS];
    tr_tx_id *its_id = &trail->ids[trail->next % TR__TRAIL_TRANSACTIONS];
    if (!*place && !(*place = tr__alloc(sizeof(**place))))
        return NULL;
    trail->next++;
    if (trail->count < TR__TRAIL_TRANSACTIONS)
        trail->count++;
    *its_id = *id;
    (*place)->count = 0;
    copy((*place)->state, sizeof((*place)->state), "open");
    (*place)->reason[0] = '\0';
    return *place;
}

/* What an event says about where the whole stands, seen from this node. */
static void judge(struct tr__trail_transaction *t, const char *what, const char *detail)
{
    bool open = strcmp(t->state, "open") == 0;
    const char *state = NULL, *reason = NULL;
    if (strcmp(what, "committed") == 0 || strcmp(what, "aborted") == 0 || strcmp(what, "unknown") == 0)
        state = what, reason = detail;
    else if (strcmp(what, "decide") == 0 || strcmp(what, "recover") == 0)
        state = detail;
    else if (strcmp(what, "broken") == 0)
        reason = detail;
    else if (strcmp(what, "drop") == 0 && open)
        state = "aborted", reason = detail;
    if (state)
        copy(t->state, sizeof(t->state), state);
    if (reason && reason[0])
        copy(t->reason, sizeof(t->reason), reason);
    if (strcmp(t->state, "committed") == 0)
        t->reason[0] = '\0'; /* why it was unknown for a while */
}

void tr__trail_add(tr__tx_trail *trail, uint64_t at_ns, const tr_tx_id *id, const char *actor,
                   const char *what, const char *detail)
{
    struct tr__trail_transaction *t = find(trail, id);
    if (!t)
        t = begin(trail, id);
    if (!t)
        return;
    judge(t, what, detail);
    if (t->count == TR__TRAIL_EVENTS)
        return;
    trail_event *event = &t->events[t->count++];
    event->at_ns = at_ns;
    copy(event->actor, sizeof(event->actor), actor);
    copy(event->what, sizeof(event->what), what);
    copy(event->detail, sizeof(event->detail), detail);
}

void tr__trail_fini(tr__tx_trail *trail)
{
    for (uint32_t i = 0; i < TR__TRAIL_TRANSACTIONS; i++)
        tr__free(trail->ring[i]);
}

/* ---- as JSON ------------------------------------------------------------------------------------------- */

static json_t *events_of(const struct tr__trail_transaction *one)
{
    json_t *events = json_array();
    for (uint32_t i = 0; i < one->count; i++) {
        const trail_event *e = &one->events[i];
        json_array_append_new(events, json_pack("{s:I, s:s, s:s, s:s}", "at_ns", (json_int_t)e->at_ns,
                                                "actor", e->actor, "what", e->what, "detail", e->detail));
    }
    return events;
}

static json_t *transactions_of(const tr__tx_trail *trail, uint32_t most)
{
    json_t *all = json_array();
    for (uint32_t i = most && most < trail->count ? most : trail->count; i > 0; i--) {
        uint32_t place = (trail->next - i) % TR__TRAIL_TRANSACTIONS;
        const struct tr__trail_transaction *one = trail->ring[place];
        char id[TR_TX_ID_TEXT];
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:I, s:o}", "id",
                                             tr__tx_id_format(&trail->ids[place], id), "state", one->state,
                                             "reason", one->reason, "began_ns",
                                             (json_int_t)one->events[0].at_ns, "events", events_of(one)));
    }
    return all;
}

static json_t *doubts_of(const tr__tx *tx)
{
    tr__tx_doubt doubts[TR__TRAIL_TRANSACTIONS];
    uint32_t count = tr__tx_doubts(tx, doubts, TR__TRAIL_TRANSACTIONS);
    json_t *all = json_array();
    for (uint32_t i = 0; i < count; i++) {
        char id[TR_TX_ID_TEXT], ticket[TR_TX_TICKET_MAX];
        tr__tx_ticket_format(&doubts[i].id, doubts[i].decider, doubts[i].decider_log, ticket);
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:I}", "id",
                                             tr__tx_id_format(&doubts[i].id, id), "actor", doubts[i].actor,
                                             "decider", doubts[i].decider, "ticket", ticket, "since_ns",
                                             (json_int_t)doubts[i].since_ns));
    }
    return all;
}

static json_t *outbox_of(const tr__tx *tx)
{
    tr__tx_emitted emits[TR__TRAIL_TRANSACTIONS];
    uint32_t count = tr__tx_outbox(tx, emits, TR__TRAIL_TRANSACTIONS);
    json_t *all = json_array();
    for (uint32_t i = 0; i < count; i++) {
        char id[TR_TX_ID_TEXT];
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "id",
                                             tr__tx_id_format(&emits[i].id, id), "actor", emits[i].actor,
                                             "to_node", emits[i].node, "to", emits[i].to, "since_ns",
                                             (json_int_t)emits[i].since_ns, "why", emits[i].why));
    }
    return all;
}

/* The first ones. */
static void add_version(void *context, const char *actor, uint32_t version)
{
    if (json_array_size(context) == TR__TRAIL_TRANSACTIONS)
        return;
    json_array_append_new(context, json_pack("{s:s, s:i}", "actor", actor, "version", (int)version));
}

static json_t *versions_of(const tr__tx *tx)
{
    json_t *all = json_array();
    if (all)
        tr__tx_versions(tx, add_version, all);
    return all;
}

char *tr__trail_json(const tr__tx_trail *trail, const char *node, const tr__tx *tx, uint32_t most)
{
    tr__tx_figures f;
    tr__tx_figures_of(tx, &f);
    json_t *figures =
        json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "branches", (int)f.branches,
                  "prepared", (int)f.prepared, "deciding", (int)f.deciding, "calling", (int)f.calling,
                  "committed", (json_int_t)f.committed, "aborted", (json_int_t)f.aborted, "wounds",
                  (json_int_t)f.wounds, "forces", (json_int_t)f.forces, "records", (json_int_t)f.records,
                  "oldest_prepared_ns", (json_int_t)f.oldest_prepared_ns, "alarms", (json_int_t)f.alarms);
    json_object_update_new(figures, json_pack("{s:i, s:I, s:I, s:I}", "emits", (int)f.emits, "oldest_emit_ns",
                                              (json_int_t)f.oldest_emit_ns, "emitted", (json_int_t)f.emitted,
                                              "emits_refused", (json_int_t)f.emits_refused));
    json_object_update_new(figures, json_pack("{s:i, s:I}", "outcomes", (int)f.outcomes, "outcomes_early",
                                              (json_int_t)f.outcomes_early));
    json_t *all = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "node", node, "figures", figures, "in_doubt",
                            doubts_of(tx), "outbox", outbox_of(tx), "versions", versions_of(tx),
                            "transactions", transactions_of(trail, most));
    const char *lost = tr__tx_lost(tx);
    if (all && lost)
        json_object_set_new(all, "log_lost", json_string(lost));
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}
