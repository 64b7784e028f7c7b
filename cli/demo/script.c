/* The demo from start to the last check, as one fiber: the first actor of the demo's own node, named
 * "observer". The main thread. It starts the nodes, tells each when to begin, has bob killed or cut off
 * (incidents.c), and waits for what they report; in between it draws the screen.
 *
 * Each wait has an end: a node that dies by itself, a trouble that is told, or a time that runs out ends the
 * demo with a text that says which. Ctrl-C stops the node, so every wait returns TR_EKILLED. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/app.h>
#include <troupe/compute.h>

#include "base/mem.h"
#include "cli/demo/demo.h"
#include "cli/demo/files.h"
#include "cli/demo/incidents.h"
#include "cli/demo/mandelbrot.h"
#include "cli/demo/node.h"
#include "cli/demo/probe.h"
#include "cli/demo/tx.h"

#define STEP          TR_MILLIS(50)
#define WORK_WITHIN   TR_SECONDS(60)
#define PARALLEL      16  /* downloads at a time */
#define HALF_LEAST    2   /* downloads that are in their middle when bob is killed */
#define FULL          400 /* files, for which the times below are */
#define QUIET         TR_MILLIS(2500)
#define DOWNLOAD_S    9.0 /* the rate is held so that it can be watched */
#define RENDER_WORK   TR_SECONDS(7)
#define CHECK_TIMEOUT TR_SECONDS(50)

/* ---- waiting ------------------------------------------------------------------------------------------- */

static tr_err check_children(demo *d)
{
    int status;
    char words[200];
    for (int i = 0; i < DEMO_NODES; i++)
        if (d->children[i].pid && demo_child_reap(d, i, &status))
            return demo_trouble_is(d, TR_ECRASHED, "%s ended by itself (%s %d) %s", d->children[i].name,
                                   WIFSIGNALED(status) ? "signal" : "status",
                                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                                   demo_child_last_words(d, i, words, sizeof(words)));
    return TR_OK;
}

tr_err demo_step(demo *d)
{
    const tr_msg *msg = tr_receive(d->self, STEP);
    if (msg)
        demo_observe(d, msg);
    else if (tr_last_error(d->self)->code == TR_EKILLED)
        return TR_EKILLED;
    demo_tx_step(d);
    demo_screen_draw(d, false);
    TR_TRY(demo_incident_keys(d));
    return d->trouble.code ? d->trouble.code : check_children(d);
}

tr_err demo_wait_until(demo *d, bool (*done)(demo *d), uint64_t within_ns, const char *what)
{
    uint64_t until = demo_now() + within_ns, spent_ns = d->incidents.spent_ns;
    while (!done(d)) {
        TR_TRY(demo_step(d));
        if (demo_now() > until + (d->incidents.spent_ns - spent_ns))
            return demo_trouble_is(d, TR_EDEADLINE, "%s: not within %.0f s", what, (double)within_ns / 1e9);
    }
    return TR_OK;
}

tr_err demo_watch_for(demo *d, uint64_t duration_ns)
{
    uint64_t until = demo_now() + duration_ns;
    while (demo_now() < until)
        TR_TRY(demo_step(d));
    return TR_OK;
}

/* The answer of an ask, while the screen goes on. */
static tr_err wait_answer(demo *d, tr_future future, tr_type *type, const void **answer, const char *what)
{
    const tr_msg *msg;
    tr_err err;
    while ((err = tr_take_result(d->self, future, &msg)) == TR_EAGAIN)
        TR_TRY(demo_step(d));
    if (err != TR_OK)
        return demo_trouble_is(d, err, "%s: %s", what, tr_last_error(d->self)->text);
    *answer = tr_match_type(msg, type);
    return *answer ? TR_OK : demo_trouble_is(d, TR_ETYPE, "%s: an answer of another type", what);
}

tr_err demo_told(demo *d, tr_err err, const char *what)
{
    return err == TR_OK ? TR_OK : demo_trouble_is(d, err, "%s: %s", what, tr_last_error(d->self)->text);
}

/* The share of the full demo that so many files are: small demos, as in tests, are quick. */
static double scale(const demo *d)
{
    double share = (double)d->opts.files / FULL;
    return share > 1 ? 1 : share < 0.1 ? 0.1 : share;
}

/* ---- start --------------------------------------------------------------------------------------------- */

static bool alice_up(demo *d)
{
    return d->children[DEMO_ALICE].up;
}

static bool carol_up(demo *d)
{
    return d->children[DEMO_CAROL].up;
}

static bool bob_up(demo *d)
{
    return d->children[DEMO_BOB].up;
}

static bool web_up(demo *d)
{
    return d->web[0] != 0;
}

