/* Messages of all shapes between three nodes: structs in lists, optional fields, buffers that several receivers share and
 * keep. What a parcel has in it follows from its sender and number, so whoever gets one knows what it must be. */
#include <stdio.h>
#include <string.h>

#include "mailbox/buffer.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"

#define DEPOTS      3
#define THINGS_MAX  5
#define PICTURE_MAX 5000
#define PAUSE       TR_MILLIS(60)

TR_STRUCT(parcel_label, (string, text), (i16, shelf))
TR_STRUCT(parcel_thing, (parcel_label, label), (f32, weight), (list, u16, marks), (optional, bytes, wrapping))
TR_MESSAGE(parcel, (u8, from), (u32, number), (list, parcel_thing, things), (buffer, picture),
           (list, addr, route), (optional, string, note), (optional, list, string, words),
           (optional, parcel_thing, gift))
TR_MESSAGE(parcel_wanted, (u32, number))
TR_MESSAGE(parcel_tick)

typedef struct depot {
    uint8_t index;
    uint32_t sent;
    tr_addr others[DEPOTS];
    bool asked[DEPOTS];
    const tr_buffer *kept[DEPOTS]; /* of the last parcel of each */
    uint32_t kept_number[DEPOTS];
} depot;

/* ---- what is in a parcel ------------------------------------------------------------------------------- */

static const char letters[] =
    "so many letters, and 0123456789, are what all texts and bytes in here are cut from";

static const char *text_of(uint32_t number)
{
    return letters + number % sizeof(letters);
}

static size_t picture_size(uint32_t number)
{
    return number % 7 ? number * 37 % PICTURE_MAX : 0;
}

static void draw_picture(uint8_t from, uint32_t number, uint8_t *out)
{
    for (size_t i = 0; i < picture_size(number); i++)
        out[i] = (uint8_t)(from + number + i * 7);
}

static bool is_picture(uint8_t from, uint32_t number, const tr_buffer *buffer)
{
    uint8_t drawn[PICTURE_MAX];
    draw_picture(from, number, drawn);
    return buffer && buffer->size == picture_size(number) && memcmp(buffer->data, drawn, buffer->size) == 0;
}

typedef struct contents {
    parcel_thing things[THINGS_MAX];
    uint16_t marks[THINGS_MAX];
    tr_addr route[2];
    const char *words[THINGS_MAX];
} contents;

static parcel_thing thing_of(contents *c, uint32_t number)
{
    parcel_thing thing = {.label = {text_of(number * 3), (int16_t)(number * 1001)},
                          .weight = (float)number / 4,
                          .marks = {c->marks, number % THINGS_MAX}};
    if (number & 1)
        thing.wrapping = (typeof(thing.wrapping))TR_SOME({text_of(number), strlen(text_of(number))});
    return thing;
}

/* All but its picture; it points into *c. */
static parcel make(contents *c, uint8_t from, uint32_t number)
{
    for (uint32_t i = 0; i < THINGS_MAX; i++) {
        c->marks[i] = (uint16_t)(number * 3000 + i);
        c->words[i] = text_of(number + i);
        c->things[i] = thing_of(c, number + i);
    }
    c->route[0] = (tr_addr){number | 1, from, 1};
    c->route[1] = TR_ADDR_NONE;
    parcel p = {.from = from,
                .number = number,
                .things = {c->things, number % THINGS_MAX},
                .route = {c->route, number % 3}};
    if (number & 1)
        p.note = (typeof(p.note))TR_SOME(text_of(number));
    if (number & 2)
        p.words = (typeof(p.words))TR_SOME({c->words, number % (THINGS_MAX + 1)});
    if (number & 4)
        p.gift = (typeof(p.gift))TR_SOME(thing_of(c, number));
    return p;
}

