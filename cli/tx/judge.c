/* A history as it comes in: operations, what each called, what was told of it. See judge.h. What makes no sense is refused
 * here; what contradicts itself is a finding, kept for judge_run(). */
#include "cli/tx/judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cli/tx/judge_state.h"

tr_err judge_no_memory(tr_error *error)
{
    return tr__fail(error, TR_ENOMEM, "no memory for the history");
}

/* ---- life ---------------------------------------------------------------------------------------------- */

judge_history *judge_open(const judge_options *options)
{
    judge_history *h = tr__zalloc(sizeof(*h));
    if (!h)
        return NULL;
    h->options = *options;
    h->last_ns = INT64_MIN;
    return h;
}

void judge_close(judge_history *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->keys_count; i++) {
        tr__free(h->keys[i].text);
        tr__free(h->keys[i].order);
        tr__free(h->keys[i].values);
    }
    tr__free(h->ops);
    tr__free(h->items);
    tr__free(h->values);
    tr__free(h->keys);
    tr__free(h->notes);
    tr__free(h->called);
    judge_table_free(&h->table);
    tr__free(h);
}

/* ---- names --------------------------------------------------------------------------------------------- */

static tr_err new_key(judge_history *h, const char *text, uint32_t *number, tr_error *error)
{
    if (h->options.workload == JUDGE_BANK && h->keys_count == h->options.accounts)
        return tr__fail(error, TR_ETOOBIG, "account %.40s: there are %u already, as many as the header says",
                        text, h->options.accounts);
    char *copy =
        judge_room(&h->keys, &h->keys_room, h->keys_count, sizeof(*h->keys)) ? tr__strdup(text) : NULL;
    if (!copy)
        return judge_no_memory(error);
    *number = (uint32_t)h->keys_count;
    h->keys[h->keys_count++] = (judge_key_state){
        .text = copy, .longest = JUDGE_NONE, .last_read = JUDGE_NONE, .initial = h->options.initial};
    return TR_OK;
}

tr_err judge_key(judge_history *h, const char *text, uint32_t *key, tr_error *error)
{
    uint64_t hash = tr__hash_secret(text, strlen(text));
    uint32_t *number;
    for (;; hash++) { /* another text of the same hash */
        number = judge_table_put(&h->table, JUDGE_TABLE(JUDGE_OF_NAMES, 0), (int64_t)hash);
        if (!number)
            return judge_no_memory(error);
        if (*number == JUDGE_NONE) {
            tr_err err = new_key(h, text, number, error);
            if (err != TR_OK)
                return err;
        }
        *key = *number;
        if (strcmp(h->keys[*key].text, text) == 0)
            return TR_OK;
    }
}

const char *judge_key_text(const judge_history *h, uint32_t key)
{
    return h->keys[key].text;
}

tr_err judge_initial(judge_history *h, uint32_t account, int64_t balance, tr_error *error)
{
    if (balance > JUDGE_MONEY_MAX || balance < -JUDGE_MONEY_MAX)
        return tr__fail(error, TR_ETOOBIG, "a balance is beyond %lld", JUDGE_MONEY_MAX);
    h->keys[account].initial = balance;
    return TR_OK;
}

/* ---- what was called ------------------------------------------------------------------------------------ */

static tr_err appended(judge_history *h, uint32_t op, const judge_item *item, tr_error *error)
{
    uint32_t number;
    char at[64];
    tr_err err = judge_value_of(h, item->key, item->value, &number, error);
    if (err != TR_OK)
        return err;
    judge_value *value = &h->values[number];
    if (value->writer != JUDGE_NONE)
        return tr__fail(error, TR_EPROTO, "%" PRId64 " is appended to %.40s a second time (the first: %s)",
                        item->value, h->keys[item->key].text, judge_at(h, value->writer, at));
    value->writer = op;
    return TR_OK;
}

