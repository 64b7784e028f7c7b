/* Fault scripts as text: what is to happen to a cluster, and when (docs/scenarios.md has the format). Pure code; the
 * simulator (script.c) and the runner of real processes (tests/kit/real) do what they say. */
#ifndef TR_TESTS_KIT_SIM_SCRIPT_FORMAT_H
#define TR_TESTS_KIT_SIM_SCRIPT_FORMAT_H

#include <troupe/actor.h>

#define SIM_SCRIPT_BYTES_MAX (64u << 10)
#define SIM_SCRIPT_STEPS_MAX 256
#define SIM_SCRIPT_NODES_MAX 16
#define SIM_SCRIPT_TIME_MAX  TR_MINUTES(60)

/* What follows a command's word. */
#define SIM_TAKES_NODES     1u   /* n1 n2 */
#define SIM_TAKES_SIDES     2u   /* n0 -> n1 n2, or n0 | n1 n2 */
#define SIM_TAKES_ARROW     4u   /* n0 -> n1 n2 only */
#define SIM_TAKES_TWO       8u   /* n0 n1 */
#define SIM_TAKES_TIME      16u  /* 200ms */
#define SIM_TAKES_LAST_TIME 32u  /* one more */
#define SIM_TAKES_PPM       64u  /* -300 */
#define SIM_MAY_END         128u /* or nothing at all */

/*   name, word, what follows, whether real processes can, how it is written */
#define SIM_COMMANDS(X)                                                                               \
    X(CUT, "cut", SIM_TAKES_SIDES, true, "cut n0 -> n1, or cut n0 n1 | n2")                           \
    X(HEAL, "heal", SIM_TAKES_SIDES | SIM_MAY_END, true, "heal, or heal n0 -> n1")                    \
    X(KILL, "kill", SIM_TAKES_NODES, true, "kill n1")                                                 \
    X(STOP, "stop", SIM_TAKES_NODES, false, "stop n1")                                                \
    X(START, "start", SIM_TAKES_NODES, true, "start n1")                                              \
    X(PAUSE, "pause", SIM_TAKES_NODES | SIM_TAKES_TIME, true, "pause n2 2s")                          \
    X(RESET, "reset", SIM_TAKES_TWO, true, "reset n0 n1")                                             \
    X(POWER, "power", SIM_TAKES_NODES, false, "power n1")                                             \
    X(HALF_OPEN, "half-open", SIM_TAKES_TWO, true, "half-open n0 n1")                                 \
    X(CLOG, "clog", SIM_TAKES_ARROW | SIM_TAKES_TIME, false, "clog n0 -> n1 500ms")                   \
    X(SLOW, "slow", SIM_TAKES_NODES | SIM_TAKES_TIME | SIM_TAKES_LAST_TIME, false, "slow n1 20ms 3s") \
    X(DRIFT, "drift", SIM_TAKES_NODES | SIM_TAKES_PPM, false, "drift n1 -300")                        \
    X(FULL, "full", SIM_TAKES_NODES | SIM_TAKES_TIME, false, "full n1 2s")

#define TR__ENUM(name, word, takes, real, form) SIM_##name,
typedef enum sim_verb { SIM_COMMANDS(TR__ENUM) SIM_VERB_COUNT } sim_verb;
#undef TR__ENUM

typedef struct sim_step {
    uint64_t at_ns; /* from the beginning of the script */
    uint32_t line;
    sim_verb verb;
    uint32_t a, b; /* nodes as bits: all that are named; of two sides the left and the right one */
    bool both;     /* of sides: in both directions */
    uint64_t time_ns, last_ns;
    int64_t ppm;
} sim_step;

typedef struct sim_script {
    char scenario[TR_NAME_MAX];           /* "": not said */
    uint32_t nodes;                       /* 0: not said */
    uint64_t run_ns;                      /* 0: not said */
    sim_step steps[SIM_SCRIPT_STEPS_MAX]; /* in order of time */
    uint32_t count;
} sim_script;

/* `nodes`: as many as there are; 0: as many as the script says, or 16. TR_EINVAL: the text says line and column, and what
 * may stand there. */
tr_err sim_script_parse(const char *text, uint32_t nodes, sim_script *script, tr_error *error);
const char *sim_verb_word(sim_verb verb);
/* Whether real processes can have it done to them; else only the simulator can. */
bool sim_verb_is_real(sim_verb verb);

#endif
