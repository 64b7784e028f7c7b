/* The node's message budget (budget.c). */
#ifndef TR_ACTORS_BUDGET_H
#define TR_ACTORS_BUDGET_H

#include "actors/loop.h"

/* Whether a message of that type and body may be sent to `to`, within the budget or, *beyond, as the one that its mailbox
 * takes nevertheless: then the message gets TR__MSG_BEYOND. `made`: it has been made, so it is charged. Any thread. */
bool tr__budget_admits(tr_node *node, tr_addr to, const tr_typeinfo *info, size_t size, bool made,
                       bool *beyond);
/* The one beyond comes to nothing: its mailbox may take another. */
void tr__budget_leave(tr_node *node, tr_addr to);
/* The like for a message that is off its mailbox. */
void tr__budget_left(tr__loop *loop, tr_msg *msg);
/* TR_EFULL, which names the budget, as self's last error. */
tr_err tr__budget_refuse(tr_actor *self, const char *type);
/* Who was refused for it wants a notice. Takes msg. */
void tr__budget_wait(tr__loop *loop, tr_msg *msg);
/* When its time has come: tell whom it is worth telling. */
void tr__budget_look(tr__loop *loop);
/* At the loop's end. */
void tr__budget_end(tr__loop *loop);

#endif