static tr_err keep_items(judge_history *h, const judge_item *items, uint32_t count, tr_error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        const judge_item *item = &items[i];
        if (!judge_room(&h->items, &h->items_room, h->items_count, sizeof(*h->items)))
            return judge_no_memory(error);
        h->items[h->items_count++] =
            (judge_kept){.key = item->key,
                         .what = (uint8_t)item->what,
                         .known = item->known,
                         .value = item->what == JUDGE_LIST ? item->count : item->value};
    }
    return TR_OK;
}

static tr_err check_items(const judge_history *h, const judge_event *event, tr_error *error)
{
    if (event->items_count > JUDGE_OP_ITEMS_MAX)
        return tr__fail(error, TR_ETOOBIG, "%u calls in one operation, and %u are the most",
                        event->items_count, JUDGE_OP_ITEMS_MAX);
    for (uint32_t i = 0; h->options.workload == JUDGE_BANK && i < event->items_count; i++) {
        int64_t value = event->items[i].value;
        if (value > JUDGE_MONEY_MAX || value < -JUDGE_MONEY_MAX)
            return tr__fail(error, TR_ETOOBIG,
                            "%" PRId64 " is beyond %lld, the most for an amount or a balance", value,
                            JUDGE_MONEY_MAX);
    }
    return TR_OK;
}

/* ---- invoke -------------------------------------------------------------------------------------------- */

static tr_err note_id(judge_history *h, uint32_t op, const char *id, tr_error *error)
{
    char at[64];
    if (!id)
        return TR_OK;
    uint32_t *by_id = judge_table_put(&h->table, JUDGE_TABLE(JUDGE_OF_IDS, tr__hash_text(id) >> 8),
                                      (int64_t)tr__hash_secret(id, strlen(id)));
    if (!by_id)
        return judge_no_memory(error);
    if (*by_id != JUDGE_NONE && *by_id != op)
        return tr__fail(error, TR_EPROTO, "id %.40s is that of another operation (%s)", id,
                        judge_at(h, *by_id, at));
    *by_id = op;
    return TR_OK;
}

static tr_err invoke(judge_history *h, const judge_event *event, uint32_t *process, tr_error *error)
{
    uint32_t op = (uint32_t)h->ops_count;
    char at[64];
    if (*process != JUDGE_NONE)
        return tr__fail(error, TR_EPROTO, "process %" PRId64 " has an operation under way (%s)",
                        event->process, judge_at(h, *process, at));
    if (op == JUDGE_OPS_MAX)
        return tr__fail(error, TR_ETOOBIG, "more than %u operations", JUDGE_OPS_MAX);
    *process = op;
    uint32_t *by_index = judge_table_put(&h->table, JUDGE_TABLE(JUDGE_OF_INDICES, event->file), event->index);
    if (!by_index || !judge_room(&h->ops, &h->ops_room, h->ops_count, sizeof(*h->ops)))
        return judge_no_memory(error);
    *by_index = op;
    h->ops[h->ops_count++] = (judge_op){.index = event->index,
                                        .invoke_ns = event->time_ns,
                                        .items = h->items_count,
                                        .items_count = event->items_count,
                                        .file = event->file,
                                        .line = event->line,
                                        .f = (uint8_t)event->f,
                                        .told = JUDGE_INVOKE};
    for (uint32_t i = 0; i < event->items_count; i++)
        if (event->items[i].what == JUDGE_APPENDS) {
            tr_err err = appended(h, op, &event->items[i], error);
            if (err != TR_OK)
                return err;
        }
    return keep_items(h, event->items, event->items_count, error);
}

/* ---- ok, fail, info -------------------------------------------------------------------------------------- */

/* The same calls in the same order; what was read is known only now. */
static bool calls_the_same(const judge_history *h, const judge_op *op, const judge_event *event)
{
    if (op->items_count != event->items_count)
        return false;
    for (uint32_t i = 0; i < op->items_count; i++) {
        const judge_kept *kept = &h->items[op->items + i];
        const judge_item *item = &event->items[i];
        if (kept->what != item->what || kept->key != item->key ||
            (item->what == JUDGE_APPENDS && kept->value != item->value))
            return false;
    }
    return true;
}

