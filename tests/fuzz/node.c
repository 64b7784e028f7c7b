/* See node.h. */
#include "tests/fuzz/node.h"

#include <stdlib.h>

#include <troupe/groups.h>

#include "actors/adapter.h"
#include "actors/remote/peer.h"
#include "base/check.h"

/* ---- its actors ---------------------------------------------------------------------------------------- */

static void echo_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    const fuzz_word *word = tr_match(msg, fuzz_word);
    (void)state;
    if (word && tr_msg_ask_number(msg))
        tr_reply(self, msg, fuzz_word, .n = word->n + 1, .text = word->text);
    else if (word && word->n == 13)
        tr_exit(self, TR_EINVAL, "thirteen");
}

static const tr_actor_def echo_def = {.name = "echo", .receive = echo_receive};

static void client_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    const fuzz_go *go = tr_match(msg, fuzz_go);
    (void)state;
    if (!go)
        return; /* a peer may say it as well */
    if (go->what & 1)
        tr_ask(self, go->other, TR_SECONDS(2), fuzz_word, .n = 1, .text = "asked");
    if (go->what & 2)
        tr_monitor(self, go->other);
    if (go->what & 4)
        tr_send(self, go->other, fuzz_word, .n = 2, .text = "sent");
    if (go->what & 8)
        tr_lookup(self, "eve/echo", TR_SECONDS(1));
    if (go->what & 16)
        tr_cancel(self, tr_ask(self, go->other, TR_SECONDS(2), fuzz_word, .n = 3, .text = "given up"));
}

/* It has a supervisor, with one child. */
static tr_err client_init(tr_actor *self, void *state, const void *arg)
{
    static const tr_child_spec children[] = {{.id = "one", .def = &echo_def}};
    (void)state, (void)arg;
    tr_addr group = tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = 1});
    return tr_addr_is_none(group) ? tr_last_error(self)->code : TR_OK;
}

static const tr_actor_def client_def = {.name = "client", .init = client_init, .receive = client_receive};

/* ---- its life ------------------------------------------------------------------------------------------ */

static void on_wake(void *context)
{
    (void)context; /* settle steps everybody */
}

void fuzz_node_open(fuzz_node *n, const char *name, memory_net *net)
{
    tr_error error = {0};
    n->m = manual_open_tx(1, name, NULL);
    n->m->node->seams.wake_control = on_wake;
    n->m->node->opts.listen = "127.0.0.1:0";
    tr_err err = tr__remote_open(n->m->node, &net->net, &error);
    tr__check(err == TR_OK, "%s", error.text);
    n->echo = manual_spawn_def(n->m, 0, &echo_def, NULL, &(tr_spawn_opts){.name = "echo"});
    n->client = manual_spawn_def(n->m, 0, &client_def, NULL, &(tr_spawn_opts){.name = "client"});
    manual_spawn_def(n->m, 0, &tr_topic, NULL, &(tr_spawn_opts){.name = "topic"});
}

void fuzz_node_join(fuzz_node *n, const char *address)
{
    tr_error error = {0};
    tr_err err = tr__endpoint_dial(n->m->node->remote->endpoint, address, &error);
    tr__check(err == TR_OK, "%s", error.text);
}

static bool step(fuzz_node *n)
{
    tr__remote *remote = n->m->node->remote;
    bool did = tr__remote_control_due(remote) <= n->m->now_ns;
    if (did)
        tr__remote_control_step(remote, n->m->now_ns);
    did |= tr__remote_has_news(remote);
    manual_pump(n->m);
    return did;
}

void fuzz_node_settle(fuzz_node *const *nodes, unsigned count, memory_net *net)
{
    bool more = true;
    for (unsigned round = 0; more; round++) {
        tr__check(round < 200000, "it never comes to rest");
        more = memory_net_step(net);
        for (unsigned i = 0; i < count; i++)
            more |= step(nodes[i]);
    }
}

void fuzz_node_advance(fuzz_node *const *nodes, unsigned count, memory_net *net, uint64_t by_ns)
{
    const uint64_t steps = 4;
    for (uint64_t s = 0; s < steps; s++) {
        for (unsigned i = 0; i < count; i++)
            manual_step(nodes[i]->m, by_ns / steps);
        fuzz_node_settle(nodes, count, net);
    }
}

void fuzz_node_close(fuzz_node *n)
{
    manual_stop(n->m);
    tr__remote_free(n->m->node);
    manual_check(n->m);
    tr__node_unmake(n->m->node);
    free(n->m);
}
