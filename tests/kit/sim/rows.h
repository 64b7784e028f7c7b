/* The rows of the crash table of transactions (docs/transactions.md), as a run comes to them: who dies when. Each time one
 * is hit is counted under its name, as a tr_sometimes. */
#ifndef TR_TESTS_SIM_ROWS_H
#define TR_TESTS_SIM_ROWS_H

/* Number, and name. 14 and 16, of disks that are lost or damaged, aren't here. */
#define SIM_ROWS(X)                                                 \
    X(1, "row 1: a caller dies before its COMMIT")                  \
    X(2, "row 2: a participant dies before PREPARE is forced")      \
    X(3, "row 3: a participant dies between PREPARE and its vote")  \
    X(4, "row 4: a participant dies after its yes")                 \
    X(5, "row 5: PREPARE is torn")                                  \
    X(6, "row 6: who decides dies before COMMIT is forced")         \
    X(7, "row 7: COMMIT is torn")                                   \
    X(8, "row 8: who decides dies between COMMIT and its answer")   \
    X(9, "row 9: who decides dies after its answer")                \
    X(10, "row 10: a participant dies with its COMMIT not durable") \
    X(11, "row 11: who decides dies before END")                    \
    X(12, "row 12: who decides and a participant are cut off")      \
    X(13, "row 13: all hosts lose power")                           \
    X(15, "row 15: a frame comes twice, or when it was over")
#define SIM_ROWS_MAX 16
#define SIM_ROW_WORD "row " /* with which each name begins */

#endif
