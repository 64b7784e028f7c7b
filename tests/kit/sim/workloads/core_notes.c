/* Numbered messages from one being to another. Each attempt has a number, and what is accepted has to arrive in their order,
 * at most once, as it was sent. What went over one life of a connection arrives without a gap, from its first on: an end of
 * the connection cuts the rest off. So does the end of the receiver. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/limits.h"
#include "actors/node.h"
#include "base/check.h"
#include "tests/kit/sim/workloads/core.h"
#include "tests/kit/sim/workloads/list.h"

TR_MESSAGE(core_note, (u32, from), (u32, to), (u64, number), (string, text), (bytes, data), (buffer, large))

/* A small one that holds no buffer: between nodes it goes the short way, beside those that are messages. */
TR_MESSAGE(core_slip, (u32, from), (u32, to), (u64, number), (string, text), (bytes, data))

typedef enum note_state { NOTE_REFUSED, NOTE_ACCEPTED, NOTE_ARRIVED } note_state;

typedef struct note {
    uint64_t connection; /* that it went over */
    uint32_t bytes;
    note_state state;
} note;

typedef struct core_pair {
    struct core_pair *next;
    const core_being *to;
    note *notes; /* by number, from 1 */
    uint64_t count, room;
    uint64_t arrived; /* the highest number of those */
    uint64_t last;    /* the highest that was accepted in CORE_LAST */
    bool over;        /* the receiver knows that the sender has ended */
} core_pair;

#define PATTERN (4u << 20)
static uint8_t *pattern; /* what all data is cut from */

static const char words[] =
    "a note is as long as it has to be, and not a word longer: so many letters, 0123456789";

/* ---- pairs --------------------------------------------------------------------------------------------- */

/* Those used last are first. */
static core_pair *pair_of(core_being *from, const core_being *to)
{
    core_pair **at = &from->pairs, *pair;
    while (*at && (*at)->to != to)
        at = &(*at)->next;
    pair = *at;
    if (pair)
        *at = pair->next;
    else
        pair = calloc(1, sizeof(*pair));
    tr__check(pair != NULL, "no memory for a workload");
    pair->to = to;
    pair->next = from->pairs;
    from->pairs = pair;
    return pair;
}

static note *note_add(core_pair *pair)
{
    if (++pair->count >= pair->room) {
        pair->room = pair->room ? 2 * pair->room : 16;
        pair->notes = realloc(pair->notes, pair->room * sizeof(*pair->notes));
        tr__check(pair->notes != NULL, "no memory for a workload");
    }
    return &pair->notes[pair->count];
}

void core_notes_forget(core_being *being)
{
    while (being->pairs) {
        core_pair *pair = being->pairs;
        being->pairs = pair->next;
        free(pair->notes);
        free(pair);
    }
}

static const uint8_t *data_of(uint64_t number, uint32_t from, size_t bytes)
{
    if (!pattern) {
        tr__random random;
        tr__random_init(&random, 1);
        pattern = malloc(PATTERN);
        tr__check(pattern != NULL, "no memory for a workload");
        for (size_t i = 0; i < PATTERN; i++)
            pattern[i] = (uint8_t)tr__random_next(&random);
    }
    return pattern + (number * 31 + from * 7) % (PATTERN - bytes);
}

static const char *text_of(uint64_t number)
{
    return words + number % sizeof(words);
}

/* Every other one of those that may come in a file is a buffer. */
static bool is_buffer(uint64_t number, size_t bytes)
{
    return bytes > TR__LIMIT_MIN && number % 2;
}

#define SLIP_MAX 1000