static bool same_things(const parcel_thing *a, const parcel_thing *b)
{
    return strcmp(a->label.text, b->label.text) == 0 && a->label.shelf == b->label.shelf &&
           a->weight == b->weight && a->marks.count == b->marks.count &&
           memcmp(a->marks.data, b->marks.data, b->marks.count * sizeof(uint16_t)) == 0 &&
           a->wrapping.present == b->wrapping.present && a->wrapping.value.size == b->wrapping.value.size &&
           (!b->wrapping.present ||
            memcmp(a->wrapping.value.data, b->wrapping.value.data, b->wrapping.value.size) == 0);
}

static bool same_lists(const parcel *a, const parcel *b)
{
    bool same = a->things.count == b->things.count && a->route.count == b->route.count &&
                a->words.present == b->words.present && a->words.value.count == b->words.value.count;
    for (size_t i = 0; same && i < b->things.count; i++)
        same = same_things(&a->things.data[i], &b->things.data[i]);
    for (size_t i = 0; same && i < b->route.count; i++)
        same = tr_addr_equal(a->route.data[i], b->route.data[i]);
    for (size_t i = 0; same && i < b->words.value.count; i++)
        same = strcmp(a->words.value.data[i], b->words.value.data[i]) == 0;
    return same;
}

static bool is_what_was_sent(const parcel *got)
{
    contents c;
    parcel sent = make(&c, got->from, got->number);
    return same_lists(got, &sent) && got->note.present == sent.note.present &&
           strcmp(got->note.value, sent.note.present ? sent.note.value : "") == 0 &&
           got->gift.present == sent.gift.present &&
           (!sent.gift.present || same_things(&got->gift.value, &sent.gift.value)) &&
           is_picture(got->from, got->number, got->picture);
}

/* ---- depots -------------------------------------------------------------------------------------------- */

static void found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    depot *d = state;
    uint32_t whom = (uint32_t)(uintptr_t)context;
    const tr_found *answer = result->msg ? tr_match(result->msg, tr_found) : NULL;
    (void)self;
    d->asked[whom] = false;
    d->others[whom] = answer ? answer->actor : TR_ADDR_NONE;
}

static void look_for(tr_actor *self, depot *d, uint32_t whom)
{
    char name[TR_NAME_MAX];
    snprintf(name, sizeof(name), "n%u/depot", whom);
    if (!d->asked[whom])
        d->asked[whom] =
            tr_then(self, tr_lookup(self, name, TR_SECONDS(1)), found, (void *)(uintptr_t)whom) == TR_OK;
}

static const tr_buffer *picture_of(tr_actor *self, uint8_t from, uint32_t number)
{
    uint8_t drawn[PICTURE_MAX];
    draw_picture(from, number, drawn);
    return tr_buffer_make(self, drawn, picture_size(number));
}

/* One parcel to all: its picture is made once. */
static void send_to_all(tr_actor *self, depot *d)
{
    contents c;
    parcel p = make(&c, d->index, ++d->sent);
    const tr_buffer *picture = picture_of(self, d->index, d->sent);
    if (!picture)
        return; /* no memory */
    p.picture = picture;
    for (uint32_t i = 0; i < DEPOTS; i++) {
        if (tr_addr_is_none(d->others[i]))
            look_for(self, d, i);
        else if (tr_send_body(self, d->others[i], &parcel_type, &p) != TR_OK)
            d->others[i] = TR_ADDR_NONE;
    }
    tr_buffer_release(self, picture);
}

static void check_parcel(tr_actor *self, const parcel *got)
{
    tr_always(self, is_what_was_sent(got), "a parcel is what was sent");
    tr_sometimes(self, got->gift.present && got->words.present && got->picture->size,
                 "a parcel with all that it may have");
}

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    const parcel *got = result->msg ? tr_match(result->msg, parcel) : NULL;
    (void)state;
    (void)context;
    if (got)
        check_parcel(self, got);
    tr_sometimes(self, got != NULL, "a parcel that was asked for comes");
}

