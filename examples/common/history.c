/* See history.h. */
#include "examples/common/history.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 65536
#define TICKETS_MAX    8192 /* of one process, that are asked for */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* It has its name when its first line is there: so whoever finds one can read it, whenever its process was killed. */
static FILE *open_one(const char *directory, const char *node, const char *what, const char *first)
{
    char path[512], fresh[520];
    snprintf(path, sizeof(path), "%s/%s-%ld.%s", directory, node, (long)getpid(), what);
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    FILE *file = fopen(fresh, "we");
    if (!file)
        return NULL;
    setvbuf(file, NULL, _IOLBF, LINE_MAX_BYTES);
    if (fputs(first, file) >= 0 && rename(fresh, path) == 0)
        return file;
    fclose(file);
    return NULL;
}

int history_open(history *h, const char *directory, const char *node, const char *header)
{
    char first[512];
    snprintf(first, sizeof(first), "%s\n", header);
    *h = (history){.lines = open_one(directory, node, "jsonl", first),
                   .tickets = open_one(directory, node, "tickets", "")};
    return h->lines && h->tickets;
}

/* ---- an operation -------------------------------------------------------------------------------------- */

static const char *reason_word(tr_tx_reason reason)
{
#define WORD(name, word, meaning) [name] = word,
    static const char *const words[TR_TX_REASON_COUNT] = {TR_TX_REASONS(WORD)};
#undef WORD
    return reason < TR_TX_REASON_COUNT ? words[reason] : "unknown";
}

/* `out`: the outcome that ends it; NULL: none. */
static void line(operation *o, const char *type, const char *value, const tr_tx_outcome *out)
{
    fprintf(o->h->lines,
            "{\"index\":%" PRId64 ",\"time\":%" PRIu64 ",\"process\":%" PRId64
            ",\"type\":\"%s\",\"f\":\"%s\",\"value\":%s,\"id\":\"%s\"",
            ++o->h->index, now_ns(), o->process, type, o->f, value, o->id);
    if (out && out->commit_ts)
        fprintf(o->h->lines, ",\"ts\":%" PRIu64, out->commit_ts);
    if (out && out->status != TR_TX_COMMITTED)
        fprintf(o->h->lines, ",\"error\":\"%s\"", reason_word(out->reason));
    fputs("}\n", o->h->lines);
}

static void resolved(history *h, int64_t process, const char *ticket, const tr_tx_outcome *out)
{
    fprintf(h->lines,
            "{\"index\":%" PRId64 ",\"time\":%" PRIu64 ",\"process\":%" PRId64
            ",\"type\":\"resolved\",\"id\":\"%.26s\",\"status\":\"%s\"",
            ++h->index, now_ns(), process, ticket, out->status == TR_TX_COMMITTED ? "committed" : "aborted");
    if (out->commit_ts)
        fprintf(h->lines, ",\"ts\":%" PRIu64, out->commit_ts);
    fputs("}\n", h->lines);
}

/* As tickets and `troupe tx list` have it: 128 bits as 26 digits of 5, in Crockford's base 32; the first has three. */
static void format_id(const tr_tx_id *id, char out[TR_TX_ID_TEXT])
{
    uint64_t high = 0, low = 0;
    for (int i = 0; i < 8; i++) {
        high = high << 8 | id->bytes[i];
        low = low << 8 | id->bytes[8 + i];
    }
    for (int digit = 25; digit >= 0; digit--) {
        out[digit] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[low & 31];
        low = low >> 5 | high << 59;
        high >>= 5;
    }
    out[26] = '\0';
}

void history_attempt(operation *o, const tr_tx *tx)
{
    if (o->id[0]) /* tr_tx_run comes again only when the last one was aborted */
        line(o, "fail", o->value, NULL);
    format_id(&tx->id, o->id);
    line(o, "invoke", o->value, NULL);
}

tr_err history_ticket(operation *o, tr_tx *tx)
{
    const tr_tx_ticket_is *is;
    TR_TRY(tr_await(tx->self, tr_tx_ticket(tx), tr_tx_ticket_is, &is));
    if (is->ticket[0])
        fprintf(o->h->tickets, "+%s\n", is->ticket);
    return TR_OK;
}