static bool is_slip(uint64_t number, size_t bytes, uint64_t ttl_ns)
{
    return bytes <= SLIP_MAX && ttl_ns == 0 && number / 8 % 4; /* many in a row */
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static bool may_be(const core_being *from, const core_being *to, tr_err err)
{
    bool near = from->address.node == to->address.node;
    return err == TR_OK || err == TR_ENOMEM ||
           (near ? err == TR_EFULL : err == TR_EAGAIN || err == TR_ENOCONN);
}

static tr_err send_it(tr_actor *self, const core_being *from, const core_being *to, uint64_t number,
                      size_t bytes, uint64_t ttl_ns)
{
    tr_send_opts opts = {.ttl_ns = ttl_ns};
    const uint8_t *data = data_of(number, from->number, bytes);
    bool large = is_buffer(number, bytes);
    if (is_slip(number, bytes, ttl_ns))
        return tr_send(self, to->address, core_slip, .from = from->number, .to = to->number, .number = number,
                       .text = text_of(number), .data = {data, bytes});
    const tr_buffer *buffer = large ? tr_buffer_make(self, data, bytes) : NULL;
    if (large && !buffer)
        return TR_ENOMEM;
    tr_err err = tr_send_with(self, to->address, &opts, core_note, .from = from->number, .to = to->number,
                              .number = number, .text = text_of(number), .data = {data, large ? 0 : bytes},
                              .large = buffer);
    tr_buffer_release(self, buffer);
    return err;
}

tr_err core_note_send(tr_actor *self, core_being *from, const core_being *to, size_t bytes)
{
    return core_note_send_for(self, from, to, bytes, 0);
}

tr_err core_note_send_for(tr_actor *self, core_being *from, const core_being *to, size_t bytes,
                          uint64_t ttl_ns)
{
    if (!sim_counts())
        return TR_ENOCONN;
    core_pair *pair = pair_of(from, to);
    note *n = note_add(pair);
    uint64_t number = pair->count;
    *n = (note){core_connection(from, to->address), (uint32_t)bytes, NOTE_REFUSED};
    tr_err err = send_it(self, from, to, number, bytes, ttl_ns);
    if (!sim_counts())
        return err; /* it crashed meanwhile */
    if (!may_be(from, to, err) || (err == TR_ENOMEM && !core_memory_failed()))
        core_wrong("a note from being %u to %u is refused: %s", from->number, to->number, tr_err_word(err));
    if (err == TR_OK) {
        n->state = NOTE_ACCEPTED;
        if (core.phase == CORE_LAST)
            pair->last = number;
    }
    bool floods = sim_now_running->scenario->start == sim_core_flow.start; /* the others send little */
    if (floods)
        tr_sometimes(self, err == TR_EFULL, "a full mailbox refuses");
    tr_sometimes(self, err == TR_EAGAIN, "a connection without credit refuses");
    tr_sometimes(self, err == TR_OK && !core_lives(to), "a note is sent to one that has ended");
    if (floods)
        tr_sometimes(self, err == TR_OK && bytes > (1u << 20), "a note of more than a MiB");
    return err;
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

/* Some of what came before it on its way is not there. Full small mailboxes drop what comes from other nodes, and count. */
static void check_gap(const core_being *from, core_being *self, const core_pair *pair, uint64_t number)
{
    uint64_t connection = pair->notes[number].connection, missing = 0;
    uint32_t node = self->node->index;
    for (uint64_t k = pair->arrived + 1; k < number; k++)
        missing += pair->notes[k].state == NOTE_ACCEPTED && pair->notes[k].connection == connection;
    if (!missing || core_memory_failed())
        return;
    if (core.gaps_life[node] != self->node->life) {
        core.gaps_life[node] = self->node->life;
        core.gaps[node] = 0;
    }
    core.gaps[node] += missing;
    tr_sums sums;
    tr_node_sums(self->node->node, &sums);
    bool small = self->slot == 0 && from->address.node != self->address.node;
    uint64_t dropped = sums.dropped[TR_DROP_FULL];
    if (self->lossy)
        dropped +=
            sums.dropped[TR_DROP_OLDEST] + sums.dropped[TR_DROP_NEWEST] + sums.dropped[TR_DROP_EXPIRED];
    if ((!small && !self->lossy) || core.gaps[node] > dropped)
        core_wrong("note %llu from being %u to %u arrived, and %llu before it on the same connection didn't",
                   (unsigned long long)number, from->number, self->number, (unsigned long long)missing);
}

static void check_note(tr_actor *actor, core_being *self, core_being *from, const core_note *got)
{
    core_pair *pair = pair_of(from, self);
    uint64_t number = got->number;
    if (number == 0 || number > pair->count) {
        core_wrong("note %llu from being %u to %u was never sent", (unsigned long long)number, from->number,
                   self->number);
        return;
    }
    note *n = &pair->notes[number];
    if (n->state == NOTE_REFUSED)
        core_wrong("note %llu from being %u to %u was refused, and arrived", (unsigned long long)number,
                   from->number, self->number);
    if (n->state == NOTE_ARRIVED)
        core_wrong("note %llu from being %u to %u arrived twice", (unsigned long long)number, from->number,
                   self->number);
    if (number <= pair->arrived)
        core_wrong("note %llu from being %u to %u arrived behind %llu", (unsigned long long)number,
                   from->number, self->number, (unsigned long long)pair->arrived);
    if (pair->over)
        core_wrong("note %llu from being %u to %u arrived when its end was known", (unsigned long long)number,
                   from->number, self->number);
    tr_bytes data =
        got->large && got->large->size ? (tr_bytes){got->large->data, got->large->size} : got->data;
    if (strcmp(got->text, text_of(number)) != 0 || data.size != n->bytes ||
        (n->bytes && memcmp(data.data, data_of(number, from->number, n->bytes), n->bytes) != 0))
        core_wrong("note %llu from being %u to %u has another content", (unsigned long long)number,
                   from->number, self->number);
    check_gap(from, self, pair, number);
    if (sim_now_running->scenario->start == sim_core_flow.start)
        tr_sometimes(actor, sim_now_running->nodes[self->node->index].spool_files > 0,
                     "a note comes in a file");
    tr_sometimes(actor, pair->arrived && n->connection != pair->notes[pair->arrived].connection,
                 "a note arrives after a reconnection");
    n->state = NOTE_ARRIVED;
    pair->arrived = number;
}

bool core_is_note(const tr_msg *msg)
{
    return tr_match(msg, core_note) || tr_match(msg, core_slip);
}

bool core_note_take(core_being *self, tr_actor *actor, const tr_msg *msg)
{
    const core_note *got = tr_match(msg, core_note);
    const core_slip *slip = got ? NULL : tr_match(msg, core_slip);
    core_note of_slip;
    if (slip) {
        of_slip = (core_note){slip->from, slip->to, slip->number, slip->text, slip->data, NULL};
        got = &of_slip;
    }
    if (!got || !sim_counts())
        return got;
    core_being *from = got->from && got->from < core.count ? core.beings[got->from] : NULL;
    if (!from || !tr_addr_equal(from->address, tr_msg_sender(msg)))
        core_wrong("a note to being %u is from %u, who didn't send it", self->number, got->from);
    else if (got->to != self->number)
        core_wrong("a note for being %u reached %u: a stale address resolved", got->to, self->number);
    else
        check_note(actor, self, from, got);
    return true;
}

/* ---- at the end ---------------------------------------------------------------------------------------- */

void core_notes_over(core_being *from, const core_being *to)
{
    pair_of(from, to)->over = true;
}

const char *core_notes_missing(void)
{
    static char text[160];
    for (uint32_t i = 1; i < core.count; i++)
        for (const core_pair *pair = core.beings[i]->pairs; pair; pair = pair->next)
            if (pair->last > pair->arrived && core_lives(core.beings[i]) && core_lives(pair->to)) {
                snprintf(text, sizeof(text), "note %llu from being %u of n%u to %u of n%u hasn't arrived",
                         (unsigned long long)pair->last, i, core.beings[i]->node->index, pair->to->number,
                         pair->to->node->index);
                return text;
            }
    return NULL;
}
