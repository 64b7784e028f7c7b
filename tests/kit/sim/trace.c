/* What happened: folded into one number, told line by line on request, and what of it was the first that didn't hold. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/node.h"
#include "actors/tx/manager.h"
#include "base/check.h"
#include "base/mem.h"
#include "mailbox/type.h"
#include "tests/kit/sim/sim.h"

/* ---- the hash: splitmix64's mixer over (hash, word) ---------------------------------------------------- */

void sim_hash(tr_sim *sim, uint64_t word)
{
    uint64_t x = (sim->hash ^ word ^ sim->now) + 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    sim->hash = x ^ (x >> 31);
}

static void hash_bytes(tr_sim *sim, const void *bytes, size_t length)
{
    uint64_t word = 14695981039346656037ull; /* FNV-1a */
    for (const unsigned char *at = bytes, *end = at + length; at != end; at++)
        word = (word ^ *at) * 1099511628211ull;
    sim_hash(sim, word);
}

void sim_hash_text(tr_sim *sim, const char *text)
{
    hash_bytes(sim, text, strlen(text));
}

/* ---- the timeline -------------------------------------------------------------------------------------- */

static void line_begin(tr_sim *sim, const sim_node *node, const char *what)
{
    fprintf(sim->opts.timeline, "%4llu.%06llu %-5s %-8s ", (unsigned long long)(sim->now / 1000000000u),
            (unsigned long long)(sim->now / 1000u % 1000000u), node ? node->name : "-", what);
}

void sim_trace(tr_sim *sim, const sim_node *node, const char *what, const char *format, ...)
{
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sim_hash_text(sim, what);
    sim_hash_text(sim, text);
    if (!sim->opts.timeline)
        return;
    line_begin(sim, node, what);
    fprintf(sim->opts.timeline, "%s\n", text);
}

void sim_trace_turn(const sim_agent *agent)
{
    tr_sim *sim = agent->node->sim;
    sim_hash(sim, (uint64_t)agent->node->index << 8 | agent->index);
    if (!sim->opts.timeline || !sim->opts.turns)
        return;
    line_begin(sim, agent->node, "turn");
    fprintf(sim->opts.timeline, "%s %u\n", agent == &agent->node->control ? "control thread" : "loop",
            agent->index);
}

void sim_trace_log(void *context, tr_log_level level, const char *line)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    sim_node *node = context;
    tr_sim *sim = node->sim;
    sim_hash_text(sim, line);
    if (!sim->opts.timeline || !sim->opts.logs || node->dead)
        return;
    line_begin(sim, node, words[level]);
    fprintf(sim->opts.timeline, "%s\n", line);
}

/* A failed ask's block may have none any more. */
static bool has_body(const tr_msg *msg)
{
    return msg->kind != TR__MSG_FAILURE || msg->size;
}

static void tell_message(sim_node *node, tr_actor *actor, const tr_msg *msg)
{
    tr_sim *sim = node->sim;
    char name[TR_NAME_MAX], from[TR_ADDR_TEXT_MAX];
    if (!tr__name_of(node->node, tr__addr_of(actor), name))
        snprintf(name, sizeof(name), "%s#%u", actor->def->name, actor->index);
    char *json = has_body(msg) ? tr_msg_json(msg) : NULL;
    line_begin(sim, node, "message");
    fprintf(sim->opts.timeline, "%s <- %s %s %s\n", name, tr_addr_format(msg->sender, from),
            tr_msg_type_name(msg),
            json            ? json
            : has_body(msg) ? "(no memory)"
                            : "null");
    free(json);
}

/* What a transaction has a participant execute. */
static const tr__tx_branch *branch_of(const tr_msg *msg)
{
    const tr__tx_execute *execute = tr__msg_body((tr_msg *)msg);
    return (const tr__tx_branch *)(uintptr_t)execute->branch;
}

static void tell_call(sim_node *node, const tr__tx_branch *branch)
{
    const tr__tx_call_at *call = tr__tx_branch_call(branch);
    const tr_typeinfo *type = tr__type_find(call->type, call->fingerprint);
    size_t size;
    if (!type || tr__cbor_measure(type, call->body, call->size, &size, NULL) != TR_OK)
        return; /* it will be refused */
    void *body = malloc(size);
    tr__check(body != NULL, "no memory for the simulator");
    tr__check(tr__cbor_decode(type, call->body, call->size, NULL, body), "no memory for the simulator");
    char *json = tr__json_encode(type, body);
    line_begin(node->sim, node, "execute");
    fprintf(node->sim->opts.timeline, "%s: %s %s\n", tr__tx_branch_actor(branch), type->name,
            json ? json : "(no memory)");
    tr__free(json);
    tr__body_release(type, body);
    free(body);
}

/* What nodes say to themselves and each other would hide what actors say. */
static bool is_the_runtimes(const tr_msg *msg)
{
    return !msg->type || strncmp(msg->type->name, "tr__", 4) == 0;
}

/* With a timeline the same allocation fails as without. */
static void tell(sim_node *node, tr_actor *actor, const tr_msg *msg)
{
    uint64_t left = tr__alloc_fail_left();
    tr__alloc_fail_at(0);
    if (msg->kind == TR__MSG_EXECUTE)
        tell_call(node, branch_of(msg));
    else if (node->sim->opts.turns || !is_the_runtimes(msg))
        tell_message(node, actor, msg);
    tr__alloc_fail_at(left);
}

