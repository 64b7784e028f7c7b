/* Alice: the web app over files of this machine. Her actor answers /echo on her loop, so that who asks it
 * measures the loop; lists and files come from nng's threads. She also holds asks open at bob when told to,
 * to see how they fail. Her loop's thread, but for on_echo.
 *
 * Failures: no files, or no port, end her with an error that the demo shows. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "cli/demo/apps.h"
#include "cli/demo/files.h"
#include "cli/demo/nng_web.h"
#include "cli/demo/node.h"

TR_MESSAGE(alice_tick)
TR_MESSAGE(alice_echo, (u64, ticket), (u64, number))

#define CHOOSE_TIMEOUT TR_SECONDS(20)
#define HOLD_TIMEOUT   TR_SECONDS(60)
#define TICK           TR_MILLIS(100)
#define AHEAD          16 /* items of hers that may be ahead of bob's */

typedef struct alice {
    const demo_role_arg *arg;
    tr_node *node;
    tr_addr self_addr;
    tr__web *web;
    tr__web_file *files;
    uint32_t file_count;
    uint32_t holds, failed, no_connection; /* asks that bob holds, and how they ended */
    tr_addr bob, app;
    uint32_t given; /* items put */
    bool publishing;
} alice;

/* ---- the web app --------------------------------------------------------------------------------------- */

/* What choosing gives back: a block of this process, whose owner is the one that reads it. */
typedef struct choice {
    tr__web_file *files;
    uint32_t count;
} choice;

static tr_err choose(const void *in, size_t in_size, tr_compute_out *out)
{
    const demo_node_args *args = *(const demo_node_args *const *)in;
    choice chosen;
    tr_error error;
    (void)in_size;
    tr_err err = demo_files_choose(args->source, args->files, &chosen.files, &chosen.count, &error);
    if (err != TR_OK)
        return tr_compute_fail(out, err, "%s", error.text);
    err = tr_compute_write(out, &chosen, sizeof(chosen));
    if (err != TR_OK)
        demo_files_free(chosen.files, chosen.count);
    return err;
}

/* On nng's thread. */
static bool on_echo(void *context, uint64_t ticket, uint64_t number)
{
    alice *a = context;
    return tr_post(a->node, a->self_addr, alice_echo, .ticket = ticket, .number = number) == TR_OK;
}

static void answer_echo(tr_actor *self, alice *a, const alice_echo *echo)
{
    if (a->web)
        tr__web_answer(a->web, echo->ticket, tr_fmt(self, "alice says %" PRIu64 "\n", echo->number));
}

static void open_web(tr_actor *self, alice *a)
{
    tr_error error;
    uint64_t bytes = 0;
    const char *host = a->arg->args->host;
    a->web = tr__web_open(&(tr__web_opts){.address = tr_fmt(self, "%s:0", host),
                                          .files = a->files,
                                          .file_count = a->file_count,
                                          .on_echo = on_echo,
                                          .context = a},
                          &error);
    if (!a->web) {
        tr_exit(self, error.code, "%s", error.text);
        return;
    }
    for (uint32_t i = 0; i < a->file_count; i++)
        bytes += a->files[i].size;
    tr_send(self, a->arg->observer, demo_web,
            .address = tr_fmt(self, "%s:%u", host, (unsigned)tr__web_port(a->web)), .files = a->file_count,
            .bytes = bytes);
}

static void chosen(tr_actor *self, void *state, const tr_result *result, void *context)
{
    alice *a = state;
    (void)context;
    const tr_called *called = result->msg ? tr_match(result->msg, tr_called) : NULL;
    if (!called || called->output.size != sizeof(choice)) {
        tr_exit(self, result->err, "%s", result->error ? result->error->text : "choosing files failed");
        return;
    }
    choice c;
    memcpy(&c, called->output.data, sizeof(c));
    a->files = c.files;
    a->file_count = c.count;
    open_web(self, a);
}

/* ---- the exchange with bob's app ----------------------------------------------------------------------- */

static void put_ended(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)state;
    (void)context;
    if (result->err != TR_OK)
        tr_exit(self, result->err, "alice's app: %s", result->error ? result->error->text : "");
}

static void give_items(tr_actor *self, alice *a, uint64_t bobs)
{
    for (; a->given < a->file_count && a->given < bobs + AHEAD; a->given++) {
        const tr__web_file *file = &a->files[a->given];
        const char *item =
            tr_fmt(self, "offer %" PRIu32 " size %" PRIu64 " path %s", a->given, file->size, file->path);
        tr_then(self, demo_app_put(self, a->app, item), put_ended, NULL);
    }
}