/* Bob calls the others, so after a restart he needs no port of before and nobody has to find him. */
tr_err demo_start_bob(demo *d)
{
    const char *join[] = {tr_node_listen(d->node), d->children[DEMO_ALICE].listen,
                          d->children[DEMO_CAROL].listen, NULL};
    return demo_child_start(d, DEMO_BOB, join);
}

static tr_err start_nodes(demo *d)
{
    const char *join[] = {tr_node_listen(d->node), NULL, NULL};
    TR_TRY(demo_child_start(d, DEMO_ALICE, join));
    TR_TRY(demo_wait_until(d, alice_up, DEMO_START_WITHIN,
                           d->net.network ? "starting alice (does a firewall of this host drop what comes "
                                            "from her namespace, by the interface trd-...?)"
                                          : "starting alice"));
    join[1] = d->children[DEMO_ALICE].listen;
    TR_TRY(demo_child_start(d, DEMO_CAROL, join));
    TR_TRY(demo_wait_until(d, carol_up, DEMO_START_WITHIN, "starting carol"));
    TR_TRY(demo_start_bob(d));
    TR_TRY(demo_wait_until(d, bob_up, DEMO_START_WITHIN, "starting bob"));
    return demo_wait_until(d, web_up, DEMO_START_WITHIN, "alice's web app");
}

static tr_err start_probe(demo *d)
{
    static demo_probe_arg arg; /* read by the probe until the node has ended */
    snprintf(arg.address, sizeof(arg.address), "%s", d->web);
    arg.observer = tr_self(d->self);
    d->probe = tr_spawn_with(d->self, &demo_probe, &arg, &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = 1});
    return demo_told(d, tr_addr_is_none(d->probe) ? tr_last_error(d->self)->code : TR_OK,
                     "starting the probe");
}

/* ---- the downloads ---------------------------------------------------------------------------------- */

tr_err demo_begin_download(demo *d)
{
    char into[DEMO_PATH + 16];
    double seconds = DOWNLOAD_S * scale(d);
    uint64_t rate = (uint64_t)((double)d->bytes / seconds) + 1;
    snprintf(into, sizeof(into), "%s/bob", d->directory);
    if (!d->download_began_ns)
        d->download_began_ns = demo_now();
    return demo_told(d,
                     tr_send(d->self, d->children[DEMO_BOB].role, demo_download, .address = d->web,
                             .into = into, .bytes_per_second = rate,
                             .bytes_per_transfer = rate / (d->files < 100 ? 3 : 8) + 1, .parallel = PARALLEL),
                     "telling bob to begin");
}

/* And something half done, so that there is something to go on with; where all files are small, nearly all.
 */
static bool third_done(demo *d)
{
    return d->fetched_bytes * 3 >= d->bytes &&
           (d->half >= HALF_LEAST || d->fetched_bytes * 10 >= d->bytes * 9);
}

static bool all_downloaded(demo *d)
{
    return d->downloaded && d->result_count == d->files;
}

static bool all_exchanged(demo *d)
{
    return d->together && d->alices == d->files && d->bobs == d->files && d->entries_waiting == 0;
}

static tr_err download(demo *d)
{
    TR_TRY(
        demo_told(d, tr_send(d->self, d->children[DEMO_ALICE].role, demo_publish), "telling alice to begin"));
    TR_TRY(demo_begin_download(d));
    if (d->opts.kill || d->opts.partition) {
        TR_TRY(demo_wait_until(d, third_done, WORK_WITHIN, "a third of the files"));
        TR_TRY(d->opts.partition ? demo_cut_bob(d) : demo_kill_bob(d, true));
    }
    TR_TRY(demo_wait_until(d, all_downloaded, WORK_WITHIN, "the downloads"));
    TR_TRY(demo_wait_until(d, all_exchanged, DEMO_START_WITHIN, "alice's and bob's apps to exchange all"));
    demo_screen_event(d, "alice's and bob's journals: %llu entries, from both",
                      (unsigned long long)d->entries);
    if (d->resumed + d->resumed_earlier)
        demo_screen_event(d, "%u half done downloads went on at their byte: %.1f MB not fetched twice",
                          d->resumed + d->resumed_earlier,
                          (double)(d->resumed_bytes + d->resumed_bytes_earlier) / 1e6);
    return TR_OK;
}

/* ---- carol's part -------------------------------------------------------------------------------------- */

static bool pipeline_done(demo *d)
{
    return d->pipelined;
}

static bool size_known(demo *d)
{
    return d->tile_total != 0;
}

static bool picture_done(demo *d)
{
    return d->rendered;
}

