/* Several futures as one: gathers (all of them, or the first), and groups (one after the other, as they settle). The
 * actor's own loop; what fails leaves nothing behind but the actor's last error.
 *
 * A member is an ask that knows its gather (`gather`); the gather counts those that are left. So a member tells one gather,
 * and of gathers none is made, since what failed in them could not be told. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "base/err.h"
#include "base/mem.h"

#define NO_FUTURE ((tr_future){0})

/* ---- gathers ------------------------------------------------------------------------------------------- */

static bool can_be_member(tr_actor *self, tr_future future, const char *what)
{
    tr__pending *pending = tr__future_of(self, future, what);
    if (!pending) {
        if (future.id == 0 && tr_last_error(self)->code == TR_OK)
            tr__self_fail(self, TR_EINVAL, "%s: no future", what);
        return false;
    }
    tr__pending *other = tr__pending_get(tr__owner(self), self, pending->gather);
    /* Of a group `settled` says only that one of it has. */
    bool is_member = other && (other->kind == TR__PENDING_GROUP || !other->settled);
    if (pending->kind == TR__PENDING_ASK && !(pending->special & TR__PIPED) && !is_member)
        return true;
    tr__self_fail(self, TR_EINVAL, "%s: one of these %s", what,
                  pending->kind != TR__PENDING_ASK ? "is a gather itself"
                  : pending->special & TR__PIPED   ? "comes as a message already"
                                                   : "is in another gather already");
    return false;
}

_Static_assert(TR__ASKS_MAX <= UINT16_MAX, "what a gather waits for can be counted");

/* What a settled member means for its gather, whose owner's code is not called here. */
static void note_member(tr__pending *gather, uint64_t member, tr_err error)
{
    bool first = gather->mode == TR__GATHER_FIRST;
    if (!gather->gather && (first || (error && gather->mode == TR__GATHER_ALL))) {
        gather->gather = member;
        gather->error = (uint8_t)(first ? TR_OK : error);
    }
    if (first)
        gather->left = 0;
}

/* The like for one that it waited for. */
static void count_member(tr__pending *gather, uint64_t member, tr_err error)
{
    gather->left--;
    note_member(gather, member, error);
}

