/* Bob: step one, the list of files from alice's web app; step two, the files, with carol computing each one's
 * digest, and a result goes into both journals. After he was killed he does the same again: what is whole or
 * in the journal stays, what was half goes on at its byte.
 * His loop's thread.
 *
 * Failures: a download or a digest that fails ends him with an error that names it; the demo shows it. */
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <troupe/downloader.h>

#include "actors/node.h"
#include "base/mem.h"
#include "cli/demo/apps.h"

TR_MESSAGE(bob_tick)
/* What waits until both journals have it, and then until the demo knows: a message to himself. */
TR_MESSAGE(bob_result, (u32, n), (string, sha256))
/* Try once more what failed because he was cut off. */
TR_MESSAGE(bob_fetch_again, (u32, n))
TR_MESSAGE(bob_ask_again, (u32, n))

#define TICK          TR_MILLIS(20)
#define REPORT_TICKS  5
#define FETCH_TIMEOUT TR_SECONDS(90)
#define ASK_TIMEOUT   TR_SECONDS(60)
#define FILES_MOST    100000
#define STALL         TR_SECONDS(5)
#define AGAIN         TR_SECONDS(1)
#define AGAIN_MOST    60 /* of a file */

typedef struct item {
    uint64_t size, arrived; /* bytes */
    bool fetched;
    uint8_t again; /* times that he tried again */
} item;

/* A result that was in the journal when he started. */
typedef struct earlier {
    char sha256[65];
} earlier;

typedef struct bob {
    const demo_role_arg *arg;
    tr_addr downloader, carol, app;
    char address[32], into[512];
    item *items;
    uint32_t count, asked_for, fetched, hashed, resumed;
    uint32_t ticks;
    double rate, allowance; /* bytes a second; bytes that may be asked for now */
    uint64_t resumed_bytes;
    bool told_done;
    earlier *earlier; /* by the file's number */
    uint32_t earlier_room, recovered;
    uint64_t entries, entry; /* in the journal at the start; the next to be read */
} bob;

/* ---- helpers ------------------------------------------------------------------------------------------- */

static void give_up(tr_actor *self, const char *what, const tr_result *result)
{
    tr_exit(self, result->err == TR_OK ? TR_ETYPE : result->err, "%s: %s", what,
            result->error ? result->error->text : "an answer of another type");
}

/* Whether it is worth another try, since the way to the others may come back. */
static bool is_cut_off(bob *b, uint32_t n, tr_err err)
{
    bool away = err == TR_ENOCONN || err == TR_ERESET || err == TR_EDEADLINE;
    return away && b->items[n].again++ < AGAIN_MOST;
}

static const char *path_of(tr_actor *self, const bob *b, uint64_t n)
{
    return tr_fmt(self, "%s/%" PRIu64, b->into, n);
}

static void report(tr_actor *self, bob *b)
{
    uint64_t bytes = 0;
    uint32_t half = 0;
    if (!b->count || b->told_done)
        return;
    for (uint32_t i = 0; i < b->count; i++) {
        bytes += b->items[i].fetched ? b->items[i].size : b->items[i].arrived;
        half += !b->items[i].fetched && b->items[i].arrived > 0 && b->items[i].arrived < b->items[i].size;
    }
    bool done = b->hashed == b->count;
    tr_err err = tr_send(self, b->arg->observer, demo_downloads, .files = b->fetched, .bytes = bytes,
                         .half = half, .resumed = b->resumed, .resumed_bytes = b->resumed_bytes,
                         .hashed = b->hashed, .recovered = b->recovered, .done = done);
    b->told_done = done && err == TR_OK;
}

/* ---- digests ------------------------------------------------------------------------------------------- */

static tr_msg *keep_result(tr_actor *self, uint32_t n, const char *sha256)
{
    tr_msg *kept = tr_msg_make(self, &bob_result_type, &(bob_result){.n = n, .sha256 = sha256});
    if (!kept)
        tr_exit(self, TR_ENOMEM, "the result of file %" PRIu32 ": no memory", n);
    return kept;
}

static void tell_again(tr_actor *self, bob *b, const bob_result *r, tr_err err, const char *why)
{
    if (is_cut_off(b, r->n, err))
        tr_after(self, AGAIN, bob_result, .n = r->n, .sha256 = r->sha256);
    else
        tr_exit(self, err, "telling the demo a digest: %s", why);
}

