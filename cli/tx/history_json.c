/* One line of a history: JSON to an event, or why it is none. See history.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/tx/history.h"
#include "cli/tx/judge_table.h"
#include "cli/words.h"

/* ---- members ------------------------------------------------------------------------------------------- */

static tr_err number_of(const json_t *object, const char *name, int64_t *out, tr_error *error)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value))
        return tr__fail(error, TR_EPROTO, "\"%s\" is %s", name, value ? "no integer" : "missing");
    *out = json_integer_value(value);
    return TR_OK;
}

static tr_err text_of(const json_t *object, const char *name, const char **out, tr_error *error)
{
    const json_t *value = json_object_get(object, name);
    *out = json_string_value(value);
    if (!*out)
        return tr__fail(error, TR_EPROTO, "\"%s\" is %s", name, value ? "no string" : "missing");
    return TR_OK;
}

/* One of some words: its number. */
static tr_err word_of(const json_t *object, const char *name, const char *const *words, unsigned *out,
                      tr_error *error)
{
    const char *text;
    tr_err err = text_of(object, name, &text, error);
    for (*out = 0; err == TR_OK && words[*out] && strcmp(words[*out], text) != 0;)
        ++*out;
    if (err == TR_OK && !words[*out])
        return tr__fail(error, TR_EPROTO, "\"%s\" is \"%.40s\", which is none of its words", name, text);
    return err;
}

static tr_err json_line(const char *text, size_t length, json_t **object, tr_error *error)
{
    json_error_t why;
    *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (!*object)
        return tr__fail(error, TR_EPROTO, "not JSON: %s, at byte %d", why.text, why.position);
    return TR_OK;
}

/* ---- names --------------------------------------------------------------------------------------------- */

static bool is_decimal(const char *text)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    size_t length = strspn(digits, "0123456789");
    return length > 0 && length <= 18 && !digits[length] && (digits[0] != '0' || strcmp(text, "0") == 0);
}

/* Of a key or an account: an account "3" is 3. */
static tr_err name_text(judge_history *h, const char *text, bool account, uint32_t *key, tr_error *error)
{
    char name[HISTORY_NAME_MAX + 3];
    if (strlen(text) > HISTORY_NAME_MAX)
        return tr__fail(error, TR_ETOOBIG, "a name has more than %u bytes", HISTORY_NAME_MAX);
    bool bare = account && is_decimal(text);
    snprintf(name, sizeof(name), "%s%s%s", bare ? "" : "\"", text, bare ? "" : "\"");
    return judge_key(h, name, key, error);
}

static tr_err name_of(judge_history *h, const json_t *value, bool account, uint32_t *key, tr_error *error)
{
    char text[24];
    if (json_is_string(value))
        return name_text(h, json_string_value(value), account, key, error);
    if (!json_is_integer(value))
        return tr__fail(error, TR_EPROTO, "%s is no string and no integer", account ? "an account" : "a key");
    snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return judge_key(h, text, key, error);
}

/* ---- the header ---------------------------------------------------------------------------------------- */

static tr_err bank_header(const json_t *object, judge_options *options, tr_error *error)
{
    const json_t *negative = json_object_get(object, "negative"),
                 *initial = json_object_get(object, "initial");
    int64_t accounts = 0;
    tr_err err = number_of(object, "accounts", &accounts, error);
    if (err == TR_OK)
        err = number_of(object, "total", &options->total, error);
    if (err != TR_OK)
        return err;
    if (accounts < 1 || accounts > JUDGE_ACCOUNTS_MAX)
        return tr__fail(error, TR_ETOOBIG, "%" PRId64 " accounts: 1 to %u can be", accounts,
                        JUDGE_ACCOUNTS_MAX);
    if (options->total > JUDGE_TOTAL_MAX || options->total < -JUDGE_TOTAL_MAX)
        return tr__fail(error, TR_ETOOBIG, "a total beyond %lld", JUDGE_TOTAL_MAX);
    if (negative && !json_is_boolean(negative))
        return tr__fail(error, TR_EPROTO, "\"negative\" is no boolean");
    if (initial && !json_is_integer(initial) && !json_is_object(initial))
        return tr__fail(error, TR_EPROTO, "\"initial\" is no integer and no object");
    options->accounts = (uint32_t)accounts;
    options->no_negative = json_is_false(negative);
    options->has_initial = initial != NULL;
    options->initial = json_integer_value(initial);
    if (options->initial > JUDGE_MONEY_MAX || options->initial < -JUDGE_MONEY_MAX)
        return tr__fail(error, TR_ETOOBIG, "a balance beyond %lld", JUDGE_MONEY_MAX);
    return TR_OK;
}

