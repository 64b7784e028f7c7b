/* The app actor: its life and its steps; see troupe/app.h, and app_state.h for the drawing and the invariants.
 *
 * It runs like any actor, a message at a time; what is durable goes through transactions (troupe/tx.h), in which it is
 * also a participant. Hashing a batch (64 KiB) is done here, a quarter of a millisecond.
 *
 * After whatever happened, tr__app_pump() looks for the next thing to do. How it can fail: what breaks the agreement of
 * the journals ends the exchange (tr__app_end_exchange); what may be otherwise the next time, such as a node that is
 * away, makes the two part (tr__app_part) and look again after a back-off. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/kinds/app_state.h"
#include "actors/loop.h"
#include "base/check.h"
#include "base/err.h"

#define BACKOFF_FIRST_NS TR_MILLIS(50)
#define BACKOFF_MAX_NS   TR_SECONDS(2)

TR_MESSAGE(tr_app_tick)

/* ---- steps --------------------------------------------------------------------------------------------- */

#define TO(step) (1u << TR__APP_##step)

static const struct {
    const char *name;
    unsigned next; /* the steps that may follow */
} steps[TR__APP_STEPS] = {
    [TR__APP_APART] = {"apart", TO(LOOKING) | TO(STOPPED)},
    [TR__APP_LOOKING] = {"looking", TO(TOGETHER) | TO(APART) | TO(STOPPED)},
    [TR__APP_TOGETHER] = {"together", TO(PUTTING)},
    [TR__APP_PUTTING] = {"putting", TO(TOGETHER) | TO(APART) | TO(RESOLVING) | TO(STOPPED)},
    [TR__APP_RESOLVING] = {"resolving", TO(APART) | TO(STOPPED)},
    [TR__APP_STOPPED] = {"stopped", 0},
};

const char *tr__app_step_name(tr__app_step step)
{
    return steps[step].name;
}

void tr__app_go(tr_actor *self, tr__app *app, tr__app_step step)
{
    tr__check(steps[app->step].next & 1u << step, "an app does not go from %s to %s", steps[app->step].name,
              steps[step].name);
    tr_log(self, TR_LOG_DEBUG, "app %s (%s): %s -> %s", app->name, app->id, steps[app->step].name,
           steps[step].name);
    app->step = step;
    tr__check(step == TR__APP_PUTTING || step == TR__APP_RESOLVING || app->batch == 0,
              "P2: only what is undecided is under way");
}

const char *tr__app_peer_label(tr_actor *self, const tr__app *app)
{
    if (app->peer_name[0])
        return tr_fmt(self, "app %.40s (%s)", app->peer_name, app->peer_id);
    return tr_fmt(self, "the app at %.60s", app->peer_path);
}

/* ---- ends and beginnings ------------------------------------------------------------------------------- */

void tr__app_end_exchange(tr_actor *self, tr__app *app, tr_err code, const char *format, ...)
{
    tr_error why;
    va_list args;
    va_start(args, format);
    tr__vfail(&why, code, format, args);
    va_end(args);
    tr__fail(&app->error, code, "app %.40s (%s) could not talk properly to %s: %s", app->name, app->id,
             tr__app_peer_label(self, app), why.text);
    tr_log(self, TR_LOG_ERROR, "%s", app->error.text);
    app->batch = 0;
    tr__app_go(self, app, TR__APP_STOPPED);
    tr__app_puts_fail(self, app);
    tr__app_fail_queries(self, app);
}

void tr__app_later(tr_actor *self, tr__app *app)
{
    uint64_t wait = app->backoff_ns ? app->backoff_ns : BACKOFF_FIRST_NS;
    app->backoff_ns = wait * 2 < BACKOFF_MAX_NS ? wait * 2 : BACKOFF_MAX_NS;
    wait = wait / 2 + tr_random(self) % (wait / 2); /* jitter: both ends may have lost each other at once */
    app->ticking = tr_after(self, wait, tr_app_tick).id != 0;
    if (!app->ticking)
        tr_exit(self, TR_ENOMEM, "app %.40s (%s): no memory for a timer", app->name, app->id);
}

void tr__app_part(tr_actor *self, tr__app *app, tr_err code, const char *why)
{
    /* Not again and again the same while the peer is away, or nothing can be put. */
    if (app->settled || strcmp(app->apart, why) != 0)
        tr_log(self, TR_LOG_INFO, "app %s (%s) is apart from %s: %s", app->name, app->id,
               tr__app_peer_label(self, app), why);
    app->settled = false;
    snprintf(app->apart, sizeof(app->apart), "%s", why);
    if (why != app->error.text)
        tr__fail(&app->error, code, "%s", why);
    app->batch = 0;
    if (app->step != TR__APP_APART)
        tr__app_go(self, app, TR__APP_APART);
    tr__app_later(self, app);
}

void tr__app_again(tr_actor *self, tr__app *app)
{
    app->batch = 0;
    tr__app_go(self, app, app->step == TR__APP_PUTTING ? TR__APP_TOGETHER : TR__APP_APART);
    tr__app_later(self, app);
}

