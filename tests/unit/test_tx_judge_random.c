/* The judge of "append" against one that tries every order: thousands of small histories, some as transactions leave them
 * and some with a read that was changed. What the judge finds there is no order for, and what there is no order for it finds. */
#include "base/random.h"
#include "tests/kit/judge_kit.h"

#define TXNS      5
#define CALLS     3
#define KEYS      2
#define LENGTH    (TXNS * CALLS)
#define HISTORIES 6000

typedef struct call {
    int key, value; /* value 0: a read */
    int seen[LENGTH], count;
} call;

typedef struct txn {
    call calls[CALLS];
    int calls_count, begin, end, at; /* at: when it happens */
    char told;                       /* as a row's; and 'c': unknown, and resolved to be committed */
    bool happens;
} txn;

typedef struct lists {
    int values[KEYS][LENGTH], count[KEYS];
} lists;

static tr__random source;

static int draw(int bound)
{
    return (int)tr__random_below(&source, (uint64_t)bound);
}

/* ---- making one ------------------------------------------------------------------------------------------ */

static void run_one(txn *t, lists *now, bool check, bool *same)
{
    for (int i = 0; i < t->calls_count; i++) {
        call *c = &t->calls[i];
        int *count = &now->count[c->key];
        if (c->value) {
            now->values[c->key][(*count)++] = c->value;
        } else if (!check) {
            memcpy(c->seen, now->values[c->key], sizeof(c->seen));
            c->count = *count;
        } else if (t->told == 'o') { /* nobody else was told what it read */
            *same = *same && c->count == *count &&
                    memcmp(c->seen, now->values[c->key], (size_t)*count * sizeof(int)) == 0;
        }
    }
}

/* Each happens at one instant between its begin and its end, if it does. */
static void make(txn *txns)
{
    lists now = {0};
    int order[TXNS], next = 1;
    for (int i = 0; i < TXNS; i++) {
        txn *t = &txns[i];
        int told = draw(12);
        *t = (txn){.begin = 1 + draw(20), .calls_count = 1 + draw(CALLS), .told = "ooooooooficc"[told]};
        t->end = t->begin + 1 + draw(12);
        t->at = t->begin + draw(t->end - t->begin);
        t->happens = t->told == 'o' || t->told == 'c' || (t->told == 'i' && draw(2));
        for (int k = 0; k < t->calls_count; k++)
            t->calls[k] = (call){.key = draw(KEYS), .value = draw(2) ? next++ : 0};
        int place = i;
        for (; place > 0 && txns[order[place - 1]].at > t->at; place--)
            order[place] = order[place - 1];
        order[place] = i;
    }
    for (int i = 0; i < TXNS; i++)
        if (txns[order[i]].happens)
            run_one(&txns[order[i]], &now, false, NULL);
}

/* A read of one changes: less, more, or other than it was. */
static void change(txn *txns)
{
    txn *t = &txns[draw(TXNS)];
    call *c = &t->calls[draw(t->calls_count)];
    const txn *other = &txns[draw(TXNS)];
    const call *more = &other->calls[draw(other->calls_count)];
    if (c->value)
        return;
    if (c->count && draw(2))
        c->count--;
    else if (more->value && more->key == c->key && c->count < LENGTH)
        c->seen[c->count++] = more->value;
    else if (c->count > 1)
        c->seen[0] = c->seen[c->count - 1];
}

/* ---- every order ------------------------------------------------------------------------------------------ */

/* Whether there is one, behind `done` (bits), of which `now` is what was appended. Unknown ones may be left out. */
static bool has_order(txn *txns, unsigned done, const lists *now)
{
    bool all = true;
    for (int i = 0; i < TXNS; i++) {
        txn *t = &txns[i];
        bool must = t->told == 'o' || t->told == 'c', first = true, same = true;
        if (done >> i & 1 || t->told == 'f')
            continue;
        all = all && !must;
        for (int k = 0; k < TXNS; k++)
            if (!(done >> k & 1) && (txns[k].told == 'o' || txns[k].told == 'c') && txns[k].end < t->begin)
                first = false;
        if (!first)
            continue;
        lists next = *now;
        run_one(t, &next, true, &same);
        if (same && has_order(txns, done | 1u << i, &next))
            return true;
    }
    return all;
}

/* ---- as rows ----------------------------------------------------------------------------------------------- */

static void as_rows(const txn *txns, row *rows, char texts[TXNS][400])
{
    for (int i = 0; i < TXNS; i++) {
        const txn *t = &txns[i];
        int used = 0;
        for (int k = 0; k < t->calls_count; k++) {
            const call *c = &t->calls[k];
            used += snprintf(texts[i] + used, 400 - (size_t)used, "%s%c%c", k ? " " : "",
                             c->value ? 'a' : 'r', 'x' + c->key);
            if (c->value)
                used += snprintf(texts[i] + used, 400 - (size_t)used, "%d", c->value);
            for (int n = 0; n < c->count; n++)
                used += snprintf(texts[i] + used, 400 - (size_t)used, "%s%d", n ? "," : "", c->seen[n]);
        }
        rows[i] = (row){.begin = t->begin, .end = t->end, .told = t->told, .calls = texts[i]};
        if (t->told == 'c') {
            rows[i].told = 'i';
            rows[i].end = t->begin;
            rows[i].asked[0] = t->end;
            rows[i].answers[0] = 'c';
        }
    }
}

static void the_judge_agrees_with_one_that_tries_every_order(void **state)
{
    int good = 0, changed = 0, found = 0;
    static txn txns[TXNS];
    row rows[TXNS];
    char texts[TXNS][400];
    lists none = {0};
    (void)state;
    tr__random_init(&source, 7);
    for (int n = 0; n < HISTORIES; n++) {
        make(txns);
        if (n % 2)
            change(txns);
        as_rows(txns, rows, texts);
        judged j = judge_rows(rows, TXNS);
        bool order = has_order(txns, 0, &none);
        if (order == (j.kinds[0] != '\0'))
            fail_msg("history %d: %s order, and the judge says \"%s\"\n%s%s", n, order ? "there is an" : "no",
                     j.kinds, j.texts, rows_text(rows, TXNS));
        good += n % 2 == 0 && order;
        changed += n % 2 && !order;
        found += n % 2 && j.kinds[0];
    }
    assert_int_equal(good, HISTORIES / 2);
    assert_true(changed > HISTORIES / 20);
    print_message("%d good ones pass, %d changed ones are found\n", good, found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_judge_agrees_with_one_that_tries_every_order)};
    return cmocka_run_group_tests_name("tx_judge_random", tests, NULL, NULL);
}
