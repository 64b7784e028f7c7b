/* A node under its real driver, in the test's own process: threads, clocks and wakes as they are. */
#ifndef TR_TESTS_KIT_REAL_NODE_H
#define TR_TESTS_KIT_REAL_NODE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <troupe/node.h>

/* A log for tr_node_opts that says nothing. */
void real_node_quiet(void *context, tr_log_level level, const char *line);
/* Asserts what holds for every node at rest that has no peers; gives its sums. */
tr_sums real_node_sums(const tr_node *node);
/* Run one of so many loops, without its log, until `start` returns; its error fails the test. Gives its sums, which add up. */
tr_sums real_node_run(uint32_t loops, tr_err (*start)(tr_actor *self, void *arg), void *arg);

#endif