static tr_err header_of(const json_t *object, judge_options *options, json_t **header, tr_error *error)
{
    static const char *const workloads[] = {"append", "bank", NULL};
    static const char *const members[] = {"workload", "accounts", "total", "negative", "initial"};
    unsigned workload = 0;
    tr_err err = word_of(object, "workload", workloads, &workload, error);
    *options = (judge_options){.workload = workload ? JUDGE_BANK : JUDGE_APPEND};
    if (err == TR_OK && workload)
        err = bank_header(object, options, error);
    if (err != TR_OK)
        return err;
    *header = json_object();
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
        if (json_object_get(object, members[i]))
            json_object_set(*header, members[i], json_object_get(object, members[i]));
    return *header ? TR_OK : tr__fail(error, TR_ENOMEM, "no memory for the header");
}

tr_err history_header(const char *text, size_t length, judge_options *options, json_t **header,
                      tr_error *error)
{
    json_t *object;
    tr_err err = json_line(text, length, &object, error);
    if (err != TR_OK)
        return err;
    err = header_of(object, options, header, error);
    json_decref(object);
    return err;
}

tr_err history_initial(judge_history *h, const json_t *header, tr_error *error)
{
    const json_t *initial = json_object_get(header, "initial");
    json_t *balance; /* jansson's macro wants it so */
    const char *name;
    uint32_t account;
    if (!json_is_object(initial))
        return TR_OK;
    json_object_foreach((json_t *)initial, name, balance)
    {
        tr_err err = name_text(h, name, true, &account, error);
        if (err == TR_OK && !json_is_integer(balance))
            err = tr__fail(error, TR_EPROTO, "what \"%.40s\" has at first is no integer", name);
        if (err == TR_OK)
            err = judge_initial(h, account, json_integer_value(balance), error);
        if (err != TR_OK)
            return err;
    }
    return TR_OK;
}

/* ---- values -------------------------------------------------------------------------------------------- */

static tr_err add_item(history_line *line, judge_item item, tr_error *error)
{
    judge_event *event = &line->event;
    if (!judge_room(&line->items, &line->items_room, event->items_count, sizeof(*line->items)))
        return tr__fail(error, TR_ENOMEM, "no memory for a line");
    line->items[event->items_count++] = item;
    return TR_OK;
}

/* The list's place in `values` is `value` until all of them are there. */
static tr_err add_list(history_line *line, uint32_t key, const json_t *list, tr_error *error)
{
    const json_t *value;
    size_t i;
    judge_item item = {
        .what = JUDGE_LIST, .key = key, .known = json_is_array(list), .value = (int64_t)line->values_count};
    if (!json_is_array(list) && !json_is_null(list))
        return tr__fail(error, TR_EPROTO, "what was read is no list and not null");
    json_array_foreach(list, i, value)
    {
        if (!json_is_integer(value))
            return tr__fail(error, TR_EPROTO, "what was read has something that is no integer");
        if (!judge_room(&line->values, &line->values_room, line->values_count, sizeof(*line->values)))
            return tr__fail(error, TR_ENOMEM, "no memory for a line");
        line->values[line->values_count++] = json_integer_value(value);
    }
    item.count = (uint32_t)json_array_size(list);
    return add_item(line, item, error);
}

