/* A history as Jepsen writes it, for checkers of others: a map a line. See history.h.
 *
 * Lines are numbered anew, over all files. A process is another one after it was left not knowing, as Jepsen's are, and in
 * each file another. A :fail and an :info tell what was called once more. Lines "resolved" are left out: Jepsen has none. */
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/tx/history.h"
#include "cli/tx/judge_table.h"

struct history_edn {
    FILE *out;
    judge_table processes; /* by file and process */
    uint32_t processes_count;
    uint64_t index;
};

history_edn *history_edn_open(FILE *out)
{
    history_edn *edn = tr__zalloc(sizeof(*edn));
    if (edn)
        edn->out = out;
    return edn;
}

void history_edn_close(history_edn *edn)
{
    if (!edn)
        return;
    judge_table_free(&edn->processes);
    tr__free(edn);
}

/* A key's text is JSON's but for its escapes. */
static void name(FILE *out, const char *text)
{
    size_t length = strlen(text);
    if (text[0] != '"') {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 1; i + 1 < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c == '\n' || c == '\t' || c == '\r')
            fputs(c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r", out);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void list(FILE *out, const judge_item *item)
{
    if (!item->known) {
        fputs("nil", out);
        return;
    }
    fputc('[', out);
    for (uint32_t i = 0; i < item->count; i++)
        fprintf(out, "%s%" PRId64, i ? " " : "", item->list[i]);
    fputc(']', out);
}

static void calls(FILE *out, const judge_history *h, const judge_item *items, uint32_t count)
{
    fputc('[', out);
    for (uint32_t i = 0; i < count; i++) {
        fputs(i ? " [" : "[", out);
        fputs(items[i].what == JUDGE_LIST ? ":r " : ":append ", out);
        name(out, judge_key_text(h, items[i].key));
        fputc(' ', out);
        if (items[i].what == JUDGE_LIST)
            list(out, &items[i]);
        else
            fprintf(out, "%" PRId64, items[i].value);
        fputc(']', out);
    }
    fputc(']', out);
}

static void transfer(FILE *out, const judge_history *h, const judge_item *items, uint32_t count)
{
    if (count != 2) {
        fputs("nil", out);
        return;
    }
    fputs("{:from ", out);
    name(out, judge_key_text(h, items[0].key));
    fputs(", :to ", out);
    name(out, judge_key_text(h, items[1].key));
    fprintf(out, ", :amount %" PRId64 "}", items[1].value);
}

static void balances(FILE *out, const judge_history *h, const judge_item *items, uint32_t count)
{
    if (!count) {
        fputs("nil", out);
        return;
    }
    fputc('{', out);
    for (uint32_t i = 0; i < count; i++) {
        fputs(i ? ", " : "", out);
        name(out, judge_key_text(h, items[i].key));
        fprintf(out, " %" PRId64, items[i].value);
    }
    fputc('}', out);
}

tr_err history_edn_write(history_edn *edn, judge_history *h, const judge_event *event, tr_error *error)
{
    static const char *const types[] = {":invoke", ":ok", ":fail", ":info"};
    static const char *const fs[] = {":txn", ":transfer", ":read"};
    const judge_item *items = event->items;
    uint32_t count = event->items_count;
    if (event->type == JUDGE_RESOLVED)
        return TR_OK;
    uint32_t *process = judge_table_put(&edn->processes, event->file, event->process);
    if (!process)
        return tr__fail(error, TR_ENOMEM, "no memory for EDN");
    if (*process == JUDGE_NONE)
        *process = edn->processes_count++;
    if (event->type == JUDGE_FAIL || event->type == JUDGE_INFO ||
        (event->type == JUDGE_OK && event->f == JUDGE_TRANSFER))
        items = judge_called(h, event->file, event->process, &count);
    fprintf(edn->out, "{:index %" PRIu64 ", :time %" PRId64 ", :process %u, :type %s, :f %s, :value ",
            edn->index++, event->time_ns, *process, types[event->type], fs[event->f]);
    if (event->f == JUDGE_TXN)
        calls(edn->out, h, items, count);
    else if (event->f == JUDGE_TRANSFER)
        transfer(edn->out, h, items, count);
    else
        balances(edn->out, h, items, count);
    fputs("}\n", edn->out);
    if (event->type == JUDGE_INFO)
        *process = JUDGE_NONE;
    return TR_OK;
}
