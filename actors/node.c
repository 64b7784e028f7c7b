/* The node's parts made and unmade, its log and its sums. The thread that creates it, but for the log. */
#include "actors/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "actors/names/warden.h"
#include "actors/operator/operator.h"
#include "actors/remote/confirmed.h"
#include "actors/remote/remote.h"
#include "actors/remote/spawn_at.h"
#include "actors/remote/spool.h"
#include "actors/supervision/shutdown.h"
#include "actors/supervision/watchdog.h"
#include "actors/transactions.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/printable.h"
#include "base/stderr_os.h"
#include "mailbox/buffer.h"
#include "transport/detector.h"
#include "transport/frame.h"

static void log_to_stderr(void *context, tr_log_level level, const char *line)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    (void)context;
    tr__stderr_line(words[level], line);
}

void tr__node_log(tr_node *node, tr_log_level level, const char *format, ...)
{
    char line[768], shown[1024];
    if (level > node->log_level)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    node->log(node->log_context, level, tr__printable(shown, sizeof(shown), line));
}

static tr_err check_opts(const tr_node_opts *opts, tr_error *error)
{
    const char *names[] = {opts->name, opts->cluster};
    for (int i = 0; i < 2; i++) /* the text is not shown: it may be long, or move the cursor */
        if (names[i] && tr__name_check(i ? "cluster" : "node", names[i], NULL) != TR_OK)
            return tr__fail(error, TR_EINVAL, "--%s: 1 to %d letters, digits, '_', '.' and '-' are needed",
                            i ? "cluster" : "name", TR__NAME_MAX);
    if (opts->loops > TR__LOOPS_MAX)
        return tr__fail(error, TR_EINVAL, "--loops %u: at most %d", opts->loops, TR__LOOPS_MAX);
    if (opts->advertise && !opts->listen)
        return tr__fail(error, TR_EINVAL, "--advertise %.80s: without --listen nobody can come there",
                        opts->advertise);
    if (tr__rights_check(opts->rights, opts->rights_count, error) != TR_OK)
        return TR_EINVAL;
    tr__detector_config detector;
    tr__remote_detector(opts, &detector);
    return tr__detector_config_check(&detector, error);
}

static bool loops_make(tr_node *node)
{
    for (uint32_t i = 0; i < node->loop_count; i++) {
        node->loops[i] = tr__alloc(sizeof(tr__loop));
        if (!node->loops[i])
            return false;
        if (tr__loop_init(node->loops[i], node, (uint8_t)i) != TR_OK) {
            tr__free(node->loops[i]);
            node->loops[i] = NULL;
            return false;
        }
    }
    atomic_store(&node->loops_all, node->loop_count);
    return true;
}

tr_node *tr__node_make(const tr_node_opts *opts, const tr__seams *seams, tr_error *error)
{
    if (check_opts(opts, error) != TR_OK)
        return NULL;
    tr_node *node = tr__types_register_all() == TR_OK ? tr__zalloc(sizeof(*node)) : NULL;
    if (!node) {
        tr__fail(error, TR_ENOMEM, "no memory for a node");
        return NULL;
    }
    node->opts = *opts;
    if (!node->opts.watchdog_ns)
        node->opts.watchdog_ns = TR__PATIENCE_NS;
    node->seams = *seams;
    /* Never 0, which is no node. */
    node->id = tr__hash(&seams->seed, sizeof(seams->seed)) | 1;
    snprintf(node->name, sizeof(node->name), "%s", opts->name ? opts->name : "node");
    snprintf(node->cluster, sizeof(node->cluster), "%s", opts->cluster ? opts->cluster : "troupe");
    node->log = opts->log ? opts->log : log_to_stderr;
    node->log_context = opts->log_context;
    node->log_level = opts->log_level;
    node->loop_count = opts->loops ? opts->loops : 1;
    node->buffers = tr__buffers_open();
    if (node->buffers && opts->message_budget)
        atomic_store_explicit(&node->buffers->max, opts->message_budget, memory_order_relaxed);
    if (node->buffers)
        atomic_store_explicit(&node->buffers->spool_max, opts->spool_max ? opts->spool_max : TR__SPOOL_MAX,
                              memory_order_relaxed);
    if (!node->buffers || !loops_make(node)) {
        tr__node_unmake(node);
        tr__fail(error, TR_ENOMEM, "no memory for %u loops", opts->loops);
        return NULL;
    }
    return node;
}

