/* One step of a chain as people read it: see why.h. The main thread; prints to stdout. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/why.h"
#include "cli/words.h"

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

const char *why_time(json_int_t ms, char out[32])
{
    if (ms < 1000)
        snprintf(out, 32, "%" JSON_INTEGER_FORMAT " ms", ms);
    else if (ms < 120000)
        snprintf(out, 32, "%.1f s", (double)ms / 1000);
    else
        snprintf(out, 32, "%" JSON_INTEGER_FORMAT " min", ms / 60000);
    return out;
}

/* Of one that is stuck the node knows the definition only of who runs. */
const char *why_label(const json_t *step, char *out, size_t room)
{
    const json_t *actor = json_object_get(step, "actor"), *running = json_object_get(step, "running");
    const char *address = text(actor, "address"), *definition = text(actor, "definition");
    if (!*definition && strcmp(address, text(running, "address")) == 0)
        definition = text(running, "definition");
    if (*text(actor, "name"))
        snprintf(out, room, "%s/%s", text(step, "node"), text(actor, "name"));
    else if (*definition)
        snprintf(out, room, "%s/%s (%s)", text(step, "node"), address, definition);
    else
        snprintf(out, room, "%s/%s", text(step, "node"), address);
    return out;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static void line(size_t depth)
{
    printf("%*s", (int)(2 + 2 * depth), "");
}

static void print_since(const json_t *what)
{
    char since[32], left[32];
    const json_t *until = json_object_get(what, "left_ms");
    printf(", for %s", why_time(number(what, "since_ms"), since));
    if (json_is_integer(until))
        printf(" (gives up in %s)", why_time(json_integer_value(until), left));
}

static void print_asks(const json_t *step, size_t depth)
{
    const json_t *ask;
    size_t i;
    json_array_foreach(json_object_get(step, "asks"), i, ask)
    {
        line(depth);
        printf("%s the answer to %s of %s",
               json_is_true(json_object_get(ask, "awaited")) ? "awaits" : "expects", text(ask, "type"),
               text(ask, "of"));
        print_since(ask);
        printf("\n");
    }
}

static void print_waits(const json_t *step, size_t depth)
{
    const json_t *waits = json_object_get(step, "waits");
    if (!waits)
        return;
    line(depth);
    printf("waits for %s%s",
           strcmp(text(waits, "for"), "answer") == 0    ? "an "
           : strcmp(text(waits, "for"), "message") == 0 ? "a "
                                                        : "",
           text(waits, "for"));
    if (*text(waits, "of"))
        printf(" of %s", text(waits, "of"));
    if (*text(waits, "where"))
        printf(" at %s", text(waits, "where"));
    print_since(waits);
    printf("\n");
}

static void print_mail(const json_t *step, size_t depth)
{
    const json_t *actor = json_object_get(step, "actor"), *sender;
    char oldest[32];
    size_t i;
    if (*text(step, "in_hand")) {
        line(depth);
        printf("has a %s in hand\n", text(step, "in_hand"));
    }
    if (number(step, "kept")) {
        line(depth);
        printf("keeps %" JSON_INTEGER_FORMAT " ask%s that it has not answered\n", number(step, "kept"),
               cli_s((uint64_t)number(step, "kept")));
    }
    if (!number(actor, "mailbox"))
        return;
    line(depth);
    printf("%" JSON_INTEGER_FORMAT " message%s in its mailbox of %" JSON_INTEGER_FORMAT ", the oldest for %s",
           number(actor, "mailbox"), cli_s((uint64_t)number(actor, "mailbox")), number(actor, "places"),
           why_time(number(actor, "oldest_ms"), oldest));
    json_array_foreach(json_object_get(step, "from"), i, sender) printf(
        "%s %" JSON_INTEGER_FORMAT " of %s", i ? "," : ":", number(sender, "count"), text(sender, "address"));
    printf("\n");
}

static void print_transaction(const json_t *step, size_t depth)
{
    const json_t *t = json_object_get(step, "transaction"), *one;
    size_t i;
    if (!t)
        return;
    if (*text(t, "id")) {
        line(depth);
        printf("transaction %s of %s, %s%s%s\n", text(t, "id"), text(t, "caller"), text(t, "state"),
               *text(t, "broken") ? ": " : "", text(t, "broken"));
        json_array_foreach(json_object_get(t, "calls"), i, one)
        {
            line(depth);
            printf("its call of %s/%s isn't answered\n", text(one, "node"), text(one, "actor"));
        }
        return;
    }
    json_array_foreach(json_object_get(t, "held_by"), i, one)
    {
        line(depth);
        printf("%s: locked by transaction %s, which node %s began (%s%s%s)\n", text(t, "participant"),
               text(one, "id"), text(one, "caller"), text(one, "state"),
               *text(one, "wounded_by") ? ", wounded by " : "", text(one, "wounded_by"));
    }
    json_array_foreach(json_object_get(t, "waiting"), i, one)
    {
        line(depth);
        printf("%s: transaction %s waits for the lock\n", text(t, "participant"), text(one, "id"));
    }
}

static void print_stuck(const json_t *step, size_t depth)
{
    const json_t *running = json_object_get(step, "running"), *frame;
    char ms[32];
    size_t i;
    line(depth);
    if (json_is_true(json_object_get(step, "own_thread")))
        printf("a thread of its own, on node %s", text(step, "node"));
    else
        printf("loop %" JSON_INTEGER_FORMAT " of node %s does not answer", number(step, "loop"),
               text(step, "node"));
    if (running)
        printf(": %s (%s) has been handling %s for %s", text(running, "address"), text(running, "definition"),
               *text(running, "type") ? text(running, "type") : "its start",
               why_time(number(running, "for_ms"), ms));
    printf("\n");
    json_array_foreach(json_object_get(step, "backtrace"), i, frame)
    {
        line(depth);
        printf("  #%-2zu %s\n", i, json_string_value(frame));
    }
}

void why_print(const json_t *step, size_t depth)
{
    char label[256];
    printf("%*s%s", (int)(2 * depth), "", why_label(step, label, sizeof(label)));
    if (*text(json_object_get(step, "actor"), "state"))
        printf("  %s", text(json_object_get(step, "actor"), "state"));
    printf("\n");
    if (json_is_true(json_object_get(step, "silent"))) {
        print_stuck(step, depth);
        return;
    }
    print_waits(step, depth);
    print_asks(step, depth);
    print_mail(step, depth);
    print_transaction(step, depth);
}
