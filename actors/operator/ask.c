/* The requests "send" and "ask": a message from JSON for an actor, and its answer as JSON. The operator actor's loop,
 * but for tr__operator_loop. What fails is told to who requested it, in words. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/operator/operator.h"
#include "base/err.h"
#include "base/mem.h"
#include "mailbox/json.h"

/* ---- whom ---------------------------------------------------------------------------------------------- */

/* The name without this node's own before it; NULL: an actor of another node. */
static const char *local_name(const tr_node *node, const char *to)
{
    const char *slash = strchr(to, '/');
    if (!slash)
        return to;
    size_t length = (size_t)(slash - to);
    return strlen(node->name) == length && memcmp(node->name, to, length) == 0 ? slash + 1 : NULL;
}

tr_addr tr__operator_to(tr_node *node, const json_t *request)
{
    const char *to = json_string_value(json_object_get(request, "to"));
    tr_addr address = TR_ADDR_NONE;
    if (to && *to == '<')
        tr__addr_parse(to, &address, NULL);
    else if (to && local_name(node, to))
        address = tr__name_get(node, local_name(node, to));
    return address;
}

uint32_t tr__operator_loop(tr_node *node, const json_t *request)
{
    tr_addr address = tr__operator_to(node, request);
    const tr_actor *actor = address.node == node->id ? tr__slot(node, address.slot) : NULL;
    /* acquire: a thread may just have been made for it */
    const tr__loop *owner =
        actor ? atomic_load_explicit(&((tr_actor *)actor)->owner, memory_order_acquire) : NULL;
    return owner && tr__is_generation(actor, address.generation) ? owner->index : 0;
}

/* TR_OK and the address; or, with *future, a look-up on another node that will find it. */
static tr_err find(tr_actor *self, const tr__operator_job *job, tr_addr *address, tr_future *future)
{
    tr_node *node = tr_node_of(self);
    const char *to = json_string_value(json_object_get(job->request, "to"));
    tr_error error;
    *address = TR_ADDR_NONE;
    future->id = 0;
    if (!to)
        return tr_fail(self, TR_EINVAL, "\"to\" is missing: a name, \"node/name\", or an address");
    if (*to == '<') {
        tr_err err = tr__addr_parse(to, address, &error);
        if (err == TR_OK && tr_addr_is_none(*address))
            err = tr__fail(&error, TR_EADDR, "%s is no actor", to);
        return err == TR_OK ? TR_OK : tr_fail(self, err, "%s", error.text);
    }
    const char *name = local_name(node, to);
    if (!name) {
        *future = tr_lookup(self, to, tr__operator_timeout(job->request));
        return future->id ? TR_OK : tr_last_error(self)->code;
    }
    *address = tr_whereis(self, name);
    if (tr_addr_is_none(*address))
        return tr_fail(
            self, TR_ENOTFOUND,
            "no actor of node %s is called \"%.63s\"; `troupe ps %s` lists them, with the address of "
            "one that has no name",
            node->name, name, node->name);
    return TR_OK;
}

const tr_actor *tr__operator_target(tr_actor *self, const tr__operator_job *job)
{
    const tr__loop *loop = tr__owner(self);
    const char *to = json_string_value(json_object_get(job->request, "to"));
    tr_addr address;
    tr_future lookup;
    if (find(self, job, &address, &lookup) != TR_OK)
        return NULL;
    tr_cancel(self, lookup); /* {0} but for an actor of another node, which isn't here */
    const tr_actor *actor = address.node == loop->node->id ? tr__slot(loop->node, address.slot) : NULL;
    if (actor && tr__is_owner(loop, actor) && tr__is_generation(actor, address.generation) &&
        actor->state != TR__ACTOR_FREE)
        return actor;
    const tr__loop *owner =
        actor ? atomic_load_explicit(&((tr_actor *)actor)->owner, memory_order_acquire) : NULL;
    if (owner && owner->exclusive)
        tr_fail(self, TR_EINVAL, "%s has a thread of its own, which may block: nobody looks into it", to);
    else
        tr_fail(self, TR_ENOACTOR, "%s is no actor of node %s, or no longer", to, loop->node->name);
    return NULL;
}

/* ---- what ---------------------------------------------------------------------------------------------- */