/* An ok says what was read; of a transfer it says nothing new. */
static tr_err take_answers(judge_history *h, uint32_t number, const judge_event *event, tr_error *error)
{
    judge_op *op = &h->ops[number];
    char at[64];
    if (event->f == JUDGE_TRANSFER)
        return TR_OK;
    if (event->f == JUDGE_TXN && !calls_the_same(h, op, event))
        return tr__fail(error, TR_EPROTO, "it doesn't append and read what its invoke does (%s)",
                        judge_at(h, number, at));
    /* Of a txn in their old place; the invoke of a bank's read has none. */
    size_t end = h->items_count;
    if (op->items_count > 0)
        h->items_count = op->items;
    else
        op->items = end;
    op->items_count = event->items_count;
    tr_err err = keep_items(h, event->items, event->items_count, error);
    if (err == TR_OK && h->items_count < end)
        h->items_count = end;
    for (uint32_t i = 0; err == TR_OK && i < event->items_count; i++) {
        const judge_item *item = &event->items[i];
        h->counts.reads += (item->what == JUDGE_LIST && item->known) || item->what == JUDGE_BALANCE;
        if (item->what == JUDGE_LIST && item->known)
            err = judge_list(h, number, h->ops[number].items + i, item, error);
    }
    return err == TR_OK && h->options.workload == JUDGE_APPEND
               ? judge_inside(h, number, event->items, event->items_count, error)
               : err;
}

static tr_err take_ts(judge_history *h, uint32_t number, const judge_event *event, tr_error *error)
{
    judge_op *op = &h->ops[number];
    char at[64];
    if (!event->has_ts)
        return TR_OK;
    if (op->has_ts && op->ts != event->ts)
        return judge_note_it(h, "two commit times", number, error,
                             "it was told to be committed at %" PRId64 ", and at %s at %" PRId64, op->ts,
                             judge_place(h, event->file, event->line, at), event->ts);
    op->has_ts = true;
    op->ts = event->ts;
    return TR_OK;
}

static void know_end(judge_op *op, const judge_event *event)
{
    if (op->end_known)
        return;
    op->end_ns = event->time_ns;
    op->known_file = event->file;
    op->known_line = event->line;
    op->end_known = true;
}

/* Somebody may have asked before its caller heard. */
static tr_err contradicts(judge_history *h, uint32_t number, const judge_event *event, tr_error *error)
{
    const judge_op *op = &h->ops[number];
    char at[64];
    if ((event->type != JUDGE_OK || !(op->resolved & JUDGE_TELLS_ABORTED)) &&
        (event->type != JUDGE_FAIL || !(op->resolved & JUDGE_TELLS_COMMITTED)))
        return TR_OK;
    return judge_note_it(h, "two outcomes", number, error, "who asked was told that it is %s, and %s says %s",
                         event->type == JUDGE_OK ? "aborted" : "committed",
                         judge_place(h, event->file, event->line, at),
                         event->type == JUDGE_OK ? "ok" : "fail");
}

static tr_err complete(judge_history *h, const judge_event *event, uint32_t *process, tr_error *error)
{
    uint32_t number = *process;
    char at[64];
    if (number == JUDGE_NONE)
        return tr__fail(error, TR_EPROTO, "process %" PRId64 " has no operation under way", event->process);
    judge_op *op = &h->ops[number];
    if (op->f != event->f)
        return tr__fail(error, TR_EPROTO, "its f is another than its invoke's (%s)", judge_at(h, number, at));
    *process = JUDGE_NONE;
    op->told = (uint8_t)event->type;
    op->end_line = event->line;
    tr_err err = contradicts(h, number, event, error);
    if (err != TR_OK || event->type != JUDGE_OK)
        return err;
    know_end(op, event);
    err = take_answers(h, number, event, error);
    return err == TR_OK ? take_ts(h, number, event, error) : err;
}

