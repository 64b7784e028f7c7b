/* The places of mailboxes (mailbox/places.h): drawn before a message is made, given back when it is handled. The sending
 * loop draws, for its own actors from their hand, `local`, for others from what it holds; all else is the owner's.
 *
 * A mailbox that drops its oldest is one apart: places of the word are for what is under way from other loops. When it
 * arrives they go back to the word, and it takes its place from the hand, which has all of the mailbox's; whatever is the
 * oldest then makes place (B3). */
#include "actors/loop.h"
#include "base/buggify.h"

#define SWEEP_LEAST TR_MILLIS(1)
#define SWEEP_EACH  TR_MICROS(1) /* time between two sweeps, a message in the mailbox */

static inline uint32_t generation_of(const tr_actor *actor)
{
    return atomic_load_explicit(&((tr_actor *)actor)->generation, memory_order_relaxed);
}

/* ---- making place -------------------------------------------------------------------------------------- */

/* Off the list, and its places into the owner's hand. */
static void unlink_after(tr_actor *actor, tr_msg *before, tr_msg *msg)
{
    tr__mailbox_unlink(actor, before, msg);
    actor->local += msg->places;
}

static bool is_expired(const tr__loop *loop, const tr_msg *msg)
{
    return msg->kind <= TR__MSG_ASK && tr__msg_expired(msg, loop->now_ns);
}

/* Messages whose time to live is over make place (asks leave by their asker's cancel), but not so often that a flood of
 * refused sends costs more than what it sends. True: some did. */
static bool sweep(tr__loop *loop, tr_actor *actor)
{
    if (!atomic_load_explicit(&loop->node->expiring, memory_order_relaxed))
        return false;
    tr__extras *extras = tr__extras_of(loop, actor);
    if (!extras || loop->now_ns < extras->sweep_ns)
        return false;
    uint64_t pause = actor->count * SWEEP_EACH;
    extras->sweep_ns = loop->now_ns + (pause > SWEEP_LEAST ? pause : SWEEP_LEAST);
    tr_msg *expired = NULL, **end = &expired;
    for (tr_msg *before = NULL, *msg = actor->head, *next; msg; msg = next) {
        next = msg->next;
        if (!is_expired(loop, msg)) {
            before = msg;
            continue;
        }
        unlink_after(actor, before, msg);
        *end = msg;
        end = &msg->next;
    }
    *end = NULL;
    bool some = expired != NULL;
    tr__hand_give(actor, actor->local); /* other loops' senders may have been refused as well */
    while (expired) {                   /* apart from the walk: who is told of it may send here */
        tr_msg *msg = expired;
        expired = msg->next;
        tr__drop(loop, msg, TR_DROP_EXPIRED);
    }
    if (some && actor->mail & TR__MAIL_WATCHED) /* its actor may be a fiber that waits for long */
        tr__levels_look(loop, actor);
    return some;
}

/* Messages and asks make place, the oldest first, until there are so many in the hand; false: nothing else can go. A piped
 * result is a message without a place: it makes none. */
static bool drop_oldest(tr__loop *loop, tr_actor *actor, uint32_t places)
{
    while (actor->local < places) {
        tr_msg *before = NULL, *msg = actor->head;
        while (msg && (msg->kind > TR__MSG_ASK || !msg->places)) {
            before = msg;
            msg = msg->next;
        }
        if (!msg)
            return false;
        unlink_after(actor, before, msg);
        tr__drop(loop, msg, is_expired(loop, msg) ? TR_DROP_EXPIRED : TR_DROP_OLDEST);
    }
    return true;
}

/* ---- drawing ------------------------------------------------------------------------------------------- */

/* The owner's loop draws in chunks, so that most local sends touch no atomic; it keeps at most a quarter
 * while idle, and of a mailbox of less than four places nothing. */
static uint32_t local_chunk(const tr_actor *actor)
{
    uint32_t chunk = TR_BUGGIFY(draw_few) ? 1 : actor->capacity / 8;
    return chunk < 1 ? 1 : chunk;
}

/* So many into the hand, at least; false: there aren't. */
static bool draw_local(tr_actor *actor, uint32_t places)
{
    bool stale;
    uint32_t missing = places - actor->local, want = local_chunk(actor);
    uint32_t got = tr__places_draw(&actor->places, generation_of(actor), missing,
                                   want > missing ? want : missing, &stale);
    actor->local += got;
    return got > 0;
}

static tr_err reserve_local_slow(tr__loop *loop, tr_actor *actor, uint32_t places)
{
    bool oldest = actor->mail & TR__MAIL_TRANSIT;
    if (oldest && actor->extras) {
        actor->local += actor->extras->kept_back;
        actor->extras->kept_back = 0;
    }
    bool there = actor->local >= places ||
                 (oldest ? drop_oldest(loop, actor, places)
                         : draw_local(actor, places) || (sweep(loop, actor) && draw_local(actor, places)));
    if (there)
        actor->local -= places;
    if (actor->mail & TR__MAIL_WATCHED)
        tr__levels_look(loop, actor);
    return there ? TR_OK : TR_EFULL;
}

