/* A plugin in a node: its manager, an actor on loop 0, starts a supervisor with the plugin's actors and waits
 * until the init of each was called.
 *
 *     load ──► manager ──► supervisor ──► actors; each reports its first init
 *                 │ all well ──► up: tr_plugin_start returns TR_OK
 *                 │ one failed, or the supervisor ended ──► tr_plugin_start fails; all of it ends
 *                 └ the supervisor ends once it is up (too many restarts) ──► the node stops with that error
 *
 * Messages are how the manager hears all this, so it may live on another loop than the actors. What can fail:
 * loading (loader.h), memory, a name that is taken, an init. */
#include <stdio.h>
#include <string.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/loop.h"
#include "actors/plugin/loader.h"
#include "base/err.h"
#include "mailbox/versions.h"

/* Asked by who starts the plugin; answered with the same when it is up. */
TR_MESSAGE(tr__plugin_up)
/* From a plugin's actor: its init was called. */
TR_MESSAGE(tr__plugin_inited, (u32, actor), (u32, code), (string, text))

typedef struct manager {
    tr__plugin *plugin;
    tr_addr supervisor;
    tr_msg *ask; /* of who waits for it to be up; NULL: answered */
    uint32_t inited;
    bool seen[TR__PLUGIN_ACTORS_MAX];
    bool up;
} manager;

/* ---- within the plugin's actors: around their own init and run ----------------------------------------- */

static tr_err init_around(tr_actor *self, void *state, const void *arg)
{
    const tr__plugin_actor *actor = arg;
    tr_err err = actor->own->init ? actor->own->init(self, state, NULL) : TR_OK;
    const tr_error *last = tr_last_error(self);
    tr_err told = tr_send(self, actor->manager, tr__plugin_inited,
                          .actor = (uint32_t)(actor - actor->plugin->actors), .code = (uint32_t)err,
                          .text = err == TR_OK        ? ""
                                  : last->code == err ? last->text
                                                      : tr__err_meaning(err));
    if (err != TR_OK || told == TR_OK || told == TR_ENOACTOR)
        return err;
    if (actor->own->stop)
        actor->own->stop(self, state);
    return told;
}

static tr_err run_around(tr_actor *self, void *arg)
{
    const tr__plugin_actor *actor = arg;
    return actor->own->run(self, NULL);
}

/* ---- the manager --------------------------------------------------------------------------------------- */

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    manager *m = state;
    tr_child_spec children[TR__PLUGIN_ACTORS_MAX];
    m->plugin = (tr__plugin *)arg;
    for (uint32_t i = 0; i < m->plugin->actor_count; i++) {
        tr__plugin_actor *actor = &m->plugin->actors[i];
        actor->manager = tr_self(self);
        tr__def_copy(&actor->def, actor->own);
        actor->def.init = init_around;
        actor->def.run = actor->own->run ? run_around : NULL;
        actor->def.arg_type = NULL;
        children[i] = (tr_child_spec){.id = actor->name,
                                      .def = &actor->def,
                                      .arg = actor,
                                      .restart = actor->own->run ? TR_TRANSIENT : TR_PERMANENT,
                                      .named = true};
    }
    tr_trap_exit(self, true);
    m->supervisor =
        tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = m->plugin->actor_count});
    return tr_addr_is_none(m->supervisor) ? tr_last_error(self)->code : TR_OK;
}

static void stop_node(tr_node *node, tr_err code, const char *text)
{
    if (node->outcome == TR_OK)
        tr__fail(&node->outcome_error, node->outcome = code, "%s", text);
    tr_node_stop(node);
}

/* It ends: linked, the supervisor and the plugin's actors end with it. */
static void fail(tr_actor *self, manager *m, tr_err code, const char *what, const char *text)
{
    const tr__plugin *plugin = m->plugin;
    tr_error error;
    tr__fail(&error, code, "plugin %s (%s): %s%s", plugin->block->name, plugin->file, what, text);
    if (m->ask)
        tr_reply_error(self, m->ask, code, "%s", error.text);
    tr_exit(self, code, "%s", error.text);
    if (m->up)
        stop_node(tr__owner(self)->node, code, error.text);
}

static void answer_if_up(tr_actor *self, manager *m)
{
    const tr_plugin_block *block = m->plugin->block;
    if (m->inited < m->plugin->actor_count || !m->ask)
        return;
    m->up = true;
    tr_reply(self, m->ask, tr__plugin_up);
    tr_msg_free(self, &m->ask);
    tr_log(self, TR_LOG_INFO, "plugin %s %s (%s) is up", block->name, block->version, m->plugin->file);
}

static void inited(tr_actor *self, manager *m, const tr__plugin_inited *report)
{
    if (m->up || report->actor >= m->plugin->actor_count || m->seen[report->actor])
        return;
    if (report->code != TR_OK) {
        fail(self, m, (tr_err)report->code,
             tr_fmt(self, "its actor %s failed in init: ", m->plugin->actors[report->actor].own->name),
             report->text);
        return;
    }
    m->seen[report->actor] = true;
    m->inited++;
    answer_if_up(self, m);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    manager *m = state;
    const tr__plugin_inited *report = tr_match(msg, tr__plugin_inited);
    const tr_exited *exited = tr_match(msg, tr_exited);
    if (tr_match(msg, tr__plugin_up)) {
        m->ask = tr_msg_take(self, msg);
        answer_if_up(self, m);
    } else if (report) {
        inited(self, m, report);
    } else if (exited && tr_addr_equal(exited->actor, m->supervisor)) {
        fail(self, m, exited->code ? (tr_err)exited->code : TR_EAPP, "", exited->text);
    }
}

static const tr_actor_def manager_def = {
    .name = "plugin", .state_size = sizeof(manager), .init = init, .receive = receive};

/* A message of such a type from the other side isn't seen as one. No error: two plugins may well have a "tick" each, and
 * never meet. */
static void warn_of_versions(tr_actor *self, const tr__plugin *plugin)
{
    tr_error error;
    for (tr_type *const *type = plugin->block->types; type < plugin->block->types_end; type++)
        if (tr__versions_check((*type)->registered, &error) != TR_OK)
            tr_log(self, TR_LOG_WARN,
                   "plugin %s: it and this node don't understand each other's %s: %s (here: in the plugin)",
                   plugin->file, (*type)->name, error.text);
}

tr_err tr_plugin_start(tr_actor *self, const char *file)
{
    tr_error error;
    if (!self->fiber)
        return tr_fail(self, TR_EINVAL, "tr_plugin_start waits, so only an actor with `run` can call it");
    tr__plugin *plugin = tr__plugin_load(file, &tr__host_table, &error);
    if (!plugin)
        return tr_fail(self, error.code, "%s", error.text);
    warn_of_versions(self, plugin);
    /* Loop 0, because the node's outcome is that loop's. */
    tr_addr to = tr_spawn_with(self, &manager_def, plugin, &(tr_spawn_opts){.place = TR_PLACE_LOOP});
    if (tr_addr_is_none(to))
        return tr_last_error(self)->code;
    return tr_await_msg(self, tr_ask(self, to, TR_FOREVER, tr__plugin_up), NULL);
}
