/* The seam of nng sockets (actors/kinds/sp.h) as a script: the test says what the other side does, and sees what the actor did.
 *
 *     script_sp s; script_sp_init(&s);
 *     tr__kind_seams kinds = {.sp = script_sp_seam(), .context = &s};
 *     manual *m = manual_open_kinds(1, &kinds);
 *     ... spawn a tr_nng_socket ...; script_sp_come(&s, 0, "hello"); manual_pump(m); assert_string_equal(s.did, "...");
 *
 * One socket at a time. Each call of the actor is a word in `did`: "listen:URL dial:0 send:TEXT request:0:TEXT:MS abandon:0
 * reply:0:TEXT reply:0:none close". It keeps the bound of send() as the real one does. */
#ifndef TR_TESTS_KIT_SCRIPT_SP_H
#define TR_TESTS_KIT_SCRIPT_SP_H

#include "actors/kinds/sp.h"

#define SCRIPT_SP_DID    8192
#define SCRIPT_SP_QUEUED 4096

typedef struct script_sp_item {
    tr__sp_event event;
    char *bytes;
} script_sp_item;

typedef struct script_sp {
    char did[SCRIPT_SP_DID];
    tr__sp_opts opts;
    bool open, woken, want_room;
    tr__loop *loop;
    tr_addr owner;
    script_sp_item events[SCRIPT_SP_QUEUED], incoming[SCRIPT_SP_QUEUED];
    uint32_t event_first, event_end, incoming_first, incoming_end;
    uint64_t keys[SCRIPT_SP_QUEUED]; /* of what was given to send and isn't taken */
    uint32_t key_first, key_end;
    tr__sp_counts counts;
    tr_err open_error, listen_error, dial_error, request_error; /* what those calls fail with */
    char *last;                                                 /* borrowed by the last event */
} script_sp;

void script_sp_init(script_sp *s);
void script_sp_fini(script_sp *s);
const tr__sp_seam *script_sp_seam(void);

/* What happens outside; the actor is woken. Error: TR_OK, or with that text. */
void script_sp_event(script_sp *s, tr__sp_event_kind kind, uint32_t index, const char *data, tr_err code,
                     const char *text);
/* A message, or a request of that exchange, comes in. */
void script_sp_come(script_sp *s, uint32_t exchange, const char *data);
/* The oldest that was given to send has been taken (TR_OK), or failed. */
void script_sp_taken(script_sp *s, tr_err code);
/* What the actor did since last time, as one text. */
const char *script_sp_did(script_sp *s);

#endif
