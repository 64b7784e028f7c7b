/* Who owns a transaction log in a test, and the model it is judged by: what was appended, by LSN, and how far
 * it was told to be durable. What is replayed must be the same records from the first on, no fewer than were
 * told. */
#ifndef TR_TESTS_LOG_OWNER_H
#define TR_TESTS_LOG_OWNER_H

#include "actors/tx/log.h"

#define LOG_OWNER_RECORDS 4096

typedef struct log_owner {
    tr__log *log; /* NULL: closed */
    struct {
        uint8_t type;
        size_t length;
        uint64_t key; /* what its bytes are made from */
    } records[LOG_OWNER_RECORDS];
    uint64_t count;    /* records of the model */
    uint64_t told;     /* the highest LSN told to be durable */
    uint64_t replayed; /* in the last open */
    uint64_t next_key;
    unsigned forced, failed;      /* upcalls since open */
    uint64_t base;                /* what a snapshot has, up to this LSN; 0: there is none */
    uint8_t id[TR__LOG_ID_BYTES]; /* of the log as it was open last */
    bool judge;                   /* replayed records must be the model's */
    char wrong[160];              /* what was; "" = nothing */
    tr_error error;
} log_owner;

/* Open, behind owner->base; false with owner->error. What is replayed replaces the model's end, and counts as told. A store that
 * isn't taken is closed. */
bool log_owner_open(log_owner *owner, tr__log_store *store, const tr__log_options *options);
void log_owner_close(log_owner *owner);
/* A record of that many bytes; its code, and it is in the model if that's TR_OK. */
tr_err log_owner_append(log_owner *owner, size_t length, bool finishes);

#endif