void history_end(operation *o, tr_actor *self, const tr_tx_outcome *out, const char *value)
{
    static const char *const types[] = {"ok", "fail", "info"};
    o->committed += out->status == TR_TX_COMMITTED;
    o->aborted += out->status == TR_TX_ABORTED;
    o->unknown += out->status == TR_TX_UNKNOWN;
    if (!o->id[0])
        return; /* not even begun */
    line(o, types[out->status], out->status == TR_TX_COMMITTED ? value : o->value, out);
    if (out->status == TR_TX_COMMITTED && o->committed % 16) /* the others: asked for by history_settle */
        fprintf(o->h->tickets, "-%s\n", o->id);
    if (out->status == TR_TX_UNKNOWN && out->ticket[0]) {
        tr_tx_outcome found = tr_tx_outcome_of(self, tr_tx_resolve(self, out->ticket, TR_SECONDS(2)));
        if (found.status != TR_TX_UNKNOWN)
            resolved(o->h, o->process, out->ticket, &found);
    }
    o->id[0] = '\0';
}

/* ---- what is left --------------------------------------------------------------------------------------- */

typedef struct ticket_list {
    char ticket[TICKETS_MAX][TR_TX_TICKET_MAX];
    uint32_t count;
} ticket_list;

static void strike_out(ticket_list *all, const char *id)
{
    for (uint32_t i = all->count; i-- > 0;)
        if (strncmp(all->ticket[i], id, TR_TX_ID_TEXT - 1) == 0) {
            all->count--;
            memmove(all->ticket[i], all->ticket[all->count], TR_TX_TICKET_MAX);
        }
}

static void read_tickets(const char *directory, const char *name, ticket_list *all)
{
    char path[768], text[TR_TX_TICKET_MAX + 8];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "re");
    all->count = 0;
    while (file && fgets(text, sizeof(text), file)) {
        size_t length = strcspn(text, "\n");
        if (!text[length]) /* cut by the kill: so the commit hasn't left */
            break;
        text[length] = '\0';
        if (text[0] == '+' && all->count < TICKETS_MAX)
            snprintf(all->ticket[all->count++], TR_TX_TICKET_MAX, "%.*s", TR_TX_TICKET_MAX - 1, text + 1);
        else if (text[0] == '-')
            strike_out(all, text + 1);
    }
    if (file)
        fclose(file);
}

/* Whoever knows may have been started just now. */
static tr_tx_outcome find_out(tr_actor *self, const char *ticket)
{
    tr_tx_outcome out = {.status = TR_TX_UNKNOWN};
    for (int i = 0; i < 10 && out.status == TR_TX_UNKNOWN; i++)
        out = tr_tx_outcome_of(self, tr_tx_resolve(self, ticket, TR_SECONDS(2)));
    return out;
}

static tr_err settle_one(tr_actor *self, history *h, const char *ticket, history_settled *sum)
{
    tr_tx_status first = TR_TX_UNKNOWN;
    for (int twice = 0; twice < 2; twice++) {
        tr_tx_outcome out = find_out(self, ticket);
        if (out.status == TR_TX_UNKNOWN)
            return tr_fail(self, TR_EAPP, "%.26s is still unknown: %s", ticket, out.text);
        resolved(h, (int64_t)getpid() * 64, ticket, &out);
        if (twice && out.status != first)
            return tr_fail(self, TR_EAPP, "%.26s was said to be committed and aborted", ticket);
        first = out.status;
    }
    sum->asked++;
    sum->committed += first == TR_TX_COMMITTED;
    sum->aborted += first == TR_TX_ABORTED;
    return TR_OK;
}

tr_err history_settle(tr_actor *self, history *h, const char *directory, history_settled *sum)
{
    static ticket_list all;
    tr_err err = TR_OK;
    DIR *files = opendir(directory);
    for (struct dirent *entry; files && err == TR_OK && (entry = readdir(files));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".tickets") != 0)
            continue;
        read_tickets(directory, entry->d_name, &all);
        for (uint32_t i = 0; i < all.count && err == TR_OK; i++)
            err = settle_one(self, h, all.ticket[i], sum);
    }
    if (files)
        closedir(files);
    return err;
}