/* ---- resolved ------------------------------------------------------------------------------------------ */

static tr_err resolved(judge_history *h, const judge_event *event, tr_error *error)
{
    const uint32_t *number;
    char at[64];
    if (event->has_of)
        number = judge_table_get(&h->table, JUDGE_TABLE(JUDGE_OF_INDICES, event->file), event->of);
    else
        number = judge_table_get(&h->table, JUDGE_TABLE(JUDGE_OF_IDS, tr__hash_text(event->id) >> 8),
                                 (int64_t)tr__hash_secret(event->id, strlen(event->id)));
    if (!number || *number == JUDGE_NONE)
        return event->has_of
                   ? tr__fail(error, TR_EPROTO, "no operation was invoked at index %" PRId64, event->of)
                   : tr__fail(error, TR_EPROTO, "no operation so far has told the id %.40s", event->id);
    judge_op *op = &h->ops[*number];
    uint8_t tells = event->committed ? JUDGE_TELLS_COMMITTED : JUDGE_TELLS_ABORTED;
    uint8_t before = op->resolved | (op->told == JUDGE_OK     ? JUDGE_TELLS_COMMITTED
                                     : op->told == JUDGE_FAIL ? JUDGE_TELLS_ABORTED
                                                              : 0);
    op->resolved |= tells;
    h->counts.resolved++;
    if (before & (uint8_t)~tells)
        return judge_note_it(h, "two outcomes", *number, error, "it was told to be %s, and at %s to be %s",
                             event->committed ? "aborted" : "committed",
                             judge_place(h, event->file, event->line, at),
                             event->committed ? "committed" : "aborted");
    if (!event->committed)
        return TR_OK;
    know_end(op, event);
    return take_ts(h, *number, event, error);
}

/* ---- events -------------------------------------------------------------------------------------------- */

tr_err judge_add(judge_history *h, const judge_event *event, tr_error *error)
{
    bool append = h->options.workload == JUDGE_APPEND;
    tr_err err = check_items(h, event, error);
    if (err != TR_OK)
        return err;
    if (event->time_ns < h->last_ns)
        return tr__fail(error, TR_EPROTO, "its time is before that of the event before it");
    if (event->process < 0)
        return tr__fail(error, TR_EPROTO, "process %" PRId64 " is below 0", event->process);
    h->last_ns = event->time_ns;
    h->counts.events++;
    if (event->type == JUDGE_RESOLVED)
        return resolved(h, event, error);
    if (append != (event->f == JUDGE_TXN))
        return tr__fail(error, TR_EPROTO, "its f isn't one of workload \"%s\"", append ? "append" : "bank");
    uint32_t *process =
        judge_table_put(&h->table, JUDGE_TABLE(JUDGE_OF_PROCESSES, event->file), event->process);
    if (!process)
        return judge_no_memory(error);
    /* The table may grow meanwhile, and then that place is another one. */
    uint32_t number = *process;
    err = event->type == JUDGE_INVOKE ? invoke(h, event, &number, error) : complete(h, event, &number, error);
    if (err != TR_OK)
        return err;
    process = judge_table_get(&h->table, JUDGE_TABLE(JUDGE_OF_PROCESSES, event->file), event->process);
    uint32_t op = event->type == JUDGE_INVOKE ? number : *process;
    *process = number;
    return note_id(h, op, event->id, error);
}

const judge_item *judge_called(judge_history *h, uint32_t file, int64_t process, uint32_t *count)
{
    const uint32_t *number = judge_table_get(&h->table, JUDGE_TABLE(JUDGE_OF_PROCESSES, file), process);
    *count = 0;
    if (!number || *number == JUDGE_NONE)
        return NULL;
    const judge_op *op = &h->ops[*number];
    for (uint32_t i = 0; i < op->items_count; i++) {
        const judge_kept *kept = &h->items[op->items + i];
        if (!judge_room(&h->called, &h->called_room, i, sizeof(*h->called)))
            return NULL;
        h->called[i] = (judge_item){.what = (judge_what)kept->what, .key = kept->key, .value = kept->value};
    }
    *count = op->items_count;
    return h->called;
}