/* {"TYPE":{...}}: *body is to be given back by free_message(). */
static tr_err read_message(tr_actor *self, const tr__operator_job *job, tr_type *type, void **body)
{
    json_t *message = json_object_get(job->request, "message");
    void *at = json_object_iter(message);
    if (json_object_size(message) != 1)
        return tr_fail(
            self, TR_EINVAL,
            "\"message\" must be an object with one member, the type, as in {\"greet\":{\"name\":\"ada\"}}");
    const char *name = json_object_iter_key(at);
    const tr_typeinfo *info = tr__type_find_name(name);
    if (!info)
        return tr_fail(self, TR_ETYPE, "node %s knows no message type \"%.63s\"", tr_node_of(self)->name,
                       name);
    tr_error error;
    size_t size;
    tr_err err =
        tr__json_read(info, json_object_iter_value(at), tr_node_of(self)->buffers, body, &size, &error);
    if (err != TR_OK)
        return tr_fail(self, err, "%s", error.text);
    *type = tr__type_declared(info);
    return TR_OK;
}

static void free_message(const tr_type *type, void *body)
{
    tr__body_release(type->registered, body);
    tr__free(body);
}

/* ---- send ---------------------------------------------------------------------------------------------- */

static void send_to(tr_actor *self, tr__operator_job *job, tr_addr address)
{
    tr_type type;
    void *body;
    tr_err err = read_message(self, job, &type, &body);
    if (err == TR_OK) {
        err = tr_send_body(self, address, &type, body);
        free_message(&type, body);
    }
    if (err == TR_OK)
        tr__operator_answer(self, job, json_pack("{s:b}", "ok", 1));
    else
        tr__operator_fail(self, job);
}

/* ---- ask ----------------------------------------------------------------------------------------------- */

static void failed(tr_actor *self, tr__operator_job *job, const tr_result *result)
{
    tr_err err = result->err != TR_OK ? result->err : TR_EPROTO; /* an answer of a type that it can't have */
    tr_fail(self, err, "%s", result->error ? result->error->text : tr__err_meaning(err));
    tr__operator_fail(self, job);
}

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__operator_job *job = context;
    (void)state;
    if (result->err != TR_OK) {
        failed(self, job, result);
        return;
    }
    const tr_msg *msg = result->msg;
    char address[TR_ADDR_TEXT_MAX];
    json_t *fields = msg->type ? tr__json_make(msg->type, tr__msg_body(msg)) : json_object();
    tr__operator_answer(self, job,
                        json_pack("{s:b, s:{s:o}, s:s}", "ok", 1, "answer", tr_msg_type_name(msg), fields,
                                  "from", tr_addr_format(tr_msg_sender(msg), address)));
}

static void ask_of(tr_actor *self, tr__operator_job *job, tr_addr address)
{
    tr_type type;
    void *body;
    uint64_t now = tr_now(self);
    tr_future future = {0};
    if (read_message(self, job, &type, &body) == TR_OK) {
        future = tr_ask_body(self, address, job->until_ns > now ? job->until_ns - now : 0, &type, body);
        free_message(&type, body);
    }
    if (!future.id || tr_then(self, future, answered, job) != TR_OK)
        tr__operator_fail(self, job);
}

/* ---- both ---------------------------------------------------------------------------------------------- */

static void send_or_ask(tr_actor *self, tr__operator_job *job, tr_addr address)
{
    if (strcmp(json_string_value(json_object_get(job->request, "do")), "send") == 0)
        send_to(self, job, address);
    else
        ask_of(self, job, address);
}

static void found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    const tr_found *there = result->msg ? tr_match(result->msg, tr_found) : NULL;
    (void)state;
    if (there)
        send_or_ask(self, context, there->actor);
    else
        failed(self, context, result);
}

void tr__operator_run_message(tr_actor *self, tr__operator_job *job)
{
    tr_addr address;
    tr_future lookup;
    job->until_ns = tr_now(self) + tr__operator_timeout(job->request);
    if (find(self, job, &address, &lookup) != TR_OK)
        tr__operator_fail(self, job);
    else if (!lookup.id)
        send_or_ask(self, job, address);
    else if (tr_then(self, lookup, found, job) != TR_OK)
        tr__operator_fail(self, job);
}
