/* The records of a run as a history, judged as `troupe tx check` judges those of files (cli/tx/judge.h): journals as
 * "append", balances as "bank". What a call saw of a journal is so many entries at the front of it as it is at the end;
 * real time are the moments. The last is a read of all, as it is when nothing is under way any more. */
#include <stdlib.h>
#include <string.h>

#include "cli/tx/judge.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/tx_history.h"

#define JOURNAL_MAX (2 * TX_RECORDS)

/* A value is its transaction's number, and which of its writes to the place it is. */
#define VALUE(number, time) ((int64_t)(number)*TX_OPS + (time))

static struct {
    int64_t values[TX_PLACES][JOURNAL_MAX];
    uint32_t lengths[TX_PLACES];
    uint32_t keys[TX_PLACES]; /* of the history */
    judge_event events[2 * TX_RECORDS + 2];
    uint32_t count;
} judging;

/* ---- journals ------------------------------------------------------------------------------------------ */

static void take_journal(uint32_t place)
{
    static uint8_t times[TX_RECORDS];
    uint32_t length;
    const char *journal = tx_journal(place, &length);
    memset(times, 0, sizeof(times));
    judging.lengths[place] = length < JOURNAL_MAX ? length : JOURNAL_MAX;
    for (uint32_t i = 0; i < judging.lengths[place]; i++) {
        uint32_t number = tx_journal_at(journal, i);
        judging.values[place][i] = VALUE(number, times[number]++);
    }
}

/* Each call as a read, if it was answered, and an append if it writes; an invoke doesn't know what is read. */
static uint32_t append_items(const tx_record *record, bool answers, judge_item *items)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < record->count; i++) {
        const tx_op *op = &record->ops[i];
        uint32_t before = 0;
        for (uint32_t k = 0; k < i; k++)
            before += record->ops[k].writes && record->ops[k].place == op->place;
        if (op->answered && op->seen <= judging.lengths[op->place])
            items[count++] = (judge_item){.what = JUDGE_LIST,
                                          .known = answers,
                                          .key = judging.keys[op->place],
                                          .list = judging.values[op->place],
                                          .count = op->seen};
        if (op->writes)
            items[count++] = (judge_item){.what = JUDGE_APPENDS,
                                          .key = judging.keys[op->place],
                                          .value = VALUE(record->number, before)};
    }
    return count;
}

/* ---- balances ------------------------------------------------------------------------------------------ */

/* One that looks at all of them, each once. */
static bool reads_all(const tx_record *record)
{
    uint32_t places = 0;
    for (uint32_t i = 0; i < record->count; i++)
        places |= record->ops[i].writes ? 0 : 1u << record->ops[i].place;
    return record->count == TX_PLACES && places == (1u << TX_PLACES) - 1;
}

static uint32_t bank_items(const tx_record *record, bool answers, judge_item *items)
{
    uint32_t count = 0;
    bool reads = reads_all(record);
    for (uint32_t i = 0; i < record->count; i++) {
        const tx_op *op = &record->ops[i];
        if (reads && answers)
            items[count++] =
                (judge_item){.what = JUDGE_BALANCE, .key = judging.keys[op->place], .value = op->balance};
        else if (!reads && op->writes)
            items[count++] =
                (judge_item){.what = JUDGE_CHANGE, .key = judging.keys[op->place], .value = op->amount};
    }
    return count;
}

/* ---- events -------------------------------------------------------------------------------------------- */

/* Who is told that it is aborted hears so at the end: it makes no difference when. */
static void add_events(const tx_record *record, judge_f f, uint64_t end)
{
    judge_event *event = &judging.events[judging.count++];
    *event = (judge_event){.type = JUDGE_INVOKE,
                           .f = f,
                           .line = record->number,
                           .process = record->number,
                           .time_ns = (int64_t)record->begun};
    if (!record->settled)
        return;
    bool committed = record->status == TR_TX_COMMITTED;
    judging.events[judging.count++] =
        (judge_event){.type = committed ? JUDGE_OK : JUDGE_FAIL,
                      .f = f,
                      .line = record->number,
                      .process = record->number,
                      .time_ns = (int64_t)(committed && record->told ? record->told : end),
                      .has_ts = committed && record->ts,
                      .ts = (int64_t)record->ts};
}