static tr_err add_call(judge_history *h, history_line *line, const json_t *call, tr_error *error)
{
    const char *what = json_string_value(json_array_get(call, 0));
    const json_t *value = json_array_get(call, 2);
    uint32_t key;
    if (json_array_size(call) != 3 || !what || (strcmp(what, "append") != 0 && strcmp(what, "r") != 0))
        return tr__fail(error, TR_EPROTO,
                        "a call is neither [\"append\", key, integer] nor [\"r\", key, list or null]");
    tr_err err = name_of(h, json_array_get(call, 1), false, &key, error);
    if (err != TR_OK)
        return err;
    if (what[0] == 'r')
        return add_list(line, key, value, error);
    if (!json_is_integer(value))
        return tr__fail(error, TR_EPROTO, "what is appended is no integer");
    return add_item(line, (judge_item){.what = JUDGE_APPENDS, .key = key, .value = json_integer_value(value)},
                    error);
}

static tr_err calls(judge_history *h, history_line *line, const json_t *value, tr_error *error)
{
    const json_t *call;
    size_t i;
    if (!json_is_array(value))
        return tr__fail(error, TR_EPROTO, "\"value\" is no list of calls");
    json_array_foreach(value, i, call)
    {
        tr_err err = add_call(h, line, call, error);
        if (err != TR_OK)
            return err;
    }
    for (uint32_t k = 0; k < line->event.items_count; k++)
        if (line->items[k].what == JUDGE_LIST) {
            if (line->values) /* none of a line whose lists are all empty */
                line->items[k].list = line->values + line->items[k].value;
            line->items[k].value = 0;
        }
    return TR_OK;
}

static tr_err transfer(judge_history *h, history_line *line, const json_t *value, tr_error *error)
{
    int64_t amount = 0;
    uint32_t from, to;
    if (!json_is_object(value))
        return tr__fail(error, TR_EPROTO, "\"value\" is no object with from, to and amount");
    tr_err err = number_of(value, "amount", &amount, error);
    if (err == TR_OK && (amount < 0 || amount > JUDGE_MONEY_MAX))
        err = tr__fail(error, TR_ETOOBIG, "an amount of %" PRId64 ": 0 to %lld can be", amount,
                       JUDGE_MONEY_MAX);
    if (err == TR_OK)
        err = name_of(h, json_object_get(value, "from"), true, &from, error);
    if (err == TR_OK)
        err = name_of(h, json_object_get(value, "to"), true, &to, error);
    if (err == TR_OK && from == to)
        err = tr__fail(error, TR_EPROTO, "a transfer from an account to itself");
    if (err == TR_OK)
        err = add_item(line, (judge_item){.what = JUDGE_CHANGE, .key = from, .value = -amount}, error);
    if (err == TR_OK)
        err = add_item(line, (judge_item){.what = JUDGE_CHANGE, .key = to, .value = amount}, error);
    return err;
}

static tr_err balances(judge_history *h, const judge_options *options, history_line *line,
                       const json_t *value, tr_error *error)
{
    json_t *balance;
    const char *name;
    if (json_object_size(value) != options->accounts)
        return tr__fail(error, TR_EPROTO, "a read of %zu account%s, and there are %u",
                        json_object_size(value), cli_s(json_object_size(value)), options->accounts);
    json_object_foreach((json_t *)value, name, balance)
    {
        judge_item item = {.what = JUDGE_BALANCE, .value = json_integer_value(balance)};
        if (!json_is_integer(balance))
            return tr__fail(error, TR_EPROTO, "the balance of \"%.40s\" is no integer", name);
        tr_err err = name_text(h, name, true, &item.key, error);
        if (err == TR_OK)
            err = add_item(line, item, error);
        if (err != TR_OK)
            return err;
    }
    return TR_OK;
}