void tr__app_settled(tr_actor *self, tr__app *app)
{
    app->backoff_ns = 0;
    if (!app->settled)
        tr_log(self, TR_LOG_INFO, "app %s (%s) is together with %s at entry %" PRIu64, app->name, app->id,
               tr__app_peer_label(self, app), app->ends[0].last);
    app->settled = true;
}

void tr__app_pump(tr_actor *self, tr__app *app)
{
    if (app->ticking)
        return;
    switch (app->step) {
    case TR__APP_APART:
        tr__app_look(self, app);
        break;
    case TR__APP_TOGETHER:
        tr__app_answer_queries(self, app);
        tr__app_exchange(self, app);
        if (app->step == TR__APP_TOGETHER) /* and nothing waits */
            tr__app_settled(self, app);
        break;
    case TR__APP_RESOLVING:
        if (!app->called)
            tr__app_resolve(self, app);
        break;
    default:
        break;
    }
}

/* ---- options ------------------------------------------------------------------------------------------- */

tr_err tr__app_peer_check(const tr__app *app, const char *name, const char *id, tr_error *error)
{
    size_t length = strnlen(name, TR__APP_NAME_MAX + 1);
    bool good = length > 0 && length <= TR__APP_NAME_MAX;
    for (size_t i = 0; good && i < length; i++)
        good = (unsigned char)name[i] >= ' ' && name[i] != 127;
    if (!good)
        return tr__fail(error, TR_EINVAL, "an app's name has 1 to %d bytes and no control characters",
                        TR__APP_NAME_MAX);
    if (!tr__app_id_valid(id))
        return tr__fail(error, TR_EINVAL, "an app's id is 1 to %d of A-Z a-z 0-9 . _ -", TR__APP_ID_MAX);
    if (strcmp(id, app->id) == 0)
        return tr__fail(error, TR_EINVAL, "both apps have the id %s: give each its own", id);
    return TR_OK;
}

/* Where we are, and where the peer is: the order of these two texts is the order of the calls (P3). */
static tr_err paths(tr_actor *self, tr__app *app, const char *peer, tr_error *error)
{
    tr_node *node = tr__owner(self)->node;
    char name[TR_NAME_MAX];
    const char *slash = strchr(peer, '/');
    size_t front = slash ? (size_t)(slash - peer) : 0, back = slash ? strlen(slash + 1) : 0;
    if (!front || !back || front >= TR_NAME_MAX || back >= TR_NAME_MAX || strchr(slash + 1, '/'))
        return tr__fail(error, TR_EINVAL, "peer \"%.60s\": the other app's \"node/name\" is needed", peer);
    tr__check(tr__name_of(node, tr_self(self), name), "what has `transact` isn't spawned without a name");
    snprintf(app->path, sizeof(app->path), "%s/%s", node->name, name);
    snprintf(app->peer_path, sizeof(app->peer_path), "%s", peer);
    if (strcmp(app->path, app->peer_path) == 0)
        return tr__fail(error, TR_EINVAL, "peer \"%.60s\" is this app itself", peer);
    return TR_OK;
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    const tr_app_opts *opts = arg;
    tr__app *app = state;
    tr_error error;
    app->puts_end = &app->puts;
    if (!opts)
        return tr_fail(self, TR_EINVAL, "tr_app needs a tr_app_opts with a name, an id and a peer");
    if (tr__app_peer_check(app, opts->name, opts->id, &error) != TR_OK ||
        paths(self, app, opts->peer, &error) != TR_OK)
        return tr_fail(self, error.code, "tr_app_opts of \"%.40s\": %s", opts->name, error.text);
    snprintf(app->name, sizeof(app->name), "%s", opts->name);
    snprintf(app->id, sizeof(app->id), "%s", opts->id);
    tr_trap_exit(self, true);
    app->ticking = tr_after(self, 0, tr_app_tick).id != 0;
    return app->ticking ? TR_OK : tr_last_error(self)->code;
}

/* ---- the actor ----------------------------------------------------------------------------------------- */

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    tr__app *app = state;
    const void *body;
    if ((body = tr_match(msg, tr_app_put)))
        tr__app_on_put(self, app, msg, body);
    else if ((body = tr_match(msg, tr_app_query)))
        tr__app_on_query(self, app, msg, body);
    else if ((body = tr_match(msg, tr_app_get)))
        tr__app_on_get(self, app, msg);
    else if ((body = tr_match(msg, tr_app_own)))
        tr__app_on_own(self, app, msg, body);
    else if (tr_match(msg, tr_app_tick))
        app->ticking = false;
    else if ((body = tr_match(msg, tr_exited)))
        tr__app_on_exited(self, app, body);
    else if ((body = tr_match(msg, tr_canceled))) {
        tr__app_put_canceled(self, app, body);
        tr__app_query_canceled(self, app, body);
    }
    tr__app_pump(self, app);
}

static void stop(tr_actor *self, void *state)
{
    (void)self; /* kept asks are the runtime's to release: their askers hear no-actor */
    tr__app_puts_free(state);
}

const tr_actor_def tr_app = {
    .name = "app",
    .state_size = sizeof(tr__app),
    .init = init,
    .receive = receive,
    .transact = tr__app_transact,
    .stop = stop,
    .arg_type = &tr_app_opts_type,
};
