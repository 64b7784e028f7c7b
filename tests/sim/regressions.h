/* Seeds that found something, kept: each has to pass from now on. A change of a workload or of the simulator makes another
 * run of a seed, so what matters has a test of its own as well, which `what` names.
 *
 *   scenario, seed, faults, what it was */
#ifndef TR_TESTS_SIM_REGRESSIONS_H
#define TR_TESTS_SIM_REGRESSIONS_H

#define REGRESSIONS(X)                                                                               \
    X("core-tree", 135, TR_SIM_ALL_FAULTS,                                                           \
      "a supervisor that couldn't watch a child for want of memory started a second one beside it: " \
      "a_child_that_could_not_be_watched_gets_no_second_one_beside_it")                              \
    X("core-tree", 617, TR_SIM_ALL_FAULTS, "the same")                                               \
    X("core-tree", 1651, TR_SIM_ALL_FAULTS, "the same")                                              \
    X("core-flow", 42, TR_SIM_ALL_FAULTS,                                                            \
      "the simulator: a node whose start found no memory went on without")                           \
    X("core-flow", 119, TR_SIM_ALL_FAULTS, "the same")

#endif
