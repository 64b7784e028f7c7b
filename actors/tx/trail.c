/* See trail.h. */
#include "actors/tx/trail.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "mailbox/utf8.h"

typedef struct trail_event {
    uint64_t at_ns;
    char actor[TR_NAME_MAX], what[16], detail[32];
} trail_event;

struct tr__trail_transaction {
    tr_tx_id id;
    char state[16], reason[16];
    uint32_t count;
    trail_event events[TR__TRAIL_EVENTS];
};

static void copy(char *out, size_t room, const char *text)
{
    snprintf(out, room, "%s", text ? text : "");
    out[tr__utf8_valid(out, strlen(out))] = '\0';
}

/* The newest first: events of one transaction come close together. NULL: it isn't there. */
static struct tr__trail_transaction *find(const tr__tx_trail *trail, const tr_tx_id *id)
{
    for (uint32_t i = 1; i <= trail->count; i++) {
        struct tr__trail_transaction *t = trail->ring[(trail->next - i) % TR__TRAIL_TRANSACTIONS];
        if (memcmp(&t->id, id, sizeof(*id)) == 0)
            return t;
    }
    return NULL;
}

/* In the place of the oldest. */
static struct tr__trail_transaction *begin(tr__tx_trail *trail, const tr_tx_id *id)
{
    struct tr__trail_transaction **place = &trail->ring[trail->next % TR__TRAIL_TRANSACTIONS];
    if (!*place && !(*place = tr__alloc(sizeof(**place))))
        return NULL;
    trail->next++;
    if (trail->count < TR__TRAIL_TRANSACTIONS)
        trail->count++;
    (*place)->id = *id;
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

typedef struct text {
    char *bytes;
    size_t length, room;
    bool failed;
} text;

static void put(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(text *t, const char *format, ...)
{
    va_list args;
    for (int tries = 0; tries < 2 && !t->failed; tries++) {
        va_start(args, format);
        int length = vsnprintf(t->bytes ? t->bytes + t->length : NULL, t->room - t->length, format, args);
        va_end(args);
        if (length >= 0 && (size_t)length < t->room - t->length) {
            t->length += (size_t)length;
            return;
        }
        size_t room = (t->room + (size_t)length + 1) * 2;
        char *bigger = tr__realloc(t->bytes, room);
        t->failed = !bigger;
        if (bigger) {
            t->bytes = bigger;
            t->room = room;
        }
    }
}

/* Names, words, and what a user's actor is called: whatever is in it. */
static void put_string(text *t, const char *string)
{
    put(t, "\"");
    for (const char *c = string; *c; c++)
        if (*c == '"' || *c == '\\')
            put(t, "\\%c", *c);
        else if ((unsigned char)*c < ' ')
            put(t, "\\u%04x", (unsigned char)*c);
        else
            put(t, "%c", *c);
    put(t, "\"");
}

static void put_transaction(text *t, const struct tr__trail_transaction *one)
{
    char id[TR_TX_ID_TEXT];
    put(t, "{\"id\":\"%s\",\"state\":\"%s\",\"reason\":\"%s\",\"began_ns\":%" PRIu64 ",\"events\":[",
        tr__tx_id_format(&one->id, id), one->state, one->reason, one->events[0].at_ns);
    for (uint32_t i = 0; i < one->count; i++) {
        const trail_event *event = &one->events[i];
        put(t, "%s{\"at_ns\":%" PRIu64 ",\"actor\":", i ? "," : "", event->at_ns);
        put_string(t, event->actor);
        put(t, ",\"what\":");
        put_string(t, event->what);
        put(t, ",\"detail\":");
        put_string(t, event->detail);
        put(t, "}");
    }
    put(t, "]}");
}

char *tr__trail_json(const tr__tx_trail *trail, const char *node, const tr__tx_figures *figures,
                     uint32_t most)
{
    text t = {0};
    uint32_t count = most && most < trail->count ? most : trail->count;
    put(&t, "{\"node\":");
    put_string(&t, node);
    put(&t,
        ",\"figures\":{\"branches\":%" PRIu32 ",\"prepared\":%" PRIu32 ",\"deciding\":%" PRIu32
        ",\"calling\":%" PRIu32 ",\"committed\":%" PRIu64 ",\"aborted\":%" PRIu64
        ",\"oldest_prepared_ns\":%" PRIu64 "},\"transactions\":[",
        figures->branches, figures->prepared, figures->deciding, figures->calling, figures->committed,
        figures->aborted, figures->oldest_prepared_ns);
    for (uint32_t i = count; i > 0; i--) {
        put_transaction(&t, trail->ring[(trail->next - i) % TR__TRAIL_TRANSACTIONS]);
        put(&t, i > 1 ? "," : "");
    }
    put(&t, "]}");
    if (t.failed) {
        tr__free(t.bytes);
        return NULL;
    }
    return t.bytes;
}
