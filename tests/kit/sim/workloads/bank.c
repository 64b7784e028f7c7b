/* Accounts on three nodes, and callers on all of them that move money, look at it, and want more than there is. */
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"

/* Three accounts, as a rule in one order: else most would wait for each other. */
static void draw_accounts(tr_actor *self, uint32_t at[3])
{
    bool ordered = tx_draw(self, 12);
    uint32_t first = (uint32_t)tx_draw(self, TX_PLACES - 2);
    for (uint32_t i = 0; i < 3; i++)
        at[i] = ordered ? first + i : (uint32_t)tx_draw(self, TX_PLACES);
    if (ordered && tx_draw(self, 2))
        at[2] = TX_PLACES - 1;
}

static void add_looks(tr_actor *self, tx_record *record, uint32_t most)
{
    for (uint32_t i = 0; i < most; i++)
        tx_op_add(record, (uint32_t)tx_draw(self, TX_PLACES), false, 0);
}

static void look_at_all(tx_record *record)
{
    for (uint32_t i = 0; i < TX_PLACES; i++)
        tx_op_add(record, i, false, 0);
}

static void plan(tr_actor *self, tx_record *record)
{
    uint32_t at[3];
    draw_accounts(self, at);
    int64_t amount = (int64_t)tx_draw(self, 80), part = (int64_t)tx_draw(self, (uint64_t)amount + 1);
    switch (tx_draw(self, 10)) {
    case 0:
    case 1:
        look_at_all(record);
        return;
    case 2:
        add_looks(self, record, 1 + (uint32_t)tx_draw(self, 3));
        return;
    case 3: /* looks at what it then writes */
        tx_op_add(record, at[0], false, 0);
        break;
    case 4: /* three that write */
        tx_op_add(record, at[0], true, -amount);
        tx_op_add(record, at[1], true, part);
        tx_op_add(record, at[2], true, amount - part);
        return;
    case 5: /* more than there is in the bank */
        tx_op_add(record, at[0], true, -1000);
        tx_op_add(record, at[1], true, 1000);
        record->refused = true;
        return;
    case 6:
        add_looks(self, record, 1);
        break;
    default:
        break;
    }
    tx_op *op = tx_op_add(record, at[0], true, -amount);
    if (tx_draw(self, 4) == 0)
        op->padding = (uint32_t)tx_draw(self, 4096);
    tx_op_add(record, at[1], true, amount);
    if (tx_draw(self, 4) == 0)
        add_looks(self, record, 1);
}

static tr_err start(tr_actor *self, uint32_t index)
{
    return tx_load_start(self, index, plan);
}

const tr_scenario sim_bank = {.size = sizeof(tr_scenario),
                              .name = "bank",
                              .nodes = 3,
                              .run_ns = TR_SECONDS(15),
                              .data = true,
                              .start = start,
                              .check = tx_load_check};
