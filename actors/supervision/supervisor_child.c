/* One child of a supervisor: its blocks, its start, its end. See supervisor.h. What needs memory (a start) can fail; what
 * ends it can't. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/send.h"
#include "actors/supervision/supervisor.h"
#include "base/mem.h"

#define STOP_NS TR_SECONDS(5)
#define KILL_NS TR_SECONDS(2) /* a killed fiber has a second to return */

static const char *const state_words[TR__CHILD_STATE_COUNT] = {
#define TR__WORD(name, word) word,
    TR__CHILD_STATES(TR__WORD)
#undef TR__WORD
};

const char *tr__child_state_word(const tr__child *c)
{
    return state_words[c->state];
}

/* ---- the list ------------------------------------------------------------------------------------------ */

tr__child *tr__child_add(tr_actor *self, tr__supervisor *s, const tr_child_spec *spec, const char *id)
{
    if (s->count == s->room) {
        uint32_t room = s->room ? 2 * s->room : 8;
        tr__child *children = tr__realloc(s->children, room * sizeof(*children));
        if (!children) {
            tr__self_fail(self, TR_ENOMEM, "no memory for a child (%s)", id);
            return NULL;
        }
        s->children = children;
        s->room = room;
    }
    tr__child *c = &s->children[s->count++];
    *c = (tr__child){.spec = *spec};
    snprintf(c->id, sizeof(c->id), "%s", id);
    c->spec.id = NULL; /* the caller's may be gone */
    return c;
}

static void blocks_free(tr__loop *loop, tr__child *c)
{
    if (c->stop)
        tr__msg_free(loop, c->stop);
    if (c->kill)
        tr__msg_free(loop, c->kill);
    c->stop = c->kill = NULL;
}

void tr__child_forget(tr_actor *self, tr__supervisor *s, tr__child *c)
{
    blocks_free(tr__owner(self), c);
    uint32_t index = (uint32_t)(c - s->children);
    memmove(c, c + 1, (--s->count - index) * sizeof(*c));
    if (s->from > index)
        s->from--;
}

/* ---- start and end ------------------------------------------------------------------------------------- */

static void settled(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__supervisor_started(self, state, (uint64_t)(uintptr_t)context, result);
}

static tr_err no_start(tr_actor *self, tr__child *c)
{
    c->monitor = 0;
    c->address = TR_ADDR_NONE;
    return tr_last_error(self)->code;
}

tr_err tr__child_start(tr_actor *self, tr__supervisor *s, tr__child *c)
{
    tr__loop *loop = tr__owner(self);
    const tr_supervisor_spec *nested = c->spec.supervisor;
    tr_future up;
    if (!c->stop)
        c->stop = tr__stop_make(self, TR_EXIT_SHUTDOWN);
    if (!c->kill)
        c->kill = tr__stop_make(self, TR_EXIT_KILLED);
    if (!c->stop || !c->kill)
        return tr_fail(self, TR_ENOMEM, "no memory for what will stop %s", c->id);
    tr_spawn_opts opts = {
        .place = TR_PLACE_SPREAD, .name = c->spec.named ? c->id : NULL, .monitor = &c->monitor};
    c->monitor = 0;
    loop->spawning = TR__SUPERVISED;
    if (nested)
        c->address = tr__supervisor_spawn(self, nested, true, &opts);
    else
        up = tr__spawn_ask(self, c->spec.def, c->spec.arg, &opts, &c->address);
    loop->spawning = 0;
    if (tr_addr_is_none(c->address))
        return no_start(self, c);
    if (nested)
        up = tr_supervisor_ready(self, c->address);
    c->start = ++s->starts;
    c->state = TR__CHILD_STARTING;
    c->back = false;
    if (up.id == 0 || tr_then(self, up, settled, (void *)(uintptr_t)c->start) != TR_OK) {
        tr__submit(loop, c->address, c->kill); /* whether it is up would never be known; its tr_down comes */
        c->kill = NULL;
    }
    return TR_OK;
}

static uint64_t later(tr_actor *self, uint64_t ns)
{
    uint64_t now = tr_now(self);
    return ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
}

void tr__child_ask(tr_actor *self, tr__child *c)
{
    tr_msg *stop = c->stop;
    c->stop = NULL;
    c->state = TR__CHILD_ASKED;
    c->due_ns = later(self, c->spec.stop_ns ? c->spec.stop_ns : STOP_NS);
    tr__submit(tr__owner(self), c->address, stop);
}

/* A child that isn't watched, or is stuck, is taken for gone after a while. */
void tr__child_kill(tr_actor *self, tr__child *c)
{
    tr_msg *kill = c->kill;
    c->kill = NULL;
    c->state = TR__CHILD_KILLED;
    c->due_ns = later(self, KILL_NS);
    if (kill)
        tr__submit(tr__owner(self), c->address, kill);
}

/* ---- who hears of it ----------------------------------------------------------------------------------- */

void tr__child_answer(tr_actor *self, tr__child *c, tr_err err, const char *text)
{
    tr_msg *ask = c->asker;
    c->asker = NULL;
    if (!ask)
        return;
    if (err != TR_OK)
        tr_reply_error(self, ask, err, "%s: %s", c->id, text);
    else if (tr__child_runs(c))
        tr_reply(self, ask, tr_child_started, .actor = c->address);
    else
        tr_reply(self, ask, tr_child_stopped, .id = c->id);
    tr_msg_free(self, &ask);
}

bool tr__child_tell(tr_actor *self, const tr__supervisor *s, const tr__child *c)
{
    tr_child_up up = {
        .supervisor = tr_self(self), .index = (uint32_t)(c - s->children), .id = c->id, .actor = c->address};
    return tr__send_notice(self, s->made_by, &tr_child_up_type, &up) == TR_OK;
}
