/* Seeds that found something, kept: each has to pass from now on. A change of a workload or of the simulator makes another
 * run of a seed, so what matters has a test of its own as well, which `what` names.
 *
 *   scenario, seed, faults, what it was */
#ifndef TR_TESTS_SIM_REGRESSIONS_H
#define TR_TESTS_SIM_REGRESSIONS_H

#define REGRESSIONS(X)                                                                                      \
    X("core-tree", 1443, TR_SIM_ALL_FAULTS,                                                                 \
      "a supervisor that couldn't watch a child for want of memory started a second one beside it: "        \
      "a_child_that_could_not_be_watched_gets_no_second_one_beside_it")                                     \
    X("core-tree", 1470, TR_SIM_ALL_FAULTS, "the same")                                                     \
    X("core-tree", 1494, TR_SIM_ALL_FAULTS, "the same")                                                     \
    X("core-flow", 42, TR_SIM_ALL_FAULTS,                                                                   \
      "the simulator: a node whose start found no memory went on without")                                  \
    X("core-flow", 119, TR_SIM_ALL_FAULTS, "the same")                                                      \
    X("bank", 75, TR_SIM_ALL_FAULTS,                                                                        \
      "a caller that had ended held a place while it was committed, and 10 s longer: "                      \
      "who_ends_while_it_is_committed_holds_no_place")                                                      \
    X("append", 20, TR_SIM_ALL_FAULTS, "the same")                                                          \
    X("append", 141, TR_SIM_ALL_FAULTS,                                                                     \
      "a node whose log was full, or that had no memory, closed its log twice at its start: "               \
      "a_node_whose_log_is_full_starts_again")                                                              \
    X("append", 2495, TR_SIM_ALL_FAULTS,                                                                    \
      "the end of a node's old incarnation took the new one's place in transactions: "                      \
      "a_node_is_spoken_with_while_one_of_its_incarnations_is_up")                                          \
    X("append", 53863, TR_SIM_ALL_FAULTS, "no memory for the first peer: no transactions with it")          \
    X("exchange", 51122, TR_SIM_ALL_FAULTS,                                                                 \
      "a caller that couldn't be watched for want of memory was taken for dead, and heard that it gave up") \
    X("bank", 1518, TR_SIM_ALL_FAULTS,                                                                      \
      "the simulator: a flip after a power cut, with a failed start between")                               \
    X("append", 119, TR_SIM_ALL_FAULTS,                                                                     \
      "the simulator: a crashed node's fibers counted while they returned")                                 \
    X("bank", 1383, TR_SIM_ALL_FAULTS,                                                                      \
      "run again after its deadline had passed, it had another priority: "                                  \
      "it_keeps_it_also_when_its_deadline_has_passed_meanwhile")                                            \
    X("append", 4965, TR_SIM_ALL_FAULTS,                                                                    \
      "the first transaction on a disk that had place again was refused: "                                  \
      "a_disk_that_has_place_again_takes_the_first_transaction")                                            \
    X("append", 1000058, TR_SIM_ALL_FAULTS,                                                                 \
      "a sibling that was asked while who decides was only slow gave up what would be committed: "          \
      "as_long_as_who_decides_answers_nobody_else_is_asked")

#endif
