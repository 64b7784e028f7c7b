/* A node of two loops under a test's clock with its operator actors, and "ada", a puppet on loop 1. */
#ifndef TR_TESTS_UNIT_OPERATOR_FIXTURE_H
#define TR_TESTS_UNIT_OPERATOR_FIXTURE_H

#include "tests/kit/manual.h"

#include <stdlib.h>
#include <string.h>

#include "actors/operator/operator.h"
#include "actors/send.h"
#include "base/mem.h"

#define LOOPS 2

typedef struct fixture {
    manual *m;
    tr__operators operators;
    uint64_t number;
    json_t *answers[LOOPS];
    manual_puppet puppet;
} fixture;

static inline void take_answer(void *context, uint64_t number, uint32_t loop, json_t *value)
{
    fixture *f = context;
    assert_int_equal(f->number, number);
    json_decref(f->answers[loop]);
    f->answers[loop] = value;
}

static inline int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    f->m = manual_open(LOOPS);
    f->operators.answered = take_answer;
    f->operators.context = f;
    f->m->node->operators = &f->operators;
    assert_int_equal(TR_OK, tr__operator_begin(f->m->node, NULL));
    manual_spawn(f->m, 1, &f->puppet, &(tr_spawn_opts){.name = "ada"});
    manual_pump(f->m);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < LOOPS; i++)
        json_decref(f->answers[i]);
    manual_close(f->m);
    free(f);
    return 0;
}

/* What that loop answers at once; NULL: it doesn't yet. Borrowed. */
static inline json_t *ask_loop(fixture *f, uint32_t loop, const char *request)
{
    tr__operator_request r = {.number = ++f->number, .text = request};
    for (int i = 0; i < LOOPS; i++) {
        json_decref(f->answers[i]);
        f->answers[i] = NULL;
    }
    assert_int_equal(TR_OK,
                     tr__post_notice(f->m->node, f->operators.actors[loop], &tr__operator_request_type, &r));
    manual_pump(f->m);
    return f->answers[loop];
}

static inline void assert_answer(const json_t *answer, const char *part)
{
    char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
    if (!text || !strstr(text, part))
        fail_msg("\"%s\" isn't in: %s", part, text ? text : "nothing");
    tr__free(text);
}

#endif
