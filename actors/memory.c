/* See memory.h. */
#include "actors/memory.h"

#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "base/check.h"
#include "base/mem.h"

/* Before a block of tr_alloc. */
struct tr__owned {
    _Alignas(16) struct tr__owned *next;
    struct tr__owned *prev;
    size_t size; /* with this head */
    const tr_actor *owner;
};

bool tr__memory_begin(tr__loop *loop, tr_actor *actor)
{
    tr__extras *extras = tr__extras_of(loop, actor);
    if (!extras)
        return false;
    extras->memory_max = actor->def->memory_max;
    extras->taken = actor->def->state_size;
    return true;
}

void tr__memory_end(tr__extras *extras)
{
    while (extras->owned) {
        struct tr__owned *block = extras->owned;
        extras->owned = block->next;
        tr__free(block);
    }
}

bool tr__charge_slow(tr__loop *loop, tr_actor *actor, size_t size)
{
    tr__extras *extras = actor->extras;
    if (size <= extras->memory_max && extras->taken <= extras->memory_max - size) {
        extras->taken += size;
        return true;
    }
    tr__reason reason = {.kind = TR_EXIT_OUT_OF_MEMORY, .code = TR_ENOMEM};
    snprintf(reason.text, sizeof(reason.text), "%zu more bytes than its %zu of %zu", size, extras->taken,
             extras->memory_max);
    tr__self_fail(actor, TR_ENOMEM, "%s wants %s, which is its budget: it ends", actor->def->name,
                  reason.text);
    if (loop->running == actor)
        tr__end(loop, actor, &reason);
    return false;
}

void *tr_alloc(tr_actor *self, size_t size)
{
    tr__loop *loop = tr__owner(self);
    tr__extras *extras = tr__extras_of(loop, self);
    if (size > SIZE_MAX - sizeof(struct tr__owned)) {
        tr__self_fail(self, TR_ETOOBIG, "tr_alloc: %zu bytes", size);
        return NULL;
    }
    size += sizeof(struct tr__owned);
    if (extras && !tr__charge(loop, self, size))
        return NULL;
    struct tr__owned *block = extras ? tr__zalloc(size) : NULL;
    if (!block) {
        tr__discharge(self, size);
        tr__self_fail(self, TR_ENOMEM, "no memory for %zu bytes of %s", size, self->def->name);
        return NULL;
    }
    block->size = size;
    block->owner = self;
    block->next = extras->owned;
    if (block->next)
        block->next->prev = block;
    extras->owned = block;
    return block + 1;
}

void tr_free(tr_actor *self, void *memory)
{
    if (!memory)
        return;
    struct tr__owned *block = (struct tr__owned *)memory - 1;
    tr__check(block->owner == self, "tr_free: no block of tr_alloc, or another actor's");
    if (block->prev)
        block->prev->next = block->next;
    else
        self->extras->owned = block->next;
    if (block->next)
        block->next->prev = block->prev;
    tr__discharge(self, block->size);
    block->owner = NULL;
    tr__free(block);
}
