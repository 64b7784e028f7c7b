/* What the workloads of the core share: who lives on which node, and what has to hold of what they hear. It is kept in
 * static memory, which all nodes of a simulation share and which outlives their crashes: so an oracle sees all of them at
 * once. What a crashed node's code still does is not recorded (sim_counts).
 *
 *     core.c        beings, phases, connections        core_notes.c  numbered messages, and their order
 *     core_flow.c   messages, mailboxes, timers        core_asks.c   asks
 *     core_mail.c   mailboxes of every policy           core_streams.c streamed asks
 *     core_far.c    links, stops and spawns between nodes
 *     core_ends.c   monitors, links, names, nodes      core_tree.c   supervisors
 *     core_confirmed.c   confirmed messages
 *
 * A run has three phases. BUSY: whatever comes. LAST: the check, after healing, has each being do once more what must work
 * now, and waits for all of it. QUIET: nobody does anything, and all must be at rest. */
#ifndef TR_TESTS_KIT_SIM_WORKLOADS_CORE_H
#define TR_TESTS_KIT_SIM_WORKLOADS_CORE_H

#include <troupe/troupe.h>

#include "tests/kit/sim/sim.h"

#define CORE_SLOTS 8 /* beings of a node at a time, that its keeper keeps alive */

typedef enum core_phase { CORE_BUSY, CORE_LAST, CORE_QUIET } core_phase;

/* An actor of a workload: one incarnation of it. */
typedef struct core_being {
    uint32_t number; /* its place in core.beings; 0: nobody, of a node that crashed */
    tr_addr address;
    sim_node *node;
    uint64_t life; /* the node's */
    uint32_t slot; /* which of the keeper's */
    bool ended;    /* its stop was called; a node's crash isn't seen here: core_lives */
    uint64_t ended_at;
    uint32_t may_end; /* bits of tr_exit_kind: how */
    bool lossy;       /* its mailbox may drop what was accepted, and counts it */
    bool last_done;   /* what it had to do in CORE_LAST is done */
    uint64_t ticked;  /* when it last did something of its own */
    void *state;      /* the actor's own; while it lives */
    struct core_pair *pairs;
    char name[TR_NAME_MAX];
} core_being;

typedef struct core_world {
    uint64_t simulation;
    core_phase phase;
    uint64_t phase_since;
    core_being **beings;
    uint32_t count, room;
    core_being *slots[TR_SIM_NODES_MAX][CORE_SLOTS];
    uint32_t kept; /* slots of a node */
    uint64_t
        gaps[TR_SIM_NODES_MAX]; /* in what small mailboxes got of other nodes, in this life of the node */
    uint64_t gaps_life[TR_SIM_NODES_MAX];
    uint32_t actors[TR_SIM_NODES_MAX]; /* of a node before there are beings */
    uint32_t others[TR_SIM_NODES_MAX]; /* a workload's that are no beings, at rest; it sets them */
} core_world;

extern core_world core;

/* The run has failed, with printf-like text; nothing if what runs now doesn't count. */
void core_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* An allocation failed somewhere in this run: what is best effort without memory may be missing. */
bool core_memory_failed(void);
/* Loops stood still or were slow in this run: no bound on what they do in time. */
bool core_time_failed(void);

/* Call first in a scenario's start: what an earlier simulation left is forgotten. */
void core_begin(void);
/* A being is there; in its init. Never NULL. */
core_being *core_born(tr_actor *self, uint32_t slot);
/* In its stop. */
void core_ended(core_being *being);
bool core_lives(const core_being *being);
core_being *core_being_at(tr_addr address);
/* Any but `not`: one that lives, now and then one that doesn't. NULL: there is none. */
core_being *core_any(tr_actor *self, const core_being *but, bool dead_too);
/* It ends when its handler returns, and may do so in this way. */
void core_exit(tr_actor *self, core_being *being, tr_err code);

/* Which life of a connection a message from that node goes over now: another number, another life. 0: it stays on its
 * node; UINT64_MAX: there is no connection. */
uint64_t core_connection(const core_being *from, tr_addr to);
/* Whether the life `then` of it may be over, or takes nothing any more: one that is cut for want of memory, or that its
 * network saw the end of, does so a while before its end is told. */
bool core_connection_is_over(const core_being *from, tr_addr to, uint64_t then);

/* What it has of a link to that one; NULL: nothing. */
const tr_msg *core_link_to(const core_being *from, tr_addr to);
/* Whether an unlink of its own would end a link; else one that the other side makes may be on its way, and stays. */
bool core_is_linked(const core_being *from, tr_addr to);

/* A fiber's body for a scenario's start: spawns the beings, `count` of them, each with its slot as a number for its
 * argument; whoever has ended is spawned again. Until it is killed. */
tr_err core_keep(tr_actor *self, uint32_t node, const tr_actor_def *const *defs, uint32_t count);
/* All slots that are kept have a being that lives. */
bool core_all_there(void);
/* A body for a scenario's check: the phases, until all is done and at rest. all_done adds what else is to be waited for;
 * it returns NULL or what is missing; at_rest checks what must hold then. Both may be NULL. */
tr_err core_check(tr_actor *self, const char *(*all_done)(void), void (*at_rest)(void));

/* ---- core_notes.c -------------------------------------------------------------------------------------- */

/* Send the next numbered message to it, with some text and that many bytes. What tr_send said. */
tr_err core_note_send(tr_actor *self, core_being *from, const core_being *to, size_t bytes);
/* The like with a time to live; 0: none. To a lossy one only. */
tr_err core_note_send_for(tr_actor *self, core_being *from, const core_being *to, size_t bytes,
                          uint64_t ttl_ns);
bool core_is_note(const tr_msg *msg);
/* True if it is one: it is checked. */
bool core_note_take(core_being *self, tr_actor *actor, const tr_msg *msg);
/* NULL, or what is missing: between beings that live what was accepted in CORE_LAST has arrived. */
const char *core_notes_missing(void);
/* That receiver has heard of the end of `from`: no note of it comes any more. */
void core_notes_over(core_being *from, const core_being *to);
/* All that it sent. */
void core_notes_forget(core_being *being);

#endif
