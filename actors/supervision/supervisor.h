/* A supervisor and its children: what its files share (supervisor.c: what happens when; supervisor_child.c: one child;
 * supervisor_asks.c: what others ask of it), and what others are shown. The thread of its loop. */
#ifndef TR_ACTORS_SUPERVISION_SUPERVISOR_H
#define TR_ACTORS_SUPERVISION_SUPERVISOR_H

#include "actors/actor.h"
#include "actors/supervision/roots.h"

struct tr__pending;

#define TR__READY_MAX 16 /* asks that wait for all to be up */

/* Of a child. */
#define TR__CHILD_STATES(X)                                                            \
    X(OUT, "out")           /* doesn't run, and won't by itself */                     \
    X(DUE, "due")           /* will be started: at its time, or when its turn comes */ \
    X(STARTING, "starting") /* spawned, and its init hasn't succeeded yet */           \
    X(UP, "up")                                                                        \
    X(ASKED, "asked")   /* to stop; it is killed when it takes too long */             \
    X(KILLED, "killed") /* when that takes too long as well, it is taken for gone */
#define TR__ENUM(name, word) TR__CHILD_##name,
typedef enum tr__child_state { TR__CHILD_STATES(TR__ENUM) TR__CHILD_STATE_COUNT } tr__child_state;
#undef TR__ENUM

typedef struct tr__child {
    char id[TR_NAME_MAX];
    tr_child_spec spec;
    tr_addr address;
    tr__child_state state;
    uint64_t monitor; /* 0: it isn't watched */
    uint64_t start;   /* number of this start, which its init's answer carries */
    uint64_t due_ns;  /* due: when it is started; asked, killed: when patience is over */
    uint64_t up_ns;   /* when it was last up; 0: it never was */
    uint32_t restarts;
    uint32_t streak; /* restarts in a row, none of which lasted */
    bool dynamic;
    bool back;           /* asked, killed: it is started again with its group */
    bool untold;         /* that it is up */
    tr_msg *stop, *kill; /* what ends it, paid ahead: it is never left alone */
    tr_msg *asker;       /* of its start or stop */
} tr__child;

typedef enum tr__supervisor_state {
    TR__SUPERVISOR_STARTING, /* those from `from` on, in order */
    TR__SUPERVISOR_UP,
    TR__SUPERVISOR_CLEARING, /* those from `from` on are stopped, last first; then started */
    TR__SUPERVISOR_ENDING,   /* all are stopped, last first; then it ends */
} tr__supervisor_state;

typedef struct tr__supervisor {
    tr__child *children;
    uint32_t count, room;
    tr__supervisor_state state;
    uint32_t from;
    bool first;            /* the first start isn't over: a failure ends it */
    uint64_t group_due_ns; /* clearing: when the group is started again */
    tr__reason reason;     /* ending: why */
    tr_strategy strategy;
    uint32_t max_restarts;
    uint64_t within_ns, backoff_min_ns, backoff_max_ns;
    uint64_t *restarts; /* when the last max_restarts were, a ring */
    uint32_t restart_next;
    tr_addr made_by;
    uint64_t parent; /* the monitor of who made it */
    bool nested, tell;
    uint64_t starts;
    struct tr__pending *tick;
    tr_msg *ready[TR__READY_MAX];
    uint32_t ready_count;
    tr__root root;
} tr__supervisor;

extern const tr_actor_def tr__supervisor_def;

/* The spec as a spawn's argument: the children as an array of tr_child_spec, and their ids, TR_NAME_MAX bytes each. */
TR_MESSAGE(tr__supervisor_arg, (addr, parent), (bool, nested), (bytes, children), (bytes, ids),
           (u32, max_restarts), (u64, within_ns), (u32, strategy), (u64, backoff_min_ns),
           (u64, backoff_max_ns), (bool, tell))
/* Of a spec that is well, with a copy of the ids. `nested`: as a child of self, which is a supervisor. */
tr_addr tr__supervisor_spawn(tr_actor *self, const tr_supervisor_spec *spec, bool nested,
                             const tr_spawn_opts *opts);
/* What is wrong with it; NULL: nothing. */
const char *tr__child_spec_wrong(const tr_child_spec *spec, const char *id);

/* ---- one child (supervisor_child.c) -------------------------------------------------------------------- */

/* Last in the list, not started. NULL: no memory, and the last error says so. */
tr__child *tr__child_add(tr_actor *self, tr__supervisor *s, const tr_child_spec *spec, const char *id);
/* Off the list; it doesn't run. */
void tr__child_forget(tr_actor *self, tr__supervisor *s, tr__child *c);
/* On an error, which is the last one's, it isn't there and never was. */
tr_err tr__child_start(tr_actor *self, tr__supervisor *s, tr__child *c);
void tr__child_ask(tr_actor *self, tr__child *c);
void tr__child_kill(tr_actor *self, tr__child *c);
static inline bool tr__child_runs(const tr__child *c)
{
    return c->state >= TR__CHILD_STARTING;
}
const char *tr__child_state_word(const tr__child *c);
/* Answer who asked for its start or stop, if somebody did. */
void tr__child_answer(tr_actor *self, tr__child *c, tr_err err, const char *text);
/* False: it couldn't be told now. */
bool tr__child_tell(tr_actor *self, const tr__supervisor *s, const tr__child *c);

/* ---- what happens (supervisor.c) ----------------------------------------------------------------------- */

/* The init of that start has succeeded, or not. */
void tr__supervisor_started(tr_actor *self, tr__supervisor *s, uint64_t start, const tr_result *result);
/* Whatever can be done now is done. */
void tr__supervisor_go_on(tr_actor *self, tr__supervisor *s);

/* ---- what others ask (supervisor_asks.c) --------------------------------------------------------------- */

/* False: it is none of those. */
bool tr__supervisor_asked(tr_actor *self, tr__supervisor *s, const tr_msg *msg);
/* All are up: those who wait for it hear. */
void tr__supervisor_tell_ready(tr_actor *self, tr__supervisor *s);

/* ---- as others are shown it ---------------------------------------------------------------------------- */

typedef struct tr__supervised {
    const char *id;    /* the supervisor's: borrowed */
    const char *state; /* a word */
    tr_addr address;   /* none: it isn't running */
    tr_restart restart;
    uint32_t restarts; /* since the supervisor began */
} tr__supervised;

/* How many children that actor has, and in *out the one of that index if there is one; 0 if it is no supervisor. */
uint32_t tr__supervisor_child(const tr_actor *actor, uint32_t index, tr__supervised *out);
/* "one-for-one" and so on; NULL if it is no supervisor. */
const char *tr__supervisor_strategy(const tr_actor *actor);

#endif
