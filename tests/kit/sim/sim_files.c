/* See sim_files.h. The order of the steps, the two buffers and what is told when are those of file_sink_uv.c: one step
 * at a time is under way, done when its event comes; advance() picks the next one. */
#include "tests/kit/sim/sim_files.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "actors/kinds/download_rules.h"
#include "base/check.h"
#include "base/err.h"
#include "tests/kit/sim/sim_kinds.h"

#define BUFFER_BYTES ((size_t)256 * 1024)

typedef enum sink_step { STEP_NONE, STEP_OPEN, STEP_BEGIN, STEP_WRITE, STEP_FINISH, STEP_CLOSE } sink_step;

struct tr__file_sink {
    sim_handle handle;
    sim_files *files;
    sim_fs *fs;
    const tr__file_upcalls *upcalls;
    void *context;
    char *path, *part, *info_path, *url, *sha256;
    bool resume, keep;
    bool opened, begin_wanted, finish_wanted, refused, muted, ended, closing;
    sink_step step;
    sim_bytes filling, writing;
    tr__dl_info info;
    uint64_t slowness, from, size;
    crypto_hash_sha256_state hash;
    sim_file *file; /* NULL: none */
    bool done;      /* it has its final name */
    tr_error error;
    char digest[TR__SHA256_TEXT];
};

/* ---- the steps ----------------------------------------------------------------------------------------- */

static void fail(tr__file_sink *sink, const char *what, const char *path, int number)
{
    tr_err code = tr__err_from_errno(number);
    const char *advice = code == TR_ENOSPC  ? "; make room there, or choose another place"
                         : code == TR_EPERM ? "; choose a directory that can be written to"
                                            : "";
    tr__fail(&sink->error, code, "%.120s: can't %s: %s%s", path, what, strerror(number), advice);
}

/* PATH.part, ours alone. */
static bool open_part(tr__file_sink *sink)
{
    sim_file *there = sim_fs_find(sink->fs, sink->part);
    if (there && there->locked) {
        tr__fail(&sink->error, TR_EEXIST,
                 "%.150s: another download writes to it now; wait for that one, or choose another path",
                 sink->part);
        return false;
    }
    if (there)
        sim_fs_hold(there);
    sink->file = there ? there : sim_fs_make(sink->fs);
    sink->file->locked = true;
    if (!there)
        sim_fs_link(sink->fs, sink->part, sink->file);
    return true;
}

static bool read_info(tr__file_sink *sink)
{
    sim_file *info = sim_fs_find(sink->fs, sink->info_path);
    return info && info->bytes.size > 0 && info->bytes.size <= TR__DL_INFO_TEXT_MAX &&
           tr__dl_info_parse((const char *)info->bytes.data, info->bytes.size, &sink->info) &&
           strcmp(sink->info.url, sink->url) == 0;
}

static void step_open(tr__file_sink *sink)
{
    if (!sink->resume) {
        sink->file = sim_fs_make(sink->fs);
        return;
    }
    if (!open_part(sink))
        return;
    uint64_t found = read_info(sink) ? sink->file->bytes.size : 0;
    if (sink->info.total && found >= sink->info.total)
        found = sink->info.total - 1; /* one byte is asked for anew, as by the real one */
    crypto_hash_sha256_update(&sink->hash, sink->file->bytes.data, found);
    sink->size = found;
}

static void step_begin(tr__file_sink *sink)
{
    char text[TR__DL_INFO_TEXT_MAX];
    if (sink->from == 0)
        crypto_hash_sha256_init(&sink->hash);
    sink->size = sink->from;
    if (sink->resume && sink->from == 0)
        sim_fs_unlink(sink->fs, sink->info_path);
    sim_fs_cut(sink->file, sink->from);
    if (!sink->resume || sink->from > 0)
        return;
    sim_file *info = sim_fs_make(sink->fs);
    sim_fs_link(sink->fs, sink->info_path, info);
    if (!sim_fs_append(info, text, tr__dl_info_print(&sink->info, text)))
        fail(sink, "write", sink->info_path, ENOSPC);
    sim_fs_let_go(info);
}

static void step_write(tr__file_sink *sink)
{
    crypto_hash_sha256_update(&sink->hash, sink->writing.data, sink->writing.size);
    if (sim_strikes(&sink->files->faults[SIM_FILES_FULL]) ||
        !sim_fs_append(sink->file, sink->writing.data, sink->writing.size))
        fail(sink, "write", sink->path, ENOSPC);
    sink->size += sink->writing.size;
    sink->writing.size = 0;
}