/* The process that isn't one of the records'. */
#define LAST TX_RECORDS

static void add_last(judge_f f, uint64_t end)
{
    judge_event *event = &judging.events[judging.count];
    event[0] = (judge_event){
        .type = JUDGE_INVOKE, .f = f, .line = LAST, .process = LAST, .time_ns = (int64_t)end + 1};
    event[1] = event[0];
    event[1].type = JUDGE_OK;
    event[1].time_ns++;
    judging.count += 2;
}

static uint32_t last_items(judge_workload workload, bool answers, judge_item *items)
{
    if (workload == JUDGE_BANK && !answers)
        return 0;
    for (uint32_t place = 0; place < TX_PLACES; place++)
        items[place] =
            workload == JUDGE_APPEND
                ? (judge_item){.what = JUDGE_LIST,
                               .known = answers,
                               .key = judging.keys[place],
                               .list = judging.values[place],
                               .count = judging.lengths[place]}
                : (judge_item){.what = JUDGE_BALANCE, .key = judging.keys[place], .value = tx_balance(place)};
    return TX_PLACES;
}

static int by_time(const void *a, const void *b)
{
    const judge_event *x = a, *y = b;
    if (x->time_ns != y->time_ns)
        return (x->time_ns > y->time_ns) - (x->time_ns < y->time_ns);
    return (x->process > y->process) - (x->process < y->process);
}

static void make_events(judge_workload workload)
{
    const tx_history *h = tx_history_now();
    judging.count = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        const tx_record *record = &h->records[i];
        judge_f f = workload == JUDGE_APPEND ? JUDGE_TXN : reads_all(record) ? JUDGE_READ : JUDGE_TRANSFER;
        add_events(record, f, h->moment + 1);
    }
    add_last(workload == JUDGE_APPEND ? JUDGE_TXN : JUDGE_READ, h->moment + 1);
    qsort(judging.events, judging.count, sizeof(*judging.events), by_time);
}

static void found(void *context, const judge_finding *finding)
{
    (void)context;
    tr_sim_fail(sim_now_running, "the judge of histories (lines are transactions): %s: %s%s%s", finding->kind,
                finding->text, finding->steps_told ? "; " : "",
                finding->steps_told ? finding->steps[0].text : "");
}

static uint32_t items_of(judge_workload workload, int64_t process, bool answers, judge_item *items)
{
    if (process == LAST)
        return last_items(workload, answers, items);
    const tx_record *record = &tx_history_now()->records[process];
    return workload == JUDGE_APPEND ? append_items(record, answers, items)
                                    : bank_items(record, answers, items);
}

static tr_err judge_events(judge_history *h, judge_workload workload, tr_error *error)
{
    judge_item items[2 * TX_OPS];
    judge_counts counts;
    tr_err err = TR_OK;
    for (uint32_t place = 0; err == TR_OK && place < TX_PLACES; place++)
        err = judge_key(h, tx_path(place), &judging.keys[place], error);
    for (uint32_t i = 0; err == TR_OK && i < judging.count; i++) {
        judge_event *event = &judging.events[i];
        bool answers = event->type == JUDGE_OK;
        event->index = i;
        event->items = items;
        event->items_count = items_of(workload, event->process, answers, items);
        err = judge_add(h, event, error);
    }
    return err == TR_OK ? judge_run(h, found, NULL, &counts, error) : err;
}

void tx_check_judged(void)
{
    static const judge_options options[] = {{.workload = JUDGE_APPEND},
                                            {.workload = JUDGE_BANK,
                                             .accounts = TX_PLACES,
                                             .total = TX_PLACES * TX_START,
                                             .no_negative = true,
                                             .has_initial = true,
                                             .initial = TX_START}};
    for (uint32_t place = 0; place < TX_PLACES; place++)
        take_journal(place);
    for (size_t i = 0; i < TR_COUNT(options); i++) {
        tr_error error = {.code = TR_OK};
        judge_history *h = judge_open(&options[i]);
        make_events(options[i].workload);
        if (!h || judge_events(h, options[i].workload, &error) != TR_OK)
            tr_sim_fail(sim_now_running, "the judge of histories: %s", h ? error.text : "no memory");
        judge_close(h);
    }
}