/* ---- findings ------------------------------------------------------------------------------------------ */

const char *judge_place(const judge_history *h, uint32_t file, uint32_t line, char out[64])
{
    if (h->options.files)
        snprintf(out, 64, "%.50s:%u", h->options.files[file], line);
    else
        snprintf(out, 64, "line %u", line);
    return out;
}

const char *judge_at(const judge_history *h, uint32_t op, char out[64])
{
    return judge_place(h, h->ops[op].file, h->ops[op].line, out);
}

tr_err judge_note_it(judge_history *h, const char *kind, uint32_t op, tr_error *error, const char *format,
                     ...)
{
    va_list args;
    if (h->notes_count == JUDGE_NOTES_MAX) {
        h->notes_more++;
        return TR_OK;
    }
    if (!judge_room(&h->notes, &h->notes_room, h->notes_count, sizeof(*h->notes)))
        return judge_no_memory(error);
    judge_note *note = &h->notes[h->notes_count++];
    *note = (judge_note){.kind = kind, .op = op};
    va_start(args, format);
    vsnprintf(note->text, sizeof(note->text), format, args);
    va_end(args);
    return TR_OK;
}

void judge_tell(judge_history *h, judge_finding *finding, uint32_t op)
{
    uint32_t i = 0;
    h->counts.findings++;
    while (h->told[i].kind && strcmp(h->told[i].kind, finding->kind) != 0)
        i++;
    h->told[i].kind = finding->kind;
    if (h->told[i].times++ >= JUDGE_OF_A_KIND_MAX)
        return;
    finding->file = h->ops[op].file;
    finding->line = h->ops[op].line;
    h->report(h->context, finding);
}

void judge_find(judge_history *h, const char *kind, uint32_t op, const char *format, ...)
{
    judge_finding finding = {.kind = kind};
    char at[64];
    va_list args;
    int length = snprintf(finding.text, sizeof(finding.text), "%s: ", judge_at(h, op, at));
    va_start(args, format);
    vsnprintf(finding.text + length, sizeof(finding.text) - (size_t)length, format, args);
    va_end(args);
    judge_tell(h, &finding, op);
}

/* ---- judging ------------------------------------------------------------------------------------------- */

/* What each was, by what was told of it; judge_append.c knows more. */
static void settle(judge_history *h)
{
    for (size_t i = 0; i < h->ops_count; i++) {
        judge_op *op = &h->ops[i];
        op->committed =
            op->told == JUDGE_OK || (op->told != JUDGE_FAIL && op->resolved & JUDGE_TELLS_COMMITTED);
        op->aborted = !op->committed && (op->told == JUDGE_FAIL || op->resolved & JUDGE_TELLS_ABORTED);
    }
}

static void count(judge_history *h)
{
    judge_counts *counts = &h->counts;
    counts->operations = h->ops_count;
    counts->keys = h->keys_count;
    counts->values = h->values_count;
    for (size_t i = 0; i < h->ops_count; i++) {
        counts->committed += h->ops[i].committed;
        counts->aborted += h->ops[i].aborted;
    }
    counts->unknown = counts->operations - counts->committed - counts->aborted;
}

tr_err judge_run(judge_history *h, judge_report *report, void *context, judge_counts *counts, tr_error *error)
{
    h->report = report;
    h->context = context;
    settle(h);
    for (size_t i = 0; i < h->notes_count; i++)
        judge_find(h, h->notes[i].kind, h->notes[i].op, "%s", h->notes[i].text);
    h->counts.findings += h->notes_more;
    tr_err err = h->options.workload == JUDGE_APPEND ? judge_append(h, error) : judge_bank(h, error);
    count(h);
    *counts = h->counts;
    return err;
}
