/* Many downloads at once: their progress, waiting for all, and giving up the rest at the first error.
 *
 *     fetch DIR [URL...]     without URLs: from a server of its own */
#include <inttypes.h>
#include <stdio.h>

#include <troupe/downloader.h>
#include <troupe/troupe.h>

#include "examples/common/web.h"

#define JOBS_MAX 64

typedef struct crowd {
    char **urls;
    const char *into;
    tr_future jobs[JOBS_MAX];
    char lines[JOBS_MAX][200]; /* what came of each */
    size_t count, done;
} crowd;

/* One of them has ended, well or not. */
static void settled(tr_actor *self, void *state, const tr_result *result, void *context)
{
    crowd *c = *(crowd **)state;
    size_t which = (size_t)((char(*)[200])context - c->lines);
    c->jobs[which] = (tr_future){0};
    if (result->err != TR_OK) {
        for (size_t i = 0; i < c->count; i++)
            tr_cancel(self, c->jobs[i]); /* those that have ended are left alone */
        tr_exit(self, result->err, "%s", result->error->text);
        return;
    }
    const tr_fetched *f = tr_match(result->msg, tr_fetched);
    snprintf(c->lines[which], sizeof(c->lines[which]), "%.80s  %" PRIu64 " bytes  sha256 %s", f->path,
             f->size, f->sha256);
    if (++c->done == c->count)
        tr_exit(self, TR_OK, "all are there");
}

static tr_err begin(tr_actor *self, void *state, const void *arg)
{
    crowd *c = *(crowd **)state = (crowd *)arg;
    tr_addr dl = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.parallel = 8});
    for (; c->urls[c->count] && c->count < JOBS_MAX; c->count++) {
        c->jobs[c->count] = tr_ask(self, dl, TR_MINUTES(5), tr_fetch, .url = c->urls[c->count],
                                   .into = c->into, .progress = tr_self(self));
        TR_TRY(tr_then(self, c->jobs[c->count], settled, c->lines[c->count]));
    }
    return TR_OK;
}

static void hear(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state;
    const tr_progress *p = tr_match(msg, tr_progress);
    if (p && p->total)
        printf("%3" PRIu64 " %% of %s\n", p->done * 100 / p->total, p->url);
}
TR_ACTOR(crowd_def, .init = begin, .receive = hear, .state_size = sizeof(crowd *));

/* The crowd is an actor of its own, so its end is the end of all it asked for; how it ended is in tr_down. */
static tr_err fetch_all(tr_actor *self, const char *into, char **urls)
{
    crowd c = {.urls = urls, .into = into};
    if (!tr_monitor(self, tr_spawn(self, &crowd_def, &c)))
        return tr_last_error(self)->code;
    const tr_msg *msg;
    while ((msg = tr_receive(self, TR_FOREVER)) && !tr_match(msg, tr_down))
        ;
    if (!msg)
        return TR_EKILLED; /* Ctrl-C */
    const tr_down *down = tr_match(msg, tr_down);
    if (down->kind != TR_EXIT_NORMAL)
        return tr_fail(self, (tr_err)down->code, "%s", down->text);
    for (size_t i = 0; i < c.count; i++)
        puts(c.lines[i]);
    return TR_OK;
}

static tr_err start(tr_actor *self, void *arg)
{
    char **args = arg, base[64], urls[4][96], directory[256];
    if (!args[0])
        return tr_fail(self, TR_EINVAL, "usage: fetch DIR [URL...]");
    snprintf(directory, sizeof(directory), "%s/", args[0]); /* '/' at its end: each file has its URL's name */
    if (args[1])
        return fetch_all(self, directory, args + 1);

    snprintf(base, sizeof(base), "http://127.0.0.1:%d", web_start());
    snprintf(urls[0], sizeof(urls[0]), "%s/bytes/1000000/one.bin", base);
    snprintf(urls[1], sizeof(urls[1]), "%s/bytes/2000000/two.bin", base);
    snprintf(urls[2], sizeof(urls[2]), "%s/slow/1500000/three.bin", base);
    TR_TRY(fetch_all(self, directory, (char *[]){urls[0], urls[1], urls[2], NULL}));
    puts("all are there; now with one that isn't:");
    snprintf(urls[3], sizeof(urls[3]), "%s/none.bin", base);
    if (fetch_all(self, directory, (char *[]){urls[2], urls[3], NULL}) == TR_OK)
        return tr_fail(self, TR_EAPP, "none.bin was there");
    printf("%s\nthe other was given up at once\n", tr_last_error(self)->text);
    return TR_OK;
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
