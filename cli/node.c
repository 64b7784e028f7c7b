/* `troupe node`: a node whose actors are its plugins' and the apps that are asked for. The main thread, in tr_main. */
#include <stdio.h>
#include <string.h>

#include <troupe/app.h>
#include <troupe/node.h>
#include <troupe/troupe.h>

#include "cli/cli.h"

#define APPS_MAX 16

/* The apps' supervisor has given up: that is this node's end, and its text the node's. */
static tr_err ended(tr_actor *self, const tr_exited *exited)
{
    return tr_fail(self, exited->code ? (tr_err)exited->code : TR_EAPP, "%s", exited->text);
}

/* Until it answers: then its init is behind it. */
static tr_err await_app(tr_actor *self, const char *name)
{
    const tr_found *found;
    tr_err err = tr_await(self, tr_lookup(self, name, TR_SECONDS(1)), tr_found, &found);
    if (err == TR_OK)
        err = tr_await_msg(self, tr_ask(self, found->actor, TR_SECONDS(5), tr_app_query), NULL);
    for (const tr_msg *msg; err != TR_OK && (msg = tr_receive(self, TR_SECONDS(1)));) {
        const tr_exited *exited = tr_match(msg, tr_exited);
        if (exited)
            return ended(self, exited);
    }
    return err;
}

/* `app NAME ID PEER` again and again: each is supervised, and up when this returns. */
static tr_err start_apps(tr_actor *self, char *const *rest)
{
    static tr_app_opts opts[APPS_MAX]; /* the supervisor starts them again from these */
    static tr_child_spec specs[APPS_MAX];
    uint32_t count = 0;
    for (; *rest; rest += 4, count++) {
        if (strcmp(rest[0], "app") != 0 || !rest[1] || !rest[2] || !rest[3])
            return tr_fail(self, TR_EINVAL,
                           "unexpected \"%s\": behind the options only `app NAME ID PEER` may stand",
                           rest[0]);
        if (count == APPS_MAX)
            return tr_fail(self, TR_EINVAL, "more than %d apps", APPS_MAX);
        opts[count] = (tr_app_opts){.name = rest[1], .id = rest[2], .peer = rest[3]};
        specs[count] = (tr_child_spec){.id = rest[1], .def = &tr_app, .arg = &opts[count], .named = true};
    }
    if (count == 0)
        return TR_OK;
    tr_trap_exit(self, true); /* of the supervisor, to whom this one is linked */
    if (tr_addr_is_none(tr_supervise(self, &(tr_supervisor_spec){.children = specs, .count = count})))
        return tr_last_error(self)->code;
    for (uint32_t i = 0; i < count; i++)
        TR_TRY(await_app(self, specs[i].id));
    return TR_OK;
}

/* All are up; what is left is to wait for the end. */
static tr_err wait_for_the_end(tr_actor *self, void *arg)
{
    TR_TRY(start_apps(self, arg));
    const char *listen = tr_node_listen(tr_node_of(self));
    printf(CLI_NODE_RUNS "%s%s; Ctrl-C ends it\n", *listen ? CLI_NODE_LISTENS : "", listen);
    fflush(stdout);
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const tr_exited *exited = tr_match(msg, tr_exited);
        if (exited && exited->kind != TR_EXIT_SHUTDOWN) /* which is the node's own end */
            return ended(self, exited);
    }
    return tr_last_error(self)->code;
}

int cli_node(int argc, char **argv)
{
    argv[0] = "troupe node";
    return tr_main(argc, argv, wait_for_the_end, NULL);
}