static tr_err pipeline(demo *d)
{
    TR_TRY(demo_told(d,
                     tr_send(d->self, d->children[DEMO_CAROL].role, demo_pipeline, .address = d->web,
                             .count = DEMO_REQUESTS),
                     "telling carol"));
    return demo_wait_until(d, pipeline_done, DEMO_START_WITHIN, "the pipeline");
}

/* Carol draws in tiles, and meanwhile this node draws the whole picture on one thread. */
static tr_err render(demo *d, tr_addr compute, tr_future *reference)
{
    char into[DEMO_PATH + 32];
    snprintf(into, sizeof(into), "%s/carol/mandelbrot.png", d->directory);
    d->render_began_ns = demo_now();
    TR_TRY(demo_told(d,
                     tr_send(d->self, d->children[DEMO_CAROL].role, demo_render, .into = into,
                             .work_ns = (uint64_t)((double)RENDER_WORK * scale(d))),
                     "telling carol"));
    TR_TRY(demo_wait_until(d, size_known, DEMO_START_WITHIN, "the picture's size"));
    tr__mandelbrot_tile whole = {
        .view = tr__mandelbrot_seahorse(d->width, d->height), .width = d->width, .height = d->height};
    whole.view.samples = d->samples;
    *reference = tr_ask(d->self, compute, CHECK_TIMEOUT, tr_call, .function = "mandelbrot",
                        .input = tr__mandelbrot_input(&whole));
    return demo_wait_until(d, picture_done, WORK_WITHIN, "the picture");
}

/* ---- checks -------------------------------------------------------------------------------------------- */

static bool same_content(const char *one, const char *other)
{
    char a[65], b[65];
    return demo_file_digest(one, a) == TR_OK && demo_file_digest(other, b) == TR_OK && strcmp(a, b) == 0;
}

static tr_err check_picture(demo *d, tr_addr compute, tr_future reference)
{
    char drawn[DEMO_PATH + 32], own[DEMO_PATH + 32];
    const tr_called *called;
    size_t size;
    TR_TRY(wait_answer(d, reference, &tr_called_type, (const void **)&called, "the one-thread picture"));
    if (called->output.size != (size_t)d->width * d->height * 3)
        return demo_trouble_is(d, TR_ESHORT, "the one-thread picture has another size");
    snprintf(drawn, sizeof(drawn), "%s/carol/mandelbrot.png", d->directory);
    snprintf(own, sizeof(own), "%s/one-thread.png", d->directory);
    demo_png *png = demo_png_make(own, called->output.data, d->width, d->height, &size);
    if (!png)
        return demo_trouble_is(d, TR_ENOMEM, "the one-thread picture: no memory");
    tr_future f =
        tr_ask(d->self, compute, CHECK_TIMEOUT, tr_call, .function = "demo-png", .input = {png, size});
    tr__free(png);
    TR_TRY(wait_answer(d, f, &tr_called_type, (const void **)&called, "the one-thread picture"));
    d->image_equal = same_content(drawn, own);
    return TR_OK;
}

/* The paths of the originals, as alice's list has them: chosen anew here, by the same rule. */
static tr_err originals(demo *d, char **paths, size_t *size)
{
    tr__web_file *files;
    uint32_t count;
    tr_error error;
    *paths = NULL;
    *size = 0;
    if (demo_files_choose(d->opts.source, d->opts.files, &files, &count, &error) != TR_OK)
        return demo_trouble_is(d, error.code, "%s", error.text);
    for (uint32_t i = 0; i < count; i++)
        *size += strlen(files[i].path) + 1;
    *paths = count == d->files ? tr__alloc(*size) : NULL;
    size_t used = 0;
    for (uint32_t i = 0; i < count && *paths; i++) {
        size_t length = strlen(files[i].path) + 1;
        memcpy(*paths + used, files[i].path, length);
        used += length;
    }
    demo_files_free(files, count);
    return *paths ? TR_OK
                  : demo_trouble_is(d, TR_EMISMATCH, "%s changed meanwhile: %u files, not %u", d->opts.source,
                                    count, d->files);
}

static tr_err check_digests(demo *d, tr_addr compute)
{
    char *paths;
    size_t size;
    const tr_called *called;
    TR_TRY(originals(d, &paths, &size));
    tr_future f =
        tr_ask(d->self, compute, CHECK_TIMEOUT, tr_call, .function = "demo-digests", .input = {paths, size});
    tr__free(paths);
    TR_TRY(wait_answer(d, f, &tr_called_type, (const void **)&called, "the digests of the originals"));
    if (called->output.size != (size_t)d->files * 65)
        return demo_trouble_is(d, TR_ESHORT, "the digests of the originals: another number");
    for (uint32_t i = 0; i < d->files; i++) {
        demo_result_row *row = &d->results[i];
        memcpy(row->own, (const char *)called->output.data + i * 65, 65);
        d->equal += row->own[0] && memcmp(row->own, row->carol, 65) == 0;
    }
    return TR_OK;
}