static void hash_body(tr_sim *sim, const tr_typeinfo *type, const void *body);

static void hash_value(tr_sim *sim, const tr__field *field, const void *at)
{
    uint64_t words[2] = {0, 0};
    switch (field->kind) {
    case TR_KIND_string:
        sim_hash_text(sim, *(const char *const *)at);
        break;
    case TR_KIND_bytes:
        hash_bytes(sim, ((const tr_bytes *)at)->data, ((const tr_bytes *)at)->size);
        break;
    case TR_KIND_buffer: {
        const tr_buffer *buffer = *(const tr_buffer *const *)at;
        hash_bytes(sim, buffer->data, buffer->size);
        break;
    }
    case TR_KIND_nested:
        hash_body(sim, field->of, at);
        break;
    default:
        memcpy(words, at, field->size);
        sim_hash(sim, words[0]);
        if (field->kind == TR_KIND_addr)
            sim_hash(sim, words[1]);
    }
}

/* What an actor is told, field by field, as there is padding between them; of an optional one whether it is there, and of
 * a list how long it is, too. */
static void hash_body(tr_sim *sim, const tr_typeinfo *type, const void *body)
{
    for (const tr__field *field = type->fields; field->kind != TR_KIND_END; field++) {
        const void *at = (const char *)body + field->offset;
        const tr__list *list = at;
        bool present = tr__field_present(field, body);
        if (field->optional)
            sim_hash(sim, present);
        if (field->list)
            sim_hash(sim, list->count);
        for (size_t i = 0; field->list && i < list->count; i++)
            hash_value(sim, field, (const char *)list->data + i * field->size);
        if (!field->list && present)
            hash_value(sim, field, at);
    }
}

/* The runtime's own messages have addresses of this process in them. */
static void hash_message(tr_sim *sim, const tr_actor *actor, const tr_msg *msg)
{
    sim_hash(sim, (uint64_t)actor->index << 32 | msg->size);
    sim_hash(sim, msg->sender.node ^ msg->sender.slot);
    if (msg->type)
        sim_hash(sim, msg->type->id);
    if (msg->kind == TR__MSG_EXECUTE) {
        const tr__tx_call_at *call = tr__tx_branch_call(branch_of(msg));
        hash_bytes(sim, call->body, call->size);
    } else if (has_body(msg) && !is_the_runtimes(msg)) {
        hash_body(sim, msg->type, tr__msg_body(msg));
    }
}

void sim_trace_message(void *context, tr__loop *loop, tr_actor *actor, const tr_msg *msg)
{
    sim_node *node = context;
    (void)loop;
    if (node->dead)
        return;
    node->sim->result.handled++;
    hash_message(node->sim, actor, msg);
    if (node->sim->opts.timeline)
        tell(node, actor, msg);
}

/* ---- what doesn't hold --------------------------------------------------------------------------------- */

void tr_sim_fail(tr_sim *sim, const char *format, ...)
{
    tr_sim_result *result = &sim->result;
    if (result->failed)
        return;
    result->failed = true;
    result->failed_at = sim->now;
    va_list args;
    va_start(args, format);
    vsnprintf(result->what, sizeof(result->what), format, args);
    va_end(args);
    sim_trace(sim, sim->current, "FAILED", "%s", result->what);
}

static tr_sim_assertion *assertion_of(tr_sim *sim, uint32_t kind, const char *name)
{
    for (uint32_t i = 0; i < sim->assertion_count; i++)
        if (strncmp(sim->assertions[i].name, name, sizeof(sim->assertions[i].name) - 1) == 0)
            return &sim->assertions[i];
    if (sim->assertion_count == SIM_ASSERTIONS_MAX)
        return NULL;
    tr_sim_assertion *a = &sim->assertions[sim->assertion_count++];
    snprintf(a->name, sizeof(a->name), "%s", name);
    a->kind = (tr_assertion)kind;
    return a;
}

static void said(tr_sim *sim, uint32_t kind, bool holds, const char *name)
{
    tr_sim_assertion *a = assertion_of(sim, kind, name);
    if (!a)
        tr_sim_fail(sim, "more than %d names of always and sometimes", SIM_ASSERTIONS_MAX);
    else if (holds)
        a->held++;
    else
        a->broken++;
}

void sim_reaches(tr_sim *sim, bool holds, const char *name)
{
    if (!sim->opts.plugin) /* a user's campaign isn't judged by what ours have to reach */
        said(sim, TR_SOMETIMES, holds, name);
}

void sim_trace_assertion(void *context, uint32_t kind, bool holds, const char *name)
{
    sim_node *node = context;
    if (node->dead)
        return;
    said(node->sim, kind, holds, name);
    if (kind == TR_ALWAYS && !holds)
        tr_sim_fail(node->sim, "always \"%s\" didn't hold on %s", name, node->name);
}

const tr_sim_assertion *tr_sim_assertion_at(const tr_sim *sim, uint32_t i)
{
    return i < sim->assertion_count ? &sim->assertions[i] : NULL;
}