static tr_future gather(tr_actor *self, const tr_future *futures, size_t count, tr__gather_mode mode,
                        const char *what)
{
    tr__loop *loop = tr__owner(self);
    for (size_t i = 0; i < count; i++)
        if (!can_be_member(self, futures[i], what))
            return NO_FUTURE;
    tr__pending *made = tr__pending_make(loop, self, TR__PENDING_GATHER);
    if (!made) {
        tr__self_fail(self, TR_ENOMEM, "no memory for a future");
        return NO_FUTURE;
    }
    made->mode = (uint8_t)mode;
    uint64_t id = tr__pending_id(made);
    for (size_t i = 0; i < count; i++) {
        tr__pending *member = tr__pending_get(loop, self, futures[i].id);
        if (!member->settled && member->gather != id) { /* given twice, it counts once */
            member->gather = id;
            made->left++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        tr__pending *member = tr__pending_get(loop, self, futures[i].id);
        if (member->settled)
            note_member(made, futures[i].id, member->error);
    }
    made->settled = made->left == 0;
    return (tr_future){id};
}

tr_future tr_gather(tr_actor *self, const tr_future *futures, size_t count)
{
    return gather(self, futures, count, TR__GATHER_ALL, "tr_gather");
}

tr_future tr_gather_settled(tr_actor *self, const tr_future *futures, size_t count)
{
    return gather(self, futures, count, TR__GATHER_SETTLED, "tr_gather_settled");
}

tr_future tr_first_of(tr_actor *self, const tr_future *futures, size_t count)
{
    if (count)
        return gather(self, futures, count, TR__GATHER_FIRST, "tr_first_of");
    tr__self_fail(self, TR_EINVAL, "tr_first_of: of no futures there is no first");
    return NO_FUTURE;
}

tr_err tr_wait_any_at(tr_actor *self, const tr_future *futures, size_t count, size_t *index,
                      const char *where)
{
    tr__loop *loop = tr__owner(self);
    *index = 0;
    tr_future any = tr_first_of(self, futures, count);
    if (!any.id)
        return tr_last_error(self)->code;
    tr_err err = tr__fiber_await(self, any.id, where);
    tr__pending *settled = tr__pending_get(loop, self, any.id);
    uint64_t first = settled->gather;
    tr__pending_free(loop, settled);
    if (err == TR_OK)
        while (futures[*index].id != first)
            ++*index;
    return err;
}

/* ---- groups -------------------------------------------------------------------------------------------- */

/* In its pending's `context`. */
typedef struct group {
    uint64_t *ready; /* ring of members that have settled, oldest first; room for all members */
    uint32_t room, first, settled;
    uint32_t members; /* that haven't given their result */
    bool untold;      /* that one couldn't be added */
    tr_error failed;  /* the first */
} group;

static group *group_of(tr_actor *self, tr_group id, tr__pending **pending)
{
    *pending = tr__pending_get(tr__owner(self), self, id.id);
    if (*pending && (*pending)->kind == TR__PENDING_GROUP)
        return (*pending)->context;
    if (id.id)
        tr__self_fail(self, TR_EINVAL, "this group is closed already, or is another actor's");
    else
        tr__self_fail(self, TR_ENOMEM, "there was no memory for a group");
    return NULL;
}

tr_group tr_group_open(tr_actor *self)
{
    tr__loop *loop = tr__owner(self);
    group *made = tr__zalloc(sizeof(*made));
    tr__pending *pending = made ? tr__pending_make(loop, self, TR__PENDING_GROUP) : NULL;
    if (!pending) {
        tr__free(made);
        tr__self_fail(self, TR_ENOMEM, "no memory for a group");
        return (tr_group){0};
    }
    pending->context = made;
    return (tr_group){tr__pending_id(pending)};
}

void tr__group_free(tr__pending *pending)
{
    group *members = pending->context;
    tr__free(members->ready);
    tr__free(members);
}

static bool room_for_one(group *members)
{
    if (members->members < members->room)
        return true;
    uint32_t room = members->room ? members->room * 2 : 8;
    uint64_t *bigger = tr__alloc(room * sizeof(*bigger));
    if (!bigger)
        return false;
    for (uint32_t i = 0; i < members->settled; i++)
        bigger[i] = members->ready[(members->first + i) % members->room];
    tr__free(members->ready);
    members->ready = bigger;
    members->room = room;
    members->first = 0;
    return true;
}

static void ready_put(group *members, uint64_t member)
{
    members->ready[(members->first + members->settled++) % members->room] = member;
}

static void note_failure(group *members, const tr_error *error)
{
    if (!members->failed.code)
        members->failed = *error;
}

tr_err tr_group_add(tr_actor *self, tr_group id, tr_future future)
{
    tr__pending *pending;
    group *members = group_of(self, id, &pending);
    if (!members)
        return tr_last_error(self)->code;
    bool can = can_be_member(self, future, "tr_group_add");
    if (can && !room_for_one(members)) {
        tr__self_fail(self, TR_ENOMEM, "no memory for another member of a group");
        can = false;
    }
    if (!can) {
        members->untold = true;
        note_failure(members, tr_last_error(self));
        return tr_last_error(self)->code;
    }
    tr__pending *member = tr__pending_get(tr__owner(self), self, future.id);
    member->gather = id.id;
    members->members++;
    if (member->settled)
        ready_put(members, future.id);
    return TR_OK;
}

/* The oldest that has settled and wasn't consumed in another way meanwhile; NULL: none. */
static tr__pending *ready_take(tr_actor *self, group *members)
{
    while (members->settled) {
        uint64_t id = members->ready[members->first];
        members->first = (members->first + 1) % members->room;
        members->settled--;
        members->members--;
        tr__pending *member = tr__pending_get(tr__owner(self), self, id);
        if (member)
            return member;
    }
    return NULL;
}

tr_err tr_group_next_at(tr_actor *self, tr_group id, const tr_msg **msg, const char *where)
{
    tr__pending *pending;
    group *members = group_of(self, id, &pending);
    if (msg)
        *msg = NULL;
    if (!members)
        return tr_last_error(self)->code;
    if (members->untold) {
        members->untold = false;
        return tr__self_fail(self, members->failed.code, "%s", members->failed.text);
    }
    tr__pending *member;
    while (!(member = ready_take(self, members))) {
        if (!members->members)
            return tr__self_fail(self, TR_ENOTFOUND, "all of this group have given their results");
        pending->settled = false;
        TR_TRY(tr__fiber_await(self, id.id, where));
    }
    tr_err err = tr__pending_take(tr__owner(self), member, msg);
    if (err != TR_OK)
        note_failure(members, tr_last_error(self));
    return err;
}

tr_err tr_group_next_type_at(tr_actor *self, tr_group id, tr_type *type, const void **out, const char *where)
{
    const tr_msg *msg;
    *out = NULL;
    TR_TRY(tr_group_next_at(self, id, &msg, where));
    *out = tr_match_type(msg, type);
    return *out ? TR_OK
                : tr__self_fail(self, TR_ETYPE, "the answer is a %s, not a %s", tr_msg_type_name(msg),
                                type->name);
}

tr_err tr_group_close(tr_actor *self, tr_group id)
{
    tr__pending *pending, *member;
    group *members = group_of(self, id, &pending);
    if (!members)
        return tr_last_error(self)->code;
    while ((member = ready_take(self, members))) {
        tr_error error;
        if (tr__pending_error(member, &error) != TR_OK)
            note_failure(members, &error);
        tr__pending_free(tr__owner(self), member);
    }
    tr_error failed = members->failed;
    pending->settled = true; /* nothing that is cancelled now counts for it */
    for (tr__pending *next, *each = self->pendings; each; each = next) {
        next = tr__pending_at(tr__owner(self), each->next);
        if (each->kind == TR__PENDING_ASK && each->gather == id.id)
            tr_cancel(self, (tr_future){tr__pending_id(each)});
    }
    tr__pending_free(tr__owner(self), pending);
    return failed.code ? tr__self_fail(self, failed.code, "%s", failed.text) : TR_OK;
}

/* ---- members settle ------------------------------------------------------------------------------------ */

/* A group's `settled` says that its fiber has something to look at. */
static void group_tell(tr__loop *loop, tr__pending *pending, uint64_t member)
{
    ready_put(pending->context, member);
    pending->settled = true;
    if (pending->owner->fiber)
        tr__fiber_wake(loop, pending->owner, tr__pending_id(pending));
}

void tr__gather_tell(tr__loop *loop, tr_actor *owner, uint64_t id, uint64_t member, tr_err error)
{
    tr__pending *pending = tr__pending_get(loop, owner, id);
    if (pending && pending->kind == TR__PENDING_GROUP) {
        group_tell(loop, pending, member);
        return;
    }
    if (!pending || pending->settled)
        return;
    count_member(pending, member, error);
    if (pending->left == 0)
        tr__pending_settle(loop, pending, NULL, pending->error);
}

void tr__gather_canceled(tr__loop *loop, const tr__pending *member)
{
    tr__pending *pending = tr__pending_get(loop, member->owner, member->gather);
    if (pending && pending->kind == TR__PENDING_GROUP) {
        ((group *)pending->context)->members--;
        return;
    }
    if (!pending || pending->settled)
        return;
    count_member(pending, tr__pending_id(member), TR_ECANCELED);
    if (pending->left)
        return;
    pending->settled = true;
    if (pending->special & TR__PIPED)
        tr__pipe_settled(loop, pending);
    else if (pending->then && !pending->owner->fiber) /* in its turn, as tr_then on a settled one */
        tr__wheel_set(&loop->wheel, &pending->timer, loop->now_ns);
}
