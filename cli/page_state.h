/* What the page's states of the demo and of `troupe up` are made of alike; docs/page.md describes them. Pure. What has no
 * memory is left out. */
#ifndef TR_CLI_PAGE_STATE_H
#define TR_CLI_PAGE_STATE_H

#include <jansson.h>
#include <stdint.h>

double page_state_ms(uint64_t ns);
/* A text; one that is no UTF-8 (a path may be any bytes) with ? for each byte beyond ASCII. */
json_t *page_state_text(const char *text);

/* ---- transactions, of what tx/merge.h put together ------------------------------------------------------- */

/* "transactions": at most 20, newest last, those that a death fell into among them; times since `start_ns`. */
json_t *page_state_transactions(const json_t *all, uint64_t start_ns);
/* Forget what is too much: of the plain ones the oldest, then of those that a death fell into. */
void page_state_prune(json_t *all);

#endif
