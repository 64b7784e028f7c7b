/* A test driver: a whole node in the test's own thread, under a clock that only the test moves.
 *
 *     manual *m = manual_open(2);                      two loops, no threads
 *     manual_puppet p = {0};
 *     manual_spawn(m, 0, &p, NULL);                    an actor that does what it is told and notes what it
 * hears manual_do(m, p.address, some_function, context); some_function(self, context) runs in it
 *     assert_string_equal(p.trail, "init 1 2 ");
 *     manual_step(m, TR_SECONDS(1));                   a second passes, timer by timer
 *     manual_close(m);                                 ends the actors, checks, frees
 *
 * Loops turn one after the other, until none has anything to do; in which order is the test's choice, so that
 * a race between loops is a line of the test and not luck. The same test gives the same run.
 *
 * manual_close (and manual_check, at rest in between) asserts what must hold for every node: the sums, per
 * loop and over all loops (troupe/node.h); the places of every mailbox (B1 in mailbox/places.h); no actor,
 * future or timer left at the end. Leaks are found by the sanitizer: with TR_PLAIN_POOLS every block is an
 * allocation of its own. */
#ifndef TR_TESTS_KIT_MANUAL_H
#define TR_TESTS_KIT_MANUAL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/loop.h"

#define MANUAL_TRAIL 4096 /* bytes; what doesn't fit fails the test */

typedef enum manual_order {
    MANUAL_UP,     /* loops turn 0, 1, 2, ... */
    MANUAL_DOWN,   /* ..., 2, 1, 0 */
    MANUAL_RANDOM, /* by `seed` */
} manual_order;

typedef struct manual {
    tr_node *node;
    uint64_t now_ns; /* what every loop's clock says */
    manual_order order;
    uint64_t seed;
    bool busy[TR__LOOPS_MAX]; /* its last turn of a pump said that there is more to do */
    uint64_t clock_step_ns;   /* each look at the clock moves it by this; 0: it stands */
    uint64_t coarse_step_ns;  /* by which the coarse clock jumps; 0: it is as fine as the other */
    uint32_t wakes;           /* how often a loop was woken */
    uint32_t logged;          /* lines in the node's log */
    char last_log[256];
    /* Of a node with transactions (manual_open_tx): */
    struct memory_log *disk;
    void (*disk_wake)(void *context);
    void *disk_wake_context;
    char points[256]; /* those it came to, a word each */
    uint32_t fatals;  /* how often it would have ended itself */
} manual;

/* What a puppet is sent in the tests: `n` goes into its trail. */
TR_MESSAGE(mark, (u64, n))
/* A message of any size. */
TR_MESSAGE(blob, (u64, n), (bytes, data))

/* An actor that does what it is told (manual_do) and notes in its trail what it hears, a word each: "init",
 * the `n` of a mark or blob, "down:KIND", "exited:KIND", "writable", "canceled", "stop". In the test's
 * memory; lives as long as the actor. */
typedef struct manual_puppet {
    tr_addr address; /* filled by manual_spawn */
    /* Called for each message after it was noted; NULL: nothing. */
    void (*on)(tr_actor *self, struct manual_puppet *puppet, const tr_msg *msg);
    void (*on_stop)(tr_actor *self, struct manual_puppet *puppet);
    tr_err init_error; /* what its init returns */
    void *user;
    char trail[MANUAL_TRAIL];
} manual_puppet;

typedef void (*manual_fn)(tr_actor *self, void *context);

extern const tr_actor_def manual_puppet_def;

/* A node of that many loops, time at one second. */
manual *manual_open(uint32_t loops);
/* The same, and the shipped kinds run on it: `kinds` is what they do in the world (copied). */
manual *manual_open_kinds(uint32_t loops, const tr__kind_seams *kinds);
/* The same with what a node begins with: the warden and the manager of transactions. `disk` (NULL: none) is the log's; it
 * stands still while nobody pumps, and a batch is done in a pump. Not freed. */
manual *manual_open_tx(uint32_t loops, const char *name, struct memory_log *disk);
/* End all actors as the node's end does, check, free. */
void manual_close(manual *m);
/* The parts of it: end the actors of all loops and drain what is left between them. */
void manual_stop(manual *m);
/* Assert what holds at rest; after manual_stop also that nothing is left. */
void manual_check(manual *m);

/* Spawn on a loop from outside any actor; asserts that it worked. Not yet pumped. */
tr_addr manual_spawn_def(manual *m, uint32_t loop, const tr_actor_def *def, const void *arg,
                         const tr_spawn_opts *opts);
tr_addr manual_spawn(manual *m, uint32_t loop, manual_puppet *puppet, const tr_spawn_opts *opts);

/* Have a puppet call fn(self, context), and pump until all is quiet. It is gone: the test fails. */
void manual_do(manual *m, tr_addr puppet, manual_fn fn, void *context);
/* The same without pumping: it is queued. */
void manual_tell(manual *m, tr_addr puppet, manual_fn fn, void *context);
/* Send a puppet a mark, from outside. */
void manual_mark(manual *m, tr_addr to, uint64_t n);

/* One turn of one loop; true if it has more to do. */
bool manual_turn(manual *m, uint32_t loop);
/* Turn the loops until none has anything to do now. Fails the test after a million turns. */
void manual_pump(manual *m);
/* Let time pass: at each timer that is due the clock stops and the loops are pumped. */
void manual_step(manual *m, uint64_t duration_ns);

/* The actor of that address if it is alive, else NULL: to look at its insides. */
tr_actor *manual_actor(manual *m, tr_addr address);
uint64_t manual_dropped(manual *m, tr_drop why);
/* The loop's pool is empty: the next block is an allocation, which can fail (tr__alloc_fail_at). */
void manual_dry_pool(manual *m, uint32_t loop);

/* Within a puppet: have the future's outcome noted in the trail: "reply:N" (of a mark), "reply:TYPE",
 * "error:WORD". */
void manual_then(tr_actor *self, tr_future future);
/* Add a word to the trail of a puppet. */
void manual_note(manual_puppet *puppet, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The puppet that an actor is. */
manual_puppet *manual_self(tr_actor *self);
const char *manual_exit_word(uint32_t kind);

#endif