static bool at_rest(demo *d)
{
    return demo_tx_at_rest(d, d->rest_since_ns);
}

/* What each app says of its journal; and nothing is left in doubt, or locked. */
static tr_err check_journals(demo *d)
{
    static const char *const apps[] = {"alice/app", "bob/app"};
    bool right = true;
    for (int i = 0; i < 2; i++) {
        const tr_found *found;
        const tr_app_status *status;
        TR_TRY(wait_answer(d, tr_lookup(d->self, apps[i], DEMO_START_WITHIN), &tr_found_type,
                           (const void **)&found, apps[i]));
        tr_future f = tr_ask(d->self, found->actor, DEMO_START_WITHIN, tr_app_query, .together = true);
        TR_TRY(wait_answer(d, f, &tr_app_status_type, (const void **)&status, apps[i]));
        d->journal_last[i] = status->last;
        snprintf(d->journal_digest[i], sizeof(d->journal_digest[i]), "%s", status->digest);
        right &= status->last == 2 * (uint64_t)d->files;
    }
    d->journals_equal = right && strcmp(d->journal_digest[0], d->journal_digest[1]) == 0;
    d->rest_since_ns = demo_now();
    return demo_wait_until(d, at_rest, DEMO_START_WITHIN,
                           "the last transactions to let go of what they locked");
}

/* ---- the end ------------------------------------------------------------------------------------------- */

/* They were told to end, so each must have ended well. */
static bool all_gone(demo *d)
{
    int status;
    char words[200];
    bool gone = true;
    for (int i = 0; i < DEMO_NODES; i++) {
        if (!d->children[i].pid)
            continue;
        if (!demo_child_reap(d, i, &status))
            gone = false;
        else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            demo_trouble_is(d, TR_ECRASHED, "%s did not end well (%s %d) %s", d->children[i].name,
                            WIFSIGNALED(status) ? "signal" : "status",
                            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                            demo_child_last_words(d, i, words, sizeof(words)));
    }
    return gone;
}

static tr_err end_nodes(demo *d)
{
    d->ending = true;
    for (int i = 0; i < DEMO_NODES; i++) {
        tr_err err = d->opts.keep ? tr_send(d->self, d->children[i].first, demo_stay)
                                  : tr_send(d->self, d->children[i].first, demo_stop);
        TR_TRY(demo_told(d, err, "telling the nodes to end"));
    }
    if (d->opts.keep)
        return demo_watch_for(d, TR_MILLIS(100)); /* it is on its way before this node ends */
    while (!all_gone(d)) {
        const tr_msg *msg = tr_receive(d->self, STEP);
        if (msg)
            demo_observe(d, msg);
        else if (tr_last_error(d->self)->code == TR_EKILLED)
            return TR_EKILLED;
        demo_screen_draw(d, false);
    }
    return d->trouble.code;
}

static tr_err work(demo *d)
{
    tr_addr compute;
    tr_future reference = {0};
    compute = tr_spawn(d->self, &tr_compute, &(tr_compute_opts){.parallel = 1});
    TR_TRY(demo_told(d, tr_addr_is_none(compute) ? TR_ENOMEM : TR_OK, "starting the checks' thread"));
    TR_TRY(start_nodes(d));
    TR_TRY(start_probe(d));
    d->incidents.allowed = true;
    TR_TRY(demo_watch_for(d, (uint64_t)((double)QUIET * scale(d))));
    TR_TRY(demo_set_phase(d, DEMO_BUSY));
    TR_TRY(download(d));
    TR_TRY(pipeline(d));
    TR_TRY(render(d, compute, &reference));
    d->incidents.allowed = false; /* from here on it is looked at what they have */
    TR_TRY(check_picture(d, compute, reference));
    tr_stop(d->self, d->probe, TR_EXIT_SHUTDOWN);
    TR_TRY(check_digests(d, compute));
    TR_TRY(check_journals(d));
    TR_TRY(end_nodes(d));
    d->checked = true;
    return TR_OK;
}

tr_err demo_script(tr_actor *self, void *arg)
{
    demo *d = arg;
    d->self = self;
    d->node = tr_node_of(self);
    TR_TRY(demo_told(d, tr_register_name(self, "observer"), "the observer's name"));
    TR_TRY(demo_told(d, tr_watch_nodes(self), "watching the nodes"));
    return work(d);
}