/* context: the result, kept. */
static void noted(tr_actor *self, void *state, const tr_result *result, void *context)
{
    bob *b = state;
    tr_msg *kept = context;
    if (result->err == TR_OK)
        b->hashed++;
    else
        tell_again(self, b, tr_match(kept, bob_result), result->err,
                   result->error ? result->error->text : "");
    tr_msg_free(self, &kept);
    report(self, b);
}

/* Takes the kept result. */
static void tell(tr_actor *self, bob *b, tr_msg *kept)
{
    const bob_result *r = tr_match(kept, bob_result);
    tr_future f = tr_ask(self, b->arg->observer, ASK_TIMEOUT, demo_result, .n = r->n,
                         .size = b->items[r->n].size, .sha256 = r->sha256);
    if (tr_then(self, f, noted, kept) == TR_OK)
        return;
    tell_again(self, b, r, tr_last_error(self)->code, tr_last_error(self)->text);
    tr_msg_free(self, &kept);
}

static void put_ended(tr_actor *self, void *state, const tr_result *result, void *context)
{
    bob *b = state;
    tr_msg *kept = context;
    const bob_result *r = tr_match(kept, bob_result);
    if (result->err == TR_OK) {
        tell(self, b, kept);
        return;
    }
    give_up(self, tr_fmt(self, "bob's app, result of file %" PRIu32, r->n), result);
    tr_msg_free(self, &kept);
}

static void ask_digest_again(tr_actor *self, bob *b, uint32_t n, tr_err err, const char *why)
{
    if (is_cut_off(b, n, err))
        tr_after(self, AGAIN, bob_ask_again, .n = n);
    else
        tr_exit(self, err ? err : TR_ETYPE, "carol's digest of file %" PRIu32 ": %s", n, why);
}

/* A result counts when it is in both journals. */
static void digest_came(tr_actor *self, void *state, const tr_result *result, void *context)
{
    bob *b = state;
    uint32_t n = (uint32_t)(uintptr_t)context;
    const demo_digest_is *digest = result->msg ? tr_match(result->msg, demo_digest_is) : NULL;
    if (!digest) {
        ask_digest_again(self, b, n, result->err, result->error ? result->error->text : "of another type");
        return;
    }
    tr_msg *kept = keep_result(self, n, digest->sha256);
    if (!kept)
        return;
    const char *text = demo_item_of_result(self, n, b->items[n].size, digest->sha256);
    tr_then(self, demo_app_put(self, b->app, text), put_ended, kept);
}