static tr_err value_of(judge_history *h, const judge_options *options, history_line *line,
                       const json_t *object, tr_error *error)
{
    const json_t *value = json_object_get(object, "value");
    const judge_event *event = &line->event;
    bool invoke = event->type == JUDGE_INVOKE;
    if (!invoke && event->type != JUDGE_OK)
        return TR_OK;
    if (event->f == JUDGE_TXN)
        return calls(h, line, value, error);
    if (event->f == JUDGE_TRANSFER)
        return invoke ? transfer(h, line, value, error) : TR_OK;
    return invoke ? TR_OK : balances(h, options, line, value, error);
}

/* ---- an event ------------------------------------------------------------------------------------------ */

static tr_err resolved_of(history_line *line, const json_t *object, tr_error *error)
{
    static const char *const statuses[] = {"aborted", "committed", NULL};
    unsigned status = 0;
    judge_event *event = &line->event;
    tr_err err = word_of(object, "status", statuses, &status, error);
    event->committed = status == 1;
    event->has_of = json_object_get(object, "of") != NULL;
    if (err == TR_OK && event->has_of)
        err = number_of(object, "of", &event->of, error);
    if (err == TR_OK && !event->has_of && !event->id)
        err = tr__fail(error, TR_EPROTO, "a resolved has neither \"of\" nor \"id\"");
    return err;
}

static tr_err id_and_ts(history_line *line, const json_t *object, tr_error *error)
{
    judge_event *event = &line->event;
    if (json_object_get(object, "id")) {
        tr_err err = text_of(object, "id", &event->id, error);
        if (err != TR_OK)
            return err;
        if (strlen(event->id) > HISTORY_NAME_MAX)
            return tr__fail(error, TR_ETOOBIG, "an id of more than %u bytes", HISTORY_NAME_MAX);
        snprintf(line->id, sizeof(line->id), "%s", event->id);
        event->id = line->id;
    }
    const json_t *ts = json_object_get(object, "ts");
    event->has_ts = ts && !json_is_null(ts);
    return event->has_ts ? number_of(object, "ts", &event->ts, error) : TR_OK;
}

static tr_err event_of(judge_history *h, const judge_options *options, const json_t *object,
                       history_line *line, tr_error *error)
{
    static const char *const types[] = {"invoke", "ok", "fail", "info", "resolved", NULL};
    static const char *const fs[] = {"txn", "transfer", "read", NULL};
    judge_event *event = &line->event;
    unsigned type = 0, f = 0;
    tr_err err = word_of(object, "type", types, &type, error);
    if (err == TR_OK && type != JUDGE_RESOLVED)
        err = word_of(object, "f", fs, &f, error);
    event->type = (judge_type)type;
    event->f = (judge_f)f;
    if (err == TR_OK)
        err = number_of(object, "index", &event->index, error);
    if (err == TR_OK)
        err = number_of(object, "time", &event->time_ns, error);
    if (err == TR_OK)
        err = number_of(object, "process", &event->process, error);
    if (err == TR_OK)
        err = id_and_ts(line, object, error);
    if (err == TR_OK && (f == JUDGE_TXN) != (options->workload == JUDGE_APPEND) && type != JUDGE_RESOLVED)
        err = tr__fail(error, TR_EPROTO, "\"f\" is \"%s\", which workload \"%s\" doesn't have", fs[f],
                       options->workload == JUDGE_APPEND ? "append" : "bank");
    if (err == TR_OK && type == JUDGE_RESOLVED)
        err = resolved_of(line, object, error);
    return err == TR_OK ? value_of(h, options, line, object, error) : err;
}

tr_err history_event(judge_history *h, const judge_options *options, const char *text, size_t length,
                     history_line *line, bool *whole, tr_error *error)
{
    json_t *object;
    line->event = (judge_event){0};
    line->values_count = 0;
    tr_err err = json_line(text, length, &object, error);
    *whole = err == TR_OK;
    if (err != TR_OK)
        return err;
    err = event_of(h, options, object, line, error);
    line->event.items = line->items;
    json_decref(object);
    return err;
}

void history_line_free(history_line *line)
{
    tr__free(line->items);
    tr__free(line->values);
    *line = (history_line){0};
}