static void step_finish(tr__file_sink *sink)
{
    sim_fault *faults = sink->files->faults, *naming = &faults[SIM_FILES_RENAME];
    uint8_t raw[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&sink->hash, raw);
    sodium_bin2hex(sink->digest, sizeof(sink->digest), raw, sizeof(raw));
    if (sink->sha256[0] && strcasecmp(sink->digest, sink->sha256) != 0) {
        tr__fail(&sink->error, TR_EMISMATCH,
                 "%.90s: what came has sha256 %.16s..., not %.16s...; removed, the source is not what was "
                 "expected",
                 sink->url, sink->digest, sink->sha256);
        return;
    }
    if (sim_strikes(&faults[SIM_FILES_FORCE])) {
        fail(sink, "force to disk", sink->path, EIO);
        return;
    }
    sim_fs_force(sink->file);
    if (sim_strikes(naming)) {
        fail(sink, "rename the finished file to", sink->path,
             sim_between(&naming->random, 0, 1) ? EACCES : EIO);
        return;
    }
    if (sink->resume)
        sim_fs_rename(sink->fs, sink->part, sink->path);
    else
        sim_fs_link(sink->fs, sink->path, sink->file);
    sink->done = true;
    if (sink->resume)
        sim_fs_unlink(sink->fs, sink->info_path);
    sim_fs_force_names(sink->fs);
}

static void step_close(tr__file_sink *sink)
{
    if (!sink->file)
        return;
    bool stays = sink->keep && sink->resume && sink->file->bytes.size > 0;
    if (!sink->done && sink->resume && !stays) {
        sim_fs_unlink(sink->fs, sink->info_path);
        sim_fs_unlink(sink->fs, sink->part);
    }
    sink->file->locked = false;
}

/* ---- on the loop --------------------------------------------------------------------------------------- */

static sink_step next_step(const tr__file_sink *sink)
{
    bool failed = sink->error.code != TR_OK;
    if (!sink->opened)
        return sink->closing ? STEP_CLOSE : STEP_OPEN;
    if (!failed && sink->begin_wanted)
        return sink->closing && !sink->keep ? STEP_CLOSE : STEP_BEGIN;
    if (!failed && sink->filling.size > 0 && !sink->ended && (!sink->closing || sink->keep))
        return STEP_WRITE;
    if (sink->closing)
        return STEP_CLOSE;
    return !failed && !sink->ended && sink->finish_wanted ? STEP_FINISH : STEP_NONE;
}

static void on_step(void *context);

static void advance(tr__file_sink *sink)
{
    if (sink->step != STEP_NONE || sink->handle.dead)
        return;
    sink->step = next_step(sink);
    if (sink->step == STEP_NONE)
        return;
    sink->opened |= sink->step == STEP_OPEN;
    sink->begin_wanted &= sink->step != STEP_BEGIN;
    sink->finish_wanted &= sink->step != STEP_FINISH;
    if (sink->step == STEP_WRITE) {
        sim_bytes full = sink->filling;
        sink->filling = sink->writing;
        sink->writing = full;
    }
    uint64_t delay = sim_between(&sink->files->twin.random, TR_MICROS(10), TR_MILLIS(2)) * sink->slowness;
    sim_handle_later(&sink->handle, delay, on_step);
}

static void tell_outcome(tr__file_sink *sink, sink_step step)
{
    const tr__file_upcalls *to = sink->upcalls;
    if (sink->error.code != TR_OK) {
        sink->ended = true;
        to->failed(sink->context, &sink->error);
    } else if (step == STEP_OPEN) {
        tr__file_found found = {sink->size, sink->size ? sink->info.validator : "",
                                sink->size ? sink->info.total : 0};
        to->opened(sink->context, &found);
    } else {
        sink->ended = true;
        to->finished(sink->context, sink->digest);
    }
}

/* A step is over. Who was muted may be gone, and its loop as well. */
static void on_step(void *context)
{
    static void (*const steps[])(tr__file_sink *) = {
        [STEP_OPEN] = step_open,     [STEP_BEGIN] = step_begin, [STEP_WRITE] = step_write,
        [STEP_FINISH] = step_finish, [STEP_CLOSE] = step_close,
    };
    tr__file_sink *sink = context;
    sink_step step = sink->step;
    if (!sink->muted)
        sim_handle_wake(&sink->handle);
    steps[step](sink);
    sink->step = STEP_NONE;
    if (step == STEP_CLOSE) {
        if (!sink->muted)
            sink->upcalls->closed(sink->context);
        sim_handle_close(&sink->handle);
        return;
    }
    bool deaf = sink->muted || sink->ended || sink->closing;
    bool outcome = sink->error.code != TR_OK || step == STEP_OPEN || step == STEP_FINISH;
    if (outcome && !deaf)
        tell_outcome(sink, step);
    advance(sink);
    if (!outcome && !deaf && sink->refused) {
        sink->refused = false;
        sink->upcalls->drained(sink->context);
    }
}

/* ---- the seam ------------------------------------------------------------------------------------------ */