static void ask_for_one(tr_actor *self, depot *d)
{
    uint32_t whom = (uint32_t)(tr_random(self) % DEPOTS), number = (uint32_t)(tr_random(self) % 100000);
    if (!tr_addr_is_none(d->others[whom]))
        tr_then(self, tr_ask(self, d->others[whom], TR_MILLIS(500), parcel_wanted, .number = number),
                answered, NULL);
}

/* The picture of the last one of each sender is kept, and is what it was. */
static void keep(tr_actor *self, depot *d, const parcel *got)
{
    if (d->kept[got->from]) {
        tr_always(self, is_picture(got->from, d->kept_number[got->from], d->kept[got->from]),
                  "a picture that is kept stays what it was");
        tr_buffer_release(self, d->kept[got->from]);
    }
    d->kept[got->from] = tr_buffer_hold(self, got->picture) == TR_OK ? got->picture : NULL;
    d->kept_number[got->from] = got->number;
}

static void tick(tr_actor *self, depot *d)
{
    send_to_all(self, d);
    if (tr_random(self) % 3 == 0)
        ask_for_one(self, d);
    if (tr_random(self) % 60 == 0 || !tr_after(self, tr_random(self) % PAUSE, parcel_tick).id)
        tr_exit(self, TR_EAPP, "enough"); /* what it keeps is released for it */
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    depot *d = state;
    const parcel *got = tr_match(msg, parcel);
    const parcel_wanted *wanted = tr_match(msg, parcel_wanted);
    contents c;
    if (got && got->from < DEPOTS) {
        check_parcel(self, got);
        keep(self, d, got);
    } else if (wanted) {
        parcel p = make(&c, d->index, wanted->number);
        p.picture = picture_of(self, d->index, wanted->number);
        if (p.picture) {
            (void)tr_reply_body(self, msg, &parcel_type, &p);
            tr_buffer_release(self, p.picture);
        }
    } else if (tr_match(msg, parcel_tick)) {
        tick(self, d);
    }
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    depot *d = state;
    d->index = (uint8_t)(uintptr_t)arg;
    return tr_after(self, tr_random(self) % PAUSE, parcel_tick).id ? TR_OK : TR_ENOMEM;
}

static const tr_actor_def depot_def = {
    .name = "depot", .state_size = sizeof(depot), .init = init, .receive = receive};

/* ---- a node -------------------------------------------------------------------------------------------- */

static tr_err start(tr_actor *self, uint32_t index)
{
    do
        if (tr_addr_is_none(tr_whereis(self, "depot")))
            tr_spawn_with(self, &depot_def, (const void *)(uintptr_t)index,
                          &(tr_spawn_opts){.name = "depot", .place = TR_PLACE_SPREAD});
    while (tr_sleep(self, PAUSE) != TR_EKILLED);
    return TR_OK;
}

/* After healing each answers, from everywhere. */
static tr_err check(tr_actor *self)
{
    for (uint32_t i = 0; i < DEPOTS; i++) {
        const tr_found *depot_is;
        const parcel *got = NULL;
        for (int tries = 0; tries < 100 && !got; tries++) {
            tr_err err = tr_await(self, tr_lookup(self, tr_fmt(self, "n%u/depot", i), TR_SECONDS(1)),
                                  tr_found, &depot_is);
            if (err == TR_OK)
                err = tr_await(
                    self, tr_ask(self, depot_is->actor, TR_SECONDS(1), parcel_wanted, .number = 7 + 8 * i),
                    parcel, &got);
            if (err != TR_OK && tr_sleep(self, PAUSE) == TR_EKILLED)
                return TR_EKILLED;
        }
        if (!got || !is_what_was_sent(got))
            return tr_fail(self, TR_EAPP, "n%u doesn't answer with a parcel", i);
    }
    return TR_OK;
}

const tr_scenario sim_parcels = {
    .size = sizeof(tr_scenario), .name = "parcels", .nodes = DEPOTS, .start = start, .check = check};