void tr__node_unmake(tr_node *node)
{
    if (!node)
        return;
    if (node->remote)
        tr__remote_free(node);
    for (uint32_t i = 0; i < TR__LOOPS_MAX; i++)
        if (node->loops[i]) {
            tr__loop_fini(node->loops[i]);
            tr__free(node->loops[i]);
        }
    for (uint32_t i = 0; i < TR__SEGMENTS_MAX && node->segments[i]; i++)
        tr__huge_free(node->segments[i]);
    tr__names_fini(node);
    tr__offers_fini(node);
    tr__transactions_free(node);
    tr__buffers_close(node->buffers);
    tr__free(node);
}

/* ---- the first actors ---------------------------------------------------------------------------------- */

/* Starts the plugins, then runs opts.start as a fiber; its end is the node's. */
static tr_err run_first(tr_actor *self, void *arg)
{
    tr_node *node = tr__owner(self)->node;
    const char *const *plugin = node->opts.plugins;
    tr_err err = TR_OK;
    for (; plugin && *plugin && err == TR_OK; plugin++)
        err = tr_plugin_start(self, *plugin);
    if (err == TR_OK && !node->opts.start)
        return TR_OK; /* it runs until tr_node_stop */
    if (err == TR_OK)
        err = node->opts.start(self, arg);
    if (err != TR_OK &&
        tr__is_stopping(node)) { /* it did what it was asked to; or whom it needed had stopped */
        if (err != TR_EKILLED)
            tr_log(self, TR_LOG_INFO, "ends while the node stops: %s", tr_last_error(self)->text);
        err = TR_OK;
    }
    if (node->outcome != TR_OK)
        return err; /* it stops already, and for another reason */
    node->outcome = err;
    node->outcome_error = (tr_error){.code = err};
    if (err != TR_OK) { /* the whole text: an exit reason's is shorter */
        const tr_error *last = tr_last_error(self);
        snprintf(node->outcome_error.text, sizeof(node->outcome_error.text), "%s",
                 last->code == err ? last->text : tr__err_meaning(err));
    }
    tr_node_stop(node);
    return err;
}

static const tr_actor_def first_def = {.name = "start", .run = run_first, .stack_size = 256 * 1024};

tr_err tr__node_begin(tr_node *node, tr_error *error)
{
    tr__loop *loop = node->loops[0];
    loop->spawning = TR__SYSTEM;
    TR_TRY(tr__warden_open(node, error));
    TR_TRY(tr__spool_start(node, error));
    TR_TRY(tr__transactions_open(node, error)); /* locks are back before anybody can connect */
    TR_TRY(tr__confirmer_open(node, error));
    TR_TRY(tr__remote_open(node, node->seams.net, error));
    if (node->operators)
        TR_TRY(tr__operator_begin(node, error));
    loop->spawning = 0;
    if (node->opts.start || node->opts.plugins)
        TR_TRY(tr__spawn(loop, &first_def, node->opts.arg, NULL, &node->first, error));
    return TR_OK;
}

/* ---- what is known of it ------------------------------------------------------------------------------- */

const char *tr_node_listen(const tr_node *node)
{
    return tr__remote_address(node->remote);
}

uint64_t tr_node_id(const tr_node *node)
{
    return node->id;
}

static uint64_t queued(const tr_node *node)
{
    uint64_t sum = 0;
    uint32_t segments = atomic_load_explicit(&((tr_node *)node)->segment_count, memory_order_acquire);
    for (uint32_t i = 0; i < segments * TR__SEGMENT_SLOTS; i++) {
        const tr_actor *actor = tr__slot(node, i);
        sum += actor ? actor->count : 0; /* not by its list, which another loop may be changing */
    }
    return sum;
}

void tr_node_sums(const tr_node *node, tr_sums *sums)
{
    memset(sums, 0, sizeof(*sums));
    for (uint32_t i = 0; i < tr__loops_all(node); i++) {
        const tr__loop_counts *counts = &node->loops[i]->counts;
        sums->accepted += counts->accepted;
        sums->arrived += counts->arrived;
        sums->handled += counts->handled;
        sums->passed += counts->passed;
        sums->sent += counts->sent;
        sums->received += counts->received;
        sums->lost += counts->lost;
        for (int why = 0; why < TR_DROP_COUNT; why++)
            sums->dropped[why] += counts->dropped[why];
    }
    sums->posted = atomic_load_explicit(&((tr_node *)node)->posted, memory_order_relaxed);
    sums->stuck = atomic_load_explicit(&((tr_node *)node)->stuck, memory_order_relaxed);
    sums->overruns = atomic_load_explicit(&((tr_node *)node)->overruns, memory_order_relaxed);
    sums->names_refused = atomic_load_explicit(&((tr_node *)node)->claims_refused, memory_order_relaxed);
    sums->queued = queued(node);
}