static void sink_fini(sim_handle *handle)
{
    tr__file_sink *sink = (tr__file_sink *)handle;
    if (sink->file)
        sim_fs_let_go(sink->file);
    free(sink->filling.data);
    free(sink->writing.data);
    free(sink->path);
    free(sink->part);
    free(sink->info_path);
    free(sink->url);
    free(sink->sha256);
}

static char *joined(const char *text, const char *tail)
{
    char *both = sim_alloc(strlen(text) + strlen(tail) + 1);
    sprintf(both, "%s%s", text, tail);
    return both;
}

static tr__file_sink *sink_open(tr__loop *loop, const tr__file_plan *plan, const tr__file_upcalls *upcalls,
                                void *context, tr_error *error)
{
    sim_host *host = sim_host_of(loop);
    sim_files *files = host->kinds->files;
    sim_fault *slow = &files->faults[SIM_FILES_SLOW];
    tr__file_sink *sink = sim_handle_open(&files->twin, loop, sizeof(*sink), sink_fini);
    if (!sink) {
        tr__fail(error, TR_ENOMEM, "%.120s: no memory to write it", plan->path);
        return NULL;
    }
    sink->files = files;
    sink->fs = sim_files_fs(files, host->node);
    sink->upcalls = upcalls;
    sink->context = context;
    sink->path = sim_strdup(plan->path);
    sink->part = joined(plan->path, TR__DL_PART);
    sink->info_path = joined(plan->path, TR__DL_INFO);
    sink->url = sim_strdup(plan->url);
    sink->sha256 = sim_strdup(plan->sha256);
    sink->resume = plan->resume;
    sink->slowness = sim_strikes(slow) ? sim_between(&slow->random, 10, 1000) : 1;
    crypto_hash_sha256_init(&sink->hash);
    advance(sink);
    return sink;
}

static void sink_begin(tr__file_sink *sink, uint64_t from, const char *validator, uint64_t total)
{
    sink->from = from;
    snprintf(sink->info.url, sizeof(sink->info.url), "%s", sink->url);
    snprintf(sink->info.validator, sizeof(sink->info.validator), "%s", validator);
    sink->info.total = total;
    sink->begin_wanted = true;
    advance(sink);
}

static tr_err sink_write(tr__file_sink *sink, const void *data, size_t size)
{
    if (sink->ended || (sink->step == STEP_NONE && sink->error.code != TR_OK))
        return TR_ECLOSED;
    if (size > BUFFER_BYTES - sink->filling.size) {
        sink->refused = size <= BUFFER_BYTES;
        return sink->refused ? TR_EFULL : TR_ETOOBIG;
    }
    sim_bytes_add(&sink->filling, data, size);
    advance(sink);
    return TR_OK;
}

static void sink_finish(tr__file_sink *sink)
{
    sink->finish_wanted = true;
    advance(sink);
}

static void sink_close(tr__file_sink *sink, bool keep)
{
    if (sink->handle.dead) {
        sim_handle_close(&sink->handle);
        return;
    }
    sink->keep = keep;
    sink->closing = true;
    advance(sink);
}

static void sink_mute(tr__file_sink *sink)
{
    sink->muted = true;
}

const tr__file_seam sim_files_seam = {sink_open, sink_begin, sink_write, sink_finish, sink_close, sink_mute};

/* ---- the twin ------------------------------------------------------------------------------------------ */

sim_files *sim_files_create(struct tr_sim *sim, uint32_t nodes, tr__random *seeds)
{
    static const char *const names[SIM_FILES_FAULTS] = {
        [SIM_FILES_SLOW] = "files-slow",
        [SIM_FILES_FULL] = "files-full",
        [SIM_FILES_RENAME] = "files-rename",
        [SIM_FILES_FORCE] = "files-force",
    };
    sim_files *files = sim_alloc(sizeof(*files) + nodes * sizeof(files->fs[0]));
    tr__check(sodium_init() >= 0, "libsodium can't be set up");
    sim_twin_init(&files->twin, sim, seeds);
    sim_fault_setup(files->faults, names, SIM_FILES_FAULTS, seeds);
    tr__random_init(&files->crashes, tr__random_next(seeds));
    files->nodes = nodes;
    for (uint32_t i = 0; i < nodes; i++)
        sim_fs_init(&files->fs[i]);
    return files;
}

void sim_files_destroy(sim_files *files)
{
    sim_twin_fini(&files->twin);
    for (uint32_t i = 0; i < files->nodes; i++)
        sim_fs_fini(&files->fs[i]);
    free(files);
}

sim_fs *sim_files_fs(sim_files *files, uint32_t node)
{
    tr__check(node < files->nodes, "there is no node %u in this simulation", node);
    return &files->fs[node];
}

void sim_files_drop(sim_files *files, uint32_t node, bool power)
{
    sim_twin_drop(&files->twin, node);
    if (power)
        sim_fs_crash(sim_files_fs(files, node), &files->crashes);
    else
        sim_fs_unlock(sim_files_fs(files, node));
}