static inline tr_err reserve_local(tr__loop *loop, tr_actor *actor, uint32_t places)
{
    if (__builtin_expect(actor->local >= places, 1)) {
        actor->local -= places;
        return TR_OK;
    }
    return reserve_local_slow(loop, actor, places);
}

static tr__hold *hold_of(tr__loop *loop, tr_actor *slot, uint32_t generation)
{
    tr__hold *hold = &loop->holds[slot->index % TR__HOLD_SLOTS];
    if (hold->slot != slot || hold->generation != generation) {
        if (hold->slot && hold->places)
            tr__places_give(&hold->slot->places, hold->generation, hold->places);
        if (!hold->slot)
            loop->holds_used++;
        *hold = (tr__hold){.slot = slot, .generation = generation};
    }
    return hold;
}

static uint32_t remote_chunk(const tr__loop *loop, const tr_actor *slot)
{
    uint32_t chunk = TR_BUGGIFY(draw_few) ? 1 : tr__capacity(slot) / (4 * loop->node->loop_count);
    return chunk < 1 ? 1 : chunk > 32 ? 32 : chunk;
}

tr_err tr__reserve(tr__loop *loop, tr_addr to, uint32_t *places)
{
    tr_actor *slot = tr__slot(loop->node, to.slot);
    tr__loop *owner = slot ? atomic_load_explicit(&slot->owner, memory_order_acquire) : NULL;
    if (!owner || atomic_load_explicit(&slot->generation, memory_order_relaxed) != to.generation) {
        *places = 0;
        return TR_OK;
    }
    uint32_t capacity = tr__capacity(slot);
    if (*places > capacity)
        *places = capacity;
    if (owner == loop)
        return reserve_local(loop, slot, *places);
    tr__hold *hold = hold_of(loop, slot, to.generation);
    if (hold->places < *places) {
        bool stale;
        uint32_t missing = *places - hold->places, want = remote_chunk(loop, slot);
        uint32_t got =
            tr__places_draw(&slot->places, to.generation, missing, want > missing ? want : missing, &stale);
        if (stale) {
            *places = 0;
            return TR_OK;
        }
        if (!got)
            return TR_EFULL;
        hold->places += got;
    }
    hold->places -= *places;
    return TR_OK;
}

/* ---- giving back --------------------------------------------------------------------------------------- */

void tr__unreserve(tr__loop *loop, tr_addr to, uint32_t places)
{
    tr_actor *slot = places ? tr__slot(loop->node, to.slot) : NULL;
    if (!slot)
        return;
    if (tr__is_owner(loop, slot) && tr__is_generation(slot, to.generation))
        slot->local += places;
    else
        tr__places_give(&slot->places, to.generation, places);
}

void tr__holds_return(tr__loop *loop)
{
    if (!loop->holds_used)
        return;
    for (uint32_t i = 0; i < TR__HOLD_SLOTS; i++) {
        tr__hold *hold = &loop->holds[i];
        if (hold->slot && hold->places)
            tr__places_give(&hold->slot->places, hold->generation, hold->places);
        hold->slot = NULL;
    }
    loop->holds_used = 0;
}

void tr__hand_give(tr_actor *actor, uint32_t places)
{
    actor->local -= places;
    if (actor->mail & TR__MAIL_TRANSIT)
        actor->extras->kept_back += places;
    else if (places)
        tr__places_give(&actor->places, generation_of(actor), places);
}

void tr__places_back_slow(tr__loop *loop, tr_actor *actor)
{
    uint32_t keep = actor->capacity / 4;
    if (actor->extras) {
        /* Within a batch, what it has freed so far is still to come. */
        uint32_t withhold = actor->extras->withheld < actor->local ? actor->extras->withheld : actor->local;
        actor->local -= withhold;
        actor->extras->withheld -= withhold;
    }
    if (actor->local > keep && !(actor->mail & TR__MAIL_TRANSIT))
        tr__hand_give(actor, actor->local - keep / 2);
    if (!actor->extras)
        return;
    tr__tell_writable(loop, actor);
    if (actor->mail & TR__MAIL_WATCHED)
        tr__levels_look(loop, actor);
}

/* ---- arriving ------------------------------------------------------------------------------------------ */

bool tr__mail_arrives(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    if ((actor->mail & TR__MAIL_TRANSIT) && msg->places) {
        tr__places_give(&actor->places, generation_of(actor), msg->places);
        if (reserve_local(loop, actor, msg->places) != TR_OK) { /* it is the oldest that can go */
            tr__drop(loop, msg, TR_DROP_OLDEST);
            return false;
        }
    } else if (actor->mail & TR__MAIL_WATCHED) {
        tr__levels_look(loop, actor);
    }
    return true;
}

void tr__make_place(tr__loop *loop, tr_actor *actor)
{
    if (!(actor->mail & TR__MAIL_TRANSIT) && tr__places_free(&actor->places) < (actor->capacity + 3u) / 4)
        sweep(loop, actor);
}
