/* A node with an account, for tests of transactions: under the manual driver, its log's disk in memory. Scripts are
 * fibers that call it. */
#ifndef TR_TESTS_KIT_BANK_H
#define TR_TESTS_KIT_BANK_H

#include "actors/tx/frame.h"
#include "tests/kit/manual.h"
#include "tests/kit/memory_log.h"

/* What an account understands. */
TR_MESSAGE(debit, TR_WRITES, (i64, amount))
TR_MESSAGE(credit, TR_WRITES, (i64, amount))
TR_MESSAGE(get_balance)
TR_MESSAGE(balance_is, (i64, amount))
TR_MESSAGE(set_note, TR_WRITES, (string, text))
TR_MESSAGE(get_note)
TR_MESSAGE(note_is, (string, text))
TR_MESSAGE(put_in_a_read)
TR_MESSAGE(write_too_much, TR_WRITES)
TR_MESSAGE(read_note_as_number)
TR_MESSAGE(fail_plainly)
TR_MESSAGE(delete_note, TR_WRITES)
TR_MESSAGE(emit_balance, TR_WRITES, (string, to))

/* `run` runs in a fiber of its own; the rest is its to use. */
typedef struct script {
    tr_err (*run)(tr_actor *self, struct script *s);
    tr_tx_outcome out;
    tr_tx tx;
    int64_t balance;
    bool done;
    tr_err err;
    char text[TR_ERROR_TEXT_MAX];
} script;

typedef struct bank {
    manual *m;
    memory_log disk;
    tr_addr account;
    uint32_t loops;
} bank;

extern const tr_actor_def bank_account_def;

/* Node alice, of so many loops; its account lives on the last one. */
bank *bank_open(uint32_t loops);
/* Once more, with the disk as it is. */
void bank_start(bank *b);
void bank_close(bank *b);
/* Start a script, not yet pumped. */
tr_addr bank_begin(bank *b, script *s);
/* Run one to its end, a minute at most; its error fails the test. */
void bank_play(bank *b, script *s);
/* Each a transaction, in a script. */
int64_t bank_balance(bank *b);
tr_tx_outcome bank_pay_in(bank *b, int64_t amount);
/* Scripts: by s->balance, the outcome is in s->out. */
tr_err bank_run_credit(tr_actor *self, script *s);
tr_err bank_run_debit(tr_actor *self, script *s);
/* Credits 5 in s->tx, sets s->balance to 1, and then neither commits nor ends. */
tr_err bank_run_and_stay(tr_actor *self, script *s);

/* Bob is another node, as far as this one is told. */
void bank_bob_is(bank *b, bool up);
/* As if it had come over the connection, of that slot of bob's; handled, or on its way. */
void bank_bob_says(bank *b, uint32_t slot, const tr__tx_frame *frame);
void bank_bob_submits(bank *b, uint32_t slot, const tr__tx_frame *frame);
/* Credits 40 in a branch of bob's. */
tr__tx_frame bank_bob_calls(tr_tx_id *id);

#endif