static void ask_digest(tr_actor *self, bob *b, uint32_t n)
{
    tr_future f = tr_ask(self, b->carol, ASK_TIMEOUT, demo_digest, .path = path_of(self, b, n));
    if (tr_then(self, f, digest_came, (void *)(uintptr_t)n) != TR_OK)
        ask_digest_again(self, b, n, tr_last_error(self)->code, tr_last_error(self)->text);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void fetched(tr_actor *self, void *state, const tr_result *result, void *context)
{
    bob *b = state;
    uint32_t n = (uint32_t)(uintptr_t)context;
    const tr_fetched *f = result->msg ? tr_match(result->msg, tr_fetched) : NULL;
    if (!f) {
        if (is_cut_off(b, n, result->err))
            tr_after(self, AGAIN, bob_fetch_again, .n = n);
        else
            give_up(self, tr_fmt(self, "file %" PRIu32, n), result);
        return;
    }
    b->items[n].fetched = true;
    b->fetched++;
    if (f->resumed_from > 0) {
        b->resumed++;
        b->resumed_bytes += f->resumed_from;
    }
    ask_digest(self, b, n);
}

/* The name appears only when the file is whole, so what is there needs no second download; of the others,
 * what arrived before he was killed is counted as it is found. */
static void look(tr_actor *self, bob *b, uint32_t n)
{
    struct stat there;
    const char *path = path_of(self, b, n);
    if (stat(path, &there) == 0 && (uint64_t)there.st_size == b->items[n].size) {
        b->items[n].fetched = true;
        b->fetched++;
        bool known = n < b->earlier_room && b->earlier[n].sha256[0];
        tr_msg *kept = known ? keep_result(self, n, b->earlier[n].sha256) : NULL;
        if (kept)
            tell(self, b, kept);
        else
            ask_digest(self, b, n);
    } else if (stat(tr_fmt(self, "%s.part", path), &there) == 0) {
        b->items[n].arrived = (uint64_t)there.st_size;
    }
}

static void fetch(tr_actor *self, bob *b, uint32_t n)
{
    tr_then(self,
            tr_ask(self, b->downloader, FETCH_TIMEOUT, tr_fetch,
                   .url = tr_fmt(self, "http://%s/files/%" PRIu32, b->address, n),
                   .into = path_of(self, b, n), .size = b->items[n].size, .resume = true,
                   .progress = tr_self(self)),
            fetched, (void *)(uintptr_t)n);
}

/* The demo is to be watched, so files are asked for no faster than the rate. */
static void ask_for_more(tr_actor *self, bob *b)
{
    for (; b->asked_for < b->count && b->allowance >= 0; b->asked_for++) {
        const item *i = &b->items[b->asked_for];
        if (i->fetched)
            continue;
        b->allowance -= (double)(i->size - i->arrived);
        fetch(self, b, b->asked_for);
    }
}

static void tick(tr_actor *self, bob *b)
{
    if (b->count) {
        b->allowance += b->rate * (double)TICK / 1e9;
        ask_for_more(self, b);
    }
    if (++b->ticks % REPORT_TICKS == 0)
        report(self, b);
    tr_after(self, TICK, bob_tick);
}

static void progress(bob *b, const tr_progress *p)
{
    const char *slash = strrchr(p->url, '/');
    unsigned long n = slash ? strtoul(slash + 1, NULL, 10) : b->count;
    if (slash && n < b->count)
        b->items[n].arrived = p->done;
}

/* ---- the list ------------------------------------------------------------------------------------------ */

static bool read_list(bob *b, const char *path, uint64_t *bytes)
{
    json_t *list = json_load_file(path, 0, NULL);
    size_t count = json_array_size(list); /* 0 if it is none */
    b->items = count > 0 && count <= FILES_MOST ? tr__zalloc(count * sizeof(item)) : NULL;
    bool good = b->items != NULL;
    for (size_t i = 0; i < count && good; i++) {
        json_t *file = json_array_get(list, i);
        json_int_t size = json_integer_value(json_object_get(file, "size"));
        good = size > 0 && json_integer_value(json_object_get(file, "n")) == (json_int_t)i;
        b->items[i].size = (uint64_t)size;
        *bytes += (uint64_t)size;
    }
    json_decref(list);
    b->count = good ? (uint32_t)count : 0;
    return good;
}

static void list_came(tr_actor *self, void *state, const tr_result *result, void *context)
{
    bob *b = state;
    uint64_t bytes = 0;
    (void)context;
    const tr_fetched *f = result->msg ? tr_match(result->msg, tr_fetched) : NULL;
    if (!f) {
        give_up(self, "the list of files", result);
        return;
    }
    if (!read_list(b, f->path, &bytes)) {
        tr_exit(self, TR_EPROTO, "the list of files at http://%s/list isn't one", b->address);
        return;
    }
    tr_send(self, b->arg->observer, demo_listed, .files = b->count, .bytes = bytes);
    for (uint32_t n = 0; n < b->count; n++)
        look(self, b, n);
    ask_for_more(self, b);
}

static void carol_found(tr_actor *self, void *state, const tr_result *result, void *context)
{
    bob *b = state;
    (void)context;
    const tr_found *f = result->msg ? tr_match(result->msg, tr_found) : NULL;
    if (!f) {
        give_up(self, "looking for carol", result);
        return;
    }
    b->carol = f->actor;
    tr_then(self,
            tr_ask(self, b->downloader, FETCH_TIMEOUT, tr_fetch,
                   .url = tr_fmt(self, "http://%s/list", b->address),
                   .into = tr_fmt(self, "%s/list", b->into)),
            list_came, NULL);
}

/* ---- his journal --------------------------------------------------------------------------------------- */

static void find_carol(tr_actor *self)
{
    tr_then(self, tr_lookup(self, "carol/carol", TR_SECONDS(5)), carol_found, NULL);
}

static bool remember(bob *b, uint32_t n, const char *sha256)
{
    if (n >= b->earlier_room) {
        uint32_t room = n + 256;
        earlier *more = n < FILES_MOST ? tr__realloc(b->earlier, room * sizeof(*more)) : NULL;
        if (!more)
            return false;
        memset(more + b->earlier_room, 0, (room - b->earlier_room) * sizeof(*more));
        b->earlier = more;
        b->earlier_room = room;
    }
    b->recovered += b->earlier[n].sha256[0] == 0;
    memcpy(b->earlier[n].sha256, sha256, 65);
    return true;
}

static void read_on(tr_actor *self, bob *b);

static void entry_came(tr_actor *self, void *state, const tr_result *result, void *context)
{
    bob *b = state;
    uint32_t n;
    char sha256[65];
    (void)context;
    const tr_app_item *i = result->msg ? tr_match(result->msg, tr_app_item) : NULL;
    if (!i)
        give_up(self, "reading bob's journal", result);
    else if (strcmp(i->origin, "bob") == 0 && demo_result_of_item(i->data, &n, sha256) &&
             !remember(b, n, sha256))
        tr_exit(self, TR_ENOMEM, "reading bob's journal: no memory");
    else
        read_on(self, b);
}

static void read_on(tr_actor *self, bob *b)
{
    if (b->entry == b->entries)
        find_carol(self);
    else
        tr_then(self, tr_ask(self, b->app, DEMO_APP_TIMEOUT, tr_app_get, .number = ++b->entry), entry_came,
                NULL);
}

/* In step with alice's: what is in the journal now is in both. */
static void in_step(tr_actor *self, void *state, const tr_result *result, void *context)
{
    bob *b = state;
    (void)context;
    const tr_app_status *s = result->msg ? tr_match(result->msg, tr_app_status) : NULL;
    if (!s) {
        give_up(self, "bob's app", result);
        return;
    }
    b->entries = s->last;
    read_on(self, b);
}

static void begin(tr_actor *self, bob *b, const demo_download *d)
{
    snprintf(b->address, sizeof(b->address), "%s", d->address);
    snprintf(b->into, sizeof(b->into), "%s", d->into);
    b->downloader = tr_spawn(self, &tr_downloader,
                             &(tr_downloader_opts){.parallel = d->parallel,
                                                   .queue = 4000,
                                                   .stall_ns = STALL,
                                                   .bytes_per_second = d->bytes_per_transfer,
                                                   .progress_ns = TR_MILLIS(50)});
    if (tr_addr_is_none(b->downloader)) {
        tr_exit(self, tr_last_error(self)->code, "the downloader: %s", tr_last_error(self)->text);
        return;
    }
    b->rate = (double)d->bytes_per_second;
    tr_then(self, tr_ask(self, b->app, DEMO_APP_TIMEOUT, tr_app_query, .together = true), in_step, NULL);
    tr_after(self, TICK, bob_tick);
}

/* ---- the actor ----------------------------------------------------------------------------------------- */

static tr_err bob_init(tr_actor *self, void *state, const void *arg)
{
    bob *b = state;
    b->arg = arg;
    b->app = demo_app_spawn(self, b->arg);
    return tr_addr_is_none(b->app) ? tr_last_error(self)->code : TR_OK;
}

static void bob_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    bob *b = state;
    const demo_download *download = tr_match(msg, demo_download);
    const demo_halt *halt = tr_match(msg, demo_halt);
    const tr_progress *p = tr_match(msg, tr_progress);
    const bob_result *result = tr_match(msg, bob_result);
    const bob_fetch_again *fetch_again = tr_match(msg, bob_fetch_again);
    const bob_ask_again *ask_again = tr_match(msg, bob_ask_again);
    if (p) {
        progress(b, p);
    } else if (download && !b->into[0]) {
        begin(self, b, download);
    } else if (download) { /* he was cut off: the last he told may be lost */
        b->told_done = false;
        report(self, b);
    } else if (result) {
        tr_msg *kept = keep_result(self, result->n, result->sha256);
        if (kept)
            tell(self, b, kept);
    } else if (fetch_again) {
        fetch(self, b, fetch_again->n);
    } else if (ask_again) {
        ask_digest(self, b, ask_again->n);
    } else if (halt) {
        tr__node_raise_at(tr_node_of(self), halt->point, SIGSTOP);
    } else if (tr_match(msg, demo_ready)) {
        tr_reply(self, msg, demo_yes);
    } else if (tr_match(msg, demo_hold)) {
        tr_msg_take(self, msg); /* kept unanswered until the asker's deadline, or bob's end */
    } else if (tr_match(msg, bob_tick) && !b->told_done) {
        tick(self, b);
    }
}

static void bob_stop(tr_actor *self, void *state)
{
    bob *b = state;
    (void)self;
    tr__free(b->items);
    tr__free(b->earlier);
}

const tr_actor_def demo_bob = {.name = "bob",
                               .init = bob_init,
                               .receive = bob_receive,
                               .stop = bob_stop,
                               .state_size = sizeof(bob),
                               .mailbox_places = 8192};