static void app_status(tr_actor *self, void *state, const tr_result *result, void *context)
{
    alice *a = state;
    (void)context;
    const tr_app_status *s = result->msg ? tr_match(result->msg, tr_app_status) : NULL;
    if (!s || strcmp(s->state, "stopped") == 0) {
        tr_exit(self, result->err ? result->err : TR_EPROTO, "alice's app: %s",
                s               ? s->error
                : result->error ? result->error->text
                                : "");
        return;
    }
    if (s->digest[0] && !s->error[0]) { /* else: it is locked by what is in doubt, or bob is away */
        tr_send(self, a->arg->observer, demo_journal, .last = s->last, .own = s->own, .other = s->other,
                .waiting = s->waiting, .together = s->waiting == 0 && strcmp(s->state, "together") == 0);
        give_items(self, a, s->other);
    }
    tr_after(self, TICK, alice_tick);
}

static void ask_status(tr_actor *self, alice *a)
{
    tr_then(self, tr_ask(self, a->app, DEMO_APP_TIMEOUT, tr_app_query, .together = false), app_status, NULL);
}

/* ---- asks that fail ------------------------------------------------------------------------------------ */

static void hold_ended(tr_actor *self, void *state, const tr_result *result, void *context)
{
    alice *a = state;
    (void)context;
    a->failed++;
    a->no_connection += result->err == TR_ENOCONN;
    if (a->failed < a->holds)
        return;
    char text[TR_ADDR_TEXT_MAX];
    tr_send(self, a->arg->observer, demo_asks_failed, .asks = a->failed, .no_connection = a->no_connection,
            .at_ns = demo_now(),
            .text = tr_fmt(self, "%s %s", tr_err_word(result->err), tr_addr_format(a->bob, text)));
    a->holds = a->failed = a->no_connection = 0;
}

static void arm_failed(tr_actor *self, alice *a, const tr_result *result)
{
    tr_send(self, a->arg->observer, demo_trouble, .name = "alice",
            .text = tr_fmt(self, "alice can't ask bob: %s", result->error ? result->error->text : ""));
}

/* Bob answered, so he has what was sent before. */
static void bob_holds(tr_actor *self, void *state, const tr_result *result, void *context)
{
    alice *a = state;
    (void)context;
    if (result->err != TR_OK)
        arm_failed(self, a, result);
    else
        tr_send(self, a->arg->observer, demo_armed, .asks = a->holds, .bob = "bob");
}

static void bob_found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    alice *a = state;
    (void)context;
    const tr_found *f = result->msg ? tr_match(result->msg, tr_found) : NULL;
    if (!f) {
        arm_failed(self, a, result);
        return;
    }
    a->bob = f->actor;
    for (uint32_t i = 0; i < a->holds; i++)
        tr_then(self, tr_ask(self, f->actor, HOLD_TIMEOUT, demo_hold), hold_ended, NULL);
    tr_then(self, tr_ask(self, f->actor, TR_SECONDS(5), demo_ready), bob_holds, NULL);
}

/* ---- the actor ----------------------------------------------------------------------------------------- */

static tr_err alice_init(tr_actor *self, void *state, const void *arg)
{
    alice *a = state;
    a->arg = arg;
    a->node = tr_node_of(self);
    a->self_addr = tr_self(self);
    TR_TRY(tr_compute_register("demo-choose", choose));
    a->app = demo_app_spawn(self, a->arg);
    if (tr_addr_is_none(a->app))
        return tr_last_error(self)->code;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 1});
    const demo_node_args *args = a->arg->args;
    return tr_then(self,
                   tr_ask(self, compute, CHOOSE_TIMEOUT, tr_call, .function = "demo-choose",
                          .input = {&args, sizeof(args)}),
                   chosen, NULL);
}

static void alice_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    alice *a = state;
    const alice_echo *echo = tr_match(msg, alice_echo);
    const demo_arm *arm = tr_match(msg, demo_arm);
    if (echo) {
        answer_echo(self, a, echo);
    } else if (arm) {
        a->holds = arm->asks;
        tr_then(self, tr_lookup(self, "bob/bob", TR_SECONDS(5)), bob_found, NULL);
    } else if (tr_match(msg, alice_tick) || (tr_match(msg, demo_publish) && !a->publishing)) {
        a->publishing = true;
        ask_status(self, a);
    }
}

static void alice_stop(tr_actor *self, void *state)
{
    alice *a = state;
    (void)self;
    tr__web_close(a->web);
    demo_files_free(a->files, a->file_count);
}

const tr_actor_def demo_alice = {.name = "alice",
                                 .init = alice_init,
                                 .receive = alice_receive,
                                 .stop = alice_stop,
                                 .state_size = sizeof(alice)};
